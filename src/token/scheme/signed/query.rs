//! Raw query parameters for schemes that sign them: read in place, byte for byte.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::token::carrier::LocateError;
pub(in crate::token) use crate::token::carrier::decode as decode_token;
pub(in crate::token) use crate::token::carrier::query::{is, pieces, split, without};

/// The raw value of the parameter called `name`, which stands at most once.
///
/// # Errors
/// `Ambiguous` where it stands twice.
pub fn one<'r>(query: Option<&'r str>, name: &str) -> Result<Option<&'r str>, LocateError> {
    let mut values = values(query, name);
    let value = values.next();
    match values.next() {
        None => Ok(value),
        Some(_) => Err(LocateError::Ambiguous),
    }
}

/// The raw values of all parameters called `name`.
pub fn values<'r>(query: Option<&'r str>, name: &str) -> impl Iterator<Item = &'r str> {
    query
        .into_iter()
        .flat_map(pieces)
        .map(split)
        .filter(move |(key, _)| is(key, name))
        .map(|(_, value)| value)
}

/// Decodes a parameter's value once; `+` stays `+`, and what is no encoding stays as it is.
///
/// # Errors
/// `Malformed` for what is not UTF-8 then, or holds control bytes.
pub fn decode(raw: &str) -> Result<Cow<'_, str>, LocateError> {
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| LocateError::Malformed)?;
    match text.bytes().any(|byte| byte.is_ascii_control()) {
        true => Err(LocateError::Malformed),
        false => Ok(text),
    }
}

/// The query without the parameters whose names are `ours`; `None` where none is left.
pub fn without_names<'r>(query: Option<&'r str>, ours: &[&str]) -> Option<Cow<'r, str>> {
    let rest = without(query?, |key| ours.iter().any(|name| is(key, name)));
    (!rest.is_empty()).then_some(rest)
}
