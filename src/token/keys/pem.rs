//! Keys in PEM (RFC 7468): one block, its label says what it holds.

use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use zeroize::Zeroizing;

use super::KeyError;
use super::key::{Curve, Key, bad};

/// Everything of a `SubjectPublicKeyInfo` before the key (RFC 5480 §2, RFC 8410 §4): fixed, as the length is.
const P256_SPKI: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384_SPKI: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519_SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Reads the one key of a PEM text.
pub(super) fn read(kid: Option<&str>, algorithm: Algorithm, pem: &[u8]) -> Result<Key, KeyError> {
    let text = std::str::from_utf8(pem).map_err(|_| bad(kid, "the PEM is not text"))?;
    let (label, der) = block(text).map_err(|what| bad(kid, what))?;
    let der = der.as_slice();
    let wrong = || {
        bad(
            kid,
            format!("the PEM ({label}) does not hold a key for {algorithm:?}"),
        )
    };
    match (algorithm.family(), label) {
        (AlgorithmFamily::Rsa, "PRIVATE KEY" | "RSA PRIVATE KEY") => {
            let read = if label == "PRIVATE KEY" {
                RsaKeyPair::from_pkcs8
            } else {
                RsaKeyPair::from_der
            };
            let pair = read(der).map_err(|_| bad(kid, "the PEM holds no RSA key of 2048 to 8192 bits"))?;
            Key::rsa_private(kid, algorithm, &pair)
        }
        (AlgorithmFamily::Rsa, "PUBLIC KEY" | "RSA PUBLIC KEY") => {
            let key = aws_lc_rs::rsa::PublicKey::from_der(der).map_err(|_| wrong())?;
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(&key);
            Key::rsa(kid, algorithm, &public.n, &public.e)
        }
        (AlgorithmFamily::Ec, "PRIVATE KEY" | "EC PRIVATE KEY") => {
            let curve = Curve::of(kid, algorithm)?;
            let pair = EcdsaKeyPair::from_private_key_der(curve.signing, der).map_err(|_| wrong())?;
            Key::ec_private(kid, &curve, &pair)
        }
        (AlgorithmFamily::Ec, "PUBLIC KEY") => {
            let start = if algorithm == Algorithm::ES384 {
                P384_SPKI
            } else {
                P256_SPKI
            };
            Key::ec(kid, algorithm, der.strip_prefix(start).ok_or_else(wrong)?)
        }
        (AlgorithmFamily::Ed, "PRIVATE KEY") => {
            let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| wrong())?;
            Key::ed_private(kid, algorithm, &pair)
        }
        (AlgorithmFamily::Ed, "PUBLIC KEY") => {
            Key::ed(kid, algorithm, der.strip_prefix(ED25519_SPKI).ok_or_else(wrong)?)
        }
        (_, "CERTIFICATE") => Err(bad(
            kid,
            "the PEM is a certificate: give its public key (openssl x509 -pubkey)",
        )),
        (_, "ENCRYPTED PRIVATE KEY") => Err(bad(kid, "the private key is encrypted: give it decrypted")),
        _ => Err(wrong()),
    }
}

/// The label and the bytes of the one block. OpenSSL puts the name of the curve in front of a SEC1 key: that is no key.
pub(in crate::token) fn block(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), &'static str> {
    let mut rest = text.trim();
    if let Some(parameters) = rest.strip_prefix("-----BEGIN EC PARAMETERS-----") {
        rest = parameters
            .split_once("-----END EC PARAMETERS-----")
            .ok_or("the PEM has no end")?
            .1
            .trim_start();
    }
    let rest = rest.strip_prefix("-----BEGIN ").ok_or("the text is not PEM")?;
    let (label, rest) = rest.split_once("-----").ok_or("the text is not PEM")?;
    let (body, rest) = rest.split_once("-----END ").ok_or("the PEM has no end")?;
    if rest.strip_prefix(label) != Some("-----") {
        return Err("the PEM holds more than one block, or its end does not fit");
    }
    if body.contains(':') {
        return Err("the PEM has headers, as encrypted keys do: give the key decrypted");
    }
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = STANDARD
        .decode(body.as_bytes())
        .map_err(|_| "the PEM is not base64")?;
    Ok((label, Zeroizing::new(der)))
}

/// The numbers n, e, d, p, q, dp, dq, qi of a private RSA key in PKCS#8 (RFC 5208 §5, RFC 8017 A.1.2), big-endian. For keys
/// that were made here: their library hands them out in no other way.
pub(super) fn rsa_numbers(pkcs8: &[u8]) -> Option<[&[u8]; 8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const OCTETS: u8 = 0x04;
    let (outer, _) = element(SEQUENCE, pkcs8)?;
    let (_version, rest) = element(INTEGER, outer)?;
    let (_algorithm, rest) = element(SEQUENCE, rest)?;
    let (key, _) = element(OCTETS, rest)?;
    let (key, _) = element(SEQUENCE, key)?;
    let (_version, mut rest) = element(INTEGER, key)?;
    let mut numbers = [&[][..]; 8];
    for number in &mut numbers {
        let (value, after) = element(INTEGER, rest)?;
        // A zero in front keeps it positive.
        *number = value.strip_prefix(&[0]).unwrap_or(value);
        rest = after;
    }
    Some(numbers)
}

/// The content of a DER element of this kind, and what stands behind it.
fn element(kind: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[kind])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
