//! `[issuer]`: callers, rules, dialects, and whether what it signs opens anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use self::dialects::{Parts, published};
use super::jwt::{JwtTable, jwt_rules};
use super::keys::Keys;
use super::routes::{Built as RouteBuilt, Routes};
use super::server::{Served, public_base};
use super::{Place, cors, raw};
use crate::config::policy::RouteKeys;
use crate::config::problems::Problems;
use crate::issuer::mint::Rule;
use crate::issuer::{DialectName, NativeScheme, Settings};
use crate::media::Media;
use crate::origin::Origin;
use crate::token::scheme::jwt::{Jwt, KidHeader, Minter, Profile};

mod accounts;
mod adobe;
mod dialects;
mod fynn;
mod rule;
mod sirv;

/// What this file builds.
pub(super) struct Issuer {
    pub(super) settings: Option<Settings>,
    pub(super) callers: Vec<RouteKeys>,
}

/// What media ids mean, and which origins are asked for them, by the names of the catalogues.
#[derive(Clone, Copy)]
pub(super) struct Inventories<'b> {
    pub(super) media: &'b BTreeMap<String, Option<Arc<Media>>>,
    pub(super) asked: &'b BTreeMap<String, Origin>,
}

pub(super) fn build(
    file: &raw::File,
    served: &Served,
    keys: &Keys,
    media: Inventories<'_>,
    routes: &Routes,
    place: &Place,
    problems: &mut Problems,
) -> Option<Issuer> {
    let raw = file.issuer.as_ref()?;
    let mut named = vec!["scope".to_owned()];
    let rules: Vec<Option<Rule>> = raw
        .rule
        .iter()
        .map(|rule| rule::rule(rule, file, raw, &mut named, problems))
        .collect();
    if raw.rule.is_empty() && !problems.has("issuer.rule") {
        problems.error(
            "issuer.rule",
            "there is none, so that no caller may have anything",
            "add an [[issuer.rule]] with requires, paths and max_ttl",
        );
    }
    let callers = callers(file, raw, keys, &named, problems);
    let parts = Parts { keys, media, routes };
    let fynn = parts.fynn(raw, problems);
    let fynn_invoice = parts.fynn_invoice(raw, problems);
    let nexudus_media = parts.nexudus_media(raw, problems);
    let nexudus_token = parts.nexudus_token(raw, problems);
    let bearers = parts.bearers(raw, &callers, problems);
    let nexudus_bearer = parts.nexudus_bearer(raw, problems);
    let nexudus_exchange = parts.nexudus_exchange(raw, problems);
    let accounts = accounts::accounts(file.demo, raw, place, problems);
    let adobe_media = parts.adobe_media(raw, problems);
    let adobe_bearer = parts.adobe_bearer(raw, problems);
    if !DialectName::ALL
        .iter()
        .any(|name| problems.has(&format!("issuer.{}", name.as_str())))
    {
        problems.error(
            "issuer",
            "has no dialect, so that nobody can ask it",
            "add [issuer.native], or another one",
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
    let sirv = parts.sirv(raw, public.as_ref(), problems);
    let sirv_bearer = parts.sirv_bearer(raw, problems);
    let native = parts.native(raw, sirv.as_ref().and_then(Option::as_ref), problems);
    if let (Some(raw), Some(native), Some(fynn)) = (
        &raw.native,
        native.as_ref().and_then(Option::as_ref),
        fynn.as_ref().and_then(Option::as_ref),
    ) {
        parts.native_opens_one_catalogue(&raw.at, native, fynn, problems);
    }
    let (keys_of_callers, verifiers) = callers.into_iter().unzip();
    let settings = || {
        let public = public?;
        // What is not configured is left out; what is wrong stops everything.
        let native = native.map_or(Some(None), |native| native.map(Some))?;
        let fynn = fynn.map_or(Some(None), |fynn| fynn.map(Some))?;
        let fynn_invoice = fynn_invoice.map_or(Some(None), |invoice| invoice.map(Some))?;
        let nexudus_media = nexudus_media.map_or(Some(None), |media| media.map(Some))?;
        let adobe_media = adobe_media.map_or(Some(None), |media| media.map(Some))?;
        let bearers = bearers.map_or(Some(None), |bearers| bearers.map(Some))?;
        let sirv = sirv.map_or(Some(None), |sirv| sirv.map(Some))?;
        let signed = native.iter().flat_map(|native| &native.schemes);
        let minters = signed
            .filter_map(|scheme| match scheme {
                NativeScheme::Jwt { minter, .. } => Some(minter),
                NativeScheme::Opaque { .. } | NativeScheme::Sirv { .. } | NativeScheme::ShortMedia => None,
            })
            .chain(fynn.iter().map(|fynn| &fynn.minter))
            .chain(fynn_invoice.iter().map(|invoice| &invoice.minter))
            .chain(nexudus_media.iter().map(|media| &media.minter))
            .chain(bearers.iter().map(|bearers| &bearers.minter))
            .map(|minter| &minter.keys)
            .chain(adobe_media.iter().map(|media| &media.minter.keys));
        Some(Settings {
            callers: verifiers,
            rules: rules.into_iter().collect::<Option<_>>()?,
            public_base: format!("{}://{}", public.scheme, public.authority).into(),
            address: format!(
                "{}://{}",
                if raw.tls.is_some() { "https" } else { "http" },
                raw.listen?
            )
            .into(),
            published: published(minters),
            native,
            fynn,
            fynn_invoice,
            nexudus_media,
            nexudus_token,
            nexudus_bearer,
            nexudus_exchange,
            sirv,
            sirv_bearer,
            adobe_media,
            adobe_bearer,
            bearers,
            accounts: Arc::new(accounts?),
            cors_origins: cors_origins.into_iter().collect::<Option<_>>()?,
            log_key: keys.log_key.clone()?,
        })
    };
    Some(Issuer {
        settings: settings(),
        callers: keys_of_callers,
    })
}

/// What signs with the named set what routes accept, for whoever makes tokens besides.
#[allow(
    clippy::too_many_arguments,
    reason = "the keys of a table, as they stand in it"
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
    let media = Inventories {
        media: &BTreeMap::new(),
        asked: &BTreeMap::new(),
    };
    let parts = Parts { keys, media, routes };
    parts.minter(at, (set, issuer, audience), kid, problems)
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
        // Bearers that the issuer makes itself are its own to believe.
        let own = issuer.bearers.as_ref().and_then(|bearers| bearers.keys.as_ref());
        let generated = caller
            .keys
            .as_ref()
            .and_then(|name| file.keys.get(name))
            .is_some_and(|keys| keys.generate.is_some());
        if generated && !file.demo && own != caller.keys.as_ref() && !problems.has_error_below("demo") {
            problems.error(
                &at,
                "names a key set with `generate`, which is trusted only under demo",
                "the demo caller's key is trusted only under demo; name your identity provider's key set",
            );
        }
        let table = JwtTable {
            at: &caller.at,
            keys: caller.keys.as_deref(),
            profile: Profile::Native,
            issuer: caller.issuer.as_ref(),
            audience: caller.audience.as_ref(),
            require: &BTreeMap::new(),
            typ: caller.typ.as_deref(),
            max_lifetime: caller.max_lifetime,
        };
        let Some((own, rules)) = jwt_rules(&table, keys, named.to_vec(), problems) else {
            continue;
        };
        // A link must not be a caller's bearer: whoever got one could make others.
        for route in &file.route {
            let uri_signing = route
                .scheme
                .as_ref()
                .and_then(|scheme| scheme.uri_signing.as_ref());
            let signs = uri_signing.is_some_and(|signing| {
                let mut sets = signing.issuers.values().chain(&signing.unnamed_keys);
                sets.any(|set| caller.keys.as_ref() == Some(set))
            });
            if signs {
                problems.error(
                    format!("{}.keys", caller.at),
                    format!(
                        "sign the links of {}, too, which would pass as callers' bearers",
                        route.at
                    ),
                    "a key set of its own",
                );
            }
            let Some(jwt) = route.scheme.as_ref().and_then(|scheme| scheme.jwt.as_ref()) else {
                continue;
            };
            let overlap = |mine: &[String], theirs: &Option<crate::config::values::Texts>| {
                theirs
                    .as_ref()
                    .is_some_and(|theirs| theirs.0.iter().any(|text| mine.contains(text)))
            };
            // Without issuers, any passes; without audiences, none that a bearer has.
            if jwt.keys == caller.keys
                && (jwt.issuer.is_none() || overlap(&own.issuers, &jwt.issuer))
                && (overlap(&own.audiences, &jwt.audience)
                    || jwt.audience.is_none()
                        && jwt
                            .profile
                            .audience()
                            .is_some_and(|usual| own.audiences.iter().any(|text| text == usual)))
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
