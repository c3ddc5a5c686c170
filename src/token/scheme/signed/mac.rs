//! The engine of MAC templates: links of many products, all of which carry a MAC over a written pattern of path, time,
//! address and secret. What differs between them is data: `presets`. Rules in; claims, links and refusals out. Which
//! algorithm, key and pattern count is never the token's to say.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{Asked, FURTHEST, NamedKeys, Signed, SignedRequest, Statuses, Taken, Wish, query, same};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::carrier::{Head, LocateError};
use crate::token::keys::LogKey;
use crate::token::{Claims, MAX_TOKEN_BYTES, Methods, TokenError};

mod hash;
mod layout;
mod message;
mod mint;
mod nginx;
mod pattern;
pub mod presets;
mod rules;
mod time;

pub use hash::{Algorithm, Encoding, Hash, Padding};
pub use layout::{BadLayout, Layout, MAX_LAYOUT_BYTES};
pub use mint::NEVER;
pub use pattern::{BadPattern, MAX_PATTERN_BYTES, MAX_PIECES, Pattern};
pub use rules::BadRules;
pub use time::{Early, Time, TimeText};

use layout::{Field, Fields};
use message::Material;
use time::Span;

/// The longest id and subject of a token.
const MAX_NAME_BYTES: usize = 128;

/// What a verifier demands, and what its links look like. `presets::Preset::rules` has those of known products.
#[derive(Debug)]
pub struct Rules {
    /// The scheme's name in logs: `mac`, or with a preset behind it.
    pub name: &'static str,
    /// The secrets; the first signs.
    pub keys: NamedKeys<Secret>,
    /// How the MAC is computed.
    pub algorithm: Algorithm,
    /// What it is computed over.
    pub pattern: Pattern,
    /// How it is written.
    pub encoding: Encoding,
    /// Where it rides, and the time.
    pub place: Layout,
    /// What the time means.
    pub time: Time,
    /// Whether the second in which a link ends still counts.
    pub equal_is_valid: bool,
    /// Whether links may have no time at all: one is good until the key is gone. Such are signed for wishes that end
    /// `NEVER`, and no others.
    pub without_expiry: bool,
    /// Whether pieces of the pattern may touch between which a client can move text: `{path}{arg:user}` is the same message
    /// for `/a` with `bc` and for `/ab` with `c`.
    pub touching: bool,
    /// How the path is read.
    pub reading: Reading,
    /// How the token's parameters are looked up.
    pub arguments: Arguments,
    /// Whether the token's parameter has to be the last of the query.
    pub last: bool,
    /// The statuses of its refusals.
    pub statuses: Statuses,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// How a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Dot segments, several slashes and encoded ones are refused, as everywhere.
    Strict,
    /// As nginx does: they are resolved before anything else, and what comes of that is signed and asked for.
    Resolved,
}

/// How parameters are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// By their exact name; one that stands twice is refused.
    Once,
    /// As nginx's `$arg_name`: the case of letters does not matter, and the first of several counts.
    Nginx,
}

/// A verifier and signer.
#[derive(Debug)]
pub struct Mac {
    rules: Rules,
    /// What the first segment starts with where that is the token.
    markers: Box<[Box<str>]>,
    /// Times have as many digits as the present: the pattern does not say where they begin or end.
    exact_times: bool,
    /// Times are at most `FURTHEST` away: digits can be moved through them.
    near_times: bool,
}

impl Mac {
    /// With these rules.
    ///
    /// # Errors
    /// `BadRules` for those that would sign too little, or what no link has.
    pub fn build(rules: Rules) -> Result<Self, BadRules> {
        let seams = rules.check()?;
        let markers = rules.place.marker().map(Box::from).into_iter().collect();
        Ok(Self {
            rules,
            markers,
            exact_times: seams.exact_times,
            near_times: seams.shifting,
        })
    }

