//! What the vectors say, and what they leave open: claims, carriers, renewal, minting, and tokens that somebody changed.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::cbor::{Item, Label, Map};
use super::*;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::target::Target;
use crate::token::scheme::signed::vectors::{self, Case, Request};
use crate::token::{Opens, PublicBase};

mod carriers;
mod cbor_strict;
mod claims;
mod minting;
mod mutations;
mod vector_file;

const NOW: i64 = 1_767_225_600;
const URL: &str = "https://media.example.com/videos/show1/master.m3u8";
const ISSUER: &str = "https://cat.media.example.com";

fn now() -> UnixTime {
    UnixTime::from_secs(NOW)
}

fn secret(byte: u8) -> Secret {
    Secret::new(vec![byte; 32])
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&secret(9)))
}

fn mac(byte: u8) -> CatKey {
    CatKey::build(Algorithm::Hmac256, &secret(byte)).unwrap()
}

fn named<const N: usize>(keys: [(&str, CatKey); N]) -> NamedKeys<CatKey> {
    NamedKeys::new(keys.map(|(name, key)| (name.into(), key, None)))
}

/// Two secrets, one issuer.
fn rules() -> Rules {
    Rules {
        issuers: Box::new([ISSUER.into()]),
        ..Rules::new(named([("one", mac(1)), ("two", mac(2))]), log_key())
    }
}

/// A token with these claims next to an issuer and an end, made with the first key of `rules()`.
fn token(claims: impl IntoIterator<Item = (i64, Item<'static>)>) -> String {
    let mut map: Map<'_> = vec![
        (Label::Int(1), Item::Text(ISSUER)),
        (Label::Int(4), Item::Int(NOW + 3600)),
    ];
    for (label, item) in claims {
        map.retain(|(known, _)| *known != Label::Int(label));
        map.push((Label::Int(label), item));
    }
    seal(&Item::Map(map).encode())
}

fn seal(payload: &[u8]) -> String {
    let keys = rules().keys;
    cwt::seal(keys.named("one", now()).unwrap(), payload).unwrap()
}

fn map<const N: usize>(members: [(i64, Item<'static>); N]) -> Item<'static> {
    Item::Map(members.map(|(label, item)| (Label::Int(label), item)).into())
}

fn list<const N: usize>(items: [Item<'static>; N]) -> Item<'static> {
    Item::List(items.into())
}

fn text(text: &'static str) -> Item<'static> {
    Item::Text(text)
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    all.iter().map(pair).collect()
}

fn request(url: &str, all: &[(&'static str, &str)]) -> Request {
    Request::new("GET", url, headers(all), "203.0.113.7".parse().unwrap(), now())
}

/// A request with the token in its header.
fn with(token: &str) -> Request {
    request(URL, &[("cta-common-access-token", token)])
}

fn judge(rules: Rules, request: &Request) -> Result<Claims, String> {
    let judged = request.judge(&Cat::new(rules), Duration::ZERO);
    judged.map(|(claims, _)| claims)
}

fn public() -> PublicBase {
    PublicBase {
        scheme: "https".into(),
        authority: "media.example.com".into(),
    }
}

fn wish<'w>(target: &'w Target, public: Option<&'w PublicBase>, place: Place) -> Wish<'w> {
    Wish {
        public,
        method: &Method::GET,
        target,
        opens: None,
        place,
        now: now(),
        not_before: None,
        expires: UnixTime::from_secs(NOW + 3600),
        address: None,
        subject: None,
        id: None,
    }
}
