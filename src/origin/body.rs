//! Bodies from and to an origin.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::OriginError;

/// The body of an origin's answer. `Unpin`; yields data frames only (trailers are dropped).
pub enum OriginBody {
    /// Nothing (HEAD, 204, 304, errors).
    Empty,
    // helper: add Upstream(http1 body), File(..), Ranges(..)
}

impl HttpBody for OriginBody {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// The body of a request to an origin.
#[derive(Default)]
pub enum Upload {
    /// None.
    #[default]
    None,
    /// The client's body, cut off with an error past `limit` bytes.
    Client {
        /// The body.
        body: Incoming,
        /// Bytes that may still come.
        limit: u64,
    },
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        todo!()
    }
}
