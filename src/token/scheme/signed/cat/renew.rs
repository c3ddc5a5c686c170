//! `catr`: a token that asks to be renewed is handed back as a cookie or a header, the same but for its times. Renewal by
//! redirect is none of ours: a player follows it, and a cache between may keep it.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};

use super::cbor::{Item, Label, Map, member};
use super::labels::Claim;
use super::{Rules, cwt};
use crate::clock::UnixTime;
use crate::token::TokenError;
use crate::token::claims::Renewal;
use crate::token::scheme::signed::{NamedKey, Place};

use super::keys::CatKey;

/// When a token is renewed whose `catr` does not say: as `@eyevinn/cat` has it.
const DEADLINE: i64 = 60;
/// The longest `expadd` and `deadline`: a number beyond is a moment to one library, and not read as a time that is left.
const MAX_SECONDS: i64 = 366 * 24 * 60 * 60;
/// The most further parameters of a cookie or a header, and the longest.
const MAX_PARAMETERS: usize = 8;
const MAX_PARAMETER_BYTES: usize = 128;

/// How the gate renews.
#[derive(Clone, Debug)]
pub struct Renewals {
    /// The longest life of a renewed token, whatever it asks for.
    pub longest: Duration,
    /// The attributes of a renewed cookie where the token names none; `Max-Age` is added.
    pub cookie: Box<str>,
}

impl Default for Renewals {
    /// A day; `Path=/; Secure; HttpOnly; SameSite=Lax`.
    fn default() -> Self {
        Self {
            longest: Duration::from_secs(24 * 60 * 60),
            cookie: "Path=/; Secure; HttpOnly; SameSite=Lax".into(),
        }
    }
}

/// How it is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Automatic,
    Cookie,
    Header,
}

/// What a token asks for.
#[derive(Debug)]
pub(super) struct Terms<'p> {
    way: Way,
    /// Seconds from now to the new end.
    add: i64,
    /// Seconds before the old end from which on it is renewed.
    deadline: i64,
    cookie: Option<&'p str>,
    header: Option<&'p str>,
    cookie_parameters: Vec<&'p str>,
    header_parameters: Vec<&'p str>,
}

impl<'p> Terms<'p> {
    /// Reads the claim; `None` where it asks for what we don't do. It restricts nothing, so that this is no reason to refuse.
    ///
    /// # Errors
    /// `Invalid` for what is not such a claim.
    pub(super) fn read(item: &Item<'p>) -> Result<Option<Self>, TokenError> {
        let Item::Map(map) = item else {
            return Err(TokenError::Invalid("catr is not a map"));
        };
        let (Some(Item::Int(way)), Some(Item::Int(add))) = (member(map, 0), member(map, 1)) else {
            return Err(TokenError::Invalid("catr has no type or no expadd"));
        };
        let way = match way {
            0 => Way::Automatic,
            1 => Way::Cookie,
            2 => Way::Header,
            _ => return Ok(None),
        };
        let deadline = match member(map, 2) {
            None => DEADLINE,
            Some(Item::Int(deadline)) => *deadline,
            Some(_) => return Ok(None),
        };
        if !(1..=MAX_SECONDS).contains(add) || !(0..=MAX_SECONDS).contains(&deadline) {
            return Ok(None);
        }
        let (Ok(cookie), Ok(header)) = (text(map, 3), text(map, 4)) else {
            return Ok(None);
        };
        let (Some(cookie_parameters), Some(header_parameters)) = (parameters(map, 5), parameters(map, 6))
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            way,
            add: *add,
            deadline,
            cookie,
            header,
            cookie_parameters,
            header_parameters,
        }))
    }

    /// A renewed token, where it is time and one can be made. `claims` are those of the token, which lives until `expires` and
    /// rode at `place`; `key` signs.
    pub(super) fn renew(
        &self,
        rules: &Rules,
        (claims, expires): (&Map<'_>, UnixTime),
        place: Place,
        key: &NamedKey<CatKey>,
        now: UnixTime,
    ) -> Option<Renewal> {
        let renewals = rules.renewals.as_ref()?;
        let due = expires.before(Duration::from_secs(self.deadline.unsigned_abs()));
        if now < due || now >= expires {
            return None;
        }
        let longest = i64::try_from(renewals.longest.as_secs()).unwrap_or(i64::MAX);
        let life = self.add.min(longest);
        let end = now.secs().checked_add(life)?;
        if end <= expires.secs() {
            return None;
        }
        let bearer = self.bearer(rules, place)?;
        let token = cwt::seal(key, &renewed(rules, claims, now.secs(), end)).ok()?;
        bearer.carry(self, renewals, &token, life)
    }

    /// In which cookie or header it is handed back: one that we read. By none where the token rides in the URL, which would
    /// go on to count before both.
    fn bearer<'b>(&self, rules: &'b Rules, place: Place) -> Option<Bearer<'b>> {
        let way = match (self.way, place) {
            (Way::Automatic, Place::Cookie) => Way::Cookie,
            (Way::Automatic, Place::Header) => Way::Header,
            (way, _) => way,
        };
        match way {
            Way::Automatic => None,
            Way::Cookie => {
                let mut names = rules.cookies.iter().map(|name| &**name);
                let ours = |known: &&str| self.cookie.is_none_or(|name| name == *known);
                names.find(ours).map(Bearer::Cookie)
            }
            Way::Header => {
                let ours = |known: &&HeaderName| {
                    self.header
                        .is_none_or(|name| known.as_str().eq_ignore_ascii_case(name))
                };
                rules.headers.iter().find(ours).map(Bearer::Header)
            }
        }
    }
}

