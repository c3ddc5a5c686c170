//! One client connection: TLS or none, HTTP/1.1 or HTTP/2, over a socket with bounded waits, until the client, an error
//! or the drain ends it. What hyper answers by itself (heads that are no HTTP) is counted here by kind.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::http2;
use super::limits::Place;
use super::parting::{Parting, Step};
use super::peer::Peer;
use super::progress::{InFlight, Progress};
use super::settings::ClientAddressRule;
use super::socket::{ClientSocket, Opening, Waits};
use super::tls::{self, Certificates, Named};
use crate::app::{Handling, Worker};
use crate::body::BodyError;
use crate::gate::Client;
use crate::gate::admit::MAX_URI_BYTES;
use crate::gate::record::Recorded;
use crate::telemetry::metrics::ConnectionError;

/// Which door a listener leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Gate,
    Issuer,
}

/// How far the server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not at all.
    Serving,
    /// Connections end after the answer they are at.
    Draining,
    /// Connections are cut.
    Ended,
}

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) worker: Arc<Worker>,
    pub(super) door: Door,
    /// What its listener proves itself with; `None` is in clear.
    pub(super) tls: Option<Arc<Certificates>>,
    /// How long a TLS handshake may take.
    pub(super) tls_timeout: Duration,
    /// Whether HTTP/2 is spoken.
    pub(super) http2: bool,
    pub(super) client_address: ClientAddressRule,
    pub(super) waits: Waits,
    /// The most bytes of headers that the gate accepts; hyper's own cap leaves room for the target on top.
    pub(super) max_head: usize,
    pub(super) stage: watch::Receiver<Stage>,
}

/// How a connection ended: by itself, or why.
pub(super) type Ended = Result<(), ConnectionError>;

impl Shared {
    /// Has a request answered behind the listener's door.
    pub(super) fn answer(&self, client: Client, request: Request<Incoming>) -> Handling {
        match self.door {
            Door::Gate => self.worker.gate(client, request),
            Door::Issuer => self.worker.issuer(client, request),
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, mut place: Place) {
    let counters = &shared.worker.recorder().counters;
    let _open = Open(Arc::clone(&shared));
    counters.connected();
    // Heads and small bodies leave at once; large bodies fill their segments anyway.
    let _ = stream.set_nodelay(true);
    let progress = Progress::new();
    place.seat(&progress);
    let socket = ClientSocket::new(stream, shared.waits, Arc::clone(&progress));
    let ended = match &shared.tls {
        None => clear(&shared, socket, &progress, peer).await,
        // Larger, and rarer per byte: kept out of the future of a connection in clear.
        Some(tls) => Box::pin(secure(&shared, tls, socket, &progress, peer)).await,
    };
    if let Err(kind) = ended {
        counters.connection_error(kind);
        note(peer, kind);
    }
}

/// In clear, HTTP/2 begins with its preface (prior knowledge). `Upgrade: h2c` is not taken.
async fn clear(
    shared: &Arc<Shared>,
    mut socket: ClientSocket,
    progress: &Arc<Progress>,
    address: SocketAddr,
) -> Ended {
    let named = None;
    let peer = Peer { address, named };
    if shared.http2 {
        let opening = unless_over(shared, progress, socket.opening()).await;
        match opening {
            None | Some(Ok(Opening::Nothing)) => return Ok(()),
            Some(Err(error)) => return Err(io_kind(&error)),
            Some(Ok(Opening::Http2)) => {
                socket.leave_heads();
                let (shared, progress) = (Arc::clone(shared), Arc::clone(progress));
                return Box::pin(http2::serve(shared, socket, progress, peer)).await;
            }
            Some(Ok(Opening::Other)) => {}
        }
    }
    http1(shared, socket, progress, peer).await
}

/// Over TLS, ALPN says what is spoken (RFC 9113 §3.2); without it, HTTP/1.1.
async fn secure(
    shared: &Arc<Shared>,
    tls: &Arc<Certificates>,
    mut socket: ClientSocket,
    progress: &Arc<Progress>,
    address: SocketAddr,
) -> Ended {
    socket.leave_heads();
    let handshake = unless_over(shared, progress, tls::handshake(tls, socket, shared.tls_timeout)).await;
    let Some(stream) = handshake else { return Ok(()) };
    let mut stream = stream?;
    let named = Named::of(tls, stream.get_ref().1);
    let peer = Peer { address, named };
    if stream.get_ref().1.alpn_protocol() == Some(tls::H2) {
        http2::serve(Arc::clone(shared), stream, Arc::clone(progress), peer).await
    } else {
        stream.get_mut().0.watch_heads();
        http1(shared, stream, progress, peer).await
    }
}

/// The result, or nothing when the server or the connection is to end before there is one.
async fn unless_over<T>(shared: &Shared, progress: &Progress, result: impl Future<Output = T>) -> Option<T> {
    let mut stage = shared.stage.clone();
    tokio::select! {
        result = result => Some(result),
        _ = stage.wait_for(|stage| *stage == Stage::Ended) => None,
        () = progress.dismissed() => None,
    }
}

async fn http1<I>(shared: &Arc<Shared>, io: I, progress: &Arc<Progress>, peer: Peer) -> Ended
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let parting = Parting::new();
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = progress.begin();
        let client = peer.client(&shared.client_address, &request);
        Answering {
            answer: shared.answer(client, request),
            in_flight: Some(in_flight),
            parting: &parting,
        }
    });
    let mut builder = http1::Builder::new();
    // Waits for heads are the socket's: hyper's own timer would be set anew for every request.
    builder
        .header_read_timeout(None)
        .max_header_size(shared.max_head + MAX_URI_BYTES + 4096);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let (mut stage, mut watched) = (shared.stage.clone(), shared.stage.clone());
    let mut leaves = false;
    while *stage.borrow_and_update() == Stage::Serving {
        let mut changed = pin!(watched.changed());
        let mut waits = false;
        let over = poll_fn(|cx| {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            // Polled once, it wakes this task; after that a look at the version is enough, and much quicker.
            let changes = match std::mem::replace(&mut waits, true) {
                false => {
                    progress.hear(cx);
                    changed.as_mut().poll(cx).is_ready()
                }
                true => stage.has_changed().unwrap_or(true),
            };
            let is_dismissed = progress.is_dismissed() && !std::mem::replace(&mut leaves, true);
            if changes || is_dismissed {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        });
        if let Some(result) = over.await {
            return ended(result, progress);
        }
        if leaves {
            // At once, or after the answer of a request that came at the same moment.
            connection.as_mut().graceful_shutdown();
        }
    }
    loop {
        tokio::select! {
            biased; // What can be read is read before the connection is closed as idle.
            result = connection.as_mut() => return ended(result, progress),
            step = parting.step(&mut stage, progress) => match step {
                Step::Close => connection.as_mut().graceful_shutdown(),
                Step::Cut => return Ok(()),
            },
        }
    }
}

