//! Locate: where the token is, and what is left without it. In: the admitted head. Out: `Located`: the evidence for
//! `verify` and the one `Target` that is judged and fetched. Nothing after `verify` sees raw bytes.

use std::borrow::Cow;

use http::request::Parts as HttpParts;

use super::Client;
use super::admit::Admitted;
use super::exchange::Exchange;
use super::refusal::{Code, Stop};
use super::route::Route;
use crate::target::Target;
use crate::token::carrier::{Head, LocateError, Place, Variables};
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

/// The token in the URL, else in a header, else in a cookie; of two in one kind of place the carriers' counts. A URL has one.
fn find<'r>(route: &'r Route, head: Head<'r>) -> Result<Found<'r>, LocateError> {
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
    let mut best: Option<(&SignedScheme, Taken<'r>)> = None;
    for scheme in route.schemes.signed() {
        let Some(taken) = scheme.take(head)? else { continue };
        match &best {
            Some((_, known)) if known.place == Place::Url && taken.place == Place::Url => {
                return Err(LocateError::Ambiguous);
            }
            Some((_, known)) if known.place <= taken.place => {}
            _ => best = Some((scheme, taken)),
        }
    }
    let (path, query) = match &best {
        Some((_, taken)) => (&*taken.path, taken.query.as_deref()),
        None => (head.path, head.query),
    };
    // What was found in what is left is copied, so that it may go.
    let (in_url, mut prefix, target, variables) = {
        let left = route.carriers.in_url(Head { path, query, ..head })?;
        let own = |part: Cow<'_, str>| Cow::Owned(part.into_owned());
        let parts: Option<Parts<'r>> = left.parts.map(|parts| parts.into_iter().map(own).collect());
        let prefix: Option<Box<str>> = left.prefix.map(|prefix| prefix.into_owned().into());
        (parts, prefix, left.target, left.variables)
    };
    let in_headers = match (&in_url, &best) {
        (Some(_), _) => None,
        (None, Some((_, taken))) if taken.place == Place::Url => None,
        (None, _) => route.carriers.in_headers(head.headers)?,
    };
    let (parts, alternatives, signed) = match (in_url, in_headers, best) {
        (Some(_), _, Some((_, taken))) if taken.place == Place::Url => return Err(LocateError::Ambiguous),
        (Some(parts), _, _) => (Some(parts), Vec::new(), None),
        (None, Some((place, parts, alternatives)), best)
            if best.as_ref().is_none_or(|(_, taken)| place <= taken.place) =>
        {
            (Some(parts), alternatives, None)
        }
        (None, _, Some((scheme, taken))) => {
            prefix = prefix.or(taken.prefix.map(|prefix| prefix.into_owned().into()));
            let signed = Signed {
                scheme,
                path: taken.path,
                query: taken.query,
            };
            (Some(taken.parts), taken.alternatives, Some(signed))
        }
        (None, _, None) => (None, Vec::new(), None),
    };
    Ok(Found {
        parts,
        alternatives,
        target,
        variables,
        prefix,
        signed,
    })
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
