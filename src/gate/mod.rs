//! The gate: the phases of a request, in their order. Each is one file and one function; what it decides goes on as a
//! value that the next one needs, so that nothing is forwarded without a `Grant`. This file is the map.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Method, Response, header};
use hyper::body::Incoming;

pub mod admit;
pub mod authorize;
mod cache_control;
mod disposition;
pub mod exchange;
pub mod explain;
pub mod forward;
pub mod locate;
mod location;
pub mod record;
pub mod refusal;
pub mod reply;
pub mod route;
pub mod verify;

use authorize::{Asked, Grant};
use exchange::{CrossOrigin, Exchange};
use record::{Outcome, Recorded, Recorder, Running};
use refusal::{Code, Refusal, Stop};
use reply::Granted;
use route::{Route, Router};
use verify::TokenCache;

use crate::body::Body;
use crate::clock::UnixTime;
use crate::origin::{Fetch, Pools};

/// What one request is handled with.
pub struct Gate<'g> {
    /// What the pure phases need.
    pub bench: Bench<'g>,
    /// The worker's origin connections.
    pub pools: &'g Pools,
    /// Where its record goes.
    pub recorder: &'g Arc<Recorder>,
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
}

/// Who sent the request.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The client's address; the peer's where it can't be known.
    pub address: IpAddr,
    /// Whether the address is the client's. A trusted proxy that sends an unreadable one makes it unknown.
    pub known: bool,
    /// Whether the request is for a host whose certificate is another than that of its connection.
    pub misdirected: bool,
}

/// Handles one request. It can't fail: whatever happens becomes an answer and a record. All that can be decided without the
/// origin is decided before this returns; what is left is the wait for the origin.
pub fn handle(gate: &Gate<'_>, client: Client, head: Parts, body: Incoming) -> Handling {
    let exchange = Exchange::start(gate.bench.now, client.address, &head.method, &head.headers);
    let mut running = Running::new(gate.recorder, exchange);
    let begun = begin(gate, client, head, body, running.exchange());
    match begun {
        Ok(Begun::Answered(response)) => Handling::Done(Some(conclude(running, Ok(response)))),
        Ok(Begun::Asked(granted, answer)) => Handling::Waiting {
            answer,
            rest: Some((granted, running)),
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
}

impl Future for Handling {
    type Output = Response<Recorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Recorded>> {
        match &mut *self {
            Self::Done(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Self::Waiting { answer, rest } => {
                let answer = ready!(Pin::new(answer).poll(cx));
                // Taken once: a future that has ended is not asked again.
                let Some((granted, mut running)) = rest.take() else {
                    return Poll::Pending;
                };
                let result = match answer {
                    Ok(answer) => reply::deliver(running.exchange(), &granted, answer),
                    Err(error) => Err(error.into()),
                };
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
}

/// The phases up to `forward`.
fn begin(
    gate: &Gate<'_>,
    client: Client,
    head: Parts,
    body: Incoming,
    exchange: &mut Exchange,
) -> Result<Begun, Stop> {
    match judge(&gate.bench, client, &head, exchange)? {
        Judged::Preflight(route) => Ok(Begun::Answered(reply::preflight(exchange, &route))),
        Judged::Granted { route, grant, prefix } => {
            let granted = Granted {
                filename: grant.filename().map(Box::from),
                renewal: grant.renewal().cloned(),
                remaining: grant
                    .claims()
                    .expires
                    .map(|expires| gate.bench.now.until(expires)),
                prefix,
                route,
            };
            let answer = forward::forward(&granted.route, gate.pools, grant, head, body, client.address)?;
            Ok(Begun::Asked(granted, answer))
        }
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
}

/// The pure phases: admit → route → locate → verify → authorize. `explain` walks the very same.
fn judge(bench: &Bench<'_>, client: Client, head: &Parts, exchange: &mut Exchange) -> Result<Judged, Stop> {
    let admitted = admit::admit(head, bench.max_head)?;
    if client.misdirected {
        return Err(Stop::refused(
            Code::Misdirected,
            "the connection was made to a host with another certificate",
        ));
    }
    let route = bench
        .router
        .find(admitted.host.as_deref(), admitted.raw_path)
        .ok_or(Stop::refused(Code::NotFound, "no route has this host and path"))?;
    exchange.route = Some(Arc::clone(route));
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
    if !route.methods.contains(&head.method) {
        let refusal = Refusal::new(Code::MethodNotAllowed, "the route does not serve this method");
        return Err(Refusal {
            allow: Some(route.methods),
            ..refusal
        }
        .into());
    }
    let mut located = locate::locate(route, head, &admitted, client.address, exchange)?;
    let verified = verify::verify(route, &mut located, bench.cache, bench.now)?;
    exchange.claims = Some(Arc::clone(&verified.claims));
    let asked = Asked {
        method: &head.method,
        target: &located.target,
        variables: &located.variables,
        client: client.address,
    };
    let grant = authorize::authorize(route, verified, &asked)?;
    Ok(Judged::Granted {
        route: Arc::clone(route),
        grant,
        prefix: located.prefix,
    })
}

/// OPTIONS with `Origin` and `Access-Control-Request-Method` (Fetch §3.2.2). Every other OPTIONS needs what any request needs.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
