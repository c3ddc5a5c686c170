//! The exchange of short tokens for long ones.

use super::*;
use crate::token::scheme::signed::exchange::Session;

pub(super) fn with_session(rules: Rules) -> MediaCdn {
    let keys = NamedKeys::new([("long".into(), Secret::new(vec![0x22; 32]), None)]);
    let session = Session {
        ttl: Duration::from_secs(7200),
        ..Session::new(keys)
    };
    MediaCdn::new(Rules {
        session: Some(session),
        ..rules
    })
}

/// Name and value, and the attributes, of the cookie that is handed back.
fn renewed(claims: &Claims) -> Option<(&str, &str)> {
    let value = &claims.renewal.as_ref()?.value;
    value.to_str().unwrap().split_once("; ")
}

#[test]
fn a_short_token_is_exchanged_for_a_long_one_that_says_the_same() {
    for rules in [shared(), private()] {
        let scheme = with_session(rules);
        let ranges = BASE64.encode("203.0.113.0/24");
        let (before, after) = (
            "PathGlobs=/v/a b/*,/v/c/*~Starts=1767225600~Expires=1767225610~SessionID=s 1~Data=d;1",
            format!("IPRanges={}", ranges.trim_end_matches('=')),
        );
        let token = seal(
            &scheme,
            &format!("{before}~Headers=X-App~{after}"),
            &format!("{before}~Headers=X-App=tv~{after}"),
        );
        let app = || headers(&[("x-app", "tv")]);
        let url = format!("/v/c/x.m3u8?hdnts={}", fields::riding(&token));
        let short = judge(&scheme, &url, app(), NOW).unwrap();
        assert_eq!(
            (short.id.as_deref(), short.subject.as_deref()),
            (Some("s 1"), Some("d;1"))
        );
        let (pair, attributes) = renewed(&short).unwrap();
        assert_eq!(
            attributes,
            "Path=/v/; Max-Age=7200; Secure; HttpOnly; SameSite=Lax"
        );
        let said = format!(
            "hdntl=PathGlobs=/v/a%20b/*,/v/c/*~Expires=1767232800~SessionID=s%201~Data=hdntl,d%3B1~Headers=X-App~{after}~hmac="
        );
        assert!(pair.starts_with(&said), "{pair}");

        let later = NOW + 7199;
        let with = |mut headers: HeaderMap| {
            headers.extend(cookie(pair));
            headers
        };
        let long = judge(&scheme, "/v/a%20b/1.ts", with(app()), later).unwrap();
        assert_eq!(
            (long.id.as_deref(), long.subject.as_deref()),
            (Some("s 1"), Some("d;1"))
        );
        assert_eq!(long.key.as_deref(), Some("long"));
        assert_eq!(renewed(&long), None);
        assert!(judge(&scheme, "/v/c/1.ts", with(app()), later + 1).is_err());
        assert!(judge(&scheme, "/w/1.ts", with(app()), later).is_err());
        assert!(judge(&scheme, "/v/c/1.ts", with(HeaderMap::new()), later).is_err());
        assert!(judge(&scheme, "/v/c/1.ts", with(headers(&[("x-app", "web")])), later).is_err());
        let mut elsewhere = get("/v/c/1.ts", with(app()), later);
        elsewhere.client = "198.51.100.9".parse().unwrap();
        assert!(elsewhere.judge(&scheme, Duration::ZERO).is_err());
    }
}

#[test]
fn a_prefix_is_exchanged_and_one_path_is_not() {
    let scheme = with_session(shared());
    let exchanged = |text: &str, signed: &str, leeway: u64| {
        let token = seal(&scheme, text, signed);
        let request = get(&format!("/v/a?hdnts={token}"), HeaderMap::new(), NOW);
        let (claims, _) = request.judge(&scheme, Duration::from_secs(leeway)).unwrap();
        renewed(&claims).map(|(pair, attributes)| (pair.to_owned(), attributes.to_owned()))
    };
    let prefix = format!("URLPrefix={}", BASE64.encode(format!("{PUBLIC}/v/a")));
    let text = format!("{prefix}~Expires=1767229200");
    let (pair, attributes) = exchanged(&text, &text, 0).unwrap();
    assert!(attributes.starts_with("Path=/v/;"), "{attributes}");
    assert!(judge(&scheme, "/v/ab", cookie(&pair), NOW + 7000).is_ok());
    assert!(judge(&scheme, "/v/b", cookie(&pair), NOW).is_err());
    assert_eq!(
        exchanged(
            "FullPath~Expires=1767229200",
            "FullPath=/v/a~Expires=1767229200",
            0
        ),
        None
    );
    for text in [
        "PathGlobs=/*~Expires=1767225600",
        "PathGlobs=/*~Starts=1767225601~Expires=1767229200",
    ] {
        assert_eq!(exchanged(text, text, 60), None, "{text}");
    }
}

#[test]
fn a_long_token_is_accepted_in_its_cookie_alone_and_a_short_one_never_there() {
    // The same secret for both, which no rule forbids.
    let key = Key::sha256(&secret(&BASE64.encode([0x22; 32]))).unwrap();
    let scheme = with_session(rules(vec![("one", key)]));
    let text = "PathGlobs=/*~Expires=1767229200";
    let short = seal(&scheme, text, text);
    let claims = judge(&scheme, &format!("/a?hdnts={short}"), HeaderMap::new(), NOW).unwrap();
    let (_, long) = renewed(&claims).unwrap().0.split_once('=').unwrap();
    assert!(judge(&scheme, "/a", cookie(&format!("hdntl={long}")), NOW).is_ok());
    assert!(judge(&scheme, "/a", cookie(&format!("hdnts={long}")), NOW).is_err());
    assert!(!allows(&scheme, &format!("/a?hdnts={long}")));
    assert!(judge(&scheme, "/a", cookie(&format!("hdntl={short}")), NOW).is_err());
    assert!(judge(&scheme, "/a", cookie(&format!("hdntl=junk; hdnts={short}")), NOW).is_ok());
    for text in [
        "FullPath~Expires=1767229200~Data=hdntl",
        "PathGlobs=/*~Expires=1767229200~Data=hdntlx",
    ] {
        let token = seal(&scheme, text, &text.replace("FullPath", "FullPath=/a"));
        assert!(
            judge(&scheme, "/a", cookie(&format!("hdntl={token}")), NOW).is_err(),
            "{text}"
        );
    }
}
