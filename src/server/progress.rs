//! What the parts of a connection tell each other: its requests tell the socket when one begins and ends, the places tell it
//! to leave. One per connection, counters only.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::Socket;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::ahead::Ahead;

/// What the requests of a connection tell its socket.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// Requests whose head was read.
    requests: AtomicU64,
    /// How many of them are not answered to the end. Over HTTP/1.1 at most one.
    busy: AtomicUsize,
    /// When the last one ended, in milliseconds after `start`.
    ended: AtomicU64,
    /// Whether a body broke off.
    cut: AtomicBool,
    /// The socket of a connection over HTTP/2 that was shut down and not closed yet.
    parting: Mutex<Option<Socket>>,
    /// Whether a part of a head has come.
    reading: AtomicBool,
    /// Whether its place was given to another connection.
    is_dismissed: AtomicBool,
    /// The task that is to hear of it.
    task: Mutex<Option<Waker>>,
    /// How far its answers run ahead of its client.
    ahead: Ahead,
}

/// A request that is being answered; its drop ends it.
pub(super) struct InFlight(Arc<Progress>);

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        let zero = AtomicU64::new;
        Arc::new(Self {
            start: Instant::now(),
            requests: zero(0),
            busy: AtomicUsize::new(0),
            ended: zero(0),
            cut: AtomicBool::new(false),
            parting: Mutex::default(),
            reading: AtomicBool::new(false),
            is_dismissed: AtomicBool::new(false),
            task: Mutex::default(),
            ahead: Ahead::default(),
        })
    }

    /// A request's head was read.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// How far its answers run ahead of its client.
    pub(super) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// A body broke off: the connection must not end as if it were whole.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// For how long no request has been on its way; `None` where one is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let is_idle = !self.is_busy() && !self.reading.load(Ordering::Relaxed);
        is_idle.then(|| self.end().elapsed())
    }

    /// A byte of a head has come.
    pub(super) fn begin_head(&self) {
        self.reading.store(true, Ordering::Relaxed);
    }

    /// How many requests there were, and when the last one ended; for who has seen `seen` of them and wants to know
    /// whether more came and went.
    pub(super) fn ended_since(&self, seen: u64) -> Option<(u64, Instant)> {
        let requests = self.requests.load(Ordering::Relaxed);
        (requests != seen && !self.is_busy()).then(|| (requests, self.end()))
    }

    fn end(&self) -> Instant {
        self.start + Duration::from_millis(self.ended.load(Ordering::Relaxed))
    }

    /// Whether a body broke off.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Keeps a socket whose connection was shut down, for `part`.
    pub(super) fn keep(&self, socket: Option<Socket>) {
        *lock(&self.parting) = socket;
    }

    /// Another connection has its place: it is to end, now that it does nothing.
    pub(super) fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        if let Some(task) = lock(&self.task).take() {
            task.wake();
        }
    }

    /// Wakes this task when the connection is dismissed. Once is enough, since a connection stays in one task.
    pub(super) fn hear(&self, cx: &Context<'_>) {
        *lock(&self.task) = Some(cx.waker().clone());
    }

    /// Whether the connection is to end.
    pub(super) fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Acquire)
    }

    /// Waits until the connection is dismissed.
    pub(super) async fn dismissed(&self) {
        poll_fn(|cx| {
            self.hear(cx);
            if self.is_dismissed() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Reads what a client still sends after our end of an HTTP/2 connection, until it closes, is silent for `silence`,
    /// or takes longer than `limit`. Closing before would answer its next WINDOW_UPDATE with a reset, which throws
    /// away what it has not read yet (RFC 9112 §9.6 tells of the same danger).
    pub(super) async fn part(&self, silence: Duration, limit: Duration) {
        let parting = lock(&self.parting).take();
        let stream = parting.and_then(|socket| TcpStream::from_std(socket.into()).ok());
        let Some(mut stream) = stream else { return };
        let mut nothing = [0; 4096];
        let _ = tokio::time::timeout(limit, async {
            while let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read(&mut nothing)).await {}
        })
        .await;
    }

    /// When the last request ended; `None` before the first.
    pub(super) fn last_end(&self) -> Option<Instant> {
        let any = self.requests.load(Ordering::Relaxed) > 0;
        any.then(|| self.end())
    }
}

impl InFlight {
    /// How far its answer runs ahead of its client.
    pub(super) fn ahead(&self) -> &Ahead {
        self.0.ahead()
    }

    /// Its body broke off.
    pub(super) fn cut(&self) {
        self.0.cut();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let ended = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(ended, Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
