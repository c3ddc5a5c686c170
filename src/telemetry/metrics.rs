//! Counters, one set per worker so that no two cores share a line of cache, added up when they are read.
//! Twenty-two series, described for those on call in `docs/OPERATIONS.md`. Labels are enums and configured names, never
//! anything of a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;

use super::access::End;
pub use super::addresses::OriginFigures;

mod encode;

/// Upper bounds of the histogram, in microseconds.
const BUCKETS: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
];

/// Routes that later configurations may name beside those of the first; what is beyond is counted together.
const SPARE_ROUTES: usize = 1000;

/// Schemes of one route that are counted apart; a route has fewer.
const MAX_SCHEMES: usize = 16;

/// Why a connection ended without an answer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// The head was not HTTP.
    Parse,
    /// A head, a wait or a reader took too long.
    Timeout,
    /// The client broke off in the middle of something.
    Incomplete,
    /// Reading or writing failed.
    Io,
    /// A body that could not be delivered whole was cut.
    Cut,
    /// The place for another connection was lacking.
    Refused,
    /// The client's address has as many connections as it may.
    RefusedAddress,
    /// Somebody else than a load balancer connected where a PROXY header is demanded.
    ProxyUntrusted,
    /// A load balancer sent no PROXY header.
    ProxyMissing,
    /// A load balancer sent a broken PROXY header.
    ProxyBad,
    /// A PROXY header was not there in time.
    ProxyTimeout,
    /// Frames or resets beyond measure (HTTP/2).
    Flood,
    /// No TLS handshake within its time.
    TlsTimeout,
    /// The client left in the middle of the handshake.
    TlsIo,
    /// The client refused us: it does not trust the certificate, most likely.
    TlsAlert,
    /// No version, cipher or protocol in common.
    TlsIncompatible,
    /// What came was not TLS.
    TlsProtocol,
    /// A bug: the task panicked. The connection is gone, the process lives.
    Panic,
}

impl ConnectionError {
    const ALL: [Self; 18] = [
        Self::Parse,
        Self::Timeout,
        Self::Incomplete,
        Self::Io,
        Self::Cut,
        Self::Refused,
        Self::RefusedAddress,
        Self::ProxyUntrusted,
        Self::ProxyMissing,
        Self::ProxyBad,
        Self::ProxyTimeout,
        Self::Flood,
        Self::TlsTimeout,
        Self::TlsIo,
        Self::TlsAlert,
        Self::TlsIncompatible,
        Self::TlsProtocol,
        Self::Panic,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Timeout => "timeout",
            Self::Incomplete => "incomplete",
            Self::Io => "io",
            Self::Cut => "cut",
            Self::Refused => "refused",
            Self::RefusedAddress => "refused_address",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyMissing => "proxy_missing",
            Self::ProxyBad => "proxy_bad",
            Self::ProxyTimeout => "proxy_timeout",
            Self::Flood => "flood",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsIo => "tls_io",
            Self::TlsAlert => "tls_alert",
            Self::TlsIncompatible => "tls_incompatible",
            Self::TlsProtocol => "tls_protocol",
            Self::Panic => "panic",
        }
    }
}

/// What is counted for one route.
#[derive(Debug)]
struct RouteCounters {
    /// By outcome: index 0 is `ok`, then the codes in their order.
    requests: Box<[AtomicU64]>,
    bytes: AtomicU64,
    cut_by_client: AtomicU64,
    cut_by_origin: AtomicU64,
    cut_by_gate: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len() + 1],
    head_micros: AtomicU64,
    schemes: [SchemeCounters; MAX_SCHEMES],
}

/// What is counted for one scheme of a route, made with its first token.
#[derive(Debug, Default)]
struct SchemeCounters {
    name: OnceLock<&'static str>,
    /// Tokens that opened something, and those that did not.
    tokens: [AtomicU64; 2],
}

/// The counters of one worker.
#[derive(Debug)]
pub struct Counters {
    /// By route number, each made with its first request. The last two stand for requests without a route, and for
    /// routes that are too many.
    routes: Box<[OnceLock<Box<RouteCounters>>]>,
    codes: usize,
    errors: [AtomicU64; ConnectionError::ALL.len()],
    connections: AtomicI64,
}

impl RouteCounters {
    fn new(codes: usize) -> Box<Self> {
        Box::new(Self {
            requests: (0..=codes).map(|_| AtomicU64::new(0)).collect(),
            bytes: AtomicU64::new(0),
            cut_by_client: AtomicU64::new(0),
            cut_by_origin: AtomicU64::new(0),
            cut_by_gate: AtomicU64::new(0),
            buckets: Default::default(),
            head_micros: AtomicU64::new(0),
            schemes: Default::default(),
        })
    }
}

impl Counters {
    fn new(capacity: usize, codes: usize) -> Self {
        Self {
            routes: (0..capacity + 2).map(|_| OnceLock::new()).collect(),
            codes,
            errors: Default::default(),
            connections: AtomicI64::new(0),
        }
    }

