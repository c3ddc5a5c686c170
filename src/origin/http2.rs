//! HTTP/2 towards an origin: a few connections per worker and address, many requests on each. In: a request. Out: the head
//! of its answer, or how far it got. Never: more streams on a connection than configured.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body as HttpBody, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::body::Step;
use super::connect::Stream;
use super::{HttpFault, OriginError, OriginRequest, Phase, Upload, UploadFault};

/// How much of one body may be under way to us, unread. It bounds what a slow reader costs, and what one body gets over a
/// long way: so much per round trip.
const WINDOW: u32 = 128 * 1024;

/// Larger heads are refused, as with HTTP/1.1.
const HEAD_MAX: u32 = 64 * 1024;

/// A connection without an answer to a ping is over.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(10);

/// The HTTP/2 connections of one worker to one address.
#[derive(Default)]
pub(super) struct Multiplexing {
    connections: Vec<Shared>,
    /// Connections that there ever were.
    made: u64,
    /// One connection is opened at a time: those who come meanwhile share it.
    opening: Option<Arc<Opening>>,
}

/// A connection.
struct Shared {
    link: Link,
    /// Which of all that there ever were, from 1.
    number: u64,
    idle_since: Option<Instant>,
    idle_timeout: Duration,
}

/// A connection whose origin has said what it allows.
#[derive(Clone)]
pub(super) struct Link {
    sender: SendRequest<Watched>,
    state: Arc<State>,
}

/// What is known of a connection.
#[derive(Default)]
struct State {
    /// Requests on it.
    streams: AtomicUsize,
    /// How many the origin allows; 0 until it has said so.
    allowed: AtomicUsize,
    /// It takes no more: the origin said so, or it broke.
    over: AtomicBool,
    /// Whether it is known what the origin allows.
    settled: AtomicBool,
    /// Who waits for that.
    waiting: Mutex<Option<Waker>>,
}

/// Whoever holds the permit opens a connection. When he fails, those who waited for him need not try the same.
pub(super) struct Opening {
    pub(super) permit: Semaphore,
    /// Failures that there ever were, and the last one.
    failures: AtomicU64,
    last: AtomicU8,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            permit: Semaphore::new(1),
            failures: AtomicU64::new(0),
            last: AtomicU8::new(0),
        }
    }
}

impl Opening {
    /// Failures that there ever were.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Tells those who wait how it failed.
    pub(super) fn failed(&self, error: &OriginError) {
        let number = match error {
            OriginError::Timeout(_) => 1,
            OriginError::Http(_) => 2,
            _ => 0,
        };
        self.last.store(number, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Release);
    }

    /// How it failed, since there had been so many failures.
    pub(super) fn failed_since(&self, failures: u64) -> Option<OriginError> {
        if self.failures() == failures {
            return None;
        }
        Some(match self.last.load(Ordering::Relaxed) {
            1 => OriginError::Timeout(Phase::Connect),
            2 => OriginError::Http(HttpFault::Ended),
            _ => OriginError::Connect(io::ErrorKind::ConnectionRefused.into()),
        })
    }
}

/// A place on a connection, for one request.
pub(super) struct Seat(Link);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Multiplexing {
    /// A place on a connection that has room, and is newer than so many others.
    pub(super) fn seat(&mut self, most: usize, newer_than: u64) -> Option<Seat> {
        self.connections.retain(|shared| !shared.link.is_over());
        let shared = self
            .connections
            .iter_mut()
            .find(|shared| shared.number > newer_than && shared.link.has_room(most))?;
        shared.idle_since = None;
        Some(shared.link.seat())
    }

    /// Connections that there ever were.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Who opens connections.
    pub(super) fn opening(&mut self) -> Arc<Opening> {
        Arc::clone(self.opening.get_or_insert_with(Arc::default))
    }

    /// Keeps a connection, and takes the first place on it.
    pub(super) fn keep(&mut self, link: Link, idle_timeout: Duration) -> Seat {
        self.made += 1;
        let seat = link.seat();
        let shared = Shared {
            link,
            number: self.made,
            idle_since: None,
            idle_timeout,
        };
        self.connections.push(shared);
        seat
    }

    /// Lets go of connections that are over, and of those that nobody used for long.
    pub(super) fn tend(&mut self, now: Instant) {
        self.connections.retain_mut(|shared| {
            if shared.link.state.streams.load(Ordering::Relaxed) > 0 {
                shared.idle_since = None;
                return !shared.link.is_over();
            }
            let since = *shared.idle_since.get_or_insert(now);
            !shared.link.is_over() && now < since + shared.idle_timeout
        });
    }
}

