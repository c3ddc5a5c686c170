//! One key: its strength, the pair of its halves, and what it becomes. All ways to load a key end here.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RsaKeyPair, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, crypto};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{KeyError, SigningKey, VerifyingKey};

/// The longest name of a key, in bytes.
pub const MAX_KID_BYTES: usize = 256;

/// RSA moduli in bits: RFC 7518 §3.3 demands 2048, aws-lc stops at 8192.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key that was found good.
pub(super) struct Key {
    pub(super) verifying: Option<VerifyingKey>,
    pub(super) signing: Option<SigningKey>,
    pub(super) public_jwk: Option<Value>,
}

pub(super) fn bad(kid: Option<&str>, what: impl Into<String>) -> KeyError {
    KeyError {
        kid: kid.map(str::to_owned),
        what: what.into(),
    }
}

/// Whether two keys of the same algorithm are the same.
pub(super) fn same(one: &DecodingKey, other: &DecodingKey) -> bool {
    match (one.kind(), other.kind()) {
        (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => one == other,
        (
            DecodingKeyKind::RsaModulusExponent { n, e },
            DecodingKeyKind::RsaModulusExponent {
                n: other_n,
                e: other_e,
            },
        ) => n == other_n && e == other_e,
        _ => false,
    }
}

/// Whether what `signing` signs is what `verifying` accepts.
pub(super) fn is_half_of(signing: &SigningKey, verifying: &VerifyingKey) -> bool {
    const PROBE: &[u8] = b"mediagate";
    signing.algorithm == verifying.algorithm
        && crypto::sign(PROBE, &signing.key, signing.algorithm)
            .and_then(|signature| crypto::verify(&signature, PROBE, &verifying.key, verifying.algorithm))
            .unwrap_or(false)
}

impl Key {
    /// An HMAC key, at least as long as the hash's output (RFC 7518 §3.2).
    pub(super) fn hmac(kid: Option<&str>, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let least = match algorithm {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => {
                return Err(bad(
                    kid,
                    format!("{algorithm:?} is not an algorithm for a shared secret"),
                ));
            }
        };
        if secret.len() < least {
            return Err(bad(
                kid,
                format!("a secret for {algorithm:?} has at least {least} bytes"),
            ));
        }
        Self::new(
            kid,
            algorithm,
            DecodingKey::from_secret(secret),
            Some(EncodingKey::from_secret(secret)),
            None,
        )
    }

    /// An RSA public key from its big-endian numbers.
    pub(super) fn rsa(kid: Option<&str>, algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        Self::rsa_pair(kid, algorithm, n, e, None)
    }

    /// An RSA pair.
    pub(super) fn rsa_private(
        kid: Option<&str>,
        algorithm: Algorithm,
        pair: &RsaKeyPair,
    ) -> Result<Self, KeyError> {
        let unreadable = || bad(kid, "the RSA key can't be read");
        let public = aws_lc_rs::signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| unreadable())?;
        // `EncodingKey` wants PKCS#1; its PEM reader takes that out of PKCS#8.
        let body = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let pem = Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            *body
        ));
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| unreadable())?;
        Self::rsa_pair(kid, algorithm, &public.n, &public.e, Some(signing))
    }

    fn rsa_pair(
        kid: Option<&str>,
        algorithm: Algorithm,
        n: &[u8],
        e: &[u8],
        signing: Option<EncodingKey>,
    ) -> Result<Self, KeyError> {
        demand(kid, algorithm, AlgorithmFamily::Rsa)?;
        if n.first().is_none_or(|byte| *byte == 0) || e.first().is_none_or(|byte| *byte == 0) {
            return Err(bad(
                kid,
                "an RSA number is empty or starts with a zero byte (RFC 7518 §2)",
            ));
        }
        let bits = n.len() * 8 - n[0].leading_zeros() as usize;
        if !RSA_BITS.contains(&bits) {
            return Err(bad(
                kid,
                format!("an RSA modulus has 2048 to 8192 bits, not {bits}"),
            ));
        }
        if n.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(bad(kid, "the RSA modulus is even"));
        }
        // At least 65537 (FIPS 186-5 A.1.1), and no longer than aws-lc takes.
        let exponent = e.iter().try_fold(0_u64, |sum, byte| {
            sum.checked_mul(256)
                .map(|sum| sum + u64::from(*byte))
                .filter(|sum| *sum < 1 << 33)
        });
        if !exponent.is_some_and(|exponent| exponent >= 65_537 && exponent % 2 == 1) {
            return Err(bad(
                kid,
                "the RSA exponent is even, below 65537 or longer than 33 bits",
            ));
        }
        let public = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e) });
        Self::new(
            kid,
            algorithm,
            DecodingKey::from_rsa_raw_components(n, e),
            signing,
            Some(public),
        )
    }

    /// A public key on a NIST curve, from its uncompressed point.
    pub(super) fn ec(kid: Option<&str>, algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        Self::ec_pair(kid, &Curve::of(kid, algorithm)?, point, None)
    }

    /// A pair on a NIST curve.
    pub(super) fn ec_private(
        kid: Option<&str>,
        curve: &Curve,
        pair: &EcdsaKeyPair,
    ) -> Result<Self, KeyError> {
        let pkcs8 = pair
            .to_pkcs8v1()
            .map_err(|_| bad(kid, "the EC key can't be read"))?;
        let signing = EncodingKey::from_ec_der(pkcs8.as_ref());
        Self::ec_pair(kid, curve, pair.public_key().as_ref(), Some(signing))
    }

    fn ec_pair(
        kid: Option<&str>,
        curve: &Curve,
        point: &[u8],
        signing: Option<EncodingKey>,
    ) -> Result<Self, KeyError> {
        let size = curve.size;
        if point.len() != 1 + 2 * size
            || point[0] != 4
            || ParsedPublicKey::new(curve.verifying, point).is_err()
        {
            return Err(bad(
                kid,
                format!("the key is not an uncompressed point on {}", curve.name),
            ));
        }
        let (x, y) = point[1..].split_at(size);
        let encode = |number| URL_SAFE_NO_PAD.encode(number);
        let public = json!({ "kty": "EC", "crv": curve.name, "x": encode(x), "y": encode(y) });
        Self::new(
            kid,
            curve.algorithm,
            DecodingKey::from_ec_der(point),
            signing,
            Some(public),
        )
    }

    /// An Ed25519 public key.
    pub(super) fn ed(kid: Option<&str>, algorithm: Algorithm, x: &[u8]) -> Result<Self, KeyError> {
        Self::ed_pair(kid, algorithm, x, None)
    }

    /// An Ed25519 pair.
    pub(super) fn ed_private(
        kid: Option<&str>,
        algorithm: Algorithm,
        pair: &Ed25519KeyPair,
    ) -> Result<Self, KeyError> {
        let pkcs8 = pair
            .to_pkcs8()
            .map_err(|_| bad(kid, "the Ed25519 key can't be read"))?;
        let signing = EncodingKey::from_ed_der(pkcs8.as_ref());
        Self::ed_pair(kid, algorithm, pair.public_key().as_ref(), Some(signing))
    }

    fn ed_pair(
        kid: Option<&str>,
        algorithm: Algorithm,
        x: &[u8],
        signing: Option<EncodingKey>,
    ) -> Result<Self, KeyError> {
        demand(kid, algorithm, AlgorithmFamily::Ed)?;
        if x.len() != 32 || ParsedPublicKey::new(&ED25519, x).is_err() {
            return Err(bad(kid, "the key is not an Ed25519 public key of 32 bytes"));
        }
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x) });
        Self::new(kid, algorithm, DecodingKey::from_ed_der(x), signing, Some(public))
    }

    fn new(
        kid: Option<&str>,
        algorithm: Algorithm,
        verifying: DecodingKey,
        signing: Option<EncodingKey>,
        mut public_jwk: Option<Value>,
    ) -> Result<Self, KeyError> {
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES) {
            return Err(bad(None, "a key's name has 1 to 256 bytes"));
        }
        let name = kid.map(Box::from);
        let verifying = VerifyingKey {
            kid: name.clone(),
            algorithm,
            key: verifying,
        };
        let signing = signing.map(|key| SigningKey {
            kid: name,
            algorithm,
            key,
        });
        if signing
            .as_ref()
            .is_some_and(|signing| !is_half_of(signing, &verifying))
        {
            return Err(bad(kid, "the private key does not go with the public one"));
        }
        if let Some(jwk) = &mut public_jwk {
            jwk["alg"] = json!(format!("{algorithm:?}"));
            jwk["use"] = json!("sig");
            if let Some(kid) = kid {
                jwk["kid"] = json!(kid);
            }
        }
        Ok(Self {
            verifying: Some(verifying),
            signing,
            public_jwk,
        })
    }
}

