//! What a client asks for: the canonical path and the query, without the token.
//! Parsed once; the value that was judged is the value that is fetched. Anything with two readings is refused.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// All that is percent-encoded in a canonical path: everything but RFC 3986 `pchar` and `/`.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// As `PATH`, and `/` too: one segment.
const SEGMENT: &AsciiSet = &PATH.add(b'/');

/// How often a path is decoded again to see whether an origin that decodes too often would be led astray.
const DECODE_ROUNDS: usize = 5;

/// A path that was parsed and found to have one reading, with its query.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// `path` or `path?query`, as an origin is asked.
    encoded: String,
    /// Length of the path in `encoded`.
    path_len: usize,
    /// The decoded path, where it differs from the encoded one.
    decoded: Option<Box<str>>,
}

/// Why a path has no single reading. The text is safe to show: it holds nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum BadTarget {
    /// Does not start with a slash.
    Relative,
    /// `.` or `..` as a segment, plain, encoded or followed by path parameters.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// `%2f`, `%5c`, `\`, `%00` or another control byte, also when encoded more than once.
    Forbidden,
    /// `%` without two hexadecimal digits.
    BrokenEncoding,
    /// Not UTF-8 once decoded.
    NotUtf8,
    /// A control byte or a space in the query.
    BadQuery,
}

impl BadTarget {
    /// The sentence of `Display`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Relative => "the path does not start with a slash",
            Self::DotSegment => "the path has a dot segment",
            Self::EmptySegment => "the path has an empty segment",
            Self::Forbidden => "the path has an encoded slash, a backslash or a control byte",
            Self::BrokenEncoding => "the path has a broken percent-encoding",
            Self::NotUtf8 => "the path is not UTF-8",
            Self::BadQuery => "the query has a control byte",
        }
    }
}

impl Target {
    /// Parses a raw path and query (RFC 3986), both without the token.
    ///
    /// # Errors
    /// `BadTarget` for everything that two programs could read in two ways (`docs/THREATS.md`).
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, BadTarget> {
        if !path.starts_with('/') {
            return Err(BadTarget::Relative);
        }
        let decoded = decode(path)?;
        check_decoded(&decoded)?;
        check_deeper(&decoded)?;
        if query.is_some_and(|query| {
            query
                .bytes()
                .any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#')
        }) {
            return Err(BadTarget::BadQuery);
        }
        let mut encoded = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
        for piece in utf8_percent_encode(&decoded, PATH) {
            encoded.push_str(piece);
        }
        let path_len = encoded.len();
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            encoded.push('?');
            encoded.push_str(query);
        }
        let decoded = (decoded.as_ref() != &encoded[..path_len]).then(|| Box::from(decoded.as_ref()));
        Ok(Self {
            encoded,
            path_len,
            decoded,
        })
    }

    /// From a decoded path that configuration names (a catalogue's file), without a query.
    ///
    /// # Errors
    /// `BadTarget`, as for a client's path.
    pub fn from_decoded(path: &str) -> Result<Self, BadTarget> {
        let encoded: Cow<'_, str> = utf8_percent_encode(path, PATH).into();
        Self::parse(&encoded, None)
    }

    /// The path as text, decoded once: what scopes judge.
    pub fn path(&self) -> &str {
        self.decoded.as_deref().unwrap_or(self.encoded_path())
    }

    /// The path in its one canonical encoding.
    pub fn encoded_path(&self) -> &str {
        &self.encoded[..self.path_len]
    }

    /// The query as it came, without the token.
    pub fn query(&self) -> Option<&str> {
        self.encoded.get(self.path_len + 1..)
    }

    /// Path and query, as an origin is asked: `/a%20b?x=1`.
    pub fn as_str(&self) -> &str {
        &self.encoded
    }

    /// The same path with another query. `None` or an empty one removes it.
    ///
    /// # Errors
    /// `BadQuery` for control bytes, spaces and `#`.
    pub fn with_query(&self, query: Option<&str>) -> Result<Self, BadTarget> {
        Self::parse(self.encoded_path(), query)
    }
}

impl fmt::Debug for Target {
    /// The query is not shown: it may hold secrets of others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.encoded_path())
    }
}

/// Percent-encodes a value as exactly one path segment.
///
/// # Errors
/// `DotSegment` or `EmptySegment` for `.`, `..` and the empty text, `Forbidden` for slashes, backslashes and control
/// bytes: such a value can't be a segment that every program reads alike.
pub fn encode_segment(value: &str) -> Result<Cow<'_, str>, BadTarget> {
    if value.is_empty() {
        return Err(BadTarget::EmptySegment);
    }
    if value.contains(['/', '\\']) {
        return Err(BadTarget::Forbidden);
    }
    check_segment(value)?;
    if value.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(BadTarget::Forbidden);
    }
    Ok(utf8_percent_encode(value, SEGMENT).into())
}

/// One round of percent-decoding, strict.
fn decode(text: &str) -> Result<Cow<'_, str>, BadTarget> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'%') {
        let start = at + found;
        let digits = bytes.get(start + 1..start + 3).ok_or(BadTarget::BrokenEncoding)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadTarget::BrokenEncoding);
        }
        // An encoded slash can't be told from a real one after decoding, so it is judged here.
        if matches!(digits, b"2f" | b"2F") {
            return Err(BadTarget::Forbidden);
        }
        at = start + 3;
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| BadTarget::NotUtf8)
}

fn check_decoded(path: &str) -> Result<(), BadTarget> {
    if path
        .bytes()
        .any(|byte| byte < b' ' || byte == 0x7f || byte == b'\\')
    {
        return Err(BadTarget::Forbidden);
    }
    if path.contains("//") {
        return Err(BadTarget::EmptySegment);
    }
    path.split('/').try_for_each(check_segment)
}

/// A dot segment, also with path parameters behind it (`..;x`), which some servers cut off before they resolve.
fn check_segment(segment: &str) -> Result<(), BadTarget> {
    match segment.split(';').next() {
        Some("." | "..") => Err(BadTarget::DotSegment),
        _ => Ok(()),
    }
}

/// Would an origin that decodes twice or more see something that was refused here? A `%` that decodes to nothing
/// harmful is data.
fn check_deeper(decoded: &str) -> Result<(), BadTarget> {
    let mut text = Cow::Borrowed(decoded);
    for _ in 0..DECODE_ROUNDS {
        if !text.contains('%') {
            return Ok(());
        }
        let deeper: Vec<u8> = percent_decode_str(&text).collect();
        if deeper == text.as_bytes() {
            return Ok(());
        }
        let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
        if slashes(&deeper) != slashes(text.as_bytes()) {
            return Err(BadTarget::Forbidden);
        }
        let deeper = String::from_utf8(deeper).map_err(|_| BadTarget::NotUtf8)?;
        check_decoded(&deeper)?;
        text = Cow::Owned(deeper);
    }
    Err(BadTarget::Forbidden)
}

#[cfg(test)]
mod tests;
