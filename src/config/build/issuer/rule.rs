//! `[[issuer.rule]]`: what callers may have.

use crate::config::build::routes::{methods, template};
use crate::config::build::{DAY, in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::issuer::mint::Rule;
use crate::store::Purposes;
use crate::token::Uses;
use crate::token::claims::Limits;

/// The life of a token for which neither the rule nor the caller names one.
const DEFAULT_TTL: std::time::Duration = seconds(5 * 60);

/// Builds a rule; `named` are the claims of callers that it needs.
pub(super) fn rule(
    raw: &raw::Rule,
    file: &raw::File,
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
    let media = issuer.fynn.is_some() || issuer.fynn_invoice.is_some();
    let other_rights = media || issuer.adobe_media.is_some();
    if raw.paths.is_empty() && !other_rights && !problems.has(&at("paths")) {
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
    if !media && (raw.folders.is_some() || raw.own_media_only) {
        let key = if raw.folders.is_some() {
            "folders"
        } else {
            "own_media_only"
        };
        problems.warn(
            at(key),
            "limits media ids, which only [issuer.fynn] and [issuer.fynn_invoice] hand out",
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
    let one_catalogue = issuer
        .fynn
        .as_ref()
        .zip(issuer.fynn_invoice.as_ref())
        .is_some_and(|(fynn, invoice)| fynn.media == invoice.media);
    if one_catalogue && raw.folders.is_none() && !raw.own_media_only {
        problems.warn(
            at("own_media_only"),
            "is not set, so that [issuer.fynn] hands out the invoices of [issuer.fynn_invoice] to everybody",
            "own_media_only = true, or name the `folders`",
        );
    }
    if issuer.adobe_media.is_some() && narrow && issuer.fynn.is_none() {
        problems.warn(
            at("paths"),
            "does not limit the resources that [issuer.adobe_media] hands out",
            "the entitlements do: name their `subjects`",
        );
    }
    if raw.uses.is_some_and(|uses| uses != 1) {
        problems.error(at("uses"), "is not 1", "1, or take it out for any number of uses");
    }
    let limits = limits(raw, problems);
    let purposes = raw
        .purposes
        .iter()
        .fold(Purposes::default(), |all, one| all.and(one.value));
    let exchange = in_range(
        at("max_exchange"),
        raw.max_exchange,
        seconds(60),
        31 * DAY,
        problems,
    );
    one_time(raw, file, issuer, purposes, problems);
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
        uses: match raw.uses {
            Some(_) => Uses::Once,
            None => Uses::UntilExpiry,
        },
        limits,
        purposes,
        exchange_secs: u32::try_from(exchange.as_secs()).unwrap_or(u32::MAX),
    })
}

/// What is put on every token.
fn limits(raw: &raw::Rule, problems: &mut Problems) -> Limits {
    let limits = Limits {
        rate: raw.rate.map(|rate| rate.0),
        streams: raw.streams,
    };
    if limits.rate.is_some_and(|rate| !Limits::RATES.contains(&rate)) {
        problems.error(
            format!("{}.rate", raw.at),
            "is out of its bounds",
            "bytes per second, from \"1KiB\" to \"1024GiB\"",
        );
    }
    if limits
        .streams
        .is_some_and(|streams| !Limits::STREAMS.contains(&streams))
    {
        problems.error(
            format!("{}.streams", raw.at),
            "is out of its bounds",
            "a whole number from 1 to 1024",
        );
    }
    limits
}

/// What concerns the dialects that hand out all that a rule allows.
fn one_time(
    raw: &raw::Rule,
    file: &raw::File,
    issuer: &raw::Issuer,
    purposes: Purposes,
    problems: &mut Problems,
) {
    let at = |key: &str| format!("{}.{key}", raw.at);
    if issuer.nexudus_token.is_some() && purposes == Purposes::default() && !problems.has_error_below(&raw.at)
    {
        problems.error(
            at("purposes"),
            "is empty, so that a one-time token is good for nothing",
            "one or more of \"login\", \"file\" and \"exchange\"",
        );
    }
    // Where every route that takes such tokens names the customer itself, a token for all paths opens that customer's alone.
    let all = file
        .route
        .iter()
        .any(|route| takes_all(route, file, issuer) && !names_customer(route));
    let open = raw.paths.iter().find(|path| !path.value.contains('{'));
    if let Some(path) = open.filter(|_| all) {
        problems.warn(
            &path.at,
            "is the same for every caller, and the Nexudus dialects hand out all that a rule allows",
            "write \"/customers/{sub}/**\", so that a customer's token opens that customer's files only",
        );
    }
}

/// Whether a route takes tokens for all that a rule allows: media tokens, one-time tokens, or the sessions of the landing.
fn takes_all(route: &raw::Route, file: &raw::File, issuer: &raw::Issuer) -> bool {
    let Some(scheme) = &route.scheme else { return false };
    let signs = [
        issuer
            .nexudus_media
            .as_ref()
            .and_then(|media| media.keys.as_deref()),
        file.landing
            .as_ref()
            .filter(|_| issuer.nexudus_token.is_some())
            .and_then(|landing| landing.keys.as_deref()),
    ];
    let keys = scheme.jwt.as_ref().and_then(|jwt| jwt.keys.as_deref());
    scheme.opaque.is_some() && issuer.nexudus_token.is_some() || keys.is_some() && signs.contains(&keys)
}

/// Whether what a route serves depends on whose token it is.
fn names_customer(route: &raw::Route) -> bool {
    let in_scope = match &route.scope {
        raw::Scope::Template(scope) => scope.template.as_deref(),
        raw::Scope::Claims | raw::Scope::Whole => None,
    };
    let named = [route.to.as_deref(), in_scope];
    named.into_iter().flatten().any(|text| text.contains("{sub}"))
        || route.identity_headers.values().any(|claim| claim == "sub")
}
