//! Private keys of signed URLs: RSA and P-256 in PEM. In: a key file, a text. Out: a signature over its SHA-256. Never: is shown.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::public_key::PublicKey;
use crate::secret::Secret;
use crate::token::keys::{KeyError, pem_block};

/// A key that signs: RSA by PKCS#1 v1.5, or ECDSA on P-256 with signatures in DER; with SHA-256, as nothing of today needs SHA-1.
pub struct PrivateKey {
    kind: Kind,
    public: PublicKey,
}

enum Kind {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl PrivateKey {
    /// Reads the one key of a PEM text: PKCS#8, PKCS#1 or SEC 1. `name` is for the error alone.
    ///
    /// # Errors
    /// `KeyError` for what is no such key, or a weak one.
    pub fn from_pem(name: &str, pem: &Secret) -> Result<Self, KeyError> {
        let bad = |what: &str| KeyError {
            kid: Some(name.to_owned()),
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(pem.reveal()).map_err(|_| bad("the PEM is not text"))?;
        let (label, der) = pem_block(text).map_err(bad)?;
        let rsa = match label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der).ok(),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).ok(),
            _ => None,
        };
        let kind = match (rsa, label) {
            (Some(pair), _) => Kind::Rsa(pair),
            (None, "PRIVATE KEY" | "EC PRIVATE KEY") => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
                    .map(Kind::P256)
                    .map_err(|_| bad("the PEM holds no RSA key of 2048 to 8192 bits, and none on P-256"))?
            }
            (None, "ENCRYPTED PRIVATE KEY") => {
                return Err(bad("the private key is encrypted: give it decrypted"));
            }
            (None, _) => return Err(bad("the PEM holds no private key of RSA or P-256")),
        };
        let public = public_pem(&kind).ok_or_else(|| bad("the key can't be read"))?;
        Ok(Self {
            kind,
            public: PublicKey::from_pem(name, public.as_bytes())?,
        })
    }

    /// Its other half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the SHA-256 of `message`; `None` where the library can't.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
            Kind::P256(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

/// The public half as a key file, so that it is judged as every public key is.
fn public_pem(kind: &Kind) -> Option<String> {
    let der: PublicKeyX509Der<'_> = match kind {
        Kind::Rsa(pair) => pair.public_key().as_der().ok()?,
        Kind::P256(pair) => pair.public_key().as_der().ok()?,
    };
    let body = STANDARD.encode(der.as_ref());
    Some(format!(
        "-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
    ))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}
