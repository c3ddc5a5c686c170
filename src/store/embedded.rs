//! The store in the state folder: hands operations to the thread that writes and waits for its answer, reads on the thread
//! of whoever asks. Never blocks who asks, `close` alone does; a queue that is full refuses.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use super::counters::{Batches, Counters};
use super::expiry::LEAST_FORGOTTEN;
use super::file::{self, Fingerprint};
use super::record;
use super::tables::{
    Answer, Fault, ISSUED, Operation, REVOKED_KEYS, REVOKED_SUBJECTS, REVOKED_TOKENS, RecordsDefinition, USES,
};
use super::uses::{Durable, Kept};
use super::wire::BadRecord;
use super::writer::{self, FIRST_WAIT, Message, Reopen, Request, Shared, State, Writer, hindrance};
use super::{Issued, Refresh, Revocation, Revoked, StoreError, StoreSetup, Use, Uses};
use crate::clock::{Clock, Stopwatch, UnixTime};
use crate::token::TokenId;

/// The operations that may wait; who comes then is refused. At 20,000 a second it is the work of half a second.
const QUEUE: usize = 8192;
/// How long `close` waits for reservations, and again for what is still to be written.
const CLOSING: Duration = Duration::from_secs(5);

/// Everything is done.
const OPEN: u8 = 0;
/// What was begun is ended, nothing new is begun.
const CLOSING_DOWN: u8 = 1;
/// Nothing is done.
const CLOSED: u8 = 2;

