//! Where a token rides, what is left without it, and how it is renewed where it rode.

use super::*;

fn take(rules: Rules, request: &Request) -> Result<Option<(Place, String, String)>, LocateError> {
    let scheme = Cat::new(rules);
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = scheme.take(head)?;
    Ok(taken.map(|taken| {
        let query = taken.query.map_or(String::new(), |query| format!("?{query}"));
        (
            taken.place,
            taken.parts[0].to_string(),
            format!("{}{query}", taken.path),
        )
    }))
}

fn in_path() -> Rules {
    Rules {
        path_segment: true,
        ..rules()
    }
}

#[test]
fn a_token_is_taken_out_and_all_else_left_byte_for_byte() {
    let token = token([]);
    let url = format!("https://h/a%20b/c.ts?x=%41&CAT={token}&&y");
    let (place, found, left) = take(rules(), &request(&url, &[])).unwrap().unwrap();
    assert_eq!((place, found), (Place::Url, token.clone()));
    assert_eq!(left, "/a%20b/c.ts?x=%41&&y");
    let url = format!("https://h/{token}/a%20b/c.ts?x=1");
    let (place, found, left) = take(in_path(), &request(&url, &[])).unwrap().unwrap();
    assert_eq!((place, found), (Place::Url, token.clone()));
    assert_eq!(left, "/a%20b/c.ts?x=1");
    // Not an option of these rules, so that it is a folder.
    assert_eq!(take(rules(), &request(&url, &[])), Ok(None));
}

#[test]
fn the_url_counts_before_the_header_and_the_header_before_the_cookie() {
    let [one, two, three] = [b"1", b"2", b"3"].map(|id| token([(7, Item::Bytes(id))]));
    let cookie = format!("a=b; CTA-Common-Access-Token={three}");
    let all = [("cta-common-access-token", &*two), ("cookie", &*cookie)];
    let url = format!("https://h/a?cat={one}");
    let found = |url: &str, all: &[_]| take(rules(), &request(url, all)).unwrap().unwrap();
    assert_eq!(found(&url, &all), (Place::Url, one, "/a".into()));
    assert_eq!(
        found("https://h/a", &all),
        (Place::Header, two.clone(), "/a".into())
    );
    assert_eq!(
        found("https://h/a", &all[1..]),
        (Place::Cookie, three, "/a".into())
    );
}

#[test]
fn two_tokens_in_one_place_are_one_too_many() {
    let (one, two) = (token([]), token([(2, text("x"))]));
    let ambiguous = [
        format!("https://h/a?CAT={one}&CAT={one}"),
        format!("https://h/a?CAT={one}&%43AT={one}"),
        format!("https://h/a?CAT={one}&cat={two}"),
        format!("https://h/{one}/a?CAT={two}"),
    ];
    for url in ambiguous {
        let taken = take(in_path(), &request(&url, &[]));
        assert_eq!(taken, Err(LocateError::Ambiguous), "{url}");
    }
    let headers = [
        ("cta-common-access-token", &*one),
        ("cta-common-access-token", &*one),
    ];
    let taken = take(rules(), &request(URL, &headers));
    assert_eq!(taken, Err(LocateError::Ambiguous));
    // The same one, in the path and the query, is one.
    let url = format!("https://h/{one}/a?CAT={one}");
    assert!(take(in_path(), &request(&url, &[])).unwrap().is_some());
}

#[test]
fn cookies_of_one_name_are_tried_in_turn() {
    let good = token([]);
    let name = "CTA-Common-Access-Token";
    let all = format!("{name}=AAAA; {name}=; {name}=\"{good}\"");
    assert!(judge(rules(), &request(URL, &[("cookie", &all)])).is_ok());
    let too_many = format!("{name}=A; {name}=A; {name}=A; {name}=A; {name}={good}");
    assert!(judge(rules(), &request(URL, &[("cookie", &too_many)])).is_err());
    let empty = take(rules(), &request(URL, &[("cookie", "CTA-Common-Access-Token=")]));
    assert_eq!(empty, Err(LocateError::Malformed));
}

