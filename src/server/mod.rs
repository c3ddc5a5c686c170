//! The server: listeners, one thread with one runtime per worker, one control thread for the issuer, the admin port and
//! what runs in the background. `Server::prepare` binds everything before it returns, `Running::accept` opens the doors,
//! `Running::reload` swaps what requests are judged by, `Running::stop` drains.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::app::{App, Services, Snapshot, Worker};
use crate::clock::{Clock, Stopwatch};
use crate::gate::limits::Subjects;
use crate::gate::refusal::Code;
use crate::keysource::JwksSource;
use crate::origin::s3::CredentialSource;
use crate::origin::{HttpOrigin, OriginStats};
use crate::store::{Embedded, Store, StoreError, StoreSetup};
use crate::telemetry::access::{self, AccessLog};
use crate::telemetry::metrics::{Metrics, StoreFigures};
use crate::telemetry::settings::LogSettings;

mod admin;
mod ahead;
mod background;
mod connection;
pub mod control;
mod doors;
mod http2;
pub mod limits;
mod listen;
mod open;
mod parting;
pub mod peer;
mod progress;
pub mod proxy_protocol;
pub mod settings;
mod socket;
pub mod systemd;
pub mod takeover;
mod taking;
pub mod tls;

use admin::Health;
use background::{Fleets, KeyAges, Sources, keep_current};
use connection::{Door, Shared, Stage};
use control::book::Book;
use control::wire;
use doors::{AcceptSwitch, Accepting, Placed, Sockets};
use limits::Places;
use listen::{Admission, Entrance, Port, accept};
use settings::{ClientAddressRule, Listeners, ServerSettings};
use socket::Waits;
use systemd::Inherited;
use takeover::Socket;
use tls::{Certificates, TlsListeners};

/// Threads of a worker that may wait for files at a time.
const BLOCKING_THREADS: usize = 32;

/// Between two looks at whether the last connection has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long a pause waits for the workers; one that is busy for longer stops when it comes to it.
const PAUSE: Duration = Duration::from_secs(2);
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
    /// Where the memory of tokens is.
    pub store: StoreSetup,
    /// What requests are judged by.
    pub snapshot: Snapshot,
    /// The routes' names, by number.
    pub route_names: Vec<Box<str>>,
    /// Key sets to keep current.
    pub key_sources: Vec<JwksSource>,
    /// Credentials to keep current.
    pub credential_sources: Vec<CredentialSource>,
    /// Origins to keep current, by name.
    pub origins: Vec<(Box<str>, Arc<HttpOrigin>)>,
    /// The time.
    pub clock: Clock,
}

/// What a reload brings. What is not here is fixed at the start.
pub struct Reload {
    /// What requests are judged by from now on; those that run live on the one they began with.
    pub snapshot: Snapshot,
    /// The routes' names, by number. A name keeps its number.
    pub routes: Vec<(usize, Box<str>)>,
    /// The certificates of the listeners that there are.
    pub tls: TlsListeners,
    /// Key sets to keep current. One with the ring of a running source goes on undisturbed.
    pub key_sources: Vec<JwksSource>,
    /// Credentials to keep current, in the same way.
    pub credential_sources: Vec<CredentialSource>,
    /// Origins to keep current, by name. One that is kept goes on undisturbed.
    pub origins: Vec<(Box<str>, Arc<HttpOrigin>)>,
}

/// A server that runs. Its drop cuts what is left; `stop` lets it end.
pub struct Running {
    /// As they are bound; emptied by a drain.
    sockets: Vec<Socket>,
    gate: Vec<SocketAddr>,
    issuer: Option<SocketAddr>,
    admin: SocketAddr,
    app: Arc<App>,
    key_ages: KeyAges,
    fleets: Fleets,
    sources: mpsc::UnboundedSender<Sources>,
    accepting: AcceptSwitch,
    health: Arc<Health>,
    stage: watch::Sender<Stage>,
    threads: Vec<JoinHandle<()>>,
    settings: ServerSettings,
    gate_tls: usize,
    tls: TlsListeners,
    metrics: Arc<Metrics>,
    places: Places,
    store: StoreSetup,
    clock: Clock,
}

