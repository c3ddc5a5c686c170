//! From the mirror to the objects: one file per topic, each of which reports all it finds and builds what it can.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::problems::Problems;
use super::{KeyFiles, Loaded, Policy, demo, raw};
use crate::app::Snapshot;
use crate::gate::route::{Route, Router};
use crate::issuer::Issuer;

mod carriers;
mod cors;
mod inline;
mod issuer;
mod keys;
mod links;
mod mapping;
mod origins;
mod proxy_protocol;
mod routes;
mod server;
mod tls;

/// Where the file is, and what may be done.
struct Place {
    folder: PathBuf,
    state: PathBuf,
    key_files: KeyFiles,
}

impl Place {
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
    problems: &mut Problems,
) -> Option<Loaded> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let state = if file.state.is_absolute() {
        file.state.clone()
    } else {
        folder.join(&file.state)
    };
    let place = Place {
        folder,
        state,
        key_files,
    };

    let served = server::build(file, &place, problems);
    let tls = tls::build(file, &place, problems);
    let keys = keys::build(file, &place, problems);
    let origins = origins::origins(file, &place, problems);
    let media = origins::media(file, &place, problems);
    let mut routes = routes::build(file, &served, &keys, &origins, &media, problems);
    let issuer = issuer::build(file, &served, &keys, &media, &routes, problems);
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
        Some(issuer) => Some(Arc::new(Issuer::new(issuer.settings?))),
        None => None,
    };
    let demo = file
        .demo
        .then(|| demo::choose(file, path, &place.folder, &policies, &log_key))
        .flatten();
    Some(Loaded {
        file: path.to_owned(),
        listeners: served.listeners?,
        tls: tls?,
        settings: served.settings,
        client_address: served.client_address?,
        log: served.log,
        snapshot: Snapshot {
            router: router?,
            issuer,
            mounts: routes.mounts,
        },
        key_sources: keys.sources,
        keys: keys.named,
        routes: built,
        policies,
        callers,
        log_key,
        state: place.state,
        demo,
        warnings: Vec::new(),
    })
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