/// The file and the thread that writes it.
pub struct Journal {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    phase: AtomicU8,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// What a store is made of; tests put a disk of their own in.
pub(super) struct Parts {
    pub(super) database: Database,
    pub(super) reopen: Reopen,
    pub(super) max_entries: u64,
    pub(super) clock: Clock,
    pub(super) first_wait: Duration,
}

impl Journal {
    fn start(parts: Parts) -> Result<Self, Fault> {
        let Parts { database, reopen, .. } = parts;
        let revoked = load(&database)?;
        let nothing = std::iter::empty();
        let now = parts.clock.now();
        let start = writer::transact(&database, nothing, parts.max_entries, now, LEAST_FORGOTTEN)?;
        let counters = Counters::default();
        counters.entries.store(start.entries, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            state: arc_swap::ArcSwap::from_pointee(State::Up(database)),
            revoked: Arc::new(revoked),
            counters,
        });
        let (sender, queue) = mpsc::sync_channel(QUEUE);
        let (ending, ended) = mpsc::channel();
        let writer = Writer {
            queue,
            shared: Arc::clone(&shared),
            reopen,
            clock: parts.clock,
            max_entries: parts.max_entries,
            first_wait: parts.first_wait,
            wait: parts.first_wait,
            endings: start.endings,
            _ended: ending,
        };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Fault::Engine(error.to_string().into()))?;
        Ok(Self {
            queue: sender,
            shared,
            phase: AtomicU8::new(OPEN),
            ended: Mutex::new(ended),
        })
    }

    fn refuse_from(&self, phase: u8) -> Result<(), StoreError> {
        if self.phase.load(Ordering::Acquire) < phase {
            Ok(())
        } else {
            Err(StoreError::Closed)
        }
    }

    /// Has an operation done, and waits until it is durable.
    async fn ask(&self, operation: Operation) -> Result<Answer, StoreError> {
        // Refused at once, so that nobody waits for a file that is gone.
        let state = self.shared.state.load_full();
        if !matches!(*state, State::Up(_)) {
            return Err(hindrance(&state));
        }
        drop(state);
        let (answer, answered) = oneshot::channel();
        let waiting = &self.shared.counters.waiting;
        waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self
            .queue
            .try_send(Message::Request(Request { operation, answer }));
        if let Err(error) = sent {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => StoreError::Unavailable("busy: too many operations wait".into()),
                TrySendError::Disconnected(_) => StoreError::Closed,
            });
        }
        // The thread lets nobody go without an answer but at its end.
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn read<T>(
        &self,
        table: RecordsDefinition,
        id: TokenId,
        read: impl FnOnce(&[u8]) -> Result<T, BadRecord>,
    ) -> Result<Option<T>, StoreError> {
        let state = self.shared.state.load();
        let State::Up(database) = &**state else {
            return Err(hindrance(&state));
        };
        match look(database, table, id, read) {
            Ok(Some(Ok(value))) => Ok(Some(value)),
            Ok(Some(Err(bad))) => Err(StoreError::Unavailable(bad.to_string().into())),
            Ok(None) => Ok(None),
            Err(error) => {
                let reason = error.to_string().into_boxed_str();
                // A file whose content is wrong is not mended by opening it again; one that failed to be read may be.
                if !matches!(error, redb::Error::Corrupted(_)) {
                    let _ = self.queue.try_send(Message::Broken(reason.clone()));
                }
                Err(StoreError::Unavailable(reason))
            }
        }
    }

    /// Has an operation done without waiting for its end; waits for room in the queue.
    fn leave(&self, operation: Operation) {
        let (answer, _) = oneshot::channel();
        self.shared.counters.waiting.fetch_add(1, Ordering::Relaxed);
        if self
            .queue
            .send(Message::Request(Request { operation, answer }))
            .is_err()
        {
            self.shared.counters.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends the thread once it has done what came before.
    fn stop(&self) {
        self.phase.store(CLOSED, Ordering::Release);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that it has ended.
        if self.queue.send(Message::Close).is_ok() {
            let _ = ended.recv_timeout(CLOSING);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("counters", &self.shared.counters)
            .finish_non_exhaustive()
    }
}

/// One look into the file.
fn look<T>(
    database: &Database,
    table: RecordsDefinition,
    id: TokenId,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, redb::Error> {
    // Held until the record was read: without it the engine may free the page under the record.
    let transaction = database.begin_read()?;
    let found = transaction.open_table(table)?.get(&id.0)?;
    Ok(found.map(|record| read(record.value())))
}

/// What is withdrawn, as it stands in the file.
fn load(database: &Database) -> Result<Revoked, Fault> {
    let revoked = Revoked::default();
    let transaction = database.begin_read()?;
    let mut failed = None;
    let tokens = transaction.open_table(REVOKED_TOKENS)?;
    // They come sorted, which fills one bucket after the other.
    revoked.insert_tokens(tokens.iter()?.map_while(|entry| match entry {
        Ok((id, _)) => Some(TokenId(*id.value())),
        Err(error) => {
            failed = Some(error);
            None
        }
    }));
    if let Some(error) = failed {
        return Err(error.into());
    }
    for entry in transaction.open_table(REVOKED_SUBJECTS)?.iter()? {
        let (subject, before) = entry?;
        revoked.insert(&Revocation::Subject {
            subject: subject.value().into(),
            before: UnixTime::from_millis(before.value()),
        });
    }
    for entry in transaction.open_table(REVOKED_KEYS)?.iter()? {
        revoked.insert(&Revocation::Key {
            kid: entry?.0.value().into(),
        });
    }
    Ok(revoked)
}

impl Durable for Journal {
    fn read_use(&self, id: TokenId) -> Result<Option<Use>, StoreError> {
        // Who has to look here would begin something.
        self.refuse_from(CLOSING_DOWN)?;
        self.read(USES, id, record::read_use)
    }

    async fn spend(&self, id: TokenId, spent: Use, kept: impl Into<Kept> + Send) -> Result<bool, StoreError> {
        self.refuse_from(CLOSED)?;
        let answer = self.ask(Operation::Spend(id, spent, kept.into())).await?;
        Ok(answer == Answer::Done)
    }

    async fn update_use(&self, id: TokenId, spent: Use) -> Result<(), StoreError> {
        self.refuse_from(CLOSED)?;
        self.ask(Operation::UpdateUse(id, spent)).await.map(drop)
    }
}

/// The embedded store.
#[derive(Debug)]
pub struct Embedded {
    journal: Arc<Journal>,
    uses: Uses,
    revoked: Arc<Revoked>,
}

impl Embedded {
    /// Opens it in this folder, which is locked for us; makes it where there is none. What is withdrawn is in force then.
    ///
    /// # Errors
    /// When it can't be opened, or belongs to another log key.
    pub fn open(setup: &StoreSetup, clock: Clock) -> Result<Arc<Self>, StoreError> {
        let fingerprint = Fingerprint::of(&setup.log_key);
        let database = file::open_or_make(&setup.folder, fingerprint)?;
        let folder = setup.folder.clone();
        Self::start(Parts {
            database,
            reopen: Box::new(move || file::reopen(&folder, fingerprint)),
            max_entries: setup.max_entries,
            clock,
            first_wait: FIRST_WAIT,
        })
    }

    pub(super) fn start(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let journal = Journal::start(parts)
            .map(Arc::new)
            .map_err(|fault| StoreError::Unavailable(fault.to_string().into()))?;
        Ok(Arc::new(Self {
            uses: Uses::new(Arc::clone(&journal)),
            revoked: Arc::clone(&journal.shared.revoked),
            journal,
        }))
    }

    /// Commits so far, and how many operations each had.
    pub fn batches(&self) -> Batches {
        self.journal.shared.counters.batches()
    }

    /// Entries in the file: what `max_entries` limits.
    pub fn entries(&self) -> u64 {
        self.journal.shared.counters.entries.load(Ordering::Relaxed)
    }

    /// Operations that wait for a commit.
    pub fn waiting(&self) -> u64 {
        self.journal.shared.counters.waiting.load(Ordering::Relaxed)
    }

    /// How often the file failed and had to be opened again.
    pub fn failures(&self) -> u64 {
        self.journal.shared.counters.failures.load(Ordering::Relaxed)
    }

    /// Whether the file can be used.
    pub fn is_up(&self) -> bool {
        matches!(**self.journal.shared.state.load(), State::Up(_))
    }

    pub(super) async fn remember(&self, id: TokenId, issued: Issued) -> Result<(), StoreError> {
        self.begin(Operation::Remember(id, issued)).await.map(drop)
    }

    pub(super) fn recall(&self, id: TokenId) -> Result<Option<Issued>, StoreError> {
        self.journal.refuse_from(CLOSING_DOWN)?;
        self.journal.read(ISSUED, id, record::read_issued)
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.uses
    }

    pub(super) fn revoked(&self) -> &Arc<Revoked> {
        &self.revoked
    }

    pub(super) async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.begin(Operation::Revoke(revocation)).await.map(drop)
    }

    pub(super) async fn remember_refresh(&self, id: TokenId, refresh: Refresh) -> Result<(), StoreError> {
        self.begin(Operation::RememberRefresh(id, refresh))
            .await
            .map(drop)
    }

    pub(super) async fn take_refresh(&self, id: TokenId) -> Result<Option<Refresh>, StoreError> {
        match self.begin(Operation::TakeRefresh(id)).await? {
            Answer::Taken(refresh) => Ok(Some(refresh)),
            Answer::Done | Answer::Not => Ok(None),
        }
    }

    /// Has something done that nobody has begun.
    async fn begin(&self, operation: Operation) -> Result<Answer, StoreError> {
        self.journal.refuse_from(CLOSING_DOWN)?;
        self.journal.ask(operation).await
    }

    pub(super) fn close(&self) {
        self.journal.phase.fetch_max(CLOSING_DOWN, Ordering::AcqRel);
        let waited = Stopwatch::start();
        while self.uses.is_reserved() && waited.elapsed() < CLOSING {
            std::thread::sleep(Duration::from_millis(2));
        }
        for (id, spent) in self.uses.unsaved() {
            self.journal.leave(Operation::UpdateUse(id, spent));
        }
        self.journal.stop();
    }
}

#[cfg(test)]
mod tests;
