//! The grammar, patterns, and what the tests of both families share.

use http::HeaderValue;
use http::header::COOKIE;
use proptest::prelude::*;

use super::patterns::{Encodings, Patterns, pattern};
use super::*;
use crate::token::Opens;
use crate::token::carrier::Head;
use crate::token::scheme::signed::vectors::Request;

const GRAMMAR: Grammar = Grammar {
    names: &["a", "b", "bare"],
    bare: Some("bare"),
    order: Order::Given,
    seals: &["mac"],
};

/// A small generator with a fixed seed (Marsaglia, "Xorshift RNGs"), for mutations that can be repeated.
pub(in super::super) struct Random(u64);

impl Random {
    pub(in super::super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(in super::super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end.max(1)
    }

    /// The text with one to three bytes substituted, inserted, deleted, doubled or swapped.
    pub(in super::super) fn mutate(&mut self, text: &str) -> String {
        // Letters that mean something to the formats come more often than others.
        const LETTERS: &[u8] = b"~~~===&&%%!*?/.,:;+-_0123456789abcdefABCDEF";
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let letter = match self.below(2) {
                0 => LETTERS[self.below(LETTERS.len())],
                _ => b' ' + u8::try_from(self.below(95)).unwrap(),
            };
            let (at, other) = (self.below(bytes.len()), self.below(bytes.len()));
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] = letter,
                1 => bytes.insert(at, letter),
                2 if !bytes.is_empty() => {
                    bytes.remove(at);
                }
                3 if !bytes.is_empty() => {
                    let end = at.max(other);
                    let copy = bytes[at.min(other)..end].to_vec();
                    bytes.splice(end..end, copy);
                }
                _ if !bytes.is_empty() => bytes.swap(at, other),
                _ => {}
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// A request of one client for a path and query.
pub(in super::super) fn get(url: &str, headers: HeaderMap, now: i64) -> Request {
    let client = "203.0.113.7".parse().unwrap();
    let url = format!("https://media.example.com{url}");
    Request::new("GET", &url, headers, client, UnixTime::from_secs(now))
}

pub(in super::super) fn cookie(cookie: &str) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())])
}

/// The request as a scheme takes it.
pub(in super::super) fn head(request: &Request) -> Head<'_> {
    Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    }
}

#[test]
fn a_token_is_taken_apart_as_its_grammar_says() {
    let fields = Fields::parse("a=1=2~bare~mac=00", &GRAMMAR).unwrap();
    assert_eq!(fields.text, "a=1=2~bare");
    assert_eq!((fields.seal, fields.mac), ("mac", "00"));
    assert_eq!(fields.get("a"), Some("1=2"));
    assert_eq!(fields.get("bare"), Some(""));
    assert_eq!(fields.get("b"), None);
    for text in [
        "",
        "~",
        "mac=00",
        "~mac=00",
        "a=1",
        "a=1~mac",
        "a=1~mac=00~b=2",
        "a=1~mac=00~mac=00",
        "a=1~a=1~mac=00",
        "b=1~a=1~mac=00",
        "a=~mac=00",
        "a~mac=00",
        "bare=~mac=00",
        "bare=1~mac=00",
        "A=1~mac=00",
        "c=1~mac=00",
        "a=1~~mac=00",
        "a=1~ mac=00",
    ] {
        assert!(Fields::parse(text, &GRAMMAR).is_err(), "{text}");
    }
}

#[test]
fn times_are_digits_and_seals_are_lower_case_digits() {
    assert_eq!(seconds("1767229200"), Some(UnixTime::from_secs(1_767_229_200)));
    for text in ["", "-1", "+1", " 1", "1 ", "0x1", "1.0", "１", &"9".repeat(16)] {
        assert_eq!(seconds(text), None, "{text}");
    }
    assert_eq!(unhex("00ff").as_deref(), Some(&[0, 255][..]));
    for text in ["", "0", "0F", "0g", "é", &"00".repeat(33)] {
        assert_eq!(unhex(text), None, "{text}");
    }
    assert_eq!(hex(&unhex("0123456789abcdef").unwrap()), "0123456789abcdef");
}

