//! Idle origin connections of one worker, and what is counted of them. In: connections whose last answer ended cleanly.
//! Out: the newest that is still fit for use. Never: mixes origins, or holds its lock across an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Stream;
use super::connection::{Connection, Quiet};

/// How long a connection rests after an answer without a body (HEAD, 204, 304): a server that sends one nevertheless
/// does so within this time, and is then found out.
const SETTLE: Duration = Duration::from_millis(100);

/// What is counted, for all workers together.
#[derive(Debug, Default)]
pub struct OriginStats {
    /// Connections that were opened.
    pub opened: AtomicU64,
    /// Requests that went over a connection that was already there.
    pub reused: AtomicU64,
    /// Connections closed because the origin sent more than it had announced.
    pub surplus: AtomicU64,
    /// Requests sent again on a fresh connection.
    pub retried: AtomicU64,
}

/// The idle connections of one worker, for all its origins. A copy is the same pools.
#[derive(Clone, Default)]
pub struct Pools {
    shared: Arc<Shared>,
}

/// One origin's place and limits in every pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Never used twice in one process, so that a changed origin can't be given its predecessor's connections.
    pub(super) number: usize,
    pub(super) idle_timeout: Duration,
    pub(super) max_idle: usize,
}

/// What is known of the bytes behind an answer that was read to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// The answer had a body, and it ended where it had to.
    Clean,
    /// The answer had no body by rule, which some servers ignore.
    Doubtful,
}

/// A connection in use. Dropping it closes the connection.
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    slot: Slot,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stats: Arc<OriginStats>,
    /// By the origin's number.
    slots: Mutex<Vec<Vec<Idle>>>,
}

struct Idle {
    connection: Box<Connection>,
    fit_from: Instant,
    fit_until: Instant,
}

impl Pools {
    /// Empty pools that count into `stats`.
    pub fn new(stats: Arc<OriginStats>) -> Self {
        Self {
            shared: Arc::new(Shared {
                stats,
                slots: Mutex::default(),
            }),
        }
    }

    /// What is counted.
    pub fn stats(&self) -> &Arc<OriginStats> {
        &self.shared.stats
    }

    /// Closes what is too old, or was closed by its origin, among all origins (also those of an earlier configuration), and
    /// takes the others' buffers. To be called now and then.
    pub fn tend(&self) {
        let now = Instant::now();
        for idle in self.shared.lock().iter_mut() {
            idle.retain_mut(|idle| now < idle.fit_until && self.shared.stats.is_fit(&mut idle.connection));
            idle.iter_mut().for_each(|idle| idle.connection.slim());
        }
    }

    /// The newest idle connection that is fit for use.
    pub(super) fn checkout(&self, slot: Slot, now: Instant) -> Option<Lease> {
        let mut slots = self.shared.lock();
        let idle = slots.get_mut(slot.number)?;
        let mut at = idle.len();
        let connection = loop {
            at = at.checked_sub(1)?;
            if now >= idle[at].fit_until {
                idle.remove(at);
            } else if idle[at].fit_from <= now {
                let mut connection = idle.remove(at).connection;
                if self.shared.stats.is_fit(&mut connection) {
                    break connection;
                }
            }
        };
        drop(slots);
        self.shared.stats.reused.fetch_add(1, Ordering::Relaxed);
        Some(self.lease(connection, slot))
    }

    /// A lease of a connection that was just opened.
    pub(super) fn opened(&self, stream: Stream, slot: Slot) -> Lease {
        self.shared.stats.opened.fetch_add(1, Ordering::Relaxed);
        self.lease(Box::new(Connection::new(stream)), slot)
    }

    fn lease(&self, connection: Box<Connection>, slot: Slot) -> Lease {
        Lease {
            connection,
            slot,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl OriginStats {
    /// Whether an idle connection may be used; counts the one that may not because its origin said too much.
    fn is_fit(&self, connection: &mut Connection) -> bool {
        let quiet = connection.is_quiet();
        if quiet == Quiet::Surplus {
            self.surplus.fetch_add(1, Ordering::Relaxed);
        }
        quiet == Quiet::Yes
    }
}

impl Lease {
    /// Where it belongs.
    pub(super) fn pools(&self) -> Pools {
        Pools {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The origin sent more than it had announced.
    pub(super) fn count_surplus(&self) {
        self.shared.stats.surplus.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the connection for the next request.
    pub(super) fn give_back(self, rest: Rest) {
        let Self {
            connection,
            slot,
            shared,
        } = self;
        if slot.max_idle == 0 {
            return;
        }
        let now = Instant::now();
        let fit_from = match rest {
            Rest::Clean => now,
            Rest::Doubtful => now + SETTLE,
        };
        let mut slots = shared.lock();
        if slots.len() <= slot.number {
            slots.resize_with(slot.number + 1, Vec::new);
        }
        let list = &mut slots[slot.number];
        if list.len() >= slot.max_idle {
            list.remove(0);
        }
        list.push(Idle {
            connection,
            fit_from,
            fit_until: now + slot.idle_timeout,
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Idle>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Pools {
    /// Whether nothing is idle.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.lock().iter().all(Vec::is_empty)
    }
}
