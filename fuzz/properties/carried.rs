//! What must hold of tokens that ride where a route's carriers say: native JWTs, Sirv's, and Adobe's short media tokens.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Method};
use jsonwebtoken::Algorithm;
use mediagate::clock::UnixTime;
use mediagate::secret::Secret;
use mediagate::target::Target;
use mediagate::token::keys::{KeyRing, KeySet, LogKey, SetSource};
use mediagate::token::scheme::jwt::{Jwt, Profile, Rules};
use mediagate::token::scheme::short_media::{self, ShortMedia};
use mediagate::token::scheme::sirv::{self, Sirv};
use mediagate::token::{Claims, Evidence, TokenError, Uses, VerifyToken};

use super::families::RSA;

const SECRET: &[u8] = b"fuzz-key-fuzz-key-fuzz-key-fuzz-key";

fn ring() -> Arc<KeyRing> {
    let set = serde_json::json!({ "keys": [
        { "kty": "oct", "alg": "HS256", "kid": "k", "k": URL_SAFE_NO_PAD.encode(SECRET) },
    ] });
    let keys = KeySet::from_jwks(set.to_string().as_bytes(), SetSource::Local).expect("a set");
    Arc::new(KeyRing::fixed("fuzz", keys))
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn verified(verifier: &impl VerifyToken, token: &str) -> Result<Claims, TokenError> {
    let headers = HeaderMap::new();
    verifier.verify(&Evidence {
        method: &Method::GET,
        public: None,
        raw_path: "/",
        raw_query: None,
        headers: &headers,
        client: IpAddr::from([127, 0, 0, 1]),
        proxied: false,
        parts: [token.into()].into_iter().collect(),
    })
}

/// Header and payload under a good signature, where the verifier believes them; a changed one is never believed.
fn believed(verifier: &impl VerifyToken, header: &[u8], payload: &[u8]) -> Option<Claims> {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let tag = tag.as_ref();
    for at in [0, 17, 31] {
        let mut other = tag.to_vec();
        other[at] ^= 1;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(other));
        assert!(verified(verifier, &token).is_err(), "a false signature");
    }
    verified(verifier, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))).ok()
}

/// A header and, behind a line feed, a payload; the usual header where there is but one line.
fn two_lines<'d>(data: &'d [u8], usual: &'d [u8]) -> (&'d [u8], &'d [u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (usual, data),
    }
}

/// Whether `time` is what a number of seconds in JSON says.
fn is_time(time: UnixTime, number: &serde_json::Value) -> bool {
    let wanted = number.as_f64().expect("a number") * 1000.0;
    let margin = wanted.abs() * 1e-12 + 1.0;
    let [earliest, latest] =
        [wanted - margin, wanted + margin].map(|millis| UnixTime::from_millis(millis as i64));
    (earliest..=latest).contains(&time)
}

fn verifier() -> Jwt {
    Jwt::new(Rules {
        keys: ring(),
        issuers: Box::new(["i".into()]),
        audiences: Box::new(["a".into()]),
        typ: None,
        profile: Profile::Native,
        require: Box::default(),
        max_lifetime: None,
        named: Box::new(["tenant".into()]),
        log_key: log_key(),
    })
}

/// Header and payload under a good signature: what is believed is what a second JSON parser reads, and a changed
/// signature is never believed.
pub(crate) fn claims(data: &[u8]) {
    thread_local!(static VERIFIER: Jwt = verifier());
    const HEADER: &[u8] = br#"{"alg":"HS256","kid":"k"}"#;
    let (header, payload) = two_lines(data, HEADER);
    let Some(claims) = VERIFIER.with(|verifier| believed(verifier, header, payload)) else {
        return;
    };
    let header: serde_json::Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    assert_eq!((&header["alg"], header.get("crit")), (&"HS256".into(), None));
    assert!(
        header.get("kid").is_none_or(|kid| kid == "k"),
        "a key that is not named so"
    );
    let json: serde_json::Value = serde_json::from_slice(payload).expect("accepted claims are JSON");
    assert_eq!(json["iss"], "i");
    let audience = &json["aud"];
    assert!(audience == "a" || audience.as_array().is_some_and(|list| list.contains(&"a".into())));
    let expires = claims.expires.expect("an expiry");
    assert!(is_time(expires, &json["exp"]), "{expires:?}");
    assert_eq!(claims.subject.as_deref(), json["sub"].as_str());
    assert_eq!(claims.id.as_deref(), json["jti"].as_str());
    assert_eq!(
        claims.scope.is_some(),
        json.get("paths").or(json.get("media")).is_some()
    );
    assert!(
        claims
            .filename
            .is_none_or(|name| !name.contains(['\r', '\n', '\0', '/', '\\']))
    );
}

