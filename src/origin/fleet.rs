//! The addresses of an origin. In: its settings, what its name resolves to, how requests went. Out: the address for a
//! request: the one with fewer requests of two chosen by lot. Never: leaves out all of them, or looks a name up on the way
//! of a request, but for the first.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::OriginError;
use super::budget::Budget;
use super::connect::Address;
use super::endpoint::{Common, Count, Ejection, Endpoint, Standing, Ticket};
use super::health::HealthCheck;
use super::line::Line;
use super::pool::{Lease, Pools, Slot};

/// Addresses of one name that are used.
const ADDRESSES_MAX: usize = 64;

/// An address that is no longer among a name's is kept for so many answers: some servers name a few of many each time.
const MISSING_MAX: u8 = 3;

/// How often those who wait look for room that was not offered to them.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How an origin is reached: its addresses, its protocol, and what is asked of both.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The origin's name, for the log and the metrics.
    pub name: Box<str>,
    /// The addresses; those of the URL's host where empty.
    pub addresses: Vec<SocketAddr>,
    /// How often the URL's host is looked up.
    pub resolve_interval: Duration,
    /// Requests at a time to one address; 0 is any number.
    pub max_in_flight: u32,
    /// Requests that may wait for that.
    pub max_queue: usize,
    /// For how long.
    pub queue_timeout: Duration,
    /// When an address is left out because of how requests went.
    pub ejection: Ejection,
    /// Retries per hundred requests.
    pub retry_percent: u32,
    /// Requests that find out whether an address is well.
    pub health: Option<HealthCheck>,
    /// What is spoken.
    pub protocol: Protocol,
    /// HTTP/2 streams on one connection at a time.
    pub max_streams: usize,
}

/// What is spoken to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge in clear.
    Http2,
    /// Over TLS what the origin prefers; in clear HTTP/1.1.
    Auto,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            name: "origin".into(),
            addresses: Vec::new(),
            resolve_interval: Duration::from_secs(30),
            max_in_flight: 0,
            max_queue: 256,
            queue_timeout: Duration::from_secs(2),
            ejection: Ejection {
                after: 5,
                time: Duration::from_secs(10),
                on_5xx: false,
            },
            retry_percent: 10,
            health: None,
            protocol: Protocol::Http1,
            max_streams: 32,
        }
    }
}

/// The addresses of an origin.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) settings: Reach,
    common: Arc<Common>,
    members: ArcSwap<Vec<Member>>,
    /// What a place in a pool is made of.
    idle: (Duration, usize),
    /// Whether the addresses come from a name.
    named: bool,
    /// One looks the name up for all who wait for its first answer.
    resolving: Semaphore,
    /// Requests to addresses that the name has no longer. Held while the addresses change.
    past: Mutex<u64>,
    budget: Budget,
}

#[derive(Clone, Debug)]
struct Member {
    endpoint: Arc<Endpoint>,
    /// Answers in a row that did not name it.
    missing: u8,
}

/// The addresses that a request has been to.
pub(super) type Tried = SmallVec<[u64; 4]>;

/// What was found for a request.
pub(super) enum Choice {
    Ticket(Ticket),
    /// All have all that they may have.
    Full,
    /// There is none that was not tried.
    None,
}

/// What a request looks for.
pub(super) struct Wish {
    /// Draws the lot.
    pub(super) random: u64,
    pub(super) tried: Tried,
    pub(super) count: Count,
}

impl Fleet {
    pub(super) fn new(settings: Reach, address: &Address, idle: (Duration, usize)) -> Self {
        let literal = address.host.parse::<IpAddr>().ok();
        let fixed: Vec<SocketAddr> = match (&settings.addresses[..], literal) {
            ([], Some(host)) => vec![SocketAddr::new(host, address.port)],
            (addresses, _) => addresses.to_vec(),
        };
        let common = Arc::new(Common {
            name: settings.name.clone(),
            ejection: settings.ejection,
            alone: AtomicBool::new(false),
            max_in_flight: settings.max_in_flight,
            line: Line::new(settings.max_queue),
            born: Instant::now(),
            ejections: AtomicU64::new(0),
        });
        let fleet = Self {
            named: fixed.is_empty(),
            budget: Budget::default(),
            settings,
            common,
            members: ArcSwap::default(),
            idle,
            resolving: Semaphore::new(1),
            past: Mutex::default(),
        };
        fleet.learn(&fixed);
        fleet
    }

    /// Whether the addresses come from a name.
    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    /// Whether there can be another address than one.
    pub(super) fn is_alone(&self) -> bool {
        !self.named && self.members.load().len() == 1
    }

