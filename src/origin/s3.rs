//! A bucket of S3, or of a server that speaks its protocol, over the HTTP origin: each request is signed, and nothing that
//! S3 says of errors gets through. In: an origin request. Out: a file, "no such file", or a failure. Never: asks for what
//! is no object (a listing, a sub-resource), sends a client's header that S3 has no use for, or waits for credentials.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::fleet::{Protocol, Reach};
use super::http1::{add, is_repeatable};
use super::sending::{Framing, Sending};
use super::truth::Asked;
use super::{Fetch, HttpOrigin, HttpSettings, OriginBody, OriginError, OriginRequest, Phase, Pools, Upload};
use crate::sigv4::{EMPTY_PAYLOAD, Request, Signer, canonical_query, encode_path};

mod answer;
mod chain;
mod keys;

pub use chain::CredentialSource;
pub use keys::Keys;

use answer::Verdict;

/// The client's headers that ask S3 for a part.
static PARTIAL: [HeaderName; 2] = [header::RANGE, header::IF_RANGE];

/// The client's other headers that S3 knows.
static CONDITIONAL: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// The query parameters of GetObject and HeadObject that may be let through; all others name a sub-resource or a listing.
pub const PARAMETERS: [&str; 7] = [
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "versionId",
];

/// How long is waited before each further try; a random part of as much again is added.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];

/// What a client is told where S3 says "forbidden" of an object, as it does also of absent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// 404.
    Absent,
    /// 502.
    Failure,
}

/// How a bucket is asked.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The server, without a path of its own.
    pub http: HttpSettings,
    /// How its addresses are reached; in HTTP/1.1 always.
    pub reach: Reach,
    /// What stands before every target, in S3's spelling, without a slash at its end: the bucket in path style, the prefix.
    pub base: Box<str>,
    /// Whether keys have a prefix, so that a target of `/` names an object.
    pub prefixed: bool,
    /// Query parameters that get through, of `PARAMETERS`.
    pub query: Box<[Box<str>]>,
    /// What "forbidden" means.
    pub forbidden: Forbidden,
    /// Who signs.
    pub keys: Arc<Keys>,
}

/// A bucket.
#[derive(Debug)]
pub struct S3Origin {
    http: Arc<HttpOrigin>,
    host: Box<str>,
    base: Box<str>,
    prefixed: bool,
    query: Box<[Box<str>]>,
    forbidden: Forbidden,
    keys: Arc<Keys>,
}

/// A request that may be sent more than once. Within minutes its signature is as good as at first.
struct Signed {
    head: Vec<u8>,
    asked: Asked,
    /// The header lines `Range` and `If-Range`, which are not signed.
    range: Option<Range<usize>>,
    /// What `If-Range` says.
    if_range: Option<Vec<u8>>,
    /// Whether the client chose a parameter.
    chose: bool,
    /// Whether it is a HEAD, whose errors have no code.
    is_head: bool,
}

impl S3Origin {
    /// A bucket with these settings.
    pub fn new(settings: S3Settings) -> Self {
        let S3Settings {
            http,
            reach,
            base,
            prefixed,
            query,
            forbidden,
            keys,
        } = settings;
        // A request is composed and signed before it is known where it goes.
        let reach = Reach {
            protocol: Protocol::Http1,
            ..reach
        };
        Self {
            host: http.host.to_str().unwrap_or_default().into(),
            http: Arc::new(HttpOrigin::with_reach(http, reach)),
            base,
            prefixed,
            query,
            forbidden,
            keys,
        }
    }

    /// Who signs.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The server that holds it.
    pub(super) fn server(&self) -> &Arc<HttpOrigin> {
        &self.http
    }

    /// How long the head of an answer is waited for at most, whatever is tried again: as long as two answers may take, and
    /// one error's text.
    pub(super) fn head_wait(&self) -> Duration {
        self.http.head_wait() * 2 + answer::PATIENCE
    }

