//! Tokens of fields that are joined by `~`, of which the last seals the others: `exp=…~acl=…~hmac=…`. Takes them apart and puts
//! them together; what the fields mean is their scheme's matter. Every field stands at most once, one that the scheme does not
//! know refuses the token, and what is signed is kept byte for byte.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use http::HeaderMap;
use md5::Md5;
use memchr::memchr;
use percent_encoding::percent_decode_str;
use smallvec::{SmallVec, smallvec};

use super::Asked;
use super::query::{pieces, split};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::target::Target;
use crate::token::carrier::{LocateError, MAX_COOKIES, cookies};
use crate::token::{MAX_TOKEN_BYTES, Parts, TokenError};

pub(super) mod patterns;

/// What joins the fields.
pub(super) const JOINT: char = '~';

/// The keys that are tried for a token: none of these names its key, and whoever has no token makes us try all.
pub(super) const MAX_TRIALS: usize = 8;

/// The most digits of a time in seconds.
const MAX_TIME_DIGITS: usize = 15;

/// What a scheme's tokens are made of.
pub(super) struct Grammar {
    /// The names of the fields that are sealed.
    pub(super) names: &'static [&'static str],
    /// The one that has no value in the token.
    pub(super) bare: Option<&'static str>,
    /// Whether the fields stand in the order of `names`.
    pub(super) order: Order,
    /// The names that the last field may have.
    pub(super) seals: &'static [&'static str],
}

/// In which order fields may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// In that of the names.
    Given,
    /// In any.
    Any,
}

/// A token that was taken apart.
pub(super) struct Fields<'t> {
    /// Everything before the seal.
    pub(super) text: &'t str,
    /// The name of the seal.
    pub(super) seal: &'static str,
    /// The seal.
    pub(super) mac: &'t str,
    values: SmallVec<[(&'static str, &'t str); 8]>,
}

impl<'t> Fields<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn parse(text: &'t str, grammar: &Grammar) -> Result<Self, TokenError> {
        let wrong = |what| Err(TokenError::Malformed(what));
        let Some((text, last)) = text.rsplit_once(JOINT) else {
            return wrong("it has one field");
        };
        let Some((seal, mac)) = last.split_once('=').and_then(|(name, mac)| {
            let seal = grammar.seals.iter().find(|seal| **seal == name)?;
            Some((*seal, mac))
        }) else {
            return wrong("its last field is no seal");
        };
        let mut values = SmallVec::<[(&'static str, &'t str); 8]>::new();
        let mut next = 0;
        for piece in text.split(JOINT) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let mut names = grammar.names.iter().enumerate();
            let Some((at, name)) = names.find(|(_, known)| **known == name) else {
                return wrong("it has an unknown field");
            };
            if values.iter().any(|(known, _)| known == name) {
                return wrong("it has a field twice");
            }
            if grammar.order == Order::Given && at < next {
                return wrong("its fields are not in their order");
            }
            let bare = grammar.bare == Some(*name);
            if bare && piece.len() > name.len() || !bare && value.is_empty() {
                return wrong("it has a field without its value");
            }
            next = at;
            values.push((name, value));
        }
        Ok(Self {
            text,
            seal,
            mac,
            values,
        })
    }

    /// The raw value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&'t str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Names and raw values, in the order of the token.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &'t str)> {
        self.values.iter().copied()
    }

    /// The time that a field says, where it is there.
    ///
    /// # Errors
    /// `Malformed` for what is no time.
    pub(super) fn time(&self, name: &str) -> Result<Option<UnixTime>, TokenError> {
        let read = |text| seconds(text).ok_or(TokenError::Malformed("it has a time that is not in digits"));
        self.get(name).map(read).transpose()
    }
}

/// Seconds since 1970: digits and nothing else.
pub(super) fn seconds(text: &str) -> Option<UnixTime> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.len() > MAX_TIME_DIGITS {
        return None;
    }
    text.parse().ok().map(UnixTime::from_secs)
}

/// Lower-case hexadecimal digits as bytes.
pub(super) fn unhex(text: &str) -> Option<Mac> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if !odd.is_empty() || pairs.is_empty() || pairs.len() > 32 {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// A message authentication code.
pub(super) type Mac = SmallVec<[u8; 32]>;

/// What tokens of fields are sealed with, where the key is a shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// HMAC-SHA256.
    #[default]
    Sha256,
    /// HMAC-SHA1.
    Sha1,
    /// HMAC-MD5.
    Md5,
}

impl Algorithm {
    /// The code over all pieces, one behind the other.
    pub(super) fn mac(self, key: &Secret, pieces: &[&[u8]]) -> Mac {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Md5 => return md5_mac(key, pieces),
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key.reveal()));
        pieces.iter().for_each(|piece| context.update(piece));
        Mac::from_slice(context.sign().as_ref())
    }
}

fn md5_mac(key: &Secret, pieces: &[&[u8]]) -> Mac {
    use ::hmac::{Hmac, KeyInit, Mac as _};
    // A key of any length does for HMAC (RFC 2104 §2).
    let Ok(mut context) = Hmac::<Md5>::new_from_slice(key.reveal()) else {
        return Mac::new();
    };
    pieces.iter().for_each(|piece| context.update(piece));
    Mac::from_slice(&context.finalize().into_bytes())
}

