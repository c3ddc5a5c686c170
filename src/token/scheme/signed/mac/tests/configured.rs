//! Patterns, places and rules: read, or refused with what is wrong.

use super::*;

fn refusal(rules: Rules) -> BadRules {
    Mac::build(rules).expect_err("refused rules")
}

#[test]
fn patterns_are_read_or_refused_with_what_is_wrong() {
    let piece = |name: &str| BadPattern::Unknown(name.into());
    let argument = |name: &str, how| BadPattern::Argument(name.into(), how);
    let (count, parameter) = (
        "with a number of segments, from 1 to 16",
        "with the name of a parameter",
    );
    let long = "x".repeat(MAX_PATTERN_BYTES + 1);
    let many = "{path}".repeat(MAX_PIECES + 1);
    for (text, bad) in [
        ("", BadPattern::Empty),
        (&long, BadPattern::TooLong),
        (&many, BadPattern::TooManyPieces),
        ("{path", BadPattern::Brace),
        ("path}", BadPattern::Brace),
        ("{pa{th}", BadPattern::Brace),
        ("{secret}}", BadPattern::Brace),
        ("{path}\0", BadPattern::Zero),
        ("{}", piece("")),
        ("{Path}", piece("Path")),
        ("{uri}", piece("uri")),
        ("{secret_raw}", piece("secret_raw")),
        ("{path:1}", piece("path:1")),
        ("{arg}", piece("arg")),
        ("{segments}", piece("segments")),
        ("{segments:0}", argument("segments:0", count)),
        ("{segments:17}", argument("segments:17", count)),
        ("{segments:+1}", argument("segments:+1", count)),
        ("{link_raw:}", argument("link_raw:", count)),
        ("{arg:}", argument("arg:", parameter)),
        ("{arg:a&b}", argument("arg:a&b", parameter)),
        ("{sorted:}", argument("sorted:", parameter)),
        ("{header:a b}", argument("header:a b", "with a header's name")),
    ] {
        assert_eq!(Pattern::parse(text), Err(bad), "{text:?}");
    }
    let pattern = Pattern::parse("a{{b}}c{path}d").expect("a pattern");
    assert_eq!(pattern.pieces.len(), 3);
    assert!(Pattern::parse(&"x".repeat(MAX_PATTERN_BYTES)).is_ok());
    assert!(Pattern::parse(&"{path}".repeat(MAX_PIECES)).is_ok());
}

#[test]
fn places_are_read_or_refused_with_what_is_wrong() {
    let long = format!("?{}={{mac}}", "x".repeat(MAX_LAYOUT_BYTES));
    let deep = format!("{}/{{mac}}", "/a".repeat(8));
    for (text, bad) in [
        ("", BadLayout::Start),
        ("{mac}", BadLayout::Start),
        (&long, BadLayout::TooLong),
        (&deep, BadLayout::TooMany),
        ("?mac={mac", BadLayout::Brace),
        ("?mac={hash}", BadLayout::Unknown("hash".into())),
        ("?mac={mac}{expires}", BadLayout::NoSeparator),
        ("?mac={mac}&b={mac}", BadLayout::Twice("mac")),
        ("?a={mac}&a={expires}", BadLayout::Twice("name of a parameter")),
        ("?a={mac}&b={expires}&c={issued}", BadLayout::Twice("expires")),
        ("?until={expires}", BadLayout::NoMac),
        ("?a={mac}%20{expires}", BadLayout::Letter),
        ("/a b/{mac}", BadLayout::Letter),
        ("?", BadLayout::Literal),
        ("?mac", BadLayout::Literal),
        ("?mac=x", BadLayout::Literal),
        ("?={mac}", BadLayout::Empty),
        ("?{mac}={mac}", BadLayout::Empty),
        ("//{mac}", BadLayout::Empty),
        ("/{mac}/", BadLayout::Empty),
        ("/../{mac}", BadLayout::Empty),
        ("/..;a/{mac}", BadLayout::Empty),
        ("/{mac}/a/{expires}", BadLayout::Literal),
        ("/dl?mac={mac}", BadLayout::Literal),
    ] {
        assert_eq!(Layout::parse(text), Err(bad), "{text:?}");
    }
}

