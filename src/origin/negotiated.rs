//! Requests to origins that may speak HTTP/2: which connection they go over, and what their answers are. In: a request whose
//! protocol is open. Out: a connection of either kind; over HTTP/2 also the answer, checked as one of HTTP/1.1 is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode, header};
use tokio::time::Instant;

use super::attempts::{Again, Attempts, Freshness, Link, Missed, nowhere};
use super::endpoint::Ticket;
use super::http1::HttpOrigin;
use super::http2::{self, Extent, Refused, Seat};
use super::multiplexed::Multiplexed;
use super::truth::{self, Asked};
use super::{OriginBody, OriginError, OriginRequest, Phase, Upload, UploadFault};

/// Connections that may turn out to be over before a new one is made.
const STALE_MAX: u8 = 2;

impl HttpOrigin {
    /// A place on a connection that is there, or a new one.
    pub(super) async fn link(&self, attempts: &mut Attempts, ticket: Ticket) -> Result<Link, Missed> {
        let (endpoint, pools) = (Arc::clone(ticket.endpoint()), attempts.pools.clone());
        let most = self.fleet.settings.max_streams;
        // After some that were over, none is trusted that was there before.
        let (newer_than, freshness) = match attempts.stale < STALE_MAX {
            true => (0, Freshness::Reused),
            false => (
                pools.multiplexing(&endpoint.slot, |all| all.made()).unwrap_or(0),
                Freshness::Fresh,
            ),
        };
        let seat = || {
            pools
                .multiplexing(&endpoint.slot, |all| all.seat(most, newer_than))
                .flatten()
        };
        if let Some(seat) = seat() {
            return Ok(Link::Seat(seat, ticket, freshness));
        }
        let ticket = match attempts.repeatable && attempts.stale == 0 {
            false => ticket,
            true => match pools.checkout(ticket, Instant::now()) {
                Ok(lease) => return Ok(Link::Lease(lease, Freshness::Reused)),
                Err(ticket) => ticket,
            },
        };
        let chose_http1 = || endpoint.chose_http1.load(Ordering::Relaxed);
        // Who comes while a connection is opened waits for it: it has room for many.
        let opening = match chose_http1() {
            true => None,
            false => pools.multiplexing(&endpoint.slot, |all| all.opening()),
        };
        let Some(opening) = opening else {
            return self.open(attempts, ticket).await;
        };
        let failures = opening.failures();
        let limit = attempts.connect_limit(self);
        let permit = match tokio::time::timeout(limit, opening.permit.acquire()).await {
            Ok(permit) => permit.ok(),
            // It was not asked for anything, as far as this request goes.
            Err(_) => return Err(Missed::ours(OriginError::Timeout(Phase::Connect))),
        };
        if let Some(seat) = seat() {
            return Ok(Link::Seat(seat, ticket, freshness));
        }
        if let Some(error) = opening.failed_since(failures) {
            return Err(Missed::new(Again::Untouched)(error));
        }
        if chose_http1() {
            drop(permit);
            return self.open(attempts, ticket).await;
        }
        let link = self.open(attempts, ticket).await;
        if let Err(missed) = &link
            && missed.blame
        {
            opening.failed(&missed.error);
        }
        link
    }

    /// A new connection.
    async fn open(&self, attempts: &Attempts, ticket: Ticket) -> Result<Link, Missed> {
        let (endpoint, pools) = (Arc::clone(ticket.endpoint()), &attempts.pools);
        let most = self.fleet.settings.max_streams;
        let limit = attempts.connect_limit(self);
        let connect_by = Instant::now() + limit;
        let stream = self.connect(attempts, &ticket).await?;
        if !stream.is_http2() && !self.speaks_http2_in_clear() {
            endpoint.chose_http1.store(true, Ordering::Relaxed);
            let lease = self.lease(stream, pools, ticket);
            let lease = lease.map_err(Missed::new(Again::Untouched))?;
            return Ok(Link::Lease(lease, Freshness::Fresh));
        }
        endpoint.chose_http1.store(false, Ordering::Relaxed);
        let link = tokio::time::timeout_at(connect_by, http2::handshake(stream, most))
            .await
            .unwrap_or(Err(OriginError::Timeout(Phase::Connect)))
            .map_err(|error| self.unreached(limit, error))?;
        pools.stats().opened.fetch_add(1, Ordering::Relaxed);
        pools
            .multiplexing(&endpoint.slot, |all| all.keep(link, self.settings.idle_timeout))
            .map(|seat| Link::Seat(seat, ticket, Freshness::Fresh))
            .ok_or_else(|| Missed::ours(nowhere()))
    }

    /// Asks over HTTP/2, and holds the head against what was asked.
    pub(super) async fn over_http2(
        &self,
        attempts: &Attempts,
        request: &mut OriginRequest,
        (mut seat, ticket): (Seat, Ticket),
        freshness: Freshness,
    ) -> Result<Response<OriginBody>, Missed> {
        if request.upload.is_announced_too_large() {
            return Err(Missed::new(Again::No)(OriginError::Upload(UploadFault::TooLarge)));
        }
        let patience = attempts.patience(self)?;
        request.upload.set_patience(self.settings.gap_timeout);
        let asked = Asked::of(&request.method, &request.headers);
        let has_upload = !matches!(request.upload, Upload::None);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let place = (scheme, &self.settings.host);
        let composed =
            http2::compose(request, place, &self.settings.base_path).map_err(Missed::new(Again::No))?;
        let answer = match http2::ask(&mut seat, composed, patience).await {
            Ok(answer) => answer,
            Err(Refused {
                error,
                extent,
                unsent,
            }) => {
                let is_lost = has_upload && unsent.is_none();
                request.upload = unsent.unwrap_or_default();
                let may_be_stale = freshness == Freshness::Reused;
                let again = match (extent, &error) {
                    (_, OriginError::Timeout(_) | OriginError::Upload(_)) => Again::No,
                    // Its upload is gone with it.
                    _ if is_lost => Again::No,
                    (Extent::Untouched | Extent::Over, _) if may_be_stale => Again::Stale,
                    (Extent::Connection, _) if may_be_stale && attempts.repeatable => Again::Stale,
                    (Extent::Untouched | Extent::Over, _) => Again::Untouched,
                    _ => Again::Cut,
                };
                return Err(attempts.missed(self, patience, error, again));
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
