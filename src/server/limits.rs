//! What connections may take: places over all workers, places of one address, and file descriptors. Where no place is
//! left, the connection that has been idle for longest gives its own to the next.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use super::progress::Progress;
use super::settings::{ClientAddressRule, ServerSettings};

/// Files that are open beside connections: logs, key files, listeners and what the runtimes need.
const FILES_BESIDE: u64 = 256;

/// How long a connection must have been idle to lose its place: the next request of one that is in use may be on its way.
const IDLE: Duration = Duration::from_secs(1);
/// Between two searches in vain, so that a crowd that is turned away costs no search each.
const SEARCH: Duration = Duration::from_millis(50);

/// Who shares one allowance: a full IPv4 address, or the /64 that one IPv6 client has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Site {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Site {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The places for connections, over all workers.
#[derive(Clone)]
pub(super) struct Places(Arc<Taken>);

struct Taken {
    all: usize,
    taken: AtomicUsize,
    per_site: Option<NonZeroU32>,
    /// Sites with connections; never more entries than places.
    sites: DashMap<Site, u32>,
    /// Touched when a connection begins and ends, and not by its requests.
    seats: Mutex<Seats>,
}

/// The connections that have a place and may lose it.
#[derive(Default)]
struct Seats {
    next: u64,
    seated: HashMap<u64, Arc<Progress>>,
    /// When a search is worth while again.
    search: Option<Instant>,
}

/// A place that is taken; its drop frees it, unless it was given to another connection meanwhile.
pub(super) struct Place {
    taken: Arc<Taken>,
    seat: Option<u64>,
}

/// One of an address's own places; its drop frees it.
pub(super) struct OwnPlace(Option<(Arc<Taken>, Site)>);

impl Places {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self(Arc::new(Taken {
            all: settings.max_connections,
            taken: AtomicUsize::new(0),
            per_site: settings.max_connections_per_address,
            sites: DashMap::new(),
            seats: Mutex::default(),
        }))
    }

    /// Whether none is taken.
    pub(super) fn are_free(&self) -> bool {
        self.0.taken.load(Ordering::Relaxed) == 0
    }

    /// A place, where one is left or an idle connection can go without its own.
    pub(super) fn take(&self) -> Option<Place> {
        if self.0.taken.fetch_add(1, Ordering::Relaxed) >= self.0.all {
            self.0.taken.fetch_sub(1, Ordering::Relaxed);
            self.0.seats().dismiss()?;
        }
        Some(Place {
            taken: Arc::clone(&self.0),
            seat: None,
        })
    }

    /// One of the places of a client's address, where one is left. A load balancer has as many as it likes: behind it are
    /// many clients.
    pub(super) fn take_own(&self, client: SocketAddr, rule: &ClientAddressRule) -> Option<OwnPlace> {
        let address = client.ip().to_canonical();
        let Some(most) = self.0.per_site.filter(|_| !rule.trusts(address)) else {
            return Some(OwnPlace(None));
        };
        let site = Site::of(address);
        let mut count = self.0.sites.entry(site).or_insert(0);
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        drop(count);
        Some(OwnPlace(Some((Arc::clone(&self.0), site))))
    }
}

impl Taken {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Takes the place of the connection that has been idle for longest, and tells it to end.
    fn dismiss(&mut self) -> Option<()> {
        let now = Instant::now();
        if self.search.is_some_and(|search| now < search) {
            return None;
        }
        let idle = |(seat, progress): (&u64, &Arc<Progress>)| Some((progress.idle_for()?, *seat));
        let longest = self.seated.iter().filter_map(idle).max();
        let Some((_, seat)) = longest.filter(|(idle, _)| *idle >= IDLE) else {
            self.search = Some(now + SEARCH);
            return None;
        };
        self.seated.remove(&seat)?.dismiss();
        Some(())
    }
}

