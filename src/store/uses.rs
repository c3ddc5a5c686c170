//! Tokens that may be used once: what is known of each, changed in one atomic step at a time, and who waits for the next
//! step. What the steps are is not decided here but by the state machine of `gate/session.rs`.
//!
//! A use lives in memory while somebody is at it, and in the journal once it was spent. What is not known is fresh.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::StoreError;
use crate::clock::UnixTime;
use crate::token::TokenId;

/// The most ranges of a file that are told apart while it is downloaded. Beyond that the smallest gaps are not filled in,
/// so that a file may count as not yet whole: the session ends by time then.
const MAX_RANGES: usize = 256;

/// While bodies of a session run, the journal is told of them so often, by the times of their bytes.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// After a failure.
const SAVE_AGAIN: Duration = Duration::from_millis(500);
const MOST_FAILURES: u32 = 20;

/// What is known of a token that may be used once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Use {
    /// Nothing: it was never used.
    #[default]
    Fresh,
    /// Somebody asks the origin with it.
    Reserved(Reservation),
    /// It is spent, and its first client may go on.
    Open(Session),
    /// It is spent.
    Spent,
}

/// Somebody who asks the origin. Not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Who.
    pub owner: u64,
    /// After this it has no say any more.
    pub lease: UnixTime,
}

/// A download that began with a token's only use. Durable from the start; what has been handed out since is written when
/// nobody is at it any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The client that opened it: a keyed hash of its address (IPv4 whole, IPv6 its /64) and user agent.
    pub client: [u8; 16],
    /// A hash of the session's cookie.
    pub cookie: [u8; 16],
    /// Whether the client has shown the cookie: from then on it has to.
    pub cookie_shown: bool,
    /// A keyed hash of the route that it is bound to, and of the target unless it covers the token's whole scope.
    pub target: [u8; 16],
    /// A hash of the file's strong entity tag, where it had one: a file that changes is not resumed.
    pub etag: Option<[u8; 16]>,
    /// When it began.
    pub opened: UnixTime,
    /// When it ends in any case.
    pub ends: UnixTime,
    /// When the last byte was handed to one of its sockets.
    pub last_byte: UnixTime,
    /// When every byte had been handed out.
    pub completed: Option<UnixTime>,
    /// The size of the file, where it is known.
    pub size: Option<u64>,
    /// Bytes that were handed out, those that were so again included.
    pub handed: u64,
    /// Which bytes were: ranges from the first to behind the last, apart and in order.
    pub covered: Vec<(u64, u64)>,
}

impl fmt::Debug for Session {
    /// Without the hashes of what the client has shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("opened", &self.opened)
            .field("ends", &self.ends)
            .field("last_byte", &self.last_byte)
            .field("completed", &self.completed)
            .field("size", &self.size)
            .field("handed", &self.handed)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Notes bytes that were handed to a socket: `length` from `first` on.
    pub fn hand(&mut self, first: u64, length: u64, now: UnixTime) {
        if length == 0 {
            return;
        }
        self.handed = self.handed.saturating_add(length);
        self.last_byte = self.last_byte.max(now);
        self.cover(first, first.saturating_add(length));
        if self.completed.is_none() && self.is_whole() {
            self.completed = Some(now);
        }
    }

    /// Whether every byte of a file whose size is known was handed out.
    fn is_whole(&self) -> bool {
        match (self.size, self.covered.as_slice()) {
            (Some(0), _) => true,
            (Some(size), [(0, end)]) => *end >= size,
            _ => false,
        }
    }

    fn cover(&mut self, first: u64, end: u64) {
        // All that the new range overlaps or touches becomes one with it.
        let from = self.covered.partition_point(|(_, theirs)| *theirs < first);
        let to = self.covered.partition_point(|(theirs, _)| *theirs <= end);
        let merged = self.covered[from..to]
            .iter()
            .fold((first, end), |(first, end), known| {
                (first.min(known.0), end.max(known.1))
            });
        self.covered.splice(from..to, [merged]);
        if self.covered.len() > MAX_RANGES {
            // Less is remembered than was handed out, never more.
            let least = (0..self.covered.len()).min_by_key(|at| self.covered[*at].1 - self.covered[*at].0);
            if let Some(least) = least {
                self.covered.remove(least);
            }
        }
    }
}

