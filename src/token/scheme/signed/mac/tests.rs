//! The engine as its users meet it: the published vectors, links minted and read again, rules that are refused.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::Value;

use super::presets::{PRESETS, Preset};
use super::*;
use crate::target::Target;
use crate::token::Opens;
use crate::token::scheme::signed::vectors::{Case, Request};
use crate::token::scheme::signed::{NamedKeys, Place};

mod cases;
mod configured;
mod links;
mod minted;
mod mutations;
mod refused;
mod requests;

const NGINX: &str = include_str!("../../../../../tests/vectors/nginx_secure_link.json");
const LIGHTTPD: &str = include_str!("../../../../../tests/vectors/lighttpd_secdownload.json");
const CLOUDFLARE: &str = include_str!("../../../../../tests/vectors/cloudflare_timed_hmac.json");
const MISC: &str = include_str!("../../../../../tests/vectors/misc_cdn.json");

const SECRET: &[u8] = b"correct horse battery staple";

/// What a case of a file is judged by; `None` for those of other schemes.
type Builder = fn(&Case<'_>) -> Option<Mac>;

const FILES: [(&str, Builder, usize); 4] = [
    (NGINX, nginx, 60),
    (LIGHTTPD, lighttpd, 38),
    (CLOUDFLARE, cloudflare, 25),
    // 79, of which 12 are JWTs of Mux and Cloudflare Stream: the native scheme's.
    (MISC, misc, 67),
];

fn now() -> UnixTime {
    UnixTime::from_secs(1_767_225_600)
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 16])))
}

fn keys(secret: &[u8]) -> NamedKeys<Secret> {
    NamedKeys::new([("first".into(), Secret::new(secret.to_vec()), None)])
}

/// The rules of a preset with one secret.
fn rules(preset: &str, secret: &[u8]) -> Rules {
    let preset = Preset::named(preset).expect("a preset");
    preset.rules(keys(secret), log_key()).expect("rules")
}

/// The same with another pattern and place.
fn altered(preset: &str, secret: &[u8], pattern: &str, place: &str) -> Rules {
    Rules {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        place: Layout::parse(place).expect("a place"),
        ..rules(preset, secret)
    }
}

/// KeyCDN's rules with this pattern and place.
fn with(pattern: &str, place: &str) -> Rules {
    altered("keycdn", SECRET, pattern, place)
}

/// With rules that are sound.
fn built(rules: Rules) -> Mac {
    Mac::build(rules).expect("sound rules")
}

fn key<'v>(case: &'v Case<'_>, name: &str) -> &'v [u8] {
    let own = case.json["key_override"].as_str();
    own.or(case.keys[name].as_str()).expect("a key").as_bytes()
}

fn nginx(case: &Case<'_>) -> Option<Mac> {
    let link = "nginx_secure_link";
    let without_expiry = |rules: Rules| Rules {
        without_expiry: true,
        ..rules
    };
    let secret = |place: &str, secret: &[u8]| {
        let pattern = "{link_raw}{and_query}{secret}";
        without_expiry(altered("nginx_secure_link_secret", secret, pattern, place))
    };
    let rules = match case.text("profile") {
        "ip" => rules(link, key(case, "ip_secret")),
        "doc" => rules(link, b"secret"),
        "noip" => altered(
            link,
            key(case, "noip_secret"),
            "{secret}{path}{expires}",
            "?st={mac}&e={expires}",
        ),
        "prefix" => altered(
            link,
            key(case, "prefix_secret"),
            "{expires}{segments:1}/ {secret}",
            "/hls/{mac}/{expires}",
        ),
        "nolimit" => without_expiry(Rules {
            time: Time::Absent,
            ..altered(link, key(case, "noip_secret"), "{path} {secret}", "?md5={mac}")
        }),
        "secret" => secret("/w/{mac}", key(case, "secure_link_secret")),
        "doc_secret" => secret("/p/{mac}", b"secret"),
        other => panic!("{other}"),
    };
    Some(built(rules))
}

