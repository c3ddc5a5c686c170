//! How the issuer is set up: what the configuration builds.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::accounts::Accounts;
use super::dialect::adobe::Format;
use super::entitlement::Entitlement;
use super::grant::Bearers;
use super::inventory::Inventory;
use super::mint::{self, SchemeName};
use crate::token::TokenId;
use crate::token::keys::{KeyRing, LogKey};
use crate::token::scheme::jwt::{Jwt, Minter};
use crate::token::scheme::{short_media, sirv};

/// How the issuer is set up. Everything is checked by the configuration.
pub struct Settings {
    /// How callers' bearers are checked.
    pub callers: Vec<Jwt>,
    /// What callers may have; the first rule that is for the caller decides.
    pub rules: Vec<mint::Rule>,
    /// `https://media.example.com`: what links start with. Never read from a request.
    pub public_base: Box<str>,
    /// `http://127.0.0.1:8081`: where it listens itself, for the page that says what to type.
    pub address: Box<str>,
    /// `POST /v1/tokens`, where mounted.
    pub native: Option<Native>,
    /// `POST /media/{id}/download-token`, where mounted.
    pub fynn: Option<Fynn>,
    /// `PUT /invoices/{id}/download-link`, where mounted.
    pub fynn_invoice: Option<FynnInvoice>,
    /// `GET /api/auth/media/customer`, where mounted.
    pub nexudus_media: Option<NexudusMedia>,
    /// `POST /api/sys/users/token/refresh`, where mounted.
    pub nexudus_token: Option<NexudusToken>,
    /// `POST /api/token`, where mounted.
    pub nexudus_bearer: Option<NexudusBearer>,
    /// `POST /api/sys/users/exchange`, where mounted.
    pub nexudus_exchange: Option<NexudusExchange>,
    /// `POST /v2/files/jwt`, where mounted.
    pub sirv: Option<Sirv>,
    /// `POST /v2/token`, where mounted.
    pub sirv_bearer: Option<SirvBearer>,
    /// `GET /api/v1/tokens/media`, where mounted.
    pub adobe_media: Option<AdobeMedia>,
    /// `POST /o/client/token`, where mounted.
    pub adobe_bearer: Option<AdobeBearer>,
    /// How the issuer's own bearers are made, where it makes some.
    pub bearers: Option<Bearers>,
    /// Local users and clients.
    pub accounts: Arc<Accounts>,
    /// The sets whose public halves stand at `/.well-known/jwks.json`.
    pub published: Vec<Arc<KeyRing>>,
    /// Origins that browser code may call from, exact.
    pub cors_origins: Box<[Box<str>]>,
    /// Names tokens for the logs and the store.
    pub log_key: Arc<LogKey>,
}

/// The tokens of `POST /v1/tokens`.
pub struct Native {
    /// How they may be made; at least one way, each once.
    pub schemes: Box<[NativeScheme]>,
}

impl Native {
    /// The way of this name, where there is one.
    pub fn scheme(&self, name: SchemeName) -> Option<&NativeScheme> {
        self.schemes.iter().find(|scheme| scheme.name() == name)
    }
}

/// A way to make tokens of `POST /v1/tokens`. `link` is the query parameter of the links in answers; `None` where no route
/// takes such tokens from a query.
pub enum NativeScheme {
    /// Signed JWTs.
    Jwt {
        /// Makes them.
        minter: Arc<Minter>,
        /// The parameter.
        link: Option<Box<str>>,
    },
    /// Random digits, which the store knows.
    Opaque {
        /// The parameter.
        link: Option<Box<str>>,
    },
    /// Sirv's JWTs.
    Sirv {
        /// Makes them.
        minter: Arc<sirv::Minter>,
        /// The parameter.
        link: Option<Box<str>>,
    },
    /// Short media tokens, as `[issuer.adobe_media]` makes them.
    ShortMedia,
}

impl NativeScheme {
    /// Its name.
    pub const fn name(&self) -> SchemeName {
        match self {
            Self::Jwt { .. } => SchemeName::Jwt,
            Self::Opaque { .. } => SchemeName::Opaque,
            Self::Sirv { .. } => SchemeName::Sirv,
            Self::ShortMedia => SchemeName::ShortMedia,
        }
    }

    /// The query parameter of links.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Jwt { link, .. } | Self::Opaque { link } | Self::Sirv { link, .. } => link.as_deref(),
            // It opens a resource, which is no path.
            Self::ShortMedia => None,
        }
    }
}

