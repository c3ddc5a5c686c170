//! What is there longer than an issuer: what was counted of its callers, where it works, and what it shares with the gate.

use std::sync::Arc;

use crate::origin::Pools;
use crate::pool::Pool;
use crate::store::{Store, StoreError};
use crate::throttle::{Hourly, Throttle};

/// What outlives an issuer and its configuration: what was counted of its callers, and the places where it works.
pub struct Lasting {
    pub(super) tokens: Throttle,
    pub(super) tries: Tries,
    pub(super) hours: Hours,
    /// Requests at Adobe's doors, by the address of the device.
    pub(super) devices: Throttle,
    /// Where slow keys sign, the sessions of the landing, too.
    pub signing: Arc<Pool>,
    pub(super) hashing: Pool,
}

/// What was asked in an hour of who tells how much is left. Apart, so that nobody without a name takes the place of one who
/// has one.
#[derive(Default)]
pub(super) struct Hours {
    pub(super) callers: Hourly,
    pub(super) addresses: Hourly,
}

/// Tries with passwords.
#[derive(Default)]
pub(super) struct Tries {
    pub(super) accounts: Throttle,
    pub(super) addresses: Throttle,
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            tokens: Throttle::new(),
            tries: Tries::default(),
            hours: Hours::default(),
            devices: Throttle::new(),
            // Apart, so that whoever tries passwords holds up nobody's media token.
            signing: Arc::new(Pool::new(2, 64)),
            hashing: Pool::new(2, 32),
        }
    }
}

/// What an issuer shares with the gate.
pub struct Memory {
    /// The memory of tokens; none before it is opened. One that was closed still knows what is withdrawn.
    pub store: Option<Arc<Store>>,
    /// Who showed how many unknown tokens.
    pub unknown: Arc<Throttle>,
    /// The worker's origin connections.
    pub pools: Pools,
}

impl Memory {
    pub(super) fn store(&self) -> Result<&Store, StoreError> {
        self.store.as_deref().ok_or(StoreError::Closed)
    }
}