#[test]
fn nothing_and_what_can_not_be_one_is_told_apart() {
    assert_eq!(take(rules(), &request(URL, &[])), Ok(None));
    let empty = [("cta-common-access-token", "")];
    assert_eq!(take(rules(), &request(URL, &empty)), Err(LocateError::Malformed));
    let empty = take(rules(), &request("https://h/a?CAT", &[]));
    assert_eq!(empty, Err(LocateError::Malformed));
    let long = "A".repeat(MAX_TOKEN_BYTES + 1);
    let long = [("cta-common-access-token", &*long)];
    assert_eq!(take(rules(), &request(URL, &long)), Err(LocateError::Malformed));
}

#[test]
fn a_first_segment_is_a_token_by_its_shape_alone() {
    let scheme = Cat::new(in_path());
    let with_kid = "k".repeat(30);
    let long_header = Item::Map(vec![
        (Label::Int(1), Item::Int(5)),
        (Label::Int(4), Item::Bytes(with_kid.as_bytes())),
    ]);
    let parts = list([
        Item::Bytes(Box::leak(long_header.encode().into())),
        map([]),
        Item::Bytes(&[0xa0]),
        Item::Bytes(&[0; 32]),
    ]);
    for kind in [17, 18] {
        let bare = Item::Tag(kind, Box::new(parts.clone()));
        for item in [Item::Tag(61, Box::new(bare.clone())), bare] {
            use base64::Engine;
            let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(item.encode());
            let marked = scheme.markers().iter().any(|marker| token.starts_with(&**marker));
            assert!(marked, "{token}");
            assert!(first_segment(&format!("/{token}/a")).is_some());
        }
    }
    let token = token([]);
    for path in [
        format!("/{token}"),
        format!("/{}/a", &token[..60]),
        format!("/{token}=/a"),
        format!("/x{token}/a"),
        format!("/a/{token}/b"),
        format!("{token}/b"),
        format!("/{}/a", token.replacen("2D3R", "2D3Q", 1)),
    ] {
        assert_eq!(first_segment(&path), None, "{path}");
    }
    assert!(Cat::new(rules()).markers().is_empty());
    assert_eq!(*Cat::new(rules()).cookies(), ["CTA-Common-Access-Token".into()]);
}

/// A token that is due for renewal, with this `catr`.
fn due(catr: Item<'static>) -> String {
    token([(4, Item::Int(NOW + 30)), (7, Item::Bytes(&[7])), (323, catr)])
}

fn renewal(rules: Rules, token: &str, place: Place) -> Option<(String, String)> {
    let cookie = format!("CTA-Common-Access-Token={token}");
    let request = match place {
        Place::Url => request(&format!("{URL}?CAT={token}"), &[]),
        Place::Header => with(token),
        Place::Cookie => request(URL, &[("cookie", &cookie)]),
    };
    let renewal = judge(rules, &request).unwrap().renewal?;
    let value = renewal.value.to_str().unwrap().to_owned();
    Some((renewal.header.to_string(), value))
}

#[test]
fn a_token_is_renewed_where_it_says_or_where_it_rode() {
    let terms = |way| map([(0, Item::Int(way)), (1, Item::Int(120)), (2, Item::Int(60))]);
    let table = [
        (0, Place::Header, Some("cta-common-access-token")),
        (0, Place::Cookie, Some("set-cookie")),
        (0, Place::Url, None),
        (1, Place::Header, Some("set-cookie")),
        (2, Place::Cookie, Some("cta-common-access-token")),
        (3, Place::Header, None),
        (9, Place::Header, None),
    ];
    for (way, place, header) in table {
        let renewed = renewal(rules(), &due(terms(way)), place);
        assert_eq!(renewed.map(|(name, _)| name).as_deref(), header, "{way}");
    }
    let never = Rules {
        renewals: None,
        ..rules()
    };
    assert_eq!(renewal(never, &due(terms(2)), Place::Header), None);
}

