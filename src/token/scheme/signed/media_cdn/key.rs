//! The keys of Media CDN: raw Ed25519 keys and shared secrets. What a key can do belongs to the key.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};

use super::base64;
use crate::secret::Secret;
use crate::token::scheme::signed::fields::{Algorithm, Mac};

/// The bytes of an Ed25519 key, public or private (RFC 8032 §5.1.5).
const ED25519_BYTES: usize = 32;

/// The fewest bytes of a shared secret.
const MIN_SECRET_BYTES: usize = 16;

/// A key.
pub struct Key(Kind);

enum Kind {
    Public(ParsedPublicKey),
    Pair(ParsedPublicKey, Box<Ed25519KeyPair>),
    Shared(Algorithm, Secret),
}

impl Key {
    /// A public Ed25519 key in base64url, as a keyset of Google's holds it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn public(text: &str) -> Result<Self, &'static str> {
        let bytes = base64(text).map_err(|_| "a key is not base64url")?;
        parsed(&bytes).map(Kind::Public).map(Self)
    }

    /// A private Ed25519 key in base64url, which signs too: its 32 bytes, or those and the public key's behind them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn private(text: &Secret) -> Result<Self, &'static str> {
        let bytes = decoded(text)?;
        let (seed, public) = bytes
            .reveal()
            .split_at_checked(ED25519_BYTES)
            .ok_or("an Ed25519 key has 32 bytes")?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| "a private key can't be read")?;
        let own = pair.public_key().as_ref();
        if !public.is_empty() && public != own {
            return Err("a private key's public part is another's");
        }
        Ok(Self(Kind::Pair(parsed(own)?, Box::new(pair))))
    }

    /// A shared secret in base64url, for HMAC-SHA256.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn sha256(text: &Secret) -> Result<Self, &'static str> {
        shared(Algorithm::Sha256, text)
    }

    /// A shared secret in base64url, for HMAC-SHA1.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn sha1(text: &Secret) -> Result<Self, &'static str> {
        shared(Algorithm::Sha1, text)
    }

    /// The code of a shared secret; `None` for keys of other kinds.
    pub(super) fn mac(&self, message: &[u8]) -> Option<Mac> {
        match &self.0 {
            Kind::Shared(algorithm, secret) => Some(algorithm.mac(secret, &[message])),
            Kind::Public(_) | Kind::Pair(..) => None,
        }
    }

    /// The public half; `None` for shared secrets.
    pub(super) fn verifier(&self) -> Option<&ParsedPublicKey> {
        match &self.0 {
            Kind::Public(public) | Kind::Pair(public, _) => Some(public),
            Kind::Shared(..) => None,
        }
    }

    /// Whether it is a private key.
    pub(super) fn can_sign(&self) -> bool {
        matches!(self.0, Kind::Pair(..))
    }

    /// The signature of a private key; `None` for keys of other kinds.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Pair(_, pair) => pair
                .try_sign(message)
                .ok()
                .map(|signature| signature.as_ref().to_vec()),
            Kind::Public(_) | Kind::Shared(..) => None,
        }
    }
}

fn parsed(bytes: &[u8]) -> Result<ParsedPublicKey, &'static str> {
    if bytes.len() != ED25519_BYTES {
        return Err("an Ed25519 key has 32 bytes");
    }
    ParsedPublicKey::new(&ED25519, bytes).map_err(|_| "a public key can't be read")
}

fn shared(algorithm: Algorithm, text: &Secret) -> Result<Key, &'static str> {
    let secret = decoded(text)?;
    if secret.reveal().len() < MIN_SECRET_BYTES {
        return Err("a shared key has at least 16 bytes");
    }
    Ok(Key(Kind::Shared(algorithm, secret)))
}

fn decoded(text: &Secret) -> Result<Secret, &'static str> {
    let text = std::str::from_utf8(text.reveal()).map_err(|_| "a key is not base64url")?;
    base64(text)
        .map(Secret::new)
        .map_err(|_| "a key is not base64url")
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Public(_) => "Key(Ed25519)",
            Kind::Pair(..) => "Key(Ed25519, private)",
            Kind::Shared(Algorithm::Sha1, _) => "Key(HMAC-SHA1)",
            Kind::Shared(..) => "Key(HMAC-SHA256)",
        })
    }
}
