//! Patterns: what is taken as POSIX has it, and what is refused.

use super::*;

fn matches(pattern: &str, text: &str) -> Option<bool> {
    Patterns::default().matches(pattern, text)
}

#[test]
fn patterns_match_whole_texts_as_in_posix() {
    for (pattern, yes, no) in [
        ("abc", "abc", "abcd"),
        ("a.c", "abc", "ac"),
        (r"a\.c", "a.c", "abc"),
        (
            r"[^:]*\://[^/]*/.{3}\.ts(\?.*)?",
            "http://h/abc.ts?x",
            "http://h/abcd.ts",
        ),
        ("a|b", "b", "ab"),
        ("a|bc", "a", "ac"),
        ("^a$|^b$", "b", "ab"),
        ("(a|b)*c", "abac", "abd"),
        ("a{2}", "aa", "aaa"),
        ("a{1,2}b", "aab", "aaab"),
        ("a{2,}", "aaaa", "a"),
        ("[[:digit:][:upper:]_]+", "A_1", "a"),
        ("[]a]+", "]a", "b"),
        ("[^]a]", "b", "]"),
        ("[a-c-]+", "-b", "d"),
        ("[--/]+", "./-", ","),
        ("[%--]+", "(-", "/"),
        ("[[a]+", "[a", "]"),
        // A backslash in brackets is itself.
        (r"[\.]+", r".\", "a"),
        (r"[\\]", r"\", "a"),
        ("[&&a]+", "&a", "b"),
        ("[a~~b]+", "~", "c"),
        ("a}]", "a}]", "a"),
        ("a^b|c", "c", "ab"),
        ("a{0}b", "b", "ab"),
        // No flags, no classes of Unicode: a byte is a byte.
        ("[^a]", "b", "é"),
    ] {
        assert_eq!(matches(pattern, yes), Some(true), "{pattern} {yes}");
        assert_eq!(matches(pattern, no), Some(false), "{pattern} {no}");
    }
}

#[test]
fn what_posix_leaves_undefined_or_others_read_otherwise_is_no_pattern() {
    for pattern in [
        "",
        "(",
        ")",
        "a)",
        "(a",
        "()",
        "(|a)",
        "a|",
        "|a",
        "a||b",
        "*a",
        "+",
        "?",
        "a**",
        "a*?",
        "a+?",
        "a++",
        "a{1}{2}",
        "a{1}*",
        "^*",
        "$+",
        "(*a)",
        "|*",
        "(?:a)",
        "(?i)a",
        "(?=a)",
        "(?P<n>a)",
        r"(a)\1",
        r"\d",
        r"\w+",
        r"\n",
        r"\x41",
        r"\Q",
        r"\<a",
        r"\>",
        r"\`",
        r"\'",
        r"a\",
        "{1}",
        "a{",
        "a{}",
        "a{,2}",
        "a{2,1}",
        "a{x}",
        "a{1,2",
        "a{256}",
        "a{+1}",
        "a{1,,2}",
        "[",
        "[]",
        "[^]",
        "[a",
        "[z-a]",
        "[a-c-e]",
        "[[:alpha:]-z]",
        "[a-[:digit:]]",
        "[[:word:]]",
        "[[:alpha]",
        "[[.a.]]",
        "[[=a=]]",
        r"[\d]",
        r"[^\w]",
        r"[a\-z]",
        r"[\]]",
        r"[a\]",
        r"[\\-z]",
        r"[\\\w]",
        r"[X-\]",
        "é",
        "[é]",
        "a\tb",
        "[\u{1}]",
        "a\u{0}",
    ] {
        assert_eq!(matches(pattern, "a"), None, "{pattern:?}");
    }
}

#[test]
fn patterns_are_bounded_in_depth_and_size() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(matches(&nested(MAX_DEPTH), "a"), Some(true));
    assert_eq!(matches(&nested(MAX_DEPTH + 1), "a"), None);
    assert_eq!(matches("(((a{255}){255}){255}){255}", "a"), None);
    assert_eq!(matches("((a{0,255}){0,255}){0,255}", "a"), None);
    assert!(matches(&"[^a]*".repeat(1000), "a").is_some());
}

#[test]
fn hostile_patterns_take_linear_time() {
    let patterns = Patterns::default();
    let text = "a".repeat(8 * 1024);
    for pattern in [
        "(a+)+b",
        "(a*)*b",
        "(a|a)*b",
        "(a|aa)+b",
        "(.*)(.*)(.*)(.*)(.*)b",
        "(a?){200}a{200}b",
    ] {
        assert_eq!(patterns.matches(pattern, &text), Some(false), "{pattern}");
    }
}

#[test]
fn kept_patterns_are_not_mistaken_for_one_another() {
    let patterns = Patterns::default();
    for round in 0..2 {
        for at in 0..200 {
            let (pattern, text) = (format!("a{at}b*"), format!("a{at}bb"));
            assert_eq!(patterns.matches(&pattern, &text), Some(true), "{round}");
            assert_eq!(patterns.matches(&pattern, &format!("a{}bb", at + 1)), Some(false));
        }
    }
}
