//! `URLPrefix`: the start of the URLs that are opened, scheme and host included, in base64url.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::base64;
use crate::token::scheme::signed::Asked;
use crate::token::scheme::signed::fields::patterns::folder;
use crate::token::{PublicBase, TokenError};

/// The start of a URL, below our own scheme and host.
#[derive(Debug)]
pub(super) struct UrlPrefix {
    /// The path, decoded.
    path: Box<str>,
    /// The start of the query, raw; the path is whole then.
    query: Option<Box<str>>,
}

impl UrlPrefix {
    /// Reads one.
    ///
    /// # Errors
    /// `Malformed` for what is no URL, `Elsewhere` for one of another scheme or host.
    pub(super) fn parse(encoded: &str, public: &PublicBase) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed("its prefix is no URL");
        let bytes = base64(encoded)?;
        let url = std::str::from_utf8(&bytes).map_err(|_| malformed)?;
        if url.contains('#') || url.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(malformed);
        }
        let (scheme, rest) = url.split_once("://").ok_or(malformed)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // The host is whole: one that starts alike is another's.
        if !scheme.eq_ignore_ascii_case(&public.scheme) || !authority.eq_ignore_ascii_case(&public.authority)
        {
            return Err(TokenError::Elsewhere("it is for another host"));
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.into())),
            None => (rest, None),
        };
        let path = percent_decode_str(path).decode_utf8().map_err(|_| malformed)?;
        Ok(Self {
            path: path.into(),
            query,
        })
    }

    /// Whether the request's URL starts with it.
    pub(super) fn starts(&self, asked: &Asked<'_, '_>) -> bool {
        let path = asked.target.path();
        match &self.query {
            None => path.starts_with(&*self.path),
            Some(start) => *path == *self.path && asked.query.unwrap_or_default().starts_with(&**start),
        }
    }

    /// The deepest folder that holds all that it opens, for the `Path` of a cookie.
    pub(super) fn folder(&self) -> &str {
        folder(self.path.as_bytes(), &self.path)
    }
}

/// Our own URL of an encoded path.
///
/// # Errors
/// `Invalid` where the configuration does not name our scheme and host.
pub(super) fn url(public: Option<&PublicBase>, path: &str) -> Result<String, TokenError> {
    let public = public.ok_or(TokenError::Invalid("public scheme and host are not configured"))?;
    Ok(format!("{}://{}{path}", public.scheme, public.authority))
}

/// A value of a query, decoded where it has encodings.
///
/// # Errors
/// `Malformed` where it is no text.
pub(super) fn decoded(raw: &str) -> Result<Cow<'_, str>, TokenError> {
    crate::token::scheme::signed::query::decode(raw)
        .map_err(|_| TokenError::Malformed("it has a value that is no text"))
}
