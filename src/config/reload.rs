//! What a running configuration hands on to its successor, so that what did not change goes on undisturbed; which files
//! were read, to see when they change; and what only a restart can change.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::{ConfigErrors, Loaded};
use crate::gate::route::Route;
use crate::issuer::Lasting;
use crate::keysource::KeySourceStats;
use crate::origin::Origin;
use crate::server::settings::{ClientAddressRule, Listeners, ServerSettings};
use crate::telemetry::settings::LogSettings;
use crate::token::keys::{KeyRing, LogKey};

/// SHA-256 of a content.
pub(super) type Digest = [u8; 32];

/// Numbers from here on are not remembered for their names: whoever renames that many routes may lose count.
const REMEMBERED_NUMBERS: usize = 100_000;

/// What lives on in the next configuration where it is still wanted. Empty at the first start.
#[derive(Clone, Default)]
pub struct Kept(pub(super) Option<Inheritance>);

/// What there is to inherit.
#[derive(Clone)]
pub(super) struct Inheritance {
    /// Key sets by name.
    pub(super) keys: BTreeMap<String, KeptKeys>,
    /// Origins with connections, by name.
    pub(super) origins: BTreeMap<String, (Digest, Origin)>,
    /// The routes, for their verifiers.
    pub(super) routes: Vec<Arc<Route>>,
    /// The numbers of all routes there ever were.
    pub(super) numbers: Numbers,
    /// Names tokens for the logs.
    pub(super) log_key: Arc<LogKey>,
    /// What the issuer counted, and where it works.
    pub(super) lasting: Arc<Lasting>,
    /// The state folder that is locked.
    pub(super) state: PathBuf,
    /// Whether it is a demo.
    pub(super) demo: bool,
}

/// A key set, and what it was made of.
#[derive(Clone)]
pub(super) struct KeptKeys {
    pub(super) identity: Digest,
    pub(super) ring: Arc<KeyRing>,
    /// Of a set in a file.
    pub(super) file: Option<PathBuf>,
    /// Of a set that is fetched.
    pub(super) stats: Option<Arc<KeySourceStats>>,
}

/// The numbers of routes: a name keeps its number, a number its name.
#[derive(Clone, Default)]
pub(super) struct Numbers {
    by_name: BTreeMap<Box<str>, usize>,
    next: usize,
}

impl Numbers {
    pub(super) fn of(&mut self, name: &str) -> usize {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        if number < REMEMBERED_NUMBERS {
            self.by_name.insert(name.into(), number);
        }
        number
    }
}

/// What is fixed at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    pub(super) listeners: Listeners,
    pub(super) settings: ServerSettings,
    pub(super) client_address: ClientAddressRule,
    pub(super) log: LogSettings,
    pub(super) state: PathBuf,
    /// Whether these speak TLS; with which certificates is not fixed.
    pub(super) issuer_tls: bool,
    pub(super) admin_tls: bool,
}

impl Fixed {
    /// Of a configuration.
    pub fn of(loaded: &Loaded) -> Self {
        Self {
            listeners: loaded.listeners.clone(),
            settings: loaded.settings.clone(),
            client_address: loaded.client_address.clone(),
            log: loaded.log.clone(),
            state: loaded.state.clone(),
            issuer_tls: loaded.tls.issuer.is_some(),
            admin_tls: loaded.tls.admin.is_some(),
        }
    }

