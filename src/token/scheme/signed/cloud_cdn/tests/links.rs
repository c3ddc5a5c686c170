//! Links and cookies that are minted and used: what is signed can't be changed, and what can't be said is not signed.

use super::*;

#[test]
fn the_whole_url_is_signed_as_the_public_writes_it() {
    let url = Link::to("/a%20b/%C3%A4?x=%2F&y").url();
    assert!(url.starts_with("/a%20b/%C3%A4?x=%2F&y&Expires=1767229200&KeyName=my-key&Signature="));
    assert_eq!(judge(&url).unwrap().1.as_str(), "/a%20b/%C3%A4?x=%2F&y");
    for (from, to) in [
        ("%20", " "),
        ("%2F", "/"),
        ("x=", "%78="),
        ("&y", "&&y"),
        ("&y", "&y="),
        ("Expires=", "E%78pires="),
        ("my-key", "my%2Dkey"),
        ("1767229200", "01767229200"),
        (
            "Expires=1767229200&KeyName=my-key",
            "KeyName=my-key&Expires=1767229200",
        ),
        ("&Signature", "&&Signature"),
        ("Signature=", "Signature=&Signature="),
    ] {
        let changed = url.replacen(from, to, 1);
        assert_ne!(changed, url);
        assert!(judge(&changed).is_err(), "{changed}");
    }
    assert!(judge(&format!("{url}&")).is_err());
    assert!(judge(&format!("{url}&z=1")).is_err());
    let nowhere = Request {
        public: PublicBase {
            authority: "media.example.com:8443".into(),
            ..public()
        },
        ..request(&url, &[])
    };
    assert!(nowhere.judge(&CloudCdn::new(rules()), Duration::ZERO).is_err());
}

#[test]
fn cookies_of_one_name_are_tried_and_have_one_form() {
    let good = Link::below("/a/1.mp4", "/a/").cookie();
    let other = Link::below("/b/1.mp4", "/b/").cookie();
    assert!(judge_cookies("/a/1.mp4?Expires=5", &[&good]).unwrap().1.query() == Some("Expires=5"));
    assert!(judge_cookies("/a/1.mp4", &[&other, "rubbish", &good]).is_ok());
    assert!(judge_cookies("/a/1.mp4", &[&format!("\"{good}\"")]).is_ok());
    assert!(judge_cookies("/a/1.mp4", &[&other]).is_err());
    assert!(judge_cookies("/a/1.mp4", &[&other, &other, &other, &other, &good]).is_err());
    assert!(
        judge_cookies("/a/1.mp4?Signature=", &[&good]).is_err(),
        "signed, and not well"
    );
    for (from, to) in [
        (":KeyName", ":x=1:KeyName"),
        (":", "%3A"),
        (":", "&"),
        ("URLPrefix", "urlprefix"),
        (":Signature", ":Signature=:Signature"),
        (":Expires=1767229200", ""),
        (
            "Expires=1767229200:KeyName=my-key",
            "KeyName=my-key:Expires=1767229200",
        ),
        ("1767229200", "17672292000"),
        ("my-key", "your-key"),
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        assert!(judge_cookies("/a/1.mp4", &[&changed]).is_err(), "{changed}");
    }
    let scheme = CloudCdn::new(rules());
    assert_eq!(*scheme.cookies(), [Box::from(COOKIE_NAME)]);
    let blind = CloudCdn::new(Rules {
        cookie: None,
        ..rules()
    });
    assert!(blind.cookies().is_empty());
    assert!(
        request("/a/1.mp4", &[&good])
            .judge(&blind, Duration::ZERO)
            .is_err()
    );
    let mut link = Link::below("/a/1.mp4", "/a/");
    link.place = Place::Cookie;
    assert!(blind.sign(&link.wish()).is_err());
}

