//! The one thread that writes. Takes all operations that wait, does them in one transaction, and answers when it is on the
//! disk. After a failure nothing of the transaction has happened for anybody: it opens the file again, and what the file
//! says then is the truth. Never answers before the commit, never makes a new file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use super::counters::Counters;
use super::expiry::LEAST_FORGOTTEN;
use super::tables::{Answer, EXPIRY, Fault, Operation, Tables};
use super::{Revoked, StoreError, expiry, file};
use crate::clock::{Clock, Stopwatch, UnixTime};
use crate::token::TokenId;

/// The most operations of one commit.
pub(super) const MOST_AT_ONCE: usize = 1024;
/// How often it is looked whether something is past while nobody asks for anything.
const LOOK: Duration = Duration::from_secs(1);
/// The first wait before a failed file is opened again; each further one is twice as long.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The file, as readers find it.
pub(super) enum State {
    /// It works.
    Up(Database),
    /// It does not, for this reason.
    Down(Box<str>),
    /// It was let go of.
    Closed,
}

/// What the thread and the callers share.
pub(super) struct Shared {
    pub(super) state: ArcSwap<State>,
    pub(super) revoked: Arc<Revoked>,
    pub(super) counters: Counters,
}

/// An operation, and who waits for it.
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) answer: oneshot::Sender<Result<Answer, StoreError>>,
}

/// What the thread is told.
pub(super) enum Message {
    Request(Request),
    /// A reader met an error of the file.
    Broken(Box<str>),
    /// Do what came before, and end.
    Close,
}

/// Opens the file again.
pub(super) type Reopen = Box<dyn FnMut() -> Result<Database, StoreError> + Send>;

/// The thread's own.
pub(super) struct Writer {
    pub(super) queue: Receiver<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) reopen: Reopen,
    pub(super) clock: Clock,
    pub(super) max_entries: u64,
    pub(super) first_wait: Duration,
    /// The next wait after a failure.
    pub(super) wait: Duration,
    /// Whether something in the file is going to end.
    pub(super) endings: bool,
    /// Dropped when the thread has ended.
    pub(super) _ended: mpsc::Sender<()>,
}

/// What comes after a batch.
enum Then {
    GoOn,
    /// A reader met an error of the file.
    Broken(Box<str>),
    Recover,
    Close,
}

impl Writer {
    /// Works until it is told to close.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(MOST_AT_ONCE);
        loop {
            let then = match self.collect(&mut batch) {
                Then::GoOn => self.work(&mut batch),
                // What came before it is done first.
                Then::Broken(reason) => match self.work(&mut batch) {
                    Then::GoOn => {
                        release(self.give_up(&reason));
                        Then::Recover
                    }
                    then => then,
                },
                then => {
                    self.work(&mut batch);
                    then
                }
            };
            let then = match then {
                Then::Recover => self.recover(),
                then => then,
            };
            if matches!(then, Then::Close) {
                break;
            }
        }
        self.close();
    }

    /// Waits for an operation and takes all that have come with it; none where it is time to forget.
    fn collect(&self, batch: &mut Vec<Request>) -> Then {
        let first = if self.endings {
            match self.queue.recv_timeout(LOOK) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => return Then::GoOn,
                Err(RecvTimeoutError::Disconnected) => return Then::Close,
            }
        } else {
            match self.queue.recv() {
                Ok(first) => first,
                Err(_) => return Then::Close,
            }
        };
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Request(request) => {
                    self.shared.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                    batch.push(request);
                }
                Message::Broken(reason) => return Then::Broken(reason),
                Message::Close => return Then::Close,
            }
            if batch.len() == MOST_AT_ONCE {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        Then::GoOn
    }

    /// Does a batch and answers all who wait.
    fn work(&mut self, batch: &mut Vec<Request>) -> Then {
        let state = self.shared.state.load_full();
        let State::Up(database) = &*state else {
            refuse(batch, &state);
            return Then::GoOn;
        };
        let now = self.clock.now();
        let done = catch_unwind(AssertUnwindSafe(|| {
            if batch.is_empty() && !is_due(database, now)? {
                return Ok(None);
            }
            let limit = LEAST_FORGOTTEN.max(2 * batch.len());
            let operations = batch.iter().map(|request| &request.operation);
            transact(database, operations, self.max_entries, now, limit).map(Some)
        }));
        match done.unwrap_or_else(|_| Err(Fault::Engine("the engine panicked".into()))) {
            Ok(None) => Then::GoOn,
            Ok(Some(done)) => {
                self.publish(batch, done);
                Then::GoOn
            }
            Err(fault) => {
                let reason = fault.to_string().into_boxed_str();
                // First nobody may ask this file any more, then they are told.
                let failed = self.give_up(&reason);
                refuse(batch, &self.shared.state.load());
                drop(state);
                release(failed);
                Then::Recover
            }
        }
    }

    /// Brings what was committed into force, then tells who asked for it.
    fn publish(&mut self, batch: &mut Vec<Request>, mut done: Done) {
        let counters = &self.shared.counters;
        counters.entries.store(done.entries, Ordering::Relaxed);
        self.endings = done.endings;
        if done.committed {
            counters.count_commit(batch.len());
            self.wait = self.first_wait;
        }
        if !done.forgotten.is_empty() {
            self.shared.revoked.forget(&mut done.forgotten);
        }
        let answered = || batch.iter().zip(&done.answers);
        let revocations = answered().filter_map(|(request, answer)| match &request.operation {
            Operation::Revoke(revocation) if answer.is_ok() => Some(revocation),
            _ => None,
        });
        self.shared.revoked.insert_all(revocations);
        for (request, answer) in batch.drain(..).zip(done.answers) {
            // Who does not wait any more finds out by asking again.
            let _ = request.answer.send(answer);
        }
    }

    /// From now on nobody asks this file, which is returned.
    fn give_up(&self, reason: &str) -> Arc<State> {
        self.shared.counters.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%reason, "the store can't be used; it is opened again until it can");
        self.shared.state.swap(Arc::new(State::Down(reason.into())))
    }

    /// Opens the file again, as often as it takes; refuses everything meanwhile.
    fn recover(&mut self) -> Then {
        loop {
            let waited = Stopwatch::start();
            while let Some(left) = self.wait.checked_sub(waited.elapsed()) {
                match self.queue.recv_timeout(left) {
                    Ok(Message::Request(request)) => {
                        self.shared.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                        refuse(&mut vec![request], &self.shared.state.load());
                    }
                    Ok(Message::Broken(_)) | Err(RecvTimeoutError::Timeout) => {}
                    Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return Then::Close,
                }
            }
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
            match (self.reopen)() {
                Ok(database) => {
                    self.shared.state.store(Arc::new(State::Up(database)));
                    tracing::info!("the store can be used again");
                    return Then::GoOn;
                }
                Err(error) => {
                    let down = State::Down(error.to_string().into());
                    self.shared.state.store(Arc::new(down));
                }
            }
        }
    }

    /// Lets go of the file, and refuses whatever still comes.
    fn close(self) {
        let state = self.shared.state.swap(Arc::new(State::Closed));
        if let Some(State::Up(database)) = alone(state)
            && let Err(error) = database.close()
        {
            tracing::error!(%error, "the store was not closed cleanly; it is put in order when it is opened");
        }
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Request(request) = message {
                self.shared.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                let _ = request.answer.send(Err(StoreError::Closed));
            }
        }
    }
}

