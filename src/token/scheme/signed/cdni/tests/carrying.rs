//! Where tokens stand, what is left without them, and the one spelling of what is left.

use std::borrow::Cow;

use super::*;
use crate::token::carrier::LocateError;
use crate::token::scheme::signed::cdni::carry::take;

type Left<'r> = Result<Option<(Place, String, String, Option<String>, Option<String>)>, LocateError>;

fn left(path: &str, query: Option<&str>, cookie: Option<&str>) -> Left<'static> {
    let mut headers = HeaderMap::new();
    if let Some(cookie) = cookie {
        headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
    }
    let head = Head {
        path,
        query,
        headers: &headers,
    };
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    take(head, "N", "C").map(|taken| {
        taken.map(|taken| {
            let token = taken.parts.first().unwrap().clone().into_owned();
            (
                taken.place,
                token,
                taken.path.into_owned(),
                owned(taken.query),
                owned(taken.prefix),
            )
        })
    })
}

#[test]
fn tokens_are_taken_out_of_queries_as_the_rfc_says() {
    for (query, rest) in [
        ("N=a.b.c", None),
        ("N=a.b.c&x=1&y=2", Some("x=1&y=2")),
        ("x=1&N=a.b.c&y=2", Some("x=1&y=2")),
        ("x=1&N=a.b.c", Some("x=1")),
        ("x=%2f&&N=a.b.c", Some("x=%2f&")),
        // A sub-delimiter that ends it goes with it, whatever stands there.
        ("N=a.b.c&", Some("")),
        ("N=a.b.c;x=1", Some("x=1")),
        ("x=1&N=a.b.c,y=2&z=3", Some("x=1&y=2&z=3")),
        ("x=1&N=a.b.c!", Some("x=1&")),
        ("%4E=a.b.c&x=1", Some("x=1")),
    ] {
        let (place, token, path, left, prefix) = left("/p", Some(query), None).unwrap().unwrap();
        assert_eq!(
            (place, &*token, &*path, prefix),
            (Place::Url, "a.b.c", "/p", None),
            "{query}"
        );
        assert_eq!(left.as_deref(), rest, "{query}");
    }
}

#[test]
fn tokens_are_taken_out_of_paths_as_the_rfc_says() {
    for (path, rest, prefix) in [
        ("/a/b/N=t", "/a/b", None),
        ("/a/N=t/b", "/a/b", None),
        ("/N=t/a/b", "/a/b", Some("N=t")),
        ("/N=t", "/", Some("N=t")),
        ("/N=t/", "/", Some("N=t")),
        ("/a/b;N=t", "/a/b", None),
        ("/a/b;N=t/c", "/a/b/c", None),
        ("/a/b;N=t;x=1", "/a/b;x=1", None),
        ("/a/b;x=1;N=t;y=2/c", "/a/b;x=1;y=2/c", None),
        ("/N=t,a", "/a", None),
    ] {
        let found = left(path, Some("q=1"), None).unwrap().unwrap();
        let wanted = (
            Place::Url,
            "t".to_owned(),
            rest.to_owned(),
            Some("q=1".to_owned()),
            prefix.map(str::to_owned),
        );
        assert_eq!(found, wanted, "{path}");
    }
}

#[test]
fn what_only_looks_like_a_token_is_none() {
    for (path, query) in [
        ("/a/N", None),
        ("/a/xN=t", None),
        ("/a/n=t", None),
        ("/a/x,N=t", None),
        ("/a", Some("xN=t")),
        ("/a", Some("n=t")),
        ("/a", Some("x=N=t")),
        ("/a", Some("")),
    ] {
        assert_eq!(left(path, query, Some("c=t; XC=t")), Ok(None), "{path} {query:?}");
    }
}

