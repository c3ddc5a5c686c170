//! AWS Signature Version 4, as S3 wants it: signs requests in their headers or their query, and checks signed queries.
//! In: a request and credentials, the time. Out: a signature, or whether one is true. Never: reads a clock, or shows a secret.
//! Source: AWS, "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::Digest;
use aws_lc_rs::hmac;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::secret::Secret;

mod canonical;
mod query;

pub use canonical::{Header, canonical_query, encode_path};
pub use query::{Fault, MAX_EXPIRES, Presigned};

use canonical::{Canonical, hex};

/// The one algorithm there is.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The hash of a body that is not hashed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The hash of a body that is empty.
pub const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Who signs.
#[derive(Clone)]
pub struct Credentials {
    /// The name of the key. No secret, and no business of others either.
    pub access_key_id: Box<str>,
    /// The key.
    pub secret_access_key: Secret,
    /// What comes with keys that end by themselves.
    pub session_token: Option<Secret>,
}

impl PartialEq for Credentials {
    /// In a time that tells nothing of where secrets differ.
    fn eq(&self, other: &Self) -> bool {
        let is_same =
            |one: &Secret, other: &Secret| verify_slices_are_equal(one.reveal(), other.reveal()).is_ok();
        self.access_key_id == other.access_key_id
            && is_same(&self.secret_access_key, &other.secret_access_key)
            && match (&self.session_token, &other.session_token) {
                (Some(one), Some(other)) => is_same(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A request without a body, as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// GET, HEAD.
    pub method: &'r str,
    /// What stands in `Host`.
    pub host: &'r str,
    /// In S3's spelling, exactly as it is sent: what `encode_path` makes.
    pub path: &'r str,
    /// In S3's spelling, exactly as it is sent: what `canonical_query` makes. Empty for none.
    pub query: &'r str,
    /// Further headers to sign, in any order: names in lower case.
    pub headers: &'r [Header<'r>],
}

/// What is sent with a request that was signed in its headers, beside those that `Request` names.
pub struct Signed {
    /// `X-Amz-Date`.
    pub date: [u8; 16],
    /// `Authorization`.
    pub authorization: String,
}

impl fmt::Debug for Signed {
    /// The signature is not shown: it opens a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed(…)")
    }
}

/// Signs for one place with one key. The key of the day is kept: it costs four hashes, and is looked at without a lock.
pub struct Signer {
    credentials: Credentials,
    /// `/eu-central-1/s3/aws4_request`.
    scope: Box<str>,
    region: Box<str>,
    service: Box<str>,
    today: ArcSwapOption<DayKey>,
}

struct DayKey {
    day: [u8; 8],
    key: hmac::Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.scope)
    }
}

impl Signer {
    /// Signs for a region and a service with these credentials.
    pub fn new(credentials: Credentials, region: &str, service: &str) -> Self {
        Self {
            credentials,
            scope: format!("/{region}/{service}/aws4_request").into(),
            region: region.into(),
            service: service.into(),
            today: ArcSwapOption::empty(),
        }
    }

    /// Whose key it is.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Signs a request without a body in its headers. `X-Amz-Content-Sha256` has to be `EMPTY_PAYLOAD`, and
    /// `X-Amz-Security-Token` the session token, where there is one.
    pub fn sign(&self, request: &Request<'_>, now: UnixTime) -> Signed {
        self.sign_payload(request, EMPTY_PAYLOAD, now)
    }

    /// As `sign`, with the hash of the body in `X-Amz-Content-Sha256`.
    pub fn sign_payload(&self, request: &Request<'_>, payload: &str, now: UnixTime) -> Signed {
        let date = now.compact();
        let mut headers: SmallVec<[Header<'_>; 8]> = SmallVec::from_slice(request.headers);
        headers.push(("host", request.host.as_bytes()));
        headers.push(("x-amz-content-sha256", payload.as_bytes()));
        headers.push(("x-amz-date", &date));
        if let Some(token) = &self.credentials.session_token {
            headers.push(("x-amz-security-token", token.reveal()));
        }
        headers.sort_unstable();
        let canonical = Canonical {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: &headers,
            payload,
        };
        let signature = hex(&self.signature(&date, &canonical.digest()));
        let mut authorization = String::with_capacity(320);
        for part in [ALGORITHM, " Credential=", &self.credentials.access_key_id, "/"] {
            authorization.push_str(part);
        }
        authorization.extend(date[..8].iter().copied().map(char::from));
        authorization.push_str(&self.scope);
        authorization.push_str(", SignedHeaders=");
        push_names(&headers, &mut authorization);
        authorization.push_str(", Signature=");
        authorization.extend(signature.iter().copied().map(char::from));
        Signed { date, authorization }
    }

    /// The signature of a request with this digest at this date, for us to send.
    fn signature(&self, date: &[u8; 16], request: &Digest) -> [u8; 32] {
        let kept = self.today.load();
        if let Some(kept) = kept.as_deref().filter(|kept| kept.day == first_of(date)) {
            return self.sign_with(&kept.key, date, request);
        }
        let made = self.key_of(date);
        let signature = self.sign_with(&made.key, date, request);
        self.today.store(Some(made));
        signature
    }

    /// The key of this date's day: the one that is kept, or made and not kept.
    fn key_of(&self, date: &[u8; 16]) -> Arc<DayKey> {
        let day = first_of(date);
        let kept = self.today.load_full().filter(|kept| kept.day == day);
        kept.unwrap_or_else(|| {
            let key = self.day_key(&day);
            Arc::new(DayKey { day, key })
        })
    }

    fn sign_with(&self, key: &hmac::Key, date: &[u8; 16], request: &Digest) -> [u8; 32] {
        let mut text = hmac::Context::with_key(key);
        for part in [
            ALGORITHM.as_bytes(),
            b"\n",
            date,
            b"\n",
            &date[..8],
            self.scope.as_bytes(),
            b"\n",
            &hex(&bytes(request.as_ref())),
        ] {
            text.update(part);
        }
        bytes(text.sign().as_ref())
    }

    /// The key that signs all of a day's requests.
    fn day_key(&self, day: &[u8; 8]) -> hmac::Key {
        let secret = self.credentials.secret_access_key.reveal();
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret);
        // Each key is written over the one before, and the last is wiped.
        let mut key = Zeroizing::new(derived(&first, day));
        for part in [self.region.as_bytes(), self.service.as_bytes(), b"aws4_request"] {
            *key = derived(&*key, part);
        }
        hmac::Key::new(hmac::HMAC_SHA256, &*key)
    }
}

/// The key that a key makes of a part of the scope.
fn derived(key: &[u8], part: &[u8]) -> [u8; 32] {
    bytes(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), part).as_ref())
}

/// `host;x-amz-date`.
fn push_names(headers: &[Header<'_>], out: &mut String) {
    for (at, (name, _)) in headers.iter().enumerate() {
        if at > 0 {
            out.push(';');
        }
        out.push_str(name);
    }
}

/// `20260101` of `20260101T000000Z`.
fn first_of(date: &[u8; 16]) -> [u8; 8] {
    let mut day = [0; 8];
    day.copy_from_slice(&date[..8]);
    day
}

/// A hash, which has 32 bytes.
fn bytes(hash: &[u8]) -> [u8; 32] {
    let mut all = [0; 32];
    all.copy_from_slice(hash);
    all
}

#[cfg(test)]
mod tests;
