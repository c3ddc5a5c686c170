//! One HTTP/1.1 server: a keep-alive pool per worker, bounded waits, one retry where nothing was delivered.
//! In: an origin request. Out: a head that was checked against it, and a body that streams. Never: follows a redirect,
//! waits without a limit, or uses a connection again whose last answer did not end where it had to.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::connect::Address;
use super::pool::{Lease, Rest, Slot};
use super::truth::{self, Asked, Length};
use super::upstream::Upstream;
use super::wire::{Watched, Wire};
use super::{OriginBody, OriginError, OriginRequest, Phase, Pools, Upload, UploadFault};

/// hyper's read buffer grows up to this while an origin keeps filling it, and its allocation up to twice as far. Larger
/// reads cost less CPU per byte (a 1 GiB body: 1.35 s in reads of 64 KiB, 0.65 s of 1 MiB); a body in flight holds up to
/// three of them, which has to stay well below 8 MiB.
const READ_MAX: usize = 512 * 1024;

/// Larger heads are refused. hyper would otherwise allow as much as its buffer holds.
const HEAD_MAX: usize = 64 * 1024;

/// Headers that belong to the connection to the origin and end there (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How an HTTP origin is spoken to.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where it is.
    pub address: Address,
    /// What stands in `Host`; the URL's authority unless configured.
    pub host: HeaderValue,
    /// A path in front of every target, canonical, without a slash at its end; empty for none.
    pub base_path: String,
    /// Time for TCP and TLS.
    pub connect_timeout: Duration,
    /// Time from the request to the head of the response.
    pub head_timeout: Duration,
    /// Time between two pieces of a body.
    pub gap_timeout: Duration,
    /// How long a connection may lie idle; keep it below the origin's own keep-alive.
    pub idle_timeout: Duration,
    /// Idle connections kept per worker.
    pub max_idle: usize,
    /// Whether a body that ends with its connection is accepted (its end can't be told from a cut).
    pub allow_close_delimited: bool,
}

/// One HTTP/1.1 server.
#[derive(Debug)]
pub struct HttpOrigin {
    settings: HttpSettings,
    slot: Slot,
}

/// Why a request over one connection got no answer.
struct Lost {
    error: OriginError,
    /// Nothing of an answer came, so that the request may be sent once more if its method allows it.
    silent: bool,
}