#[test]
fn tokens_that_are_not_one_are_refused() {
    for (path, query) in [
        ("/a", Some("N=t&N=t")),
        ("/a", Some("N=t&%4e=t")),
        ("/a/N=t", Some("N=t")),
        ("/a/N=t/N=t", None),
        ("/a;N=t;N=t", None),
        // Put together again, another one appears.
        ("/a", Some("N=t;N=u")),
        ("/a;N=t,N=u", None),
    ] {
        assert_eq!(
            left(path, query, None),
            Err(LocateError::Ambiguous),
            "{path} {query:?}"
        );
    }
    let long = "t".repeat(8 * 1024 + 1);
    for (path, query) in [
        ("/a", Some("N=")),
        ("/a", Some("N")),
        ("/a", Some("N=&x=1")),
        ("/a", Some("N=t%2e")),
        ("/a", Some("N=t=")),
        ("/a", Some("N=t/b")),
        ("/a", Some("N=t b")),
        ("/a/N=", None),
        ("/a/N=/b", None),
        ("/a/N=t=/b", None),
        ("/a/N=t:b", None),
        ("/a/N=t%2Fb", None),
        ("/a", Some(&*format!("N={long}"))),
    ] {
        assert_eq!(
            left(path, query, None),
            Err(LocateError::Malformed),
            "{path} {query:?}"
        );
    }
}

#[test]
fn a_token_in_the_url_counts_before_cookies_and_every_cookie_is_tried() {
    let found = left("/a", Some("N=t"), Some("C=c")).unwrap().unwrap();
    assert_eq!((found.0, &*found.1), (Place::Url, "t"));
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_static("C=; C=a b; C=1; C=2; C=3"));
    let head = Head {
        path: "/a",
        query: None,
        headers: &headers,
    };
    let taken = take(head, "N", "C").unwrap().unwrap();
    assert_eq!((taken.place, &*taken.parts[0]), (Place::Cookie, "1"));
    assert_eq!(
        taken.alternatives.len(),
        1,
        "four are looked at, two of them are no tokens"
    );
    assert_eq!(left("/a", None, Some("C=a b")), Err(LocateError::Malformed));
}

#[test]
fn uris_have_one_spelling() {
    let of = |scheme: &str, authority: &str, path: &str, query| {
        let public = PublicBase {
            scheme: scheme.into(),
            authority: authority.into(),
        };
        uri::normalized(&public, path, query)
    };
    for (scheme, authority, path, query, wanted) in [
        ("HTTPS", "A.Example:443", "/", None, "https://a.example/"),
        ("http", "a:80", "", Some("x"), "http://a/?x"),
        ("http", "a:443", "/b", None, "http://a:443/b"),
        ("http", "a:", "/b", None, "http://a/b"),
        (
            "https",
            "[2001:DB8::1]:443",
            "/b",
            None,
            "https://[2001:db8::1]/b",
        ),
        ("https", "[::1]", "/b", None, "https://[::1]/b"),
        ("https", "[::443]", "/b", None, "https://[::443]/b"),
        ("http", "a", "/%7e%41%2d%2f%c3%a9", None, "http://a/~A-%2F%C3%A9"),
        (
            "http",
            "a",
            "/;%3b@%40",
            Some("%3d=%zz%"),
            "http://a/;%3B@%40?%3D=%zz%",
        ),
        ("http", "a", "/é |\"", None, "http://a/%C3%A9%20%7C%22"),
        // Once: what is decoded is not decoded again.
        ("http", "a", "/%2541", None, "http://a/%2541"),
        ("http", "a", "/b", Some(""), "http://a/b?"),
    ] {
        assert_eq!(of(scheme, authority, path, query), wanted);
    }
}

#[test]
fn dot_segments_are_resolved_as_in_rfc_3986() {
    for (path, wanted) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/a/%2E%2e/b", "/b"),
        ("/a/.%2E", "/"),
        ("/a/b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/a/...", "/a/..."),
        ("/a/%2f..", "/a/%2f.."),
        ("/a//../b", "/a/b"),
        ("/a/..;x", "/a/..;x"),
    ] {
        assert_eq!(uri::resolve_dots(Cow::Borrowed(path)), wanted, "{path}");
    }
}

#[test]
fn names_are_what_no_uri_and_no_cookie_encodes() {
    for name in ["URISigningPackage", "usp", "a-b_c.d~1"] {
        assert_eq!(Name::parse(name).unwrap().as_str(), name);
    }
    for name in ["", "a b", "a=b", "a%41", "a/b", "é", "a;", &"a".repeat(65)] {
        assert_eq!(Name::parse(name), None, "{name}");
    }
    assert_eq!(Cdni::new(plain()).markers(), &["URISigningPackage=".into()]);
    assert_eq!(Cdni::new(plain()).cookies(), &["URISigningPackage".into()]);
}
