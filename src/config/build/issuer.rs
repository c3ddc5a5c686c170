//! `[issuer]`: callers, rules, dialects, and whether what it signs opens anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::Keys;
use super::routes::{Routes, jwt_rules, methods, template};
use super::server::{Served, public_base};
use super::{DAY, cors, in_range, links, raw, seconds};
use crate::config::policy::RouteKeys;
use crate::config::problems::Problems;
use crate::issuer::mint::Rule;
use crate::issuer::{Fynn, Settings};
use crate::media::Media;
use crate::token::carrier::Carrier;
use crate::token::keys::KeyRing;
use crate::token::scheme::jwt::{Jwt, KidHeader, Minter};

/// The life of a token for which neither the rule nor the caller names one.
const DEFAULT_TTL: std::time::Duration = seconds(5 * 60);

/// What this file builds.
pub(super) struct Issuer {
    pub(super) settings: Option<Settings>,
    pub(super) callers: Vec<RouteKeys>,
}

pub(super) fn build(
    file: &raw::File,
    served: &Served,
    keys: &Keys,
    media: &BTreeMap<String, Option<Arc<Media>>>,
    routes: &Routes,
    problems: &mut Problems,
) -> Option<Issuer> {
    let raw = file.issuer.as_ref()?;
    let mut named = vec!["scope".to_owned()];
    let rules: Vec<Option<Rule>> = raw
        .rule
        .iter()
        .map(|rule| self::rule(rule, raw, &mut named, problems))
        .collect();
    if raw.rule.is_empty() && !problems.has("issuer.rule") {
        problems.error(
            "issuer.rule",
            "there is none, so that no caller may have anything",
            "add an [[issuer.rule]] with requires, paths and max_ttl",
        );
    }
    let callers = callers(file, raw, keys, &named, problems);
    let native = raw.native.as_ref().map(|native| {
        minter(
            &native.at,
            &native.keys,
            &native.issuer,
            &native.audience,
            KidHeader::Named,
            keys,
            routes,
            problems,
        )
    });
    let fynn = raw.fynn.as_ref().map(|fynn| {
        let at = format!("{}.media", fynn.at);
        let catalogue = fynn.media.as_ref().and_then(|name| {
            if !media.contains_key(name) && !problems.has(&format!("media.{name}")) {
                links::unknown(&at, "media catalogue", "media", name, problems);
            }
            media.get(name)?.clone()
        });
        let ttl = in_range(format!("{}.ttl", fynn.at), fynn.ttl, seconds(1), DAY, problems);
        let minter = minter(
            &fynn.at,
            &fynn.keys,
            &fynn.issuer,
            &fynn.audience,
            KidHeader::Unnamed,
            keys,
            routes,
            problems,
        );
        Some(Fynn {
            minter: minter?,
            media: catalogue?,
            ttl,
        })
    });
    if native.is_none() && fynn.is_none() && !problems.has("issuer.native") && !problems.has("issuer.fynn") {
        problems.error(
            "issuer",
            "has no dialect, so that nobody can ask it",
            "add [issuer.native] or [issuer.fynn]",
        );
    }
    let public = match &raw.public_url {
        Some(url) => public_base("issuer.public_url", url, problems),
        None => {
            if served.public.is_none() && !problems.has("server.public_url") {
                problems.error(
                    "server.public_url",
                    "missing: links have to start with something",
                    "add `public_url = \"https://media.example.com\"`",
                );
            }
            served.public.clone()
        }
    };
    let cors_origins: Vec<Option<Box<str>>> = raw
        .cors_origins
        .iter()
        .map(|origin| cors::exact_origin(origin, problems))
        .collect();
    let mut published: Vec<Arc<KeyRing>> = Vec::new();
    for minter in native
        .iter()
        .flatten()
        .chain(fynn.iter().flatten().map(|fynn| &fynn.minter))
    {
        if !published.iter().any(|ring| Arc::ptr_eq(ring, &minter.keys)) {
            published.push(Arc::clone(&minter.keys));
        }
    }
    let (keys_of_callers, verifiers) = callers.into_iter().unzip();
    let link_parameter = native
        .iter()
        .flatten()
        .find_map(|minter| query_parameter(minter, routes));
    let settings = || {
        let public = public?;
        Some(Settings {
            callers: verifiers,
            rules: rules.into_iter().collect::<Option<_>>()?,
            public_base: format!("{}://{}", public.scheme, public.authority).into(),
            link_parameter,
            native: native.map_or(Some(None), |native| native.map(Some))?,
            fynn: fynn.map_or(Some(None), |fynn| fynn.map(Some))?,
            published,
            cors_origins: cors_origins.into_iter().collect::<Option<_>>()?,
        })
    };
    Some(Issuer {
        settings: settings(),
        callers: keys_of_callers,
    })
}

