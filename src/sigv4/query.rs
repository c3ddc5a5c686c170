//! Signatures in the query: presigned URLs. In: a request and credentials, or a query that somebody signed. Out: the signed
//! query, or why it opens nothing. Never: compares a signature in a time that tells of it.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::canonical::{Canonical, Header, canonical_query, encode, encode_path, hex, unhex};
use super::{ALGORITHM, Request, Signer, UNSIGNED_PAYLOAD, push_names};
use crate::clock::UnixTime;

/// The longest life of a presigned URL, in seconds: seven days.
pub const MAX_EXPIRES: u32 = 604_800;

/// How far ahead of ours the signer's clock may be.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// Signed headers in one URL.
const MAX_HEADERS: usize = 16;

/// Why a signed query opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not signed.
    #[error("the query is not signed")]
    Missing,
    /// A part of it is missing, there twice, or can't be read.
    #[error("the signed query is malformed")]
    Malformed,
    /// It is for another key, region or service.
    #[error("the query is signed for another key or place")]
    OtherScope,
    /// It is from the future.
    #[error("the signed query is not valid yet")]
    NotYet,
    /// Its time has passed.
    #[error("the signed query has expired")]
    Expired,
    /// The signature is another request's, or nobody's.
    #[error("the signature of the query is wrong")]
    Mismatch,
}

/// A signed query that was read and not checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    access_key_id: Box<str>,
    /// `/20260101/us-east-1/s3/aws4_request`, without its first slash and key.
    scope: Box<str>,
    date: [u8; 16],
    from: UnixTime,
    expires: UnixTime,
    headers: Box<[Box<str>]>,
    signature: [u8; 32],
    /// The query as it was signed.
    canonical: String,
}

