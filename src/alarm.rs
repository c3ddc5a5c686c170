//! A timer for waits that nearly always end early: it is set once, and moved only when it rings or stands too late, so
//! that a wait costs no turn of the timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The timer. Made at the first wait.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when `deadline` has passed; until then the task is woken when it does.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// A bounded wait for the next bytes of a stream: it begins when there are none and ends when some come.
#[derive(Debug, Default)]
pub struct Patience {
    limit: Duration,
    alarm: Alarm,
    /// Since when nothing has come.
    since: Option<Instant>,
}

impl Patience {
    /// Waits of at most `limit`.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Nothing has come: ready when that has lasted for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.alarm.poll(cx, since + self.limit)
    }

    /// Something has come.
    pub fn rest(&mut self) {
        self.since = None;
    }

    /// Whether something is waited for.
    pub fn is_waiting(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_however_often_that_is_moved() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let wait = |seconds| start + Duration::from_secs(seconds);
        // Set late, then wanted earlier, then later again, then in the past.
        for (first, second) in [(100, 10), (11, 50), (40, 41), (41, 41), (5, 60)] {
            poll_fn(|cx| {
                let _ = alarm.poll(cx, wait(first));
                Poll::Ready(())
            })
            .await;
            poll_fn(|cx| alarm.poll(cx, wait(second))).await;
            let passed = start.elapsed().as_secs();
            assert!(
                passed == second || (passed > second && second <= 50),
                "{first} {second}: {passed}"
            );
            assert!(Instant::now() >= wait(second));
        }
    }
}
