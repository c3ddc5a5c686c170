//! Tables for `Range`.

use super::*;

fn one(start: u64, length: u64) -> Plan {
    Plan::One(Slice { start, length })
}

fn many(slices: &[(u64, u64)]) -> Plan {
    Plan::Many(
        slices
            .iter()
            .map(|&(start, length)| Slice { start, length })
            .collect(),
    )
}

#[test]
fn a_range_of_a_file_of_26_bytes_becomes_a_plan() {
    let sixteen = format!(
        "bytes={}",
        (0..16)
            .map(|at| format!("{at}-{at}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let seventeen = format!("{sixteen},20-20");
    let sixteen_slices: Vec<_> = (0..16).map(|at| (at, 1)).collect();
    let table = [
        ("bytes=0-", one(0, 26)),
        ("bytes=0-0", one(0, 1)),
        ("bytes=5-9", one(5, 5)),
        ("BYTES=5-9", one(5, 5)),
        (" bytes= 5-9 ", one(5, 5)),
        ("bytes=25-", one(25, 1)),
        ("bytes=20-99", one(20, 6)),
        ("bytes=-1", one(25, 1)),
        ("bytes=-99", one(0, 26)),
        ("bytes=0-99999999999999999999999999", one(0, 26)),
        ("bytes=-99999999999999999999999999", one(0, 26)),
        ("bytes=0-18446744073709551615", one(0, 26)),
        (
            "bytes=18446744073709551615-18446744073709551615",
            Plan::Unsatisfiable,
        ),
        ("bytes=99999999999999999999999999-", Plan::Unsatisfiable),
        ("bytes=26-", Plan::Unsatisfiable),
        ("bytes=26-30", Plan::Unsatisfiable),
        ("bytes=-0", Plan::Unsatisfiable),
        ("bytes=-0,30-", Plan::Unsatisfiable),
        ("bytes=0-1,4-5", many(&[(0, 2), (4, 2)])),
        ("bytes=0-1, ,4-5,", many(&[(0, 2), (4, 2)])),
        ("bytes=-2,0-1", many(&[(24, 2), (0, 2)])),
        ("bytes=0-1,2-3", many(&[(0, 2), (2, 2)])),
        ("bytes=0-1,40-50", one(0, 2)),
        (sixteen.as_str(), many(&sixteen_slices)),
        (seventeen.as_str(), Plan::Whole),
        ("bytes=0-5,5-9", Plan::Whole),
        ("bytes=0-,0-,0-", Plan::Whole),
        ("bytes=3-4,-26", Plan::Whole),
        ("bytes=", Plan::Whole),
        ("bytes=,", Plan::Whole),
        ("bytes", Plan::Whole),
        ("", Plan::Whole),
        ("bytes=-", Plan::Whole),
        ("bytes=a-b", Plan::Whole),
        ("bytes=5", Plan::Whole),
        ("bytes=9-5", Plan::Whole),
        ("bytes=0-1,x", Plan::Whole),
        ("bytes=1 - 2", Plan::Whole),
        ("bytes=+1-2", Plan::Whole),
        ("bytes=1-2-3", Plan::Whole),
        ("bytes=0x1-2", Plan::Whole),
        ("bytes=--1", Plan::Whole),
        ("bytes=\u{661}-", Plan::Whole),
        ("items=0-1", Plan::Whole),
        ("bytes =0-1", Plan::Whole),
    ];
    for (header, expected) in table {
        assert_eq!(plan(header.as_bytes(), 26), expected, "{header}");
    }
}

#[test]
fn nothing_of_an_empty_file_can_be_asked_for() {
    for header in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
        assert_eq!(plan(header.as_bytes(), 0), Plan::Unsatisfiable, "{header}");
    }
}

#[test]
fn the_largest_file_does_not_overflow() {
    assert_eq!(plan(b"bytes=0-", u64::MAX), one(0, u64::MAX));
    assert_eq!(plan(b"bytes=-1", u64::MAX), one(u64::MAX - 1, 1));
    assert_eq!(
        plan(b"bytes=1-2,5-", u64::MAX),
        many(&[(1, 2), (5, u64::MAX - 5)])
    );
}

proptest::proptest! {
    #[test]
    fn no_header_makes_more_bytes_than_the_file_has(header in "bytes=[-0-9, ]{0,60}", size in 0_u64..2000) {
        let slices = match plan(header.as_bytes(), size) {
            Plan::Whole | Plan::Unsatisfiable => return Ok(()),
            Plan::One(slice) => SmallVec::from_slice(&[slice]),
            Plan::Many(slices) => slices,
        };
        assert!(slices.iter().all(|slice| slice.length > 0 && slice.start + slice.length <= size));
        assert!(slices.iter().map(|slice| slice.length).sum::<u64>() <= size);
    }
}
