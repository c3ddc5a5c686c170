//! A client's socket with bounded waits: for the first byte, for the end of a head, for the next request, and for a
//! reader who takes nothing. The timers are set when something waits, never per request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::alarm::{Alarm, Patience};

/// How long a client may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// From the connection, or a request's first byte, to the end of the head.
    pub(super) head: Duration,
    /// For the next request on a connection.
    pub(super) idle: Duration,
    /// For a reader to accept a byte.
    pub(super) stall: Duration,
}

/// What the requests of a connection tell its socket.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// Requests whose head was read.
    requests: AtomicU64,
    /// Whether one of them is not answered to the end.
    busy: AtomicBool,
    /// When the last one ended, in milliseconds after `start`.
    ended: AtomicU64,
    /// Whether a body broke off.
    cut: AtomicBool,
    /// Whether a part of a head has come.
    reading: AtomicBool,
}

/// A request that is being answered; its drop ends it.
pub(super) struct InFlight(Arc<Progress>);

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        let zero = AtomicU64::new;
        Arc::new(Self {
            start: Instant::now(),
            requests: zero(0),
            busy: AtomicBool::new(false),
            ended: zero(0),
            cut: AtomicBool::new(false),
            reading: AtomicBool::new(false),
        })
    }

    /// A request's head was read.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A body broke off: the connection must not end as if it were whole.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// For how long no request has been on its way; `None` where one is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let ended = self.start + Duration::from_millis(self.ended.load(Ordering::Relaxed));
        let is_idle = !self.is_busy() && !self.reading.load(Ordering::Relaxed);
        is_idle.then(|| ended.elapsed())
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}

impl InFlight {
    /// Its body broke off.
    pub(super) fn cut(&self) {
        self.0.cut();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let ended = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(ended, Ordering::Relaxed);
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

/// The socket.
pub(super) struct ClientSocket {
    stream: TcpStream,
    waits: Waits,
    progress: Arc<Progress>,
    /// Requests when `since` was set.
    requests: u64,
    /// Since when it waits for a head.
    since: Instant,
    /// Whether a byte of that head has come.
    head_begun: bool,
    read_alarm: Alarm,
    /// For a reader who takes nothing.
    stall: Patience,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, waits: Waits, progress: Arc<Progress>) -> Self {
        Self {
            stream,
            waits,
            progress,
            requests: 0,
            since: Instant::now(),
            head_begun: false,
            read_alarm: Alarm::default(),
            stall: Patience::new(waits.stall),
        }
    }

    /// Takes note of requests that came and went since the last look.
    fn look(&mut self) {
        let requests = self.progress.requests.load(Ordering::Relaxed);
        if requests != self.requests && !self.progress.is_busy() {
            self.requests = requests;
            self.since =
                self.progress.start + Duration::from_millis(self.progress.ended.load(Ordering::Relaxed));
            self.head_begun = false;
        }
    }

    /// By when the wait for a head is over.
    fn deadline(&self) -> Instant {
        let first = self.requests == 0;
        let wait = match (self.head_begun, first) {
            (true, _) => self.waits.head,
            (false, true) => self.waits.head.min(self.waits.idle),
            (false, false) => self.waits.idle,
        };
        self.since + wait
    }

    /// Nothing to read: is that still all right? While a request is answered, or bytes wait for a slow reader, no head is
    /// due; the timer is set nevertheless, since hyper may not come back here when the answer ends.
    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answering = self.progress.is_busy() || self.stall.is_waiting();
        let mut deadline = if answering {
            Instant::now() + self.waits.idle
        } else {
            self.deadline()
        };
        while self.read_alarm.poll(cx, deadline).is_ready() {
            if !answering {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            deadline = Instant::now() + self.waits.idle;
        }
        Poll::Pending
    }

    /// The reader takes nothing: is that still all right?
    fn wait_for_reader(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.stall.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for ClientSocket {
    /// After a body that broke off the end is a reset: to a client that reads to the end of the connection (HTTP/1.0), an
    /// orderly end would make half a file look whole.
    fn drop(&mut self) {
        if self.progress.cut.load(Ordering::Relaxed) {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Pending => this.wait_for_head(cx),
            Poll::Ready(result) => {
                if buffer.filled().len() > before && !this.head_begun && !this.progress.is_busy() {
                    this.head_begun = true;
                    this.progress.reading.store(true, Ordering::Relaxed);
                    this.since = Instant::now();
                }
                Poll::Ready(result)
            }
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(cx, data) {
            Poll::Pending => this.wait_for_reader(cx),
            ready => {
                this.stall.rest();
                ready
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write_vectored(cx, slices) {
            Poll::Pending => this.wait_for_reader(cx),
            ready => {
                this.stall.rest();
                ready
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}
