//! What is remembered of tokens: those that were issued to be looked up, those that were spent and the sessions that this
//! opened, refresh tokens, revocations. Outlives a reload of the configuration. One enum; a new kind is one file here.
//! Whatever a call reports as done is durable before it returns; nothing is ever evicted, a full store refuses.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::UnixTime;
use crate::token::keys::LogKey;
use crate::token::{Claims, TokenId};

mod counters;
pub mod embedded;
mod expiry;
mod file;
mod record;
pub mod revoked;
mod tables;
pub mod uses;
mod wire;
mod writer;

pub use counters::Batches;
pub use embedded::Embedded;
pub use revoked::{Revocation, Revoked};
pub use uses::{Session, Use, Uses};

/// Where the store is and how it is set up.
#[derive(Clone, Debug)]
pub struct StoreSetup {
    /// The state folder.
    pub folder: PathBuf,
    /// Entries that it may hold: issued tokens, spent ones, refresh tokens, revocations together.
    pub max_entries: u64,
    /// Names tokens. A store that was made under another one is not opened: what was spent would not be found.
    pub log_key: Arc<LogKey>,
}

/// What a token that is looked up is good for; any of them spends one that may be used once.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Purposes(u8);

impl Purposes {
    /// Opens files.
    pub const FILE: Self = Self(1);
    /// Opens a session at the landing.
    pub const LOGIN: Self = Self(2);
    /// Is exchanged for a bearer.
    pub const EXCHANGE: Self = Self(4);

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As a number, for records.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From a record; `None` where it holds what is not known.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !7 == 0 { Some(Self(bits)) } else { None }
    }
}

impl fmt::Debug for Purposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::FILE, "file"),
            (Self::LOGIN, "login"),
            (Self::EXCHANGE, "exchange"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(purpose, _)| self.has(*purpose))
                    .map(|(_, name)| name),
            )
            .finish()
    }
}

/// A token that is looked up: what it says is here and not in its text.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What it says. `expires` is always there.
    pub claims: Arc<Claims>,
    /// What it is good for.
    pub purposes: Purposes,
    /// The longest life of a bearer that it is exchanged for, in seconds; counts with `EXCHANGE` alone.
    pub exchange_secs: u32,
}

/// A refresh token: good for one new bearer, and for its successor. Strictly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Whom its bearers are for.
    pub subject: Box<str>,
    /// The permissions of its bearers, separated by spaces.
    pub scope: Box<str>,
    /// For which client it was made. A later one of the same subject and client takes its place.
    pub client: Box<str>,
    /// When it was made: what was withdrawn before is not withdrawn with it.
    pub issued: UnixTime,
    /// Its first dead second.
    pub expires: UnixTime,
}

/// Why the store does not do it. Whatever was asked has not happened, or nobody was told that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// As many entries as it may hold.
    #[error("the store is full")]
    Full,
    /// It can't be read or written; it tries to open itself again.
    #[error("the store can't be used: {0}")]
    Unavailable(Box<str>),
    /// It was closed for another process.
    #[error("the store is closed")]
    Closed,
}

/// What a store counts of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Figures {
    /// Entries that are remembered.
    pub entries: u64,
    /// Operations that wait to be written.
    pub waiting: u64,
    /// Times that something was written.
    pub commits: u64,
    /// Operations that were written.
    pub operations: u64,
    /// Times that it failed and was opened again.
    pub failures: u64,
}

/// The memory of tokens.
#[derive(Clone, Debug)]
pub enum Store {
    /// In the state folder.
    Embedded(Arc<Embedded>),
}

impl Store {
    /// Remembers a token that is looked up, until it has expired and a minute more.
    ///
    /// # Errors
    /// `StoreError`; the token must not be handed out then.
    pub async fn remember(&self, id: TokenId, issued: Issued) -> Result<(), StoreError> {
        match self {
            Self::Embedded(embedded) => embedded.remember(id, issued).await,
        }
    }

    /// What was remembered of a token; `None` is an unknown one. Spent and expired ones are still known.
    ///
    /// # Errors
    /// `StoreError`.
    pub async fn recall(&self, id: TokenId) -> Result<Option<Issued>, StoreError> {
        match self {
            Self::Embedded(embedded) => embedded.recall(id),
        }
    }

    /// Tokens that may be used once, and the sessions that they opened.
    pub fn uses(&self) -> &Uses {
        match self {
            Self::Embedded(embedded) => embedded.uses(),
        }
    }

    /// What is withdrawn. An exact set in this process: a look costs no input or output.
    pub fn revoked(&self) -> &Arc<Revoked> {
        match self {
            Self::Embedded(embedded) => embedded.revoked(),
        }
    }

    /// Withdraws tokens: durable, and in force in this process, when this returns.
    ///
    /// # Errors
    /// `StoreError`.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        match self {
            Self::Embedded(embedded) => embedded.revoke(revocation).await,
        }
    }

    /// Remembers a refresh token in the place of the last one of its subject and client.
    ///
    /// # Errors
    /// `StoreError`.
    pub async fn remember_refresh(&self, id: TokenId, refresh: Refresh) -> Result<(), StoreError> {
        match self {
            Self::Embedded(embedded) => embedded.remember_refresh(id, refresh).await,
        }
    }

    /// Takes a refresh token out: of any number who ask at the same time, one is given it.
    ///
    /// # Errors
    /// `StoreError`.
    pub async fn take_refresh(&self, id: TokenId) -> Result<Option<Refresh>, StoreError> {
        match self {
            Self::Embedded(embedded) => embedded.take_refresh(id).await,
        }
    }

    /// Whether it can be used: it is open, and its file works.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Embedded(embedded) => embedded.is_up(),
        }
    }

    /// What it counts of itself.
    pub fn figures(&self) -> Figures {
        match self {
            Self::Embedded(embedded) => {
                let batches = embedded.batches();
                Figures {
                    entries: embedded.entries(),
                    waiting: embedded.waiting(),
                    commits: batches.commits,
                    operations: batches.operations,
                    failures: embedded.failures(),
                }
            }
        }
    }

    /// Lets running reservations end, writes what is still to be written, and lets go of the files. All that is asked
    /// afterwards is answered with `Closed`. Blocks, at most for a few seconds.
    pub fn close(&self) {
        match self {
            Self::Embedded(embedded) => embedded.close(),
        }
    }
}
