//! Links and wishes that are refused, and links that are read in one way only.

use super::*;

#[test]
fn digits_do_not_move_from_the_path_into_the_time() {
    let sound = |rules| built(rules);
    // "/file1" and 1767229200 are, run together, "/file" and 11767229200.
    let nginx = sound(altered(
        "nginx_secure_link",
        SECRET,
        "{secret}{path}{expires}",
        "?st={mac}&e={expires}",
    ));
    for mac in [
        nginx,
        sound(rules("fastly", SECRET)),
        sound(rules("bunny_v1", SECRET)),
    ] {
        let target = target("/file1");
        let link = url(mac.sign(&wish(&target)));
        assert!(judge(&mac, &link).is_ok(), "{link}");
        let moved = link.replace("/file1", "/file").replace("176722", "1176722");
        let error = judge(&mac, &moved).expect_err("moved");
        assert!(error.contains("its time is none"), "{moved}: {error}");
    }
    // The folder of "/f" is empty, so that the time stands beside the address: 23.4.5.6 until …00 is 3.4.5.6 until …002.
    let mac = built(with("{expires}{dir}{ip}:{secret}", "?mac={mac}&until={expires}"));
    let file = super::target("/f");
    let folder = Opens::Prefix("/".into());
    let link = url(mac.sign(&Wish {
        opens: Some(&folder),
        address: Some("203.0.113.7/32".parse().expect("an address")),
        ..wish(&file)
    }));
    assert!(judge(&mac, &link).is_ok());
    assert!(judge(&mac, &link.replace("=1767229200", "=17672292002")).is_err());
    // The same with a time between others: 1767229200 and 3600 must not become 7672292003 and 600.
    let mac = sound(Rules {
        time: Time::Lifetime(TimeText::Seconds),
        ..with(
            "{secret}:{issued}{lifetime}:{path}",
            "?mac={mac}&ts={issued}&e={lifetime}",
        )
    });
    let target = target("/file");
    let link = url(mac.sign(&wish(&target)));
    assert!(judge(&mac, &link).is_ok());
    assert!(
        judge(
            &mac,
            &link.replace("ts=1767225600&e=3600", "ts=17672256003&e=600")
        )
        .is_err()
    );
}

