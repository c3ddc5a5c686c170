//! The match types of `catu` and `cath`: how a part of a request is compared with what a claim says of it.

use aws_lc_rs::digest;
use regex::bytes::{Regex, RegexBuilder};

use super::cbor::{Item, Label};
use crate::token::TokenError;

/// The longest expression.
const MAX_REGEX_BYTES: usize = 512;
/// What a compiled one may take; more than any of that length without counted repetitions.
const MAX_REGEX_MEMORY: usize = 64 * 1024;

/// The most regular expressions of one token: each is compiled for each request.
const MAX_REGEXES: usize = 8;

/// How many regular expressions a token may still have.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// Of a whole token.
    pub(super) fn new() -> Self {
        Self(MAX_REGEXES)
    }

    fn spend(&mut self) -> Result<(), TokenError> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or(TokenError::Invalid("a token has too many regexes"))?;
        Ok(())
    }
}

/// One demand.
#[derive(Debug)]
enum Match<'p> {
    Exact(&'p str),
    Prefix(&'p str),
    Suffix(&'p str),
    Contains(&'p str),
    Regex(Box<Regex>),
    Digest(&'static digest::Algorithm, [u8; 32]),
}

/// All that is demanded of one part: every one of them has to hold.
#[derive(Debug)]
pub(super) struct Matches<'p>(Vec<Match<'p>>);

impl<'p> Matches<'p> {
    /// Reads a map from match types to values.
    ///
    /// # Errors
    /// `Invalid` for unknown types, for values of the wrong kind, where nothing is demanded, and beyond the budget.
    pub(super) fn read(item: &Item<'p>, budget: &mut Budget) -> Result<Self, TokenError> {
        let Item::Map(map) = item else {
            return Err(TokenError::Invalid("what a claim compares with is not a map"));
        };
        if map.is_empty() {
            return Err(TokenError::Invalid("a claim compares with nothing"));
        }
        let demands = map
            .iter()
            .map(|(label, value)| Match::read(*label, value, budget));
        demands.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a text is as demanded.
    pub(super) fn hold(&self, text: &str) -> bool {
        self.0.iter().all(|demand| demand.holds(text))
    }
}

impl<'p> Match<'p> {
    fn read(kind: Label<'_>, value: &Item<'p>, budget: &mut Budget) -> Result<Self, TokenError> {
        Ok(match (kind, value) {
            (Label::Int(0), Item::Text(text)) => Self::Exact(text),
            (Label::Int(1), Item::Text(text)) => Self::Prefix(text),
            (Label::Int(2), Item::Text(text)) => Self::Suffix(text),
            (Label::Int(3), Item::Text(text)) => Self::Contains(text),
            // What follows the expression is flags to one library and groups to another.
            (Label::Int(4), Item::List(list)) => match &**list {
                [Item::Text(text)] => {
                    budget.spend()?;
                    Self::Regex(Box::new(regex(text)?))
                }
                _ => return Err(TokenError::Invalid("a regex is a list of one text")),
            },
            (Label::Int(-1), value) => Self::Digest(&digest::SHA256, hash(value)?),
            (Label::Int(-2), value) => Self::Digest(&digest::SHA512_256, hash(value)?),
            _ => return Err(TokenError::Invalid("a way to compare that is not known")),
        })
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == *exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => text.contains(part),
            Self::Regex(regex) => regex.is_match(text.as_bytes()),
            Self::Digest(algorithm, hash) => digest::digest(algorithm, text.as_bytes()).as_ref() == hash,
        }
    }
}

/// An expression that has to match the whole text. Bytes and no Unicode classes: a URI is ASCII.
fn regex(text: &str) -> Result<Regex, TokenError> {
    let wrong = || TokenError::Invalid("a regex can't be compiled");
    if text.len() > MAX_REGEX_BYTES {
        return Err(TokenError::Invalid("a regex is too long"));
    }
    let build = |text: &str, memory| {
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(memory)
            .dfa_size_limit(memory)
            .nest_limit(32)
            .build()
    };
    // By itself first: `a)|(?:b` would leave the brackets that it is put into. Without any memory it is read, and not compiled.
    match build(text, 0) {
        Ok(_) | Err(regex::Error::CompiledTooBig(_)) => {}
        Err(_) => return Err(wrong()),
    }
    build(&format!(r"\A(?:{text})\z"), MAX_REGEX_MEMORY).map_err(|_| wrong())
}

/// 32 bytes, or as `@eyevinn/cat` writes them: 64 hexadecimal digits, lower case.
fn hash(value: &Item<'_>) -> Result<[u8; 32], TokenError> {
    let hash = match value {
        Item::Bytes(bytes) => <[u8; 32]>::try_from(*bytes).ok(),
        Item::Text(text) => unhex(text).and_then(|bytes| bytes.try_into().ok()),
        _ => None,
    };
    hash.ok_or(TokenError::Invalid("a hash has 32 bytes"))
}

/// The bytes of lower-case hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect())?
}
