//! `catr`: a token that asks to be renewed is handed back as a cookie or a header, the same but for its end. Renewal by
//! redirect is none of ours: a player follows it, and a cache between may keep it. What ends a token ends those that came of it:
//! they are signed by the very key of the first one, issued when it was, and never outlive the key or the longest life.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};

use super::cbor::{Item, Label, Map, member};
use super::labels::Claim;
use super::said::Said;
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
    /// The attributes of a renewed cookie. A token may say another `Path` and `SameSite`, and nothing else: a `Domain` of its own
    /// is dropped. `Secure`, `HttpOnly` and a `Max-Age` of the token's life are always there.
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

    /// A renewed token, where it is time and one can be made. The old one says `said`, rode at `place` and was made by `key`: it
    /// alone signs the new one, where it can, so that the end of a key is the end of all its tokens.
    pub(super) fn renew(
        &self,
        rules: &Rules,
        said: &Said<'_>,
        place: Place,
        key: &NamedKey<CatKey>,
        now: UnixTime,
    ) -> Option<Renewal> {
        let renewals = rules.renewals.as_ref()?;
        let expires = said.expires;
        let due = expires.before(Duration::from_secs(self.deadline.unsigned_abs()));
        if now < due || now >= expires {
            return None;
        }
        let wished = now.after(Duration::from_secs(self.add.unsigned_abs()));
        // With a longest life there is an `iat`, and it stays: however often it is renewed, it ends then.
        let oldest = rules.max_lifetime.zip(said.issued);
        let bounds = [
            Some(now.after(renewals.longest)),
            key.until,
            oldest.map(|(longest, issued)| issued.after(longest)),
        ];
        let end = bounds.into_iter().flatten().fold(wished, UnixTime::min).secs();
        if end <= expires.secs() {
            return None;
        }
        let bearer = self.bearer(rules, place)?;
        let token = cwt::seal(key, &renewed(rules, &said.claims, end)).ok()?;
        bearer.carry(self, renewals, &token, end.checked_sub(now.secs())?)
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
                let attributes = attributes(&renewals.cookie, &terms.cookie_parameters);
                let cookie = format!("{name}={token}; {attributes}; Max-Age={life}");
                (SET_COOKIE, cookie)
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

/// Ours, with `Path` and `SameSite` as the token says them, and what no cookie of ours is without.
fn attributes(ours: &str, theirs: &[&str]) -> String {
    let is = |attribute: &str, wanted: &str| pair(attribute).0.eq_ignore_ascii_case(wanted);
    let said = |name: &str, is_harmless: fn(&str) -> bool| {
        let mut values = theirs
            .iter()
            .filter(|parameter| is(parameter, name))
            .map(|parameter| pair(parameter).1);
        values
            .find(|value| is_harmless(value))
            .map(|value| format!("{name}={value}"))
    };
    let path = said("Path", |path| path.starts_with('/'));
    let same_site = said("SameSite", |site| {
        ["Strict", "Lax", "None"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(site))
    });
    let replaced = |attribute: &str| {
        ["Max-Age", "Expires"].iter().any(|name| is(attribute, name))
            || is(attribute, "Path") && path.is_some()
            || is(attribute, "SameSite") && same_site.is_some()
    };
    let kept = ours.split(';').map(str::trim);
    let kept: Vec<&str> = kept
        .filter(|attribute| !attribute.is_empty() && !replaced(attribute))
        .collect();
    let missing = ["Secure", "HttpOnly"]
        .into_iter()
        .filter(|name| !kept.iter().any(|attribute| is(attribute, name)));
    let said = [path.as_deref(), same_site.as_deref()].into_iter().flatten();
    let all: Vec<&str> = kept.iter().copied().chain(missing).chain(said).collect();
    all.join("; ")
}

/// Name and value of an attribute.
fn pair(attribute: &str) -> (&str, &str) {
    let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
    (name.trim(), value.trim())
}

/// The claims of the renewed token: all of the old one's but for its end. Its id stays, and when it was issued, so that a
/// revocation counts for both.
fn renewed(rules: &Rules, claims: &Map<'_>, end: i64) -> Vec<u8> {
    let mut map: Map<'_> = claims
        .iter()
        .filter(|(label, _)| rules.labels.judged(*label) != Some(Claim::Expires))
        .cloned()
        .collect();
    map.push((rules.labels.of(Claim::Expires), Item::Int(end)));
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
