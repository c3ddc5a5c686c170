//! Each claim: what it opens, what it refuses, and what is refused because nobody judges it.

use super::*;

fn allowed(claims: impl IntoIterator<Item = (i64, Item<'static>)>) -> bool {
    judge(rules(), &with(&token(claims))).is_ok()
}

/// Whether a `catu` opens a URL.
fn opens(part: i64, kind: i64, value: Item<'static>, url: &str) -> bool {
    let token = token([(312, map([(part, map([(kind, value)]))]))]);
    judge(rules(), &request(url, &[("cta-common-access-token", &token)])).is_ok()
}

#[test]
fn times_are_whole_seconds_or_finite_floats_and_equality_is_over() {
    assert!(allowed([(4, Item::Int(NOW + 1))]));
    assert!(allowed([(4, Item::Float(NOW as f64 + 0.5))]));
    assert!(allowed([(5, Item::Int(NOW))]));
    assert!(allowed([(5, Item::Float(NOW as f64))]));
    let refused = [
        (4, Item::Int(NOW)),
        (4, Item::Float(NOW as f64)),
        (4, Item::Float(NOW as f64 - 0.001)),
        (4, Item::Float(f64::INFINITY)),
        (4, Item::Float(f64::NAN)),
        (4, Item::Float(1e300)),
        (4, Item::Int(253_402_300_800)),
        (4, Item::Int(i64::MAX)),
        (4, Item::Int(-1)),
        (4, Item::Simple(22)),
        (4, Item::Tag(1, Box::new(Item::Int(NOW + 9)))),
        (5, Item::Float(NOW as f64 + 0.000_1)),
        (5, text("0")),
        (6, text("0")),
        (6, Item::Float(f64::NEG_INFINITY)),
    ];
    for (label, item) in refused {
        assert!(!allowed([(label, item.clone())]), "{label}: {item}");
    }
}

#[test]
fn a_longest_life_counts_from_iat_and_demands_it() {
    let rules = || Rules {
        max_lifetime: Some(Duration::from_secs(3600)),
        ..rules()
    };
    assert!(judge(rules(), &with(&token([(6, Item::Int(NOW))]))).is_ok());
    assert!(judge(rules(), &with(&token([(6, Item::Int(NOW - 1))]))).is_err());
    assert!(judge(rules(), &with(&token([]))).is_err());
}

#[test]
fn an_audience_is_ours_or_the_token_is_refused() {
    let ours = |required| Rules {
        audiences: Box::new(["a".into(), "b".into()]),
        audience_required: required,
        ..rules()
    };
    let judged = |rules, claims: Option<Item<'static>>| {
        judge(rules, &with(&token(claims.map(|item| (3, item))))).is_ok()
    };
    assert!(judged(ours(true), Some(text("b"))));
    assert!(judged(ours(true), Some(list([text("c"), text("a")]))));
    assert!(judged(ours(false), None));
    assert!(!judged(ours(true), None));
    for wrong in [text("c"), list([]), list([Item::Int(1)]), Item::Bytes(b"a")] {
        assert!(!judged(ours(false), Some(wrong)));
    }
    // Nobody is named by the rules, so that it can't be us.
    assert!(!judged(rules(), Some(text("a"))));
}

#[test]
fn a_claim_that_restricts_and_is_not_judged_refuses() {
    let unknown = [
        8, 9, 38, 282, 307, 309, 314, 316, 317, 318, 319, 320, 321, 322, 324, 401, 70_000, -1, -65_536,
    ];
    for label in unknown {
        assert!(!allowed([(label, Item::Int(0))]), "{label}");
    }
    let named = Item::Map(vec![
        (Label::Int(1), text(ISSUER)),
        (Label::Int(4), Item::Int(NOW + 9)),
        (Label::Text("tenant"), text("x")),
    ]);
    assert!(judge(rules(), &with(&seal(&named.encode()))).is_err());
    // For private use: whoever has not agreed on it passes it over.
    assert!(allowed([(-65_537, Item::Int(0))]));
    let ignoring = Rules {
        ignored: Box::new([322]),
        ..rules()
    };
    assert!(judge(ignoring, &with(&token([(322, map([]))]))).is_ok());
}

