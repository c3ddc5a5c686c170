//! `URLPrefix`: a scheme, a host and the start of a path, in base64url. "Used as a text substring, not strictly a directory path":
//! `https://example.com/data` opens `/data/file1` and `/database`.

use base64::Engine;

use super::PADDED_OR_NOT;
use crate::target::Target;
use crate::token::{PublicBase, TokenError};

/// The prefix in clear.
///
/// # Errors
/// `Malformed`.
pub(super) fn decode(prefix: &str) -> Result<String, TokenError> {
    PADDED_OR_NOT
        .decode(prefix)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(TokenError::Malformed("URLPrefix is not base64url of a text"))
}

/// Whether the target lies under the prefix. Scheme and host are compared whole, as the original's documents demand a whole
/// domain name: `https://media.ex` is no prefix of another host's URLs. Paths are compared as the gate reads them.
///
/// # Errors
/// `Elsewhere`; `Malformed` or `Invalid` for what is no prefix.
pub(super) fn check(prefix: &str, public: &PublicBase, target: &Target) -> Result<(), TokenError> {
    let prefix = decode(prefix)?;
    let (scheme, rest) = prefix
        .split_once("://")
        .ok_or(TokenError::Invalid("URLPrefix has no scheme"))?;
    if rest.contains(['?', '#']) {
        return Err(TokenError::Invalid("URLPrefix has a query or a fragment"));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let opened = Target::parse(path, None).map_err(|_| TokenError::Invalid("URLPrefix has no path"))?;
    let here = *scheme == *public.scheme && *authority == *public.authority;
    match here && target.path().starts_with(opened.path()) {
        true => Ok(()),
        false => Err(TokenError::Elsewhere("the URL does not start with URLPrefix")),
    }
}
