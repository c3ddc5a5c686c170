//! What patterns open, against the definition of a glob.

use proptest::prelude::*;

use super::*;
use crate::token::TokenId;

fn target(path: &str) -> Target {
    Target::parse(path, None).unwrap()
}

fn opens(pattern: &str, path: &str) -> bool {
    Opens::parse(pattern).unwrap().opens(&target(path), None)
}

fn claims(sub: &str) -> Claims {
    Claims {
        subject: Some(sub.into()),
        ..Claims::empty(TokenId([0; 16]))
    }
}

/// The definition: tries every length of every star.
fn naive(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => {
            let rest = &rest[rest.iter().take_while(|byte| **byte == b'*').count()..];
            (0..=path.len()).any(|at| naive(rest, &path[at..]))
        }
        [b'*', rest @ ..] => {
            let most = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=most).any(|at| naive(rest, &path[at..]))
        }
        [byte, rest @ ..] => path.first() == Some(byte) && naive(rest, &path[1..]),
    }
}

#[test]
fn an_exact_path_opens_itself_only() {
    assert!(opens("/a/b.mp4", "/a/b.mp4"));
    assert!(!opens("/a/b.mp4", "/a/b.mp4x"));
    assert!(!opens("/a/b.mp4", "/a/B.mp4"));
    assert!(opens("/a b", "/a%20b"));
}

#[test]
fn a_prefix_ends_on_a_segment_boundary() {
    assert!(opens("/a/", "/a/b"));
    assert!(!opens("/a/", "/ab"));
    assert!(!opens("/a/", "/a"));
    assert!(opens("/", "/anything/at/all"));
}

#[test]
fn one_star_stays_in_its_segment_and_two_cross() {
    assert!(opens("/v/*.m3u8", "/v/a.m3u8"));
    assert!(opens("/v/*.m3u8", "/v/.m3u8"));
    assert!(!opens("/v/*.m3u8", "/v/x/a.m3u8"));
    assert!(opens("/v/**", "/v/x/a.m3u8"));
    assert!(opens("/v/**/seg-*.ts", "/v/1/2/seg-9.ts"));
    assert!(!opens("/v/**/seg-*.ts", "/v/1/2/seg-9/x.ts"));
    assert!(!opens("/v/**", "/w/x"));
}

#[test]
fn patterns_that_could_never_match_are_refused() {
    for (pattern, error) in [
        ("a", BadScope::Relative),
        ("", BadScope::Relative),
        ("/a/../b", BadScope::NeverMatches),
        ("/a/./b", BadScope::NeverMatches),
        ("/a/..;x/b", BadScope::NeverMatches),
        ("/a//b", BadScope::NeverMatches),
        ("/a\\b", BadScope::NeverMatches),
        ("/a\u{0}", BadScope::NeverMatches),
    ] {
        assert_eq!(Opens::parse(pattern), Err(error), "{pattern:?}");
    }
    assert_eq!(
        Opens::parse(&format!("/{}", "a".repeat(MAX_PATTERN_BYTES))),
        Err(BadScope::TooLong)
    );
}

#[test]
fn a_media_id_opens_by_id_whatever_the_path() {
    let id = Opens::MediaId("42".into());
    assert!(id.opens(&target("/x"), Some("42")));
    assert!(!id.opens(&target("/42"), Some("43")));
    assert!(!id.opens(&target("/42"), None));
}

