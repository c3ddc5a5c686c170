use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::*;
use crate::secret::Secret;
use crate::sigv4::Credentials;
use crate::token::scheme::signed::Shown;
use crate::token::scheme::signed::vectors::{self, Case, Request as Asking};
use crate::token::{Opens, PublicBase};

const VECTORS: &str = include_str!("../../../../../tests/vectors/s3_sigv4.json");
const NOW: UnixTime = UnixTime::from_secs(1_767_225_600);

fn signer(id: &str, secret: &str, token: Option<&str>) -> Signer {
    let credentials = Credentials {
        access_key_id: id.into(),
        secret_access_key: Secret::new(secret.into()),
        session_token: token.map(|token| Secret::new(token.into())),
    };
    Signer::new(credentials, "us-east-1", "s3")
}

fn key(signer: Signer) -> (Key, Option<UnixTime>) {
    (Key { signer, opens: None }, None)
}

fn scheme(keys: impl IntoIterator<Item = (Key, Option<UnixTime>)>) -> PresignedUrls {
    PresignedUrls::new(Rules {
        keys: Key::named(keys),
        log_key: Arc::new(LogKey::new(&Secret::new(vec![7; 32]))),
    })
}

/// The credentials of a case: those of the file, or the published example's own.
fn credentials(case: &Case<'_>) -> Vec<(String, String)> {
    assert_eq!(
        (&case.profile["region"], &case.profile["service"]),
        (&Value::from("us-east-1"), &Value::from("s3"))
    );
    let keys = case.json.get("key_override").unwrap_or(&case.keys["credentials"]);
    let keys = keys.as_object().unwrap().iter();
    keys.map(|(id, secret)| (id.clone(), secret.as_str().unwrap().to_owned()))
        .collect()
}

fn of_case(case: &Case<'_>) -> PresignedUrls {
    scheme(
        credentials(case)
            .iter()
            .map(|(id, secret)| key(signer(id, secret, None))),
    )
}

#[test]
fn all_vectors_agree() {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let count = vectors::run(VECTORS, &[], |case| {
        Some((Box::new(of_case(case)), Duration::ZERO))
    });
    assert_eq!(count, all["cases"].as_array().unwrap().len());
    assert_eq!(count, 47);
}

fn head(request: &Asking) -> Head<'_> {
    Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    }
}

#[test]
fn the_allowed_urls_of_the_vectors_are_made_again() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut made, mut others) = (Vec::new(), Vec::new());
    for json in file["cases"].as_array().unwrap() {
        if json["expect"] != "allow" {
            continue;
        }
        let case = Case {
            json,
            profile: &file["profiles"]["default"],
            keys: &file["keys"],
        };
        let request = case.request();
        let taken = of_case(&case).take(head(&request)).unwrap().unwrap();
        let [_, credential, date, life, headers, _, token] = &taken.parts[..] else {
            panic!("seven parts");
        };
        if headers != "host" {
            others.push(case.text("name").to_owned());
            continue;
        }
        let token = Some(&**token).filter(|token| !token.is_empty());
        let id = credential.split('/').next().unwrap();
        let secret = credentials(&case).into_iter().find(|(known, _)| known == id);
        let scheme = scheme([key(signer(id, &secret.unwrap().1, token))]);
        let target = Target::parse(&taken.path, taken.query.as_deref()).unwrap();
        let now = UnixTime::parse_compact(date).unwrap();
        let wish = Wish {
            now,
            expires: now.after(Duration::from_secs(life.parse().unwrap())),
            method: &request.method,
            ..wish(&request.public, &target)
        };
        let Signed::Url(link) = scheme.sign(&wish).unwrap() else {
            panic!("a URL");
        };
        let (path, query) = link.split_once('?').unwrap();
        assert_eq!(path, request.path);
        // The order of parameters is free; ours is the one in which they are signed, the signature last.
        assert_eq!(
            canonical_query(query, |_| true),
            canonical_query(request.query.as_deref().unwrap(), |_| true),
            "{}",
            case.text("name")
        );
        made.push(case.text("name").to_owned());
    }
    // `sign` signs no header but `host`.
    assert_eq!(others, ["signed_header_ok"]);
    assert_eq!(made.len(), 13, "{made:?}");
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

