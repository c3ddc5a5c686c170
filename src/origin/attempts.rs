//! The attempts at one request: to one address after another, where nothing of it can have had an effect or been seen. In:
//! a request, and where it was before. Out: an answer, or the last error. Never: sends an upload twice, or goes on for
//! longer than `head_wait`.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Response, StatusCode, header};
use tokio::time::Instant;

use super::endpoint::{Endpoint, Ticket};
use super::fleet::{Protocol, Tried};
use super::http1::{HttpOrigin, is_repeatable};
use super::http2::{self, Extent, Refused, Seat};
use super::multiplexed::Multiplexed;
use super::pool::Lease;
use super::sending::Sending;
use super::truth::{self, Asked};
use super::{Fetch, OriginBody, OriginError, OriginRequest, Phase, Pools, Upload, UploadFault};

/// Addresses that one request is sent to, and that are connected to in vain.
const TRIES_MAX: usize = 8;

/// How many slow connections are waited for; what fails at once is not slow.
const SLOW_TRIES: u32 = 3;

/// HTTP/2 connections that may turn out to be over before a new one is made.
const STALE_MAX: u8 = 2;

/// What is asked.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and lies in a box"
)]
pub(super) enum Order {
    /// As it is written in HTTP/1.1.
    Written(Asked, Sending),
    /// Before it is known what is spoken.
    Open(Box<OriginRequest>),
}

/// Where a request was, and what it may still do.
pub(super) struct Attempts {
    pools: Pools,
    tried: Tried,
    /// Whether it may be sent once more.
    repeatable: bool,
    /// How often a connection that was there turned out to be over.
    stale: u8,
    /// By when a connection has to be there, and by when a head.
    connect_by: Instant,
    answer_by: Instant,
}

/// An attempt that failed.
struct Missed {
    error: OriginError,
    again: Again,
}

/// What may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nothing.
    No,
    /// Another address: this one was sent nothing, or did nothing.
    Untouched,
    /// Another address, for what may be sent once more, if the budget allows it.
    Cut,
    /// The same: an idle connection was dead.
    Stale,
}

impl Missed {
    fn new(again: Again) -> impl FnOnce(OriginError) -> Self {
        move |error| Self { error, again }
    }
}

/// A way to send a request.
enum Link {
    Lease(Lease, Freshness),
    Seat(Seat, Ticket, Freshness),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Fresh,
    Reused,
}

impl Attempts {
    pub(super) fn new(http: &HttpOrigin, pools: Pools, tried: Tried, repeatable: bool) -> Self {
        let now = Instant::now();
        Self {
            pools,
            tried,
            repeatable,
            stale: 0,
            connect_by: now + http.connect_wait(),
            answer_by: now + http.head_wait(),
        }
    }

    /// How long the head may take from now on.
    fn patience(&self, http: &HttpOrigin) -> Duration {
        http.settings
            .head_timeout
            .min(self.answer_by.saturating_duration_since(Instant::now()))
    }
}

impl HttpOrigin {
    /// How long a connection is waited for at most: for room, and for as many slow addresses as there may be.
    pub(super) fn connect_wait(&self) -> Duration {
        let room = match self.fleet.settings.max_in_flight {
            0 => Duration::ZERO,
            _ => self.fleet.settings.queue_timeout,
        };
        let tries = if self.fleet.is_alone() { 1 } else { SLOW_TRIES };
        room + self.settings.connect_timeout * tries
    }

    /// Whether a request that may be sent once more, and that this address lost, may go to another.
    pub(super) fn may_go_elsewhere(&self, endpoint: &Endpoint) -> bool {
        self.fleet.has_other(&Tried::from_slice(&[endpoint.id()])) && self.fleet.may_retry()
    }

    /// A request whose protocol is to be found out.
    pub(super) fn begin_negotiated(self: &Arc<Self>, pools: Pools, request: OriginRequest) -> Fetch {
        let attempts = Attempts::new(self, pools, Tried::new(), is_repeatable(&request));
        let order = Order::Open(Box::new(request));
        Fetch::Waiting(Box::pin(Arc::clone(self).ask(attempts, order, None)))
    }

