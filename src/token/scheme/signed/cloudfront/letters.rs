//! Base64 as CloudFront has it in URLs: `-`, `~` and `_` stand for `+`, `/` and `=`. Padded, and with one spelling for the same bytes.

use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

const ENGINE: GeneralPurpose = GeneralPurpose::new(&ALPHABET, NO_PAD);
const ALPHABET: Alphabet =
    match Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~") {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("64 different letters: judged when this is compiled"),
    };

/// The bytes; `None` for everything that `write` does not write.
pub(super) fn read(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('_');
    let padding = letters.len().wrapping_neg() % 4;
    if text.len() - letters.len() != padding {
        return None;
    }
    ENGINE.decode(letters).ok()
}

/// The text.
pub(super) fn write(bytes: &[u8]) -> String {
    let mut text = ENGINE.encode(bytes);
    let padding = text.len().wrapping_neg() % 4;
    text.extend(std::iter::repeat_n('_', padding));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_one_spelling_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("AA__", b"\0"),
            ("AAA_", b"\0\0"),
            ("AAAA", b"\0\0\0"),
            ("-~-~", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(read(text).as_deref(), Some(bytes), "{text}");
            assert_eq!(write(bytes), text);
        }
        for text in [
            "A",
            "AA",
            "AAA",
            "AA_",
            "AA___",
            "AAA__",
            "AAAA_",
            "A___",
            "_",
            "____",
            "AB__",
            "AA==",
            "+/+/",
            "AA_A",
            "A AA",
            "AAA\u{e4}",
            "AAAA____",
            "AA__AA__",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_is(
            bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[A-Za-z0-9_~-]{0,12}",
        ) {
            prop_assert_eq!(read(&write(&bytes)), Some(bytes));
            if let Some(bytes) = read(&text) {
                prop_assert_eq!(write(&bytes), text);
            }
        }
    }
}
