//! How records are written down and taken apart: numbers, texts, lists, and what may be absent. Knows nothing of what they
//! mean. Reads nothing beyond the end of a record and takes no more memory than its length accounts for.

use crate::clock::UnixTime;

/// The version of all records; another one is not read.
pub(super) const VERSION: u8 = 1;

/// The record is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record can't be read")]
pub(super) struct BadRecord;

/// Writes numbers little-endian, texts and lists behind their length, what may be absent behind a byte that tells.
pub(super) struct Pen(pub(super) Vec<u8>);

impl Pen {
    pub(super) fn new(until: UnixTime) -> Self {
        let mut pen = Self(Vec::with_capacity(256));
        pen.u8(VERSION);
        pen.time(until);
        pen
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn time(&mut self, value: UnixTime) {
        self.0.extend(value.millis().to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        // Nothing that is remembered comes near 4 GiB; if it did, what is cut here could not be read back.
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        for value in values {
            write(self, value);
        }
    }
}

/// Takes a record apart from its start. Never takes more memory than the record's own length accounts for.
pub(super) struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    pub(super) fn new(record: &'r [u8]) -> Result<(UnixTime, Self), BadRecord> {
        let mut reader = Self(record);
        if reader.u8()? != VERSION {
            return Err(BadRecord);
        }
        Ok((reader.time()?, reader))
    }

    /// The value, if nothing follows it.
    pub(super) fn end<T>(self, value: T) -> Result<T, BadRecord> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(BadRecord)
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'r [u8], BadRecord> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadRecord)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(BadRecord)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, BadRecord> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, BadRecord> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadRecord),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, BadRecord> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, BadRecord> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn time(&mut self) -> Result<UnixTime, BadRecord> {
        self.array().map(i64::from_le_bytes).map(UnixTime::from_millis)
    }

    pub(super) fn length(&mut self) -> Result<usize, BadRecord> {
        usize::try_from(self.u32()?).map_err(|_| BadRecord)
    }

    pub(super) fn text(&mut self) -> Result<Box<str>, BadRecord> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| BadRecord)?;
        Ok(text.into())
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, BadRecord>,
    ) -> Result<Option<T>, BadRecord> {
        self.flag()?.then(|| read(self)).transpose()
    }

    pub(super) fn list<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, BadRecord>,
    ) -> Result<Vec<T>, BadRecord> {
        let length = self.length()?;
        // Every member takes a byte at least, so that a false length ends at the end of the record.
        let mut values = Vec::new();
        for _ in 0..length {
            values.push(read(self)?);
        }
        Ok(values)
    }
}
