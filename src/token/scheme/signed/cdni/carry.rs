//! Where the token stands (RFC 9246 §2): `?name=token`, `;name=token` and `/name=token/`, or a cookie; taken out as §2.1.15 has
//! it, and put in. Two in one URL are refused: the RFC leaves them undefined.

use std::borrow::Cow;

use memchr::memchr2_iter;
use smallvec::smallvec;

use super::uri::is_sub_delimiter;
use super::{ATTRIBUTE, Rules, Style};
use crate::target::Target;
use crate::token::carrier::{Head, LocateError, MAX_COOKIES, cookies};
use crate::token::scheme::signed::query::{is, pieces, split};
use crate::token::scheme::signed::{Place, Taken};
use crate::token::{MAX_TOKEN_BYTES, Parts, TokenError};

/// The longest name of an attribute or cookie, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The name of an attribute or cookie: 1 to 64 letters, digits, `-`, `.`, `_` or `~`, which no URI and no cookie encodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Box<str>);

impl Name {
    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_name = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_letter);
        is_name.then(|| Self(text.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Name {
    /// `URISigningPackage`.
    fn default() -> Self {
        Self(ATTRIBUTE.into())
    }
}

/// A token, and the path without it.
struct FromPath<'r> {
    token: &'r str,
    rest: Cow<'r, str>,
    /// The first segment, where it is the token.
    prefix: Option<&'r str>,
}

/// A token, and the query without it.
struct FromQuery<'r> {
    token: &'r str,
    rest: Option<Cow<'r, str>>,
}

/// The token of a request; in the URL before one in a cookie.
pub(super) fn take<'r>(
    head: Head<'r>,
    attribute: &str,
    cookie: &str,
) -> Result<Option<Taken<'r>>, LocateError> {
    let in_path = in_path(head.path, attribute)?;
    let in_query = match head.query {
        Some(query) => in_query(query, attribute)?,
        None => None,
    };
    let (token, prefix, path, query) = match (in_path, in_query) {
        (Some(_), Some(_)) => return Err(LocateError::Ambiguous),
        (Some(found), None) => (
            found.token,
            found.prefix,
            found.rest,
            head.query.map(Cow::Borrowed),
        ),
        (None, Some(found)) => (found.token, None, Cow::Borrowed(head.path), found.rest),
        (None, None) => return in_cookies(head, cookie),
    };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(LocateError::Malformed);
    }
    Ok(Some(Taken {
        place: Place::Url,
        parts: smallvec![Cow::Borrowed(token)],
        alternatives: Vec::new(),
        path,
        query,
        prefix: prefix.map(Cow::Borrowed),
    }))
}

/// Splits what begins with a token from what ends it.
fn run(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !is_of_a_token(byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// The alphabet of JWS compact serialisation: all of it is unreserved, so that nobody has a reason to encode it.
fn is_of_a_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Whether a sub-delimiter ends a token. `=` would be padding.
fn ends(byte: u8) -> bool {
    is_sub_delimiter(byte) && byte != b'='
}

/// Where `/name=` or `;name=` stands in a path: its first character, and what follows it.
fn places_in_path<'p>(path: &'p str, name: &str) -> impl Iterator<Item = (usize, &'p str)> {
    memchr2_iter(b'/', b';', path.as_bytes()).filter_map(move |at| {
        let value = path.get(at + 1..)?.strip_prefix(name)?.strip_prefix('=')?;
        Some((at, value))
    })
}

fn in_path<'r>(path: &'r str, name: &str) -> Result<Option<FromPath<'r>>, LocateError> {
    let mut places = places_in_path(path, name);
    let Some((at, value)) = places.next() else {
        return Ok(None);
    };
    if places.next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    let (token, after) = run(value);
    if token.is_empty() {
        return Err(LocateError::Malformed);
    }
    // Up to and with the sub-delimiter that ends it, else from the character before its name.
    let (before, after) = match after.bytes().next() {
        None | Some(b'/') => (path.get(..at), Some(after)),
        Some(byte) if ends(byte) => (path.get(..=at), after.get(1..)),
        Some(_) => return Err(LocateError::Malformed),
    };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let rest = match (before, after) {
        ("", "") => Cow::Borrowed("/"),
        ("", rest) | (rest, "") => Cow::Borrowed(rest),
        _ => Cow::Owned([before, after].concat()),
    };
    // What is left together again must not be another one.
    if places_in_path(&rest, name).next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    let prefix = (before.is_empty() && path.starts_with('/'))
        .then(|| path.get(1..path.len() - after.len()))
        .flatten();
    Ok(Some(FromPath { token, rest, prefix }))
}

