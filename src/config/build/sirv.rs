//! `[route.scheme.sirv]`: how Sirv's tokens are checked, and what else their keys must not be for. Whoever has such a key
//! makes tokens without asking, and a customer may have it.

use std::sync::Arc;

use jsonwebtoken::Algorithm;

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
    let callers = parts.issuer.and_then(|issuer| issuer.callers.as_ref());
    let shared = callers
        .iter()
        .any(|callers| callers.iter().any(|caller| caller.keys == raw.keys));
    if shared && raw.keys.is_some() {
        problems.error(
            at("keys"),
            "are callers' keys too: who makes Sirv tokens with them could make callers' bearers",
            "give [[issuer.callers]] a key set of their own",
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