#[test]
fn digits_do_not_move_through_the_time_into_the_address() {
    // Bunny's and VNG's links with an address: `/v/4` for 13.0.113.7 is `/v/41` for 3.0.113.7 until 2213, and `/v/42` for
    // 3.0.113.7 is `/v/4` for 13.0.113.7 until 2038.
    let bunny = || {
        altered(
            "bunny_v1",
            SECRET,
            "{secret}{path_raw}{expires}{ip}",
            "?token={mac}&expires={expires}",
        )
    };
    let vcdn = || {
        altered(
            "vcdn",
            SECRET,
            "{secret}{dir_raw}{expires}{ip}",
            "?token={mac}&expires={expires}",
        )
    };
    let lifetime = || Rules {
        time: Time::Lifetime(TimeText::Seconds),
        ..with(
            "{secret}:{ip}{issued}{lifetime}:{path}",
            "?mac={mac}&ts={issued}&e={lifetime}",
        )
    };
    let (expires, issued) = (("{expires}", "{ip}"), ("{issued}", "{lifetime}"));
    for (make, (one, other)) in [
        (&bunny as &dyn Fn() -> Rules, expires),
        (&vcdn, expires),
        (&lifetime, issued),
    ] {
        let refused = Mac::build(make()).expect_err("refused rules");
        assert_eq!(refused, BadRules::Touching(one, other));
    }
    // A time that is first or last of what is run together can't be moved, nor can a path before an address be told apart.
    for pattern in [
        "{secret}{path}{expires}",
        "{secret}{expires}{path}",
        "{expires}{path}{ip} {secret}",
        "{secret}{ip}{expires}{path}",
        "{secret}{path}{expires}:{ip}",
    ] {
        let mac = built(with(pattern, "?token={mac}&expires={expires}"));
        assert!(!mac.near_times, "{pattern}");
    }
    let asked = |rules: Rules| {
        built(Rules {
            touching: true,
            ..rules
        })
    };
    let judge = |mac: &Mac, link: &str, client: &str, at: UnixTime| {
        let link = format!("https://media.example.com{link}");
        let client = client.parse().expect("an address");
        Request::new("GET", &link, HeaderMap::new(), client, at).judge(mac, Duration::ZERO)
    };
    let seconds = (1_767_229_200_i64, "1767229200", "7672292001", "2176722920");
    let millis = (1_767_229_200, "1767229200000", "7672292000001", "2176722920000");
    for (mac, (expires, written, right, left), file) in
        [(asked(bunny()), seconds, ""), (asked(vcdn()), millis, "/1.ts")]
    {
        let near = |expires: i64| now().after(Duration::from_secs(expires.unsigned_abs()));
        for (path, moved, client, by, to) in [
            ("/v/4", "/v/41", "13.0.113.7", "3.0.113.7", right),
            // The last digit of its time is not moved: the address would begin with a zero.
            ("/v/42", "/v/4", "3.0.113.7", "3.0.113.7", left),
        ] {
            let target = target(&format!("{path}{file}"));
            let net: ipnet::IpNet = format!("{client}/32").parse().expect("a net");
            let folder = folder(&mac, &target);
            let wish = Wish {
                opens: folder.as_ref(),
                expires: UnixTime::from_secs(expires),
                address: Some(net),
                ..wish(&target)
            };
            let link = url(mac.sign(&wish));
            assert!(judge(&mac, &link, client, now()).is_ok(), "{link}");
            let moved = link.replace(path, moved).replace(written, to);
            let error = judge(&mac, &moved, by, now()).expect_err("moved");
            assert!(error.contains("more than ten years away"), "{moved}: {error}");
            let too_far = Wish {
                expires: near(3660 * 86_400 + 1),
                ..wish
            };
            assert_eq!(
                mac.sign(&too_far),
                Err(TokenError::Invalid("its time is more than ten years away"))
            );
            assert!(
                mac.sign(&Wish {
                    expires: near(3660 * 86_400),
                    ..too_far
                })
                .is_ok()
            );
        }
    }
}

#[test]
fn a_question_mark_in_a_path_is_no_query() {
    for pattern in [
        "{secret}{path}{and_query}|{expires}",
        "{secret}{path}?{query_without_token}|{expires}",
        "{secret}{path}?{sorted_query}|{expires}",
        "{secret}{path}?x={arg:x}|{expires}",
        "{path}?{sorted:wowza}|{expires}",
    ] {
        let mac = built(with(pattern, "?wowzamac={mac}&wowzauntil={expires}"));
        let refused = Err(TokenError::Malformed(
            "a question mark in a path that is signed decoded",
        ));
        let file = target("/a%3Fb");
        assert_eq!(mac.sign(&wish(&file)), refused, "{pattern}");
    }
    // The link of `/a` with `b?x=1` opened the file `/a?b` with `x=1`.
    let mac = built(with(
        "{secret}{path}?{query_without_token}|{expires}",
        "?mac={mac}&until={expires}",
    ));
    let file = target("/a?b?x=1");
    let link = url(mac.sign(&wish(&file)));
    assert!(judge(&mac, &link).is_ok(), "{link}");
    let moved = link.replace("/a?b?x=1", "/a%3Fb?x=1");
    assert!(judge(&mac, &moved).is_err(), "{moved}");
    // What was sent has none.
    let mac = built(with(
        "{secret}{path_raw}?{query_without_token}|{expires}",
        "?mac={mac}&until={expires}",
    ));
    let file = target("/a%3Fb?x=1");
    assert!(judge(&mac, &url(mac.sign(&wish(&file)))).is_ok());
}

