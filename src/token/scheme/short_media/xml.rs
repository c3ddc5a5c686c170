//! The little of XML that these tokens and Adobe's answers are made of: text with the five predefined entities and numeric
//! references. No markup beyond that is read or written.

use std::borrow::Cow;

/// The longest reference, from `&` to `;`: `&#x10FFFF;`.
const MAX_REFERENCE_BYTES: usize = 10;

/// Text as it stands between two tags.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            letter => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

/// Whether XML can say a text, and as one line: no control characters, and none that XML 1.0 §2.2 leaves out.
pub fn is_sayable(text: &str) -> bool {
    !text.contains(|letter: char| letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}'))
}

/// The text that stands between two tags; `None` where it is not sayable, or holds markup or another reference.
pub(super) fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('<') || raw.contains("]]>") {
        return None;
    }
    let text = if raw.contains('&') {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('&') {
            text.push_str(before);
            let end = after
                .bytes()
                .take(MAX_REFERENCE_BYTES)
                .position(|byte| byte == b';')?;
            text.push(referenced(&after[..end])?);
            rest = &after[end + 1..];
        }
        text.push_str(rest);
        Cow::Owned(text)
    } else {
        Cow::Borrowed(raw)
    };
    is_sayable(&text).then_some(text)
}

/// What `&name;` stands for, where it is predefined or a number.
pub fn referenced(name: &str) -> Option<char> {
    match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => {}
    }
    let number = name.strip_prefix('#')?;
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    // The parser of numbers would take a sign.
    let good = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    char::from_u32(u32::from_str_radix(digits, radix).ok().filter(|_| good)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_read_back() {
        for text in ["", "plain", "a&b<c>d\"e'f", "&amp;", "]]>", "ä€\u{10ffff}"] {
            assert_eq!(unescape(&escape(text)).as_deref(), Some(text));
        }
        assert_eq!(unescape("&#65;&#x42;&#x1F600;").as_deref(), Some("AB\u{1f600}"));
    }

    #[test]
    fn other_references_markup_and_control_characters_are_refused() {
        for bad in [
            "&",
            "&amp",
            "&;",
            "&nbsp;",
            "&xxe;",
            "&AMP;",
            "&#;",
            "&#x;",
            "&#+65;",
            "&#xD800;",
            "&#x110000;",
            "&#0;",
            "&#10;",
            "&#xFFFE;",
            "a\nb",
            "\u{7f}",
            "<!--",
            "<![CDATA[x]]>",
            "]]>",
            "&#00000000000065;",
        ] {
            assert_eq!(unescape(bad), None, "{bad:?}");
        }
    }
}
