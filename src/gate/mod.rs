//! The gate: the phases of a request, in their order. Each is one file and one function; what it decides goes on as a
//! value that the next one needs, so that nothing is forwarded without a `Grant`. This file is the map.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwapOption;
use http::request::Parts;
use http::{Method, Response, header};
use hyper::body::Incoming;

pub mod admit;
pub mod authorize;
mod cache_control;
mod counting;
mod disposition;
pub mod exchange;
pub mod explain;
pub mod forward;
pub mod landing;
pub mod limits;
pub mod locate;
mod location;
pub mod record;
pub mod redeem;
pub mod refusal;
pub mod reply;
pub mod route;
pub mod session;
mod session_cookie;
mod unattended;
mod uri_signing;
pub mod verify;
mod withdrawal;

use authorize::{Asked, Authorized, Grant};
use exchange::{CrossOrigin, Exchange};
use landing::Landing;
use limits::Subjects;
use record::{Outcome, Recorded, Recorder, Running};
use redeem::{Delivery, Held, Pending, Redeemed, Till};
use refusal::{Code, Stop};
use reply::Granted;
use route::{Route, Router};
use verify::{Checked, Remembering, TokenCache};

use crate::body::Body;
use crate::clock::{Clock, UnixTime};
use crate::origin::{Fetch, Pools};
use crate::store::{Revoked, Store};
use crate::throttle::Throttle;
use crate::token::keys::LogKey;
use crate::token::scheme::Scheme;
use crate::token::scheme::signed::{Shown, Statuses};

/// What one request is handled with.
pub struct Gate<'g> {
    /// What the pure phases need.
    pub bench: Bench<'g>,
    /// Where login links arrive, if they do.
    pub landing: Option<&'g Arc<Landing>>,
    /// The worker's origin connections.
    pub pools: &'g Pools,
    /// Where its record goes.
    pub recorder: &'g Arc<Recorder>,
    /// The memory of tokens; none before it is opened. One that was closed still knows what is withdrawn.
    pub store: Option<&'g Arc<Store>>,
    /// Where it is, for bodies that outlive it.
    pub stores: &'g Arc<ArcSwapOption<Store>>,
    /// The time, for what is judged after a wait.
    pub clock: &'g Clock,
    /// Names clients and targets in sessions.
    pub names: &'g Arc<LogKey>,
    /// Who showed how many unknown tokens.
    pub unknown: &'g Arc<Throttle>,
    /// What tokens with limits are at.
    pub limited: &'g Arc<Subjects>,
}

impl Gate<'_> {
    /// What a request needs that outlives this call.
    fn till(&self) -> Till {
        Till {
            store: self.store.cloned(),
            clock: self.clock.clone(),
            pools: self.pools.clone(),
            names: Arc::clone(self.names),
            unknown: Arc::clone(self.unknown),
            limited: Arc::clone(self.limited),
        }
    }
}

/// What a request is judged with, without an origin.
pub struct Bench<'g> {
    /// The routes of the request's snapshot.
    pub router: &'g Router,
    /// The worker's verified tokens.
    pub cache: &'g TokenCache,
    /// The time, read once.
    pub now: UnixTime,
    /// The most bytes that all headers may have together.
    pub max_head: usize,
    /// What was withdrawn; none where there is no store.
    pub revoked: Option<&'g Arc<Revoked>>,
    /// Keeps what tokens are compared with, where somebody wants to see it.
    pub shown: Option<&'g Shown>,
}

/// Who sent the request.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The client's address; the peer's where it can't be known.
    pub address: IpAddr,
    /// Whether the address is the client's. A trusted proxy that sends an unreadable one makes it unknown.
    pub known: bool,
    /// Whether a trusted proxy sent the request, whose headers no client wrote.
    pub proxied: bool,
    /// Whether the request is for a host whose certificate is another than that of its connection.
    pub misdirected: bool,
}

