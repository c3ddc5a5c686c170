//! JWK sets (RFC 7517), read strictly, and new keys as JWKs.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{KeyPairComponents, KeySize};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use zeroize::Zeroizing;

use super::key::{Curve, Key, bad, demand};
use super::{KeyError, MAX_KEYS, SetSource, pem};
use crate::token::json::{Json, Object};

/// Members that only a private or a shared key has (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The usable keys of a set.
pub(super) fn read_set(json: &[u8], source: SetSource) -> Result<Vec<Key>, KeyError> {
    let set = Object::parse(json).map_err(|what| bad(None, what))?;
    let Some(Json::Array(keys)) = set.get("keys") else {
        return Err(bad(None, "a JWK set is an object with an array `keys`"));
    };
    if keys.len() > MAX_KEYS {
        return Err(bad(None, "the set has more than 64 keys"));
    }
    let mut usable = Vec::new();
    for key in keys {
        let Json::Object(members) = key else {
            return Err(bad(None, "a member of `keys` is not an object"));
        };
        usable.extend(Jwk::new(members)?.read(source)?);
    }
    Ok(usable)
}

/// One JWK's members, with its name for errors.
struct Jwk<'j> {
    members: &'j Object<'j>,
    kid: Option<&'j str>,
}

/// What `use` and `key_ops` let a key do.
#[derive(Clone, Copy)]
struct Operations {
    verify: bool,
    sign: bool,
}

impl<'j> Jwk<'j> {
    fn new(members: &'j Object<'j>) -> Result<Self, KeyError> {
        let kid = match members.get("kid") {
            None => None,
            Some(Json::Text(kid)) => Some(&**kid),
            Some(_) => return Err(bad(None, "`kid` is not a text")),
        };
        Ok(Self { members, kid })
    }

    /// The key; `None` when it stands apart.
    fn read(&self, source: SetSource) -> Result<Option<Key>, KeyError> {
        let kind = self.need("kty")?;
        // A secret that anybody can fetch is none: such a set is not to be trusted at all.
        if source == SetSource::Fetched && (kind == "oct" || PRIVATE.iter().any(|name| self.has(name))) {
            return Err(self.bad("a fetched set holds public keys only"));
        }
        let Some(operations) = self.operations()? else {
            return Ok(None);
        };
        let curve = self.text("crv")?;
        let only = match (kind, curve) {
            ("oct" | "RSA", _) => None,
            ("EC", Some("P-256")) => Some(Algorithm::ES256),
            ("EC", Some("P-384")) => Some(Algorithm::ES384),
            ("OKP", Some("Ed25519")) => Some(Algorithm::EdDSA),
            // RFC 7517 §5: what is not understood is ignored. In one's own file it is a mistake.
            _ if source == SetSource::Fetched => return Ok(None),
            ("EC" | "OKP", _) => return Err(self.bad("the curve is not P-256, P-384 or Ed25519")),
            _ => return Err(self.bad("`kty` is not oct, RSA, EC or OKP")),
        };
        let algorithm = match self.text("alg")?.map(str::parse::<Algorithm>) {
            Some(Ok(algorithm)) => algorithm,
            Some(Err(_)) if source == SetSource::Fetched => return Ok(None),
            Some(Err(_)) => return Err(self.bad("`alg` is not a signature algorithm that we know")),
            None => only.ok_or_else(|| self.bad("`alg` is missing: a key is for one algorithm"))?,
        };
        if only.is_some_and(|only| only != algorithm) {
            return Err(self.bad("`alg` does not go with the curve"));
        }
        let mut key = match kind {
            "oct" => Key::hmac(self.kid, algorithm, &self.bytes("k")?)?,
            "RSA" => self.rsa(algorithm)?,
            "EC" => self.ec(algorithm)?,
            _ => self.ed(algorithm)?,
        };
        // The public half of a pair always checks; the halves of a shared secret are told apart by `key_ops` alone.
        if kind == "oct" && !operations.verify {
            key.verifying = None;
        }
        if !operations.sign {
            key.signing = None;
        }
        Ok(Some(key))
    }

    fn rsa(&self, algorithm: Algorithm) -> Result<Key, KeyError> {
        demand(self.kid, algorithm, AlgorithmFamily::Rsa)?;
        let (n, e) = (self.bytes("n")?, self.bytes("e")?);
        // Strength is judged before the private half, whose own check says less.
        let public = Key::rsa(self.kid, algorithm, &n, &e)?;
        if !self.has("d") {
            return self.without(public, &["p", "q", "dp", "dq", "qi", "oth"]);
        }
        if self.has("oth") || !["p", "q", "dp", "dq", "qi"].iter().all(|name| self.has(name)) {
            return Err(self.bad("a private RSA key needs d, p, q, dp, dq and qi: or give it as PEM"));
        }
        let pair = RsaKeyPair::from_components(&KeyPairComponents {
            public_key: RsaPublicKeyComponents {
                n: n.as_slice(),
                e: e.as_slice(),
            },
            d: self.bytes("d")?.as_slice(),
            p: self.bytes("p")?.as_slice(),
            q: self.bytes("q")?.as_slice(),
            dP: self.bytes("dp")?.as_slice(),
            dQ: self.bytes("dq")?.as_slice(),
            qInv: self.bytes("qi")?.as_slice(),
        });
        let pair = pair.map_err(|_| self.bad("the private RSA numbers do not go together"))?;
        Key::rsa_private(self.kid, algorithm, &pair)
    }