    /// A request came to its end. `outcome` is 0 for `ok`, else one more than the code's number.
    pub fn request(&self, route: Option<usize>, outcome: usize, bytes: u64, end: End, head: Duration) {
        let counters = self.of_route(route);
        if let Some(count) = counters.requests.get(outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        match end {
            End::Complete => {}
            End::CutByClient => _ = counters.cut_by_client.fetch_add(1, Ordering::Relaxed),
            End::CutByOrigin => _ = counters.cut_by_origin.fetch_add(1, Ordering::Relaxed),
            End::CutByGate => _ = counters.cut_by_gate.fetch_add(1, Ordering::Relaxed),
        }
        let micros = u64::try_from(head.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS
            .iter()
            .position(|bound| micros <= *bound)
            .unwrap_or(BUCKETS.len());
        counters.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        counters.head_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn of_route(&self, route: Option<usize>) -> &RouteCounters {
        let (none, too_many) = (self.routes.len() - 2, self.routes.len() - 1);
        let place = match route {
            None => none,
            Some(number) if number < none => number,
            Some(_) => too_many,
        };
        self.routes[place].get_or_init(|| RouteCounters::new(self.codes))
    }

    /// A token of `scheme` was shown to a route, and was good for what was asked, or not.
    pub fn token(&self, route: usize, scheme: &'static str, opened: bool) {
        let of_scheme = self
            .of_route(Some(route))
            .schemes
            .iter()
            .find(|counted| *counted.name.get_or_init(|| scheme) == scheme);
        if let Some(counted) = of_scheme {
            counted.tokens[usize::from(!opened)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection ended without an answer of ours.
    pub fn connection_error(&self, kind: ConnectionError) {
        self.errors[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A client connected.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A client's connection ended.
    pub fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A figure that is kept elsewhere and read when the metrics are.
pub type Reading = Box<dyn Fn() -> Vec<(&'static str, String, f64)> + Send + Sync>;

type AddressReading = Box<dyn Fn() -> Vec<OriginFigures> + Send + Sync>;

/// What the memory of tokens counts of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFigures {
    /// Entries that are remembered.
    pub entries: u64,
    /// Operations that wait to be written.
    pub waiting: u64,
    /// Times that something was written.
    pub commits: u64,
    /// Operations that were written.
    pub operations: u64,
    /// Times that it failed and was opened again.
    pub failures: u64,
}

type StoreReading = Box<dyn Fn() -> Option<StoreFigures> + Send + Sync>;

type CountReading = Box<dyn Fn() -> usize + Send + Sync>;

/// All counters of the process.
pub struct Metrics {
    /// The names of all routes there ever were, by number.
    routes: Mutex<BTreeMap<usize, Box<str>>>,
    /// As many numbers are counted apart.
    capacity: usize,
    reloads: [AtomicU64; 2],
    codes: Vec<&'static str>,
    workers: Mutex<Vec<Arc<Counters>>>,
    issued: Mutex<BTreeMap<&'static str, u64>>,
    origins: OnceReading,
    addresses: OnceLock<AddressReading>,
    key_ages: OnceReading,
    dropped: OnceReading,
    store: OnceLock<StoreReading>,
    limited: OnceLock<CountReading>,
}

type OnceReading = OnceLock<Reading>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counters for these routes, in their order, and these codes.
    pub fn new(routes: Vec<Box<str>>, codes: Vec<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            capacity: routes.len() + SPARE_ROUTES,
            routes: Mutex::new(routes.into_iter().enumerate().collect()),
            reloads: Default::default(),
            codes,
            workers: Mutex::default(),
            issued: Mutex::default(),
            origins: OnceReading::new(),
            addresses: OnceLock::new(),
            key_ages: OnceReading::new(),
            dropped: OnceReading::new(),
            store: OnceLock::new(),
            limited: OnceLock::new(),
        })
    }

    /// Takes on the routes of another configuration. A name keeps its number, and one that is gone its counts.
    pub fn name_routes(&self, routes: impl IntoIterator<Item = (usize, Box<str>)>) {
        let mut names = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend(routes.into_iter().filter(|(number, _)| *number < self.capacity));
    }

    /// A new configuration was taken, or refused.
    pub fn reloaded(&self, taken: bool) {
        self.reloads[usize::from(!taken)].fetch_add(1, Ordering::Relaxed);
    }

    /// Where origin connections are counted: label `event`.
    pub fn read_origins(&self, reading: Reading) {
        let _ = self.origins.set(reading);
    }

    /// Where the addresses of origins are counted.
    pub fn read_addresses(&self, reading: AddressReading) {
        let _ = self.addresses.set(reading);
    }

    /// Where the ages of fetched key sets stand, in seconds: label `keys`.
    pub fn read_key_ages(&self, reading: Reading) {
        let _ = self.key_ages.set(reading);
    }

    /// Where lost lines of the access log are counted.
    pub fn read_dropped(&self, reading: Reading) {
        let _ = self.dropped.set(reading);
    }

    /// Where the memory of tokens is counted; it may be closed.
    pub fn read_store(&self, reading: StoreReading) {
        let _ = self.store.set(reading);
    }

    /// Where the subjects of tokens with limits are counted.
    pub fn read_limited(&self, reading: CountReading) {
        let _ = self.limited.set(reading);
    }

    /// The counters of a new worker.
    pub fn worker(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(self.capacity, self.codes.len()));
        self.workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&counters));
        counters
    }

    /// The issuer answered.
    pub fn issued(&self, code: &'static str) {
        *self
            .issued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(code)
            .or_default() += 1;
    }

    /// Tasks that panicked so far.
    pub fn panics(&self) -> u64 {
        self.workers()
            .iter()
            .map(|worker| worker.errors[ConnectionError::Panic as usize].load(Ordering::Relaxed))
            .sum()
    }

    /// Connections of clients that are open.
    pub fn connections(&self) -> i64 {
        self.workers()
            .iter()
            .map(|worker| worker.connections.load(Ordering::Relaxed))
            .sum()
    }

    /// The text that Prometheus reads (OpenMetrics 1.0).
    pub fn render(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(encode::Reader(Arc::clone(self))));
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    fn workers(&self) -> Vec<Arc<Counters>> {
        self.workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests;