/// The server.
pub struct Server;

impl Server {
    /// Binds, starts the threads, and accepts. Requests are served from then on; `/readyz` says so after
    /// `Running::ready`.
    ///
    /// # Errors
    /// When an address is taken or can't be bound, a thread can't be started, or the access log can't be opened.
    pub fn start(setup: Setup) -> io::Result<Running> {
        let running = Self::prepare(setup, Vec::new())?;
        running.open_store().map_err(io::Error::other)?;
        running.accept();
        Ok(running)
    }

    /// All of it but accepting, on the sockets that were handed over where their addresses are wanted.
    ///
    /// # Errors
    /// As `start`.
    pub fn prepare(setup: Setup, handed: Vec<Socket>) -> io::Result<Running> {
        let Setup {
            listeners,
            tls,
            inherited,
            settings,
            client_address,
            log,
            store,
            snapshot,
            route_names,
            key_sources,
            credential_sources,
            origins,
            clock,
        } = setup;
        // What was handed over is the same as what the service manager holds, where both are there.
        let handed = match handed.is_empty() {
            true => open::inherited(&listeners, inherited)?,
            false => handed,
        };
        let mut sockets = Sockets::new(handed);
        // The admin port is bound first and alone: a second instance fails here, before it takes a share of the requests.
        let admin = sockets.at(wire::Door::Admin, (0, listeners.admin), Port::Alone, 1)?;
        let issuer = match listeners.issuer {
            Some(address) => sockets.at(wire::Door::Issuer, (0, address), Port::Alone, 1)?,
            None => Vec::new(),
        };
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let mut gate: Vec<Vec<Placed>> = vec![Vec::new(); workers];
        for (place, address) in listeners.gate.iter().enumerate() {
            let heaps = sockets.at(wire::Door::Gate, (place, *address), Port::Shared, workers)?;
            for (own, mut heap) in gate.iter_mut().zip(heaps) {
                own.append(&mut heap);
            }
        }
        for address in sockets.close_unused() {
            tracing::warn!(%address, "is no longer listened on");
        }

        let codes = Code::ALL.iter().map(|code| code.as_str()).collect();
        let metrics = Metrics::new(route_names, codes);
        let access = AccessLog::start(&log.access, log.format)?;
        let origin_stats = Arc::new(OriginStats::default());
        connect_readings(&metrics, &access, &origin_stats);
        let key_ages = KeyAges::default();
        key_ages.connect(&metrics, &clock);
        key_ages.show(&key_sources, &credential_sources);
        let fleets = Fleets::default();
        fleets.connect(&metrics);
        fleets.show(&origins);
        let (sources, lists) = mpsc::unbounded_channel();
        let _ = sources.send(Sources {
            keys: key_sources,
            credentials: credential_sources,
            origins,
        });
        let store_now: Arc<ArcSwapOption<Store>> = Arc::default();
        connect_store(&metrics, &store_now);
        let limited = Arc::<Subjects>::default();
        let counted = Arc::clone(&limited);
        metrics.read_limited(Box::new(move || counted.len()));
        let health = Arc::new(Health::new(&metrics, key_ages.clone(), &store_now, workers + 1));
        health.needs_store.store(snapshot.needs_store, Ordering::Release);
        let services = Services {
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            access,
            origin_stats,
            max_head: settings.max_head,
            token_cache: settings.token_cache,
            store: store_now,
            unknown: Arc::default(),
            limited: Arc::clone(&limited),
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
        let addresses = |door| {
            let mut all: Vec<SocketAddr> = Vec::new();
            for socket in sockets.all.iter().filter(|socket| socket.door == door) {
                if !all.contains(&socket.address) {
                    all.push(socket.address);
                }
            }
            all
        };

        let mut running = Running {
            gate: addresses(wire::Door::Gate),
            issuer: addresses(wire::Door::Issuer).first().copied(),
            admin: addresses(wire::Door::Admin)[0],
            sockets: sockets.all,
            app: Arc::clone(&app),
            key_ages,
            fleets,
            sources,
            accepting: AcceptSwitch::new(),
            health: Arc::clone(&health),
            stage,
            threads: Vec::new(),
            settings: settings.clone(),
            gate_tls: listeners.gate_tls,
            tls: tls.clone(),
            metrics,
            places: entrance.places.clone(),
            store,
            clock: clock.clone(),
        };
        let in_clear = listeners.gate.len() - listeners.gate_tls;
        for (number, own) in gate.into_iter().enumerate() {
            let worker = app.worker();
            let clear = shared(&worker, Door::Gate, None);
            let secure = shared(&worker, Door::Gate, tls.gate.as_ref());
            let rule = client_address.clone();
            let door = move |place| {
                let shared = if place < in_clear { &clear } else { &secure };
                (Arc::clone(shared), Admission::of_gate(place, &rule))
            };
            let own = entrance.listening.count(own);
            let entrance = entrance.clone();
            let pulse = health.pulse(number);
            running.thread(format!("worker-{number}"), move |stages, accepting| {
                work(own, door, worker, (entrance, pulse), stages, accepting)
            })?;
        }
        let worker = app.worker();
        let control = shared(&worker, Door::Issuer, tls.issuer.as_ref());
        let tls_timeout = settings.tls_timeout;
        let issuer = entrance.listening.count(issuer.into_iter().flatten().collect());
        let pulse = health.pulse(workers);
        running.thread("control".into(), move |stages, accepting| async move {
            let certificates = tls.admin.clone();
            let admin = accepting.clone().run(
                admin.into_iter().flatten().collect(),
                stages.clone(),
                // Health and metrics are told to the last.
                |stage| stage == Stage::Ended,
                move |_, listener| {
                    admin::run(listener, Arc::clone(&health), certificates.clone(), tls_timeout)
                },
            );
            tokio::spawn(admin);
            tokio::spawn(tls.keep_current());
            tokio::spawn(keep_current(lists, clock));
            tokio::spawn(tend(limited));
            let door = move |_| (Arc::clone(&control), Admission::Callers);
            work(issuer, door, worker, (entrance, pulse), stages, accepting).await;
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

fn connect_store(metrics: &Metrics, store: &Arc<ArcSwapOption<Store>>) {
    let store = Arc::clone(store);
    metrics.read_store(Box::new(move || {
        let figures = store.load().as_ref().map(|store| store.figures())?;
        Some(StoreFigures {
            entries: figures.entries,
            waiting: figures.waiting,
            commits: figures.commits,
            operations: figures.operations,
            failures: figures.failures,
        })
    }));
}

/// Forgets subjects of tokens with limits, beside the workers.
async fn tend(limited: Arc<Subjects>) {
    let mut turns = tokio::time::interval(TEND_EVERY);
    loop {
        turns.tick().await;
        limited.tend();
    }
}

/// A worker: accepts and serves until the stage says otherwise and its connections have ended.
async fn work(
    sockets: Vec<Placed>,
    door: impl Fn(usize) -> (Arc<Shared>, Admission) + Clone + Send + 'static,
    worker: Arc<Worker>,
    (entrance, pulse): (Entrance, Arc<AtomicU64>),
    mut stages: watch::Receiver<Stage>,
    accepting: Accepting,
) {
    tokio::spawn(accepting.run(
        sockets,
        stages.clone(),
        |stage| stage != Stage::Serving,
        move |place, listener| {
            let (shared, admission) = door(place);
            accept(listener, shared, entrance.clone(), admission)
        },
    ));
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

    /// All listening sockets, to be handed over.
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// Opens the store in the state folder, which is locked for this process. To be done before anything is accepted, and
    /// again where a takeover did not come about.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open_store(&self) -> Result<(), StoreError> {
        let embedded = Embedded::open(&self.store, self.clock.clone())?;
        self.app
            .services()
            .store
            .store(Some(Arc::new(Store::Embedded(embedded))));
        Ok(())
    }

    /// Lets running reservations end and lets go of the store: another process may open it. Requests that need it are
    /// answered with 503 from then on.
    pub fn close_store(&self) {
        if let Some(store) = &*self.app.services().store.load() {
            store.close();
        }
    }

    /// The memory of tokens, for who asks at the control socket.
    pub fn book(&self) -> Book {
        let store = Arc::clone(&self.app.services().store);
        Book::new(store, Arc::clone(&self.store.log_key), self.clock.clone())
    }

    /// The store, while it is open.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.app.services().store.load_full()
    }

    /// Accepts connections from now on.
    pub fn accept(&self) {
        self.accepting.set(true);
    }

    /// Accepts no more. The sockets listen on, and what connects waits; connections that are there are served.
    pub fn pause(&self) {
        self.accepting.set(false);
        let watch = Stopwatch::start();
        while self.accepting.accepting() > 0 && watch.elapsed() < PAUSE {
            std::thread::sleep(Duration::from_millis(1));
        }
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

    /// Lets `/readyz` say 503, for good.
    pub fn unready(&self) {
        self.health.draining.store(true, Ordering::Release);
    }

    /// Puts a new configuration in the place of the old, in one step. Counters, the caches of verified tokens, pools and
    /// whatever the new one has taken over of the old (rings, origins, the issuer's throttle) live on.
    pub fn reload(&self, reload: Reload) {
        let Reload {
            snapshot,
            routes,
            tls,
            key_sources,
            credential_sources,
            origins,
        } = reload;
        self.tls.adopt(&tls);
        self.metrics.name_routes(routes);
        let needs_store = snapshot.needs_store;
        self.app.swap(snapshot);
        self.health.needs_store.store(needs_store, Ordering::Release);
        self.key_ages.show(&key_sources, &credential_sources);
        self.fleets.show(&origins);
        let _ = self.sources.send(Sources {
            keys: key_sources,
            credentials: credential_sources,
            origins,
        });
        self.metrics.reloaded(true);
    }

    /// A reload failed: nothing has changed, but it is counted.
    pub fn reload_failed(&self) {
        self.metrics.reloaded(false);
    }

    /// Tasks that panicked so far.
    pub fn panics(&self) -> u64 {
        self.metrics.panics()
    }

    /// How the server was set up to drain: for how long it still accepts, and for how long bodies may run on then.
    pub fn drain_times(&self) -> (Duration, Duration) {
        (self.settings.drain_delay, self.settings.drain_timeout)
    }

    /// Closes the listening sockets once their queues are empty. Answers say that the connection ends, idle connections
    /// end after a moment, bodies run on. Nothing is fetched in the background any more.
    pub fn drain(&mut self) {
        let _ = self.sources.send(Sources::default());
        self.sockets.clear();
        let _ = self.stage.send(Stage::Draining);
    }

    /// Whether all connections have ended.
    pub fn is_idle(&self) -> bool {
        self.metrics.connections() <= 0 && self.places.are_free() && self.accepting.accepting() <= 1
    }

    /// Drains: `/readyz` says 503 for the drain delay while connections are still accepted, then no more are, requests
    /// end and bodies run on up to the drain timeout; what is left is cut.
    pub fn stop(mut self) {
        let (delay, timeout) = self.drain_times();
        self.unready();
        std::thread::sleep(delay);
        self.drain();
        let watch = Stopwatch::start();
        while !self.is_idle() && watch.elapsed() < timeout {
            std::thread::sleep(LOOK);
        }
    }

    fn end(&mut self) {
        let _ = self.stage.send(Stage::Ended);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
        self.close_store();
    }

    /// Starts a thread with a runtime of its own.
    fn thread<F>(
        &mut self,
        name: String,
        main: impl FnOnce(watch::Receiver<Stage>, Accepting) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        let runtime: Runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let stages = self.stage.subscribe();
        let accepting = self.accepting.watch();
        self.threads
            .push(std::thread::Builder::new().name(name).spawn(move || {
                runtime.block_on(main(stages, accepting));
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
