//! `mediagate keys`: what key sets there are, their public halves, and new keys.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failed;
use crate::clock::{Clock, UnixTime};
use crate::config::{Loaded, NamedKeys, algorithm_name, parse_algorithm, show_duration};
use crate::token::keys::KeySet;

#[derive(Args)]
pub(super) struct Flags {
    /// Print the public halves of all sets as one JWK set.
    #[arg(long)]
    public: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print a new private JWK set with one key
    New {
        /// HS256, RS256, ES256 or EdDSA.
        #[arg(long, default_value = "EdDSA")]
        alg: String,
    },
}

pub(super) fn keys(flags: Flags, load: impl FnOnce() -> Result<Loaded, Failed>) -> Result<(), Failed> {
    if let Some(Command::New { alg }) = flags.command {
        let algorithm = parse_algorithm(&alg).map_err(Failed::Usage)?;
        say!(
            "{}",
            KeySet::generate(algorithm)
                .map_err(|error| Failed::Usage(error.to_string()))?
                .trim_end()
        );
        return Ok(());
    }
    let loaded = load()?;
    for source in &loaded.key_sources {
        source.load_copy();
    }
    if flags.public {
        say!("{:#}", public(&loaded));
        return Ok(());
    }
    for named in &loaded.keys {
        say!("{} ({}{})", named.ring.name(), named.source, copied(named));
        let Some(generation) = named.ring.load() else {
            say!("  never loaded");
            continue;
        };
        let set = &generation.keys;
        for key in set.verifying() {
            let kid = key.kid.as_deref().unwrap_or("-");
            let signs = match key.kid.as_deref() {
                Some(kid) => set.signing(Some(kid)).is_some(),
                None => set.signing(None).is_some_and(|signing| signing.kid.is_none()),
            };
            let use_ = if signs { "signs and checks" } else { "checks" };
            say!("  {kid}  {}  {use_}", algorithm_name(key.algorithm));
        }
    }
    Ok(())
}

/// How old the copy of a fetched set is.
fn copied(named: &NamedKeys) -> String {
    let Some(copy) = &named.copy else {
        return String::new();
    };
    match std::fs::metadata(copy).and_then(|copy| copy.modified()) {
        Ok(time) => {
            let age = UnixTime::from(time).until(Clock::system().now());
            format!(
                ", copied {} ago",
                show_duration(Duration::from_secs(age.as_secs()))
            )
        }
        Err(_) => ", no copy yet".to_owned(),
    }
}

fn public(loaded: &Loaded) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for generation in loaded.keys.iter().filter_map(|named| named.ring.load()) {
        if let Value::Array(keys) = &generation.keys.public_jwks()["keys"] {
            for key in keys {
                if !all.contains(key) {
                    all.push(key.clone());
                }
            }
        }
    }
    json!({ "keys": all })
}
