//! HTTP/2 towards an origin: a few connections per worker and address, many requests on each. In: a request. Out: the head
//! of its answer, or how far it got. Never: more streams on a connection than configured.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body as HttpBody, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::body::Step;
use super::connect::Stream;
use super::{OriginError, OriginRequest, Phase, Upload, UploadFault};

/// How much of one body may be under way to us, unread: what one of HTTP/1.1 holds, about.
const WINDOW: u32 = 1024 * 1024;

/// Larger heads are refused, as with HTTP/1.1.
const HEAD_MAX: u32 = 64 * 1024;

/// A connection without an answer to a ping is over.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(10);

/// The HTTP/2 connections of one worker to one address.
#[derive(Default)]
pub(super) struct Multiplexing {
    connections: Vec<Shared>,
    /// One connection is opened at a time: those who come meanwhile share it.
    opening: Option<Arc<Semaphore>>,
}

/// A connection.
struct Shared {
    sender: SendRequest<Watched>,
    streams: Arc<AtomicUsize>,
    idle_since: Option<Instant>,
    idle_timeout: Duration,
}

/// A place on a connection, for one request.
pub(super) struct Seat {
    sender: SendRequest<Watched>,
    streams: Arc<AtomicUsize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Multiplexing {
    /// A place on a connection that has room.
    pub(super) fn seat(&mut self, most: usize) -> Option<Seat> {
        self.connections.retain(|shared| !shared.sender.is_closed());
        let shared = self
            .connections
            .iter_mut()
            .find(|shared| shared.streams.load(Ordering::Relaxed) < most)?;
        shared.idle_since = None;
        Some(shared.seat())
    }

    /// Whoever holds the permit opens a connection.
    pub(super) fn opening(&mut self) -> Arc<Semaphore> {
        Arc::clone(self.opening.get_or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    /// Keeps a connection, and takes the first place on it.
    pub(super) fn keep(&mut self, sender: SendRequest<Watched>, idle_timeout: Duration) -> Seat {
        let shared = Shared {
            sender,
            streams: Arc::default(),
            idle_since: None,
            idle_timeout,
        };
        let seat = shared.seat();
        self.connections.push(shared);
        seat
    }

    /// Lets go of connections that are over, and of those that nobody used for long.
    pub(super) fn tend(&mut self, now: Instant) {
        self.connections.retain_mut(|shared| {
            if shared.streams.load(Ordering::Relaxed) > 0 {
                shared.idle_since = None;
                return !shared.sender.is_closed();
            }
            let since = *shared.idle_since.get_or_insert(now);
            !shared.sender.is_closed() && now < since + shared.idle_timeout
        });
    }
}

impl Shared {
    fn seat(&self) -> Seat {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Seat {
            sender: self.sender.clone(),
            streams: Arc::clone(&self.streams),
        }
    }
}

/// Begins a connection; it is driven by a task of its own, which ends with the last who uses it.
///
/// # Errors
/// `Http` when not even the beginning can be sent.
pub(super) async fn handshake(stream: Stream, most: usize) -> Result<SendRequest<Watched>, OriginError> {
    // What readers leave unread of one body must not hold up another.
    let whole = u32::try_from(most).unwrap_or(u32::MAX).saturating_mul(WINDOW);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(whole.min(i32::MAX as u32))
        .max_header_list_size(HEAD_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| OriginError::Http(error.into()))?;
    tokio::spawn(async move {
        // How it ended is told by each of its streams.
        let _ = connection.await;
    });
    Ok(sender)
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
    /// Nothing was done with it: the origin said so, or was not reached.
    Untouched,
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
    let mut answer = std::pin::pin!(seat.sender.try_send_request(request));
    loop {
        match tokio::time::timeout(patience, &mut answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().map(|request| request.into_body().upload);
                let upload = watch.fault();
                let extent = match unsent {
                    Some(_) => Extent::Untouched,
                    None => extent(failed.error()),
                };
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
                Some(h2::Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => Extent::Untouched,
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