/// Where a parameter of this name stands in a query: where its piece begins and ends, and its value.
fn places_in_query<'q>(query: &'q str, name: &str) -> impl Iterator<Item = (usize, usize, &'q str)> {
    let mut start = 0;
    pieces(query).filter_map(move |piece| {
        let at = start;
        start += piece.len() + 1;
        let (key, value) = split(piece);
        is(key, name).then_some((at, at + piece.len(), value))
    })
}

fn in_query<'r>(query: &'r str, name: &str) -> Result<Option<FromQuery<'r>>, LocateError> {
    let mut places = places_in_query(query, name);
    let Some((start, end, value)) = places.next() else {
        return Ok(None);
    };
    if places.next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    let (token, after) = run(value);
    if token.is_empty() {
        return Err(LocateError::Malformed);
    }
    let is_last = end == query.len();
    let ended_at = end - after.len();
    let (before, after) = match after.bytes().next() {
        // From the `&` before it; where it was the first one, from the `?`.
        None if is_last && start == 0 => return Ok(Some(FromQuery { token, rest: None })),
        None if is_last => (query.get(..start - 1), Some("")),
        None => (query.get(..start), query.get(end + 1..)),
        Some(byte) if ends(byte) => (query.get(..start), query.get(ended_at + 1..)),
        Some(_) => return Err(LocateError::Malformed),
    };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let rest = match (before, after) {
        ("", rest) | (rest, "") => Cow::Borrowed(rest),
        _ => Cow::Owned([before, after].concat()),
    };
    if places_in_query(&rest, name).next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    Ok(Some(FromQuery {
        token,
        rest: Some(rest),
    }))
}

/// Cookies of the name, each of which may be the one (as Traffic Server tries them).
fn in_cookies<'r>(head: Head<'r>, name: &str) -> Result<Option<Taken<'r>>, LocateError> {
    let mut values = cookies(head.headers, name).take(MAX_COOKIES).peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut readable = values
        .filter(|value| (1..=MAX_TOKEN_BYTES).contains(&value.len()) && value.bytes().all(is_of_a_token))
        .map(|value| -> Parts<'r> { smallvec![Cow::Borrowed(value)] });
    Ok(Some(Taken {
        place: Place::Cookie,
        parts: readable.next().ok_or(LocateError::Malformed)?,
        alternatives: readable.collect(),
        path: Cow::Borrowed(head.path),
        query: head.query.map(Cow::Borrowed),
        prefix: None,
    }))
}

/// The link with its token.
///
/// # Errors
/// `Invalid` for a target in which a token stands already.
pub(super) fn put(target: &Target, rules: &Rules, token: &str) -> Result<String, TokenError> {
    let name = rules.attribute.as_str();
    let (path, query) = (target.encoded_path(), target.query());
    let is_taken = places_in_path(path, name).next().is_some()
        || query.is_some_and(|query| places_in_query(query, name).next().is_some());
    if is_taken {
        return Err(TokenError::Invalid("the link has a token already"));
    }
    let with_query = |path: String| match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Ok(match rules.style {
        Style::Query => {
            let joint = if query.is_some() { '&' } else { '?' };
            format!("{}{joint}{name}={token}", target.as_str())
        }
        Style::Segment => {
            let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
            with_query(format!("{folder}/{name}={token}/{file}"))
        }
        Style::Parameter => with_query(format!("{path};{name}={token}")),
    })
}
