//! Signed JWTs (RFC 7519, 7515, 7518, 8725): the strict layer over `jsonwebtoken`, and minting.
//! The algorithm belongs to the key, never to the token; times are read here and judged in `Claims::standing`.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixTime;
use crate::token::keys::{KeyRing, LogKey};
use crate::token::{Claims, Evidence, MintToken, Minted, TokenError, VerifyToken};

/// How native JWTs are checked.
#[derive(Debug)]
pub struct Jwt {
    rules: Rules,
    number: u64,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The keys.
    pub keys: Arc<KeyRing>,
    /// Accepted issuers; at least one. `iss` is required and a string.
    pub issuers: Box<[Box<str>]>,
    /// Accepted audiences; at least one. `aud` is required: a string, or an array that holds one of them.
    pub audiences: Box<[Box<str>]>,
    /// The `typ` that is demanded; `None` accepts none or `JWT` (RFC 8725 §3.11).
    pub typ: Option<Box<str>>,
    /// The longest `exp - iat`; demands `iat` where set.
    pub max_lifetime: Option<Duration>,
    /// Further text claims that are kept in `Claims::named`.
    pub named: Box<[Box<str>]>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl Jwt {
    /// A verifier with these rules.
    pub fn new(rules: Rules) -> Self {
        todo!("{rules:?}")
    }

    /// See `Scheme::cache_stamp`; `None` while there are no keys.
    pub fn cache_stamp(&self) -> Option<[u64; 2]> {
        Some([self.number, self.rules.keys.load()?.number])
    }
}

impl VerifyToken for Jwt {
    fn verify(&self, evidence: &Evidence<'_>) -> Result<Claims, TokenError> {
        todo!("{evidence:?}")
    }
}

/// Whether the JWT header names the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KidHeader {
    /// `{"typ":"JWT","alg":…,"kid":…}`.
    Named,
    /// `{"typ":"JWT","alg":…}`, as one of the compatible services does.
    Unnamed,
}

/// Makes JWTs.
#[derive(Debug)]
pub struct Minter {
    /// The keys; the first that can sign does.
    pub keys: Arc<KeyRing>,
    /// `iss`.
    pub issuer: Box<str>,
    /// `aud`.
    pub audience: Box<str>,
    /// Whether the header names the key.
    pub kid: KidHeader,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl MintToken for Minter {
    /// `claims.expires` is required; `claims.id` is made (128 random bits) where absent.
    fn mint(&self, claims: &Claims, now: UnixTime) -> Result<Minted, TokenError> {
        todo!("{claims:?}{now:?}")
    }
}
