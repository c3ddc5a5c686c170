//! From the mirror to the objects: one file per topic, each of which reports all it finds and builds what it can.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::problems::Problems;
use super::reload::{Digest, Files, Inheritance, Kept, KeptKeys, Numbers, identity};
use super::{KeyFiles, Loaded, Policy, demo, raw};
use crate::app::Snapshot;
use crate::gate::route::{Route, Router};
use crate::issuer::Issuer;
use crate::issuer::mint::SchemeName;
use crate::origin::Origin;
use crate::store::StoreSetup;

mod carriers;
mod cors;
mod inline;
mod issuer;
mod jwt;
mod keys;
mod landing;
mod links;
mod mapping;
mod media;
mod origins;
mod proxy_protocol;
mod routes;
mod s3;
mod server;
mod short_media;
mod signed;
mod single_use;
mod sirv;
mod tls;

/// Where the file is, and what may be done.
struct Place {
    folder: PathBuf,
    state: PathBuf,
    key_files: KeyFiles,
    /// What may be taken over.
    kept: Option<Inheritance>,
    notes: RefCell<Notes>,
}

/// What is noted while the parts are built.
#[derive(Default)]
struct Notes {
    /// All files that were read.
    files: Files,
    /// Those of the part that is being built.
    of_part: BTreeMap<PathBuf, Option<Digest>>,
    /// What the next configuration may inherit.
    keys: BTreeMap<String, KeptKeys>,
    origins: BTreeMap<String, (Digest, Origin)>,
}

impl Place {
    /// Notes a file that is about to be read.
    fn note(&self, path: &Path) {
        let mut notes = self.notes.borrow_mut();
        let content = notes.files.note(path);
        notes.of_part.insert(path.to_owned(), content);
    }

    /// Builds a part, and tells what it was made of.
    fn part<T>(&self, table: &impl std::fmt::Debug, build: impl FnOnce() -> T) -> (T, Digest) {
        self.notes.borrow_mut().of_part.clear();
        let built = build();
        (built, identity(table, &self.notes.borrow().of_part))
    }

    /// A path as the file means it: relative to the file's folder.
    fn resolve(&self, path: &Path) -> PathBuf {
        if path.is_absolute() {
            path.to_owned()
        } else {
            self.folder.join(path)
        }
    }
}

/// Builds all of it; `None` only where a problem was reported.
pub(super) fn build(
    file: &raw::File,
    path: &Path,
    key_files: KeyFiles,
    kept: Kept,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Loaded> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let state = if file.state.is_absolute() {
        file.state.clone()
    } else {
        folder.join(&file.state)
    };
    let kept = kept.0;
    if kept.as_ref().is_some_and(|kept| file.demo && !kept.demo) {
        problems.error(
            "demo",
            "can't be turned on while the server runs",
            "its listeners may not be on loopback: restart it",
        );
    }
    let place = Place {
        folder,
        // Only the folder that is locked is written to.
        state: kept.as_ref().map_or(&state, |kept| &kept.state).clone(),
        key_files,
        kept,
        notes: RefCell::new(Notes {
            files: std::mem::take(files),
            ..Notes::default()
        }),
    };
    let built = parts(file, path, &place, state, problems);
    *files = std::mem::take(&mut place.notes.borrow_mut().files);
    built
}