fn lighttpd(case: &Case<'_>) -> Option<Mac> {
    let secret = key(case, "secret");
    let place = "/dl/{mac}/{issued}";
    let sha256 = "lighttpd_secdownload_hmac_sha256";
    let rules = match case.text("profile") {
        "md5" => altered("lighttpd_secdownload", secret, "{secret}{path}{issued}", place),
        "sha1" => altered("lighttpd_secdownload_hmac_sha1", secret, "/{issued}{path}", place),
        "sha256" => altered(sha256, secret, "/{issued}{path}", place),
        "seg" => altered(sha256, secret, "/{issued}{segments:1}", place),
        "qs" => altered(sha256, secret, "/{issued}{path}{and_query}", place),
        other => panic!("{other}"),
    };
    let timeout = case.profile["timeout"].as_u64().expect("a timeout");
    let time = rules.time.lasting(Duration::from_secs(timeout));
    Some(built(Rules { time, ..rules }))
}

fn cloudflare(case: &Case<'_>) -> Option<Mac> {
    let rules = rules("cloudflare_timed_hmac", key(case, "secret"));
    let ttl = case.profile["ttl_seconds"].as_u64().expect("a ttl");
    let rules = Rules {
        time: rules.time.lasting(Duration::from_secs(ttl)),
        ..rules
    };
    Some(
        Mac::build(match case.text("profile") {
            "s" => Rules {
                encoding: Encoding::Base64Url(Padding::Without),
                ..rules
            },
            _ => rules,
        })
        .expect("sound rules"),
    )
}

fn misc(case: &Case<'_>) -> Option<Mac> {
    let profile = case.text("profile");
    if matches!(profile, "mux" | "cloudflare_stream") {
        return None;
    }
    let rules = match profile {
        "fastly" => {
            use base64::Engine as _;
            let key = case.keys["fastly_key_base64"].as_str().expect("a key");
            let key = base64::engine::general_purpose::STANDARD
                .decode(key)
                .expect("Base64");
            rules(profile, &key)
        }
        _ => rules(profile, key(case, "secret")),
    };
    let rules = match case.profile["ttl_seconds"].as_u64() {
        Some(ttl) => Rules {
            time: rules.time.lasting(Duration::from_secs(ttl)),
            ..rules
        },
        None => rules,
    };
    Some(built(rules))
}

/// All cases of a file with what judges them.
fn each(file: &str, build: Builder, mut see: impl FnMut(&Case<'_>, Mac)) {
    let file: Value = serde_json::from_str(file).expect("JSON");
    for json in file["cases"].as_array().expect("cases") {
        let case = Case {
            json,
            profile: &file["profiles"][json["profile"].as_str().expect("a profile")],
            keys: &file["keys"],
        };
        if let Some(mac) = build(&case) {
            see(&case, mac);
        }
    }
}

fn target(path: &str) -> Target {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    Target::parse(path, query).expect("a target")
}

/// A wish for a link that ends in an hour.
fn wish(target: &Target) -> Wish<'_> {
    Wish {
        public: None,
        method: &Method::GET,
        target,
        opens: None,
        place: Place::Url,
        now: now(),
        not_before: None,
        expires: UnixTime::from_secs(now().secs() + 3600),
        address: None,
        subject: None,
        id: None,
    }
}

/// What a wish for this target has to open, where its link is for more.
fn folder(mac: &Mac, target: &Target) -> Option<Opens> {
    let rest = mac.rest(target.path()).expect("a path of these links");
    let folder = mac.folder(target.path(), rest)?;
    Some(Opens::literal(&folder).expect("a folder"))
}

fn url(signed: Result<Signed, TokenError>) -> String {
    match signed.expect("a link") {
        Signed::Url(url) => url,
        other => panic!("{other:?}"),
    }
}

/// What the gate makes of a link at `now`.
fn judge_at(mac: &Mac, link: &str, at: UnixTime) -> Result<(Claims, Target), String> {
    let client = "203.0.113.7".parse().expect("an address");
    let link = format!("https://media.example.com{link}");
    Request::new("GET", &link, HeaderMap::new(), client, at).judge(mac, Duration::ZERO)
}

fn judge(mac: &Mac, link: &str) -> Result<(Claims, Target), String> {
    judge_at(mac, link, now())
}