#[test]
fn rules_that_would_sign_too_little_are_refused() {
    let both = "?mac={mac}&until={expires}";
    for (rules, bad) in [
        (with("{path}:{expires}", both), BadRules::NoSecret),
        (with("{secret}:{expires}", both), BadRules::NoPath),
        (
            with("{secret}:{query_without_token}:{expires}", both),
            BadRules::NoPath,
        ),
        (with("{secret}:{path}", both), BadRules::NotSigned("expires")),
        (
            with("{secret}:{path}:{expires}", "?mac={mac}"),
            BadRules::NotPlaced("expires"),
        ),
        (
            with("{secret}:{path}:{issued}", both),
            BadRules::TimeWord("expires"),
        ),
        (
            with("{secret}:{path}:{issued}", "?mac={mac}&at={issued}"),
            BadRules::TimeWord("expires"),
        ),
        (
            with("{secret}:{path}:{expires}", "?mac={mac}.{expires}&id={id}"),
            BadRules::NotSigned("id"),
        ),
        (
            with("{secret}:{path}:{expires}:{subject}", both),
            BadRules::NotPlaced("subject"),
        ),
        (
            with("{secret}:{path}:{expires}:{starts}", both),
            BadRules::NotPlaced("starts"),
        ),
        (
            with(
                "{secret}:{path}:{expires}:{lifetime}",
                "?mac={mac}&until={expires}&for={lifetime}",
            ),
            BadRules::NotSigned("lifetime"),
        ),
        (
            with("{secret}:{path}:{expires}:{arg:until}", both),
            BadRules::TokenArgument("until".into()),
        ),
        (
            with("{secret}:{path}:{expires}", "?t={mac}-{expires}"),
            BadRules::NoSeparator,
        ),
        (
            with("{secret}{path}{arg:user}{expires}", both),
            BadRules::Touching("{path}", "{arg}"),
        ),
        (
            with("{secret}:{path}{id}{expires}", "?t={expires}-{id}-{mac}"),
            BadRules::Touching("{path}", "{id}"),
        ),
        (
            with("{secret}{arg:user}{path}:{expires}", both),
            BadRules::Touching("{arg}", "{path}"),
        ),
        (
            with("{secret}{dir}{link}:{expires}", both),
            BadRules::Touching("{dir}", "{link}"),
        ),
        (
            Rules {
                time: Time::Absent,
                ..with("{secret}:{path}", "?mac={mac}")
            },
            BadRules::NoTime,
        ),
        (
            Rules {
                time: Time::Absent,
                without_expiry: true,
                ..with("{secret}:{path}", both)
            },
            BadRules::NotSigned("expires"),
        ),
        (
            Rules {
                // `$uri$arg_ts$arg_e` with decimal times: a digit of the one is a digit of the next.
                time: Time::Lifetime(TimeText::Seconds),
                ..with(
                    "{secret}{path}{issued}{lifetime}",
                    "?mac={mac}&ts={issued}&e={lifetime}",
                )
            },
            BadRules::Touching("{path}", "{lifetime}"),
        ),
        (
            Rules {
                // Eight digits are as good as any others.
                time: Time::Lifetime(TimeText::Hex),
                ..with(
                    "{secret}{path}{issued}{lifetime}",
                    "?mac={mac}&ts={issued}&e={lifetime}",
                )
            },
            BadRules::Touching("{path}", "{lifetime}"),
        ),
        (
            Rules {
                time: Time::Absent,
                without_expiry: true,
                ..with("{secret}:{path}:{starts}", "?mac={mac}&from={starts}")
            },
            BadRules::StartAlone,
        ),
        (
            Rules {
                time: Time::Lifetime(TimeText::Rfc3339),
                ..with("{secret}{path}{issued}", "?mac={mac}&ts={issued}")
            },
            BadRules::NotPlaced("lifetime"),
        ),
        (
            Rules {
                reading: Reading::Resolved,
                ..with("{secret}:{dir_raw}:{expires}", both)
            },
            BadRules::RawResolved,
        ),
        (
            Rules {
                encoding: Encoding::Base64(Padding::With),
                ..with("{secret}:{path}:{expires}", "/{mac}/{expires}")
            },
            BadRules::Base64InPath,
        ),
        (
            Rules {
                last: true,
                ..with("{secret}:{path}:{expires}", both)
            },
            BadRules::Last,
        ),
    ] {
        let message = format!("{bad} {rules:?}");
        assert_eq!(refusal(rules), bad, "{message}");
    }
    let sound = Rules {
        touching: true,
        ..with("{secret}{path}{arg:user}{expires}", both)
    };
    assert!(Mac::build(sound).is_ok());
    // What RFC 3339 writes ends by itself.
    let sound = Rules {
        time: Time::Lifetime(TimeText::Rfc3339),
        ..with(
            "{secret}{path}{issued}{lifetime}",
            "?mac={mac}&ts={issued}&e={lifetime}",
        )
    };
    assert!(Mac::build(sound).is_ok());
}
