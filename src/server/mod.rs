//! The server: listeners, one thread with one runtime per worker, one control thread for the issuer, the admin port and
//! what runs in the background. `Server::start` binds everything
//! before it returns; `Running::stop` drains.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::app::{App, Services, Snapshot, Worker};
use crate::clock::Clock;
use crate::gate::refusal::Code;
use crate::keysource::{JwksSource, KeySourceStats};
use crate::origin::OriginStats;
use crate::telemetry::access::{self, AccessLog};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::settings::LogSettings;

mod admin;
mod connection;
mod http2;
pub mod limits;
mod listen;
mod open;
pub mod peer;
pub mod proxy_protocol;
pub mod settings;
mod socket;
pub mod systemd;
pub mod tls;

use admin::Health;
use connection::{Door, Shared, Stage};
use limits::Places;
use listen::{Admission, Entrance, accept};
use open::{Opened, open};
use settings::{ClientAddressRule, Listeners, ServerSettings};
use socket::Waits;
use systemd::Inherited;
use tls::{Certificates, TlsListeners};

/// Threads of a worker that may wait for files at a time.
const BLOCKING_THREADS: usize = 32;

/// How often idle origin connections are looked through.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// How long the start waits for its threads to accept. A listener that still does not keeps `/readyz` at 503.
const START: Duration = Duration::from_secs(10);

/// What a server is started with.
pub struct Setup {
    /// Where it listens.
    pub listeners: Listeners,
    /// What those with TLS prove themselves with.
    pub tls: TlsListeners,
    /// The sockets for that which the service manager holds.
    pub inherited: Inherited,
    /// How it serves.
    pub settings: ServerSettings,
    /// Where clients' addresses stand.
    pub client_address: ClientAddressRule,
    /// Where access lines go.
    pub log: LogSettings,
    /// What requests are judged by.
    pub snapshot: Snapshot,
    /// The routes' names, by number.
    pub route_names: Vec<Box<str>>,
    /// Key sets to keep current.
    pub key_sources: Vec<JwksSource>,
    /// The time.
    pub clock: Clock,
}

/// A server that runs. Its drop cuts what is left; `stop` lets it end.
pub struct Running {
    gate: Vec<SocketAddr>,
    issuer: Option<SocketAddr>,
    admin: SocketAddr,
    health: Arc<Health>,
    stage: watch::Sender<Stage>,
    threads: Vec<JoinHandle<()>>,
    settings: ServerSettings,
    gate_tls: usize,
    tls: TlsListeners,
    metrics: Arc<Metrics>,
}

/// The server.
pub struct Server;

