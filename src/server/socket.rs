//! A client's socket with bounded waits: for the first byte, for the end of a head, for the next request, and for a
//! reader who takes nothing. The timers are set when something waits, never per request.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

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
        })
    }

    /// A request's head was read.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
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
    read_timer: Option<Pin<Box<Sleep>>>,
    /// Since when the reader takes nothing.
    stalled_since: Option<Instant>,
    write_timer: Option<Pin<Box<Sleep>>>,
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
            read_timer: None,
            stalled_since: None,
            write_timer: None,
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
        let answering = self.progress.is_busy() || self.stalled_since.is_some();
        let deadline = if answering {
            Instant::now() + self.waits.idle
        } else {
            self.deadline()
        };
        let timer = self
            .read_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // A timer that stands later than it has to is moved; one that stands earlier is moved when it rings.
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if !answering && Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// The reader takes nothing: is that still all right?
    fn wait_for_reader(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let deadline = *self.stalled_since.get_or_insert_with(Instant::now) + self.waits.stall;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
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
                this.stalled_since = None;
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
                this.stalled_since = None;
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
