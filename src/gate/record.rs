//! Record: one access line and the counters, written when the body has ended: whole, or cut and by whom. The guard
//! writes them also when the client leaves and hyper drops the body, or the whole request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::counting::Counting;
use super::exchange::Exchange;
use super::limits::{READ, Share};
use super::refusal::{Code, Stop};
use super::withdrawal::Watch;
use crate::body::{Body, BodyError};
use crate::store::Store;
use crate::telemetry::access::{End, Line, Lines};
use crate::telemetry::metrics::Counters;

/// Where one worker's records go.
pub struct Recorder {
    /// Its access lines.
    pub lines: Lines,
    /// Its counters.
    pub counters: Arc<Counters>,
}

/// What came of a request, for its record.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `None` is `ok`.
    pub code: Option<Code>,
    /// The fact behind the code.
    pub detail: &'static str,
}

/// A body that counts itself and writes the record of its request at its end.
pub struct Recorded {
    body: Body,
    /// Whether something was handed on that hyper has had no occasion to write.
    unwritten: bool,
    /// Why the body broke off, until what came before is written.
    broken: Option<BodyError>,
    /// `None` where the record was written with the head.
    record: Option<Box<Record>>,
}

impl Recorded {
    /// A body whose request is recorded elsewhere.
    pub fn unrecorded(body: Body) -> Self {
        Self {
            body,
            unwritten: false,
            broken: None,
            record: None,
        }
    }

    /// Reads no more than so many bytes of an origin at once from now on.
    pub fn read_at_most(&mut self, bytes: usize) {
        let counts = self.record.as_ref().is_some_and(|record| record.share.is_some());
        self.body
            .read_at_most(if counts { bytes.min(READ) } else { bytes });
    }

    /// The next piece, at its time.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.record.as_mut().and_then(|record| record.share.as_mut()) {
            None => Pin::new(&mut self.body).poll_frame(cx),
            Some(share) => share.poll_frame(&mut self.body, cx),
        }
    }
}

struct Record {
    recorder: Arc<Recorder>,
    exchange: Exchange,
    outcome: Outcome,
    status: u16,
    head: Duration,
    bytes: u64,
    end: End,
    /// Of a session's file.
    counting: Option<Counting>,
    /// Of a body that ends with its token.
    watch: Option<Box<Watch>>,
    /// Of a body whose token has limits; given back with its last byte.
    share: Option<Box<Share>>,
}

impl Record {
    fn is_withdrawn(&mut self) -> bool {
        match (&mut self.watch, &self.exchange.claims) {
            (Some(watch), Some(claims)) => watch.finds(claims),
            _ => false,
        }
    }

    /// Bytes that were read and wait for their time.
    fn unshared(&self) -> u64 {
        self.share.as_ref().map_or(0, |share| share.left())
    }
}

/// The status in the record of a request whose client left before there was an answer (nginx's habit).
const CLIENT_LEFT: u16 = 499;

/// A request without an answer yet. Dropped so, it is recorded as left by its client.
pub struct Running {
    record: Option<Box<Record>>,
}

impl Running {
    /// Starts the guard.
    pub fn new(recorder: &Arc<Recorder>, exchange: Exchange) -> Self {
        Self {
            record: Some(Box::new(Record {
                recorder: Arc::clone(recorder),
                exchange,
                outcome: Outcome {
                    code: None,
                    detail: "the client left before there was an answer",
                },
                status: CLIENT_LEFT,
                head: Duration::ZERO,
                bytes: 0,
                end: End::CutByClient,
                counting: None,
                watch: None,
                share: None,
            })),
        }
    }

    /// What the phases write.
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self
            .record
            .as_mut()
            .expect("the record leaves only with `finish`, which takes the guard")
            .exchange
    }

    /// Counts what is handed out of a session's file.
    pub(super) fn count(&mut self, counting: Option<Counting>) {
        if let Some(record) = &mut self.record {
            record.counting = counting;
        }
    }

    /// Counts the body, and paces it, as its token's limits say.
    pub(super) fn limit(&mut self, share: Option<Box<Share>>) {
        if let Some(record) = &mut self.record {
            record.share = share;
        }
    }

    /// Cuts the body where its token is withdrawn meanwhile, if its route wants that.
    pub(super) fn watch(&mut self, stores: &Arc<ArcSwapOption<Store>>) {
        if let Some(record) = &mut self.record
            && record
                .exchange
                .route
                .as_ref()
                .is_some_and(|route| route.cut_revoked)
        {
            record.watch = Some(Box::new(Watch::new(stores)));
        }
    }

    /// Puts the guard around the answer's body.
    pub fn finish(mut self, outcome: Outcome, response: Response<Body>) -> Response<Recorded> {
        let mut record = self.record.take().expect("the record leaves only here");
        record.head = record.exchange.watch.elapsed();
        record.outcome = outcome;
        if outcome.code.is_some() {
            // What says that a token is withdrawn does not end with it.
            record.watch = None;
            record.share = None;
        }
        record.status = response.status().as_u16();
        response.map(|mut body| {
            // Until its end was seen, a body counts as cut by the client: that is what a drop without more means.
            let bodyless = record.exchange.method == http::Method::HEAD || body.is_end_stream();
            record.end = if bodyless { End::Complete } else { End::CutByClient };
            if bodyless {
                record.share = None;
            } else if record.share.is_some() {
                body.read_at_most(READ);
            }
            Recorded {
                body,
                // The head.
                unwritten: true,
                broken: None,
                record: Some(record),
            }
        })
    }
}

