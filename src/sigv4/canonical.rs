//! The one spelling of a request that both sides of a SigV4 signature hash. Pure.
//! In: method, path, query, headers. Out: the path and the query as S3 spells them, and the request's digest.
//! Source: AWS, "Signature Version 4: create a canonical request".

use aws_lc_rs::digest::{Context, Digest, SHA256};

/// A header as it is signed: its name in lower case, and its value.
pub type Header<'r> = (&'r str, &'r [u8]);

/// What is hashed of a request.
pub(super) struct Canonical<'r> {
    pub(super) method: &'r str,
    /// In S3's spelling: what `encode_path` makes.
    pub(super) path: &'r str,
    /// In S3's spelling and order: what `canonical_query` makes.
    pub(super) query: &'r str,
    /// Sorted by name.
    pub(super) headers: &'r [Header<'r>],
    /// The hash of the body in hexadecimal digits, or `UNSIGNED-PAYLOAD`.
    pub(super) payload: &'r str,
}

impl Canonical<'_> {
    pub(super) fn digest(&self) -> Digest {
        let mut hash = Context::new(&SHA256);
        self.hand_on(|piece| hash.update(piece));
        hash.finish()
    }

    /// What is hashed, for those who want to see it.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.path.len() + self.query.len() + 256);
        self.hand_on(|piece| text.extend_from_slice(piece));
        text
    }

    fn hand_on(&self, mut hand_on: impl FnMut(&[u8])) {
        for part in [self.method, "\n", self.path, "\n", self.query, "\n"] {
            hand_on(part.as_bytes());
        }
        for (name, value) in self.headers {
            hand_on(name.as_bytes());
            hand_on(b":");
            trim(value, &mut hand_on);
            hand_on(b"\n");
        }
        hand_on(b"\n");
        for (at, (name, _)) in self.headers.iter().enumerate() {
            if at > 0 {
                hand_on(b";");
            }
            hand_on(name.as_bytes());
        }
        hand_on(b"\n");
        hand_on(self.payload.as_bytes());
    }
}

/// Hands on a header's value without spaces around it, and with one for several within.
fn trim(value: &[u8], mut hand_on: impl FnMut(&[u8])) {
    let value = value.trim_ascii();
    if !value.windows(2).any(|pair| pair == b"  ") {
        return hand_on(value);
    }
    for (at, word) in value
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .enumerate()
    {
        if at > 0 {
            hand_on(b" ");
        }
        hand_on(word);
    }
}

/// Appends a path as S3 spells it: every byte but letters, digits, `-._~` and `/` percent-encoded, with upper-case digits.
/// What is encoded already is decoded first, so that another spelling of the same key comes out the same; a `%` that
/// encodes nothing stands for itself.
pub fn encode_path(path: &str, out: &mut String) {
    encode(path.as_bytes(), b'/', out);
}

/// A query as it is signed: those of its parameters that `keep` keeps by their decoded names, each spelled anew and sorted.
/// A `+` stands for itself.
pub fn canonical_query(query: &str, mut keep: impl FnMut(&str) -> bool) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let mut encoded = (
            String::with_capacity(name.len()),
            String::with_capacity(value.len()),
        );
        encode(name.as_bytes(), b'-', &mut encoded.0);
        encode(value.as_bytes(), b'-', &mut encoded.1);
        if keep(&encoded.0) {
            pairs.push(encoded);
        }
    }
    pairs.sort_unstable();
    let mut query = String::new();
    for (name, value) in &pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(value);
    }
    query
}

/// Appends text, spelled anew; `plain` is left as it is beside the unreserved characters of RFC 3986.
pub(super) fn encode(text: &[u8], plain: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (byte, length) = match text.get(at + 1..at + 3).and_then(hex_byte) {
            Some(decoded) if byte == b'%' => (decoded, 3),
            _ => (byte, 1),
        };
        at += length;
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || (byte == plain && length == 1)
        {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The byte that two hexadecimal digits, of either case, stand for.
fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    match digits {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (byte, pair) in bytes.iter().zip(text.as_chunks_mut::<2>().0) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    text
}

/// Lower-case hexadecimal digits, and nothing else, back.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = hex_byte(pair)?;
    }
    Some(bytes)
}
