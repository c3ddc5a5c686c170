//! Reply: what the client gets. In: the origin's answer, or why there is none. Out: a response whose headers are all
//! ours or on a list; private to the client; a refusal as a page, `problem+json` or nothing. It never echoes the request.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use smallvec::SmallVec;

use super::authorize::Grant;
use super::cache_control;
use super::exchange::{CrossOrigin, Door, Exchange, Reader};
use super::landing::page::one_page_for_all;
use super::limits::Share;
use super::location;
use super::refusal::{Code, Stop, status, verification};
use super::route::{ActiveContent, DialectStatus, Disposition, Route};
use crate::body::Body;
use crate::clock::UnixTime;
use crate::origin::OriginBody;
use crate::token::claims::Renewal;

/// Origin headers that reach the client as they are, the usual ones first.
static PASSED: [HeaderName; 14] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::ACCEPT_RANGES,
    header::CONTENT_RANGE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::VARY,
    header::RETRY_AFTER,
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
/// What scripts of other origins may read of an answer: enough to seek and to resume.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Range, ETag",
);

/// What `reply` needs of a grant that was forwarded.
pub struct Granted {
    /// The route.
    pub route: Arc<Route>,
    /// The name to save the file under.
    pub filename: Option<Box<str>>,
    /// What a catalogue says that the file is.
    pub media_type: Option<HeaderValue>,
    /// A renewed token.
    pub renewal: Option<Box<Renewal>>,
    /// How long the token still lives.
    pub remaining: Option<Duration>,
    /// The segment that a path-prefix carrier took out.
    pub prefix: Option<Box<str>>,
    /// Whether the token may be used once: nothing of the answer is kept anywhere.
    pub once: bool,
    /// The cookie of the session that the answer opens.
    pub cookie: Option<HeaderValue>,
    /// What the answer's body takes of its subject's limits, where its token has some.
    pub share: Option<Box<Share>>,
}

impl Granted {
    /// Of a grant that is about to be forwarded.
    pub fn new(
        route: &Arc<Route>,
        grant: &Grant,
        prefix: Option<Box<str>>,
        share: Option<Box<Share>>,
        now: UnixTime,
    ) -> Self {
        Self {
            route: Arc::clone(route),
            filename: grant.filename().map(Box::from),
            media_type: grant.media_type().cloned(),
            renewal: grant.renewal().cloned().map(Box::new),
            remaining: grant.claims().expires.map(|expires| now.until(expires)),
            prefix,
            once: grant.is_once(),
            cookie: None,
            share,
        }
    }
}

/// The origin's answer as the client's.
///
/// # Errors
/// `not_found`, `origin_invalid` and the like, where the origin's answer is none that a client should see.
pub fn deliver(
    exchange: &Exchange,
    granted: &Granted,
    answer: Response<OriginBody>,
) -> Result<Response<Body>, Stop> {
    let route = &*granted.route;
    let (mut parts, body) = answer.into_parts();
    judge_status(&exchange.method, parts.status, &parts.headers)?;
    let cache_control = match granted.once {
        true => NO_STORE,
        false => cache_control::private(&parts.headers, granted.remaining),
    };
    let mut body = Body::Origin(body);
    let location = match parts.status.as_u16() {
        301 | 302 | 303 | 307 | 308 => Some(location::rewrite(
            route,
            granted.prefix.as_deref(),
            &parts.headers,
        )?),
        _ => None,
    };
    let headers = &mut parts.headers;
    keep_listed(route, headers);
    if location.is_some() || parts.status.is_client_error() {
        // The page that comes with a redirect or an error is the origin's own, and may name it.
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
        ] {
            headers.remove(name);
        }
        body = Body::Empty;
    }
    if let Some(location) = location {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::CACHE_CONTROL, cache_control);
    headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Some(media_type) = &granted.media_type
        && (parts.status.is_success() || headers.contains_key(header::CONTENT_TYPE))
    {
        // Of a 304, too: a cache takes over what it says (RFC 9111 §3.2).
        headers.insert(header::CONTENT_TYPE, media_type.clone());
    }
    dispose(route, granted, headers);
    // A refusal of the origin is no reason to go on (RFC 9246 §3.3).
    if let Some(renewal) = &granted.renewal
        && (parts.status.is_success() || parts.status.is_redirection())
    {
        headers.append(renewal.header.clone(), renewal.value.clone());
    }
    if let Some(cookie) = &granted.cookie {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
    cross_origin(exchange, headers);
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    Ok(response)
}

