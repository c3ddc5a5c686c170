//! The keys of Common Access Tokens: each has its one algorithm, and a token can't choose another.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Jose, crypto};

use crate::secret::Secret;
use crate::token::keys::{KeyError, KeySet, SigningKey, VerifyingKey};
use crate::token::scheme::signed::{Signatures, same};

/// The least that a shared secret has: as much as the hash (RFC 9053 §3.1).
const MIN_SECRET_BYTES: usize = 32;

/// An algorithm (RFC 9053).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC 256/256: the whole of HMAC-SHA256. The one with 64 bits is none of ours.
    Hmac256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    /// By the names that Akamai's and other libraries have: `HS256`, `ES256`, `ES384`, `PS256`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hmac256,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "PS256" => Self::Ps256,
            _ => return None,
        })
    }

    /// Its number in COSE's registry.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Hmac256 => 5,
            Self::Es256 => -7,
            Self::Es384 => -35,
            Self::Ps256 => -37,
        }
    }

    /// The one of this number.
    pub(super) fn numbered(number: i64) -> Option<Self> {
        [Self::Hmac256, Self::Es256, Self::Es384, Self::Ps256]
            .into_iter()
            .find(|known| known.number() == number)
    }

    fn jose(self) -> Jose {
        match self {
            Self::Hmac256 => Jose::HS256,
            Self::Es256 => Jose::ES256,
            Self::Es384 => Jose::ES384,
            Self::Ps256 => Jose::PS256,
        }
    }
}

/// A key.
pub struct CatKey {
    algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    Secret(Box<hmac::Key>),
    Pair {
        verifying: Box<VerifyingKey>,
        signing: Option<Box<SigningKey>>,
    },
}

impl CatKey {
    /// From a secret of at least 32 bytes, or from a PEM text with a public or a private key; the private one signs, too.
    ///
    /// # Errors
    /// `KeyError` for what is too short, weak, or of another kind than the algorithm's.
    pub fn build(algorithm: Algorithm, material: &Secret) -> Result<Self, KeyError> {
        let refuse = |what: &str| KeyError {
            kid: None,
            what: what.to_owned(),
        };
        let kind = if algorithm == Algorithm::Hmac256 {
            if material.reveal().len() < MIN_SECRET_BYTES {
                return Err(refuse("a secret for HMAC 256/256 has at least 32 bytes"));
            }
            Kind::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, material.reveal())))
        } else {
            let mut set = KeySet::from_pem(None, algorithm.jose(), material)?;
            let verifying = set.verifying.pop().ok_or(refuse("the PEM holds no key"))?;
            Kind::Pair {
                verifying: Box::new(verifying),
                signing: set.signing.pop().map(Box::new),
            }
        };
        Ok(Self { algorithm, kind })
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it can sign.
    pub fn signs(&self) -> bool {
        !matches!(self.kind, Kind::Pair { signing: None, .. })
    }

    /// Whether it made this signature; `number` is the key's own in the memory of signatures.
    pub(super) fn made(
        &self,
        number: u64,
        message: &[u8],
        signature: &[u8],
        signatures: &dyn Signatures,
    ) -> bool {
        match &self.kind {
            Kind::Secret(secret) => same(hmac::sign(secret, message).as_ref(), signature),
            Kind::Pair { verifying, .. } => signatures.holds(number, message, signature, &|| {
                let text = URL_SAFE_NO_PAD.encode(signature);
                crypto::verify(&text, message, &verifying.key, verifying.algorithm).unwrap_or(false)
            }),
        }
    }

    /// Signs, where it can.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Secret(secret) => Some(hmac::sign(secret, message).as_ref().to_vec()),
            Kind::Pair { signing, .. } => {
                let signing = signing.as_ref()?;
                let text = crypto::sign(message, &signing.key, signing.algorithm).ok()?;
                URL_SAFE_NO_PAD.decode(text).ok()
            }
        }
    }
}

impl fmt::Debug for CatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
