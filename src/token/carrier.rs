//! Where a token rides: query, path segment, path prefix, cookie, bearer. Finds it, takes it out, and parses what is
//! left into the one `Target`. Never decides whether the token is true.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use memchr::{memchr, memchr_iter};
use percent_encoding::percent_decode_str;
use smallvec::{SmallVec, smallvec};

use super::{MAX_TOKEN_BYTES, Parts};
use crate::target::{BadTarget, Target};

mod path;
pub(in crate::token) mod query;

pub use path::PathPattern;

/// Cookies of one name that are tried.
pub const MAX_COOKIES: usize = 4;

/// One place in which a token may ride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Query parameters, all of them needed: `?t=…`, or CloudFront's three. Names are case-sensitive and compared decoded.
    Query {
        /// The parameters' names, in the order of the parts.
        names: Box<[Box<str>]>,
    },
    /// A whole path by template: `/media/{id}/download/{token}`.
    PathSegment(PathPattern),
    /// The first segment of the path, behind a marker: `/~{token}/…`.
    PathPrefix {
        /// What the segment starts with.
        marker: Box<str>,
    },
    /// Cookies, all of them needed.
    Cookie {
        /// The cookies' names, in the order of the parts.
        names: Box<[Box<str>]>,
    },
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer,
}

/// Where a token rode. The first of two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the path or the query.
    Url,
    /// In a header.
    Header,
    /// In cookies.
    Cookie,
}

/// The request as a carrier sees it.
#[derive(Clone, Copy)]
pub struct Head<'r> {
    /// The path, raw.
    pub path: &'r str,
    /// The query, raw.
    pub query: Option<&'r str>,
    /// The headers.
    pub headers: &'r HeaderMap,
}

/// Path variables by name, decoded once.
pub type Variables = SmallVec<[(Box<str>, Box<str>); 1]>;

/// The token that was found, and what is left of the request without it.
pub struct Found<'r> {
    /// The token; `None` where no carrier holds one.
    pub parts: Option<Parts<'r>>,
    /// Further cookies of the same name, to be tried in turn; empty for other carriers.
    pub alternatives: Vec<Parts<'r>>,
    /// The target without the token of any listed carrier.
    pub target: Target,
    /// The path's variables, from a path carrier.
    pub variables: Variables,
    /// The marker segment of a path prefix that was taken out (`~{token}`, raw), for `Location`.
    pub prefix: Option<Cow<'r, str>>,
}

/// What is left of a URL without the tokens of carriers, raw.
pub struct Left<'r> {
    /// The token; `None` where no carrier of the URL holds one.
    pub parts: Option<Parts<'r>>,
    /// The path's variables, from a path carrier.
    pub variables: Variables,
    /// The marker segment of a path prefix that was taken out.
    pub prefix: Option<Cow<'r, str>>,
    /// The path.
    pub path: Cow<'r, str>,
    /// The query.
    pub query: Option<Cow<'r, str>>,
}

/// A token in a header or a cookie: where it is, and further cookies of its name.
pub type Worn<'r> = Option<(Place, Parts<'r>, Vec<Parts<'r>>)>;

/// Why nothing can be located.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// Two values in one URL carrier, or two URL carriers that differ.
    #[error("the request has more than one token")]
    Ambiguous,
    /// Empty, longer than `MAX_TOKEN_BYTES`, broken percent-encoding, or not UTF-8.
    #[error("the token can't be read")]
    Malformed,
    /// What is left is not a target.
    #[error(transparent)]
    Target(#[from] BadTarget),
}

/// The carriers of a route, in the order in which they count: URL before header before cookie.
#[derive(Clone, Debug, Default)]
pub struct Carriers(Box<[Carrier]>);

impl Carriers {
    /// Sorts the list, keeping the given order within each kind.
    pub fn new(mut carriers: Vec<Carrier>) -> Self {
        carriers.sort_by_key(|carrier| match carrier {
            Carrier::Query { .. } | Carrier::PathSegment(_) | Carrier::PathPrefix { .. } => 0,
            Carrier::Bearer => 1,
            Carrier::Cookie { .. } => 2,
        });
        Self(carriers.into())
    }

