//! Locate: where the token is, and what is left without it. In: the admitted head. Out: `Located`: the evidence for
//! `verify` and the one `Target` that is judged and fetched. Nothing after `verify` sees raw bytes.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::HeaderMap;
use http::header::COOKIE;
use http::request::Parts as HttpParts;

use super::Client;
use super::admit::Admitted;
use super::exchange::Exchange;
use super::refusal::{Code, Stop};
use super::route::Route;
use crate::target::Target;
use crate::token::carrier::{Head, Left, LocateError, Place, Variables};
use crate::token::scheme::signed::{SignedScheme, Taken};
use crate::token::{Evidence, Parts};

/// A token and what is left of its request.
pub struct Located<'r> {
    /// All that a scheme may look at.
    pub evidence: Evidence<'r>,
    /// Further cookies of the same name, to be tried in turn.
    pub alternatives: Vec<Parts<'r>>,
    /// The target, without the token.
    pub target: Target,
    /// Path variables.
    pub variables: Variables,
    /// The segment that a path-prefix carrier took out.
    pub prefix: Option<Box<str>>,
    /// The scheme that took the token out by itself, where it was not a carrier.
    pub signed: Option<Signed<'r>>,
}

/// A token of a scheme that judges whole requests.
pub struct Signed<'r> {
    /// Its scheme.
    pub scheme: &'r SignedScheme,
    /// The path that is left, raw.
    pub path: Cow<'r, str>,
    /// The query that is left, raw.
    pub query: Option<Cow<'r, str>>,
}

/// Finds the token.
///
/// # Errors
/// `token_missing`, `token_malformed`, `bad_request` for more than one, `bad_path`.
pub fn locate<'r>(
    route: &'r Route,
    head: &'r HttpParts,
    admitted: &Admitted<'r>,
    client: Client,
    exchange: &mut Exchange,
) -> Result<Located<'r>, Stop> {
    let carried = Head {
        path: admitted.raw_path,
        query: admitted.raw_query,
        headers: &head.headers,
    };
    let Found {
        parts,
        alternatives,
        target,
        variables: carried_variables,
        prefix,
        signed,
    } = find(route, carried).map_err(|error| match error {
        LocateError::Ambiguous => Stop::refused(Code::BadRequest, "the request has more than one token"),
        LocateError::Malformed => Stop::refused(Code::TokenMalformed, "the token can't be read"),
        LocateError::Target(bad) => Stop::refused(Code::BadPath, bad.reason()),
    })?;
    exchange.path = Some(target.path().into());
    // The router looked at raw segments; what will be fetched has to lie under the same prefix.
    let Some(mut variables) = route.variables(target.path()) else {
        return Err(Stop::refused(Code::BadPath, "the path leaves its route"));
    };
    variables.extend(carried_variables);
    if prefix.is_some() && has_marker(route, target.path()) {
        return Err(Stop::refused(
            Code::BadRequest,
            "the request has more than one token",
        ));
    }
    let Some(parts) = parts else {
        return Err(Stop::refused(
            Code::TokenMissing,
            "no carrier of the route holds a token",
        ));
    };
    Ok(Located {
        evidence: Evidence {
            method: &head.method,
            public: route.public.as_ref(),
            raw_path: admitted.raw_path,
            raw_query: admitted.raw_query,
            headers: &head.headers,
            client: client.address,
            proxied: client.proxied,
            parts,
        },
        alternatives,
        target,
        variables,
        prefix,
        signed,
    })
}

/// What carriers and schemes make of a request.
struct Found<'r> {
    parts: Option<Parts<'r>>,
    alternatives: Vec<Parts<'r>>,
    target: Target,
    variables: Variables,
    prefix: Option<Box<str>>,
    signed: Option<Signed<'r>>,
}

/// A token in a header or a cookie.
enum Worn<'r> {
    /// Of a carrier: the token, and further cookies of its name.
    Carried(Parts<'r>, Vec<Parts<'r>>),
    /// Of a scheme's own.
    Signed(&'r SignedScheme, Taken<'r>),
}

