//! What runs beside the requests on the control thread: the loops that keep fetched key sets, credentials and the addresses
//! of origins current. A reload ends the loops whose set or origin is gone, starts those of new ones, and leaves the others
//! alone: no fetch more, no cool-down less.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::keysource::{JwksSource, KeySourceStats};
use crate::origin::HttpOrigin;
use crate::origin::s3::{CredentialSource, Keys};
use crate::telemetry::metrics::{Metrics, OriginFigures};
use crate::token::keys::KeyRing;

/// The fetched key sets whose ages the metrics show.
#[derive(Clone, Default)]
pub(super) struct KeyAges {
    sets: Arc<Mutex<Vec<Shown>>>,
    credentials: Arc<Mutex<Vec<Arc<Keys>>>>,
}

/// The origins whose addresses the metrics show.
#[derive(Clone, Default)]
pub(super) struct Fleets(Arc<Mutex<Named>>);

/// Origins by name.
type Named = Vec<(Box<str>, Arc<HttpOrigin>)>;

/// What is kept current.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) keys: Vec<JwksSource>,
    pub(super) credentials: Vec<CredentialSource>,
    pub(super) origins: Named,
}

type Shown = (Arc<KeyRing>, Arc<KeySourceStats>);

impl KeyAges {
    /// Shows these from now on.
    pub(super) fn show(&self, keys: &[JwksSource], credentials: &[CredentialSource]) {
        let credentials = credentials.iter().map(|source| Arc::clone(&source.keys));
        *lock(&self.credentials) = credentials.collect();
        let sets = keys
            .iter()
            .map(|source| (Arc::clone(&source.ring), Arc::clone(&source.stats)));
        *lock(&self.sets) = sets.collect();
    }

    /// What was never loaded, if there is such a thing.
    pub(super) fn lacking(&self) -> Option<String> {
        if let Some((ring, _)) = lock(&self.sets).iter().find(|(ring, _)| ring.load().is_none()) {
            return Some(format!("key set {:?} was never loaded", ring.name()));
        }
        let credentials = lock(&self.credentials);
        let keys = credentials.iter().find(|keys| !keys.are_there())?;
        Some(format!(
            "credentials of origin {:?} were never loaded",
            keys.origin()
        ))
    }

    /// Lets the metrics read them. A set that was never fetched is as old as the process and more: infinite.
    pub(super) fn connect(&self, metrics: &Metrics, clock: &Clock) {
        let (sets, clock) = (Arc::clone(&self.sets), clock.clone());
        metrics.read_key_ages(Box::new(move || {
            let now = clock.now().millis();
            let age = |last: i64| {
                if last == 0 {
                    f64::INFINITY
                } else {
                    (now - last).max(0) as f64 / 1000.0
                }
            };
            let sets = lock(&sets);
            let reading = |(ring, stats): &Shown| {
                (
                    "keys",
                    ring.name().to_owned(),
                    age(stats.last_success.load(Ordering::Relaxed)),
                )
            };
            sets.iter().map(reading).collect()
        }));
    }
}

impl Fleets {
    /// Shows these from now on.
    pub(super) fn show(&self, origins: &Named) {
        lock(&self.0).clone_from(origins);
    }

    /// Lets the metrics read them.
    pub(super) fn connect(&self, metrics: &Metrics) {
        let shown = Arc::clone(&self.0);
        metrics.read_addresses(Box::new(move || {
            lock(&shown)
                .iter()
                .map(|(name, origin)| figures(name, origin))
                .collect()
        }));
    }
}

/// Keeps what the newest list names current, until the sender is gone.
pub(super) async fn keep_current(mut lists: mpsc::UnboundedReceiver<Sources>, clock: Clock) {
    let mut sets = Loops::default();
    let mut credentials = Loops::default();
    let mut origins = Loops::default();
    while let Some(list) = lists.recv().await {
        let rings = list
            .keys
            .into_iter()
            .map(|source| (Arc::clone(&source.ring), source));
        sets.follow(rings, |source| source.run(clock.clone()));
        let keys = list
            .credentials
            .into_iter()
            .map(|source| (Arc::clone(&source.keys), source));
        credentials.follow(keys, |source| source.run(clock.clone()));
        let named = list.origins.into_iter();
        origins.follow(
            named.map(|(_, origin)| (Arc::clone(&origin), origin)),
            HttpOrigin::keep,
        );
    }
}

/// Loops, each by what it keeps current.
struct Loops<T>(Vec<(Arc<T>, JoinHandle<()>)>);

impl<T> Default for Loops<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Loops<T> {
    /// Ends those that are not in the list, and starts those that are new.
    fn follow<S, F>(&mut self, list: impl Iterator<Item = (Arc<T>, S)>, run: impl Fn(S) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let list: Vec<(Arc<T>, S)> = list.collect();
        self.0.retain(|(kept, running)| {
            let stays = list.iter().any(|(wanted, _)| Arc::ptr_eq(wanted, kept));
            if !stays {
                running.abort();
            }
            stays
        });
        for (wanted, source) in list {
            if !self.0.iter().any(|(kept, _)| Arc::ptr_eq(kept, &wanted)) {
                self.0.push((wanted, tokio::spawn(run(source))));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn figures(name: &str, origin: &HttpOrigin) -> OriginFigures {
    let figures = origin.figures();
    OriginFigures {
        origin: name.to_owned(),
        addresses: [
            ("up", figures.up),
            ("ejected", figures.ejected),
            ("down", figures.down),
        ],
        in_flight: figures.in_flight,
        waiting: figures.waiting,
        ejections: figures.ejections,
    }
}
