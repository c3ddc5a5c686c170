//! Public keys of signed URLs, which their owners hand out as they are: RSA and P-256 in PEM. In: a key file; a hash, a text and
//! a signature. Out: whether the one is the key's over the other. Never: takes the kind of the key from a token.

use std::fmt;

use aws_lc_rs::digest::{
    Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, SHA256, SHA256_OUTPUT_LEN, digest,
};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};

use crate::token::keys::{KeyError, pem_block};

/// RSA moduli in bits, as everywhere.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What is hashed with before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, which old formats have. Whoever can make others sign texts of his choice can make two with one hash.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// A key that checks signatures: RSA by PKCS#1 v1.5 (RFC 8017 §8.2), or ECDSA on P-256 with signatures in DER (RFC 3279 §2.2.3).
#[derive(Clone)]
pub struct PublicKey(Kind);

#[derive(Clone)]
enum Kind {
    Rsa {
        sha1: ParsedPublicKey,
        sha256: ParsedPublicKey,
    },
    P256(ParsedPublicKey),
}

impl PublicKey {
    /// Reads the one key of a PEM text: `PUBLIC KEY` (RFC 5280 §4.1), or `RSA PUBLIC KEY` (RFC 8017 A.1.1). `name` is for the
    /// error alone.
    ///
    /// # Errors
    /// `KeyError` for what is no such key, or a weak one.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self, KeyError> {
        let bad = |what: &str| KeyError {
            kid: Some(name.to_owned()),
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(pem).map_err(|_| bad("the PEM is not text"))?;
        let (label, der) = pem_block(text).map_err(bad)?;
        match label {
            "RSA PUBLIC KEY" | "PUBLIC KEY" => {}
            "CERTIFICATE" => {
                return Err(bad(
                    "the PEM is a certificate: give its public key (openssl x509 -pubkey)",
                ));
            }
            _ => return Err(bad("the PEM holds no public key")),
        }
        if let Ok(key) = rsa::PublicKey::from_der(&der) {
            return Self::rsa(&key).map_err(bad);
        }
        // The library would take a bare point, too.
        let spki = label == "PUBLIC KEY" && der.first() == Some(&0x30);
        match ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der.as_slice()) {
            Ok(key) if spki => Ok(Self(Kind::P256(key))),
            _ => Err(bad("the PEM holds no RSA key, and none on P-256")),
        }
    }

    fn rsa(key: &rsa::PublicKey) -> Result<Self, &'static str> {
        let numbers = RsaPublicKeyComponents::<Vec<u8>>::from(key);
        let zeros = numbers.n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&(numbers.n.len() * 8 - zeros)) {
            return Err("an RSA modulus has 2048 to 8192 bits");
        }
        // At least 65537 (FIPS 186-5 A.1.1), and no longer than aws-lc takes.
        let exponent = numbers.e.iter().try_fold(0_u64, |sum, byte| {
            let sum = sum.checked_mul(256)? + u64::from(*byte);
            (sum < 1 << 33).then_some(sum)
        });
        if !exponent.is_some_and(|exponent| exponent >= 65_537 && exponent % 2 == 1) {
            return Err("the RSA exponent is even, below 65537 or longer than 33 bits");
        }
        let unread = "the RSA key can't be read";
        Ok(Self(Kind::Rsa {
            sha1: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key)
                .map_err(|_| unread)?,
            sha256: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).map_err(|_| unread)?,
        }))
    }

    /// Whether `signature` over `message` is of this key.
    pub fn has_signed(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        match (&self.0, hash) {
            (Kind::Rsa { sha1, .. }, Hash::Sha1) => sha1.verify_sig(message, signature),
            (Kind::Rsa { sha256, .. }, Hash::Sha256) => sha256.verify_sig(message, signature),
            (Kind::P256(key), Hash::Sha256) => key.verify_sig(message, signature),
            (Kind::P256(key), Hash::Sha1) => {
                // What is signed is the number that the hash is (FIPS 186-5 §6.4.1), and zeros before it don't change that.
                // The library knows no ECDSA with SHA-1, but takes any number of this length.
                let mut number = [0; SHA256_OUTPUT_LEN];
                let (_, low) = number.split_at_mut(SHA256_OUTPUT_LEN - SHA1_OUTPUT_LEN);
                low.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, message).as_ref());
                Digest::import_less_safe(&number, &SHA256)
                    .and_then(|number| key.verify_digest_sig(&number, signature))
            }
        }
        .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Rsa { .. } => "PublicKey(RSA)",
            Kind::P256(_) => "PublicKey(P-256)",
        })
    }
}

#[cfg(test)]
mod tests;
