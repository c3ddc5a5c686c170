use http::header::ACCEPT;

use super::*;

fn prefers(accept: &[&str]) -> Option<Format> {
    let mut headers = HeaderMap::new();
    for value in accept {
        headers.append(ACCEPT, value.parse().unwrap());
    }
    accepted(&headers)
}

#[test]
fn accept_decides_by_weight_and_then_by_what_it_names() {
    for (accept, format) in [
        (&[][..], None),
        (&["*/*"], None),
        (&["text/html"], None),
        (&["application/json, application/xml"], None),
        (&["application/*"], None),
        (&["application/json"], Some(Format::Json)),
        (&["application/json, text/plain, */*"], Some(Format::Json)),
        (&["application/json;q=0.5, */*;q=0.1"], Some(Format::Json)),
        (&["text/html", "application/json"], Some(Format::Json)),
        (&["application/json;q=0.5, */*"], Some(Format::Xml)),
        (&["application/json;q=0, */*"], Some(Format::Xml)),
        (&["application/xml"], Some(Format::Xml)),
        (&["text/xml"], Some(Format::Xml)),
        (
            &["application/xml;q=0.9, application/json;q=0.8"],
            Some(Format::Xml),
        ),
    ] {
        assert_eq!(prefers(accept), format, "{accept:?}");
    }
}

#[test]
fn paths_and_their_endings_are_exact() {
    for (path, expected) in [
        ("/api/v1/tokens/media", Some(None)),
        ("/api/v1/mediatoken", Some(None)),
        ("/api/v1/tokens/media.xml", Some(Some(Format::Xml))),
        ("/api/v1/mediatoken.json", Some(Some(Format::Json))),
        ("/api/v1/mediatoken.JSON", None),
        ("/api/v1/mediatoken/", None),
        ("/api/v1/tokens/media.txt", None),
        ("/api/v1/tokens", None),
    ] {
        assert_eq!(extension(path), expected, "{path}");
    }
}

#[test]
fn a_trace_is_a_random_uuid() {
    let (one, other) = (denied::trace(), denied::trace());
    assert_ne!(one, other);
    let parts: Vec<usize> = one.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(&one[14..15], "4");
    assert!("89ab".contains(&one[19..20]), "{one}");
}
