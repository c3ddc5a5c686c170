//! The landing: where a login link arrives. It spends the link's token, strictly once, sets the cookie of a session, and
//! leads on to a path of our own; at the logout it withdraws the session. A cold door of the gate: it asks no origin and
//! makes no grant. All that can be judged without the store is judged first, so that a bad link spends nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response};

use super::exchange::{Door, Exchange};
use super::redeem::{self, Delivery, Redeemed, Till};
use super::refusal::{Code, Refusal, Stop};
use super::{Begun, Client, Gate, admit, authorize, misdirected, unattended};
use crate::body::Body;
use crate::clock::UnixTime;
use crate::store::uses::Kept;
use crate::store::{Purposes, Revocation, Store, StoreError, Use};
use crate::token::{Claims, Methods};

mod link;
pub(super) mod page;
pub mod place;
pub mod redirect;
pub mod session;

use link::Link;
use place::PathTemplate;
use redirect::{Destination, Site};
use session::{Sessions, Shown};

/// Forgiven clock skew, as for other tokens of our own.
const LEEWAY: Duration = Duration::from_secs(5);

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The landing of a configuration.
pub struct Landing {
    /// The host it is for, lower case without port; `None` is any.
    pub host: Option<Box<str>>,
    /// Where login links arrive.
    pub paths: Box<[PathTemplate]>,
    /// Where sessions end.
    pub logout: Box<str>,
    /// Where a link leads that says nothing of it, and a logout.
    pub home: Destination,
    /// The query parameter of the token.
    pub query: Box<str>,
    /// The query parameter of the redirect.
    pub redirect_query: Box<str>,
    /// Our own origin and the listed ones.
    pub site: Site,
    /// How sessions are made.
    pub sessions: Sessions,
    /// Whether a page with a button stands between a link and its only use.
    pub interstitial: bool,
}

/// What a path of the landing is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Login,
    Logout,
}

impl Landing {
    fn place(&self, path: &str) -> Option<Place> {
        if *path == *self.logout {
            return Some(Place::Logout);
        }
        self.is_login(path).then_some(Place::Login)
    }

    /// Whether login links arrive at this path.
    fn is_login(&self, path: &str) -> bool {
        self.paths.iter().any(|template| template.matches(path))
    }

    fn methods(&self, place: Place) -> Methods {
        match place {
            Place::Login if !self.interstitial => Methods::READ,
            _ => Methods::parse(["GET", "POST"]).unwrap_or(Methods::READ),
        }
    }
}

/// What a request wants of the landing.
pub(super) enum Knock {
    /// Nothing: HEAD, which is told nothing.
    Look,
    /// To use a link.
    Visit(Link),
    /// To end its sessions.
    Leave,
}

/// Judges a request that is for the landing, as far as that goes without the store; `None` leaves it to the routes.
pub(super) fn judge<'l>(
    landing: Option<&'l Arc<Landing>>,
    client: Client,
    head: &Parts,
    max_head: usize,
    exchange: &mut Exchange,
) -> Result<Option<(&'l Arc<Landing>, Knock)>, Stop> {
    let place = landing.and_then(|landing| Some((landing, landing.place(head.uri.path())?)));
    let Some((landing, place)) = place else {
        return Ok(None);
    };
    let admitted = admit::admit(head, max_head)?;
    if landing.host.is_some() && landing.host.as_deref() != admitted.host.as_deref() {
        return Ok(None);
    }
    exchange.door = Door::Landing;
    exchange.path = Some(admitted.raw_path.into());
    if client.misdirected {
        return Err(misdirected());
    }
    if !client.known {
        return Err(Stop::refused(
            Code::BadRequest,
            "the client's address can't be told from the proxy's header",
        ));
    }
    let methods = landing.methods(place);
    if !methods.contains(&head.method) {
        return Err(Refusal {
            allow: Some(methods),
            ..Refusal::new(Code::MethodNotAllowed, "the landing does not serve this method")
        }
        .into());
    }
    if unattended::is(&head.headers) {
        return Err(Stop::refused(
            Code::Prefetch,
            "a program that looks ahead never uses a token",
        ));
    }
    let knock = match place {
        Place::Logout if head.method == Method::HEAD => Knock::Look,
        Place::Logout => Knock::Leave,
        Place::Login => {
            if head.method == Method::POST && !is_from_here(landing, &head.headers) {
                return Err(Stop::refused(
                    Code::BindingDenied,
                    "the button of another site was pressed",
                ));
            }
            let link = Link::read(landing, admitted.raw_query)?;
            match head.method {
                Method::HEAD => Knock::Look,
                _ => Knock::Visit(link),
            }
        }
    };
    Ok(Some((landing, knock)))
}

