//! `[landing]`: where login links arrive, and whether the sessions that they open open anything.

use std::sync::Arc;

use super::keys::Keys;
use super::routes::Routes;
use super::server::Served;
use super::{DAY, carriers, cors, in_range, issuer, raw, seconds};
use crate::config::problems::Problems;
use crate::config::show_duration;
use crate::config::values::Texts;
use crate::gate::landing::Landing;
use crate::gate::landing::place::PathTemplate;
use crate::gate::landing::redirect::{Destination, Site};
use crate::gate::landing::session::{AUDIENCE, Sessions};
use crate::issuer::Lasting;
use crate::token::carrier::Carrier;
use crate::token::scheme::jwt::{Jwt, KidHeader, Minter, Profile, Rules};

/// Paths that one landing may have.
const MAX_PATHS: usize = 16;

/// What this file builds: the landing and what it does, in words; `None` only where a problem was reported.
pub(super) struct Built {
    pub(super) built: Option<(Arc<Landing>, String)>,
}

/// The name of the session's cookie as browsers have it: over https it is bound to the host (RFC 6265bis §4.1.3.2).
pub(super) fn cookie_name(raw: &raw::Landing, served: &Served) -> Box<str> {
    let prefix = if is_https(served) { "__Host-" } else { "" };
    format!("{prefix}{}", raw.cookie).into()
}

fn is_https(served: &Served) -> bool {
    served
        .public
        .as_ref()
        .is_some_and(|public| &*public.scheme == "https")
}

pub(super) fn build(
    file: &raw::File,
    served: &Served,
    keys: &Keys,
    routes: &Routes,
    lasting: &Lasting,
    problems: &mut Problems,
) -> Option<Built> {
    let raw = file.landing.as_ref()?;
    let at = |key: &str| format!("landing.{key}");
    let host = match &raw.host {
        Some(host) => carriers::host(&at("host"), host, problems).map(Some),
        None => Some(None),
    };
    let paths = paths(raw, problems);
    let logout = logout(raw, paths.as_deref(), problems);
    names(raw, problems);
    let session_ttl = in_range(
        at("session_ttl"),
        raw.session_ttl,
        seconds(60),
        31 * DAY,
        problems,
    );
    let site = site(raw, served, problems);
    let home = site.as_ref().and_then(|site| home(raw, site, problems));
    let minter = issuer::minter(
        "landing",
        &raw.keys,
        &raw.issuer,
        &Some(AUDIENCE.to_owned()),
        KidHeader::Named,
        keys,
        routes,
        problems,
    );
    check_callers(file, raw, problems);
    if let Some(minter) = &minter {
        check_routes(raw, minter, routes, &cookie_name(raw, served), problems);
    }
    let built = || {
        let (minter, site, home, logout) = (minter?, site?, home?, logout?);
        let policy = policy(raw, &minter, &home, &cookie_name(raw, served));
        let verifier = Jwt::new(Rules {
            keys: Arc::clone(&minter.keys),
            issuers: Box::new([minter.issuer.clone()]),
            audiences: Box::new([AUDIENCE.into()]),
            typ: None,
            profile: Profile::Native,
            require: Box::default(),
            max_lifetime: None,
            named: Box::default(),
            log_key: Arc::clone(&minter.log_key),
        });
        let landing = Landing {
            host: host?,
            paths: paths?.into(),
            logout,
            home,
            query: raw.query.as_str().into(),
            redirect_query: raw.redirect_query.as_str().into(),
            site,
            sessions: Sessions {
                minter: Arc::new(minter),
                signing: Arc::clone(&lasting.signing),
                verifier,
                cookie: cookie_name(raw, served),
                secure: is_https(served),
                ttl: session_ttl,
            },
            interstitial: raw.interstitial,
        };
        Some((Arc::new(landing), policy))
    };
    Some(Built { built: built() })
}

fn paths(raw: &raw::Landing, problems: &mut Problems) -> Option<Vec<PathTemplate>> {
    let mut all = Vec::new();
    let mut good = true;
    for path in &raw.paths {
        match PathTemplate::parse(&path.value) {
            Ok(template) if all.contains(&template) => {
                problems.error(&path.at, "is here twice", "take one of them out");
            }
            Ok(template) => all.push(template),
            Err(what) => {
                good = false;
                problems.error(&path.at, what, "write \"/login\" or \"/{lang}/user/login\"");
            }
        }
    }
    if good && !(1..=MAX_PATHS).contains(&all.len()) {
        let hint = format!("1 to {MAX_PATHS} paths");
        problems.error("landing.paths", "has none, or too many", hint);
    }
    good.then_some(all)
}

fn logout(raw: &raw::Landing, paths: Option<&[PathTemplate]>, problems: &mut Problems) -> Option<Box<str>> {
    let text = raw.logout.as_str();
    let plain = !text.contains('{') && PathTemplate::parse(text).is_ok();
    if !plain {
        problems.error("landing.logout", "is no plain path", "write \"/logout\"");
        return None;
    }
    if paths.is_some_and(|paths| paths.iter().any(|path| path.matches(text))) {
        problems.error(
            "landing.logout",
            "is also where login links arrive",
            "give it another path",
        );
        return None;
    }
    Some(text.into())
}

