//! Explain: what the gate would say to a request at a given time, through the very phases up to `authorize`. Touches
//! neither origin nor store, and says what it could not check.

use std::sync::Arc;

use http::request::Parts;

use super::exchange::Exchange;
use super::landing::page::one_page_for_all;
use super::landing::{self, Knock, Landing};
use super::redeem::Pending;
use super::refusal::{Stop, status};
use super::route::Router;
use super::verify::TokenCache;
use super::{Bench, Client, Judged, judge};
use crate::clock::UnixTime;
use crate::token::scheme::signed::Shown;

/// What needs a store or the client's past, so that nobody takes `allow` for more than it is.
pub const UNCHECKED: [&str; 4] = ["uses", "revocation", "binding", "limits"];

/// What the gate would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Whether the origin would be asked.
    pub allowed: bool,
    /// The status of a refusal; 200 stands for whatever the origin would answer.
    pub status: u16,
    /// `ok`, `preflight`, or the code of the refusal.
    pub code: &'static str,
    /// The fact behind the code.
    pub detail: &'static str,
    /// The route.
    pub route: Option<String>,
    /// The scheme that checked the token.
    pub scheme: Option<&'static str>,
    /// Whom the token was issued for, once it was believed.
    pub subject: Option<String>,
    /// The first second in which the token is dead, without leeway.
    pub expires: Option<i64>,
    /// What the origin would be asked for; for a refusal the client's path without its token.
    pub target: Option<String>,
}

/// Walks one request through the pure phases.
pub fn explain(
    router: &Router,
    landing: Option<&Arc<Landing>>,
    head: &Parts,
    client: Client,
    now: UnixTime,
    max_head: usize,
    shown: Option<&Shown>,
) -> Explained {
    let mut exchange = Exchange::start(now, client.address, &head.method, &head.headers);
    match landing::judge(landing, client, head, max_head, &mut exchange) {
        Ok(None) => {}
        Ok(Some((_, knock))) => return at_landing(Ok(knock), &exchange),
        Err(stop) => return at_landing(Err(stop), &exchange),
    }
    let cache = TokenCache::new(0);
    let bench = Bench {
        router,
        cache: &cache,
        now,
        max_head,
        revoked: None,
        shown,
    };
    let judged = judge(&bench, client, head, &mut exchange);
    let route = exchange.route.as_deref();
    let claims = exchange.claims.as_deref();
    let (allowed, code, detail, status, target) = match &judged {
        Ok(Judged::Granted { grant, .. }) => (true, "ok", "", 200, Some(grant.origin_target().to_owned())),
        Ok(Judged::Held(held)) => {
            let target = || exchange.path.as_deref().map(str::to_owned);
            match &held.token {
                Pending::Handle(_) => (
                    false,
                    "needs_store",
                    "the store knows what it says",
                    503,
                    target(),
                ),
                Pending::Once(once) => match once.in_time() {
                    Ok(()) => (true, "ok", "", 200, Some(once.origin_target().to_owned())),
                    Err(stop) => {
                        let status = status(stop.code(), route, exchange.statuses).as_u16();
                        (false, stop.code().as_str(), stop.detail(), status, target())
                    }
                },
            }
        }
        Ok(Judged::Preflight(_)) => (
            true,
            "preflight",
            "a preflight is answered without a token",
            204,
            None,
        ),
        Err(stop) => {
            let status = status(stop.code(), route, exchange.statuses).as_u16();
            (
                false,
                stop.code().as_str(),
                stop.detail(),
                status,
                exchange.path.as_deref().map(str::to_owned),
            )
        }
    };
    Explained {
        allowed,
        status,
        code,
        detail,
        route: route.map(|route| route.name.to_string()),
        scheme: exchange.scheme,
        subject: claims
            .and_then(|claims| claims.subject.as_deref())
            .map(str::to_owned),
        expires: claims.and_then(|claims| claims.expires).map(UnixTime::secs),
        target,
    }
}

/// What the landing would say. A login link is always looked up.
fn at_landing(judged: Result<Knock, Stop>, exchange: &Exchange) -> Explained {
    let (allowed, status, code, detail) = match judged {
        Ok(Knock::Look) => (true, 204, "ok", ""),
        Ok(Knock::Leave) => (true, 303, "ok", ""),
        Ok(Knock::Visit(_)) => (false, 503, "needs_store", "the store knows what it says"),
        Err(stop) => {
            let told = one_page_for_all(stop.code()).map_or(stop.code().status(), |told| told.status);
            (false, told.as_u16(), stop.code().as_str(), stop.detail())
        }
    };
    Explained {
        allowed,
        status,
        code,
        detail,
        route: None,
        scheme: None,
        subject: None,
        expires: None,
        target: exchange.path.as_deref().map(str::to_owned),
    }
}
