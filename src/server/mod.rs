//! The server: listeners, one thread with one runtime per worker, one control thread for the issuer, the admin port and
//! what runs in the background. `Server::start` binds everything
//! before it returns; `Running::stop` drains.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
mod listen;
pub mod peer;
pub mod settings;
mod socket;

use admin::Health;
use connection::{Door, Shared, Stage};
use listen::{Places, Port, accept, bind};
use settings::{ClientAddressRule, Listeners, ServerSettings};
use socket::Waits;

/// Threads of a worker that may wait for files at a time.
const BLOCKING_THREADS: usize = 32;

/// What a server is started with.
pub struct Setup {
    /// Where it listens.
    pub listeners: Listeners,
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
            settings,
            client_address,
            log,
            snapshot,
            route_names,
            key_sources,
            clock,
        } = setup;
        // The admin port is bound first and alone: a second instance fails here, before it takes a share of the requests.
        let admin_listener = named(listeners.admin, bind(listeners.admin, Port::Alone))?;
        let issuer_listener = listeners
            .issuer
            .map(|address| named(address, bind(address, Port::Alone)))
            .transpose()?;
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let mut gate = listeners.gate.clone();
        let mut gate_listeners: Vec<Vec<std::net::TcpListener>> = Vec::new();
        for _ in 0..workers {
            let mut own = Vec::new();
            for address in &mut gate {
                let listener = named(*address, bind(*address, Port::Shared))?;
                // With port 0 the first worker's port is everybody's.
                *address = listener.local_addr()?;
                own.push(listener);
            }
            gate_listeners.push(own);
        }

        let codes = Code::ALL.iter().map(|code| code.as_str()).collect();
        let metrics = Metrics::new(route_names, codes);
        let access = AccessLog::start(&log.access, log.format)?;
        let origin_stats = Arc::new(OriginStats::default());
        connect_readings(&metrics, &access, &origin_stats);
        read_key_ages(&metrics, &key_sources, &clock);
        let background = Background {
            key_sources,
            clock: clock.clone(),
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
        let health = Arc::new(Health {
            ready: AtomicBool::new(false),
            metrics: Arc::clone(&metrics),
        });
        let places = Places::new(settings.max_connections);
        let waits = Waits {
            head: settings.header_timeout,
            idle: settings.idle_timeout,
            stall: settings.stall_timeout,
        };
        let shared = |worker: Worker, door| {
            Arc::new(Shared {
                worker,
                door,
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
            metrics,
        };
        for (number, own) in gate_listeners.into_iter().enumerate() {
            let shared = shared(app.worker(), Door::Gate);
            let places = places.clone();
            running.thread(format!("worker-{number}"), move |stages| {
                work(own, shared, places, stages)
            })?;
        }
        let control = shared(app.worker(), Door::Issuer);
        running.thread("control".into(), move |stages| {
            control_loop(
                admin_listener,
                issuer_listener,
                control,
                health,
                background,
                places,
                stages,
            )
        })?;
        Ok(running)
    }
}

fn named<T>(address: SocketAddr, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}")))
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

/// A worker: accepts and serves until the stage says otherwise and its connections have ended.
async fn work(
    listeners: Vec<std::net::TcpListener>,
    shared: Arc<Shared>,
    places: Places,
    mut stages: watch::Receiver<Stage>,
) {
    for listener in listeners {
        tokio::spawn(accept(listener, Arc::clone(&shared), places.clone()));
    }
    let flushed = Arc::clone(&shared);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(access::TICK);
        loop {
            tick.tick().await;
            flushed.worker.recorder().lines.flush();
        }
    });
    let _ = stages.wait_for(|stage| *stage == Stage::Ended).await;
    shared.worker.recorder().lines.flush();
}

/// What runs beside the requests.
struct Background {
    key_sources: Vec<JwksSource>,
    clock: Clock,
}

async fn control_loop(
    admin_listener: std::net::TcpListener,
    issuer_listener: Option<std::net::TcpListener>,
    shared: Arc<Shared>,
    health: Arc<Health>,
    background: Background,
    places: Places,
    stages: watch::Receiver<Stage>,
) {
    tokio::spawn(admin::run(admin_listener, health));
    for source in background.key_sources {
        tokio::spawn(source.run(background.clock.clone()));
    }
    work(issuer_listener.into_iter().collect(), shared, places, stages).await;
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

    /// Lets `/readyz` say 200.
    pub fn ready(&self) {
        self.health.ready.store(true, Ordering::Release);
    }

    /// Tasks that panicked so far.
    pub fn panics(&self) -> u64 {
        self.metrics.panics()
    }

    /// Drains: `/readyz` says 503 for the drain delay while connections are still accepted, then no more are, requests
    /// end and bodies run on up to the drain timeout; what is left is cut.
    pub fn stop(mut self) {
        self.health.ready.store(false, Ordering::Release);
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
