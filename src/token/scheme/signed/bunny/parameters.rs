//! The parameters as they are signed: decoded, sorted by name, `name=value` joined by `&`. Nothing in that says where a value
//! ends, and so `a=1&limit=5` is also signed for `a=1%26limit%3D5`, which has no limit: what could be read twice is refused.

use std::borrow::Cow;

use super::conditions::Conditions;
use super::{Generation, PATH};
use crate::token::TokenError;
use crate::token::carrier::LocateError;
use crate::token::scheme::signed::query::{decode_token, pieces, split};

/// The most parameters that are signed.
const MAX_PARAMETERS: usize = 64;
/// What the names of conditions start with.
const CONDITION: &str = "token_";

/// Parameters in the order in which they are signed, decoded; no name stands twice.
pub(super) struct Parameters<'p>(Vec<(Cow<'p, str>, Cow<'p, str>)>);

impl<'p> Parameters<'p> {
    /// Those that a token of this generation signs: the conditions, and the client's own unless the token says that they are
    /// not.
    ///
    /// # Errors
    /// `Invalid` for conditions that are not known, `Malformed` for what has two readings.
    pub(super) fn of(
        own: Option<&'p str>,
        conditions: &Conditions<'p>,
        generation: Generation,
    ) -> Result<Self, TokenError> {
        let ignored = match conditions.ignore {
            None | Some("false") => generation == Generation::Md5,
            Some("true") => true,
            Some(_) => return Err(TokenError::Malformed("token_ignore_params is no truth value")),
        };
        let mut all = Vec::new();
        for (name, value) in own
            .into_iter()
            .flat_map(pieces)
            .filter(|piece| !piece.is_empty())
            .map(split)
        {
            let decoded = decode(name);
            // Some older signers write `token_referer`, and whatever comes next will restrict, too.
            if decoded.as_ref().is_ok_and(|name| name.starts_with(CONDITION)) {
                return Err(TokenError::Invalid("it has a condition that is not known"));
            }
            if !ignored {
                let value = if value.is_empty() {
                    Ok(Cow::Borrowed(""))
                } else {
                    decode(value)
                };
                let unreadable = |_| TokenError::Malformed("a parameter can't be read");
                all.push((decoded.map_err(unreadable)?, value.map_err(unreadable)?));
            }
        }
        let conditions = conditions.named();
        all.extend(conditions.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))));
        Self::sorted(all)
    }

    fn sorted(mut all: Vec<(Cow<'p, str>, Cow<'p, str>)>) -> Result<Self, TokenError> {
        if all.len() > MAX_PARAMETERS {
            return Err(TokenError::Malformed("it has more than 64 parameters"));
        }
        // A folder stands before the time, too, and so it ends there where it ends here.
        if all
            .iter()
            .any(|(name, value)| name.contains(['=', '&']) || value.contains('&') && name != PATH)
        {
            return Err(TokenError::Malformed("a parameter has two readings"));
        }
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let twice = all
            .windows(2)
            .any(|pair| matches!(pair, [(one, _), (next, _)] if one == next));
        if twice {
            return Err(TokenError::Malformed("a parameter stands twice"));
        }
        Ok(Self(all))
    }

    /// Whether the time, which stands before them, ends where they begin: a name's first digits could be its last ones, or an
    /// address's.
    ///
    /// # Errors
    /// `Invalid` where the first name begins with a digit.
    pub(super) fn check_start(&self) -> Result<(), TokenError> {
        let first = self.0.first().and_then(|(name, _)| name.bytes().next());
        match first.is_some_and(|byte| byte.is_ascii_digit()) {
            true => Err(TokenError::Invalid("its first parameter begins with a digit")),
            false => Ok(()),
        }
    }

    /// As they are signed.
    pub(super) fn joined(&self) -> String {
        let mut joined = String::new();
        for (name, value) in &self.0 {
            if !joined.is_empty() {
                joined.push('&');
            }
            joined.push_str(name);
            joined.push('=');
            joined.push_str(value);
        }
        joined
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Decodes a name or a value that is not empty. A bare `+` is refused: the older signers in PHP and Java mean a space by it, an
/// origin may read either.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, LocateError> {
    match raw.contains('+') {
        true => Err(LocateError::Malformed),
        false => decode_token(raw),
    }
}
