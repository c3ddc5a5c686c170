//! The Fynn dialect: `POST /media/{id}/download-token` → 201 `{"token","url"}`. The link is
//! `GET /media/{id}/download/{token}`, which the gate serves. Errors are those of the framework behind the original.

use askama::Template;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::super::caller::Caller;
use super::super::mint::{self, Rule};
use super::super::refusal::IssueRefusal;
use super::super::{Fynn, Issued, Settings};
use crate::clock::UnixTime;
use crate::media::{Known, MediaId};
use crate::target::{Target, encode_segment};
use crate::token::Claims;

/// What the bearer must carry besides what the rule demands.
const PERMISSION: &str = "media:read";

/// The raw id in `/media/{id}/download-token`.
pub(super) fn id_in(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/media/")?.strip_suffix("/download-token")?;
    (!id.contains('/')).then_some(id)
}

pub(super) fn claims(
    fynn: &Fynn,
    raw_id: &str,
    caller: &Caller,
    rule: &Rule,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<Claims, IssueRefusal> {
    if !caller.may(PERMISSION) {
        return Err(IssueRefusal::NotAllowed(
            "The bearer lacks the permission media:read.",
        ));
    }
    let id = media_id(raw_id).ok_or(IssueRefusal::BadRequest("The media identifier can't be read."))?;
    check_body(request.body())?;
    let medium = match fynn.media.find(&id) {
        Known::Medium(medium) => Some(medium),
        Known::Path(_) => None,
        Known::No => return Err(IssueRefusal::NotFound("There is no such medium.")),
    };
    mint::for_media(rule, caller, id.as_str(), medium, fynn.ttl, now)
}

fn media_id(raw: &str) -> Option<MediaId> {
    // As strict as a path of the gate: the link that is made of it has to be one.
    let target = Target::parse(&format!("/{raw}"), None).ok()?;
    MediaId::parse(target.path().strip_prefix('/')?).ok()
}

/// The body is empty or a JSON object, which says nothing.
fn check_body(body: &[u8]) -> Result<(), IssueRefusal> {
    let body = body.trim_ascii();
    if body.is_empty() || crate::token::json::Object::parse(body).is_ok() {
        return Ok(());
    }
    Err(IssueRefusal::BadRequest("The body is empty or a JSON object."))
}

#[derive(Template)]
#[template(path = "download-token.html")]
struct Page<'p> {
    url: &'p str,
    token: &'p str,
}

pub(super) fn render(
    settings: &Settings,
    asked: &HeaderMap,
    raw_id: &str,
    issued: &Issued,
) -> Response<Bytes> {
    let token = &issued.minted.text;
    let id = media_id(raw_id);
    let segment = id
        .as_ref()
        .and_then(|id| encode_segment(id.as_str()).ok())
        .unwrap_or_default();
    let url = format!("{}/media/{segment}/download/{token}", settings.public_base);
    if !wants_html(asked) {
        return super::json(
            StatusCode::CREATED,
            "application/json; charset=utf-8",
            &json!({ "token": token, "url": url }),
        );
    }
    let page = Page { url: &url, token }.render().unwrap_or_else(|_| url.clone());
    let mut response = Response::new(Bytes::from(page));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    response
}

/// HTML where it is named and JSON is not.
fn wants_html(asked: &HeaderMap) -> bool {
    let accept = asked
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    accept.contains("text/html") && !accept.contains("application/json")
}

pub(super) fn refuse(refusal: &IssueRefusal) -> Response<Bytes> {
    let message = match refusal {
        IssueRefusal::CallerMissing => "JWT Token not found",
        IssueRefusal::CallerInvalid => "Invalid JWT Token",
        IssueRefusal::CallerExpired => "Expired JWT Token",
        _ => return super::problem(refusal),
    };
    let response = super::json(
        StatusCode::UNAUTHORIZED,
        "application/json",
        &json!({ "code": 401, "message": message }),
    );
    super::with_headers(response, refusal)
}
