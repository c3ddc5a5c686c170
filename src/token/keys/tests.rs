//! Keys that are taken, and each way in which one is refused.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn load(keys: &[Value], source: SetSource) -> Result<KeySet, KeyError> {
    KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), source)
}

fn local(key: &Value) -> Result<KeySet, KeyError> {
    load(std::slice::from_ref(key), SetSource::Local)
}

fn fetched(key: &Value) -> Result<KeySet, KeyError> {
    load(std::slice::from_ref(key), SetSource::Fetched)
}

/// What is said of a set that is refused.
fn why(result: Result<KeySet, KeyError>) -> String {
    result.expect_err("the set is refused").to_string()
}

fn with(key: &Value, name: &str, value: Value) -> Value {
    let mut key = key.clone();
    key[name] = value;
    key
}

fn without(key: &Value, name: &str) -> Value {
    let mut key = key.clone();
    key.as_object_mut().unwrap().remove(name);
    key
}

fn oct() -> Value {
    json!({ "kty": "oct", "alg": "HS256", "kid": "h", "k": b64([7; 32]) })
}

fn generated(algorithm: Algorithm) -> Value {
    let set: Value = serde_json::from_str(&KeySet::generate(algorithm).unwrap()).unwrap();
    set["keys"][0].clone()
}

/// A set that has a good key besides, so that what stands apart is seen.
fn beside(key: Value, source: SetSource) -> Result<usize, KeyError> {
    let good = without(&generated(Algorithm::ES256), "d");
    load(&[key, good], source).map(|set| set.verifying().len())
}

fn rsa_pair() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

/// The numbers of a PKCS#1 key: version, n, e, d, p, q, dp, dq, qi.
fn pkcs1_numbers(der: &[u8]) -> Vec<Vec<u8>> {
    fn take<'d>(der: &mut &'d [u8], tag: u8) -> &'d [u8] {
        assert_eq!(der[0], tag);
        let (length, start) = match der[1] {
            short @ 0..=127 => (usize::from(short), 2),
            0x81 => (usize::from(der[2]), 3),
            _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        };
        let value = &der[start..start + length];
        *der = &der[start + length..];
        value
    }
    let mut outer = der;
    let mut inner = take(&mut outer, 0x30);
    let mut numbers = Vec::new();
    while !inner.is_empty() {
        let number = take(&mut inner, 2);
        numbers.push(number.iter().copied().skip_while(|byte| *byte == 0).collect());
    }
    numbers
}

fn rsa_jwk(pair: &RsaKeyPair) -> Value {
    let set = KeySet::from_pem(None, Algorithm::RS256, &rsa_pem(pair)).unwrap();
    let numbers = pkcs1_numbers(set.signing[0].key.as_bytes());
    let mut jwk = json!({ "kty": "RSA", "alg": "RS256", "kid": "r" });
    for (name, number) in ["n", "e", "d", "p", "q", "dp", "dq", "qi"]
        .iter()
        .zip(&numbers[1..])
    {
        jwk[name] = json!(b64(number));
    }
    jwk
}

fn rsa_public_jwk(n: &[u8], e: &[u8]) -> Value {
    json!({ "kty": "RSA", "alg": "RS256", "kid": "r", "n": b64(n), "e": b64(e) })
}

/// An odd modulus of that many bits; whether it is a product of primes is not judged for public keys.
fn modulus(bits: usize) -> Vec<u8> {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] >>= n.len() * 8 - bits;
    n
}

fn pem(label: &str, der: impl AsRef<[u8]>) -> Secret {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    Secret::new(
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
        .into_bytes(),
    )
}

fn rsa_pem(pair: &RsaKeyPair) -> Secret {
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    pem("PRIVATE KEY", der.as_ref())
}

