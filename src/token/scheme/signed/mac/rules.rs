//! What rules have to be so that a link can be believed: the path is signed, the secret is in it, the time is signed, and
//! pattern, place and time speak of the same.

use super::layout::Field;
use std::sync::Arc;

use super::pattern::{Form, Piece, Seams};
use super::{Algorithm, Arguments, Encoding, Layout, Pattern, Reading, Rules, Time, TimeText};
use crate::secret::Secret;
use crate::token::keys::LogKey;
use crate::token::scheme::signed::{NamedKeys, Statuses};

/// Why rules are refused. Safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// A hash that no secret is in.
    #[error("the pattern needs {{secret}}, unless the algorithm is an HMAC")]
    NoSecret,
    /// A link for one file would open all.
    #[error("the pattern needs the path: {{path}}, {{dir}}, {{segments:1}} or {{link}}")]
    NoPath,
    /// Links for ever.
    #[error("links without a time never end: say without_expiry = true if that is meant")]
    NoTime,
    /// The time is written under another name than it has.
    #[error("a time that means this is written {{{0}}} in the place")]
    TimeWord(&'static str),
    /// It could be changed.
    #[error("the place has {{{0}}}, and the pattern does not sign it")]
    NotSigned(&'static str),
    /// Nobody says it.
    #[error("the pattern or the time needs {{{0}}}, and the place has none")]
    NotPlaced(&'static str),
    /// Text can be moved from one to the other.
    #[error("{0} and {1} touch in the pattern: put something between, or say touching = true")]
    Touching(&'static str, &'static str),
    /// A start is written as the time is.
    #[error("links that have {{starts}} have an end, too")]
    StartAlone,
    /// What was sent is resolved before.
    #[error("a path that is resolved is signed decoded: {{path}}, not {{path_raw}}")]
    RawResolved,
    /// It is one of those that are taken out.
    #[error("{{arg:{0}}} is a parameter of the token: name what it holds")]
    TokenArgument(Box<str>),
    /// `/` is one of its letters.
    #[error("Base64 of a MAC in a path is that for URLs")]
    Base64InPath,
    /// Where it ends can't be told.
    #[error("what stands behind {{mac}} may itself be of a MAC")]
    NoSeparator,
    /// A query has one last parameter.
    #[error("last is for tokens in one parameter")]
    Last,
}

/// A field: its word, and which piece signs it.
type Signed = (&'static str, Field, fn(&Piece) -> bool);

impl Rules {
    /// Rules for an operator's own links, which say in seconds when they end. All else is as strict as it can be.
    pub fn new(
        algorithm: Algorithm,
        pattern: Pattern,
        encoding: Encoding,
        place: Layout,
        keys: NamedKeys<Secret>,
        log_key: Arc<LogKey>,
    ) -> Self {
        Self {
            name: "mac",
            keys,
            algorithm,
            pattern,
            encoding,
            place,
            time: Time::Expires(TimeText::Seconds),
            equal_is_valid: false,
            without_expiry: false,
            touching: false,
            reading: Reading::Strict,
            arguments: Arguments::Once,
            last: false,
            statuses: Statuses::Forbidden,
            log_key,
        }
    }

    /// What the pattern leaves open, and its times have to make good.
    pub(super) fn check(&self) -> Result<Seams, BadRules> {
        let (pattern, place) = (&self.pattern, &self.place);
        let is_secret = |piece: &Piece| matches!(piece, Piece::Secret | Piece::Sorted { .. });
        if matches!(self.algorithm, Algorithm::Plain(_)) && !pattern.any(is_secret) {
            return Err(BadRules::NoSecret);
        }
        if !pattern.any(|piece| matches!(piece, Piece::Path { .. })) {
            return Err(BadRules::NoPath);
        }
        self.check_times()?;
        for (word, field, is_it) in self.fields() {
            let signed = pattern.any(is_it) || self.is_in_family(field);
            if place.has(field) && !signed {
                return Err(BadRules::NotSigned(word));
            }
            if !place.has(field) && pattern.any(is_it) {
                return Err(BadRules::NotPlaced(word));
            }
        }
        let is_raw = |piece: &Piece| matches!(piece, Piece::Path { form: Form::Raw, .. });
        if self.reading == Reading::Resolved && pattern.any(is_raw) {
            return Err(BadRules::RawResolved);
        }
        for piece in &pattern.pieces {
            let ours = |name: &str| place.names().any(|known| self.arguments.names(name, known));
            match piece {
                Piece::Argument(name) if ours(name) => return Err(BadRules::TokenArgument(name.clone())),
                _ => {}
            }
        }
        if place.is_in_path() && matches!(self.encoding, Encoding::Base64(_)) {
            return Err(BadRules::Base64InPath);
        }
        if !place.separates(self.encoding) {
            return Err(BadRules::NoSeparator);
        }
        if self.last && (place.names().count() != 1 || place.is_in_path()) {
            return Err(BadRules::Last);
        }
        let delimited = self.time.text().is_none_or(|text| text.is_delimited());
        let seams = pattern.seams(delimited);
        match seams.touching {
            Some((one, other)) if !self.touching => Err(BadRules::Touching(one, other)),
            _ => Ok(seams),
        }
    }

    fn check_times(&self) -> Result<(), BadRules> {
        let word = match self.time {
            Time::Absent => None,
            Time::Expires(_) => Some("expires"),
            _ => Some("issued"),
        };
        if word.is_none() && !self.without_expiry {
            return Err(BadRules::NoTime);
        }
        match (word, self.place.time()) {
            (Some(word), None) => return Err(BadRules::NotPlaced(word)),
            (Some(word), Some(other)) if word != other => return Err(BadRules::TimeWord(word)),
            (None, Some(other)) => return Err(BadRules::NotSigned(other)),
            _ => {}
        }
        let of_other = |piece: &Piece| match piece {
            Piece::Expires(_) => word != Some("expires"),
            Piece::Issued(_) => word != Some("issued"),
            _ => false,
        };
        if self.pattern.any(of_other) {
            return Err(BadRules::TimeWord(word.unwrap_or("nothing")));
        }
        if word.is_none() && self.place.has(Field::Starts) {
            return Err(BadRules::StartAlone);
        }
        let says_lifetime = matches!(self.time, Time::Lifetime(_));
        match (says_lifetime, self.place.has(Field::Lifetime)) {
            (true, false) => Err(BadRules::NotPlaced("lifetime")),
            (false, true) => Err(BadRules::NotSigned("lifetime")),
            _ => Ok(()),
        }
    }

    /// The fields that have to be signed, and how.
    fn fields(&self) -> [Signed; 5] {
        [
            (self.place.time().unwrap_or("expires"), Field::Time, |piece| {
                matches!(piece, Piece::Expires(_) | Piece::Issued(_))
            }),
            ("lifetime", Field::Lifetime, |piece| *piece == Piece::Lifetime),
            ("starts", Field::Starts, |piece| *piece == Piece::Starts),
            ("id", Field::Id, |piece| *piece == Piece::Id),
            ("subject", Field::Subject, |piece| *piece == Piece::Subject),
        ]
    }

    /// Whether the field's parameter is one of those that are signed together.
    fn is_in_family(&self, field: Field) -> bool {
        let name = self.place.name_of(field);
        let family = self.pattern.family();
        name.zip(family)
            .is_some_and(|(name, start)| name.starts_with(start))
    }
}
