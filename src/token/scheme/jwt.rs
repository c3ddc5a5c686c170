//! Signed JWTs (RFC 7519, 7515, 7518, 8725): the strict layer over `jsonwebtoken`, and minting.
//! The algorithm belongs to the key, never to the token; times are read here and judged in `Claims::standing`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};

use super::next_number;
use crate::token::json::{Json, Object};
use crate::token::keys::{KeyRing, KeySet, LogKey, MAX_KID_BYTES, VerifyingKey};
use crate::token::{Claims, Evidence, MAX_TOKEN_BYTES, TokenError, TokenId, VerifyToken};

pub(super) mod mint;
pub(super) mod payload;
mod profile;
mod unchecked;

pub use mint::{KidHeader, Minter};
pub use payload::{is_filename, network};
pub use profile::Profile;
pub use unchecked::{Unchecked, read_unchecked};

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
    /// Who makes the tokens.
    pub profile: Profile,
    /// Accepted issuers: `iss` is required then, and a string. Where there are none, the keys alone say who it was.
    pub issuers: Box<[Box<str>]>,
    /// Accepted audiences: `aud` is required then, a string, or an array that holds one of them. Where there are none, a token
    /// that names one is refused.
    pub audiences: Box<[Box<str>]>,
    /// Further claims that are required, each with the texts that it may be; any text where there are none.
    pub require: Box<[Required]>,
    /// The `typ` that is demanded; `None` accepts none or `JWT` (RFC 8725 §3.11).
    pub typ: Option<Box<str>>,
    /// The longest `exp - iat`; demands `iat` where set.
    pub max_lifetime: Option<Duration>,
    /// Further text claims that are kept in `Claims::named`.
    pub named: Box<[Box<str>]>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// A claim and what it may be.
pub type Required = (Box<str>, Box<[Box<str>]>);

impl Jwt {
    /// A verifier with these rules.
    pub fn new(rules: Rules) -> Self {
        Self::succeeding(rules, [])
    }

    /// A verifier with these rules. Where one of `others` has the very same, it is the same verifier: what was cached
    /// for it stays good.
    pub fn succeeding<'o>(rules: Rules, others: impl IntoIterator<Item = &'o Self>) -> Self {
        let same = others.into_iter().find(|other| other.rules.are(&rules));
        let number = same.map_or_else(next_number, |other| other.number);
        Self { rules, number }
    }

    /// See `Scheme::cache_stamp`; `None` while there are no keys.
    pub fn cache_stamp(&self) -> Option<[u64; 2]> {
        Some([self.number, self.rules.keys.load()?.number])
    }
}

impl Rules {
    /// Whether both demand the same, of the same keys, and name tokens the same.
    fn are(&self, other: &Self) -> bool {
        let Self {
            keys,
            profile,
            issuers,
            audiences,
            require,
            typ,
            max_lifetime,
            named,
            log_key,
        } = self;
        Arc::ptr_eq(keys, &other.keys)
            && Arc::ptr_eq(log_key, &other.log_key)
            && *profile == other.profile
            && *require == other.require
            && *issuers == other.issuers
            && *audiences == other.audiences
            && *typ == other.typ
            && *max_lifetime == other.max_lifetime
            && *named == other.named
    }
}

impl VerifyToken for Jwt {
    fn verify(&self, evidence: &Evidence<'_>) -> Result<Claims, TokenError> {
        let rules = &self.rules;
        let signed = open(evidence, rules.typ.as_deref(), None, &rules.keys)?;
        let claims = payload::read(&signed.payload, rules)?;
        Ok(Claims {
            key: signed.key,
            ..claims
        })
    }
}

/// What a good signature stands under.
pub(super) struct Signed {
    /// The payload, decoded.
    pub(super) payload: Vec<u8>,
    /// The name of the key, where it has one.
    pub(super) key: Option<Box<str>>,
}

/// Takes the presented token apart and checks its signature with the keys of the ring. `typ` as in `Rules`; `only` is the
/// one algorithm of the scheme, where it has one.
pub(super) fn open(
    evidence: &Evidence<'_>,
    typ: Option<&str>,
    only: Option<Algorithm>,
    ring: &KeyRing,
) -> Result<Signed, TokenError> {
    if evidence.parts.len() != 1 {
        return Err(TokenError::Malformed("a JWT is one text"));
    }
    let token = Compact::parse(evidence.reveal())?;
    let header = Header::parse(&token.header, typ)?;
    if only.is_some_and(|only| only != header.algorithm) {
        return Err(TokenError::Invalid("the algorithm is not the scheme's"));
    }
    let generation = ring.load().ok_or(TokenError::KeysUnavailable)?;
    let key = check_signature(&header, &generation.keys, ring, |key| token.is_signed_by(key))?;
    Ok(Signed {
        key: key.kid.clone(),
        payload: token.payload,
    })
}

