//! `[[keys.NAME.inline]]`: keys by hand, with their secrets in the environment or in files.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;

use super::keys::owner_only;
use super::{Place, raw};
use crate::config::NamedKeys;
use crate::config::problems::Problems;
use crate::config::values::Encoding;
use crate::secret::Secret;
use crate::token::keys::{KeyRing, KeySet};

pub(super) fn inline(
    name: &str,
    raw: &raw::Keys,
    place: &Place,
    problems: &mut Problems,
) -> Option<NamedKeys> {
    let mut all = KeySet::default();
    let inline = raw.inline.as_ref()?;
    if inline.is_empty() {
        problems.error(
            format!("{}.inline", raw.at),
            "is empty",
            "add a [[keys.NAME.inline]] with alg and secret",
        );
        return None;
    }
    let mut good = true;
    for key in inline {
        match inline_key(key, place, problems).map(|set| std::mem::take(&mut all).merge(set)) {
            Some(Ok(merged)) => all = merged,
            Some(Err(error)) => {
                problems.error(&key.at, error.to_string(), "give each key its own kid");
                good = false;
            }
            None => good = false,
        }
    }
    good.then(|| NamedKeys {
        ring: Arc::new(KeyRing::fixed(name, all)),
        source: "inline".to_owned(),
        copy: None,
        generated: false,
    })
}

fn inline_key(key: &raw::InlineKey, place: &Place, problems: &mut Problems) -> Option<KeySet> {
    let at = format!("{}.secret", key.at);
    let (algorithm, secret) = (key.alg?, key.secret.as_ref()?);
    let secret = read_secret(&at, secret, place, problems)?;
    let hmac = matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
    let built = if hmac {
        let Some(bytes) = decode(&secret, key.encoding) else {
            problems.error(
                at,
                "is not in the encoding that `encoding` names",
                "text, base64url, base64 or hex",
            );
            return None;
        };
        KeySet::from_hmac(key.kid.as_deref(), algorithm, &bytes)
    } else {
        if problems.has(&format!("{}.encoding", key.at)) {
            problems.error(
                format!("{}.encoding", key.at),
                "goes only with HMAC secrets",
                "a PEM key needs none: take it out",
            );
        }
        KeySet::from_pem(key.kid.as_deref(), algorithm, &secret)
    };
    built
        .map_err(|error| problems.error(at, error.to_string(), ""))
        .ok()
}

/// A secret from where it is. A file that others can read is refused.
pub(super) fn read_secret(
    at: &str,
    secret: &raw::SecretRef,
    place: &Place,
    problems: &mut Problems,
) -> Option<Secret> {
    let read = match secret {
        raw::SecretRef::Env(name) => Secret::from_env(name),
        raw::SecretRef::File(path) => {
            let path = place.resolve(path);
            place.note(&path);
            let read = Secret::from_file(&path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            if read.is_ok() && !owner_only(at, &path, problems) {
                return None;
            }
            read
        }
    };
    read.map_err(|error| problems.error(at, error.to_string(), ""))
        .ok()
}

/// The bytes that a text stands for.
pub(super) fn decode(secret: &Secret, encoding: Encoding) -> Option<Secret> {
    let bytes = secret.reveal();
    let decoded = match encoding {
        Encoding::Text => bytes.to_vec(),
        Encoding::Base64Url => BASE64_URL_SAFE_NO_PAD.decode(bytes).ok()?,
        Encoding::Base64 => BASE64_STANDARD.decode(bytes).ok()?,
        Encoding::Hex => {
            let digit = |byte: u8| {
                char::from(byte)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            let (pairs, rest) = bytes.as_chunks::<2>();
            if !rest.is_empty() {
                return None;
            }
            pairs
                .iter()
                .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
                .collect::<Option<_>>()?
        }
    };
    Some(Secret::new(decoded))
}
