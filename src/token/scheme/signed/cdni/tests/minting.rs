//! Links of our own: the published ones made again, and what is made is taken.

use proptest::prelude::*;

use super::*;
use crate::token::scheme::signed::vectors::Request;

/// What a published pattern opens, where it is one that we write.
fn opened(pattern: &str) -> Option<Opens> {
    let start = pattern
        .strip_prefix(r"regex:https://media\.example\.com")?
        .strip_suffix(".*")?;
    Opens::literal(start).ok()
}

#[test]
fn published_vectors_are_minted_back() {
    let different = [
        (
            "official_a1",
            "no key of the file is for HS256; the header has no typ",
        ),
        ("official_a1_path", "the same token"),
        ("official_a1_semicolon", "the same token"),
        ("official_a1_port80", "not the canonical spelling"),
        ("official_a1_host_case", "not the canonical spelling"),
        ("official_a2", "cdniv, iat and encryption"),
        ("official_a3", "a pattern of its own"),
        ("official_a3_next", "a pattern of its own"),
        ("query_first", "the token is not the last parameter"),
        ("query_middle", "the token is not the last parameter"),
        ("path_end", "a style that we read only"),
        ("cookie_second_is_good", "two cookies"),
        ("regex_rfc_example", "a pattern of its own"),
        ("regex_rfc_example_query", "a pattern of its own"),
        ("regex_alternation", "a pattern of its own"),
        ("regex_class", "a pattern of its own"),
        ("norm_port", "not the canonical spelling"),
        ("norm_host_case", "not the canonical spelling"),
        ("norm_unreserved", "not the canonical spelling"),
        ("norm_triplet_case", "not the canonical spelling"),
        ("norm_dots", "not the canonical spelling"),
        ("exp_missing", "ours have an end"),
        ("iss_missing", "of an issuer whose key is not in the file"),
        ("iss_two", "of an issuer whose key is not in the file"),
        ("aud_us", "ours name no audience"),
        ("aud_list", "ours name no audience"),
        ("cdniv_1", "ours name no version"),
        ("unknown_claim", "ours have no other claims"),
        ("ip_ok", "encryption is never twice the same"),
        ("ip_prefix", "encryption is never twice the same"),
        ("ip_v6", "encryption is never twice the same"),
        ("ip_v6_brackets", "encryption is never twice the same"),
        ("renew_off", "ours say nothing of renewal then"),
        ("renew_depth_too_big", "the same as renew_cookie, deeper"),
    ];
    let (mut whole, mut without_signature) = (Vec::new(), Vec::new());
    let file = file();
    each_case(&file, |case| {
        let name = case.text("name");
        if case.text("expect") != "allow" || different.iter().any(|(known, _)| *known == name) {
            return;
        }
        let attribute = case.profile["package_attribute"].as_str().unwrap();
        let everything = format!("{} {}", case.text("url"), case.json["headers"]["Cookie"]);
        let (_, after) = everything.split_once(&format!("{attribute}=")).unwrap();
        let end = after.find(['"', '/', ' ', '&']).unwrap();
        let published = &after[..end];
        let claims = payload(published);

        let request = case.request();
        let scheme = Cdni::new(Rules {
            signer: Some("CSP Example".into()),
            signing_kid: Some("legacy-hs".into()),
            style: match request.path.split_once(&format!("{attribute}=")) {
                Some((before, _)) if before.ends_with(';') => Style::Parameter,
                Some(_) => Style::Segment,
                None => Style::Query,
            },
            renewal: claims.get("cdniets").map(|seconds| Renewing {
                seconds: seconds.as_u64().unwrap().try_into().unwrap(),
                depth: claims["cdnistd"].as_u64().unwrap_or(0).try_into().unwrap(),
            }),
            ..rules_of(&case)
        });
        let (_, target) = request.judge(&scheme, Duration::ZERO).unwrap();
        let opens = opened(claims["cdniuc"].as_str().unwrap());
        let link = scheme
            .sign(&Wish {
                expires: UnixTime::from_secs(claims["exp"].as_i64().unwrap()),
                not_before: claims["nbf"].as_i64().map(UnixTime::from_secs),
                id: claims["jti"].as_str(),
                opens: opens.as_ref(),
                place: match case.json["headers"]["Cookie"] {
                    Value::Null => Place::Url,
                    _ => Place::Cookie,
                },
                ..wish(&target, &request.public)
            })
            .unwrap();
        let (link, ours) = match link {
            Signed::Url(path) => {
                let (_, after) = path.split_once(&format!("{attribute}=")).unwrap();
                let ours = after.split('/').next().unwrap().to_owned();
                let link = format!("{}://{}{path}", request.public.scheme, request.public.authority);
                (link, ours)
            }
            Signed::Cookies(cookies) => (case.text("url").to_owned(), cookies[0].1.clone()),
            Signed::Header(..) => panic!("a header"),
        };
        if ours == published {
            assert_eq!(link, case.text("url"));
            whole.push(name.to_owned());
            return;
        }
        // Signed by a key that is not in the file: claims and place are the same, byte for byte.
        let claims_of = |token: &str| token.split('.').nth(1).unwrap().to_owned();
        assert_eq!(
            claims_of(&ours),
            claims_of(published),
            "{name}: {} {}",
            payload(&ours),
            claims
        );
        assert_eq!(link.replace(&ours, published), case.text("url"), "{name}");
        without_signature.push(name.to_owned());
    });
    assert_eq!(whole, ["hs256"]);
    assert_eq!(
        without_signature,
        [
            "query_only",
            "query_last",
            "path_middle",
            "path_semicolon",
            "cookie",
            "renamed_attribute",
            "regex_dir",
            "nbf_now",
            "jti_first",
            "jti_range_retry",
            "renew_cookie",
            "renew_depth_0",
            "kid_missing"
        ]
    );
    let allowed = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["expect"] == "allow")
        .count();
    assert_eq!(allowed, whole.len() + without_signature.len() + different.len());
}

