//! Redeem: requests whose token needs the store. Looks handles up, and uses tokens that may be used once: reserve, ask the
//! origin, commit durably, answer; anything else releases. From the reservation to the commit it runs in a task that
//! outlives the request, so that a client that leaves at any moment leaves nothing behind.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::authorize::once::{LEASE_SLACK, Lease, Once, Tried};
use super::authorize::{Asked, Authorized, Grant, authorize, not_withdrawn};
use super::counting::Counting;
use super::forward;
use super::limits::Subjects;
use super::refusal::{Code, Failure, Stop};
use super::reply::Granted;
use super::route::Route;
use super::session::{Asks, MOST_TIMES, Mode, Rules, Visitor};
use super::session_cookie::SessionCookie;
use super::unattended;
use super::verify::Verified;
use crate::body::Body;
use crate::clock::{Clock, UnixTime};
use crate::origin::{OriginBody, Pools};
use crate::store::embedded::Journal;
use crate::store::uses::Kept;
use crate::store::{Issued, Purposes, Session, Store, StoreError, Use};
use crate::target::Target;
use crate::throttle::Throttle;
use crate::token::carrier::Variables;
use crate::token::keys::LogKey;
use crate::token::{Claims, TokenId};

/// How long a reservation of somebody else is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a request is redeemed with. A copy is the same.
#[derive(Clone)]
pub struct Till {
    /// The memory of tokens; none before it is opened. One that was closed still knows what is withdrawn.
    pub store: Option<Arc<Store>>,
    /// The time, for what is judged after a wait.
    pub clock: Clock,
    /// The worker's origin connections.
    pub pools: Pools,
    /// Names clients and targets in sessions.
    pub names: Arc<LogKey>,
    /// Who showed how many unknown handles.
    pub unknown: Arc<Throttle>,
    /// What tokens with limits are at.
    pub limited: Arc<Subjects>,
}

/// A request that was judged as far as that goes without the store.
pub struct Held {
    /// Its route.
    pub route: Arc<Route>,
    /// Its target, without the token.
    pub target: Target,
    /// Path variables.
    pub variables: Variables,
    /// The segment that a path-prefix carrier took out.
    pub prefix: Option<Box<str>>,
    /// Its token.
    pub token: Pending,
    /// The client's address.
    pub client: IpAddr,
}

/// A token that needs the store.
pub enum Pending {
    /// What it says is to be looked up.
    Handle(TokenId),
    /// It may be used once.
    Once(Once),
}

/// What came of it.
pub struct Redeemed {
    /// What the token says, once known.
    pub claims: Option<Arc<Claims>>,
    /// The answer.
    pub result: Result<Delivery, Stop>,
}

/// What goes to the client.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Delivery {
    /// The origin's answer.
    File {
        /// What `reply` needs.
        granted: Granted,
        /// The head and the body.
        answer: Response<OriginBody>,
        /// Counts what is handed out of a session's file.
        counting: Option<Counting>,
    },
    /// The page whose button uses the token.
    Interstitial,
    /// The landing's answer.
    Landed(Response<Body>),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        let (code, detail) = match error {
            StoreError::Full => (Code::StoreUnavailable, "the store is full"),
            StoreError::Closed => (Code::StoreUnavailable, "the store is closed"),
            StoreError::Unavailable(_) => (Code::StoreUnavailable, "the store can't be used"),
        };
        Self::Failed(Failure {
            code,
            detail,
            source: None,
            retry_after: Some(Duration::from_secs(1)),
        })
    }
}

/// Redeems the token of a request.
pub async fn redeem(till: Till, held: Held, head: Parts, body: Option<Incoming>) -> Redeemed {
    let mut claims = None;
    let result = pass(till, held, head, body, &mut claims).await;
    Redeemed { claims, result }
}

