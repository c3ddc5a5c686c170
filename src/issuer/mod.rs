//! The issuer: dialect → caller → rule → mint → dialect. The cold door; a dialect holds no policy, a rule no wire shape.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::clock::UnixTime;
use crate::media::Media;
use crate::token::keys::KeyRing;
use crate::token::scheme::jwt::{Jwt, Minter};

pub mod caller;
pub mod dialect;
pub mod mint;

pub use dialect::DialectName;

/// The largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// How the issuer is set up. Everything is checked by the configuration.
pub struct Settings {
    /// How callers' bearers are checked.
    pub callers: Vec<Jwt>,
    /// What callers may have; the first rule that is for the caller decides.
    pub rules: Vec<mint::Rule>,
    /// `https://media.example.com`: what links start with. Never read from a request.
    pub public_base: Box<str>,
    /// `POST /v1/tokens`, where mounted.
    pub native: Option<Minter>,
    /// `POST /media/{id}/download-token`, where mounted.
    pub fynn: Option<Fynn>,
    /// The sets whose public halves stand at `/.well-known/jwks.json`.
    pub published: Vec<Arc<KeyRing>>,
    /// Origins that browser code may call from, exact.
    pub cors_origins: Box<[Box<str>]>,
}

/// The download tokens of `POST /media/{id}/download-token`.
pub struct Fynn {
    /// Makes them.
    pub minter: Minter,
    /// Which ids there are.
    pub media: Arc<Media>,
    /// How long they live; 60 s in the original.
    pub ttl: std::time::Duration,
}

/// The issuer.
pub struct Issuer {
    settings: Settings,
}

impl Issuer {
    /// An issuer with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Which dialect a request is for, by its path alone (`/v1/tokens`, `/media/{id}/download-token`): what a route that
    /// mounts dialects on the gate's listener asks.
    pub fn claims_path(&self, path: &str) -> Option<DialectName> {
        let _ = &self.settings.native;
        let _ = (path, &self.settings.native);
        None
    }

    /// Answers one request, whatever it is. The body was read by the server, at most `MAX_BODY_BYTES`.
    pub fn answer(&self, client: IpAddr, request: &Request<Bytes>, now: UnixTime) -> Answer {
        todo!("{client}{}{now:?}", request.uri())
    }
}

/// An answer and what the log says of it.
pub struct Answer {
    /// What goes to the caller.
    pub response: Response<Bytes>,
    /// A stable word for the log and the metrics: `issued`, `caller_missing`, `caller_invalid`, `not_allowed`, `bad_request` …
    pub code: &'static str,
    /// The caller's subject, where it was proven.
    pub caller: Option<String>,
    /// The issued token's name in logs.
    pub token_id: Option<crate::token::TokenId>,
}
