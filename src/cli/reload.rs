//! Reloads of the configuration, on a thread of their own: on SIGHUP at once, and when a file that the configuration was
//! read from has changed and rests. What comes of a try is handed to the thread that serves; it may take as long as it
//! wants.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Failed;
use crate::config::{Attempt, ConfigErrors, Files, Fixed, Kept, KeyFiles, Loaded, attempt, in_file};
use crate::server::{Reload, Running};

/// Between two looks at the files. A change is taken with the second look that sees it.
const LOOK: Duration = Duration::from_secs(1);

/// Tries that wait to be applied; more than one only where the serving thread is busy with a takeover.
const WAITING: usize = 4;

/// The thread. Dropped, it ends.
pub(super) struct Reloader {
    asked: Sender<()>,
    tried: mpsc::Receiver<Result<Box<Loaded>, ConfigErrors>>,
}

impl Reloader {
    /// Watches these files from now on.
    pub(super) fn start(path: PathBuf, files: Files, kept: Kept) -> Result<Self, Failed> {
        let (asked, asks) = channel();
        let (results, tried) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || watch(&path, files, kept, &asks, &results))
            .map_err(Failed::other)?;
        Ok(Self { asked, tried })
    }

    /// Tries now.
    pub(super) fn now(&self) {
        let _ = self.asked.send(());
    }

    /// What came of the next try.
    pub(super) async fn next(&mut self) -> Option<Result<Box<Loaded>, ConfigErrors>> {
        self.tried.recv().await
    }
}

fn watch(
    path: &std::path::Path,
    mut files: Files,
    mut kept: Kept,
    asks: &Receiver<()>,
    results: &mpsc::Sender<Result<Box<Loaded>, ConfigErrors>>,
) {
    loop {
        match asks.recv_timeout(LOOK) {
            // What was asked for several times meanwhile is done once.
            Ok(()) => while asks.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) if files.have_changed() => {}
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Attempt { outcome, files: read } = attempt(path, KeyFiles::Make, kept.clone());
        files = read;
        if let Ok(loaded) = &outcome {
            kept = loaded.kept.clone();
        }
        if results.blocking_send(outcome).is_err() {
            return;
        }
    }
}

/// What a server is given of a configuration while it runs.
pub fn changes(loaded: Loaded) -> Reload {
    Reload {
        snapshot: loaded.snapshot,
        tls: loaded.tls,
        routes: loaded
            .routes
            .iter()
            .map(|route| (route.number, route.name.clone()))
            .collect(),
        key_sources: loaded.key_sources,
        credential_sources: loaded.credential_sources,
        origins: loaded.origins,
    }
}

/// Takes the new configuration, or says all that is wrong with it and keeps the old.
pub(super) fn apply(tried: Result<Box<Loaded>, ConfigErrors>, running: &Running, fixed: &Fixed) {
    match tried {
        Ok(loaded) => {
            for key in fixed.changes(&Fixed::of(&loaded)) {
                tracing::warn!(
                    "{key} has changed and needs a restart (or `serve --takeover`); it stays as it was"
                );
            }
            for warning in &loaded.warnings {
                tracing::warn!("{}", in_file(&loaded.file, warning));
            }
            running.reload(changes(*loaded));
            tracing::info!("the configuration was reloaded");
        }
        Err(errors) => {
            running.reload_failed();
            let count = errors.problems.len();
            tracing::error!(
                mistakes = count,
                "the configuration is wrong; the one in use stays"
            );
            for problem in &errors.problems {
                tracing::error!("{}", in_file(&errors.file, problem));
            }
        }
    }
}
