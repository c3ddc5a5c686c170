//! The table of RFC 9110 §13.2.2.

use http::HeaderName;

use super::*;

/// 1994-11-06 08:49:37, and some nanoseconds that dates can't tell.
const SECONDS: i64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const TAG: &str = "\"2a-1a-2ebc98a1-7\"";

fn validators() -> Validators {
    Validators::new(
        0x2a,
        Stamp {
            size: 26,
            seconds: SECONDS,
            nanoseconds: 7,
        },
    )
}

fn judged(headers: &[(&str, &str)]) -> Standing {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    judge(&validators(), &map)
}

const SEND: Standing = Standing::Send { ranges: true };
const WHOLE: Standing = Standing::Send { ranges: false };

#[test]
fn validators_are_made_of_inode_size_and_time() {
    assert_eq!(validators().etag, TAG);
    assert_eq!(validators().modified.to_string(), DATE);
    let other = |inode, size, seconds, nanoseconds| {
        Validators::new(
            inode,
            Stamp {
                size,
                seconds,
                nanoseconds,
            },
        )
        .etag
    };
    for changed in [
        other(0x2b, 26, SECONDS, 7),
        other(0x2a, 27, SECONDS, 7),
        other(0x2a, 26, SECONDS + 1, 7),
        other(0x2a, 26, SECONDS, 8),
    ] {
        assert_ne!(changed, TAG);
    }
}

#[test]
fn times_outside_of_what_http_can_say_do_no_harm() {
    for seconds in [i64::MIN, -1, i64::MAX] {
        let validators = Validators::new(
            1,
            Stamp {
                size: 1,
                seconds,
                nanoseconds: 0,
            },
        );
        assert!(validators.modified.to_string().ends_with(" GMT"), "{seconds}");
    }
}

#[test]
fn each_condition_alone_decides_as_the_standard_says() {
    let weak = format!("W/{TAG}");
    let listed = format!("\"x\", W/\"y,z\" ,{TAG}");
    let table: [(&str, &str, Standing); 27] = [
        ("if-match", TAG, SEND),
        ("if-match", "*", SEND),
        ("if-match", &listed, SEND),
        ("if-match", "\"x\"", Standing::Failed),
        ("if-match", &weak, Standing::Failed),
        ("if-match", "", Standing::Failed),
        ("if-unmodified-since", DATE, SEND),
        ("if-unmodified-since", AFTER, SEND),
        ("if-unmodified-since", BEFORE, Standing::Failed),
        ("if-unmodified-since", "yesterday", SEND),
        ("if-none-match", TAG, Standing::NotModified),
        ("if-none-match", &weak, Standing::NotModified),
        ("if-none-match", "*", Standing::NotModified),
        ("if-none-match", &listed, Standing::NotModified),
        ("if-none-match", "\"x\"", SEND),
        ("if-none-match", "2a-1a-2ebc98a1-7", SEND),
        ("if-modified-since", DATE, Standing::NotModified),
        ("if-modified-since", AFTER, Standing::NotModified),
        ("if-modified-since", BEFORE, SEND),
        ("if-modified-since", "yesterday", SEND),
        ("if-range", TAG, SEND),
        ("if-range", &weak, WHOLE),
        ("if-range", "\"x\"", WHOLE),
        ("if-range", DATE, SEND),
        ("if-range", AFTER, WHOLE),
        ("if-range", BEFORE, WHOLE),
        ("if-range", "*", WHOLE),
    ];
    for (name, value, expected) in table {
        assert_eq!(judged(&[(name, value)]), expected, "{name}: {value}");
    }
}

#[test]
fn tags_go_before_dates_and_preconditions_before_caches() {
    assert_eq!(
        judged(&[("if-match", TAG), ("if-unmodified-since", BEFORE)]),
        SEND
    );
    assert_eq!(
        judged(&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)]),
        SEND
    );
    assert_eq!(
        judged(&[("if-match", "\"x\""), ("if-none-match", TAG)]),
        Standing::Failed
    );
    assert_eq!(
        judged(&[("if-none-match", TAG), ("if-range", "\"x\"")]),
        Standing::NotModified
    );
    assert_eq!(
        judged(&[("if-none-match", "\"x\""), ("if-none-match", TAG)]),
        Standing::NotModified
    );
    assert_eq!(
        judged(&[("if-modified-since", AFTER), ("if-modified-since", AFTER)]),
        SEND
    );
    assert_eq!(judged(&[("if-range", TAG), ("if-range", "\"x\"")]), WHOLE);
}
