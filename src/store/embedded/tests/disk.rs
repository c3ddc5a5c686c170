//! A disk in memory, for tests: it outlives the store on it, fails at a chosen call, and loses what was not synced when its
//! power is cut. Every write, every change of length and every sync is a call.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Nothing,
    /// This call fails, and those after it work. What a failed sync should have written is never written.
    FailOnce(usize),
    /// Nothing works any more from this call on.
    CutPower(usize),
    /// Nothing can be written.
    ReadOnly,
    /// It can't become longer.
    Full,
    /// Nothing can be read.
    Unreadable,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    Nothing,
    Everything,
    /// Some of it, in pieces of 512 bytes.
    Some(u64),
}

#[derive(Debug)]
struct Content {
    /// What is safe.
    synced: Vec<u8>,
    /// What is read.
    seen: Vec<u8>,
    unsynced: Vec<Change>,
    trouble: Trouble,
    calls: usize,
    locked: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<Content>>);

impl Disk {
    /// With this on it.
    pub(super) fn with(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Content {
            synced: content.clone(),
            seen: content,
            unsynced: Vec::new(),
            trouble: Trouble::Nothing,
            calls: 0,
            locked: false,
        })))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Calls are counted from now on, and this happens.
    pub(super) fn arm(&self, trouble: Trouble) {
        let mut content = self.content();
        content.trouble = trouble;
        content.calls = 0;
    }

    pub(super) fn calls(&self) -> usize {
        self.content().calls
    }

    /// What is safe on it.
    pub(super) fn synced(&self) -> Vec<u8> {
        self.content().synced.clone()
    }

    /// Another disk with what a power cut leaves on this one.
    pub(super) fn after_power_cut(&self, left: Left) -> Self {
        let content = self.content();
        let mut bytes = content.synced.clone();
        let mut state = match left {
            Left::Nothing => return Self::with(bytes),
            Left::Everything => 0,
            Left::Some(seed) => seed | 1,
        };
        let mut stays = || {
            // xorshift
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state == 0 || state & 4 == 0
        };
        for change in &content.unsynced {
            match change {
                Change::Length(length) => {
                    if stays() {
                        bytes.resize(*length, 0);
                    }
                }
                Change::Write(offset, data) => {
                    for (at, sector) in data.chunks(512).enumerate() {
                        if stays() {
                            put(&mut bytes, offset + at * 512, sector);
                        }
                    }
                }
            }
        }
        Self::with(bytes)
    }

    /// Counts a call; says whether it fails.
    fn call(content: &mut Content) -> io::Result<()> {
        let call = content.calls;
        content.calls += 1;
        let fails = match content.trouble {
            Trouble::Nothing | Trouble::Full | Trouble::Unreadable => false,
            Trouble::FailOnce(at) => call == at,
            Trouble::CutPower(at) => call >= at,
            Trouble::ReadOnly => true,
        };
        if fails {
            Err(io::Error::other("the disk fails"))
        } else {
            Ok(())
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// A disk while a store has it open.
#[derive(Debug)]
pub(super) struct Opened {
    disk: Disk,
    locks: Mutex<bool>,
}

impl Disk {
    pub(super) fn open(&self) -> Opened {
        Opened {
            disk: self.clone(),
            locks: Mutex::new(false),
        }
    }
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.content().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.disk.content();
        let off = matches!(content.trouble, Trouble::CutPower(at) if content.calls > at);
        if off || content.trouble == Trouble::Unreadable {
            return Err(io::Error::other("the disk can't be read"));
        }
        let offset = place(offset);
        let read = content
            .seen
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(read);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        Disk::call(&mut content)?;
        let length = place(len);
        if content.trouble == Trouble::Full && length > content.seen.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.seen.resize(length, 0);
        content.unsynced.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.disk.content();
        let result = Disk::call(&mut content);
        let off = matches!(content.trouble, Trouble::CutPower(_));
        if result.is_ok() {
            for change in std::mem::take(&mut content.unsynced) {
                match change {
                    Change::Length(length) => content.synced.resize(length, 0),
                    Change::Write(offset, data) => put(&mut content.synced, offset, &data),
                }
            }
        } else if !off {
            // As Linux does it: the pages count as written from then on, and are not written.
            content.unsynced.clear();
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.disk.content();
        let result = Disk::call(&mut content);
        let change = Change::Write(place(offset), data.to_vec());
        if result.is_ok() {
            put(&mut content.seen, place(offset), data);
            content.unsynced.push(change);
        } else if matches!(content.trouble, Trouble::CutPower(_)) {
            // The one under way when the power went may be there in part.
            if matches!(content.trouble, Trouble::CutPower(at) if content.calls == at + 1) {
                content.unsynced.push(change);
            }
        } else if matches!(content.trouble, Trouble::FailOnce(_)) {
            let half = &data[..data.len() / 2];
            put(&mut content.seen, place(offset), half);
            content.unsynced.push(Change::Write(place(offset), half.to_vec()));
        }
        result
    }

    fn close(&self) -> io::Result<()> {
        if std::mem::take(&mut *self.locks.lock().unwrap()) {
            self.disk.content().locked = false;
        }
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if !matches!(
            (start, end),
            (Bound::Unbounded | Bound::Included(0), Bound::Unbounded)
        ) {
            return Err(BackendError::Unsupported);
        }
        let mut content = self.disk.content();
        if content.locked {
            return Ok(false);
        }
        content.locked = true;
        *self.locks.lock().unwrap() = true;
        Ok(true)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        self.close().map_err(BackendError::Io)
    }
}
