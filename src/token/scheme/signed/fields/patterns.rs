//! Lists of path patterns as CDNs write them: `*` is any characters, slashes too, `?` is one character. They are matched against
//! the decoded path, in time that is linear in it whatever the pattern.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use crate::token::scope::glob::{Piece, Pieces, matches};
use crate::token::scope::{MAX_PATTERN_BYTES, MAX_PATTERNS};
use crate::token::{Opens, TokenError};

/// A list of patterns; at least one.
#[derive(Debug)]
pub(in super::super) struct Patterns<'t>(SmallVec<[Pattern<'t>; 1]>);

/// What a pattern is made of, in its order; stars never stand side by side.
type Pattern<'t> = SmallVec<[Symbol<'t>; 2]>;

#[derive(Debug, PartialEq, Eq)]
enum Symbol<'t> {
    /// This, decoded.
    Text(Cow<'t, str>),
    /// One character.
    One,
    /// Any characters.
    Any,
}

/// What a percent-encoding in a pattern stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Encodings {
    /// A letter: `%2a` is a star in a file's name.
    Letters,
    /// Nothing: they were decoded before.
    Decoded,
}

impl<'t> Patterns<'t> {
    /// Reads a list.
    ///
    /// # Errors
    /// `Malformed` for an empty or an overlong one, and where an encoding is not that of a text.
    pub(in super::super) fn parse(
        text: &'t str,
        separator: char,
        encodings: Encodings,
    ) -> Result<Self, TokenError> {
        let mut patterns = SmallVec::new();
        for pattern in text.split(separator) {
            if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES || patterns.len() >= MAX_PATTERNS {
                return Err(TokenError::Malformed(
                    "its list of paths is empty, or longer than what is read",
                ));
            }
            patterns.push(symbols(pattern, encodings)?);
        }
        Ok(Self(patterns))
    }

    /// Whether one of them matches the whole path, decoded.
    pub(in super::super) fn match_path(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| {
            let pieces: Pieces<'_> = pattern
                .iter()
                .map(|symbol| match symbol {
                    Symbol::Text(text) => Piece::Literal(text),
                    Symbol::One => Piece::One,
                    Symbol::Any => Piece::Anything,
                })
                .collect();
            matches(&pieces, path)
        })
    }

    /// The deepest folder that holds all that they match, for the `Path` of a cookie. Of plain letters alone: a folder whose
    /// name could be spelled in two ways is left to the folder above it.
    pub(in super::super) fn folder(&self) -> &str {
        let mut starts = self.0.iter().map(|pattern| match pattern.first() {
            Some(Symbol::Text(text)) => text.as_ref(),
            _ => "",
        });
        let first = starts.next().unwrap_or_default();
        let length = starts.fold(first.len(), |length, start| {
            let alike = first.bytes().zip(start.bytes()).take_while(|(a, b)| a == b);
            length.min(alike.count())
        });
        folder(first.as_bytes().get(..length).unwrap_or_default(), first)
    }
}

/// The folder of a path of which `common` is the part that counts.
pub(in super::super) fn folder<'p>(common: &[u8], path: &'p str) -> &'p str {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
    let length = common.iter().take_while(|byte| plain(byte)).count();
    let end = common.iter().take(length).rposition(|byte| *byte == b'/');
    match end.and_then(|end| path.get(..=end)) {
        Some(folder) if folder.starts_with('/') => folder,
        _ => "/",
    }
}

fn symbols(pattern: &str, encodings: Encodings) -> Result<Pattern<'_>, TokenError> {
    let mut symbols = Pattern::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let (text, wild) = rest.split_at(rest.find(['*', '?']).unwrap_or(rest.len()));
        if !text.is_empty() {
            symbols.push(Symbol::Text(match encodings {
                Encodings::Letters => percent_decode_str(text)
                    .decode_utf8()
                    .map_err(|_| TokenError::Malformed("its list of paths is no text"))?,
                Encodings::Decoded => Cow::Borrowed(text),
            }));
        }
        rest = match wild.strip_prefix('*') {
            Some(_) => {
                symbols.push(Symbol::Any);
                wild.trim_start_matches('*')
            }
            None => match wild.strip_prefix('?') {
                Some(rest) => {
                    symbols.push(Symbol::One);
                    rest
                }
                None => wild,
            },
        };
    }
    Ok(symbols)
}

/// A pattern for what a link is to open; `separators` and the letters of the format can't be in it.
///
/// # Errors
/// `Invalid` for what no pattern says.
pub(in super::super) fn pattern(opens: &Opens, separators: &[char]) -> Result<String, TokenError> {
    let pattern = match opens {
        Opens::Exact(path) => path.to_string(),
        Opens::Prefix(start) | Opens::StartsWith(start) => format!("{start}*"),
        Opens::Glob(_) => {
            let glob = opens.to_string();
            // Its single star stays within a segment, and theirs does not.
            if glob.split("**").any(|text| text.contains('*')) {
                return Err(TokenError::Invalid("its patterns have no star within a segment"));
            }
            glob.replace("**", "*")
        }
        Opens::MediaId(_) => return Err(TokenError::Invalid("its patterns are paths")),
    };
    let stars = pattern.bytes().filter(|byte| *byte == b'*').count();
    let meant = match opens {
        Opens::Exact(_) => 0,
        Opens::Glob(_) => stars,
        _ => 1,
    };
    let unsayable = |letter: char| "?%~".contains(letter) || separators.contains(&letter);
    if stars != meant || pattern.contains(unsayable) || pattern.len() > MAX_PATTERN_BYTES {
        return Err(TokenError::Invalid("its patterns can't say this path"));
    }
    Ok(pattern)
}
