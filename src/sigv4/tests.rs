use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::target::Target;

fn credentials(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: id.into(),
        secret_access_key: Secret::new(secret.into()),
        session_token: token.map(|token| Secret::new(token.into())),
    }
}

/// The credentials of AWS' documentation.
fn documented() -> Signer {
    let credentials = credentials(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        None,
    );
    Signer::new(credentials, "us-east-1", "s3")
}

fn at(text: &str) -> UnixTime {
    UnixTime::parse_compact(text).unwrap()
}

/// AWS, "Signature Calculations for the Authorization Header: Examples".
#[test]
fn the_examples_of_the_s3_reference_come_out() {
    let now = at("20130524T000000Z");
    let put_body = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    for (method, path, query, payload, headers, signed, signature) in [
        (
            "GET",
            "/test.txt",
            "",
            EMPTY_PAYLOAD,
            vec![("range", "bytes=0-9")],
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            "",
            put_body,
            vec![
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle",
            EMPTY_PAYLOAD,
            vec![],
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "prefix=J&max-keys=2",
            EMPTY_PAYLOAD,
            vec![],
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let headers: Vec<Header<'_>> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        let request = Request {
            method,
            host: "examplebucket.s3.amazonaws.com",
            path,
            query: &canonical_query(query, |_| true),
            headers: &headers,
        };
        let made = documented().sign_payload(&request, payload, now);
        assert_eq!(&made.date, b"20130524T000000Z");
        assert_eq!(
            made.authorization,
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders={signed}, Signature={signature}"
            )
        );
    }
}