/// Judges a token as it stands, and where that does not hold and it has percent-encodings, once decoded: players encode `=`, `*`
/// and `/`, and minters sign texts that have encodings already. Which of the two it is, the seal says.
///
/// # Errors
/// Those of `judge`: of the text as it stands, unless only the decoded one is in the grammar.
pub(super) fn read<T>(
    raw: &str,
    mut judge: impl FnMut(&str) -> Result<T, TokenError>,
) -> Result<T, TokenError> {
    let (plain, decoded) = match (judge(raw), decoded(raw)) {
        (Err(plain), Some(decoded)) => (plain, judge(&decoded)),
        (judged, _) => return judged,
    };
    match plain {
        TokenError::Malformed(_) => decoded,
        _ => decoded.map_err(|_| plain),
    }
}

/// The text decoded once, where it has encodings and stays readable.
fn decoded(raw: &str) -> Option<Cow<'_, str>> {
    memchr(b'%', raw.as_bytes())?;
    percent_decode_str(raw)
        .decode_utf8()
        .ok()
        .filter(|text| is_readable(text))
}

/// Whether a token can be looked at.
pub(super) fn is_readable(raw: &str) -> bool {
    !raw.is_empty() && raw.len() <= MAX_TOKEN_BYTES && !raw.bytes().any(|byte| byte.is_ascii_control())
}

/// The first readable token of several in a URL or a header, of which there may be one.
///
/// # Errors
/// `Ambiguous` for two, `Malformed` for one that can't be looked at.
pub(super) fn only<'r>(mut values: impl Iterator<Item = &'r str>) -> Result<Option<&'r str>, LocateError> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    match is_readable(value) {
        true => Ok(Some(value)),
        false => Err(LocateError::Malformed),
    }
}

/// The readable cookies of a name, each as the part with this number.
pub(super) fn in_cookies<'r>(
    headers: &'r HeaderMap,
    name: &str,
    number: usize,
) -> impl Iterator<Item = Parts<'r>> {
    cookies(headers, name)
        .filter(|value| is_readable(value))
        .take(MAX_COOKIES)
        .map(move |value| part(value, number))
}

/// The part with this number, behind empty ones.
pub(super) fn part(value: &str, number: usize) -> Parts<'_> {
    let mut parts: Parts<'_> = smallvec![Cow::Borrowed(""); number];
    parts.push(Cow::Borrowed(value));
    parts
}

/// How whoever signs a path may have written that of the request: as it was sent, in its canonical encoding, or decoded.
/// Each, decoded once, is this path and no other: a decoded one with a percent sign in it could be the encoding of another.
pub(super) fn spellings<'a>(asked: &Asked<'a, '_>) -> SmallVec<[&'a str; 3]> {
    let mut spellings: SmallVec<[&'a str; 3]> = smallvec![asked.path];
    let decoded = Some(asked.target.path()).filter(|path| !path.contains('%'));
    for other in [Some(asked.target.encoded_path()), decoded].into_iter().flatten() {
        if !spellings.contains(&other) {
            spellings.push(other);
        }
    }
    spellings
}

/// Whether every byte of a token can stand in a query, in a cookie and in a header, and is read back the same.
fn rides(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~=*/!,:@$'()?%".contains(&byte)
}

/// A token as it rides in a query, a cookie or a header: as it is where that can be, else percent-encoded.
pub(super) fn riding(token: &str) -> Cow<'_, str> {
    if token.bytes().all(rides) {
        return Cow::Borrowed(token);
    }
    encoded(token, |byte| rides(byte) && byte != b'%').into()
}

/// Percent-encodes all bytes but those that may `stay`.
pub(super) fn encoded(text: &str, stay: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte.is_ascii() && stay(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(percent_encoding::percent_encode_byte(byte)),
        }
    }
    encoded
}

/// A value inside of a token that rides in a cookie, where its own encodings are to stay as they are.
pub(super) fn in_cookie(value: &str) -> String {
    encoded(value, rides)
}

/// A value inside of a token that is decoded when it is read.
pub(super) fn encoded_value(value: &str) -> String {
    encoded(value, |byte| {
        byte.is_ascii_alphanumeric() || b"-._=/:@".contains(&byte)
    })
}

/// Whether a text can be the value of a field and be read back.
pub(super) fn is_value(text: &str) -> bool {
    !text.is_empty() && !text.contains(JOINT) && !text.bytes().any(|byte| byte.is_ascii_control())
}

/// A time as tokens say it.
///
/// # Errors
/// `Invalid` for one that they can't say.
pub(super) fn said(time: UnixTime) -> Result<i64, TokenError> {
    let seconds = time.secs();
    match seconds > 0 && self::seconds(&seconds.to_string()).is_some() {
        true => Ok(seconds),
        false => Err(TokenError::Invalid("its times are after 1970")),
    }
}

/// Path and query of the target with more parameters behind them, of whose names none may be there yet.
///
/// # Errors
/// `Invalid` where one is.
pub(super) fn with_query(
    target: &Target,
    more: &str,
    taken: impl Fn(&str) -> bool,
) -> Result<String, TokenError> {
    let mut keys = target.query().into_iter().flat_map(pieces).map(split);
    if keys.any(|(key, _)| taken(key)) {
        return Err(TokenError::Invalid(
            "the target has a parameter of the token's name",
        ));
    }
    let joint = if target.query().is_some() { '&' } else { '?' };
    Ok(format!("{}{joint}{more}", target.as_str()))
}

#[cfg(test)]
pub(super) mod tests;
