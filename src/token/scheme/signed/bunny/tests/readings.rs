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

/// A token of this generation over `message`, which is all that is signed.
fn token_over(generation: Generation, message: &str) -> String {
    let key = Secret::new(KEY.as_bytes().to_vec());
    Token {
        generation,
        bound: false,
        mac: token::mac(generation, &key, message.as_bytes()),
    }
    .text()
}

/// What is said of a link whose signature is good.
fn said_of(rules: Rules, url: &str, client: &str, now: i64) -> String {
    let mut request = request_from(url, client);
    request.now = UnixTime::from_secs(now);
    match request.judge(&Bunny::new(rules), Duration::ZERO) {
        Ok(_) => "allowed".into(),
        Err(why) => why,
    }
}

/// When 2176722920 is less than ten years away, and a moved time looks like any other.
const THEN: i64 = 1_900_000_000;
const FAR: &str = "more than ten years away";
const DIGIT: &str = "first parameter begins with a digit";

#[test]
fn digits_do_not_move_through_the_time_into_a_name() {
    for generation in [Generation::Hs256, Generation::Sha256] {
        let token = token_over(generation, "/v/421767229200w=640");
        let good = format!("/v/42?token={token}&w=640&expires=1767229200");
        assert_eq!(said_of(rules(&ALL), &good, CLIENT, NOW), "allowed");
        let moved = format!("/v/4?token={token}&0w=640&expires=2176722920");
        let two = format!("/v/?token={token}&00w=640&expires=4217672292");
        for moved in [moved, two] {
            assert!(said_of(rules(&ALL), &moved, CLIENT, NOW).contains(FAR), "{moved}");
            let near = moved.replace("4217672292", "2176722920");
            assert!(
                said_of(rules(&ALL), &near, CLIENT, THEN).contains(DIGIT),
                "{near}"
            );
        }
    }
}

#[test]
fn a_condition_does_not_become_a_parameter_of_another_name() {
    for generation in [Generation::Hs256, Generation::Sha256] {
        let token = token_over(generation, "/v/421767229200token_countries=DE");
        let good = format!("/v/42?token={token}&token_countries=DE&expires=1767229200");
        assert!(said_of(rules(&ALL), &good, CLIENT, NOW).contains("country is not known"));
        let moved = format!("/v/4?token={token}&0token_countries=DE&expires=2176722920");
        assert!(said_of(rules(&ALL), &moved, CLIENT, NOW).contains(FAR));
        assert!(said_of(rules(&ALL), &moved, CLIENT, THEN).contains(DIGIT));
        // One in front of it does not hide it.
        let both = format!("/v/42?token={token}&0=&token_countries=DE&expires=1767229200");
        assert!(said_of(rules(&ALL), &both, CLIENT, NOW).contains(DIGIT));
    }
}

#[test]
fn digits_do_not_move_from_a_name_into_the_path() {
    for generation in [Generation::Hs256, Generation::Sha256] {
        let make = || rules(&[generation]);
        let token = token_over(generation, "/a17672292002024=x");
        let url =
            |path: &str, own: &str, expires: &str| format!("{path}?token={token}&{own}&expires={expires}");
        let signed = url("/a", "2024=x", "1767229200");
        assert!(said_of(make(), &signed, CLIENT, NOW).contains(DIGIT));
        let moved = url("/a1", "024=x", "7672292002");
        assert!(said_of(make(), &moved, CLIENT, NOW).contains(FAR));
        let then = 7_672_292_000;
        assert!(said_of(make(), &moved, CLIENT, then).contains(DIGIT));
        // With one digit all of it is gone, and the time alone tells.
        let token = token_over(generation, "/a17672292002w=x");
        let moved = format!("/a1?token={token}&w=x&expires=7672292002");
        assert!(said_of(make(), &moved, CLIENT, NOW).contains(FAR));
        for own in ["2024=x", "9=", "0a=1&b=2"] {
            let refused = Link::to(&format!("/a?{own}")).sign(make());
            assert_eq!(
                refused,
                Err(TokenError::Invalid("its first parameter begins with a digit")),
                "{own}"
            );
        }
        assert!(Link::to("/a?A=1&a0=2").sign(make()).is_ok());
    }
    // The oldest generation signs no name.
    let url = Link::to("/a?2024=x").sign(rules(&[Generation::Md5])).unwrap();
    assert!(judge(rules(&ALL), &url).is_ok());
}

#[test]
fn digits_do_not_move_through_the_time_into_an_address() {
    for generation in [Generation::Sha256, Generation::Md5] {
        let bound = || Rules {
            addresses: Addresses::Bound,
            ..rules(&[generation])
        };
        let own = if generation == Generation::Md5 {
            ""
        } else {
            "w=640"
        };
        let token = token_over(generation, &format!("/v/4176722920113.0.113.7{own}"));
        let url =
            |path: &str, expires: &str, own: &str| format!("{path}?token={token}&{own}&expires={expires}");
        // What was signed is one of these, and the others are made of it by whoever has the address.
        let good = url("/v/4", "1767229201", "w=640");
        assert_eq!(said_of(bound(), &good, "13.0.113.7", NOW), "allowed");
        let right = url("/v/41", "7672292011", "w=640");
        assert!(said_of(bound(), &right, "3.0.113.7", NOW).contains(FAR));
        let token = token_over(generation, &format!("/v/42176722920113.0.113.7{own}"));
        let left = format!("/v/4?token={token}&w=640&expires=2176722920");
        assert!(said_of(bound(), &left, "113.0.113.7", NOW).contains(FAR));
    }
    // And from an address into a name: 203.0.113.70 with `w=640`.
    let bound = || Rules {
        addresses: Addresses::Bound,
        ..rules(&ALL)
    };
    let token = token_over(Generation::Sha256, "/v/41767229200203.0.113.70w=640");
    let url = |own: &str| format!("/v/4?token={token}&{own}&expires=1767229200");
    assert_eq!(said_of(bound(), &url("w=640"), "203.0.113.70", NOW), "allowed");
    assert!(said_of(bound(), &url("0w=640"), "203.0.113.7", NOW).contains(DIGIT));
}

#[test]
fn ends_are_at_most_ten_years_away() {
    for generation in ALL {
        let mut link = Link::to("/a");
        link.expires = NOW + 3660 * 86_400;
        let url = link.sign(rules(&[generation])).unwrap();
        assert!(judge(rules(&ALL), &url).is_ok());
        link.expires += 1;
        let refused = Err(TokenError::Invalid("its end is more than ten years away"));
        assert_eq!(link.sign(rules(&[generation])), refused);
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
