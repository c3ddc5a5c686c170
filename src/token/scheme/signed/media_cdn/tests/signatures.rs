//! Signatures in the path, the query and the cookie.

use super::*;

#[test]
fn a_signature_in_the_path_is_taken_out_wherever_it_stands() {
    let scheme = MediaCdn::new(private());
    let policy = "edge-cache-token=Expires=1767229200&KeyName=media-key";
    let component = |folder: &str| {
        let signature = signature(&scheme, &format!("{PUBLIC}{folder}{policy}"));
        format!("{policy}&Signature={}", signature.trim_end_matches('='))
    };
    let below = component("/v/");
    for (url, path, query) in [
        (format!("/v/{below}/a/b.ts?x=1"), "/v/a/b.ts", Some("x=1")),
        (format!("/v/{below}/"), "/v/", None),
        (format!("/v/{below}"), "/v/", None),
        (
            format!("/v/{below}/a").replace("&", "%26").replace("=", "%3D"),
            "/v/a",
            None,
        ),
    ] {
        let request = get(&url, HeaderMap::new(), NOW);
        let (_, target) = request.judge(&scheme, Duration::ZERO).unwrap();
        assert_eq!((target.path(), target.query()), (path, query), "{url}");
        let taken = scheme.take(head(&request)).unwrap().unwrap();
        assert_eq!((taken.prefix, taken.place), (None, Place::Url));
    }
    let first = component("/");
    let url = format!("/{first}/v/a");
    let request = get(&url, HeaderMap::new(), NOW);
    let taken = scheme.take(head(&request)).unwrap().unwrap();
    assert_eq!((taken.prefix.as_deref(), &*taken.path), (Some(&*first), "/v/a"));
    assert!(allows(&scheme, &url));
    assert_eq!(scheme.markers(), [MARKER.into()]);
    for url in [
        format!("/w/{below}/a"),
        format!("/v/x/{below}/a"),
        format!("/v/{below}/../a"),
        format!("/v/{first}/a"),
    ] {
        assert!(!allows(&scheme, &url), "{url}");
    }
    for url in [
        format!("/{first}/v/{below}/a"),
        format!("/v/{below}/a?hdnts=x"),
        format!("/v/{below}/a?KeyName=x&Expires=1&Signature=x"),
        "/v/edge-cache-token=/a".into(),
        "/v/edge-cache-token=%ff/a".into(),
    ] {
        assert!(
            scheme.take(head(&get(&url, HeaderMap::new(), NOW))).is_err(),
            "{url}"
        );
    }
}

#[test]
fn a_signature_over_a_whole_url_is_its_end() {
    let scheme = MediaCdn::new(private());
    let policy = "Expires=1767229200&KeyName=media-key";
    let signed = |start: &str| signature(&scheme, &format!("{PUBLIC}{start}{policy}"));
    let (bare, more) = (signed("/a?"), signed("/a?x=1&"));
    for (url, allowed) in [
        (format!("/a?{policy}&Signature={bare}"), true),
        (
            format!("/a?{policy}&Signature={}", bare.replace('=', "%3D")),
            true,
        ),
        (
            format!("/a?{policy}&Signature={}", bare.trim_end_matches('=')),
            true,
        ),
        (format!("/a?x=1&{policy}&Signature={more}"), true),
        (format!("/a?{policy}&Signature={bare}&x=1"), false),
        (format!("/a?x=1&{policy}&Signature={bare}"), false),
        (format!("/a?{policy}&Signature={more}"), false),
        (format!("/%61?{policy}&Signature={bare}"), false),
        (
            format!("/a?KeyName=media-key&Expires=1767229200&Signature={bare}"),
            false,
        ),
        (format!("/a?Signature={bare}&{policy}"), false),
        (format!("/a?{policy}&%53ignature={bare}"), false),
        (format!("/a?{policy}&Signature={bare}&Signature={bare}"), false),
        (format!("/a?{policy}&Signature="), false),
        (format!("/a?{policy}&URLPrefix=&Signature={bare}"), false),
        (format!("/a?KeyName=media-key&Signature={bare}"), false),
    ] {
        assert_eq!(allows(&scheme, &url), allowed, "{url}");
    }
    let twice = "Expires=1767229200&xExpires=1767229200&KeyName=media-key";
    let signed = signature(&scheme, &format!("{PUBLIC}/a?{twice}"));
    assert!(!allows(&scheme, &format!("/a?{twice}&Signature={signed}")));
    // Alone, parameters of these common names are somebody else's.
    for url in ["/a?Expires=1", "/a?Signature=1", "/a?KeyName=1&URLPrefix=x"] {
        assert!(
            scheme
                .take(head(&get(url, HeaderMap::new(), NOW)))
                .unwrap()
                .is_none(),
            "{url}"
        );
    }
}