/// AWS, "Authenticating Requests: Using Query Parameters".
#[test]
fn the_example_of_a_presigned_url_comes_out() {
    let request = Request {
        method: "GET",
        host: "examplebucket.s3.amazonaws.com",
        path: "/test.txt",
        query: "",
        headers: &[],
    };
    let query = documented().presign(&request, 86_400, at("20130524T000000Z"));
    assert_eq!(
        query,
        "X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

/// AWS, "Examples of how to derive a signing key for Signature Version 4".
#[test]
fn the_key_of_a_day_is_derived_as_documented() {
    let signer = Signer::new(
        credentials("A", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None),
        "us-east-1",
        "iam",
    );
    let key = signer.day_key(b"20120215");
    let same = [
        0xf4, 0x78, 0x0e, 0x2d, 0x9f, 0x65, 0xfa, 0x89, 0x5f, 0x9c, 0x67, 0xb3, 0x2c, 0xe1, 0xba, 0xf0, 0xb0,
        0xd8, 0xa4, 0x35, 0x05, 0xa0, 0x00, 0xa1, 0xa9, 0xe0, 0x90, 0xd4, 0x14, 0xdb, 0x40, 0x4d,
    ];
    let same = hmac::Key::new(hmac::HMAC_SHA256, &same);
    assert_eq!(hmac::sign(&key, b"x").as_ref(), hmac::sign(&same, b"x").as_ref());
}

/// Path, query and headers of a case of the vectors; the path is judged as the gate judges every path.
fn allows(case: &Value, keys: &Value) -> bool {
    let url = case["url"].as_str().unwrap().strip_prefix("https://").unwrap();
    let (host, rest) = url.split_at(url.find('/').unwrap());
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if Target::parse(path, None).is_err() {
        return false;
    }
    let Ok(presigned) = Presigned::parse(query) else {
        return false;
    };
    let secret = case["key_override"]
        .get(presigned.access_key_id())
        .or(keys.get(presigned.access_key_id()));
    let Some(secret) = secret.and_then(Value::as_str) else {
        return false;
    };
    let signer = Signer::new(
        credentials(presigned.access_key_id(), secret, None),
        "us-east-1",
        "s3",
    );
    let header = |name: &str| {
        let headers = case["headers"].as_object().unwrap();
        let (_, value) = headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value.as_str()?.as_bytes())
    };
    let now = UnixTime::from_secs(case["now"].as_i64().unwrap());
    let method = case["method"].as_str().unwrap();
    let verdict = presigned.verify(&signer, method, host, path, header, now);
    assert!(verdict.is_err() || now < presigned.expires());
    verdict.is_ok()
}

#[test]
fn every_presigned_url_of_the_vectors_is_judged_as_s3_does() {
    let vectors: Value = serde_json::from_str(include_str!("../../tests/vectors/s3_sigv4.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 47, "{}", cases.len());
    for case in cases {
        let allowed = allows(case, &vectors["keys"]["credentials"]);
        assert_eq!(
            allowed,
            case["expect"] == "allow",
            "{}: {}",
            case["name"],
            case["reason"]
        );
    }
}

#[test]
fn each_fault_of_a_presigned_url_has_its_name() {
    let signer = documented();
    let request = Request {
        method: "GET",
        host: "h",
        path: "/a",
        query: "",
        headers: &[],
    };
    let now = at("20260101T000000Z");
    let query = signer.presign(&request, 60, now);
    let judge = |query: &str, now| Presigned::parse(query)?.verify(&signer, "GET", "h", "/a", |_| None, now);
    let seconds = Duration::from_secs;
    assert_eq!(judge(&query, now.after(seconds(59))), Ok(()));
    assert_eq!(judge(&query, now.after(seconds(60))), Err(Fault::Expired));
    assert_eq!(judge(&query, at("20251231T234500Z")), Ok(()));
    assert_eq!(judge(&query, at("20251231T234459Z")), Err(Fault::NotYet));
    assert_eq!(judge("a=b", now), Err(Fault::Missing));
    assert_eq!(judge("X-Amz-Signature=00", now), Err(Fault::Malformed));
    for (from, to, fault) in [
        ("us-east-1", "us-east-2", Fault::OtherScope),
        ("AKIAI", "AKIAJ", Fault::OtherScope),
        ("X-Amz-Expires=60", "X-Amz-Expires=61", Fault::Mismatch),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", Fault::Malformed),
        ("20260101%2F", "20260102%2F", Fault::Malformed),
        (
            "SignedHeaders=host",
            "SignedHeaders=host%3Brange",
            Fault::Mismatch,
        ),
        ("SignedHeaders=host", "SignedHeaders=range", Fault::Malformed),
        (
            "SignedHeaders=host",
            "SignedHeaders=host%3Bhost",
            Fault::Malformed,
        ),
        (
            "X-Amz-Date=2026",
            "X-Amz-Date=2026&X-Amz-Date=2026",
            Fault::Malformed,
        ),
        // The same names in another spelling.
        (
            "X-Amz-Algorithm=",
            "X-Amz-%53ignature=00&X-Amz-Algorithm=",
            Fault::Malformed,
        ),
        (
            "X-Amz-Algorithm=",
            "X%2DAmz-Expires=604800&X-Amz-Algorithm=",
            Fault::Malformed,
        ),
        (
            "X-Amz-Algorithm=",
            "%58-Amz-Date=20260101T000000Z&X-Amz-Algorithm=",
            Fault::Malformed,
        ),
        // Another name, which is a parameter like any other.
        (
            "X-Amz-Algorithm=",
            "X-Amz-%2553ignature=00&X-Amz-Algorithm=",
            Fault::Mismatch,
        ),
        (
            "X-Amz-Algorithm=",
            "x-amz-signature=00&X-Amz-Algorithm=",
            Fault::Mismatch,
        ),
    ] {
        assert!(query.contains(from), "{from}");
        assert_eq!(
            judge(&query.replacen(from, to, 1), now),
            Err(fault),
            "{from} → {to}"
        );
    }
}

#[test]
fn the_key_of_a_day_is_made_once_and_the_next_day_has_another() {
    let signer = documented();
    let request = Request {
        method: "GET",
        host: "h",
        path: "/a",
        query: "",
        headers: &[],
    };
    let signed = |now| signer.sign(&request, at(now)).authorization;
    signed("20260101T000000Z");
    let kept = signer.today.load_full().unwrap();
    signed("20260101T235959Z");
    assert!(
        Arc::ptr_eq(&kept, &signer.today.load_full().unwrap()),
        "it is kept"
    );
    let next = signed("20260102T000000Z");
    let fresh = documented().sign(&request, at("20260102T000000Z")).authorization;
    assert_eq!(next, fresh);
    assert_eq!(
        signed("20260101T000000Z"),
        documented().sign(&request, at("20260101T000000Z")).authorization
    );
}

#[test]
fn nothing_can_be_added_behind_a_signature_in_any_spelling() {
    let signer = documented();
    let now = at("20260101T000000Z");
    let request = Request {
        method: "GET",
        host: "h",
        path: "/a",
        query: "",
        headers: &[],
    };
    let query = signer.presign(&request, 60, now);
    let judge = |query: &str| Presigned::parse(query)?.verify(&signer, "GET", "h", "/a", |_| None, now);
    let (head, signature) = query.rsplit_once('&').unwrap();
    for spelling in [
        "X-Amz-%53ignature",
        "X%2dAmz%2DSignature",
        "%58%2dAmz-Signatur%65",
    ] {
        let value = signature.split_once('=').unwrap().1;
        assert_eq!(
            judge(&format!("{query}&{spelling}=00")),
            Err(Fault::Malformed),
            "{spelling}"
        );
        assert_eq!(
            judge(&format!("{query}&{spelling}={value}")),
            Err(Fault::Malformed)
        );
        assert_eq!(judge(&format!("{spelling}&{query}")), Err(Fault::Malformed));
        // Alone it is the signature, as S3 reads it.
        assert_eq!(judge(&format!("{head}&{spelling}={value}")), Ok(()), "{spelling}");
    }
}

#[test]
fn the_day_whose_key_is_kept_is_said_by_good_signatures_alone() {
    let (signer, verifier) = (documented(), documented());
    let now = at("20260103T000000Z");
    let request = Request {
        method: "GET",
        host: "h",
        path: "/a",
        query: "",
        headers: &[],
    };
    let kept = || verifier.today.load_full().map(|kept| kept.day);
    let judge = |query: &str| Presigned::parse(query)?.verify(&verifier, "GET", "h", "/a", |_| None, now);
    let good = signer.presign(&request, 604_800, at("20260101T000000Z"));
    let (head, _) = good.rsplit_once('=').unwrap();
    let bad = format!("{head}={}", "0".repeat(64));
    assert_eq!(judge(&bad), Err(Fault::Mismatch));
    assert_eq!(kept(), None);
    assert_eq!(judge(&good), Ok(()));
    assert_eq!(kept().as_ref(), Some(b"20260101"));
    assert_eq!(judge(&bad.replace("20260101", "20260102")), Err(Fault::Mismatch));
    assert_eq!(kept().as_ref(), Some(b"20260101"));
}

#[test]
fn credentials_are_the_same_where_all_their_parts_are() {
    let one = credentials("A", "s", Some("t"));
    assert!(one == credentials("A", "s", Some("t")));
    for other in [
        credentials("B", "s", Some("t")),
        credentials("A", "x", Some("t")),
        credentials("A", "s", Some("x")),
        credentials("A", "s", None),
    ] {
        assert!(one != other);
        assert!(other != one);
    }
}

#[test]
fn one_key_has_one_spelling() {
    for (written, spelled) in [
        ("/a b", "/a%20b"),
        ("/a%20b", "/a%20b"),
        ("/a%61", "/aa"),
        ("/plus+plus", "/plus%2Bplus"),
        ("/%c3%bc", "/%C3%BC"),
        ("/ü", "/%C3%BC"),
        ("/!*'()", "/%21%2A%27%28%29"),
        ("/a;b=c&d,e:f@g$h", "/a%3Bb%3Dc%26d%2Ce%3Af%40g%24h"),
        ("/100%25", "/100%25"),
        ("/100%", "/100%25"),
        ("/%2f", "/%2F"),
        ("/~-._", "/~-._"),
        ("//x/", "//x/"),
    ] {
        let mut out = String::new();
        encode_path(written, &mut out);
        assert_eq!(out, spelled, "{written}");
    }
    assert_eq!(
        canonical_query("b=2&a=%7e&a=!&c&&A=1+1", |_| true),
        "A=1%2B1&a=%21&a=~&b=2&c="
    );
    assert_eq!(
        canonical_query("acl&versionId=a%2fb", |name| name == "versionId"),
        "versionId=a%2Fb"
    );
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let credentials = credentials("AKIASHOWN", "hidden-secret", Some("hidden-token"));
    let signer = Signer::new(credentials.clone(), "us-east-1", "s3");
    let request = Request {
        method: "GET",
        host: "h",
        path: "/",
        query: "",
        headers: &[],
    };
    let query = signer.presign(&request, 60, at("20260101T000000Z"));
    let signed = signer.sign(&request, at("20260101T000000Z"));
    let shown = format!(
        "{credentials:?} {signer:?} {signed:?} {:?}",
        Presigned::parse(&query)
    );
    let signature = query.rsplit('=').next().unwrap();
    let sent = signed.authorization.rsplit('=').next().unwrap();
    assert_eq!(sent.len(), 64);
    for hidden in ["AKIA", "hidden", "Credential=", signature, sent] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
}

proptest! {
    #[test]
    fn what_is_presigned_verifies_and_nothing_else_does(
        key in "[ -~äß€]{1,30}", name in "[a-zA-Z-]{1,10}", value in "[ -~]{0,20}", secret in "[!-~]{1,60}",
        life in 1..MAX_EXPIRES, second in 0..4_000_000_000i64, token in proptest::option::of("[!-~]{1,40}"),
    ) {
        let signer = Signer::new(credentials("AK", &secret, token.as_deref()), "r", "s3");
        let mut path = String::from("/");
        // As data: what looks encoded is encoded once more.
        encode_path(&key.replace('%', "%25"), &mut path);
        let mut query = String::new();
        canonical::encode(name.as_bytes(), b'-', &mut query);
        query.push('=');
        canonical::encode(value.replace('%', "%25").as_bytes(), b'-', &mut query);
        let now = UnixTime::from_secs(second);
        let request = Request { method: "GET", host: "h", path: &path, query: &query, headers: &[] };
        let signed = signer.presign(&request, life, now);
        let presigned = Presigned::parse(&signed).unwrap();
        let verify = |signer: &Signer, path: &str| presigned.verify(signer, "GET", "h", path, |_| None, now);
        prop_assert_eq!(verify(&signer, &path), Ok(()));
        prop_assert_eq!(verify(&signer, &format!("{path}x")), Err(Fault::Mismatch));
        let other = Signer::new(credentials("AK", &format!("{secret}x"), None), "r", "s3");
        prop_assert_eq!(verify(&other, &path), Err(Fault::Mismatch));
    }

    #[test]
    fn spelling_a_path_twice_changes_nothing(path in "\\PC{0,40}") {
        let (mut once, mut twice) = (String::new(), String::new());
        encode_path(&path, &mut once);
        encode_path(&once, &mut twice);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn any_query_is_read_or_refused(query in "\\PC{0,200}") {
        let _ = Presigned::parse(&query);
        let _ = canonical_query(&query, |_| true);
    }
}