#[test]
fn times_are_read_strictly() {
    let china = TimeText::Minutes { ahead_of_utc: 480 };
    for (text, written, seconds) in [
        (TimeText::Seconds, "1767225600", Some(1_767_225_600)),
        (TimeText::Seconds, "0001767225600", Some(1_767_225_600)),
        (TimeText::Seconds, "0", None),
        (TimeText::Seconds, "", None),
        (TimeText::Seconds, "+1", None),
        (TimeText::Seconds, "-1", None),
        (TimeText::Seconds, " 1", None),
        (TimeText::Seconds, "1e3", None),
        (TimeText::Seconds, "1767225600.5", None),
        (TimeText::Seconds, "\u{661}\u{661}", None),
        (TimeText::Seconds, "9999999999999999", None),
        (TimeText::Hex, "6955b900", Some(0x6955_b900)),
        (TimeText::Hex, "6955B900", Some(0x6955_b900)),
        (TimeText::Hex, "06955b900", None),
        (TimeText::Hex, "0x6955b9", None),
        (TimeText::Hex, "+955b900", None),
        (TimeText::Millis, "1767225600000", Some(1_767_225_600)),
        (china, "202601010800", Some(1_767_225_600)),
        (china, "202602300800", None),
        (china, "202601012400", None),
        (china, "20260101080", None),
        (china, "2026010108000", None),
        (china, "2026-1010800", None),
        (
            TimeText::Rfc3339,
            "2026-01-01T00:00:00+00:00",
            Some(1_767_225_600),
        ),
        (
            TimeText::Rfc3339,
            "2026-01-01T08:00:00+08:00",
            Some(1_767_225_600),
        ),
        (TimeText::Rfc3339, "2026-01-01T00:00:00Z", Some(1_767_225_600)),
        (TimeText::Rfc3339, "2026-01-01T00:00:00", None),
        (TimeText::Rfc3339, "2026-01-01T00:00:00.5Z", None),
        (TimeText::Rfc3339, "2026-01-01 00:00:00Z", None),
        (TimeText::Rfc3339, "2026-01-01", None),
    ] {
        let read = text.read(written, false);
        assert_eq!(read, seconds.map(UnixTime::from_secs), "{text:?} {written:?}");
    }
    assert_eq!(TimeText::Seconds.read("0001767225600", true), None);
    assert_eq!(TimeText::Seconds.read("999999999", true), None);
    // What would be read as another time is not written.
    for (text, seconds) in [
        (TimeText::Hex, 1 << 32),
        (TimeText::Hex, -1),
        (china, 253_402_300_800),
        (TimeText::Rfc3339, 253_402_300_800),
        (TimeText::Seconds, 0),
    ] {
        assert_eq!(
            text.write(UnixTime::from_secs(seconds), false),
            None,
            "{text:?} {seconds}"
        );
    }
    assert_eq!(
        TimeText::Seconds.write(UnixTime::from_secs(99_999_999_999), true),
        None
    );
}

#[test]
fn paths_are_resolved_as_nginx_resolves_them() {
    // Each asked of nginx 1.22.1 as `$uri`.
    for (path, uri) in [
        ("/a/b", "/a/b"),
        ("/a//b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/%2e/a/b", "/a/b"),
        ("/a/b/%2e%2e/b", "/a/b"),
        ("/a%2Fb", "/a/b"),
        ("/a%252e/b", "/a%252e/b"),
        ("/a/b%3F", "/a/b%3F"),
        ("/a/..b", "/a/..b"),
        ("/", "/"),
        ("/a/..", "/"),
    ] {
        assert_eq!(nginx::resolve(path).as_deref(), Ok(uri), "{path}");
    }
    for path in [
        "",
        "a",
        "/..",
        "/a/../..",
        "/%",
        "/%2",
        "/%zz",
        "/%ff",
        "/%2e%2e/a",
    ] {
        assert!(nginx::resolve(path).is_err(), "{path}");
    }
}