/// Tells the operator of a failure of ours or the origin's. What clients do wrong stands in the access log alone.
pub fn warn(exchange: &Exchange, stop: &Stop) {
    if let Stop::Failed(failure) = stop {
        tracing::warn!(
            code = failure.code.as_str(),
            route = exchange.route.as_ref().map(|route| &*route.name),
            cause = failure.source.as_ref().map(|source| chain(source)),
            "{}",
            failure.detail
        );
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(counting) = this.record.as_mut().and_then(|record| record.counting.as_mut()) {
            counting.next();
        }
        let mut polled = match this.record.as_mut().is_some_and(|record| record.is_withdrawn()) {
            true => Poll::Ready(Some(Err(BodyError::Withdrawn))),
            false => this.next(cx),
        };
        let unwritten = std::mem::replace(&mut this.unwritten, matches!(polled, Poll::Ready(Some(Ok(_)))));
        let Some(record) = &mut this.record else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                record.bytes += length;
                // hyper does not poll again after the last byte of a known length.
                let whole = this.body.is_end_stream() && record.unshared() == 0;
                if whole {
                    record.end = End::Complete;
                    // A client that has read it all may come for the next at once.
                    record.share = None;
                }
                if let Some(counting) = &mut record.counting {
                    counting.piece(length);
                    if whole {
                        counting.whole();
                    }
                }
            }
            Poll::Ready(Some(Err(BodyError::Withdrawn))) => {
                record.end = End::CutByGate;
                record.outcome.detail = "the token was withdrawn";
            }
            Poll::Ready(Some(Err(error))) => {
                record.end = End::CutByOrigin;
                record.outcome.detail = "the origin's body broke off";
                tracing::warn!(
                    route = record.exchange.route.as_ref().map(|route| &*route.name),
                    bytes = record.bytes,
                    error = %chain(error),
                    "a body was cut"
                );
            }
            Poll::Ready(None) => {
                record.end = End::Complete;
                record.share = None;
            }
            Poll::Pending => {
                if let Some(watch) = &mut record.watch {
                    watch.wait(cx);
                }
            }
        }
        if unwritten && matches!(polled, Poll::Ready(Some(Err(_)))) {
            // With the error hyper drops what it has not written: so it comes one turn later.
            if let Poll::Ready(Some(Err(error))) = std::mem::replace(&mut polled, Poll::Pending) {
                this.broken = Some(error);
                cx.waker().wake_by_ref();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let left = self.record.as_ref().map_or(0, |record| record.unshared());
        self.broken.is_none() && left == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let left = self.record.as_ref().map_or(0, |record| record.unshared());
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + left),
            None => hint.set_lower(hint.lower() + left),
        }
        hint
    }
}

/// An error and its sources, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Drop for Record {
    fn drop(&mut self) {
        let exchange = &self.exchange;
        let outcome = self.outcome.code.map_or(0, |code| 1 + code as usize);
        let route = exchange.route.as_deref();
        self.recorder.counters.request(
            route.map(|route| route.number),
            outcome,
            self.bytes,
            self.end,
            self.head,
        );
        if let (Some(route), Some(scheme)) = (route, exchange.scheme) {
            self.recorder.counters.token(
                route.number,
                scheme,
                !self.outcome.code.is_some_and(Code::is_no_way_in),
            );
        }
        self.recorder.lines.add(&Line {
            time: exchange.time,
            client: exchange.client,
            door: exchange.door.as_str(),
            method: exchange.method.as_str(),
            path: exchange.path.as_deref(),
            route: route.map(|route| &*route.name),
            status: self.status,
            code: self.outcome.code.map_or("ok", Code::as_str),
            detail: self.outcome.detail,
            uri_signing: super::uri_signing::number(exchange, &self.outcome),
            token_id: exchange.claims.as_ref().map(|claims| claims.token_id),
            subject: exchange
                .claims
                .as_ref()
                .and_then(|claims| claims.subject.as_deref()),
            bytes: self.bytes,
            end: self.end,
            head: self.head,
            total: exchange.watch.elapsed(),
        });
    }
}
