//! The file of the store: made whole or not at all, opened only when it is ours, of a format that is known, and made under
//! the same log key. A file that is something else is left as it is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    TableError, WriteTransaction,
};

use super::StoreError;
use super::tables::{Fault, Tables};
use crate::clock::UnixTime;
use crate::token::TokenId;
use crate::token::keys::LogKey;

/// The name of the file in the state folder.
const NAME: &str = "store.redb";
/// What it is called while it is made.
const UNFINISHED: &str = "store.redb.new";
/// Of the file, kept in memory; the system keeps more of it where it has room.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
const FORMAT: (&str, &[u8]) = ("format", b"1");
const LOG_KEY: &str = "log_key";
/// How often the file was opened: counted to see that it can be written.
const OPENED: &str = "opened";

/// The name of the log key itself. Under another key no token in the file would be found again, and spent ones would work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(TokenId);

impl Fingerprint {
    /// Of this key.
    pub(super) fn of(key: &LogKey) -> Self {
        Self(key.name(b"mediagate store"))
    }
}

/// Opens the store in this folder; makes it where there is none.
///
/// # Errors
/// Says what is wrong with the file or the folder.
pub(super) fn open_or_make(folder: &Path, fingerprint: Fingerprint) -> Result<Database, StoreError> {
    match open(folder, fingerprint) {
        Err(Missing::Absent) => make(folder, fingerprint),
        Err(Missing::Unusable(error)) => Err(error),
        Ok(database) => Ok(database),
    }
}

/// Opens the store in this folder again: it was there, and a new one would know of nothing.
///
/// # Errors
/// Says what is wrong with the file or the folder.
pub(super) fn reopen(folder: &Path, fingerprint: Fingerprint) -> Result<Database, StoreError> {
    open(folder, fingerprint).map_err(|missing| match missing {
        Missing::Absent => unusable(folder, &"the file is gone"),
        Missing::Unusable(error) => error,
    })
}

enum Missing {
    Absent,
    Unusable(StoreError),
}

fn open(folder: &Path, fingerprint: Fingerprint) -> Result<Database, Missing> {
    let path = folder.join(NAME);
    let error = |error: &dyn std::fmt::Display| Missing::Unusable(unusable(&path, error));
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Err(Missing::Absent),
        Err(other) => return Err(error(&other)),
    };
    let metadata = file.metadata().map_err(|other| error(&other))?;
    // The engine would make an empty file its own, and what was spent would be forgotten.
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(error(&"it is not a file with a store in it"));
    }
    let backend = FileBackend::new(file).map_err(|other| error(&other))?;
    open_backend(backend, fingerprint).map_err(|fault| error(&fault))
}

fn make(folder: &Path, fingerprint: Fingerprint) -> Result<Database, StoreError> {
    let path = folder.join(UNFINISHED);
    let error = |error: &dyn std::fmt::Display| unusable(&path, error);
    // Left by a process that ended while it made one; nobody else is at it, since the folder is locked.
    match fs::remove_file(&path) {
        Err(other) if other.kind() != io::ErrorKind::NotFound => return Err(error(&other)),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|other| error(&other))?;
    let backend = FileBackend::new(file).map_err(|other| error(&other))?;
    let database = make_in(backend, fingerprint).map_err(|fault| error(&fault))?;
    fs::rename(&path, folder.join(NAME))
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|other| error(&other))?;
    Ok(database)
}

/// Opens a store that stands in a backend, and writes to it once.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn open_backend(
    backend: impl StorageBackend,
    fingerprint: Fingerprint,
) -> Result<Database, Box<str>> {
    // The engine may panic over a file that somebody else has changed.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| error.to_string())?;
        check(&database, fingerprint)?;
        try_writing(&database).map_err(|fault| fault.to_string())?;
        Ok::<_, Box<str>>(database)
    }));
    opened.unwrap_or_else(|_| Err("the file is damaged".into()))
}

/// Makes a store in an empty backend.
///
/// # Errors
/// Says why it can't be made.
pub(super) fn make_in(backend: impl StorageBackend, fingerprint: Fingerprint) -> Result<Database, Box<str>> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(|error| error.to_string())?;
    initialize(&database, fingerprint).map_err(|fault| fault.to_string())?;
    Ok(database)
}

fn initialize(database: &Database, fingerprint: Fingerprint) -> Result<(), Fault> {
    let transaction = begin(database)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT.0, FORMAT.1)?;
        meta.insert(LOG_KEY, fingerprint.0.0.as_slice())?;
        // Makes the tables, so that readers find them.
        Tables::open(&transaction, 0, UnixTime::default())?;
    }
    transaction.commit()?;
    Ok(())
}

fn check(database: &Database, fingerprint: Fingerprint) -> Result<(), Box<str>> {
    let transaction = database.begin_read().map_err(|error| error.to_string())?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.to_string().into()),
        Err(_) => return Err("it is not a store of mediagate".into()),
    };
    let read = |name| match meta.get(name) {
        Ok(found) => Ok(found.map(|value| value.value().to_vec()).unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    };
    if read(FORMAT.0)? != FORMAT.1 {
        return Err("it was written in another format, by another version of mediagate".into());
    }
    if read(LOG_KEY)? != fingerprint.0.0 {
        return Err(
            "it was made under another log key: tokens that were spent would not be found in it; \
             give the former key, or move the file away where nothing in it counts any more"
                .into(),
        );
    }
    Ok(())
}

fn try_writing(database: &Database) -> Result<(), Fault> {
    let transaction = begin(database)?;
    {
        let mut meta = transaction.open_table(META)?;
        let former = meta
            .get(OPENED)?
            .and_then(|count| Some(u64::from_le_bytes(count.value().try_into().ok()?)));
        let count = former.unwrap_or(0).wrapping_add(1);
        meta.insert(OPENED, count.to_le_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// A write transaction whose commit is on the disk when it returns, and after which the file opens at once, however the
/// process ends.
///
/// # Errors
/// `Fault::Engine`.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()).into())
}
