//! What runs beside the requests on the control thread: the loops that keep fetched key sets and the addresses of origins
//! current. A reload ends the loops whose set or origin is gone, starts those of new ones, and leaves the others alone: no
//! fetch more, no cool-down less.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::keysource::{JwksSource, KeySourceStats};
use crate::origin::HttpOrigin;
use crate::telemetry::metrics::{Metrics, OriginFigures};
use crate::token::keys::KeyRing;

/// The fetched key sets whose ages the metrics show.
#[derive(Clone, Default)]
pub(super) struct KeyAges(Arc<Mutex<Vec<Shown>>>);

type Shown = (Arc<KeyRing>, Arc<KeySourceStats>);

impl KeyAges {
    /// Shows these sets from now on.
    pub(super) fn show(&self, sources: &[JwksSource]) {
        let sets = sources
            .iter()
            .map(|source| (Arc::clone(&source.ring), Arc::clone(&source.stats)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sets.collect();
    }

    /// The name of a set that was never loaded, if there is one.
    pub(super) fn lacking(&self) -> Option<String> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ring, _) = sets.iter().find(|(ring, _)| ring.load().is_none())?;
        Some(ring.name().to_owned())
    }

    /// Lets the metrics read them. A set that was never fetched is as old as the process and more: infinite.
    pub(super) fn connect(&self, metrics: &Metrics, clock: &Clock) {
        let (sets, clock) = (Arc::clone(&self.0), clock.clone());
        metrics.read_key_ages(Box::new(move || {
            let now = clock.now().millis();
            let age = |last: i64| {
                if last == 0 {
                    f64::INFINITY
                } else {
                    (now - last).max(0) as f64 / 1000.0
                }
            };
            let sets = sets.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Keeps the sets of the newest list current, until the sender is gone.
pub(super) async fn keep_keys(mut lists: mpsc::UnboundedReceiver<Vec<JwksSource>>, clock: Clock) {
    let mut loops: Vec<(Arc<KeyRing>, JoinHandle<()>)> = Vec::new();
    while let Some(list) = lists.recv().await {
        loops.retain(|(ring, running)| {
            let stays = list.iter().any(|source| Arc::ptr_eq(&source.ring, ring));
            if !stays {
                running.abort();
            }
            stays
        });
        for source in list {
            if !loops.iter().any(|(ring, _)| Arc::ptr_eq(ring, &source.ring)) {
                loops.push((Arc::clone(&source.ring), tokio::spawn(source.run(clock.clone()))));
            }
        }
    }
}

/// The origins whose addresses the metrics show, and the loops that keep them current.
pub(super) struct Fleets {
    shown: Arc<Mutex<Named>>,
    lists: mpsc::UnboundedSender<Named>,
}

type Named = Vec<(Box<str>, Arc<HttpOrigin>)>;

/// The other end of it, for the runtime.
pub(super) struct FleetLists(mpsc::UnboundedReceiver<Named>);

impl Fleets {
    /// Shows these from now on; `FleetLists::keep` keeps them current.
    pub(super) fn new(metrics: &Metrics, origins: Named) -> (Self, FleetLists) {
        let (lists, received) = mpsc::unbounded_channel();
        let fleets = Self {
            shown: Arc::default(),
            lists,
        };
        let shown = Arc::clone(&fleets.shown);
        metrics.read_addresses(Box::new(move || {
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.iter().map(|(name, origin)| figures(name, origin)).collect()
        }));
        fleets.show(origins);
        (fleets, FleetLists(received))
    }

    /// Shows and keeps these from now on.
    pub(super) fn show(&self, origins: Named) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = origins.clone();
        let _ = self.lists.send(origins);
    }

    /// Keeps none any more.
    pub(super) fn rest(&self) {
        let _ = self.lists.send(Vec::new());
    }
}

impl FleetLists {
    /// Keeps the origins of the newest list current, until the sender is gone.
    pub(super) async fn keep(mut self) {
        let mut loops: Vec<(Arc<HttpOrigin>, JoinHandle<()>)> = Vec::new();
        while let Some(list) = self.0.recv().await {
            loops.retain(|(origin, running)| {
                let stays = list.iter().any(|(_, listed)| Arc::ptr_eq(listed, origin));
                if !stays {
                    running.abort();
                }
                stays
            });
            for (_, origin) in list {
                if !loops.iter().any(|(known, _)| Arc::ptr_eq(known, &origin)) {
                    loops.push((Arc::clone(&origin), tokio::spawn(origin.keep())));
                }
            }
        }
    }
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
