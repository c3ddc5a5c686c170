//! Keys and key sets: read strictly from JWK or PEM, each with the one algorithm it is for, refused where weak.
//! A `KeyRing` is a named set that can be replaced while requests run.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::TokenError;
use super::claims::TokenId;
use crate::secret::Secret;

mod jwk;
mod key;
mod pem;

pub use key::MAX_KID_BYTES;
use key::{Key, bad};
pub(in crate::token) use pem::block as pem_block;

/// The most keys that one set may hold.
pub const MAX_KEYS: usize = 64;
/// The keys that are tried for a token that names none.
const MAX_TRIALS: usize = 4;

/// A key that checks signatures.
pub struct VerifyingKey {
    /// Its name, where it has one.
    pub kid: Option<Box<str>>,
    /// The one algorithm it is for.
    pub algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// A key that signs.
pub struct SigningKey {
    /// Its name, where it has one.
    pub kid: Option<Box<str>>,
    /// The one algorithm it is for.
    pub algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

/// Where a set came from decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSource {
    /// Inline in the configuration or a local file: may mix kinds; identical duplicates collapse; private members allowed.
    Local,
    /// Fetched from a URL: `oct` keys and differing duplicates refuse the set, private members too.
    Fetched,
}

/// Why a key or a set is refused. Holds no key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", .kid.as_ref().map_or(String::new(), |kid| format!("key {kid:?}: ")))]
pub struct KeyError {
    /// The key's name, where it has one.
    pub kid: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// An immutable set of keys.
#[derive(Default)]
pub struct KeySet {
    pub(super) verifying: Vec<VerifyingKey>,
    pub(super) signing: Vec<SigningKey>,
    pub(super) public_jwks: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 §5) strictly. A single JWK is refused: it is written as a set of one.
    ///
    /// # Errors
    /// `KeyError` for the first key that is weak, ambiguous or not a signature key's. Keys that are for something else
    /// (`use`, `key_ops`) stand apart, and so do kinds that we don't know in a fetched set; no key left is an error.
    pub fn from_jwks(json: &[u8], source: SetSource) -> Result<Self, KeyError> {
        let mut set = Self::default();
        for key in jwk::read_set(json, source)? {
            set.add(key)?;
        }
        if set.verifying.is_empty() && set.signing.is_empty() {
            return Err(bad(None, "the set has no key for signatures"));
        }
        Ok(set)
    }

    /// One HMAC key from its bytes.
    ///
    /// # Errors
    /// `KeyError` when it is shorter than the algorithm's hash (RFC 7518 §3.2).
    pub fn from_hmac(kid: Option<&str>, algorithm: Algorithm, secret: &Secret) -> Result<Self, KeyError> {
        Self::of(Key::hmac(kid, algorithm, secret.reveal())?)
    }

    /// One public or private key in PEM (SPKI, PKCS#8, PKCS#1, SEC1), for the one algorithm.
    ///
    /// # Errors
    /// `KeyError` when the PEM does not hold a key of the algorithm's kind, or a weak one.
    pub fn from_pem(kid: Option<&str>, algorithm: Algorithm, pem: &Secret) -> Result<Self, KeyError> {
        Self::of(pem::read(kid, algorithm, pem.reveal())?)
    }

    /// The keys of both sets together.
    ///
    /// # Errors
    /// `KeyError` for two different keys of one name, or too many.
    pub fn merge(mut self, other: Self) -> Result<Self, KeyError> {
        for key in other.verifying {
            self.add_verifying(key)?;
        }
        for key in other.signing {
            self.add_signing(key)?;
        }
        for jwk in other.public_jwks {
            self.add_public(jwk);
        }
        Ok(self)
    }

    /// A new private JWK of the algorithm (HS256, RS256, ES256 or EdDSA), as the JSON text of a set of one for a key file, with
    /// a random `kid`.
    ///
    /// # Errors
    /// `KeyError` for algorithms that we don't make keys for.
    pub fn generate(algorithm: Algorithm) -> Result<String, KeyError> {
        jwk::generate(algorithm)
    }