/// Handles one request. It can't fail: whatever happens becomes an answer and a record. All that can be decided without the
/// origin is decided before this returns; what is left is the wait for the origin.
pub fn handle(gate: &Gate<'_>, client: Client, head: Parts, body: Incoming) -> Handling {
    let exchange = Exchange::start(gate.bench.now, client.address, &head.method, &head.headers);
    let mut running = Running::new(gate.recorder, exchange);
    let begun = begin(gate, client, head, body, running.exchange());
    running.watch(gate.stores);
    match begun {
        Ok(Begun::Answered(response)) => Handling::Done(Some(conclude(running, Ok(response)))),
        Ok(Begun::Asked(granted, answer)) => Handling::Waiting {
            answer,
            rest: Some((granted, running)),
        },
        Ok(Begun::Redeeming(answer)) => Handling::Redeeming {
            answer,
            running: Some(running),
        },
        Err(stop) => Handling::Done(Some(conclude(running, Err(stop)))),
    }
}

/// A request on its way to its answer.
pub enum Handling {
    /// It is there.
    Done(Option<Response<Recorded>>),
    /// Its origin is waited for.
    Waiting {
        /// The origin's answer.
        answer: Fetch,
        /// What is needed when it has come.
        rest: Option<(Granted, Running)>,
    },
    /// The store is asked.
    Redeeming {
        /// What comes of it.
        answer: Redeeming,
        /// Its record.
        running: Option<Running>,
    },
}

/// A token that needs the store: the cold way, in a box.
type Redeeming = Pin<Box<dyn Future<Output = Redeemed> + Send>>;

