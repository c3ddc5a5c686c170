//! `[route.scheme.sirv]`: how Sirv's tokens are checked, and what else their keys must not be for. Whoever has such a key
//! makes tokens without asking, and a customer may have it.

use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::keys::Keys;
use super::routes::Parts;
use super::{DAY, in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::token::keys::KeyRing;
use crate::token::scheme::sirv::Rules;

/// The rules of a route; `None` only where a problem was reported.
pub(super) fn rules(
    raw: &raw::SirvScheme,
    route: &raw::Route,
    parts: &Parts<'_>,
    problems: &mut Problems,
) -> Option<Rules> {
    let at = |key: &str| format!("{}.{key}", raw.at);
    let ring = raw
        .keys
        .as_deref()
        .and_then(|name| parts.keys.find(&at("keys"), name, problems))
        .map(|named| &named.ring);
    if let Some(ring) = ring {
        has_hs256(&at("keys"), ring, problems);
    }
    if route.scheme.as_ref().is_some_and(|scheme| scheme.jwt.is_some()) {
        problems.error(
            &raw.at,
            "stands beside [route.scheme.jwt]: their tokens look alike",
            "one of the two on a route; give the other a route of its own",
        );
    }
    if !matches!(route.scope, raw::Scope::Claims) {
        problems.warn(
            format!("{}.scope", route.at),
            "is not the token's own, which a Sirv token always has",
            "\"claims\"",
        );
    }
    let max_lifetime = raw
        .max_lifetime
        .map(|life| in_range(at("max_lifetime"), life, seconds(1), 3660 * DAY, problems));
    Some(Rules {
        keys: Arc::clone(ring?),
        forward_args: raw.forward_args,
        max_lifetime,
        log_key: parts.keys.log_key.clone()?,
    })
}

/// Reports a set without an HS256 key. Fetched sets never have one.
pub(super) fn has_hs256(at: &str, ring: &KeyRing, problems: &mut Problems) {
    let has = ring
        .load()
        .is_some_and(|set| set.keys.signing_by(Algorithm::HS256).is_some());
    if !has {
        problems.error(
            at,
            format!("the key set {:?} has no HS256 key", ring.name()),
            "a set with [[keys.NAME.inline]], alg = \"HS256\" and the secret of the Sirv account",
        );
    }
}

/// Reports keys that are for Sirv's tokens and for others: whoever may make the first could make the second, and a session or a
/// bearer says more than a link. Sets are compared by what is in them.
pub(super) fn keys_apart(file: &raw::File, keys: &Keys, problems: &mut Problems) {
    let issuer = file.issuer.as_ref();
    let own = issuer.and_then(|issuer| issuer.sirv.as_ref());
    let routes = file.route.iter().filter_map(|route| route.scheme.as_ref());
    let sirv: Vec<&str> = routes
        .filter_map(|scheme| scheme.sirv.as_ref()?.keys.as_deref())
        .chain(own.and_then(|own| own.keys.as_deref()))
        .chain(
            own.iter()
                .flat_map(|own| own.aliases.values())
                .filter_map(|alias| alias.keys.as_deref()),
        )
        .collect();
    let is_theirs = |name: &str| {
        sirv.iter().any(|own| {
            let sets = keys.loaded(own).zip(keys.loaded(name));
            *own == name || sets.is_some_and(|(own, other)| own.keys.shares_a_secret(&other.keys))
        })
    };
    for (at, name) in others(file) {
        if is_theirs(name) && !problems.has_error_below(&at) {
            problems.error(
                at,
                "are for Sirv tokens too: whoever makes those with them could make these",
                "a key set of its own, with other secrets",
            );
        }
    }
}

/// The key sets of all other signed tokens, and where they are named.
fn others(file: &raw::File) -> Vec<(String, &str)> {
    fn named<'f>(at: &str, keys: &'f Option<String>) -> Option<(String, &'f str)> {
        Some((format!("{at}.keys"), keys.as_deref()?))
    }
    let mut all: Vec<(String, &str)> = file
        .route
        .iter()
        .filter_map(|route| route.scheme.as_ref()?.jwt.as_ref())
        .filter_map(|jwt| named(&jwt.at, &jwt.keys))
        .collect();
    all.extend(
        file.landing
            .iter()
            .filter_map(|landing| named(&landing.at, &landing.keys)),
    );
    let Some(issuer) = &file.issuer else { return all };
    let callers = issuer.callers.iter().flatten();
    all.extend(callers.filter_map(|caller| named(&caller.at, &caller.keys)));
    all.extend(issuer.bearers.iter().filter_map(|one| named(&one.at, &one.keys)));
    all.extend(issuer.native.iter().filter_map(|one| named(&one.at, &one.keys)));
    all.extend(issuer.fynn.iter().filter_map(|one| named(&one.at, &one.keys)));
    all.extend(
        issuer
            .fynn_invoice
            .iter()
            .filter_map(|one| named(&one.at, &one.keys)),
    );
    all.extend(
        issuer
            .nexudus_media
            .iter()
            .filter_map(|one| named(&one.at, &one.keys)),
    );
    all
}
