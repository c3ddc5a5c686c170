//! A connection that speaks HTTP/2: hyper's frames and streams, our bounds. In: a stream behind its preface or ALPN.
//! Out: requests for the app, cookie crumbs joined. A stream whose reader takes nothing is reset and lets go of its
//! origin; a connection without requests ends with GOAWAY; one that opens streams to abandon them is closed.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::{Ended, Shared, Stage, ended};
use super::peer::Peer;
use super::progress::{InFlight, Progress};
use super::socket::Waits;
use crate::alarm::{Alarm, Patience};
use crate::body::BodyError;
use crate::gate::Client;
use crate::gate::admit::MAX_URI_BYTES;
use crate::gate::record::Recorded;
use crate::telemetry::metrics::ConnectionError;

/// Requests at a time. RFC 9113 §6.5.2 advises no fewer than 100.
const MAX_STREAMS: u32 = 100;
/// What a client may send of one upload before we read it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What a client may send of all uploads together before we read it.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The largest frame we take (RFC 9113 §4.2: the least there is), and the piece in which bodies are handed over: what a
/// reader has to take so that its stream lives on.
const FRAME: u32 = 16 * 1024;
/// What waits for the socket, per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that the client reset before we had begun with them (rapid reset, CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we had to reset for the client's faults (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 256;
/// Requests that a client may abandon at once, and how many more with every second: seeking in a video abandons one.
const ABANDONED_AT_ONCE: f64 = 200.0;
const ABANDONED_PER_SECOND: f64 = 5.0;
/// How long a connection without requests may take to end after GOAWAY, when none was ever sent on it; and how long a
/// client may be silent after our end before its connection is closed.
const GOODBYE: Duration = Duration::from_secs(5);
/// The longest time without a sign of life before one is asked for by PING.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Serves the connection to its end, and waits for the client's.
pub(super) async fn serve<I>(shared: Arc<Shared>, io: I, progress: Arc<Progress>, peer: Peer) -> Ended
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stage = shared.stage.clone();
    let limit = shared.waits.stall;
    let ended = run(shared, io, Arc::clone(&progress), peer).await;
    tokio::select! {
        () = progress.part(GOODBYE, limit) => {}
        _ = stage.wait_for(|stage| *stage == Stage::Ended) => {}
    }
    ended
}

