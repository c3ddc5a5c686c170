//! Tokens made independently of the product: base64url and HMAC-SHA256 or Ed25519, with any header and any claims.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::gate::NOW;

/// `iss` of media tokens in the tests.
pub(crate) const ISSUER: &str = "https://issuer.test";
/// `aud` of media tokens in the tests.
pub(crate) const AUDIENCE: &str = "media";
/// `iss` of callers' bearers.
pub(crate) const CALLERS: &str = "https://callers.test";
/// `aud` of callers' bearers.
pub(crate) const CALLERS_AUDIENCE: &str = "issuer";

/// An HS256 key.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pub(crate) secret: &'static [u8],
}

/// Signs and checks media tokens.
pub(crate) const MEDIA: Key = Key {
    kid: "media-1",
    secret: b"media-key-media-key-media-key-0001",
};
/// Signs and checks download tokens.
pub(crate) const DOWNLOAD: Key = Key {
    kid: "download-1",
    secret: b"download-key-download-key-down-002",
};
/// Signs callers' bearers.
pub(crate) const CALLER: Key = Key {
    kid: "caller-1",
    secret: b"caller-key-caller-key-caller-k-003",
};
/// In no key set.
pub(crate) const STRANGER: Key = Key {
    kid: "media-1",
    secret: b"stranger-key-stranger-key-stran-04",
};

impl Key {
    /// As a member of a JWK set.
    pub(crate) fn jwk(self) -> Value {
        json!({ "kty": "oct", "alg": "HS256", "kid": self.kid, "k": b64(self.secret) })
    }

    /// The JWT header that names it.
    pub(crate) fn header(self) -> Value {
        json!({ "typ": "JWT", "alg": "HS256", "kid": self.kid })
    }
}

/// A JWK set as it stands in a file.
pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Base64url without padding.
pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64url without padding, back.
pub(crate) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// A signed token of exactly this header and payload text.
pub(crate) fn raw(header: &str, payload: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", b64(tag))
}

/// A JWT by HS256.
pub(crate) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    raw(&header.to_string(), &claims.to_string(), secret)
}

/// Header and claims of a token, unchecked.
pub(crate) fn opened(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(unb64);
    let mut json = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
    (json(), json())
}

/// An Ed25519 key made from a seed.
pub(crate) struct Ed25519 {
    pair: Ed25519KeyPair,
    kid: String,
}

impl Ed25519 {
    /// The same key for the same seed.
    pub(crate) fn from_seed(kid: &str, seed: u8) -> Self {
        let seed = digest::digest(&digest::SHA256, &[seed]);
        Self {
            pair: Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).expect("key"),
            kid: kid.into(),
        }
    }

    /// The public half's bytes.
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public half as a member of a JWK set.
    pub(crate) fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": b64(self.public()) })
    }

    /// A JWT by EdDSA.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": self.kid });
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        format!("{signed}.{}", b64(self.pair.sign(signed.as_bytes())))
    }
}

/// A media token in the making: good for `/**` and 300 seconds unless told otherwise.
#[derive(Clone)]
pub(crate) struct Token {
    claims: Value,
    header: Value,
    key: Key,
}

impl Token {
    /// A token that opens these paths.
    pub(crate) fn opening(paths: &[&str]) -> Self {
        Self {
            claims: json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": "customer-42", "jti": "jti-of-a-test",
                "iat": NOW, "exp": NOW + 300, "paths": paths,
            }),
            header: MEDIA.header(),
            key: MEDIA,
        }
    }

    /// A token that opens everything.
    pub(crate) fn whole() -> Self {
        Self::opening(&["/**"])
    }

    /// A caller's bearer with these scope values.
    pub(crate) fn caller(subject: &str, scope: &str) -> Self {
        Self {
            claims: json!({
                "iss": CALLERS, "aud": CALLERS_AUDIENCE, "sub": subject, "iat": NOW, "exp": NOW + 3600, "scope": scope,
            }),
            header: CALLER.header(),
            key: CALLER,
        }
    }

    /// Sets a claim.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// Removes a claim.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().expect("claims").remove(name);
        self
    }

    /// Expires at this second.
    pub(crate) fn expires(self, at: i64) -> Self {
        self.claim("exp", at)
    }

    /// Sets a member of the header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// Signs with this key, whatever the header says.
    pub(crate) fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// The claims.
    pub(crate) fn claims(&self) -> &Value {
        &self.claims
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        hs256(&self.header, &self.claims, self.key.secret)
    }

    /// `path?t=…`.
    pub(crate) fn at(&self, path: &str) -> String {
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}t={}", self.text())
    }

    /// `/~…path`.
    pub(crate) fn before(&self, path: &str) -> String {
        format!("/~{}{path}", self.text())
    }

    /// The value of an `Authorization` header.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.text())
    }
}

/// The same token with its signature changed.
pub(crate) fn tampered(token: &str) -> String {
    let at = token.rfind('.').expect("a signature") + 1;
    let swapped = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{swapped}{}", &token[..at], &token[at + 1..])
}
