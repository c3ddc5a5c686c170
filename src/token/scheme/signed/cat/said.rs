//! The claims of a token whose signature was good, read strictly: each of its type and once, and none that restricts and is not
//! judged. Judges whom the token is from and for, and whether it is for this request; times, methods and addresses are left to
//! whoever judges those of all schemes.

use http::HeaderName;
use ipnet::IpNet;

use super::cbor::{self, Item, Label, Map};
use super::labels::{Claim, Labels, may_be_passed_over};
use super::matching::{Budget, Matches};
use super::renew::Terms;
use super::uri::Demands;
use super::{Rules, network};
use crate::clock::UnixTime;
use crate::token::scheme::signed::Asked;
use crate::token::{Methods, TokenError, Uses};

/// The longest `cti`.
const MAX_ID_BYTES: usize = 256;
/// The most headers of one `cath`.
const MAX_HEADERS: usize = 16;
/// The last moment that a claim may name: the end of the year 9999.
pub(super) const MAX_TIME: i64 = 253_402_300_799;

/// What a token says.
#[derive(Debug)]
pub(super) struct Said<'p> {
    /// All of its claims, for a renewed one.
    pub(super) claims: Map<'p>,
    pub(super) issuer: Option<&'p str>,
    pub(super) subject: Option<&'p str>,
    audience: Option<Vec<&'p str>>,
    pub(super) expires: UnixTime,
    pub(super) not_before: Option<UnixTime>,
    pub(super) issued: Option<UnixTime>,
    pub(super) id: Option<&'p [u8]>,
    pub(super) uses: Uses,
    pub(super) networks: Option<Box<[IpNet]>>,
    pub(super) methods: Methods,
    pub(super) renewal: Option<Terms<'p>>,
    uri: Demands<'p>,
    headers: Vec<(HeaderName, Matches<'p>)>,
}

fn invalid<T>(what: &'static str) -> Result<T, TokenError> {
    Err(TokenError::Invalid(what))
}

impl<'p> Said<'p> {
    /// Reads a payload.
    ///
    /// # Errors
    /// `Malformed` for what is not a map of claims, `Invalid` for a claim of the wrong type or one that is not judged here.
    pub(super) fn read(rules: &Rules, payload: &'p [u8]) -> Result<Self, TokenError> {
        let Item::Map(claims) = cbor::read(payload).map_err(TokenError::Malformed)? else {
            return Err(TokenError::Malformed("the payload is not a map"));
        };
        let strange = |(label, _): &(Label<'_>, Item<'_>)| {
            rules.labels.judged(*label).is_none() && !may_be_passed_over(*label, &rules.ignored)
        };
        if claims.iter().any(strange) {
            return invalid("it has a claim that is not judged here");
        }
        let one = |claim| one(&rules.labels, &claims, claim);
        // RFC 8949 §3.4.2 has a tag for times; RFC 8392 §3.1.4 takes it away.
        let expires = time(one(Claim::Expires)?, f64::floor)?.ok_or(TokenError::Invalid("it has no exp"))?;
        if !matches!(one(Claim::Version)?, None | Some(Item::Int(1))) {
            return invalid("catv is not 1");
        }
        let id = match one(Claim::Id)? {
            None => None,
            Some(Item::Bytes(id)) if (1..=MAX_ID_BYTES).contains(&id.len()) => Some(*id),
            Some(_) => return invalid("cti is not a short byte string"),
        };
        let mut budget = Budget::new();
        Ok(Self {
            issuer: text(one(Claim::Issuer)?)?,
            subject: text(one(Claim::Subject)?)?,
            audience: one(Claim::Audience)?.map(texts).transpose()?,
            expires,
            not_before: time(one(Claim::NotBefore)?, f64::ceil)?,
            issued: time(one(Claim::Issued)?, f64::floor)?,
            id,
            uses: uses(one(Claim::Replay)?, id)?,
            networks: one(Claim::Networks)?.map(network::read).transpose()?,
            methods: one(Claim::Methods)?.map_or(Ok(Methods::READ), methods)?,
            renewal: match one(Claim::Renewal)? {
                None => None,
                Some(item) => Terms::read(item)?,
            },
            uri: match one(Claim::Uri)? {
                None => Demands::default(),
                Some(item) => Demands::read(item, &mut budget)?,
            },
            headers: match one(Claim::Headers)? {
                None => Vec::new(),
                Some(item) => headers(item, &mut budget)?,
            },
            claims,
        })
    }