async fn run<I>(shared: Arc<Shared>, io: I, progress: Arc<Progress>, peer: Peer) -> Ended
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let waits = shared.waits;
    let abandoned = Arc::new(Abandoned::default());
    let streams = Streams {
        stall: waits.stall,
        abandoned: Arc::clone(&abandoned),
    };
    let mut builder = http2::Builder::new(streams);
    let max_head = u32::try_from(shared.max_head + MAX_URI_BYTES + 4096).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(max_head)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(waits.idle.min(SIGN_OF_LIFE))
        // A client that is stopped, like a player on pause, may take as long to answer as to read.
        .keep_alive_timeout(waits.stall);
    let mut stage = shared.stage.clone();
    let mut quiet = Quiet::new(waits, Arc::clone(&progress));
    let service = service_fn({
        let progress = Arc::clone(&progress);
        move |request: Request<Incoming>| {
            let client = peer.client(&shared.client_address, &request);
            answer(Arc::clone(&shared), progress.begin(), client, request)
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    loop {
        tokio::select! {
            result = connection.as_mut() => return ended(result, &progress),
            // The sender is gone only when the process ends.
            _ = stage.changed() => match *stage.borrow_and_update() {
                Stage::Serving => {}
                Stage::Draining => connection.as_mut().graceful_shutdown(),
                Stage::Ended => return Ok(()),
            },
            over = poll_fn(|cx| quiet.poll(cx, &abandoned)) => match over {
                Over::Idle | Over::Dismissed => connection.as_mut().graceful_shutdown(),
                Over::Silent => return Err(ConnectionError::Timeout),
                Over::Flood => return Err(ConnectionError::Flood),
            },
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    in_flight: InFlight,
    client: Client,
    mut request: Request<Incoming>,
) -> Result<Response<Piecewise>, Infallible> {
    join_crumbs(request.headers_mut());
    // Boxed: hyper and the runtime move a stream's future about, and copy all of it each time.
    let response = Box::new(shared.answer(client, request)).await;
    let reader = READER.try_with(Arc::clone).unwrap_or_default();
    Ok(response.map(|body| Piecewise::new(body, reader, in_flight)))
}

/// RFC 9113 §8.2.3: crumbs are one header for whoever does not speak HTTP/2.
fn join_crumbs(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = BytesMut::from(first.as_bytes());
    for crumb in headers.get_all(COOKIE).iter().skip(1) {
        joined.put_slice(b"; ");
        joined.put_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(joined.freeze()) {
        headers.insert(COOKIE, joined);
    }
}

/// Why a connection is not left to its client any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// No request for too long: GOAWAY.
    Idle,
    /// Another connection has its place: GOAWAY too.
    Dismissed,
    /// Nor an end after that.
    Silent,
    /// Too many requests were abandoned.
    Flood,
}

/// Bounds the time without requests.
struct Quiet {
    waits: Waits,
    progress: Arc<Progress>,
    start: Instant,
    /// Since when it is to end.
    goodbye: Option<Instant>,
    /// Whether this task hears when it is dismissed.
    hears: bool,
    alarm: Alarm,
}

impl Quiet {
    fn new(waits: Waits, progress: Arc<Progress>) -> Self {
        Self {
            waits,
            progress,
            start: Instant::now(),
            goodbye: None,
            hears: false,
            alarm: Alarm::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, abandoned: &Abandoned) -> Poll<Over> {
        if abandoned.too_many.load(Ordering::Relaxed) {
            return Poll::Ready(Over::Flood);
        }
        if !std::mem::replace(&mut self.hears, true) {
            self.progress.hear(cx);
        }
        if self.goodbye.is_none() && self.progress.is_dismissed() {
            self.goodbye = Some(Instant::now());
            return Poll::Ready(Over::Dismissed);
        }
        loop {
            let busy = self.progress.is_busy();
            ready!(self.alarm.poll(cx, self.deadline(busy)));
            // The requests may have ended, or others begun, since the alarm was set.
            if busy || self.progress.is_busy() || Instant::now() < self.deadline(false) {
                continue;
            }
            return Poll::Ready(match self.goodbye {
                None => {
                    self.goodbye = Some(Instant::now());
                    Over::Idle
                }
                Some(_) => Over::Silent,
            });
        }
    }

    fn deadline(&self, busy: bool) -> Instant {
        if busy {
            // Streams end in tasks of their own, which do not wake this one.
            return Instant::now() + self.waits.idle;
        }
        let last = self.progress.last_end();
        match (self.goodbye, last) {
            (None, None) => self.start + self.waits.head.min(self.waits.idle),
            (None, Some(last)) => last + self.waits.idle,
            (Some(goodbye), None) => goodbye + GOODBYE,
            // The end of an answer may still wait in a window that its reader keeps closed.
            (Some(goodbye), Some(last)) => goodbye.max(last) + self.waits.stall,
        }
    }
}

/// Requests whose client went away before it had the answer: a bucket that drains slowly.
#[derive(Default)]
struct Abandoned {
    level: Mutex<(f64, Option<Instant>)>,
    too_many: AtomicBool,
}

impl Abandoned {
    fn add(&self) {
        let mut bucket = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let drained = bucket
            .1
            .map_or(0.0, |last| (now - last).as_secs_f64() * ABANDONED_PER_SECOND);
        *bucket = ((bucket.0 - drained).max(0.0) + 1.0, Some(now));
        if bucket.0 > ABANDONED_AT_ONCE {
            self.too_many.store(true, Ordering::Relaxed);
        }
    }
}

tokio::task_local! {
    /// The reader of the stream that is being polled.
    static READER: Arc<Reader>;
}

/// What a stream's body tells the task that drives the stream.
#[derive(Debug, Default)]
struct Reader {
    /// Where the body stands.
    state: AtomicU8,
    /// Changes with every piece.
    pieces: AtomicU8,
}

/// It waits for us: for the gate, or the origin.
const OURS: u8 = 0;
/// A piece was handed over, and no other was asked for: the reader's window, or its connection, has no room.
const THEIRS: u8 = 1;
/// As before, and it was the last piece.
const LAST: u8 = 2;
/// Nothing is left to hand over.
const DONE: u8 = 3;

/// Runs the streams of a connection, each as a task.
#[derive(Clone)]
struct Streams {
    stall: Duration,
    abandoned: Arc<Abandoned>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let reader = Arc::<Reader>::default();
        let abandoned = Arc::clone(&self.abandoned);
        let mut stall = Stall {
            patience: Patience::new(self.stall),
            pieces: 0,
        };
        // Dropped with the task: hyper then resets the stream, and the body lets go of its origin. Boxed, since the runtime
        // moves a task about, and all of it is copied each time.
        let mut stream = Box::pin(stream);
        tokio::spawn(async move {
            poll_fn(|cx| {
                let polled = READER.sync_scope(Arc::clone(&reader), || stream.as_mut().poll(cx));
                match polled {
                    Poll::Ready(()) => Poll::Ready(()),
                    Poll::Pending => stall.poll(cx, &reader),
                }
            })
            .await;
            if matches!(reader.state.load(Ordering::Relaxed), OURS | THEIRS) {
                abandoned.add();
            }
        });
    }
}

/// Bounds the time in which a stream's reader takes nothing.
struct Stall {
    patience: Patience,
    pieces: u8,
}

impl Stall {
    fn poll(&mut self, cx: &mut Context<'_>, reader: &Reader) -> Poll<()> {
        let pieces = reader.pieces.load(Ordering::Relaxed);
        let theirs = matches!(reader.state.load(Ordering::Relaxed), THEIRS | LAST);
        if !theirs || pieces != self.pieces {
            self.pieces = pieces;
            self.patience.rest();
        }
        if theirs {
            self.patience.poll(cx)
        } else {
            Poll::Pending
        }
    }
}

/// A body in pieces of one frame, which tells the stream's task who is waited for.
struct Piecewise {
    body: Recorded,
    /// What is left of the body's last frame.
    rest: Bytes,
    /// What is read of it at once.
    read: usize,
    reader: Arc<Reader>,
    in_flight: InFlight,
}

impl Piecewise {
    fn new(body: Recorded, reader: Arc<Reader>, in_flight: InFlight) -> Self {
        if body.is_end_stream() {
            reader.state.store(DONE, Ordering::Relaxed);
        }
        Self {
            body,
            rest: Bytes::new(),
            read: usize::MAX,
            reader,
            in_flight,
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            let read = self.in_flight.ahead().read();
            if read != self.read {
                self.read = read;
                self.body.read_at_most(read);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    // Bodies of ours have no trailers.
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(FRAME as usize));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Piecewise {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.next(cx);
        let state = match &polled {
            Poll::Pending => OURS,
            Poll::Ready(Some(Ok(_))) => {
                this.reader.pieces.fetch_add(1, Ordering::Relaxed);
                if this.is_end_stream() { LAST } else { THEIRS }
            }
            Poll::Ready(_) => DONE,
        };
        this.reader.state.store(state, Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + rest),
            None => hint.set_lower(hint.lower() + rest),
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie_header() {
        let mut headers = HeaderMap::new();
        for crumb in ["a=1", "b=2; c=3", "d=4"] {
            headers.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_crumbs(&mut headers);
        let all: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(all, ["a=1; b=2; c=3; d=4"]);
        join_crumbs(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn abandoned_requests_are_forgiven_with_time() {
        let abandoned = Abandoned::default();
        for _ in 0..1000 {
            abandoned.add();
            tokio::time::advance(Duration::from_millis(250)).await;
        }
        assert!(!abandoned.too_many.load(Ordering::Relaxed));
        for _ in 0..=200 {
            abandoned.add();
        }
        assert!(abandoned.too_many.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_waited_for_from_piece_to_piece() {
        let reader = Reader::default();
        let mut stall = Stall {
            patience: Patience::new(Duration::from_secs(10)),
            pieces: 0,
        };
        let start = Instant::now();
        // Waiting for the origin never counts.
        for _ in 0..5 {
            poll_fn(|cx| {
                assert!(stall.poll(cx, &reader).is_pending());
                Poll::Ready(())
            })
            .await;
            tokio::time::advance(Duration::from_secs(9)).await;
        }
        // Nor does a reader who takes a piece now and then.
        for _ in 0..5 {
            reader.state.store(THEIRS, Ordering::Relaxed);
            reader.pieces.fetch_add(1, Ordering::Relaxed);
            poll_fn(|cx| {
                assert!(stall.poll(cx, &reader).is_pending());
                Poll::Ready(())
            })
            .await;
            tokio::time::advance(Duration::from_secs(9)).await;
        }
        poll_fn(|cx| stall.poll(cx, &reader)).await;
        assert_eq!(start.elapsed().as_secs(), 91);
    }
}
