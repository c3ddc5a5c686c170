//! The one spelling in which URIs are compared (RFC 7230 §2.7.3, RFC 3986 §6.2.2 and §6.2.3). In come the public scheme and host,
//! and the path and query without the token; nothing is judged.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::token::PublicBase;

/// The whole URI, normalised: lower-case scheme and host, no default port, a path, and in path and query each byte in its one
/// spelling.
pub(super) fn normalized(public: &PublicBase, path: &str, query: Option<&str>) -> String {
    let mut uri = base(public);
    uri.reserve(path.len() + query.map_or(0, |query| query.len() + 1) + 1);
    if path.is_empty() {
        uri.push('/');
    }
    push(&mut uri, path);
    if let Some(query) = query {
        uri.push('?');
        push(&mut uri, query);
    }
    uri
}

/// Scheme and authority, normalised: what stands before the path.
pub(super) fn base(public: &PublicBase) -> String {
    let scheme = public.scheme.to_ascii_lowercase();
    let authority = public.authority.to_ascii_lowercase();
    let default_port = match &*scheme {
        "https" => "443",
        "http" => "80",
        _ => "",
    };
    // The colons of an IPv6 address stand in brackets.
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (port.is_empty() || port == default_port) => host,
        _ => &authority,
    };
    format!("{scheme}://{host}")
}

/// Appends a path or query: unreserved characters as they are, reserved ones as they were sent, everything else
/// percent-encoded, in upper case. A `%` that encodes nothing stays.
fn push(uri: &mut String, text: &str) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let encoded = match (byte, bytes.get(at), bytes.get(at + 1)) {
            (b'%', Some(high), Some(low)) => value(*high).zip(value(*low)),
            _ => None,
        };
        match encoded {
            Some((high, low)) => {
                at += 2;
                let byte = high << 4 | low;
                match is_unreserved(byte) {
                    true => uri.push(byte.into()),
                    false => encode(uri, byte),
                }
            }
            None if byte == b'%' || is_unreserved(byte) || is_reserved(byte) => uri.push(byte.into()),
            None => encode(uri, byte),
        }
    }
}

/// A decoded text as it stands in a normalised path.
pub(super) fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        let as_it_is = is_unreserved(byte) || is_reserved(byte) && !matches!(byte, b'?' | b'#' | b'[' | b']');
        match as_it_is {
            true => path.push(byte.into()),
            false => encode(&mut path, byte),
        }
    }
    path
}

fn encode(uri: &mut String, byte: u8) {
    uri.push('%');
    for digit in [byte >> 4, byte & 15] {
        uri.push(match digit {
            0..=9 => (b'0' + digit).into(),
            _ => (b'A' - 10 + digit).into(),
        });
    }
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §2.2.
fn is_reserved(byte: u8) -> bool {
    is_sub_delimiter(byte) || matches!(byte, b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@')
}

/// RFC 3986 §2.2, `sub-delims`.
pub(super) fn is_sub_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

/// The path without its dot segments (RFC 3986 §5.2.4), encoded ones too. Above the root is the root.
pub(super) fn resolve_dots(path: Cow<'_, str>) -> Cow<'_, str> {
    let is = |segment: &str, dots: &str| {
        segment.len() <= 3 * dots.len() && percent_decode_str(segment).eq(dots.bytes())
    };
    let is_dots = |segment: &str| is(segment, ".") || is(segment, "..");
    if !path.split('/').any(is_dots) {
        return path;
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(&path).split('/').peekable();
    while let Some(segment) = segments.next() {
        if !is_dots(segment) {
            kept.push(segment);
            continue;
        }
        if is(segment, "..") {
            kept.pop();
        }
        // What a dot segment at the end names is a folder.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/")).into()
}
