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

/// The same, and then what changes of the corpus and of freshly signed links are: few beside what a target sees that hunts
/// for a minute, and the same in every run.
fn replay_and_change(target: &str, property: fn(&[u8])) {
    const CHANGES: u32 = 2500;

    replay(target, property);
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut paths: Vec<_> = fs::read_dir(fuzz.join("corpus").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let words = fs::read_to_string(fuzz.join("words").join(target)).unwrap();
    let words: Vec<&str> = words
        .lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .collect();
    assert!(!words.is_empty(), "{target} has no words");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..CHANGES {
        let data = match dice.below(3) {
            0 => dice.script(),
            _ => dice.changed(&corpus, &words),
        };
        if catch_unwind(AssertUnwindSafe(|| property(&data))).is_err() {
            panic!("{target}: {}", data.escape_ascii());
        }
    }
}

/// A small generator of numbers and of changes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// Which link, and up to three changes of it.
    fn script(&mut self) -> Vec<u8> {
        let length = 2 + 4 * self.below(4);
        let mut script: Vec<u8> = (0..length).map(|_| self.byte()).collect();
        // A first byte that is a slash would be a head.
        script[0] %= 0x2f;
        // Letters where bytes are put in: what is no text is not looked at.
        for change in script[2..].as_chunks_mut::<4>().0 {
            change[3] = b'!' + change[3] % 94;
        }
        script
    }

    /// One of the corpus with one to three changes.
    fn changed(&mut self, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + self.below(60)).min(bytes.len());
            match self.below(6) {
                0 => drop(bytes.splice(at..at, words[self.below(words.len())].bytes())),
                1 if at < bytes.len() => bytes[at] = b'!' + self.byte() % 94,
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    drop(bytes.splice(to..to, piece));
                }
                4 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(80)).min(other.len());
                    drop(bytes.splice(at..at, other[from..to].iter().copied()));
                }
                _ if at < bytes.len() => {
                    let encoded = format!("%{:02X}", bytes[at]);
                    drop(bytes.splice(at..=at, encoded.into_bytes()));
                }
                _ => {}
            }
        }
        bytes
    }
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
fn claims_of_sirv_are_what_a_second_parser_reads() {
    replay("sirv", properties::sirv);
}

#[test]
fn what_short_media_tokens_say_stands_in_them_once() {
    replay("short_media", properties::short_media);
}

#[test]
fn nothing_is_believed_that_bunny_s_signers_did_not_sign() {
    replay_and_change("bunny", properties::bunny);
}

#[test]
fn nothing_is_believed_that_no_signer_of_common_access_tokens_signed() {
    replay_and_change("cat", properties::cat);
}

#[test]
fn nothing_is_believed_that_no_signer_of_cloud_cdn_signed() {
    replay_and_change("cloud_cdn", properties::cloud_cdn);
}

#[test]
fn nothing_is_believed_that_no_signer_of_cloudfront_signed() {
    replay_and_change("cloudfront", properties::cloudfront);
}

#[test]
fn nothing_is_believed_that_no_signer_of_edge_auth_signed() {
    replay_and_change("edge_auth", properties::edge_auth);
}

#[test]
fn nothing_is_believed_that_no_signer_of_media_cdn_signed() {
    replay_and_change("media_cdn", properties::media_cdn);
}

#[test]
fn nothing_is_believed_that_no_signer_of_presigned_urls_signed() {
    replay_and_change("presigned", properties::presigned);
}

#[test]
fn nothing_is_believed_that_no_signer_of_uris_signed() {
    replay_and_change("uri_signing", properties::uri_signing);
}

#[test]
fn nothing_is_believed_that_no_signer_of_macs_signed() {
    replay_and_change("mac", properties::mac);
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
            ["replay", "replay_and_change"]
                .iter()
                .any(|how| replayed.contains(&format!("{how}(\"{name}\""))),
            "{name} is not replayed"
        );
    }
}