impl Presigned {
    /// Reads a raw query.
    ///
    /// # Errors
    /// `Missing` where nothing says that it is signed, `Malformed`.
    pub fn parse(query: &str) -> Result<Self, Fault> {
        let mut fields: [Option<String>; 6] = Default::default();
        let mut twice = false;
        let names = [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ];
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // In the one spelling that is signed: otherwise a name could be one thing here and another there.
            let mut spelled = String::with_capacity(name.len());
            encode(name.as_bytes(), b'-', &mut spelled);
            let Some(at) = names.iter().position(|known| *known == spelled) else {
                continue;
            };
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| Fault::Malformed)?;
            twice |= fields[at].replace(value.into_owned()).is_some();
        }
        if fields.iter().all(Option::is_none) {
            return Err(Fault::Missing);
        }
        let [
            Some(algorithm),
            Some(credential),
            Some(date),
            Some(expires),
            Some(headers),
            Some(signature),
        ] = fields
        else {
            return Err(Fault::Malformed);
        };
        if twice || algorithm != ALGORITHM {
            return Err(Fault::Malformed);
        }
        let (access_key_id, scope) = credential.split_once('/').ok_or(Fault::Malformed)?;
        let from = UnixTime::parse_compact(&date).ok_or(Fault::Malformed)?;
        let life = Some(&expires)
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|life| *life <= MAX_EXPIRES)
            .ok_or(Fault::Malformed)?;
        let date = from.compact();
        // A day of its own in the scope would be another day's key.
        if !scope.as_bytes().starts_with(&date[..8]) {
            return Err(Fault::Malformed);
        }
        let headers: Box<[Box<str>]> = headers.split(';').map(Box::from).collect();
        let sorted = headers.is_sorted_by(|one, next| one < next);
        if !sorted || headers.len() > MAX_HEADERS || !headers.iter().any(|name| **name == *"host") {
            return Err(Fault::Malformed);
        }
        Ok(Self {
            access_key_id: access_key_id.into(),
            scope: scope.into(),
            date,
            from,
            expires: from.after(Duration::from_secs(u64::from(life))),
            headers,
            signature: unhex(&signature).ok_or(Fault::Malformed)?,
            canonical: canonical_query(query, |name| name != "X-Amz-Signature"),
        })
    }

    /// The name of the key that it says it was signed with.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Its first dead second.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The first moment at which it is good: what it says, less what its signer's clock may be ahead.
    pub fn not_before(&self) -> UnixTime {
        self.from.before(SKEW)
    }

    /// When it says that it was signed.
    pub fn signed_at(&self) -> UnixTime {
        self.from
    }

    /// The names of the headers that were signed.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|name| &**name)
    }

    /// The signature.
    pub fn signature(&self) -> &[u8; 32] {
        &self.signature
    }

    /// The text ("canonical request") that is signed for this method, host and raw path, with the values that `header` has for
    /// the headers that were signed beside `host`; `None` where it has none for one of them.
    pub fn request<'h>(
        &self,
        method: &str,
        host: &'h str,
        path: &str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Option<Vec<u8>> {
        let mut headers: SmallVec<[Header<'_>; 4]> = SmallVec::new();
        for name in &self.headers {
            let value = match &**name {
                "host" => host.as_bytes(),
                name => header(name)?,
            };
            headers.push((&**name, value));
        }
        let mut spelled = String::with_capacity(path.len() + 16);
        encode_path(path, &mut spelled);
        let canonical = Canonical {
            method,
            path: &spelled,
            query: &self.canonical,
            headers: &headers,
            payload: UNSIGNED_PAYLOAD,
        };
        Some(canonical.text())
    }

    /// Whether `signer` has signed this request, whatever the time is.
    ///
    /// # Errors
    /// `OtherScope`, `Mismatch`.
    pub fn is_signed_by(&self, signer: &Signer, request: &[u8]) -> Result<(), Fault> {
        let place = self.scope.get(8..);
        if self.access_key_id != signer.credentials.access_key_id || place != Some(&*signer.scope) {
            return Err(Fault::OtherScope);
        }
        let key = signer.key_of(&self.date);
        let right = signer.sign_with(&key.key, &self.date, &digest(&SHA256, request));
        verify_slices_are_equal(&right, &self.signature).map_err(|_| Fault::Mismatch)?;
        // Whoever has not the secret does not say which day's key is kept.
        signer.today.store(Some(key));
        Ok(())
    }

    /// Whether `signer` has signed it for this method, host and raw path, with the values that `header` has for the headers
    /// that were signed beside `host`.
    ///
    /// # Errors
    /// `OtherScope`, `Mismatch`; then `NotYet`, `Expired`.
    pub fn verify<'h>(
        &self,
        signer: &Signer,
        method: &str,
        host: &'h str,
        path: &str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
        now: UnixTime,
    ) -> Result<(), Fault> {
        let request = self.request(method, host, path, header).ok_or(Fault::Mismatch)?;
        self.is_signed_by(signer, &request)?;
        if now < self.not_before() {
            Err(Fault::NotYet)
        } else if now >= self.expires {
            Err(Fault::Expired)
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Debug for Presigned {
    /// The signature is not shown: it opens a file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presigned(until {:?})", self.expires)
    }
}

impl Signer {
    /// The query of a presigned URL: that of the request, and the signature. Good for `life` seconds, at most seven days.
    pub fn presign(&self, request: &Request<'_>, life: u32, now: UnixTime) -> String {
        let date = now.compact();
        let date_text: String = date.iter().copied().map(char::from).collect();
        let mut headers: SmallVec<[Header<'_>; 4]> = SmallVec::from_slice(request.headers);
        headers.push(("host", request.host.as_bytes()));
        headers.sort_unstable();
        let mut names = String::new();
        push_names(&headers, &mut names);
        let credential = format!(
            "{}/{}{}",
            self.credentials.access_key_id,
            &date_text[..8],
            self.scope
        );
        let mut query = String::from(request.query);
        let mut add = |name: &str, value: &[u8]| {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            // `%` in a value is data here.
            for byte in value {
                encode(std::slice::from_ref(byte), b'-', &mut query);
            }
        };
        add("X-Amz-Algorithm", ALGORITHM.as_bytes());
        add("X-Amz-Credential", credential.as_bytes());
        add("X-Amz-Date", &date);
        add("X-Amz-Expires", life.min(MAX_EXPIRES).to_string().as_bytes());
        add("X-Amz-SignedHeaders", names.as_bytes());
        if let Some(token) = &self.credentials.session_token {
            add("X-Amz-Security-Token", token.reveal());
        }
        let query = canonical_query(&query, |_| true);
        let canonical = Canonical {
            method: request.method,
            path: request.path,
            query: &query,
            headers: &headers,
            payload: UNSIGNED_PAYLOAD,
        };
        let signature = hex(&self.signature(&date, &canonical.digest()));
        let signature: String = signature.iter().copied().map(char::from).collect();
        format!("{query}&X-Amz-Signature={signature}")
    }
}