impl Future for Handling {
    type Output = Response<Recorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Recorded>> {
        match &mut *self {
            Self::Done(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Self::Waiting { answer, rest } => {
                let answer = ready!(Pin::new(answer).poll(cx));
                // Taken once: a future that has ended is not asked again.
                let Some((mut granted, mut running)) = rest.take() else {
                    return Poll::Pending;
                };
                let result = match answer {
                    Ok(answer) => reply::deliver(running.exchange(), &granted, answer),
                    Err(error) => Err(error.into()),
                };
                running.limit(granted.share.take());
                Poll::Ready(conclude(running, result))
            }
            Self::Redeeming { answer, running } => {
                let Redeemed { claims, result } = ready!(answer.as_mut().poll(cx));
                let Some(mut running) = running.take() else {
                    return Poll::Pending;
                };
                let exchange = running.exchange();
                exchange.claims = claims.or(exchange.claims.take());
                let result = result.and_then(|delivery| match delivery {
                    Delivery::Interstitial => Ok(reply::interstitial(running.exchange())),
                    Delivery::Landed(response) => Ok(response),
                    Delivery::File {
                        mut granted,
                        answer,
                        counting,
                    } => {
                        let response = reply::deliver(running.exchange(), &granted, answer)?;
                        running.count(counting);
                        running.limit(granted.share.take());
                        Ok(response)
                    }
                });
                Poll::Ready(conclude(running, result))
            }
        }
    }
}

/// What a request has come to before its origin is waited for.
enum Begun {
    /// It is answered.
    Answered(Response<Body>),
    /// Its origin is asked.
    Asked(Granted, Fetch),
    /// The store is.
    Redeeming(Redeeming),
}

/// The phases up to `forward`.
fn begin(
    gate: &Gate<'_>,
    client: Client,
    head: Parts,
    body: Incoming,
    exchange: &mut Exchange,
) -> Result<Begun, Stop> {
    if let Some(begun) = landing::enter(gate, client, &head, exchange)? {
        return Ok(begun);
    }
    match judge(&gate.bench, client, &head, exchange)? {
        Judged::Preflight(route) => Ok(Begun::Answered(reply::preflight(exchange, &route))),
        Judged::Granted { route, grant, prefix } => {
            let share = gate.limited.share(grant.claims(), &head.method)?;
            let granted = Granted::new(&route, &grant, prefix, share, gate.bench.now);
            let answer = forward::forward(
                &granted.route,
                gate.pools,
                grant,
                head,
                Some(body),
                client.address,
                gate.bench.now,
            )?;
            Ok(Begun::Asked(granted, answer))
        }
        Judged::Held(held) => Ok(Begun::Redeeming(Box::pin(redeem::redeem(
            gate.till(),
            *held,
            head,
            Some(body),
        )))),
    }
}

/// Answer and record, on every path.
fn conclude(mut running: Running, result: Result<Response<Body>, Stop>) -> Response<Recorded> {
    let (response, outcome) = match result {
        Ok(response) => (
            response,
            Outcome {
                code: None,
                detail: "",
            },
        ),
        Err(stop) => {
            record::warn(running.exchange(), &stop);
            let outcome = Outcome {
                code: Some(stop.code()),
                detail: stop.detail(),
            };
            (reply::refuse(running.exchange(), &stop), outcome)
        }
    };
    running.finish(outcome, response)
}

/// What the pure phases came to.
enum Judged {
    /// A true preflight, answered without a token.
    Preflight(Arc<Route>),
    /// This request may have this target.
    Granted {
        /// Its route.
        route: Arc<Route>,
        /// The proof.
        grant: Grant,
        /// The segment that a path-prefix carrier took out.
        prefix: Option<Box<str>>,
    },
    /// The store has a say.
    Held(Box<Held>),
}

/// The pure phases: admit → route → locate → verify → authorize. `explain` walks the very same.
fn judge(bench: &Bench<'_>, client: Client, head: &Parts, exchange: &mut Exchange) -> Result<Judged, Stop> {
    let admitted = admit::admit(head, bench.max_head)?;
    if client.misdirected {
        return Err(misdirected());
    }
    let route = bench
        .router
        .find(admitted.host.as_deref(), admitted.raw_path)
        .ok_or(Stop::refused(Code::NotFound, "no route has this host and path"))?;
    exchange.route = Some(Arc::clone(route));
    exchange.statuses = route.schemes.statuses();
    exchange.cross_origin = route
        .cors
        .as_ref()
        .map(|cors| CrossOrigin::of(cors, &head.headers));
    if !client.known {
        return Err(Stop::refused(
            Code::BadRequest,
            "the client's address can't be told from the proxy's header",
        ));
    }
    if is_preflight(head) {
        return Ok(Judged::Preflight(Arc::clone(route)));
    }
    let method = redeem::method(route, &head.method);
    if !route.methods.contains(&method) {
        return Err(redeem::not_here(route));
    }
    let mut located = locate::locate(route, head, &admitted, client, exchange)?;
    let memory = Remembering {
        cache: bench.cache,
        shown: bench.shown,
    };
    (exchange.scheme, exchange.statuses) = match &located.signed {
        Some(signed) => (Some(signed.scheme.name()), signed.scheme.statuses()),
        None => (
            route.schemes.of(&located.evidence).map(Scheme::name),
            Statuses::Common,
        ),
    };
    let checked = verify::verify(route, &mut located, &memory, bench.now)?;
    let held = |located: locate::Located<'_>, token| {
        Ok(Judged::Held(Box::new(Held {
            route: Arc::clone(route),
            target: located.target,
            variables: located.variables,
            prefix: located.prefix,
            token,
            client: client.address,
        })))
    };
    let verified = match checked {
        Checked::True(verified) => verified,
        Checked::Handle(id) => return held(located, Pending::Handle(id)),
    };
    exchange.claims = Some(Arc::clone(&verified.claims));
    let asked = Asked {
        method: &method,
        target: &located.target,
        variables: &located.variables,
        client: client.address,
    };
    match authorize::authorize(route, verified, &asked, bench.revoked.map(|revoked| &**revoked))? {
        Authorized::Once(once) => held(located, Pending::Once(once)),
        Authorized::Granted(_) if method != head.method => Err(redeem::not_here(route)),
        Authorized::Granted(grant) => Ok(Judged::Granted {
            route: Arc::clone(route),
            grant,
            prefix: located.prefix,
        }),
    }
}

/// A request that came over a connection to somebody else.
fn misdirected() -> Stop {
    Stop::refused(
        Code::Misdirected,
        "the connection was made to a host with another certificate",
    )
}

/// OPTIONS with `Origin` and `Access-Control-Request-Method` (Fetch §3.2.2). Every other OPTIONS needs what any request needs.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
