//! Media tokens and one-time tokens as Nexudus makes them: `GET /api/auth/media/customer`, which answers `{"jwt"}`, and
//! `POST /api/sys/users/token/refresh`, which answers an action confirmation. Nothing is read from either request.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::response;
use crate::issuer::mint::{IssueRequest, Issued, Lifetime, Paths, SchemeName};
use crate::issuer::refusal::IssueRefusal;
use crate::token::Uses;

/// Where media tokens are.
pub(super) const MEDIA_PATH: &str = "/api/auth/media/customer";
/// Where one-time tokens are.
pub(super) const TOKEN_PATH: &str = "/api/sys/users/token/refresh";

/// What a request for either token asks for: all that the rule allows, for the dialect's own time.
pub(super) fn wish(ttl: Duration, uses: Uses) -> IssueRequest {
    let scheme = match uses {
        Uses::UntilExpiry => SchemeName::Jwt,
        Uses::Once | Uses::Strict => SchemeName::Opaque,
    };
    IssueRequest {
        scheme,
        uses,
        ..IssueRequest::new(Paths::OfRule, Lifetime::AtMost(ttl))
    }
}

/// A media token.
pub(super) fn media(issued: &Issued) -> Response<Bytes> {
    let body = serde_json::json!({ "jwt": issued.token.text });
    response(StatusCode::OK, "application/json", body.to_string())
}

/// A refused media token: a sentence, and with 401 not even that.
pub(super) fn refuse_media(refusal: &IssueRefusal) -> Response<Bytes> {
    if refusal.status() == StatusCode::UNAUTHORIZED {
        return empty(StatusCode::UNAUTHORIZED);
    }
    response(
        refusal.status(),
        "text/plain; charset=utf-8",
        refusal.detail().to_owned(),
    )
}

/// Nexudus' ActionConfirmation, its members in the order in which the original writes them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Confirmation<'a> {
    was_successful: bool,
    value: Option<&'a str>,
    status: u16,
    message: Option<&'a str>,
    errors: Option<&'a str>,
}

impl Confirmation<'_> {
    fn write(&self, status: StatusCode) -> Response<Bytes> {
        let body = serde_json::to_string(self).unwrap_or_default();
        response(status, "application/json; charset=utf-8", body)
    }
}

/// A one-time token.
pub(super) fn token(issued: &Issued) -> Response<Bytes> {
    let confirmation = Confirmation {
        was_successful: true,
        value: Some(&issued.token.text),
        status: StatusCode::OK.as_u16(),
        message: None,
        errors: None,
    };
    confirmation.write(StatusCode::OK)
}

/// A refused one-time token: the confirmation of a failure, whose status mirrors the answer's. 401 stands for itself.
pub(super) fn refuse_token(refusal: &IssueRefusal) -> Response<Bytes> {
    let status = match refusal {
        IssueRefusal::StoreUnavailable => StatusCode::INTERNAL_SERVER_ERROR,
        _ => refusal.status(),
    };
    if status == StatusCode::UNAUTHORIZED {
        return empty(status);
    }
    let confirmation = Confirmation {
        was_successful: false,
        value: None,
        status: status.as_u16(),
        message: Some(refusal.detail()),
        errors: None,
    };
    confirmation.write(status)
}

/// Too much of anything, as the service says it: a conflict, to be tried again in a second.
pub(super) fn wait_a_second() -> Response<Bytes> {
    let mut response = empty(StatusCode::CONFLICT);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