fn public() -> PublicBase {
    PublicBase {
        scheme: "https".into(),
        authority: "s3.example.com".into(),
    }
}

fn asking(method: &str, link: &str, headers: &[(&'static str, &str)], now: UnixTime) -> Asking {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let url = format!("https://s3.example.com{link}");
    Asking::new(method, &url, all, "203.0.113.7".parse().unwrap(), now)
}

fn judge(scheme: &PresignedUrls, method: &str, link: &str, now: UnixTime) -> Result<Claims, String> {
    asking(method, link, &[], now)
        .judge(scheme, Duration::ZERO)
        .map(|(claims, _)| claims)
}

fn link(scheme: &PresignedUrls, wish: &Wish<'_>) -> String {
    match scheme.sign(wish).unwrap() {
        Signed::Url(link) => link,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_of_the_scheme_is_left_for_the_origin_and_everything_else_is() {
    let scheme = scheme([key(signer("AK", "secret", None))]);
    let headers = HeaderMap::new();
    let take = |query: &str| {
        let head = Head {
            path: "/b/k",
            query: Some(query),
            headers: &headers,
        };
        let taken = scheme.take(head)?;
        Ok(taken.map(|taken| taken.query.map(Cow::into_owned)))
    };
    let all = "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=d&X-Amz-SignedHeaders=e\
               &X-Amz-Signature=f&X-Amz-Security-Token=g";
    assert_eq!(take(all), Ok(Some(None)));
    assert_eq!(
        take(&format!(
            "response-content-type=a%2Fb&{all}&versionId=+&x-id=GetObject"
        )),
        Ok(Some(Some(
            "response-content-type=a%2Fb&versionId=+&x-id=GetObject".to_owned()
        )))
    );
    for ours in ["x-amz-meta", "%58-AMZ-new=1", "X%2damz-", "X-Amz-Signature"] {
        assert_eq!(take(ours), Ok(Some(None)), "{ours}");
        assert_eq!(take(&format!("a&{ours}&b")), Ok(Some(Some("a&b".to_owned()))));
    }
    for others in ["", "amz=1", "x-amz", "X%252DAmz-Date=1", "Signature=1"] {
        assert_eq!(take(others), Ok(None), "{others}");
    }
    for name in NAMES {
        assert_eq!(
            take(&format!("{name}=1&{}=1", name.replace('z', "%7a"))),
            Err(LocateError::Ambiguous),
            "{name}"
        );
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(take(&format!("{name}={long}")), Err(LocateError::Malformed));
        assert_eq!(take(&format!("{name}=%ff")), Err(LocateError::Malformed));
    }
}

#[test]
fn a_link_is_for_one_method_alone() {
    let scheme = scheme([key(signer("AK", "secret", None))]);
    let (public, target) = (public(), Target::parse("/b/k", None).unwrap());
    for (signed, other, what) in [
        (
            Method::GET,
            "HEAD",
            "verify: token refused here: the link is for GET alone",
        ),
        (
            Method::HEAD,
            "GET",
            "verify: token refused: the signature is wrong",
        ),
    ] {
        let wish = Wish {
            method: &signed,
            ..wish(&public, &target)
        };
        let link = link(&scheme, &wish);
        assert!(judge(&scheme, signed.as_str(), &link, NOW).is_ok());
        assert_eq!(judge(&scheme, other, &link, NOW).unwrap_err(), what);
        for method in ["PUT", "DELETE", "OPTIONS"] {
            assert!(judge(&scheme, method, &link, NOW).is_err(), "{method}");
        }
    }
    let wish = Wish {
        method: &Method::PUT,
        ..wish(&public, &target)
    };
    let claims = judge(&scheme, "PUT", &link(&scheme, &wish), NOW).unwrap();
    assert_eq!(claims.methods, Methods::parse(["PUT"]).ok());
}

#[test]
fn a_link_works_from_a_quarter_of_an_hour_before_its_date_until_its_end() {
    let scheme = scheme([key(signer("AK", "secret", None))]);
    let (public, target) = (public(), Target::parse("/b/k", None).unwrap());
    let link = link(&scheme, &wish(&public, &target));
    let seconds = Duration::from_secs;
    for (now, standing) in [
        (NOW.before(seconds(901)), Err("NotYet")),
        (NOW.before(seconds(900)), Ok(())),
        (NOW.after(seconds(59)), Ok(())),
        (NOW.after(seconds(60)), Err("Expired")),
    ] {
        let judged = judge(&scheme, "GET", &link, now);
        assert_eq!(judged.map(drop).map_err(|_| ()), standing.map_err(|_| ()));
        if let Err(standing) = standing {
            assert_eq!(judge(&scheme, "GET", &link, now).unwrap_err(), standing);
        }
    }
    let claims = judge(&scheme, "GET", &link, NOW).unwrap();
    assert_eq!(claims.issued, Some(NOW));
    assert_eq!(claims.expires, Some(NOW.after(seconds(60))));
    assert_eq!(claims.key.as_deref(), Some("AK"));
}

#[test]
fn a_key_signs_for_its_own_paths_region_and_time() {
    let mine = || {
        let opens = Some(Scope(Box::new([Opens::parse("/mine/").unwrap()])));
        let signer = signer("AK", "secret", None);
        Key { signer, opens }
    };
    let end = NOW.after(Duration::from_secs(30));
    let all = scheme([key(signer("AK", "secret", None))]);
    let limited = scheme([(mine(), Some(end))]);
    let public = public();
    let target = |path| Target::parse(path, None).unwrap();
    let (inside, outside) = (target("/mine/k"), target("/yours/k"));
    let (inside, outside) = (wish(&public, &inside), wish(&public, &outside));
    assert!(judge(&limited, "GET", &link(&limited, &inside), NOW).is_ok());
    assert!(limited.sign(&outside).is_err());
    assert_eq!(
        judge(&limited, "GET", &link(&all, &outside), NOW).unwrap_err(),
        "verify: token refused here: its key signs for other paths"
    );
    assert_eq!(
        judge(&limited, "GET", &link(&all, &inside), end).unwrap_err(),
        "verify: no key of the set goes with the token"
    );
    let other = scheme([key(signer("AK2", "secret", None))]);
    assert_eq!(
        judge(&other, "GET", &link(&all, &inside), NOW).unwrap_err(),
        "verify: no key of the set goes with the token"
    );
    let elsewhere = || {
        let credentials = signer("AK", "secret", None).credentials().clone();
        key(Signer::new(credentials, "eu-west-1", "s3"))
    };
    let abroad = scheme([elsewhere()]);
    assert_eq!(
        judge(&abroad, "GET", &link(&all, &inside), NOW).unwrap_err(),
        "verify: token refused: signed for another region or service"
    );
    // One id may be for two regions.
    let both = scheme([elsewhere(), key(signer("AK", "secret", None))]);
    for made in [&all, &abroad] {
        assert!(judge(&both, "GET", &link(made, &inside), NOW).is_ok());
    }
    let wrong = scheme([key(signer("AK", "secrets", None)), elsewhere()]);
    assert_eq!(
        judge(&wrong, "GET", &link(&all, &inside), NOW).unwrap_err(),
        "verify: token refused: the signature is wrong"
    );
}

/// As a library does that writes more than we do.
fn presign(query: &str, headers: &[(&str, &[u8])]) -> String {
    let request = Request {
        method: "GET",
        host: "s3.example.com",
        path: "/b/k",
        query: &canonical_query(query, |_| true),
        headers,
    };
    let query = signer("AK", "secret", None).presign(&request, 60, NOW);
    format!("/b/k?{query}")
}

#[test]
fn a_signed_parameter_or_header_that_may_restrict_is_refused_unless_it_is_understood() {
    let scheme = scheme([key(signer("AK", "secret", None))]);
    for (query, understood) in [
        ("x-id=GetObject&versionId=1", true),
        ("x-amz-checksum-mode=ENABLED", true),
        ("X-Amz-User-Agent=lib", true),
        ("X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", true),
        ("X-Amz-Content-Sha256=e3b0", false),
        ("x-amz-expected-bucket-owner=1", false),
        ("X-Amz-New-Restriction=1", false),
        ("x-amz-date=20260101T000000Z", false),
    ] {
        let judged = judge(&scheme, "GET", &presign(query, &[]), NOW);
        assert_eq!(judged.is_ok(), understood, "{query}: {judged:?}");
    }
    for (name, value, understood) in [
        ("range", "bytes=0-1", true),
        ("x-amz-checksum-mode", "ENABLED", true),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", true),
        ("x-amz-expected-bucket-owner", "1", false),
    ] {
        let link = presign("", &[(name, value.as_bytes())]);
        let judge = |headers: &[(&'static str, &str)]| {
            asking("GET", &link, headers, NOW)
                .judge(&scheme, Duration::ZERO)
                .is_ok()
        };
        assert_eq!(judge(&[(name, value)]), understood, "{name}");
        assert!(!judge(&[]), "{name}");
        assert!(!judge(&[(name, "x")]), "{name}");
        assert!(!judge(&[(name, value), (name, value)]), "{name}");
    }
}

#[test]
fn what_no_presigned_url_says_is_not_signed() {
    let scheme = scheme([key(signer("AK", "secret", None))]);
    let (public, target) = (public(), Target::parse("/b/k", None).unwrap());
    let wish = || wish(&public, &target);
    let (folder, exact) = (Opens::parse("/b/").unwrap(), Opens::parse("/b/k").unwrap());
    for bad in [
        Wish {
            public: None,
            ..wish()
        },
        Wish {
            method: &Method::OPTIONS,
            ..wish()
        },
        Wish {
            place: Place::Cookie,
            ..wish()
        },
        Wish {
            place: Place::Header,
            ..wish()
        },
        Wish {
            subject: Some("me"),
            ..wish()
        },
        Wish {
            id: Some("1"),
            ..wish()
        },
        Wish {
            opens: Some(&folder),
            ..wish()
        },
        Wish {
            expires: NOW,
            ..wish()
        },
        Wish {
            expires: NOW.after(Duration::from_secs(604_801)),
            ..wish()
        },
        Wish {
            not_before: Some(NOW.after(Duration::from_secs(1))),
            ..wish()
        },
        Wish {
            address: Some("203.0.113.7/32".parse().unwrap()),
            ..wish()
        },
    ] {
        assert!(matches!(scheme.sign(&bad), Err(TokenError::Invalid(_))));
    }
    for good in [
        Wish {
            opens: Some(&exact),
            not_before: Some(NOW),
            ..wish()
        },
        Wish {
            expires: NOW.after(Duration::from_secs(604_800)),
            ..wish()
        },
    ] {
        assert!(judge(&scheme, "GET", &link(&scheme, &good), NOW).is_ok());
    }
    let signed = Target::parse("/b/k", Some("x-amz-date=1")).unwrap();
    let wish = Wish {
        target: &signed,
        ..wish()
    };
    assert!(scheme.sign(&wish).is_err());
}

#[test]
fn what_is_signed_is_shown_and_what_is_told_holds_no_signature() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let case = Case {
        json: &file["cases"][0],
        profile: &file["profiles"]["default"],
        keys: &file["keys"],
    };
    let (scheme, request) = (of_case(&case), case.request());
    let taken = scheme.take(head(&request)).unwrap().unwrap();
    let told: Vec<String> = scheme
        .tell(&taken)
        .into_iter()
        .map(|(word, text)| format!("{word}: {text}"))
        .collect();
    assert_eq!(
        told.join(", "),
        "key: AKIAIOSFODNN7EXAMPLE, scope: 20251231/us-east-1/s3/aws4_request, signed at: 20251231T235900Z, \
         seconds of life: 900, signed headers: host"
    );
    let shown = Shown::default();
    request.verify(&scheme, &taken, &shown).unwrap();
    let shown = String::from_utf8(shown.into_texts().remove(0)).unwrap();
    assert_eq!(
        shown,
        "GET\n/media/videos/show1/master.m3u8\n\
         X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20251231%2Fus-east-1%2Fs3\
         %2Faws4_request&X-Amz-Date=20251231T235900Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\n\
         host:s3.media.example.com\n\nhost\nUNSIGNED-PAYLOAD"
    );
}

mod changes;