    fn of(key: Key) -> Result<Self, KeyError> {
        let mut set = Self::default();
        set.add(key)?;
        Ok(set)
    }

    fn add(&mut self, key: Key) -> Result<(), KeyError> {
        if let Some(verifying) = key.verifying {
            self.add_verifying(verifying)?;
        }
        if let Some(signing) = key.signing {
            self.add_signing(signing)?;
        }
        if let Some(jwk) = key.public_jwk {
            self.add_public(jwk);
        }
        Ok(())
    }

    fn add_verifying(&mut self, key: VerifyingKey) -> Result<(), KeyError> {
        let same = |known: &VerifyingKey| known.algorithm == key.algorithm && key::same(&known.key, &key.key);
        if self
            .verifying
            .iter()
            .any(|known| known.kid == key.kid && same(known))
        {
            return Ok(());
        }
        let clash = key.kid.is_some() && self.verifying.iter().any(|known| known.kid == key.kid);
        let other_half = |known: &SigningKey| known.kid == key.kid && !key::is_half_of(known, &key);
        if clash || key.kid.is_some() && self.signing.iter().any(other_half) {
            return Err(bad(key.kid.as_deref(), "two different keys have this name"));
        }
        full(self.verifying.len(), key.kid.as_deref())?;
        self.verifying.push(key);
        Ok(())
    }

    fn add_signing(&mut self, key: SigningKey) -> Result<(), KeyError> {
        let same = |known: &SigningKey| {
            known.algorithm == key.algorithm && known.key.as_bytes() == key.key.as_bytes()
        };
        if self
            .signing
            .iter()
            .any(|known| known.kid == key.kid && same(known))
        {
            return Ok(());
        }
        let clash = key.kid.is_some() && self.signing.iter().any(|known| known.kid == key.kid);
        let other_half = |known: &VerifyingKey| known.kid == key.kid && !key::is_half_of(&key, known);
        if clash || key.kid.is_some() && self.verifying.iter().any(other_half) {
            return Err(bad(key.kid.as_deref(), "two different keys have this name"));
        }
        full(self.signing.len(), key.kid.as_deref())?;
        self.signing.push(key);
        Ok(())
    }

    fn add_public(&mut self, jwk: serde_json::Value) {
        if !self.public_jwks.contains(&jwk) {
            self.public_jwks.push(jwk);
        }
    }

    /// The public halves as a JWK set, without `oct` keys.
    pub fn public_jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.public_jwks })
    }

    /// The first key that can sign, of `kid` where one is named.
    pub fn signing(&self, kid: Option<&str>) -> Option<&SigningKey> {
        self.signing
            .iter()
            .find(|key| kid.is_none() || key.kid.as_deref() == kid)
    }

    /// The key that signs what this key of the set accepts, where it is there. Of keys of one name it is known that they belong
    /// together; without a name a signature tells.
    pub fn signing_half_of(&self, verifying: &VerifyingKey) -> Option<&SigningKey> {
        let is_half = |key: &&SigningKey| {
            key.algorithm == verifying.algorithm
                && key.kid == verifying.kid
                && (key.kid.is_some() || key::is_half_of(key, verifying))
        };
        self.signing.iter().find(is_half)
    }

    /// The HS256 key that has this secret. Found by a signature, so that the time tells nothing of how near a wrong one is.
    pub fn signing_with(&self, secret: &Secret) -> Option<&SigningKey> {
        let offered = Key::hmac(None, Algorithm::HS256, secret.reveal()).ok()?.signing?;
        let theirs = self
            .verifying
            .iter()
            .filter(|known| key::is_half_of(&offered, known));
        let theirs: Vec<&VerifyingKey> = theirs.collect();
        let is_that = |key: &&SigningKey| theirs.iter().any(|known| key::is_half_of(key, known));
        self.signing.iter().find(is_that)
    }

    /// Whether one secret (HMAC) is in both sets, whatever it is called there.
    pub fn shares_a_secret(&self, other: &Self) -> bool {
        let secrets = self.signing.iter().filter(|key| {
            matches!(
                key.algorithm,
                Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
            )
        });
        secrets
            .flat_map(|key| other.verifying.iter().map(move |theirs| (key, theirs)))
            .any(|(key, theirs)| key::is_half_of(key, theirs))
    }

    /// The first key of this algorithm that can sign.
    pub fn signing_by(&self, algorithm: Algorithm) -> Option<&SigningKey> {
        self.signing.iter().find(|key| key.algorithm == algorithm)
    }

    /// The key of this algorithm that signed a token which names none. Only the first few are tried.
    ///
    /// # Errors
    /// `UnknownKey` where none is of the algorithm, `Invalid` where none of them signed.
    pub fn that_signed(
        &self,
        algorithm: Algorithm,
        mut is_it: impl FnMut(&VerifyingKey) -> Result<bool, TokenError>,
    ) -> Result<&VerifyingKey, TokenError> {
        let fits = |key: &&VerifyingKey| key.algorithm == algorithm;
        let mut tried = self.verifying.iter().filter(fits).take(MAX_TRIALS).peekable();
        tried.peek().ok_or(TokenError::UnknownKey)?;
        for key in tried {
            if is_it(key)? {
                return Ok(key);
            }
        }
        Err(TokenError::Invalid("the signature is not of any key"))
    }

    /// Keys that check signatures.
    pub fn verifying(&self) -> &[VerifyingKey] {
        &self.verifying
    }
}

