//! One HTTP/1.1 server: a keep-alive pool per worker, bounded waits, one retry where nothing was delivered.
//! In: an origin request. Out: a head that was checked against it, and a body that streams. Never: follows a redirect,
//! waits without a limit, or uses a connection again whose last answer did not end where it had to.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use tokio::time::Instant;

use super::connect::Address;
use super::connection::Quiet;
use super::head::Head;
use super::pool::{Lease, Rest, Slot};
use super::sending::{Framing, Sending};
use super::truth::{self, Asked, Length};
use super::upstream::Upstream;
use super::{Fetch, HttpFault, OriginBody, OriginError, OriginRequest, Pools, Upload, UploadFault};

/// Headers that nobody else sets: framing, and who asks.
static OURS: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
    HeaderName::from_static("x-forwarded-for"),
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

/// Whether a request may be sent twice, and so over an idle connection, which may be dead (RFC 9110 §9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeatable {
    Yes,
    No,
}

/// A request over an idle connection; sent once more over a fresh one when the idle one turns out to be dead.
pub struct Reused {
    http: Arc<HttpOrigin>,
    lease: Option<Lease>,
}

impl Reused {
    /// The answer, or what else has to be waited for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fetch> {
        let Some(lease) = &mut self.lease else {
            return Poll::Pending;
        };
        let answer = ready!(lease.connection.poll_answer(cx));
        // Taken once: `Fetch` asks no more after this.
        let Some(mut lease) = self.lease.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match answer {
            Ok(head) => Fetch::Ready(Some(self.http.conclude(head, lease))),
            // It has no body, so all of it is still there.
            Err(lost) if lost.silent => {
                let pools = lease.pools();
                pools.stats().retried.fetch_add(1, Ordering::Relaxed);
                let (asked, sending) = lease.connection.take_request();
                Fetch::Waiting(Box::pin(Arc::clone(&self.http).ask_afresh(pools, asked, sending)))
            }
            Err(lost) => Fetch::Ready(Some(Err(lost.error))),
        })
    }
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

    /// How long the head of an answer is waited for at most.
    pub(super) fn head_wait(&self) -> Duration {
        self.settings.connect_timeout + self.settings.head_timeout
    }

    /// Answers one request.
    pub(super) fn fetch(self: &Arc<Self>, pools: &Pools, request: OriginRequest) -> Fetch {
        let asked = Asked::of(&request.method, &request.headers);
        let repeatable = match (&request.method, &request.upload) {
            (&Method::GET | &Method::HEAD, Upload::None) => Repeatable::Yes,
            _ => Repeatable::No,
        };
        let (head, upload, framing) = match self.compose(request) {
            Ok(composed) => composed,
            Err(error) => return Fetch::Ready(Some(Err(error))),
        };
        self.send(pools, asked, Sending::new(head, upload, framing), repeatable)
    }

    /// Sends a request that was composed.
    pub(super) fn send(
        self: &Arc<Self>,
        pools: &Pools,
        asked: Asked,
        sending: Sending,
        repeatable: Repeatable,
    ) -> Fetch {
        let now = Instant::now();
        let idle = match repeatable {
            Repeatable::Yes => pools.checkout(self.slot, now),
            Repeatable::No => None,
        };
        let Some(mut lease) = idle else {
            return Fetch::Waiting(Box::pin(Arc::clone(self).ask_afresh(
                pools.clone(),
                asked,
                sending,
            )));
        };
        lease
            .connection
            .begin(asked, sending, now, self.settings.head_timeout);
        Fetch::Reused(Reused {
            http: Arc::clone(self),
            lease: Some(lease),
        })
    }

    /// Over a fresh connection, in one attempt. Boxed by its callers: a fresh connection is rare, and what it takes to make
    /// one would lie in every request's future.
    async fn ask_afresh(
        self: Arc<Self>,
        pools: Pools,
        asked: Asked,
        sending: Sending,
    ) -> Result<Response<OriginBody>, OriginError> {
        let mut lease = self.open(&pools).await?;
        lease
            .connection
            .begin(asked, sending, Instant::now(), self.settings.head_timeout);
        match poll_fn(|cx| lease.connection.poll_answer(cx)).await {
            Ok(head) => self.conclude(head, lease),
            Err(lost) => Err(lost.error),
        }
    }

    /// The request as it is written. Header names are those of HTTP/2, in lower case, which every server must take.
    fn compose(&self, request: OriginRequest) -> Result<(Vec<u8>, Upload, Framing), OriginError> {
        let OriginRequest {
            method,
            target,
            headers,
            client,
            mut upload,
            now: _,
        } = request;
        if upload.is_announced_too_large() {
            return Err(OriginError::Upload(UploadFault::TooLarge));
        }
        upload.set_patience(self.settings.gap_timeout);
        let mut head = self.begin_head(&method, [&self.settings.base_path, &target])?;
        for (name, value) in &headers {
            if !OURS.contains(name) {
                add(&mut head, name.as_str(), value.as_bytes());
            }
        }
        if let Some(client) = client {
            add(&mut head, "x-forwarded-for", address(client).as_bytes());
        }
        add(&mut head, "host", self.settings.host.as_bytes());
        let mut framing = Framing::Length;
        if upload.is_end_stream() {
            upload = Upload::None;
            // RFC 9110 §8.6; some servers wait or answer 411 without it.
            if matches!(method, Method::POST | Method::PUT | Method::PATCH) {
                add(&mut head, "content-length", b"0");
            }
        } else if let Some(length) = upload.size_hint().exact() {
            add(&mut head, "content-length", length.to_string().as_bytes());
        } else {
            add(&mut head, "transfer-encoding", b"chunked");
            framing = Framing::Chunked;
        }
        head.extend_from_slice(b"\r\n");
        Ok((head, upload, framing))
    }

    /// The first line of a request, for a target in two parts; its headers are to be added.
    pub(super) fn begin_head(&self, method: &Method, target: [&str; 2]) -> Result<Vec<u8>, OriginError> {
        // A space or a line end in a target would be another request.
        let mut bytes = target[1].bytes();
        if !target[1].starts_with('/') || bytes.any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(OriginError::Invalid("a target that can't be asked"));
        }
        let mut head = Vec::with_capacity(512);
        for part in [method.as_str(), " ", target[0], target[1], " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Ok(head)
    }

    async fn open(&self, pools: &Pools) -> Result<Lease, OriginError> {
        let stream = self
            .settings
            .address
            .connect(self.settings.connect_timeout)
            .await?;
        let mut lease = pools.opened(stream, self.slot);
        match lease.connection.is_quiet() {
            Quiet::Yes => Ok(lease),
            Quiet::Closed => Err(OriginError::Http(HttpFault::Ended)),
            Quiet::Surplus => {
                lease.count_surplus();
                Err(OriginError::Http(HttpFault::Malformed(
                    "bytes before the request",
                )))
            }
        }
    }

    fn conclude(&self, head: Head, mut lease: Lease) -> Result<Response<OriginBody>, OriginError> {
        let Head {
            status,
            mut headers,
            persistent,
            rest,
        } = head;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(OriginError::Invalid("a switch of protocols"));
        }
        let length = truth::judge(&lease.connection.take_asked(), status, &mut headers)
            .map_err(OriginError::Invalid)?;
        let body = match length {
            Length::Close if !self.settings.allow_close_delimited => {
                return Err(OriginError::Invalid("a body without a length"));
            }
            Length::Nothing | Length::Known(0) => {
                if !rest.is_empty() {
                    lease.count_surplus();
                } else if persistent {
                    lease.give_back(Rest::Doubtful);
                }
                OriginBody::Empty
            }
            length => OriginBody::Upstream(Upstream::new(
                lease,
                length,
                rest,
                persistent,
                self.settings.gap_timeout,
            )),
        };
        headers.remove(header::TRANSFER_ENCODING);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Adds a header line. Nothing of it may end the line.
pub(super) fn add(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// An address as text. The usual kind by hand: the formatting machinery takes ten times as long.
fn address(client: IpAddr) -> String {
    let mut text = String::with_capacity(40);
    match client {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push('.');
                }
                for unit in [100, 10, 1] {
                    if octet >= unit || unit == 1 {
                        text.push(char::from(b'0' + octet / unit % 10));
                    }
                }
            }
        }
        IpAddr::V6(address) => {
            let _ = write!(text, "{address}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
