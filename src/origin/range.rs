//! `Range` (RFC 9110 §14) to slices of a file. Pure.
//! In: the header's bytes and a file's size. Out: what to send. Never: more bytes than the file has; a header that asks
//! for that, or for more than a few slices, gets the whole file instead.

use smallvec::SmallVec;

/// Slices that are answered at most. Players ask for one; more than this many is an attack or a mistake.
pub(super) const MAX_RANGES: usize = 16;

/// One range as it was asked for. Numbers that do not fit are as large as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// `first-last`, both included.
    Between {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// `first-`.
    From {
        /// The first byte.
        first: u64,
    },
    /// `-count`: the last bytes.
    Last {
        /// How many.
        count: u64,
    },
}

/// All ranges of a header.
pub(super) type Specs = SmallVec<[Spec; 2]>;

/// Consecutive bytes of a file; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Where it starts.
    pub(super) start: u64,
    /// How long it is.
    pub(super) length: u64,
}

/// What to send of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// All of it, as if no range had been asked for.
    Whole,
    /// One slice.
    One(Slice),
    /// Two or more slices, in the order they were asked for, that do not overlap.
    Many(SmallVec<[Slice; 2]>),
    /// Nothing of what was asked for exists.
    Unsatisfiable,
}

/// The ranges of a header. `None` for another unit or a syntax error: such a header is ignored (RFC 9110 §14.2).
pub(super) fn parse(header: &[u8]) -> Option<Specs> {
    let header = header.trim_ascii();
    let equals = header.iter().position(|byte| *byte == b'=')?;
    if !header[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Specs::new();
    for part in header[equals + 1..].split(|byte| *byte == b',') {
        let part = part.trim_ascii();
        // A recipient has to put up with empty list elements (RFC 9110 §5.6.1).
        if !part.is_empty() {
            specs.push(spec(part)?);
        }
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(text: &[u8]) -> Option<Spec> {
    let dash = text.iter().position(|byte| *byte == b'-')?;
    match (&text[..dash], &text[dash + 1..]) {
        (b"", b"") => None,
        (b"", count) => Some(Spec::Last {
            count: saturating(count)?,
        }),
        (first, b"") => Some(Spec::From {
            first: saturating(first)?,
        }),
        (first, last) => {
            let (first, last) = (saturating(first)?, saturating(last)?);
            (first <= last).then_some(Spec::Between { first, last })
        }
    }
}

fn saturating(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

/// What to send of a file of `size` bytes.
pub(super) fn plan(header: &[u8], size: u64) -> Plan {
    let Some(specs) = parse(header) else {
        return Plan::Whole;
    };
    if specs.len() > MAX_RANGES {
        return Plan::Whole;
    }
    let slices: SmallVec<[Slice; 2]> = specs.iter().filter_map(|spec| slice(*spec, size)).collect();
    match slices.as_slice() {
        [] => Plan::Unsatisfiable,
        [one] => Plan::One(*one),
        several if overlap(several) => Plan::Whole,
        _ => Plan::Many(slices),
    }
}

fn slice(spec: Spec, size: u64) -> Option<Slice> {
    let (start, end) = match spec {
        Spec::Between { first, last } => (first, last.saturating_add(1).min(size)),
        Spec::From { first } => (first, size),
        Spec::Last { count } => (size.saturating_sub(count), size),
    };
    (start < end).then(|| Slice {
        start,
        length: end - start,
    })
}

fn overlap(slices: &[Slice]) -> bool {
    let mut sorted: SmallVec<[Slice; MAX_RANGES]> = SmallVec::from_slice(slices);
    sorted.sort_unstable_by_key(|slice| slice.start);
    sorted
        .windows(2)
        .any(|pair| pair[0].start + pair[0].length > pair[1].start)
}

#[cfg(test)]
mod tests;