/// Refuses an algorithm of another kind of key.
pub(super) fn demand(
    kid: Option<&str>,
    algorithm: Algorithm,
    family: AlgorithmFamily,
) -> Result<(), KeyError> {
    if algorithm.family() == family {
        return Ok(());
    }
    Err(bad(
        kid,
        format!("{algorithm:?} is not an algorithm of this kind of key"),
    ))
}

/// A NIST curve, which goes with exactly one algorithm (RFC 7518 §3.4).
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) algorithm: Algorithm,
    /// Bytes of a coordinate.
    pub(super) size: usize,
    pub(super) signing: &'static EcdsaSigningAlgorithm,
    verifying: &'static dyn VerificationAlgorithm,
}

impl Curve {
    /// The curve of an algorithm.
    pub(super) fn of(kid: Option<&str>, algorithm: Algorithm) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::ES256 => Ok(Self {
                name: "P-256",
                algorithm,
                size: 32,
                signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
                verifying: &ECDSA_P256_SHA256_FIXED,
            }),
            Algorithm::ES384 => Ok(Self {
                name: "P-384",
                algorithm,
                size: 48,
                signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
                verifying: &ECDSA_P384_SHA384_FIXED,
            }),
            _ => Err(bad(
                kid,
                format!("{algorithm:?} is not an algorithm of this kind of key"),
            )),
        }
    }
}
