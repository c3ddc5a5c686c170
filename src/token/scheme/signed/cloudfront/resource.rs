//! The wildcards of a policy's `Resource`: `*` for any characters, slashes too, and `?` for exactly one that is no slash. In: a
//! pattern, a URL. Out: whether it is meant. Never: goes back. What stands between two stars is looked for once.

/// The most `?` of a pattern that may be the one before the query.
const MAX_MARKS: usize = 8;

/// Whether a resource is this URL. As CloudFront reads it, but that a star of the scheme or the host ends there, and one of the path
/// with it: who signs `http*://host/videos/*.m3u8` does not mean `/secret?://host/videos/` nor `/videos/secret?.m3u8`, which whoever
/// asks may write. And a `?` is no slash: who signs `/a?x=1` does not mean `/a/x=1`.
pub(super) fn is(resource: &str, url: &str) -> bool {
    match (apart(resource), apart(url)) {
        (Some((scheme, host, path)), Some((its_scheme, its_host, its_path))) => {
            matches(scheme, its_scheme) && matches(host, its_host) && covers(path, its_path)
        }
        // `*`, or `https://*`.
        _ => covers(resource, url),
    }
}

/// Scheme, host, and path with query, where there are three.
fn apart(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/')?);
    (!scheme.contains('/')).then_some((scheme, host, path))
}

/// Whether the pattern matches, and also without the query; or what is before one `?` of it the path alone, and what is behind it
/// the query.
fn covers(pattern: &str, text: &str) -> bool {
    let Some((path, query)) = text.split_once('?') else {
        return matches(pattern, text);
    };
    let is_mark = |at: usize| {
        let (before, behind) = pattern.split_at(at);
        matches(before, path) && matches(behind.get(1..).unwrap_or_default(), query)
    };
    matches(pattern, text)
        && (matches(pattern, path)
            || pattern
                .match_indices('?')
                .take(MAX_MARKS)
                .any(|(at, _)| is_mark(at)))
}

/// Whether the pattern matches the whole text. The time is linear in the text; where a `?` stands between two stars, also in the
/// length of what is between them.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return after_start(pattern, text) == Some("");
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let between = after_start(first, text).and_then(|text| before_end(last, text));
    // The leftmost place of each leaves the most to the next: all have a fixed length.
    between.is_some_and(|text| middle.split('*').try_fold(text, after).is_some())
}

/// What follows where the text starts with this piece.
fn after_start<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut chars = text.chars();
    let same = |wanted: char| chars.next().is_some_and(|char| stands_for(wanted, char));
    piece.chars().all(same).then_some(chars.as_str())
}

/// What goes before where the text ends with this piece.
fn before_end<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut chars = text.chars();
    let same = |wanted: char| chars.next_back().is_some_and(|char| stands_for(wanted, char));
    piece.chars().rev().all(same).then_some(chars.as_str())
}

/// What follows the leftmost place of this piece.
fn after<'t>(text: &'t str, piece: &str) -> Option<&'t str> {
    if !piece.contains('?') {
        return text.split_once(piece).map(|(_, rest)| rest);
    }
    let mut from = text.chars();
    loop {
        if let Some(rest) = after_start(piece, from.as_str()) {
            return Some(rest);
        }
        from.next()?;
    }
}

fn stands_for(wanted: char, char: char) -> bool {
    wanted == char || wanted == '?' && char != '/'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "a/b", true),
            ("?", "", false),
            ("?", "\u{e4}", true),
            ("?", "ab", false),
            ("?", "?", true),
            ("?", "/", false),
            ("a?*?", "a/bc", false),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("*a?c*", "xaabcx", true),
            ("*a?c*", "xac", false),
            ("http*://h/*", "https://h/x?y=1", true),
            ("http*://h/*", "http://h/", true),
            ("http*://h/*", "ftp://h/", false),
            ("https://h/a.b", "https://h/aXb", false),
            ("https://h/a+(1)", "https://h/a+(1)", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_star_does_not_reach_out_of_scheme_host_or_path() {
        for (resource, url, means) in [
            ("*", "https://h/a?b", true),
            ("http*", "https://h/a?b", true),
            ("https://*", "https://h/a?b", true),
            ("https://*", "http://h/a", false),
            ("http*://h/v/*", "https://h/v/a?b", true),
            ("*://h/v/*", "https://h/v/a?b", true),
            ("*://h/v/*", "https://h/secret?u=://h/v/", false),
            ("http*://h/v/*", "https://h/secret?u=://h/v/a", false),
            ("https://*.h/v/*", "https://a.h/v/a", true),
            ("https://*.h/v/*", "https://a.h/secret/.h/v/a", false),
            ("https://*/a", "https://h/b/a", false),
            ("https://h/v/*.ts", "https://h/v/a/b.ts", true),
            ("https://h/v/*.ts", "https://h/v/b.ts?x=.ts", true),
            ("https://h/v/*.ts", "https://h/v/secret?x=.ts", false),
            ("https://h/v/*.ts?x=*", "https://h/v/a.ts?x=1", true),
            ("https://h/v/*.ts?x=*", "https://h/v/a.ts?x=1?x=2", true),
            ("https://h/v/*.ts?x=*", "https://h/v/secret?y=.ts?x=1", false),
            ("https://h/v/*.ts?x=*", "https://h/v/secret?.ts&x=1", false),
            ("*/v/*.ts?x=*", "https://h/v/secret?y=.ts?x=1", false),
            ("*/v/*.ts?x=*", "https://h/v/a.ts?x=1", true),
            // One character, and no query is meant by it.
            ("https://h/v/*-?.ts", "https://h/v/a-1.ts", true),
            ("https://h/v/*-?.ts", "https://h/v/secret?x=-1.ts", false),
            ("https://h/v/*-?.ts*", "https://h/v/a-1.ts?x=1", true),
            ("https://h/v/*-?.ts?x=?", "https://h/v/a-1.ts?x=1", true),
            ("https://h/v?/*.ts", "https://h/v1/secret?x=.ts", false),
            ("https://h/v?/*", "https://h/v1/a?x=1", true),
            ("https://h/a?x=1", "https://h/a/x=1", false),
            ("https://h/v/*zip*", "https://h/v/a.zip?license=yes", true),
            ("https://h/a?x=1", "https://h/a?x=1", true),
            ("https://h/a", "https://h/a?x=1", false),
            ("/v/*", "https://h/v/a", false),
            ("*/v/*", "https://h/v/a", true),
            ("*/v/*://*", "https://h/v/a://b", true),
        ] {
            assert_eq!(is(resource, url), means, "{resource} {url}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_more_than_the_product_of_the_lengths() {
        let text = "a".repeat(16 * 1024);
        let pattern = format!("*{}?b*", "a".repeat(500));
        assert!(!matches(&pattern, &text));
        assert!(!matches(&"*a".repeat(8 * 1024).replace("a*a*", "a*b*"), &text));
    }

    proptest! {
        #[test]
        fn it_is_what_a_regular_expression_says(pattern in "[ab/*?\u{e4}]{0,12}", text in "[ab/\u{e4}]{0,16}") {
            let expression: String = pattern
                .chars()
                .map(|char| match char {
                    '*' => "(?s:.*)".to_owned(),
                    '?' => "[^/]".to_owned(),
                    char => char.to_string(),
                })
                .collect();
            let expression = regex::Regex::new(&format!("^(?:{expression})$")).unwrap();
            prop_assert_eq!(matches(&pattern, &text), expression.is_match(&text), "{} {}", pattern, text);
        }
    }
}
