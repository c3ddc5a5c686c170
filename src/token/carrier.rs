//! Where a token rides: query, path segment, path prefix, cookie, bearer. Finds it, takes it out, and parses what is
//! left into the one `Target`. Never decides whether the token is true.

use std::borrow::Cow;

use http::HeaderMap;
use smallvec::SmallVec;

use super::Parts;
use crate::target::{BadTarget, Target};

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

/// A path of literal segments, `{name}` variables and one `{token}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Variable(Box<str>),
    Token,
}

impl PathPattern {
    /// Reads `/media/{id}/download/{token}`; `{token}` stands exactly once, variables have distinct names.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        todo!("{text}")
    }

    /// The names of the variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(&**name),
            _ => None,
        })
    }
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
    pub fn new(carriers: Vec<Carrier>) -> Self {
        todo!("{carriers:?}")
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
        todo!("{}", head.path.len())
    }
}

/// The values of the cookies called `name`, in order (RFC 6265 §5.4; quotes around a value are taken off).
pub fn cookies<'r>(headers: &'r HeaderMap, name: &str) -> impl Iterator<Item = &'r str> {
    let _ = (headers, name);
    std::iter::empty()
}

/// A `Cookie` header's value without the cookies called `names`; `None` when nothing is left.
pub fn without_cookies(value: &str, names: &[Box<str>]) -> Option<String> {
    todo!("{}{}", value.len(), names.len())
}
