//! Download tokens as Fynn makes them: `POST /media/{id}/download-token`, `{"token","url"}` as JSON or as a page.
//! The body is optional and says nothing.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;

use super::{object, problem, response, weight};
use crate::issuer::mint::{IssueRequest, Issued, Lifetime, Paths};
use crate::issuer::refusal::IssueRefusal;
use crate::media::MediaId;
use crate::target::{Target, encode_segment};
use crate::token::{Methods, Opens};

/// What a caller's bearer must carry, as the interface says.
pub(super) const PERMISSION: &str = "media:read";

/// Where media are downloaded.
const PATH: &str = "/media/{id}/download/{token}";

/// The id in a path of this dialect, as it stands there.
pub(super) fn raw_id(path: &str) -> Option<&str> {
    path.strip_prefix("/media/")?
        .strip_suffix("/download-token")
        .filter(|id| !id.contains('/'))
}

/// Reads a request.
pub(super) fn parse(request: &Request<Bytes>, ttl: Duration) -> Result<IssueRequest, IssueRefusal> {
    let raw = raw_id(request.uri().path()).unwrap_or_default();
    wish(raw, request.body(), Lifetime::AtMost(ttl))
}

/// To read one medium. The body says nothing, but has to be one.
pub(super) fn wish(raw_id: &str, body: &[u8], lifetime: Lifetime) -> Result<IssueRequest, IssueRefusal> {
    let id = media_id(raw_id).ok_or(IssueRefusal::BadRequest("The id in the path is malformed."))?;
    if !body.is_empty() {
        object(body)?;
    }
    Ok(IssueRequest {
        media: Some(id),
        methods: Some(Methods::READ),
        ..IssueRequest::new(Paths::Asked(Vec::new()), lifetime)
    })
}

/// Decodes an id as strictly as the gate decodes a path.
fn media_id(raw: &str) -> Option<MediaId> {
    let segment = Target::parse(&format!("/{raw}"), None).ok()?;
    MediaId::parse(segment.path().strip_prefix('/')?).ok()
}

#[derive(Template)]
#[template(path = "download_token.html")]
struct Page<'p> {
    url: &'p str,
    token: &'p str,
}

/// Writes the answer.
pub(super) fn render(issued: &Issued, public_base: &str, headers: &HeaderMap) -> Response<Bytes> {
    let token = &*issued.token.text;
    let url = link(issued, public_base, PATH);
    if prefers_html(headers)
        && let Ok(page) = (Page { url: &url, token }).render()
    {
        let mut response = response(StatusCode::CREATED, "text/html; charset=utf-8", page);
        response.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
        );
        return vary_by_accept(response);
    }
    let body = json!({ "token": token, "url": url });
    vary_by_accept(response(
        StatusCode::CREATED,
        "application/json",
        body.to_string(),
    ))
}

/// The address of the one medium that a token opens; `path` holds `{id}` and `{token}`.
pub(super) fn link(issued: &Issued, public_base: &str, path: &str) -> String {
    let id = match &*issued.scope.0 {
        [Opens::MediaId(id)] => encode_segment(id).unwrap_or_default(),
        _ => "".into(),
    };
    // The token has no brace, an id may have some.
    let path = path.replace("{token}", &issued.token.text).replace("{id}", &id);
    format!("{public_base}{path}")
}

fn vary_by_accept(mut response: Response<Bytes>) -> Response<Bytes> {
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Whether HTML is accepted more gladly than JSON (RFC 9110 §12.5.1); JSON where both are alike or nothing is said.
fn prefers_html(headers: &HeaderMap) -> bool {
    let weight = |kinds: [&str; 3]| weight(headers, &kinds).unwrap_or(0);
    weight(["text/html", "text/*", "*/*"]) > weight(["application/json", "application/*", "*/*"])
}

/// Writes a refusal: 401 as the login bundle of the original does, all others as problem details.
pub(super) fn refuse(refusal: &IssueRefusal) -> Response<Bytes> {
    let message = match refusal {
        IssueRefusal::CallerMissing => "JWT Token not found",
        IssueRefusal::CallerInvalid => "Invalid JWT Token",
        IssueRefusal::CallerExpired => "Expired JWT Token",
        _ => {
            let kind = format!("/errors/{}", refusal.status().as_u16());
            return problem(refusal, &kind, "An error occurred");
        }
    };
    let body = json!({ "code": 401, "message": message });
    response(StatusCode::UNAUTHORIZED, "application/json", body.to_string())
}

#[cfg(test)]
mod tests;
