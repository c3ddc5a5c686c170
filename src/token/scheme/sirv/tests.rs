//! What Sirv's tokens mean, by tokens that were signed elsewhere, and that what is minted says the same.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};

use super::*;
use crate::token::Uses;
use crate::token::keys::KeySet;

const NOW: i64 = 1_700_000_000;
const KEY: &[u8] = b"mediagate-test-key-0123456789abcdef";

fn ring(keys: &[&[u8]]) -> Arc<KeyRing> {
    let one = |key: &&[u8]| KeySet::from_hmac(None, ALGORITHM, &Secret::new(key.to_vec())).unwrap();
    let all = keys.iter().map(one).reduce(|all, next| all.merge(next).unwrap());
    Arc::new(KeyRing::fixed("sirv", all.unwrap()))
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn rules(forward_args: bool) -> Rules {
    Rules {
        keys: ring(&[KEY]),
        forward_args,
        max_lifetime: None,
        log_key: log_key(),
    }
}

fn minter(keys: &[&[u8]]) -> Minter {
    Minter {
        keys: ring(keys),
        log_key: log_key(),
    }
}

fn verify(sirv: &Sirv, token: &str) -> Result<Claims, TokenError> {
    sirv.verify(&Evidence {
        method: &Method::GET,
        public: None,
        raw_path: "/",
        raw_query: None,
        headers: &HeaderMap::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        proxied: false,
        parts: [token.into()].into_iter().collect(),
    })
}

fn signed(header: &str, payload: &str) -> String {
    let keys = ring(&[KEY]).load().unwrap();
    mint::sign(
        header.as_bytes(),
        payload.as_bytes(),
        keys.keys.signing(None).unwrap(),
    )
    .unwrap()
}

fn read(payload: &str) -> Result<Claims, TokenError> {
    verify(
        &Sirv::new(rules(true)),
        &signed(r#"{"alg":"HS256","typ":"JWT"}"#, payload),
    )
}

fn claims(aud: &str) -> Claims {
    Claims {
        subject: Some("svc".into()),
        expires: Some(UnixTime::from_secs(NOW + 300)),
        scope: Some(Scope(Box::new([opens(aud).unwrap()]))),
        methods: Some(Methods::READ),
        ..Claims::empty(jwt::token_id(&log_key(), "", None, b""))
    }
}

#[test]
fn s12_s13_an_aud_is_a_folder_a_file_or_the_start_of_a_path() {
    let start = |text: &str| Opens::StartsWith(text.into());
    for (aud, expected) in [
        ("/", Opens::Prefix("/".into())),
        ("/docs/", Opens::Prefix("/docs/".into())),
        ("/v1.2/", Opens::Prefix("/v1.2/".into())),
        ("/*/", Opens::Prefix("/*/".into())),
        ("/docs/a.pdf", Opens::Exact("/docs/a.pdf".into())),
        ("/docs/.env", Opens::Exact("/docs/.env".into())),
        ("/docs/a.", Opens::Exact("/docs/a.".into())),
        ("/docs/*.pdf", Opens::Exact("/docs/*.pdf".into())),
        ("/path/t", start("/path/t")),
        ("/v1.2/t", start("/v1.2/t")),
        ("/path/**", start("/path/**")),
    ] {
        assert_eq!(opens(aud), Ok(expected), "{aud}");
    }
    for bad in [
        "", "docs", "//", "/a//b", "/a/../b", "/..", "/./", "/a\\b", "/a\nb", "/a\0", "/a/..;x",
    ] {
        assert!(opens(bad).is_err(), "{bad:?}");
    }
    assert!(opens(&format!("/{}", "a".repeat(1024))).is_err());
}

#[test]
fn s2_s3_what_is_minted_is_what_the_original_writes() {
    let asked = Claims {
        parameters: Box::new([
            ("w".into(), Parameter::Number(300.into())),
            ("text".into(), "a \"b\"".into()),
            ("f".into(), Parameter::Truth(true)),
        ]),
        ..claims("/docs/report 1.pdf")
    };
    let minted = minter(&[KEY]).mint(&asked, UnixTime::from_secs(NOW)).unwrap();
    let expected = signed(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"args":{"w":300,"text":"a \"b\"","f":true},"iat":1700000000,"exp":1700000300,"aud":"/docs/report 1.pdf"}"#,
    );
    assert_eq!(minted.text, expected);
    let back = verify(&Sirv::new(rules(true)), &minted.text).unwrap();
    assert_eq!(back.token_id, minted.id);
    assert_eq!(back.parameters, asked.parameters);
    assert_eq!(
        (back.scope, back.expires, back.issued),
        (asked.scope, asked.expires, Some(UnixTime::from_secs(NOW)))
    );
    assert_eq!(
        (back.methods, back.uses),
        (Some(Methods::READ), Uses::UntilExpiry)
    );
}

#[test]
fn s2_without_parameters_there_are_no_args() {
    let minted = minter(&[KEY])
        .mint(&claims("/docs/"), UnixTime::from_secs(NOW))
        .unwrap();
    let expected = signed(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"iat":1700000000,"exp":1700000300,"aud":"/docs/"}"#,
    );
    assert_eq!(minted.text, expected);
}