async fn pass(
    till: Till,
    held: Held,
    head: Parts,
    body: Option<Incoming>,
    known: &mut Option<Arc<Claims>>,
) -> Result<Delivery, Stop> {
    let store = till.store.clone().ok_or(StoreError::Closed)?;
    let Held {
        route,
        target,
        variables,
        prefix,
        token,
        client,
    } = held;
    let once = match token {
        Pending::Once(once) => once,
        Pending::Handle(id) => {
            let issued = recall(&till, &store, id, Purposes::FILE, client).await?;
            let verified = Verified {
                standing: issued.claims.standing(till.clock.now(), route.leeway),
                claims: issued.claims,
            };
            *known = Some(Arc::clone(&verified.claims));
            let asked = Asked {
                method: &method(&route, &head.method),
                target: &target,
                variables: &variables,
                client,
            };
            match authorize(&route, verified, &asked, Some(store.revoked()))? {
                Authorized::Once(once) => once,
                Authorized::Granted(_) if *asked.method != head.method => return Err(not_here(&route)),
                Authorized::Granted(grant) => {
                    let share = till.limited.share(grant.claims(), &head.method)?;
                    let now = till.clock.now();
                    let granted = Granted::new(&route, &grant, prefix, share, now);
                    let answer =
                        forward::forward(&route, &till.pools, grant, head, body, client, now)?.await?;
                    return Ok(Delivery::File {
                        granted,
                        answer,
                        counting: None,
                    });
                }
            }
        }
    };
    *known = Some(Arc::clone(once.claims()));
    let redemption = Redemption {
        till,
        store,
        route,
        prefix,
        client,
    };
    redemption.run(once, head, body).await
}

/// The method that a token is held against: the button of the interstitial page POSTs, and means GET.
pub(super) fn method(route: &Route, method: &Method) -> Method {
    if *method == Method::POST && route.single_use.interstitial {
        Method::GET
    } else {
        method.clone()
    }
}

/// POST is for the button of the page alone.
pub(super) fn not_here(route: &Route) -> Stop {
    super::refusal::Refusal {
        allow: Some(route.methods),
        ..super::refusal::Refusal::new(Code::MethodNotAllowed, "the route does not serve this method")
    }
    .into()
}

/// What the store knows of a handle that is shown for this purpose. Spent and expired ones are still known; who shows
/// many that never were is not looked for any more.
pub(super) async fn recall(
    till: &Till,
    store: &Store,
    id: TokenId,
    purpose: Purposes,
    client: IpAddr,
) -> Result<Issued, Stop> {
    let now = till.clock.now();
    if !till.unknown.may_look(client, now) {
        return Err(super::refusal::Refusal {
            retry_after: Some(Duration::from_secs(1)),
            ..super::refusal::Refusal::new(Code::LimitReached, "too many unknown tokens from this address")
        }
        .into());
    }
    let Some(issued) = store.recall(id).await? else {
        till.unknown.was_unknown(client, now);
        return Err(Stop::refused(Code::TokenInvalid, "no such token was issued"));
    };
    if !issued.purposes.has(purpose) {
        return Err(Stop::refused(
            Code::TokenInvalid,
            "the token is for something else",
        ));
    }
    Ok(issued)
}

/// One use of a token that may be used once.
struct Redemption {
    till: Till,
    store: Arc<Store>,
    route: Arc<Route>,
    prefix: Option<Box<str>>,
    client: IpAddr,
}

