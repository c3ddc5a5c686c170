//! Key sets from URLs: fetched in the background, one fetch in flight, a cool-down on unknown keys, the last good set kept
//! also on disk. Bridges `origin::connect` (bytes) and `token::keys` (rings); the request path never waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::origin::connect::Address;
use crate::token::keys::KeyRing;

/// Where a set is fetched from, and how often.
#[derive(Debug)]
pub struct JwksSource {
    /// The ring that is kept current.
    pub ring: Arc<KeyRing>,
    /// The server.
    pub address: Address,
    /// Path and query of the set.
    pub path: String,
    /// The regular interval, where the answer's `max-age` does not say less.
    pub refresh: Duration,
    /// The least time between two fetches, whatever is asked for.
    pub cooldown: Duration,
    /// The copy of the last good set, public keys only.
    pub copy: PathBuf,
}

impl JwksSource {
    /// Puts the copy on disk into the ring, if there is a good one. Tells whether.
    pub fn load_copy(&self) -> bool {
        todo!()
    }

    /// Keeps the ring current until the task is dropped.
    pub async fn run(self) {
        todo!()
    }
}