/// Takes a request that is for the landing; `None` leaves it to the routes.
pub(super) fn enter(
    gate: &Gate<'_>,
    client: Client,
    head: &Parts,
    exchange: &mut Exchange,
) -> Result<Option<Begun>, Stop> {
    let Some((landing, knock)) = judge(gate.landing, client, head, gate.bench.max_head, exchange)? else {
        return Ok(None);
    };
    Ok(Some(match knock {
        Knock::Look => Begun::Answered(page::nothing()),
        Knock::Leave => logout(gate, landing, client.address, head),
        Knock::Visit(link) => {
            let visit = Visit {
                landing: Arc::clone(landing),
                link,
                pressed: head.method == Method::POST,
                client: client.address,
            };
            let till = gate.till();
            Begun::Redeeming(Box::pin(async move {
                let mut claims = None;
                let result = visit.land(till, &mut claims).await.map(Delivery::Landed);
                Redeemed { claims, result }
            }))
        }
    }))
}

/// Whether the page with the button is our own: another site that presses it would sign its visitor in as somebody else.
/// Who says nothing of it is no browser.
fn is_from_here(landing: &Landing, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(&SEC_FETCH_SITE) {
        return site.as_bytes() == b"same-origin";
    }
    let origin = headers.get(header::ORIGIN);
    origin.is_none_or(|origin| origin.as_bytes() == landing.site.origin().as_bytes())
}

/// A login link that somebody opened.
struct Visit {
    landing: Arc<Landing>,
    link: Link,
    /// Whether the button of the page was pressed.
    pressed: bool,
    client: IpAddr,
}

impl Visit {
    async fn land(self, till: Till, known: &mut Option<Arc<Claims>>) -> Result<Response<Body>, Stop> {
        let Some(handle) = self.link.handle else {
            return Err(Stop::refused(Code::TokenInvalid, "the token is none of ours"));
        };
        let store = till.store.clone().ok_or(StoreError::Closed)?;
        let id = handle.id(&till.names);
        let issued = redeem::recall(&till, &store, id, Purposes::LOGIN, self.client).await?;
        let claims = issued.claims;
        *known = Some(Arc::clone(&claims));
        // Known at once for most: whoever comes late costs no signature.
        if store.uses().is_spent(id)? {
            return Err(spent());
        }
        let now = till.clock.now();
        judge_claims(&claims, &store, self.client, now)?;
        if self.landing.interstitial && !self.pressed {
            return Ok(page::ask(&self.landing, claims.subject.as_deref()));
        }
        // Made first: a link is not spent for a session that can't be said.
        let cookie = self.landing.sessions.open(&claims, now).await?;
        let location = HeaderValue::try_from(self.link.location)
            .map_err(|_| Stop::refused(Code::BadPath, "the redirect can't be a header"))?;
        let expires = claims.expires.unwrap_or(UnixTime::from_millis(i64::MAX));
        if !store
            .uses()
            .spend(id, Use::Spent, Kept::new(expires, now))
            .await?
        {
            return Err(spent());
        }
        authorize::not_withdrawn(&claims, Some(store.revoked()))?;
        Ok(page::onward(location, cookie))
    }
}

fn spent() -> Stop {
    Stop::refused(Code::TokenSpent, "the token was used")
}

/// What a link that is known says: withdrawn, in time, from here?
fn judge_claims(claims: &Claims, store: &Store, client: IpAddr, now: UnixTime) -> Result<(), Stop> {
    authorize::not_withdrawn(claims, Some(store.revoked()))?;
    authorize::in_time(claims.standing(now, LEEWAY))?;
    authorize::from_here(claims, client)
}

/// Ends the sessions that a request shows. A page of another site that leads here ends a session at most; one that only
/// loads this address shows none, since the cookie is `SameSite=Lax`.
fn logout(gate: &Gate<'_>, landing: &Arc<Landing>, client: IpAddr, head: &Parts) -> Begun {
    let shown = Shown {
        method: &head.method,
        path: head.uri.path(),
        headers: &head.headers,
        client,
    };
    let sessions = landing.sessions.shown(&shown, gate.bench.now);
    let (till, landing) = (gate.till(), Arc::clone(landing));
    Begun::Redeeming(Box::pin(async move {
        let result = end(till, &landing, &sessions).await.map(Delivery::Landed);
        Redeemed {
            claims: sessions.into_iter().next().map(Arc::new),
            result,
        }
    }))
}

async fn end(till: Till, landing: &Landing, sessions: &[Claims]) -> Result<Response<Body>, Stop> {
    for session in sessions {
        let store = till.store.as_ref().ok_or(StoreError::Closed)?;
        if !store.revoked().covers(session) {
            store
                .revoke(Revocation::Token {
                    id: session.token_id,
                    expires: session.expires,
                })
                .await?;
        }
    }
    let home = HeaderValue::try_from(landing.home.location())
        .map_err(|_| Stop::refused(Code::BadPath, "the home can't be a header"))?;
    Ok(page::onward(home, landing.sessions.clear()))
}