    /// Whether a parameter of this name is passed on.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.query.iter().any(|known| **known == *name)
    }

    /// Answers one request.
    pub(super) fn fetch(self: &Arc<Self>, pools: &Pools, request: OriginRequest) -> Fetch {
        match self.compose(&request) {
            Ok(Some(signed)) => {
                let answer = Arc::clone(self).ask(pools.clone(), signed);
                let wait = self.head_wait();
                Fetch::Waiting(Box::pin(async move {
                    let answer = tokio::time::timeout(wait, answer).await;
                    answer.unwrap_or(Err(OriginError::Timeout(Phase::Head)))
                }))
            }
            Ok(None) => Fetch::Ready(Some(Ok(absent()))),
            Err(error) => Fetch::Ready(Some(Err(error))),
        }
    }

    /// The request as it is sent; none where there can be no object.
    fn compose(&self, request: &OriginRequest) -> Result<Option<Signed>, OriginError> {
        // So each request may be sent once more, and over an idle connection.
        if !is_repeatable(request) {
            return Err(OriginError::Invalid("a bucket is only read"));
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        // The root is no object: asking for it lists the bucket.
        if path == "/" && !self.prefixed {
            return Ok(None);
        }
        let mut target = String::with_capacity(self.base.len() + path.len() + 16);
        target.push_str(&self.base);
        encode_path(path, &mut target);
        let query = self.passed(query);
        let mut head = self.keys.with(request.now, |signer| {
            self.signed_head(signer, request, &mut target, &query)
        })??;
        pass(&mut head, &request.headers, &CONDITIONAL);
        let before = head.len();
        pass(&mut head, &request.headers, &PARTIAL);
        let range = (head.len() > before).then_some(before..head.len());
        head.extend_from_slice(b"\r\n");
        Ok(Some(Signed {
            head,
            asked: Asked::of(&request.method, &request.headers),
            range,
            if_range: request
                .headers
                .get(header::IF_RANGE)
                .map(|value| value.as_bytes().to_vec()),
            chose: !query.is_empty(),
            is_head: request.method == http::Method::HEAD,
        }))
    }

    /// The first line and the headers of a signature.
    fn signed_head(
        &self,
        signer: &Signer,
        request: &OriginRequest,
        target: &mut String,
        query: &str,
    ) -> Result<Vec<u8>, OriginError> {
        let asked = Request {
            method: request.method.as_str(),
            host: &self.host,
            path: target,
            query,
            headers: &[],
        };
        let signed = signer.sign(&asked, request.now);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        let mut head = self.http.begin_head(&request.method, ["", target])?;
        add(&mut head, "host", self.host.as_bytes());
        add(&mut head, "x-amz-date", &signed.date);
        add(&mut head, "x-amz-content-sha256", EMPTY_PAYLOAD.as_bytes());
        add(&mut head, "authorization", signed.authorization.as_bytes());
        if let Some(token) = &signer.credentials().session_token {
            add(&mut head, "x-amz-security-token", token.reveal());
        }
        Ok(head)
    }

    /// What of a client's query goes to S3, in its spelling: of each listed parameter the first.
    fn passed(&self, query: &str) -> String {
        if query.is_empty() || self.query.is_empty() {
            return String::new();
        }
        let mut seen: Vec<String> = Vec::new();
        canonical_query(query, |name| {
            let passes =
                self.query.iter().any(|known| **known == *name) && !seen.iter().any(|seen| seen == name);
            if passes {
                seen.push(name.to_owned());
            }
            passes
        })
    }

    /// Asks, again where S3 has no time just now, and says what the answer means.
    async fn ask(
        self: Arc<Self>,
        pools: Pools,
        mut signed: Signed,
    ) -> Result<Response<OriginBody>, OriginError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let sending = Sending::new(signed.head.clone(), Upload::None, Framing::Length);
            let answer = self
                .http
                .send(&pools, signed.asked.clone(), sending, true)
                .await?;
            if signed.is_ignored(&answer) {
                signed = signed.whole();
                continue;
            }
            let verdict = match answer::judge(answer, signed.is_head, self.forbidden, signed.chose).await {
                Ok(answer) => return Ok(answer),
                Err(verdict) => verdict,
            };
            match verdict {
                Verdict::Absent => return Ok(absent()),
                Verdict::Unsaid => {
                    self.keys.refused();
                    return Ok(absent());
                }
                Verdict::Stale(what) => {
                    self.keys.refused();
                    return Err(OriginError::Invalid(what));
                }
                Verdict::Failed(what) => return Err(OriginError::Invalid(what)),
                Verdict::Busy => match pauses.next() {
                    Some(pause) => tokio::time::sleep(jittered(pause)).await,
                    None => return Err(OriginError::Busy),
                },
            }
        }
    }
}

impl Signed {
    /// Whether a part came of another file than `If-Range` names: some servers do not know that header, and a client would
    /// put parts of two files together.
    fn is_ignored(&self, answer: &Response<OriginBody>) -> bool {
        let Some(named) = &self.if_range else { return false };
        let is = |name: HeaderName| {
            let value = answer.headers().get(name).map(HeaderValue::as_bytes);
            value == Some(&**named)
        };
        let part = answer.status() == StatusCode::PARTIAL_CONTENT;
        // A range that the named file has, and this one has not.
        let none = answer.status() == StatusCode::RANGE_NOT_SATISFIABLE;
        none || part && !is(header::ETAG) && !is(header::LAST_MODIFIED)
    }

    /// The same request for the whole file.
    fn whole(mut self) -> Self {
        if let Some(range) = self.range.take() {
            self.head.drain(range);
        }
        self.if_range = None;
        self.asked = self.asked.whole();
        self
    }
}

/// "No such file".
fn absent() -> Response<OriginBody> {
    let mut response = Response::new(OriginBody::Empty);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Up to twice as long, so that those who were sent away together do not come again together.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause + pause * u32::from(byte[0]) / 256
}

/// Writes the headers of these names as the client wrote them.
fn pass(head: &mut Vec<u8>, headers: &HeaderMap, names: &[HeaderName]) {
    for name in names {
        for value in headers.get_all(name) {
            add(head, name.as_str(), value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_up_to_twice_as_long_and_seldom_the_same() {
        let base = PAUSES[0];
        let pauses: Vec<Duration> = (0..50).map(|_| jittered(base)).collect();
        assert!(pauses.iter().all(|pause| (base..base * 2).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