    /// Takes on the addresses that a name has now. Those that it had before stay as they are.
    pub(super) fn learn(&self, addresses: &[SocketAddr]) {
        if addresses.is_empty() {
            return;
        }
        let mut past = self.lock();
        let before = self.members.load_full();
        let mut members: Vec<Member> = Vec::new();
        for address in addresses.iter().take(ADDRESSES_MAX) {
            if members.iter().any(|member| member.endpoint.address == *address) {
                continue;
            }
            let known = before.iter().find(|member| member.endpoint.address == *address);
            members.push(Member {
                endpoint: known
                    .map_or_else(|| self.endpoint(*address), |member| Arc::clone(&member.endpoint)),
                missing: 0,
            });
        }
        for member in before.iter() {
            let is_new = members
                .iter()
                .all(|new| new.endpoint.address != member.endpoint.address);
            if is_new && member.missing + 1 < MISSING_MAX && members.len() < ADDRESSES_MAX {
                members.push(Member {
                    endpoint: Arc::clone(&member.endpoint),
                    missing: member.missing + 1,
                });
            } else if is_new {
                member.endpoint.leave();
                *past += member.endpoint.begun();
            }
        }
        self.common.alone.store(members.len() == 1, Ordering::Relaxed);
        self.members.store(Arc::new(members));
        drop(past);
        self.serve_line();
    }

    fn endpoint(&self, address: SocketAddr) -> Arc<Endpoint> {
        let (idle_timeout, max_idle) = self.idle;
        Endpoint::new(
            address,
            Slot::new(idle_timeout, max_idle),
            Arc::clone(&self.common),
        )
    }

