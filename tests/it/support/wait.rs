//! Waiting with a deadline. The only reader of the monotonic clock in the tests, and the only place that sleeps,
//! between two looks at a condition.

use std::time::{Duration, Instant};

/// How long a condition that should hold soon may take; generous, because the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A moment by which something must have happened.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `within` from now.
    #[allow(
        clippy::disallowed_methods,
        reason = "tests measure real waits here and nowhere else"
    )]
    pub(crate) fn after(within: Duration) -> Self {
        Self(Instant::now() + within)
    }

    /// What is left, or nothing when it has passed.
    #[allow(
        clippy::disallowed_methods,
        reason = "tests measure real waits here and nowhere else"
    )]
    pub(crate) fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }
}

/// A moment that has passed.
#[derive(Clone, Copy)]
pub(crate) struct Since(Instant);

impl Since {
    /// Now.
    #[allow(
        clippy::disallowed_methods,
        reason = "tests measure real waits here and nowhere else"
    )]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was.
    pub(crate) fn passed(self) -> Duration {
        self.0.elapsed()
    }
}

/// How long `work` took, with its result.
#[allow(
    clippy::disallowed_methods,
    reason = "tests measure real waits here and nowhere else"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// The first value that `look` gives; panics with `what` when there is none within `SOON`.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(SOON, what, look)
}

/// As `until`, with another patience.
pub(crate) fn until_within<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(within);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(deadline.left().is_some(), "waited {within:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `holds`; panics with `what` when it does not within `SOON`.
pub(crate) fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// Lets time pass where slowness itself is what a test is about; never to wait for something to happen.
pub(crate) fn pause(time: Duration, _why: &str) {
    std::thread::sleep(time);
}