/// The download tokens of `POST /media/{id}/download-token`.
pub struct Fynn {
    /// Makes them.
    pub minter: Arc<Minter>,
    /// Which ids there are.
    pub media: Inventory,
    /// How long they live; 60 s in the original.
    pub ttl: Duration,
}

/// The links to invoices of `PUT /invoices/{id}/download-link`.
pub struct FynnInvoice {
    /// Makes their tokens.
    pub minter: Arc<Minter>,
    /// Which ids there are.
    pub media: Inventory,
    /// The folder whose media are invoices; `None` is any.
    pub folder: Option<Box<str>>,
    /// The longest life that a caller may ask for, in seconds.
    pub max_seconds: u64,
    /// The path of the links: `/media/{id}/download/{token}`.
    pub path: Box<str>,
}

/// The media tokens of `GET /api/auth/media/customer`.
pub struct NexudusMedia {
    /// Makes them.
    pub minter: Arc<Minter>,
    /// How long they live; 60 s in the original.
    pub ttl: Duration,
    /// How a caller who asks too often is answered.
    pub over_limit: OverLimit,
}

/// The one-time tokens of `POST /api/sys/users/token/refresh`.
pub struct NexudusToken {
    /// How long they may wait for their use.
    pub ttl: Duration,
    /// Whether GET asks for one, too.
    pub allow_get: bool,
    /// How a caller who asks too often is answered.
    pub over_limit: OverLimit,
}

/// The bearers of `POST /api/token`.
pub struct NexudusBearer {
    /// Passwords that are tried for one account in a minute.
    pub tries_per_account: u32,
    /// Passwords that are tried from one address in a minute.
    pub tries_per_address: u32,
    /// How who tries too often is answered.
    pub over_limit: OverLimit,
}

/// The bearers of `POST /api/sys/users/exchange`.
pub struct NexudusExchange {
    /// Whether GET exchanges, too.
    pub allow_get: bool,
    /// How who shows too many unknown tokens is answered.
    pub over_limit: OverLimit,
}

/// The protected URLs of `POST /v2/files/jwt`.
pub struct Sirv {
    /// Where a request names no account.
    pub account: SirvAccount,
    /// Other accounts, by the names that requests call them.
    pub aliases: BTreeMap<Box<str>, SirvAccount>,
    /// How much a caller may ask in an hour.
    pub per_hour: u32,
}

/// Whose files a protected URL is for.
pub struct SirvAccount {
    /// `https://media.example.com`: what its links start with.
    pub public_base: Box<str>,
    /// Signs them.
    pub minter: Arc<sirv::Minter>,
}

/// The bearers of `POST /v2/token`.
pub struct SirvBearer {
    /// Passwords that are tried for one account in a minute.
    pub tries_per_account: u32,
    /// Passwords that are tried from one address in a minute.
    pub tries_per_address: u32,
}

/// The short media tokens of `GET /api/v1/tokens/media`.
pub struct AdobeMedia {
    /// Makes them.
    pub minter: Arc<short_media::Minter>,
    /// How long they live; 7 minutes in the original.
    pub ttl: Duration,
    /// The language of answers where the request names none.
    pub default_format: Format,
    /// What a resource that is described by MRSS means.
    pub mrss: Mrss,
    /// Whether devices have to describe themselves.
    pub require_device_info: bool,
    /// Whether errors have a code, an action and a trace.
    pub enhanced_errors: bool,
    /// Where enhanced errors send people for help.
    pub help_url: Option<Box<str>>,
    /// Who may watch what.
    pub entitlements: Vec<Entitlement>,
    /// Devices that need no bearer, by the names that `adobe::device_name` gives them.
    pub devices: HashSet<TokenId>,
    /// What those may do, as the `scope` of a bearer says it.
    pub devices_scope: Box<str>,
}

/// What a resource that is described by MRSS means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mrss {
    /// The title of its channel.
    ChannelTitle,
    /// Nothing but its text.
    Off,
}

/// The bearers of `POST /o/client/token`.
pub struct AdobeBearer {
    /// How long they live; 6 hours in the original.
    pub ttl: Duration,
    /// Secrets that are tried for one client in a minute.
    pub tries_per_account: u32,
    /// Secrets that are tried from one address in a minute.
    pub tries_per_address: u32,
}

/// How who is over a limit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// 409 without a body and `Retry-After: 1`, as Nexudus does.
    Conflict,
    /// 429, as RFC 6585 says.
    TooMany,
}
