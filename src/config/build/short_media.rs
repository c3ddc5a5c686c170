//! `[route.scheme.short_media]`: whose short media tokens are believed, and what their resources open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::Keys;
use super::raw;
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::token::keys::KeyRing;
use crate::token::scheme::short_media::{ALGORITHM, CLAIMS, Resources, Rules, xml};
use crate::token::scope::MAX_PATTERNS;
use crate::token::{Opens, Scope, Uses};

/// The longest requestor, provider or resource, in bytes: all together, escaped and signed, fit into a token.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// The resources of one requestor, as they stand in the file.
type RawResources = BTreeMap<String, At<Vec<At<String>>>>;

/// Reads a verifier; `named` are the claims that the route needs.
pub(super) fn rules(
    route: &raw::Route,
    short: &raw::ShortMedia,
    named: &[String],
    keys: &Keys,
    problems: &mut Problems,
) -> Option<Rules> {
    let ring = ring(&short.at, short.keys.as_deref(), keys, problems);
    if let Some(ring) = &ring
        && ring
            .load()
            .is_some_and(|set| set.keys.verifying().iter().all(|key| key.algorithm != ALGORITHM))
    {
        problems.error(
            format!("{}.keys", short.at),
            format!("the key set {:?} has no RS256 key", ring.name()),
            "short media tokens are signed by RSA with SHA-256",
        );
    }
    let only = route
        .scheme
        .as_ref()
        .is_some_and(|scheme| scheme.jwt.is_none() && scheme.opaque.is_none());
    let unknown = named
        .iter()
        .find(|name| *name != "sub" && !CLAIMS.contains(&name.as_str()));
    if let Some(name) = unknown.filter(|_| only) {
        problems.error(
            &short.at,
            format!("a short media token has no claim {name:?}, which the route needs"),
            "sub (the session), resource, requestor, mvpd or proxy_mvpd",
        );
    }
    let requestors = requestors(short, problems);
    let opens_itself = matches!(&route.scope, raw::Scope::Claims);
    if short.resources.is_none() && opens_itself && !problems.has_error_below(&route.at) {
        problems.warn(
            &short.at,
            "says not what a resource opens, so that nothing opens",
            "add [route.scheme.short_media.resources], or scope = { template = \"/channels/{resource}/**\" }",
        );
    }
    if let raw::Scope::Template(scope) = &route.scope
        && short.requestors.as_ref().is_some_and(|all| all.len() > 1)
        && scope
            .template
            .as_deref()
            .is_some_and(|text| text.contains("{resource}") && !text.contains("{requestor}"))
    {
        problems.warn(
            format!("{}.scope", route.at),
            "takes resources of one name for the same, whoever of the requestors they are of",
            "scope = { template = \"/channels/{requestor}/{resource}/**\" }, or one requestor",
        );
    }
    if short.one_time && route.single_use.is_none() {
        problems.warn(
            format!("{}.one_time", short.at),
            "lets a token open one file, once",
            "single_use = { playback = true } for players, which fetch many; single_use = {} where one is meant",
        );
    }
    let resources = match &short.resources {
        Some(resources) => all_resources(short, resources, problems).map(Some),
        None => Some(None),
    };
    Some(Rules {
        keys: ring?,
        requestors: requestors?,
        resources: resources?,
        uses: match short.one_time {
            true => Uses::Once,
            false => Uses::UntilExpiry,
        },
        log_key: keys.log_key.clone()?,
    })
}

/// The key set that a table names.
pub(super) fn ring(
    at: &str,
    name: Option<&str>,
    keys: &Keys,
    problems: &mut Problems,
) -> Option<Arc<KeyRing>> {
    let named = keys.find(&format!("{at}.keys"), name?, problems)?;
    Some(Arc::clone(&named.ring))
}

fn requestors(short: &raw::ShortMedia, problems: &mut Problems) -> Option<Box<[Box<str>]>> {
    let at = format!("{}.requestors", short.at);
    let names = short.requestors.as_ref()?;
    if names.is_empty() && !problems.has(&format!("{at}[0]")) {
        problems.error(
            at,
            "is empty",
            "name the requestors whose tokens are for this route",
        );
        return None;
    }
    let all: Vec<Option<Box<str>>> = names
        .iter()
        .map(|one| name(&one.at, &one.value, problems))
        .collect();
    all.into_iter().collect()
}

/// A name that can stand in a token.
pub(super) fn name(at: &str, text: &str, problems: &mut Problems) -> Option<Box<str>> {
    let good = (1..=MAX_NAME_BYTES).contains(&text.len()) && xml::is_sayable(text);
    if !good {
        problems.error(
            at,
            "can't stand in a token",
            "1 to 128 bytes, no control characters",
        );
    }
    good.then(|| text.into())
}

/// The resources of a table, each requestor's apart.
fn all_resources(
    short: &raw::ShortMedia,
    resources: &BTreeMap<String, RawResources>,
    problems: &mut Problems,
) -> Option<Resources> {
    let mut all = Resources::new();
    let mut good = true;
    for (requestor, own) in resources {
        let mut accepted = short.requestors.iter().flatten();
        if !accepted.any(|one| one.value == *requestor) {
            problems.error(
                format!("{}.resources.{requestor}", short.at),
                "is no requestor of `requestors`",
                "write resources = { REQUESTOR = { resource = [\"/channels/news/**\"] } }",
            );
            good = false;
        }
        match resources_of(own, problems) {
            Some(own) => {
                all.insert(requestor.as_str().into(), own);
            }
            None => good = false,
        }
    }
    good.then_some(all)
}

fn resources_of(resources: &RawResources, problems: &mut Problems) -> Option<BTreeMap<Box<str>, Scope>> {
    let mut all = BTreeMap::new();
    let mut good = true;
    for (resource, patterns) in resources {
        if !(1..=MAX_PATTERNS).contains(&patterns.value.len()) && !problems.has_error_below(&patterns.at) {
            problems.error(
                &patterns.at,
                "is not 1 to 64 patterns",
                "write [\"/channels/news/**\"]",
            );
            good = false;
        }
        let mut opens = Vec::new();
        for pattern in &patterns.value {
            match Opens::parse(&pattern.value) {
                Ok(one) => opens.push(one),
                Err(bad) => {
                    problems.error(&pattern.at, bad.to_string(), "write \"/channels/news/**\"");
                    good = false;
                }
            }
        }
        all.insert(resource.as_str().into(), Scope(opens.into()));
    }
    good.then_some(all)
}