#[test]
fn a_claim_that_is_judged_can_not_be_ignored() {
    let ignoring = Rules {
        ignored: Box::new([312]),
        ..rules()
    };
    let token = token([(312, map([(3, map([(0, text("/other"))]))]))]);
    assert!(judge(ignoring, &with(&token)).is_err());
}

#[test]
fn claims_stand_under_other_numbers_where_the_rules_say_so() {
    let labels = Labels::default().with("catu", 401).unwrap();
    let labels = labels.with("catnip", 402).unwrap();
    let aliased = || Rules {
        labels: labels.clone(),
        ..rules()
    };
    let elsewhere = || map([(3, map([(1, text("/other/"))]))]);
    let here = || map([(3, map([(1, text("/videos/"))]))]);
    assert!(judge(aliased(), &with(&token([(401, here())]))).is_ok());
    assert!(judge(aliased(), &with(&token([(401, elsewhere())]))).is_err());
    assert!(judge(aliased(), &with(&token([(312, here())]))).is_ok());
    assert!(judge(aliased(), &with(&token([(312, elsewhere())]))).is_err());
    assert!(judge(aliased(), &with(&token([(312, here()), (401, here())]))).is_err());
    assert_eq!(Labels::default().with("catpor", 9), Err(BadLabel::UnknownClaim));
    assert_eq!(Labels::default().with("catu", 311), Err(BadLabel::Taken));
    assert_eq!(labels.with("catu", 403), Err(BadLabel::Taken));
}

#[test]
fn catu_compares_every_part_in_every_way() {
    let url = "https://media.example.com/videos/a%20b/seg.m4s?v=2";
    let table: [(i64, i64, &'static str, bool); 28] = [
        (0, 0, "https", true),
        (0, 0, "HTTPS", false),
        (1, 0, "media.example.com", true),
        (1, 2, ".example.com", true),
        (1, 2, "ample.org", false),
        (2, 0, "443", true),
        (2, 0, "", true),
        (2, 0, "8443", false),
        (3, 0, "/videos/a%20b/seg.m4s", true),
        (3, 0, "/videos/a b/seg.m4s", false),
        (3, 1, "/videos/", true),
        (3, 1, "/video/", false),
        (3, 2, ".m4s", true),
        (3, 3, "/a%20b/", true),
        (3, 3, "x", false),
        (4, 0, "v=2", true),
        (4, 0, "v=3", false),
        (4, 3, "v=", true),
        (5, 0, "/videos/a%20b", true),
        (5, 0, "/videos/a%20b/", false),
        (5, 2, "a%20b", true),
        (6, 0, "seg.m4s", true),
        (6, 1, "seg", true),
        (7, 0, "seg", true),
        (7, 0, "seg.m4s", false),
        (8, 0, ".m4s", true),
        (8, 0, "m4s", false),
        (8, 3, "4", true),
    ];
    for (part, kind, value, expected) in table {
        assert_eq!(
            opens(part, kind, text(value), url),
            expected,
            "{part} {kind} {value}"
        );
    }
    let ported = "https://media.example.com:8443/a";
    assert!(opens(2, 0, text("8443"), ported) && !opens(2, 0, text("443"), ported));
    assert!(opens(1, 0, text("media.example.com"), ported));
    assert!(opens(1, 0, text("[2001:db8::1]"), "https://[2001:db8::1]/a"));
}

#[test]
fn catu_by_hash_is_of_the_whole_part() {
    use aws_lc_rs::digest::{Digest, SHA256, SHA512_256, digest};
    fn leak(digest: &Digest) -> &'static [u8] {
        Box::leak(Box::from(digest.as_ref()))
    }
    let path = b"/videos/show1/master.m3u8";
    let sha256 = leak(&digest(&SHA256, path));
    let sha512 = leak(&digest(&SHA512_256, path));
    let hex: &'static str = Box::leak(hex(sha256).into());
    assert!(opens(3, -1, Item::Bytes(sha256), URL));
    assert!(opens(3, -1, Item::Text(hex), URL));
    assert!(opens(3, -2, Item::Bytes(sha512), URL));
    assert!(!opens(3, -1, Item::Bytes(sha512), URL));
    assert!(!opens(3, -2, Item::Bytes(sha256), URL));
    assert!(!opens(3, -1, Item::Bytes(&sha256[..31]), URL));
    assert!(!opens(3, -1, Item::Bytes(&[]), URL));
}

