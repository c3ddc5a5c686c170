//! How much somebody may do in an hour that starts with the first thing they do: one window per name, bounded. The time is a
//! value. For interfaces that tell their callers how much is left.

use std::sync::atomic::{AtomicI64, Ordering};

use dashmap::{DashMap, Entry};

use super::{MAX_CALLERS, SWEEP_MICROS};
use crate::clock::UnixTime;

/// The length of a window, in milliseconds.
const WINDOW_MILLIS: i64 = 3_600_000;

/// What stands in a window.
#[derive(Clone, Copy)]
struct Window {
    /// Its start, in milliseconds since 1970.
    start: i64,
    used: u32,
}

/// What a count is after one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many are allowed in the window.
    pub limit: u32,
    /// How many are left.
    pub remaining: u32,
    /// When the window ends.
    pub reset: UnixTime,
    /// Whether this one was too many. It was not counted.
    pub is_over: bool,
}

/// Who did how much in their hours. Outlives a reload of the configuration.
pub struct Hourly {
    windows: DashMap<Box<str>, Window>,
    swept: AtomicI64,
    capacity: usize,
}

impl Hourly {
    /// Nobody did anything.
    pub fn new() -> Self {
        Self::with_capacity(MAX_CALLERS)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            windows: DashMap::new(),
            swept: AtomicI64::new(i64::MIN),
            capacity,
        }
    }

    /// Counts one more for `name`, of whom `limit` are allowed. Where too many others have a window, a new one gets none.
    pub fn take(&self, name: &str, limit: u32, now: UnixTime) -> Count {
        let now = now.millis();
        if self.windows.len() >= self.capacity && !self.windows.contains_key(name) {
            self.sweep(now);
            if self.windows.len() >= self.capacity {
                return Window {
                    start: now,
                    used: limit,
                }
                .count(limit, true);
            }
        }
        match self.windows.entry(name.into()) {
            Entry::Vacant(new) => new.insert(Window { start: now, used: 0 }).take(limit),
            Entry::Occupied(mut known) => {
                let window = known.get_mut();
                if window.is_over(now) {
                    *window = Window { start: now, used: 0 };
                }
                window.take(limit)
            }
        }
    }

    /// Forgets windows that are over: to forget them changes nothing.
    fn sweep(&self, now: i64) {
        let last = self.swept.load(Ordering::Relaxed);
        let soon = (last..last.saturating_add(SWEEP_MICROS / 1000)).contains(&now);
        if !soon
            && self
                .swept
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.windows.retain(|_, window| !window.is_over(now));
        }
    }
}

impl Default for Hourly {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    /// Also where the clock was set back to before its start: nobody waits longer than an hour.
    fn is_over(self, now: i64) -> bool {
        !(self.start..self.start.saturating_add(WINDOW_MILLIS)).contains(&now)
    }

    fn take(&mut self, limit: u32) -> Count {
        let is_over = self.used >= limit;
        if !is_over {
            self.used += 1;
        }
        self.count(limit, is_over)
    }

    fn count(self, limit: u32, is_over: bool) -> Count {
        Count {
            limit,
            remaining: limit.saturating_sub(self.used),
            reset: UnixTime::from_millis(self.start.saturating_add(WINDOW_MILLIS)),
            is_over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_767_225_600_000;

    fn at(millis: i64) -> UnixTime {
        UnixTime::from_millis(START + millis)
    }

    #[test]
    fn the_hour_starts_with_the_first_and_ends_for_all_at_once() {
        let hourly = Hourly::new();
        let take = |millis| hourly.take("42", 2, at(millis));
        let left = |remaining, is_over| Count {
            limit: 2,
            remaining,
            reset: at(WINDOW_MILLIS + 500),
            is_over,
        };
        assert_eq!(take(500), left(1, false));
        assert_eq!(take(WINDOW_MILLIS), left(0, false));
        assert_eq!(take(WINDOW_MILLIS + 499), left(0, true));
        let next = take(WINDOW_MILLIS + 500);
        assert_eq!((next.remaining, next.is_over), (1, false));
        assert_eq!(next.reset, at(2 * WINDOW_MILLIS + 500));
        assert_eq!(hourly.take("43", 2, at(0)).remaining, 1);
    }

    #[test]
    fn a_limit_that_was_lowered_counts_at_once() {
        let hourly = Hourly::new();
        for _ in 0..5 {
            assert!(!hourly.take("42", 10, at(0)).is_over);
        }
        let count = hourly.take("42", 3, at(1));
        assert_eq!((count.limit, count.remaining, count.is_over), (3, 0, true));
    }

    #[test]
    fn a_clock_that_was_set_back_blocks_nobody_for_longer_than_an_hour() {
        let hourly = Hourly::new();
        hourly.take("42", 1, at(WINDOW_MILLIS * 100));
        assert!(!hourly.take("42", 1, at(0)).is_over);
        assert!(hourly.take("42", 1, at(1)).is_over);
    }

    #[test]
    fn a_full_map_refuses_the_new_and_forgets_what_is_over() {
        let hourly = Hourly::with_capacity(2);
        hourly.take("a", 9, at(0));
        hourly.take("b", 9, at(2000));
        assert!(hourly.take("c", 9, at(3000)).is_over);
        assert_eq!(hourly.take("b", 9, at(3000)).remaining, 7);
        assert!(!hourly.take("c", 9, at(WINDOW_MILLIS)).is_over);
        assert_eq!(hourly.take("b", 9, at(WINDOW_MILLIS)).remaining, 6);
        assert!(hourly.windows.len() <= 2);
    }
}