#[test]
fn a_signed_prefix_stands_anywhere_in_the_query_and_in_its_cookie() {
    let scheme = MediaCdn::new(private());
    let prefix = BASE64.encode(format!("{PUBLIC}/v/"));
    let signature = |joint: &str| {
        let names = format!("URLPrefix={prefix}{joint}Expires=1767229200{joint}KeyName=media-key");
        signature(&scheme, &names)
    };
    let query = signature("&");
    for (url, allowed) in [
        (
            format!("/v/a?URLPrefix={prefix}&Expires=1767229200&KeyName=media-key&Signature={query}"),
            true,
        ),
        (
            format!("/v/a?x=1&Signature={query}&KeyName=media-key&y&Expires=1767229200&URLPrefix={prefix}"),
            true,
        ),
        (
            format!("/w/a?URLPrefix={prefix}&Expires=1767229200&KeyName=media-key&Signature={query}"),
            false,
        ),
        (
            format!("/v/a?URLPrefix={prefix}&Expires=1767229201&KeyName=media-key&Signature={query}"),
            false,
        ),
        (
            format!("/v/a?URLPrefix={prefix}&Expires=1767229200&KeyName=other&Signature={query}"),
            false,
        ),
    ] {
        assert_eq!(allows(&scheme, &url), allowed, "{url}");
    }
    let fields = format!("URLPrefix={prefix}:Expires=1767229200:KeyName=media-key");
    let in_cookie = signature(":");
    for (text, allowed) in [
        (format!("{fields}:Signature={in_cookie}"), true),
        (format!("{fields}:Signature={query}"), false),
        (format!("{fields}:Signature={in_cookie}:x=1"), false),
        (
            format!("Expires=1767229200&KeyName=media-key&Signature={in_cookie}"),
            false,
        ),
        (
            format!("Expires=1767229200:KeyName=media-key:Signature={in_cookie}"),
            false,
        ),
    ] {
        let cookies = cookie(&format!("a=b; Edge-Cache-Cookie={text}"));
        assert_eq!(judge(&scheme, "/v/a", cookies, NOW).is_ok(), allowed, "{text}");
    }
}

#[test]
fn signatures_are_looked_for_only_where_the_rules_say_so_and_only_of_public_keys() {
    let policy = "Expires=1767229200&KeyName=media-key";
    let text = signature(&MediaCdn::new(private()), &format!("{PUBLIC}/a?{policy}"));
    let url = format!("/a?{policy}&Signature={text}");
    let ignoring = MediaCdn::new(Rules {
        signatures: Signatures::Ignored,
        ..private()
    });
    let request = get(&url, cookie("Edge-Cache-Cookie=x"), NOW);
    assert!(ignoring.take(head(&request)).unwrap().is_none());
    assert!(ignoring.markers().is_empty() && !ignoring.cookies().contains(&"Edge-Cache-Cookie".into()));
    // A shared key of that name is no such key; a public one beside it is found.
    let hmac = || ("media-key", Key::sha256(&secret(SHARED)).unwrap());
    assert!(!allows(&MediaCdn::new(rules(vec![hmac()])), &url));
    let both = rules(vec![hmac(), ("media-key", Key::private(&secret(SEED)).unwrap())]);
    assert!(allows(&MediaCdn::new(both), &url));
}

#[test]
fn a_signature_is_told_without_itself() {
    let scheme = MediaCdn::new(private());
    for (url, cookies) in [
        ("/a?URLPrefix=x&Expires=1&KeyName=k&Signature=s", ""),
        (
            "/a",
            "Edge-Cache-Cookie=URLPrefix=x:Expires=1:KeyName=k:Signature=s",
        ),
    ] {
        let request = get(url, cookie(cookies), NOW);
        let told = scheme.tell(&scheme.take(head(&request)).unwrap().unwrap());
        let told: Vec<_> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(told, [("URLPrefix", "x"), ("Expires", "1"), ("KeyName", "k")]);
    }
    let request = get(
        "/edge-cache-token=Expires=1&KeyName=k&Signature=s/a",
        HeaderMap::new(),
        NOW,
    );
    assert_eq!(
        scheme.tell(&scheme.take(head(&request)).unwrap().unwrap()).len(),
        2
    );
}
