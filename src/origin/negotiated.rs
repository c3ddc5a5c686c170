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

/// HTTP/2 connections that may turn out to be over before a new one is made.
const STALE_MAX: u8 = 2;

impl HttpOrigin {
    /// A place on a connection that is there, or a new one.
    pub(super) async fn link(&self, attempts: &mut Attempts, ticket: Ticket) -> Result<Link, Missed> {
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
