//! The vectors, the round trip, and each way in which a JWT is refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::carrier::{Carrier, Carriers, Head, PathPattern};
use crate::token::claims::Limits;
use crate::token::keys::SetSource;
use crate::token::{Methods, MintToken, Opens, Parameter, Scope, Standing, Uses};

const NOW: i64 = 1_767_225_600;

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn rules(keys: Arc<KeyRing>) -> Rules {
    Rules {
        keys,
        issuers: Box::new(["https://issuer.example.com".into()]),
        audiences: Box::new(["media.example.com".into()]),
        typ: None,
        profile: Profile::Native,
        require: Box::default(),
        max_lifetime: None,
        named: Box::new(["tenant".into()]),
        log_key: log_key(),
    }
}

fn ring(algorithm: Algorithm) -> Arc<KeyRing> {
    let set = KeySet::from_jwks(KeySet::generate(algorithm).unwrap().as_bytes(), SetSource::Local).unwrap();
    Arc::new(KeyRing::fixed("test", set))
}

fn verify_parts(jwt: &Jwt, parts: &[&str]) -> Result<Claims, TokenError> {
    let headers = HeaderMap::new();
    jwt.verify(&Evidence {
        method: &Method::GET,
        public: None,
        raw_path: "/",
        raw_query: None,
        headers: &headers,
        client: [203, 0, 113, 7].into(),
        proxied: false,
        parts: parts.iter().map(|part| (*part).into()).collect(),
    })
}

fn verify(jwt: &Jwt, token: &str) -> Result<Claims, TokenError> {
    verify_parts(jwt, &[token])
}

fn sign_raw(keys: &KeyRing, header: &str, payload: &str) -> String {
    let generation = keys.load().unwrap();
    let key = generation.keys.signing(None).unwrap();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = crypto::sign(signed.as_bytes(), &key.key, key.algorithm).unwrap();
    format!("{signed}.{signature}")
}

/// A verifier and its keys, and what it says of further members.
struct Bench {
    keys: Arc<KeyRing>,
    jwt: Jwt,
}

impl Bench {
    fn new() -> Self {
        let keys = ring(Algorithm::HS256);
        Self {
            jwt: Jwt::new(rules(keys.clone())),
            keys,
        }
    }

    fn kid(&self) -> String {
        self.keys.load().unwrap().keys.verifying()[0]
            .kid
            .as_deref()
            .unwrap()
            .to_owned()
    }