    /// Its rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether a raw key is one of the token's parameters.
    fn is_ours(&self, key: &str) -> bool {
        let mut names = self.rules.place.names();
        let family = self.rules.pattern.family();
        names.any(|name| self.rules.arguments.names(key, name))
            || family.is_some_and(|start| message::starts(key, start))
    }

    /// Whether the fields are of the shape that they are written in.
    fn fits(&self, fields: &Fields<'_>) -> bool {
        self.mac(fields).is_some()
            && self.span(fields).is_ok()
            && is_name(fields.id)
            && is_name(fields.subject)
    }

    fn mac(&self, fields: &Fields<'_>) -> Option<hash::Tag> {
        self.rules
            .encoding
            .decode(fields.mac, self.rules.algorithm.size())
    }

    /// The moment that the token names.
    fn moment(&self, fields: &Fields<'_>) -> Result<Option<UnixTime>, TokenError> {
        let Some(text) = self.rules.time.text() else {
            return Ok(None);
        };
        let moment = text.read(fields.time, self.exact_times);
        moment.map(Some).ok_or(TokenError::Malformed("its time is none"))
    }

    /// Whether the token can have been signed with this time.
    ///
    /// # Errors
    /// `Invalid` for one that is too far away.
    fn check_moment(&self, moment: Option<UnixTime>, now: UnixTime) -> Result<(), TokenError> {
        match self.near_times && moment.is_some_and(|moment| moment > now.after(FURTHEST)) {
            true => Err(TokenError::Invalid("its time is more than ten years away")),
            false => Ok(()),
        }
    }

    /// From when to when the token is good.
    fn span(&self, fields: &Fields<'_>) -> Result<Span, TokenError> {
        let rules = &self.rules;
        let Some((moment, text)) = self.moment(fields)?.zip(rules.time.text()) else {
            return Ok(Span::default());
        };
        let lifetime = match rules.time {
            Time::Lifetime(_) => {
                time::lifetime(fields.lifetime).ok_or(TokenError::Malformed("its lifetime is none"))?
            }
            _ => Duration::ZERO,
        };
        let span = rules.time.span(moment, lifetime, self.grace(text));
        if fields.starts.is_empty() {
            return Ok(span);
        }
        let starts = text.read(fields.starts, self.exact_times);
        let starts = starts.ok_or(TokenError::Malformed("its start is none"))?;
        Ok(Span {
            not_before: Some(starts).max(span.not_before),
            ..span
        })
    }

    /// What is added to an end that still counts.
    fn grace(&self, text: TimeText) -> Duration {
        match self.rules.equal_is_valid {
            true => text.step(),
            false => Duration::ZERO,
        }
    }

    /// The path behind what stands before the token.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.rules.place.prefix())
            .filter(|rest| rest.starts_with('/'))
    }
}

impl SignedRequest for Mac {
    fn queries(&self) -> Vec<&str> {
        self.rules.place.name_of(Field::Mac).into_iter().collect()
    }