    /// The carriers in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Carrier> {
        self.0.iter()
    }

    /// Finds the token by the first carrier that holds one, takes the tokens of all of them out, and parses what is left.
    ///
    /// # Errors
    /// `LocateError`.
    pub fn locate<'r>(&self, head: Head<'r>) -> Result<Found<'r>, LocateError> {
        let left = self.strip(head)?;
        let mut found = Found {
            parts: left.parts,
            alternatives: Vec::new(),
            target: Target::parse(&left.path, left.query.as_deref())?,
            variables: left.variables,
            prefix: left.prefix,
        };
        if found.parts.is_none()
            && let Some((_, parts, alternatives)) =
                self.in_headers(head.headers).map_err(|(_, error)| error)?
        {
            (found.parts, found.alternatives) = (Some(parts), alternatives);
        }
        Ok(found)
    }

    /// The token in the URL, and what is left of that, not parsed yet.
    ///
    /// # Errors
    /// `LocateError`.
    pub fn strip<'r>(&self, head: Head<'r>) -> Result<Left<'r>, LocateError> {
        let mut url = None;
        let mut unmarked = head.path;
        let mut prefix = None;
        // Markers first, so that a pattern sees the path as the origin's links write it. The order does not matter for
        // the token: all that the URL holds have to agree.
        for carrier in self.iter() {
            if let Carrier::PathPrefix { marker } = carrier
                && let Some(taken) = path::take_prefix(unmarked, marker)?
            {
                agree(&mut url, smallvec![taken.token])?;
                prefix.get_or_insert(taken.segment);
                unmarked = taken.rest;
            }
        }
        let mut path = Cow::Borrowed(unmarked);
        let mut variables = None;
        for carrier in self.iter() {
            if let Carrier::PathSegment(pattern) = carrier
                && let Some(taken) = pattern.take(&path)?
            {
                agree(&mut url, smallvec![Cow::Owned(taken.token)])?;
                variables.get_or_insert(taken.variables);
                path = Cow::Owned(taken.rest);
            }
        }
        for carrier in self.iter() {
            if let (Carrier::Query { names }, Some(query)) = (carrier, head.query)
                && let Some(parts) = query::find(query, names)?
            {
                agree(&mut url, parts)?;
            }
        }
        let query = head
            .query
            .map(|query| query::without(query, |key| self.names_in_query(key)));
        Ok(Left {
            parts: url,
            variables: variables.unwrap_or_default(),
            prefix,
            path,
            query,
        })
    }

    /// The token in the headers: where it is, and further cookies of its name.
    ///
    /// # Errors
    /// `LocateError`, and where what can't be read stands.
    pub fn in_headers<'r>(&self, headers: &'r HeaderMap) -> Result<Worn<'r>, (Place, LocateError)> {
        for carrier in self.iter() {
            let found = match carrier {
                Carrier::Bearer => bearer(headers)
                    .map_err(|error| (Place::Header, error))?
                    .map(|parts| (Place::Header, parts, Vec::new())),
                Carrier::Cookie { names } => {
                    let (parts, alternatives) =
                        from_cookies(headers, names).map_err(|error| (Place::Cookie, error))?;
                    parts.map(|parts| (Place::Cookie, parts, alternatives))
                }
                _ => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn names_in_query(&self, key: &str) -> bool {
        self.iter().any(|carrier| match carrier {
            Carrier::Query { names } => names.iter().any(|name| query::is(key, name)),
            _ => false,
        })
    }
}

/// A URL that holds its token more than once holds the same one.
fn agree<'r>(found: &mut Option<Parts<'r>>, parts: Parts<'r>) -> Result<(), LocateError> {
    match found {
        Some(known) if *known != parts => Err(LocateError::Ambiguous),
        Some(_) => Ok(()),
        None => {
            *found = Some(parts);
            Ok(())
        }
    }
}

