use std::collections::HashSet;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::*;
use crate::secret::Secret;
use crate::target::Target;
use crate::token::Opens;
use crate::token::scheme::signed::Signatures;
use crate::token::scheme::signed::vectors::{self, Case, Request};

const VECTORS: &str = include_str!("../../../../../tests/vectors/cloudfront.json");
const NOW: UnixTime = UnixTime::from_secs(1_767_225_600);

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

/// The public keys of the file.
fn published(keys: &Value) -> NamedKeys<PublicKey> {
    let keys = keys["public_keys"].as_object().unwrap().iter();
    NamedKeys::new(keys.map(|(name, pem)| {
        let key = PublicKey::from_pem(name, pem.as_str().unwrap().as_bytes()).unwrap();
        (Box::from(name.as_str()), key, None)
    }))
}

fn verifier(case: &Case<'_>) -> CloudFront {
    CloudFront::new(Rules::new(published(case.keys), log_key()))
}

#[test]
fn all_vectors_agree() {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let count = vectors::run(VECTORS, &[], |case| {
        Some((Box::new(verifier(case)), Duration::ZERO))
    });
    assert_eq!(count, all["cases"].as_array().unwrap().len());
    assert_eq!(count, 73);
}

/// The private keys of the vectors are not in the file, so that no signature can be made again: the texts that are signed can.
#[test]
fn the_policies_of_the_vectors_are_written_again_byte_for_byte() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut canned_ones, mut custom_ones, mut others) = (0, 0, Vec::new());
    for json in file["cases"].as_array().unwrap() {
        if json["expect"] != "allow" {
            continue;
        }
        let case = Case {
            json,
            profile: &Value::Null,
            keys: &file["keys"],
        };
        let request = case.request();
        let scheme = verifier(&case);
        let taken = scheme.take(head(&request)).unwrap().unwrap();
        match letters::read(&taken.parts[POLICY]).unwrap() {
            // The signature is true for the text that `canned` wrote, else the case were not allowed.
            text if text.is_empty() => canned_ones += 1,
            text if Policy::parse(&text).unwrap().write().as_bytes() == text => custom_ones += 1,
            _ => others.push(case.text("name").to_owned()),
        }
    }
    // White space is never written.
    assert_eq!(others, ["custom_spaces"]);
    assert_eq!((canned_ones, custom_ones), (10, 17));
}

fn head(request: &Request) -> Head<'_> {
    Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    }
}

fn pem(der: &[u8]) -> Secret {
    let body = STANDARD.encode(der);
    let text = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    Secret::new(text.into_bytes())
}

fn rsa_key() -> Secret {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    pem(der.as_ref())
}

fn p256_key() -> Secret {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    pem(pair.to_pkcs8v1().unwrap().as_ref())
}

/// Makes links, and takes its own.
fn issuer(key: &Secret) -> CloudFront {
    let key = PrivateKey::from_pem("K1", key).unwrap();
    let keys = NamedKeys::new([(Box::from("K1"), key.public().clone(), None)]);
    CloudFront::new(Rules {
        signer: Some(Signer {
            key_pair_id: "K1".into(),
            key,
        }),
        ..Rules::new(keys, log_key())
    })
}

fn public() -> PublicBase {
    PublicBase {
        scheme: "https".into(),
        authority: "media.example.com".into(),
    }
}

/// A request for a path and a query of the public host.
fn request(link: &str, cookies: &[(String, String)], client: &str, now: UnixTime) -> Request {
    let mut headers = HeaderMap::new();
    if !cookies.is_empty() {
        let pairs: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        headers.insert(COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap());
    }
    let url = format!("https://media.example.com{link}");
    Request::new("GET", &url, headers, client.parse().unwrap(), now)
}

fn judge(scheme: &CloudFront, link: &str, now: UnixTime) -> Result<Claims, String> {
    let request = request(link, &[], "203.0.113.7", now);
    request.judge(scheme, Duration::ZERO).map(|(claims, _)| claims)
}

fn target(path: &str, query: Option<&str>) -> Target {
    Target::parse(path, query).unwrap()
}

fn wish<'w>(public: &'w PublicBase, target: &'w Target) -> Wish<'w> {
    Wish {
        public: Some(public),
        method: &Method::GET,
        target,
        opens: None,
        place: Place::Url,
        now: NOW,
        not_before: None,
        expires: NOW.after(Duration::from_secs(60)),
        address: None,
        subject: None,
        id: None,
    }
}

