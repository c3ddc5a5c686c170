//! What is withdrawn: tokens by their id, all tokens of a subject from before a moment, all tokens of a key.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::UnixTime;
use crate::token::{Claims, TokenId};

/// What shall not work any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// One token, until it would have expired anyway.
    Token {
        /// Which.
        id: TokenId,
        /// Its end, as far as it is known; it is remembered for good otherwise.
        expires: Option<UnixTime>,
    },
    /// All tokens of a subject that were issued before a moment, and those that don't say when they were.
    Subject {
        /// Whose.
        subject: Box<str>,
        /// Issued before this.
        before: UnixTime,
    },
    /// All tokens that a key signed.
    Key {
        /// Its name (`kid`).
        kid: Box<str>,
    },
}

/// The set of them. A look takes no lock that another look holds.
#[derive(Debug, Default)]
pub struct Revoked {
    generation: AtomicU64,
}

impl Revoked {
    /// Whether the token is withdrawn.
    pub fn covers(&self, _claims: &Claims) -> bool {
        false
    }

    /// A number that grows with every revocation: what was not covered is not covered as long as it stays the same.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