impl Server {
    /// Binds and starts the threads. Requests are served from then on; `/readyz` says so after `Running::ready`.
    ///
    /// # Errors
    /// When an address is taken or can't be bound, a thread can't be started, or the access log can't be opened.
    pub fn start(setup: Setup) -> io::Result<Running> {
        let Setup {
            listeners,
            tls,
            inherited,
            settings,
            client_address,
            log,
            snapshot,
            route_names,
            key_sources,
            clock,
        } = setup;
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let Opened {
            admin: admin_listener,
            issuer: issuer_listener,
            gate: gate_listeners,
            addresses: gate,
        } = open(&listeners, workers, inherited)?;

        let codes = Code::ALL.iter().map(|code| code.as_str()).collect();
        let metrics = Metrics::new(route_names, codes);
        let access = AccessLog::start(&log.access, log.format)?;
        let origin_stats = Arc::new(OriginStats::default());
        connect_readings(&metrics, &access, &origin_stats);
        read_key_ages(&metrics, &key_sources, &clock);
        let health = Arc::new(Health::new(&metrics, keys_that_lack(&key_sources), workers + 1));
        let background = Background {
            key_sources,
            clock: clock.clone(),
            tls: tls.clone(),
        };
        let services = Services {
            clock,
            metrics: Arc::clone(&metrics),
            access,
            origin_stats,
            max_head: settings.max_head,
            token_cache: settings.token_cache,
        };
        let app = App::new(snapshot, services);
        let (stage, stages) = watch::channel(Stage::Serving);
        let entrance = Entrance {
            places: Places::new(&settings),
            listening: Arc::clone(&health.listening),
        };
        let waits = Waits {
            head: settings.header_timeout,
            idle: settings.idle_timeout,
            stall: settings.stall_timeout,
        };
        let shared = |worker: &Arc<Worker>, door, certificates: Option<&Arc<Certificates>>| {
            Arc::new(Shared {
                worker: Arc::clone(worker),
                door,
                tls: certificates.map(Arc::clone),
                tls_timeout: settings.tls_timeout,
                http2: settings.http2,
                client_address: client_address.clone(),
                waits,
                max_head: settings.max_head,
                stage: stages.clone(),
            })
        };

        let mut running = Running {
            gate,
            issuer: issuer_listener
                .as_ref()
                .map(|listener| listener.local_addr())
                .transpose()?,
            admin: admin_listener.local_addr()?,
            health: Arc::clone(&health),
            stage,
            threads: Vec::new(),
            settings: settings.clone(),
            gate_tls: listeners.gate_tls,
            tls: tls.clone(),
            metrics,
        };
        let in_clear = running.gate.len() - listeners.gate_tls;
        for (number, own) in gate_listeners.into_iter().enumerate() {
            let worker = app.worker();
            let clear = shared(&worker, Door::Gate, None);
            let secure = shared(&worker, Door::Gate, tls.gate.as_ref());
            let own = own.into_iter().enumerate().map(|(place, listener)| {
                let shared = if place < in_clear { &clear } else { &secure };
                let admission = Admission::of_gate(place, &client_address);
                (listener, Arc::clone(shared), admission)
            });
            let own = entrance.listening.count(own.collect());
            let entrance = entrance.clone();
            let pulse = health.pulse(number);
            running.thread(format!("worker-{number}"), move |stages| {
                work(own, worker, entrance, pulse, stages)
            })?;
        }
        let worker = app.worker();
        let control = shared(&worker, Door::Issuer, tls.issuer.as_ref());
        let issuer = issuer_listener.map(|listener| (listener, Arc::clone(&control), Admission::Callers));
        let issuer = entrance.listening.count(issuer.into_iter().collect());
        let pulse = health.pulse(workers);
        running.thread("control".into(), move |stages| async move {
            let certificates = background.tls.admin.clone();
            tokio::spawn(admin::run(
                admin_listener,
                health,
                certificates,
                control.tls_timeout,
            ));
            tokio::spawn(background.tls.keep_current());
            for source in background.key_sources {
                tokio::spawn(source.run(background.clock.clone()));
            }
            work(issuer, worker, entrance, pulse, stages).await;
        })?;
        Ok(running)
    }
}

fn url(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{address}")
}

fn connect_readings(metrics: &Metrics, access: &Arc<AccessLog>, origin: &Arc<OriginStats>) {
    let access = Arc::downgrade(access);
    metrics.read_dropped(Box::new(move || {
        let dropped = access.upgrade().map_or(0, |access| access.dropped());
        vec![("log", "access".into(), dropped as f64)]
    }));
    let origin = Arc::clone(origin);
    metrics.read_origins(Box::new(move || {
        [
            ("opened", &origin.opened),
            ("reused", &origin.reused),
            ("surplus", &origin.surplus),
            ("retried", &origin.retried),
        ]
        .into_iter()
        .map(|(event, count)| ("event", event.to_owned(), count.load(Ordering::Relaxed) as f64))
        .collect()
    }));
}

/// The ages of fetched key sets; a set that was never fetched is as old as the process and more: infinite.
fn read_key_ages(metrics: &Metrics, sources: &[JwksSource], clock: &Clock) {
    let sets: Vec<_> = sources
        .iter()
        .map(|source| (source.ring.name().to_owned(), Arc::clone(&source.stats)))
        .collect();
    let clock = clock.clone();
    metrics.read_key_ages(Box::new(move || {
        let now = clock.now().millis();
        let age = |last: i64| {
            if last == 0 {
                f64::INFINITY
            } else {
                (now - last).max(0) as f64 / 1000.0
            }
        };
        let reading = |(name, stats): &(String, Arc<KeySourceStats>)| {
            (
                "keys",
                name.clone(),
                age(stats.last_success.load(Ordering::Relaxed)),
            )
        };
        sets.iter().map(reading).collect()
    }));
}

