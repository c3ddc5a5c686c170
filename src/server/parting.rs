//! How an HTTP/1.1 connection ends in a drain: the next answer says `Connection: close`, and one that is idle is closed
//! after a moment, so that a request that was on its way is still answered (RFC 9112 §9.6).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Response;
use http::header::{CONNECTION, HeaderValue};
use tokio::sync::watch;

use super::connection::Stage;
use super::doors::until;
use super::progress::Progress;

/// How long a connection lies idle before it is closed. Longer than a client on the other side of the world needs.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// End it: nothing is on its way.
    Close,
    /// Cut it.
    Cut,
}

/// The end of one connection.
pub(super) struct Parting {
    begun: AtomicBool,
}

impl Parting {
    pub(super) const fn new() -> Self {
        Self {
            begun: AtomicBool::new(false),
        }
    }

    /// Says in an answer that the connection ends with it, where it does.
    pub(super) fn mark<B>(&self, response: &mut Response<B>) {
        if self.begun.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }

    /// Waits until something is to be done.
    pub(super) async fn step(&self, stage: &mut watch::Receiver<Stage>, progress: &Arc<Progress>) -> Step {
        // The sender is gone only when the process ends.
        if !until(stage, |stage| *stage != Stage::Serving).await {
            return Step::Cut;
        }
        self.begun.store(true, Ordering::Relaxed);
        tokio::select! {
            _ = until(stage, |stage| *stage == Stage::Ended) => Step::Cut,
            () = quiet(progress) => Step::Close,
        }
    }
}

/// Waits until the connection has been idle for `LINGER`, and the runtime has looked for what arrived last.
async fn quiet(progress: &Progress) {
    tokio::time::sleep(LINGER).await;
    loop {
        let left = LINGER.saturating_sub(progress.idle_for().unwrap_or_default());
        if !left.is_zero() {
            tokio::time::sleep(left).await;
            continue;
        }
        tokio::task::yield_now().await;
        if progress.idle_for().is_some_and(|idle| idle >= LINGER) {
            return;
        }
    }
}