#[test]
fn patterns_of_links_open_what_was_wished_and_no_more() {
    let scheme = Cdni::new(plain());
    let public = public();
    for (opens, path, yes, no) in [
        (
            "/a/",
            "/a/b",
            &["/a/b?x=1", "/a/", "/a/c/d"][..],
            &["/a", "/ab", "/x/a/b"][..],
        ),
        (
            "/a/*.ts",
            "/a/1.ts",
            &["/a/2.ts", "/a/2.ts?x"],
            &["/a/b/1.ts", "/a/1.tsx", "/a/b?/1.ts", "/a/1xts"],
        ),
        (
            "/a/**/m.mpd",
            "/a/b/m.mpd",
            &["/a/b/c/m.mpd?x"],
            &["/a/m.mp", "/b/c/m.mpd", "/a/x?/m.mpd"],
        ),
        ("/a b(1)/", "/a%20b(1)/x", &["/a%20b(1)/y"], &["/a%20b1/y"]),
        (
            "/é[1]/",
            "/%C3%A9%5B1%5D/x",
            &["/%c3%a9%5b1%5d/y"],
            &["/%C3%A9%5B2%5D/y"],
        ),
        (
            "/a+b.c^{d}|e$",
            "/a+b.c%5E%7Bd%7D%7Ce$",
            &["/a+b.c%5e%7bd%7d%7ce$"],
            &["/aab.c%5E%7Bd%7D%7Ce$"],
        ),
    ] {
        let (target, opens) = (Target::parse(path, None).unwrap(), Opens::parse(opens).unwrap());
        let cookies = scheme
            .sign(&Wish {
                opens: Some(&opens),
                place: Place::Cookie,
                ..wish(&target, &public)
            })
            .unwrap();
        let Signed::Cookies(cookies) = cookies else {
            panic!("no cookies")
        };
        let cookie = format!("{}={}", cookies[0].0, cookies[0].1);
        let is_opened = |path: &str| {
            let request = request(&format!("https://media.example.com{path}"), Some(&cookie));
            request.judge(&scheme, Duration::ZERO).is_ok()
        };
        assert!(is_opened(path), "{opens} {path}");
        for path in yes {
            assert!(is_opened(path), "{opens} {path}");
        }
        for path in no {
            assert!(!is_opened(path), "{opens} {path}");
        }
    }
}

#[test]
fn what_the_format_can_not_say_is_not_signed() {
    let scheme = Cdni::new(plain());
    let (public, target) = (public(), Target::parse("/a", Some("x=1")).unwrap());
    let elsewhere = Opens::parse("/b/").unwrap();
    let media = Opens::MediaId("1".into());
    let taken = Target::parse("/a", Some("URISigningPackage=x")).unwrap();
    let in_path = Target::parse("/URISigningPackage=x/a", None).unwrap();
    let good = || wish(&target, &public);
    for wish in [
        Wish {
            public: None,
            ..good()
        },
        Wish {
            method: &Method::PUT,
            ..good()
        },
        Wish {
            place: Place::Header,
            ..good()
        },
        Wish {
            opens: Some(&elsewhere),
            ..good()
        },
        Wish {
            opens: Some(&media),
            ..good()
        },
        Wish {
            subject: Some("me"),
            ..good()
        },
        Wish {
            address: Some("10.0.0.0/8".parse().unwrap()),
            ..good()
        },
        Wish {
            target: &taken,
            ..good()
        },
        Wish {
            target: &in_path,
            ..good()
        },
    ] {
        assert!(scheme.sign(&wish).is_err());
    }
    assert!(scheme.sign(&good()).is_ok());
    // Public keys alone don't sign.
    let file = file();
    let public_only = Cdni::new(Rules {
        signer: Some("uCDN One".into()),
        ..rules(&file["profiles"]["default"], &file["keys"])
    });
    assert!(public_only.sign(&good()).is_err());
}

