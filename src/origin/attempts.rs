//! The attempts at one request: to one address after another, where nothing of it can have had an effect or been seen. In:
//! a request, and where it was before. Out: an answer, or the last error. Never: sends an upload twice, or goes on for
//! longer than `head_wait`.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Response;
use tokio::time::Instant;

use super::endpoint::Count;
use super::endpoint::{Endpoint, Ticket};
use super::fleet::{Protocol, Tried, Wish};
use super::http1::{HttpOrigin, is_repeatable};
use super::http2::Seat;
use super::pool::Lease;
use super::sending::Sending;
use super::truth::Asked;
use super::{Fetch, HttpFault, OriginBody, OriginError, OriginRequest, Phase, Pools};

/// Addresses that one request is sent to, and that are connected to in vain.
const TRIES_MAX: usize = 8;

/// How many slow connections are waited for; what fails at once is not slow.
const SLOW_TRIES: u32 = 3;

/// An origin that has to speak HTTP/2 did not agree to it.
pub(super) const NO_HTTP2: &str = "no HTTP/2, where it was asked for";

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
    pub(super) pools: Pools,
    tried: Tried,
    /// Whether it may be sent once more.
    pub(super) repeatable: bool,
    /// How often a connection that was there turned out to be over.
    pub(super) stale: u8,
    /// By when a connection has to be there, and by when a head.
    pub(super) connect_by: Instant,
    answer_by: Instant,
    /// Whether it stands among the requests that there were.
    counted: bool,
}

/// An attempt that failed.
pub(super) struct Missed {
    pub(super) error: OriginError,
    pub(super) again: Again,
    /// Whether it counts against the address.
    pub(super) blame: bool,
}

/// What may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
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
    pub(super) fn new(again: Again) -> impl FnOnce(OriginError) -> Self {
        move |error| Self {
            blame: !matches!(error, OriginError::Upload(_) | OriginError::Invalid(_)),
            error,
            again,
        }
    }

    /// The address had no chance: this waited for something else for too long.
    pub(super) fn ours(error: OriginError) -> Self {
        Self {
            error,
            again: Again::Untouched,
            blame: false,
        }
    }
}

/// A way to send a request.
pub(super) enum Link {
    Lease(Lease, Freshness),
    Seat(Seat, Ticket, Freshness),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
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
            counted: false,
        }
    }

    /// It was begun before: no head is waited for any longer because of that.
    fn begun(&mut self, http: &HttpOrigin, since: Instant) {
        self.answer_by = since + http.head_wait();
        self.connect_by = self.connect_by.min(self.answer_by);
        self.counted = true;
    }

    /// How long one connection may take from now on.
    pub(super) fn connect_limit(&self, http: &HttpOrigin) -> Duration {
        http.settings
            .connect_timeout
            .min(self.connect_by.saturating_duration_since(Instant::now()))
    }

    /// How long the head may take from now on.
    ///
    /// # Errors
    /// `Timeout`, where all time has passed.
    pub(super) fn patience(&self, http: &HttpOrigin) -> Result<Duration, Missed> {
        let left = self.answer_by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Missed::ours(OriginError::Timeout(Phase::Head)));
        }
        Ok(http.settings.head_timeout.min(left))
    }

    /// Why there is no head, after so much patience: an address that had less than it may have is not to blame.
    pub(super) fn missed(
        &self,
        http: &HttpOrigin,
        patience: Duration,
        error: OriginError,
        again: Again,
    ) -> Missed {
        let missed = Missed::new(again)(error);
        let cut_short = is_cut_short(&missed.error, patience, http.settings.head_timeout);
        Missed {
            blame: missed.blame && !cut_short,
            ..missed
        }
    }
}

