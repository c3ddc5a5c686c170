//! What has two readings, and what a token restricts itself to.

use super::*;

#[test]
fn digits_do_not_move_between_path_and_time() {
    // All of these have the signature of `/a/15` until 1767229200.
    for generation in ALL {
        let mut link = Link::to("/a/15");
        let url = link.sign(rules(&[generation])).unwrap();
        for (path, expires, why) in [
            ("/a/1", "51767229200", "not a time"),
            ("/a/", "151767229200", "not a time"),
            ("/a/15176722920", "0", "not a time"),
            // Its signature is good.
            ("/a/151", "767229200", "Expired"),
        ] {
            let moved = url
                .replace("/a/15?", &format!("{path}?"))
                .replace("1767229200", expires);
            let refused = judge(rules(&[generation]), &moved).unwrap_err();
            assert!(refused.contains(why), "{generation:?} {moved}: {refused}");
        }
        link = Link::to("/a/10");
        let url = link.sign(rules(&[generation])).unwrap();
        let moved = url
            .replace("/a/10", "/a/1")
            .replace("=1767229200", "=01767229200");
        assert!(judge(rules(&[generation]), &moved).is_err(), "{moved}");
        for unsayable in [10_000_000_000, 0, -5] {
            link.expires = unsayable;
            assert!(link.sign(rules(&[generation])).is_err());
        }
    }
}

#[test]
fn a_condition_does_not_hide_in_the_value_of_a_parameter() {
    let rules = || Rules {
        country: Some(HeaderName::from_static("x-country")),
        ..rules(&ALL)
    };
    let sign = |own: &str| {
        let message = Message {
            path: "/a.mp4",
            expires: "1767229200",
            address: None,
            parameters: own,
        }
        .bytes(Generation::Hs256);
        let mac = token::mac(Generation::Hs256, &Secret::new(KEY.as_bytes().to_vec()), &message);
        Token {
            generation: Generation::Hs256,
            bound: false,
            mac,
        }
        .text()
    };
    let url = |own: &str, query: &str| format!("/a.mp4?token={}&{query}&expires=1767229200", sign(own));
    let limited = "a=1&limit=500";
    assert_eq!(
        judge(rules(), &url(limited, limited)).unwrap().0.limits.rate,
        Some(500_000)
    );
    for hidden in ["a=1%26limit%3D500", "a%3D1%26limit=500", "a=1%26limit=500"] {
        assert!(judge(rules(), &url(limited, hidden)).is_err(), "{hidden}");
    }
    assert!(judge(rules(), &url("a=b=c", "a=b=c")).is_ok());
    assert!(judge(rules(), &url("a=b=c", "a%3Db=c")).is_err());
    // A bare plus is a space to some and a plus to others.
    assert!(judge(rules(), &url("a=1+1", "a=1%2B1")).is_ok());
    for own in ["a=1+1", "a=1 1"] {
        assert!(judge(rules(), &url(own, "a=1+1")).is_err(), "{own}");
    }
    // What is not known to restrict may restrict.
    for unknown in [
        "token_referer=example.com",
        "token%5Freferer=example.com",
        "token_=1",
    ] {
        assert!(judge(rules(), &url(unknown, unknown)).is_err(), "{unknown}");
    }
    let referer = "token_ignore_params=true&token_referer=x";
    assert!(judge(rules(), &url("token_ignore_params=true", referer)).is_err());
    assert!(
        judge(
            rules(),
            &url("token_ignore_params=true", "token_ignore_params=true&a=1&a=2&+=%")
        )
        .is_ok()
    );
    assert!(judge(rules(), &url("token_ignore_params=1", "token_ignore_params=1")).is_err());
    assert!(
        judge(
            rules(),
            &url("token_ignore_params=false", "token_ignore_params=false")
        )
        .is_ok()
    );
    // A condition is signed also where the parameters are not.
    assert!(
        judge(
            rules(),
            &url("token_ignore_params=true", "token_ignore_params=true&limit=9")
        )
        .is_err()
    );
    for bad in [
        "limit=0",
        "limit=1",
        "limit=05",
        "limit=-5",
        "limit=5k",
        "limit=9999999999",
    ] {
        assert!(judge(rules(), &url(bad, bad)).is_err(), "{bad}");
    }
    let many = |count: usize| {
        (100..100 + count)
            .map(|at| format!("p{at}="))
            .collect::<Vec<_>>()
            .join("&")
    };
    assert!(judge(rules(), &url(&many(64), &many(64))).is_ok());
    assert!(judge(rules(), &url(&many(65), &many(65))).is_err());
}