    /// Asks one address after another.
    pub(super) async fn ask(
        self: Arc<Self>,
        mut attempts: Attempts,
        mut order: Order,
        mut ticket: Option<Ticket>,
    ) -> Result<Response<OriginBody>, OriginError> {
        let mut last = None;
        loop {
            let ticket = match ticket.take() {
                Some(ticket) => ticket,
                None => match self.next(&attempts).await {
                    Ok(Some(ticket)) => ticket,
                    // A request that was elsewhere already tells what happened there.
                    Ok(None) => return Err(last.unwrap_or_else(nowhere)),
                    Err(error) => return Err(last.unwrap_or(error)),
                },
            };
            let endpoint = Arc::clone(ticket.endpoint());
            let Missed { error, again } = match self.attempt(&mut attempts, &mut order, ticket).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed,
            };
            if again == Again::Stale {
                attempts.stale += 1;
            } else {
                if !matches!(error, OriginError::Upload(_) | OriginError::Invalid(_)) {
                    endpoint.failed();
                }
                attempts.tried.push(endpoint.id());
                if !self.may_follow(&attempts, again) {
                    return Err(error);
                }
            }
            attempts.pools.stats().retried.fetch_add(1, Ordering::Relaxed);
            last = Some(error);
        }
    }

    async fn next(&self, attempts: &Attempts) -> Result<Option<Ticket>, OriginError> {
        let settings = &self.settings;
        self.fleet
            .wait(
                attempts.pools.random(),
                &attempts.tried,
                &settings.address,
                settings.connect_timeout,
            )
            .await
    }

    fn may_follow(&self, attempts: &Attempts, again: Again) -> bool {
        let allowed = match again {
            Again::Untouched => true,
            Again::Cut => attempts.repeatable,
            Again::No | Again::Stale => false,
        };
        allowed
            && attempts.tried.len() < TRIES_MAX
            && Instant::now() < attempts.connect_by
            && self.fleet.has_other(&attempts.tried)
            && (again == Again::Untouched || self.fleet.may_retry())
    }

    async fn attempt(
        &self,
        attempts: &mut Attempts,
        order: &mut Order,
        ticket: Ticket,
    ) -> Result<Response<OriginBody>, Missed> {
        let link = match order {
            Order::Written(..) => {
                let stream = self.connect(attempts, &ticket).await?;
                let lease = self.lease(stream, &attempts.pools, ticket);
                Link::Lease(lease.map_err(Missed::new(Again::Untouched))?, Freshness::Fresh)
            }
            Order::Open(_) => self.link(attempts, ticket).await?,
        };
        match (link, order) {
            (Link::Lease(lease, freshness), order) => {
                self.over_http1(attempts, order, lease, freshness).await
            }
            (Link::Seat(seat, ticket, freshness), Order::Open(request)) => {
                self.over_http2(attempts, request, (seat, ticket), freshness)
                    .await
            }
            (Link::Seat(..), Order::Written(..)) => Err(Missed::new(Again::No)(nowhere())),
        }
    }

    async fn connect(&self, attempts: &Attempts, ticket: &Ticket) -> Result<super::connect::Stream, Missed> {
        let left = attempts.connect_by.saturating_duration_since(Instant::now());
        let limit = self.settings.connect_timeout.min(left);
        let stream = self
            .settings
            .address
            .connect_to(ticket.endpoint().address, self.tls.as_ref(), limit)
            .await
            .map_err(Missed::new(Again::Untouched))?;
        let wants_http2 = self.tls.is_some() && self.fleet.settings.protocol == Protocol::Http2;
        if wants_http2 && !stream.is_http2() {
            return Err(Missed::new(Again::Untouched)(OriginError::Invalid(
                "no HTTP/2, where it was asked for",
            )));
        }
        Ok(stream)
    }

    /// A place on a connection that is there, or a new one.
    async fn link(&self, attempts: &mut Attempts, ticket: Ticket) -> Result<Link, Missed> {
        let (endpoint, pools) = (Arc::clone(ticket.endpoint()), attempts.pools.clone());
        let most = self.fleet.settings.max_streams;
        let seat = || pools.multiplexing(&endpoint.slot, |all| all.seat(most)).flatten();
        if let Some(seat) = seat() {
            return Ok(Link::Seat(seat, ticket, Freshness::Reused));
        }
        let ticket = match attempts.repeatable && attempts.stale == 0 {
            false => ticket,
            true => match pools.checkout(ticket, Instant::now()) {
                Ok(lease) => return Ok(Link::Lease(lease, Freshness::Reused)),
                Err(ticket) => ticket,
            },
        };
        // Who comes while a connection is opened waits for it: it has room for many.
        let opening = match endpoint.chose_http1.load(Ordering::Relaxed) {
            true => None,
            false => pools.multiplexing(&endpoint.slot, |all| all.opening()),
        };
        let permit = match &opening {
            None => None,
            Some(opening) => tokio::time::timeout_at(attempts.connect_by, opening.acquire())
                .await
                .map_err(|_| Missed::new(Again::Untouched)(OriginError::Timeout(Phase::Connect)))?
                .ok(),
        };
        if permit.is_some()
            && let Some(seat) = seat()
        {
            return Ok(Link::Seat(seat, ticket, Freshness::Reused));
        }
        let stream = self.connect(attempts, &ticket).await?;
        if !stream.is_http2() && !self.speaks_http2_in_clear() {
            endpoint.chose_http1.store(true, Ordering::Relaxed);
            drop(permit);
            let lease = self.lease(stream, &pools, ticket);
            let lease = lease.map_err(Missed::new(Again::Untouched))?;
            return Ok(Link::Lease(lease, Freshness::Fresh));
        }
        endpoint.chose_http1.store(false, Ordering::Relaxed);
        let sender = http2::handshake(stream, most)
            .await
            .map_err(Missed::new(Again::Untouched))?;
        pools.stats().opened.fetch_add(1, Ordering::Relaxed);
        pools
            .multiplexing(&endpoint.slot, |all| all.keep(sender, self.settings.idle_timeout))
            .map(|seat| Link::Seat(seat, ticket, Freshness::Fresh))
            .ok_or_else(|| Missed::new(Again::Untouched)(nowhere()))
    }

    async fn over_http1(
        &self,
        attempts: &Attempts,
        order: &mut Order,
        mut lease: Lease,
        freshness: Freshness,
    ) -> Result<Response<OriginBody>, Missed> {
        let (asked, sending) = match order {
            Order::Written(asked, sending) => (std::mem::take(asked), std::mem::take(sending)),
            Order::Open(request) => {
                let asked = Asked::of(&request.method, &request.headers);
                let copy = OriginRequest {
                    method: request.method.clone(),
                    target: request.target.clone(),
                    headers: request.headers.clone(),
                    client: request.client,
                    upload: std::mem::take(&mut request.upload),
                };
                (asked, self.compose(copy).map_err(Missed::new(Again::No))?)
            }
        };
        let patience = attempts.patience(self);
        lease.connection.begin(asked, sending, Instant::now(), patience);
        let lost = match poll_fn(|cx| lease.connection.poll_answer(cx)).await {
            Ok(head) => return self.conclude(head, lease).map_err(Missed::new(Again::No)),
            Err(lost) => lost,
        };
        let again = match freshness {
            Freshness::Reused if lost.silent => Again::Stale,
            _ if lost.is_cut() => Again::Cut,
            _ => Again::No,
        };
        if attempts.repeatable
            && let Order::Written(asked, sending) = order
        {
            (*asked, *sending) = lease.connection.take_request();
        }
        Err(Missed {
            error: lost.error,
            again,
        })
    }

    async fn over_http2(
        &self,
        attempts: &Attempts,
        request: &mut OriginRequest,
        (mut seat, ticket): (Seat, Ticket),
        freshness: Freshness,
    ) -> Result<Response<OriginBody>, Missed> {
        if request.upload.is_announced_too_large() {
            return Err(Missed::new(Again::No)(OriginError::Upload(UploadFault::TooLarge)));
        }
        request.upload.set_patience(self.settings.gap_timeout);
        let asked = Asked::of(&request.method, &request.headers);
        let has_upload = !matches!(request.upload, Upload::None);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let place = (scheme, &self.settings.host);
        let composed =
            http2::compose(request, place, &self.settings.base_path).map_err(Missed::new(Again::No))?;
        let answer = match http2::ask(&mut seat, composed, attempts.patience(self)).await {
            Ok(answer) => answer,
            Err(Refused {
                error,
                extent,
                unsent,
            }) => {
                let is_lost = has_upload && unsent.is_none();
                request.upload = unsent.unwrap_or_default();
                let may_be_stale = freshness == Freshness::Reused && attempts.stale < STALE_MAX;
                let again = match (extent, &error) {
                    (_, OriginError::Timeout(_) | OriginError::Upload(_)) => Again::No,
                    // Its upload is gone with it.
                    _ if is_lost => Again::No,
                    (Extent::Untouched, _) if may_be_stale => Again::Stale,
                    (Extent::Connection, _) if may_be_stale && attempts.repeatable => Again::Stale,
                    (Extent::Untouched, _) => Again::Untouched,
                    _ => Again::Cut,
                };
                return Err(Missed { error, again });
            }
        };
        ticket.endpoint().answered(answer.status());
        let (mut head, body) = answer.into_parts();
        let length = truth::judge(&asked, head.status, &mut head.headers)
            .map_err(|what| Missed::new(Again::No)(OriginError::Invalid(what)))?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Missed::new(Again::No)(OriginError::Invalid(
                "a switch of protocols",
            )));
        }
        head.headers.remove(header::TRANSFER_ENCODING);
        let mut body = Multiplexed::new(
            body,
            length,
            (seat, ticket),
            attempts.pools.clone(),
            self.settings.gap_timeout,
        );
        let body = match body.left() {
            Some(0) => {
                body.finish();
                OriginBody::Empty
            }
            _ => OriginBody::Multiplexed(Box::new(body)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }
}

fn nowhere() -> OriginError {
    OriginError::Connect(std::io::ErrorKind::AddrNotAvailable.into())
}
