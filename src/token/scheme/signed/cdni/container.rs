//! The URI container (RFC 9246 §2.1.15): a hash of the whole URI, or a pattern that matches all of it. Judged only after the
//! signature, and written for links of our own.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::pattern::Patterns;
use super::uri::{base, encoded, normalized};
use crate::token::scheme::signed::{Wish, same};
use crate::token::{Opens, PublicBase, TokenError};

/// A hash in the form of a URL's segment (RFC 6920 §5). Shorter ones of that registry are too weak, and it has no longer one.
const HASH: &str = "hash:sha-256;";
/// A POSIX extended regular expression.
const REGEX: &str = "regex:";

/// Whether the container holds the normalised URI.
pub(super) fn check(container: &str, uri: &str, patterns: &Patterns) -> Result<(), TokenError> {
    let holds = if let Some(hash) = container.strip_prefix(HASH) {
        let hash = URL_SAFE_NO_PAD
            .decode(hash)
            .map_err(|_| TokenError::Invalid("411 the hash is not base64url"))?;
        same(digest(&SHA256, uri.as_bytes()).as_ref(), &hash)
    } else if let Some(pattern) = container.strip_prefix(REGEX) {
        patterns
            .matches(pattern, uri)
            .ok_or(TokenError::Invalid("411 the pattern is none that we take"))?
    } else {
        return Err(TokenError::Invalid(
            "411 cdniuc is neither hash:sha-256; nor regex:",
        ));
    };
    match holds {
        true => Ok(()),
        false => Err(TokenError::Elsewhere("411 for another URI")),
    }
}

/// The container of a link: a hash of its URI; a pattern, where it is to open more.
///
/// # Errors
/// `Invalid` where it would not open the link itself, or what it opens has no URI.
pub(super) fn of(wish: &Wish<'_>, public: &PublicBase) -> Result<String, TokenError> {
    let uri = normalized(public, wish.target.encoded_path(), wish.target.query());
    let Some(opens) = wish.opens else {
        return Ok(hash(&uri));
    };
    if !opens.opens(wish.target, None) {
        return Err(TokenError::Invalid("the link would not open what it is for"));
    }
    let mut pattern = format!("{REGEX}{}", literal(&base(public)));
    match opens {
        Opens::Exact(_) => return Ok(hash(&uri)),
        Opens::Prefix(start) | Opens::StartsWith(start) => {
            pattern.push_str(&literal(&encoded(start)));
            pattern.push_str(".*");
        }
        Opens::Glob(_) => {
            push_glob(&mut pattern, &opens.to_string());
            pattern.push_str(r"(\?.*)?");
        }
        Opens::MediaId(_) => return Err(TokenError::Invalid("a media id has no URI")),
    }
    Ok(pattern)
}

fn hash(uri: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, uri.as_bytes()));
    format!("{HASH}{hash}")
}

/// `*` is anything within a segment, `**` anything in the path.
fn push_glob(pattern: &mut String, glob: &str) {
    let mut rest = glob;
    while !rest.is_empty() {
        let end = rest.find('*').unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        pattern.push_str(&literal(&encoded(text)));
        rest = after.trim_start_matches('*');
        pattern.push_str(match after.len() - rest.len() {
            0 => "",
            1 => "[^/?]*",
            _ => "[^?]*",
        });
    }
}

/// A text as a pattern that matches it alone.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\^.[$()|*+?{".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}
