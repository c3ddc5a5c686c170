//! What every group of tests needs: the schemes of the vectors' profiles, and requests that are judged as the gate does.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::*;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::target::Target;
use crate::token::keys::{KeySet, SetSource};
use crate::token::scheme::signed::vectors::{Case, Request};
use crate::token::{Opens, PublicBase};

mod carrying;
mod claiming;
mod encrypting;
mod minting;
mod mutating;
mod published;
mod renewing;

const FILE: &str = include_str!("../../../../../tests/vectors/rfc9246.json");

fn file() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn ring(name: &str, jwks: &Value) -> Arc<KeyRing> {
    let set = KeySet::from_jwks(jwks.to_string().as_bytes(), SetSource::Local).unwrap();
    Arc::new(KeyRing::fixed(name, set))
}

fn hmac_ring(secret: &[u8; 32]) -> Arc<KeyRing> {
    let set = KeySet::from_hmac(Some("hs"), Algorithm::HS256, &Secret::new(secret.to_vec())).unwrap();
    Arc::new(KeyRing::fixed("hs", set))
}

/// The keys for encryption of a set.
fn content_keys<'v>(jwks: impl IntoIterator<Item = &'v Value>) -> NamedKeys<ContentKey> {
    let keys = jwks.into_iter().filter(|key| key["use"] == "enc").map(|key| {
        let bytes = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
        let key_name = key["kid"].as_str().unwrap().into();
        (key_name, ContentKey::new(&Secret::new(bytes)).unwrap(), None)
    });
    NamedKeys::new(keys)
}

/// The rules of a profile of the vectors.
fn rules(profile: &Value, keys: &Value) -> Rules {
    let official = profile["issuers"].is_object();
    let issuers: Box<[Issuer]> = match official {
        true => [("uCDN Inc", &keys["official_jwks"])]
            .map(|(name, keys)| Issuer {
                name: name.into(),
                keys: ring(name, keys),
            })
            .into(),
        false => keys["issuers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, keys)| Issuer {
                name: name.as_str().into(),
                keys: ring(name, keys),
            })
            .collect(),
    };
    let (unnamed, encryption) = match official {
        true => (&keys["official_jwks"], &keys["official_jwks"]["keys"]),
        false => (&keys["issuer_less_tokens"], &keys["encryption"]),
    };
    let attribute = Name::parse(profile["package_attribute"].as_str().unwrap()).unwrap();
    Rules {
        cookie: attribute.clone(),
        attribute,
        audiences: Box::new([profile["id"].as_str().unwrap().into()]),
        content_keys: content_keys(encryption.as_array().unwrap()),
        dots: Dots::Resolved,
        ..Rules::new(issuers, Some(ring("unnamed", unnamed)), log_key())
    }
}

fn rules_of(case: &Case<'_>) -> Rules {
    rules(case.profile, case.keys)
}

/// Every case of the file.
fn each_case(file: &Value, mut see: impl FnMut(Case<'_>)) {
    for json in file["cases"].as_array().unwrap() {
        see(Case {
            json,
            profile: &file["profiles"][json["profile"].as_str().unwrap()],
            keys: &file["keys"],
        });
    }
}

/// Rules with one HMAC key, in nobody's name.
fn plain() -> Rules {
    Rules::new(Box::default(), Some(hmac_ring(&[9; 32])), log_key())
}

const NOW: UnixTime = UnixTime::from_secs(1_767_225_600);

/// A token over these claims, signed by the key of `plain`.
fn signed(claims: &Value) -> String {
    let ring = hmac_ring(&[9; 32]).load().unwrap();
    let header = br#"{"alg":"HS256","typ":"JWT","kid":"hs"}"#;
    let key = ring.keys.signing(None).unwrap();
    crate::token::scheme::jwt::mint::sign(header, claims.to_string().as_bytes(), key).unwrap()
}

/// The claims of a token.
fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn request(url: &str, cookie: Option<&str>) -> Request {
    let mut headers = HeaderMap::new();
    if let Some(cookie) = cookie {
        headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
    }
    Request::new("GET", url, headers, "203.0.113.7".parse().unwrap(), NOW)
}

fn judge(scheme: &Cdni, url: &str) -> Result<Claims, String> {
    request(url, None)
        .judge(scheme, Duration::ZERO)
        .map(|(claims, _)| claims)
}

/// Whether a token with these claims opens the URL, which it is put into.
fn opens(url: &str, claims: &Value) -> Result<Claims, String> {
    let joint = if url.contains('?') { '&' } else { '?' };
    judge(
        &Cdni::new(plain()),
        &format!("{url}{joint}{ATTRIBUTE}={}", signed(claims)),
    )
}

fn wish<'w>(target: &'w Target, public: &'w PublicBase) -> Wish<'w> {
    Wish {
        public: Some(public),
        method: &Method::GET,
        target,
        opens: None,
        place: Place::Url,
        now: NOW,
        not_before: None,
        expires: UnixTime::from_secs(NOW.secs() + 3600),
        address: None,
        subject: None,
        id: None,
    }
}

fn public() -> PublicBase {
    PublicBase {
        scheme: "https".into(),
        authority: "media.example.com".into(),
    }
}

fn url_of(signed: Signed) -> String {
    match signed {
        Signed::Url(path) => format!("https://media.example.com{path}"),
        other => panic!("not a URL: {other:?}"),
    }
}
