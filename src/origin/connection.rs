//! One connection to an HTTP/1 origin. In: a request's bytes. Out: the head of the answer, and the bytes behind it.
//! Never: reads what nobody asked for; its buffers are kept from answer to answer.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use super::connect::{Stream, Waiting};
use super::head::{self, Head, Parsed};
use super::sending::{Broken, Sending};
use super::truth::Asked;
use super::{HttpFault, OriginError, Phase};
use crate::alarm::Alarm;

/// What is read for a head at first, which takes nearly every answer with the beginning of its body. Kept for as long as
/// the connection.
const HEAD_BUFFER: usize = 8 * 1024;

/// Larger heads are refused.
pub(super) const HEAD_MAX: usize = 64 * 1024;

/// Answers before the answer (1xx) that are skipped.
const INTERIM_MAX: u8 = 16;

/// How long an upload waits for the origin to ask for it (RFC 9110 §10.1.1: many never do).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// The first read of a body.
const READ_MIN: usize = 8 * 1024;

/// Reads grow up to this while an origin keeps filling them. Larger reads cost less CPU per byte (a 1 GiB body: 1.35 s
/// in reads of 64 KiB, 0.65 s of 1 MiB); a body in flight holds up to three of them, which has to stay well below 8 MiB,
/// and far less for who reads slowly (`server/ahead.rs`).
pub(super) const READ_MAX: usize = 512 * 1024;

/// A connection, with the request that it is at: so that a wait for an origin holds nothing but the connection.
pub(super) struct Connection {
    stream: Stream,
    sending: Sending,
    broken: Option<io::Error>,
    asked: Asked,
    /// By when the head of the answer, or more of the upload, has to have moved.
    deadline: Instant,
    patience: Duration,
    moved: u64,
    /// Until when the upload is held back, where it is.
    held_until: Instant,
    /// An answer's head, as far as it has come.
    head: Vec<u8>,
    filled: usize,
    interim: u8,
    received: bool,
    /// Where bodies are read to.
    body: BytesMut,
    read: ReadSize,
    /// For all waits for the origin.
    pub(super) alarm: Alarm,
}

/// Why a request got no answer.
pub(super) struct Lost {
    pub(super) error: OriginError,
    /// Nothing of an answer came, so that the request may be sent once more if its method allows it.
    pub(super) silent: bool,
}

