use proptest::prelude::*;

use super::*;

fn parse(path: &str) -> Result<String, BadTarget> {
    Target::parse(path, None).map(|target| target.as_str().to_owned())
}

#[test]
fn what_has_two_readings_is_refused() {
    for path in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/.%2e/b",
        "/a/%2E./b",
        "/./a",
        "/a/.",
        "/a/..",
        "/..",
        "/a/..;/b",
        "/a/.;x/b",
        "/a/%252e%252e/b",
        "/a/%25252e%25252e/b",
        "/a%2fb",
        "/a%2Fb",
        "/a%252fb",
        "/a%25252fb",
        "/a\\b",
        "/a%5cb",
        "/a%255cb",
        "/a%00b",
        "/a%2500b",
        "/a%0db",
        "/a%0ab",
        "/a%7fb",
        "//a",
        "/a//b",
        "/a/%c0%ae%c0%ae/b",
        "/%ff",
        "/%25ff",
        "/a%",
        "/a%2",
        "/a%zz",
        "",
        "a",
        "*",
        "/a%25252525252e",
    ] {
        assert!(parse(path).is_err(), "{path} was accepted as {:?}", parse(path));
    }
}

#[test]
fn data_is_data_and_has_one_encoding() {
    for (path, canonical) in [
        ("/", "/"),
        ("/a/b.pdf", "/a/b.pdf"),
        ("/%61/b", "/a/b"),
        ("/a%3bb", "/a;b"),
        ("/a;x=y/b", "/a;x=y/b"),
        ("/a%3fb", "/a%3Fb"),
        ("/a%23b", "/a%23b"),
        ("/100%25", "/100%25"),
        ("/100%25%20sure", "/100%25%20sure"),
        ("/a b", "/a%20b"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("/€", "/%E2%82%AC"),
        ("/a+b", "/a+b"),
        ("/a%2bb", "/a+b"),
        ("/...", "/..."),
        ("/a./b..", "/a./b.."),
        ("/%7Euser", "/~user"),
        ("/dir/", "/dir/"),
        ("/%2541", "/%2541"),
        ("/a'(b)*!", "/a'(b)*!"),
        ("/\"<>^`{|}[]", "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
    ] {
        assert_eq!(parse(path).as_deref(), Ok(canonical), "{path}");
    }
}

#[test]
fn the_decoded_path_is_what_scopes_see() {
    let target = Target::parse("/docs/report%201.pdf", Some("x=%20&y")).unwrap();
    assert_eq!(target.path(), "/docs/report 1.pdf");
    assert_eq!(target.query(), Some("x=%20&y"));
    assert_eq!(target.as_str(), "/docs/report%201.pdf?x=%20&y");
    assert_eq!(target.with_query(None).unwrap().as_str(), "/docs/report%201.pdf");
    assert_eq!(Target::parse("/a", Some("")).unwrap().as_str(), "/a");
}

#[test]
fn a_value_becomes_one_segment_or_nothing() {
    assert_eq!(encode_segment("42").unwrap(), "42");
    assert_eq!(encode_segment("a b?c#d%").unwrap(), "a%20b%3Fc%23d%25");
    for bad in ["", ".", "..", "..;x", "a/b", "a\\b", "a\r\nb", "a\0"] {
        assert!(encode_segment(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn parsing_is_idempotent(path in "/[a-zA-Z0-9%./;:@ €~_-]{0,40}") {
        if let Ok(target) = Target::parse(&path, None) {
            let again = Target::parse(target.as_str(), None).unwrap();
            prop_assert_eq!(target.as_str(), again.as_str());
            prop_assert_eq!(target.path(), again.path());
        }
    }

    #[test]
    fn an_accepted_path_never_climbs(path in "(/|%2e|%2E|%25|2e|2f|%2f|\\.|%5c|;|a|%61|%252e){1,12}") {
        if let Ok(target) = Target::parse(&format!("/{path}"), None) {
            let mut text = target.path().to_owned();
            for _ in 0..4 {
                prop_assert!(text.split('/').all(|segment| segment != ".." && segment != "."));
                text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
            }
        }
    }
}
