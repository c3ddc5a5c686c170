//! POSIX extended regular expressions (IEEE 1003.1 §9.4, in the POSIX locale) over a whole URI, by an engine whose time is linear.
//! Translated strictly: what POSIX leaves undefined, and what other dialects read otherwise, is no pattern.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use regex::bytes::{Regex, RegexBuilder};

/// How deep groups may be nested.
const MAX_DEPTH: usize = 32;
/// The most repetitions that can be counted: `RE_DUP_MAX` of POSIX.
const MAX_COUNT: u16 = 255;
/// The largest program that a pattern may become, and what it may remember while it matches, in bytes.
const MAX_PROGRAM_BYTES: usize = 256 * 1024;
/// Patterns that are kept compiled, since that takes a hundred times as long as to match. One more takes the place of another.
const KEPT: usize = 32;

/// Compiled patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    kept: [ArcSwapOption<Kept>; KEPT],
    hasher: RandomState,
}

#[derive(Debug)]
struct Kept {
    pattern: Box<str>,
    regex: Regex,
}

impl Patterns {
    /// Whether the pattern matches all of the URI; `None` where it is none.
    pub(super) fn matches(&self, pattern: &str, uri: &str) -> Option<bool> {
        let at = self.hasher.hash_one(pattern) % KEPT as u64;
        let slot = self.kept.get(usize::try_from(at).ok()?)?;
        let kept = slot.load_full().filter(|kept| *kept.pattern == *pattern);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let kept = Arc::new(Kept {
                    pattern: pattern.into(),
                    regex: compile(pattern)?,
                });
                slot.store(Some(Arc::clone(&kept)));
                kept
            }
        };
        Some(kept.regex.is_match(uri.as_bytes()))
    }
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(&translate(pattern)?)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(MAX_PROGRAM_BYTES)
        .dfa_size_limit(MAX_PROGRAM_BYTES)
        .build()
        .ok()
}

/// What stands before a character of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing in this branch.
    Nothing,
    /// An anchor: repeated, it is undefined.
    Anchor,
    /// Something that may be repeated.
    Atom,
    /// Something that was repeated: once more is undefined, and lazy elsewhere.
    Repeated,
}

/// The same language as a whole text's, in the syntax of the engine.
fn translate(pattern: &str) -> Option<String> {
    let mut into = String::with_capacity(2 * pattern.len() + 16);
    into.push_str(r"\A(?:");
    let mut before = Before::Nothing;
    let mut depth = 0_usize;
    let mut rest = pattern.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        before = match byte {
            b'(' if depth < MAX_DEPTH => {
                depth += 1;
                into.push_str("(?:");
                Before::Nothing
            }
            b')' if before != Before::Nothing => {
                depth = depth.checked_sub(1)?;
                into.push(')');
                Before::Atom
            }
            b'|' if before != Before::Nothing => {
                into.push('|');
                Before::Nothing
            }
            b'*' | b'+' | b'?' if before == Before::Atom => {
                into.push(byte.into());
                Before::Repeated
            }
            b'{' if before == Before::Atom => {
                let (counts, after) = interval(rest)?;
                rest = after;
                into.push_str(&counts);
                Before::Repeated
            }
            b'(' | b')' | b'|' | b'*' | b'+' | b'?' | b'{' => return None,
            b'^' => {
                into.push_str(r"\A");
                Before::Anchor
            }
            b'$' => {
                into.push_str(r"\z");
                Before::Anchor
            }
            b'.' => {
                into.push('.');
                Before::Atom
            }
            b'[' => {
                rest = bracket(rest, &mut into)?;
                Before::Atom
            }
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                // A letter or digit would be a class or a back reference elsewhere, these four a boundary.
                if !escaped.is_ascii_punctuation() || matches!(escaped, b'<' | b'>' | b'`' | b'\'') {
                    return None;
                }
                push_byte(&mut into, escaped);
                Before::Atom
            }
            b' '..=b'~' => {
                push_byte(&mut into, byte);
                Before::Atom
            }
            // No URI has another byte.
            _ => return None,
        };
    }
    if depth > 0 || before == Before::Nothing {
        return None;
    }
    into.push_str(r")\z");
    Some(into)
}

