//! How much somebody may do in a minute, or at which pace: GCRA, one number per name, bounded. The time is a value. Counts the tokens of
//! callers, tries with passwords and with unknown tokens.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};

use crate::clock::UnixTime;

mod hourly;

pub use hourly::{Count, Hourly};

/// Callers that are remembered at a time. More than that in one minute are refused, not forgotten: who is forgotten starts afresh.
const MAX_CALLERS: usize = 65_536;

/// Unknown tokens that one address may show in a minute before it is no longer looked, at whichever door.
const UNKNOWN_PER_MINUTE: u32 = 60;

/// A minute, in microseconds: the window of limits by the minute.
const MINUTE_MICROS: i64 = 60_000_000;

/// Idle callers are looked for at most once in so many microseconds, so that a full map does not cost a walk per request.
const SWEEP_MICROS: i64 = 1_000_000;

/// How fast, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// One for each of these, in microseconds.
    every: i64,
    /// As many at once as fit into this, in microseconds; nobody waits longer.
    window: i64,
}

impl Pace {
    /// So many in a minute, all of which may come at once; at least one.
    fn per_minute(count: u32) -> Self {
        Self {
            every: (MINUTE_MICROS / i64::from(count.max(1))).max(1),
            window: MINUTE_MICROS,
        }
    }

    /// One a second, of which `burst` may come at once.
    pub const fn per_second(burst: u32) -> Self {
        Self {
            every: 1_000_000,
            window: burst as i64 * 1_000_000,
        }
    }
}

/// Who had how many tokens. Outlives a reload of the configuration.
pub struct Throttle {
    /// Caller → when its next token would be due at an even pace, in microseconds since 1970 (GCRA's TAT).
    due: DashMap<Box<str>, i64>,
    swept: AtomicI64,
    capacity: usize,
}

