//! The keys of schemes that judge whole requests: secrets from the environment or files, public keys from files.

use super::{MAX_KEYS, Reading};
use crate::clock::UnixTime;
use crate::config::build::inline::{decode, read_secret};
use crate::config::problems::Problems;
use crate::config::raw_schemes::SchemeKey;
use crate::secret::Secret;
use crate::token::scheme::signed::NamedKeys;

/// Below that, a secret can be found by trying.
const SHORT_BYTES: usize = 16;

/// A key as it was read: its key path, name, secret and end.
pub(super) type Text = (String, Box<str>, Secret, Option<UnixTime>);

impl Reading<'_> {
    /// The keys of a scheme with shared secrets, none of them empty.
    pub(super) fn secrets(
        &self,
        at: &str,
        keys: Option<&[SchemeKey]>,
        problems: &mut Problems,
    ) -> Option<NamedKeys<Secret>> {
        let all = self.texts(at, keys, problems)?;
        Some(NamedKeys::new(
            all.into_iter()
                .map(|(_, name, secret, until)| (name, secret, until)),
        ))
    }

    /// The same, for schemes that read the secrets themselves.
    pub(super) fn texts(
        &self,
        at: &str,
        keys: Option<&[SchemeKey]>,
        problems: &mut Problems,
    ) -> Option<Vec<Text>> {
        let keys = self.named(at, keys?, problems)?;
        for key in keys {
            if key.alg.is_some() {
                problems.error(
                    format!("{}.alg", key.at),
                    "means nothing here: the scheme has one algorithm",
                    "take it out",
                );
            }
        }
        let mut all = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some((_, secret)) = self.secret(key, problems) {
                let name = key.name.as_deref().unwrap_or_default();
                all.push((key.at.clone(), name.into(), secret, key.until));
            }
        }
        Some(all)
    }

    /// The shared secret of a key, and its key path.
    pub(super) fn secret(&self, key: &SchemeKey, problems: &mut Problems) -> Option<(String, Secret)> {
        for (member, there) in [
            ("public_key", key.public_key.is_some()),
            ("private_key", key.private_key.is_some()),
        ] {
            if there {
                problems.error(
                    format!("{}.{member}", key.at),
                    "goes only with public keys",
                    "this one has a shared `secret`: take it out",
                );
            }
        }
        let at = format!("{}.secret", key.at);
        let Some(secret) = &key.secret else {
            if !problems.has(&at) {
                problems.error(at, "missing", "add secret = { file = \"…\" } or { env = \"…\" }");
            }
            return None;
        };
        let secret = read_secret(&at, secret, self.parts.place, problems)?;
        match decode(&secret, key.encoding) {
            Some(secret) if secret.reveal().is_empty() => problems.error(at, "is empty", ""),
            Some(secret) => {
                if secret.reveal().len() < SHORT_BYTES {
                    problems.warn(
                        at.clone(),
                        "is short: whoever has one good link can try secrets until one makes it",
                        "16 bytes or more",
                    );
                }
                return Some((at, secret));
            }
            None => problems.error(
                at,
                "is not in the encoding that `encoding` names",
                "text, base64url, base64 or hex",
            ),
        }
        None
    }

    /// The private key of a pair where there is one, which holds the public one; else that. With its key path.
    pub(super) fn pair(&self, key: &SchemeKey, problems: &mut Problems) -> Option<(String, Secret)> {
        if key.secret.is_some() {
            problems.error(
                format!("{}.secret", key.at),
                "goes only with shared secrets",
                "this one has a `public_key`, or a `private_key`: take it out",
            );
        }
        if let Some(private) = &key.private_key {
            let at = format!("{}.private_key", key.at);
            let secret = read_secret(&at, private, self.parts.place, problems)?;
            return Some((at, secret));
        }
        let at = format!("{}.public_key", key.at);
        let Some(path) = &key.public_key else {
            if !problems.has(&at) && !problems.has(&format!("{}.private_key", key.at)) {
                problems.error(at, "missing", "add public_key = \"….pem\"");
            }
            return None;
        };
        let path = self.parts.place.resolve(path);
        self.parts.place.note(&path);
        match Secret::from_file(&path) {
            Ok(text) => Some((at, text)),
            Err(error) => {
                problems.error(at, format!("{} can't be read: {error}", path.display()), "");
                None
            }
        }
    }

    /// The keys of a scheme, each with a name of its own.
    pub(super) fn named<'k>(
        &self,
        at: &str,
        keys: &'k [SchemeKey],
        problems: &mut Problems,
    ) -> Option<&'k [SchemeKey]> {
        self.named_in(&format!("{at}.keys"), keys, problems)
    }

    /// The same, at this key path.
    pub(super) fn named_in<'k>(
        &self,
        all: &str,
        keys: &'k [SchemeKey],
        problems: &mut Problems,
    ) -> Option<&'k [SchemeKey]> {
        if !(1..=MAX_KEYS).contains(&keys.len()) && !problems.has_error_below(all) {
            problems.error(
                all,
                "is not 1 to 64 keys",
                "keys = [{ name = \"2026\", secret = { file = \"…\" } }]",
            );
            return None;
        }
        for (number, key) in keys.iter().enumerate() {
            let Some(name) = &key.name else { continue };
            let at = format!("{}.name", key.at);
            if name.is_empty() || name.len() > 128 || name.contains(|letter: char| letter.is_control()) {
                problems.error(&at, "is no name", "1 to 128 bytes, no control characters");
            }
            if keys[..number]
                .iter()
                .any(|other| other.name.as_ref() == Some(name))
            {
                problems.error(&at, "is the name of two keys", "give each key its own");
            }
        }
        Some(keys)
    }
}
