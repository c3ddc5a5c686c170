//! An HTTP origin, and HTTP/1.1 towards it: a keep-alive pool per worker and address, bounded waits.
//! In: an origin request. Out: a head that was checked against it, and a body that streams. Never: follows a redirect,
//! waits without a limit, or uses a connection again whose last answer did not end where it had to.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use tokio::time::Instant;

use super::attempts::{Attempts, Order};
use super::connect::{Address, Stream};
use super::connection::Quiet;
use super::endpoint::Ticket;
use super::fleet::{Choice, Fleet, Protocol, Reach, Tried};
use super::head::Head;
use super::pool::{Lease, Rest};
use super::sending::{Framing, Sending};
use super::truth::{self, Asked, Length};
use super::upstream::Upstream;
use super::{Fetch, HttpFault, OriginBody, OriginError, OriginRequest, Pools, Upload, UploadFault};

/// Headers that nobody else sets: framing, and who asks.
pub(super) static OURS: [HeaderName; 4] = [
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

/// An HTTP server, at one address or several.
#[derive(Debug)]
pub struct HttpOrigin {
    pub(super) settings: HttpSettings,
    pub(super) fleet: Fleet,
    /// With what is offered by ALPN.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
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
            // The connection may have been dead for a while, which says nothing of the address. The request has no body, so
            // all of it is still there.
            Err(lost) if lost.silent => {
                let pools = lease.pools();
                pools.stats().retried.fetch_add(1, Ordering::Relaxed);
                let (asked, sending) = lease.connection.take_request();
                drop(lease);
                self.http.begin_again(pools, asked, sending, Tried::new())
            }
            Err(lost) => {
                lease.endpoint().failed();
                if !lost.is_cut() || !self.http.may_go_elsewhere(lease.endpoint()) {
                    return Poll::Ready(Fetch::Ready(Some(Err(lost.error))));
                }
                let pools = lease.pools();
                pools.stats().retried.fetch_add(1, Ordering::Relaxed);
                let (asked, sending) = lease.connection.take_request();
                let tried = Tried::from_slice(&[lease.endpoint().id()]);
                drop(lease);
                self.http.begin_again(pools, asked, sending, tried)
            }
        })
    }
}

impl HttpOrigin {
    /// An origin with these settings, at the addresses of its host; it connects when it is first asked.
    pub fn new(settings: HttpSettings) -> Self {
        Self::with_reach(settings, Reach::default())
    }

    /// An origin that is reached in this way.
    pub fn with_reach(settings: HttpSettings, reach: Reach) -> Self {
        let offered: &[&[u8]] = match reach.protocol {
            Protocol::Http1 => &[b"http/1.1"],
            Protocol::Http2 => &[b"h2"],
            Protocol::Auto => &[b"h2", b"http/1.1"],
        };
        let tls = settings.address.tls.as_deref().cloned().map(|mut config| {
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        });
        let fleet = Fleet::new(
            reach,
            &settings.address,
            (settings.idle_timeout, settings.max_idle),
        );
        Self { settings, fleet, tls }
    }

    /// The path in front of every target.
    pub(super) fn base_path(&self) -> &str {
        &self.settings.base_path
    }

    /// How long the head of an answer is waited for at most.
    pub(super) fn head_wait(&self) -> Duration {
        self.connect_wait() + self.settings.head_timeout
    }

    /// Whether HTTP/2 is spoken without asking.
    pub(super) fn speaks_http2_in_clear(&self) -> bool {
        self.tls.is_none() && self.fleet.settings.protocol == Protocol::Http2
    }

    /// Answers one request.
    pub(super) fn fetch(self: &Arc<Self>, pools: &Pools, request: OriginRequest) -> Fetch {
        if self.speaks_http2_in_clear()
            || (self.tls.is_some() && self.fleet.settings.protocol != Protocol::Http1)
        {
            return self.begin_negotiated(pools.clone(), request);
        }
        let asked = Asked::of(&request.method, &request.headers);
        let repeatable = is_repeatable(&request);
        let sending = match self.compose(request) {
            Ok(sending) => sending,
            Err(error) => return Fetch::Ready(Some(Err(error))),
        };
        self.send(pools, asked, sending, repeatable)
    }