impl Link {
    fn is_over(&self) -> bool {
        self.sender.is_closed() || self.state.over.load(Ordering::Relaxed)
    }

    fn has_room(&self, most: usize) -> bool {
        let most = most.min(self.state.allowed.load(Ordering::Relaxed));
        self.state.streams.load(Ordering::Relaxed) < most
    }

    fn seat(&self) -> Seat {
        self.state.streams.fetch_add(1, Ordering::Relaxed);
        Seat(self.clone())
    }
}

impl State {
    /// Something may have come from the origin.
    fn stirred(&self) {
        if self.settled.load(Ordering::Relaxed) {
            return;
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// Spawns what hyper does for a connection, and tells when it has done some of it: hyper does not say when the origin's
/// settings are there.
#[derive(Clone)]
struct Stirring(Arc<State>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Stirring {
    fn execute(&self, work: F) {
        let state = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut work = pin!(work);
            poll_fn(|cx| {
                let done = work.as_mut().poll(cx);
                state.stirred();
                done
            })
            .await;
        });
    }
}

/// Begins a connection, and waits until its origin has said what it allows; it is driven by a task of its own, which ends
/// with the last who uses it.
///
/// # Errors
/// `Http` when it ends before that.
pub(super) async fn handshake(stream: Stream, most: usize) -> Result<Link, OriginError> {
    let state = Arc::<State>::default();
    // What readers leave unread of one body must not hold up another.
    let whole = u32::try_from(most).unwrap_or(u32::MAX).saturating_mul(WINDOW);
    let (sender, connection) = http2::Builder::new(Stirring(Arc::clone(&state)))
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(whole.min(i32::MAX as u32))
        .max_header_list_size(HEAD_MAX)
        .initial_max_send_streams(0)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| OriginError::Http(error.into()))?;
    let (settled, is_settled) = oneshot::channel();
    tokio::spawn(drive(connection, Arc::clone(&state), settled));
    match is_settled.await {
        Ok(Ok(())) => Ok(Link { sender, state }),
        Ok(Err(error)) => Err(OriginError::Http(error.into())),
        Err(_) => Err(OriginError::Http(HttpFault::Ended)),
    }
}

/// Drives a connection, and keeps in mind how many requests its origin allows.
async fn drive(
    mut connection: http2::Connection<TokioIo<Stream>, Watched, Stirring>,
    state: Arc<State>,
    settled: oneshot::Sender<hyper::Result<()>>,
) {
    let mut settled = Some(settled);
    let ended = poll_fn(|cx| {
        if settled.is_some() {
            let mut waiting = state.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            *waiting = Some(cx.waker().clone());
        }
        let ended = Pin::new(&mut connection).poll(cx);
        let allowed = connection.current_max_send_streams();
        state.allowed.store(allowed, Ordering::Relaxed);
        if allowed > 0
            && ended.is_pending()
            && let Some(settled) = settled.take()
        {
            state.settled.store(true, Ordering::Relaxed);
            *state.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let _ = settled.send(Ok(()));
        }
        // Nobody waits any more.
        if settled
            .as_mut()
            .is_some_and(|settled| settled.poll_closed(cx).is_ready())
        {
            return Poll::Ready(Ok(()));
        }
        ended
    })
    .await;
    // How it ended later is told by each of its streams.
    if let (Some(settled), Err(error)) = (settled, ended) {
        let _ = settled.send(Err(error));
    }
}

/// Why a request got no head.
pub(super) struct Refused {
    pub(super) error: OriginError,
    pub(super) extent: Extent,
    /// The upload, where no byte of the request was sent.
    pub(super) unsent: Option<Upload>,
}

/// What failed with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing was done with it: the origin said so of its stream.
    Untouched,
    /// Nothing was done with it, and its connection takes no more.
    Over,
    /// The whole connection.
    Connection,
    /// Its stream alone.
    Stream,
}

