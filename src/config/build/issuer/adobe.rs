//! `[issuer.adobe_media]` and `[issuer.adobe_bearer]`: what signs short media tokens, who is entitled to what, and which
//! devices need no bearer.

use std::sync::Arc;

use super::dialects::{Built, Parts, sign_in};
use crate::config::build::short_media::{name, ring};
use crate::config::build::{DAY, in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::issuer::adobe::device_name;
use crate::issuer::{AdobeBearer, AdobeMedia, Entitlement};
use crate::token::keys::KeyRing;
use crate::token::scheme::short_media::{ALGORITHM, Minter, xml};

impl Parts<'_> {
    pub(super) fn adobe_media(&self, raw: &raw::Issuer, problems: &mut Problems) -> Built<AdobeMedia> {
        let media = raw.adobe_media.as_ref()?;
        let at = |key: &str| format!("{}.{key}", media.at);
        let ttl = in_range(at("ttl"), media.ttl, seconds(1), DAY, problems);
        let keys = ring(&media.at, media.keys.as_deref(), self.keys, problems);
        let signs = |ring: &Arc<KeyRing>| {
            ring.load()
                .is_some_and(|set| set.keys.signing_by(ALGORITHM).is_some())
        };
        if let Some(ring) = keys.as_ref().filter(|ring| !signs(ring)) {
            problems.error(
                at("keys"),
                format!("the key set {:?} has no RS256 key that can sign", ring.name()),
                "name a set with such a private key, or one with `generate = \"RS256\"`",
            );
        }
        if media.entitlement.is_empty() && !problems.has_error_below(&at("entitlement")) {
            problems.error(
                at("entitlement"),
                "there is none, so that nobody is entitled to anything",
                "add an [[issuer.adobe_media.entitlement]] with requestor, resources and mvpd",
            );
        }
        let rows: Vec<Option<Entitlement>> = media
            .entitlement
            .iter()
            .map(|row| entitlement(row, problems))
            .collect();
        if let Some(ring) = &keys {
            self.warn_of_strangers(media, ring, problems);
        }
        if media.help_url.as_deref().is_some_and(|url| !is_web_address(url)) {
            problems.error(at("help_url"), "is no URL", "write \"https://help.example.com/\"");
        }
        let devices_scope = devices_scope(media, raw, problems);
        let built = || {
            let log_key = self.keys.log_key.clone()?;
            let listed = media
                .devices
                .iter()
                .map(|device| device_name(&log_key, &device.value));
            Some(AdobeMedia {
                ttl,
                default_format: media.default_format,
                mrss: media.mrss,
                require_device_info: media.require_device_info,
                enhanced_errors: media.enhanced_errors,
                help_url: media.help_url.as_deref().map(Box::from),
                entitlements: rows.into_iter().collect::<Option<_>>()?,
                devices: listed.collect(),
                devices_scope,
                minter: Arc::new(Minter { keys: keys?, log_key }),
            })
        };
        Some(built())
    }

    /// Warns where no route believes what is signed.
    fn warn_of_strangers(&self, media: &raw::AdobeMedia, ring: &Arc<KeyRing>, problems: &mut Problems) {
        let routes = self.routes.built.iter();
        let mut verifiers = routes
            .filter_map(|built| built.route.schemes.short_media())
            .map(|short| short.rules())
            .filter(|rules| Arc::ptr_eq(&rules.keys, ring))
            .peekable();
        if verifiers.peek().is_none() {
            problems.warn(
                &media.at,
                "no route accepts its tokens",
                "a route needs [route.scheme.short_media] with the same keys",
            );
            return;
        }
        let known: Vec<&str> = verifiers
            .flat_map(|rules| rules.requestors.iter().map(|one| &**one))
            .collect();
        for row in &media.entitlement {
            let requestor = row.requestor.as_deref().unwrap_or_default();
            if row.denied.is_none() && !known.contains(&requestor) {
                problems.warn(
                    format!("{}.requestor", row.at),
                    "no route accepts tokens for it",
                    "add it to the `requestors` of a [route.scheme.short_media]",
                );
            }
        }
    }

    pub(super) fn adobe_bearer(&self, raw: &raw::Issuer, problems: &mut Problems) -> Option<AdobeBearer> {
        let bearer = raw.adobe_bearer.as_ref()?;
        let tries = (bearer.tries_per_account, bearer.tries_per_address);
        sign_in(&bearer.at, raw, tries, problems);
        Some(AdobeBearer {
            ttl: in_range(
                format!("{}.ttl", bearer.at),
                bearer.ttl,
                seconds(60),
                31 * DAY,
                problems,
            ),
            tries_per_account: bearer.tries_per_account,
            tries_per_address: bearer.tries_per_address,
        })
    }
}

/// What listed devices may do; a rule has to ask for it.
fn devices_scope(media: &raw::AdobeMedia, raw: &raw::Issuer, problems: &mut Problems) -> Box<str> {
    let at = format!("{}.devices_scope", media.at);
    for device in media.devices.iter().filter(|device| device.value.len() < 16) {
        problems.warn(
            &device.at,
            "is short: whoever guesses it has the device's rights",
            "16 characters or more that nobody can guess",
        );
    }
    let scope = media.devices_scope.as_deref();
    let asks = |rule: &raw::Rule| {
        let words = scope.unwrap_or_default().split(' ');
        rule.caller.is_none()
            && rule
                .requires
                .as_deref()
                .is_some_and(|needed| words.clone().any(|word| word == needed))
    };
    if !media.devices.is_empty() && !raw.rule.iter().any(asks) && !problems.has_error_below("issuer.rule") {
        problems.error(
            at,
            "is what no rule asks for, so that the devices may have nothing",
            "the `requires` of an [[issuer.rule]] without `caller`",
        );
    }
    scope.unwrap_or_default().into()
}

fn entitlement(row: &raw::Entitlement, problems: &mut Problems) -> Option<Entitlement> {
    let at = |key: &str| format!("{}.{key}", row.at);
    let mut text = |key: &str, text: &Option<String>| name(&at(key), text.as_deref()?, problems);
    let requestor = text("requestor", &row.requestor);
    let mvpd = text("mvpd", &row.mvpd);
    let proxy_mvpd = match &row.proxy_mvpd {
        Some(_) => text("proxy_mvpd", &row.proxy_mvpd).map(Some),
        None => Some(None),
    };
    let resources = row.resources.as_ref()?;
    if resources.is_empty() && !problems.has(&format!("{}[0]", at("resources"))) {
        problems.error(at("resources"), "is empty", "name resources, or \"*\" for any");
    }
    let mut named = |one: &At<String>| name(&one.at, &one.value, problems);
    let resources: Vec<Option<Box<str>>> = resources.iter().map(&mut named).collect();
    if row.denied.as_deref().is_some_and(|why| !xml::is_sayable(why)) {
        problems.error(at("denied"), "has a control character", "write one line");
    }
    Some(Entitlement {
        requestor: requestor?,
        resources: resources.into_iter().collect::<Option<_>>()?,
        mvpd: mvpd?,
        proxy_mvpd: proxy_mvpd?,
        until: row.until,
        subjects: row
            .subjects
            .as_ref()
            .map(|all| all.iter().map(|one| one.as_str().into()).collect()),
        denied: row.denied.as_deref().map(Box::from),
    })
}

/// Whether it can be followed and does nothing else.
fn is_web_address(text: &str) -> bool {
    let parsed = text.parse::<http::Uri>();
    parsed.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
}
