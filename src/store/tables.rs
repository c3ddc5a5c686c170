//! The tables of the file, and what an operation changes in them. All of it happens in the one write transaction that is
//! open at a time, so that what one operation sees nobody changes meanwhile. Decides; never commits.

use std::fmt;

use redb::{ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};

use super::expiry::{self, Ending, until_dead};
use super::uses::Kept;
use super::{Issued, Refresh, Revocation, StoreError, Use, record, wire};
use crate::clock::UnixTime;
use crate::token::TokenId;

/// A table of records by the token's id.
pub(super) type RecordsDefinition = TableDefinition<'static, &'static [u8; 16], &'static [u8]>;
/// The same, open.
pub(super) type Records<'t> = Table<'t, &'static [u8; 16], &'static [u8]>;

/// Tokens that are looked up.
pub(super) const ISSUED: RecordsDefinition = TableDefinition::new("issued");
/// Tokens that are spent.
pub(super) const USES: RecordsDefinition = TableDefinition::new("uses");
const REFRESH: RecordsDefinition = TableDefinition::new("refresh");
/// Which refresh token a subject has for a client.
const REFRESH_OF: TableDefinition<'static, (&str, &str), &[u8; 16]> = TableDefinition::new("refresh_of");
/// Until when a token's revocation is kept, in milliseconds.
pub(super) const REVOKED_TOKENS: TableDefinition<'static, &[u8; 16], i64> =
    TableDefinition::new("revoked_tokens");
/// Before when a subject's tokens are revoked, in milliseconds.
pub(super) const REVOKED_SUBJECTS: TableDefinition<'static, &str, i64> =
    TableDefinition::new("revoked_subjects");
pub(super) const REVOKED_KEYS: TableDefinition<'static, &str, ()> = TableDefinition::new("revoked_keys");
/// What ends, in the order of time.
pub(super) const EXPIRY: TableDefinition<'static, &expiry::Key, ()> = TableDefinition::new("expiry");

/// Moments that outlive what they are about.
const MARKS: TableDefinition<'static, &str, i64> = TableDefinition::new("marks");
/// The latest moment, by the clock of that time, at which a use was forgotten.
const USES_FORGOTTEN: &str = "uses_forgotten";

/// The moment of what never ends.
const FOR_GOOD: UnixTime = UnixTime::from_millis(i64::MAX);

/// Why an operation was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file can't be read or written: nothing of this transaction happens.
    Engine(Box<str>),
    /// This operation alone is refused; it has changed nothing.
    Refused(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Engine(error.into().to_string().into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(reason) => f.write_str(reason),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// An operation on the tables.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Remember(TokenId, Issued),
    Spend(TokenId, Use, Kept),
    UpdateUse(TokenId, Use),
    Revoke(Revocation),
    RememberRefresh(TokenId, Refresh),
    TakeRefresh(TokenId),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was done.
    Done,
    /// It had been done before, or there is nothing to do it with.
    Not,
    /// The refresh token that was taken.
    Taken(Refresh),
}

/// The tables of one write transaction.
pub(super) struct Tables<'t> {
    pub(super) issued: Records<'t>,
    pub(super) uses: Records<'t>,
    pub(super) refresh: Records<'t>,
    refresh_of: Table<'t, (&'static str, &'static str), &'static [u8; 16]>,
    pub(super) revoked_tokens: Table<'t, &'static [u8; 16], i64>,
    revoked_subjects: Table<'t, &'static str, i64>,
    revoked_keys: Table<'t, &'static str, ()>,
    pub(super) expiry: Table<'t, &'static expiry::Key, ()>,
    marks: Table<'t, &'static str, i64>,
    /// The latest moment at which a use was forgotten.
    forgotten_at: Option<i64>,
    /// Whether any token is revoked by its id.
    revokes: bool,
    /// All entries that count.
    pub(super) entries: u64,
    /// Whether there is anything to commit.
    pub(super) changed: bool,
    /// Revocations of tokens that are past.
    pub(super) forgotten: Vec<TokenId>,
    max_entries: u64,
    pub(super) now: UnixTime,
}

