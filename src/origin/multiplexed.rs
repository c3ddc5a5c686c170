//! The body of an answer over HTTP/2. In: its stream. Out: data, bounded in time and length. Never: a short body that looks
//! whole, or a reset of a stream that ended well.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;

use super::body::Step;
use super::endpoint::Ticket;
use super::http2::Seat;
use super::truth::Length;
use super::{HttpFault, OriginError, Phase, Pools};
use crate::alarm::Patience;

/// How long the end of a body may take after its last byte before its stream is reset.
const END_WAIT: Duration = Duration::from_secs(1);

/// The body of an answer over HTTP/2.
pub struct Multiplexed {
    /// `None` once the body ended, in whatever way.
    source: Option<Source>,
    /// Bytes of data still to come, where that is known.
    left: Option<u64>,
    patience: Patience,
}

struct Source {
    body: Incoming,
    pools: Pools,
    _seat: Seat,
    _ticket: Ticket,
}

impl Multiplexed {
    /// A body of this length.
    pub(super) fn new(
        body: Incoming,
        length: Length,
        (seat, ticket): (Seat, Ticket),
        pools: Pools,
        gap: Duration,
    ) -> Self {
        let left = match length {
            Length::Nothing => Some(0),
            Length::Known(left) => Some(left),
            // The end of the stream is told apart from a cut.
            Length::Chunked(left) | Length::Close(left) => left,
        };
        Self {
            source: Some(Source {
                body,
                pools,
                _seat: seat,
                _ticket: ticket,
            }),
            left,
            patience: Patience::new(gap),
        }
    }

    /// Bytes still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Nothing more will come.
    pub(super) fn is_done(&self) -> bool {
        self.source.is_none()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            let Some(source) = &mut self.source else {
                return Poll::Ready(None);
            };
            let frame = match Pin::new(&mut source.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return self.fail(OriginError::Http(error.into())),
                Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                    return self.fail(OriginError::Http(HttpFault::Ended));
                }
                Poll::Ready(None) => {
                    self.source = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    std::task::ready!(self.patience.poll(cx));
                    return self.fail(OriginError::Timeout(Phase::Gap));
                }
            };
            self.patience.rest();
            // Trailers stay behind.
            let Ok(mut data) = frame.into_data() else { continue };
            if let Some(left) = &mut self.left {
                if data.len() as u64 > *left {
                    // What was promised is passed on, the rest is not.
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    source.pools.stats().surplus.fetch_add(1, Ordering::Relaxed);
                }
                *left -= data.len() as u64;
                if *left == 0 {
                    self.finish();
                }
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    /// All bytes are there; the end of the stream may come in a frame of its own. Who leaves without it resets the stream,
    /// and servers count resets.
    pub(super) fn finish(&mut self) {
        let Some(mut source) = self.source.take() else {
            return;
        };
        if HttpBody::is_end_stream(&source.body) {
            return;
        }
        tokio::spawn(async move {
            let end = std::future::poll_fn(|cx| Pin::new(&mut source.body).poll_frame(cx));
            let _ = tokio::time::timeout(END_WAIT, end).await;
        });
    }

    /// The stream is reset with its source.
    fn fail(&mut self, error: OriginError) -> Step {
        self.source = None;
        Poll::Ready(Some(Err(error)))
    }
}