#[test]
fn what_a_link_can_not_say_is_not_signed() {
    let scheme = CloudCdn::new(rules());
    let link = Link::to("/a/b.mp4");
    let refused = |change: &dyn Fn(&mut Wish<'_>)| {
        let mut wish = link.wish();
        change(&mut wish);
        scheme.sign(&wish).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|wish| wish.public = None));
    assert!(refused(&|wish| wish.method = &Method::PUT));
    assert!(refused(&|wish| wish.place = Place::Header));
    assert!(refused(&|wish| wish.place = Place::Cookie), "it would open more");
    assert!(refused(
        &|wish| wish.address = Some("203.0.113.7/32".parse().unwrap())
    ));
    assert!(refused(&|wish| wish.subject = Some("me")));
    assert!(refused(&|wish| wish.id = Some("1")));
    assert!(refused(&|wish| wish.not_before = Some(wish.now)));
    assert!(refused(&|wish| wish.expires = UnixTime::from_secs(-1)));
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
        assert!(scheme.sign(&link.wish()).is_err());
    }
    for url in [
        "/a?Signature=1",
        "/a?x=1&Expires=2",
        "/a?KeyName",
        "/a?URLPrefi%78=1",
    ] {
        assert!(scheme.sign(&Link::to(url).wish()).is_err(), "{url}");
    }
    let over = CloudCdn::new(Rules {
        keys: keys(&[("over", KEY, Some(NOW))]),
        ..rules()
    });
    assert!(over.sign(&link.wish()).is_err());
}

proptest! {
    #[test]
    fn what_is_minted_is_verified_and_what_is_signed_can_not_be_changed(
        folder in "[a-zA-Z0-9 ä%_+&=:,-]{1,8}",
        file in "[a-zA-Z0-9 ä%_+&=:,-]{1,8}",
        query in "([a-z]{1,3}=[a-zA-Z0-9%/:+]{0,4}&){0,3}",
        place in 0usize..3,
        later in 1i64..1000,
    ) {
        let Ok(plain) = Target::from_decoded(&format!("/{folder}/{file}")) else { return Ok(()); };
        let target = plain.with_query(Some(query.trim_end_matches('&'))).unwrap();
        let path = target.encoded_path().to_owned();
        let opens = (place != 0).then(|| Opens::Prefix(format!("/{folder}/").into()));
        let link = Link { target: target.clone(), opens, ..Link::to("/") };
        if place == 2 {
            let cookie = link.cookie();
            prop_assert_eq!(judge_cookies(target.as_str(), &[&cookie]).unwrap().1, target);
            prop_assert!(judge_cookies("/elsewhere/", &[&cookie]).is_err());
            let longer = cookie.replace(&format!("={EXPIRY}"), &format!("={}", EXPIRY + later));
            prop_assert!(judge_cookies(&path, &[&longer]).is_err());
        } else {
            let url = link.url();
            prop_assert_eq!(&judge(&url).unwrap().1, &target);
            let longer = url.replace(&format!("={EXPIRY}"), &format!("={}", EXPIRY + later));
            prop_assert!(judge(&longer).is_err());
            let sibling = url.replacen(&path, &format!("{path}!"), 1);
            prop_assert_eq!(judge(&sibling).is_ok(), place == 1);
            let cousin = url.replacen(&path, &format!("/elsewhere{path}"), 1);
            prop_assert!(judge(&cousin).is_err());
            let more = url.replacen('?', "?x=1&", 1);
            prop_assert_eq!(judge(&more).is_ok(), place == 1);
        }
    }

    #[test]
    fn nothing_that_a_client_sends_panics(
        query in "(URLPrefix=[a-z=%]{0,6}|Expires=[0-9]{0,20}|KeyName=(my-key)?|Signature=[a-zA-Z_=-]{0,30}|&){0,6}",
        cookie in "[a-zA-Z=:]{0,30}",
    ) {
        let _ = judge(&format!("/a?{query}"));
        let _ = judge_cookies("/a", &[&cookie]);
    }
}