#[test]
fn a_renewed_token_says_the_same_for_longer_and_is_the_same_to_the_store() {
    let token = token([
        (4, Item::Float(NOW as f64 + 30.5)),
        (2, text("me")),
        (7, Item::Bytes(&[7])),
        (312, map([(3, map([(1, text("/videos/"))]))])),
        (323, map([(0, Item::Int(2)), (1, Item::Int(120))])),
        (-70_001, Item::Float(0.1)),
    ]);
    let old = judge(rules(), &with(&token)).unwrap();
    let (_, value) = renewal(rules(), &token, Place::Header).unwrap();
    let new = judge(rules(), &with(&value)).unwrap();
    assert_eq!(
        (new.token_id, new.subject, new.id),
        (old.token_id, old.subject, old.id)
    );
    assert_eq!(new.expires, Some(UnixTime::from_secs(NOW + 120)));
    let elsewhere = request(
        "https://media.example.com/x",
        &[("cta-common-access-token", &value)],
    );
    assert!(judge(rules(), &elsewhere).is_err());
    let bytes = cwt::decode(&value).unwrap();
    let envelope = cwt::open(&bytes).unwrap();
    let Ok(Item::Map(claims)) = cbor::read(envelope.payload) else {
        panic!("no claims");
    };
    assert_eq!(cbor::member(&claims, -70_001), Some(&Item::Float(0.1)));
    // No `iat` where there was none.
    assert_eq!(claims.len(), 7);
}

#[test]
fn renewal_is_bounded_and_only_where_it_helps() {
    let terms = |members: &[(i64, i64)]| {
        let all = members
            .iter()
            .map(|(label, number)| (Label::Int(*label), Item::Int(*number)));
        Item::Map(all.collect())
    };
    let renewed = |members: &[_]| renewal(rules(), &due(terms(members)), Place::Header);
    assert!(renewed(&[(0, 2), (1, 31), (2, 30)]).is_some());
    // Too early, no gain, or numbers that are moments or nonsense.
    let none: [&[(i64, i64)]; 7] = [
        &[(0, 2), (1, 31), (2, 29)],
        &[(0, 2), (1, 30), (2, 60)],
        &[(0, 2), (1, 0), (2, 60)],
        &[(0, 2), (1, -5), (2, 60)],
        &[(0, 2), (1, i64::MAX), (2, 60)],
        &[(0, 2), (1, 120), (2, NOW)],
        &[(0, 2), (1, 120), (2, -1)],
    ];
    for members in none {
        assert_eq!(renewed(members), None, "{members:?}");
    }
    let short = Rules {
        renewals: Some(Renewals {
            longest: Duration::from_secs(50),
            ..Renewals::default()
        }),
        ..rules()
    };
    let token = due(terms(&[(0, 2), (1, 120)]));
    let (_, value) = renewal(short, &token, Place::Header).unwrap();
    let claims = judge(rules(), &with(&value)).unwrap();
    assert_eq!(claims.expires, Some(UnixTime::from_secs(NOW + 50)));
    // One use would become two.
    let once = self::token([
        (4, Item::Int(NOW + 30)),
        (7, Item::Bytes(&[7])),
        (308, Item::Int(1)),
        (323, terms(&[(0, 2), (1, 120)])),
    ]);
    assert_eq!(renewal(rules(), &once, Place::Header), None);
    for wrong in [
        text("x"),
        map([]),
        map([(0, Item::Int(1))]),
        map([(1, Item::Int(9))]),
    ] {
        assert!(judge(rules(), &with(&due(wrong))).is_err());
    }
}