impl HttpOrigin {
    /// An origin with these settings; it connects when it is first asked.
    pub fn new(settings: HttpSettings) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let slot = Slot {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            idle_timeout: settings.idle_timeout,
            max_idle: settings.max_idle,
        };
        Self { settings, slot }
    }

    /// The path in front of every target.
    pub(super) fn base_path(&self) -> &str {
        &self.settings.base_path
    }

    /// Answers one request.
    ///
    /// # Errors
    /// `OriginError`.
    pub async fn fetch(
        &self,
        pools: &Pools,
        request: OriginRequest,
    ) -> Result<Response<OriginBody>, OriginError> {
        if request.upload.is_announced_too_large() {
            return Err(OriginError::Upload(UploadFault::TooLarge));
        }
        let asked = Asked::of(&request.method, &request.headers);
        let request = self.compose(request)?;
        let (response, lease) = self.exchange(pools, request).await?;
        self.conclude(&asked, response, lease)
    }

    /// The request as it is written: hyper adds nothing but the framing of an upload.
    fn compose(&self, request: OriginRequest) -> Result<Request<Upload>, OriginError> {
        let OriginRequest {
            method,
            target,
            mut headers,
            mut upload,
        } = request;
        upload.set_patience(self.settings.gap_timeout);
        let target = match self.settings.base_path.as_str() {
            "" => target,
            base => [base, &target].concat(),
        };
        if !target.starts_with('/') {
            return Err(OriginError::Invalid("a target that can't be asked"));
        }
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target))
            .map_err(|_| OriginError::Invalid("a target that can't be asked"))?;
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        if upload.is_end_stream() && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            // RFC 9110 §8.6; some servers wait or answer 411 without it. All other framing is hyper's.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        headers.insert(header::HOST, self.settings.host.clone());
        let mut request = Request::new(upload);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends the request over an idle connection if it can be repeated, and once more over a fresh one when the idle
    /// one turns out to be dead. Everything else gets a fresh connection and one attempt (RFC 9110 §9.2.2).
    async fn exchange(
        &self,
        pools: &Pools,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Lease), OriginError> {
        let repeatable =
            matches!(*request.method(), Method::GET | Method::HEAD) && matches!(request.body(), Upload::None);
        let mut idle = if repeatable {
            pools.checkout(self.slot)
        } else {
            None
        };
        loop {
            let copy = idle.is_some().then(|| bodiless_copy(&request));
            let mut lease = match idle.take() {
                Some(lease) => lease,
                None => self.open(pools).await?,
            };
            lease.wire.arm();
            match (self.send(&mut lease, request).await, copy) {
                (Ok(response), _) => return Ok((response, lease)),
                (Err(lost), Some(copy)) if lost.silent => {
                    pools.stats().retried.fetch_add(1, Ordering::Relaxed);
                    request = copy;
                }
                (Err(lost), _) => return Err(lost.error),
            }
        }
    }

    async fn send(&self, lease: &mut Lease, request: Request<Upload>) -> Result<Response<Incoming>, Lost> {
        let Lease {
            sender, wire, alarm, ..
        } = lease;
        let uploads = !matches!(request.body(), Upload::None);
        let mut answer = pin!(async {
            sender.ready().await?;
            sender.try_send_request(request).await.map_err(http1_error)
        });
        let mut deadline = Instant::now() + self.settings.head_timeout;
        let mut moved = wire.moved();
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            // A long upload may take its time as long as it moves.
            while alarm.poll(cx, deadline).is_ready() {
                if !uploads || wire.moved() == moved {
                    return Poll::Ready(None);
                }
                moved = wire.moved();
                deadline = Instant::now() + self.settings.head_timeout;
            }
            Poll::Pending
        });
        match answer.await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(Lost {
                error: cause(error),
                silent: !wire.has_received(),
            }),
            None => Err(Lost {
                error: OriginError::Timeout(Phase::Head),
                silent: false,
            }),
        }
    }

    async fn open(&self, pools: &Pools) -> Result<Lease, OriginError> {
        let stream = self
            .settings
            .address
            .connect(self.settings.connect_timeout)
            .await?;
        let wire = Arc::new(Wire::new(Arc::clone(pools.stats())));
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&wire)));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_MAX)
            .max_header_size(HEAD_MAX)
            .handshake(io)
            .await
            .map_err(OriginError::Http)?;
        pools.stats().opened.fetch_add(1, Ordering::Relaxed);
        let watched = Arc::clone(&wire);
        tokio::spawn(async move {
            if connection.await.is_err_and(|error| is_unexpected_message(&error)) {
                watched.count_surplus();
            }
        });
        Ok(pools.lease(sender, wire, self.slot))
    }

    fn conclude(
        &self,
        asked: &Asked,
        response: Response<Incoming>,
        lease: Lease,
    ) -> Result<Response<OriginBody>, OriginError> {
        let (mut head, incoming) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(OriginError::Invalid("a switch of protocols"));
        }
        let length = truth::judge(asked, head.status, &mut head.headers).map_err(OriginError::Invalid)?;
        let left = match length {
            Length::Close if !self.settings.allow_close_delimited => {
                return Err(OriginError::Invalid("a body without a length"));
            }
            Length::Close | Length::Chunked(None) => None,
            Length::Nothing => Some(0),
            Length::Known(length) | Length::Chunked(Some(length)) => Some(length),
        };
        let body = match length {
            Length::Nothing | Length::Known(0) => {
                lease.give_back(Rest::Doubtful);
                OriginBody::Empty
            }
            _ => OriginBody::Upstream(Upstream::new(incoming, left, lease, self.settings.gap_timeout)),
        };
        remove_hop_by_hop(&mut head.headers);
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }
}

fn bodiless_copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::None);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = Version::HTTP_11;
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn http1_error<T>(error: hyper::client::conn::TrySendError<T>) -> hyper::Error {
    error.into_error()
}

/// An upload's own error comes back inside hyper's.
fn cause(error: hyper::Error) -> OriginError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(OriginError::Upload(reason)) = inner.downcast_ref() {
            return OriginError::Upload(*reason);
        }
        source = inner.source();
    }
    OriginError::Http(error)
}

/// hyper names this kind in its text only; it is the one that is none of the others and has no source.
fn is_unexpected_message(error: &hyper::Error) -> bool {
    error.source().is_none()
        && !(error.is_parse()
            || error.is_incomplete_message()
            || error.is_canceled()
            || error.is_closed()
            || error.is_user()
            || error.is_timeout())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            // Framing was judged above and is not for the origin to take away.
            .filter(|name| *name != header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
