//! Conditional requests (RFC 9110 §13) for a file. Pure.
//! In: a file's validators and the headers of a request. Out: send it, or say that it is unchanged, or that a condition
//! failed. Never: compares weakly where the standard wants it strong.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};
use httpdate::HttpDate;

use super::file_body::Stamp;

/// What tells one state of a file from another.
pub(super) struct Validators {
    /// Strong: inode, size and modification time in nanoseconds. A file that is replaced (rename) gets another inode;
    /// one that is written in place gets another time. Two writes of the same size within one tick of the file
    /// system's clock (at most a few milliseconds) are the one case it does not see, as with every server.
    pub(super) etag: HeaderValue,
    /// In whole seconds, as it stands in `Last-Modified`.
    pub(super) modified: HttpDate,
}

/// How a request stands after its conditions were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Send the file; ranges count only where said so (`If-Range`).
    Send {
        /// Whether `Range` is to be honoured.
        ranges: bool,
    },
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Validators {
    pub(super) fn new(inode: u64, stamp: Stamp) -> Self {
        let Stamp {
            size,
            seconds,
            nanoseconds,
        } = stamp;
        let etag = format!("\"{inode:x}-{size:x}-{seconds:x}-{nanoseconds:x}\"");
        let modified =
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(MAX_DATE));
        Self {
            etag: HeaderValue::from_maybe_shared(bytes::Bytes::from(etag))
                .expect("hexadecimal digits and quotes"),
            modified: modified.into(),
        }
    }
}

/// The end of the year 9999: HTTP has no later date.
const MAX_DATE: u64 = 253_402_300_799;

/// The order of RFC 9110 §13.2.2, for GET and HEAD of a file that exists.
pub(super) fn judge(validators: &Validators, asked: &HeaderMap) -> Standing {
    if asked.contains_key(header::IF_MATCH) {
        if !lists(asked, &header::IF_MATCH, &validators.etag, Comparison::Strong) {
            return Standing::Failed;
        }
    } else if let Some(date) = date(asked, &header::IF_UNMODIFIED_SINCE)
        && validators.modified > date
    {
        return Standing::Failed;
    }
    if asked.contains_key(header::IF_NONE_MATCH) {
        if lists(asked, &header::IF_NONE_MATCH, &validators.etag, Comparison::Weak) {
            return Standing::NotModified;
        }
    } else if let Some(date) = date(asked, &header::IF_MODIFIED_SINCE)
        && validators.modified <= date
    {
        return Standing::NotModified;
    }
    Standing::Send {
        ranges: range_holds(validators, asked),
    }
}

/// `If-Range`: a strong tag or the exact date. Anything else asks for the whole file.
fn range_holds(validators: &Validators, asked: &HeaderMap) -> bool {
    let mut values = asked.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(_), Some(_)) => false,
        (Some(value), None) if value.as_bytes().first() == Some(&b'"') => *value == validators.etag,
        (Some(_), None) => date(asked, &header::IF_RANGE).is_some_and(|date| date == validators.modified),
    }
}

/// An unreadable date, or two of them, is no condition (RFC 9110 §13.1.3).
fn date(asked: &HeaderMap, name: &http::HeaderName) -> Option<HttpDate> {
    let mut values = asked.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok()?.trim().parse().ok(),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn lists(asked: &HeaderMap, name: &http::HeaderName, etag: &HeaderValue, comparison: Comparison) -> bool {
    asked.get_all(name).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*"
            || tags(value)
                .any(|(weak, tag)| tag == etag.as_bytes() && !(weak && comparison == Comparison::Strong))
    })
}

/// The tags of a list with their quotes; ends at the first that can't be read. A comma may stand inside a tag.
fn tags(mut list: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    std::iter::from_fn(move || {
        list = list.trim_ascii_start();
        while let Some(rest) = list.strip_prefix(b",") {
            list = rest.trim_ascii_start();
        }
        let (weak, rest) = match list.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, list),
        };
        let end = rest.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')? + 2;
        let (tag, rest) = rest.split_at(end);
        list = rest;
        Some((weak, tag))
    })
}

#[cfg(test)]
mod tests;
