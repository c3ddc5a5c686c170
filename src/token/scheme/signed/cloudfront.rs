//! Signed URLs and signed cookies of Amazon CloudFront, canned and custom. In: `Expires` or `Policy`, `Signature`, `Key-Pair-Id`,
//! `Hash-Algorithm`, as parameters or as cookies. Out: claims. The owner's public keys are all it needs; a private one makes links.
//! Never: looks into a policy before its signature was found true.
//! Source: Amazon CloudFront Developer Guide, "Use signed URLs" and "Use signed cookies".

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::private_key::PrivateKey;
use super::public_key::{Hash, PublicKey};
use super::{Asked, NamedKeys, Place, Signed, SignedRequest, Taken, Wish, query};
use crate::clock::UnixTime;
use crate::token::carrier::{Head, LocateError, MAX_COOKIES, cookies};
use crate::token::keys::LogKey;
use crate::token::{Claims, MAX_TOKEN_BYTES, Methods, Parts, PublicBase, TokenError, TokenId};

mod letters;
mod mint;
mod policy;
mod resource;

use policy::Policy;

/// The parameters, in the order of the parts. Any of them says that the URL is a signed one: CloudFront looks at no cookie then.
const NAMES: [&str; 5] = ["Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"];
/// The cookies, in the same order.
const COOKIES: [&str; 5] = [
    "CloudFront-Expires",
    "CloudFront-Policy",
    "CloudFront-Signature",
    "CloudFront-Key-Pair-Id",
    "CloudFront-Hash-Algorithm",
];

const EXPIRES: usize = 0;
const POLICY: usize = 1;
const SIGNATURE: usize = 2;
const KEY_PAIR_ID: usize = 3;
const HASH_ALGORITHM: usize = 4;

/// How CloudFront's signatures are checked and made.
#[derive(Debug)]
pub struct CloudFront {
    rules: Rules,
    cookies: Box<[Box<str>]>,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The trusted key group: public keys by their key pair ids.
    pub keys: NamedKeys<PublicKey>,
    /// Whether signatures over SHA-1 count. They are what CloudFront takes where a token says nothing.
    pub allow_sha1: bool,
    /// What signs links, where links are made here.
    pub signer: Option<Signer>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// A private key under its key pair id.
#[derive(Debug)]
pub struct Signer {
    /// The key pair id.
    pub key_pair_id: Box<str>,
    /// The key.
    pub key: PrivateKey,
}

impl Rules {
    /// As CloudFront has it, with these keys.
    pub fn new(keys: NamedKeys<PublicKey>, log_key: Arc<LogKey>) -> Self {
        Self {
            keys,
            allow_sha1: true,
            signer: None,
            log_key,
        }
    }
}

impl CloudFront {
    /// A verifier with these rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            cookies: COOKIES.map(Box::from).into(),
        }
    }
}

impl SignedRequest for CloudFront {
    fn queries(&self) -> Vec<&str> {
        vec![NAMES[KEY_PAIR_ID]]
    }

    fn name(&self) -> &'static str {
        "cloudfront"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let (place, parts, alternatives) = if let Some(parts) = in_query(head.query)? {
            (Place::Url, parts, Vec::new())
        } else if let Some((parts, alternatives)) = in_cookies(head)? {
            (Place::Cookie, parts, alternatives)
        } else {
            return Ok(None);
        };
        Ok(Some(Taken {
            place,
            parts,
            alternatives,
            path: Cow::Borrowed(head.path),
            query: query::without_names(head.query, &NAMES),
            prefix: None,
        }))
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let hash = hash(asked.part(HASH_ALGORITHM))?;
        if hash == Hash::Sha1 && !self.rules.allow_sha1 {
            return Err(TokenError::Invalid("signatures over SHA-1 are not taken"));
        }
        let signature = letters::read(asked.part(SIGNATURE)).ok_or(TokenError::Malformed("the signature"))?;
        let url = url(asked.public()?, asked.path, asked.query);
        let (expires, policy) = (asked.part(EXPIRES), asked.part(POLICY));
        let (canned, text) = match (expires, policy) {
            ("", "") => return Err(TokenError::Malformed("neither a policy nor a time")),
            (expires, "") => {
                let expires = time(expires).ok_or(TokenError::Malformed("the time"))?;
                let text = policy::canned(&url, expires)
                    .ok_or(TokenError::Malformed("no canned policy says this URL"))?;
                (Some(expires), text.into_bytes())
            }
            ("", policy) => {
                let text = letters::read(policy).ok_or(TokenError::Malformed("the policy"))?;
                (None, text)
            }
            _ => return Err(TokenError::Malformed("both a policy and a time")),
        };
        let key = self
            .rules
            .keys
            .named(asked.part(KEY_PAIR_ID), asked.now)
            .ok_or(TokenError::UnknownKey)?;
        asked.signatures.show(&text);
        // The hash is remembered with the text: a token that names another is another.
        let message = [hash_name(hash).as_bytes(), b"\0", &text].concat();
        let check = || key.key.has_signed(hash, &text, &signature);
        if !asked.signatures.holds(key.number, &message, &signature, &check) {
            return Err(TokenError::Invalid("the signature is wrong"));
        }
        let claims = Claims {
            methods: Some(Methods::READ),
            key: Some(key.name.clone()),
            ..asked.opened(self.token_id(&text))
        };
        if let Some(expires) = canned {
            return Ok(Claims {
                expires: Some(UnixTime::from_secs(expires)),
                ..claims
            });
        }
        let policy = Policy::parse(&text).map_err(TokenError::Invalid)?;
        if !resource::is(&policy.resource, &url) {
            return Err(TokenError::Elsewhere("the policy is for another resource"));
        }
        Ok(Claims {
            not_before: policy.not_before,
            expires: Some(policy.expires),
            addresses: policy.address.map(|net| Box::from([net.into()])),
            ..claims
        })
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let part = |at: usize| taken.parts.get(at).map_or("", |part| &**part);
        let mut told = Vec::new();
        let mut say = |word: &'static str, text: String| told.push((Cow::Borrowed(word), text));
        if let Some(text) = letters::read(part(POLICY)).filter(|text| !text.is_empty()) {
            say("policy", "custom".to_owned());
            match Policy::parse(&text) {
                Ok(policy) => {
                    say("resource", policy.resource.into());
                    if let Some(start) = policy.not_before {
                        say("not before", start.rfc3339().to_string());
                    }
                    say("expires", policy.expires.rfc3339().to_string());
                    if let Some(net) = policy.address {
                        say("address", net.to_string());
                    }
                }
                Err(what) => say("fault", what.to_owned()),
            }
        } else if let Some(expires) = time(part(EXPIRES)) {
            say("policy", "canned".to_owned());
            say("expires", UnixTime::from_secs(expires).rfc3339().to_string());
        }
        say("key pair", part(KEY_PAIR_ID).to_owned());
        say(
            "hash",
            match part(HASH_ALGORITHM) {
                "" => hash_name(Hash::Sha1).to_owned(),
                name => name.to_owned(),
            },
        );
        told
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        match &self.rules.signer {
            Some(signer) => signer.sign(wish),
            None => Err(TokenError::Invalid("no private key makes links")),
        }
    }

    fn cookies(&self) -> &[Box<str>] {
        &self.cookies
    }
}

