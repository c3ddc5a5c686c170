//! Files below one local root: contained by the kernel, strong validators, ranges, conditionals, no listing.
//! In: an encoded path. Out: a file as RFC 9110 says it. Never: follows a link out of the root, opens anything but a
//! regular file for reading, lists a folder, or tells why something is not there.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::conditional::{self, Standing, Validators};
use super::file_body::{FileBody, RangesBody, Stamp};
use super::media_type;
use super::range::{self, Plan, Slice};
use super::{Fetch, OriginBody, OriginError, OriginRequest};

/// Never outside of the root, links included, and never through `/proc`'s links into other processes.
const CONTAINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// The kernel gives up a contained look-up when a rename runs beside it; trying again is what its manual advises.
const RENAME_TRIES: usize = 8;

/// A local folder.
#[derive(Debug)]
pub struct Folder {
    root: Arc<OwnedFd>,
}

/// A file that was opened.
struct Found {
    file: OwnedFd,
    stamp: Stamp,
    inode: u64,
}

impl Folder {
    /// Opens the root.
    ///
    /// # Errors
    /// When it is not a folder that can be opened.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        match rustix::fs::openat2(&root, ".", flags, Mode::empty(), CONTAINED) {
            Ok(_) => Ok(Self { root: Arc::new(root) }),
            Err(Errno::NOSYS | Errno::PERM) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel does not offer openat2 (Linux 5.6), without which a folder can't be contained",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers one request: at once where the kernel can look the file up from memory, else from the blocking pool.
    /// `Io` when a file that is there can't be read.
    pub(super) fn fetch(&self, request: OriginRequest) -> Fetch {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Fetch::Ready(Some(Ok(response)));
        }
        let path = request
            .target
            .split_once('?')
            .map_or(request.target.as_str(), |(path, _)| path);
        let Some(path) = local_path(path) else {
            return Fetch::Ready(Some(Ok(bare(StatusCode::NOT_FOUND))));
        };
        match open_beneath(&self.root, &path, CONTAINED | ResolveFlags::CACHED) {
            // The second: a kernel before 5.12, which does not know the flag.
            Err(Errno::AGAIN | Errno::INVAL) => {
                let (root, path) = (Arc::clone(&self.root), path.into_owned());
                Fetch::Waiting(Box::pin(async move {
                    let opened =
                        tokio::task::spawn_blocking(move || (open_patiently(&root, &path), path)).await;
                    let (opened, path) = opened.map_err(|error| OriginError::Io(io::Error::other(error)))?;
                    answer(opened, &request.method, &request.headers, &path)
                }))
            }
            opened => Fetch::Ready(Some(answer(opened, &request.method, &request.headers, &path))),
        }
    }
}

/// What was found, as the answer.
fn answer(
    opened: Result<Option<Found>, Errno>,
    method: &Method,
    asked: &HeaderMap,
    path: &str,
) -> Result<Response<OriginBody>, OriginError> {
    match opened {
        Ok(Some(found)) => found.answer(method, asked, path),
        Ok(None) => Ok(bare(StatusCode::NOT_FOUND)),
        Err(error) if is_absence(error) => Ok(bare(StatusCode::NOT_FOUND)),
        Err(error) => Err(OriginError::Io(error.into())),
    }
}

/// The path below the root. `None` for what can't name a file: the root itself, a folder, bytes that mean something to
/// other systems.
fn local_path(encoded: &str) -> Option<Cow<'_, str>> {
    let path = percent_decode_str(encoded.strip_prefix('/')?)
        .decode_utf8()
        .ok()?;
    let refused = path.is_empty() || path.ends_with('/') || path.contains(['\0', '\\']);
    (!refused).then_some(path)
}

fn open_beneath(root: &OwnedFd, path: &str, how: ResolveFlags) -> Result<Option<Found>, Errno> {
    // NONBLOCK: a pipe without a writer would otherwise hold the thread for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), how)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    Ok(Some(Found {
        file,
        stamp: Stamp::of(&stat),
        inode: stat.st_ino,
    }))
}

fn open_patiently(root: &OwnedFd, path: &str) -> Result<Option<Found>, Errno> {
    let mut tries = 0;
    loop {
        tries += 1;
        match open_beneath(root, path, CONTAINED) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RENAME_TRIES => {}
            opened => return opened,
        }
    }
}

