//! What a login link says, read before anything is asked or spent. In: the raw query. Out: the handle, and where to go on.

use percent_encoding::percent_decode_str;

use super::Landing;
use super::redirect::{BadRedirect, Destination};
use crate::gate::refusal::{Code, Stop};
use crate::token::scheme::opaque::Handle;

/// A login link.
pub(in crate::gate) struct Link {
    /// The token; none where it can't be one.
    pub(super) handle: Option<Handle>,
    /// The value of `Location`.
    pub(super) location: String,
}

impl Link {
    /// Reads a raw query. Other parameters (`server=true`) say nothing here.
    ///
    /// # Errors
    /// `token_missing`; `bad_request` for two tokens or two redirects; `bad_path` for a redirect that leads elsewhere.
    pub(super) fn read(landing: &Landing, query: Option<&str>) -> Result<Self, Stop> {
        let query = query.unwrap_or_default();
        let token = only(query, &landing.query)
            .map_err(|Twice| Stop::refused(Code::BadRequest, "the request has more than one token"))?;
        let redirect = only(query, &landing.redirect_query)
            .map_err(|Twice| Stop::refused(Code::BadRequest, "the request has more than one redirect"))?;
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(Stop::refused(Code::TokenMissing, "the login link holds no token"));
        };
        let handle = percent_decode_str(token)
            .decode_utf8()
            .ok()
            .and_then(|text| Handle::parse(&text));
        let location = match redirect.filter(|redirect| !redirect.is_empty()) {
            None => landing.home.location(),
            Some(redirect) => destination(landing, redirect)?.location(),
        };
        // Whoever wrote the link may have put it into the redirect as well: there it would go on to others.
        let told = handle.as_ref().is_some_and(|handle| {
            let plain: Vec<u8> = percent_decode_str(&location).collect();
            plain
                .windows(handle.reveal().len())
                .any(|part| part.eq_ignore_ascii_case(handle.reveal().as_bytes()))
        });
        if told {
            return Err(Stop::refused(Code::BadPath, "the redirect holds the token"));
        }
        Ok(Self { handle, location })
    }
}

/// A redirect as it stands in the query: decoded once, as forms are.
fn destination(landing: &Landing, raw: &str) -> Result<Destination, Stop> {
    let refused = |bad: BadRedirect| Stop::refused(Code::BadPath, bad.reason());
    let text = decode(raw).ok_or(Stop::refused(Code::BadPath, "the redirect can't be decoded"))?;
    let destination = landing.site.destination(&text).map_err(refused)?;
    if destination.is_ours() && landing.is_login(destination.path()) {
        return destination
            .without(|name| is(name, &landing.query))
            .map_err(refused);
    }
    Ok(destination)
}

/// A parameter that stands twice.
struct Twice;

/// The raw value of the one parameter of this name.
fn only<'q>(query: &'q str, name: &str) -> Result<Option<&'q str>, Twice> {
    let mut values = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| is(key, name))
        .map(|(_, value)| value);
    let value = values.next();
    match values.next() {
        Some(_) => Err(Twice),
        None => Ok(value),
    }
}

/// Whether a raw name says this.
fn is(raw: &str, name: &str) -> bool {
    percent_decode_str(raw).eq(name.bytes())
}

/// One round of form decoding (`+` is a space there), strict.
fn decode(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let whole = raw.match_indices('%').all(|(at, _)| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let spaced = raw.replace('+', " ");
    whole
        .then(|| percent_decode_str(&spaced).decode_utf8().ok().map(String::from))
        .flatten()
}
