//! `[keys.NAME]` and the key that names tokens in the logs. Secrets are read here and never shown.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Uri;
use jsonwebtoken::Algorithm;

use super::{DAY, Digest, KeptKeys, Place, in_range, inline, raw, seconds};
use crate::config::problems::Problems;
use crate::config::{KeyFiles, NamedKeys, algorithm_name, keyfile};
use crate::keysource::JwksSource;
use crate::origin::connect::Address;
use crate::secret::Secret;
use crate::token::keys::{KeyError, KeyRing, KeySet, LogKey, SetSource};

/// What this file builds.
#[derive(Default)]
pub(super) struct Keys {
    /// By name; `None` for a set that is wrong and was reported.
    pub(super) rings: BTreeMap<String, Option<Arc<KeyRing>>>,
    pub(super) named: Vec<NamedKeys>,
    pub(super) sources: Vec<JwksSource>,
    pub(super) log_key: Option<Arc<LogKey>>,
}

impl Keys {
    /// What is in the set called `name` now.
    pub(super) fn loaded(&self, name: &str) -> Option<Arc<crate::token::keys::Generation>> {
        self.rings.get(name)?.as_ref()?.load()
    }

    /// The set called `name`; reports one that does not exist.
    pub(super) fn find(&self, at: &str, name: &str, problems: &mut Problems) -> Option<&NamedKeys> {
        if !self.rings.contains_key(name) && !problems.has(&format!("keys.{name}")) {
            super::links::unknown(at, "key set", "keys", name, problems);
        }
        self.named.iter().find(|named| named.ring.name() == name)
    }
}

pub(super) fn build(file: &raw::File, place: &Place, problems: &mut Problems) -> Keys {
    let mut keys = Keys {
        log_key: log_key(place, problems),
        ..Keys::default()
    };
    for (name, raw) in &file.keys {
        let (built, identity) = place.part(raw, || set(name, raw, place, problems));
        let ring = built.map(|(mut named, mut source)| {
            take_over(identity, raw, &mut named, source.as_mut(), place);
            let ring = Arc::clone(&named.ring);
            keys.named.push(named);
            keys.sources.extend(source);
            ring
        });
        keys.rings.insert(name.clone(), ring);
    }
    keys
}

/// A set that is made of the same things as before is the set from before: what was cached for it stays good, and where
/// it is fetched, its loop goes on.
fn take_over(
    identity: Digest,
    raw: &raw::Keys,
    named: &mut NamedKeys,
    source: Option<&mut JwksSource>,
    place: &Place,
) {
    let name = named.ring.name().to_owned();
    let before = place.kept.as_ref().and_then(|kept| kept.keys.get(&name));
    if let Some(same) = before.filter(|before| before.identity == identity) {
        named.ring = Arc::clone(&same.ring);
    }
    let stats = source.map(|source| {
        source.ring = Arc::clone(&named.ring);
        if let Some(stats) = before
            .filter(|before| before.identity == identity)
            .and_then(|before| before.stats.as_ref())
        {
            source.stats = Arc::clone(stats);
        }
        Arc::clone(&source.stats)
    });
    let made = KeptKeys {
        identity,
        ring: Arc::clone(&named.ring),
        file: raw.file.as_deref().map(|path| place.resolve(path)),
        stats,
    };
    place.notes.borrow_mut().keys.insert(name, made);
}

fn log_key(place: &Place, problems: &mut Problems) -> Option<Arc<LogKey>> {
    if let Some(kept) = &place.kept {
        return Some(Arc::clone(&kept.log_key));
    }
    let path = place.state.join("log-id.key");
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    let text = BASE64_URL_SAFE_NO_PAD.encode(random);
    let secret = secret_file("state", &path, place.key_files, || Ok(text.clone()), problems)?;
    if secret.reveal().len() < 16 {
        let hint = "delete it; it is made again on the next start";
        problems.error(
            "state",
            format!("{} holds less than 16 bytes", path.display()),
            hint,
        );
        return None;
    }
    Some(Arc::new(LogKey::new(&secret)))
}