/// A token's text out of a URL: decoded once. `+` stays `+`.
pub(in crate::token) fn decode(raw: &str) -> Result<Cow<'_, str>, LocateError> {
    // An encoded byte takes three, so longer ones need not be decoded to be refused.
    if raw.len() > 3 * MAX_TOKEN_BYTES || !is_well_encoded(raw) {
        return Err(LocateError::Malformed);
    }
    // The decoder looks at each byte in turn; nearly no token has one to decode.
    let text = match memchr(b'%', raw.as_bytes()) {
        Some(_) => percent_decode_str(raw)
            .decode_utf8()
            .map_err(|_| LocateError::Malformed)?,
        None => Cow::Borrowed(raw),
    };
    check(&text)?;
    Ok(text)
}

fn check(token: &str) -> Result<(), LocateError> {
    // Without an early end, so that the compiler looks at many bytes at a time.
    let control = |token: &str| {
        token
            .bytes()
            .fold(false, |found, byte| found | byte.is_ascii_control())
    };
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES || control(token) {
        return Err(LocateError::Malformed);
    }
    Ok(())
}

fn is_well_encoded(raw: &str) -> bool {
    memchr_iter(b'%', raw.as_bytes()).all(|at| {
        let digits = raw.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// RFC 6750 §2.1. Other authentication schemes are no token of ours.
fn bearer(headers: &HeaderMap) -> Result<Option<Parts<'_>>, LocateError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    let bytes = value.as_bytes();
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(bytes.len());
    if !bytes[..end].eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let token = value.to_str().map_err(|_| LocateError::Malformed)?[end..].trim_start_matches(' ');
    // A comma would be a second credential of a joined header (RFC 9110 §5.3).
    if token.contains([' ', '\t', ',', '"']) {
        return Err(LocateError::Malformed);
    }
    check(token)?;
    Ok(Some(smallvec![Cow::Borrowed(token)]))
}

/// The first `MAX_COOKIES` of each name, tried by position; a name with fewer stands with its last one.
fn from_cookies<'r>(
    headers: &'r HeaderMap,
    names: &[Box<str>],
) -> Result<(Option<Parts<'r>>, Vec<Parts<'r>>), LocateError> {
    let values: SmallVec<[SmallVec<[&str; MAX_COOKIES]>; 1]> = names
        .iter()
        .map(|name| cookies(headers, name).take(MAX_COOKIES).collect())
        .collect();
    if values.is_empty() || values.iter().any(|values| values.is_empty()) {
        return Ok((None, Vec::new()));
    }
    let most = values.iter().map(|values| values.len()).max().unwrap_or(0);
    let mut readable = (0..most)
        .map(|at| values.iter().map(move |values| values[at.min(values.len() - 1)]))
        .filter(|parts| parts.clone().all(|part| check(part).is_ok()))
        .map(|parts| parts.map(Cow::Borrowed).collect::<Parts<'r>>());
    let first = readable.next().ok_or(LocateError::Malformed)?;
    Ok((Some(first), readable.collect()))
}

/// The values of the cookies called `name`, in order (RFC 6265 §5.4; quotes around a value are taken off).
pub fn cookies<'r>(headers: &'r HeaderMap, name: &str) -> impl Iterator<Item = &'r str> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        // Pair by pair: a stranger's cookie with bytes that are not UTF-8 must not hide ours.
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .filter(move |(key, _)| key.trim_matches([' ', '\t']) == name)
        .map(|(_, value)| {
            let value = value.trim_matches([' ', '\t']);
            value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value)
        })
}

/// A `Cookie` header's value without the cookies whose names are `ours`; `None` when nothing is left.
pub fn without_cookies(value: &str, ours: impl Fn(&str) -> bool) -> Option<String> {
    let mut rest = String::new();
    for pair in value
        .split(';')
        .map(|pair| pair.trim_matches([' ', '\t']))
        .filter(|pair| !pair.is_empty())
    {
        let key = pair.split('=').next().unwrap_or("").trim_matches([' ', '\t']);
        if ours(key) {
            continue;
        }
        if !rest.is_empty() {
            rest.push_str("; ");
        }
        rest.push_str(pair);
    }
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests;
