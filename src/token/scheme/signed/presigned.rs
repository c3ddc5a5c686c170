//! Presigned URLs of S3: AWS Signature Version 4 in the query, as every S3 library makes them, checked with the secrets of those
//! who sign. In: the `X-Amz-…` parameters, method, host, path and all other parameters, which are signed. Out: claims. Never: leaves
//! one of the parameters for an origin, whose requests are signed anew.
//! Source: AWS, "Authenticating Requests: Using Query Parameters" of the S3 API reference.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, Method};
use percent_encoding::percent_decode_str;
use smallvec::smallvec;

use super::{Asked, NamedKeys, Place, Signed, SignedRequest, Taken, Wish, query};
use crate::clock::UnixTime;
use crate::sigv4::{
    Fault, MAX_EXPIRES, Presigned, Request, Signer, UNSIGNED_PAYLOAD, canonical_query, encode_path,
};
use crate::target::Target;
use crate::token::carrier::{Head, LocateError};
use crate::token::keys::LogKey;
use crate::token::{Claims, MAX_TOKEN_BYTES, Methods, Parts, Scope, TokenError};

/// What every parameter of the scheme starts with, in lower case.
const PREFIX: &[u8; 6] = b"x-amz-";
/// The parameters of a token, in the order of the parts. All but the security token are needed.
const NAMES: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];
const CREDENTIAL: usize = 1;
const DATE: usize = 2;
const EXPIRES: usize = 3;
const SIGNED_HEADERS: usize = 4;
/// Those that libraries write beside them, as parameters or as signed headers, and that restrict nothing: who asks, and that
/// checksums are wanted.
const HARMLESS: [&str; 2] = ["x-amz-checksum-mode", "x-amz-user-agent"];
/// The hash of the body: there is none but the word for that.
const PAYLOAD: &str = "x-amz-content-sha256";

/// How presigned URLs are checked and made.
#[derive(Debug)]
pub struct PresignedUrls {
    rules: Rules,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The keys by their access key ids; what `named` makes. One id may stand several times, for several regions.
    pub keys: NamedKeys<Key>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// Credentials for one region and one service.
#[derive(Debug)]
pub struct Key {
    /// Credentials, region and service.
    pub signer: Signer,
    /// The paths that they may sign for, where not all of the route's: in S3, a user has his own buckets.
    pub opens: Option<Scope>,
}

impl Key {
    /// Keys under their own access key ids, each until its end.
    pub fn named(keys: impl IntoIterator<Item = (Self, Option<UnixTime>)>) -> NamedKeys<Self> {
        NamedKeys::new(keys.into_iter().map(|(key, until)| {
            let name = key.signer.credentials().access_key_id.clone();
            (name, key, until)
        }))
    }

