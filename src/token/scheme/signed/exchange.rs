//! The exchange of a short token for a long one: whoever comes with a short token of a list of paths is given a cookie that says
//! the same for longer, so that a player's further requests need no token in their URLs. Akamai's `hdntl`; Google's dual tokens.
//! A long token has keys and a cookie of its own and a mark that is signed: it is never exchanged for another.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use http::header::SET_COOKIE;
use percent_encoding::percent_decode_str;

use super::fields::{Algorithm, MAX_TRIALS, Mac, hex};
use super::{NamedKey, NamedKeys, same};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::TokenError;
use crate::token::claims::Renewal;

/// What the data of a long token begins with, as at Akamai.
const MARK: &str = "hdntl";

/// The longest cookie: browsers keep 4096 bytes of name, value and attributes (RFC 6265 §6.1).
const MAX_COOKIE_BYTES: usize = 4000;

/// Which requests from other sites a browser sends the cookie with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SameSite {
    /// Those that navigate.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All: a player on one site, its media on another. Browsers demand `Secure` then.
    None,
}

/// How long tokens are made and checked.
#[derive(Debug)]
pub struct Session {
    /// The name of the cookie.
    pub name: Box<str>,
    /// Its keys, for HMAC-SHA256; the first that counts signs, the first eight are tried.
    pub keys: NamedKeys<Secret>,
    /// How long it lives.
    pub ttl: Duration,
    /// Whether browsers send it by HTTPS alone.
    pub secure: bool,
    /// With which requests from other sites browsers send it.
    pub same_site: SameSite,
}

impl Session {
    /// A cookie `hdntl` with these keys, for HTTPS alone, that lives for a day.
    pub fn new(keys: NamedKeys<Secret>) -> Self {
        Self {
            name: MARK.into(),
            keys,
            ttl: Duration::from_secs(24 * 60 * 60),
            secure: true,
            same_site: SameSite::Lax,
        }
    }

    /// The seconds at whose beginning a long token that is made now is dead.
    pub(super) fn expires(&self, now: UnixTime) -> i64 {
        now.after(self.ttl).secs()
    }

    /// The seal of a long token; `None` where no key signs any more.
    pub(super) fn seal(&self, signed: &str, now: UnixTime) -> Option<String> {
        let key = self.keys.at(now).next()?;
        Some(hex(&Algorithm::Sha256.mac(&key.key, &[signed.as_bytes()])))
    }

    /// The key that sealed a long token.
    ///
    /// # Errors
    /// `Invalid` where none did.
    pub(super) fn key(
        &self,
        signed: &str,
        mac: &Mac,
        now: UnixTime,
    ) -> Result<&NamedKey<Secret>, TokenError> {
        self.keys
            .at(now)
            .take(MAX_TRIALS)
            .find(|key| same(&Algorithm::Sha256.mac(&key.key, &[signed.as_bytes()]), mac))
            .ok_or(TokenError::Invalid("no key of the sessions sealed it"))
    }

    /// The cookie that carries a long token, for all below `folder`; `None` where no browser would keep it.
    pub(super) fn cookie(&self, token: &str, folder: &str) -> Option<Renewal> {
        let same_site = match self.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let (name, age) = (&self.name, self.ttl.as_secs());
        let secure = if self.secure { " Secure;" } else { "" };
        let cookie =
            format!("{name}={token}; Path={folder}; Max-Age={age};{secure} HttpOnly; SameSite={same_site}");
        if cookie.len() > MAX_COOKIE_BYTES {
            return None;
        }
        Some(Renewal {
            header: SET_COOKIE,
            value: HeaderValue::try_from(cookie).ok()?,
        })
    }
}

/// What the data of a long token says in place of `data`.
pub(super) fn marked(data: Option<&str>) -> String {
    match data {
        Some(data) => format!("{MARK},{data}"),
        None => MARK.to_owned(),
    }
}

/// The data of a short token in that of a long one; `None` where it has no mark.
pub(super) fn unmarked(data: Option<&str>) -> Option<Option<&str>> {
    match data?.strip_prefix(MARK)? {
        "" => Some(None),
        rest => rest.strip_prefix(',').map(Some),
    }
}

/// A value that was encoded for a long token.
///
/// # Errors
/// `Malformed` where it is no text.
pub(super) fn decoded(value: &str) -> Result<Cow<'_, str>, TokenError> {
    percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| TokenError::Malformed("it has a value that is no text"))
}
