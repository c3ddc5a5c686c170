//! Links that are minted and used: who signs and who verifies agree, and what is signed can't be changed.

use super::*;

#[test]
fn who_signs_and_who_verifies_agree_on_everything_that_a_link_can_be() {
    let mut count = 0;
    for generation in ALL {
        for (addresses, client) in [
            (Addresses::Unbound, CLIENT),
            (Addresses::Bound, CLIENT),
            (Addresses::Bound, "2001:db8:10::7"),
        ] {
            for spelling in [Spelling::AsSent, Spelling::Decoded] {
                for form in [Form::Path, Form::Query] {
                    for opens in [None, Some(Opens::Prefix("/vidé os/".into()))] {
                        let make = || Rules {
                            addresses,
                            spelling,
                            form,
                            ..rules(&[generation])
                        };
                        let link = Link {
                            address: (addresses == Addresses::Bound)
                                .then(|| client.parse::<IpAddr>().unwrap().into()),
                            opens: opens.clone(),
                            ..Link::to("/vid%C3%A9%20os/1.mp4?q=%C3%A4%3D&flag&e=")
                        };
                        if generation == Generation::Md5 && opens.is_some() {
                            assert!(link.sign(make()).is_err());
                            continue;
                        }
                        let url = link.sign(make()).unwrap();
                        let judged = request_from(&url, client).judge(&Bunny::new(make()), Duration::ZERO);
                        let (claims, target) = judged.unwrap_or_else(|why| panic!("{url}: {why}"));
                        assert_eq!(target.path(), "/vidé os/1.mp4");
                        assert_eq!(target.query(), Some("e=&flag=&q=%C3%A4%3D"));
                        assert_eq!(claims.addresses.is_some(), addresses == Addresses::Bound);
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 60);
}

#[test]
fn an_address_binds_and_what_is_not_bound_is_refused_where_all_are() {
    let bound = || Rules {
        addresses: Addresses::Bound,
        ..rules(&ALL)
    };
    let mut link = Link::to("/a.mp4");
    let unbound = link.sign(rules(&ALL)).unwrap();
    assert!(link.sign(bound()).is_err(), "it names no address");
    link.address = Some("203.0.113.0/24".parse().unwrap());
    assert!(link.sign(bound()).is_err(), "a net can't be said");
    link.address = Some("203.0.113.7/32".parse().unwrap());
    assert!(link.sign(rules(&ALL)).is_err(), "nobody would look at it");
    let url = link.sign(bound()).unwrap();
    let (claims, _) = judge(bound(), &url).unwrap();
    assert_eq!(
        claims.addresses.as_deref(),
        Some(&["203.0.113.7/32".parse().unwrap()][..])
    );
    assert!(judge(rules(&ALL), &url).is_err(), "bound, and nobody looks");
    assert!(judge(bound(), &unbound).is_err(), "not bound, and all are");
    assert!(judge(bound(), &url.replace("HS256-1-", "HS256-")).is_err());
    let elsewhere = request_from(&url, "203.0.113.8").judge(&Bunny::new(bound()), Duration::ZERO);
    assert!(elsewhere.is_err());
    link.address = Some("2001:db8:10::/64".parse().unwrap());
    let url = link.sign(bound()).unwrap();
    let same_net = request_from(&url, "2001:db8:10::54").judge(&Bunny::new(bound()), Duration::ZERO);
    let nets = same_net.unwrap().0.addresses;
    assert_eq!(nets.as_deref(), Some(&["2001:db8:10::/64".parse().unwrap()][..]));
    link.address = Some("2001:db8::/56".parse().unwrap());
    assert!(link.sign(bound()).is_err());
}

#[test]
fn what_a_link_can_not_say_is_not_signed() {
    let link = Link::to("/a/b.mp4");
    let bunny = Bunny::new(rules(&ALL));
    let refused = |change: &dyn Fn(&mut Wish<'_>)| {
        let mut wish = link.wish();
        change(&mut wish);
        bunny.sign(&wish).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|wish| wish.method = &Method::PUT));
    assert!(refused(&|wish| wish.place = Place::Cookie));
    assert!(refused(&|wish| wish.subject = Some("me")));
    assert!(refused(&|wish| wish.id = Some("1")));
    assert!(refused(&|wish| wish.not_before = Some(wish.now)));
    for opens in [
        Opens::parse("/a/*").unwrap(),
        Opens::MediaId("1".into()),
        Opens::Prefix("/c/".into()),
        Opens::Exact("/c".into()),
    ] {
        let link = Link {
            opens: Some(opens),
            ..Link::to("/a/b.mp4")
        };
        assert!(link.sign(rules(&ALL)).is_err());
    }
    for url in [
        "/bcdn_token=1/a",
        "/a?token=1",
        "/a?x=1&expires=2",
        "/a?limit=5",
        "/a?token_path=/",
        "/a?token%5Fpath=/",
        "/a?token_x=1",
        "/a?x=1&x=2",
        "/a?x=1%262",
        "/a?x=1+2",
        "/a?x=%zz",
    ] {
        assert!(Link::to(url).sign(rules(&ALL)).is_err(), "{url}");
    }
    let rules = Rules {
        keys: keys(&[("over", KEY, Some(NOW))]),
        ..rules(&ALL)
    };
    assert!(link.sign(rules).is_err());
}

fn segment() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 ä%._~+&=,-]{1,8}".prop_filter("a dot segment", |text| !matches!(&**text, "." | ".."))
}

proptest! {
    #[test]
    fn what_is_minted_is_verified_and_what_is_signed_can_not_be_changed(
        folder in segment(),
        file in segment(),
        own in proptest::collection::btree_map("[a-z]{1,4}", "[a-zA-Z0-9 ä=/?%~.]{0,6}", 0..4),
        generation in 0usize..3,
        opens in any::<bool>(),
        form in any::<bool>(),
        spelling in any::<bool>(),
        later in 1i64..1000,
    ) {
        let own: std::collections::BTreeMap<_, _> = own.into_iter().filter(|(name, _)| name != "x").collect();
        let make = || Rules {
            form: if form { Form::Path } else { Form::Query },
            spelling: if spelling { Spelling::AsSent } else { Spelling::Decoded },
            ..rules(&[ALL[generation]])
        };
        let Ok(plain) = Target::from_decoded(&format!("/{folder}/{file}")) else { return Ok(()); };
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let query: Vec<String> = own.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let target = plain.with_query(Some(&query.join("&"))).unwrap();
        let opens = (opens && ALL[generation] != Generation::Md5).then(|| Opens::Prefix(format!("/{folder}/").into()));
        let link = Link { target, opens, address: None, expires: EXPIRY };
        let url = link.sign(make()).unwrap();
        let (claims, target) = judge(make(), &url).unwrap();
        prop_assert_eq!(target.path(), link.target.path());
        prop_assert_eq!(claims.expires, Some(UnixTime::from_secs(EXPIRY)));
        prop_assert_eq!(target.query().map_or(0, |query| query.split('&').count()), own.len());

        let signs_parameters = ALL[generation] != Generation::Md5;
        let longer = url.replace(&format!("={EXPIRY}"), &format!("={}", EXPIRY + later));
        prop_assert!(judge(make(), &longer).is_err());
        let more = format!("{url}{}x=1", if url.contains('?') { '&' } else { '?' });
        prop_assert_eq!(judge(make(), &more).is_ok(), !signs_parameters);
        for (name, value) in &own {
            let encoded = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
            let unreserved = encoded.replace("%7E", "~").replace("%2E", ".");
            let changed = url.replace(&format!("&{name}={unreserved}&"), &format!("&{name}={unreserved}1&"));
            prop_assert_ne!(&changed, &url);
            prop_assert_eq!(judge(make(), &changed).is_ok(), !signs_parameters);
        }
        let before = url.find("?").unwrap_or(url.len());
        let sibling = format!("{}!{}", &url[..before], &url[before..]);
        prop_assert_eq!(judge(make(), &sibling).is_ok(), link.opens.is_some());
        let path = link.target.encoded_path();
        let cousin = url.replace(path, &format!("/elsewhere{path}"));
        prop_assert!(judge(make(), &cousin).is_err());
    }

    #[test]
    fn nothing_that_a_client_sends_panics(url in "/(bcdn_token=)?[a-zA-Z0-9%&=/_.+-]{0,40}(\\?[a-z_%&=/0-9]{0,40})?") {
        let _ = judge(rules(&ALL), &url);
    }
}