    /// Sends a request that was composed in HTTP/1.1; `repeatable` says whether it may be sent once more.
    pub(super) fn send(
        self: &Arc<Self>,
        pools: &Pools,
        asked: Asked,
        sending: Sending,
        repeatable: bool,
    ) -> Fetch {
        let now = Instant::now();
        let ticket = match self.fleet.take(pools.random(), &Tried::new(), now) {
            Choice::Ticket(ticket) => ticket,
            Choice::Full | Choice::None => {
                return self.begin(pools.clone(), asked, sending, repeatable, None);
            }
        };
        // Only what can be repeated may go over an idle connection, which may be dead (RFC 9110 §9.2.2).
        if !repeatable {
            return self.begin(pools.clone(), asked, sending, repeatable, Some(ticket));
        }
        let lease = pools
            .checkout(ticket, now)
            .or_else(|ticket| self.fleet.checkout(pools, ticket, now));
        match lease {
            Err(ticket) => self.begin(pools.clone(), asked, sending, repeatable, Some(ticket)),
            Ok(mut lease) => {
                lease
                    .connection
                    .begin(asked, sending, now, self.settings.head_timeout);
                Fetch::Reused(Reused {
                    http: Arc::clone(self),
                    lease: Some(lease),
                })
            }
        }
    }

    /// Over a fresh connection. Boxed: a fresh connection is rare, and what it takes to make one would lie in every
    /// request's future.
    fn begin(
        self: &Arc<Self>,
        pools: Pools,
        asked: Asked,
        sending: Sending,
        repeatable: bool,
        ticket: Option<Ticket>,
    ) -> Fetch {
        let attempts = Attempts::new(self, pools, Tried::new(), repeatable);
        let order = Order::Written(asked, sending);
        Fetch::Waiting(Box::pin(Arc::clone(self).ask(attempts, order, ticket)))
    }

    fn begin_again(self: &Arc<Self>, pools: Pools, asked: Asked, sending: Sending, tried: Tried) -> Fetch {
        let attempts = Attempts::new(self, pools, tried, true);
        let order = Order::Written(asked, sending);
        Fetch::Waiting(Box::pin(Arc::clone(self).ask(attempts, order, None)))
    }

    /// The request as it is written. Header names are those of HTTP/2, in lower case, which every server must take.
    pub(super) fn compose(&self, request: OriginRequest) -> Result<Sending, OriginError> {
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
            if !OURS.contains(name) && *name != header::EXPECT {
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
        // The client waits to be asked for its upload; so let the origin be the one that asks.
        let held = !matches!(upload, Upload::None) && is_expectation(&headers);
        if held {
            add(&mut head, "expect", b"100-continue");
        }
        head.extend_from_slice(b"\r\n");
        let sending = Sending::new(head, upload, framing);
        Ok(if held { sending.held() } else { sending })
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

    /// A lease of a connection that was just opened.
    pub(super) fn lease(&self, stream: Stream, pools: &Pools, ticket: Ticket) -> Result<Lease, OriginError> {
        let mut lease = pools.opened(stream, ticket);
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

    pub(super) fn conclude(&self, head: Head, mut lease: Lease) -> Result<Response<OriginBody>, OriginError> {
        let Head {
            status,
            mut headers,
            persistent,
            rest,
        } = head;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(OriginError::Invalid("a switch of protocols"));
        }
        lease.endpoint().answered(status);
        let length = truth::judge(&lease.connection.take_asked(), status, &mut headers)
            .map_err(OriginError::Invalid)?;
        let body = match length {
            Length::Close(_) if !self.settings.allow_close_delimited => {
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

/// Whether a request may be sent once more.
pub(super) fn is_repeatable(request: &OriginRequest) -> bool {
    matches!(request.method, Method::GET | Method::HEAD) && matches!(request.upload, Upload::None)
}

/// Whether the client waits for a 100, and said so in the one way that there is.
fn is_expectation(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::EXPECT).iter();
    matches!((values.next(), values.next()), (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Adds a header line. Nothing of it may end the line.
pub(super) fn add(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// An address as text. The usual kind by hand: the formatting machinery takes ten times as long.
pub(super) fn address(client: IpAddr) -> String {
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
