//! Links and cookies that are made here.

use super::*;

#[test]
fn a_link_of_one_url_and_one_time_is_canned_and_names_sha_256() {
    for key in [rsa_key(), p256_key()] {
        let scheme = issuer(&key);
        let target = target("/videos/a%20b.mp4", Some("size=2"));
        let link = link(&scheme, &wish(&public(), &target));
        assert!(
            link.starts_with("/videos/a%20b.mp4?size=2&Expires=1767225660&Signature="),
            "{link}"
        );
        assert!(link.ends_with("&Key-Pair-Id=K1&Hash-Algorithm=SHA256"), "{link}");
        let claims = judge(&scheme, &link, NOW).unwrap();
        assert_eq!(claims.key.as_deref(), Some("K1"));
        assert_eq!(claims.expires, Some(NOW.after(Duration::from_secs(60))));
        assert_eq!(claims.methods, Some(Methods::READ));
        let seconds = Duration::from_secs;
        assert!(judge(&scheme, &link, NOW.after(seconds(59))).is_ok());
        assert_eq!(
            judge(&scheme, &link, NOW.after(seconds(60))).unwrap_err(),
            "Expired"
        );
        for (from, to) in [
            ("size=2", "size=3"),
            ("size=2&", ""),
            ("a%20b", "a%20c"),
            // CloudFront signs the path as it is written.
            ("videos", "vide%6fs"),
            ("Expires=1767225660", "Expires=1767225661"),
            ("SHA256", "SHA1"),
            ("&Hash-Algorithm=SHA256", ""),
        ] {
            assert!(link.contains(from), "{from}");
            assert_eq!(
                judge(&scheme, &link.replace(from, to), NOW).unwrap_err(),
                "verify: token refused: the signature is wrong",
                "{from}"
            );
        }
    }
}

#[test]
fn what_a_canned_policy_cannot_say_is_said_by_a_custom_one() {
    let scheme = issuer(&p256_key());
    let (public, target) = (public(), target("/videos/x/a.m3u8", None));
    let folder = Opens::parse("/videos/x/").unwrap();
    let start = NOW.after(Duration::from_secs(10));
    let wish = Wish {
        opens: Some(&folder),
        not_before: Some(start),
        address: Some("203.0.113.0/24".parse().unwrap()),
        place: Place::Cookie,
        ..wish(&public, &target)
    };
    let Signed::Cookies(cookies) = scheme.sign(&wish).unwrap() else {
        panic!("cookies were asked for");
    };
    let names: Vec<&str> = cookies.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "CloudFront-Policy",
            "CloudFront-Signature",
            "CloudFront-Key-Pair-Id",
            "CloudFront-Hash-Algorithm"
        ]
    );
    assert_eq!(
        letters::read(&cookies[0].1).unwrap(),
        br#"{"Statement":[{"Resource":"https://media.example.com/videos/x/*","Condition":{"DateLessThan":{"AWS:EpochTime":1767225660},"IpAddress":{"AWS:SourceIp":"203.0.113.0/24"},"DateGreaterThan":{"AWS:EpochTime":1767225610}}}]}"#
    );
    let judge = |link: &str, client: &str, now| {
        request(link, &cookies, client, now)
            .judge(&scheme, Duration::ZERO)
            .map(|(_, target)| target.as_str().to_owned())
    };
    assert_eq!(
        judge("/videos/x/1.ts?a=b", "203.0.113.9", start).unwrap(),
        "/videos/x/1.ts?a=b"
    );
    for (link, client, now, what) in [
        ("/videos/x/1.ts", "203.0.113.9", NOW, "NotYet"),
        ("/videos/x/1.ts", "203.0.114.9", start, "address"),
        ("/videos/x/1.ts", "2001:db8::1", start, "address"),
        (
            "/videos/x/1.ts",
            "203.0.113.9",
            NOW.after(Duration::from_secs(60)),
            "Expired",
        ),
        (
            "/videos/y/1.ts",
            "203.0.113.9",
            start,
            "verify: token refused here: the policy is for another resource",
        ),
        // The name of a key says that the URL is signed, and then no cookie counts.
        (
            "/videos/x/1.ts?Expires=1&Key-Pair-Id=K",
            "203.0.113.9",
            start,
            "verify: no key of the set goes with the token",
        ),
    ] {
        assert_eq!(judge(link, client, now).unwrap_err(), what, "{link}");
    }
}