#[test]
fn wishes_that_the_format_can_not_say_are_refused() {
    let mac = |preset: &str| Mac::build(rules(preset, SECRET)).expect("sound rules");
    let file = target("/a/b.mp4");
    let (keycdn, china, cloudflare, lighttpd) = (
        mac("keycdn"),
        mac("alibaba_b"),
        mac("cloudflare_timed_hmac"),
        mac("lighttpd_secdownload"),
    );
    let later = |seconds| now().after(Duration::from_secs(seconds));
    let wish = || wish(&file);
    let net = |text: &str| Some(text.parse().expect("a net"));
    let taken = target("/a?token=1");
    let refused: [(&Mac, &str, Wish<'_>); 15] = [
        (
            &keycdn,
            "cookies",
            Wish {
                place: Place::Cookie,
                ..wish()
            },
        ),
        (
            &keycdn,
            "another method",
            Wish {
                method: &Method::PUT,
                ..wish()
            },
        ),
        (
            &keycdn,
            "a subject",
            Wish {
                subject: Some("me"),
                ..wish()
            },
        ),
        (
            &keycdn,
            "an id",
            Wish {
                id: Some("1"),
                ..wish()
            },
        ),
        (
            &keycdn,
            "an address",
            Wish {
                address: net("203.0.113.7/32"),
                ..wish()
            },
        ),
        (
            &keycdn,
            "a start",
            Wish {
                not_before: Some(later(1)),
                ..wish()
            },
        ),
        (
            &keycdn,
            "what is over",
            Wish {
                expires: now(),
                ..wish()
            },
        ),
        (
            &keycdn,
            "no end",
            Wish {
                expires: NEVER,
                ..wish()
            },
        ),
        (
            &keycdn,
            "a parameter of its own",
            Wish {
                target: &taken,
                ..wish()
            },
        ),
        (
            &china,
            "less than a minute",
            Wish {
                expires: later(59),
                now: later(58),
                ..wish()
            },
        ),
        (
            &cloudflare,
            "more than it lasts",
            Wish {
                expires: later(10_801),
                ..wish()
            },
        ),
        (
            &lighttpd,
            "more than its window",
            Wish {
                expires: later(122),
                ..wish()
            },
        ),
        (&mac("gcore_ip"), "no address", wish()),
        (
            &mac("gcore_ip"),
            "many addresses",
            Wish {
                address: net("203.0.113.0/24"),
                ..wish()
            },
        ),
        (
            &mac("alibaba_a"),
            "a subject with hyphens",
            Wish {
                subject: Some("a-b"),
                ..wish()
            },
        ),
    ];
    for (mac, what, wish) in refused {
        assert!(matches!(mac.sign(&wish), Err(TokenError::Invalid(_))), "{what}");
    }
    assert!(
        lighttpd
            .sign(&Wish {
                expires: later(121),
                ..wish()
            })
            .is_ok()
    );
    assert!(
        cloudflare
            .sign(&Wish {
                expires: later(10_800),
                ..wish()
            })
            .is_ok()
    );
    let elsewhere =
        Mac::build(with("{secret}:{path}:{expires}", "/dl/{mac}/{expires}")).expect("sound rules");
    assert!(elsewhere.sign(&wish()).is_err());
    let none = Mac::build(Rules {
        keys: NamedKeys::new([]),
        ..rules("keycdn", SECRET)
    });
    assert_eq!(
        none.expect("sound rules").sign(&wish()),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn links_open_what_is_wished_and_a_folder_only_by_name() {
    let target = target("/dl/a/b/c.ts");
    let opens = |pattern: &str, opens: &str| {
        let rules = with(
            &format!("{{secret}}:{pattern}:{{expires}}"),
            "/dl/{mac}/{expires}",
        );
        let mac = built(rules);
        let opens = Some(opens).filter(|opens| !opens.is_empty());
        let opens = opens.map(|opens| Opens::parse(opens).expect("a scope"));
        let wish = Wish {
            opens: opens.as_ref(),
            ..wish(&target)
        };
        let whole =
            TokenError::Invalid("it signs the whole folder: ask for that, with a path that ends in a slash");
        let signed = mac.sign(&wish);
        let one_file = matches!(opens, None | Some(Opens::Exact(_)));
        if let (Err(error), true) = (&signed, one_file && !pattern.contains("{path}")) {
            assert_eq!(*error, whole, "{pattern}");
        }
        signed.is_ok()
    };
    for (pattern, scope, good) in [
        ("{path}", "", true),
        ("{path}", "/dl/a/b/c.ts", true),
        ("{path}", "/dl/a/b/", false),
        ("{path}", "/dl/a/b/d.ts", false),
        ("{dir}", "", false),
        ("{dir}", "/dl/a/b/c.ts", false),
        ("{dir}", "/dl/a/b/*", true),
        // Its links are for the files in it, and not for folders below.
        ("{dir}", "/dl/a/b/", true),
        ("{dir}", "/dl/a/", false),
        ("{dir}", "/dl/a/b/**", false),
        ("{segments:1}", "", false),
        ("{segments:1}", "/dl/a/b/c.ts", false),
        ("{segments:1}", "/dl/a/*", false),
        ("{segments:1}", "/dl/a/", true),
        ("{segments:1}", "/dl/a/b/", false),
        ("{segments:1}", "/dl/", false),
        ("{link:2}", "", false),
        ("{link:2}", "/dl/a/b/", true),
        ("{segments:1}:{dir}", "/dl/a/", false),
        ("{segments:1}:{dir}", "/dl/a/b/", true),
        // What is below a file is in its folder, too, and there is nothing below what is longer than the path.
        ("{segments:3}", "", false),
        ("{segments:3}", "/dl/a/b/c.ts/", true),
        ("{segments:4}", "", true),
        ("{segments:4}", "/dl/a/b/", false),
        ("{segments:3}:{dir}", "", true),
        ("{segments:1}:{path}", "", true),
        ("{segments:1}:{path}", "/dl/a/", false),
    ] {
        assert_eq!(opens(pattern, scope), good, "{pattern} {scope}");
    }
}

#[test]
fn a_hash_is_not_extended() {
    // Of `MD5(secret + path + time)` anybody can compute that of a longer message, which holds the padding of this one: a
    // zero byte at least, as no message is of 2^56 bytes.
    let mac = Mac::build(rules("lighttpd_secdownload", SECRET)).expect("sound rules");
    for path in ["/a%80%00", "/a%00", "/a\0"] {
        assert!(Target::parse(path, None).is_err(), "{path}");
        let link = format!("/{}/6955b900{path}", "0".repeat(32));
        assert!(judge(&mac, &link).is_err());
    }
}

#[test]
fn hostile_sizes_end_soon() {
    let mac = Mac::build(rules("wowza", SECRET)).expect("sound rules");
    let nginx = Mac::build(rules("nginx_secure_link", SECRET)).expect("sound rules");
    let many = "wowzatokena=1&".repeat(20_000);
    let deep = "/a/..".repeat(50_000);
    for link in [
        format!("/a/b?{many}wowzatokenhash=x"),
        format!("/a/b?wowzatokenhash={}", "x".repeat(100_000)),
        format!(
            "{deep}?md5=_e4Nc3iduzkWRm01TBBNYw&expires={}",
            "9".repeat(100_000)
        ),
        format!("{deep}?md5=_e4Nc3iduzkWRm01TBBNYw&expires=2147483647"),
        format!("/{}", "a/".repeat(50_000)),
    ] {
        for mac in [&mac, &nginx] {
            assert!(judge(mac, &link).is_err());
        }
    }
}
