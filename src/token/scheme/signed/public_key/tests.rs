use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::secret::Secret;
use crate::token::scheme::signed::private_key::PrivateKey;

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

fn read(pem: &str) -> Result<PublicKey, String> {
    PublicKey::from_pem("K", pem.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn both_spellings_of_an_rsa_key_are_read_and_check_the_same() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let private = Secret::new(pem("PRIVATE KEY", private.as_ref()).into());
    let private = PrivateKey::from_pem("K", &private).unwrap();
    let signature = private.sign(b"text").unwrap();
    for pem in [
        pem("PUBLIC KEY", spki.as_ref()),
        pem("RSA PUBLIC KEY", pair.public_key().as_ref()),
    ] {
        let key = read(&pem).unwrap();
        assert_eq!(format!("{key:?}"), "PublicKey(RSA)");
        assert!(key.has_signed(Hash::Sha256, b"text", &signature));
        assert!(!key.has_signed(Hash::Sha1, b"text", &signature));
        assert!(!key.has_signed(Hash::Sha256, b"texts", &signature));
    }
    assert!(private.public().has_signed(Hash::Sha256, b"text", &signature));
    assert_eq!(format!("{private:?}"), "PrivateKey(…)");
}

#[test]
fn both_spellings_of_a_p256_key_sign_and_the_other_half_checks() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let sec1: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    for pem in [
        pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        pem("EC PRIVATE KEY", sec1.as_ref()),
    ] {
        let private = PrivateKey::from_pem("K", &Secret::new(pem.into())).unwrap();
        let signature = private.sign(b"text").unwrap();
        assert!(private.public().has_signed(Hash::Sha256, b"text", &signature));
        assert!(!private.public().has_signed(Hash::Sha1, b"text", &signature));
        assert_eq!(format!("{:?}", private.public()), "PublicKey(P-256)");
    }
}

#[test]
fn other_kinds_of_keys_and_weak_ones_are_refused_with_a_reason() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let p384_public: PublicKeyX509Der<'_> = p384.public_key().as_der().unwrap();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed: PublicKeyX509Der<'_> = ed.public_key().as_der().unwrap();
    for (pem, what) in [
        (
            pem("PUBLIC KEY", p384_public.as_ref()),
            "no RSA key, and none on P-256",
        ),
        (pem("PUBLIC KEY", ed.as_ref()), "no RSA key, and none on P-256"),
        (
            pem("PUBLIC KEY", p256.public_key().as_ref()),
            "no RSA key, and none on P-256",
        ),
        (
            pem("RSA PUBLIC KEY", b"\x30\x00"),
            "no RSA key, and none on P-256",
        ),
        (pem("CERTIFICATE", b"\x30\x00"), "certificate"),
        (
            pem("PRIVATE KEY", p384.to_pkcs8v1().unwrap().as_ref()),
            "no public key",
        ),
        ("K".into(), "not PEM"),
        // 1024 bits.
        (
            pem("PUBLIC KEY", &rsa_spki(&[0xff; 128], &[1, 0, 1])),
            "2048 to 8192",
        ),
        (pem("PUBLIC KEY", &rsa_spki(&[0xff; 256], &[3])), "exponent"),
    ] {
        let error = read(&pem).unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(error.starts_with("key \"K\": "), "{error}");
    }
    for (pem, what) in [
        (
            pem("PRIVATE KEY", p384.to_pkcs8v1().unwrap().as_ref()),
            "none on P-256",
        ),
        (pem("ENCRYPTED PRIVATE KEY", b"\x30\x00"), "encrypted"),
        (pem("PUBLIC KEY", p384_public.as_ref()), "no private key"),
    ] {
        let error = PrivateKey::from_pem("K", &Secret::new(pem.into())).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// A `SubjectPublicKeyInfo` of these numbers.
fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    let element = |kind: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let length = match (high, low) {
            (0, 0..0x80) => vec![low],
            (0, _) => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[kind][..], &length, content].concat()
    };
    // A zero in front keeps it positive.
    let positive = |number: &[u8]| match number[0] {
        0x80.. => element(2, &[&[0], number].concat()),
        _ => element(2, number),
    };
    let key = element(0x30, &[positive(n), positive(e)].concat());
    let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let bits = element(3, &[&[0], &key[..]].concat());
    element(0x30, &[&algorithm[..], &bits].concat())
}