    fn name(&self) -> &'static str {
        self.rules.name
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let rules = &self.rules;
        let path = match rules.reading {
            Reading::Strict => Cow::Borrowed(head.path),
            Reading::Resolved => match nginx::resolve(head.path) {
                Ok(path) => path,
                // Refused as a target by whoever asks for it with another token.
                Err(_) if rules.place.names().next().is_none() => return Ok(None),
                Err(bad) => match rules.place.take("/".into(), head.query, rules.arguments)? {
                    Some(_) => return Err(bad.into()),
                    None => return Ok(None),
                },
            },
        };
        let Some(found) = rules.place.take(path, head.query, rules.arguments)? else {
            return Ok(None);
        };
        if found.parts.iter().map(|part| part.len()).sum::<usize>() > MAX_TOKEN_BYTES {
            return Err(LocateError::Malformed);
        }
        // A segment is nothing by its name: what doesn't look like a token is a folder.
        let fields = Fields::of(|at| found.parts.get(at).map_or("", |part| part));
        if rules.place.is_in_path() && !self.fits(&fields) {
            return Ok(None);
        }
        let query = match rules.place.names().next().is_none() && rules.pattern.family().is_none() {
            true => head.query.map(Cow::Borrowed),
            false => head
                .query
                .map(|query| query::without(query, |key| self.is_ours(key)))
                .filter(|query| !query.is_empty()),
        };
        Ok(Some(Taken {
            place: super::Place::Url,
            parts: found.parts,
            alternatives: Vec::new(),
            path: found.path,
            query,
            prefix: found.prefix,
        }))
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let rules = &self.rules;
        let fields = Fields::of(|at| asked.part(at));
        let mac = self
            .mac(&fields)
            .ok_or(TokenError::Malformed("its MAC is none"))?;
        let span = self.span(&fields)?;
        if !is_name(fields.id) || !is_name(fields.subject) {
            return Err(TokenError::Malformed("its id or subject is none"));
        }
        if rules.last && !self.is_last(asked.evidence.raw_query) {
            return Err(TokenError::Malformed("something follows the token in the query"));
        }
        let moment = self.moment(&fields)?;
        self.check_moment(moment, asked.now)?;
        let elsewhere = TokenError::Elsewhere("the path is not below the place of these tokens");
        let material = Material {
            path: self.rest(asked.target.path()).ok_or(elsewhere)?,
            path_raw: self.rest(asked.path).ok_or(elsewhere)?,
            fields,
            moment,
            query: asked.query,
            whole_query: asked.evidence.raw_query,
            mac_name: rules.place.name_of(Field::Mac),
            address: Some(asked.evidence.client),
            public: asked.evidence.public,
            headers: Some(asked.evidence.headers),
            arguments: rules.arguments,
        };
        let message = rules.pattern.fill(&material)?;
        let signed = rules.keys.at(asked.now).find(|key| {
            let secret = key.key.reveal();
            asked.signatures.show(&message.shown(secret));
            let ours = rules.algorithm.mac(secret, |sink| message.write(secret, sink));
            same(&ours, &mac)
        });
        let key = signed.ok_or(TokenError::Invalid("its MAC is of another link or key"))?;
        let token_id = rules.log_key.name(&[rules.name.as_bytes(), b"\0", &mac].concat());
        let said = |text: &str| (!matches!(text, "" | "0")).then(|| text.into());
        Ok(Claims {
            subject: said(fields.subject),
            id: said(fields.id),
            issued: span.issued,
            key: Some(key.name.clone()),
            not_before: span.not_before,
            expires: span.expires,
            methods: Some(Methods::READ),
            addresses: self
                .binds_address()
                .then(|| Box::from([IpNet::from(asked.evidence.client)])),
            ..asked.opened(token_id)
        })
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let fields = Fields::of(|at| taken.parts.get(at).map_or("", |part| part));
        let mut told = Vec::new();
        let span = self.span(&fields).unwrap_or_default();
        let times = [
            ("issued", span.issued),
            ("not before", span.not_before),
            ("expires", span.expires),
        ];
        for (word, time) in times {
            told.extend(time.map(|time| (word.into(), time.rfc3339().to_string())));
        }
        for (word, text) in [("id", fields.id), ("subject", fields.subject)] {
            if !matches!(text, "" | "0") && is_name(text) {
                told.push((word.into(), text.to_owned()));
            }
        }
        told
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        self.mint(wish)
    }

    fn markers(&self) -> &[Box<str>] {
        &self.markers
    }

    fn statuses(&self) -> Statuses {
        self.rules.statuses
    }
}

impl Mac {
    /// Whether the MAC's parameter is the last.
    fn is_last(&self, query: Option<&str>) -> bool {
        let last = query.unwrap_or_default().rsplit('&').next().map(query::split);
        let name = self.rules.place.name_of(Field::Mac);
        last.zip(name)
            .is_some_and(|((key, _), name)| self.rules.arguments.names(key, name))
    }
}

/// What an id and a subject may be: letters that need no encoding anywhere.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.len() <= MAX_NAME_BYTES && text.bytes().all(plain)
}

#[cfg(test)]
mod tests;
