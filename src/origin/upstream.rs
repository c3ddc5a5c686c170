//! The body of an HTTP origin's answer. In: the connection it comes over. Out: data, bounded in time and length; at a
//! clean end the connection goes back to its pool. Never: reads ahead of its reader, or lets a short body look whole.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use super::body::Step;
use super::chunks::Chunks;
use super::pool::{Lease, Rest};
use super::truth::Length;
use super::{HttpFault, OriginError, Phase};

/// A body that streams from an HTTP origin.
pub struct Upstream {
    /// `None` once the body ended, in whatever way: then nothing holds the connection any more.
    lease: Option<Lease>,
    /// Bytes that were read and not handed on.
    unread: Bytes,
    /// Bytes of data still to come, where that is known.
    left: Option<u64>,
    coding: Coding,
    /// Whether the connection may be used again.
    persistent: bool,
    /// The most that is read at once.
    most: usize,
    /// How long the next bytes may take, and since when they are waited for.
    gap: Duration,
    since: Option<Instant>,
}

enum Coding {
    /// The data itself, up to its length.
    Plain,
    /// The data itself, up to the end of the connection.
    Close,
    Chunked(Chunks),
}

impl Upstream {
    /// A body of this length, which is not "nothing", of which `unread` has come with the head.
    pub(super) fn new(lease: Lease, length: Length, unread: Bytes, persistent: bool, gap: Duration) -> Self {
        let (left, coding) = match length {
            Length::Nothing => (Some(0), Coding::Plain),
            Length::Known(left) => (Some(left), Coding::Plain),
            Length::Chunked(left) => (left, Coding::Chunked(Chunks::default())),
            Length::Close(_) => (None, Coding::Close),
        };
        Self {
            lease: Some(lease),
            unread,
            left,
            coding,
            persistent,
            most: usize::MAX,
            gap,
            since: None,
        }
    }

    /// Reads no more than so many bytes at once from now on.
    pub(super) fn read_at_most(&mut self, bytes: usize) {
        self.most = bytes.max(1);
    }

    /// Bytes still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Nothing more will come.
    pub(super) fn is_done(&self) -> bool {
        self.lease.is_none()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            match self.take() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(reason) => return self.fail(OriginError::Http(HttpFault::Malformed(reason))),
            }
            let Some(lease) = &mut self.lease else {
                return Poll::Ready(None);
            };
            let left = match self.coding {
                Coding::Plain => self.left,
                Coding::Close | Coding::Chunked(_) => None,
            };
            match lease.connection.poll_body(cx, left, self.most) {
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                    if matches!(self.coding, Coding::Close) {
                        self.lease = None;
                        return Poll::Ready(None);
                    }
                    return self.fail(OriginError::Http(HttpFault::Ended));
                }
                Poll::Ready(Ok(bytes)) => {
                    self.since = None;
                    self.unread = bytes;
                }
                Poll::Ready(Err(error)) => return self.fail(OriginError::Http(HttpFault::Io(error))),
                // The timer runs only while somebody waits for bytes that are not there: a slow reader is not the
                // origin's fault.
                Poll::Pending => {
                    let since = *self.since.get_or_insert_with(Instant::now);
                    return match lease.connection.alarm.poll(cx, since + self.gap) {
                        Poll::Ready(()) => self.fail(OriginError::Timeout(Phase::Gap)),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Takes the next data out of what was read, and ends the body with its last byte: hyper's server asks no further once
    /// a length is reached.
    fn take(&mut self) -> Result<Option<Bytes>, &'static str> {
        if self.lease.is_none() {
            return Ok(None);
        }
        let (mut data, ended) = match &mut self.coding {
            Coding::Plain | Coding::Close => (std::mem::take(&mut self.unread), false),
            Coding::Chunked(chunks) => {
                let data = chunks.next(&mut self.unread)?.unwrap_or_default();
                (data, chunks.is_done())
            }
        };
        if let Some(left) = &mut self.left {
            if data.len() as u64 > *left {
                // What was promised is passed on, the rest is not.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                self.surplus();
                return Ok((!data.is_empty()).then_some(data));
            }
            *left -= data.len() as u64;
        }
        match (&self.coding, self.left) {
            (Coding::Plain, Some(0)) => self.finish(),
            (Coding::Chunked(_), None | Some(0)) if ended => self.finish(),
            (Coding::Chunked(_), Some(_)) if ended && data.is_empty() => {
                return Err("chunks that end before their range does");
            }
            _ => {}
        }
        Ok((!data.is_empty()).then_some(data))
    }

    /// The body has ended where it had to; whatever lies behind it was never asked for.
    fn finish(&mut self) {
        if !self.unread.is_empty() {
            return self.surplus();
        }
        if let Some(lease) = self.lease.take().filter(|_| self.persistent) {
            lease.give_back(Rest::Clean);
        }
    }

    fn surplus(&mut self) {
        self.unread = Bytes::new();
        if let Some(lease) = self.lease.take() {
            lease.count_surplus();
        }
    }

    /// The connection is closed with the lease.
    fn fail(&mut self, error: OriginError) -> Step {
        self.lease = None;
        Poll::Ready(Some(Err(error)))
    }
}