/// The same of Sirv's tokens, whose `aud` is what they open; whatever else would restrict a token is refused.
pub(crate) fn sirv(data: &[u8]) {
    thread_local!(static VERIFIER: Sirv = Sirv::new(sirv::Rules {
        keys: ring(),
        forward_args: true,
        max_lifetime: None,
        log_key: log_key(),
    }));
    let (header, payload) = two_lines(data, br#"{"alg":"HS256","typ":"JWT"}"#);
    let Some(claims) = VERIFIER.with(|verifier| believed(verifier, header, payload)) else {
        return;
    };
    let header: serde_json::Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    assert_eq!((&header["alg"], header.get("crit")), (&"HS256".into(), None));
    let json: serde_json::Value = serde_json::from_slice(payload).expect("accepted claims are JSON");
    assert!(is_time(claims.expires.expect("an expiry"), &json["exp"]));
    for restriction in ["paths", "media", "methods", "ips", "uses", "rate", "streams"] {
        assert!(json.get(restriction).is_none(), "{restriction} was passed over");
    }
    let audience = json["aud"].as_str().expect("an audience");
    let scope = claims.scope.expect("it opens something");
    if let Ok(target) = Target::from_decoded(audience) {
        let below = Target::from_decoded(&format!("{}/x", audience.trim_end_matches('/'))).expect("a path");
        assert!(scope.opens(&target, None) || audience.ends_with('/'));
        assert!(!scope.opens(&Target::from_decoded("/").expect("a path"), None) || audience == "/");
        let is_file = audience.rsplit('/').next().is_some_and(|name| name.contains('.'));
        assert_eq!(scope.opens(&below, None), !is_file, "{audience}");
    }
    let parameters = claims.parameters.len();
    let arguments = json.get("args").and_then(|args| args.as_object());
    assert_eq!(parameters, arguments.map_or(0, |arguments| arguments.len()));
}

struct Adobe {
    verifier: ShortMedia,
    pair: RsaKeyPair,
}

impl Adobe {
    fn new() -> Self {
        let set = KeySet::from_pem(Some("k"), Algorithm::RS256, &Secret::new(RSA.into())).expect("a set");
        let body: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).expect("Base64");
        Self {
            verifier: ShortMedia::succeeding(
                short_media::Rules {
                    keys: Arc::new(KeyRing::fixed("fuzz", set)),
                    requestors: Box::new(["SPORT".into()]),
                    resources: None,
                    uses: Uses::UntilExpiry,
                    log_key: log_key(),
                },
                [],
            ),
            pair: RsaKeyPair::from_pkcs8(&der).expect("a key"),
        }
    }

    fn sign(&self, element: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), element, &mut signature)
            .expect("a signature");
        signature
    }
}

/// An element under a good signature: what is believed stands in it, once and between its tags. A text of the client's own
/// is never believed, and neither is a changed signature.
pub(crate) fn short_media(data: &[u8]) {
    thread_local!(static ADOBE: Adobe = Adobe::new());
    ADOBE.with(|adobe| {
        if let Ok(text) = std::str::from_utf8(data) {
            assert!(verified(&adobe.verifier, text).is_err(), "nobody has signed it");
        }
        let token = |signature: &[u8]| {
            let open = format!("<signatureInfo>{}</signatureInfo>", STANDARD.encode(signature));
            STANDARD.encode([open.as_bytes(), data].concat())
        };
        // What can't be read needs no signature.
        if short_media::Token::parse(&token(&[0; 256])).is_err() {
            return;
        }
        let mut signature = adobe.sign(data);
        let good = verified(&adobe.verifier, &token(&signature));
        signature[17] ^= 1;
        assert!(
            verified(&adobe.verifier, &token(&signature)).is_err(),
            "a false signature"
        );
        let Ok(claims) = good else { return };
        let element = std::str::from_utf8(data).expect("an accepted element is text");
        let said = |name: &str| {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            assert_eq!(
                (element.matches(&open).count(), element.matches(&close).count()),
                (1, 1)
            );
            let rest = element.split_once(&open).expect("a member").1;
            rest.split_once(&close).expect("its end").0
        };
        let subject = claims.subject.expect("a session");
        let raw = said("sessionGUID");
        assert!(*subject == *raw || raw.contains('&'), "{subject:?} for {raw:?}");
        assert!(!subject.contains(|letter: char| letter.is_control()));
        let raw = said("requestorID");
        assert!(raw == "SPORT" || raw.contains('&'), "for another requestor");
        let raw = said("ttl");
        let life = raw.parse::<u64>();
        let (issued, expires) = (claims.issued.expect("a start"), claims.expires.expect("an end"));
        let millis = u64::try_from(issued.until(expires).as_millis());
        assert!(
            life.ok() == millis.ok() || raw.contains('&'),
            "another life than {raw}"
        );
    });
}