/// Tells the name of a key set that was never loaded.
fn keys_that_lack(sources: &[JwksSource]) -> admin::Lacking {
    let rings: Vec<_> = sources.iter().map(|source| Arc::clone(&source.ring)).collect();
    Box::new(move || {
        let lacking = rings.iter().find(|ring| ring.load().is_none())?;
        Some(lacking.name().to_owned())
    })
}

/// A worker: accepts and serves until the stage says otherwise and its connections have ended.
async fn work(
    listeners: Vec<(std::net::TcpListener, Arc<Shared>, Admission)>,
    worker: Arc<Worker>,
    entrance: Entrance,
    pulse: Arc<AtomicU64>,
    mut stages: watch::Receiver<Stage>,
) {
    for (listener, shared, admission) in listeners {
        tokio::spawn(accept(listener, shared, entrance.clone(), admission));
    }
    let tended = Arc::clone(&worker);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(access::TICK);
        let mut tend = tokio::time::interval(TEND_EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    pulse.fetch_add(1, Ordering::Relaxed);
                    tended.recorder().lines.flush();
                }
                _ = tend.tick() => tended.tend(),
            }
        }
    });
    let _ = stages.wait_for(|stage| *stage == Stage::Ended).await;
    worker.recorder().lines.flush();
}

/// What runs beside the requests.
struct Background {
    key_sources: Vec<JwksSource>,
    clock: Clock,
    tls: TlsListeners,
}

impl Running {
    /// The gate's addresses.
    pub fn gate(&self) -> &[SocketAddr] {
        &self.gate
    }

    /// The issuer's address.
    pub fn issuer(&self) -> Option<SocketAddr> {
        self.issuer
    }

    /// The admin port's address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where each of the gate's listeners is, with its scheme.
    pub fn gate_urls(&self) -> Vec<String> {
        let in_clear = self.gate.len() - self.gate_tls;
        let url = |(at, address): (usize, &SocketAddr)| url(*address, at >= in_clear);
        self.gate.iter().enumerate().map(url).collect()
    }

    /// Where the issuer is, with its scheme.
    pub fn issuer_url(&self) -> Option<String> {
        self.issuer.map(|address| url(address, self.tls.issuer.is_some()))
    }

    /// Where health and metrics are, with their scheme.
    pub fn admin_url(&self) -> String {
        url(self.admin, self.tls.admin.is_some())
    }

    /// The certificates of its listeners, for who reads them anew.
    pub fn tls(&self) -> &TlsListeners {
        &self.tls
    }

    /// Waits until the threads accept, and lets `/readyz` say 200.
    pub fn ready(&self) {
        let watch = crate::clock::Stopwatch::start();
        while !self.health.listening.is_whole() && watch.elapsed() < START {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.health.ready.store(true, Ordering::Release);
    }

    /// How often each thread has come round, for a watchdog: one that stands still does not go on.
    pub fn pulses(&self) -> Vec<u64> {
        self.health.pulses()
    }

    /// Tasks that panicked so far.
    pub fn panics(&self) -> u64 {
        self.metrics.panics()
    }

    /// Drains: `/readyz` says 503 for the drain delay while connections are still accepted, then no more are, requests
    /// end and bodies run on up to the drain timeout; what is left is cut.
    pub fn stop(mut self) {
        self.health.draining.store(true, Ordering::Release);
        std::thread::sleep(self.settings.drain_delay);
        let _ = self.stage.send(Stage::Draining);
        let watch = crate::clock::Stopwatch::start();
        while self.metrics.connections() > 0 && watch.elapsed() < self.settings.drain_timeout {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.end();
    }

    fn end(&mut self) {
        let _ = self.stage.send(Stage::Ended);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
    }

    /// Starts a thread with a runtime of its own.
    fn thread<F>(
        &mut self,
        name: String,
        main: impl FnOnce(watch::Receiver<Stage>) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        let runtime: Runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let stages = self.stage.subscribe();
        self.threads
            .push(std::thread::Builder::new().name(name).spawn(move || {
                runtime.block_on(main(stages));
                // Files that are being read on other threads are not waited for.
                runtime.shutdown_background();
            })?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
