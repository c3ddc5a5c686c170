//! Which ids and which preferences are read.

use super::*;

#[test]
fn html_is_for_who_wants_it_more_than_json() {
    for (accept, expected) in [
        (&["text/html"][..], true),
        (
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            true,
        ),
        (&["application/json;q=0.5, text/html"], true),
        (&["TEXT/HTML"], true),
        (&["text/*"], true),
        (&["application/json;q=0", "text/html;q=0.1"], true),
        (&[], false),
        (&["*/*"], false),
        (&["text/html, */*"], false),
        (&["text/html;q=0.5, application/json"], false),
        (&["text/html;q=0"], false),
        (&["text/htmlx"], false),
        (&["text/html;q=nan"], false),
        (&[";;,,"], false),
    ] {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        assert_eq!(prefers_html(&headers), expected, "{accept:?}");
    }
}

#[test]
fn an_id_is_one_segment_decoded_once() {
    for (raw, expected) in [
        ("01F9", Some("01F9")),
        ("a%20b", Some("a b")),
        ("100%25", Some("100%")),
        ("a+b", Some("a+b")),
    ] {
        assert_eq!(media_id(raw).as_ref().map(MediaId::as_str), expected);
    }
    for raw in [
        "", ".", "..", "%2e%2e", "..;x", "a%2fb", "a%252fb", "a%5Cb", "a%00", "%", "%ff",
    ] {
        assert_eq!(media_id(raw), None, "{raw}");
    }
}

#[test]
fn paths_of_the_dialect_have_exactly_one_segment_for_the_id() {
    assert_eq!(raw_id("/media/1/download-token"), Some("1"));
    assert_eq!(raw_id("/media//download-token"), Some(""));
    for path in [
        "/media/download-token",
        "/media/a/b/download-token",
        "/media/1/download-token/",
        "/x/media/1/download-token",
    ] {
        assert_eq!(raw_id(path), None, "{path}");
    }
}