impl Redemption {
    async fn run(self, mut once: Once, mut head: Parts, body: Option<Incoming>) -> Result<Delivery, Stop> {
        if unattended::is(&head.headers) {
            return Err(Stop::refused(
                Code::Prefetch,
                "a program that looks ahead never uses a token",
            ));
        }
        let rules = &*self.route.single_use.of(once.claims().uses);
        let pressed = head.method == Method::POST;
        head.method = method(&self.route, &head.method);
        let cookie = SessionCookie::of(&self.route, once.claims().token_id);
        let visitor = Visitor {
            client: self.name_client(&head.headers),
            cookie: cookie.shown(&head.headers, &self.till.names),
            target: self.name_target(rules, once.origin_target()),
            asks: match head.method {
                Method::HEAD => Asks::Head,
                _ if rules.interstitial && !pressed => Asks::Head,
                _ => Asks::Body,
            },
        };
        let lease = self.route.origin.head_wait() + LEASE_SLACK;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.till.clock.now();
            match once.enter(self.store.uses(), &visitor, rules, lease, now)? {
                Tried::Waits(again, changed) => {
                    once = again;
                    timeout_at(deadline, changed).await.map_err(|_| overloaded())?;
                }
                Tried::Passes(_) if rules.interstitial => return Ok(Delivery::Interstitial),
                Tried::Passes(grant) => return self.deliver(grant, head, body).await,
                Tried::Joins(grant) => return self.join(grant, head, body).await,
                Tried::Reserved(grant, lease) => {
                    return self.outlive(grant, lease, visitor, cookie, head, body).await;
                }
            }
        }
    }

    /// The origin's answer as it is.
    async fn deliver(self, grant: Grant, head: Parts, body: Option<Incoming>) -> Result<Delivery, Stop> {
        let share = self.till.limited.share(grant.claims(), &head.method)?;
        let now = self.till.clock.now();
        let granted = Granted::new(&self.route, &grant, self.prefix, share, now);
        let answer =
            forward::forward(&self.route, &self.till.pools, grant, head, body, self.client, now)?.await?;
        Ok(Delivery::File {
            granted,
            answer,
            counting: None,
        })
    }

    /// The origin's answer as a part of the session.
    async fn join(self, grant: Grant, head: Parts, body: Option<Incoming>) -> Result<Delivery, Stop> {
        let claims = Arc::clone(grant.claims());
        let (id, rules) = (
            claims.token_id,
            self.route.single_use.of(claims.uses).into_owned(),
        );
        let reads = head.method == Method::GET;
        let (store, clock, names) = (
            Arc::clone(&self.store),
            self.till.clock.clone(),
            Arc::clone(&self.till.names),
        );
        let mut delivery = self.deliver(grant, head, body).await?;
        if let Delivery::File { answer, counting, .. } = &mut delivery
            && reads
            && is_file(answer.status())?
        {
            not_withdrawn(&claims, Some(store.revoked()))?;
            let etag = etag(answer.headers(), &names);
            let same = store.uses().step(id, |entry| match entry.state() {
                Use::Open(session) => session.etag == etag || rules.mode == Mode::Playback,
                _ => true,
            })?;
            if !same {
                return Err(Stop::Failed(Failure {
                    code: Code::OriginInvalid,
                    detail: "the file has changed since its download began",
                    source: None,
                    retry_after: None,
                }));
            }
            let times = (rules.mode == Mode::File).then_some(MOST_TIMES);
            *counting = Counting::start(store.uses(), id, answer, times, clock)?;
        }
        Ok(delivery)
    }

    /// Asks the origin and commits, in a task of its own.
    async fn outlive(
        self,
        grant: Grant,
        lease: Lease<Journal>,
        visitor: Visitor,
        cookie: SessionCookie,
        head: Parts,
        body: Option<Incoming>,
    ) -> Result<Delivery, Stop> {
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let result = self.own(grant, lease, visitor, cookie, head, body, &answer).await;
            // A client that is gone is not told. What was committed is its session, to which it may come back.
            let _ = answer.send(result);
        });
        answered.await.unwrap_or_else(|_| Err(overloaded()))
    }

    #[expect(clippy::too_many_arguments, reason = "all that the task owns")]
    async fn own(
        self,
        grant: Grant,
        lease: Lease<Journal>,
        visitor: Visitor,
        cookie: SessionCookie,
        head: Parts,
        body: Option<Incoming>,
        client: &oneshot::Sender<Result<Delivery, Stop>>,
    ) -> Result<Delivery, Stop> {
        let claims = Arc::clone(grant.claims());
        let (route, store, till) = (
            Arc::clone(&self.route),
            Arc::clone(&self.store),
            self.till.clone(),
        );
        let mut delivery = self.deliver(grant, head, body).await?;
        let Delivery::File {
            granted,
            answer,
            counting,
        } = &mut delivery
        else {
            return Ok(delivery);
        };
        if !is_file(answer.status())? {
            return Ok(delivery);
        }
        if client.is_closed() {
            return Err(overloaded());
        }
        let rules = &*route.single_use.of(claims.uses);
        let now = till.clock.now();
        let shown = cookie.fresh()?;
        let session = Session {
            client: visitor.client,
            cookie: shown.name(&till.names),
            cookie_shown: false,
            target: visitor.target,
            etag: etag(answer.headers(), &till.names),
            opened: now,
            ends: now.after(rules.session_max),
            last_byte: now,
            completed: (super::counting::size(answer) == Some(0)).then_some(now),
            size: super::counting::size(answer),
            handed: 0,
            covered: Vec::new(),
        };
        // Before the commit: what follows it can't fail.
        if rules.mode != Mode::Strict {
            granted.cookie = Some(shown.set(rules.session_max));
            *counting = Counting::start(store.uses(), claims.token_id, answer, None, till.clock)?;
        }
        let (ends, spent) = match rules.mode {
            Mode::Strict => (now, Use::Spent),
            Mode::File | Mode::Playback => (session.ends, Use::Open(session)),
        };
        let expires = claims.expires.unwrap_or(UnixTime::from_millis(i64::MAX));
        if !lease.commit(spent, Kept::new(expires, ends)).await? {
            return Err(Stop::refused(Code::TokenSpent, "the token was used"));
        }
        // Revocations take the same way into the journal: what came before the use is in force by now.
        not_withdrawn(&claims, Some(store.revoked()))?;
        Ok(delivery)
    }

    /// The client in a session: its address (IPv6 by its /64, RFC 4941 renews the rest) and user agent.
    fn name_client(&self, headers: &HeaderMap) -> [u8; 16] {
        let mut text = vec![0xfc];
        match self.client {
            IpAddr::V4(address) => text.extend(address.octets()),
            IpAddr::V6(address) => text.extend(&address.octets()[..8]),
        }
        for agent in headers.get_all(header::USER_AGENT) {
            text.push(0xff);
            text.extend(agent.as_bytes());
        }
        self.till.names.name(&text).0
    }

    /// What a session is bound to: its route, and the target unless it covers all that the token opens.
    fn name_target(&self, rules: &Rules, target: &str) -> [u8; 16] {
        let target = match rules.mode {
            Mode::Playback => "",
            Mode::Strict | Mode::File => target,
        };
        let text = [&[0xfa], self.route.name.as_bytes(), &[0xff], target.as_bytes()].concat();
        self.till.names.name(&text).0
    }
}

/// Whether an answer holds the file, so that it uses the token.
///
/// # Errors
/// `origin_invalid` for other answers of success: they could hold it too, and would use nothing.
fn is_file(status: StatusCode) -> Result<bool, Stop> {
    match status.as_u16() {
        200 | 206 => Ok(true),
        201..=299 => Err(Stop::Failed(Failure {
            code: Code::OriginInvalid,
            detail: "the origin answered with another success than 200 or 206",
            source: None,
            retry_after: None,
        })),
        _ => Ok(false),
    }
}

/// A hash of a strong entity tag.
fn etag(headers: &HeaderMap, names: &LogKey) -> Option<[u8; 16]> {
    let tag = headers.get(header::ETAG)?.as_bytes();
    (!tag.starts_with(b"W/")).then(|| names.name(&[&[0xf9], tag].concat()).0)
}

fn overloaded() -> Stop {
    Stop::Failed(Failure {
        code: Code::Overloaded,
        detail: "the token is being used, and its use does not end",
        source: None,
        retry_after: Some(Duration::from_secs(1)),
    })
}

#[cfg(test)]
mod tests;
