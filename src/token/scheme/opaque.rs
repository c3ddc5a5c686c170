//! Opaque tokens: 128 random bits as 32 hexadecimal digits. They say nothing; what they stand for is in the store, under a
//! keyed hash, so that nobody who reads the store can use them.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::token::keys::LogKey;
use crate::token::{Evidence, TokenError, TokenId};

/// The digits of a handle.
const DIGITS: usize = 32;

/// The text of an opaque token.
#[derive(Clone, PartialEq, Eq)]
pub struct Handle(Zeroizing<[u8; DIGITS]>);

impl Handle {
    /// A new one, from the system's random numbers.
    ///
    /// # Errors
    /// When there are none.
    pub fn random() -> Result<Self, TokenError> {
        let mut bytes = Zeroizing::new([0; DIGITS / 2]);
        rand::fill(&mut *bytes).map_err(|_| TokenError::Invalid("no random numbers"))?;
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
        let mut text = Zeroizing::new([0; DIGITS]);
        for (at, byte) in bytes.iter().enumerate() {
            text[2 * at] = digit(byte >> 4);
            text[2 * at + 1] = digit(*byte);
        }
        Ok(Self(text))
    }

    /// Reads one: 32 hexadecimal digits, lower case, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; DIGITS] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            .then(|| Self(Zeroizing::new(bytes)))
    }

    /// The text. The name can be searched for.
    pub fn reveal(&self) -> &str {
        // Digits alone, so that this never fails.
        std::str::from_utf8(&*self.0).unwrap_or_default()
    }

    /// What logs and store call it. The byte in front is in no UTF-8 text, so that no JWT has the same name.
    pub fn id(&self, log_key: &LogKey) -> TokenId {
        log_key.name(&[&[0xfe], &self.0[..]].concat())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(…)")
    }
}

/// How opaque tokens are looked up.
#[derive(Debug)]
pub struct Opaque {
    log_key: Arc<LogKey>,
}

impl Opaque {
    /// Under the names that this key gives.
    pub fn new(log_key: Arc<LogKey>) -> Self {
        Self { log_key }
    }

    /// Whether it is one by its looks.
    pub fn recognizes(&self, evidence: &Evidence<'_>) -> bool {
        evidence.parts.len() == 1 && Handle::parse(evidence.reveal()).is_some()
    }

    /// Under which id the store knows it.
    ///
    /// # Errors
    /// `Malformed` where it is not 32 digits.
    pub fn id(&self, evidence: &Evidence<'_>) -> Result<TokenId, TokenError> {
        match Handle::parse(evidence.reveal()) {
            Some(handle) if evidence.parts.len() == 1 => Ok(handle.id(&self.log_key)),
            _ => Err(TokenError::Malformed("not 32 hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_handle_is_read_in_one_way_and_no_two_are_alike() {
        let one = Handle::random().unwrap();
        let text = one.reveal().to_owned();
        assert_eq!(Handle::parse(&text), Some(one.clone()));
        assert_ne!(Handle::random().unwrap(), one);
        for bad in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"),
            &format!("{} ", &text[1..]),
            &format!("{}=", &text[1..]),
        ] {
            assert_eq!(Handle::parse(bad), None, "{bad:?}");
        }
        assert_eq!(format!("{one:?}"), "Handle(…)");
    }

    #[test]
    fn its_name_depends_on_the_key_and_is_not_its_text() {
        let handle = Handle::random().unwrap();
        let keys = [1, 2].map(|byte| LogKey::new(&Secret::new(vec![byte; 32])));
        assert_ne!(handle.id(&keys[0]), handle.id(&keys[1]));
        assert_ne!(handle.id(&keys[0]).to_string(), handle.reveal());
    }
}
