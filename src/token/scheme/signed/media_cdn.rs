//! Signatures and tokens of Google Media CDN. Signatures are Ed25519's and ride in the query, in the cookie
//! `Edge-Cache-Cookie` or in a segment of the path, which relative URLs inherit; they sign the URL or its start. Tokens are
//! fields joined by `~`, signed by Ed25519 or an HMAC, in a query parameter or a cookie; a short one may be exchanged for a long
//! one in a cookie.
//!
//! Sources: Google's pages "Use signed requests", "Generate tokens" and "Use dual-token authentication" of Media CDN.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::exchange::Session;
use super::fields::{self, Fields};
use super::{Asked, NamedKeys, Signed, SignedRequest, Taken, Wish};
use crate::token::carrier::{Head, LocateError};
use crate::token::keys::LogKey;
use crate::token::{Claims, TokenError};

mod key;
mod mint;
mod prefix;
mod signature;
mod take;
mod token;

pub use key::Key;

/// What a segment of the path begins with that is a signature.
const MARKER: &str = "edge-cache-token=";

/// The numbers of the parts: a short token, a long one, a signature in a cookie; one in the path, and the folder that it stands
/// in; one in the query, as four parameters, of which the first may be absent.
const SHORT: usize = 0;
const LONG: usize = 1;
const COOKIE: usize = 2;
const COMPONENT: usize = 3;
const FOLDER: usize = 4;
const PREFIX: usize = 5;
const EXPIRES: usize = 6;
const KEY_NAME: usize = 7;
const SIGNATURE: usize = 8;

/// Base64url whose padding may be absent, as Google's own samples differ in that.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How requests for Media CDN are checked and signed.
#[derive(Debug)]
pub struct MediaCdn {
    rules: Rules,
    cookies: Box<[Box<str>]>,
    markers: Box<[Box<str>]>,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The query parameters and cookies that a token may ride in; the first is written to.
    pub names: Box<[Box<str>]>,
    /// The cookie that a signature may ride in.
    pub cookie: Box<str>,
    /// Whether signatures are looked for, or tokens alone.
    pub signatures: Signatures,
    /// The keys. A signature names its key; a token does not, and the first eight that can have sealed it are tried.
    pub keys: NamedKeys<Key>,
    /// What is made for a wish.
    pub form: Form,
    /// The exchange for long tokens; none where it is not wanted.
    pub session: Option<Session>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// Whether signatures are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Signatures {
    /// In the query, the cookie and the path.
    #[default]
    Accepted,
    /// Nowhere.
    Ignored,
}

/// What is made for a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// A token for paths on any host: `FullPath`, `PathGlobs`.
    #[default]
    PathToken,
    /// A token for URLs that start alike, host included: `URLPrefix`.
    UrlToken,
    /// A signature in the query or the cookie.
    Signature,
    /// A signature in the path, for all of a folder.
    PathComponent,
}

impl Rules {
    /// The parameter and cookie `edge-cache-token` and, as at other CDNs, `hdnts`; the cookie `Edge-Cache-Cookie`; signatures
    /// are accepted, tokens are made, nothing is exchanged.
    pub fn new(keys: NamedKeys<Key>, log_key: Arc<LogKey>) -> Self {
        Self {
            names: Box::new(["edge-cache-token".into(), "hdnts".into()]),
            cookie: "Edge-Cache-Cookie".into(),
            signatures: Signatures::Accepted,
            keys,
            form: Form::PathToken,
            session: None,
            log_key,
        }
    }
}

impl MediaCdn {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        let session = rules.session.iter().map(|session| session.name.clone());
        let accepted = matches!(rules.signatures, Signatures::Accepted);
        let cookie = accepted.then(|| rules.cookie.clone());
        Self {
            cookies: session.chain(rules.names.iter().cloned()).chain(cookie).collect(),
            markers: accepted.then(|| MARKER.into()).into_iter().collect(),
            rules,
        }
    }
}

impl SignedRequest for MediaCdn {
    fn queries(&self) -> Vec<&str> {
        self.rules.names.iter().map(|name| &**name).collect()
    }

    fn name(&self) -> &'static str {
        "media_cdn"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        self.find(head)
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let there = |number: usize| Some(asked.part(number)).filter(|part| !part.is_empty());
        if let Some(short) = there(SHORT) {
            return fields::read(short, |text| self.short(text, asked));
        }
        if let (Some(long), Some(session)) = (there(LONG), &self.rules.session) {
            return fields::read(long, |text| self.long(session, text, asked));
        }
        if let Some(cookie) = there(COOKIE) {
            return fields::read(cookie, |text| self.in_cookie(text, asked));
        }
        match there(COMPONENT) {
            Some(policy) => self.in_path(policy, asked),
            None => self.in_query(asked),
        }
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let part = |number: usize| {
            let part = taken.parts.get(number).map(|part| &**part);
            part.filter(|part| !part.is_empty())
        };
        let pair = |(name, value): (&'static str, &str)| (Cow::Borrowed(name), value.to_owned());
        if let Some(token) = part(SHORT).or(part(LONG)) {
            let told = fields::read(token, |text| {
                Ok(Fields::parse(text, &token::GRAMMAR)?.iter().map(pair).collect())
            });
            return told.unwrap_or_default();
        }
        let policy = match part(COOKIE).or(part(COMPONENT)) {
            Some(policy) => signature::Policy::parse(policy).ok(),
            None => Some(signature::Policy::of(&|number| part(number).unwrap_or_default())),
        };
        policy
            .iter()
            .flat_map(signature::Policy::tell)
            .map(pair)
            .collect()
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        self.mint(wish)
    }

    fn cookies(&self) -> &[Box<str>] {
        &self.cookies
    }

    fn markers(&self) -> &[Box<str>] {
        &self.markers
    }
}

fn base64(text: &str) -> Result<Vec<u8>, TokenError> {
    BASE64
        .decode(text)
        .map_err(|_| TokenError::Malformed("it has a value that is not base64url"))
}

#[cfg(test)]
mod tests;
