//! What a token says, whatever its scheme. Times are judged in one place: `Claims::standing`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use serde::ser::{Serialize, Serializer};
use serde_json::Number;

use super::json::Json;
use super::scope::Scope;
use crate::clock::UnixTime;

/// How often a token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Uses {
    /// Any number of times until it expires.
    #[default]
    UntilExpiry,
    /// Once.
    Once,
    /// Once, and one answer ends it: no session, whatever the route says (`jti` of RFC 9246, `catreplay` of CTA-5007).
    Strict,
}

impl Uses {
    /// Whether it is a matter of the store.
    pub fn is_once(self) -> bool {
        self != Self::UntilExpiry
    }
}

/// Limits that a token carries for its subject. They count over all downloads whose tokens have the same issuer and subject and
/// carry limits, too; where a token names no subject, over its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes per second, over all connections; within `RATES`.
    pub rate: Option<u64>,
    /// Downloads at the same time; within `STREAMS`.
    pub streams: Option<u32>,
}

impl Limits {
    /// What `rate` may be: from 1 KiB, below which a player or an origin gives up, to 1 TiB.
    pub const RATES: RangeInclusive<u64> = 1024..=1 << 40;
    /// What `streams` may be.
    pub const STREAMS: RangeInclusive<u32> = 1..=1024;

    /// Whether they are within their bounds.
    pub fn are_sound(&self) -> bool {
        self.rate.is_none_or(|rate| Self::RATES.contains(&rate))
            && self
                .streams
                .is_none_or(|streams| Self::STREAMS.contains(&streams))
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A set of request methods.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods(u8);

impl Methods {
    const NAMES: [&'static str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"];

    /// GET and HEAD.
    pub const READ: Self = Self(0b11);
    /// All methods that can be in a set.
    pub const ALL: Self = Self(0b11_1111);

    /// The set of the named methods, upper case; `GET` brings `HEAD` with it (RFC 9110 §9.3.2).
    ///
    /// # Errors
    /// The first name that is not one of GET, HEAD, PUT, POST, DELETE, PATCH.
    pub fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, &'n str> {
        names.into_iter().try_fold(Self(0), |set, name| {
            let at = Self::NAMES.iter().position(|known| *known == name).ok_or(name)?;
            let get_is_head_too = u8::from(at == 0) << 1;
            Ok(Self(set.0 | 1 << at | get_is_head_too))
        })
    }

    /// Whether `method` is in the set.
    pub fn contains(self, method: &Method) -> bool {
        let bit = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::PUT => 2,
            Method::POST => 3,
            Method::DELETE => 4,
            Method::PATCH => 5,
            _ => return false,
        };
        self.0 & 1 << bit != 0
    }

    /// Whether every method of `other` is in this set.
    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The names in the set, for `Allow` and for minting.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(at, _)| self.0 & 1 << at != 0)
            .map(|(_, name)| name)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A token's name in logs and in the store: the first 16 bytes of HMAC-SHA256 over the token's own id, so that it is the
/// same when the token is issued, used and revoked, and neither betrays an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub [u8; 16]);

impl TokenId {
    /// Reads what `Display` writes: 32 hexadecimal digits, lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digits) {
            return None;
        }
        u128::from_str_radix(text, 16)
            .ok()
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of a parameter that is forced on the origin's query. JSON's types are kept, so that a token says what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A text.
    Text(Box<str>),
    /// A number.
    Number(Number),
    /// A truth value.
    Truth(bool),
    /// None: the client's own is taken out, and nothing is put in its place.
    Withheld,
}

/// Forced parameters, in order.
pub type Parameters = Box<[(Box<str>, Parameter)]>;

impl Parameter {
    /// Reads a JSON value; `None` for those that no query can hold.
    pub(crate) fn read(value: &Json<'_>) -> Option<Self> {
        match value {
            Json::Text(text) => Some(Self::Text(text.as_ref().into())),
            Json::Number(number) => Some(Self::Number(number.clone())),
            Json::Bool(truth) => Some(Self::Truth(*truth)),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// As a query holds it.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Truth(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            Self::Withheld => None,
        }
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => number.serialize(serializer),
            Self::Truth(truth) => serializer.serialize_bool(*truth),
            Self::Withheld => serializer.serialize_unit(),
        }
    }
}

/// A longer-lived token that a scheme hands back, to be set by `reply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// `Set-Cookie`, or the header that the scheme names.
    pub header: HeaderName,
    /// Its whole value.
    pub value: HeaderValue,
}