/// Counts the connection's end, also when its task panics.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        let counters = &self.0.worker.recorder().counters;
        counters.disconnected();
        if std::thread::panicking() {
            counters.connection_error(ConnectionError::Panic);
        }
    }
}

/// How hyper says that a connection ended.
pub(super) fn ended(result: Result<(), hyper::Error>, progress: &Progress) -> Ended {
    let Err(error) = result else { return Ok(()) };
    let cause = std::error::Error::source(&error);
    let io = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    let h2 = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
    let io = io.or_else(|| h2.and_then(h2::Error::get_io));
    Err(if error.is_parse() {
        ConnectionError::Parse
    } else if error.is_timeout() {
        ConnectionError::Timeout
    } else if let Some(io) = io {
        // Many clients end TLS without a word; between two requests that harms nobody.
        if io.kind() == io::ErrorKind::UnexpectedEof && !progress.is_busy() {
            return Ok(());
        }
        io_kind(io)
    } else if let Some(h2) = h2 {
        match h2.reason() {
            // The client's own farewell.
            Some(h2::Reason::NO_ERROR) => return Ok(()),
            Some(h2::Reason::ENHANCE_YOUR_CALM) => ConnectionError::Flood,
            _ if h2.is_remote() => ConnectionError::Incomplete,
            _ => ConnectionError::Parse,
        }
    } else if error.is_incomplete_message() {
        ConnectionError::Incomplete
    } else if error.is_user() {
        ConnectionError::Cut
    } else {
        ConnectionError::Io
    })
}

fn io_kind(error: &io::Error) -> ConnectionError {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectionError::Timeout,
        _ => ConnectionError::Io,
    }
}

/// One line a second at most, with the address and without a URL.
pub(super) fn note(peer: SocketAddr, kind: ConnectionError) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<crate::clock::Stopwatch> = std::sync::OnceLock::new();
    let second = START
        .get_or_init(crate::clock::Stopwatch::start)
        .elapsed()
        .as_secs()
        + 1;
    if LAST.swap(second, Ordering::Relaxed) != second {
        tracing::info!(client = %peer.ip(), kind = kind.as_str(), "a connection ended without an answer of ours");
    }
}

/// An answer on its way, as hyper takes it.
struct Answering<'c> {
    answer: Handling,
    in_flight: Option<InFlight>,
    parting: &'c Parting,
}

impl Future for Answering<'_> {
    type Output = Result<Response<Tracked>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(Pin::new(&mut self.answer).poll(cx));
        self.parting.mark(&mut response);
        let in_flight = self.in_flight.take();
        Poll::Ready(Ok(response.map(|body| Tracked {
            body,
            read: usize::MAX,
            in_flight,
        })))
    }
}

/// A body that runs no further ahead of the socket than its client deserves, and tells it when its request is over.
struct Tracked {
    body: Recorded,
    /// What is read of it at once.
    read: usize,
    in_flight: Option<InFlight>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(in_flight) = &this.in_flight else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        let ahead = in_flight.ahead();
        if ahead.holds() {
            return Poll::Pending;
        }
        let read = ahead.read();
        if read != this.read {
            this.read = read;
            this.body.read_at_most(read);
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => ahead.hand(),
            Poll::Ready(Some(Err(_))) => in_flight.cut(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
