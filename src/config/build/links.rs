//! What one part of the file says of another: names that lead nowhere, parts that nobody uses, routes that no request
//! reaches.

use super::raw;
use super::routes::Built;
use crate::config::problems::{Problems, nearest};
use crate::token::carrier::Carrier;

/// Claims that are no text, and so can't fill a template or a header.
const NOT_TEXT: &[&str] = &[
    "exp", "nbf", "iat", "aud", "paths", "methods", "ips", "uses", "args", "rate", "streams",
];

/// Reports a name that leads nowhere.
pub(super) fn unknown(at: &str, kind: &str, table: &str, name: &str, problems: &mut Problems) {
    let names = problems.names(table);
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match nearest(name, &known) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => format!("add [{table}.{name}]"),
        None => format!("add [{table}.{name}], or name one of: {}", known.join(", ")),
    };
    problems.error(at, format!("there is no {kind} {name:?}"), hint);
}

/// Whether a claim can fill a template or a header; reports it where not.
pub(super) fn claim_name(at: &str, claim: &str, problems: &mut Problems) -> bool {
    let good = !claim.is_empty()
        && claim.len() <= 128
        && claim
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'"' | b'\\'));
    if !good {
        problems.error(
            at,
            format!("{claim:?} is no name of a claim"),
            "a text claim, such as \"sub\"",
        );
    } else if NOT_TEXT.contains(&claim) {
        problems.error(
            at,
            format!("the claim {claim:?} is no text"),
            "a text claim, such as \"sub\"",
        );
        return false;
    }
    good
}

/// Warns of key sets, origins and catalogues that nothing uses.
pub(super) fn unused(file: &raw::File, problems: &mut Problems) {
    let mut keys: Vec<&str> = Vec::new();
    for route in &file.route {
        if let Some(jwt) = route.scheme.as_ref().and_then(|scheme| scheme.jwt.as_ref()) {
            keys.extend(jwt.keys.as_deref());
        }
        let sirv = route.scheme.as_ref().and_then(|scheme| scheme.sirv.as_ref());
        keys.extend(sirv.and_then(|sirv| sirv.keys.as_deref()));
        let short_media = route
            .scheme
            .as_ref()
            .and_then(|scheme| scheme.short_media.as_ref());
        keys.extend(short_media.and_then(|short| short.keys.as_deref()));
        let uri_signing = route
            .scheme
            .as_ref()
            .and_then(|scheme| scheme.uri_signing.as_ref());
        keys.extend(
            uri_signing
                .iter()
                .flat_map(|signing| signing.issuers.values().map(String::as_str)),
        );
        keys.extend(uri_signing.and_then(|signing| signing.unnamed_keys.as_deref()));
    }
    let mut media: Vec<&str> = file
        .route
        .iter()
        .filter_map(|route| route.media.as_deref())
        .collect();
    keys.extend(file.landing.as_ref().and_then(|landing| landing.keys.as_deref()));
    if let Some(issuer) = &file.issuer {
        keys.extend(
            issuer
                .callers
                .iter()
                .flatten()
                .filter_map(|caller| caller.keys.as_deref()),
        );
        keys.extend(issuer.native.as_ref().and_then(|native| native.keys.as_deref()));
        keys.extend(issuer.fynn.as_ref().and_then(|fynn| fynn.keys.as_deref()));
        let invoices = issuer.fynn_invoice.as_ref();
        keys.extend(invoices.and_then(|invoices| invoices.keys.as_deref()));
        media.extend(invoices.and_then(|invoices| invoices.media.as_deref()));
        let media_tokens = issuer.nexudus_media.as_ref();
        keys.extend(media_tokens.and_then(|media| media.keys.as_deref()));
        let short_media = issuer.adobe_media.as_ref();
        keys.extend(short_media.and_then(|media| media.keys.as_deref()));
        let bearers = issuer.bearers.as_ref();
        keys.extend(bearers.and_then(|bearers| bearers.keys.as_deref()));
        let sirv = issuer.sirv.as_ref();
        keys.extend(sirv.and_then(|sirv| sirv.keys.as_deref()));
        let aliases = sirv.iter().flat_map(|sirv| sirv.aliases.values());
        keys.extend(aliases.filter_map(|alias| alias.keys.as_deref()));
        media.extend(issuer.fynn.as_ref().and_then(|fynn| fynn.media.as_deref()));
    }
    let origins: Vec<&str> = file
        .route
        .iter()
        .filter_map(|route| route.origin.as_deref())
        .chain(file.media.values().filter_map(|media| media.origin.as_deref()))
        .collect();
    for (table, names, used) in [
        ("keys", file.keys.keys().collect::<Vec<_>>(), keys),
        ("origin", file.origin.keys().collect(), origins),
        ("media", file.media.keys().collect(), media),
    ] {
        for name in names {
            if !used.contains(&name.as_str()) {
                problems.warn(format!("{table}.{name}"), "is not used", "");
            }
        }
    }
}

/// Reports routes whose paths look like another route's path prefix with a token: `Router::find` takes that reading first.
pub(super) fn unreachable(routes: &[Built], problems: &mut Problems) {
    for built in routes {
        let Some(first) = built.route.prefix.split('/').nth(1) else {
            continue;
        };
        for other in routes.iter().filter(|other| other.route.host == built.route.host) {
            let marker = other.route.carriers.iter().find_map(|carrier| match carrier {
                Carrier::PathPrefix { marker } if first.starts_with(&**marker) => Some(marker),
                _ => None,
            });
            let Some(marker) = marker else { continue };
            let (path, name) = (format!("{}.path", built.at), &other.route.name);
            let hint = "choose another path, or another path_prefix there";
            if other.route.prefix.is_empty() {
                let what =
                    format!("no request reaches it: /{marker}… is where route {name:?} looks for tokens");
                problems.error(path, what, hint);
            } else {
                let what = format!(
                    "not all of it is reached: /{marker}…{} goes to route {name:?}",
                    other.route.prefix
                );
                problems.warn(path, what, hint);
            }
        }
    }
}