#[test]
fn names_and_parameters_of_a_renewal_are_ours_or_harmless() {
    let catr = |way, label, item| map([(0, Item::Int(way)), (1, Item::Int(120)), (label, item)]);
    let value = |way, label, item| {
        renewal(rules(), &due(catr(way, label, item)), Place::Header).map(|(_, value)| value)
    };
    let set = value(1, 3, text("CTA-Common-Access-Token")).unwrap();
    assert!(set.starts_with("CTA-Common-Access-Token=2D3R"), "{set}");
    for (parameters, attributes) in [
        (
            list([
                text("Path=/v"),
                text("Max-Age=9"),
                text("Expires=Thu, 01 Jan 2099 00:00:00 GMT"),
            ]),
            "Secure; HttpOnly; SameSite=Lax; Path=/v",
        ),
        (
            list([text("domain = example.com"), text("Partitioned")]),
            "Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            list([text("samesite=none"), text("SameSite=x"), text("path=/v w")]),
            "Secure; HttpOnly; Path=/v w; SameSite=none",
        ),
        (
            list([text("Path=v"), text("SameSite"), text("Secure=no")]),
            "Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
    ] {
        let set = value(1, 5, parameters).unwrap();
        let (_, said) = set.split_once("; ").unwrap();
        assert_eq!(said, format!("{attributes}; Max-Age=120"));
    }
    let ours = Rules {
        renewals: Some(Renewals {
            cookie: "Domain=example.com; max-age=1;Path=/".into(),
            ..Renewals::default()
        }),
        ..rules()
    };
    let (_, set) = renewal(
        ours,
        &due(map([(0, Item::Int(1)), (1, Item::Int(120))])),
        Place::Header,
    )
    .unwrap();
    assert!(
        set.ends_with("; Domain=example.com; Path=/; Secure; HttpOnly; Max-Age=120"),
        "{set}"
    );
    let header = value(2, 6, list([text("a=b")])).unwrap();
    assert!(header.ends_with("; a=b"), "{header}");
    assert!(value(2, 4, text("CTA-Common-Access-Token")).is_some());
    let none = [
        (1, 3, text("session")),
        (1, 3, Item::Int(1)),
        (2, 4, text("Location")),
        (2, 4, text("Set-Cookie")),
        (1, 5, list([text("Path=/; Domain=evil.example")])),
        (1, 5, list([text("Path=/\r\nX: y")])),
        (1, 5, list([text("")])),
        (1, 5, Item::Int(0)),
        (2, 6, list([text("a\n")])),
    ];
    for (way, label, item) in none {
        assert_eq!(value(way, label, item.clone()), None, "{label} {item}");
    }
}

#[test]
fn a_token_is_renewed_by_the_key_that_made_it_and_no_other() {
    let pair = super::minting::ec_pair();
    let with_keys = |keys| Rules { keys, ..rules() };
    let signer = named([("edge", pair.private())]);
    let claims = Item::Map(vec![
        (Label::Int(1), text(ISSUER)),
        (Label::Int(4), Item::Int(NOW + 30)),
        (Label::Int(323), map([(0, Item::Int(2)), (1, Item::Int(120))])),
    ]);
    let token = cwt::seal(signer.named("edge", now()).unwrap(), &claims.encode()).unwrap();
    let keys = || with_keys(named([("ours", mac(1)), ("edge", pair.private())]));
    let (_, value) = renewal(keys(), &token, Place::Header).unwrap();
    let claims = judge(keys(), &with(&value)).unwrap();
    assert_eq!(claims.key.as_deref(), Some("edge"));
    // It can't sign here, and another key has another end.
    let mute = with_keys(named([("ours", mac(1)), ("edge", pair.public())]));
    assert_eq!(renewal(mute, &token, Place::Header), None);
}

#[test]
fn no_chain_of_renewed_tokens_outlives_its_key_or_the_longest_life() {
    let terms = || map([(0, Item::Int(1)), (1, Item::Int(120)), (2, Item::Int(60))]);
    let until = |seconds: i64| Rules {
        keys: NamedKeys::new([(
            "one".into(),
            mac(1),
            Some(UnixTime::from_millis((NOW + seconds) * 1000 + 500)),
        )]),
        ..rules()
    };
    let (_, set) = renewal(until(90), &due(terms()), Place::Header).unwrap();
    assert!(set.ends_with("; Max-Age=90"), "{set}");
    let token = set.split([';', '=']).nth(1).unwrap();
    let claims = judge(rules(), &with(token)).unwrap();
    assert_eq!(claims.expires, Some(UnixTime::from_secs(NOW + 90)));
    assert_eq!(renewal(until(30), &due(terms()), Place::Header), None);

    let bounded = || Rules {
        max_lifetime: Some(Duration::from_secs(300)),
        ..rules()
    };
    let aged = |seconds: i64| token_of_age(seconds, terms());
    let (_, set) = renewal(bounded(), &aged(200), Place::Header).unwrap();
    let token = set.split([';', '=']).nth(1).unwrap();
    let claims = judge(bounded(), &with(token)).unwrap();
    assert_eq!(
        (claims.expires, claims.issued),
        (
            Some(UnixTime::from_secs(NOW + 100)),
            Some(UnixTime::from_secs(NOW - 200))
        )
    );
    assert_eq!(renewal(bounded(), &aged(270), Place::Header), None);
}

/// A token that is due, and was issued so many seconds ago.
fn token_of_age(seconds: i64, catr: Item<'static>) -> String {
    token([
        (4, Item::Int(NOW + 30)),
        (6, Item::Int(NOW - seconds)),
        (323, catr),
    ])
}
