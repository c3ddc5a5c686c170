//! The reader of CBOR against what it must refuse, and against `ciborium` and `coset`, which are others' work.

use ciborium::Value;
use coset::{CoseMac0, TaggedCborSerializable};
use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    matching::unhex(hex).unwrap()
}

#[test]
fn what_has_two_readings_or_none_is_refused() {
    let refused = [
        ("", "nothing"),
        ("0000", "two items"),
        ("9fff", "a list of no length"),
        ("bfff", "a map of no length"),
        ("5f4101ff", "bytes of no length"),
        ("7f6161ff", "a text of no length"),
        ("ff", "a break alone"),
        ("a201000100", "a number twice"),
        ("a20100180100", "a number twice, once written longer"),
        ("a2616100616100", "a text twice"),
        ("a1410000", "bytes as a key"),
        ("a1f500", "true as a key"),
        ("a1fb400000000000000000", "a float as a key"),
        ("61ff", "not UTF-8"),
        ("1c", "a reserved length"),
        ("f8ff", "a simple value"),
        ("f0", "a simple value"),
        ("4401", "bytes that are cut off"),
        ("1901", "a number that is cut off"),
        ("9bffffffffffffffff00", "a list of all items there are"),
        ("bbffffffffffffffff00", "a map of all items there are"),
        ("5bffffffffffffffff00", "bytes of all memory there is"),
        ("1bffffffffffffffff", "a number past 63 bits"),
        ("3bffffffffffffffff", "a number past 63 bits"),
    ];
    for (hex, what) in refused {
        assert!(cbor::read(&bytes(hex)).is_err(), "{what}");
    }
    assert!(cbor::read(&bytes("3b7fffffffffffffff")).is_ok());
    assert!(cbor::read(&[vec![0x81; 12], vec![0]].concat()).is_err());
    assert!(cbor::read(&[vec![0x81; 11], vec![0]].concat()).is_ok());
    assert!(cbor::read(&[[0xd8, 61].repeat(4000), vec![0]].concat()).is_err());
    assert!(cbor::read(&[vec![0x99, 2, 0], vec![0; 512]].concat()).is_err());
    assert!(cbor::read(&[vec![0x99, 1, 0xff], vec![0; 511]].concat()).is_ok());
}

/// Both sides of the comparison, in ciborium's words.
fn theirs(item: &Item<'_>) -> Value {
    match item {
        Item::Int(number) => Value::Integer((*number).into()),
        Item::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Item::Text(text) => Value::Text((*text).to_owned()),
        Item::List(items) => Value::Array(items.iter().map(theirs).collect()),
        Item::Map(map) => {
            let label = |label: &Label<'_>| match label {
                Label::Int(number) => Value::Integer((*number).into()),
                Label::Text(text) => Value::Text((*text).to_owned()),
            };
            Value::Map(
                map.iter()
                    .map(|(name, item)| (label(name), theirs(item)))
                    .collect(),
            )
        }
        Item::Tag(tag, item) => Value::Tag(*tag, Box::new(theirs(item))),
        Item::Float(number) => Value::Float(*number),
        Item::Simple(20) => Value::Bool(false),
        Item::Simple(21) => Value::Bool(true),
        Item::Simple(_) => Value::Null,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| Value::Integer(number.into())),
        (-300_i64..300).prop_map(|number| Value::Integer(number.into())),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ".{0,20}".prop_map(Value::Text),
        any::<f64>()
            .prop_filter("equal to itself", |number| !number.is_nan())
            .prop_map(Value::Float),
        any::<f32>()
            .prop_filter("equal to itself", |number| !number.is_nan())
            .prop_map(|number| Value::Float(number.into())),
        (-8_i16..8).prop_map(|number| Value::Float(f64::from(number) / 4.0)),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        let label = prop_oneof![
            (-300_i64..300).prop_map(|number| Value::Integer(number.into())),
            "[a-z]{0,3}".prop_map(Value::Text),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((label, inner.clone()), 0..6).prop_map(Value::Map),
            // Tags 2 and 3 are numbers to them.
            (50_u64..70, inner).prop_map(|(tag, inner)| Value::Tag(tag, Box::new(inner))),
        ]
    })
}

fn has_double(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_double),
        Value::Map(map) => {
            let twice = |at: usize| map[at + 1..].iter().any(|(other, _)| *other == map[at].0);
            (0..map.len()).any(twice) || map.iter().any(|(_, item)| has_double(item))
        }
        Value::Tag(_, inner) => has_double(inner),
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_ciborium_writes_is_read_as_it_was_meant(value in values()) {
        let mut bytes = Vec::new();
        ciborium::into_writer(&value, &mut bytes).unwrap();
        match cbor::read(&bytes) {
            Ok(item) => {
                prop_assert!(!has_double(&value));
                prop_assert_eq!(theirs(&item), value);
                let encoded = item.encode();
                let again = cbor::read(&encoded).unwrap();
                prop_assert_eq!(again.encode(), &*encoded);
                let read: Value = ciborium::from_reader(&*encoded).unwrap();
                prop_assert_eq!(read, theirs(&again));
            }
            Err(_) => prop_assert!(has_double(&value)),
        }
    }

    #[test]
    fn no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = cbor::read(&bytes).map(|item| item.to_string());
        let _ = cwt::open(&bytes);
    }
}

#[test]
fn half_floats_are_read_as_appendix_a_has_them() {
    let all = [
        ("f90000", 0.0),
        ("f93c00", 1.0),
        ("f93e00", 1.5),
        ("f97bff", 65504.0),
        ("f90001", 5.960_464_477_539_063e-8),
        ("f90400", 0.000_061_035_156_25),
        ("f9c400", -4.0),
        ("f97c00", f64::INFINITY),
        ("f9fc00", f64::NEG_INFINITY),
    ];
    for (hex, value) in all {
        assert_eq!(cbor::read(&bytes(hex)), Ok(Item::Float(value)));
    }
    assert!(matches!(cbor::read(&bytes("f97e00")), Ok(Item::Float(nan)) if nan.is_nan()));
}

#[test]
fn coset_reads_what_is_sealed_and_finds_the_same_mac() {
    let bytes = cwt::decode(&token([(7, Item::Bytes(&[1, 2]))])).unwrap();
    let Item::Tag(61, inner) = cbor::read(&bytes).unwrap() else {
        panic!("no tag");
    };
    let theirs = CoseMac0::from_tagged_slice(&inner.encode()).unwrap();
    assert_eq!(theirs.unprotected.key_id, b"one");
    let envelope = cwt::open(&bytes).unwrap();
    let missing = || aws_lc_rs::error::Unspecified;
    let checked = theirs.verify_payload_tag(&[], missing, |tag, signed| {
        assert_eq!(signed, envelope.signed());
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[1; 32]);
        aws_lc_rs::hmac::verify(&key, signed, tag)
    });
    assert!(checked.is_ok());
}