impl Lost {
    /// The connection ended or broke.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.error, OriginError::Http(HttpFault::Ended | HttpFault::Io(_)))
    }
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            sending: Sending::default(),
            broken: None,
            asked: Asked::default(),
            deadline: Instant::now(),
            patience: Duration::ZERO,
            moved: 0,
            held_until: Instant::now(),
            head: vec![0; HEAD_BUFFER],
            filled: 0,
            interim: 0,
            received: false,
            body: BytesMut::new(),
            read: ReadSize::default(),
            alarm: Alarm::default(),
        }
    }

    /// Begins a request now, whose answer may take so long to begin.
    pub(super) fn begin(&mut self, asked: Asked, sending: Sending, now: Instant, patience: Duration) {
        self.asked = asked;
        self.sending = sending;
        self.sending.begin(now);
        self.broken = None;
        self.patience = patience;
        self.deadline = now + patience;
        self.held_until = now + CONTINUE_WAIT;
        self.moved = 0;
        self.filled = 0;
        self.interim = 0;
        self.received = false;
    }

    /// A request without a body, to be sent once more elsewhere.
    pub(super) fn take_request(&mut self) -> (Asked, Sending) {
        let sending = std::mem::take(&mut self.sending);
        (self.take_asked(), sending.again())
    }

    /// What was asked.
    pub(super) fn take_asked(&mut self) -> Asked {
        std::mem::take(&mut self.asked)
    }

    /// Sends the request and waits for the head of its answer, which may come before all of an upload was sent.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Lost>> {
        loop {
            let held = self.sending.is_held();
            let answer = self.poll_exchange(cx);
            if answer.is_ready() || !held {
                return answer;
            }
            // Released by a 100 meanwhile, or by having waited for one.
            if self.sending.is_held() {
                ready!(self.alarm.poll(cx, self.held_until));
                self.sending.release();
            }
        }
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Lost>> {
        if self.broken.is_none() && !self.sending.is_done() {
            match self.sending.poll(cx, &mut self.stream) {
                Poll::Ready(Err(Broken::Upload(error))) => {
                    return Poll::Ready(Err(Lost { error, silent: false }));
                }
                Poll::Ready(Err(Broken::Socket(error))) => self.broken = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        match self.poll_head(cx) {
            Poll::Ready(Ok(mut head)) => {
                head.persistent &= self.sending.is_done();
                self.sending = Sending::default();
                return Poll::Ready(Ok(head));
            }
            Poll::Ready(Err(fault)) => {
                return Poll::Ready(Err(self.lost(fault)));
            }
            // Nothing will come where nothing can be sent to.
            Poll::Pending if self.broken.is_some() => return Poll::Ready(Err(self.lost(HttpFault::Ended))),
            Poll::Pending => {}
        }
        // A long upload may take its time as long as it moves.
        while self.alarm.poll(cx, self.deadline).is_ready() {
            if self.sending.moved() == self.moved {
                return Poll::Ready(Err(Lost {
                    error: OriginError::Timeout(Phase::Head),
                    silent: false,
                }));
            }
            self.moved = self.sending.moved();
            self.deadline = Instant::now() + self.patience;
        }
        Poll::Pending
    }

    fn lost(&mut self, fault: HttpFault) -> Lost {
        Lost {
            error: OriginError::Http(self.broken.take().map_or(fault, HttpFault::Io)),
            silent: !self.received,
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, HttpFault>> {
        loop {
            if self.filled == self.head.len() {
                if self.filled >= HEAD_MAX {
                    return Poll::Ready(Err(HttpFault::Malformed("a head that is too large")));
                }
                self.head.resize(HEAD_MAX.min(2 * self.filled), 0);
            }
            let mut buffer = ReadBuf::new(&mut self.head[self.filled..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let before = self.filled;
            self.filled += buffer.filled().len();
            if self.filled == before {
                return Poll::Ready(Err(HttpFault::Ended));
            }
            self.received = true;
            // A line must have ended, so that an origin that sends byte by byte costs a parse per line at most.
            if before > 0 && !self.head[before..self.filled].contains(&b'\n') {
                continue;
            }
            while self.filled > 0 {
                match head::parse(&self.head[..self.filled]).map_err(HttpFault::Malformed)? {
                    Parsed::Partial => break,
                    Parsed::Interim(length) => {
                        self.sending.release();
                        self.interim += 1;
                        if self.interim > INTERIM_MAX {
                            return Poll::Ready(Err(HttpFault::Malformed(
                                "too many answers before the answer",
                            )));
                        }
                        self.head.copy_within(length..self.filled, 0);
                        self.filled -= length;
                    }
                    Parsed::Whole(head) => {
                        self.head.truncate(HEAD_BUFFER);
                        self.head.shrink_to(HEAD_BUFFER);
                        return Poll::Ready(Ok(head));
                    }
                }
            }
        }
    }

    /// The next bytes of a body of which `left` are still to come, where that is known, `most` at once; none at its end.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        left: Option<u64>,
        most: usize,
    ) -> Poll<io::Result<Bytes>> {
        let next = self.read.next.min(most);
        let size = left.map_or(next, |left| usize::try_from(left).unwrap_or(usize::MAX).min(next));
        if self.body.capacity() < size {
            // `reserve` makes a buffer of which all was read larger by just that, up to twice `READ_MAX`: good for who reads
            // quickly, and too much for who is read for in small pieces.
            if most >= READ_MAX {
                self.body.reserve(size);
            } else if !self.body.try_reclaim(size) {
                self.body = BytesMut::with_capacity(size);
            }
        }
        // What is left of an earlier read's buffer may be larger.
        let asked = self.body.capacity().min(most);
        let mut room = (&mut self.body).limit(asked);
        let count = ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))?;
        self.read.learn(count, asked);
        Poll::Ready(Ok(self.body.split().freeze()))
    }

    /// Lets go of what the last body was read to, which can be a mebibyte.
    pub(super) fn slim(&mut self) {
        self.body = BytesMut::new();
    }

    /// Whether nothing waits to be read: a request may be sent. Bytes that are already there would be taken for its answer,
    /// and the runtime may not have seen them yet; so this looks itself, at the price of one system call.
    pub(super) fn is_quiet(&mut self) -> Quiet {
        match self.stream.waiting() {
            Ok(Waiting::Nothing) => Quiet::Yes,
            Ok(Waiting::End) | Err(_) => Quiet::Closed,
            Ok(Waiting::Bytes) => Quiet::Surplus,
            // A session ticket, say; or the alert that closes the connection.
            Ok(Waiting::Records) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
                    Poll::Pending => Quiet::Yes,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => Quiet::Surplus,
                    Poll::Ready(_) => Quiet::Closed,
                }
            }
        }
    }
}

#[cfg(test)]
impl Connection {
    /// Whether memory is held for the next body.
    pub(super) fn keeps_a_buffer(&mut self) -> bool {
        self.body.try_reclaim(1)
    }
}

/// What a connection without a request has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    /// Nothing.
    Yes,
    /// That it is over.
    Closed,
    /// Bytes that nobody asked for.
    Surplus,
}

/// How much is read at once: more while reads are filled, less when two in a row were not by half.
#[derive(Debug)]
struct ReadSize {
    next: usize,
    was_small: bool,
}

impl Default for ReadSize {
    fn default() -> Self {
        Self {
            next: READ_MIN,
            was_small: false,
        }
    }
}

impl ReadSize {
    fn learn(&mut self, count: usize, asked: usize) {
        if count >= asked.min(self.next) {
            self.next = READ_MAX.min(2 * self.next);
            self.was_small = false;
        } else if count < self.next / 2 {
            if self.was_small {
                self.next = READ_MIN.max(self.next / 2);
            }
            self.was_small = !self.was_small;
        } else {
            self.was_small = false;
        }
    }
}
