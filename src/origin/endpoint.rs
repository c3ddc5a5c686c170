//! One address of an origin: how many requests it has, and whether it is to be asked. In: how requests and checks went.
//! Out: tickets, one per request in flight. Never: a clock read or a lock on the way of a request that goes well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::line::Line;
use super::pool::Slot;

/// The longest that an address is left out for after failures.
const EJECTED_MAX: Duration = Duration::from_secs(300);

/// In `Load`: one request that has begun.
const BEGUN: u64 = 1 << IN_FLIGHT_BITS;
const IN_FLIGHT_BITS: u32 = 24;

/// When an address is left out because of how requests went.
#[derive(Clone, Copy, Debug)]
pub struct Ejection {
    /// After so many failures in a row; 0 is never.
    pub after: u32,
    /// For so long the first time, twice as long each time after that, up to five minutes.
    pub time: Duration,
    /// Whether answers of 500 and more are failures.
    pub on_5xx: bool,
}

/// How many checks in a row change what is thought of an address.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Good ones until it is asked again.
    pub healthy: u32,
    /// Bad ones until it is not.
    pub unhealthy: u32,
}

/// What all addresses of an origin share.
#[derive(Debug)]
pub(super) struct Common {
    /// The origin's name, for the log.
    pub(super) name: Box<str>,
    pub(super) ejection: Ejection,
    /// Requests at a time to one address; 0 is any number.
    pub(super) max_in_flight: u32,
    /// There is one address, and no other to ask instead: it is never left out because of how requests go.
    pub(super) alone: AtomicBool,
    pub(super) line: Line,
    /// What times are counted from.
    pub(super) born: Instant,
    pub(super) ejections: AtomicU64,
}

impl Common {
    /// Milliseconds since the origin was made, and one.
    fn millis(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.born).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// One address.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) slot: Slot,
    common: Arc<Common>,
    load: Load,
    /// Failures in a row.
    failures: AtomicU32,
    /// Until when it is left out, in milliseconds; 0 for not at all.
    ejected_until: AtomicU64,
    /// How often it was left out of late.
    level: AtomicU32,
    /// What checks say.
    down: AtomicBool,
    /// Checks in a row that said otherwise.
    turning: AtomicU32,
    /// Whether it chose HTTP/1.1 where it had the choice.
    pub(super) chose_http1: AtomicBool,
    /// The name has it no longer: nobody who waits is sent there.
    gone: AtomicBool,
}

/// Whether a request is counted as one that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Its first ticket.
    First,
    /// It was counted with its first.
    Again,
}

/// What is thought of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Up,
    /// Left out because of how requests went.
    Ejected,
    /// Left out because of its checks.
    Down,
}

/// How many requests are in flight, and how many there ever were: one number, since they change together. On a line of
/// cache of its own: all cores write it with each request, and what lies beside it they only read.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicU64);

impl Load {
    fn in_flight(&self) -> u32 {
        (self.0.load(Ordering::SeqCst) & (BEGUN - 1)) as u32
    }

    fn begun(&self) -> u64 {
        self.0.load(Ordering::Relaxed) >> IN_FLIGHT_BITS
    }

    /// Counts one more, unless there are `most` already. In one order with the line: who leaves looks at the line
    /// afterwards, and who joins the line tries again.
    fn enter(&self, most: u32, count: Count) -> bool {
        let one = match count {
            Count::First => BEGUN + 1,
            Count::Again => 1,
        };
        let before = self.0.fetch_add(one, Ordering::SeqCst);
        let fits = most == 0 || (before & (BEGUN - 1)) < u64::from(most);
        if !fits {
            self.0.fetch_sub(one, Ordering::SeqCst);
        }
        fits
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, slot: Slot, common: Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            address,
            slot,
            common,
            load: Load::default(),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            level: AtomicU32::new(0),
            down: AtomicBool::new(false),
            turning: AtomicU32::new(0),
            chose_http1: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }

    /// The name has it no longer.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Whether the name has it no longer.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Whether it is to be asked: it is well, or there is no other.
    pub(super) fn is_eligible(&self, now: Instant) -> bool {
        self.common.alone.load(Ordering::Relaxed) || self.standing(now) == Standing::Up
    }

