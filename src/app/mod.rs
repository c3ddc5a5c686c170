//! Which door: the gate, or the issuer where a route mounts its dialects. What a request needs comes in two halves: a
//! `Snapshot`, replaced whole, and `Services`, which outlive it. The issuer is the cold door and is boxed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::body::Body;
use crate::clock::{Clock, Stopwatch, UnixTime};
use crate::gate::admit::admit;
use crate::gate::landing::Landing;
use crate::gate::limits::Subjects;
use crate::gate::record::{Recorded, Recorder};
use crate::gate::route::Router;
use crate::gate::verify::TokenCache;
use crate::gate::{self, Bench, Client, Gate};
use crate::issuer::refusal::IssueRefusal;
use crate::issuer::{Answer, DialectName, Issuer, MAX_BODY_BYTES, Memory};
use crate::origin::{OriginStats, Pools};
use crate::store::Store;
use crate::telemetry::access::{AccessLog, End, Line};
use crate::telemetry::metrics::Metrics;
use crate::throttle::Throttle;
use crate::token::keys::LogKey;

/// Time in which a caller's body has to be there.
const ISSUER_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// All that is decided by the configuration. Immutable; a request lives on the one it started with.
pub struct Snapshot {
    /// The routes.
    pub router: Router,
    /// Where login links arrive, if they do.
    pub landing: Option<Arc<Landing>>,
    /// The issuer, where there is one.
    pub issuer: Option<Arc<Issuer>>,
    /// Dialects of the issuer that are mounted on the gate's listener.
    pub mounts: Vec<Mount>,
    /// Whether some requests can't be answered without the memory of tokens.
    pub needs_store: bool,
    /// Names tokens, clients and targets.
    pub names: Arc<LogKey>,
}

/// A dialect on the gate's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The number of the route that mounts it.
    pub route: usize,
    /// The dialect.
    pub dialect: DialectName,
}

/// What outlives a snapshot.
pub struct Services {
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access: Arc<AccessLog>,
    /// What is counted of origin connections.
    pub origin_stats: Arc<OriginStats>,
    /// The most bytes that all headers of a request may have together.
    pub max_head: usize,
    /// Verified tokens kept per worker.
    pub token_cache: usize,
    /// The memory of tokens; none before it is opened. One that was closed stays, since it still knows what is withdrawn.
    pub store: Arc<ArcSwapOption<Store>>,
    /// Who showed how many unknown tokens.
    pub unknown: Arc<Throttle>,
    /// What tokens with limits are at.
    pub limited: Arc<Subjects>,
}

/// The whole program behind the listeners.
pub struct App {
    snapshot: ArcSwap<Snapshot>,
    services: Services,
}

impl App {
    /// From its two halves.
    pub fn new(snapshot: Snapshot, services: Services) -> Arc<Self> {
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            services,
        })
    }

    /// Puts another snapshot in the place of the present one, for the requests that begin from now on.
    pub fn swap(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// What outlives the snapshot.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// What one worker has for itself: its origin connections, its cache, its counters and lines.
    pub fn worker(self: &Arc<Self>) -> Arc<Worker> {
        let services = &self.services;
        Arc::new(Worker {
            app: Arc::clone(self),
            pools: Pools::new(Arc::clone(&services.origin_stats)),
            cache: TokenCache::new(services.token_cache),
            recorder: Arc::new(Recorder {
                lines: services.access.lines(),
                counters: services.metrics.worker(),
            }),
        })
    }
}

/// An answer in the making, by one of the two doors. The issuer is the cold one.
#[expect(clippy::large_enum_variant, reason = "the large one is the hot one")]
pub enum Handling {
    /// By the gate.
    Gate(gate::Handling),
    /// By the issuer.
    Issuer(Pin<Box<dyn Future<Output = Response<Recorded>> + Send>>),
}

impl Future for Handling {
    type Output = Response<Recorded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Recorded>> {
        match self.get_mut() {
            Self::Gate(answer) => Pin::new(answer).poll(cx),
            Self::Issuer(answer) => answer.as_mut().poll(cx),
        }
    }
}

/// One worker's half of the app.
pub struct Worker {
    app: Arc<App>,
    pools: Pools,
    cache: TokenCache,
    recorder: Arc<Recorder>,
}

impl Worker {
    /// Its records.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Lets go of what grew old. To be called now and then.
    pub fn tend(&self) {
        self.pools.tend();
    }