    /// All addresses.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let members = self.members.load();
        members
            .iter()
            .map(|member| Arc::clone(&member.endpoint))
            .collect()
    }

    /// An address for a new request, without waiting for one. `random` draws the lot.
    pub(super) fn take(&self, random: u64, tried: &Tried, now: Instant) -> Choice {
        self.find(random, tried, Count::First, now)
    }

    fn find(&self, random: u64, tried: &Tried, count: Count, now: Instant) -> Choice {
        if self.common.line.is_waited_in() {
            return Choice::Full;
        }
        let members = self.members.load();
        match &members[..] {
            [] => Choice::None,
            [one] if tried.is_empty() => one.endpoint.enter(count).map_or(Choice::Full, Choice::Ticket),
            members => choose(members, random, (tried, count), now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection to another address of a name that has fewer requests than the chosen one: a name may have so many
    /// addresses, and others each time, that a chosen one would seldom have been connected to.
    ///
    /// # Errors
    /// The ticket, where there is none.
    pub(super) fn checkout(&self, pools: &Pools, ticket: Ticket, now: Instant) -> Result<Lease, Ticket> {
        if !self.named {
            return Err(ticket);
        }
        let chosen = ticket.endpoint().in_flight();
        let members = self.members.load();
        let others = members.iter().map(|member| &member.endpoint);
        others
            .filter(|other| other.in_flight() < chosen && other.standing(now) == Standing::Up)
            .filter_map(|other| other.enter(Count::Again))
            .find_map(|other| pools.checkout(other, now).ok())
            .ok_or(ticket)
    }

    /// An address for a request, by this time at the latest.
    ///
    /// # Errors
    /// `Overloaded` after a wait in vain; what stands in the way of the name's first answer; `Ok(None)` where all were
    /// tried.
    pub(super) async fn wait(
        &self,
        wish: Wish,
        address: &Address,
        connect_timeout: Duration,
        by: Instant,
    ) -> Result<Option<Ticket>, OriginError> {
        let Wish { random, tried, count } = wish;
        if self.named && self.members.load().is_empty() {
            self.resolve_first(address, connect_timeout).await?;
        }
        match self.find(random, &tried, count, Instant::now()) {
            Choice::Ticket(ticket) => return Ok(Some(ticket)),
            Choice::None => return Ok(None),
            Choice::Full => {}
        }
        if !self.has_other(&tried) {
            return Ok(None);
        }
        let place = self.common.line.join(tried.clone(), count);
        let mut place = place.ok_or(OriginError::Overloaded)?;
        let deadline = by.min(Instant::now() + self.settings.queue_timeout);
        while self.has_other(&tried) {
            // Room that was made before this stood in line was offered to nobody; nor is that of an address that is left
            // out, until all are.
            self.serve_line();
            match tokio::time::timeout_at(deadline.min(Instant::now() + LOOK_AGAIN), &mut place).await {
                Ok(Some(ticket)) => return Ok(Some(ticket)),
                Ok(None) => return Err(OriginError::Overloaded),
                Err(_) if Instant::now() >= deadline => return Err(OriginError::Overloaded),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    async fn resolve_first(&self, address: &Address, limit: Duration) -> Result<(), OriginError> {
        let wait = async {
            let _one = self.resolving.acquire().await;
            if self.members.load().is_empty() {
                self.learn(&address.resolve(limit).await?);
            }
            Ok(())
        };
        tokio::time::timeout(limit, wait)
            .await
            .map_err(|_| OriginError::Timeout(super::Phase::Connect))?
    }

    /// Hands out what room there is to those who wait.
    pub(super) fn serve_line(&self) {
        if !self.common.line.is_waited_in() {
            return;
        }
        let now = Instant::now();
        let endpoints = self.endpoints();
        let all_out = endpoints.iter().all(|endpoint| !endpoint.is_eligible(now));
        for endpoint in endpoints {
            if all_out || endpoint.is_eligible(now) {
                self.common.line.serve(&endpoint);
            }
        }
    }

    /// Whether there is an address that was not tried.
    pub(super) fn has_other(&self, tried: &Tried) -> bool {
        let members = self.members.load();
        members
            .iter()
            .any(|member| !tried.contains(&member.endpoint.id()))
    }

    /// Whether a request may be sent once more; counts it.
    pub(super) fn may_retry(&self) -> bool {
        let requests = {
            let past = self.lock();
            let members = self.members.load();
            let present: u64 = members.iter().map(|member| member.endpoint.begun()).sum();
            *past + present
        };
        let percent = self.settings.retry_percent;
        percent > 0 && self.budget.take(requests, percent, Instant::now())
    }

    /// What is counted.
    pub(super) fn figures(&self) -> FleetFigures {
        let now = Instant::now();
        let mut figures = FleetFigures {
            waiting: self.common.line.len() as u64,
            ejections: self.common.ejections.load(Ordering::Relaxed),
            ..FleetFigures::default()
        };
        for endpoint in self.endpoints() {
            figures.in_flight += u64::from(endpoint.in_flight());
            match endpoint.standing(now) {
                Standing::Up => figures.up += 1,
                Standing::Ejected => figures.ejected += 1,
                Standing::Down => figures.down += 1,
            }
        }
        figures
    }
}

/// What is counted of an origin's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetFigures {
    /// Addresses that are asked.
    pub up: u64,
    /// Addresses that are left out because of how requests went.
    pub ejected: u64,
    /// Addresses that are left out because of their checks.
    pub down: u64,
    /// Requests at this moment.
    pub in_flight: u64,
    /// Requests that wait for room.
    pub waiting: u64,
    /// How often an address was left out because of how requests went.
    pub ejections: u64,
}

/// The one with fewer requests of two by lot; where that finds none, the one with the fewest of all that are well; where
/// none is, of all.
fn choose(members: &[Member], random: u64, (tried, count): (&Tried, Count), now: Instant) -> Choice {
    let total = members.len() as u64;
    let first = random % total;
    // Any but the first.
    let second = match total {
        1 => first,
        _ => (first + 1 + (random >> 32) % (total - 1)) % total,
    };
    let is_free = |endpoint: &Endpoint| !tried.contains(&endpoint.id());
    let is_well = |endpoint: &Endpoint| is_free(endpoint) && endpoint.standing(now) == Standing::Up;
    let two = [first, second].map(|at| &members[at as usize].endpoint);
    let lot = two
        .into_iter()
        .filter(|endpoint| is_well(endpoint))
        .min_by_key(|endpoint| endpoint.in_flight());
    if let Some(ticket) = lot.and_then(|endpoint| endpoint.enter(count)) {
        return Choice::Ticket(ticket);
    }
    let mut all: SmallVec<[&Arc<Endpoint>; 8]> = members
        .iter()
        .map(|member| &member.endpoint)
        .filter(|endpoint| is_well(endpoint))
        .collect();
    if all.is_empty() {
        all.extend(
            members
                .iter()
                .map(|member| &member.endpoint)
                .filter(|one| is_free(one)),
        );
    }
    if all.is_empty() {
        return Choice::None;
    }
    // Read once each: others change the numbers while they are sorted, and a sort by keys that change may panic.
    let mut all: SmallVec<[(u32, &Arc<Endpoint>); 8]> = all
        .into_iter()
        .map(|endpoint| (endpoint.in_flight(), endpoint))
        .collect();
    all.sort_by_key(|(in_flight, _)| *in_flight);
    all.into_iter()
        .find_map(|(_, endpoint)| endpoint.enter(count))
        .map_or(Choice::Full, Choice::Ticket)
}

#[cfg(test)]
mod tests;
