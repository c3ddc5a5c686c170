//! The vectors, and what is read in which way.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::verify::escape;
use super::*;
use crate::clock::UnixTime;
use crate::target::Target;
use crate::token::Opens;
use crate::token::scheme::signed::fields::tests::{cookie, get, head};
use crate::token::scheme::signed::vectors::{self, Case};
use crate::token::scheme::signed::{Shown, SignedRequest};

const FILE: &str = include_str!("../../../../../tests/vectors/akamai_edgeauth.json");
const NOW: i64 = 1_767_225_600;

fn secret(hex: &str) -> Secret {
    Secret::new(fields::unhex(hex).unwrap().to_vec())
}

fn keys(named: &[(&str, &str)]) -> NamedKeys<Secret> {
    NamedKeys::new(
        named
            .iter()
            .map(|(name, key)| ((*name).into(), secret(key), None)),
    )
}

fn rules(named: &[(&str, &str)]) -> Rules {
    let log_key = Arc::new(LogKey::new(&Secret::new(vec![7; 32])));
    Rules::new(keys(named), log_key)
}

fn plain() -> Rules {
    rules(&[("primary", &"11".repeat(32))])
}

/// As a case's profile says; the keys in this order.
fn scheme(case: &Case<'_>, order: [&str; 2]) -> EdgeAuth {
    let profile = |name: &str| case.profile[name].as_bool().unwrap_or_default();
    let key = |name: &str| case.keys[format!("{name}_hex")].as_str().unwrap().to_owned();
    let named = order.map(|name| (name, key(name)));
    let named: Vec<_> = named.iter().map(|(name, key)| (*name, &**key)).collect();
    let param = case.profile["param"].as_str().unwrap();
    EdgeAuth::new(Rules {
        queries: Box::new([param.into()]),
        cookies: Box::new([param.into()]),
        headers: Box::new([param.parse().unwrap()]),
        algorithm: match case.profile["algorithm"].as_str() {
            Some("sha256") => Algorithm::Sha256,
            Some("sha1") => Algorithm::Sha1,
            Some("md5") => Algorithm::Md5,
            other => panic!("{other:?}"),
        },
        salt: profile("salt").then(|| Secret::new(case.keys["salt"].as_str().unwrap().into())),
        escape: if profile("escape_early") {
            Escape::Early
        } else {
            Escape::Never
        },
        query: if profile("ignore_query") {
            Query::Ignored
        } else {
            Query::Signed
        },
        ..rules(&named)
    })
}

#[test]
fn all_vectors_are_decided_as_they_say() {
    let count = vectors::run(FILE, &[], |case| {
        let scheme = scheme(case, ["primary", "transition"]);
        Some((Box::new(scheme), Duration::ZERO))
    });
    assert_eq!(count, 60);
}

fn judge(scheme: &EdgeAuth, url: &str, headers: HeaderMap, now: i64) -> Result<Claims, String> {
    get(url, headers, now)
        .judge(scheme, Duration::ZERO)
        .map(|(claims, _)| claims)
}

fn allows(scheme: &EdgeAuth, url: &str) -> bool {
    judge(scheme, url, HeaderMap::new(), NOW).is_ok()
}

/// A token of these fields under the key of `plain`, for a path where one is given.
fn seal(scheme: &EdgeAuth, text: &str, url: Option<&str>) -> String {
    let key = scheme.rules.keys.at(UnixTime::from_secs(NOW)).next().unwrap();
    let sealed = scheme.sealed(text, url, scheme.salt());
    format!(
        "{text}~hmac={}",
        fields::hex(&scheme.rules.algorithm.mac(&key.key, &sealed))
    )
}

const EXP: &str = "exp=1767229200";

#[test]
fn a_signed_token_with_a_restriction_that_is_not_known_is_refused() {
    let scheme = EdgeAuth::new(plain());
    for text in [
        "exp=1767229200~acl=/*",
        "ip=203.0.113.7~st=1~exp=1767229200~acl=/*~id=i~data=d",
    ] {
        assert!(
            allows(&scheme, &format!("/a?hdnts={}", seal(&scheme, text, None))),
            "{text}"
        );
    }
    for text in [
        "exp=1767229200~acl=/*~geo=DE",
        "acl=/*~exp=1767229200",
        "exp=1767229200~acl=/*~id=",
        "ip=203.0.113.0/24~exp=1767229200~acl=/*",
        "ip=x~exp=1767229200~acl=/*",
        "st=x~exp=1767229200~acl=/*",
        "exp=1767229200~acl=/*~salt=x",
        "exp=1767229200~url=/a",
        "EXP=1767229200~acl=/*",
    ] {
        let token = seal(&scheme, text, None);
        assert!(!allows(&scheme, &format!("/a?hdnts={token}")), "{text}");
    }
}