#[test]
fn what_is_made_for_a_star_in_a_path_is_no_wildcard() {
    let scheme = issuer(&p256_key());
    let (public, starred) = (public(), target("/up/*", None));
    let link = link(&scheme, &wish(&public, &starred));
    assert!(link.starts_with("/up/%2A?Expires="), "{link}");
    assert!(judge(&scheme, &link, NOW).is_ok());
    // Whoever has a canned link can write down its policy and call it a custom one.
    let policy = canned_policy(&link);
    let (_, signed) = link.split_once("&Signature").unwrap();
    let custom = |path: &str| format!("{path}?Policy={policy}&Signature{signed}");
    assert!(judge(&scheme, &custom("/up/%2A"), NOW).is_ok());
    for other in ["/up/x", "/up/*"] {
        assert!(judge(&scheme, &custom(other), NOW).is_err(), "{other}");
    }
    let queried = target("/up/x", Some("a=*"));
    let wish = wish(&public, &queried);
    assert_eq!(
        scheme.sign(&wish),
        Err(TokenError::Invalid("the query can't be part of a link"))
    );
}

fn canned_policy(link: &str) -> String {
    let (path, query) = link.split_once('?').unwrap();
    let expires = query.split('&').find_map(|piece| piece.strip_prefix("Expires="));
    let url = format!("https://media.example.com{path}");
    let text = policy::canned(&url, expires.unwrap().parse().unwrap()).unwrap();
    letters::write(text.as_bytes())
}

#[test]
fn what_no_policy_says_is_not_signed() {
    let scheme = issuer(&p256_key());
    let (public, target) = (public(), target("/a/b", None));
    let wish = || wish(&public, &target);
    let opens = |text: &str| Opens::parse(text).unwrap();
    let (glob, other) = (opens("/a/*"), opens("/b/"));
    let media = Opens::MediaId("b".into());
    let long = Opens::Exact("/a/b".into());
    let start = wish().now;
    for bad in [
        Wish {
            public: None,
            ..wish()
        },
        Wish {
            method: &Method::PUT,
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
            opens: Some(&glob),
            ..wish()
        },
        Wish {
            opens: Some(&other),
            ..wish()
        },
        Wish {
            opens: Some(&media),
            ..wish()
        },
        Wish {
            expires: UnixTime::from_secs(0),
            ..wish()
        },
        Wish {
            not_before: Some(UnixTime::from_secs(-1)),
            ..wish()
        },
        Wish {
            address: Some("2001:db8::/32".parse().unwrap()),
            ..wish()
        },
    ] {
        assert!(matches!(scheme.sign(&bad), Err(TokenError::Invalid(_))));
    }
    for query in ["Expires=1", "%45xpires=1", "a=1&Key-Pair-Id=x", "a=\"b", "a=b*"] {
        let target = Target::parse("/a/b", Some(query)).unwrap();
        let wish = Wish {
            target: &target,
            ..wish()
        };
        assert!(
            matches!(scheme.sign(&wish), Err(TokenError::Invalid(_))),
            "{query}"
        );
    }
    let exact = Wish {
        opens: Some(&long),
        not_before: Some(start),
        ..wish()
    };
    assert!(judge(&scheme, &link(&scheme, &exact), NOW).is_ok());
    let verifier = CloudFront::new(Rules::new(NamedKeys::new([]), log_key()));
    assert!(verifier.sign(&wish()).is_err());
}