fn names(raw: &raw::Landing, problems: &mut Problems) {
    for (key, name) in [("query", &raw.query), ("redirect_query", &raw.redirect_query)] {
        if !carriers::is_parameter_name(name) {
            problems.error(
                format!("landing.{key}"),
                "is no parameter name",
                "write \"t\" or \"redirectUrl\"",
            );
        }
    }
    if raw.query == raw.redirect_query {
        problems.error(
            "landing.redirect_query",
            "is the parameter of the token",
            "give it another name",
        );
    }
    let lower = raw.cookie.to_ascii_lowercase();
    if !carriers::is_cookie_name(&raw.cookie) {
        problems.error("landing.cookie", "is no cookie name", "write \"session\"");
    } else if lower.starts_with("__") || lower.starts_with("mediagate-") {
        problems.error(
            "landing.cookie",
            "begins with what means something already",
            "write \"session\": over https the prefix __Host- is put in front",
        );
    }
}

fn site(raw: &raw::Landing, served: &Served, problems: &mut Problems) -> Option<Site> {
    let allowed: Vec<Option<Box<str>>> = raw
        .allowed_origins
        .iter()
        .map(|origin| cors::exact_origin(origin, problems))
        .collect();
    let allowed = allowed.into_iter().collect::<Option<Vec<_>>>()?;
    let Some(public) = &served.public else {
        if !problems.has("server.public_url") {
            problems.error(
                "server.public_url",
                "missing: a login link leads on to our own origin alone, so it has to be known",
                "add `public_url = \"https://media.example.com\"`",
            );
        }
        return None;
    };
    let site = Site::new(public, allowed.into());
    if site.is_none() {
        problems.error("server.public_url", "is no base of a URL", "");
    }
    site
}

fn home(raw: &raw::Landing, site: &Site, problems: &mut Problems) -> Option<Destination> {
    match site.destination(&raw.home) {
        Ok(home) => Some(home),
        Err(bad) => {
            problems.error("landing.home", bad.to_string(), "write \"/\", or \"/account\"");
            None
        }
    }
}

/// A session must not be a caller's bearer: whoever has one could make links.
fn check_callers(file: &raw::File, raw: &raw::Landing, problems: &mut Problems) {
    let names = |texts: &Option<Texts>, name: &str| {
        texts
            .as_ref()
            .is_some_and(|texts| texts.0.iter().any(|text| text == name))
    };
    let callers = file
        .issuer
        .iter()
        .flat_map(|issuer| issuer.callers.iter().flatten());
    for caller in callers {
        let issuer = raw.issuer.as_deref().unwrap_or_default();
        if caller.keys == raw.keys && names(&caller.issuer, issuer) && names(&caller.audience, AUDIENCE) {
            problems.error(
                format!("{}.audience", caller.at),
                "the sessions of [landing] would pass as callers' bearers: same keys, issuer and audience",
                "give callers an audience of their own, such as \"mediagate-issuer\"",
            );
        }
    }
}

/// Whether a route that believes sessions looks for them in the cookie, and for as long as they live.
fn check_routes(raw: &raw::Landing, minter: &Minter, routes: &Routes, cookie: &str, problems: &mut Problems) {
    for built in &routes.built {
        let Some(keys) = &built.policy.keys else { continue };
        let believes = Arc::ptr_eq(&keys.keys, &minter.keys)
            && keys.takes_issuer(&minter.issuer)
            && keys.audiences.iter().any(|audience| audience == AUDIENCE);
        if !believes {
            continue;
        }
        let looks = built.route.carriers.iter().any(|carrier| match carrier {
            Carrier::Cookie { names } => names.iter().any(|name| **name == *cookie),
            _ => false,
        });
        if !looks {
            problems.warn(
                format!("{}.carriers", built.at),
                "lacks the cookie of the sessions that the route believes",
                format!("add {{ cookie = {:?} }}", raw.cookie),
            );
        }
        if let Some(longest) = keys.max_lifetime.filter(|longest| *longest < raw.session_ttl) {
            problems.warn(
                format!("{}.scheme.jwt.max_lifetime", built.at),
                format!("is {}, and so refuses sessions", show_duration(longest)),
                format!("{} or more, as long as they live", show_duration(raw.session_ttl)),
            );
        }
    }
}

/// What it does, each line `name: what`.
fn policy(raw: &raw::Landing, minter: &Minter, home: &Destination, cookie: &str) -> String {
    let paths: Vec<&str> = raw.paths.iter().map(|path| path.value.as_str()).collect();
    let allowed: Vec<&str> = raw
        .allowed_origins
        .iter()
        .map(|origin| origin.value.as_str())
        .collect();
    let redirects = match allowed.as_slice() {
        [] => "our own origin alone".to_owned(),
        allowed => format!("our own origin, {}", allowed.join(", ")),
    };
    let button = match raw.interstitial {
        true => "the button of a page uses it",
        false => "opening it uses it",
    };
    format!(
        "landing: {}, {}\n  link       ?{}=…, {button}\n  leads to   ?{}=…, {redirects}; else {}\n  session    cookie \
         {cookie} for {}, keys {:?}, issuer {}, audience {AUDIENCE}\n  ends at    {}\n",
        raw.host.as_deref().unwrap_or("any host"),
        paths.join(", "),
        raw.query,
        raw.redirect_query,
        home.location(),
        show_duration(raw.session_ttl),
        minter.keys.name(),
        minter.issuer,
        raw.logout,
    )
}
