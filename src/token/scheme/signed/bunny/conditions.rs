//! What a token restricts itself to beside its time: a folder, countries, a rate.

use super::{BLOCKED, COUNTRIES, Folders, IGNORE, LIMIT, PATH};
use crate::token::claims::Limits;
use crate::token::{Parts, TokenError};

/// Bytes of a "kB", of which `limit` counts so many in a second. Bunny does not say whether they are 1000 or 1024: the less.
const KILOBYTE: u64 = 1000;
/// The most digits of a `limit`: above that nothing is limited.
const MAX_DIGITS: usize = 9;
/// What tables of countries answer where they don't know one; user-assigned codes of ISO 3166-1.
const UNKNOWN: [&str; 2] = ["XX", "ZZ"];

/// The parts of a token by their names, decoded; an absent one has no text.
#[derive(Default)]
pub(super) struct Conditions<'a> {
    pub(super) token: &'a str,
    pub(super) expires: &'a str,
    pub(super) folder: Option<&'a str>,
    pub(super) countries: Option<&'a str>,
    pub(super) blocked: Option<&'a str>,
    pub(super) limit: Option<&'a str>,
    pub(super) ignore: Option<&'a str>,
}

impl<'a> Conditions<'a> {
    /// In the order of `NAMES`.
    pub(super) fn of(parts: &'a Parts<'_>) -> Self {
        let text = |at: usize| parts.get(at).map_or("", |part| part);
        let some = |at: usize| Some(text(at)).filter(|text| !text.is_empty());
        Self {
            token: text(0),
            expires: text(1),
            folder: some(2),
            countries: some(3),
            blocked: some(4),
            limit: some(5),
            ignore: some(6),
        }
    }

    /// Those that are signed as parameters, with their names.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let all = [
            (PATH, self.folder),
            (COUNTRIES, self.countries),
            (BLOCKED, self.blocked),
            (LIMIT, self.limit),
            (IGNORE, self.ignore),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text?)))
    }
}

/// Whether the path lies in the folder.
///
/// # Errors
/// `Elsewhere`; `Invalid` for what is no path.
pub(super) fn check_folder(folder: &str, path: &str, folders: Folders) -> Result<(), TokenError> {
    if !folder.starts_with('/') {
        return Err(TokenError::Invalid("token_path does not start with a slash"));
    }
    let opens = path.strip_prefix(folder).is_some_and(|rest| match folders {
        Folders::Text => true,
        Folders::Segments => folder.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
    });
    match opens {
        true => Ok(()),
        false => Err(TokenError::Elsewhere("the path is not within token_path")),
    }
}

/// Whether a client from this country may have it; one from nowhere that is known may not, whatever the list.
///
/// # Errors
/// `Elsewhere`; `Invalid` for a list that can't be read.
pub(super) fn check_country(
    allowed: Option<&str>,
    blocked: Option<&str>,
    country: Option<&str>,
) -> Result<(), TokenError> {
    if allowed.is_none() && blocked.is_none() {
        return Ok(());
    }
    let country = country
        .filter(|country| is_code(country) && !UNKNOWN.iter().any(|code| code.eq_ignore_ascii_case(country)))
        .ok_or(TokenError::Elsewhere("the client's country is not known"))?;
    if allowed.map_or(Ok(false), |list| names(list, country).map(|named| !named))?
        || blocked.map_or(Ok(false), |list| names(list, country))?
    {
        return Err(TokenError::Elsewhere("not for the client's country"));
    }
    Ok(())
}

/// Whether the list names the country.
fn names(list: &str, country: &str) -> Result<bool, TokenError> {
    let codes = || list.split(',').map(|code| code.trim_matches(' '));
    match codes().all(is_code) {
        true => Ok(codes().any(|code| code.eq_ignore_ascii_case(country))),
        false => Err(TokenError::Invalid("a country is not named by two letters")),
    }
}

/// ISO 3166-1 alpha-2.
fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// What `limit` says, in kB/s.
///
/// # Errors
/// `Invalid` for what is no number or can't be held to.
pub(super) fn limits(limit: Option<&str>) -> Result<Limits, TokenError> {
    let Some(text) = limit else {
        return Ok(Limits::default());
    };
    let digits = text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    let rate = Some(text)
        .filter(|text| digits && !text.starts_with('0'))
        .and_then(|text| text.parse::<u64>().ok())
        .map(|limit| limit.saturating_mul(KILOBYTE));
    let limits = Limits { rate, streams: None };
    match rate.is_some() && limits.are_sound() {
        true => Ok(limits),
        false => Err(TokenError::Invalid("its limit is no rate that can be held to")),
    }
}