impl CloudFront {
    /// By all that is signed: an ECDSA signature has more than one spelling.
    fn token_id(&self, signed: &[u8]) -> TokenId {
        self.rules.log_key.name(&[b"cloudfront\0", signed].concat())
    }
}

/// The parts out of a query; `None` where it has no parameter of ours.
fn in_query(query: Option<&str>) -> Result<Option<Parts<'_>>, LocateError> {
    // Other schemes have an `Expires` and a `Signature`, too; whose it is, this one says.
    if query::values(query, NAMES[KEY_PAIR_ID]).next().is_none() {
        return Ok(None);
    }
    let mut parts: Parts<'_> = smallvec![Cow::Borrowed(""); NAMES.len()];
    for (name, value) in query.into_iter().flat_map(query::pieces).map(query::split) {
        let mut known = NAMES.iter().zip(&mut parts);
        let Some((_, part)) = known.find(|(known, _)| query::is(name, known)) else {
            continue;
        };
        if !part.is_empty() {
            return Err(LocateError::Ambiguous);
        }
        if value.is_empty() || value.len() > 3 * MAX_TOKEN_BYTES {
            return Err(LocateError::Malformed);
        }
        *part = query::decode(value)?;
    }
    if !fits(&parts) {
        return Err(LocateError::Malformed);
    }
    Ok(Some(parts))
}

/// Parts, and further ones to be tried.
type Sets<'r> = (Parts<'r>, Vec<Parts<'r>>);

/// Cookies that may belong together, as the browser sends them: the first of each name, the second, and so on. A name that has
/// fewer stands with its last one. `None` where there is no cookie of ours.
fn in_cookies(head: Head<'_>) -> Result<Option<Sets<'_>>, LocateError> {
    let values = COOKIES.map(|name| {
        cookies(head.headers, name)
            .take(MAX_COOKIES)
            .collect::<SmallVec<[&str; MAX_COOKIES]>>()
    });
    let most = values.iter().map(|values| values.len()).max().unwrap_or(0);
    let set = |at: usize| {
        let parts = values
            .iter()
            .map(|values| Cow::Borrowed(values.get(at).or(values.last()).map_or("", |value| *value)));
        let mut parts: Parts<'_> = parts.collect();
        // A policy says all: a time beside it is one that an older set has left behind.
        if parts.get(POLICY).is_some_and(|policy| !policy.is_empty())
            && let Some(expires) = parts.get_mut(EXPIRES)
        {
            *expires = Cow::Borrowed("");
        }
        parts
    };
    let mut sets = (0..most).map(set).filter(fits);
    match (most, sets.next()) {
        (0, _) => Ok(None),
        (_, None) => Err(LocateError::Malformed),
        (_, Some(first)) => Ok(Some((first, sets.collect()))),
    }
}

/// Whether the parts are together no longer than a token may be. What letters they hold is judged when they are read.
fn fits(parts: &Parts<'_>) -> bool {
    parts.iter().map(|part| part.len()).sum::<usize>() <= MAX_TOKEN_BYTES
}

/// The hash that a token names; none is SHA-1.
fn hash(name: &str) -> Result<Hash, TokenError> {
    match name {
        "" | "SHA1" => Ok(Hash::Sha1),
        "SHA256" => Ok(Hash::Sha256),
        _ => Err(TokenError::Malformed("the hash algorithm")),
    }
}

/// As a token names it.
fn hash_name(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "SHA1",
        Hash::Sha256 => "SHA256",
    }
}

/// Seconds since 1970: decimal digits, without zeros before them, as JSON has numbers.
fn time(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| digits)
}

/// The URL that the viewer asked for, without the token: what a policy is about.
fn url(public: &PublicBase, path: &str, query: Option<&str>) -> String {
    let mut url = [&*public.scheme, "://", &public.authority, path].concat();
    if let Some(query) = query {
        url.push('?');
        url.push_str(query);
    }
    url
}

#[cfg(test)]
mod tests;
