//! What the landing answers: the way on with a cookie, the page with the button, nothing to HEAD; and what it tells of a
//! link that does not work.

use askama::Template;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::Landing;
use crate::body::Body;
use crate::gate::refusal::Code;
use crate::gate::reply::{Told, keep_private};

/// The way on, with the cookie of a session, or the one that takes it away.
pub(super) fn onward(location: HeaderValue, cookie: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    keep_private(headers);
    headers.insert(header::LOCATION, location);
    headers.insert(header::SET_COOKIE, cookie);
    response
}

/// The answer to HEAD. Whether a link still works is not told to who does not use it.
pub(super) fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    keep_private(response.headers_mut());
    response
}

/// The page between a login link and its only use. It says whose session the button opens.
pub(super) fn ask(landing: &Landing, subject: Option<&str>) -> Response<Body> {
    let page: Bytes = Page { subject }.render().unwrap_or_default().into();
    let mut response = Response::new(Body::Full(page));
    let headers = response.headers_mut();
    keep_private(headers);
    // The origin alone, so that the button says on whose page it was pressed: with `no-referrer` it says `null`.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    // `form-action` also judges where the answer to the form leads.
    let mut policy =
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'"
            .to_owned();
    for origin in landing.site.allowed() {
        policy.push(' ');
        policy.push_str(origin);
    }
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[derive(Template)]
#[template(path = "landing.html")]
struct Page<'p> {
    subject: Option<&'p str>,
}

/// One and the same for links that were used, have expired, were withdrawn or never were: whoever tries one learns nothing.
/// The log knows which. `None` for what is not about the token, and for a link that holds none.
pub(in crate::gate) fn one_page_for_all(code: Code) -> Option<Told> {
    (code.is_about_token() && code != Code::TokenMissing).then_some(Told {
        status: StatusCode::GONE,
        code: Code::TokenSpent.as_str(),
        title: "This link no longer works",
        advice: "Links that sign you in work once, and for a short time. Ask for a new one where you got this one.",
    })
}