/// Drops every header of the origin that is not on a list.
fn keep_listed(route: &Route, headers: &mut HeaderMap) {
    let is_listed = |name: &HeaderName| PASSED.contains(name) || route.response_headers.contains(name);
    let dropped: SmallVec<[HeaderName; 8]> =
        headers.keys().filter(|name| !is_listed(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Which statuses of an origin are answers: the others are about us and the origin, and its pages name it.
fn judge_status(method: &Method, status: StatusCode, headers: &HeaderMap) -> Result<(), Stop> {
    let read = matches!(*method, Method::GET | Method::HEAD);
    match status.as_u16() {
        200..=299 | 301 | 302 | 303 | 304 | 307 | 308 | 412 => Ok(()),
        404 | 410 => Err(Stop::refused(Code::NotFound, "the origin has no such file")),
        416 => {
            let mut refusal = super::refusal::Refusal::new(Code::Range, "the range lies outside of the file");
            refusal.length = headers
                .get(header::CONTENT_RANGE)
                .and_then(|value| value.to_str().ok()?.strip_prefix("bytes */")?.parse().ok());
            Err(refusal.into())
        }
        401 | 407 | 421 => Err(failed(Code::OriginInvalid, "the origin answered with an error")),
        429 => Err(come_again(headers)),
        400..=499 if !read => Ok(()),
        502 | 503 => Err(come_again(headers)),
        504 => Err(failed(
            Code::OriginTimeout,
            "the origin says that it waited in vain",
        )),
        _ => Err(failed(Code::OriginInvalid, "the origin answered with an error")),
    }
}

/// The origin can't serve now, and may say when it can.
fn come_again(headers: &HeaderMap) -> Stop {
    let seconds = headers
        .get(header::RETRY_AFTER)
        .and_then(|after| after.to_str().ok()?.parse().ok());
    Stop::Failed(super::refusal::Failure {
        code: Code::OriginUnreachable,
        detail: "the origin says that it can't serve now",
        source: None,
        retry_after: seconds.map(Duration::from_secs),
    })
}

fn failed(code: Code, detail: &'static str) -> Stop {
    Stop::Failed(super::refusal::Failure {
        code,
        detail,
        source: None,
        retry_after: None,
    })
}

/// File name, and what scripts in the file may do.
fn dispose(route: &Route, granted: &Granted, headers: &mut HeaderMap) {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    // Of several types browsers take the last (Fetch, "extract a MIME type"), so they count as the worst.
    let active = kinds
        .next()
        .is_some_and(|kind| kinds.next().is_some() || is_active(kind.as_bytes()));
    let word = match route.disposition {
        Disposition::Inline => Some("inline"),
        Disposition::Attachment => Some("attachment"),
        Disposition::Origin => None,
    };
    let word = if active && route.active_content == ActiveContent::Attachment {
        Some("attachment")
    } else {
        word
    };
    if active && route.active_content == ActiveContent::Sandbox {
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox"),
        );
    }
    let name = granted.filename.as_deref();
    if word.is_some() || name.is_some() {
        headers.insert(
            header::CONTENT_DISPOSITION,
            super::disposition::value(word.unwrap_or("attachment"), name),
        );
    }
}

/// Types that a browser runs scripts of when it shows them.
fn is_active(content_type: &[u8]) -> bool {
    let essence = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let is = |kind: &&[u8]| essence.eq_ignore_ascii_case(kind);
    let starts = |kind: &[u8]| {
        essence
            .get(..kind.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    let ends = |kind: &[u8]| {
        let start = essence.len().checked_sub(kind.len());
        start.is_some_and(|start| essence[start..].eq_ignore_ascii_case(kind))
    };
    content_type.contains(&b',')
        || ends(b"+xml")
        || (starts(b"multipart/") && !is(&&b"multipart/byteranges"[..]))
        || [&b"text/html"[..], b"text/xml", b"application/xml", b"text/xsl"]
            .iter()
            .any(is)
}

/// The headers that let scripts of allowed origins read the answer, refusals included.
fn cross_origin(exchange: &Exchange, headers: &mut HeaderMap) {
    let Some(cross_origin) = exchange.cross_origin else {
        return;
    };
    let cors = exchange.route.as_ref().and_then(|route| route.cors.as_ref());
    let allowed = match (cross_origin, cors) {
        (CrossOrigin::Any, _) => Some(HeaderValue::from_static("*")),
        (CrossOrigin::Allowed(number), Some(cors)) => cors
            .origins
            .get(number)
            .and_then(|origin| HeaderValue::from_str(origin).ok()),
        _ => None,
    };
    if cross_origin != CrossOrigin::Any {
        headers.append(header::VARY, ORIGIN);
    }
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        let schemes = exchange.route.iter().flat_map(|route| route.schemes.signed());
        // A renewed token may come back in one of them.
        for name in schemes.flat_map(|scheme| scheme.headers()) {
            headers.append(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from(name.clone()),
            );
        }
        if cors.is_some_and(|cors| cors.credentials) && cross_origin != CrossOrigin::Any {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }
}

/// The answer to a true preflight (Fetch §3.2.2): without a token, without the origin.
pub fn preflight(exchange: &Exchange, route: &Route) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    cross_origin(exchange, headers);
    headers.append(
        header::VARY,
        HeaderValue::from_static("Access-Control-Request-Method"),
    );
    headers.append(
        header::VARY,
        HeaderValue::from_static("Access-Control-Request-Headers"),
    );
    headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods(route.methods));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, Range",
            ),
        );
        for name in route.schemes.signed().iter().flat_map(|scheme| scheme.headers()) {
            headers.append(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from(name.clone()),
            );
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

fn methods(methods: crate::token::Methods) -> HeaderValue {
    let names = methods.names().collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&names).unwrap_or_else(|_| HeaderValue::from_static("GET, HEAD"))
}

/// The page between a link and its only use: the button uses it. Programs that open every link of a mail do not.
pub fn interstitial(exchange: &Exchange) -> Response<Body> {
    let page: Bytes = Interstitial.render().unwrap_or_default().into();
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    keep_private(headers);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    );
    if exchange.method == Method::HEAD {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(page.len()));
    } else {
        *response.body_mut() = Body::Full(page);
    }
    response
}