#[test]
fn a_regex_matches_the_whole_part_and_is_small() {
    let regex = |pattern: &'static str| opens(3, 4, list([text(pattern)]), URL);
    assert!(regex("^/videos/show[0-9]/.*$") && regex(r"/videos/\w+/[^/]*\.m3u8") && regex(".*|/x"));
    let refused = [
        "/videos/show1",
        "videos",
        "master.m3u8$",
        "x)|(?:.*",
        "(?x).*#",
        "(?=/).*",
        "(.*",
        "(?:(?:(?:a{99}){99}){99}|.*)",
    ];
    for pattern in refused {
        assert!(!regex(pattern), "{pattern}");
    }
    assert!(!regex(Box::leak("(.*|.*)".repeat(100).into())));
    // Linear, whatever it says and however long the path is.
    let long = format!("https://media.example.com/{}", "a".repeat(8000));
    assert!(!opens(3, 4, list([text("/(a*)*(a*)*(a|aa)*b")]), &long));
    assert!(!opens(3, 4, text("^.*$"), URL));
    assert!(!opens(3, 4, list([]), URL));
    assert!(!opens(3, 4, list([text(".*"), text("i")]), URL));
}

#[test]
fn a_token_has_eight_regexes_and_no_more() {
    let regex = || map([(4, list([text(".*")]))]);
    let with_regexes = |parts: i64, headers: usize| {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let uri = (0..parts).map(|part| (Label::Int(part), regex())).collect();
        let named = NAMES.iter().take(headers);
        let headers = named.map(|name| (Label::Text(name), regex())).collect();
        let token = token([(312, Item::Map(uri)), (315, Item::Map(headers))]);
        let all = NAMES.map(|name| (name, "x"));
        let all = [("cta-common-access-token", &*token)].into_iter().chain(all);
        judge(rules(), &request(URL, &all.collect::<Vec<_>>())).is_ok()
    };
    assert!(with_regexes(8, 0) && with_regexes(4, 4));
    assert!(!with_regexes(9, 0) && !with_regexes(5, 4));
}

#[test]
fn where_libraries_read_a_name_in_two_ways_both_have_to_hold() {
    let url = "https://media.example.com/v/a.tar.gz";
    assert!(!opens(7, 0, text("a"), url) && !opens(7, 0, text("a.tar"), url));
    assert!(!opens(8, 0, text(".gz"), url) && !opens(8, 0, text(".tar.gz"), url));
    assert!(opens(7, 1, text("a"), url) && opens(8, 2, text(".gz"), url));
    assert!(opens(6, 0, text("a.tar.gz"), url));
    let hidden = "https://media.example.com/v/.m3u8";
    assert!(!opens(8, 0, text(".m3u8"), hidden) && !opens(7, 0, text(""), hidden));
    let plain = "https://media.example.com/v/key";
    assert!(opens(7, 0, text("key"), plain) && opens(8, 0, text(""), plain));
    let top = "https://media.example.com/key";
    assert!(!opens(5, 0, text(""), top) && !opens(5, 0, text("/"), top));
}

