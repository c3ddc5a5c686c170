//! What is taken out of a request, what is said of it, and by which key.

use super::*;
use crate::token::scheme::signed::Shown;

#[test]
fn a_token_in_front_of_the_path_is_put_back_into_locations_and_may_be_a_marker() {
    let headers = HeaderMap::new();
    let cases = [
        ("/{mac},{expires}", "/a/b.mp4", Some(1), None),
        ("/{mac}/{expires}", "/a/b.mp4", Some(2), None),
        ("/token={mac},{expires}", "/a/b.mp4", Some(1), Some("token=")),
        // What stands before it stays.
        ("/dl/{mac}/{expires}", "/dl/a/b.mp4", None, None),
        ("/dl/token={mac},{expires}", "/dl/a/b.mp4", None, None),
    ];
    for (place, path, prefix, marker) in cases {
        let mac = built(altered(
            "cdn77_path",
            SECRET,
            "{expires}{path_raw}{secret}",
            place,
        ));
        let target = target(path);
        let link = url(mac.sign(&wish(&target)));
        let head = Head {
            path: &link,
            query: None,
            headers: &headers,
        };
        let taken = mac.take(head).expect("readable").expect("a token");
        assert_eq!(taken.path, path, "{place}");
        let segments: Option<String> =
            prefix.map(|count| link.split('/').skip(1).take(count).collect::<Vec<_>>().join("/"));
        assert_eq!(taken.prefix.as_deref(), segments.as_deref(), "{place}");
        let marker: Vec<Box<str>> = marker.into_iter().map(Box::from).collect();
        assert_eq!(mac.markers(), marker, "{place}");
    }
}

#[test]
fn other_folders_where_a_token_would_ride_are_no_tokens() {
    let mac = built(rules("alibaba_c", SECRET));
    let headers = HeaderMap::new();
    for path in [
        "/",
        "/a",
        "/a/b",
        "/a/b/c.mp4",
        "//",
        "/9df5ea4b70984227f1a7580b3930ed26/6955b900",
        "",
    ] {
        let head = Head {
            path,
            query: Some("x=1"),
            headers: &headers,
        };
        assert!(mac.take(head).expect("readable").is_none(), "{path}");
    }
}

#[test]
fn all_keys_count_while_they_last_and_the_first_signs() {
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
    let until = now().after(Duration::from_secs(60));
    let keys = NamedKeys::new([
        ("new".into(), secret("new"), None),
        ("old".into(), secret("old"), Some(until)),
    ]);
    let both = built(Rules {
        keys,
        ..rules("keycdn", b"")
    });
    let target = target("/a");
    let old = url(built(rules("keycdn", b"old")).sign(&wish(&target)));
    let new = url(built(rules("keycdn", b"new")).sign(&wish(&target)));
    assert_eq!(url(both.sign(&wish(&target))), new);
    assert_eq!(judge(&both, &new).expect("good").0.key.as_deref(), Some("new"));
    assert_eq!(judge(&both, &old).expect("good").0.key.as_deref(), Some("old"));
    assert!(judge_at(&both, &old, until).is_err());
}

#[test]
fn what_is_signed_is_shown_without_the_secret() {
    let mac = built(rules("alibaba_a", SECRET));
    let target = target("/a%20b?x=1");
    let link = url(mac.sign(&Wish {
        id: Some("abc"),
        subject: Some("user.7"),
        ..wish(&target)
    }));
    let client = "203.0.113.7".parse().expect("an address");
    let request: Request = Request::new(
        "GET",
        &format!("https://x{link}"),
        HeaderMap::new(),
        client,
        now(),
    );
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = mac.take(head).expect("readable").expect("a token");
    let told = mac.tell(&taken);
    let word = |word: &str| {
        let text = told.iter().find(|(known, _)| *known == *word);
        text.map(|(_, text)| text.as_str())
    };
    assert_eq!(word("id"), Some("abc"));
    assert_eq!(word("subject"), Some("user.7"));
    assert_eq!(word("expires"), Some("2026-01-01T01:00:00.000Z"));
    let shown = Shown::default();
    let evidence = crate::token::Evidence {
        method: &request.method,
        public: None,
        raw_path: &request.path,
        raw_query: request.query.as_deref(),
        headers: &request.headers,
        client,
        proxied: false,
        parts: taken.parts,
    };
    let claims = mac.verify(&Asked {
        evidence: &evidence,
        path: &taken.path,
        query: taken.query.as_deref(),
        target: &target,
        now: now(),
        signatures: &shown,
    });
    let claims = claims.expect("a good link");
    assert_eq!(
        (claims.id.as_deref(), claims.subject.as_deref()),
        (Some("abc"), Some("user.7"))
    );
    let shown: Vec<String> = shown
        .into_texts()
        .into_iter()
        .map(|text| String::from_utf8(text).expect("text"))
        .collect();
    assert_eq!(shown, ["/a%20b-1767227399-abc-user.7-{secret}"]);
}

#[test]
fn headers_host_and_parameters_can_be_signed() {
    let pattern = "{scheme}://{host}{path}\n{arg:w}\n{header:x-device}\n{sorted_query}\n{expires_hex}";
    let mac = built(Rules {
        algorithm: Algorithm::Hmac(Hash::Sha256),
        ..altered("keycdn", SECRET, pattern, "?mac={mac}&until={expires}")
    });
    let message = "https://media.example.com/a\n100\ntv\nb=2&w=100\n6955c710";
    let ours = mac.rules.algorithm.mac(SECRET, |sink| sink(message.as_bytes()));
    let ours = mac.rules.encoding.encode(&ours);
    let judge = |query: &str, devices: &[&str]| {
        let mut headers = HeaderMap::new();
        for device in devices {
            headers.append("x-device", device.parse().expect("a value"));
        }
        let link = format!("https://media.example.com/a?{query}&mac={ours}&until=1767229200");
        let client = "203.0.113.7".parse().expect("an address");
        Request::new("GET", &link, headers, client, now())
            .judge(&mac, Duration::ZERO)
            .is_ok()
    };
    assert!(judge("w=100&b=2", &["tv"]) && judge("b=2&w=100", &["tv"]));
    for (query, devices) in [
        ("w=101&b=2", &["tv"][..]),
        ("w=100&b=2&c=3", &["tv"]),
        ("w=100&b=2", &["phone"]),
        ("w=100&b=2", &[]),
        ("w=100&b=2", &["tv", "tv"]),
        ("w=100&w=100&b=2", &["tv"]),
    ] {
        assert!(!judge(query, devices), "{query} {devices:?}");
    }
    let target = target("/a?w=100");
    assert_eq!(
        mac.sign(&wish(&target)),
        Err(TokenError::Invalid("public scheme and host are not configured"))
    );
}
