//! Encrypted claims: what they say, and that a touched one says nothing.

use serde_json::json;

use super::claiming::{URL, with};
use super::*;

#[test]
fn addresses_and_subjects_are_read_when_they_are_encrypted_by_a_key_that_counts() {
    let keys = |until| {
        let key = |byte, length| ContentKey::new(&Secret::new(vec![byte; length])).unwrap();
        NamedKeys::new([
            (Box::from("k1"), key(1, 16), until),
            (Box::from("k2"), key(2, 32), None),
        ])
    };
    let seal = |text: &str, name: &str| jwe::seal(text, keys(None).named(name, NOW).unwrap()).unwrap();
    let verify = |more: Value, until| {
        let rules = Rules {
            content_keys: keys(until),
            ..plain()
        };
        judge(
            &Cdni::new(rules),
            &format!("{URL}?{ATTRIBUTE}={}", signed(&with(more))),
        )
    };
    for name in ["k1", "k2"] {
        let claims = verify(
            json!({ "sub": seal("Anna", name), "cdniip": seal("203.0.113.9/24", name) }),
            None,
        )
        .unwrap();
        assert_eq!(claims.subject.as_deref(), Some("Anna"));
        assert_eq!(claims.addresses.unwrap().len(), 1);
    }
    assert!(verify(json!({ "sub": seal("Anna", "k1") }), Some(NOW)).is_err());
    assert_eq!(
        verify(json!({ "cdniip": seal("[2001:db8::1/32]", "k2") }), None).unwrap_err(),
        "address"
    );
    assert!(verify(json!({ "cdniip": seal("203.0.113.7", "k2") }), None).is_ok());
    assert!(verify(json!({ "cdniip": seal("::ffff:203.0.113.7/128", "k2") }), None).is_ok());
    for text in [
        "",
        "203.0.113.7/33",
        "203.0.113",
        "[203.0.113.7",
        "203.0.113.7]",
        "203.0.113.7, 203.0.113.8",
    ] {
        assert!(
            verify(json!({ "cdniip": seal(text, "k2") }), None)
                .unwrap_err()
                .contains("410 "),
            "{text}"
        );
    }
}

#[test]
fn an_encrypted_text_that_was_touched_is_none() {
    let key = |length| ContentKey::new(&Secret::new(vec![5; length])).unwrap();
    let keys = NamedKeys::new([(Box::from("k"), key(16), None)]);
    let sealed = jwe::seal("text", keys.named("k", NOW).unwrap()).unwrap();
    assert_eq!(jwe::open(&sealed, &keys, NOW).as_deref(), Some("text"));
    let parts: Vec<&str> = sealed.split('.').collect();
    for at in 0..sealed.len() {
        let mut touched = sealed.clone().into_bytes();
        touched[at] = if touched[at] == b'A' { b'B' } else { b'A' };
        let touched = String::from_utf8(touched).unwrap();
        assert_eq!(jwe::open(&touched, &keys, NOW), None, "{at}");
        assert_eq!(jwe::open(&sealed[..at], &keys, NOW), None, "{at}");
    }
    // The header is authenticated, so that another one fails whatever it says; these would fail without that, too.
    let with_header = |header: &str| format!("{}.{}", URL_SAFE_NO_PAD.encode(header), parts[1..].join("."));
    for header in [
        r#"{"alg":"A128KW","enc":"A128GCM","kid":"k"}"#,
        r#"{"alg":"dir","enc":"A256GCM","kid":"k"}"#,
        r#"{"alg":"dir","enc":"A128GCM","kid":"k","zip":"DEF"}"#,
        r#"{"alg":"dir","enc":"A128GCM","kid":"k","crit":[]}"#,
        r#"{"alg":"dir","enc":"A128GCM","kid":1}"#,
        r#"{"alg":"dir","enc":"A128GCM","kid":"x"}"#,
        r#"{"enc":"A128GCM"}"#,
        "{",
    ] {
        assert_eq!(jwe::open(&with_header(header), &keys, NOW), None, "{header}");
    }
    assert_eq!(jwe::open(&format!("{sealed}."), &keys, NOW), None);
    for length in [0, 15, 17, 24, 31, 33] {
        assert!(
            ContentKey::new(&Secret::new(vec![0; length])).is_err(),
            "{length}"
        );
    }
}
