//! The socket below hyper's client. In: a stream to an origin. Out: the same bytes, and the facts hyper does not tell:
//! whether anything was received since the last request, and whether bytes wait where none may be. Never: changes a byte.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::OriginStats;
use super::connect::{Stream, Waiting};

/// What is known of one connection, shared by its driving task and its user.
#[derive(Debug, Default)]
pub(super) struct Wire {
    stats: Arc<OriginStats>,
    /// The next write starts a request: nothing may wait to be read then.
    armed: AtomicBool,
    received: AtomicBool,
    moved: AtomicU64,
}

impl Wire {
    pub(super) fn new(stats: Arc<OriginStats>) -> Self {
        Self {
            stats,
            ..Self::default()
        }
    }

    /// Before a request is handed to hyper.
    pub(super) fn arm(&self) {
        self.received.store(false, Ordering::Relaxed);
        self.armed.store(true, Ordering::Release);
    }

    /// Whether any byte came since `arm`.
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// Grows with every read and write that moved bytes.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn count_surplus(&self) {
        self.stats.surplus.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that is watched.
pub(super) struct Watched {
    stream: Stream,
    wire: Arc<Wire>,
}

impl Watched {
    pub(super) fn new(stream: Stream, wire: Arc<Wire>) -> Self {
        Self { stream, wire }
    }

    /// Bytes that wait before a request was sent would be taken for its answer. hyper reads an idle connection only
    /// when the runtime has seen that it is readable, which may be after the request was written; this looks itself,
    /// at the price of one system call.
    fn check(&self) -> io::Result<()> {
        if !self.wire.armed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.wire.armed.store(false, Ordering::Relaxed);
        match self.stream.waiting()? {
            Waiting::Nothing => Ok(()),
            Waiting::End => Err(io::ErrorKind::UnexpectedEof.into()),
            Waiting::Bytes => {
                self.wire.count_surplus();
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "bytes before the request",
                ))
            }
            // Most likely the alert that closes the connection.
            Waiting::Records => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = result {
            self.wire.moved.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.wire.received.store(true, Ordering::Relaxed);
            self.wire.moved.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