fn full(count: usize, kid: Option<&str>) -> Result<(), KeyError> {
    if count < MAX_KEYS {
        Ok(())
    } else {
        Err(bad(kid, "the set has more than 64 keys"))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field(
                "verifying",
                &self
                    .verifying
                    .iter()
                    .map(|key| (&key.kid, key.algorithm))
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

/// A key set with the number of its loading: cached verdicts are bound to it.
#[derive(Debug)]
pub struct Generation {
    /// Unique in the process over all rings, and never used again.
    pub number: u64,
    /// The keys.
    pub keys: KeySet,
}

/// A named key set that can be replaced while requests run.
pub struct KeyRing {
    name: Box<str>,
    current: ArcSwapOption<Generation>,
    on_miss: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl KeyRing {
    /// A ring that has no keys yet: verification answers `KeysUnavailable` until `replace`.
    pub fn pending(name: &str) -> Self {
        Self {
            name: name.into(),
            current: ArcSwapOption::empty(),
            on_miss: OnceLock::new(),
        }
    }

    /// A ring with these keys.
    pub fn fixed(name: &str, keys: KeySet) -> Self {
        let ring = Self::pending(name);
        ring.replace(keys);
        ring
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts other keys in the place of the present ones; what was cached for the old ones is void at once.
    pub fn replace(&self, keys: KeySet) {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.current.store(Some(Arc::new(Generation { number, keys })));
    }

    /// The present keys; `None` when they were never loaded.
    pub fn load(&self) -> Option<Arc<Generation>> {
        self.current.load_full()
    }

    /// Sets what is called when a token names a key that the set lacks. Only the first call counts.
    pub fn on_miss(&self, call: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_miss.set(Box::new(call));
    }

    /// Tells the ring's owner that a key was asked for that is not there. Cheap; the owner limits what comes of it.
    pub fn missed(&self) {
        if let Some(call) = self.on_miss.get() {
            call();
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The key under which token ids are hashed for logs.
pub struct LogKey(aws_lc_rs::hmac::Key);

impl LogKey {
    /// From at least 16 secret bytes.
    pub fn new(secret: &Secret) -> Self {
        Self(aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA256,
            secret.reveal(),
        ))
    }

    /// What the logs call the token with this id.
    pub fn name(&self, id: &[u8]) -> TokenId {
        let tag = aws_lc_rs::hmac::sign(&self.0, id);
        let mut short = [0; 16];
        short.copy_from_slice(&tag.as_ref()[..16]);
        TokenId(short)
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey(…)")
    }
}

#[cfg(test)]
mod tests;
