//! Calls from browser code on other origins: an exact list, a bearer and never cookies. An origin that is not listed gets
//! answers without permission to read them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::refusal::IssueRefusal;

/// Whether a request asks for permission instead of anything else.
pub(super) fn is_preflight(request: &Request<Bytes>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight; `mark` adds the origin.
pub(super) fn preflight(
    headers: &HeaderMap,
    allowed: &[Box<str>],
    methods: &'static str,
) -> Result<Response<Bytes>, IssueRefusal> {
    allowed_origin(headers, allowed).ok_or(IssueRefusal::OriginNotAllowed)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type, X-Device-Info, client_id"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Ok(response)
}

/// Puts the permission on an answer, refusals too: without it, browser code can't tell why it was refused.
pub(super) fn mark(response: &mut Response<Bytes>, request: &HeaderMap, allowed: &[Box<str>]) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed_origin(request, allowed) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Retry-After, WWW-Authenticate"),
        );
    }
}

/// What browser code that was written for Sirv needs besides: it sends its credentials along, which say nothing here, and reads
/// how much is left.
pub(super) fn mark_sirv(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "Retry-After, WWW-Authenticate, x-global-ratelimit-limit, x-global-ratelimit-remaining, \
                 x-global-ratelimit-reset",
            ),
        );
    }
}

/// The request's one origin, where it is in the list. `null` is everybody's (sandboxed frames), so it is nobody's.
fn allowed_origin<'h>(headers: &'h HeaderMap, allowed: &[Box<str>]) -> Option<&'h HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next().filter(|origin| *origin != "null")?;
    let listed = allowed
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes());
    (listed && origins.next().is_none()).then_some(origin)
}