fn callers(
    file: &raw::File,
    issuer: &raw::Issuer,
    keys: &Keys,
    named: &[String],
    problems: &mut Problems,
) -> Vec<(RouteKeys, Jwt)> {
    let Some(callers) = &issuer.callers else {
        return Vec::new();
    };
    if callers.is_empty() && !problems.has("issuer.callers[0]") {
        problems.error(
            "issuer.callers",
            "is empty, so that nobody can ask",
            "add an [[issuer.callers]] with keys, issuer and audience",
        );
    }
    let mut all = Vec::new();
    for caller in callers {
        let at = format!("{}.keys", caller.at);
        let generated = caller
            .keys
            .as_ref()
            .and_then(|name| file.keys.get(name))
            .is_some_and(|keys| keys.generate.is_some());
        if generated && !file.demo && !problems.has_error_below("demo") {
            problems.error(
                &at,
                "names a key set with `generate`, which is trusted only under demo",
                "the demo caller's key is trusted only under demo; name your identity provider's key set",
            );
        }
        let Some((own, rules)) = jwt_rules(caller, keys, named.to_vec(), problems) else {
            continue;
        };
        // A link must not be a caller's bearer: whoever got one could make others.
        for route in &file.route {
            let Some(jwt) = route.scheme.as_ref().and_then(|scheme| scheme.jwt.as_ref()) else {
                continue;
            };
            let overlap = |mine: &[String], theirs: &Option<crate::config::values::Texts>| {
                theirs
                    .as_ref()
                    .is_some_and(|theirs| theirs.0.iter().any(|text| mine.contains(text)))
            };
            if jwt.keys == caller.keys
                && overlap(&own.issuers, &jwt.issuer)
                && overlap(&own.audiences, &jwt.audience)
            {
                problems.error(
                    format!("{}.audience", caller.at),
                    format!(
                        "the tokens of {} would pass as callers' bearers: same keys, issuer and audience",
                        route.at
                    ),
                    "give callers an audience of their own, such as \"mediagate-issuer\"",
                );
            }
        }
        all.push((own, Jwt::new(rules)));
    }
    all
}