impl Place {
    /// From now on the connection with this progress has it, and may lose it.
    pub(super) fn seat(&mut self, progress: &Arc<Progress>) {
        let mut seats = self.taken.seats();
        let seat = seats.next;
        seats.next += 1;
        seats.seated.insert(seat, Arc::clone(progress));
        self.seat = Some(seat);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let given_away = |seat| self.taken.seats().seated.remove(&seat).is_none();
        if !self.seat.is_some_and(given_away) {
            self.taken.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OwnPlace {
    fn drop(&mut self) {
        let Some((taken, site)) = self.0.take() else {
            return;
        };
        if let Entry::Occupied(mut entry) = taken.sites.entry(site) {
            match entry.get_mut() {
                0 | 1 => _ = entry.remove(),
                count => *count -= 1,
            }
        }
    }
}

/// What the limit on open files leaves for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimit(Option<u64>);

impl FileLimit {
    /// Raises the soft limit to the hard one, as far as that is allowed, and tells what it is then.
    pub fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        if current != maximum && setrlimit(Resource::Nofile, raised).is_err() {
            return Self(current);
        }
        Self(maximum)
    }

    /// The limit that `raise` would reach.
    pub fn reachable() -> Self {
        Self(getrlimit(Resource::Nofile).maximum)
    }

    /// What to say where so many connections do not fit, each with one to its origin.
    pub fn warning(self, settings: &ServerSettings) -> Option<TooFewFiles> {
        let needed = 2 * settings.max_connections as u64 + FILES_BESIDE;
        let limit = self.0.filter(|limit| *limit < needed)?;
        Some(TooFewFiles {
            connections: settings.max_connections,
            needed,
            limit,
        })
    }
}

/// The limit on open files is too low for `max_connections`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewFiles {
    connections: usize,
    needed: u64,
    limit: u64,
}

impl fmt::Display for TooFewFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            needed,
            limit,
        } = self;
        write!(
            f,
            "server.max_connections: {connections} connections can need {needed} open files, and this process may have \
             {limit} (raise LimitNOFILE= or `ulimit -Hn`, or take fewer connections)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(all: usize, per_address: u32) -> ServerSettings {
        let zero = std::time::Duration::ZERO;
        ServerSettings {
            workers: 1,
            header_timeout: zero,
            idle_timeout: zero,
            stall_timeout: zero,
            drain_delay: zero,
            drain_timeout: zero,
            tls_timeout: zero,
            http2: true,
            max_connections: all,
            max_connections_per_address: NonZeroU32::new(per_address),
            max_head: 0,
            token_cache: 0,
        }
    }

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[test]
    fn places_run_out_and_come_back() {
        let places = Places::new(&settings(2, 0));
        let held = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none() && places.take().is_none());
        drop(held.0);
        let again = places.take().unwrap();
        assert!(places.take().is_none());
        drop((again, held.1));
        assert!(places.take().is_some());
    }

    #[test]
    fn an_address_has_its_own_places_and_a_site_shares_its_64() {
        let places = Places::new(&settings(100, 2));
        let take = |address: &str| places.take_own(peer(address), &ClientAddressRule::Peer);
        let held = (take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap());
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        let site = (take("2001:db8::1").unwrap(), take("2001:db8::ffff:1").unwrap());
        assert!(take("2001:db8:0:0:1::").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
        drop(held.0);
        let again = take("192.0.2.1").unwrap();
        assert!(take("192.0.2.1").is_none());
        drop((again, held.1, site));
        assert!(places.0.sites.is_empty(), "nothing is remembered of who is gone");
    }

    #[test]
    fn a_load_balancer_and_no_limit_have_no_limit() {
        let trusting = ClientAddressRule::Header {
            header: super::super::settings::AddressHeader::Forwarded,
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let places = Places::new(&settings(100, 1));
        let held: Vec<_> = (0..5)
            .map(|_| places.take_own(peer("::ffff:10.1.2.3"), &trusting))
            .collect();
        assert!(held.iter().all(Option::is_some));
        let _first = places.take_own(peer("192.0.2.1"), &trusting).unwrap();
        assert!(places.take_own(peer("192.0.2.1"), &trusting).is_none());
        let places = Places::new(&settings(100, 0));
        let held: Vec<_> = (0..5)
            .map(|_| places.take_own(peer("192.0.2.1"), &ClientAddressRule::Peer))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }

    #[test]
    fn a_limit_on_files_that_is_too_low_is_told() {
        assert!(FileLimit(None).warning(&settings(1_000_000, 0)).is_none());
        assert!(FileLimit(Some(2_256)).warning(&settings(1000, 0)).is_none());
        let warning = FileLimit(Some(2_255)).warning(&settings(1000, 0)).unwrap();
        assert!(
            warning
                .to_string()
                .contains("1000 connections can need 2256 open files")
        );
    }
}