    /// Whether it is from and for whom the rules name.
    ///
    /// # Errors
    /// `Invalid`.
    pub(super) fn check_parties(&self, rules: &Rules) -> Result<(), TokenError> {
        let among = |known: &[Box<str>], name: &str| known.iter().any(|known| **known == *name);
        let from_ours = self.issuer.is_some_and(|issuer| among(&rules.issuers, issuer));
        if !rules.issuers.is_empty() && !from_ours {
            return invalid("from another issuer");
        }
        let for_us = match &self.audience {
            None => !rules.audience_required,
            Some(audience) => audience.iter().any(|name| among(&rules.audiences, name)),
        };
        match for_us {
            true => Ok(()),
            false => invalid("for another audience"),
        }
    }

    /// Whether the request is one that it is for.
    ///
    /// # Errors
    /// `Elsewhere` where not; `Invalid` where that can't be told.
    pub(super) fn check_request(&self, asked: &Asked<'_, '_>) -> Result<(), TokenError> {
        self.uri.check(asked)?;
        let holds = |(name, matches): &(HeaderName, Matches<'_>)| {
            asked
                .evidence
                .header(name)
                .is_some_and(|value| matches.hold(value))
        };
        match self.headers.iter().all(holds) {
            true => Ok(()),
            false => Err(TokenError::Elsewhere("cath is for other headers")),
        }
    }
}

/// The one member that is this claim, under whatever number.
fn one<'m, 'p>(
    labels: &Labels,
    claims: &'m [(Label<'p>, Item<'p>)],
    claim: Claim,
) -> Result<Option<&'m Item<'p>>, TokenError> {
    let mut found = claims
        .iter()
        .filter(|(label, _)| labels.judged(*label) == Some(claim));
    match (found.next(), found.next()) {
        (first, None) => Ok(first.map(|(_, item)| item)),
        _ => invalid("a claim stands under two numbers"),
    }
}

fn text<'p>(item: Option<&Item<'p>>) -> Result<Option<&'p str>, TokenError> {
    match item {
        None => Ok(None),
        Some(Item::Text(text)) => Ok(Some(text)),
        Some(_) => invalid("iss or sub is not a text"),
    }
}

/// A text or a list of texts.
fn texts<'p>(item: &Item<'p>) -> Result<Vec<&'p str>, TokenError> {
    let one = |item: &Item<'p>| match item {
        Item::Text(text) => Ok(*text),
        _ => invalid("a list holds something else than texts"),
    };
    match item {
        Item::List(list) => list.iter().map(one).collect(),
        item => one(item).map(|text| vec![text]),
    }
}

/// A time in seconds, whole or not; `round` says to which side the rest of a millisecond falls.
fn time(item: Option<&Item<'_>>, round: fn(f64) -> f64) -> Result<Option<UnixTime>, TokenError> {
    match item {
        None => Ok(None),
        Some(Item::Int(seconds)) if (0..=MAX_TIME).contains(seconds) => {
            Ok(Some(UnixTime::from_secs(*seconds)))
        }
        // Not a number is in no range.
        Some(Item::Float(seconds)) if (0.0..=MAX_TIME as f64).contains(seconds) => {
            // Within the range, so that the cast does not saturate.
            Ok(Some(UnixTime::from_millis(round(seconds * 1000.0) as i64)))
        }
        Some(_) => invalid("a time is not a number of seconds"),
    }
}

/// `catreplay`: 0 permits it, 1 prohibits it, 2 wants it found out, which is to be prohibited, too.
fn uses(item: Option<&Item<'_>>, id: Option<&[u8]>) -> Result<Uses, TokenError> {
    match item {
        None | Some(Item::Int(0)) => Ok(Uses::UntilExpiry),
        Some(Item::Int(1 | 2)) if id.is_some() => Ok(Uses::Strict),
        Some(Item::Int(1 | 2)) => invalid("catreplay without a cti can't be kept"),
        Some(_) => invalid("catreplay is not 0, 1 or 2"),
    }
}

/// `catm`: names as they are written in requests. Those of other methods open nothing here.
fn methods(item: &Item<'_>) -> Result<Methods, TokenError> {
    let Item::List(_) = item else {
        return invalid("catm is not a list");
    };
    let names = texts(item)?.into_iter();
    let known = names.filter(|name| Methods::parse([*name]).is_ok());
    Methods::parse(known).or(invalid("catm can't be read"))
}

/// `cath`: names and what their values have to be like.
fn headers<'p>(item: &Item<'p>, budget: &mut Budget) -> Result<Vec<(HeaderName, Matches<'p>)>, TokenError> {
    let Item::Map(map) = item else {
        return invalid("cath is not a map");
    };
    if map.len() > MAX_HEADERS {
        return invalid("cath has too many headers");
    }
    let read = |(label, value): &(Label<'p>, Item<'p>)| {
        let name = match label {
            Label::Text(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
            Label::Int(_) => None,
        };
        let name = name.ok_or(TokenError::Invalid("cath names something else than a header"))?;
        Ok((name, Matches::read(value, budget)?))
    };
    map.iter().map(read).collect()
}
