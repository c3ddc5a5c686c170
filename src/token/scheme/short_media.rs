//! Adobe's short media tokens: Base64 of a signature and of the XML element that it signs, which names a session, a
//! requestor, a resource and a life in milliseconds. RSA with SHA-256 over the exact bytes of that element.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, crypto};

use super::next_number;
use crate::token::keys::{KeyRing, LogKey, VerifyingKey};
use crate::token::{Claims, Evidence, Methods, Scope, TokenError, TokenId, Uses, VerifyToken};

mod mint;
mod read;
pub mod xml;

pub use mint::Minter;
pub use read::{Fields, Token};

/// The one algorithm of these tokens.
pub const ALGORITHM: Algorithm = Algorithm::RS256;
/// The claims by which templates and identity headers know what such a token says, beside `sub`.
pub const CLAIMS: [&str; 4] = ["resource", "requestor", "mvpd", "proxy_mvpd"];

/// What every token's Base64 starts with: `<signatureInfo`.
const START: &str = "PHNpZ25hdHVyZUluZm8";
/// How far the issuer's clock may be ahead. Ordinary differences are what a token's life is for.
const MAX_AHEAD: Duration = Duration::from_secs(60 * 60);

/// How short media tokens are checked.
#[derive(Debug)]
pub struct ShortMedia {
    rules: Rules,
    number: u64,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The keys; those for RS256 count.
    pub keys: Arc<KeyRing>,
    /// Accepted requestors; at least one.
    pub requestors: Box<[Box<str>]>,
    /// What each resource of each requestor opens, and nothing else opens anything; `None` leaves that to the route's template.
    pub resources: Option<Resources>,
    /// How often a token may be used.
    pub uses: Uses,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// By requestor and by resource: two requestors may call two things by one name.
pub type Resources = BTreeMap<Box<str>, BTreeMap<Box<str>, Scope>>;

impl ShortMedia {
    /// A verifier with these rules. Where one of `others` has the very same, it is the same verifier: what was cached
    /// for it stays good.
    pub fn succeeding<'o>(rules: Rules, others: impl IntoIterator<Item = &'o Self>) -> Self {
        let same = others.into_iter().find(|other| other.rules.are(&rules));
        let number = same.map_or_else(next_number, |other| other.number);
        Self { rules, number }
    }

    /// What it demands.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// See `Scheme::cache_stamp`; `None` while there are no keys.
    pub fn cache_stamp(&self) -> Option<[u64; 2]> {
        Some([self.number, self.rules.keys.load()?.number])
    }

    /// Whether it is one by its looks.
    pub fn recognizes(&self, evidence: &Evidence<'_>) -> bool {
        looks_like_one(evidence.reveal())
    }
}

/// Whether a text starts as such tokens do.
pub fn looks_like_one(text: &str) -> bool {
    text.starts_with(START)
}

impl Rules {
    /// Whether both demand the same, of the same keys, and name tokens the same.
    fn are(&self, other: &Self) -> bool {
        let Self {
            keys,
            requestors,
            resources,
            uses,
            log_key,
        } = self;
        Arc::ptr_eq(keys, &other.keys)
            && Arc::ptr_eq(log_key, &other.log_key)
            && *requestors == other.requestors
            && *resources == other.resources
            && *uses == other.uses
    }

    /// What a resource opens; `None` where that is not for this table to say.
    fn scope(&self, requestor: &str, resource: &str) -> Option<Scope> {
        let own = self.resources.as_ref()?.get(requestor);
        Some(own.and_then(|own| own.get(resource)).cloned().unwrap_or_default())
    }
}

impl VerifyToken for ShortMedia {
    fn verify(&self, evidence: &Evidence<'_>) -> Result<Claims, TokenError> {
        if evidence.parts.len() != 1 {
            return Err(TokenError::Malformed("a short media token is one text"));
        }
        let token = Token::parse(evidence.reveal()).map_err(TokenError::Malformed)?;
        let generation = self.rules.keys.load().ok_or(TokenError::KeysUnavailable)?;
        let key = generation
            .keys
            .that_signed(ALGORITHM, |key| token.is_signed_by(key))?;
        let fields = &token.fields;
        if !self.rules.requestors.contains(&fields.requestor) {
            return Err(TokenError::Invalid("for another requestor"));
        }
        let texts = [
            Some(&fields.resource),
            Some(&fields.requestor),
            Some(&fields.mvpd),
            fields.proxy_mvpd.as_ref(),
        ];
        let named = CLAIMS.iter().zip(texts);
        Ok(Claims {
            subject: Some(fields.session.clone()),
            issued: Some(fields.issued),
            not_before: Some(fields.issued.before(MAX_AHEAD)),
            expires: Some(fields.expires()),
            uses: self.rules.uses,
            methods: Some(Methods::READ),
            scope: self.rules.scope(&fields.requestor, &fields.resource),
            key: key.kid.clone(),
            named: named
                .filter_map(|(name, text)| Some(((*name).into(), text?.clone())))
                .collect(),
            ..Claims::empty(token.id(&self.rules.log_key))
        })
    }
}

impl Token {
    fn is_signed_by(&self, key: &VerifyingKey) -> Result<bool, TokenError> {
        crypto::verify(self.signature(), self.signed().as_bytes(), &key.key, ALGORITHM)
            .map_err(|_| TokenError::Malformed("the signature is not Base64"))
    }

    /// What logs and store call it: by all that is signed. The byte in front is in no UTF-8 text, so that no token of
    /// another scheme has the same name.
    pub fn id(&self, log_key: &LogKey) -> TokenId {
        id_of(log_key, self.signed())
    }
}

fn id_of(log_key: &LogKey, signed: &str) -> TokenId {
    log_key.name(&[&[0xfd], signed.as_bytes()].concat())
}

#[cfg(test)]
mod tests;