/// Waits a moment for readers, whose looks are short; then whoever is last lets go of the file.
fn release(state: Arc<State>) {
    drop(alone(state));
}

fn alone(mut state: Arc<State>) -> Option<State> {
    let waited = Stopwatch::start();
    while waited.elapsed() < Duration::from_secs(1) {
        match Arc::try_unwrap(state) {
            Ok(state) => return Some(state),
            Err(shared) => state = shared,
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}

/// Answers all of them with what hinders.
fn refuse(batch: &mut Vec<Request>, state: &State) {
    for request in batch.drain(..) {
        let _ = request.answer.send(Err(hindrance(state)));
    }
}

/// Why a file that is not up can't be asked.
pub(super) fn hindrance(state: &State) -> StoreError {
    match state {
        State::Up(_) => StoreError::Unavailable("it was opened again".into()),
        State::Down(reason) => StoreError::Unavailable(reason.clone()),
        State::Closed => StoreError::Closed,
    }
}

/// What a transaction came to.
pub(super) struct Done {
    answers: Vec<Result<Answer, StoreError>>,
    forgotten: Vec<TokenId>,
    pub(super) entries: u64,
    pub(super) endings: bool,
    committed: bool,
}

/// Forgets at most so many entries, does the operations, and commits where anything has changed.
///
/// # Errors
/// `Fault::Engine`: nobody may be told that anything of it has happened.
pub(super) fn transact<'o>(
    database: &Database,
    operations: impl Iterator<Item = &'o Operation>,
    max_entries: u64,
    now: UnixTime,
    limit: usize,
) -> Result<Done, Fault> {
    let transaction = file::begin(database)?;
    let mut tables = Tables::open(&transaction, max_entries, now)?;
    tables.forget(limit)?;
    let answers = operations
        .map(|operation| match tables.apply(operation) {
            Ok(answer) => Ok(Ok(answer)),
            Err(Fault::Refused(error)) => Ok(Err(error)),
            Err(fault) => Err(fault),
        })
        .collect::<Result<_, Fault>>()?;
    let done = Done {
        answers,
        entries: tables.entries,
        endings: tables.has_endings()?,
        committed: tables.changed,
        forgotten: std::mem::take(&mut tables.forgotten),
    };
    drop(tables);
    if done.committed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(done)
}

/// Whether there is something to forget.
fn is_due(database: &Database, now: UnixTime) -> Result<bool, Fault> {
    let expiry = database.begin_read()?.open_table(EXPIRY)?;
    let first = expiry.first()?;
    Ok(first.is_some_and(|(key, _)| expiry::is_past(*key.value(), now)))
}
