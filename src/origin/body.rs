//! Bodies from and to an origin. In: what an origin's file or connection yields. Out: data frames with an exact
//! length wherever one is known. Never: trailers, more bytes than announced, or a short body that looks whole.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::file_body::{FileBody, RangesBody};
use super::multiplexed::Multiplexed;
use super::upstream::Upstream;
use super::{OriginError, UploadFault};
use crate::alarm::Patience;

/// One step of a body.
pub(super) type Step = Poll<Option<Result<Frame<Bytes>, OriginError>>>;

/// The body of an origin's answer. `Unpin`; yields data frames only (trailers are dropped).
pub enum OriginBody {
    /// Nothing (HEAD, 204, 304, errors).
    Empty,
    /// From an HTTP origin, as it comes.
    Upstream(Upstream),
    /// From an HTTP origin, as one of several over a connection.
    Multiplexed(Box<Multiplexed>),
    /// A file, or one slice of it.
    File(FileBody),
    /// Several slices of a file as `multipart/byteranges`.
    Ranges(RangesBody),
}

impl HttpBody for OriginBody {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Upstream(body) => body.poll(cx),
            Self::Multiplexed(body) => body.poll(cx),
            Self::File(body) => body.poll(cx),
            Self::Ranges(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upstream(body) => body.is_done(),
            Self::Multiplexed(body) => body.is_done(),
            Self::File(body) => body.left() == 0,
            Self::Ranges(body) => body.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upstream(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::Multiplexed(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::File(body) => SizeHint::with_exact(body.left()),
            Self::Ranges(body) => SizeHint::with_exact(body.left()),
        }
    }
}

impl OriginBody {
    /// Reads no more than so many bytes at once from now on.
    pub fn read_at_most(&mut self, bytes: usize) {
        match self {
            // The frames of HTTP/2 are small, and what is on its way is bounded by its window.
            Self::Empty | Self::Multiplexed(_) => {}
            Self::Upstream(body) => body.read_at_most(bytes),
            Self::File(body) => body.read_at_most(bytes),
            Self::Ranges(body) => body.read_at_most(bytes),
        }
    }
}

/// The body of a request to an origin.
#[derive(Default)]
pub enum Upload {
    /// None.
    #[default]
    None,
    /// The client's body. Boxed, since few requests have one.
    Client(Box<ClientBody>),
}

/// A client's body, cut off with an error past its limit.
pub struct ClientBody {
    body: Incoming,
    /// Bytes that may still come.
    limit: u64,
    /// How long its next bytes may take, and since when they are waited for.
    patience: Patience,
}

impl Upload {
    /// A client's body of at most `limit` bytes.
    pub fn client(body: Incoming, limit: u64) -> Self {
        Self::Client(Box::new(ClientBody {
            body,
            limit,
            patience: Patience::default(),
        }))
    }

    /// How long the client may pause.
    pub(super) fn set_patience(&mut self, limit: Duration) {
        if let Self::Client(client) = self {
            client.patience = Patience::new(limit);
        }
    }

    /// Whether the client said beforehand that it will send more than is allowed.
    pub(super) fn is_announced_too_large(&self) -> bool {
        match self {
            Self::None => false,
            Self::Client(client) => client.body.size_hint().lower() > client.limit,
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step {
        let Self::Client(client) = self.get_mut() else {
            return Poll::Ready(None);
        };
        let ClientBody {
            body,
            limit,
            patience,
        } = &mut **client;
        loop {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => frame,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    std::task::ready!(patience.poll(cx));
                    return Poll::Ready(Some(Err(OriginError::Upload(UploadFault::TooSlow))));
                }
            };
            patience.rest();
            let frame = frame.map_err(|_| OriginError::Upload(UploadFault::Broken))?;
            // Trailers are not passed on: none of them was judged.
            let Ok(data) = frame.into_data() else { continue };
            *limit = limit
                .checked_sub(data.len() as u64)
                .ok_or(OriginError::Upload(UploadFault::TooLarge))?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Client(client) => client.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Client(client) => client.body.size_hint(),
        }
    }
}