#[test]
fn what_was_sealed_with_a_path_is_no_token_by_itself() {
    let scheme = EdgeAuth::new(plain());
    let token = seal(&scheme, EXP, Some("/a"));
    assert!(allows(&scheme, &format!("/a?hdnts={token}")));
    let with_path = token.replace("~hmac", "~url=/a~hmac");
    assert!(!allows(&scheme, &format!("/a?hdnts={with_path}")));
    assert!(!allows(&scheme, &format!("/b?hdnts={with_path}")));
}

#[test]
fn a_path_may_be_signed_as_it_is_sent_in_its_canonical_encoding_or_decoded() {
    let scheme = EdgeAuth::new(plain());
    for url in ["/a%2Db%20c", "/a-b%20c", "/a-b c"] {
        let token = seal(&scheme, EXP, Some(url));
        assert!(allows(&scheme, &format!("/a%2Db%20c?hdnts={token}")), "{url}");
    }
    // `/a%20b` is the encoding of `/a b`, whatever its signer thought: the file of that very name is another.
    let token = seal(&scheme, EXP, Some("/a%20b"));
    assert!(allows(&scheme, &format!("/a%20b?hdnts={token}")));
    assert!(!allows(&scheme, &format!("/a%2520b?hdnts={token}")));
    let early = EdgeAuth::new(Rules {
        escape: Escape::Early,
        ..plain()
    });
    let token = seal(&early, EXP, Some(&escape("/a%20b")));
    assert!(allows(&early, &format!("/a%20b?hdnts={token}")));
    assert!(!allows(&early, &format!("/a%2520b?hdnts={token}")));
}

#[test]
fn escaped_values_are_read_as_they_were_before() {
    let scheme = EdgeAuth::new(Rules {
        escape: Escape::Early,
        ..plain()
    });
    let text = "ip=2001%3adb8%3a%3a7~exp=1767229200~acl=%2fa+b%2f%2a~id=s+1%2b~data=u%c3%a9";
    let token = seal(&scheme, text, None);
    let mut request = get(&format!("/a+b/c?hdnts={token}"), HeaderMap::new(), NOW);
    request.client = "2001:db8::7".parse().unwrap();
    let (claims, _) = request.judge(&scheme, Duration::ZERO).unwrap();
    assert_eq!(claims.id.as_deref(), Some("s 1+"));
    assert_eq!(claims.subject.as_deref(), Some("ué"));
    for text in [
        "exp=1767229200~acl=/*~id=%ff",
        "exp=1767229200~acl=/*~id=%0a",
        "exp=1767229200~acl=%ff",
    ] {
        assert!(
            !allows(&scheme, &format!("/a?hdnts={}", seal(&scheme, text, None))),
            "{text}"
        );
    }
    // Where nothing is escaped, an encoded star is a letter.
    let never = EdgeAuth::new(plain());
    let token = seal(&never, "exp=1767229200~acl=%2fa%2f*", None);
    assert!(allows(&never, &format!("/a/c?hdnts={token}")));
    let token = seal(&never, "exp=1767229200~acl=/%2a", None);
    assert!(!allows(&never, &format!("/c?hdnts={token}")) && allows(&never, &format!("/*?hdnts={token}")));
}

#[test]
fn the_query_is_signed_where_the_rules_say_so() {
    let scheme = EdgeAuth::new(Rules {
        query: Query::Signed,
        ..plain()
    });
    let token = seal(&scheme, EXP, Some("/a?x=1&y=%20"));
    for (url, allowed) in [
        ("/a?x=1&y=%20&hdnts=T", true),
        ("/a?hdnts=T&x=1&y=%20", true),
        ("/a?x=1&hdnts=T", false),
        ("/a?x=1&y=%20&z=1&hdnts=T", false),
        ("/a?y=%20&x=1&hdnts=T", false),
        ("/a?hdnts=T", false),
    ] {
        assert_eq!(allows(&scheme, &url.replace('T', &token)), allowed, "{url}");
    }
}

#[test]
fn a_question_mark_in_a_path_is_no_query() {
    for escape_as in [Escape::Never, Escape::Early] {
        let scheme = EdgeAuth::new(Rules {
            query: Query::Signed,
            escape: escape_as,
            ..plain()
        });
        let signed = scheme.signed_url("/dl/report", Some("user=7")).into_owned();
        let token = seal(&scheme, EXP, Some(&signed));
        assert!(allows(&scheme, &format!("/dl/report?user=7&hdnts={token}")));
        assert!(!allows(&scheme, &format!("/dl/report%3Fuser=7?hdnts={token}")));
        assert!(!allows(&scheme, &format!("/dl/report%3fuser=7?hdnts={token}")));
        // A link for that very file says so.
        let target = Target::parse("/dl/report%3Fuser=7", None).unwrap();
        let signed = scheme.sign(&minting::wish(&target, None, Place::Url));
        let Ok(Signed::Url(url)) = signed else {
            panic!("{signed:?}")
        };
        assert!(allows(&scheme, &url), "{url}");
        assert!(!allows(&scheme, &url.replace("%3Fuser=7?", "?user=7&")));
    }
    // Where no query is signed, there is nothing to take it for.
    let ignored = EdgeAuth::new(plain());
    let token = seal(&ignored, EXP, Some("/dl/report?user=7"));
    assert!(allows(&ignored, &format!("/dl/report%3Fuser=7?hdnts={token}")));
}

