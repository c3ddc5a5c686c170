//! What is minted, and that nothing else is believed.

use proptest::prelude::*;

use super::exchanging::with_session;
use super::*;
use crate::token::scheme::signed::fields::tests::Random;

/// What a wish can't say.
const NOT_MINTED: [(&str, &str); 3] = [
    ("acl_list", "two patterns, and a wish opens one thing"),
    ("acl_question", "no pattern of ours is one character"),
    (
        "acl_suffix_star_only",
        "no pattern of ours starts without a slash",
    ),
];

fn opens(acl: &str) -> Opens {
    match acl.strip_suffix('*') {
        Some(start) if !start.contains('*') => Opens::literal(start)
            .ok()
            .filter(|opens| matches!(opens, Opens::Prefix(_)))
            .unwrap_or(Opens::StartsWith(start.into())),
        _ => Opens::parse(&acl.replace('*', "**")).unwrap(),
    }
}

#[test]
fn the_allowed_vectors_are_minted_back() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let mut minted = 0;
    for json in file["cases"].as_array().unwrap() {
        let case = Case {
            json,
            profile: &file["profiles"][json["profile"].as_str().unwrap()],
            keys: &file["keys"],
        };
        let name = case.text("name");
        if case.text("expect") != "allow" || NOT_MINTED.iter().any(|(not, _)| *not == name) {
            continue;
        }
        let scheme = scheme(
            &case,
            match name {
                "acl_transition_key" => ["transition", "primary"],
                _ => ["primary", "transition"],
            },
        );
        let request = case.request();
        let head = head(&request);
        let taken = scheme.take(head).unwrap().unwrap();
        let token = percent_encoding::percent_decode_str(&taken.parts[0]);
        let token = token.decode_utf8().unwrap();
        let fields = Fields::parse(&token, &GRAMMAR).unwrap();
        let opens = fields.get("acl").map(opens);
        let target = Target::parse(&taken.path, taken.query.as_deref()).unwrap();
        let signed = scheme.sign(&Wish {
            public: None,
            method: &Method::GET,
            target: &target,
            opens: opens.as_ref(),
            place: taken.place,
            now: request.now,
            not_before: fields.time("st").unwrap(),
            expires: fields.time("exp").unwrap().unwrap(),
            address: fields
                .get("ip")
                .map(|ip| ip.parse::<std::net::IpAddr>().unwrap().into()),
            subject: fields.get("data"),
            id: fields.get("id"),
        });
        let own = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        let wanted = match taken.place {
            Place::Url => Signed::Url(wanted_url(&case, name)),
            Place::Header => Signed::Header("hdnts".into(), own("hdnts")),
            Place::Cookie => {
                let cookie = own("cookie");
                let (name, value) = cookie.split_once('=').unwrap();
                Signed::Cookies(vec![(name.into(), value.into())])
            }
        };
        assert_eq!(signed.as_ref(), Ok(&wanted), "{name}");
        minted += 1;
    }
    assert_eq!(minted, 21);
}

fn wanted_url(case: &Case<'_>, name: &str) -> String {
    let url = case.text("url").replace("https://media.example.com", "");
    match name {
        // `+` needs no encoding in a path, and a target is written in one way.
        "url_escape_early" => url.replace("a%2Bb", "a+b"),
        // Nor do these in a query.
        "query_percent_encoded" => url.replace("%3D", "=").replace("%2F", "/").replace("%2A", "*"),
        _ => url,
    }
}

pub(super) fn wish<'w>(target: &'w Target, opens: Option<&'w Opens>, place: Place) -> Wish<'w> {
    Wish {
        public: None,
        method: &Method::GET,
        target,
        opens,
        place,
        now: UnixTime::from_secs(NOW),
        not_before: None,
        expires: UnixTime::from_secs(NOW + 60),
        address: None,
        subject: None,
        id: None,
    }
}