#[test]
fn seals_are_those_of_the_rfcs() {
    // RFC 2202 and RFC 4231, second cases.
    let key = Secret::new(b"Jefe".to_vec());
    let pieces: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
    for (algorithm, mac) in [
        (Algorithm::Md5, "750c783e6ab0b503eaa86e310a5db738"),
        (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (
            Algorithm::Sha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ] {
        assert_eq!(hex(&algorithm.mac(&key, &pieces)), mac, "{algorithm:?}");
    }
}

fn match_path(list: &str, path: &str) -> bool {
    Patterns::parse(list, '!', Encodings::Letters)
        .unwrap()
        .match_path(path)
}

#[test]
fn a_star_is_any_characters_and_a_question_mark_is_one() {
    for (list, path) in [
        ("/a/*", "/a/b/c"),
        ("/a/*", "/a/"),
        ("*", "/"),
        ("/*", "/"),
        ("*.m4s", "/a/b.m4s"),
        ("/a/*/c", "/a/x/y/c"),
        ("/a?c", "/abc"),
        ("/a?c", "/a/c"),
        ("/?", "/é"),
        ("/??", "/é!"),
        ("/*?", "/é"),
        ("/?*", "/日本"),
        ("/a%20b/*", "/a b/c"),
        ("/a b/*", "/a b/c"),
        ("/%2a", "/*"),
        ("/x!/y/*!/z", "/y/1"),
        ("/a%", "/a%"),
        ("/a**b", "/ab"),
    ] {
        assert!(match_path(list, path), "{list} {path}");
    }
    for (list, path) in [
        ("/a/*", "/a"),
        ("/a/*", "/ab/c"),
        ("/a.b", "/axb"),
        ("/A/*", "/a/b"),
        ("/a?c", "/ac"),
        ("/?", "/ab"),
        ("/??", "/é"),
        ("/%2a", "/a"),
        ("/a/*/c", "/a/c"),
        ("/x!/y", "/x!/y"),
        ("/a", "/a/"),
    ] {
        assert!(!match_path(list, path), "{list} {path}");
    }
    let decoded = Patterns::parse("/a*", '!', Encodings::Decoded).unwrap();
    assert!(decoded.match_path("/a%20"));
}

#[test]
fn a_list_of_paths_is_not_empty_and_has_its_limits() {
    for list in [
        String::new(),
        "!".into(),
        "/a!".into(),
        "/a!!/b".into(),
        vec!["/a"; 65].join("!"),
        "a".repeat(1025),
        "/%ff".into(),
    ] {
        assert!(
            Patterns::parse(&list, '!', Encodings::Letters).is_err(),
            "{list:.20}"
        );
    }
    assert!(Patterns::parse(&vec!["/a"; 64].join("!"), '!', Encodings::Letters).is_ok());
}

#[test]
fn hostile_patterns_take_linear_time() {
    let path = format!("/{}", "a".repeat(16 * 1024));
    // Whoever tries one star's lengths after the other does not come to an end here.
    for hostile in [
        format!("/{}b", "a*".repeat(511)),
        format!("/{}b", "*a?".repeat(340)),
        format!("*{}b?", "a".repeat(1020)),
        format!("/{}b", "?*".repeat(511)),
    ] {
        assert!(!match_path(&[&*hostile; 7].join("!"), &path), "{hostile:.20}");
    }
}

#[test]
fn long_patterns_of_single_characters_match() {
    for length in [62, 63, 64, 65, 127, 128, 200] {
        let pattern = format!("*/{}", "?".repeat(length));
        assert!(
            match_path(&pattern, &format!("/x/{}", "é".repeat(length))),
            "{length}"
        );
        assert!(
            !match_path(&pattern, &format!("/{}", "é".repeat(length - 1))),
            "{length}"
        );
    }
}

/// The definition: tries every length of every star.
fn naive(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', rest @ ..] => (0..=path.len()).any(|at| naive(rest, &path[at..])),
        ['?', rest @ ..] => !path.is_empty() && naive(rest, &path[1..]),
        [letter, rest @ ..] => path.first() == Some(letter) && naive(rest, &path[1..]),
    }
}

proptest! {
    #[test]
    fn patterns_match_as_they_are_defined(pattern in "/[ab/é*?]{0,9}", path in "/[ab/é]{0,9}") {
        let (letters, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
        prop_assert_eq!(match_path(&pattern, &path), naive(&letters, &text));
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(text in "\\PC{0,64}") {
        let _ = Fields::parse(&text, &GRAMMAR).map(|fields| fields.time("a"));
        let _ = Patterns::parse(&text, '!', Encodings::Letters).map(|list| list.folder().len());
        let _ = (seconds(&text), unhex(&text));
    }

    #[test]
    fn what_rides_is_read_back(token in "[ -~é]{1,40}") {
        let ridden = riding(&token);
        let read = |wanted: &str| read(&ridden, |text| match text == wanted {
            true => Ok(()),
            false => Err(TokenError::Invalid("")),
        });
        prop_assert!(read(&token).is_ok());
        prop_assert!(ridden.bytes().all(|byte| byte.is_ascii_graphic() && !b"&#;\"+\\<>".contains(&byte)));
    }
}

#[test]
fn the_folder_of_a_list_holds_all_that_it_matches() {
    for (list, folder) in [
        ("/a/b/*", "/a/b/"),
        ("/a/b*", "/a/"),
        ("/a/b.mp4", "/a/"),
        ("/a/b/*!/a/c/*", "/a/"),
        ("/a/b/*!/x", "/"),
        ("*/b/*", "/"),
        ("/*", "/"),
        ("/a/?/c", "/a/"),
        ("/a/b c/*", "/a/"),
        ("/a/é/d/*", "/a/"),
        ("/a;x/b/*", "/"),
        ("/a,b/*", "/"),
        ("a/b", "/"),
    ] {
        let list = Patterns::parse(list, '!', Encodings::Letters).unwrap();
        assert_eq!(list.folder(), folder, "{list:?}");
    }
}

#[test]
fn a_pattern_says_what_it_is_to_open_or_nothing() {
    let pattern = |opens: &Opens| pattern(opens, &['!']);
    let parsed = |text: &str| Opens::parse(text).unwrap();
    for (opens, text) in [
        (parsed("/a/b"), "/a/b"),
        (parsed("/a/"), "/a/*"),
        (parsed("/a/**/b"), "/a/*/b"),
        (Opens::StartsWith("/a".into()), "/a*"),
    ] {
        assert_eq!(pattern(&opens).as_deref(), Ok(text));
    }
    for opens in [
        parsed("/a/*/b"),
        parsed("/a/***"),
        parsed("/a!b"),
        parsed("/a?b"),
        parsed("/a%20b"),
        parsed("/a~b"),
        Opens::literal("/a*b").unwrap(),
        Opens::literal("/a*/").unwrap(),
        Opens::MediaId("1".into()),
    ] {
        assert!(pattern(&opens).is_err(), "{opens:?}");
    }
}
