//! Tables of heads that are believed, and of heads that are not.

use http::{HeaderName, HeaderValue};

use super::*;

fn judged(
    method: Method,
    range: &str,
    status: u16,
    headers: &[(&str, &str)],
) -> (Result<Length, &'static str>, HeaderMap) {
    let map = |pairs: &[(&str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    };
    let asked = if range.is_empty() {
        map(&[])
    } else {
        map(&[("range", range)])
    };
    let mut headers = map(headers);
    let result = judge(
        &Asked::of(&method, &asked),
        StatusCode::from_u16(status).unwrap(),
        &mut headers,
    );
    (result, headers)
}

fn of_get(range: &str, status: u16, headers: &[(&str, &str)]) -> Result<Length, &'static str> {
    judged(Method::GET, range, status, headers).0
}

#[test]
fn one_range_is_believed_when_it_is_the_one_asked_for() {
    let table = [
        ("bytes=0-4", "bytes 0-4/26", true),
        ("bytes=0-4", "Bytes 0-4/26", true),
        ("bytes=0-4", "bytes 0-4/*", true),
        ("bytes=0-4", "bytes 0-2/26", true),
        ("bytes=0-4", "bytes 0-5/26", false),
        ("bytes=0-4", "bytes 1-4/26", false),
        ("bytes=5-", "bytes 5-25/26", true),
        ("bytes=5-", "bytes 0-25/26", false),
        ("bytes=-5", "bytes 21-25/26", true),
        ("bytes=-5", "bytes 0-4/5", true),
        ("bytes=-5", "bytes 0-3/4", true),
        ("bytes=-5", "bytes 0-4/26", false),
        ("bytes=-5", "bytes 20-25/*", false),
        ("bytes=-5", "bytes 21-25/*", true),
        ("bytes=0-4,8-9", "bytes 8-9/26", true),
        ("bytes=0-4,8-9", "bytes 7-9/26", false),
        ("bytes=0-4", "bytes 4-0/26", false),
        ("bytes=0-4", "bytes 0-4/4", false),
        ("bytes=0-4", "bytes 0-4", false),
        ("bytes=0-4", "bytes */26", false),
        ("bytes=0-4", "items 0-4/26", false),
        ("bytes=0-4", "bytes 0-+4/26", false),
        ("bytes=0-4", "bytes=0-4/26", false),
        ("bytes=0-4", "bytes 0-99999999999999999999/26", false),
        ("bytes=0-", "bytes 0-18446744073709551615/*", false),
        ("", "bytes 0-4/26", false),
        ("items=0-4", "bytes 0-4/26", false),
        ("bytes=4-0", "bytes 0-4/26", false),
    ];
    for (asked, sent, believed) in table {
        let result = of_get(
            asked,
            206,
            &[("content-range", sent), ("transfer-encoding", "chunked")],
        );
        assert_eq!(result.is_ok(), believed, "{asked} → {sent}: {result:?}");
    }
}

#[test]
fn the_length_of_a_range_is_its_content_length() {
    let range = ("content-range", "bytes 0-4/26");
    assert_eq!(
        of_get("bytes=0-4", 206, &[range, ("content-length", "5")]),
        Ok(Length::Known(5))
    );
    assert!(of_get("bytes=0-4", 206, &[range, ("content-length", "6")]).is_err());
    assert_eq!(
        of_get("bytes=0-4", 206, &[range, ("transfer-encoding", "chunked")]),
        Ok(Length::Chunked(Some(5)))
    );
    assert_eq!(of_get("bytes=0-4", 206, &[range]), Ok(Length::Close(Some(5))));
    assert!(of_get("bytes=0-4", 206, &[range, range, ("content-length", "5")]).is_err());
    assert!(of_get("bytes=0-4", 206, &[("content-length", "5")]).is_err());
}

#[test]
fn several_parts_come_only_when_several_were_asked_for() {
    let parts = ("content-type", "Multipart/ByteRanges; boundary=x");
    let length = ("content-length", "300");
    assert_eq!(
        of_get("bytes=0-4,8-9", 206, &[parts, length]),
        Ok(Length::Known(300))
    );
    assert!(of_get("bytes=0-4", 206, &[parts, length]).is_err());
    assert!(of_get("", 206, &[parts, length]).is_err());
    assert!(
        of_get(
            "bytes=0-4,8-9",
            206,
            &[("content-type", "multipart/byterangesx"), length]
        )
        .is_err()
    );
    assert!(of_get("bytes=0-4,8-9", 206, &[parts, ("content-range", "bytes 0-4/9")]).is_err());
}