#[test]
fn the_start_of_a_path_opens_whatever_goes_on_from_it() {
    let start = Opens::StartsWith("/path/t".into());
    for path in ["/path/t", "/path/t1", "/path/to/a", "/path/t1/a"] {
        assert!(start.opens(&target(path), None), "{path}");
    }
    for path in ["/path/", "/path/s", "/Path/to", "/x/path/to"] {
        assert!(!start.opens(&target(path), None), "{path}");
    }
    let covers = |ours: &str, theirs: &Opens| Opens::parse(ours).unwrap().covers(theirs);
    assert!(covers("/path/", &start) && covers("/path/**", &start) && covers("/**", &start));
    // A pattern for the one path, or for its segment, opens less than the start does.
    assert!(!covers("/path/t", &start) && !covers("/path/t/", &start) && !covers("/path/*", &start));
    assert!(!covers("/path/t/**", &start) && !covers("/*/t", &start));
    let below = |text: &str| start.covers(&Opens::parse(text).unwrap());
    assert!(below("/path/to/") && below("/path/t") && below("/path/t*/x"));
    assert!(!below("/path/") && !below("/path/*t") && !below("/path/s"));
    assert!(start.covers(&Opens::StartsWith("/path/to".into())));
    assert!(!start.covers(&Opens::StartsWith("/path/".into())));
    assert_ne!(Opens::parse(&start.to_string()).as_ref(), Ok(&start));
}

#[test]
fn in_a_literal_path_a_star_is_a_letter() {
    let exact = Opens::literal("/a/*.jpg").unwrap();
    assert!(exact.opens(&target("/a/*.jpg"), None) && !exact.opens(&target("/a/b.jpg"), None));
    let below = Opens::literal("/*/").unwrap();
    assert!(below.opens(&target("/*/b"), None) && !below.opens(&target("/a/b"), None));
    assert_eq!(Opens::literal("/a//b"), Err(BadScope::NeverMatches));
}

#[test]
fn an_empty_scope_opens_nothing() {
    assert!(!Scope::default().opens(&target("/"), Some("1")));
}

#[test]
fn covering_is_said_only_when_it_is_certain() {
    let covers =
        |ours: &str, theirs: &str| Opens::parse(ours).unwrap().covers(&Opens::parse(theirs).unwrap());
    assert!(covers("/a/", "/a/b/"));
    assert!(covers("/a/", "/a/b"));
    assert!(covers("/a/", "/a/*/c"));
    assert!(covers("/a/**", "/a/"));
    assert!(covers("/*/x/**", "/a/x/y/"));
    assert!(covers("/**", "/a/*/b"));
    assert!(!covers("/a/", "/a"));
    assert!(!covers("/a/", "/a*"));
    assert!(!covers("/a/*", "/a/"));
    assert!(!covers("/a/b", "/a/"));
    assert!(!covers("/a/*", "/a/**"));
    assert!(!Opens::parse("/**").unwrap().covers(&Opens::MediaId("1".into())));
}

#[test]
fn a_template_is_filled_with_one_segment() {
    let template = ScopeTemplate::parse("/customers/{sub}/**").unwrap();
    assert_eq!(template.names(), ["sub"]);
    assert_eq!(
        template.opens(&claims("7"), &target("/customers/7/a/b")),
        Ok(true)
    );
    assert_eq!(
        template.opens(&claims("7"), &target("/customers/77/a")),
        Ok(false)
    );
    assert_eq!(template.opens(&claims("*"), &target("/customers/7/a")), Ok(false));
    assert_eq!(template.opens(&claims("*"), &target("/customers/*/a")), Ok(true));
    for bad in ["", ".", "..", "a/b", "..;x", "a\\b", "a\nb"] {
        assert_eq!(
            template.opens(&claims(bad), &target("/customers/7/a")),
            Err(BadScope::MissingClaim),
            "{bad:?}"
        );
        assert_eq!(
            template.fill(&claims(bad)),
            Err(BadScope::MissingClaim),
            "{bad:?}"
        );
    }
    assert_eq!(template.fill(&claims("*")), Err(BadScope::MissingClaim));
    assert_eq!(template.fill(&claims("7")), Opens::parse("/customers/7/**"));
    let none = Claims::empty(TokenId([0; 16]));
    assert_eq!(
        template.opens(&none, &target("/customers/7/a")),
        Err(BadScope::MissingClaim)
    );
}

