//! The body of an HTTP origin's answer. In: hyper's body and the connection it comes over. Out: data frames, bounded in
//! time and length; at a clean end the connection goes back to its pool. Never: reads ahead of its reader.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;

use super::body::Step;
use super::pool::{Lease, Rest};
use super::{OriginError, Phase};
use crate::alarm::Patience;

/// A body that streams from an HTTP origin.
pub struct Upstream {
    /// `None` once the body ended, in whatever way: then nothing holds the connection any more.
    source: Option<Source>,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    /// How long the next piece may take.
    gap: Patience,
}

struct Source {
    incoming: Incoming,
    lease: Lease,
}

impl Upstream {
    pub(super) fn new(incoming: Incoming, left: Option<u64>, lease: Lease, gap: Duration) -> Self {
        Self {
            source: Some(Source { incoming, lease }),
            left,
            gap: Patience::new(gap),
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
            let frame = match Pin::new(&mut source.incoming).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return self.wait(cx),
            };
            self.gap.rest();
            let mut data = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => data,
                    _ => continue,
                },
                Some(Err(error)) => return self.fail(OriginError::Http(error)),
                None if self.left.is_some_and(|left| left > 0) => {
                    return self.fail(OriginError::Invalid("a body shorter than announced"));
                }
                None => {
                    self.finish();
                    return Poll::Ready(None);
                }
            };
            if let Some(left) = &mut self.left {
                if data.len() as u64 > *left {
                    // A chunked 206 that goes on past its range: what was promised is passed on, the rest is not.
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left = 0;
                    source.lease.count_surplus();
                    self.source = None;
                    if data.is_empty() {
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                *left -= data.len() as u64;
            }
            // hyper's server asks no further once the length is reached, so the end is looked for here.
            if source.incoming.is_end_stream() && self.left == Some(0) {
                self.finish();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    /// The timer runs only while somebody waits for bytes that are not there: a slow reader is not the origin's fault.
    fn wait(&mut self, cx: &mut Context<'_>) -> Step {
        match self.gap.poll(cx) {
            Poll::Ready(()) => self.fail(OriginError::Timeout(Phase::Gap)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn finish(&mut self) {
        if let Some(source) = self.source.take() {
            source.lease.give_back(Rest::Clean);
        }
    }

    /// The connection is closed with the source.
    fn fail(&mut self, error: OriginError) -> Step {
        self.source = None;
        Poll::Ready(Some(Err(error)))
    }
}
