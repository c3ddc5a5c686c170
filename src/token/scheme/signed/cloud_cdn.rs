//! Signed URLs and cookies of Google Cloud CDN: HMAC-SHA-1 over the whole URL, or over a prefix of URLs. `?Expires=…&KeyName=…
//! &Signature=…`, with `URLPrefix=…` before them, or all four in `Cloud-CDN-Cookie`, with colons between them. From
//! cloud.google.com/cdn/docs/using-signed-urls, …/using-signed-cookies and GoogleCloudPlatform/python-docs-samples
//! cdn/snippets.py. Cloud CDN itself passes unsigned requests on to the origin; here a request without a token has none. Scheme
//! and host are the configured public ones, never what a request says.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::alphabet::URL_SAFE as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use smallvec::smallvec;

use super::query::{decode_token, is, one, split, values, without_names};
use super::{Asked, NamedKeys, Place, Signed, SignedRequest, Taken, Wish, same};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::carrier::{Head, LocateError, MAX_COOKIES, cookies};
use crate::token::keys::LogKey;
use crate::token::{Claims, MAX_TOKEN_BYTES, Methods, Parts, TokenError, TokenId};

mod mint;
mod prefix;

const PREFIX: &str = "URLPrefix";
const EXPIRES: &str = "Expires";
const KEY_NAME: &str = "KeyName";
const SIGNATURE: &str = "Signature";
/// By which CloudFront names its keys, whose links have an `Expires` and a `Signature`, too.
const CLOUDFRONT_KEY: &str = "Key-Pair-Id";
/// Bytes of a key.
const KEY_LEN: usize = 16;
/// Digits of the longest time: what `i64` holds for sure.
const MAX_DIGITS: usize = 18;

/// Base64url as `URLPrefix` and keys are written, with or without padding: a prefix is signed as it is written, and how a key is
/// written means nothing. A signature has its padding.
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key.
pub struct Key(hmac::Key);

impl Key {
    /// Reads a key as `gcloud` takes it from a file: 16 bytes in base64url.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &Secret) -> Result<Self, &'static str> {
        let bytes = zeroize::Zeroizing::new(
            PADDED_OR_NOT
                .decode(text.reveal())
                .map_err(|_| "a key of Cloud CDN is written in base64url")?,
        );
        match bytes.len() {
            KEY_LEN => Ok(Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes))),
            _ => Err("a key of Cloud CDN has 16 bytes"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The keys by their names; the first signs.
    pub keys: NamedKeys<Key>,
    /// The cookie's name, where cookies are read.
    pub cookie: Option<Box<str>>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl Rules {
    /// The usual ones.
    pub fn new(keys: NamedKeys<Key>, log_key: Arc<LogKey>) -> Self {
        Self {
            keys,
            cookie: Some("Cloud-CDN-Cookie".into()),
            log_key,
        }
    }
}

/// How the tokens of Cloud CDN are checked and made.
#[derive(Debug)]
pub struct CloudCdn {
    rules: Rules,
    cookies: Box<[Box<str>]>,
}

impl CloudCdn {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        let cookies = rules.cookie.iter().cloned().collect();
        Self { rules, cookies }
    }
}

impl SignedRequest for CloudCdn {
    fn name(&self) -> &'static str {
        "cloud_cdn"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        match one(head.query, SIGNATURE)? {
            Some(_) if is_cloudfront(head.query) => Ok(None),
            Some(signature) => in_query(head, signature).map(Some),
            None => self.in_cookie(head),
        }
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let fields = Fields::read(&asked.evidence.parts)?;
        let expires = seconds(fields.expires)?;
        let mac = URL_SAFE
            .decode(fields.signature)
            .map_err(|_| TokenError::Malformed("the signature is not padded base64url"))?;
        let signed: Cow<'_, str> = match fields.form {
            Form::Exact => whole(asked)?.into(),
            Form::Prefix(prefix) => prefix_text(prefix, fields.expires, fields.key, '&').into(),
            Form::Cookie(_, signed) => signed.into(),
        };
        asked.signatures.show(signed.as_bytes());
        let key = self
            .rules
            .keys
            .named(fields.key, asked.now)
            .ok_or(TokenError::UnknownKey)?;
        if !same(hmac::sign(&key.key.0, signed.as_bytes()).as_ref(), &mac) {
            return Err(TokenError::Invalid("the signature is not of the named key"));
        }
        if let Form::Prefix(prefix) | Form::Cookie(prefix, _) = fields.form {
            prefix::check(prefix, asked.public()?, asked.target)?;
        }
        Ok(Claims {
            key: Some(key.name.clone()),
            expires: Some(expires),
            methods: Some(Methods::READ),
            ..asked.opened(token_id(&self.rules.log_key, &mac))
        })
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let fields = match Fields::read(&taken.parts) {
            Ok(fields) => fields,
            Err(error) => return vec![("token".into(), error.to_string())],
        };
        let expires = match seconds(fields.expires) {
            Ok(expires) => expires.rfc3339().to_string(),
            Err(error) => error.to_string(),
        };
        let mut told = vec![
            (KEY_NAME.into(), fields.key.to_owned()),
            (EXPIRES.into(), expires),
        ];
        if let Form::Prefix(prefix) | Form::Cookie(prefix, _) = fields.form {
            let prefix = prefix::decode(prefix).unwrap_or_else(|error| error.to_string());
            told.push((PREFIX.into(), prefix));
        }
        told
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        mint::sign(&self.rules, wish)
    }

    fn cookies(&self) -> &[Box<str>] {
        &self.cookies
    }
}