enum Bearer<'b> {
    Cookie(&'b str),
    Header(&'b HeaderName),
}

impl Bearer<'_> {
    fn carry(&self, terms: &Terms<'_>, renewals: &Renewals, token: &str, life: i64) -> Option<Renewal> {
        let (header, text) = match self {
            Self::Cookie(name) => {
                let mut parameters = terms.cookie_parameters.clone();
                if parameters.is_empty() {
                    parameters.push(&renewals.cookie);
                }
                let age = format!("Max-Age={life}");
                let says_when = |parameter: &&str| {
                    let name = parameter.split('=').next().unwrap_or_default();
                    name.eq_ignore_ascii_case("max-age") || name.eq_ignore_ascii_case("expires")
                };
                if !parameters.iter().any(says_when) {
                    parameters.push(&age);
                }
                (SET_COOKIE, format!("{name}={token}; {}", parameters.join("; ")))
            }
            Self::Header(name) => {
                let parts = [&[token], &*terms.header_parameters].concat();
                ((*name).clone(), parts.join("; "))
            }
        };
        let value = HeaderValue::try_from(text).ok()?;
        Some(Renewal { header, value })
    }
}

/// The claims of the renewed token: all of the old one's but for its end and when it was issued. Its id stays, so that a
/// revocation of it counts for both.
fn renewed(rules: &Rules, claims: &Map<'_>, now: i64, end: i64) -> Vec<u8> {
    let times = [(Claim::Expires, end), (Claim::Issued, now)];
    let is_time =
        |label: Label<'_>| matches!(rules.labels.judged(label), Some(Claim::Expires | Claim::Issued));
    let mut map: Map<'_> = claims
        .iter()
        .filter(|(label, _)| !is_time(*label))
        .cloned()
        .collect();
    map.extend(times.map(|(claim, time)| (rules.labels.of(claim), Item::Int(time))));
    Item::Map(map).encode()
}

fn text<'p>(map: &[(Label<'p>, Item<'p>)], label: i64) -> Result<Option<&'p str>, ()> {
    match member(map, label) {
        None => Ok(None),
        Some(Item::Text(text)) => Ok(Some(text)),
        Some(_) => Err(()),
    }
}

/// Parameters that end neither themselves nor the header; `None` where one would.
fn parameters<'p>(map: &[(Label<'p>, Item<'p>)], label: i64) -> Option<Vec<&'p str>> {
    let list = match member(map, label) {
        None => return Some(Vec::new()),
        Some(Item::List(list)) if list.len() <= MAX_PARAMETERS => &**list,
        Some(one) => std::slice::from_ref(one),
    };
    list.iter()
        .map(|item| match item {
            Item::Text(text) if is_parameter(text) => Some(*text),
            _ => None,
        })
        .collect()
}

fn is_parameter(text: &str) -> bool {
    let plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && byte != b';';
    !text.is_empty() && text.len() <= MAX_PARAMETER_BYTES && text.bytes().all(plain)
}