/// Reads a secret file, which is made when it does not exist.
fn secret_file(
    at: &str,
    path: &Path,
    key_files: KeyFiles,
    fresh: impl Fn() -> Result<String, KeyError>,
    problems: &mut Problems,
) -> Option<Secret> {
    let content = |problems: &mut Problems| match fresh() {
        Ok(text) => Some(text),
        Err(error) => {
            problems.error(at, error.to_string(), "");
            None
        }
    };
    match Secret::from_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match key_files {
            KeyFiles::Expect => {
                problems.error(
                    at,
                    format!("{} is gone", path.display()),
                    "put it back: no other key is made while the server runs",
                );
                return None;
            }
            KeyFiles::ReadOnly => {
                problems.warn(
                    at,
                    format!("{} does not exist yet", path.display()),
                    "`mediagate serve` makes it",
                );
                return content(problems).map(|text| Secret::new(text.into_bytes()));
            }
            KeyFiles::Make => {
                let text = zeroize::Zeroizing::new(content(problems)?);
                if let Err(error) = keyfile::make(path, text.as_bytes()) {
                    let hint = "is the folder writable for this user?";
                    problems.error(at, format!("{} can't be made: {error}", path.display()), hint);
                    return None;
                }
            }
        },
        Err(error) => {
            problems.error(
                at,
                format!("{} can't be read: {error}", path.display()),
                "is it readable for this user?",
            );
            return None;
        }
        Ok(_) => {}
    }
    // Read again even by the maker: of two processes that start together one wins, and both use the winner's.
    match Secret::from_file(path) {
        Ok(secret) => owner_only(at, path, problems).then_some(secret),
        Err(error) => {
            problems.error(at, format!("{} can't be read: {error}", path.display()), "");
            None
        }
    }
}

/// Whether nobody but its owner can read a file with a secret.
pub(super) fn owner_only(at: &str, path: &Path, problems: &mut Problems) -> bool {
    match keyfile::exposed(path) {
        Ok(None) => true,
        Ok(Some(mode)) => {
            let what = format!(
                "{} holds a secret and has mode {mode:04o}, so that others can read it",
                path.display()
            );
            problems.error(at, what, format!("chmod 600 {}", path.display()));
            false
        }
        Err(error) => {
            problems.error(at, format!("{} can't be examined: {error}", path.display()), "");
            false
        }
    }
}

fn set(
    name: &str,
    raw: &raw::Keys,
    place: &Place,
    problems: &mut Problems,
) -> Option<(NamedKeys, Option<JwksSource>)> {
    let at = &raw.at;
    if name.is_empty()
        || name.len() > 64
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        problems.error(
            at,
            format!("{name:?} is no name"),
            "letters, digits, - and _, at most 64",
        );
        return None;
    }
    // What the file has, readable or not: `file = 3` was reported and is still a file.
    let has = |key: &str, problems: &Problems| problems.has(&format!("{at}.{key}"));
    let kinds: Vec<&str> = ["file", "jwks", "inline"]
        .into_iter()
        .filter(|key| has(key, problems))
        .collect();
    let [kind] = kinds[..] else {
        let what = match kinds.len() {
            0 => "has none of `file`, `jwks` and `inline`".to_owned(),
            _ => format!("has {} together", kinds.join(" and ")),
        };
        problems.error(
            at,
            what,
            "exactly one of `file`, `jwks` and `inline` says where the keys are",
        );
        return None;
    };
    for (key, wanted) in [
        ("generate", "file"),
        ("alg", "file"),
        ("kid", "file"),
        ("ca_file", "jwks"),
        ("refresh", "jwks"),
        ("cooldown", "jwks"),
    ] {
        if wanted != kind && has(key, problems) {
            problems.error(
                format!("{at}.{key}"),
                format!("goes only with `{wanted}`"),
                format!("this set has `{kind}`: take it out"),
            );
        }
    }
    match kind {
        "file" => from_file(name, raw, place, problems).map(|named| (named, None)),
        "jwks" => from_url(name, raw, place, problems).map(|(named, source)| (named, Some(source))),
        _ => inline::inline(name, raw, place, problems).map(|named| (named, None)),
    }
}

