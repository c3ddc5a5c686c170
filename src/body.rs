//! The body of every answer. One enum, no box.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::origin::OriginBody;

/// The body of an answer to a client.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// All of it at once.
    Full(Bytes),
    /// From an origin, as it comes.
    Origin(OriginBody),
}

/// Why a body ended early. The connection to the client is then cut, so that a short body never looks whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The origin's side broke.
    #[error(transparent)]
    Origin(#[from] crate::origin::OriginError),
    /// Its token was withdrawn.
    #[error("the token was withdrawn")]
    Withdrawn,
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

impl Body {
    /// Reads no more than so many bytes of an origin at once from now on: for bodies that take their time.
    pub fn read_at_most(&mut self, bytes: usize) {
        if let Self::Origin(body) = self {
            body.read_at_most(bytes);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Origin(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Origin),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Origin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Origin(body) => body.size_hint(),
        }
    }
}