fn ec_pair(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

fn ec_jwk(crv: &str, pair: &EcdsaKeyPair) -> Value {
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": crv, "kid": "e", "x": b64(x), "y": b64(y) })
}

#[test]
fn a_generated_key_is_loaded_and_signs() {
    for algorithm in [
        Algorithm::HS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
        Algorithm::RS256,
    ] {
        let text = KeySet::generate(algorithm).unwrap();
        let set = KeySet::from_jwks(text.as_bytes(), SetSource::Local).unwrap();
        let key = set.signing(None).unwrap();
        assert_eq!(key.algorithm, algorithm);
        assert_eq!(set.verifying()[0].kid, key.kid);
        assert!(set.signing(key.kid.as_deref()).is_some() && set.signing(Some("other")).is_none());
        assert_ne!(text, KeySet::generate(algorithm).unwrap());
    }
    assert!(KeySet::generate(Algorithm::RS384).is_err());
}

#[test]
fn public_jwks_hold_public_members_only() {
    let keys = [
        oct(),
        generated(Algorithm::ES256),
        generated(Algorithm::EdDSA),
        rsa_jwk(&rsa_pair()),
    ];
    let public = load(&keys, SetSource::Local).unwrap().public_jwks();
    let published = public["keys"].as_array().unwrap();
    assert_eq!(published.len(), 3);
    for key in published {
        for name in key.as_object().unwrap().keys() {
            assert!(
                ["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid"].contains(&name.as_str()),
                "{name}"
            );
        }
    }
    let again = KeySet::from_jwks(public.to_string().as_bytes(), SetSource::Fetched).unwrap();
    assert_eq!(again.verifying().len(), 3);
    assert!(again.signing(None).is_none());
}

#[test]
fn keys_for_encryption_stand_apart() {
    let ec = without(&generated(Algorithm::ES256), "d");
    for source in [SetSource::Local, SetSource::Fetched] {
        assert_eq!(beside(with(&ec, "use", json!("enc")), source), Ok(1));
        assert_eq!(beside(with(&ec, "key_ops", json!(["deriveKey"])), source), Ok(1));
        assert_eq!(
            beside(with(&ec, "key_ops", json!(["verify", "encrypt"])), source),
            Ok(1)
        );
        assert_eq!(
            beside(with(&ec, "key_ops", json!(["sign"])), source),
            Ok(1),
            "a public key can't sign"
        );
        assert_eq!(beside(with(&ec, "key_ops", json!([])), source), Ok(1));
        assert_eq!(beside(with(&ec, "key_ops", json!(["verify"])), source), Ok(2));
    }
    let encrypted = json!({ "kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "n": "", "e": "" });
    assert_eq!(beside(encrypted, SetSource::Local), Ok(1));
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    assert!(why(local(&with(&oct(), "use", json!("enc")))).contains("no key for signatures"));
    assert!(why(local(&with(&oct(), "key_ops", json!(["encrypt"])))).contains("no key for signatures"));
    assert!(why(load(&[], SetSource::Fetched)).contains("no key for signatures"));
}

#[test]
fn operations_of_another_type_or_twice_refuse_the_set() {
    for operations in [json!("verify"), json!([1]), json!(["verify", "verify"])] {
        assert!(why(local(&with(&oct(), "key_ops", operations))).contains("key_ops"));
    }
    assert!(why(local(&with(&oct(), "use", json!(["sig"])))).contains("use"));
}

#[test]
fn a_shared_secret_does_what_its_operations_say() {
    let verify = local(&with(&oct(), "key_ops", json!(["verify"]))).unwrap();
    assert!(verify.signing(None).is_none() && verify.verifying().len() == 1);
    let sign = local(&with(&oct(), "key_ops", json!(["sign"]))).unwrap();
    assert!(sign.signing(None).is_some() && sign.verifying().is_empty());
}

#[test]
fn a_secret_shorter_than_its_hash_is_refused() {
    for (algorithm, name, least) in [
        (Algorithm::HS256, "HS256", 32),
        (Algorithm::HS384, "HS384", 48),
        (Algorithm::HS512, "HS512", 64),
    ] {
        for (length, good) in [(0, false), (least - 1, false), (least, true), (200, true)] {
            let secret = vec![1; length];
            let key = json!({ "kty": "oct", "alg": name, "k": b64(&secret) });
            assert_eq!(local(&key).is_ok(), good, "{name} {length}");
            assert_eq!(
                KeySet::from_hmac(None, algorithm, &Secret::new(secret)).is_ok(),
                good,
                "{name} {length}"
            );
        }
    }
    assert!(KeySet::from_hmac(None, Algorithm::RS256, &Secret::new(vec![1; 64])).is_err());
}

#[test]
fn identical_keys_of_one_name_collapse_and_differing_ones_are_refused() {
    let other = with(&oct(), "k", json!(b64([8; 32])));
    let other_algorithm = with(&with(&oct(), "alg", json!("HS384")), "k", json!(b64([7; 48])));
    assert_eq!(
        load(&[oct(), oct()], SetSource::Local).unwrap().verifying().len(),
        1
    );
    assert!(why(load(&[oct(), other.clone()], SetSource::Local)).contains("two different keys"));
    assert!(why(load(&[oct(), other_algorithm], SetSource::Local)).contains("two different keys"));
    let unnamed = [without(&oct(), "kid"), without(&other, "kid")];
    assert_eq!(load(&unnamed, SetSource::Local).unwrap().verifying().len(), 2);

    let (one, two) = (generated(Algorithm::ES256), generated(Algorithm::ES256));
    let public = without(&one, "d");
    assert_eq!(
        load(&[one.clone(), public], SetSource::Local)
            .unwrap()
            .verifying()
            .len(),
        1
    );
    let two = without(&with(&two, "kid", one["kid"].clone()), "d");
    assert!(why(load(&[without(&one, "d"), two], SetSource::Fetched)).contains("two different keys"));
}

#[test]
fn halves_of_a_secret_under_one_name_have_to_go_together() {
    let sign = with(&oct(), "key_ops", json!(["sign"]));
    let verify = with(&oct(), "key_ops", json!(["verify"]));
    assert!(load(&[sign.clone(), verify.clone()], SetSource::Local).is_ok());
    let other = with(&verify, "k", json!(b64([8; 32])));
    assert!(load(&[sign.clone(), other.clone()], SetSource::Local).is_err());
    assert!(load(&[other, sign], SetSource::Local).is_err());
}

#[test]
fn merging_judges_names_and_number() {
    let one = || local(&oct()).unwrap();
    assert_eq!(one().merge(one()).unwrap().verifying().len(), 1);
    let other = local(&with(&oct(), "k", json!(b64([8; 32])))).unwrap();
    assert!(one().merge(other).is_err());
    let ec = local(&generated(Algorithm::ES256)).unwrap();
    let both = one().merge(ec).unwrap();
    assert_eq!(
        (
            both.verifying().len(),
            both.public_jwks()["keys"].as_array().unwrap().len()
        ),
        (2, 1)
    );

    let many = |from: u8| {
        let keys: Vec<_> = (from..from + 64)
            .map(|at| {
                with(
                    &with(&oct(), "kid", json!(at.to_string())),
                    "k",
                    json!(b64([at; 32])),
                )
            })
            .collect();
        load(&keys, SetSource::Local).unwrap()
    };
    assert_eq!(many(0).verifying().len(), MAX_KEYS);
    assert!(why(many(0).merge(many(64))).contains("more than 64"));
    let keys: Vec<_> = (0..65).map(|_| oct()).collect();
    assert!(why(load(&keys, SetSource::Local)).contains("more than 64"));
}

#[test]
fn local_sets_mix_kinds_and_fetched_ones_hold_public_keys_only() {
    let keys = [oct(), generated(Algorithm::ES256), generated(Algorithm::EdDSA)];
    assert_eq!(load(&keys, SetSource::Local).unwrap().verifying().len(), 3);
    assert!(why(fetched(&oct())).contains("public keys only"));
    assert!(beside(oct(), SetSource::Fetched).is_err());
    assert!(beside(with(&oct(), "use", json!("enc")), SetSource::Fetched).is_err());
    assert!(
        beside(
            without(&with(&oct(), "use", json!("enc")), "k"),
            SetSource::Fetched
        )
        .is_err()
    );
    assert!(why(fetched(&generated(Algorithm::ES256))).contains("public keys only"));
    assert!(why(fetched(&generated(Algorithm::EdDSA))).contains("public keys only"));
    assert!(fetched(&without(&generated(Algorithm::EdDSA), "d")).is_ok());
}

#[test]
fn unknown_kinds_stand_apart_when_fetched_and_are_mistakes_in_a_file() {
    let ec = without(&generated(Algorithm::ES256), "d");
    let unknown = [
        json!({ "kty": "XYZ", "alg": "X1" }),
        json!({ "kty": "OKP", "crv": "Ed448", "alg": "EdDSA", "x": b64([1; 57]) }),
        with(&without(&ec, "alg"), "crv", json!("P-521")),
        with(&ec, "crv", json!("secp256k1")),
        with(&ec, "alg", json!("ECDH-ES")),
        without(&ec, "crv"),
    ];
    for key in unknown {
        assert_eq!(beside(key.clone(), SetSource::Fetched), Ok(1), "{key}");
        assert!(beside(key.clone(), SetSource::Local).is_err(), "{key}");
    }
}

#[test]
fn an_algorithm_is_named_unless_the_kind_has_only_one() {
    let rsa = rsa_public_jwk(&modulus(2048), &[1, 0, 1]);
    assert!(local(&rsa).is_ok());
    assert!(why(local(&without(&rsa, "alg"))).contains("`alg` is missing"));
    assert!(why(fetched(&without(&rsa, "alg"))).contains("`alg` is missing"));
    assert!(why(local(&without(&oct(), "alg"))).contains("`alg` is missing"));
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let set = local(&without(&generated(algorithm), "alg")).unwrap();
        assert_eq!(set.verifying()[0].algorithm, algorithm);
    }
    for (key, alg) in [
        (oct(), "RS256"),
        (oct(), "none"),
        (rsa.clone(), "HS256"),
        (rsa, "ES256"),
        (generated(Algorithm::EdDSA), "ES256"),
    ] {
        assert!(local(&with(&key, "alg", json!(alg))).is_err(), "{alg}");
    }
}

#[test]
fn an_ec_key_goes_with_its_curve_and_lies_on_it() {
    let p256 = ec_jwk("P-256", &ec_pair(&ECDSA_P256_SHA256_FIXED_SIGNING));
    let p384 = ec_jwk("P-384", &ec_pair(&ECDSA_P384_SHA384_FIXED_SIGNING));
    assert_eq!(local(&p256).unwrap().verifying()[0].algorithm, Algorithm::ES256);
    assert_eq!(local(&p384).unwrap().verifying()[0].algorithm, Algorithm::ES384);
    assert!(why(local(&with(&p256, "crv", json!("P-384")))).contains("48 bytes"));
    assert!(why(local(&with(&p384, "crv", json!("P-256")))).contains("32 bytes"));
    assert!(why(local(&with(&p256, "alg", json!("ES384")))).contains("does not go with the curve"));
    assert!(why(local(&with(&p256, "x", p256["y"].clone()))).contains("point on P-256"));
    assert!(why(local(&with(&p256, "y", json!(b64([0; 32]))))).contains("point on P-256"));
    assert!(local(&with(&p256, "x", json!(b64([0; 33])))).is_err());
    assert!(local(&without(&p256, "y")).is_err());
}

#[test]
fn weak_rsa_keys_are_refused() {
    let e = [1, 0, 1];
    assert!(why(local(&rsa_public_jwk(&modulus(1024), &e))).contains("2048 to 8192"));
    assert!(why(local(&rsa_public_jwk(&modulus(2047), &e))).contains("not 2047"));
    assert!(why(local(&rsa_public_jwk(&modulus(8193), &e))).contains("not 8193"));
    assert!(local(&rsa_public_jwk(&modulus(8192), &e)).is_ok());
    let mut even = modulus(2048);
    even[255] = 0xfe;
    assert!(why(local(&rsa_public_jwk(&even, &e))).contains("even"));
    let zeroed = [&[0], modulus(2048).as_slice()].concat();
    assert!(why(local(&rsa_public_jwk(&zeroed, &e))).contains("zero byte"));
    for e in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[3],
        &[17],
        &[1, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1; 9],
        &[0, 1, 0, 1],
    ] {
        assert!(local(&rsa_public_jwk(&modulus(2048), e)).is_err(), "{e:?}");
    }
}

#[test]
fn a_private_rsa_jwk_signs_and_its_numbers_go_together() {
    let jwk = rsa_jwk(&rsa_pair());
    assert!(local(&jwk).unwrap().signing(Some("r")).is_some());
    assert!(
        local(&with(&jwk, "alg", json!("PS384")))
            .unwrap()
            .signing(None)
            .is_some()
    );
    let other = rsa_jwk(&rsa_pair());
    assert!(local(&with(&jwk, "n", other["n"].clone())).is_err());
    assert!(local(&with(&jwk, "d", other["d"].clone())).is_err());
    assert!(why(local(&without(&jwk, "qi"))).contains("PEM"));
    assert!(why(local(&without(&jwk, "d"))).contains("without `d`"));
    assert!(local(&with(&jwk, "oth", json!([]))).is_err());
    assert!(why(fetched(&jwk)).contains("public keys only"));
}

#[test]
fn a_private_key_goes_with_its_public_half() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let (one, other) = (generated(algorithm), generated(algorithm));
        assert!(why(local(&with(&one, "d", other["d"].clone()))).contains("does not go with"));
        assert!(why(local(&with(&one, "d", json!(b64([1; 33]))))).contains("does not go with"));
        assert!(local(&with(&one, "d", json!(1))).is_err());
    }
}