    fn ec(&self, algorithm: Algorithm) -> Result<Key, KeyError> {
        let curve = Curve::of(self.kid, algorithm)?;
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        if x.len() != curve.size || y.len() != curve.size {
            return Err(self.bad(&format!(
                "a coordinate on {} has {} bytes",
                curve.name, curve.size
            )));
        }
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        let public = Key::ec(self.kid, algorithm, &point)?;
        if !self.has("d") {
            return Ok(public);
        }
        let d = self.bytes("d")?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &d, &point)
            .ok()
            .filter(|_| d.len() == curve.size)
            .ok_or_else(|| self.bad("the private key does not go with the public one"))?;
        Key::ec_private(self.kid, &curve, &pair)
    }

    fn ed(&self, algorithm: Algorithm) -> Result<Key, KeyError> {
        let x = self.bytes("x")?;
        let public = Key::ed(self.kid, algorithm, &x)?;
        if !self.has("d") {
            return Ok(public);
        }
        let d = self.bytes("d")?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&d, &x)
            .ok()
            .filter(|_| d.len() == 32)
            .ok_or_else(|| self.bad("the private key does not go with the public one"))?;
        Key::ed_private(self.kid, algorithm, &pair)
    }

    /// `None` for a key that is not for signatures (RFC 7517 §4.2, §4.3).
    fn operations(&self) -> Result<Option<Operations>, KeyError> {
        if self.text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let Some(listed) = self.members.get("key_ops") else {
            return Ok(Some(Operations {
                verify: true,
                sign: true,
            }));
        };
        let listed = listed
            .texts()
            .ok_or_else(|| self.bad("`key_ops` is not an array of texts"))?;
        if listed
            .iter()
            .enumerate()
            .any(|(at, name)| listed[..at].contains(name))
        {
            return Err(self.bad("`key_ops` repeats an operation"));
        }
        let operations = Operations {
            verify: listed.contains(&"verify"),
            sign: listed.contains(&"sign"),
        };
        let others = listed.iter().any(|name| !matches!(*name, "verify" | "sign"));
        let private = self.has("d") || self.has("k");
        let useful = operations.verify || operations.sign && private;
        Ok((useful && !others).then_some(operations))
    }

    fn without(&self, key: Key, names: &[&str]) -> Result<Key, KeyError> {
        match names.iter().find(|name| self.has(name)) {
            Some(name) => Err(self.bad(&format!("`{name}` without `d`"))),
            None => Ok(key),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some()
    }

    fn text(&self, name: &str) -> Result<Option<&'j str>, KeyError> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(&format!("`{name}` is not a text"))),
        }
    }

    fn need(&self, name: &str) -> Result<&'j str, KeyError> {
        self.text(name)?
            .ok_or_else(|| self.bad(&format!("`{name}` is missing")))
    }

    fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = self.need(name)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| self.bad(&format!("`{name}` is not base64url")))?;
        Ok(Zeroizing::new(bytes))
    }

    fn bad(&self, what: &str) -> KeyError {
        bad(self.kid, what)
    }
}

/// The JSON text of a set with one new private key.
pub(super) fn generate(algorithm: Algorithm) -> Result<String, KeyError> {
    let failed = |_| bad(None, "no random numbers");
    let mut name = [0; 12];
    rand::fill(&mut name).map_err(failed)?;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let members = match algorithm {
        Algorithm::HS256 => {
            let mut secret = Zeroizing::new([0; 32]);
            rand::fill(secret.as_mut()).map_err(failed)?;
            format!(r#""kty":"oct","k":"{}""#, encode(secret.as_ref()))
        }
        Algorithm::ES256 => {
            let curve = Curve::of(None, algorithm)?;
            let pair = EcdsaKeyPair::generate(curve.signing).map_err(failed)?;
            let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(failed)?;
            let (x, y) = pair.public_key().as_ref()[1..].split_at(curve.size);
            let (x, y, d) = (encode(x), encode(y), encode(d.as_ref()));
            format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}","d":"{d}""#)
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            let seed = pair.seed().map_err(failed)?;
            let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(failed)?;
            let (x, d) = (encode(pair.public_key().as_ref()), encode(seed.as_ref()));
            format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}","d":"{d}""#)
        }
        Algorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
            let numbers = pem::rsa_numbers(der.as_ref()).ok_or_else(|| bad(None, "no RSA key was made"))?;
            let [n, e, d, p, q, dp, dq, qi] = numbers.map(encode);
            let public = format!(r#""kty":"RSA","n":"{n}","e":"{e}""#);
            format!(r#"{public},"d":"{d}","p":"{p}","q":"{q}","dp":"{dp}","dq":"{dq}","qi":"{qi}""#)
        }
        _ => {
            return Err(bad(
                None,
                format!("keys are made for HS256, RS256, ES256 and EdDSA, not for {algorithm:?}"),
            ));
        }
    };
    let kid = encode(&name);
    Ok(format!(
        "{{\"keys\":[{{{members},\"alg\":\"{algorithm:?}\",\"kid\":\"{kid}\",\"use\":\"sig\"}}]}}\n"
    ))
}