impl<'t> Tables<'t> {
    /// Opens them, or makes those that are not there.
    ///
    /// # Errors
    /// `Fault::Engine`.
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        max_entries: u64,
        now: UnixTime,
    ) -> Result<Self, Fault> {
        let mut tables = Self {
            issued: transaction.open_table(ISSUED)?,
            uses: transaction.open_table(USES)?,
            refresh: transaction.open_table(REFRESH)?,
            refresh_of: transaction.open_table(REFRESH_OF)?,
            revoked_tokens: transaction.open_table(REVOKED_TOKENS)?,
            revoked_subjects: transaction.open_table(REVOKED_SUBJECTS)?,
            revoked_keys: transaction.open_table(REVOKED_KEYS)?,
            expiry: transaction.open_table(EXPIRY)?,
            marks: transaction.open_table(MARKS)?,
            forgotten_at: None,
            revokes: false,
            entries: 0,
            changed: false,
            forgotten: Vec::new(),
            max_entries,
            now,
        };
        tables.forgotten_at = tables.marks.get(USES_FORGOTTEN)?.map(|mark| mark.value());
        tables.revokes = !tables.revoked_tokens.is_empty()?;
        // Each is a number in the table's root.
        tables.entries = tables.issued.len()?
            + tables.uses.len()?
            + tables.refresh.len()?
            + tables.revoked_tokens.len()?
            + tables.revoked_subjects.len()?
            + tables.revoked_keys.len()?;
        Ok(tables)
    }

    /// Whether anything is going to end.
    ///
    /// # Errors
    /// `Fault::Engine`.
    pub(super) fn has_endings(&self) -> Result<bool, Fault> {
        Ok(!self.expiry.is_empty()?)
    }

    /// Does one operation.
    ///
    /// # Errors
    /// `Fault`.
    pub(super) fn apply(&mut self, operation: &Operation) -> Result<Answer, Fault> {
        match operation {
            Operation::Remember(id, issued) => self.remember(*id, issued),
            Operation::Spend(id, spent, kept) => self.spend(*id, spent, *kept),
            Operation::UpdateUse(id, spent) => self.update_use(*id, spent),
            Operation::Revoke(revocation) => self.revoke(revocation),
            Operation::RememberRefresh(id, refresh) => self.remember_refresh(*id, refresh),
            Operation::TakeRefresh(id) => self.take_refresh(*id),
        }
    }

    fn remember(&mut self, id: TokenId, issued: &Issued) -> Result<Answer, Fault> {
        let until = issued.claims.expires.map_or(FOR_GOOD, until_dead);
        let former = until_in(&self.issued, id)?;
        if former.is_none() {
            self.room(self.max_entries)?;
        }
        self.issued
            .insert(&id.0, record::write_issued(issued, until).as_slice())?;
        self.ends(Ending::Issued, id, former, until)?;
        Ok(Answer::Done)
    }

    fn spend(&mut self, id: TokenId, spent: &Use, Kept { dead, until }: Kept) -> Result<Answer, Fault> {
        if self.uses.get(&id.0)?.is_some() {
            // Whatever stands there, the token was spent.
            return Ok(Answer::Not);
        }
        // A clock that ran ahead may have had it forgotten that this one was spent.
        if self.forgotten_at.is_some_and(|mark| dead.millis() <= mark) {
            return Ok(Answer::Not);
        }
        let record = record::write_use(spent, until).ok_or_else(not_spent)?;
        self.room(self.max_entries)?;
        self.uses.insert(&id.0, record.as_slice())?;
        self.ends(Ending::Use, id, None, until)?;
        self.keep_while_in_use(id, until)?;
        Ok(Answer::Done)
    }

    /// What is known of a token is known as long as a session of it can go on: what it opens, and that it is withdrawn.
    fn keep_while_in_use(&mut self, id: TokenId, until: UnixTime) -> Result<(), Fault> {
        let issued = self.issued.get(&id.0)?.and_then(|record| {
            let former = record::until(record.value()).ok()?;
            (former < until).then(|| (former, record::kept_until(record.value(), until)))
        });
        if let Some((former, record)) = issued {
            self.issued.insert(&id.0, record.as_slice())?;
            self.ends(Ending::Issued, id, Some(former), until)?;
        }
        if !self.revokes {
            return Ok(());
        }
        let revoked = self.revoked_tokens.get(&id.0)?.map(|former| former.value());
        if let Some(former) = revoked.map(UnixTime::from_millis)
            && former < until
        {
            self.revoked_tokens.insert(&id.0, until.millis())?;
            self.ends(Ending::Revoked, id, Some(former), until)?;
        }
        Ok(())
    }

    fn update_use(&mut self, id: TokenId, spent: &Use) -> Result<Answer, Fault> {
        let known = self
            .uses
            .get(&id.0)?
            .map(|record| (record::until(record.value()), record::read_use(record.value())));
        let (until, known) = match known {
            // It is past and forgotten.
            None => return Ok(Answer::Not),
            Some((Ok(until), Ok(known))) => (until, known),
            Some(_) => return Err(unreadable()),
        };
        // A session that has ended does not begin again.
        if known == Use::Spent {
            return Ok(Answer::Done);
        }
        let record = record::write_use(spent, until).ok_or_else(not_spent)?;
        self.uses.insert(&id.0, record.as_slice())?;
        self.changed = true;
        Ok(Answer::Done)
    }

    fn revoke(&mut self, revocation: &Revocation) -> Result<Answer, Fault> {
        match revocation {
            Revocation::Token { id, expires } => self.revoke_token(*id, *expires)?,
            Revocation::Subject { subject, before } => {
                let former = self
                    .revoked_subjects
                    .get(&**subject)?
                    .map(|former| former.value());
                if former.is_none() {
                    self.revocation_room()?;
                }
                let before = former.map_or(before.millis(), |former| former.max(before.millis()));
                self.revoked_subjects.insert(&**subject, before)?;
            }
            Revocation::Key { kid } => {
                if self.revoked_keys.get(&**kid)?.is_none() {
                    self.revocation_room()?;
                }
                self.revoked_keys.insert(&**kid, ())?;
            }
        }
        self.changed = true;
        Ok(Answer::Done)
    }

    fn revoke_token(&mut self, id: TokenId, expires: Option<UnixTime>) -> Result<(), Fault> {
        let former = self
            .revoked_tokens
            .get(&id.0)?
            .map(|until| UnixTime::from_millis(until.value()));
        // A session goes on when its token has expired, and has to end all the same.
        let session = until_in(&self.uses, id)?;
        if former.is_none() {
            self.revocation_room()?;
        }
        let until = expires
            .map_or(FOR_GOOD, until_dead)
            .max(former.unwrap_or_default())
            .max(session.unwrap_or_default());
        self.revoked_tokens.insert(&id.0, until.millis())?;
        self.revokes = true;
        self.ends(Ending::Revoked, id, former, until)
    }

    fn remember_refresh(&mut self, id: TokenId, refresh: &Refresh) -> Result<Answer, Fault> {
        let former = self
            .refresh_of
            .get((&*refresh.subject, &*refresh.client))?
            .map(|former| TokenId(*former.value()));
        if former.is_none() {
            self.room(self.max_entries)?;
        }
        for former in former.into_iter().chain([id]) {
            let record = self.refresh.get(&former.0)?.map(|record| record.value().to_vec());
            if let Some(record) = record {
                self.drop_refresh(former, &record)?;
            }
        }
        self.entries += 1;
        self.refresh
            .insert(&id.0, record::write_refresh(refresh).as_slice())?;
        self.refresh_of
            .insert((&*refresh.subject, &*refresh.client), &id.0)?;
        self.expiry
            .insert(&expiry::key(refresh.expires, Ending::Refresh, id), ())?;
        self.changed = true;
        Ok(Answer::Done)
    }

    fn take_refresh(&mut self, id: TokenId) -> Result<Answer, Fault> {
        let Some(record) = self.refresh.get(&id.0)?.map(|record| record.value().to_vec()) else {
            return Ok(Answer::Not);
        };
        let refresh = record::read_refresh(&record).map_err(|_| unreadable())?;
        if refresh.expires <= self.now {
            return Ok(Answer::Not);
        }
        self.drop_refresh(id, &record)?;
        Ok(Answer::Taken(refresh))
    }

    /// Notes that uses were forgotten now.
    pub(super) fn mark_forgotten(&mut self) -> Result<(), Fault> {
        let now = self.now.millis();
        if self.forgotten_at.is_none_or(|mark| mark < now) {
            self.marks.insert(USES_FORGOTTEN, now)?;
            self.forgotten_at = Some(now);
        }
        Ok(())
    }

    /// Takes a refresh token out of all tables.
    pub(super) fn drop_refresh(&mut self, id: TokenId, record: &[u8]) -> Result<(), Fault> {
        self.refresh.remove(&id.0)?;
        self.entries -= 1;
        self.changed = true;
        let Ok(refresh) = record::read_refresh(record) else {
            return Ok(());
        };
        self.expiry
            .remove(&expiry::key(refresh.expires, Ending::Refresh, id))?;
        let owner = (&*refresh.subject, &*refresh.client);
        let current = self.refresh_of.get(owner)?.map(|id| *id.value());
        if current == Some(id.0) {
            self.refresh_of.remove(owner)?;
        }
        Ok(())
    }

    /// Moves an entry of the index, or makes it for a new record, which is counted then.
    fn ends(
        &mut self,
        ending: Ending,
        id: TokenId,
        former: Option<UnixTime>,
        until: UnixTime,
    ) -> Result<(), Fault> {
        self.changed = true;
        match former {
            None => self.entries += 1,
            Some(former) if former == until => return Ok(()),
            Some(former) => {
                self.expiry.remove(&expiry::key(former, ending, id))?;
            }
        }
        if until != FOR_GOOD {
            let key = match ending {
                Ending::Use => expiry::key_of_use(until, self.now, id),
                Ending::Issued | Ending::Refresh | Ending::Revoked => expiry::key(until, ending, id),
            };
            self.expiry.insert(&key, ())?;
        }
        Ok(())
    }

    fn room(&self, most: u64) -> Result<(), Fault> {
        if self.entries < most {
            Ok(())
        } else {
            Err(Fault::Refused(StoreError::Full))
        }
    }

    /// A store that is full of tokens still takes revocations, a tenth more than it holds otherwise.
    fn revocation_room(&self) -> Result<(), Fault> {
        self.room(self.max_entries.saturating_add(self.max_entries.div_ceil(10)))
    }
}

/// Until when a record is kept; `None` where there is none.
fn until_in(table: &Records<'_>, id: TokenId) -> Result<Option<UnixTime>, Fault> {
    table
        .get(&id.0)?
        .map(|record| record::until(record.value()).map_err(|_| unreadable()))
        .transpose()
}

fn unreadable() -> Fault {
    Fault::Refused(StoreError::Unavailable(wire::BadRecord.to_string().into()))
}

fn not_spent() -> Fault {
    Fault::Refused(StoreError::Unavailable(
        "a use that is not spent is not written".into(),
    ))
}