    /// A request at the gate's listener. It is judged by the snapshot before this returns, and lives on what that gave it.
    pub fn gate(self: &Arc<Self>, client: Client, request: Request<Incoming>) -> Handling {
        let snapshot = self.app.snapshot.load();
        let now = self.app.services.clock.now();
        let max_head = self.app.services.max_head;
        let (head, body) = request.into_parts();
        if let Some((issuer, _)) = mounted(&snapshot, &head, client, max_head) {
            let request = Request::from_parts(head, body);
            return Handling::Issuer(Box::pin(Arc::clone(self).ask(
                Arc::clone(issuer),
                client,
                request,
                now,
            )));
        }
        let services = &self.app.services;
        let store = services.store.load();
        let bench = Bench {
            router: &snapshot.router,
            cache: &self.cache,
            now,
            max_head,
            revoked: store.as_ref().map(|store| store.revoked()),
            shown: None,
        };
        let gate = Gate {
            bench,
            landing: snapshot.landing.as_ref(),
            pools: &self.pools,
            recorder: &self.recorder,
            store: store.as_ref(),
            stores: &services.store,
            clock: &services.clock,
            names: &snapshot.names,
            unknown: &services.unknown,
            limited: &services.limited,
        };
        Handling::Gate(gate::handle(&gate, client, head, body))
    }

    /// A request at the issuer's own listener.
    pub fn issuer(self: &Arc<Self>, client: Client, request: Request<Incoming>) -> Handling {
        let snapshot = self.app.snapshot.load();
        let now = self.app.services.clock.now();
        match &snapshot.issuer {
            Some(issuer) => Handling::Issuer(Box::pin(Arc::clone(self).ask(
                Arc::clone(issuer),
                client,
                request,
                now,
            ))),
            None => Handling::Issuer(Box::pin(std::future::ready(plain(StatusCode::NOT_FOUND)))),
        }
    }

    async fn ask(
        self: Arc<Self>,
        issuer: Arc<Issuer>,
        client: Client,
        request: Request<Incoming>,
        now: UnixTime,
    ) -> Response<Recorded> {
        let watch = Stopwatch::start();
        let method = request.method().clone();
        let path: Box<str> = request.uri().path().into();
        let known = issuer.has_path(&path);
        let answer = match read(request).await {
            Ok(request) => {
                let services = &self.app.services;
                let memory = Memory {
                    store: services.store.load_full(),
                    unknown: Arc::clone(&services.unknown),
                    pools: self.pools.clone(),
                };
                issuer.answer(client.address, &request, now, &memory).await
            }
            Err((head, fault)) => issuer.refuse(&head, &fault),
        };
        let Answer {
            response,
            code,
            caller,
            token_id,
        } = answer;
        let response = response.map(|body| Recorded::unrecorded(Body::Full(body)));
        self.app.services.metrics.issued(code);
        self.recorder.lines.add(&Line {
            time: now,
            client: client.address,
            door: "issuer",
            method: method.as_str(),
            // An address where nothing is may hold anything, a secret in the wrong place too.
            path: known.then_some(&path),
            route: None,
            status: response.status().as_u16(),
            code,
            detail: "",
            uri_signing: None,
            token_id,
            subject: caller.as_deref(),
            bytes: hyper::body::Body::size_hint(response.body()).exact().unwrap_or(0),
            end: End::Complete,
            head: watch.elapsed(),
            total: watch.elapsed(),
        });
        response
    }
}

/// The issuer, where the request is for a dialect that its route mounts. Host and path are read by the very code that
/// the gate reads them with; what that code refuses is left to the gate to refuse.
pub fn mounted<'s>(
    snapshot: &'s Snapshot,
    head: &Parts,
    client: Client,
    max_head: usize,
) -> Option<(&'s Arc<Issuer>, Mount)> {
    let issuer = snapshot.issuer.as_ref().filter(|_| !snapshot.mounts.is_empty())?;
    let dialect = issuer.claims_path(head.uri.path())?;
    let is_sound = client.known && !client.misdirected;
    let admitted = admit(head, max_head).ok().filter(|_| is_sound)?;
    let route = snapshot
        .router
        .find(admitted.host.as_deref(), admitted.raw_path)?
        .number;
    let mount = Mount { route, dialect };
    snapshot.mounts.contains(&mount).then_some((issuer, mount))
}

/// The whole request, with a bounded body in a bounded time.
async fn read(request: Request<Incoming>) -> Result<Request<Bytes>, (Parts, IssueRefusal)> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(ISSUER_BODY_TIMEOUT, body).await {
        Err(_) => Err((head, IssueRefusal::BodyTimeout)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((head, IssueRefusal::TooLarge)),
        Ok(Err(_)) => Err((head, IssueRefusal::BadRequest("The body broke off."))),
        Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes())),
    }
}

fn plain(status: StatusCode) -> Response<Recorded> {
    let mut response = Response::new(Recorded::unrecorded(Body::Empty));
    *response.status_mut() = status;
    response
}
