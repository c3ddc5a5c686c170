//! A JWT that nobody has verified: what the logs and the store would call it, for who wants to withdraw it.

use super::payload::time;
use super::{Compact, token_id};
use crate::clock::UnixTime;
use crate::token::json::Object;
use crate::token::keys::LogKey;
use crate::token::{TokenError, TokenId};

/// What a token says of itself. Anybody can write that.
#[derive(Debug)]
pub struct Unchecked {
    /// Its name, under this key.
    pub id: TokenId,
    /// Its end.
    pub expires: Option<UnixTime>,
    /// Whether another token could have the same name and another end: it is named by its `jti`, not by all that it says.
    pub is_named_by_id: bool,
}

/// Reads a token without believing it.
///
/// # Errors
/// `Malformed` for what is no JWT, or has neither an issuer nor, as Sirv's have, a path that it is for: no verifier takes such
/// a one.
pub fn read_unchecked(text: &str, log_key: &LogKey) -> Result<Unchecked, TokenError> {
    let payload = Compact::parse(text)?.payload;
    let members = Object::parse(&payload).map_err(TokenError::Malformed)?;
    let text = |name| members.get(name).and_then(|value| value.text());
    let is_sirvs = text("aud").is_some_and(|path| path.starts_with('/'));
    let (issuer, id) = match text("iss") {
        Some(issuer) => (issuer, text("jti")),
        // Named by all that it says.
        None if is_sirvs => ("", None),
        None => return Err(TokenError::Malformed("it names no issuer")),
    };
    Ok(Unchecked {
        id: token_id(log_key, issuer, id, &payload),
        expires: time(&members, "exp").ok().flatten(),
        is_named_by_id: id.is_some(),
    })
}
