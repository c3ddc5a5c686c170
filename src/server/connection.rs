//! One client connection: HTTP/1.1 over a socket with bounded waits, until the client, an error or the drain ends it.
//! What hyper answers by itself (heads that are no HTTP) is counted here by kind.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::parting::{Parting, Step};
use super::peer;
use super::settings::ClientAddressRule;
use super::socket::{ClientSocket, InFlight, Progress, Waits};
use crate::app::Worker;
use crate::body::BodyError;
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
    pub(super) worker: Worker,
    pub(super) door: Door,
    pub(super) client_address: ClientAddressRule,
    pub(super) waits: Waits,
    /// The most bytes of headers that the gate accepts; hyper's own cap leaves room for the target on top.
    pub(super) max_head: usize,
    pub(super) stage: watch::Receiver<Stage>,
}

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let counters = &shared.worker.recorder().counters;
    let _open = Open(Arc::clone(&shared));
    counters.connected();
    // Heads and small bodies leave at once; large bodies fill their segments anyway.
    let _ = stream.set_nodelay(true);
    let progress = Progress::new();
    let parting = Parting::new();
    let socket = ClientSocket::new(stream, shared.waits, Arc::clone(&progress));
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = progress.begin();
        let client = peer::client(&shared.client_address, peer, request.headers());
        let (shared, parting) = (&shared, &parting);
        async move {
            let mut response: Response<Recorded> = match shared.door {
                Door::Gate => shared.worker.gate(client, request).await,
                Door::Issuer => shared.worker.issuer(client, request).await,
            };
            parting.mark(&mut response);
            Ok::<_, Infallible>(response.map(|body| Tracked { body, in_flight }))
        }
    });
    let mut builder = http1::Builder::new();
    // Waits for heads are the socket's: hyper's own timer would be set anew for every request.
    builder
        .header_read_timeout(None)
        .max_header_size(shared.max_head + MAX_URI_BYTES + 4096);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut stage = shared.stage.clone();
    let result = loop {
        tokio::select! {
            biased; // What can be read is read before the connection is closed as idle.
            result = connection.as_mut() => break result,
            step = parting.step(&mut stage, &progress) => match step {
                Step::Close => connection.as_mut().graceful_shutdown(),
                Step::Cut => return,
            },
        }
    };
    if let Err(error) = result {
        let kind = kind(&error);
        counters.connection_error(kind);
        note(peer, kind);
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

fn kind(error: &hyper::Error) -> ConnectionError {
    let is_late = |error: &hyper::Error| {
        std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
    };
    if error.is_parse() {
        ConnectionError::Parse
    } else if error.is_timeout() || is_late(error) {
        ConnectionError::Timeout
    } else if error.is_incomplete_message() {
        ConnectionError::Incomplete
    } else if error.is_user() {
        ConnectionError::Cut
    } else {
        ConnectionError::Io
    }
}

/// One line a second at most, with the address and without a URL.
fn note(peer: SocketAddr, kind: ConnectionError) {
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

/// A body that tells the socket when its request is over.
struct Tracked {
    body: Recorded,
    in_flight: InFlight,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            this.in_flight.cut();
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