fn link(scheme: &CloudFront, wish: &Wish<'_>) -> String {
    match scheme.sign(wish).unwrap() {
        Signed::Url(link) => link,
        other => panic!("{other:?}"),
    }
}

/// A case of the file, as a request.
fn published_case(name: &str) -> (CloudFront, Request) {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let json = cases.iter().find(|case| case["name"] == name).unwrap();
    let case = Case {
        json,
        profile: &Value::Null,
        keys: &file["keys"],
    };
    (verifier(&case), case.request())
}

#[test]
fn sha_1_can_be_forbidden() {
    for name in [
        "canned_valid",
        "custom_exact",
        "cookie_canned",
        "canned_ecdsa_sha1",
    ] {
        let (mut scheme, request) = published_case(name);
        assert!(request.judge(&scheme, Duration::ZERO).is_ok(), "{name}");
        scheme.rules.allow_sha1 = false;
        assert_eq!(
            request.judge(&scheme, Duration::ZERO).unwrap_err(),
            "verify: token refused: signatures over SHA-1 are not taken"
        );
    }
    let (mut scheme, request) = published_case("canned_sha256");
    scheme.rules.allow_sha1 = false;
    assert!(request.judge(&scheme, Duration::ZERO).is_ok());
}

/// Remembers what was good, as the gate does.
#[derive(Default)]
struct Memory(std::cell::RefCell<HashSet<Good>>);

/// Key, message and signature.
type Good = (u64, Vec<u8>, Vec<u8>);

impl Signatures for Memory {
    fn holds(&self, key: u64, message: &[u8], signature: &[u8], check: &dyn Fn() -> bool) -> bool {
        let what = (key, message.to_vec(), signature.to_vec());
        if self.0.borrow().contains(&what) {
            return true;
        }
        let good = check();
        if good {
            self.0.borrow_mut().insert(what);
        }
        good
    }

    fn show(&self, _: &[u8]) {}
}

#[test]
fn a_remembered_signature_is_good_for_its_own_hash_alone() {
    let memory = Memory::default();
    let (scheme, request) = published_case("canned_sha256");
    let judge = |query: &str| {
        let request = Request {
            query: Some(query.to_owned()),
            headers: HeaderMap::new(),
            path: request.path.clone(),
            method: Method::GET,
            public: request.public.clone(),
            ..request
        };
        let taken = scheme.take(head(&request)).unwrap().unwrap();
        request.verify(&scheme, &taken, &memory).is_ok()
    };
    let query = request.query.as_deref().unwrap();
    for _ in 0..2 {
        assert!(judge(query));
        assert!(!judge(&query.replace("&Hash-Algorithm=SHA256", "")));
        assert!(!judge(&query.replace("SHA256", "SHA1")));
    }
    assert_eq!(memory.0.borrow().len(), 1);
}

#[test]
fn cookies_of_one_name_are_tried_in_turn_and_an_old_time_is_no_matter() {
    let scheme = issuer(&p256_key());
    let public = public();
    let cookies = |path: &str, opens: Option<&Opens>| {
        let target = target(path, None);
        let wish = Wish {
            opens,
            place: Place::Cookie,
            ..wish(&public, &target)
        };
        match scheme.sign(&wish).unwrap() {
            Signed::Cookies(cookies) => cookies,
            other => panic!("{other:?}"),
        }
    };
    let (one, two) = (Opens::parse("/1/").unwrap(), Opens::parse("/2/").unwrap());
    let (one, two) = (cookies("/1/a", Some(&one)), cookies("/2/a", Some(&two)));
    let judge = |path: &str, sets: &[&[(String, String)]]| {
        request(path, &sets.concat(), "203.0.113.7", NOW)
            .judge(&scheme, Duration::ZERO)
            .is_ok()
    };
    for path in ["/1/x", "/2/x"] {
        assert!(judge(path, &[&one, &two]), "{path}");
        assert!(judge(path, &[&two, &one]), "{path}");
    }
    assert!(!judge("/3/x", &[&one, &two]));
    // What is behind the fourth is not looked at.
    assert!(!judge("/2/x", &[&one, &one, &one, &one, &two]));
    assert!(judge("/2/x", &[&one, &one, &one, &two]));
    let canned = cookies("/c", None);
    assert!(judge("/c", &[&canned]));
    assert!(!judge("/d", &[&canned]));
    assert!(judge("/1/x", &[&canned[..1], &one]));
    let huge = [("CloudFront-Policy".to_owned(), "A".repeat(MAX_TOKEN_BYTES))];
    assert!(!judge("/1/x", &[&huge]));
    assert!(judge("/1/x", &[&huge, &one]));
}

