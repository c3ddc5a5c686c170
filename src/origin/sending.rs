//! A request on its way: its head, then the upload, framed. Never: reads more of an upload than the origin takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::connect::Stream;
use super::{OriginError, Upload};

/// What is still to be written.
#[derive(Default)]
pub(super) struct Sending {
    head: Vec<u8>,
    /// Bytes of the head that were written.
    written: usize,
    /// What comes behind it, in the order of writing; written ones are taken off the front.
    pieces: SmallVec<[Bytes; 3]>,
    upload: Upload,
    framing: Framing,
    /// The upload waits for the origin to ask for it.
    held: bool,
    /// Grows with every write of the upload.
    moved: u64,
    ended: bool,
    /// When it was begun, wherever that was.
    since: Option<Instant>,
}

/// How the end of an upload is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its announced length.
    #[default]
    Length,
    /// By a last chunk.
    Chunked,
}

impl Sending {
    pub(super) fn new(head: Vec<u8>, upload: Upload, framing: Framing) -> Self {
        Self {
            ended: matches!(upload, Upload::None),
            head,
            written: 0,
            pieces: SmallVec::new(),
            upload,
            framing,
            held: false,
            moved: 0,
            since: None,
        }
    }

    /// It begins now, unless it was begun elsewhere before.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// When it was begun first.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Holds the upload back until it is released (RFC 9110 §10.1.1).
    pub(super) fn held(mut self) -> Self {
        self.held = !self.ended;
        self
    }

    /// Whether the upload is held back.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Lets the upload go.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Whether all was written.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.written == self.head.len() && self.pieces.is_empty()
    }

    /// The same request once more, as long as it has no body.
    pub(super) fn again(self) -> Self {
        Self {
            since: self.since,
            ..Self::new(self.head, Upload::None, self.framing)
        }
    }

    /// Grows with every write of the upload; its head may not take longer than the answer's.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Writes as much as goes, or may.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), Broken>> {
        while self.written < self.head.len() {
            self.written += ready!(write(cx, stream, &self.head[self.written..]))?;
        }
        loop {
            while let Some(piece) = self.pieces.first_mut() {
                let count = ready!(write(cx, stream, piece))?;
                self.moved += count as u64;
                piece.advance(count);
                if piece.is_empty() {
                    self.pieces.remove(0);
                }
            }
            if self.ended || self.held {
                // TLS holds back what the socket did not take.
                ready!(Pin::new(stream).poll_flush(cx)).map_err(Broken::Socket)?;
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.upload).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Err(Broken::Upload(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.enqueue(data);
                    }
                }
                None => {
                    self.ended = true;
                    if self.framing == Framing::Chunked {
                        self.pieces.push(Bytes::from_static(b"0\r\n\r\n"));
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        match self.framing {
            Framing::Length => self.pieces.push(data),
            Framing::Chunked => {
                self.pieces.push(Bytes::from(format!("{:x}\r\n", data.len())));
                self.pieces.push(data);
                self.pieces.push(Bytes::from_static(b"\r\n"));
            }
        }
    }
}

fn write(cx: &mut Context<'_>, stream: &mut Stream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        result => Poll::Ready(result),
    }
}

/// Why a request can't be sent to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The origin takes no more. It may have answered nevertheless.
    Socket(io::Error),
    /// The client's body failed.
    Upload(OriginError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}