/// Sends a request and waits for the head of its answer.
pub(super) async fn ask(
    seat: &mut Seat,
    request: Request<Watched>,
    patience: Duration,
) -> Result<Response<Incoming>, Refused> {
    let watch = Arc::clone(&request.body().watch);
    let mut moved = 0;
    let Seat(Link { sender, state }) = seat;
    let mut answer = pin!(sender.try_send_request(request));
    loop {
        match tokio::time::timeout(patience, &mut answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().map(|request| request.into_body().upload);
                let upload = watch.fault();
                let extent = match unsent {
                    Some(_) => Extent::Over,
                    None => extent(failed.error()),
                };
                if matches!(extent, Extent::Over | Extent::Connection) {
                    state.over.store(true, Ordering::Relaxed);
                }
                let error = failed.into_error();
                let error = upload.map_or_else(|| OriginError::Http(error.into()), OriginError::Upload);
                return Err(Refused {
                    error,
                    extent,
                    unsent,
                });
            }
            // A long upload may take its time as long as it moves.
            Err(_) if watch.moved.load(Ordering::Relaxed) != moved => {
                moved = watch.moved.load(Ordering::Relaxed);
            }
            Err(_) => {
                return Err(Refused {
                    error: OriginError::Timeout(Phase::Head),
                    extent: Extent::Stream,
                    unsent: None,
                });
            }
        }
    }
}

/// By GOAWAY and REFUSED_STREAM an origin says that it did nothing (RFC 9113 §8.7).
fn extent(error: &hyper::Error) -> Extent {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return match error.reason() {
                Some(h2::Reason::REFUSED_STREAM) => Extent::Untouched,
                Some(h2::Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => Extent::Over,
                _ if error.is_reset() => Extent::Stream,
                _ => Extent::Connection,
            };
        }
        source = cause.source();
    }
    Extent::Connection
}

/// What a request is made of, for HTTP/2.
///
/// # Errors
/// `Invalid` for a target that can't be asked.
pub(super) fn compose(
    request: &mut OriginRequest,
    (scheme, authority): (&str, &HeaderValue),
    base_path: &str,
) -> Result<Request<Watched>, OriginError> {
    let impossible = OriginError::Invalid("a target that can't be asked");
    let Ok(authority) = authority.to_str() else {
        return Err(impossible);
    };
    let path = format!("{base_path}{}", request.target);
    let Ok(uri) = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(&*path)
        .build()
    else {
        return Err(impossible);
    };
    // What was judged is what is asked, byte for byte.
    if uri.path_and_query().is_none_or(|parsed| parsed.as_str() != path) {
        return Err(impossible);
    }
    let upload = std::mem::take(&mut request.upload);
    let mut composed = Request::new(Watched {
        upload,
        watch: Arc::default(),
    });
    *composed.method_mut() = request.method.clone();
    *composed.uri_mut() = uri;
    *composed.version_mut() = Version::HTTP_2;
    let headers = composed.headers_mut();
    *headers = request.headers.clone();
    for name in super::http1::OURS.iter().chain([&header::EXPECT]) {
        headers.remove(name);
    }
    if let Some(client) = request.client
        && let Ok(client) = HeaderValue::try_from(super::http1::address(client))
    {
        headers.insert("x-forwarded-for", client);
    }
    let body = composed.body();
    let empty = HttpBody::is_end_stream(body);
    if let Some(length) = body.size_hint().exact().filter(|_| !empty) {
        composed
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
    } else if empty && matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
        composed
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(composed)
}

/// An upload that is looked at on its way.
pub(super) struct Watched {
    upload: Upload,
    watch: Arc<Watch>,
}

/// What was seen.
#[derive(Default)]
struct Watch {
    /// Grows with every piece.
    moved: AtomicU64,
    fault: AtomicU8,
}

impl Watch {
    fn fault(&self) -> Option<UploadFault> {
        match self.fault.load(Ordering::Relaxed) {
            1 => Some(UploadFault::TooLarge),
            2 => Some(UploadFault::TooSlow),
            3 => Some(UploadFault::Broken),
            _ => None,
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step {
        let step = Pin::new(&mut self.upload).poll_frame(cx);
        match &step {
            Poll::Ready(Some(Ok(_))) => _ = self.watch.moved.fetch_add(1, Ordering::Relaxed),
            Poll::Ready(Some(Err(OriginError::Upload(fault)))) => {
                let number = match fault {
                    UploadFault::TooLarge => 1,
                    UploadFault::TooSlow => 2,
                    UploadFault::Broken => 3,
                };
                self.watch.fault.store(number, Ordering::Relaxed);
            }
            _ => {}
        }
        step
    }

    fn is_end_stream(&self) -> bool {
        HttpBody::is_end_stream(&self.upload)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.size_hint()
    }
}