#[test]
fn a_hash_is_not_lengthened() {
    // What follows the secret, padding for a key of 32 bytes, and what somebody adds.
    for raw in ["a%80", "a%00", "a%80%00b=1", "%80=1"] {
        let url = format!("/a.mp4?token={}&{raw}&expires=1767229200", "A".repeat(43));
        let why = judge(rules(&ALL), &url).unwrap_err();
        assert!(why.contains("can't be read"), "{raw}: {why}");
    }
}

#[test]
fn countries_are_judged_by_the_configured_header_alone() {
    let judge = |list: &str, country: Option<&str>, header: Option<&'static str>| {
        let key = Secret::new(KEY.as_bytes().to_vec());
        let message = format!("/a.mp4{EXPIRY}{list}");
        let token = Token {
            generation: Generation::Hs256,
            bound: false,
            mac: token::mac(Generation::Hs256, &key, message.as_bytes()),
        }
        .text();
        let mut request = request(&format!("/a.mp4?token={token}&{list}&expires={EXPIRY}"));
        if let Some(country) = country {
            request
                .headers
                .insert("x-country", HeaderValue::from_str(country).unwrap());
        }
        let rules = Rules {
            country: header.map(HeaderName::from_static),
            ..rules(&ALL)
        };
        request.judge(&Bunny::new(rules), Duration::ZERO).is_ok()
    };
    let ours = Some("x-country");
    let allowed = "token_countries=CA,US";
    let blocked = "token_countries_blocked=RU, cn";
    assert!(judge(allowed, Some("us"), ours) && judge(blocked, Some("US"), ours));
    assert!(!judge(blocked, Some("CN"), ours) && !judge(allowed, Some("DE"), ours));
    for unknown in [
        None,
        Some(""),
        Some("XX"),
        Some("zz"),
        Some("T1"),
        Some("USA"),
        Some("U"),
    ] {
        assert!(
            !judge(allowed, unknown, ours) && !judge(blocked, unknown, ours),
            "{unknown:?}"
        );
    }
    assert!(!judge(allowed, Some("US"), None) && !judge(blocked, Some("US"), None));
    assert!(!judge(allowed, Some("US"), Some("x-other")));
    for list in [
        "token_countries=CA,,US",
        "token_countries=US,A1",
        "token_countries_blocked=all",
    ] {
        assert!(!judge(list, Some("US"), ours), "{list}");
    }
    let both = "token_countries=US&token_countries_blocked=US";
    assert!(!judge(both, Some("US"), ours));
}

#[test]
fn a_folder_ends_where_a_segment_does_unless_texts_are_meant() {
    let mut link = Link::to("/abc/300kb.jpg");
    link.opens = Some(Opens::StartsWith("/abc".into()));
    let text = || Rules {
        folders: Folders::Text,
        ..rules(&ALL)
    };
    assert!(link.sign(rules(&ALL)).is_err(), "it would open less");
    let url = link.sign(text()).unwrap();
    for (path, by_segment, by_text) in [
        ("/abc/300kb.jpg", true, true),
        ("/abc", true, true),
        ("/abcd/300kb.jpg", false, true),
        ("/ab", false, false),
        ("/x/abc/", false, false),
    ] {
        let url = url.replace("/abc/300kb.jpg", path);
        assert_eq!(judge(rules(&ALL), &url).is_ok(), by_segment, "{path}");
        assert_eq!(judge(text(), &url).is_ok(), by_text, "{path}");
    }
    for path in ["/abc/../d", "/abc/%2e%2e/d", "/abc//d", "/abc/..%2fd"] {
        assert!(
            judge(text(), &url.replace("/abc/300kb.jpg", path)).is_err(),
            "{path}"
        );
    }
}
