//! Idle origin connections of one worker, and what is counted of them. In: connections whose last answer ended cleanly.
//! Out: the newest that is still fit for use. Never: mixes origins, or holds its lock across an await.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Stream;
use super::connection::{Connection, Quiet};
use super::endpoint::{Endpoint, Ticket};
use super::http2::Multiplexing;

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

/// The connections of one worker, for all its origins. A copy is the same pools.
#[derive(Clone)]
pub struct Pools {
    shared: Arc<Shared>,
}

/// One address's place and limits in every pool.
#[derive(Debug)]
pub(super) struct Slot {
    /// Where its shelf is; given to another when this one is gone.
    place: usize,
    /// Never used twice in one process, so that nobody is given its predecessor's connections.
    owner: u64,
    idle_timeout: Duration,
    max_idle: usize,
}

/// Who stands where.
struct Places {
    free: Vec<usize>,
    next_place: usize,
    next_owner: u64,
}

static PLACES: Mutex<Places> = Mutex::new(Places {
    free: Vec::new(),
    next_place: 0,
    next_owner: 1,
});

impl Slot {
    /// A place for an address.
    pub(super) fn new(idle_timeout: Duration, max_idle: usize) -> Self {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.free.pop().unwrap_or_else(|| {
            places.next_place += 1;
            places.next_place - 1
        });
        places.next_owner += 1;
        Self {
            place,
            owner: places.next_owner,
            idle_timeout,
            max_idle,
        }
    }

    /// Its only name.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        places.free.push(self.place);
    }
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
    ticket: Ticket,
    shared: Arc<Shared>,
}

struct Shared {
    stats: Arc<OriginStats>,
    /// By the address's place.
    shelves: Mutex<Vec<Shelf>>,
    /// For choices.
    seed: AtomicU64,
}

/// What is kept for one address.
#[derive(Default)]
struct Shelf {
    owner: u64,
    idle: Vec<Idle>,
    shared: Multiplexing,
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
                shelves: Mutex::default(),
                seed: AtomicU64::new(RandomState::new().build_hasher().finish()),
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
        for shelf in self.shared.lock().iter_mut() {
            let idle = &mut shelf.idle;
            idle.retain_mut(|idle| now < idle.fit_until && self.shared.stats.is_fit(&mut idle.connection));
            idle.iter_mut().for_each(|idle| idle.connection.slim());
            shelf.shared.tend(now);
        }
    }

    /// A number for a choice.
    pub(super) fn random(&self) -> u64 {
        // SplitMix64: only this worker counts here.
        let mut number = self
            .shared
            .seed
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// The newest idle connection to the ticket's address that is fit for use.
    ///
    /// # Errors
    /// The ticket, where there is none.
    pub(super) fn checkout(&self, ticket: Ticket, now: Instant) -> Result<Lease, Ticket> {
        let Some(connection) = self.idle(ticket.slot(), now) else {
            return Err(ticket);
        };
        self.shared.stats.reused.fetch_add(1, Ordering::Relaxed);
        Ok(self.lease(connection, ticket))
    }

    fn idle(&self, slot: &Slot, now: Instant) -> Option<Box<Connection>> {
        let mut shelves = self.shared.lock();
        let shelf = shelves.get_mut(slot.place)?;
        if shelf.owner != slot.owner {
            return None;
        }
        let idle = &mut shelf.idle;
        let mut at = idle.len();
        loop {
            at = at.checked_sub(1)?;
            if now >= idle[at].fit_until {
                idle.remove(at);
            } else if idle[at].fit_from <= now {
                let mut connection = idle.remove(at).connection;
                if self.shared.stats.is_fit(&mut connection) {
                    return Some(connection);
                }
            }
        }
    }

    /// The HTTP/2 connections to an address.
    pub(super) fn multiplexing<T>(
        &self,
        slot: &Slot,
        work: impl FnOnce(&mut Multiplexing) -> T,
    ) -> Option<T> {
        let mut shelves = self.shared.lock();
        let shelf = Shelf::of(&mut shelves, slot)?;
        Some(work(&mut shelf.shared))
    }

    /// A lease of a connection that was just opened.
    pub(super) fn opened(&self, stream: Stream, ticket: Ticket) -> Lease {
        self.shared.stats.opened.fetch_add(1, Ordering::Relaxed);
        self.lease(Box::new(Connection::new(stream)), ticket)
    }

    fn lease(&self, connection: Box<Connection>, ticket: Ticket) -> Lease {
        Lease {
            connection,
            ticket,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Shelf {
    /// The shelf of this slot, emptied if it was another's; none where it is another's by now.
    fn of<'s>(shelves: &'s mut Vec<Self>, slot: &Slot) -> Option<&'s mut Self> {
        if shelves.len() <= slot.place {
            shelves.resize_with(slot.place + 1, Self::default);
        }
        let shelf = &mut shelves[slot.place];
        if shelf.owner < slot.owner {
            *shelf = Self {
                owner: slot.owner,
                ..Self::default()
            };
        }
        (shelf.owner == slot.owner).then_some(shelf)
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
    /// Whom it is a connection to.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.ticket.endpoint()
    }

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
            ticket,
            shared,
        } = self;
        let slot = ticket.slot();
        if slot.max_idle == 0 {
            return;
        }
        let now = Instant::now();
        let fit_from = match rest {
            Rest::Clean => now,
            Rest::Doubtful => now + SETTLE,
        };
        let mut shelves = shared.lock();
        let Some(shelf) = Shelf::of(&mut shelves, slot) else {
            return;
        };
        if shelf.idle.len() >= slot.max_idle {
            shelf.idle.remove(0);
        }
        shelf.idle.push(Idle {
            connection,
            fit_from,
            fit_until: now + slot.idle_timeout,
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Pools {
    /// Whether nothing is idle.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.lock().iter().all(|shelf| shelf.idle.is_empty())
    }
}