#[derive(Template)]
#[template(path = "interstitial.html")]
struct Interstitial;

/// What stands on every answer that nobody keeps and whose address no link takes along.
pub(super) fn keep_private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// A request that ends without its file.
pub fn refuse(exchange: &Exchange, stop: &Stop) -> Response<Body> {
    let code = stop.code();
    let told = match exchange.door {
        Door::Gate => without_reason(code, exchange),
        Door::Landing => one_page_for_all(code),
    };
    let told = told.unwrap_or_else(|| Told {
        status: status(code, exchange.route.as_deref(), exchange.statuses),
        code: code.as_str(),
        title: code.title(),
        advice: code.advice(),
    });
    let status = told.status;
    let word = verification(code, exchange.route.as_deref());
    let (kind, body) = body(exchange.reader, &told, word);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    keep_private(headers);
    if code == Code::BadRequest {
        // Two readings of one message: nothing that follows it can be trusted to be a request (RFC 9112 §11.2).
        headers.insert(header::CONNECTION, CLOSE);
    }
    if code == Code::StoreUnavailable {
        // Another process may have the store by now: it takes the next connection, never this one.
        headers.insert(header::CONNECTION, CLOSE);
    }
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if exchange.reader == Reader::Person {
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(
                    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
                ),
            );
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        // Never Basic or Digest: a browser would put a login box over the player.
        let challenge = match code.bearer_error() {
            Some(error) => HeaderValue::from_str(&format!(
                "Bearer error=\"{error}\", error_description=\"{}\"",
                code.title()
            )),
            None => Ok(HeaderValue::from_static("Bearer")),
        };
        if let Ok(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    match stop {
        Stop::Refused(refusal) => {
            if let Some(allow) = refusal.allow {
                headers.insert(header::ALLOW, methods(allow));
            }
            if let Some(length) = refusal.length
                && let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}"))
            {
                headers.insert(header::CONTENT_RANGE, value);
            }
        }
        Stop::Failed(_) => {}
    }
    if let Some(after) = stop.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    cross_origin(exchange, headers);
    if exchange.method == Method::HEAD {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    } else if !body.is_empty() {
        *response.body_mut() = Body::Full(body);
    }
    response
}

/// What a route of a dialect that tells no reasons tells of a token, whatever is wrong with it.
fn without_reason(code: Code, exchange: &Exchange) -> Option<Told> {
    let route = exchange.route.as_deref();
    let is_silent = route.is_some_and(|route| route.dialect == DialectStatus::Sirv);
    (is_silent && code.is_no_way_in()).then(|| Told {
        status: status(code, route, exchange.statuses),
        code: "forbidden",
        title: "This link does not open this file",
        advice: "Ask for a new link where you got this one.",
    })
}

/// What a client is told of a refusal.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) advice: &'static str,
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct Page {
    title: &'static str,
    advice: &'static str,
    status: u16,
    code: &'static str,
}

fn body(reader: Reader, told: &Told, verification: Option<&str>) -> (Option<&'static str>, Bytes) {
    let Told {
        title, advice, code, ..
    } = *told;
    let status = told.status.as_u16();
    match reader {
        Reader::Media => (None, Bytes::new()),
        Reader::Person => {
            let page = Page {
                title,
                advice,
                status,
                code,
            };
            (
                Some("text/html; charset=utf-8"),
                page.render().unwrap_or_else(|_| title.to_owned()).into(),
            )
        }
        Reader::Program => {
            // RFC 9457. `type` is not a URL of ours to keep alive, so it is about:blank's sibling: the code.
            let mut problem = serde_json::json!({
                "type": "about:blank", "title": title, "status": status, "detail": advice, "code": code,
            });
            if let Some(word) = verification {
                problem["verification"] = word.into();
            }
            (Some("application/problem+json"), problem.to_string().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_can_hold_script_are_known_however_they_are_written() {
        for active in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            " text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "image/png, text/html",
            "multipart/x-mixed-replace; boundary=x",
            "multipart/related",
            "application/xml",
        ] {
            assert!(is_active(active.as_bytes()), "{active}");
        }
        for passive in [
            "image/png",
            "video/mp4",
            "application/pdf",
            "text/plain",
            "multipart/byteranges; boundary=x",
            "",
        ] {
            assert!(!is_active(passive.as_bytes()), "{passive}");
        }
    }
}