#[test]
fn every_demand_has_to_hold_and_none_may_be_unknown() {
    let both = |one, other| {
        let matches = map([(1, text(one)), (2, text(other))]);
        allowed([(312, map([(3, matches)]))])
    };
    assert!(both("/videos/", ".m3u8"));
    assert!(!both("/videos/", ".mp4") && !both("/x/", ".m3u8"));
    let refused = [
        text("x"),
        list([]),
        map([(9, map([(1, text(""))]))]),
        map([(-1, map([(1, text(""))]))]),
        map([(3, map([]))]),
        map([(3, text("/"))]),
        map([(3, map([(5, text("/"))]))]),
        map([(3, map([(-3, text("/"))]))]),
        map([(3, map([(1, Item::Bytes(b"/"))]))]),
        map([(3, map([(1, list([text("/")]))]))]),
        Item::Map(vec![(Label::Text("path"), map([(1, text("/"))]))]),
    ];
    for catu in refused {
        assert!(!allowed([(312, catu.clone())]), "{catu}");
    }
}

#[test]
fn catu_of_a_host_needs_the_public_host() {
    let token = token([(312, map([(1, map([(2, text("com"))]))]))]);
    let scheme = Cat::new(rules());
    let target = Target::parse("/videos/show1/master.m3u8", None).unwrap();
    let evidence = crate::token::Evidence {
        method: &Method::GET,
        public: None,
        raw_path: "/videos/show1/master.m3u8",
        raw_query: None,
        headers: &HeaderMap::new(),
        client: IpAddr::from([203, 0, 113, 7]),
        proxied: false,
        parts: parts(token.into(), Place::Header),
    };
    let asked = Asked {
        evidence: &evidence,
        path: "/videos/show1/master.m3u8",
        query: None,
        target: &target,
        now: now(),
        signatures: &crate::token::scheme::signed::NoMemory,
    };
    assert!(matches!(scheme.verify(&asked), Err(TokenError::Invalid(_))));
}

#[test]
fn cath_finds_headers_by_any_case_and_once() {
    let claim = |name: &'static str| Item::Map(vec![(Label::Text(name), map([(3, text("Player"))]))]);
    let judged = |name, all: &[(&'static str, &str)]| {
        let token = token([(315, claim(name))]);
        let all = [all, &[("cta-common-access-token", &*token)]].concat();
        judge(rules(), &request(URL, &all)).is_ok()
    };
    assert!(judged("User-Agent", &[("user-agent", "MyPlayer/1")]));
    assert!(judged("USER-AGENT", &[("user-agent", "Player")]));
    assert!(!judged("User-Agent", &[("user-agent", "player")]));
    assert!(!judged("User-Agent", &[]));
    assert!(!judged(
        "User-Agent",
        &[("user-agent", "Player"), ("user-agent", "Player")]
    ));
    assert!(!judged("User Agent", &[("user-agent", "Player")]));
    assert!(!allowed([(315, list([]))]));
    assert!(!allowed([(315, map([(0, map([(0, text("User-Agent"))]))]))]));
}

#[test]
fn catnip_is_addresses_and_prefixes_and_nobody_is_in_a_number() {
    let v4 = |inner| Item::Tag(52, Box::new(inner));
    let v6 = |inner| Item::Tag(54, Box::new(inner));
    let prefix = |length, bytes: &'static [u8]| list([Item::Int(length), Item::Bytes(bytes)]);
    let ours = || v4(Item::Bytes(&[203, 0, 113, 7]));
    let open = [
        list([ours()]),
        list([Item::Int(64_496), ours()]),
        list([v4(prefix(0, &[]))]),
        list([v4(prefix(24, &[203, 0, 113]))]),
        list([v4(prefix(24, &[203, 0, 113, 0]))]),
        list([v4(prefix(32, &[203, 0, 113, 7]))]),
        // ::ffff:203.0.113.0/120
        list([v6(prefix(
            120,
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 203, 0, 113],
        ))]),
    ];
    for claim in open {
        assert!(allowed([(311, claim.clone())]), "{claim}");
    }
    let shut = [
        list([]),
        list([Item::Int(64_496)]),
        list([Item::Int(-1), ours()]),
        list([v4(Item::Bytes(&[203, 0, 113]))]),
        list([v4(Item::Bytes(&[203, 0, 113, 7, 0]))]),
        list([v4(prefix(24, &[203, 0, 113, 7]))]),
        list([v4(prefix(33, &[203, 0, 113, 7]))]),
        list([v4(prefix(-1, &[203]))]),
        list([v4(prefix(8, &[203, 0, 113, 0, 0]))]),
        list([v4(list([Item::Bytes(&[203, 0, 113, 7]), Item::Int(24)]))]),
        list([v6(Item::Bytes(&[203, 0, 113, 7]))]),
        list([v6(prefix(0, &[]))]),
        list([v6(prefix(32, &[0x20, 0x01, 0x0d, 0xb8]))]),
        list([Item::Tag(53, Box::new(Item::Bytes(&[203, 0, 113, 7])))]),
        list([Item::Bytes(&[203, 0, 113, 7])]),
        list([text("203.0.113.7")]),
        text("203.0.113.7"),
    ];
    for claim in shut {
        assert!(!allowed([(311, claim.clone())]), "{claim}");
    }
    assert!(!allowed([(311, Item::List(vec![ours(); 65]))]));
}