#[test]
fn json_and_base64_are_read_strictly() {
    let key = oct().to_string();
    let twice = key.replacen('{', r#"{"kid":"x","#, 1);
    let set = |keys: &str| KeySet::from_jwks(keys.as_bytes(), SetSource::Local);
    assert!(set(&format!(r#"{{"keys":[{key}]}}"#)).is_ok());
    assert!(set(&format!(r#"{{"keys":[{twice}]}}"#)).is_err());
    assert!(set(&format!(r#"{{"keys":[{key}],"keys":[]}}"#)).is_err());
    assert!(set(&format!(r#"{{"keys":[{key}]}} x"#)).is_err());
    for bad in [&key, "", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#] {
        assert!(set(bad).is_err(), "{bad}");
    }
    for k in [
        format!("{}=", b64([7; 32])),
        "+".repeat(43),
        "A".repeat(42) + "B",
        format!("{} ", b64([7; 33])),
    ] {
        assert!(
            why(local(&with(&oct(), "k", json!(k)))).contains("base64url"),
            "{k}"
        );
    }
    for kid in [json!(1), json!(null), json!(""), json!("k".repeat(257))] {
        assert!(local(&with(&oct(), "kid", kid.clone())).is_err(), "{kid}");
    }
    assert!(local(&with(&oct(), "alg", json!(null))).is_err());
}

#[test]
fn pem_keys_of_every_form_are_read() {
    let rsa = rsa_pair();
    let set = KeySet::from_pem(Some("r"), Algorithm::PS256, &rsa_pem(&rsa)).unwrap();
    let pkcs1 = set.signing(None).unwrap().key.as_bytes().to_vec();
    assert!(
        KeySet::from_pem(None, Algorithm::RS512, &pem("RSA PRIVATE KEY", pkcs1))
            .unwrap()
            .signing(None)
            .is_some()
    );
    let spki: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    for public in [
        pem("PUBLIC KEY", spki.as_ref()),
        pem("RSA PUBLIC KEY", rsa.public_key()),
    ] {
        let public = KeySet::from_pem(Some("r"), Algorithm::PS256, &public).unwrap();
        assert!(public.signing(None).is_none());
        assert_eq!(public.public_jwks(), set.public_jwks());
    }
    for (algorithm, curve) in [
        (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        let pair = ec_pair(curve);
        let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let sec1 = pem("EC PRIVATE KEY", sec1.as_ref());
        let parameters = [
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
            sec1.reveal(),
        ]
        .concat();
        let private =
            KeySet::from_pem(None, algorithm, &pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap())).unwrap();
        for secret in [sec1, Secret::new(parameters)] {
            assert_eq!(
                KeySet::from_pem(None, algorithm, &secret).unwrap().public_jwks(),
                private.public_jwks()
            );
        }
        let public = KeySet::from_pem(None, algorithm, &pem("PUBLIC KEY", spki.as_ref())).unwrap();
        assert_eq!(public.public_jwks(), private.public_jwks());
    }
    let ed = Ed25519KeyPair::generate().unwrap();
    let spki: PublicKeyX509Der<'_> = ed.public_key().as_der().unwrap();
    let public = KeySet::from_pem(None, Algorithm::EdDSA, &pem("PUBLIC KEY", spki.as_ref())).unwrap();
    for der in [ed.to_pkcs8().unwrap(), ed.to_pkcs8v1().unwrap()] {
        let private = KeySet::from_pem(None, Algorithm::EdDSA, &pem("PRIVATE KEY", der)).unwrap();
        assert!(private.signing(None).is_some());
        assert_eq!(private.public_jwks(), public.public_jwks());
    }
}

#[test]
fn pem_of_another_kind_or_form_is_refused() {
    let p384 = ec_pair(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let private = pem("PRIVATE KEY", p384.to_pkcs8v1().unwrap());
    let spki: PublicKeyX509Der<'_> = p384.public_key().as_der().unwrap();
    for algorithm in [
        Algorithm::ES256,
        Algorithm::EdDSA,
        Algorithm::RS256,
        Algorithm::HS256,
    ] {
        assert!(
            KeySet::from_pem(None, algorithm, &private).is_err(),
            "{algorithm:?}"
        );
        assert!(
            KeySet::from_pem(None, algorithm, &pem("PUBLIC KEY", spki.as_ref())).is_err(),
            "{algorithm:?}"
        );
    }
    let refused = |text: &str| {
        why(KeySet::from_pem(
            None,
            Algorithm::ES384,
            &Secret::new(text.into()),
        ))
    };
    let good = std::str::from_utf8(private.reveal()).unwrap();
    assert!(KeySet::from_pem(None, Algorithm::ES384, &Secret::new(format!("\n{good}\n").into())).is_ok());
    assert!(refused("").contains("not PEM"));
    assert!(refused(&format!("{good}{good}")).contains("more than one block"));
    assert!(refused(&good.replace("END PRIVATE", "END PUBLIC")).contains("end does not fit"));
    assert!(
        refused(&good.replace("KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\n\nM")).contains("headers")
    );
    assert!(refused(&good.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")).contains("encrypted"));
    assert!(refused(&good.replace("PRIVATE KEY", "CERTIFICATE")).contains("certificate"));
    assert!(refused(&good.replace("PRIVATE KEY-----\nM", "PRIVATE KEY-----\n*")).contains("base64"));
}

#[test]
fn nothing_of_a_key_is_shown() {
    let secret = b64([7; 32]);
    let set = local(&oct()).unwrap();
    assert!(!format!("{set:?}").contains(&secret));
    let error = why(local(&with(&oct(), "alg", json!("HS512"))));
    assert!(
        error.starts_with("key \"h\": ") && !error.contains(&secret),
        "{error}"
    );
}

#[test]
fn a_generation_has_a_number_of_its_own() {
    let ring = KeyRing::pending("r");
    assert!(ring.load().is_none());
    ring.replace(KeySet::default());
    let first = ring.load().unwrap().number;
    ring.replace(KeySet::default());
    assert_ne!(first, ring.load().unwrap().number);
    assert_ne!(
        first,
        KeyRing::fixed("other", KeySet::default()).load().unwrap().number
    );
}