/// All of these look alike from outside: there is no such file for this client.
fn is_absence(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::NODEV
            | Errno::INVAL
    )
}

impl Found {
    fn answer(
        self,
        method: &Method,
        asked: &HeaderMap,
        path: &str,
    ) -> Result<Response<OriginBody>, OriginError> {
        let size = self.stamp.size;
        let validators = Validators::new(self.inode, self.stamp);
        let ranges = match conditional::judge(&validators, asked) {
            Standing::Send { ranges } => ranges && *method == Method::GET,
            Standing::NotModified => return Ok(validated(StatusCode::NOT_MODIFIED, &validators)),
            Standing::Failed => return Ok(validated(StatusCode::PRECONDITION_FAILED, &validators)),
        };
        let mut response = validated(StatusCode::OK, &validators);
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, media_type::of(path));
        let body = match plan(ranges, asked, size) {
            Plan::Whole => {
                headers.insert(header::CONTENT_LENGTH, size.into());
                if *method == Method::HEAD || size == 0 {
                    OriginBody::Empty
                } else {
                    OriginBody::File(FileBody::new(
                        self.file,
                        Slice {
                            start: 0,
                            length: size,
                        },
                        self.stamp,
                    ))
                }
            }
            Plan::One(slice) => {
                headers.insert(
                    header::CONTENT_RANGE,
                    text(format_args!("bytes {}", Position(slice, size))),
                );
                headers.insert(header::CONTENT_LENGTH, slice.length.into());
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                OriginBody::File(FileBody::new(self.file, slice, self.stamp))
            }
            Plan::Many(slices) => {
                let body = multipart(self.file, &slices, headers, self.stamp)?;
                headers.insert(header::CONTENT_LENGTH, body.left().into());
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                OriginBody::Ranges(body)
            }
            Plan::Unsatisfiable => {
                headers.remove(header::CONTENT_TYPE);
                headers.insert(header::CONTENT_RANGE, text(format_args!("bytes */{size}")));
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                OriginBody::Empty
            }
        };
        *response.body_mut() = body;
        Ok(response)
    }
}

/// Two `Range` fields can be read in two ways, so they are ignored.
fn plan(ranges: bool, asked: &HeaderMap, size: u64) -> Plan {
    let mut values = asked.get_all(header::RANGE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if ranges => range::plan(value.as_bytes(), size),
        _ => Plan::Whole,
    }
}

/// Turns the headers of the whole file into those of several parts of it.
fn multipart(
    file: OwnedFd,
    slices: &[Slice],
    headers: &mut HeaderMap,
    stamp: Stamp,
) -> Result<RangesBody, OriginError> {
    // Random, so that nobody can place the boundary inside a file (RFC 2046 §5.1.1).
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| OriginError::Io(io::Error::other("no random bytes")))?;
    let boundary = format!("{:032x}", u128::from_be_bytes(random));
    let whole = text(format_args!("multipart/byteranges; boundary={boundary}"));
    let of_part = headers.insert(header::CONTENT_TYPE, whole);
    let of_part = of_part
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .unwrap_or(media_type::UNKNOWN);
    let mut parts = Vec::with_capacity(slices.len());
    for slice in slices {
        let position = Position(*slice, stamp.size);
        let head =
            format!("\r\n--{boundary}\r\nContent-Type: {of_part}\r\nContent-Range: bytes {position}\r\n\r\n");
        parts.push((Bytes::from(head), *slice));
    }
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    Ok(RangesBody::new(file, parts, tail, stamp))
}

/// `first-last/size`.
struct Position(Slice, u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(slice, size) = self;
        write!(f, "{}-{}/{size}", slice.start, slice.start + slice.length - 1)
    }
}

fn bare(status: StatusCode) -> Response<OriginBody> {
    let mut response = Response::new(OriginBody::Empty);
    *response.status_mut() = status;
    response
}

fn validated(status: StatusCode, validators: &Validators) -> Response<OriginBody> {
    let mut response = bare(status);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, validators.etag.clone());
    headers.insert(
        header::LAST_MODIFIED,
        text(format_args!("{}", validators.modified)),
    );
    response
}

fn text(arguments: std::fmt::Arguments<'_>) -> HeaderValue {
    let mut text = String::with_capacity(48);
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok());
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .expect("numbers, dates and our own names are visible ASCII")
}

#[cfg(test)]
mod tests;
