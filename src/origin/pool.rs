//! Idle origin connections of one worker, and what is counted of them. In: connections whose last answer ended cleanly.
//! Out: the newest that is still fit for use. Never: mixes origins, or holds its lock across an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::Upload;
use super::wire::Wire;
use crate::alarm::Alarm;

/// How often connections that grew too old are looked for among all origins (also those of an earlier configuration).
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How long a connection rests after an answer without a body (HEAD, 204, 304): a server that sends one nevertheless
/// does so within this time, and hyper then closes the connection.
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

/// The idle connections of one worker, for all its origins.
#[derive(Debug, Default)]
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
    pub(super) sender: SendRequest<Upload>,
    pub(super) wire: Arc<Wire>,
    /// For the wait for a head.
    pub(super) alarm: Alarm,
    slot: Slot,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stats: Arc<OriginStats>,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_origin: Vec<Vec<Idle>>,
    next_sweep: Option<Instant>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Upload>,
    wire: Arc<Wire>,
    alarm: Alarm,
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

    /// The newest idle connection that is fit for use.
    pub(super) fn checkout(&self, slot: Slot) -> Option<Lease> {
        let now = Instant::now();
        let idle = {
            let mut slots = self.shared.lock();
            let idle = slots.by_origin.get_mut(slot.number)?;
            let mut at = idle.len();
            loop {
                at = at.checked_sub(1)?;
                if !idle[at].is_fit(now) {
                    idle.remove(at);
                } else if idle[at].fit_from <= now {
                    break idle.remove(at);
                }
            }
        };
        self.shared.stats.reused.fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            alarm: idle.alarm,
            ..self.lease(idle.sender, idle.wire, slot)
        })
    }

    /// A lease of a connection that was just opened.
    pub(super) fn lease(&self, sender: SendRequest<Upload>, wire: Arc<Wire>, slot: Slot) -> Lease {
        Lease {
            sender,
            wire,
            alarm: Alarm::default(),
            slot,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Lease {
    pub(super) fn count_surplus(&self) {
        self.wire.count_surplus();
    }

    /// Keeps the connection for the next request, unless hyper has closed it or still has something to write.
    pub(super) fn give_back(self, rest: Rest) {
        let Self {
            sender,
            wire,
            alarm,
            slot,
            shared,
        } = self;
        if slot.max_idle == 0 || !sender.is_ready() {
            return;
        }
        let now = Instant::now();
        let fit_from = match rest {
            Rest::Clean => now,
            Rest::Doubtful => now + SETTLE,
        };
        let idle = Idle {
            sender,
            wire,
            alarm,
            fit_from,
            fit_until: now + slot.idle_timeout,
        };
        let mut slots = shared.lock();
        slots.sweep(now);
        if slots.by_origin.len() <= slot.number {
            slots.by_origin.resize_with(slot.number + 1, Vec::new);
        }
        let list = &mut slots.by_origin[slot.number];
        if list.len() >= slot.max_idle {
            list.remove(0);
        }
        list.push(idle);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|next| now < next) {
            return;
        }
        self.next_sweep = Some(now + SWEEP_EVERY);
        for idle in &mut self.by_origin {
            idle.retain(|idle| idle.is_fit(now));
        }
    }
}

impl Idle {
    fn is_fit(&self, now: Instant) -> bool {
        now < self.fit_until && !self.sender.is_closed()
    }
}