    /// Its only name.
    pub(super) fn id(&self) -> u64 {
        self.slot.owner()
    }

    /// What is thought of it.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.down.load(Ordering::Relaxed) {
            return Standing::Down;
        }
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => Standing::Up,
            _ if self.common.alone.load(Ordering::Relaxed) => Standing::Up,
            until if self.common.millis(now) < until => Standing::Ejected,
            _ => Standing::Up,
        }
    }

    /// Requests at this moment.
    pub(super) fn in_flight(&self) -> u32 {
        self.load.in_flight()
    }

    /// Requests that there ever were, each counted where it was first.
    pub(super) fn begun(&self) -> u64 {
        self.load.begun()
    }

    /// A ticket, unless it has all the requests that it may have.
    pub(super) fn enter(self: &Arc<Self>, count: Count) -> Option<Ticket> {
        self.load
            .enter(self.common.max_in_flight, count)
            .then(|| Ticket(Arc::clone(self)))
    }

    /// A head has come.
    pub(super) fn answered(&self, status: StatusCode) {
        if self.common.ejection.on_5xx && status.is_server_error() {
            return self.failed();
        }
        // Most of the time there is nothing to forget, and then nothing is written that other cores read.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejected_until.load(Ordering::Relaxed) != 0 {
            self.behaves();
        }
    }

    /// Forgets past times once it was well for as long as it would have been left out for.
    fn behaves(&self) {
        let until = self.ejected_until.load(Ordering::Relaxed);
        let time = self.time(self.level.load(Ordering::Relaxed));
        let now = self.common.millis(Instant::now());
        if now >= until.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)) {
            self.level.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }

    /// How long it is left out for after it was so often before.
    fn time(&self, level: u32) -> Duration {
        self.common
            .ejection
            .time
            .saturating_mul(1 << level.min(16))
            .min(EJECTED_MAX)
    }

    /// A connection could not be made, no head came, or the connection broke before one did.
    pub(super) fn failed(&self) {
        let Ejection { after, .. } = self.common.ejection;
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // Fresh out of it, one more failure is enough.
        let was_out = self.ejected_until.load(Ordering::Relaxed) != 0;
        let alone = self.common.alone.load(Ordering::Relaxed);
        if after == 0 || alone || (failures < after && !was_out) {
            return;
        }
        let now = Instant::now();
        if self.standing(now) == Standing::Ejected {
            return;
        }
        let level = self.level.load(Ordering::Relaxed);
        let until = self.common.millis(now + self.time(level));
        let before = self.ejected_until.swap(until, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        if before < self.common.millis(now) {
            self.level.store(level.saturating_add(1), Ordering::Relaxed);
            self.common.ejections.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                origin = &*self.common.name,
                seconds = self.time(level).as_secs_f64(),
                "an address of an origin is left out: it failed too often in a row"
            );
        }
    }

    /// A check went well or badly.
    pub(super) fn checked(&self, well: bool, turns: Turns) {
        let down = self.down.load(Ordering::Relaxed);
        if well != down {
            return self.turning.store(0, Ordering::Relaxed);
        }
        let turned = self.turning.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if turned < if down { turns.healthy } else { turns.unhealthy } {
            return;
        }
        self.turning.store(0, Ordering::Relaxed);
        self.down.store(!down, Ordering::Relaxed);
        let origin = &*self.common.name;
        match down {
            true => tracing::info!(origin, "an address of an origin is well again, its checks say"),
            false => tracing::warn!(origin, "an address of an origin is left out: its checks fail"),
        }
    }
}

/// One request in flight to an address, from its choice to the end of the answer's body.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Endpoint>);

impl Ticket {
    /// To whom.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// Its connections.
    pub(super) fn slot(&self) -> &Slot {
        &self.0.slot
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.load.leave();
        let line = &self.0.common.line;
        if line.is_waited_in() && self.0.is_eligible(Instant::now()) {
            line.serve(&self.0);
        }
    }
}
