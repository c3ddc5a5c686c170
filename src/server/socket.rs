//! A client's socket with bounded waits: for the first byte, for the end of a head, for the next request, and for a
//! reader who takes nothing. The timers are set when something waits, never per request. It stands below TLS, so that
//! what it sees is what the wire does. Over HTTP/2 only the reader is its matter: heads are `http2`'s.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::progress::Progress;
use super::taking::Taking;
use crate::alarm::Alarm;

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

/// What the first bytes of a connection in clear are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The preface of HTTP/2 (RFC 9113 §3.3: with prior knowledge).
    Http2,
    /// Anything else: HTTP/1.1, or what its parser will refuse.
    Other,
    /// Not a byte in time.
    Nothing,
}

/// Pieces of so many bytes together are copied into one: the kernel takes longer over a list than this takes.
const FLAT: usize = 2048;

/// The preface of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much the first look at a connection reads: a usual head, so that it costs no system call of its own.
const FIRST_LOOK: usize = 4096;

/// Bytes that were read to look at them, and not yet by whom they are for.
struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

/// Whose matter the wait for heads is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heads {
    /// The socket's.
    Here,
    /// Somebody else's: the handshake has a wait of its own, and HTTP/2 knows streams.
    Elsewhere,
}

/// The socket.
pub(super) struct ClientSocket {
    stream: TcpStream,
    waits: Waits,
    heads: Heads,
    /// Whether our side was ended in order.
    is_shut: bool,
    ahead: Option<Ahead>,
    progress: Arc<Progress>,
    /// Requests when `since` was set.
    requests: u64,
    /// Since when it waits for a head.
    since: Instant,
    /// Whether a byte of that head has come.
    head_begun: bool,
    read_alarm: Alarm,
    /// What its reader takes.
    taking: Taking,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, waits: Waits, progress: Arc<Progress>) -> Self {
        let taking = Taking::new(&stream, waits.stall);
        Self {
            stream,
            waits,
            heads: Heads::Here,
            is_shut: false,
            ahead: None,
            progress,
            requests: 0,
            since: Instant::now(),
            head_begun: false,
            read_alarm: Alarm::default(),
            taking,
        }
    }

    /// Looks at the first bytes, and keeps them for the reader. Waits for no more of them than tell the difference.
    pub(super) async fn opening(&mut self) -> io::Result<Opening> {
        let mut first = Vec::with_capacity(FIRST_LOOK);
        let opening = loop {
            let ended = match self.read_buf(&mut first).await {
                Ok(count) => count == 0,
                // Who never said a word, as browsers do with connections that they open in advance, does no wrong.
                Err(error) if first.is_empty() && error.kind() == io::ErrorKind::TimedOut => {
                    break Opening::Nothing;
                }
                Err(error) => return Err(error),
            };
            // At the end of the stream it is the parser that judges what there was.
            if first.starts_with(PREFACE) {
                break Opening::Http2;
            }
            if ended || !PREFACE.starts_with(&first) {
                break Opening::Other;
            }
        };
        self.ahead = Some(Ahead {
            bytes: first,
            taken: 0,
        });
        Ok(opening)
    }

    /// From now on somebody else bounds the wait for heads.
    pub(super) fn leave_heads(&mut self) {
        self.heads = Heads::Elsewhere;
    }

    /// From now on the wait for heads is the socket's, beginning with the first.
    pub(super) fn watch_heads(&mut self) {
        self.heads = Heads::Here;
        self.head_begun = false;
        self.since = Instant::now();
    }

    /// Takes note of requests that came and went since the last look.
    fn look(&mut self) {
        if let Some((requests, ended)) = self.progress.ended_since(self.requests) {
            self.requests = requests;
            self.since = ended;
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
        if self.heads == Heads::Elsewhere {
            return Poll::Pending;
        }
        let answering = self.progress.is_busy() || self.taking.is_waited_for();
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

    /// A write ended.
    fn wrote(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        let result = self.taking.note(result, &self.stream);
        self.progress.ahead().reads_quickly(self.taking.is_quick());
        result
    }

    /// The reader takes nothing: is that still all right?
    fn wait_for_reader(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.taking.poll(cx, &self.stream) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for ClientSocket {
    /// After a body that broke off the end is a reset: to a client that reads to the end of the connection (HTTP/1.0), an
    /// orderly end would make half a file look whole.
    fn drop(&mut self) {
        if self.progress.is_cut() {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
        if self.is_shut && self.heads == Heads::Elsewhere {
            self.progress
                .keep(socket2::SockRef::from(&self.stream).try_clone().ok());
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
        if let Some(ahead) = &mut this.ahead {
            let rest = &ahead.bytes[ahead.taken..];
            let count = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..count]);
            ahead.taken += count;
            if ahead.taken == ahead.bytes.len() {
                this.ahead = None;
            }
            // An end of stream right behind them is seen by the next read.
            if count > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        this.look();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Pending => this.wait_for_head(cx),
            Poll::Ready(result) => {
                let begins = this.heads == Heads::Here && !this.head_begun && !this.progress.is_busy();
                if buffer.filled().len() > before && begins {
                    this.head_begun = true;
                    this.progress.begin_head();
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
            Poll::Ready(result) => Poll::Ready(this.wrote(result)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        if size <= FLAT {
            let mut flat = [0; FLAT];
            let mut end = 0;
            for slice in slices {
                flat[end..end + slice.len()].copy_from_slice(slice);
                end += slice.len();
            }
            return self.poll_write(cx, &flat[..end]);
        }
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write_vectored(cx, slices) {
            Poll::Pending => this.wait_for_reader(cx),
            Poll::Ready(result) => Poll::Ready(this.wrote(result)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        // hyper flushes when it has written all that it has.
        this.progress.ahead().written(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        this.is_shut = true;
        Poll::Ready(Ok(()))
    }
}
