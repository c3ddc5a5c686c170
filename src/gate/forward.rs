//! Forward: asks the origin for what the grant says, with an allow-list of headers. In: a `Grant`. Out: the origin's
//! answer. The token, hop-by-hop headers and what a client claims to be never get through.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use hyper::body::{Body as _, Incoming};

use super::authorize::Grant;
use super::refusal::{Code, Stop};
use super::route::Route;
use crate::clock::UnixTime;
use crate::origin::{Fetch, Origin, OriginRequest, Pools, Upload};
use crate::token::carrier::{Carrier, without_cookies};

/// Client headers that go to the origin.
static ALLOWED: [HeaderName; 11] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCEPT_CHARSET,
    header::USER_AGENT,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::CACHE_CONTROL,
    header::PRAGMA,
];

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Client headers that go to the origin with an upload.
static ALLOWED_UPLOAD: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::EXPECT,
    header::CONTENT_ENCODING,
    CONTENT_MD5,
    DIGEST,
];

/// Ranges in one request that a folder is asked for; more are ignored (RFC 9110 §14.2 allows that).
const MAX_RANGES: usize = 16;

/// Asks the route's origin. The request is composed before this returns, so that nothing of the client's head, which shares
/// its connection's read buffer, is held while the origin is waited for.
///
/// # Errors
/// `too_large` for an upload, `bad_request`; what is waited for fails with the origin.
pub fn forward(
    route: &Route,
    pools: &Pools,
    grant: Grant,
    head: Parts,
    body: Option<Incoming>,
    client: IpAddr,
    now: UnixTime,
) -> Result<Fetch, Stop> {
    let Parts {
        method,
        version,
        headers: client_headers,
        ..
    } = head;
    let upload = match upload(route, &method, &client_headers, body)? {
        None => Upload::None,
        Some(body) => Upload::client(body, route.max_upload),
    };
    let once = grant.is_once();
    // Several ranges in one body carry a type of their own, and their parts the origin's.
    let one_range = once || grant.media_type().is_some();
    let (target, identity) = grant.into_request();
    let mut headers = origin_headers(route, &method, &client_headers, identity);
    // RFC 9110 §10.1.1: from HTTP/1.0 it means nothing.
    if version == Version::HTTP_10 {
        headers.remove(header::EXPECT);
    }
    if once {
        // Bytes of a session are counted as the file has them, range by range.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if one_range && has_several_ranges(&headers) {
        headers.remove(header::RANGE);
    }
    let request = OriginRequest {
        method,
        target,
        headers,
        client: Some(client),
        upload,
        now,
    };
    Ok(route.origin.fetch(pools, request))
}

/// The body that goes to the origin, where there is one.
fn upload(
    route: &Route,
    method: &Method,
    headers: &HeaderMap,
    body: Option<Incoming>,
) -> Result<Option<Incoming>, Stop> {
    // Without it a part would be stored as the whole (RFC 9110 §14.5).
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Stop::refused(
            Code::BadRequest,
            "parts of a file can't be uploaded",
        ));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let Some(body) = body.filter(|body| !reads && !body.is_end_stream()) else {
        return Ok(None);
    };
    if body.size_hint().lower() > route.max_upload {
        return Err(Stop::refused(
            Code::TooLarge,
            "the upload is larger than the route allows",
        ));
    }
    Ok(Some(body))
}

/// Whether a scheme of the route finds its token in this header.
fn carries_token(route: &Route, name: &HeaderName) -> bool {
    let schemes = route.schemes.signed();
    schemes.iter().any(|scheme| scheme.headers().contains(name))
}

/// The headers of the origin's request.
fn origin_headers(
    route: &Route,
    method: &Method,
    client_headers: &HeaderMap,
    identity: Vec<(HeaderName, HeaderValue)>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let ranges = *method == Method::GET && ranges_pass(route, client_headers);
    let upload = !matches!(*method, Method::GET | Method::HEAD);
    let authorization =
        route.forward_authorization && !route.carriers.iter().any(|carrier| *carrier == Carrier::Bearer);
    for (name, value) in client_headers {
        let passes = ALLOWED.contains(name)
            || (ranges && (*name == header::RANGE || *name == header::IF_RANGE))
            || (upload && ALLOWED_UPLOAD.contains(name))
            || (authorization && *name == header::AUTHORIZATION);
        if passes && !carries_token(route, name) {
            headers.append(name, value.clone());
        }
    }
    if route.forward_cookies {
        forward_cookies(route, client_headers, &mut headers);
    }
    add_own(route, &mut headers);
    for (name, value) in identity {
        headers.insert(name, value);
    }
    headers
}

/// One `Range` header with one range; several ranges only over a folder, whose own code bounds what they cost.
fn ranges_pass(route: &Route, headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return false;
    };
    let count = range.as_bytes().iter().filter(|byte| **byte == b',').count() + 1;
    count == 1 || (count <= MAX_RANGES && matches!(route.origin, Origin::Folder(_)))
}

fn has_several_ranges(headers: &HeaderMap) -> bool {
    headers
        .get(header::RANGE)
        .is_some_and(|range| range.as_bytes().contains(&b','))
}

fn forward_cookies(route: &Route, client_headers: &HeaderMap, headers: &mut HeaderMap) {
    let ours: Vec<Box<str>> = route
        .carriers
        .iter()
        .filter_map(|carrier| match carrier {
            Carrier::Cookie { names } => Some(names.iter().cloned()),
            _ => None,
        })
        .flatten()
        .chain(
            route
                .schemes
                .signed()
                .iter()
                .flat_map(|scheme| scheme.cookies().iter().cloned()),
        )
        .chain(route.session_cookie.clone())
        .collect();
    for value in client_headers.get_all(header::COOKIE) {
        let kept = value
            .to_str()
            .ok()
            .and_then(|value| without_cookies(value, |name| is_ours(name, &ours)));
        if let Some(value) = kept.and_then(|kept| HeaderValue::from_str(&kept).ok()) {
            headers.append(header::COOKIE, value);
        }
    }
}

/// A carrier's cookie, that of a session, or that of a download session.
fn is_ours(name: &str, carriers: &[Box<str>]) -> bool {
    carriers.iter().any(|carrier| **carrier == *name)
        || name
            .trim_start_matches("__Host-")
            .starts_with(super::session_cookie::MARK)
}

/// Under which name the public reaches us: always ours, never the client's copy.
fn add_own(route: &Route, headers: &mut HeaderMap) {
    if matches!(route.origin, Origin::Folder(_) | Origin::S3(_)) {
        return;
    }
    if let Some(public) = &route.public {
        for (name, value) in [
            (X_FORWARDED_PROTO, &public.scheme),
            (X_FORWARDED_HOST, &public.authority),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}
