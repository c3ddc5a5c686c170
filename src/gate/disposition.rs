//! `Content-Disposition` (RFC 6266): a file name that every client can read, ASCII and UTF-8.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but RFC 8187 `attr-char`.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header's value: `attachment; filename="Bild.jpg"; filename*=UTF-8''Bild.jpg`.
pub(super) fn value(word: &'static str, name: Option<&str>) -> HeaderValue {
    let Some(name) = name else {
        return HeaderValue::from_static(word);
    };
    // Quotes, backslashes and percent signs are read differently by different clients, so the fallback has none.
    let plain = |letter: char| letter.is_ascii() && !letter.is_ascii_control() && !"\"\\%/".contains(letter);
    let fallback: String = name
        .chars()
        .map(|letter| if plain(letter) { letter } else { '_' })
        .collect();
    let mut text = format!("{word}; filename=\"{fallback}\"");
    if fallback != name {
        text.push_str("; filename*=UTF-8''");
        text.extend(utf8_percent_encode(name, EXTENDED));
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_by_old_and_new_clients() {
        for (name, expected) in [
            ("a.pdf", "attachment; filename=\"a.pdf\""),
            ("a, b;c.pdf", "attachment; filename=\"a, b;c.pdf\""),
            (
                "Übersicht.jpg",
                "attachment; filename=\"_bersicht.jpg\"; filename*=UTF-8''%C3%9Cbersicht.jpg",
            ),
            (
                "a\"b\\c%20.pdf",
                "attachment; filename=\"a_b_c_20.pdf\"; filename*=UTF-8''a%22b%5Cc%2520.pdf",
            ),
            (
                "a\r\nb",
                "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab",
            ),
        ] {
            assert_eq!(value("attachment", Some(name)), expected, "{name:?}");
        }
        assert_eq!(value("inline", None), "inline");
    }
}