#[test]
fn a_template_that_ends_with_a_slash_is_a_prefix() {
    let template = ScopeTemplate::parse("/c/{sub}/").unwrap();
    assert_eq!(template.opens(&claims("7"), &target("/c/7/a")), Ok(true));
    assert_eq!(template.opens(&claims("7"), &target("/c/7")), Ok(false));
    let exact = ScopeTemplate::parse("/c/u-{sub}.mp4").unwrap();
    assert_eq!(exact.opens(&claims("7"), &target("/c/u-7.mp4")), Ok(true));
    assert_eq!(exact.opens(&claims("7"), &target("/c/u-7.mp4x")), Ok(false));
}

#[test]
fn dots_of_template_and_claim_do_not_join_to_a_dot_segment() {
    let template = ScopeTemplate::parse("/a/.{sub}/x").unwrap();
    assert_eq!(template.fill(&claims(".x")), Opens::parse("/a/..x/x"));
    assert!(template.fill(&claims(".")).is_err());
}

#[test]
fn bad_placeholders_are_refused() {
    for bad in ["/{", "/{}", "/}", "/{a", "/{a{b}}", "/{a/b}", "/{*}"] {
        assert_eq!(ScopeTemplate::parse(bad), Err(BadScope::BadPlaceholder), "{bad}");
    }
    assert_eq!(ScopeTemplate::parse("{sub}"), Err(BadScope::Relative));
    assert_eq!(ScopeTemplate::parse("/../{sub}"), Err(BadScope::NeverMatches));
}

#[test]
fn long_patterns_over_several_words_match() {
    let long = "ab".repeat(200);
    assert!(opens(
        &format!("/*/{long}*/**/z"),
        &format!("/q/{long}{long}/1/2/z")
    ));
    assert!(!opens(
        &format!("/*/{long}*/**/z"),
        &format!("/q/{long}{long}/1/2/y")
    ));
}

#[test]
fn hostile_patterns_take_linear_time() {
    let path = format!("/{}", "a".repeat(1024 * 1024));
    let started = crate::clock::Stopwatch::start();
    for pattern in [
        "/**a*a*a*a*a*a*b",
        "/*a*a*a*a*a*b",
        "/**/**/**/**/**/b",
        "/a/*/b/**",
    ] {
        assert!(!matches(&pieces(pattern), &path), "{pattern}");
    }
    let simple = crate::clock::Stopwatch::start();
    assert!(matches(&pieces("/**"), &path) && matches(&pieces("/a*"), &path));
    assert!(
        simple.elapsed().as_millis() < 10,
        "simple patterns: {:?}",
        simple.elapsed()
    );
    assert!(
        started.elapsed().as_secs() < 5,
        "a quadratic matcher takes minutes: {:?}",
        started.elapsed()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn globs_match_as_the_definition_says(pattern in "[ab/*é]{0,12}", path in "[ab/é]{0,12}") {
        prop_assert_eq!(matches(&pieces(&pattern), &path), naive(pattern.as_bytes(), path.as_bytes()));
    }

    #[test]
    fn what_is_covered_is_opened(ours in "/[ab/*]{0,6}", theirs in "/[ab/*]{0,6}", path in "/[ab/]{0,8}") {
        let readings = |text: &str| [Opens::parse(text).ok(), Some(Opens::StartsWith(text.into()))];
        for ours in readings(&ours).into_iter().flatten() {
            for theirs in readings(&theirs).into_iter().flatten() {
                if ours.covers(&theirs) && theirs.opens_path(&path) {
                    prop_assert!(ours.opens_path(&path), "{ours:?} {theirs:?}");
                }
            }
        }
    }

    #[test]
    fn display_is_what_parse_reads(pattern in "/[ab/*]{0,10}") {
        if let Ok(opens) = Opens::parse(&pattern) {
            prop_assert_eq!(Opens::parse(&opens.to_string()), Ok(opens));
        }
    }
}