/// Whether a wait ran out that was much shorter than it may be.
fn is_cut_short(error: &OriginError, limit: Duration, whole: Duration) -> bool {
    matches!(error, OriginError::Timeout(_)) && limit < whole / 2
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
        attempts.counted |= ticket.is_some();
        if let Order::Written(_, sending) = &order
            && let Some(since) = sending.since()
        {
            attempts.begun(&self, since);
        }
        loop {
            let ticket = match ticket.take() {
                Some(ticket) => ticket,
                None => match self.next(&mut attempts).await {
                    Ok(Some(ticket)) => ticket,
                    // A request that was elsewhere already tells what happened there.
                    Ok(None) => return Err(last.unwrap_or_else(nowhere)),
                    Err(error) => return Err(last.unwrap_or(error)),
                },
            };
            let endpoint = Arc::clone(ticket.endpoint());
            let Missed { error, again, blame } = match self.attempt(&mut attempts, &mut order, ticket).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed,
            };
            if again == Again::Stale {
                attempts.stale += 1;
                // What was waited for was an answer.
                attempts.connect_by = (Instant::now() + self.connect_wait()).min(attempts.answer_by);
            } else {
                if blame {
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

    async fn next(&self, attempts: &mut Attempts) -> Result<Option<Ticket>, OriginError> {
        let settings = &self.settings;
        let count = match std::mem::replace(&mut attempts.counted, true) {
            true => Count::Again,
            false => Count::First,
        };
        let wish = Wish {
            random: attempts.pools.random(),
            tried: attempts.tried.clone(),
            count,
        };
        self.fleet
            .wait(
                wish,
                &settings.address,
                settings.connect_timeout,
                attempts.answer_by,
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

    pub(super) async fn connect(
        &self,
        attempts: &Attempts,
        ticket: &Ticket,
    ) -> Result<super::connect::Stream, Missed> {
        let limit = attempts.connect_limit(self);
        if limit.is_zero() {
            return Err(Missed::ours(OriginError::Timeout(Phase::Connect)));
        }
        let stream = self
            .settings
            .address
            .connect_to(ticket.endpoint().address, self.tls.as_ref(), limit)
            .await
            .map_err(|error| self.unreached(limit, error))?;
        let wants_http2 = self.tls.is_some() && self.fleet.settings.protocol == Protocol::Http2;
        if wants_http2 && !stream.is_http2() {
            let fault = OriginError::Http(HttpFault::Malformed(NO_HTTP2));
            return Err(Missed::new(Again::Untouched)(fault));
        }
        Ok(stream)
    }

    /// Why there is no connection, after so long: an address that had less than it may have is not to blame.
    pub(super) fn unreached(&self, limit: Duration, error: OriginError) -> Missed {
        match is_cut_short(&error, limit, self.settings.connect_timeout) {
            true => Missed::ours(error),
            false => Missed::new(Again::Untouched)(error),
        }
    }

    async fn over_http1(
        &self,
        attempts: &Attempts,
        order: &mut Order,
        mut lease: Lease,
        freshness: Freshness,
    ) -> Result<Response<OriginBody>, Missed> {
        let patience = attempts.patience(self)?;
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
                    now: request.now,
                };
                (asked, self.compose(copy).map_err(Missed::new(Again::No))?)
            }
        };
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
        Err(attempts.missed(self, patience, lost.error, again))
    }
}

pub(super) fn nowhere() -> OriginError {
    OriginError::Connect(std::io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::origin::HttpSettings;
    use crate::origin::connect::Address;

    fn origin() -> HttpOrigin {
        HttpOrigin::new(HttpSettings {
            address: Address::parse(&"http://127.0.0.1:9".parse().unwrap(), None).unwrap(),
            host: HeaderValue::from_static("files.example"),
            base_path: String::new(),
            connect_timeout: Duration::from_secs(2),
            head_timeout: Duration::from_secs(10),
            gap_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            max_idle: 1,
            allow_close_delimited: false,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_not_to_blame_for_time_that_was_spent_elsewhere() {
        let origin = origin();
        let mut attempts = Attempts::new(&origin, Pools::default(), Tried::new(), true);
        let late = Duration::from_secs(9);
        for (spent, blame) in [
            (Duration::ZERO, true),
            (Duration::from_secs(3), true),
            (late, false),
        ] {
            let timeout = OriginError::Timeout(Phase::Head);
            attempts.answer_by = Instant::now() + origin.head_wait() - spent;
            let patience = attempts.patience(&origin).ok().unwrap();
            let missed = attempts.missed(&origin, patience, timeout, Again::No);
            assert_eq!(missed.blame, blame, "{spent:?}");
            // What broke is broken, however short the wait was.
            let broken = OriginError::Http(HttpFault::Ended);
            assert!(attempts.missed(&origin, patience, broken, Again::Cut).blame);
        }
        tokio::time::advance(origin.head_wait()).await;
        let missed = attempts.patience(&origin).err().unwrap();
        assert!(!missed.blame && matches!(missed.error, OriginError::Timeout(Phase::Head)));
        let ticket = origin.fleet.endpoints()[0].enter(Count::First).unwrap();
        let missed = origin.connect(&attempts, &ticket).await.err().unwrap();
        assert!(!missed.blame && matches!(missed.error, OriginError::Timeout(Phase::Connect)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_begun_before_has_no_more_time_because_of_it() {
        let origin = origin();
        let mut attempts = Attempts::new(&origin, Pools::default(), Tried::new(), true);
        let since = Instant::now();
        tokio::time::advance(Duration::from_secs(8)).await;
        let again = Attempts::new(&origin, Pools::default(), Tried::new(), true);
        attempts.connect_by = again.connect_by;
        attempts.begun(&origin, since);
        // Two seconds to connect and ten for the head, of which eight have passed.
        assert_eq!(attempts.patience(&origin).ok().unwrap(), Duration::from_secs(4));
        assert_eq!(attempts.connect_limit(&origin), Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(attempts.patience(&origin).ok().unwrap(), Duration::from_secs(1));
    }
}