/// Where uses are durable.
pub trait Durable: Send + Sync + 'static {
    /// What was written of a use; `None` is nothing.
    ///
    /// # Errors
    /// `StoreError`.
    fn read_use(&self, id: TokenId) -> Result<Option<Use>, StoreError>;

    /// Writes a spent use (`Open` or `Spent`) for the first time, to be kept for so long. Durable when it answers.
    /// `false` where the token was spent before: nothing is written then.
    ///
    /// # Errors
    /// `StoreError`.
    fn spend(
        &self,
        id: TokenId,
        spent: Use,
        kept: impl Into<Kept> + Send,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Writes what became of a session since.
    ///
    /// # Errors
    /// `StoreError`.
    fn update_use(&self, id: TokenId, spent: Use) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A use while somebody is at it.
pub struct Entry {
    state: Use,
    /// Bodies of its session that are being sent.
    bodies: usize,
    /// Whether the journal knows less than `state`.
    unsaved: bool,
    /// Whether it is being told.
    saving: bool,
    /// Whether it is to be told at once.
    urgent: bool,
    /// The last byte that the journal was told of.
    told: UnixTime,
    /// Bytes of running bodies that are still to be handed out.
    promised: u64,
    changed: Arc<Notify>,
}

impl Entry {
    /// What is known.
    pub fn state(&self) -> &Use {
        &self.state
    }

    /// The next change of it. Nothing is missed between this call and the wait.
    pub fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.changed).notified_owned()
    }

    /// Changes what is known, and wakes who waits for that.
    pub fn set(&mut self, state: Use) {
        // That a token is spent was written before it counted. What its session has become since is written when nobody is
        // at it; that the client has shown the cookie, at once.
        match (&self.state, &state) {
            (Use::Open(_), _) => (self.unsaved, self.urgent) = (true, true),
            (_, Use::Open(session)) => self.told = session.last_byte,
            _ => {}
        }
        self.state = state;
        self.changed.notify_waiters();
    }

    /// Changes the session, where there is one. Nobody waits for that.
    pub fn with_session(&mut self, change: impl FnOnce(&mut Session)) {
        if let Use::Open(session) = &mut self.state {
            change(session);
            self.unsaved = true;
        }
    }

    /// Whether nobody is at it and the journal knows all.
    fn is_idle(&self) -> bool {
        self.bodies == 0 && !self.unsaved && !matches!(self.state, Use::Reserved(_))
    }

    /// Whether the journal is to be told now; it is then.
    fn is_to_save(&mut self) -> bool {
        let last = match &self.state {
            Use::Open(session) => session.last_byte,
            Use::Fresh | Use::Reserved(_) | Use::Spent => self.told,
        };
        let overdue = last >= self.told.after(SAVE_EVERY);
        let save = self.unsaved && !self.saving && (self.bodies == 0 || self.urgent || overdue);
        if save {
            (self.saving, self.urgent, self.told) = (true, false, last);
        }
        save
    }

    /// Whether a body of this length still fits into so many times the file's size.
    fn fits(&self, length: u64, times: Option<u64>) -> bool {
        let Use::Open(session) = &self.state else {
            return true;
        };
        let most = session.size.filter(|size| *size > 0).zip(times);
        most.is_none_or(|(size, times)| {
            let all = session
                .handed
                .saturating_add(self.promised)
                .saturating_add(length);
            all <= size.saturating_mul(times)
        })
    }
}

/// All tokens that may be used once.
pub struct Uses<D = super::embedded::Journal> {
    durable: Arc<D>,
    live: Arc<DashMap<TokenId, Entry>>,
}

impl<D> Clone for Uses<D> {
    fn clone(&self) -> Self {
        Self {
            durable: Arc::clone(&self.durable),
            live: Arc::clone(&self.live),
        }
    }
}

impl<D> fmt::Debug for Uses<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uses")
            .field("live", &self.live.len())
            .finish_non_exhaustive()
    }
}

impl<D: Durable> Uses<D> {
    /// Over this journal.
    pub fn new(durable: Arc<D>) -> Self {
        Self {
            durable,
            live: Arc::default(),
        }
    }

    /// One atomic step: nobody else sees or changes the use meanwhile.
    ///
    /// # Errors
    /// `StoreError`, and the step was not taken.
    pub fn step<R>(&self, id: TokenId, step: impl FnOnce(&mut Entry) -> R) -> Result<R, StoreError> {
        let mut entry = self.live.entry(id).or_try_insert_with(|| {
            let state = self.durable.read_use(id)?.unwrap_or_default();
            Ok::<_, StoreError>(Entry {
                told: match &state {
                    Use::Open(session) => session.last_byte,
                    Use::Fresh | Use::Reserved(_) | Use::Spent => UnixTime::default(),
                },
                state,
                bodies: 0,
                unsaved: false,
                saving: false,
                urgent: false,
                promised: 0,
                changed: Arc::default(),
            })
        })?;
        let result = step(&mut entry);
        let (idle, save) = (entry.is_idle(), entry.is_to_save());
        drop(entry);
        if idle {
            self.forget_idle(id);
        }
        if save {
            self.save(id);
        }
        Ok(result)
    }

    fn forget_idle(&self, id: TokenId) {
        self.live.remove_if(&id, |_, entry| entry.is_idle());
    }