#[test]
fn whom_and_where_a_link_is_for_is_encrypted_and_enforced() {
    let key = ContentKey::new(&Secret::new(vec![3; 32])).unwrap();
    let scheme = Cdni::new(Rules {
        content_keys: NamedKeys::new([(Box::from("k"), key, None)]),
        ..plain()
    });
    let (public, target) = (public(), Target::parse("/a", None).unwrap());
    let link = scheme
        .sign(&Wish {
            subject: Some("Anna"),
            address: Some("203.0.113.0/24".parse().unwrap()),
            id: Some("J"),
            ..wish(&target, &public)
        })
        .unwrap();
    let url = url_of(link);
    let claims = judge(&scheme, &url).unwrap();
    assert_eq!(
        (claims.subject.as_deref(), claims.id.as_deref()),
        (Some("Anna"), Some("J"))
    );
    let elsewhere = Request {
        client: "198.51.100.1".parse().unwrap(),
        ..request(&url, None)
    };
    assert_eq!(elsewhere.judge(&scheme, Duration::ZERO).unwrap_err(), "address");
    assert!(
        !url.contains("Anna")
            && !payload(url.split_once("Package=").unwrap().1)
                .to_string()
                .contains("203.")
    );
}

#[test]
fn times_are_rounded_so_that_no_token_is_good_for_longer() {
    let scheme = Cdni::new(plain());
    let (public, target) = (public(), Target::parse("/a", None).unwrap());
    let link = scheme.sign(&Wish {
        not_before: Some(UnixTime::from_millis(NOW.millis() - 1999)),
        expires: UnixTime::from_millis(NOW.millis() + 1999),
        ..wish(&target, &public)
    });
    let claims = judge(&scheme, &url_of(link.unwrap())).unwrap();
    assert_eq!(claims.not_before, Some(UnixTime::from_secs(NOW.secs() - 1)));
    assert_eq!(claims.expires, Some(UnixTime::from_secs(NOW.secs() + 1)));
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![Just(Style::Query), Just(Style::Segment), Just(Style::Parameter)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_minted_is_taken_and_every_part_that_is_signed_counts(
        path in proptest::collection::vec("[a-zA-Z0-9._~!$&'()*+,=:@é%-]{1,8}", 1..5),
        query in proptest::option::of("[a-z0-9=&%2/?;-]{1,12}"),
        style in style(),
        at in any::<proptest::sample::Index>(),
        to in "[a-z0-9]",
    ) {
        let path = format!("/{}", path.join("/")).replace('%', "%25");
        let Ok(target) = Target::parse(&path, query.as_deref()) else { return Ok(()) };
        let scheme = Cdni::new(Rules { style, ..plain() });
        let public = public();
        let url = url_of(scheme.sign(&wish(&target, &public)).unwrap());
        let claims = judge(&scheme, &url);
        prop_assert!(claims.is_ok(), "{} {:?}", url, claims);
        let (found, left) = request(&url, None).judge(&scheme, Duration::ZERO).unwrap();
        prop_assert_eq!(left.as_str(), target.as_str());
        prop_assert_eq!(found.token_id, claims.unwrap().token_id);
        // One character of the URL is another.
        let mut touched = url.clone();
        let letters: Vec<(usize, char)> = url.char_indices().skip(8).filter(|(_, letter)| letter.is_ascii()).collect();
        let (at, letter) = letters[at.index(letters.len())];
        touched.replace_range(at..=at, &to);
        if !letter.to_string().eq_ignore_ascii_case(&to) && touched.starts_with("https://media.example.com/") {
            prop_assert!(judge(&scheme, &touched).is_err(), "{} {}", url, touched);
        }
    }

    #[test]
    fn nothing_panics_on_any_head(path in "[/;=.%a-cN ?é]{0,40}", query in proptest::option::of("[&;=.%a-cN/é]{0,40}"), cookie in "[N=;.a-c \"]{0,20}") {
        let mut headers = HeaderMap::new();
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.insert("cookie", cookie);
        }
        let head = Head { path: &path, query: query.as_deref(), headers: &headers };
        let scheme = Cdni::new(Rules { attribute: Name::parse("N").unwrap(), cookie: Name::parse("N").unwrap(), dots: Dots::Resolved, ..plain() });
        if let Ok(Some(taken)) = scheme.take(head) {
            // Nothing that was taken is left.
            let token = format!("N={}", taken.parts[0]);
            if taken.place == Place::Url {
                let places = [Some(&*taken.path), taken.query.as_deref()];
                let left = |text: &str| ["/", ";"].iter().any(|joint| text.contains(&format!("{joint}{token}")));
                prop_assert!(!left(places[0].unwrap_or("")));
                prop_assert!(!places[1].unwrap_or("").split('&').any(|piece| piece == token));
            }
            let _ = scheme.tell(&taken);
        }
    }
}