/// The key that signed: the one that the header names, or of those that fit it the one for which `is_it` says so.
pub(in crate::token::scheme) fn check_signature<'k>(
    header: &Header,
    keys: &'k KeySet,
    ring: &KeyRing,
    mut is_it: impl FnMut(&VerifyingKey) -> Result<bool, TokenError>,
) -> Result<&'k VerifyingKey, TokenError> {
    let fits = |key: &&VerifyingKey| key.algorithm == header.algorithm;
    let Some(kid) = &header.kid else {
        return keys.that_signed(header.algorithm, is_it);
    };
    let mut named = keys
        .verifying()
        .iter()
        .filter(|key| key.kid.as_deref() == Some(kid))
        .peekable();
    if named.peek().is_none() {
        ring.missed();
        return Err(TokenError::UnknownKey);
    }
    let key = named
        .find(fits)
        .ok_or(TokenError::Invalid("the algorithm is not the key's"))?;
    if is_it(key)? {
        Ok(key)
    } else {
        Err(TokenError::Invalid("the signature is not the key's"))
    }
}

/// JWS compact serialization (RFC 7515 §7.1), its parts decoded.
pub(in crate::token::scheme) struct Compact<'t> {
    /// Header and payload as they were signed.
    pub(in crate::token::scheme) signed: &'t str,
    /// The signature, in base64url.
    pub(in crate::token::scheme) signature: &'t str,
    pub(in crate::token::scheme) header: Vec<u8>,
    pub(in crate::token::scheme) payload: Vec<u8>,
}

impl<'t> Compact<'t> {
    pub(in crate::token::scheme) fn parse(text: &'t str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed("longer than 8 KiB"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("not three parts"));
        };
        if [header, payload, signature].contains(&"") {
            return Err(TokenError::Malformed("an empty part"));
        }
        // The engine refuses padding, other alphabets and unused bits that are set: one token has one text.
        let decode = |part| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenError::Malformed("not base64url"))
        };
        let signed = &text[..header.len() + 1 + payload.len()];
        Ok(Self {
            signed,
            signature,
            header: decode(header)?,
            payload: decode(payload)?,
        })
    }

    pub(in crate::token::scheme) fn is_signed_by(&self, key: &VerifyingKey) -> Result<bool, TokenError> {
        crypto::verify(self.signature, self.signed.as_bytes(), &key.key, key.algorithm)
            .map_err(|_| TokenError::Malformed("the signature is not base64url"))
    }
}

/// What counts of a JOSE header. `jwk`, `jku`, `x5u` and `x5c` are never looked at.
pub(in crate::token::scheme) struct Header {
    pub(in crate::token::scheme) algorithm: Algorithm,
    pub(in crate::token::scheme) kid: Option<Box<str>>,
}

impl Header {
    /// Reads a header strictly; `typ` as in `Rules`.
    pub(in crate::token::scheme) fn parse(json: &[u8], typ: Option<&str>) -> Result<Self, TokenError> {
        let members = Object::parse(json).map_err(TokenError::Malformed)?;
        let text = |name| match members.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(&**text)),
            Some(_) => Err(TokenError::Malformed("a header member is not a text")),
        };
        // We implement no extension, and a header that changes how the payload is read must not be skipped over.
        if ["crit", "b64", "zip", "enc"]
            .iter()
            .any(|name| members.get(name).is_some())
        {
            return Err(TokenError::Invalid("the header asks for an extension"));
        }
        let fits = match (text("typ")?, typ) {
            (None, None) => true,
            (None, Some(_)) => false,
            // Media types have no case (RFC 7515 §4.1.9).
            (Some(found), wanted) => found.eq_ignore_ascii_case(wanted.unwrap_or("JWT")),
        };
        if !fits {
            return Err(TokenError::Invalid("the type is another one"));
        }
        let kid = text("kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(TokenError::Malformed("the key's name is too long"));
        }
        let algorithm = text("alg")?.ok_or(TokenError::Malformed("no algorithm"))?;
        let algorithm = algorithm
            .parse()
            .map_err(|_| TokenError::Invalid("no such algorithm"))?;
        Ok(Self {
            algorithm,
            kid: kid.map(Box::from),
        })
    }
}

/// What logs and store call a token: by its issuer and `jti`, else by its whole payload. The byte 0xff is in no UTF-8
/// text, so that neither two issuers nor the two cases ever meet.
pub fn token_id(log_key: &LogKey, issuer: &str, jti: Option<&str>, payload: &[u8]) -> TokenId {
    match jti {
        Some(jti) => log_key.name(&[issuer.as_bytes(), &[0xff], jti.as_bytes()].concat()),
        None => log_key.name(&[&[0xff], payload].concat()),
    }
}

#[cfg(test)]
mod tests;
