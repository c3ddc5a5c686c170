//! The bearers of `POST /o/client/token`: 201 with five members, or an error in one word.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::{response, too_many};
use crate::issuer::grant::Granted;
use crate::issuer::refusal::IssueRefusal;

/// Where clients sign in.
pub(in crate::issuer) const PATH: &str = "/o/client/token";

/// A bearer, its members in the order in which the original writes them.
#[derive(Serialize)]
struct Bearer<'a> {
    id: String,
    access_token: &'a str,
    created_at: i64,
    expires_in: u64,
    token_type: &'static str,
}

/// The answer to who signs in. Its `id` is the bearer's name in the logs.
pub(in crate::issuer) fn signed_in(granted: &Granted) -> Response<Bytes> {
    let bearer = Bearer {
        id: granted.bearer.id.to_string(),
        access_token: &granted.bearer.text,
        created_at: granted.made.millis(),
        expires_in: granted.lives.as_secs(),
        token_type: "bearer",
    };
    let body = serde_json::to_string(&bearer).unwrap_or_default();
    response(StatusCode::CREATED, "application/json", body)
}

/// A refusal. What is wrong with the client or its form is 400, whatever it is.
pub(in crate::issuer) fn refuse(refusal: &IssueRefusal) -> Response<Bytes> {
    let (status, error) = match refusal {
        IssueRefusal::LimitReached(_) | IssueRefusal::TooManyTries(_) => return too_many(),
        IssueRefusal::GrantUnsupported => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        IssueRefusal::GrantInvalid => (StatusCode::BAD_REQUEST, "invalid_client"),
        IssueRefusal::NotAllowed(_) => (StatusCode::BAD_REQUEST, "unauthorized_client"),
        IssueRefusal::OriginNotAllowed => (refusal.status(), "access_denied"),
        _ if refusal.status() == StatusCode::SERVICE_UNAVAILABLE => {
            (refusal.status(), "temporarily_unavailable")
        }
        _ if refusal.status().is_server_error() => (refusal.status(), "server_error"),
        _ => (refusal.status(), "invalid_request"),
    };
    response(status, "application/json", json!({ "error": error }).to_string())
}