fn parts(
    file: &raw::File,
    path: &Path,
    place: &Place,
    state: PathBuf,
    problems: &mut Problems,
) -> Option<Loaded> {
    let served = server::build(file, place, problems);
    let tls = tls::build(file, place, problems);
    let keys = keys::build(file, place, problems);
    let origins = origins::origins(file, place, problems);
    let media = media::catalogues(file, place, problems);
    let asked = media::asked(file, &origins, problems);
    let mut numbers = place
        .kept
        .as_ref()
        .map_or_else(Numbers::default, |kept| kept.numbers.clone());
    let mut routes = routes::build(
        file,
        &served,
        &keys,
        &origins,
        &media,
        place,
        &mut numbers,
        problems,
    );
    let inventories = issuer::Inventories {
        media: &media,
        asked: &asked,
    };
    let issuer = issuer::build(file, &served, &keys, inventories, &routes, place, problems);
    let lasting = place
        .kept
        .as_ref()
        .map_or_else(Arc::default, |kept| Arc::clone(&kept.lasting));
    let landing = landing::build(file, &served, &keys, &routes, &lasting, problems);
    sirv::keys_apart(file, &keys, problems);
    links::unused(file, problems);
    links::unreachable(&routes.built, problems);

    let built: Vec<Arc<Route>> = routes
        .built
        .iter()
        .map(|built| Arc::clone(&built.route))
        .collect();
    let router = match Router::new(built.iter().cloned()) {
        Ok(router) => Some(router),
        Err(same) => {
            problems.error(
                routes.path_of(&same.1),
                same.to_string(),
                "give one of them another host or path",
            );
            None
        }
    };
    let policies: Vec<Policy> = routes.built.drain(..).map(|built| built.policy).collect();
    let log_key = keys.log_key.clone()?;
    let callers = issuer
        .as_ref()
        .map(|issuer| issuer.callers.clone())
        .unwrap_or_default();
    let issuer = match issuer {
        Some(issuer) => Some(Arc::new(
            Issuer::new(issuer.settings?).counting_on(Arc::clone(&lasting)),
        )),
        None => None,
    };
    let demo = file
        .demo
        .then(|| demo::choose(file, path, &place.folder, &policies, &log_key))
        .flatten();
    let (landing, landing_policy) = match landing {
        Some(landing) => landing
            .built
            .map(|(landing, policy)| (Some(landing), Some(policy)))?,
        None => (None, None),
    };
    let notes = std::mem::take(&mut *place.notes.borrow_mut());
    let credential_sources = notes
        .origins
        .values()
        .filter_map(|(_, origin)| s3::source(origin));
    let credential_sources = credential_sources.collect();
    let kept_origins = notes
        .origins
        .iter()
        .filter_map(|(name, (_, origin))| Some((name.as_str().into(), Arc::clone(origin.kept()?))))
        .collect();
    let kept = Inheritance {
        keys: notes.keys,
        origins: notes.origins,
        routes: built.clone(),
        numbers,
        log_key: Arc::clone(&log_key),
        lasting,
        state: place.state.clone(),
        demo: file.demo,
    };
    place.notes.borrow_mut().files = notes.files;
    Some(Loaded {
        file: path.to_owned(),
        listeners: served.listeners?,
        tls: tls?,
        settings: served.settings,
        client_address: served.client_address?,
        log: served.log,
        store: StoreSetup {
            folder: place.state.clone(),
            max_entries: max_entries(file, problems),
            log_key: Arc::clone(&log_key),
        },
        snapshot: Snapshot {
            router: router?,
            landing,
            issuer,
            mounts: routes.mounts,
            needs_store: needs_store(file),
            names: Arc::clone(&log_key),
        },
        key_sources: keys.sources,
        credential_sources,
        origins: kept_origins,
        keys: keys.named,
        callers_file: file
            .issuer
            .as_ref()
            .and_then(|issuer| issuer.callers_file.as_deref())
            .map(|path| place.resolve(path)),
        routes: built,
        policies,
        landing: landing_policy,
        callers,
        log_key,
        state,
        demo,
        warnings: Vec::new(),
        kept: Kept(Some(kept)),
    })
}

/// Whether some requests can't be answered without the store. Tokens that may be used once count where a route says
/// something of them.
fn needs_store(file: &raw::File) -> bool {
    let remembers = |native: &raw::NativeDialect| {
        let mut schemes = native.schemes.iter().flatten();
        schemes.any(|scheme| scheme.value == SchemeName::Opaque)
    };
    let issues = |issuer: &raw::Issuer| {
        issuer.nexudus_token.is_some()
            || issuer.bearers.is_some()
            || issuer.native.as_ref().is_some_and(remembers)
    };
    file.landing.is_some()
        || file.issuer.as_ref().is_some_and(issues)
        || file.route.iter().any(|route| {
            let once = route.scheme.as_ref().is_some_and(|scheme| {
                let short_media = scheme.short_media.as_ref();
                scheme.opaque.is_some() || short_media.is_some_and(|short| short.one_time)
            });
            once || route.single_use.is_some()
        })
}

/// How much the store may hold.
fn max_entries(file: &raw::File, problems: &mut Problems) -> u64 {
    let range = 1_000..=1_000_000_000;
    if !range.contains(&file.store.max_entries) {
        problems.error("store.max_entries", "is out of range", "1000 to 1000000000");
    }
    file.store.max_entries
}

/// Checks a duration against its range; answers it whatever it is, since the error stops the rest.
fn in_range(
    path: String,
    value: Duration,
    least: Duration,
    most: Duration,
    problems: &mut Problems,
) -> Duration {
    if value < least || value > most {
        problems.error(
            path,
            format!("{} is out of range", super::show_duration(value)),
            format!(
                "{} to {}",
                super::show_duration(least),
                super::show_duration(most)
            ),
        );
    }
    value
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const DAY: Duration = seconds(24 * 60 * 60);
