//! The cookie of a download session: 128 random bits under a name of the token's own. Who has shown it once has to show it
//! from then on. The store knows its hash alone.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use percent_encoding::NON_ALPHANUMERIC;

use super::refusal::{Code, Failure, Stop};
use super::route::Route;
use crate::token::TokenId;
use crate::token::carrier::cookies;
use crate::token::keys::LogKey;
use crate::token::scheme::opaque::Handle;

/// What the names of all of them hold.
pub(super) const MARK: &str = "mediagate-";

/// The cookie of one token on one route.
pub(super) struct SessionCookie {
    name: String,
    secure: bool,
}

/// One that is about to be set.
pub(super) struct Fresh {
    cookie: SessionCookie,
    value: Handle,
}

impl SessionCookie {
    /// For this token. Over https it is bound to the host (RFC 6265bis §4.1.3.2).
    pub(super) fn of(route: &Route, id: TokenId) -> Self {
        let secure = route
            .public
            .as_ref()
            .is_some_and(|public| &*public.scheme == "https");
        let prefix = if secure { "__Host-" } else { "" };
        let name = id.to_string();
        Self {
            name: format!("{prefix}{MARK}{}", &name[..16]),
            secure,
        }
    }

    /// The hash of what a request shows.
    pub(super) fn shown(&self, headers: &HeaderMap, names: &LogKey) -> Option<[u8; 16]> {
        cookies(headers, &self.name)
            .find_map(Handle::parse)
            .map(|value| hash(&value, names))
    }

    /// A new value for it.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub(super) fn fresh(self) -> Result<Fresh, Stop> {
        let value = Handle::random().map_err(|_| {
            Stop::Failed(Failure {
                code: Code::Overloaded,
                detail: "there are no random numbers",
                source: None,
                retry_after: None,
            })
        })?;
        Ok(Fresh { cookie: self, value })
    }
}

impl Fresh {
    /// Its hash.
    pub(super) fn name(&self, names: &LogKey) -> [u8; 16] {
        hash(&self.value, names)
    }

    /// The value of `Set-Cookie`.
    pub(super) fn set(&self, life: Duration) -> HeaderValue {
        let secure = if self.cookie.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            self.cookie.name,
            percent_encoding::utf8_percent_encode(self.value.reveal(), NON_ALPHANUMERIC),
            life.as_secs()
        );
        // ASCII letters, digits and punctuation alone.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn hash(value: &Handle, names: &LogKey) -> [u8; 16] {
    names.name(&[&[0xfb], value.reveal().as_bytes()].concat()).0
}
