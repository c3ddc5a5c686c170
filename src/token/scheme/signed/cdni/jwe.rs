//! Encrypted claims: JWE in compact serialisation (RFC 7516), with a shared key used directly (`alg: dir`) and AES-GCM.
//! The key decides the encryption, never the token.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::json::{Json, Object};
use crate::token::scheme::signed::{NamedKey, NamedKeys};

/// The keys that are tried for a text that names none.
const MAX_TRIALS: usize = 4;

/// A key that encrypts claims.
#[derive(Debug)]
pub struct ContentKey {
    key: LessSafeKey,
    encryption: &'static str,
}

impl ContentKey {
    /// From 16 bytes (`A128GCM`) or 32 (`A256GCM`); RFC 7518 §5.3.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(secret: &Secret) -> Result<Self, &'static str> {
        let (algorithm, encryption) = match secret.reveal().len() {
            16 => (&AES_128_GCM, "A128GCM"),
            32 => (&AES_256_GCM, "A256GCM"),
            _ => return Err("a content encryption key has 16 bytes (A128GCM) or 32 (A256GCM)"),
        };
        let key = UnboundKey::new(algorithm, secret.reveal()).map_err(|_| "the key can't be used")?;
        Ok(Self {
            key: LessSafeKey::new(key),
            encryption,
        })
    }
}

/// What an encrypted text says. `None` for what is no JWE of ours, or not true.
pub(super) fn open(text: &str, keys: &NamedKeys<ContentKey>, now: UnixTime) -> Option<String> {
    let mut parts = text.split('.');
    let mut part = || parts.next();
    let (protected, wrapped, nonce, encrypted, tag) = (part()?, part()?, part()?, part()?, part()?);
    // With `dir` there is no wrapped key (RFC 7518 §4.5).
    if parts.next().is_some() || !wrapped.is_empty() {
        return None;
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header = decode(protected)?;
    let (kid, encryption) = read_header(&header)?;
    let nonce: [u8; NONCE_LEN] = decode(nonce)?.try_into().ok()?;
    let (encrypted, tag) = (decode(encrypted)?, decode(tag)?);
    if !matches!(tag.len(), MAX_TAG_LEN) {
        return None;
    }
    let sealed = [encrypted, tag].concat();
    let open = |key: &NamedKey<ContentKey>| {
        if key.key.encryption != encryption {
            return None;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let mut text = sealed.clone();
        let text = key.key.key.open_in_place(nonce, Aad::from(protected), &mut text);
        String::from_utf8(text.ok()?.to_vec()).ok()
    };
    match kid {
        Some(kid) => open(keys.named(&kid, now)?),
        None => keys
            .at(now)
            .filter(|key| key.key.encryption == encryption)
            .take(MAX_TRIALS)
            .find_map(open),
    }
}

/// The key's name and the encryption, where the header asks for nothing else.
fn read_header(json: &[u8]) -> Option<(Option<String>, String)> {
    let members = Object::parse(json).ok()?;
    if ["crit", "zip"].iter().any(|name| members.get(name).is_some()) {
        return None;
    }
    let text = |name| members.get(name).and_then(Json::text);
    if text("alg") != Some("dir") {
        return None;
    }
    let kid = match members.get("kid") {
        None => None,
        Some(kid) => Some(kid.text()?.to_owned()),
    };
    Some((kid, text("enc")?.to_owned()))
}

/// Encrypts a text by this key. `None` where there are no random numbers.
pub(super) fn seal(text: &str, key: &NamedKey<ContentKey>) -> Option<String> {
    let header = serde_json::json!({ "alg": "dir", "enc": key.key.encryption, "kid": key.name });
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).ok()?;
    let mut encrypted = text.as_bytes().to_vec();
    let tag = key
        .key
        .key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&protected),
            &mut encrypted,
        )
        .ok()?;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Some(format!(
        "{protected}..{}.{}.{}",
        encode(&nonce),
        encode(&encrypted),
        encode(tag.as_ref())
    ))
}