    /// The keys in which a later configuration differs, and which need a restart.
    pub fn changes(&self, later: &Self) -> Vec<&'static str> {
        // Taken apart, so that a new setting is not forgotten here.
        let Self {
            listeners:
                Listeners {
                    gate,
                    gate_tls,
                    issuer,
                    admin,
                },
            settings:
                ServerSettings {
                    workers,
                    header_timeout,
                    idle_timeout,
                    stall_timeout,
                    tls_timeout,
                    http2,
                    drain_delay,
                    drain_timeout,
                    max_connections,
                    max_connections_per_address,
                    max_head,
                    token_cache,
                },
            client_address,
            log:
                LogSettings {
                    format,
                    access,
                    level,
                },
            state,
            issuer_tls,
            admin_tls,
        } = self;
        let (gates, gates_tls) = (&later.listeners.gate, later.listeners.gate_tls);
        // First those in clear, then those with TLS.
        let clear = |all: &[SocketAddr], tls: usize| all[..all.len().saturating_sub(tls)].to_vec();
        let secure = |all: &[SocketAddr], tls: usize| all[all.len().saturating_sub(tls)..].to_vec();
        let (new, log) = (&later.settings, &later.log);
        let source = match (client_address, &later.client_address) {
            (ClientAddressRule::Proxy(_), _) | (_, ClientAddressRule::Proxy(_)) => "server.proxy_protocol",
            _ => "server.client_address",
        };
        [
            ("server.listen", clear(gate, *gate_tls) != clear(gates, gates_tls)),
            (
                "server.tls.listen",
                secure(gate, *gate_tls) != secure(gates, gates_tls),
            ),
            ("issuer.tls", *issuer_tls != later.issuer_tls),
            ("admin.tls", *admin_tls != later.admin_tls),
            ("issuer.listen", *issuer != later.listeners.issuer),
            ("admin.listen", *admin != later.listeners.admin),
            ("server.workers", *workers != new.workers),
            ("server.header_timeout", *header_timeout != new.header_timeout),
            ("server.idle_timeout", *idle_timeout != new.idle_timeout),
            ("server.stall_timeout", *stall_timeout != new.stall_timeout),
            ("server.tls_timeout", *tls_timeout != new.tls_timeout),
            ("server.http2", *http2 != new.http2),
            ("server.drain_delay", *drain_delay != new.drain_delay),
            ("server.drain_timeout", *drain_timeout != new.drain_timeout),
            ("server.max_connections", *max_connections != new.max_connections),
            (
                "server.max_connections_per_address",
                *max_connections_per_address != new.max_connections_per_address,
            ),
            ("server.max_head", *max_head != new.max_head),
            ("server.token_cache", *token_cache != new.token_cache),
            (source, *client_address != later.client_address),
            ("log.format", *format != log.format),
            ("log.access", *access != log.access),
            ("log.level", *level != log.level),
            ("state", *state != later.state),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

/// One try to load a configuration.
pub struct Attempt {
    /// What came of it.
    pub outcome: Result<Box<Loaded>, ConfigErrors>,
    /// What was read for it, and what could not be.
    pub files: Files,
}

/// The files that a configuration was read from, to see when one of them has changed. A change is told when it has
/// rested from one look to the next: a file is not read while it is written.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: BTreeMap<PathBuf, Look>,
    /// The contents at the last look, where they differ from what was read.
    changed: Option<Vec<Option<Digest>>>,
}

#[derive(Clone, Debug)]
struct Look {
    /// What was read; `None` where there was nothing to read.
    read: Option<Digest>,
    now: Option<Digest>,
    stamp: Option<Stamp>,
    /// Whether the content was read at a later look than the stamp was first seen. File systems tell times coarsely: a
    /// second change in the same tick has the same stamp.
    is_sure: bool,
}

/// Device, inode, length, and the times of the last changes.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

impl Files {
    /// Notes a file that is about to be read. The content is looked at here: if it changes before it is read, that
    /// shows as a change.
    pub(super) fn note(&mut self, path: &Path) -> Option<Digest> {
        let (stamp, read) = (stamp(path), digest(path));
        self.files.insert(
            path.to_owned(),
            Look {
                read,
                now: read,
                stamp,
                is_sure: false,
            },
        );
        read
    }

    /// Whether something has changed and rests by now. Look again after a while, a second or more.
    pub fn have_changed(&mut self) -> bool {
        for (path, look) in &mut self.files {
            let stamp = stamp(path);
            let same = stamp == look.stamp;
            if !same || !look.is_sure {
                look.now = digest(path);
                look.stamp = stamp;
                look.is_sure = same;
            }
        }
        if self.files.values().all(|look| look.now == look.read) {
            self.changed = None;
            return false;
        }
        let now: Vec<_> = self.files.values().map(|look| look.now).collect();
        let rests = self.changed.as_ref() == Some(&now);
        self.changed = (!rests).then_some(now);
        rests
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |meta: Metadata| {
        (
            meta.dev(),
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        )
    };
    std::fs::metadata(path).ok().map(of)
}

/// Of a regular file: reading anything else may never end.
fn digest(path: &Path) -> Option<Digest> {
    let mut file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => context.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    finish(context)
}

fn finish(context: Context) -> Option<Digest> {
    context.finish().as_ref().try_into().ok()
}

/// What a part of the configuration is made of: its table as it was read, and the contents of its files.
pub(super) fn identity(table: &impl std::fmt::Debug, files: &BTreeMap<PathBuf, Option<Digest>>) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(format!("{table:?}").as_bytes());
    for (path, content) in files {
        context.update(b"\0");
        context.update(path.as_os_str().as_encoded_bytes());
        context.update(b"\0");
        context.update(content.as_ref().map_or(&[][..], |content| content));
    }
    finish(context).unwrap_or_default()
}

#[cfg(test)]
mod tests;
