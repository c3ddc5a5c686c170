//! What tokens say, claim by claim, and what refuses them.

use std::cell::RefCell;

use serde_json::json;

use super::*;
use crate::token::scheme::signed::{Asked, Shown, Signatures};
use crate::token::{Evidence, Uses};

pub(super) const URL: &str = "https://media.example.com/a/b.mp4";
const EXP: i64 = NOW.secs() + 60;

/// Good claims with others beside or instead.
pub(super) fn with(more: Value) -> Value {
    let mut claims = json!({ "exp": EXP, "cdniuc": "regex:https://media\\.example\\.com/a/.*" });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn claims_are_told_as_they_are() {
    let claims = opens(URL, &with(json!({ "nbf": NOW.secs(), "iat": 5, "jti": "J" }))).unwrap();
    assert_eq!(claims.expires, Some(UnixTime::from_secs(EXP)));
    assert_eq!(claims.not_before, Some(NOW));
    assert_eq!(claims.issued, Some(UnixTime::from_secs(5)));
    assert_eq!((claims.id.as_deref(), claims.uses), (Some("J"), Uses::Strict));
    assert_eq!(claims.key.as_deref(), Some("hs"));
    assert_eq!(claims.issuer, None);
    assert!(claims.addresses.is_none() && claims.subject.is_none() && claims.renewal.is_none());
}

#[test]
fn claims_of_wrong_types_and_restrictions_that_nobody_enforces_refuse() {
    for (more, code) in [
        (json!({ "cdniv": 2 }), "408"),
        (json!({ "cdniv": "1" }), "408"),
        (json!({ "cdniv": null }), "408"),
        (json!({ "cdnicrit": "exp" }), "409"),
        (json!({ "cdnicrit": "" }), "409"),
        (json!({ "cdnicrit": ["foo"] }), "409"),
        (json!({ "aud": "nobody" }), "403"),
        (json!({ "aud": [] }), "403"),
        (json!({ "aud": 1 }), "403"),
        (json!({ "exp": "1" }), "404"),
        (json!({ "exp": null }), "404"),
        (json!({ "nbf": "1" }), "405"),
        (json!({ "nbf": [1] }), "405"),
        (json!({ "iat": "1" }), "500"),
        (json!({ "jti": 1 }), "407"),
        (json!({ "iss": 1 }), "401"),
        (json!({ "iss": "nobody" }), "401"),
        (json!({ "sub": "me" }), "402"),
        (json!({ "sub": 1 }), "402"),
        (json!({ "cdniip": "203.0.113.7" }), "410"),
        (json!({ "cdniip": null }), "410"),
        (json!({ "cdniets": 30 }), "406"),
        (json!({ "cdnistt": 0 }), "406"),
        (json!({ "cdniets": "30", "cdnistt": 0 }), "406"),
        (json!({ "cdniets": 30, "cdnistt": 3 }), "406"),
        (json!({ "cdniets": 30, "cdnistt": "1" }), "406"),
        (json!({ "cdniets": 30, "cdnistt": 0.5 }), "406"),
        (json!({ "cdniets": 0, "cdnistt": 1 }), "406"),
        (json!({ "cdniets": -1, "cdnistt": 2 }), "406"),
        (json!({ "cdniets": 1e300, "cdnistt": 1 }), "406"),
        (json!({ "cdnistd": -1 }), "406"),
        (json!({ "cdnistd": 1.5 }), "406"),
        (json!({ "cdnistd": "1" }), "406"),
        (json!({ "cdniuc": null }), "411"),
        (json!({ "cdniuc": "" }), "411"),
        (json!({ "cdniuc": "regex:" }), "411"),
        (json!({ "cdniuc": "REGEX:.*" }), "411"),
        (json!({ "cdniuc": "hash:" }), "411"),
        (json!({ "cdniuc": "hash:sha-256;" }), "411"),
        (json!({ "cdniuc": "hash:sha-256-128;AAAA" }), "411"),
        (json!({ "cdniuc": "https://media.example.com/a/b.mp4" }), "411"),
    ] {
        let error = opens(URL, &with(more.clone())).unwrap_err();
        assert!(error.contains(&format!(": {code} ")), "{more}: {error}");
    }
}

#[test]
fn an_id_needs_an_end_that_it_can_be_remembered_to() {
    let claims = json!({ "cdniuc": "regex:.*", "jti": "J" });
    assert!(opens(URL, &claims).unwrap_err().contains("407 "));
    assert!(opens(URL, &json!({ "cdniuc": "regex:.*" })).is_ok());
    let strict = Rules {
        expiry: Expiry::Required,
        ..plain()
    };
    let url = format!("{URL}?{ATTRIBUTE}={}", signed(&json!({ "cdniuc": "regex:.*" })));
    assert!(judge(&Cdni::new(strict), &url).unwrap_err().contains("404 "));
}

#[test]
fn an_id_is_spent_for_the_content_alone_however_that_is_spelled() {
    let name = |url: &str, id: &str| {
        let claims = json!({ "exp": EXP, "cdniuc": "regex:.*", "jti": id });
        opens(url, &claims).unwrap().token_id
    };
    let spent = name("https://media.example.com/a;b", "J");
    for again in [
        "https://media.example.com/a%3bb",
        "https://media.example.com/a;b?x=1",
        "https://MEDIA.example.com:443/%61;b",
        "http://other.example/a;b",
    ] {
        assert_eq!(name(again, "J"), spent, "{again}");
    }
    assert_ne!(name("https://media.example.com/a;c", "J"), spent);
    assert_ne!(name("https://media.example.com/a;b", "K"), spent);
}

#[test]
fn the_name_of_a_token_is_not_of_its_text() {
    // Two signatures over the same claims are one token.
    let ring = || {
        ring(
            "es",
            &serde_json::from_str(&KeySet::generate(Algorithm::ES256).unwrap()).unwrap(),
        )
    };
    let keys = ring();
    let rules = || Rules::new(Box::default(), Some(Arc::clone(&keys)), log_key());
    let (public, target) = (public(), Target::parse("/a", None).unwrap());
    let mint = || url_of(Cdni::new(rules()).sign(&wish(&target, &public)).unwrap());
    let (one, other) = (mint(), mint());
    assert_ne!(one, other);
    let scheme = Cdni::new(rules());
    let name = |url: &str| judge(&scheme, url).unwrap().token_id;
    assert_eq!(name(&one), name(&other));
}

#[test]
fn an_issuer_is_believed_by_its_own_keys_alone() {
    let issuers = |names: [&str; 2]| {
        names.map(|name| Issuer {
            name: name.into(),
            keys: hmac_ring(if name == "a" { &[1; 32] } else { &[2; 32] }),
        })
    };
    let rules = |signer: &str| Rules {
        signer: Some(signer.into()),
        ..Rules::new(Box::new(issuers(["a", "b"])), None, log_key())
    };
    let (public, target) = (public(), Target::parse("/x", None).unwrap());
    let scheme = Cdni::new(rules("a"));
    let url = url_of(scheme.sign(&wish(&target, &public)).unwrap());
    assert_eq!(judge(&scheme, &url).unwrap().issuer.as_deref(), Some("a"));
    // The keys of `b` sign what says `a`.
    let of_b = hmac_ring(&[2; 32]).load().unwrap();
    let key = of_b.keys.signing(None).unwrap();
    let as_a = mint::sign(key, &json!({ "iss": "a", "cdniuc": "regex:.*" })).unwrap();
    let url = format!("{URL}?{ATTRIBUTE}={as_a}");
    assert!(judge(&scheme, &url).is_err());
    // In no name, where there are no keys for that.
    let url = format!("{URL}?{ATTRIBUTE}={}", signed(&with(json!({}))));
    assert!(judge(&scheme, &url).unwrap_err().contains("401 "));
}

#[test]
fn headers_that_change_the_reading_and_other_types_refuse() {
    let payload = br#"{"cdniuc":"regex:.*"}"#;
    let ring = hmac_ring(&[9; 32]).load().unwrap();
    let key = ring.keys.signing(None).unwrap();
    let scheme = Cdni::new(plain());
    for (header, is_good) in [
        (r#"{"alg":"HS256"}"#, true),
        (r#"{"alg":"HS256","typ":"jwt","kid":"hs"}"#, true),
        (r#"{"alg":"HS256","jwk":{},"jku":"https://x","x5c":[]}"#, true),
        (r#"{"alg":"HS256","typ":"at+jwt"}"#, false),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, false),
        (r#"{"alg":"HS256","crit":[]}"#, false),
        (r#"{"alg":"HS256","zip":"DEF"}"#, false),
        (r#"{"alg":"HS256","kid":"other"}"#, false),
        (r#"{"alg":"HS256","kid":1}"#, false),
        (r#"{"alg":"HS512"}"#, false),
        (r#"{"alg":"none"}"#, false),
        (r#"{"alg":"HS256","alg":"HS256"}"#, false),
        (r#"{}"#, false),
        (r#"[]"#, false),
    ] {
        let token = crate::token::scheme::jwt::mint::sign(header.as_bytes(), payload, key).unwrap();
        let url = format!("{URL}?{ATTRIBUTE}={token}");
        assert_eq!(judge(&scheme, &url).is_ok(), is_good, "{header}");
    }
    for payload in [
        &br#"{"cdniuc":"regex:.*","cdniuc":"regex:.*"}"#[..],
        b"[]",
        b"{}",
        b"\xef\xbb\xbf{}",
    ] {
        let header = br#"{"alg":"HS256"}"#;
        let token = crate::token::scheme::jwt::mint::sign(header, payload, key).unwrap();
        let url = format!("{URL}?{ATTRIBUTE}={token}");
        assert!(judge(&scheme, &url).is_err());
    }
}

/// Remembers what was asked, and lets everything pass that it saw before.
#[derive(Default)]
struct Memory(RefCell<Vec<Remembered>>);

/// A key's number, what it signed, and the signature.
type Remembered = (u64, Vec<u8>, Vec<u8>);

impl Signatures for Memory {
    fn holds(&self, key: u64, message: &[u8], signature: &[u8], check: &dyn Fn() -> bool) -> bool {
        let entry = (key, message.to_vec(), signature.to_vec());
        let known = self.0.borrow().contains(&entry);
        known
            || check() && {
                self.0.borrow_mut().push(entry);
                true
            }
    }

    fn show(&self, _: &[u8]) {}
}

fn asked<T>(url: &str, signatures: &dyn Signatures, see: impl FnOnce(&Asked<'_, '_>) -> T) -> T {
    let request = request(url, None);
    let scheme = Cdni::new(plain());
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = scheme.take(head).unwrap().unwrap();
    let target = Target::parse(&taken.path, taken.query.as_deref()).unwrap();
    let evidence = Evidence {
        method: &request.method,
        public: Some(&request.public),
        raw_path: &request.path,
        raw_query: request.query.as_deref(),
        headers: &request.headers,
        client: request.client,
        proxied: false,
        parts: taken.parts,
    };
    see(&Asked {
        evidence: &evidence,
        path: &taken.path,
        query: taken.query.as_deref(),
        target: &target,
        now: request.now,
        signatures,
    })
}

#[test]
fn public_key_signatures_go_through_the_memory_by_numbers_that_only_their_key_has() {
    let jwks = || serde_json::from_str(&KeySet::generate(Algorithm::ES256).unwrap()).unwrap();
    let keys = ring("es", &jwks());
    let rules = || Rules::new(Box::default(), Some(Arc::clone(&keys)), log_key());
    let (public, target) = (public(), Target::parse("/a", None).unwrap());
    let scheme = Cdni::new(rules());
    let url = url_of(scheme.sign(&wish(&target, &public)).unwrap());
    let memory = Memory::default();
    for _ in 0..2 {
        asked(&url, &memory, |asked| scheme.verify(asked)).unwrap();
    }
    assert_eq!(memory.0.borrow().len(), 1);
    assert!(memory.0.borrow()[0].0 >= OF_A_RING);
    // The same ring with another key: what is remembered of the old one counts no more.
    let other = KeySet::from_jwks(jwks().to_string().as_bytes(), SetSource::Local).unwrap();
    keys.replace(other);
    assert!(asked(&url, &memory, |asked| scheme.verify(asked)).is_err());
    // A shared secret needs no memory.
    let memory = Memory::default();
    let url = format!("{URL}?{ATTRIBUTE}={}", signed(&with(json!({}))));
    asked(&url, &memory, |asked| Cdni::new(plain()).verify(asked)).unwrap();
    assert!(memory.0.borrow().is_empty());
}

#[test]
fn the_uri_that_is_compared_is_shown_when_the_signature_is_good() {
    let shown = Shown::default();
    let claims = json!({ "cdniuc": "regex:x" });
    let url = format!(
        "HTTPS://Media.example.com:443/%61?x=1&{ATTRIBUTE}={}",
        signed(&claims)
    );
    let error = asked(&url, &shown, |asked| Cdni::new(plain()).verify(asked)).unwrap_err();
    assert_eq!(error, TokenError::Elsewhere("411 for another URI"));
    assert_eq!(shown.into_texts(), [b"https://media.example.com/a?x=1".to_vec()]);
    let shown = Shown::default();
    let url = format!("{URL}?{ATTRIBUTE}={}x", signed(&claims));
    assert!(asked(&url, &shown, |asked| Cdni::new(plain()).verify(asked)).is_err());
    assert!(shown.into_texts().is_empty());
}

#[test]
fn people_are_told_the_claims_and_neither_signature_nor_what_is_encrypted() {
    let claims = json!({ "iss": "me", "exp": 5, "aud": ["a", "b"], "sub": "a..b", "cdniv": 1, "x": { "y": 1 }, "z": null });
    let token = signed(&claims);
    let told = tell::tell(&token);
    let text = |name: &str| {
        told.iter()
            .find(|(known, _)| known == name)
            .map(|(_, text)| &**text)
    };
    assert_eq!(text("alg"), Some("HS256"));
    assert_eq!(text("kid"), Some("hs"));
    assert_eq!(text("iss"), Some("me"));
    assert_eq!(text("exp"), Some("5"));
    assert_eq!(text("aud"), Some("a, b"));
    assert_eq!(text("sub"), Some("(encrypted)"));
    let signature = token.rsplit('.').next().unwrap();
    assert!(told.iter().all(|(_, text)| !text.contains(signature)));
    for token in ["", "a", "a.b.c", "e30.e30"] {
        assert!(tell::tell(token).is_empty());
    }
}