#[test]
fn eight_keys_are_tried_and_no_more() {
    let keys = |count: u8| {
        let key = |number: u8| (number.to_string().into(), Secret::new(vec![number; 32]), None);
        NamedKeys::new((1..=count).map(key))
    };
    let of = |keys| EdgeAuth::new(Rules { keys, ..plain() });
    let alone = |number: u8| {
        of(NamedKeys::new([(
            "one".into(),
            Secret::new(vec![number; 32]),
            None,
        )]))
    };
    for (text, path) in [("exp=1767229200~acl=/*", None), (EXP, Some("/a"))] {
        for (number, allowed) in [(1, true), (8, true), (9, false)] {
            let url = format!("/a?hdnts={}", seal(&alone(number), text, path));
            assert_eq!(allows(&of(keys(9)), &url), allowed, "{number} {text}");
        }
    }
}

#[test]
fn a_second_token_in_the_url_or_a_header_is_refused_and_a_cookie_is_not() {
    let scheme = EdgeAuth::new(plain());
    let token = seal(&scheme, "exp=1767229200~acl=/*", None);
    for url in [
        "/a?hdnts=T&hdnts=T",
        "/a?hdnts=T&hdnea=T",
        "/a?%68dnts=T&__token__=T",
        "/a?hdnts=",
        "/a?hdnts",
    ] {
        let request = get(&url.replace('T', &token), HeaderMap::new(), NOW);
        assert!(scheme.take(head(&request)).is_err(), "{url}");
    }
    let mut headers = HeaderMap::new();
    headers.append("hdnts", HeaderValue::from_str(&token).unwrap());
    assert!(judge(&scheme, "/a", headers.clone(), NOW).is_ok());
    headers.append("hdnea", HeaderValue::from_str(&token).unwrap());
    assert!(judge(&scheme, "/a", headers, NOW).is_err());
    let both = cookie(&format!("hdnts=junk; hdnts={token}; hdnea=junk"));
    assert!(judge(&scheme, "/a", both, NOW).is_ok());
    assert!(judge(&scheme, "/a", cookie("a=b"), NOW).is_err_and(|why| why == "no token"));
    let long = "x".repeat(crate::token::MAX_TOKEN_BYTES + 1);
    assert!(
        scheme
            .take(head(&get(&format!("/a?hdnts={long}"), HeaderMap::new(), NOW)))
            .is_err()
    );
}

#[test]
fn a_key_is_an_even_number_of_hexadecimal_digits() {
    let read = |text: &str| key(&Secret::new(text.into())).map(|key| key.reveal().to_vec());
    assert_eq!(read("eee7e9157f81b2f6d471bf2c").unwrap()[..2], [0xee, 0xe7]);
    assert_eq!(read(&"Af".repeat(32)), Ok(vec![0xaf; 32]));
    for text in ["", "ee", &"e".repeat(25), &"g".repeat(24), &" e".repeat(12)] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_key_counts_until_its_end() {
    let end = Some(UnixTime::from_secs(NOW));
    let key = |byte: u8| Secret::new(vec![byte; 32]);
    let keys = NamedKeys::new([("old".into(), key(0x11), end), ("new".into(), key(0x22), None)]);
    let scheme = EdgeAuth::new(Rules { keys, ..plain() });
    let url = format!(
        "/a?hdnts={}",
        seal(&EdgeAuth::new(plain()), "exp=1767229200~acl=/*", None)
    );
    let before = judge(&scheme, &url, HeaderMap::new(), NOW - 1).unwrap();
    assert_eq!(before.key.as_deref(), Some("old"));
    assert!(judge(&scheme, &url, HeaderMap::new(), NOW).is_err());
}

#[test]
fn a_salt_is_shown_to_nobody() {
    let scheme = EdgeAuth::new(Rules {
        salt: Some(Secret::new(b"s3cret".to_vec())),
        ..plain()
    });
    let token = seal(&scheme, EXP, Some("/a"));
    let request = get(&format!("/a?hdnts={token}"), HeaderMap::new(), NOW);
    let taken = scheme.take(head(&request)).unwrap().unwrap();
    let told = scheme.tell(&taken);
    assert_eq!(told, [("exp".into(), "1767229200".to_owned())]);
    let shown = Shown::default();
    let claims = request.verify(&scheme, &taken, &shown);
    assert!(claims.is_ok());
    assert_eq!(
        shown.into_texts(),
        [b"exp=1767229200~url=/a~salt={secret}".to_vec()]
    );
    assert!(!format!("{scheme:?}").contains("s3cret"));
}

mod exchanging;
mod minting;
