//! How many requests of an origin may be sent once more elsewhere. In: the number of its requests. Out: yes or no. Asked for
//! retries alone, so that requests that go well know nothing of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How the retry budget is counted.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Retries in a window that are allowed however few requests there are.
pub(super) const RETRIES_MIN: u64 = 20;

/// How many retries there may be: a share of the requests of the last seconds, and a few always.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Option<Window>>);

#[derive(Debug)]
struct Window {
    since: Instant,
    /// Requests that there had been when it began.
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Whether there may be one more, after so many requests in all; counts it.
    pub(super) fn take(&self, requests: u64, percent: u32, now: Instant) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = match &mut *window {
            Some(window) if now < window.since + WINDOW => window,
            other => {
                // Before the first window there were none; the windows between were without a retry.
                let begun = other.as_ref().map_or(0, |window| window.requests);
                other.insert(Window {
                    since: now,
                    requests: begun.max(requests.saturating_sub(1000)),
                    retries: 0,
                })
            }
        };
        let share = requests.saturating_sub(window.requests) * u64::from(percent) / 100;
        let allowed = window.retries < RETRIES_MIN + share;
        window.retries += u64::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests_and_a_few() {
        let budget = Budget::default();
        let start = Instant::now();
        let taken = |requests, now| (0..1000).filter(|_| budget.take(requests, 10, now)).count() as u64;
        assert_eq!(taken(0, start), RETRIES_MIN);
        assert_eq!(taken(500, start), 50);
        assert_eq!(taken(500, start), 0);
        // The next window looks at its own requests.
        let next = start + WINDOW;
        assert_eq!(taken(500, next), RETRIES_MIN + 50);
        let later = next + WINDOW;
        assert_eq!(taken(1_000_000, later), RETRIES_MIN + 100);
        assert_eq!(taken(1_000_100, later), 10);
    }
}
