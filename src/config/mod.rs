//! The only reader of the configuration file: text → spanned tree → mirror (`raw`) → objects that are valid by
//! construction (`build`), or every problem at once. Nothing outside has an `Option` that means "defaulted later".

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::Snapshot;
use crate::gate::route::Route;
use crate::keysource::JwksSource;
use crate::origin::HttpOrigin;
use crate::origin::s3::CredentialSource;
use crate::server::settings::{ClientAddressRule, Listeners, ServerSettings};
use crate::server::tls::TlsListeners;
use crate::store::StoreSetup;
use crate::telemetry::settings::LogSettings;
use crate::token::keys::{KeyRing, LogKey};

mod build;
pub mod callers;
mod demo;
mod keyfile;
mod policy;
mod problems;
mod raw;
mod raw_schemes;
mod read;
mod reload;
mod values;

pub use demo::Demo;
pub use policy::{Policy, RouteKeys};
pub use problems::{ConfigErrors, Problem, Warning, in_file};
pub use reload::{Attempt, Files, Fixed, Kept};
pub use values::{algorithm_name, parse_algorithm, parse_bytes, parse_duration, show_duration, show_size};

/// What happens to a key file that is configured with `generate` and does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFiles {
    /// It is made.
    Make,
    /// Nothing is written: a key in memory takes its place, with a warning.
    ReadOnly,
    /// An error: the process that serves has read it before, and whoever took it away did not mean another key.
    Expect,
}

/// A configuration that is valid, and all that was made of it.
pub struct Loaded {
    /// The file it came from.
    pub file: PathBuf,
    /// Where we listen.
    pub listeners: Listeners,
    /// What listeners with TLS prove themselves with.
    pub tls: TlsListeners,
    /// How connections are served.
    pub settings: ServerSettings,
    /// Where the client's address stands.
    pub client_address: ClientAddressRule,
    /// Logs.
    pub log: LogSettings,
    /// The memory of tokens.
    pub store: StoreSetup,
    /// What requests are judged by.
    pub snapshot: Snapshot,
    /// Key sets that are fetched from URLs.
    pub key_sources: Vec<JwksSource>,
    /// Credentials of buckets that are loaded in the background.
    pub credential_sources: Vec<CredentialSource>,
    /// Origins that have to be kept current beside the requests, by name.
    pub origins: Vec<(Box<str>, Arc<HttpOrigin>)>,
    /// All key sets, by name.
    pub keys: Vec<NamedKeys>,
    /// The routes, in the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// What each route does, in the same order: for `check`, and to make tokens.
    pub policies: Vec<Policy>,
    /// What the landing does, in words.
    pub landing: Option<String>,
    /// The file of local users and clients, where there shall be one.
    pub callers_file: Option<PathBuf>,
    /// How callers' bearers are checked, in the order of the file.
    pub callers: Vec<RouteKeys>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
    /// The folder for keys and copies of key sets.
    pub state: PathBuf,
    /// What is printed on start under `demo = true`.
    pub demo: Option<Demo>,
    /// What deserves a second look.
    pub warnings: Vec<Warning>,
    /// What the next configuration may inherit.
    pub kept: Kept,
}

/// A key set and where it came from.
pub struct NamedKeys {
    /// The set.
    pub ring: Arc<KeyRing>,
    /// For people: a file, a URL, or "inline".
    pub source: String,
    /// The copy of a fetched set.
    pub copy: Option<PathBuf>,
    /// Whether the file was configured to be made by us.
    pub generated: bool,
}

/// Reads and builds the configuration in `path`. Relative paths in it are relative to its folder.
///
/// # Errors
/// `ConfigErrors`: all that is wrong.
pub fn load(path: &Path, key_files: KeyFiles) -> Result<Loaded, ConfigErrors> {
    attempt(path, key_files, Kept::default())
        .outcome
        .map(|loaded| *loaded)
}

/// As `load`, for a process that serves: what the file did not change is taken over from `kept`, and the result tells
/// which files to watch, also after a failure.
pub fn attempt(path: &Path, key_files: KeyFiles, kept: Kept) -> Attempt {
    let mut files = Files::default();
    files.note(path);
    let outcome = try_load(path, key_files, kept, &mut files).map(Box::new);
    Attempt { outcome, files }
}

fn try_load(path: &Path, key_files: KeyFiles, kept: Kept, files: &mut Files) -> Result<Loaded, ConfigErrors> {
    let fail = |line, what: String, hint: &str| ConfigErrors {
        file: path.to_owned(),
        problems: vec![Problem {
            path: String::new(),
            line,
            what,
            hint: hint.to_owned(),
        }],
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        fail(
            None,
            format!("can't be read: {error}"),
            "name the file with --config",
        )
    })?;
    let mut problems = problems::Problems::new(&text);
    let tree = toml::de::DeTable::parse(&text).map_err(|error| {
        let line = error.span().map(|span| problems.line_of(span.start));
        fail(
            line,
            error.message().trim().replace('\n', ", "),
            "this is not TOML; nothing else was checked",
        )
    })?;
    let tree = toml::Spanned::new(tree.span(), toml::de::DeValue::Table(tree.into_inner()));
    let file = <raw::File as read::Read>::read(&tree, "", &mut problems);
    let built = file.and_then(|file| build::build(&file, path, key_files, kept, files, &mut problems));
    let warnings = problems.finish(path)?;
    let mut loaded =
        built.ok_or_else(|| fail(None, "can't be built".to_owned(), "this is a fault of mediagate"))?;
    loaded.warnings = warnings;
    Ok(loaded)
}

#[cfg(test)]
mod tests;