fn rule(
    raw: &raw::Rule,
    issuer: &raw::Issuer,
    named: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<Rule> {
    let at = |key: &str| format!("{}.{key}", raw.at);
    if raw
        .requires
        .as_deref()
        .is_some_and(|scope| scope.is_empty() || scope.contains(char::is_whitespace))
    {
        problems.error(at("requires"), "is not one scope value", "write \"media:read\"");
    }
    let paths: Vec<_> = raw
        .paths
        .iter()
        .map(|path| template(&path.at, &path.value, named, problems))
        .collect();
    if raw.paths.is_empty() && issuer.fynn.is_none() && !problems.has(&at("paths")) {
        problems.error(
            at("paths"),
            "is missing, so that the rule allows nothing",
            "write [\"/**\"], or the folders that callers may hand out",
        );
    }
    let methods = methods(&at("methods"), &raw.methods, problems);
    let max_ttl = raw
        .max_ttl
        .map(|ttl| in_range(at("max_ttl"), ttl, seconds(1), 366 * DAY, problems));
    if max_ttl.is_some_and(|ttl| ttl > 31 * DAY) {
        problems.warn(
            at("max_ttl"),
            "is long",
            "a link that leaks works until it expires",
        );
    }
    if let (Some(default), Some(max)) = (raw.default_ttl, max_ttl)
        && (default > max || default < seconds(1))
    {
        problems.error(
            at("default_ttl"),
            "is longer than max_ttl, or shorter than a second",
            "make it shorter than max_ttl",
        );
    }
    if raw.per_minute == Some(0) {
        problems.error(
            at("per_minute"),
            "is 0, so that the rule allows nothing",
            "1 or more, or take it out for no limit",
        );
    }
    if issuer.fynn.is_none() && (raw.folders.is_some() || raw.own_media_only) {
        let key = if raw.folders.is_some() {
            "folders"
        } else {
            "own_media_only"
        };
        problems.warn(
            at(key),
            "limits media ids, which only [issuer.fynn] hands out",
            "`paths` limits the others",
        );
    }
    let narrow = !raw.paths.is_empty() && raw.paths.iter().all(|path| path.value != "/**");
    if issuer.fynn.is_some() && narrow && raw.folders.is_none() && !raw.own_media_only {
        problems.warn(
            at("paths"),
            "does not limit the media ids that [issuer.fynn] hands out",
            "name the `folders` of the catalogue, or set `own_media_only`",
        );
    }
    let max_ttl = max_ttl?;
    Some(Rule {
        caller: raw.caller.as_deref().map(Box::from),
        requires: raw.requires.as_deref()?.into(),
        paths: paths.into_iter().collect::<Option<_>>()?,
        methods: methods?,
        max_ttl,
        default_ttl: raw.default_ttl.unwrap_or(DEFAULT_TTL.min(max_ttl)),
        per_minute: raw.per_minute,
        folders: raw
            .folders
            .as_ref()
            .map(|all| all.iter().map(|folder| folder.as_str().into()).collect()),
        own_media_only: raw.own_media_only,
        any_subject: raw.any_subject,
    })
}

#[allow(
    clippy::too_many_arguments,
    reason = "the keys of a dialect's table, as they stand in it"
)]
pub(super) fn minter(
    at: &str,
    set: &Option<String>,
    issuer: &Option<String>,
    audience: &Option<String>,
    kid: KidHeader,
    keys: &Keys,
    routes: &Routes,
    problems: &mut Problems,
) -> Option<Minter> {
    let in_keys = format!("{at}.keys");
    let ring = set
        .as_deref()
        .and_then(|name| keys.find(&in_keys, name, problems))
        .map(|named| &named.ring);
    if let Some(ring) = ring
        && ring.load().is_none_or(|set| set.keys.signing(None).is_none())
    {
        problems.error(
            in_keys,
            format!("the key set {:?} has no key that can sign", ring.name()),
            "name a set with a private key, or one with `generate`",
        );
    }
    let (ring, issuer, audience) = (ring?, issuer.as_deref()?, audience.as_deref()?);
    let accepted = routes
        .built
        .iter()
        .filter_map(|built| built.policy.keys.as_ref())
        .any(|keys| accepts(keys, ring, issuer, audience));
    if !accepted {
        problems.warn(
            at,
            "no route accepts its tokens",
            "a route's scheme needs the same keys, issuer and audience",
        );
    }
    Some(Minter {
        keys: Arc::clone(ring),
        issuer: issuer.into(),
        audience: audience.into(),
        kid,
        log_key: keys.log_key.clone()?,
    })
}

/// Whether a route's verifier believes what is signed so.
fn accepts(route: &RouteKeys, ring: &Arc<KeyRing>, issuer: &str, audience: &str) -> bool {
    Arc::ptr_eq(&route.keys, ring)
        && route.issuers.iter().any(|text| text == issuer)
        && route.audiences.iter().any(|text| text == audience)
}

/// Where a link carries the minter's tokens: the query parameter of the first route that believes them and has one.
fn query_parameter(minter: &Minter, routes: &Routes) -> Option<Box<str>> {
    routes
        .built
        .iter()
        .filter(|built| {
            let keys = built.policy.keys.as_ref();
            keys.is_some_and(|keys| accepts(keys, &minter.keys, &minter.issuer, &minter.audience))
        })
        .flat_map(|built| built.route.carriers.iter())
        .find_map(|carrier| match carrier {
            Carrier::Query { names } => names.first().cloned(),
            _ => None,
        })
}