#[test]
fn what_the_token_cannot_say_is_not_minted() {
    let mint = |claims: Claims| minter(&[KEY]).mint(&claims, UnixTime::from_secs(NOW)).is_ok();
    let good = || claims("/docs/");
    assert!(mint(good()));
    let scope = |all: &[Opens]| Claims {
        scope: Some(Scope(all.into())),
        ..good()
    };
    for bad in [
        Claims {
            expires: None,
            ..good()
        },
        Claims {
            uses: Uses::Once,
            ..good()
        },
        Claims {
            methods: Methods::parse(["HEAD"]).ok(),
            ..good()
        },
        Claims {
            addresses: Some(Box::default()),
            ..good()
        },
        Claims {
            not_before: Some(UnixTime::from_secs(NOW)),
            ..good()
        },
        Claims {
            filename: Some("a".into()),
            ..good()
        },
        Claims {
            parameters: Box::new([("w".into(), Parameter::Withheld)]),
            ..good()
        },
        Claims {
            parameters: Box::new([("w".into(), "1".into()), ("w".into(), "2".into())]),
            ..good()
        },
        Claims {
            scope: None,
            ..good()
        },
        scope(&[]),
        scope(&[Opens::Prefix("/a/".into()), Opens::Prefix("/b/".into())]),
        scope(&[Opens::MediaId("7".into())]),
        scope(&[Opens::Exact("/docs".into())]),
        scope(&[Opens::parse("/docs/**").unwrap()]),
        scope(&[Opens::parse("/docs/*.pdf").unwrap()]),
    ] {
        assert!(!mint(bad.clone()), "{bad:?}");
    }
}

