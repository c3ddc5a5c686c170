//! Key sets from URLs: fetched in the background, one fetch in flight, a cool-down on unknown keys, the last good set kept
//! also on disk. Bridges `origin::connect` (bytes) and `token::keys` (rings); the request path never waits for it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::CACHE_CONTROL;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::origin::connect::{Address, get_small};
use crate::secret::Secret;
use crate::token::keys::{KeyRing, KeySet, SetSource};

/// The largest set that is read.
const MAX_SET_BYTES: usize = 256 * 1024;
/// Time for one fetch.
const FETCH_DEADLINE: Duration = Duration::from_secs(10);
/// Failures in a row after which the wait between two tries stops doubling.
const MAX_DOUBLINGS: u32 = 4;

/// What is counted of one set.
#[derive(Debug, Default)]
pub struct KeySourceStats {
    /// Fetches that were tried.
    pub fetches: AtomicU64,
    /// Those of them that failed.
    pub failures: AtomicU64,
    /// When one last went well, in milliseconds since 1970; 0 for never.
    pub last_success: AtomicI64,
}

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
    /// What is counted.
    pub stats: Arc<KeySourceStats>,
}

impl JwksSource {
    /// Puts the copy on disk into the ring, if there is a good one. Tells whether.
    pub fn load_copy(&self) -> bool {
        self.read_copy().is_some()
    }

    fn read_copy(&self) -> Option<Vec<u8>> {
        let bytes = Secret::from_file(&self.copy).ok()?.reveal().to_vec();
        let keys = KeySet::from_jwks(&bytes, SetSource::Fetched).ok()?;
        self.ring.replace(keys);
        Some(bytes)
    }

    /// Keeps the ring current until the task is dropped.
    pub async fn run(self, clock: Clock) {
        let asked = Arc::new(Notify::new());
        let wake = Arc::clone(&asked);
        self.ring.on_miss(move || wake.notify_one());
        // The bytes that the ring holds: a set that did not change does not void what was cached for it.
        let mut current = self.read_copy();
        let mut failures: u32 = 0;
        loop {
            let tried = Instant::now();
            let wait = match self.fetch(&mut current).await {
                Ok(max_age) => {
                    if failures > 0 {
                        tracing::info!(keys = self.ring.name(), "the key set is fetched again");
                    }
                    failures = 0;
                    self.stats
                        .last_success
                        .store(clock.now().millis(), Ordering::Relaxed);
                    max_age
                        .map_or(self.refresh, |age| age.min(self.refresh))
                        .max(self.cooldown)
                }
                Err(what) => {
                    if failures == 0 {
                        tracing::warn!(
                            keys = self.ring.name(),
                            what,
                            "the key set can't be fetched; the last good one stays"
                        );
                    }
                    self.stats.failures.fetch_add(1, Ordering::Relaxed);
                    failures += 1;
                    let doubled = self.cooldown * 2_u32.pow((failures - 1).min(MAX_DOUBLINGS));
                    doubled.min(self.refresh).max(self.cooldown)
                }
            };
            // Whoever asks for an unknown key before the cool-down has passed is heard when it has.
            tokio::time::sleep_until(tried + self.cooldown).await;
            tokio::select! {
                () = tokio::time::sleep_until(tried + wait) => {}
                () = asked.notified() => {}
            }
        }
    }

    /// One fetch. The `max-age` of the answer.
    async fn fetch(&self, current: &mut Option<Vec<u8>>) -> Result<Option<Duration>, String> {
        self.stats.fetches.fetch_add(1, Ordering::Relaxed);
        let (headers, bytes) = get_small(&self.address, &self.path, MAX_SET_BYTES, FETCH_DEADLINE)
            .await
            .map_err(|error| error.to_string())?;
        if current.as_deref() != Some(&bytes[..]) {
            let keys = KeySet::from_jwks(&bytes, SetSource::Fetched).map_err(|error| error.to_string())?;
            self.ring.replace(keys);
            if let Err(error) = keep(&self.copy, &bytes) {
                tracing::warn!(keys = self.ring.name(), %error, "the copy of the key set can't be written");
            }
            tracing::info!(keys = self.ring.name(), "the key set has changed");
            *current = Some(bytes.to_vec());
        }
        Ok(max_age(&headers))
    }
}

/// Replaces the copy as a whole.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    let value = text
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    value.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_replaced_as_a_whole_and_is_the_owners() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/idp.jwks-copy.json");
        keep(&path, b"a longer first content").unwrap();
        keep(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn max_age_is_read_where_it_can_be() {
        for (value, seconds) in [
            ("max-age=60", Some(60)),
            ("public, max-age=300, immutable", Some(300)),
            ("no-store", None),
            ("max-age=soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
