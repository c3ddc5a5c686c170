//! Tokens in query parameters. Names are compared decoded; everything else stays as it was sent.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use percent_encoding::percent_decode_str;

use super::{LocateError, decode};
use crate::token::Parts;

/// Whether a raw key says `name`.
pub(in crate::token) fn is(key: &str, name: &str) -> bool {
    if key.contains('%') {
        percent_decode_str(key).eq(name.bytes())
    } else {
        key == name
    }
}

/// The values of `names`, each of which stands exactly once; `None` when none of them is there.
pub(super) fn find<'r>(query: &'r str, names: &[Box<str>]) -> Result<Option<Parts<'r>>, LocateError> {
    let mut parts = Parts::new();
    let mut absent = false;
    for name in names {
        let mut values = pieces(query)
            .map(split)
            .filter(|(key, _)| is(key, name))
            .map(|(_, value)| value);
        let Some(value) = values.next() else {
            absent = true;
            continue;
        };
        if values.next().is_some() {
            return Err(LocateError::Ambiguous);
        }
        parts.push(decode(value)?);
    }
    match (parts.is_empty(), absent) {
        (true, _) => Ok(None),
        (false, false) => Ok(Some(parts)),
        (false, true) => Err(LocateError::Malformed),
    }
}

/// The query without the parameters whose raw keys are `ours`, the others byte for byte in their order.
pub(in crate::token) fn without(query: &str, ours: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_ours = |piece: &&str| ours(split(piece).0);
    if !pieces(query).any(|piece| is_ours(&piece)) {
        return Cow::Borrowed(query);
    }
    let mut others = pieces(query).filter(|piece| !is_ours(piece));
    let Some(first) = others.next() else {
        return Cow::Borrowed("");
    };
    let mut rest = String::with_capacity(query.len());
    rest.push_str(first);
    for piece in others {
        rest.push('&');
        rest.push_str(piece);
    }
    Cow::Owned(rest)
}

/// The parameters, raw; as `split('&')`, which looks for a character where a byte is meant and takes longer.
pub(in crate::token) fn pieces(query: &str) -> impl Iterator<Item = &str> {
    let ends = memchr_iter(b'&', query.as_bytes()).chain([query.len()]);
    let mut start = 0;
    ends.map(move |end| {
        let piece = &query[start..end];
        start = end + 1;
        piece
    })
}

pub(in crate::token) fn split(piece: &str) -> (&str, &str) {
    match memchr(b'=', piece.as_bytes()) {
        Some(at) => (&piece[..at], &piece[at + 1..]),
        None => (piece, ""),
    }
}
