//! Making JWTs: members in one fixed order, times as whole seconds, nothing that our own verifier would not take.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use jsonwebtoken::{AlgorithmFamily, crypto};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::payload::{KNOWN, is_filename};
use super::token_id;
use crate::clock::UnixTime;
use crate::token::keys::{KeyRing, LogKey, SigningKey};
use crate::token::scope::MAX_PATTERNS;
use crate::token::{Claims, MAX_TOKEN_BYTES, MintToken, Minted, Opens, Parameter, TokenError};

/// Whether the JWT header names the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KidHeader {
    /// `{"typ":"JWT","alg":…,"kid":…}`.
    Named,
    /// `{"typ":"JWT","alg":…}`, as one of the compatible services does.
    Unnamed,
}

/// Makes JWTs.
#[derive(Debug)]
pub struct Minter {
    /// The keys; the first that can sign does.
    pub keys: Arc<KeyRing>,
    /// `iss`; empty says none.
    pub issuer: Box<str>,
    /// `aud`; empty says none.
    pub audience: Box<str>,
    /// Whether the header names the key.
    pub kid: KidHeader,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl MintToken for Minter {
    /// `claims.expires` is required; `claims.id` is made (128 random bits) where absent.
    fn mint(&self, claims: &Claims, now: UnixTime) -> Result<Minted, TokenError> {
        let generation = self.keys.load().ok_or(TokenError::KeysUnavailable)?;
        let key = generation
            .keys
            .signing(None)
            .ok_or(TokenError::Invalid("no key of the set can sign"))?;
        let id = match &claims.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let payload = Payload::new(self, claims, &id, now)?;
        let payload =
            serde_json::to_vec(&payload).map_err(|_| TokenError::Invalid("the claims are not JSON"))?;
        let header = self.header(key)?;
        Ok(Minted {
            text: sign(&header, &payload, key)?,
            id: token_id(&self.log_key, &self.issuer, Some(&id), &payload),
        })
    }
}

impl Minter {
    /// Whether a signature takes long enough to hold up others: RSA needs most of a millisecond.
    pub fn is_slow(&self) -> bool {
        let generation = self.keys.load();
        let key = generation
            .as_ref()
            .and_then(|generation| generation.keys.signing(None));
        key.is_some_and(|key| key.algorithm.family() == AlgorithmFamily::Rsa)
    }

    fn header(&self, key: &SigningKey) -> Result<Vec<u8>, TokenError> {
        #[derive(serde::Serialize)]
        struct Header<'h> {
            typ: &'static str,
            alg: jsonwebtoken::Algorithm,
            #[serde(skip_serializing_if = "Option::is_none")]
            kid: Option<&'h str>,
        }
        let kid = key.kid.as_deref().filter(|_| self.kid == KidHeader::Named);
        let header = Header {
            typ: "JWT",
            alg: key.algorithm,
            kid,
        };
        serde_json::to_vec(&header).map_err(|_| TokenError::Invalid("the header is not JSON"))
    }
}

/// JWS compact serialization (RFC 7515 §7.1), signed.
pub(in crate::token::scheme) fn sign(
    header: &[u8],
    payload: &[u8],
    key: &SigningKey,
) -> Result<String, TokenError> {
    let mut text = URL_SAFE_NO_PAD.encode(header);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    let signature = crypto::sign(text.as_bytes(), &key.key, key.algorithm)
        .map_err(|_| TokenError::Invalid("the key does not sign"))?;
    text.push('.');
    text.push_str(&signature);
    if text.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Invalid("the token would be longer than 8 KiB"));
    }
    Ok(text)
}

fn random_id() -> Result<Box<str>, TokenError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| TokenError::Invalid("no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// Claims that were found sayable.
struct Payload<'c> {
    minter: &'c Minter,
    claims: &'c Claims,
    id: &'c str,
    issued: i64,
    expires: i64,
    paths: Option<Vec<String>>,
    media: Option<&'c str>,
}