#[test]
fn what_the_format_can_t_say_is_not_signed() {
    let scheme = with_session();
    let target = Target::parse("/a", Some("x=1")).unwrap();
    let base = || wish(&target, None, Place::Url);
    assert!(scheme.sign(&base()).is_ok());
    let taken = Target::parse("/a", Some("hdnts=1")).unwrap();
    let none = NamedKeys::new([]);
    for (what, wish) in [
        (
            "net",
            Wish {
                address: Some("10.0.0.0/8".parse().unwrap()),
                ..base()
            },
        ),
        (
            "joint",
            Wish {
                subject: Some("a~exp=9"),
                ..base()
            },
        ),
        (
            "empty",
            Wish {
                id: Some(""),
                ..base()
            },
        ),
        (
            "mark",
            Wish {
                subject: Some("hdntl,x"),
                ..base()
            },
        ),
        (
            "method",
            Wish {
                method: &Method::PUT,
                ..base()
            },
        ),
        (
            "time",
            Wish {
                expires: UnixTime::from_secs(-1),
                ..base()
            },
        ),
        (
            "length",
            Wish {
                subject: Some(&"x".repeat(9000)),
                ..base()
            },
        ),
        (
            "media",
            Wish {
                opens: Some(&Opens::MediaId("1".into())),
                ..base()
            },
        ),
        ("parameter", wish(&taken, None, Place::Url)),
    ] {
        assert!(
            matches!(scheme.sign(&wish), Err(TokenError::Invalid(_))),
            "{what}"
        );
    }
    let keyless = EdgeAuth::new(Rules {
        keys: none,
        ..plain()
    });
    assert!(keyless.sign(&base()).is_err());
    let nameless = EdgeAuth::new(Rules {
        headers: Box::default(),
        ..plain()
    });
    assert!(nameless.sign(&wish(&target, None, Place::Header)).is_err());
}

/// Path and query, or headers, of what was signed.
fn presented(signed: &Signed, path: &str) -> (String, HeaderMap) {
    match signed {
        Signed::Url(url) => (url.clone(), HeaderMap::new()),
        Signed::Cookies(cookies) => (
            path.to_owned(),
            cookie(&format!("{}={}", cookies[0].0, cookies[0].1)),
        ),
        Signed::Header(name, value) => {
            let mut headers = HeaderMap::new();
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            (path.to_owned(), headers)
        }
    }
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Url), Just(Place::Header), Just(Place::Cookie)]
}

