//! Browser origins and header names: what may stand in `cors`, `identity_headers` and `response_headers`.

use std::collections::BTreeMap;

use http::{HeaderName, Uri};

use super::raw;
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::gate::route::Cors;

/// Headers of one connection (RFC 9110 §7.6.1), which no proxy passes on.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that mean something to the exchange itself, so that a claim must not stand in them.
const TAKEN: &[&str] = &[
    "host",
    "authorization",
    "cookie",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "expect",
    "forwarded",
    "via",
    "digest",
    "user-agent",
    "date",
    "origin",
    "referer",
];

/// Header and claim.
type IdentityHeaders = Box<[(HeaderName, Box<str>)]>;

/// Reads `[route.cors]`.
pub(super) fn cors(cors: &raw::Cors, problems: &mut Problems) -> Option<Cors> {
    let origins = cors.origins.as_ref()?;
    let at = format!("{}.origins", cors.at);
    if origins.is_empty() {
        problems.error(
            &at,
            "is empty",
            "name the origins of your pages, or take out [route.cors]",
        );
    }
    let any = origins.iter().any(|origin| origin.value == "*");
    if any && origins.len() > 1 {
        problems.error(&at, "has `*` beside other origins", "`*` stands alone");
    }
    if any && cors.credentials {
        problems.error(
            format!("{}.credentials", cors.at),
            "does not go with origins = [\"*\"]",
            "any page could read with the visitor's cookies: name the origins",
        );
    }
    let named: Vec<Option<Box<str>>> = origins
        .iter()
        .filter(|origin| origin.value != "*")
        .map(|origin| exact_origin(origin, problems))
        .collect();
    Some(Cors {
        origins: named.into_iter().collect::<Option<_>>()?,
        any,
        credentials: cors.credentials,
    })
}

/// Reads one origin as browsers send it (RFC 6454 §6.2): compared byte for byte, so it has to be written so.
pub(super) fn exact_origin(origin: &At<String>, problems: &mut Problems) -> Option<Box<str>> {
    let text = origin.value.as_str();
    let mut wrong = |what: &str, hint: String| {
        problems.error(&origin.at, what, hint);
        None
    };
    if text == "null" {
        return wrong(
            "`null` is every sandboxed page and local file",
            "name the page's own origin".to_owned(),
        );
    }
    let example = || "write \"https://app.example.com\"".to_owned();
    let Some((scheme, authority)) = text.split_once("://") else {
        return wrong("is no origin", example());
    };
    if let Some((host, _)) = authority.split_once('/') {
        return wrong(
            "has a path or a slash at its end, which no browser sends",
            format!("write \"{scheme}://{host}\""),
        );
    }
    let good = matches!(scheme, "http" | "https")
        && text
            .parse::<Uri>()
            .is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none())
        && !authority.contains(['@', '*', '#']);
    if !good {
        return wrong("is no origin", example());
    }
    if text != text.to_ascii_lowercase() {
        return wrong(
            "is not in lower case, as browsers send it",
            format!("write {:?}", text.to_ascii_lowercase()),
        );
    }
    let own = if scheme == "https" { ":443" } else { ":80" };
    if let Some(short) = text.strip_suffix(own) {
        return wrong(
            "names the scheme's own port, which no browser sends",
            format!("write {short:?}"),
        );
    }
    Some(text.into())
}

/// Reads `identity_headers`: header → claim.
pub(super) fn identity_headers(
    at: &str,
    headers: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<IdentityHeaders> {
    let mut good = Vec::new();
    let mut all = true;
    for (name, claim) in headers {
        let at = format!("{at}.{name}");
        let lower = name.to_ascii_lowercase();
        let wrong = if HOP_BY_HOP.contains(&&*lower) {
            Some("is a header of one connection, which is not passed on")
        } else if TAKEN.contains(&&*lower)
            || lower.starts_with("content-")
            || lower.starts_with("accept")
            || lower.starts_with("x-forwarded-")
            || lower.starts_with("sec-")
        {
            Some("already means something to the origin")
        } else if lower.contains('_') {
            Some("has an underscore, which origins mistake for a hyphen")
        } else if good
            .iter()
            .any(|(other, _): &(HeaderName, _)| other.as_str() == lower)
        {
            Some("is here twice")
        } else {
            None
        };
        let header = HeaderName::from_bytes(lower.as_bytes());
        match (wrong, header) {
            (None, Ok(header)) => {
                all &= super::links::claim_name(&at, claim, problems);
                good.push((header, Box::from(claim.as_str())));
            }
            (wrong, _) => {
                problems.error(
                    at,
                    wrong.unwrap_or("is no header name"),
                    "choose a name of your own, such as X-Media-Subject",
                );
                all = false;
            }
        }
    }
    all.then(|| good.into())
}

/// Reads `response_headers`.
pub(super) fn response_headers(names: &[At<String>], problems: &mut Problems) -> Option<Box<[HeaderName]>> {
    let one = |name: &At<String>| {
        let lower = name.value.to_ascii_lowercase();
        let what = if HOP_BY_HOP.contains(&&*lower) || lower == "content-length" {
            Some((
                "is a header of one connection, which is not passed on",
                "take it out",
            ))
        } else if lower.starts_with("access-control-") {
            Some(("is decided by the route", "see [route.cors]"))
        } else if matches!(
            &*lower,
            "content-security-policy" | "content-disposition" | "referrer-policy" | "cache-control"
        ) {
            Some(("is decided by the route", "see active_content and disposition"))
        } else {
            None
        };
        match (what, HeaderName::from_bytes(lower.as_bytes())) {
            (None, Ok(header)) => Some(header),
            (what, _) => {
                let (what, hint) = what.unwrap_or(("is no header name", "write \"X-Something\""));
                problems.error(&name.at, what, hint);
                None
            }
        }
    };
    // All of them are looked at before any is missed.
    let headers: Vec<Option<HeaderName>> = names.iter().map(one).collect();
    headers.into_iter().collect()
}
