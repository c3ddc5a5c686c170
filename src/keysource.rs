//! Key sets from URLs: fetched in the background, one fetch in flight, a cool-down on unknown keys, the last good set kept
//! also on disk. Bridges `origin::connect` (bytes) and `token::keys` (rings); the request path never waits for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::origin::OriginError;
use crate::origin::connect::{Address, get_small};
use crate::token::keys::{KeyError, KeyRing, KeySet, SetSource};

/// The largest set that is read.
const MAX_SET_BYTES: usize = 256 * 1024;
/// Time for one fetch, from the look-up of the name to the last byte.
const FETCH_DEADLINE: Duration = Duration::from_secs(10);
/// After so many failures in a row the pause between two tries no longer doubles.
const MAX_DOUBLINGS: u32 = 5;

/// What is counted of one source.
#[derive(Debug, Default)]
pub struct KeySourceStats {
    /// Fetches that were tried.
    pub fetches: AtomicU64,
    /// Those of them that brought no good set.
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

/// Why the ring was left as it is. For logs: names no host.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("plain http to another machine can be forged: write https://")]
    Forgeable,
    #[error("the key server gave no set")]
    Server(#[source] OriginError),
    #[error("the set is refused")]
    Refused(#[source] KeyError),
}

impl JwksSource {
    /// Puts the copy on disk into the ring, if there is a good one. Tells whether.
    pub fn load_copy(&self) -> bool {
        self.read_copy().is_some()
    }

    /// Keeps the ring current until the task is dropped.
    pub async fn run(self, clock: Clock) {
        let server = Arc::new((self.address.clone(), self.path.clone()));
        let fetch = || {
            let server = Arc::clone(&server);
            async move {
                let (address, path) = &*server;
                if !is_unforgeable(address) {
                    return Err(FetchError::Forgeable);
                }
                let set = get_small(address, path, MAX_SET_BYTES, FETCH_DEADLINE).await;
                set.map_err(FetchError::Server)
            }
        };
        self.keep(fetch, &clock).await;
    }

    async fn keep<F>(&self, fetch: impl Fn() -> F, clock: &Clock)
    where
        F: Future<Output = Result<(HeaderMap, Bytes), FetchError>>,
    {
        let missed = Arc::new(Notify::new());
        let wake = Arc::clone(&missed);
        self.ring.on_miss(move || wake.notify_one());
        // What the ring holds: a set that did not change must not void what was cached for it.
        let mut current = self.read_copy();
        let mut failures: u32 = 0;
        loop {
            let tried = Instant::now();
            self.stats.fetches.fetch_add(1, Ordering::Relaxed);
            let outcome = match fetch().await {
                Ok((headers, set)) => self.accept(set, &mut current).await.map(|()| max_age(&headers)),
                Err(error) => Err(error),
            };
            let wait = match outcome {
                Ok(max_age) => {
                    self.stats
                        .last_success
                        .store(clock.now().millis(), Ordering::Relaxed);
                    if failures > 0 {
                        tracing::info!(keys = self.ring.name(), "the key set is fetched again");
                    }
                    failures = 0;
                    max_age.map_or(self.refresh, |age| age.min(self.refresh))
                }
                Err(error) => {
                    self.stats.failures.fetch_add(1, Ordering::Relaxed);
                    if failures == 0 {
                        tracing::warn!(
                            keys = self.ring.name(),
                            error = &error as &dyn std::error::Error,
                            "the key set can't be fetched; the last good one stays"
                        );
                    }
                    failures = failures.saturating_add(1);
                    let pause = self
                        .cooldown
                        .saturating_mul(1 << (failures - 1).min(MAX_DOUBLINGS));
                    pause.min(self.refresh)
                }
            };
            // A miss during the cool-down, however many, is heard once when it is over.
            sleep_until(tried + self.cooldown).await;
            tokio::select! {
                () = sleep_until(tried + wait.max(self.cooldown)) => {}
                () = missed.notified() => {}
            }
        }
    }

    /// Puts a fetched set into the ring and on disk, where it is good and not there yet.
    async fn accept(&self, set: Bytes, current: &mut Option<Bytes>) -> Result<(), FetchError> {
        if current.as_ref() == Some(&set) {
            return Ok(());
        }
        let keys = KeySet::from_jwks(&set, SetSource::Fetched).map_err(FetchError::Refused)?;
        self.ring.replace(keys);
        *current = Some(set.clone());
        let copy = self.copy.clone();
        let written = tokio::task::spawn_blocking(move || write_copy(&copy, &set)).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::warn!(keys = self.ring.name(), %error, "the copy of the key set can't be written");
        }
        Ok(())
    }

    /// The copy, where it is good: then the ring holds it.
    fn read_copy(&self) -> Option<Bytes> {
        let mut set = Vec::new();
        File::open(&self.copy)
            .ok()?
            .take(MAX_SET_BYTES as u64 + 1)
            .read_to_end(&mut set)
            .ok()?;
        let keys = (set.len() <= MAX_SET_BYTES).then(|| KeySet::from_jwks(&set, SetSource::Fetched));
        match keys? {
            Ok(keys) => self.ring.replace(keys),
            Err(error) => {
                tracing::warn!(keys = self.ring.name(), %error, "the copy of the key set is refused");
                return None;
            }
        }
        Some(set.into())
    }
}

/// Whether nobody on the way can put keys of their own into the answer: TLS, or never off this machine.
fn is_unforgeable(address: &Address) -> bool {
    let host = address.host.trim_matches(['[', ']']);
    // RFC 6761 §6.3: `localhost` is never looked up elsewhere.
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    address.tls.is_some() || is_loopback
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|directive| {
            let (name, seconds) = directive.trim().split_once('=')?;
            let seconds = seconds.trim_matches('"').parse().ok()?;
            name.eq_ignore_ascii_case("max-age")
                .then_some(Duration::from_secs(seconds))
        })
}

/// Whole or not at all: a crash leaves the old copy or the new one.
fn write_copy(copy: &Path, set: &[u8]) -> io::Result<()> {
    let mut name = copy.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = copy.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(set)?;
    file.sync_all()?;
    fs::rename(&new, copy)
}

#[cfg(test)]
mod tests;