/// Whether a token is in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Neither too early nor too late.
    InTime,
    /// Its `not_before` has not come.
    NotYet,
    /// `now ≥ expires + leeway`.
    Expired,
}

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The name of this token in logs.
    pub token_id: TokenId,
    /// Whom it was issued for.
    pub subject: Option<Box<str>>,
    /// The token's own id (`jti`). Not for logs.
    pub id: Option<Box<str>>,
    /// Who issued it.
    pub issuer: Option<Box<str>>,
    /// When it was issued, as far as it says.
    pub issued: Option<UnixTime>,
    /// The name of the key that signed it, where it has one.
    pub key: Option<Box<str>>,
    /// The first moment at which it is valid.
    pub not_before: Option<UnixTime>,
    /// The first moment at which it is dead. A scheme in which equality is still valid adds a second.
    pub expires: Option<UnixTime>,
    /// How often it may be used.
    pub uses: Uses,
    /// What it opens; `None` when it says nothing of that.
    pub scope: Option<Scope>,
    /// The methods it is good for; `None` leaves that to the route.
    pub methods: Option<Methods>,
    /// The client addresses it is good for; `None` means any.
    pub addresses: Option<Box<[IpNet]>>,
    /// Limits of its subject.
    pub limits: Limits,
    /// The file name to save under.
    pub filename: Option<Box<str>>,
    /// Parameters that are forced on the origin's query, in order.
    pub parameters: Parameters,
    /// Other text claims that the configuration asked for by name (templates, identity headers).
    pub named: Box<[(Box<str>, Box<str>)]>,
    /// A renewed token to hand to the client.
    pub renewal: Option<Renewal>,
}

impl Claims {
    /// Claims that say nothing yet.
    pub fn empty(token_id: TokenId) -> Self {
        Self {
            token_id,
            subject: None,
            id: None,
            issuer: None,
            issued: None,
            key: None,
            not_before: None,
            expires: None,
            uses: Uses::UntilExpiry,
            scope: None,
            methods: None,
            addresses: None,
            limits: Limits::default(),
            filename: None,
            parameters: Box::default(),
            named: Box::default(),
            renewal: None,
        }
    }

    /// Whether the token is in time at `now`. The only place where a token's times are compared.
    /// The leeway widens both ends.
    pub fn standing(&self, now: UnixTime, leeway: Duration) -> Standing {
        if self.expires.is_some_and(|expires| now >= expires.after(leeway)) {
            Standing::Expired
        } else if self.not_before.is_some_and(|start| now.after(leeway) < start) {
            Standing::NotYet
        } else {
            Standing::InTime
        }
    }

    /// A text claim by the name that templates and identity headers use: `sub`, `iss`, or a configured one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match name {
            "sub" => self.subject.as_deref(),
            "iss" => self.issuer.as_deref(),
            _ => self
                .named
                .iter()
                .find(|(known, _)| &**known == name)
                .map(|(_, value)| &**value),
        }
    }

    /// Whether `client` is one of the token's addresses, or it names none.
    pub fn allows_address(&self, client: IpAddr) -> bool {
        self.addresses
            .as_ref()
            .is_none_or(|nets| nets.iter().any(|net| net.contains(&client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_with_exp_is_expired_and_with_nbf_is_in_time() {
        let claims = Claims {
            not_before: Some(UnixTime::from_secs(100)),
            expires: Some(UnixTime::from_secs(200)),
            ..Claims::empty(TokenId([0; 16]))
        };
        let none = Duration::ZERO;
        assert_eq!(claims.standing(UnixTime::from_secs(99), none), Standing::NotYet);
        assert_eq!(claims.standing(UnixTime::from_secs(100), none), Standing::InTime);
        assert_eq!(
            claims.standing(UnixTime::from_millis(199_999), none),
            Standing::InTime
        );
        assert_eq!(claims.standing(UnixTime::from_secs(200), none), Standing::Expired);
        let leeway = Duration::from_secs(5);
        assert_eq!(claims.standing(UnixTime::from_secs(95), leeway), Standing::InTime);
        assert_eq!(
            claims.standing(UnixTime::from_secs(204), leeway),
            Standing::InTime
        );
        assert_eq!(
            claims.standing(UnixTime::from_secs(205), leeway),
            Standing::Expired
        );
    }

    #[test]
    fn names_of_tokens_are_read_as_they_are_written() {
        let id = TokenId([0x0f; 16]);
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        for text in ["", "0f", "+f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", &"0F".repeat(16)] {
            assert_eq!(TokenId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn get_brings_head_and_unknown_methods_are_named() {
        let set = Methods::parse(["GET"]).unwrap();
        assert!(set.contains(&Method::HEAD) && !set.contains(&Method::PUT));
        assert!(Methods::READ.covers(set) && !Methods::READ.covers(Methods::ALL));
        assert_eq!(Methods::parse(["GET", "BREW"]), Err("BREW"));
    }
}