fn from_file(name: &str, raw: &raw::Keys, place: &Place, problems: &mut Problems) -> Option<NamedKeys> {
    let at = format!("{}.file", raw.at);
    let path = place.resolve(raw.file.as_ref()?);
    let generate = raw.generate.filter(|algorithm| {
        let known = matches!(
            algorithm,
            Algorithm::HS256 | Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA
        );
        if !known {
            let what = format!("keys for {} are not made here", algorithm_name(*algorithm));
            problems.error(
                format!("{}.generate", raw.at),
                what,
                "one of: HS256, RS256, ES256, EdDSA",
            );
        }
        known
    });
    place.note(&path);
    let before = place.kept.as_ref().and_then(|kept| kept.keys.get(name));
    let key_files = match before {
        Some(before) if before.file.as_ref() == Some(&path) => KeyFiles::Expect,
        _ => place.key_files,
    };
    let secret = match generate {
        Some(algorithm) => secret_file(&at, &path, key_files, || KeySet::generate(algorithm), problems)?,
        None => match Secret::from_file(&path) {
            Ok(secret) => secret,
            Err(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::NotFound => {
                        "add `generate = \"EdDSA\"` to have it made, or see `mediagate keys new`"
                    }
                    _ => "is it readable for this user?",
                };
                problems.error(at, format!("{} can't be read: {error}", path.display()), hint);
                return None;
            }
        },
    };
    if generate.is_some() {
        // It may have been made just now.
        place.note(&path);
    }
    let pem = secret.reveal().trim_ascii_start().starts_with(b"-----BEGIN");
    let parsed = if pem {
        let Some(algorithm) = raw.alg else {
            let hint = "add `alg = \"ES256\"`, or whatever the key is for: a key belongs to one algorithm";
            problems.error(
                format!("{}.alg", raw.at),
                "missing: the file is PEM, which does not say it",
                hint,
            );
            return None;
        };
        KeySet::from_pem(raw.kid.as_deref(), algorithm, &secret)
    } else {
        for (key, there) in [("alg", raw.alg.is_some()), ("kid", raw.kid.is_some())] {
            if there {
                problems.error(
                    format!("{}.{key}", raw.at),
                    "goes only with a PEM file",
                    "the keys of a JWK set say it themselves",
                );
            }
        }
        KeySet::from_jwks(secret.reveal(), SetSource::Local)
    };
    let keys = match parsed {
        Ok(keys) => keys,
        Err(error) => {
            problems.error(
                at,
                format!("{}: {error}", path.display()),
                "a JWK set, or one key in PEM",
            );
            return None;
        }
    };
    if path.exists() && keys.signing(None).is_some() && !owner_only(&at, &path, problems) {
        return None;
    }
    Some(NamedKeys {
        ring: Arc::new(KeyRing::fixed(name, keys)),
        source: path.display().to_string(),
        copy: None,
        generated: raw.generate.is_some(),
    })
}

fn from_url(
    name: &str,
    raw: &raw::Keys,
    place: &Place,
    problems: &mut Problems,
) -> Option<(NamedKeys, JwksSource)> {
    let refresh = in_range(
        format!("{}.refresh", raw.at),
        raw.refresh,
        seconds(1),
        DAY,
        problems,
    );
    let cooldown = in_range(
        format!("{}.cooldown", raw.at),
        raw.cooldown,
        seconds(1),
        seconds(3600),
        problems,
    );
    let at = format!("{}.jwks", raw.at);
    let url = raw.jwks.as_deref()?;
    let Some(uri) = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some()) else {
        problems.error(
            at,
            "is no URL",
            "write \"https://id.example.com/.well-known/jwks.json\"",
        );
        return None;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if loopback => {}
        _ => {
            let hint = "write https: whoever can change the answer on its way can forge every token; http is for loopback only";
            problems.error(at, "is not fetched over https", hint);
            return None;
        }
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        problems.error(
            at,
            "holds a user name or password",
            "a key set is public; take it out",
        );
        return None;
    }
    let ca_file = raw.ca_file.as_deref().map(|path| place.resolve(path));
    if let Some(path) = &ca_file {
        place.note(path);
    }
    let address = match Address::parse(&uri, ca_file.as_deref()) {
        Ok(address) => address,
        Err(what) => {
            let key = if ca_file.is_some() { "ca_file" } else { "jwks" };
            problems.error(format!("{}.{key}", raw.at), what, "");
            return None;
        }
    };
    let ring = Arc::new(KeyRing::pending(name));
    // By the URL too: the keys of another server are not this one's.
    let copy = place.state.join(format!("jwks-{name}-{}.json", short_hash(url)));
    if place.key_files == KeyFiles::Make
        && let Err(error) = keyfile::make_folder(&place.state)
    {
        problems.error(
            "state",
            format!("{} can't be made: {error}", place.state.display()),
            "",
        );
    }
    let source = JwksSource {
        ring: Arc::clone(&ring),
        address,
        path: uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
        refresh,
        cooldown,
        copy: copy.clone(),
        stats: Arc::default(),
    };
    if copy.exists() && !source.load_copy() {
        problems.warn(
            at,
            format!("{} is no good copy of the set", copy.display()),
            "it is fetched anew by `mediagate serve`",
        );
    }
    Some((
        NamedKeys {
            ring,
            // A query may hold a key of the server's.
            source: url.split(['?', '#']).next().unwrap_or_default().to_owned(),
            copy: Some(copy),
            generated: false,
        },
        source,
    ))
}

/// Tells URLs apart in file names.
fn short_hash(url: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, url.as_bytes());
    hash.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
