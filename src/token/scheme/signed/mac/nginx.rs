//! The path as nginx has it in `$uri`: decoded once, several slashes made one, dot segments resolved. Nothing is forwarded
//! in any other form than this: it becomes the target.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::target::BadTarget;

/// What would be something else in a raw path; the target has a canonical encoding of its own.
const RAW: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

/// Resolves a raw path, and encodes it again.
///
/// # Errors
/// `BadTarget` for what nginx answers with 400, and for what is not UTF-8.
pub(super) fn resolve(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    if !path.starts_with('/') {
        return Err(BadTarget::Relative);
    }
    if !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in decoded.split('/') {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(BadTarget::DotSegment)?;
            }
            name => segments.push(name),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in segments {
        resolved.push('/');
        resolved.extend(utf8_percent_encode(segment, RAW));
    }
    if is_folder || resolved.is_empty() {
        resolved.push('/');
    }
    Ok(Cow::Owned(resolved))
}

fn decode(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    let broken = path.match_indices('%').any(|(at, _)| {
        let digits = path.as_bytes().get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(BadTarget::BrokenEncoding);
    }
    percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| BadTarget::NotUtf8)
}