#[test]
fn a_whole_file_in_the_place_of_a_range_passes_as_what_it_is() {
    let (result, headers) = judged(
        Method::GET,
        "bytes=0-4",
        200,
        &[("content-range", "bytes 0-4/26"), ("content-length", "26")],
    );
    assert_eq!(result, Ok(Length::Known(26)));
    assert!(!headers.contains_key(CONTENT_RANGE), "a 200 has no range");
}

#[test]
fn an_unsatisfiable_range_passes_with_its_size() {
    let (result, headers) = judged(
        Method::GET,
        "bytes=99-",
        416,
        &[("content-range", "bytes */26"), ("content-length", "0")],
    );
    assert_eq!(result, Ok(Length::Known(0)));
    assert_eq!(headers[CONTENT_RANGE], "bytes */26");
}

#[test]
fn lengths_that_differ_or_are_none_are_not_believed() {
    let table = [
        (vec!["5", "5"], Some(Length::Known(5))),
        (vec!["5, 5"], Some(Length::Known(5))),
        (vec!["5", "6"], None),
        (vec!["5,6"], None),
        (vec!["+5"], None),
        (vec!["-5"], None),
        (vec!["0x5"], None),
        (vec![""], None),
        (vec!["5 5"], None),
        (vec!["99999999999999999999"], None),
    ];
    for (values, expected) in table {
        let headers: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        let (result, headers) = judged(Method::GET, "", 200, &headers);
        assert_eq!(result.ok(), expected, "{values:?}");
        if expected.is_some() {
            assert_eq!(headers.get_all(CONTENT_LENGTH).iter().count(), 1, "{values:?}");
            assert_eq!(headers[CONTENT_LENGTH], "5");
        }
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_not_believed() {
    let coding = |coding| ("transfer-encoding", coding);
    assert_eq!(of_get("", 200, &[coding("Chunked")]), Ok(Length::Chunked(None)));
    assert!(of_get("", 200, &[coding("chunked"), ("content-length", "5")]).is_err());
    for unknown in ["gzip, chunked", "xchunked", "identity", "chunked, chunked", ""] {
        assert!(of_get("", 200, &[coding(unknown)]).is_err(), "{unknown}");
    }
    assert!(of_get("", 200, &[coding("chunked"), coding("chunked")]).is_err());
    assert_eq!(of_get("", 200, &[]), Ok(Length::Close(None)));
}

#[test]
fn answers_without_a_body_have_none_whatever_they_announce() {
    let length = ("content-length", "5");
    assert_eq!(judged(Method::HEAD, "", 200, &[length]).0, Ok(Length::Nothing));
    assert_eq!(judged(Method::HEAD, "", 200, &[length]).1[CONTENT_LENGTH], "5");
    let asked = |name, value: &'static str| {
        let headers = [(name, http::HeaderValue::from_static(value))]
            .into_iter()
            .collect();
        judge(
            &Asked::of(&Method::GET, &headers),
            StatusCode::NOT_MODIFIED,
            &mut HeaderMap::new(),
        )
    };
    assert_eq!(asked(IF_NONE_MATCH, "\"a\""), Ok(Length::Nothing));
    assert_eq!(
        asked(IF_MODIFIED_SINCE, "Thu, 01 Jan 2026 00:00:00 GMT"),
        Ok(Length::Nothing)
    );
    assert!(asked(http::header::IF_MATCH, "\"a\"").is_err());
    assert!(of_get("", 304, &[length]).is_err(), "nobody asked for it");
    let (result, headers) = judged(Method::GET, "", 204, &[length]);
    assert_eq!(result, Ok(Length::Nothing));
    assert!(!headers.contains_key(CONTENT_LENGTH));
    assert!(
        judged(
            Method::HEAD,
            "bytes=0-4",
            206,
            &[("content-range", "bytes 0-4/26")]
        )
        .0
        .is_err()
    );
}
