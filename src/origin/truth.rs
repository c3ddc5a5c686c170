//! What an HTTP origin may answer to what it was asked: partial content, lengths, framing. Pure.
//! In: what was asked, the status and the headers. Out: how long the body is. Never: believes a range it did not ask for.

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, StatusCode};

use super::range::{Spec, Specs, parse};

/// What was asked, as far as it bounds the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    head: bool,
    /// Whether "not modified" can be an answer.
    conditional: bool,
    /// The ranges of a GET; empty when there were none that can be read.
    ranges: Specs,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none (HEAD, 204, 304).
    Nothing,
    /// After this many bytes.
    Known(u64),
    /// With its last chunk; the number is what a 206 promises.
    Chunked(Option<u64>),
    /// With the connection, or the HTTP/2 stream; the number is what a 206 promises.
    Close(Option<u64>),
}

impl Asked {
    /// What this request asks.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(RANGE).iter();
        let ranges = match (values.next(), values.next()) {
            (Some(value), None) if *method == Method::GET => parse(value.as_bytes()).unwrap_or_default(),
            _ => Specs::new(),
        };
        Self {
            head: *method == Method::HEAD,
            conditional: headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE),
            ranges,
        }
    }

    /// The same, for the whole file.
    pub(super) fn whole(self) -> Self {
        Self {
            ranges: Specs::new(),
            ..self
        }
    }
}

/// Judges a head. Headers that are harmless but say nothing (a `Content-Range` outside of 206 and 416, a repeated equal
/// `Content-Length`) are removed.
///
/// # Errors
/// What can't be true of it.
pub(super) fn judge(
    asked: &Asked,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<Length, &'static str> {
    if status == StatusCode::NOT_MODIFIED && !asked.conditional {
        return Err("a 304 that nobody asked for");
    }
    let announced = content_length(headers)?;
    let bodiless = asked.head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let promised = match status {
        StatusCode::PARTIAL_CONTENT => partial(asked, headers)?,
        StatusCode::RANGE_NOT_SATISFIABLE => None,
        _ => {
            headers.remove(CONTENT_RANGE);
            None
        }
    };
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: it must not be there, and no reader should wait for what it says.
        headers.remove(CONTENT_LENGTH);
    }
    if bodiless {
        return Ok(Length::Nothing);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        if announced.is_some() {
            return Err("two lengths for one body");
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let only = match (codings.next(), codings.next()) {
            (Some(only), None) => only.as_bytes().trim_ascii(),
            _ => return Err("a transfer coding that is not known"),
        };
        if !only.eq_ignore_ascii_case(b"chunked") {
            return Err("a transfer coding that is not known");
        }
        return Ok(Length::Chunked(promised));
    }
    match (announced, promised) {
        (Some(announced), Some(promised)) if announced != promised => Err("a length that is not the range's"),
        (Some(announced), _) => Ok(Length::Known(announced)),
        (None, promised) => Ok(Length::Close(promised)),
    }
}

/// The one length that all `Content-Length` fields agree on; of several, one is kept.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut agreed = None;
    let mut count = 0;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let length = number(part.trim_ascii()).ok_or("a length that is no number")?;
            if agreed.is_some_and(|agreed| agreed != length) {
                return Err("lengths that differ");
            }
            agreed = Some(length);
            count += 1;
        }
    }
    if let (Some(length), 2..) = (agreed, count) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(agreed)
}

/// The length that a 206 promises; `None` for several parts.
fn partial(asked: &Asked, headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    if asked.ranges.is_empty() {
        return Err("a range that was not asked for");
    }
    let mut values = headers.get_all(CONTENT_RANGE).iter();
    match (values.next(), values.next()) {
        (None, None) if asked.ranges.len() > 1 && is_multipart(headers) => Ok(None),
        (Some(_), None) if is_multipart(headers) => Err("a range that is said to be several"),
        (Some(value), None) => {
            let sent = Sent::parse(value.as_bytes()).ok_or("a range that can't be read")?;
            if !asked.ranges.iter().any(|spec| sent.answers(*spec)) {
                return Err("another range than was asked for");
            }
            Ok(Some(sent.last - sent.first + 1))
        }
        _ => Err("partial content without its range"),
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"multipart/byteranges";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.len() >= NAME.len()
            && value[..NAME.len()].eq_ignore_ascii_case(NAME)
            && matches!(value.get(NAME.len()), None | Some(b';' | b' ' | b'\t'))
    })
}

/// A `Content-Range` with a range in it.
#[derive(Clone, Copy)]
struct Sent {
    first: u64,
    last: u64,
    size: Option<u64>,
}

impl Sent {
    fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let space = value.iter().position(|byte| *byte == b' ')?;
        if !value[..space].eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let value = &value[space + 1..];
        let dash = value.iter().position(|byte| *byte == b'-')?;
        let slash = value.iter().position(|byte| *byte == b'/')?;
        let first = number(&value[..dash])?;
        let last = number(value.get(dash + 1..slash)?)?;
        let size = match &value[slash + 1..] {
            b"*" => None,
            size => Some(number(size)?),
        };
        let holds = first <= last && last < u64::MAX && size.is_none_or(|size| last < size);
        holds.then_some(Self { first, last, size })
    }

    /// Starts where it was asked to start and does not go further. Ending earlier is allowed (RFC 9110 §15.3.7).
    fn answers(self, spec: Spec) -> bool {
        match spec {
            Spec::Between { first, last } => self.first == first && self.last <= last,
            Spec::From { first } => self.first == first,
            Spec::Last { count } => match self.size {
                Some(size) => self.first == size.saturating_sub(count),
                None => self.last - self.first < count,
            },
        }
    }
}

/// Digits and nothing else, within `u64`.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
