//! Replays what the fuzz targets started from and found (`fuzz/corpus`) through the same promises, `fuzz/properties.rs`.
//! `fuzz/run` hunts for more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "../fuzz/properties.rs"]
mod properties;

fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut count = 0;
    let mut broken = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        if catch_unwind(AssertUnwindSafe(|| property(&data))).is_err() {
            broken.push(path);
        }
        count += 1;
    }
    assert!(broken.is_empty(), "{target}: {broken:?}");
    assert!(count >= 4, "{target}: {count} inputs");
}

#[test]
fn carriers_leave_no_byte_of_a_token_behind() {
    replay("carrier", properties::carrier);
}

#[test]
fn targets_have_one_reading() {
    replay("target", properties::target);
}

#[test]
fn ranges_are_never_longer_than_their_file() {
    replay("range", properties::range);
}

#[test]
fn claims_are_what_a_second_parser_reads() {
    replay("claims", properties::claims);
}

#[test]
fn what_a_client_forwards_never_names_the_client() {
    replay("forwarded", properties::forwarded);
}

#[test]
fn configurations_are_built_or_refused_with_reasons() {
    replay("config", properties::config);
}

#[test]
fn a_proxy_header_is_what_it_says_and_no_byte_more() {
    replay("proxy", properties::proxy);
}

#[test]
fn every_target_is_replayed() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let replayed = fs::read_to_string(manifest.join("tests/fuzz_corpora.rs")).unwrap();
    for entry in fs::read_dir(manifest.join("fuzz/fuzz_targets")).unwrap() {
        let name = entry
            .unwrap()
            .path()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            replayed.contains(&format!("replay(\"{name}\"")),
            "{name} is not replayed"
        );
    }
}
