//! A file as frames: page-cached reads at once, others on the blocking pool. In: an open file and the slices to send.
//! Out: exactly the announced number of bytes. Never: pads. A file that shrank or was written to meanwhile ends in an
//! error, which cuts the connection to the client.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::OriginError;
use super::body::Step;
use super::range::Slice;

/// The first read of a body; also the size up to which a file is read together with its head.
pub(super) const FIRST_READ: usize = 64 * 1024;

/// Reads double up to this: fewer system calls, while what one download holds in memory stays bounded.
const LARGEST_READ: usize = 512 * 1024;

/// What tells that a file was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: u64,
}

impl Stamp {
    pub(super) fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec,
        }
    }
}

/// A slice of a file that streams.
pub struct FileBody {
    source: Source,
    /// Read and not yet sent.
    ready: Bytes,
    /// Where the next read starts.
    offset: u64,
    /// Bytes still to be sent.
    left: u64,
    next_read: usize,
    largest_read: usize,
    stamp: Stamp,
}

enum Source {
    Idle(OwnedFd),
    Reading(JoinHandle<(OwnedFd, io::Result<Bytes>)>),
    /// Nothing more is read.
    Closed,
}

/// How a read without waiting ended.
enum Cached {
    Some(Bytes),
    /// It would have to wait for the disk.
    No,
}

impl FileBody {
    /// The slice of a file; the first piece is read now if that needs no wait.
    pub(super) fn new(file: OwnedFd, slice: Slice, stamp: Stamp) -> Self {
        let mut body = Self {
            source: Source::Idle(file),
            ready: Bytes::new(),
            offset: slice.start,
            left: slice.length,
            next_read: FIRST_READ,
            largest_read: LARGEST_READ,
            stamp,
        };
        if slice.length <= FIRST_READ as u64 {
            body.read_whole();
        }
        body
    }

    /// A small slice that is in memory needs no open file while it is sent.
    fn read_whole(&mut self) {
        if let Source::Idle(file) = &self.source
            && let Ok(Cached::Some(bytes)) = read_cached(file, self.offset, self.wanted())
            && bytes.len() as u64 == self.left
        {
            self.ready = bytes;
            self.source = Source::Closed;
        }
    }

    /// Reads no more than so many bytes at once from now on.
    pub(super) fn read_at_most(&mut self, bytes: usize) {
        self.largest_read = bytes.clamp(1, LARGEST_READ);
        self.next_read = self.next_read.min(self.largest_read);
    }

    /// Continues with another slice of the same file.
    fn restart(&mut self, slice: Slice) {
        self.offset = slice.start;
        self.left = slice.length;
    }

    /// Bytes still to be sent.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.left).map_or(self.next_read, |left| left.min(self.next_read))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let result = match self.poll_bytes(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Some(match result {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                self.left -= bytes.len() as u64;
                self.next_read = (self.next_read * 2).min(self.largest_read);
                self.check_end(bytes)
            }
            Err(error) => self.fail(error),
        }))
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.ready.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.ready)));
        }
        let wanted = self.wanted();
        loop {
            match std::mem::replace(&mut self.source, Source::Closed) {
                Source::Idle(file) => match read_cached(&file, self.offset, wanted) {
                    Ok(Cached::Some(bytes)) => {
                        self.source = Source::Idle(file);
                        return Poll::Ready(Ok(bytes));
                    }
                    Ok(Cached::No) => {
                        let offset = self.offset;
                        self.source = Source::Reading(tokio::task::spawn_blocking(move || {
                            let bytes = read(&file, offset, wanted);
                            (file, bytes)
                        }));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Source::Reading(mut task) => match Pin::new(&mut task).poll(cx) {
                    Poll::Ready(Ok((file, bytes))) => {
                        self.source = Source::Idle(file);
                        return Poll::Ready(bytes);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                    Poll::Pending => {
                        self.source = Source::Reading(task);
                        return Poll::Pending;
                    }
                },
                Source::Closed => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Before the last piece is handed on: were all pieces of the same file?
    fn check_end(&mut self, bytes: Bytes) -> Result<Frame<Bytes>, OriginError> {
        if self.left == 0
            && let Source::Idle(file) = &self.source
        {
            let stat = rustix::fs::fstat(file).map_err(|error| OriginError::Io(error.into()))?;
            if Stamp::of(&stat) != self.stamp {
                self.left = 0;
                return Err(OriginError::Io(io::Error::other(
                    "the file changed while it was read",
                )));
            }
        }
        Ok(Frame::data(bytes))
    }

    fn fail(&mut self, error: io::Error) -> Result<Frame<Bytes>, OriginError> {
        self.source = Source::Closed;
        self.left = 0;
        Err(OriginError::Io(error))
    }
}

/// Several slices of a file as `multipart/byteranges`.
pub struct RangesBody {
    file: FileBody,
    /// What stands before each slice, and the slice; in reverse.
    parts: Vec<(Bytes, Slice)>,
    /// What stands after the last slice.
    tail: Bytes,
    left: u64,
}

impl RangesBody {
    /// The slices with what stands before each of them, and what stands behind the last.
    pub(super) fn new(file: OwnedFd, mut parts: Vec<(Bytes, Slice)>, tail: Bytes, stamp: Stamp) -> Self {
        let left = tail.len() as u64
            + parts
                .iter()
                .map(|(head, slice)| head.len() as u64 + slice.length)
                .sum::<u64>();
        parts.reverse();
        let file = FileBody {
            source: Source::Idle(file),
            ready: Bytes::new(),
            offset: 0,
            left: 0,
            next_read: FIRST_READ,
            largest_read: LARGEST_READ,
            stamp,
        };
        Self {
            file,
            parts,
            tail,
            left,
        }
    }

    /// Reads no more than so many bytes at once from now on.
    pub(super) fn read_at_most(&mut self, bytes: usize) {
        self.file.read_at_most(bytes);
    }

    /// Bytes still to be sent, the text between the slices included.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        let step = if self.left == 0 {
            None
        } else if self.file.left > 0 {
            ready!(self.file.poll(cx))
        } else if let Some((head, slice)) = self.parts.pop() {
            self.file.restart(slice);
            Some(Ok(Frame::data(head)))
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut self.tail))))
        };
        match &step {
            Some(Ok(frame)) => self.left -= frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => self.left = 0,
        }
        Poll::Ready(step)
    }
}

/// Reads what the page cache holds. At the end of the file before `wanted` bytes came, nothing is an error.
fn read_cached(file: &OwnedFd, offset: u64, wanted: usize) -> io::Result<Cached> {
    let mut bytes = BytesMut::zeroed(wanted);
    let result = rustix::io::preadv2(
        file,
        &mut [IoSliceMut::new(&mut bytes)],
        offset,
        ReadWriteFlags::NOWAIT,
    );
    match result {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            bytes.truncate(count);
            Ok(Cached::Some(bytes.freeze()))
        }
        // The second: a file system that can't tell.
        Err(Errno::AGAIN | Errno::OPNOTSUPP) => Ok(Cached::No),
        Err(Errno::INTR) => Ok(Cached::No),
        Err(error) => Err(error.into()),
    }
}

/// Reads and waits: for the blocking pool only.
fn read(file: &OwnedFd, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(wanted);
    loop {
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(bytes.into()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