fn push_byte(into: &mut String, byte: u8) {
    match byte.is_ascii_alphanumeric() {
        true => into.push(byte.into()),
        false => into.push_str(&format!("\\x{byte:02X}")),
    }
}

/// `m}`, `m,}` or `m,n}`.
fn interval(text: &[u8]) -> Option<(String, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'}')?;
    let (counts, rest) = text.split_at(end);
    let rest = rest.get(1..)?;
    let counts = std::str::from_utf8(counts).ok()?;
    let number = |digits: &str| {
        let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = are_digits.then(|| digits.parse::<u16>().ok()).flatten();
        number.filter(|number| *number <= MAX_COUNT)
    };
    let counts = match counts.split_once(',') {
        None => format!("{{{}}}", number(counts)?),
        Some((least, "")) => format!("{{{},}}", number(least)?),
        Some((least, most)) => {
            let (least, most) = (number(least)?, number(most)?);
            if least > most {
                return None;
            }
            format!("{{{least},{most}}}")
        }
    };
    Some((counts, rest))
}

/// A bracket expression, from behind its `[`, becomes a class of bytes. Answers what follows it.
fn bracket<'p>(text: &'p [u8], into: &mut String) -> Option<&'p [u8]> {
    let mut set = [false; 256];
    let (is_negated, mut rest) = match text.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut is_first = true;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match (byte, rest) {
            // In the first place it is a letter like any other.
            (b']', _) if !is_first => break,
            (b'[', [b':', name @ ..]) => rest = class(name, &mut set)?,
            // Collating symbols and equivalence classes.
            (b'[', [b'.' | b'=', ..]) => return None,
            (b'\\', [b'\\', after @ ..]) => {
                *set.get_mut(usize::from(b'\\'))? = true;
                rest = after;
            }
            // Elsewhere an escape, which here would take in more.
            (b'\\', [next, ..]) if next.is_ascii_alphanumeric() || b"]-[^".contains(next) => return None,
            // A hyphen is itself in the first place and in the last, or it ends a range.
            (b'-', [next, ..]) if !is_first && *next != b']' => return None,
            (_, [b'-', end, after @ ..]) if *end != b']' => {
                let is_symbol = *end == b'[' && matches!(after, [b':' | b'.' | b'=', ..]);
                let is_range = (byte..=b'~').contains(end) && *end != b'\\' && is_printable(byte);
                if is_symbol || !is_range {
                    return None;
                }
                set.get_mut(usize::from(byte)..=usize::from(*end))?.fill(true);
                rest = after;
            }
            _ if is_printable(byte) => *set.get_mut(usize::from(byte))? = true,
            _ => return None,
        }
        is_first = false;
    }
    push_class(into, |byte| {
        set.get(usize::from(byte))
            .is_some_and(|is_in| *is_in != is_negated)
    })?;
    Some(rest)
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// `name:]`, in the POSIX locale.
fn class<'p>(text: &'p [u8], set: &mut [bool; 256]) -> Option<&'p [u8]> {
    let end = text.windows(2).position(|two| two == b":]")?;
    let (name, rest) = text.split_at(end);
    let is_in: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| is_printable(*byte),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    for (byte, slot) in (0_u8..=255).zip(set.iter_mut()) {
        *slot |= is_in(&byte);
    }
    rest.get(2..)
}

/// Writes a set as ranges; `None` for an empty one.
fn push_class(into: &mut String, is_in: impl Fn(u8) -> bool) -> Option<()> {
    let mut bytes = (0_u8..=255).filter(|byte| is_in(*byte)).peekable();
    bytes.peek()?;
    into.push('[');
    while let Some(start) = bytes.next() {
        let mut end = start;
        while let Some(next) = bytes.next_if(|next| end.checked_add(1) == Some(*next)) {
            end = next;
        }
        into.push_str(&format!("\\x{start:02X}-\\x{end:02X}"));
    }
    into.push(']');
    Some(())
}

#[cfg(test)]
mod tests;
