//! Locate: where the token is, and what is left without it. In: the admitted head. Out: `Located`: the evidence for
//! `verify` and the one `Target` that is judged and fetched. Nothing after `verify` sees raw bytes.

use std::net::IpAddr;

use http::request::Parts as HttpParts;

use super::admit::Admitted;
use super::exchange::Exchange;
use super::refusal::{Code, Stop};
use super::route::Route;
use crate::target::Target;
use crate::token::carrier::{Carrier, Head, LocateError, Variables};
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
}

/// Finds the token.
///
/// # Errors
/// `token_missing`, `token_malformed`, `bad_request` for more than one, `bad_path`.
pub fn locate<'r>(
    route: &'r Route,
    head: &'r HttpParts,
    admitted: &Admitted<'r>,
    client: IpAddr,
    exchange: &mut Exchange,
) -> Result<Located<'r>, Stop> {
    let carried = Head {
        path: admitted.raw_path,
        query: admitted.raw_query,
        headers: &head.headers,
    };
    let found = route.carriers.locate(carried).map_err(|error| match error {
        LocateError::Ambiguous => Stop::refused(Code::BadRequest, "the request has more than one token"),
        LocateError::Malformed => Stop::refused(Code::TokenMalformed, "the token can't be read"),
        LocateError::Target(bad) => Stop::refused(Code::BadPath, bad.reason()),
    })?;
    exchange.path = Some(found.target.path().into());
    // The router looked at raw segments; what will be fetched has to lie under the same prefix.
    let Some(mut variables) = route.variables(found.target.path()) else {
        return Err(Stop::refused(Code::BadPath, "the path leaves its route"));
    };
    variables.extend(found.variables);
    if found.prefix.is_some() && has_marker(route, found.target.path()) {
        return Err(Stop::refused(
            Code::BadRequest,
            "the request has more than one token",
        ));
    }
    let Some(parts) = found.parts else {
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
            client,
            parts,
        },
        alternatives: found.alternatives,
        target: found.target,
        variables,
        prefix: found.prefix.map(|prefix| prefix.into_owned().into()),
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
    route
        .carriers
        .iter()
        .any(|carrier| matches!(carrier, Carrier::PathPrefix { marker } if first.starts_with(&**marker)))
}