impl Throttle {
    /// Nobody had any.
    pub fn new() -> Self {
        Self::with_capacity(MAX_CALLERS)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            due: DashMap::new(),
            swept: AtomicI64::new(i64::MIN),
            capacity,
        }
    }

    /// Counts one token for `caller`, of whom `per_minute` are allowed; a burst may take them all at once.
    ///
    /// # Errors
    /// How long to wait, when that is too many.
    pub fn take(&self, caller: &str, per_minute: u32, now: UnixTime) -> Result<(), Duration> {
        if per_minute == 0 {
            return Err(micros(MINUTE_MICROS));
        }
        self.take_at(caller, Pace::per_minute(per_minute), now)
    }

    /// Counts one for `caller`, who is held to this pace.
    ///
    /// # Errors
    /// How long to wait, when that is too soon.
    pub fn take_at(&self, caller: &str, pace: Pace, now: UnixTime) -> Result<(), Duration> {
        let Pace { every, window } = pace;
        let now = now.millis().saturating_mul(1000);
        if self.due.len() >= self.capacity && !self.due.contains_key(caller) {
            self.sweep(now);
            if self.due.len() >= self.capacity {
                return Err(micros(every));
            }
        }
        match self.due.entry(caller.into()) {
            Entry::Vacant(new) => {
                new.insert(now.saturating_add(every));
                Ok(())
            }
            Entry::Occupied(mut known) => {
                // The upper end forgives a clock that was set back: nobody waits longer than the window.
                let due = (*known.get()).clamp(now, now.saturating_add(window));
                let next = due.saturating_add(every);
                let wait = next.saturating_sub(now).saturating_sub(window);
                if wait > 0 {
                    known.insert(due);
                    return Err(micros(wait));
                }
                known.insert(next);
                Ok(())
            }
        }
    }

    /// Whether `take` would refuse now. Counts nothing.
    pub fn is_exhausted(&self, caller: &str, per_minute: u32, now: UnixTime) -> bool {
        let now = now.millis().saturating_mul(1000);
        let Pace { every, window } = Pace::per_minute(per_minute);
        self.due.get(caller).is_some_and(|due| {
            let due = (*due).clamp(now, now.saturating_add(window));
            due.saturating_add(every) > now.saturating_add(window)
        })
    }

    /// Whether the store may be asked for a token that this address shows: not when it showed too many unknown ones.
    pub fn may_look(&self, address: IpAddr, now: UnixTime) -> bool {
        !self.is_exhausted(&site(address), UNKNOWN_PER_MINUTE, now)
    }

    /// The token was unknown.
    pub fn was_unknown(&self, address: IpAddr, now: UnixTime) {
        // Whether that was one too many is for the next look to see.
        let _ = self.take(&site(address), UNKNOWN_PER_MINUTE, now);
    }

    /// Forgets callers whose count is back at nothing: to forget them changes nothing.
    fn sweep(&self, now: i64) {
        let last = self.swept.load(Ordering::Relaxed);
        let due = (last..last.saturating_add(SWEEP_MICROS)).contains(&now);
        if !due
            && self
                .swept
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.due.retain(|_, due| *due > now);
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

/// Whose an address is: IPv4 whole, the /64 that one IPv6 client has for itself.
pub fn site(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64;
            format!("{bits:016x}")
        }
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> UnixTime {
        UnixTime::from_millis(1_767_225_600_000 + millis)
    }

    #[test]
    fn a_burst_may_take_the_whole_minute_and_the_next_waits_for_the_pace() {
        let throttle = Throttle::new();
        for _ in 0..3 {
            assert_eq!(throttle.take("42", 3, at(0)), Ok(()));
        }
        assert_eq!(throttle.take("42", 3, at(0)), Err(Duration::from_secs(20)));
        assert_eq!(throttle.take("42", 3, at(19_999)), Err(Duration::from_millis(1)));
        assert_eq!(throttle.take("42", 3, at(20_000)), Ok(()));
        assert_eq!(throttle.take("42", 3, at(20_000)), Err(Duration::from_secs(20)));
    }

    #[test]
    fn one_a_second_with_eleven_at_once_is_what_the_published_table_shows() {
        let throttle = Throttle::new();
        let took: Vec<i64> = [
            0, 300, 600, 900, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 2100, 2200, 2400, 2600, 2800, 3100,
        ]
        .into_iter()
        .filter(|millis| throttle.take_at("tv", Pace::per_second(11), at(*millis)).is_ok())
        .collect();
        assert_eq!(
            took,
            [
                0, 300, 600, 900, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 2100, 2200, 3100
            ]
        );
        assert_eq!(
            throttle.take_at("tv", Pace::per_second(11), at(3100)),
            Err(Duration::from_millis(900))
        );
        assert_eq!(throttle.take_at("radio", Pace::per_second(11), at(3100)), Ok(()));
    }

    #[test]
    fn callers_do_not_count_for_each_other_and_none_means_none() {
        let throttle = Throttle::new();
        assert_eq!(throttle.take("42", 1, at(0)), Ok(()));
        assert_eq!(throttle.take("43", 1, at(0)), Ok(()));
        assert!(throttle.take("42", 1, at(0)).is_err());
        assert!(throttle.take("44", 0, at(0)).is_err());
    }

    #[test]
    fn a_refused_try_costs_nothing() {
        let throttle = Throttle::new();
        assert_eq!(throttle.take("42", 1, at(0)), Ok(()));
        for millis in 0..100 {
            assert!(throttle.is_exhausted("42", 1, at(millis)));
            assert!(throttle.take("42", 1, at(millis)).is_err());
        }
        assert!(!throttle.is_exhausted("42", 1, at(60_000)) && !throttle.is_exhausted("43", 1, at(0)));
        assert_eq!(throttle.take("42", 1, at(60_000)), Ok(()));
    }

    #[test]
    fn who_shows_too_many_unknown_tokens_is_not_looked_for_from_any_of_its_addresses() {
        let throttle = Throttle::new();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for number in 0..UNKNOWN_PER_MINUTE {
            let from = address(&format!("2001:db8::{number:x}"));
            assert!(throttle.may_look(from, at(0)));
            throttle.was_unknown(from, at(0));
        }
        assert!(!throttle.may_look(address("2001:db8::ffff"), at(0)));
        assert!(throttle.may_look(address("2001:db8:0:1::1"), at(0)));
        assert!(throttle.may_look(address("203.0.113.7"), at(0)));
        assert!(throttle.may_look(address("2001:db8::1"), at(60_000)));
    }

    #[test]
    fn a_clock_that_was_set_back_blocks_nobody_for_longer_than_the_window() {
        let throttle = Throttle::new();
        assert_eq!(throttle.take("42", 1, at(3_600_000)), Ok(()));
        assert_eq!(throttle.take("42", 1, at(0)), Err(Duration::from_secs(60)));
        assert_eq!(throttle.take("42", 1, at(60_000)), Ok(()));
    }

    #[test]
    fn a_full_map_refuses_the_new_and_forgets_only_the_idle() {
        let throttle = Throttle::with_capacity(2);
        assert_eq!(throttle.take("a", 1, at(0)), Ok(()));
        assert_eq!(throttle.take("b", 60, at(0)), Ok(()));
        assert!(throttle.take("c", 60, at(500)).is_err());
        assert_eq!(throttle.take("c", 60, at(2000)), Ok(()));
        assert!(
            throttle.take("a", 1, at(2000)).is_err(),
            "a was forgotten while it was not idle"
        );
        assert!(throttle.due.len() <= 2);
    }
}