#[test]
fn s11_only_hs256_only_known_types_and_only_what_can_be_enforced() {
    let good = r#""iat":1700000000,"exp":1700000300,"aud":"/docs/""#;
    assert!(read(&format!("{{{good}}}")).is_ok());
    for more in [
        r#""uses":1"#,
        r#""ips":["192.0.2.1"]"#,
        r#""paths":["/docs/a"]"#,
        r#""methods":["GET"]"#,
        r#""rate":1"#,
        r#""aud":"/""#,
        r#""nbf":"x""#,
        r#""iss":1"#,
        r#""sub":{}"#,
        r#""jti":1"#,
        r#""args":[]"#,
        r#""args":{"w":null}"#,
        r#""args":{"w":[1]}"#,
        r#""args":{"w":1,"w":2}"#,
        r#""args":{"a":{"w":1}}"#,
    ] {
        assert!(read(&format!("{{{good},{more}}}")).is_err(), "{more}");
    }
    for payload in [
        r#"{"exp":1700000300}"#,
        r#"{"aud":"/docs/"}"#,
        r#"{"exp":"1700000300","aud":"/docs/"}"#,
        r#"{"exp":1700000300,"aud":["/docs/"]}"#,
        r#"{"exp":1700000300,"aud":"docs/"}"#,
        r#"{"exp":1700000300,"aud":"/a/../b"}"#,
        "[]",
    ] {
        assert!(read(payload).is_err(), "{payload}");
    }
    let payload = format!("{{{good}}}");
    let sirv = Sirv::new(rules(true));
    for (header, is_good) in [
        (r#"{"alg":"HS256"}"#, true),
        (r#"{"typ":"JWT","alg":"HS256"}"#, true),
        (r#"{"alg":"HS256","typ":"at+jwt"}"#, false),
        (r#"{"alg":"HS384","typ":"JWT"}"#, false),
        (r#"{"alg":"none","typ":"JWT"}"#, false),
        (r#"{"alg":"HS256","crit":["exp"]}"#, false),
        (r#"{"alg":"HS256","kid":"other"}"#, false),
    ] {
        assert_eq!(
            verify(&sirv, &signed(header, &payload)).is_ok(),
            is_good,
            "{header}"
        );
    }
}

#[test]
fn a_key_of_another_algorithm_checks_no_token() {
    let long = [b'k'; 64];
    let other = KeySet::from_hmac(None, Algorithm::HS384, &Secret::new(long.to_vec())).unwrap();
    let sirv = Sirv::new(Rules {
        keys: Arc::new(KeyRing::fixed("sirv", other)),
        ..rules(true)
    });
    let keys = sirv.rules.keys.load().unwrap();
    let signing = keys.keys.signing(None).unwrap();
    let token = mint::sign(br#"{"alg":"HS384"}"#, br#"{"exp":1700000300,"aud":"/"}"#, signing).unwrap();
    assert_eq!(
        verify(&sirv, &token).unwrap_err(),
        TokenError::Invalid("the algorithm is not the scheme's")
    );
    let minter = Minter {
        keys: Arc::clone(&sirv.rules.keys),
        log_key: log_key(),
    };
    assert!(minter.mint(&claims("/"), UnixTime::from_secs(NOW)).is_err());
}

#[test]
fn args_that_are_not_forwarded_are_withheld() {
    let token = signed(
        r#"{"alg":"HS256"}"#,
        r#"{"args":{"w":1},"exp":1700000300,"aud":"/"}"#,
    );
    let claims = verify(&Sirv::new(rules(false)), &token).unwrap();
    assert_eq!(*claims.parameters, [("w".into(), Parameter::Withheld)]);
}

#[test]
fn a_lifetime_that_is_too_long_refuses_the_token() {
    let sirv = |life| {
        Sirv::new(Rules {
            max_lifetime: Some(Duration::from_secs(life)),
            ..rules(true)
        })
    };
    let token = signed(
        r#"{"alg":"HS256"}"#,
        r#"{"iat":1700000000,"exp":1700000300,"aud":"/"}"#,
    );
    assert!(verify(&sirv(300), &token).is_ok() && verify(&sirv(299), &token).is_err());
    let without = signed(r#"{"alg":"HS256"}"#, r#"{"exp":1700000300,"aud":"/"}"#);
    assert!(verify(&sirv(300), &without).is_err());
}

#[test]
fn s9_the_key_whose_secret_is_given_signs_and_no_other() {
    const SECOND: &[u8] = b"second-key-second-key-second-key-01";
    let secret = |bytes: &[u8]| Secret::new(bytes.to_vec());
    let both = minter(&[KEY, SECOND]);
    let mint = |key: Option<&Secret>| {
        both.mint_with(key, &claims("/"), UnixTime::from_secs(NOW))
            .map(|minted| minted.text)
    };
    let (first, second) = (
        mint(Some(&secret(KEY))).unwrap(),
        mint(Some(&secret(SECOND))).unwrap(),
    );
    assert_eq!(mint(None).unwrap(), first);
    assert_ne!(first, second);
    assert!(
        verify(&Sirv::new(rules(true)), &first).is_ok() && verify(&Sirv::new(rules(true)), &second).is_err()
    );
    for wrong in [
        &b""[..],
        b"short",
        &KEY[..34],
        b"mediagate-test-key-0123456789abcdeF",
        &[b'x'; 4096],
    ] {
        assert!(!both.has(&secret(wrong)));
        assert_eq!(mint(Some(&secret(wrong))), Err(TokenError::UnknownKey));
    }
}

#[test]
fn a_verifier_is_the_same_after_a_reload_only_where_its_rules_are() {
    let keys = ring(&[KEY]);
    let log_key = log_key();
    let with = |forward_args| Rules {
        keys: Arc::clone(&keys),
        forward_args,
        max_lifetime: None,
        log_key: Arc::clone(&log_key),
    };
    let first = Sirv::new(with(true));
    assert_eq!(
        Sirv::succeeding(with(true), [&first]).cache_stamp(),
        first.cache_stamp()
    );
    assert_ne!(
        Sirv::succeeding(with(false), [&first]).cache_stamp(),
        first.cache_stamp()
    );
}
