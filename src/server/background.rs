//! What runs beside the requests on the control thread: the loops that keep fetched key sets current. A reload ends the
//! loops whose set is gone, starts those of new ones, and leaves the others alone: no fetch more, no cool-down less.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::keysource::{JwksSource, KeySourceStats};
use crate::telemetry::metrics::Metrics;
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