/// The token in the URL, else in a header, else in a cookie; of two in one kind of place the carriers' counts. A URL has one.
/// What is wrong in a place matters where that place decides, and nowhere else.
fn find<'r>(route: &'r Route, head: Head<'r>) -> Result<Found<'r>, LocateError> {
    static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    if route.schemes.signed().is_empty() {
        let found = route.carriers.locate(head)?;
        return Ok(Found {
            parts: found.parts,
            alternatives: found.alternatives,
            target: found.target,
            variables: found.variables,
            prefix: found.prefix.map(|prefix| prefix.into_owned().into()),
            signed: None,
        });
    }
    let url = Head {
        headers: &NO_HEADERS,
        ..head
    };
    let mut in_url = None;
    for scheme in route.schemes.signed() {
        match scheme.take(url)? {
            Some(_) if in_url.is_some() => return Err(LocateError::Ambiguous),
            Some(taken) => in_url = Some((scheme, taken)),
            None => {}
        }
    }
    if let Some((scheme, taken)) = in_url {
        return signed(route, head, scheme, taken);
    }
    let left = route.carriers.strip(head)?;
    if left.parts.is_some() {
        return carried(left, Vec::new());
    }
    let own = match route.carriers.in_headers(head.headers) {
        Ok(None) => None,
        Ok(Some((place, parts, others))) => Some((place, Ok(Worn::Carried(parts, others)))),
        Err((place, error)) => Some((place, Err(error))),
    };
    let others = route
        .schemes
        .signed()
        .iter()
        .filter_map(|scheme| match scheme.take(head) {
            Ok(None) => None,
            Ok(Some(taken)) => Some((taken.place, Ok(Worn::Signed(scheme, taken)))),
            Err(error) => Some((place_of_error(scheme, head), Err(error))),
        });
    // The first of those that are in the same kind of place.
    let worn = own.into_iter().chain(others).min_by_key(|(place, _)| *place);
    match worn.map(|(_, worn)| worn).transpose()? {
        None => carried(left, Vec::new()),
        Some(Worn::Carried(parts, alternatives)) => {
            let found = carried(left, alternatives)?;
            Ok(Found {
                parts: Some(parts),
                ..found
            })
        }
        Some(Worn::Signed(scheme, taken)) => signed(route, head, scheme, taken),
    }
}

/// What a carrier found, or what is left where none did.
fn carried<'r>(left: Left<'r>, alternatives: Vec<Parts<'r>>) -> Result<Found<'r>, LocateError> {
    Ok(Found {
        target: Target::parse(&left.path, left.query.as_deref())?,
        parts: left.parts,
        alternatives,
        variables: left.variables,
        prefix: left.prefix.map(|prefix| prefix.into_owned().into()),
        signed: None,
    })
}

/// What a scheme took out by itself. The tokens of carriers go, too; one in the URL beside one there is one too many.
fn signed<'r>(
    route: &Route,
    head: Head<'r>,
    scheme: &'r SignedScheme,
    taken: Taken<'r>,
) -> Result<Found<'r>, LocateError> {
    let (target, variables, prefix) = {
        let left = route.carriers.strip(Head {
            path: &taken.path,
            query: taken.query.as_deref(),
            ..head
        })?;
        if left.parts.is_some() {
            return Err(LocateError::Ambiguous);
        }
        let target = Target::parse(&left.path, left.query.as_deref())?;
        (
            target,
            left.variables,
            left.prefix.map(|prefix| prefix.into_owned().into()),
        )
    };
    Ok(Found {
        parts: Some(taken.parts),
        alternatives: taken.alternatives,
        target,
        variables,
        prefix: prefix.or_else(|| taken.prefix.map(|prefix| prefix.into_owned().into())),
        signed: Some(Signed {
            scheme,
            path: taken.path,
            query: taken.query,
        }),
    })
}

/// Where what a scheme can't read stands: in a header of its own, or among the cookies.
fn place_of_error(scheme: &SignedScheme, head: Head<'_>) -> Place {
    let mut headers = head.headers.clone();
    headers.remove(COOKIE);
    let without_cookies = Head {
        headers: &headers,
        ..head
    };
    match scheme.take(without_cookies) {
        Err(_) => Place::Header,
        Ok(_) => Place::Cookie,
    }
}

/// Whether `path` is `prefix` or lies below it, on a segment boundary.
pub(super) fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the path still starts with what looks like a path-prefix token.
fn has_marker(route: &Route, path: &str) -> bool {
    let first = path.get(1..).unwrap_or_default();
    route.markers().any(|marker| first.starts_with(marker))
}
