//! Akamai's EdgeAuth tokens 2.0: `exp=…~acl=…~hmac=…` in a query parameter, a header or a cookie, for a list of paths or for one
//! path that is not in the token. A short token may be exchanged for a long one in a cookie.
//!
//! Sources: Akamai's techdocs (Auth Token 2.0 Verification, Segmented Media Protection), PyPI akamai-edgeauth 0.3.2.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;
use smallvec::SmallVec;

use super::exchange::Session;
use super::fields::{self, Algorithm, Fields, Grammar, Order};
use super::query::{is, pieces, split, without};
use super::{Asked, NamedKeys, Place, Signed, SignedRequest, Taken, Wish};
use crate::secret::Secret;
use crate::token::carrier::{Head, LocateError};
use crate::token::keys::LogKey;
use crate::token::{Claims, Parts, TokenError};

mod mint;
mod verify;

/// The fields, in the order in which all known minters write them. `url` and `salt` are in what is signed and never in a token,
/// so that a token for one path is not read as another's.
const GRAMMAR: Grammar = Grammar {
    names: &["ip", "st", "exp", "acl", "id", "data"],
    bare: None,
    order: Order::Given,
    seals: &["hmac"],
};

/// What joins the patterns of an `acl`.
const ACL_DELIMITER: char = '!';

/// The number of the part that holds a short token, and of that which holds a long one.
const SHORT: usize = 0;
const LONG: usize = 1;

/// How EdgeAuth tokens are checked and made.
#[derive(Debug)]
pub struct EdgeAuth {
    rules: Rules,
    cookies: Box<[Box<str>]>,
}

/// What a verifier demands. The first of each list of names is written to.
#[derive(Debug)]
pub struct Rules {
    /// The query parameters that a token may ride in.
    pub queries: Box<[Box<str>]>,
    /// The cookies.
    pub cookies: Box<[Box<str>]>,
    /// The headers.
    pub headers: Box<[HeaderName]>,
    /// The keys, decoded from their hexadecimal digits: the primary one, the transition key. The first eight that count are
    /// tried.
    pub keys: NamedKeys<Secret>,
    /// What seals tokens.
    pub algorithm: Algorithm,
    /// What is signed with every token, and in none.
    pub salt: Option<Secret>,
    /// Whether values are escaped before they are signed ("Escape token input", `escape_early`).
    pub escape: Escape,
    /// Whether the query belongs to the path of a token for one path ("Ignore query string").
    pub query: Query,
    /// The exchange for long tokens; none where it is not wanted.
    pub session: Option<Session>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// How values stand in what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Escape {
    /// As they are.
    #[default]
    Never,
    /// Percent-encoded with lower-case digits, a space as `+`.
    Early,
}

/// What becomes of the query where a token is for one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Query {
    /// It is not signed.
    #[default]
    Ignored,
    /// It is signed behind the path, without the token.
    Signed,
}

impl Rules {
    /// The names that are in use (`hdnts` of Adaptive Media Delivery, the older `hdnea`, `__token__` of the SDKs) in all three
    /// places; HMAC-SHA256, no salt, nothing escaped, the query ignored, no exchange.
    pub fn new(keys: NamedKeys<Secret>, log_key: Arc<LogKey>) -> Self {
        let names = ["hdnts", "hdnea", "__token__"];
        let texts = || names.into_iter().map(Box::from).collect();
        Self {
            queries: texts(),
            cookies: texts(),
            headers: names.into_iter().map(HeaderName::from_static).collect(),
            keys,
            algorithm: Algorithm::Sha256,
            salt: None,
            escape: Escape::Never,
            query: Query::Ignored,
            session: None,
            log_key,
        }
    }
}

/// The fewest bytes of a key; Akamai's own examples have twelve.
const MIN_KEY_BYTES: usize = 10;

/// A key from its hexadecimal digits, of either case.
///
/// # Errors
/// What is wrong with it.
pub fn key(digits: &Secret) -> Result<Secret, &'static str> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, odd) = digits.reveal().as_chunks::<2>();
    if !odd.is_empty() || pairs.len() < MIN_KEY_BYTES {
        return Err("a key is an even number of hexadecimal digits, at least 20");
    }
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    let bytes = bytes.collect::<Option<Vec<u8>>>();
    bytes
        .map(Secret::new)
        .ok_or("a key is written in hexadecimal digits")
}

impl EdgeAuth {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        let session = rules.session.iter().map(|session| session.name.clone());
        let cookies = session.chain(rules.cookies.iter().cloned()).collect();
        Self { rules, cookies }
    }
}

impl SignedRequest for EdgeAuth {
    fn queries(&self) -> Vec<&str> {
        self.rules.queries.iter().map(|name| &**name).collect()
    }

    fn name(&self) -> &'static str {
        "edge_auth"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let rules = &self.rules;
        let ours = |key: &str| rules.queries.iter().any(|name| is(key, name));
        let pairs = head.query.into_iter().flat_map(pieces).map(split);
        let queried = fields::only(pairs.filter(|(key, _)| ours(key)).map(|(_, value)| value))?;
        let query = head.query.map(|query| without(query, ours));
        let (place, mut found) = match queried {
            Some(token) => (Place::Url, vec![fields::part(token, SHORT)]),
            None => match self.in_headers(head)? {
                Some(token) => (Place::Header, vec![fields::part(token, SHORT)]),
                None => (Place::Cookie, self.in_cookies(head)),
            },
        };
        if found.is_empty() {
            return Ok(None);
        }
        Ok(Some(Taken {
            place,
            parts: found.remove(0),
            alternatives: found,
            path: Cow::Borrowed(head.path),
            query: query.filter(|query| !query.is_empty()),
            prefix: None,
        }))
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        match (asked.part(SHORT), asked.part(LONG), &self.rules.session) {
            ("", long, Some(session)) => fields::read(long, |text| self.long(session, text, asked)),
            (short, ..) => fields::read(short, |text| self.short(text, asked)),
        }
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let long = taken.parts.get(LONG);
        let raw = long.or(taken.parts.first()).map_or("", |part| part);
        let told = fields::read(raw, |text| {
            let fields = Fields::parse(text, &GRAMMAR)?;
            Ok(fields
                .iter()
                .map(|(name, value)| (Cow::Borrowed(name), value.to_owned()))
                .collect())
        });
        told.unwrap_or_default()
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        self.mint(wish)
    }

    fn headers(&self) -> &[HeaderName] {
        &self.rules.headers
    }

    fn cookies(&self) -> &[Box<str>] {
        &self.cookies
    }
}

impl EdgeAuth {
    fn in_headers<'r>(&self, head: Head<'r>) -> Result<Option<&'r str>, LocateError> {
        let values = self
            .rules
            .headers
            .iter()
            .flat_map(|name| head.headers.get_all(name));
        let texts = values.map(|value| value.to_str().map_err(|_| LocateError::Malformed));
        let texts = texts.collect::<Result<SmallVec<[&str; 1]>, _>>()?;
        fields::only(texts.into_iter())
    }

    /// The long token first: whoever has one has been let in.
    fn in_cookies<'r>(&self, head: Head<'r>) -> Vec<Parts<'r>> {
        let session = self.rules.session.iter();
        let long = session.flat_map(|session| fields::in_cookies(head.headers, &session.name, LONG));
        let names = self.rules.cookies.iter();
        let short = names.flat_map(|name| fields::in_cookies(head.headers, name, SHORT));
        long.chain(short).collect()
    }
}

#[cfg(test)]
mod tests;
