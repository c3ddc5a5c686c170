//! Where a route is, and where its tokens ride: host, path, `carriers`.

use super::raw;
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::gate::route::RouteTemplate;
use crate::target::Target;
use crate::token::carrier::{Carrier, PathPattern};

pub(super) fn host(at: &str, host: &str, problems: &mut Problems) -> Option<Box<str>> {
    let lower = host.to_ascii_lowercase();
    let good = !lower.is_empty()
        && lower.len() <= 253
        && lower
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let bracketed = lower
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if good || bracketed {
        return Some(lower.into());
    }
    problems.error(
        at,
        "is no host name",
        "write \"media.example.com\": no scheme, no port, no wildcard, punycode for other scripts",
    );
    None
}

/// The path of a route: the decoded prefix, without a slash at its end, and the templates where it has variables.
pub(super) fn path(
    at: &str,
    path: &str,
    problems: &mut Problems,
) -> Option<(Box<str>, Box<[RouteTemplate]>)> {
    if !RouteTemplate::is_one(path) {
        return prefix(at, path, problems).map(|prefix| (prefix, Box::default()));
    }
    match RouteTemplate::parse(path) {
        Ok(templates) => {
            let claim = templates
                .iter()
                .flat_map(RouteTemplate::names)
                .find(|name| matches!(*name, "sub" | "iss" | "token"));
            if let Some(claim) = claim {
                problems.error(
                    at,
                    format!("calls a variable {claim:?}, which is the token's word and not the client's"),
                    "give it another name; `scope = { template = \"/customers/{sub}/**\" }` compares a path with a claim",
                );
                return None;
            }
            let lead = path.split(['{', '[']).next().unwrap_or_default();
            Some((lead.trim_end_matches('/').into(), templates.into()))
        }
        Err(what) => {
            problems.error(
                at,
                what,
                "write \"/[{lang}/]invoices/{id}/pdf\": variables are whole segments, brackets may be absent",
            );
            None
        }
    }
}

/// The decoded path, without a slash at its end.
fn prefix(at: &str, path: &str, problems: &mut Problems) -> Option<Box<str>> {
    if path.contains(['}', ']', '*', '?', '#']) {
        problems.error(
            at,
            "is a pattern, and should be a plain path",
            "a route is for all below its path; patterns go into `carriers` and `scope`",
        );
        return None;
    }
    match Target::parse(path, None) {
        Ok(target) => Some(target.path().trim_end_matches('/').into()),
        Err(error) => {
            problems.error(at, error.to_string(), "write \"/videos\", or \"/\" for all");
            None
        }
    }
}

pub(super) fn carriers(
    raw: &raw::Route,
    prefix: Option<&str>,
    session: Option<(&str, &str)>,
    problems: &mut Problems,
) -> Option<Vec<Carrier>> {
    let is_carried = raw.scheme.as_ref().is_none_or(raw::Scheme::is_carried);
    let at = format!("{}.carriers", raw.at);
    let Some(list) = &raw.carriers else {
        if !is_carried {
            return Some(Vec::new());
        }
        if !problems.has(&at) && !problems.is_meant(&at) {
            problems.error(at, "missing", "add `carriers = …`, a list of tables");
        }
        return None;
    };
    if !is_carried && !problems.has_error_below(&format!("{}.scheme", raw.at)) {
        problems.error(
            at,
            "says where tokens ride, and no scheme of the route asks for that",
            "take it out: signed URLs say it themselves",
        );
    }
    if list.is_empty() && !problems.has(&format!("{}.carriers[0]", raw.at)) {
        problems.error(
            format!("{}.carriers", raw.at),
            "is empty, so that no token can be found",
            "write [{ query = \"t\" }]",
        );
    }
    let mut carriers = Vec::new();
    let mut good = true;
    for carrier in list {
        match self::carrier(carrier, prefix, session, problems) {
            Some(one) if carriers.contains(&one) => {
                problems.error(&carrier.at, "is here twice", "take one of them out")
            }
            Some(one) => carriers.push(one),
            None => good = false,
        }
    }
    good.then_some(carriers)
}

fn carrier(
    carrier: &At<raw::Carrier>,
    prefix: Option<&str>,
    session: Option<(&str, &str)>,
    problems: &mut Problems,
) -> Option<Carrier> {
    let mut wrong = |key: &str, what: &str, hint: &str| {
        problems.error(format!("{}.{key}", carrier.at), what, hint);
        None
    };
    match &carrier.value {
        raw::Carrier::Query(name) => {
            if !is_parameter_name(name) {
                return wrong("query", "is no parameter name", "write { query = \"t\" }");
            }
            Some(Carrier::Query {
                names: Box::new([name.as_str().into()]),
            })
        }
        raw::Carrier::Cookie(name) => {
            if !is_cookie_name(name) {
                return wrong("cookie", "is no cookie name", "write { cookie = \"media\" }");
            }
            // The session's cookie has another name over https, which nobody needs to know.
            let name = match session {
                Some((written, real)) if written == name => real,
                _ => name,
            };
            Some(Carrier::Cookie {
                names: Box::new([name.into()]),
            })
        }
        raw::Carrier::PathPrefix(marker) => {
            if marker.is_empty()
                || marker
                    .bytes()
                    .any(|byte| !byte.is_ascii_graphic() || b"/%?#\\{}".contains(&byte))
                || marker.starts_with('.')
            {
                return wrong(
                    "path_prefix",
                    "is no marker",
                    "write { path_prefix = \"~\" }, for /~{token}/file",
                );
            }
            Some(Carrier::PathPrefix {
                marker: marker.as_str().into(),
            })
        }
        raw::Carrier::Path(text) => match PathPattern::parse(text) {
            Ok(pattern) => {
                let mut segments = text.split('/');
                let below =
                    prefix.is_none_or(|prefix| prefix.split('/').all(|own| segments.next() == Some(own)));
                if !below {
                    let hint = format!(
                        "it has to begin with the route's path, {}",
                        prefix.unwrap_or_default()
                    );
                    return wrong(
                        "path",
                        "does not lie below the route's path, so that no request matches it",
                        &hint,
                    );
                }
                Some(Carrier::PathSegment(pattern))
            }
            Err(what) => wrong("path", what, "write { path = \"/media/{id}/download/{token}\" }"),
        },
        raw::Carrier::Bearer(_) => Some(Carrier::Bearer),
    }
}

/// A token (RFC 9110 §5.6.2).
pub(super) fn is_cookie_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte))
}

/// A name that can stand in a query as it is.
pub(super) fn is_parameter_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"&=#+%;".contains(&byte))
}