impl<'c> Payload<'c> {
    fn new(minter: &'c Minter, claims: &'c Claims, id: &'c str, now: UnixTime) -> Result<Self, TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        let Some(expires) = claims.expires else {
            return refuse("a JWT needs an end");
        };
        if claims.renewal.is_some() {
            return refuse("a JWT can't hold a renewal");
        }
        if claims.filename.as_deref().is_some_and(|name| !is_filename(name)) {
            return refuse("the file name is not one");
        }
        if !claims.limits.are_sound() {
            return refuse("a limit is out of its bounds");
        }
        if claims
            .parameters
            .iter()
            .any(|(_, value)| *value == Parameter::Withheld)
        {
            return refuse("a parameter has no value");
        }
        if !is_distinct(claims.parameters.iter().map(|(name, _)| &**name)) {
            return refuse("a parameter stands twice");
        }
        let named = claims.named.iter().map(|(name, _)| &**name);
        if !is_distinct(named.chain(KNOWN)) {
            return refuse("a named claim stands twice or has the name of another");
        }
        let (paths, media) = scope(claims)?;
        // The end is rounded down: a token never lives longer than it was meant to.
        Ok(Self {
            minter,
            claims,
            id,
            issued: now.secs(),
            expires: expires.secs(),
            paths,
            media,
        })
    }
}

pub(in crate::token::scheme) fn is_distinct<'n>(names: impl Iterator<Item = &'n str>) -> bool {
    let mut seen = HashSet::new();
    names.into_iter().all(|name| seen.insert(name))
}

fn scope(claims: &Claims) -> Result<(Option<Vec<String>>, Option<&str>), TokenError> {
    let Some(scope) = &claims.scope else {
        return Ok((None, None));
    };
    if scope.0.len() > MAX_PATTERNS {
        return Err(TokenError::Invalid("the scope has more than 64 patterns"));
    }
    let mut paths = Vec::new();
    let mut media = None;
    for opens in &scope.0 {
        if let Opens::MediaId(id) = opens {
            if id.is_empty() || media.replace(&**id).is_some() {
                return Err(TokenError::Invalid("a JWT names one media id"));
            }
            continue;
        }
        let text = opens.to_string();
        // An exact path that is written like a pattern would be read back as one that opens more.
        if Opens::parse(&text).as_ref() != Ok(opens) {
            return Err(TokenError::Invalid("a path can't be written as a pattern"));
        }
        paths.push(text);
    }
    let only_media = paths.is_empty() && media.is_some();
    Ok(((!only_media).then_some(paths), media))
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.claims;
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in [("aud", &self.minter.audience), ("iss", &self.minter.issuer)] {
            if !text.is_empty() {
                map.serialize_entry(name, text)?;
            }
        }
        if let Some(subject) = &claims.subject {
            map.serialize_entry("sub", subject)?;
        }
        map.serialize_entry("jti", self.id)?;
        map.serialize_entry("iat", &self.issued)?;
        if let Some(start) = claims.not_before {
            // Rounded up: never valid earlier than it was meant to.
            map.serialize_entry(
                "nbf",
                &(start.secs() + i64::from(start.millis().rem_euclid(1000) != 0)),
            )?;
        }
        map.serialize_entry("exp", &self.expires)?;
        if let Some(paths) = &self.paths {
            map.serialize_entry("paths", paths)?;
        }
        if let Some(media) = self.media {
            map.serialize_entry("media", media)?;
        }
        if let Some(methods) = claims.methods {
            map.serialize_entry("methods", &methods.names().collect::<Vec<_>>())?;
        }
        if let Some(addresses) = &claims.addresses {
            map.serialize_entry("ips", &addresses.iter().map(address).collect::<Vec<_>>())?;
        }
        if claims.uses.is_once() {
            map.serialize_entry("uses", &1)?;
        }
        if let Some(name) = &claims.filename {
            map.serialize_entry("filename", name)?;
        }
        if !claims.parameters.is_empty() {
            map.serialize_entry("args", &Pairs(&claims.parameters))?;
        }
        if let Some(rate) = claims.limits.rate {
            map.serialize_entry("rate", &rate)?;
        }
        if let Some(streams) = claims.limits.streams {
            map.serialize_entry("streams", &streams)?;
        }
        for (name, value) in &claims.named {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Pairs as an object, in their order.
pub(in crate::token::scheme) struct Pairs<'c>(pub(in crate::token::scheme) &'c [(Box<str>, Parameter)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn address(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}
