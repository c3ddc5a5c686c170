//! Grants as Nexudus answers them: `POST /api/token` (RFC 6749 §4.3, §6) and `POST /api/sys/users/exchange`. The one calls
//! its bearer `access_token`, the other `token`.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::response;
use crate::issuer::grant::Granted;
use crate::issuer::refusal::IssueRefusal;

/// Where users and clients sign in.
pub(super) const BEARER_PATH: &str = "/api/token";
/// Where a one-time token is exchanged.
pub(super) const EXCHANGE_PATH: &str = "/api/sys/users/exchange";

/// A bearer, its members in the order in which the original writes them.
#[derive(Serialize)]
struct Bearer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

impl<'a> Bearer<'a> {
    fn of(granted: &'a Granted) -> Self {
        Self {
            access_token: None,
            token: None,
            token_type: "bearer",
            expires_in: granted.lives.as_secs(),
            refresh_token: granted.refresh.as_ref().map(|handle| handle.reveal()),
        }
    }

    fn write(&self) -> Response<Bytes> {
        let body = serde_json::to_string(self).unwrap_or_default();
        response(StatusCode::OK, "application/json", body)
    }
}

/// The answer to who signs in.
pub(super) fn signed_in(granted: &Granted) -> Response<Bytes> {
    let bearer = Bearer {
        access_token: Some(&granted.bearer.text),
        ..Bearer::of(granted)
    };
    bearer.write()
}

/// The answer to who exchanges.
pub(super) fn exchanged(granted: &Granted) -> Response<Bytes> {
    let bearer = Bearer {
        token: Some(&granted.bearer.text),
        ..Bearer::of(granted)
    };
    bearer.write()
}

/// A refusal (RFC 6749 §5.2).
pub(super) fn refuse(refusal: &IssueRefusal) -> Response<Bytes> {
    let error = match refusal {
        IssueRefusal::GrantUnsupported => "unsupported_grant_type",
        IssueRefusal::GrantInvalid | IssueRefusal::TokenGone => "invalid_grant",
        IssueRefusal::NotAllowed(_) | IssueRefusal::OriginNotAllowed => "access_denied",
        _ if refusal.status() == StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
        _ if refusal.status().is_server_error() => "server_error",
        _ if refusal.status() == StatusCode::TOO_MANY_REQUESTS => "slow_down",
        _ => "invalid_request",
    };
    let body = json!({ "error": error, "error_description": refusal.detail() });
    response(refusal.status(), "application/json", body.to_string())
}