    fn payload(&self, payload: &str) -> Result<Claims, TokenError> {
        verify(&self.jwt, &sign_raw(&self.keys, r#"{"alg":"HS256"}"#, payload))
    }

    fn claim(&self, members: &str) -> Result<Claims, TokenError> {
        self.payload(&format!(
            r#"{{"iss":"https://issuer.example.com","aud":"media.example.com","exp":1767225900,{members}}}"#
        ))
    }

    fn header(&self, header: &str) -> Result<Claims, TokenError> {
        let payload = r#"{"iss":"https://issuer.example.com","aud":"media.example.com","exp":1767225900}"#;
        verify(&self.jwt, &sign_raw(&self.keys, header, payload))
    }
}

fn is_invalid<T>(result: &Result<T, TokenError>) -> bool {
    matches!(result, Err(TokenError::Invalid(_)))
}

/// What the gate says of a vector: the token's standing, or why there is none.
fn judge(jwt: &Jwt, case: &Value) -> Result<Standing, String> {
    let carrier = match case["profile"].as_str().unwrap() {
        "default" => Carrier::Query {
            names: Box::new(["t".into()]),
        },
        "path" => Carrier::PathSegment(PathPattern::parse("/media/{id}/download/{token}").unwrap()),
        "bearer" => Carrier::Bearer,
        other => panic!("{other}"),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in case["headers"].as_object().unwrap() {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
    }
    let url = case["url"]
        .as_str()
        .unwrap()
        .strip_prefix("https://media.example.com")
        .unwrap();
    // hyper cuts the fragment off.
    let url = url.split('#').next().unwrap();
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let method: Method = case["method"].as_str().unwrap().parse().unwrap();
    let found = Carriers::new(vec![carrier])
        .locate(Head {
            path,
            query,
            headers: &headers,
        })
        .map_err(|error| error.to_string())?;
    let claims = jwt
        .verify(&Evidence {
            method: &method,
            public: None,
            raw_path: path,
            raw_query: query,
            headers: &headers,
            client: case["client_ip"].as_str().unwrap().parse().unwrap(),
            proxied: false,
            parts: found.parts.ok_or("missing")?,
        })
        .map_err(|error| error.to_string())?;
    Ok(claims.standing(UnixTime::from_secs(case["now"].as_i64().unwrap()), Duration::ZERO))
}

#[test]
fn all_vectors_are_judged_as_they_expect() {
    let file: Value = serde_json::from_str(include_str!("../../../../tests/vectors/jwt_query.json")).unwrap();
    let keys = KeySet::from_jwks(file["keys"]["jwks"].to_string().as_bytes(), SetSource::Local).unwrap();
    let jwt = Jwt::new(rules(Arc::new(KeyRing::fixed("vectors", keys))));
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 125);
    let mut wrong = Vec::new();
    for case in cases {
        let verdict = judge(&jwt, case);
        if (verdict == Ok(Standing::InTime)) != (case["expect"] == "allow") {
            wrong.push(format!("{}: {verdict:?}", case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_native_claim_comes_back_as_it_was_minted() {
    for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
        let keys = ring(algorithm);
        let jwt = Jwt::new(rules(keys.clone()));
        let minter = minter(keys, KidHeader::Named);
        let claims = Claims {
            subject: Some("42".into()),
            not_before: Some(UnixTime::from_secs(NOW)),
            expires: Some(UnixTime::from_secs(NOW + 60)),
            uses: Uses::Once,
            scope: Some(Scope(Box::new([
                Opens::parse("/a/").unwrap(),
                Opens::parse("/b/*.mp4").unwrap(),
                Opens::parse("/c d").unwrap(),
                Opens::MediaId("m1".into()),
            ]))),
            methods: Some(Methods::READ),
            addresses: Some(Box::new([
                "203.0.113.7/32".parse().unwrap(),
                "2001:db8::/64".parse().unwrap(),
                "10.0.0.0/8".parse().unwrap(),
            ])),
            limits: Limits {
                rate: Some(1_000_000),
                streams: Some(2),
            },
            filename: Some("Résumé \"1\".pdf".into()),
            parameters: Box::new([
                ("w".into(), Parameter::Number(1.into())),
                ("a".into(), "é&=".into()),
            ]),
            named: Box::new([("tenant".into(), "t1".into())]),
            ..Claims::empty(TokenId([0; 16]))
        };
        let minted = minter.mint(&claims, UnixTime::from_secs(NOW)).unwrap();
        let read = verify(&jwt, &minted.text).unwrap();
        assert_eq!(read.token_id, minted.id);
        assert_eq!(read.id.as_deref().map(str::len), Some(22));
        assert_eq!(read.issuer.as_deref(), Some("https://issuer.example.com"));
        assert_eq!(read.issued, Some(UnixTime::from_secs(NOW)));
        let whole = |claims: &Claims| {
            format!(
                "{:?}",
                Claims {
                    token_id: TokenId([0; 16]),
                    id: None,
                    issuer: None,
                    issued: None,
                    key: None,
                    ..claims.clone()
                }
            )
        };
        assert_eq!(whole(&read), whole(&claims));
    }
}

fn minter(keys: Arc<KeyRing>, kid: KidHeader) -> Minter {
    Minter {
        keys,
        issuer: "https://issuer.example.com".into(),
        audience: "media.example.com".into(),
        kid,
        log_key: log_key(),
    }
}

fn decoded(token: &str, part: usize) -> String {
    String::from_utf8(
        URL_SAFE_NO_PAD
            .decode(token.split('.').nth(part).unwrap())
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn members_are_minted_in_one_order() {
    let secret = Secret::new(vec![1; 32]);
    let keys = KeySet::from_hmac(Some("k1"), Algorithm::HS256, &secret).unwrap();
    let minter_named = minter(Arc::new(KeyRing::fixed("k", keys)), KidHeader::Named);
    let claims = Claims {
        subject: Some("42".into()),
        id: Some("j".into()),
        expires: Some(UnixTime::from_millis(NOW * 1000 + 900)),
        not_before: Some(UnixTime::from_millis(NOW * 1000 + 1)),
        scope: Some(Scope(Box::new([Opens::MediaId("7".into())]))),
        ..Claims::empty(TokenId([0; 16]))
    };
    let token = minter_named
        .mint(&claims, UnixTime::from_millis(NOW * 1000 + 999))
        .unwrap()
        .text;
    assert_eq!(decoded(&token, 0), r#"{"typ":"JWT","alg":"HS256","kid":"k1"}"#);
    assert_eq!(
        decoded(&token, 1),
        r#"{"aud":"media.example.com","iss":"https://issuer.example.com","sub":"42","jti":"j","iat":1767225600,"nbf":1767225601,"exp":1767225600,"media":"7"}"#
    );
    let unnamed = minter(minter_named.keys.clone(), KidHeader::Unnamed);
    let token = unnamed.mint(&claims, UnixTime::from_secs(NOW)).unwrap().text;
    assert_eq!(decoded(&token, 0), r#"{"typ":"JWT","alg":"HS256"}"#);
}

#[test]
fn claims_that_a_jwt_can_not_say_are_not_minted() {
    let minter = minter(ring(Algorithm::HS256), KidHeader::Named);
    let good = Claims {
        expires: Some(UnixTime::from_secs(NOW)),
        ..Claims::empty(TokenId([0; 16]))
    };
    let scope = |opens: &[Opens]| Claims {
        scope: Some(Scope(opens.into())),
        ..good.clone()
    };
    let pair = |name: &str| (Box::from(name), Box::from("x"));
    let bad = [
        Claims {
            expires: None,
            ..good.clone()
        },
        scope(&[Opens::Exact("/a/*".into())]),
        scope(&[Opens::Exact("/a/".into())]),
        scope(&[Opens::MediaId("1".into()), Opens::MediaId("2".into())]),
        Claims {
            filename: Some("a/b".into()),
            ..good.clone()
        },
        Claims {
            limits: Limits {
                rate: Some(0),
                streams: None,
            },
            ..good.clone()
        },
        Claims {
            parameters: Box::new([("a".into(), "x".into()), ("a".into(), "x".into())]),
            ..good.clone()
        },
        Claims {
            parameters: Box::new([("a".into(), Parameter::Withheld)]),
            ..good.clone()
        },
        Claims {
            named: Box::new([pair("exp")]),
            ..good.clone()
        },
        Claims {
            subject: Some("x".repeat(MAX_TOKEN_BYTES).into()),
            ..good.clone()
        },
    ];
    for (at, claims) in bad.iter().enumerate() {
        assert!(is_invalid(&minter.mint(claims, UnixTime::from_secs(NOW))), "{at}");
    }
    assert!(minter.mint(&good, UnixTime::from_secs(NOW)).is_ok());
}

#[test]
fn an_empty_scope_stays_an_empty_scope() {
    let keys = ring(Algorithm::HS256);
    let claims = Claims {
        expires: Some(UnixTime::from_secs(NOW)),
        scope: Some(Scope::default()),
        ..Claims::empty(TokenId([0; 16]))
    };
    let token = minter(keys.clone(), KidHeader::Named)
        .mint(&claims, UnixTime::from_secs(NOW))
        .unwrap()
        .text;
    assert_eq!(
        verify(&Jwt::new(rules(keys)), &token).unwrap().scope,
        Some(Scope::default())
    );
}

#[test]
fn native_claims_of_another_type_refuse_the_token() {
    let bench = Bench::new();
    for claim in [
        "sub", "jti", "iat", "nbf", "paths", "media", "methods", "ips", "uses", "filename", "args", "rate",
        "streams",
    ] {
        assert!(is_invalid(&bench.claim(&format!("\"{claim}\":null"))), "{claim}");
        assert!(is_invalid(&bench.claim(&format!("\"{claim}\":[1]"))), "{claim}");
    }
    for members in [
        r#""paths":"/a""#,
        r#""paths":["a"]"#,
        r#""paths":["/a/../b"]"#,
        r#""media":"""#,
        r#""media":7"#,
        r#""methods":["get"]"#,
        r#""ips":["1.2.3"]"#,
        r#""ips":["::ffff:1.2.3.4/40"]"#,
        r#""uses":0"#,
        r#""uses":2"#,
        r#""uses":1.0"#,
        r#""uses":"1""#,
        r#""filename":"a/b""#,
        r#""filename":"a\\b""#,
        r#""filename":"a\nb""#,
        r#""filename":"..""#,
        r#""args":{"a":[1]}"#,
        r#""args":{"a":null}"#,
        r#""rate":0"#,
        r#""rate":-1"#,
        r#""rate":2048.5"#,
        r#""rate":1023"#,
        r#""rate":1099511627777"#,
        r#""rate":18446744073709551616"#,
        r#""streams":0"#,
        r#""streams":1025"#,
        r#""streams":4294967296"#,
        r#""nbf":1e300"#,
        r#""iat":"1""#,
    ] {
        assert!(is_invalid(&bench.claim(members)), "{members}");
    }
    assert!(is_invalid(
        &bench.claim(&format!("\"filename\":\"{}\"", "a".repeat(256)))
    ));
    let many = vec!["\"/a\""; 65].join(",");
    assert!(is_invalid(&bench.claim(&format!("\"paths\":[{many}]"))));
}

#[test]
fn native_claims_are_read() {
    let bench = Bench::new();
    let claims = bench
        .claim(
            r#""uses":1,"media":"m","paths":["/a/"],"ips":["::ffff:192.0.2.1","::ffff:192.0.2.0/120"],"args":{"w":10,"f":1.5,"b":true,"t":"x"},"tenant":"t","other":{"a":null}"#,
        )
        .unwrap();
    assert_eq!(claims.uses, Uses::Once);
    assert_eq!(claims.scope.as_ref().unwrap().0.len(), 2);
    assert!(claims.allows_address([192, 0, 2, 200].into()));
    assert!(!claims.allows_address([192, 0, 3, 1].into()));
    let parameters: Vec<_> = claims
        .parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", value.text().unwrap()))
        .collect();
    assert_eq!(parameters, ["w=10", "f=1.5", "b=true", "t=x"]);
    assert_eq!(claims.text("tenant"), Some("t"));
    assert_eq!(claims.text("other"), None);
    assert!(bench.claim(r#""tenant":7"#).unwrap().named.is_empty());
    assert_eq!(bench.claim(r#""sub":"s""#).unwrap().scope, None);
}

#[test]
fn times_are_kept_to_the_millisecond() {
    let bench = Bench::new();
    let claims = bench.claim(r#""nbf":1767225600.25,"iat":99999999999"#).unwrap();
    assert_eq!(claims.not_before, Some(UnixTime::from_millis(1_767_225_600_250)));
    for exp in [
        "9223372036854776",
        "-9223372036854776",
        "18446744073709551615",
        "9.3e15",
    ] {
        let payload =
            format!(r#"{{"iss":"https://issuer.example.com","aud":"media.example.com","exp":{exp}}}"#);
        assert!(is_invalid(&bench.payload(&payload)), "{exp}");
    }
}

#[test]
fn issuer_and_audience_have_their_types() {
    let bench = Bench::new();
    for (iss, aud) in [
        (r#"["https://issuer.example.com"]"#, r#""media.example.com""#),
        (r#"null"#, r#""media.example.com""#),
        (r#""https://issuer.example.com""#, r#"["media.example.com",1]"#),
        (r#""https://issuer.example.com""#, "[]"),
        (r#""https://issuer.example.com""#, "{}"),
        (r#""https://issuer.example.com""#, "null"),
    ] {
        assert!(
            is_invalid(&bench.payload(&format!(r#"{{"iss":{iss},"aud":{aud},"exp":1767225900}}"#))),
            "{iss} {aud}"
        );
    }
}

#[test]
fn a_longest_life_demands_iat() {
    let keys = ring(Algorithm::HS256);
    let jwt = Jwt::new(Rules {
        max_lifetime: Some(Duration::from_secs(300)),
        ..rules(keys.clone())
    });
    let verdict = |iat: &str| {
        let payload = format!(
            r#"{{"iss":"https://issuer.example.com","aud":"media.example.com","exp":1767225900{iat}}}"#
        );
        verify(&jwt, &sign_raw(&keys, r#"{"alg":"HS256"}"#, &payload))
    };
    assert!(verdict(r#","iat":1767225600"#).is_ok());
    assert!(is_invalid(&verdict(r#","iat":1767225599"#)));
    assert!(is_invalid(&verdict(r#","iat":-9223372036854775"#)));
    assert!(is_invalid(&verdict("")));
}

#[test]
fn the_header_is_read_strictly() {
    let bench = Bench::new();
    let kid = bench.kid();
    assert!(
        bench
            .header(&format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"jwt"}}"#))
            .is_ok()
    );
    assert!(
        bench
            .header(r#"{"alg":"HS256","jku":1,"jwk":{},"x5u":"http://x","x5c":[]}"#)
            .is_ok()
    );
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","b64":true}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","enc":"A128GCM"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"none"}"#,
    ] {
        assert!(is_invalid(&bench.header(header)), "{header}");
    }
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257));
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":1}"#,
        "{}",
        "[]",
        r#"{"alg":"HS256","typ":1}"#,
        &long,
    ] {
        assert!(
            matches!(bench.header(header), Err(TokenError::Malformed(_))),
            "{header}"
        );
    }
}

#[test]
fn a_demanded_type_must_be_there() {
    let keys = ring(Algorithm::HS256);
    let jwt = Jwt::new(Rules {
        typ: Some("media+jwt".into()),
        ..rules(keys.clone())
    });
    let payload = r#"{"iss":"https://issuer.example.com","aud":"media.example.com","exp":1767225900}"#;
    assert!(
        verify(
            &jwt,
            &sign_raw(&keys, r#"{"alg":"HS256","typ":"Media+JWT"}"#, payload)
        )
        .is_ok()
    );
    assert!(is_invalid(&verify(
        &jwt,
        &sign_raw(&keys, r#"{"alg":"HS256"}"#, payload)
    )));
    assert!(is_invalid(&verify(
        &jwt,
        &sign_raw(&keys, r#"{"alg":"HS256","typ":"JWT"}"#, payload)
    )));
}

#[test]
fn only_an_unknown_name_asks_for_new_keys() {
    let bench = Bench::new();
    let kid = bench.kid();
    let misses = Arc::new(AtomicUsize::new(0));
    let seen = misses.clone();
    bench.keys.on_miss(move || {
        seen.fetch_add(1, Ordering::Relaxed);
    });
    assert!(is_invalid(
        &bench.header(&format!(r#"{{"alg":"HS384","kid":"{kid}"}}"#))
    ));
    assert_eq!(
        bench.header(r#"{"alg":"ES256"}"#).unwrap_err(),
        TokenError::UnknownKey
    );
    assert_eq!(misses.load(Ordering::Relaxed), 0);
    assert_eq!(
        bench.header(r#"{"alg":"HS256","kid":"other"}"#).unwrap_err(),
        TokenError::UnknownKey
    );
    assert_eq!(misses.load(Ordering::Relaxed), 1);
}

#[test]
fn keys_that_were_never_loaded_are_unavailable() {
    let jwt = Jwt::new(rules(Arc::new(KeyRing::pending("later"))));
    assert_eq!(jwt.cache_stamp(), None);
    let token = sign_raw(&ring(Algorithm::HS256), r#"{"alg":"HS256"}"#, "{}");
    assert_eq!(verify(&jwt, &token).unwrap_err(), TokenError::KeysUnavailable);
}

#[test]
fn the_stamp_changes_with_the_keys_and_differs_between_verifiers() {
    let keys = ring(Algorithm::HS256);
    let (one, other) = (Jwt::new(rules(keys.clone())), Jwt::new(rules(keys.clone())));
    let before = one.cache_stamp().unwrap();
    assert_ne!(before, other.cache_stamp().unwrap());
    keys.replace(KeySet::default());
    assert_ne!(before, one.cache_stamp().unwrap());
}

#[test]
fn tokens_with_and_without_jti_have_names_of_their_own() {
    let bench = Bench::new();
    let one = bench.claim(r#""jti":"a""#).unwrap().token_id;
    assert_eq!(one, bench.claim(r#""jti":"a","sub":"x""#).unwrap().token_id);
    assert_eq!(
        one,
        token_id(&log_key(), "https://issuer.example.com", Some("a"), b"")
    );
    assert_ne!(
        one,
        token_id(&log_key(), "https://another.example.com", Some("a"), b"")
    );
    let none = bench.claim(r#""sub":"x""#).unwrap().token_id;
    assert_eq!(none, bench.claim(r#""sub":"x""#).unwrap().token_id);
    assert_ne!(none, bench.claim(r#""sub":"y""#).unwrap().token_id);
}

#[test]
fn a_token_is_one_part_of_at_most_8_kib() {
    let bench = Bench::new();
    assert!(matches!(
        verify_parts(&bench.jwt, &[]),
        Err(TokenError::Malformed(_))
    ));
    assert!(matches!(
        verify_parts(&bench.jwt, &["a", "b"]),
        Err(TokenError::Malformed(_))
    ));
    let long = sign_raw(
        &bench.keys,
        r#"{"alg":"HS256"}"#,
        &json!({ "x": "y".repeat(MAX_TOKEN_BYTES) }).to_string(),
    );
    assert!(matches!(verify(&bench.jwt, &long), Err(TokenError::Malformed(_))));
}

#[test]
fn errors_and_debug_hold_nothing_of_the_token() {
    let bench = Bench::new();
    let error = bench.claim(r#""sub":["hunter2"]"#).unwrap_err();
    assert!(!format!("{error} {error:?} {:?}", bench.jwt).contains("hunter2"));
}

/// A verifier of tokens that another product's backend signs.
fn foreign(profile: Profile, require: &[(&str, &[&str])]) -> Bench {
    let keys = ring(Algorithm::HS256);
    let boxed = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect();
    let require = require
        .iter()
        .map(|(name, values)| ((*name).into(), boxed(values)));
    Bench {
        jwt: Jwt::new(Rules {
            profile,
            issuers: Box::default(),
            audiences: profile.audience().into_iter().map(Box::from).collect(),
            require: require.collect(),
            ..rules(keys.clone())
        }),
        keys,
    }
}

#[test]
fn a_token_of_jw_player_opens_its_resource_and_nothing_else() {
    let bench = foreign(Profile::JwPlayer, &[]);
    let claims = bench
        .payload(r#"{"exp":1767225900,"resource":"/manifests/*x.m3u8"}"#)
        .unwrap();
    let opens = |path: &str| {
        let target = crate::target::Target::parse(path, None).unwrap();
        claims.scope.as_ref().unwrap().opens(&target, None)
    };
    assert!(opens("/manifests/*x.m3u8") && !opens("/manifests/ax.m3u8"));
    for payload in [
        r#"{"exp":1767225900}"#,
        r#"{"exp":1767225900,"resource":"manifests/x.m3u8"}"#,
        r#"{"exp":1767225900,"resource":["/a"]}"#,
        r#"{"exp":1767225900,"resource":"/../a"}"#,
        r#"{"resource":"/a"}"#,
    ] {
        assert!(is_invalid(&bench.payload(payload)), "{payload}");
    }
}

#[test]
fn what_another_product_restricts_and_is_not_enforced_here_refuses() {
    for (profile, base, restrictions) in [
        (
            Profile::Mux,
            r#""sub":"id","aud":"v""#,
            &[r#""playback_restriction_id":"r""#][..],
        ),
        (
            Profile::CloudflareStream,
            r#""sub":"id""#,
            &[r#""accessRules":[]"#],
        ),
        (
            Profile::AwsIvs,
            r#""aws:channel-arn":"arn:1","aws:access-control-allow-origin":"*""#,
            &[
                r#""aws:strict-origin-enforcement":true"#,
                r#""aws:single-use-uuid":"u""#,
                r#""aws:maximum-resolution":"SD""#,
            ],
        ),
    ] {
        let bench = foreign(profile, &[]);
        let plain = bench.payload(&format!(r#"{{"exp":1767225900,{base}}}"#));
        assert!(plain.is_ok(), "{profile:?}: {plain:?}");
        for restriction in restrictions {
            let restricted = bench.payload(&format!(r#"{{"exp":1767225900,{base},{restriction}}}"#));
            assert!(is_invalid(&restricted), "{profile:?} {restriction}");
        }
    }
    let lenient = r#"{"exp":1767225900,"aws:strict-origin-enforcement":false}"#;
    assert!(foreign(Profile::AwsIvs, &[]).payload(lenient).is_ok());
}

#[test]
fn required_claims_are_there_and_what_they_may_be() {
    let bench = foreign(
        Profile::NginxPlus,
        &[("tier", &["gold", "silver"]), ("region", &[])],
    );
    for (payload, good) in [
        (r#"{"exp":1767225900,"tier":"gold","region":"eu"}"#, true),
        (r#"{"exp":1767225900,"tier":"silver","region":""}"#, true),
        (r#"{"exp":1767225900,"tier":"tin","region":"eu"}"#, false),
        (r#"{"exp":1767225900,"tier":["gold"],"region":"eu"}"#, false),
        (r#"{"exp":1767225900,"tier":"gold"}"#, false),
        // Nobody said whose it should be.
        (
            r#"{"exp":1767225900,"tier":"gold","region":"eu","aud":"other"}"#,
            false,
        ),
        (
            r#"{"exp":1767225900,"tier":"gold","region":"eu","iss":"anybody"}"#,
            true,
        ),
    ] {
        assert_eq!(bench.payload(payload).is_ok(), good, "{payload}");
    }
}

#[test]
fn tokens_of_ivs_are_signed_by_es384() {
    let (keys, scalar) = (
        KeyRing::pending("ivs"),
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
    );
    let pem = Secret::new(scalar.unwrap().serialize_pem().into_bytes());
    keys.replace(KeySet::from_pem(None, Algorithm::ES384, &pem).unwrap());
    let keys = Arc::new(keys);
    let jwt = Jwt::new(Rules {
        profile: Profile::AwsIvs,
        issuers: Box::default(),
        audiences: Box::default(),
        require: Box::new([("aws:channel-arn".into(), Box::new(["arn:1".into()]))]),
        ..rules(keys.clone())
    });
    let payload = |arn: &str| format!(r#"{{"exp":1767225900,"aws:channel-arn":"{arn}"}}"#);
    let token = |arn: &str| sign_raw(&keys, r#"{"alg":"ES384","typ":"JWT"}"#, &payload(arn));
    assert!(verify(&jwt, &token("arn:1")).is_ok());
    assert!(is_invalid(&verify(&jwt, &token("arn:2"))));
}