#[test]
fn only_what_has_the_shape_is_taken_and_nothing_of_it_is_left() {
    let (scheme, _) = published_case("canned_valid");
    let headers = HeaderMap::new();
    let take = |query: &str| {
        let head = Head {
            path: "/a",
            query: Some(query),
            headers: &headers,
        };
        let taken = scheme.take(head)?;
        Ok(taken.map(|taken| taken.query.map(Cow::into_owned)))
    };
    let all = "Expires=1&Signature=a&Key-Pair-Id=K&Policy=p&Hash-Algorithm=SHA1";
    assert_eq!(take(all), Ok(Some(None)));
    assert_eq!(
        take(&format!("x=%41&{all}&y=b=c&")),
        Ok(Some(Some("x=%41&y=b=c&".to_owned())))
    );
    assert_eq!(
        take("%45xpires=1&expires=2&Key-Pair-Id=K"),
        Ok(Some(Some("expires=2".to_owned())))
    );
    // Other schemes have an `Expires` and a `Signature`, too.
    for none in [
        "",
        "expires=1",
        "Expires=1&Signature=b",
        "Policy=a",
        "key-pair-id=c",
    ] {
        assert_eq!(take(none), Ok(None), "{none}");
    }
    for name in NAMES {
        let take = |query: &str| match name {
            "Key-Pair-Id" => take(query),
            _ => take(&format!("{query}&Key-Pair-Id=K")),
        };
        assert_eq!(
            take(&format!("{name}=1&{name}=1")),
            Err(LocateError::Ambiguous),
            "{name}"
        );
        for bad in ["", "=", "=%00", "=%ff", "=a%0ab"] {
            assert_eq!(
                take(&format!("{name}{bad}")),
                Err(LocateError::Malformed),
                "{name}{bad}"
            );
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(take(&format!("{name}={long}")), Err(LocateError::Malformed));
    }
}

#[test]
fn a_token_is_told_without_its_signature() {
    for (name, told) in [
        (
            "custom_started",
            "policy: custom, resource: https://media.example.com/videos/show1/*, \
             not before: 2025-12-31T23:59:00.000Z, expires: 2026-01-01T01:00:00.000Z, \
             key pair: K2JCJMDEHXQW5F, hash: SHA1",
        ),
        (
            "canned_sha256",
            "policy: canned, expires: 2026-01-01T01:00:00.000Z, key pair: K2JCJMDEHXQW5F, hash: SHA256",
        ),
        (
            "custom_not_json",
            "policy: custom, fault: the text is not JSON, key pair: K2JCJMDEHXQW5F, hash: SHA1",
        ),
    ] {
        let (scheme, request) = published_case(name);
        let taken = scheme.take(head(&request)).unwrap().unwrap();
        let pairs = scheme.tell(&taken);
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(word, text)| format!("{word}: {text}"))
            .collect();
        assert_eq!(pairs.join(", "), told);
    }
}

#[test]
fn a_key_counts_until_its_end_and_under_its_own_name() {
    let key = PrivateKey::from_pem("K1", &p256_key()).unwrap();
    let end = NOW.after(Duration::from_secs(30));
    let mut scheme = issuer(&p256_key());
    scheme.rules.keys = NamedKeys::new([
        (Box::from("K1"), key.public().clone(), Some(end)),
        (Box::from("K2"), key.public().clone(), None),
    ]);
    scheme.rules.signer = Some(Signer {
        key_pair_id: "K1".into(),
        key,
    });
    let target = target("/a", None);
    let link = link(&scheme, &wish(&public(), &target));
    assert!(judge(&scheme, &link, NOW).is_ok());
    assert_eq!(
        judge(&scheme, &link, end).unwrap_err(),
        "verify: no key of the set goes with the token"
    );
    // The name is not signed: a key of two names is two keys.
    let renamed = link.replace("K1", "K2");
    assert_eq!(
        judge(&scheme, &renamed, end).unwrap().token_id,
        judge(&scheme, &link, NOW).unwrap().token_id
    );
}

mod changes;
mod links;
mod policies;