    /// Whether a token was used before now. Somebody may use it at the same moment: `spend` alone decides.
    ///
    /// # Errors
    /// `StoreError`.
    pub fn is_spent(&self, id: TokenId) -> Result<bool, StoreError> {
        let live = self
            .live
            .get(&id)
            .map(|entry| matches!(entry.state, Use::Open(_) | Use::Spent));
        match live {
            Some(spent) => Ok(spent),
            None => Ok(self.durable.read_use(id)?.is_some()),
        }
    }

    /// Spends a token for good or opens its session, durably. `false` where it was spent before.
    ///
    /// # Errors
    /// `StoreError`: nobody was told that it is spent, so it counts as it did before. Where the journal knows better, the
    /// next step sees it.
    pub async fn spend(
        &self,
        id: TokenId,
        spent: Use,
        kept: impl Into<Kept> + Send,
    ) -> Result<bool, StoreError> {
        self.durable.spend(id, spent, kept).await
    }

    /// Counts a body of the session, of this length, until its guard is dropped. `None` where it would be more than so many
    /// `times` the file's size, together with all that was handed out and is on its way.
    ///
    /// # Errors
    /// `StoreError`.
    pub fn body(
        &self,
        id: TokenId,
        length: u64,
        times: Option<u64>,
    ) -> Result<Option<Sending<D>>, StoreError> {
        let fits = self.step(id, |entry| {
            let fits = entry.fits(length, times);
            if fits {
                entry.bodies += 1;
                entry.promised = entry.promised.saturating_add(length);
            }
            fits
        })?;
        Ok(fits.then(|| Sending {
            uses: self.clone(),
            id,
            left: length,
        }))
    }

    /// Whether a reservation is running.
    pub fn is_reserved(&self) -> bool {
        self.live
            .iter()
            .any(|entry| matches!(entry.value().state, Use::Reserved(_)))
    }

    /// What sessions have become that the journal does not know yet.
    pub fn unsaved(&self) -> Vec<(TokenId, Use)> {
        self.live
            .iter()
            .filter(|entry| entry.value().unsaved)
            .map(|entry| (*entry.key(), entry.value().state.clone()))
            .collect()
    }

    /// Uses that are in memory.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Writes what a session has become. It stays in memory until it is written.
    fn save(&self, id: TokenId) {
        // Without a runtime the process is at its end: what was handed out is then forgotten, that it is spent is not.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let uses = self.clone();
        runtime.spawn(async move {
            let mut failures = 0;
            while let Some(known) = uses.live.get(&id).map(|entry| entry.state.clone()) {
                let failed = uses.durable.update_use(id, known.clone()).await.is_err();
                failures += u32::from(failed);
                // In the end the journal knows less, but still that it is spent.
                let given_up = failures > MOST_FAILURES;
                let done = uses.live.get_mut(&id).is_none_or(|mut entry| {
                    let written = !failed && entry.state == known;
                    entry.unsaved &= !(written || given_up);
                    // While bodies run, the next time comes by itself.
                    let done = written || given_up || (!failed && entry.bodies > 0);
                    entry.saving &= !done;
                    done
                });
                if done {
                    uses.forget_idle(id);
                    return;
                }
                if failed {
                    tokio::time::sleep(SAVE_AGAIN).await;
                }
            }
        });
    }
}

/// A body of a session on its way.
pub struct Sending<D: Durable = super::embedded::Journal> {
    uses: Uses<D>,
    id: TokenId,
    /// Bytes that are still to be handed out.
    left: u64,
}

impl<D: Durable> Sending<D> {
    /// Notes what was handed to its socket.
    pub fn hand(&mut self, first: u64, length: u64, now: UnixTime) {
        if length == 0 {
            return;
        }
        let kept = length.min(self.left);
        self.left -= kept;
        // A store that is closed or broken does not end a body; its bytes are not counted then.
        let _ = self.uses.step(self.id, |entry| {
            entry.promised = entry.promised.saturating_sub(kept);
            entry.with_session(|session| session.hand(first, length, now));
        });
    }
}

impl<D: Durable> Drop for Sending<D> {
    fn drop(&mut self) {
        let _ = self.uses.step(self.id, |entry| {
            entry.bodies = entry.bodies.saturating_sub(1);
            entry.promised = entry.promised.saturating_sub(self.left);
        });
    }
}

/// For how long a use is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// From here on no route takes the token by itself, whatever leeway it gives.
    pub dead: UnixTime,
    /// Until then; a session may go on for longer than its token.
    pub until: UnixTime,
}

impl Kept {
    /// Of a token that expires then, whose session ends then at the latest.
    pub fn new(expires: UnixTime, ends: UnixTime) -> Self {
        let dead = super::expiry::until_dead(expires);
        Self {
            dead,
            until: dead.max(ends.after(Duration::from_secs(60))),
        }
    }
}

impl From<UnixTime> for Kept {
    /// Until a moment, for the token and its session alike.
    fn from(until: UnixTime) -> Self {
        Self { dead: until, until }
    }
}
