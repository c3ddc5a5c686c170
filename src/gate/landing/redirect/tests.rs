use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/vectors/redirects.json")).unwrap()
}

fn site(vectors: &Value) -> Site {
    let (scheme, authority) = vectors["base"].as_str().unwrap().split_once("://").unwrap();
    let allowed = vectors["allowed"].as_array().unwrap().iter();
    Site::new(
        &PublicBase {
            scheme: scheme.into(),
            authority: authority.into(),
        },
        allowed.map(|origin| origin.as_str().unwrap().into()).collect(),
    )
    .unwrap()
}

/// A browser that follows `location` comes out at our origin or a listed one, and the text has one shape.
fn check(site: &Site, redirect: &str, location: &str) {
    let url = site.base.join(location).unwrap();
    let origin = url.origin().ascii_serialization();
    let listed = site.allowed.iter().any(|allowed| **allowed == *origin);
    assert!(origin == site.origin() || listed, "{redirect:?} → {location:?}");
    assert!(
        location.bytes().all(|byte| byte.is_ascii_graphic()),
        "{redirect:?} → {location:?}"
    );
    let path = location.strip_prefix(&origin).unwrap_or(location);
    assert!(
        path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'),
        "{redirect:?} → {location:?}"
    );
    assert_eq!(listed, path.len() < location.len(), "{redirect:?} → {location:?}");
    // What was written is read as itself.
    assert_eq!(
        site.destination(location).unwrap().location(),
        location,
        "{redirect:?}"
    );
}

#[test]
fn p41_every_redirect_of_the_table_leads_where_it_says_or_nowhere() {
    let vectors = vectors();
    let site = site(&vectors);
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let redirect = case["redirect"].as_str().unwrap();
        // The query parameter `t` of the landing's own paths is taken off a step later.
        let is_login = redirect.contains("login?");
        let found = site
            .destination(redirect)
            .map(|destination| destination.location());
        match case["location"].as_str() {
            Some(location) if !is_login => assert_eq!(found.as_deref(), Ok(location), "{redirect:?}"),
            Some(_) => assert!(found.is_ok(), "{redirect:?}"),
            None => assert!(found.is_err(), "{redirect:?} → {found:?}"),
        }
        if let Ok(location) = found {
            check(&site, redirect, &location);
        }
    }
}

#[test]
fn the_length_is_bounded() {
    let site = site(&vectors());
    let fits = format!("/{}", "a".repeat(MAX_REDIRECT_BYTES - 1));
    assert!(site.destination(&fits).is_ok());
    assert_eq!(site.destination(&format!("{fits}a")), Err(BadRedirect::TooLong));
}

#[test]
fn parameters_are_taken_out_of_the_query_alone() {
    let site = site(&vectors());
    for (text, kept) in [
        ("/login?t=1&a=t&t=2&b#t=3", "/login?a=t&b#t=3"),
        ("/login?t", "/login"),
        ("/t?a", "/t?a"),
        ("/t", "/t"),
    ] {
        let destination = site
            .destination(text)
            .unwrap()
            .without(|name| name == "t")
            .unwrap();
        assert_eq!(destination.location(), kept, "{text}");
    }
}

#[test]
fn a_base_over_http_reads_the_same_traps() {
    let base = PublicBase {
        scheme: "http".into(),
        authority: "127.0.0.1:8080".into(),
    };
    let site = Site::new(&base, Box::default()).unwrap();
    assert_eq!(
        site.destination("http://127.0.0.1:8080/a").unwrap().location(),
        "/a"
    );
    for text in [
        "http:evil.example",
        "https:evil.example",
        "http://127.0.0.1/a",
        "http://127.1:80/",
        "//127.0.0.1:8080/a",
    ] {
        assert!(site.destination(text).is_err(), "{text}");
    }
}

/// Pieces that parsers trip over, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("\\"),
        Just("//"),
        Just("."),
        Just(".."),
        Just(":"),
        Just("@"),
        Just("?"),
        Just("#"),
        Just("%2f"),
        Just("%5c"),
        Just("%2e"),
        Just("%00"),
        Just("%0d%0a"),
        Just("%"),
        Just("%25"),
        Just("\t"),
        Just("\r\n"),
        Just(" "),
        Just("https:"),
        Just("http:"),
        Just("javascript:"),
        Just("https://media.example.com"),
        Just("https://app.example.com"),
        Just("media.example.com"),
        Just("evil.example"),
        Just("[::1]"),
        Just(":443"),
        Just("a"),
        Just("\u{ff0f}"),
        Just("\u{3002}"),
        Just("\u{2028}"),
        Just(";"),
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn p41_no_text_leads_off_the_site(text in prop_oneof![any::<String>(), pieces(), "\\PC{0,40}", "[/\\\\:.@a-z%0-9?#\t\r\n ]{0,24}"]) {
        let site = site(&vectors());
        if let Ok(destination) = site.destination(&text) {
            check(&site, &text, &destination.location());
        }
    }
}