fn variants() -> impl Strategy<Value = (Escape, Query, Algorithm, bool)> {
    (
        prop_oneof![Just(Escape::Never), Just(Escape::Early)],
        prop_oneof![Just(Query::Ignored), Just(Query::Signed)],
        prop_oneof![
            Just(Algorithm::Sha256),
            Just(Algorithm::Sha1),
            Just(Algorithm::Md5)
        ],
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn what_is_minted_is_verified_and_no_signed_part_can_be_changed(
        (escape, query, algorithm, salted) in variants(),
        place in places(),
        folder in "/[a-z0-9é %+&;=]{1,12}",
        file in "[a-z0-9é %+&;=]{1,12}",
        opened in 0..4_u8,
        subject in proptest::option::of("[ -}é]{1,20}"),
        id in proptest::option::of("[ -}é]{1,20}"),
        bound in any::<bool>(),
        started in any::<bool>(),
        at in any::<prop::sample::Index>(),
        letter in "[a-z0-9*/]",
    ) {
        let salt = salted.then(|| Secret::new(b"salt".to_vec()));
        let scheme = EdgeAuth::new(Rules { escape, query, algorithm, salt, ..plain() });
        let Ok(target) = Target::from_decoded(&format!("{folder}/{file}")) else { return Ok(()) };
        let target = target.with_query(Some("x=1")).unwrap();
        let opens = match opened {
            0 => None,
            1 => Some(Opens::Exact(target.path().into())),
            2 => Some(Opens::Prefix(format!("{folder}/").into())),
            _ => Some(Opens::StartsWith(folder.as_str().into())),
        };
        let wish = Wish {
            address: bound.then(|| "203.0.113.7/32".parse().unwrap()),
            not_before: started.then(|| UnixTime::from_secs(NOW)),
            subject: subject.as_deref(),
            id: id.as_deref(),
            ..wish(&target, opens.as_ref(), place)
        };
        let signed = match scheme.sign(&wish) {
            Ok(signed) => signed,
            Err(TokenError::Invalid(_)) => {
                prop_assert!(opens.is_some() && target.path().contains('%'));
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let (url, headers) = presented(&signed, target.as_str());
        let claims = judge(&scheme, &url, headers.clone(), NOW).map_err(TestCaseError::fail)?;
        prop_assert_eq!(claims.subject.as_deref(), subject.as_deref());
        prop_assert_eq!(claims.id.as_deref(), id.as_deref());
        prop_assert_eq!(claims.expires, Some(UnixTime::from_secs(NOW + 60)));
        prop_assert_eq!(claims.not_before.is_some(), started);
        prop_assert_eq!(claims.addresses.is_some(), bound);

        let more = judge(&scheme, &format!("{url}&more=1"), headers.clone(), NOW);
        prop_assert_eq!(more.is_ok(), query == Query::Ignored || opens.is_some());
        let other = judge(&scheme, &url.replacen('/', "/Z", 1), headers.clone(), NOW);
        prop_assert!(other.is_err());

        // One byte of the token.
        let request = get(&url, headers, NOW);
        let taken = scheme.take(head(&request)).unwrap().unwrap();
        let token = taken.parts[0].clone().into_owned();
        let at = at.index(token.len());
        prop_assume!(token.is_char_boundary(at) && token.is_char_boundary(at + 1));
        let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
        let alike = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        prop_assume!(alike(&changed) != alike(&token));
        let mut headers = HeaderMap::new();
        headers.insert("hdnts", HeaderValue::from_str(&changed).unwrap());
        prop_assert!(judge(&scheme, target.as_str(), headers, NOW).is_err(), "{}", changed);
    }
}

/// The format leaves open how the token is percent-encoded, and what follows its parameter: nothing else may be changed.
#[test]
fn no_mutation_of_a_token_is_believed() {
    let scheme = with_session();
    let tokens = [
        ("/v/a.ts", seal(&scheme, "exp=1767229200~acl=/v/*!/w/*", None)),
        (
            "/v/a.ts",
            seal(
                &scheme,
                "ip=203.0.113.7~st=1767225600~exp=1767229200~acl=/v/?.ts~id=i~data=u=1",
                None,
            ),
        ),
        ("/v/a.ts", seal(&scheme, EXP, Some("/v/a.ts"))),
    ];
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut random = Random::new(0x9e37_79b9);
    let (mut believed, mut tried) = (0, 0);
    for _ in 0..17_000 {
        for (path, token) in &tokens {
            let mutated = random.mutate(token);
            tried += 2;
            if allows(&scheme, &format!("{path}?hdnts={mutated}")) {
                let value = mutated.split(['&', '#']).next().unwrap();
                assert_eq!(decoded(value), token.as_bytes(), "{mutated}");
                believed += 1;
            }
            if judge(&scheme, path, cookie(&format!("hdnts={mutated}")), NOW).is_ok() {
                let value = mutated.split(';').next().unwrap().trim_matches([' ', '\t']);
                let value = value
                    .strip_prefix('"')
                    .and_then(|v| v.strip_suffix('"'))
                    .unwrap_or(value);
                assert_eq!(decoded(value), token.as_bytes(), "{mutated}");
                believed += 1;
            }
        }
    }
    assert!(tried > 100_000 && believed < tried / 20, "{believed} of {tried}");
}