#[test]
fn catm_names_methods_and_others_open_nothing() {
    let judged = |method: &str, claims: Option<Item<'static>>| {
        let token = token(claims.map(|item| (313, item)));
        let head = headers(&[("cta-common-access-token", &token)]);
        let request = Request::new(method, URL, head, IpAddr::from([203, 0, 113, 7]), now());
        judge(rules(), &request).is_ok()
    };
    assert!(judged("GET", None) && judged("HEAD", None) && !judged("PUT", None));
    assert!(judged("PUT", Some(list([text("PUT")]))) && !judged("GET", Some(list([text("PUT")]))));
    assert!(judged("HEAD", Some(list([text("GET"), text("OPTIONS")]))));
    for wrong in [list([]), list([text("get")]), text("GET"), list([Item::Int(0)])] {
        assert!(!judged("GET", Some(wrong)));
    }
}

#[test]
fn catreplay_needs_an_id_and_gives_it_up_to_the_store() {
    let judged = |replay, id: Option<&'static [u8]>| {
        let id = id.map(|id| (7, Item::Bytes(id)));
        judge(rules(), &with(&token([(308, replay)].into_iter().chain(id))))
    };
    for replay in [1, 2] {
        let claims = judged(Item::Int(replay), Some(&[0xab, 1])).unwrap();
        assert_eq!((claims.uses, claims.id.as_deref()), (Uses::Strict, Some("ab01")));
        assert!(judged(Item::Int(replay), None).is_err());
    }
    assert_eq!(judged(Item::Int(0), None).unwrap().uses, Uses::UntilExpiry);
    for wrong in [Item::Int(3), Item::Int(-1), text("1"), Item::Simple(21)] {
        assert!(judged(wrong, Some(&[1])).is_err());
    }
    assert!(judged(Item::Int(1), Some(&[])).is_err());
    assert!(!allowed([(7, text("id"))]));
}

#[test]
fn versions_issuers_and_subjects_have_their_types() {
    assert!(allowed([(310, Item::Int(1)), (2, text("me"))]));
    for wrong in [Item::Int(0), Item::Int(2), text("1"), Item::Float(1.0)] {
        assert!(!allowed([(310, wrong)]));
    }
    assert!(!allowed([(2, Item::Int(1))]) && !allowed([(1, Item::Bytes(ISSUER.as_bytes()))]));
    let claims = judge(rules(), &with(&token([(2, text("me")), (6, Item::Int(5))]))).unwrap();
    assert_eq!(claims.subject.as_deref(), Some("me"));
    assert_eq!(claims.issuer.as_deref(), Some(ISSUER));
    assert_eq!(claims.issued, Some(UnixTime::from_secs(5)));
    assert_eq!(claims.key.as_deref(), Some("one"));
}
