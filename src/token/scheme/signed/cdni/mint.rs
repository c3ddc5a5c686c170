//! Tokens of our own: for links, and for renewal. Members in one fixed order, times as whole seconds.

use jsonwebtoken::Algorithm;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Renewing, Rules, container, jwe};
use crate::token::TokenError;
use crate::token::keys::SigningKey;
use crate::token::scheme::jwt::mint;
use crate::token::scheme::signed::Wish;

/// A token for a link.
pub(super) fn token(rules: &Rules, wish: &Wish<'_>) -> Result<String, TokenError> {
    let public = wish
        .public
        .ok_or(TokenError::Invalid("public scheme and host are not configured"))?;
    let encrypt = |text: Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let key = rules
            .content_keys
            .at(wish.now)
            .next()
            .ok_or(TokenError::Invalid("no key can encrypt"))?;
        jwe::seal(&text, key)
            .map(Some)
            .ok_or(TokenError::Invalid("no random numbers"))
    };
    let issuer = rules.minter();
    let payload = Payload {
        issuer,
        // Rounded so that it is never valid for longer than it was meant to.
        expires: wish.expires.secs(),
        not_before: wish
            .not_before
            .map(|start| start.secs() + i64::from(start.millis().rem_euclid(1000) != 0)),
        container: container::of(wish, public)?,
        id: wish.id,
        subject: encrypt(wish.subject.map(str::to_owned))?,
        address: encrypt(wish.address.map(|address| address.to_string()))?,
        renewal: rules.renewal,
    };
    let ring = rules
        .ring(issuer)
        .ok_or(TokenError::Invalid("the signer has no keys"))?;
    let generation = ring.load().ok_or(TokenError::KeysUnavailable)?;
    let key = generation
        .keys
        .signing(rules.signing_kid.as_deref())
        .ok_or(TokenError::Invalid("no key of the signer can sign"))?;
    sign(key, &payload)
}

/// Signs claims with this key.
pub(super) fn sign(key: &SigningKey, payload: &impl Serialize) -> Result<String, TokenError> {
    #[derive(serde::Serialize)]
    struct Header<'h> {
        alg: Algorithm,
        typ: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<&'h str>,
    }
    let header = Header {
        alg: key.algorithm,
        typ: "JWT",
        kid: key.kid.as_deref(),
    };
    let unsayable = |_| TokenError::Invalid("the claims are not JSON");
    let header = serde_json::to_vec(&header).map_err(unsayable)?;
    let payload = serde_json::to_vec(payload).map_err(unsayable)?;
    mint::sign(&header, &payload, key)
}

/// Claims that were found sayable.
struct Payload<'w> {
    issuer: Option<&'w str>,
    expires: i64,
    not_before: Option<i64>,
    container: String,
    id: Option<&'w str>,
    subject: Option<String>,
    address: Option<String>,
    renewal: Option<Renewing>,
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(issuer) = self.issuer {
            map.serialize_entry("iss", issuer)?;
        }
        map.serialize_entry("exp", &self.expires)?;
        map.serialize_entry("cdniuc", &self.container)?;
        if let Some(start) = self.not_before {
            map.serialize_entry("nbf", &start)?;
        }
        if let Some(id) = self.id {
            map.serialize_entry("jti", id)?;
        }
        if let Some(subject) = &self.subject {
            map.serialize_entry("sub", subject)?;
        }
        if let Some(address) = &self.address {
            map.serialize_entry("cdniip", address)?;
        }
        if let Some(renewal) = self.renewal {
            map.serialize_entry("cdnistt", &1)?;
            map.serialize_entry("cdniets", &renewal.seconds)?;
            if renewal.depth > 0 {
                map.serialize_entry("cdnistd", &renewal.depth)?;
            }
        }
        map.end()
    }
}