impl CloudCdn {
    fn in_cookie<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let Some(name) = &self.rules.cookie else {
            return Ok(None);
        };
        let mut found = false;
        let mut readable = cookies(head.headers, name)
            .take(MAX_COOKIES)
            .inspect(|_| found = true)
            .filter(|value| {
                value.len() <= MAX_TOKEN_BYTES && !value.bytes().any(|byte| byte.is_ascii_control())
            })
            .map(|value| -> Parts<'r> { smallvec![Cow::Borrowed(value)] });
        let first = readable.next();
        let alternatives = readable.collect();
        match first {
            None if found => Err(LocateError::Malformed),
            None => Ok(None),
            Some(parts) => Ok(Some(Taken {
                place: Place::Cookie,
                parts,
                alternatives,
                path: Cow::Borrowed(head.path),
                query: head.query.map(Cow::Borrowed),
                prefix: None,
            })),
        }
    }
}

/// Whether a `Signature` is CloudFront's, which names its key otherwise. Such a request has no token of ours, in no cookie
/// either.
fn is_cloudfront(query: Option<&str>) -> bool {
    let has = |name| values(query, name).next().is_some();
    has(CLOUDFRONT_KEY) && !has(KEY_NAME)
}

/// A token in the query. Whoever has `Signature` is signed, as for the original: whatever is wrong with it, no cookie is looked
/// at.
fn in_query<'r>(head: Head<'r>, signature: &'r str) -> Result<Taken<'r>, LocateError> {
    let needed = |name| one(head.query, name)?.ok_or(LocateError::Malformed);
    let (expires, key) = (needed(EXPIRES)?, needed(KEY_NAME)?);
    let prefix = one(head.query, PREFIX)?;
    let mut parts: Parts<'r> = smallvec![
        decode_token(expires)?,
        decode_token(key)?,
        decode_token(signature)?
    ];
    match prefix {
        Some(prefix) => parts.push(decode_token(prefix)?),
        // All before the signature is signed as it stands, and behind it stands nothing.
        None => {
            let mut last = head
                .query
                .unwrap_or_default()
                .rsplit('&')
                .map(|piece| split(piece).0);
            let in_order = [SIGNATURE, KEY_NAME, EXPIRES]
                .iter()
                .all(|name| last.next().is_some_and(|key| is(key, name)));
            if !in_order {
                return Err(LocateError::Malformed);
            }
        }
    }
    Ok(Taken {
        place: Place::Url,
        parts,
        alternatives: Vec::new(),
        path: Cow::Borrowed(head.path),
        query: without_names(head.query, &[PREFIX, EXPIRES, KEY_NAME, SIGNATURE]),
        prefix: None,
    })
}

/// What a token says.
struct Fields<'a> {
    form: Form<'a>,
    expires: &'a str,
    key: &'a str,
    signature: &'a str,
}

/// What it is signed over; a prefix as it is written.
enum Form<'a> {
    /// The whole URL.
    Exact,
    /// A prefix.
    Prefix(&'a str),
    /// A prefix; and all of the cookie before the signature.
    Cookie(&'a str, &'a str),
}

impl<'a> Fields<'a> {
    /// From three parts, four, or the one that a cookie is.
    fn read(parts: &'a Parts<'_>) -> Result<Self, TokenError> {
        match &parts[..] {
            [expires, key, signature] => Ok(Self {
                form: Form::Exact,
                expires,
                key,
                signature,
            }),
            [expires, key, signature, prefix] => Ok(Self {
                form: Form::Prefix(prefix),
                expires,
                key,
                signature,
            }),
            [cookie] => {
                Self::cookie(cookie).ok_or(TokenError::Malformed("the cookie does not hold the four fields"))
            }
            _ => Err(TokenError::Malformed("parts are missing")),
        }
    }

    /// In their one order.
    fn cookie(cookie: &'a str) -> Option<Self> {
        let (signed, last) = cookie.rsplit_once(':')?;
        let mut fields = signed.split(':').map(split);
        let mut value = |name| {
            fields
                .next()
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let (prefix, expires, key) = (value(PREFIX)?, value(EXPIRES)?, value(KEY_NAME)?);
        let (name, signature) = split(last);
        (fields.next().is_none() && name.eq(SIGNATURE)).then_some(Self {
            form: Form::Cookie(prefix, signed),
            expires,
            key,
            signature,
        })
    }
}

/// The whole URL up to the signature, as the public sees it.
fn whole(asked: &Asked<'_, '_>) -> Result<String, TokenError> {
    let public = asked.public()?;
    let query = asked.evidence.raw_query.unwrap_or_default();
    let (signed, _) = query
        .rsplit_once('&')
        .ok_or(TokenError::Malformed("parts are missing"))?;
    Ok(format!(
        "{}://{}{}?{signed}",
        public.scheme, public.authority, asked.evidence.raw_path
    ))
}

/// What is signed for a prefix.
fn prefix_text(prefix: &str, expires: &str, key: &str, separator: char) -> String {
    format!("{PREFIX}={prefix}{separator}{EXPIRES}={expires}{separator}{KEY_NAME}={key}")
}

/// Reads a time. "The Expires parameter is set to a future time": it is the first second in which the link is dead.
fn seconds(text: &str) -> Result<UnixTime, TokenError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    Some(text)
        .filter(|text| digits && text.len() <= MAX_DIGITS)
        .and_then(|text| text.parse().ok())
        .map(UnixTime::from_secs)
        .ok_or(TokenError::Malformed("Expires is not a time in seconds"))
}

fn token_id(log_key: &LogKey, mac: &[u8]) -> TokenId {
    log_key.name(&[b"cloud_cdn\0", mac].concat())
}

#[cfg(test)]
mod tests;