    fn may_open(&self, target: &Target) -> bool {
        self.opens.as_ref().is_none_or(|opens| opens.opens(target, None))
    }
}

impl PresignedUrls {
    /// A verifier with these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// The key that signed this request.
    fn signer(&self, presigned: &Presigned, request: &[u8], now: UnixTime) -> Result<&Key, TokenError> {
        let mut error = TokenError::UnknownKey;
        for key in self.rules.keys.at(now) {
            if *key.name != *presigned.access_key_id() {
                continue;
            }
            error = match presigned.is_signed_by(&key.key.signer, request) {
                Ok(()) => return Ok(&key.key),
                Err(Fault::OtherScope) => match error {
                    TokenError::UnknownKey => TokenError::Invalid("signed for another region or service"),
                    error => error,
                },
                Err(_) => TokenError::Invalid("the signature is wrong"),
            };
        }
        Err(error)
    }
}

impl SignedRequest for PresignedUrls {
    fn name(&self) -> &'static str {
        "s3_presigned"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let Some(raw) = head.query else { return Ok(None) };
        let mut parts: Parts<'r> = smallvec![Cow::Borrowed(""); NAMES.len()];
        let (mut any, mut seen) = (false, [false; NAMES.len()]);
        for (name, value) in query::pieces(raw).map(query::split) {
            if !is_ours(name) {
                continue;
            }
            any = true;
            let mut known = NAMES.iter().zip(parts.iter_mut().zip(&mut seen));
            if let Some((_, (part, seen))) = known.find(|(known, _)| query::is(name, known)) {
                if std::mem::replace(seen, true) {
                    return Err(LocateError::Ambiguous);
                }
                if value.len() > 3 * MAX_TOKEN_BYTES {
                    return Err(LocateError::Malformed);
                }
                *part = query::decode(value)?;
            }
        }
        if !any {
            return Ok(None);
        }
        if parts.iter().map(|part| part.len()).sum::<usize>() > MAX_TOKEN_BYTES {
            return Err(LocateError::Malformed);
        }
        Ok(Some(Taken {
            place: Place::Url,
            parts,
            alternatives: Vec::new(),
            path: Cow::Borrowed(head.path),
            query: Some(query::without(raw, is_ours)).filter(|rest| !rest.is_empty()),
            prefix: None,
        }))
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let raw = asked.evidence.raw_query.unwrap_or("");
        let presigned =
            Presigned::parse(raw).map_err(|_| TokenError::Malformed("it is not a presigned query"))?;
        let header = |name: &str| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            asked.evidence.header(&name).map(str::as_bytes)
        };
        check_parameters(raw)?;
        check_headers(&presigned, header)?;
        let method = asked.evidence.method;
        let methods = Methods::parse([method.as_str()])
            .map_err(|_| TokenError::Invalid("no link is for this method"))?;
        let host = &*asked.public()?.authority;
        let request = |method: &Method| {
            presigned
                .request(method.as_str(), host, asked.path, header)
                .ok_or(TokenError::Invalid("a signed header was not sent"))
        };
        let text = request(method)?;
        asked.signatures.show(&text);
        let key = self.signer(&presigned, &text, asked.now).or_else(|error| {
            // S3 answers HEAD for no link that is for GET, and players ask for it. It is as well to know why.
            let get = (*method == Method::HEAD).then_some(Method::GET).ok_or(error)?;
            match self.signer(&presigned, &request(&get)?, asked.now) {
                Ok(_) => Err(TokenError::Elsewhere("the link is for GET alone")),
                Err(_) => Err(error),
            }
        })?;
        if !key.may_open(asked.target) {
            return Err(TokenError::Elsewhere("its key signs for other paths"));
        }
        let name = [b"s3_presigned\0", &presigned.signature()[..]].concat();
        Ok(Claims {
            issued: Some(presigned.signed_at()),
            not_before: Some(presigned.not_before()),
            expires: Some(presigned.expires()),
            // `GET` brings `HEAD` with it there; which of them it is was judged here.
            methods: Some(methods),
            key: Some(presigned.access_key_id().into()),
            ..asked.opened(self.rules.log_key.name(&name))
        })
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let part = |at: usize| taken.parts.get(at).map_or("", |part| &**part);
        let (id, scope) = part(CREDENTIAL).split_once('/').unwrap_or((part(CREDENTIAL), ""));
        let words = ["key", "scope", "signed at", "seconds of life", "signed headers"];
        let texts = [id, scope, part(DATE), part(EXPIRES), part(SIGNED_HEADERS)];
        let pairs = words.into_iter().zip(texts);
        pairs
            .map(|(word, text)| (Cow::Borrowed(word), text.to_owned()))
            .collect()
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        if wish.place != Place::Url {
            return refuse("a presigned URL has its token in the query");
        }
        if wish.opens.is_some_and(|opens| !is_only(opens, wish.target))
            || wish.not_before.is_some_and(|start| start > wish.now)
            || wish.address.is_some()
            || wish.subject.is_some()
            || wish.id.is_some()
        {
            return refuse("a presigned URL can't say that");
        }
        if Methods::parse([wish.method.as_str()]).is_err() {
            return refuse("no link is for this method");
        }
        let life = wish.expires.secs().saturating_sub(wish.now.secs());
        let life = u32::try_from(life)
            .ok()
            .filter(|life| (1..=MAX_EXPIRES).contains(life))
            .ok_or(TokenError::Invalid(
                "a presigned URL lives from a second to seven days",
            ))?;
        let public = wish
            .public
            .ok_or(TokenError::Invalid("public scheme and host are not configured"))?;
        let raw = wish.target.query().unwrap_or("");
        if names(raw).any(is_ours) {
            return refuse("the query is signed already");
        }
        let key = self
            .rules
            .keys
            .at(wish.now)
            .next()
            .ok_or(TokenError::UnknownKey)?;
        if !key.key.may_open(wish.target) {
            return refuse("the key signs for other paths");
        }
        let mut path = String::new();
        encode_path(wish.target.encoded_path(), &mut path);
        let request = Request {
            method: wish.method.as_str(),
            host: &public.authority,
            path: &path,
            query: &canonical_query(raw, |_| true),
            headers: &[],
        };
        let signed = key.key.signer.presign(&request, life, wish.now);
        Ok(Signed::Url(format!("{path}?{signed}")))
    }
}

/// Whether no more than the target is to be opened.
fn is_only(opens: &crate::token::Opens, target: &Target) -> bool {
    matches!(opens, crate::token::Opens::Exact(path) if **path == *target.path())
}

/// The raw names of a query's parameters.
fn names(raw: &str) -> impl Iterator<Item = &str> {
    query::pieces(raw).map(|piece| query::split(piece).0)
}

/// Whether a raw name is one of those that no origin gets: `X-Amz-…` in any spelling.
fn is_ours(name: &str) -> bool {
    percent_decode_str(name)
        .take(PREFIX.len())
        .map(|byte| byte.to_ascii_lowercase())
        .eq(PREFIX.iter().copied())
}

/// Refuses parameters that are not understood. They are headers that were put into the query, are as much signed as those, and some
/// restrict: `x-amz-expected-bucket-owner`.
fn check_parameters(raw: &str) -> Result<(), TokenError> {
    for (name, value) in query::pieces(raw).map(query::split) {
        let is_known = || NAMES.iter().any(|known| query::is(name, known));
        if is_ours(name) && !is_known() && !is_understood(name, value.as_bytes()) {
            return Err(TokenError::Invalid("an X-Amz parameter is not understood"));
        }
    }
    Ok(())
}

/// The same for signed headers.
fn check_headers<'h>(
    presigned: &Presigned,
    header: impl Fn(&str) -> Option<&'h [u8]>,
) -> Result<(), TokenError> {
    for name in presigned.headers().filter(|name| is_ours(name)) {
        if !is_understood(name, header(name).unwrap_or_default()) {
            return Err(TokenError::Invalid("a signed X-Amz header is not understood"));
        }
    }
    Ok(())
}

fn is_understood(name: &str, value: &[u8]) -> bool {
    HARMLESS.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.eq_ignore_ascii_case(PAYLOAD) && value == UNSIGNED_PAYLOAD.as_bytes()
}

#[cfg(test)]
mod tests;
