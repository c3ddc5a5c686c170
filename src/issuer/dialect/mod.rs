//! The issuer's wire shapes: a closed set, one file each. A dialect parses and renders; it holds no policy.
//! A new one is a file here and an arm in the matches below.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::caller::Caller;
use super::mint::Rule;
use super::refusal::IssueRefusal;
use super::{Fynn, Issued, Settings};
use crate::clock::UnixTime;
use crate::token::Claims;
use crate::token::scheme::jwt::Minter;

mod fynn;
mod native;

/// A dialect's name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// `POST /v1/tokens`.
    Native,
    /// `POST /media/{id}/download-token`.
    Fynn,
}

impl DialectName {
    /// All names.
    pub const ALL: &[Self] = &[Self::Native, Self::Fynn];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Fynn => "fynn",
        }
    }
}

/// The dialect that a request speaks, with what its path says.
pub(super) enum Dialect<'s> {
    Native(&'s Minter),
    /// With the media id as it stands in the path, raw.
    Fynn(&'s Fynn, &'s str),
}

impl<'s> Dialect<'s> {
    /// By the path alone.
    pub(super) fn of(settings: &'s Settings, path: &'s str) -> Option<Self> {
        if let Some(native) = settings.native.as_ref().filter(|_| path == native::PATH) {
            return Some(Self::Native(native));
        }
        let id = fynn::id_in(path)?;
        settings.fynn.as_ref().map(|fynn| Self::Fynn(fynn, id))
    }

    pub(super) fn name(&self) -> DialectName {
        match self {
            Self::Native(_) => DialectName::Native,
            Self::Fynn(..) => DialectName::Fynn,
        }
    }

    pub(super) fn minter(&self) -> &'s Minter {
        match self {
            Self::Native(minter) => minter,
            Self::Fynn(fynn, _) => &fynn.minter,
        }
    }

    /// What the caller asks for, as far as the rule allows it.
    pub(super) fn claims(
        &self,
        caller: &Caller,
        rule: &Rule,
        request: &Request<Bytes>,
        now: UnixTime,
    ) -> Result<Claims, IssueRefusal> {
        match self {
            Self::Native(_) => super::mint::for_paths(rule, caller, &native::parse(request)?, now),
            Self::Fynn(fynn, id) => fynn::claims(fynn, id, caller, rule, request, now),
        }
    }

    pub(super) fn render(&self, settings: &Settings, asked: &HeaderMap, issued: &Issued) -> Response<Bytes> {
        match self {
            Self::Native(_) => native::render(settings, issued),
            Self::Fynn(_, id) => fynn::render(settings, asked, id, issued),
        }
    }

    pub(super) fn refuse(&self, refusal: &IssueRefusal) -> Response<Bytes> {
        match self {
            Self::Native(_) => problem(refusal),
            Self::Fynn(..) => fynn::refuse(refusal),
        }
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, kind: &'static str, value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A refusal as `application/problem+json` (RFC 9457), with `code` and, for a 422, `violations`.
pub(super) fn problem(refusal: &IssueRefusal) -> Response<Bytes> {
    let status = refusal.status();
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Refused"),
        "status": status.as_u16(),
        "detail": refusal.detail(),
        "code": refusal.code(),
    });
    let violations: Vec<Value> = refusal
        .violations()
        .iter()
        .map(|violation| json!({ "propertyPath": violation.property, "message": violation.message, "code": refusal.code() }))
        .collect();
    if !violations.is_empty() {
        body["violations"] = violations.into();
    }
    with_headers(
        json(status, "application/problem+json; charset=utf-8", &body),
        refusal,
    )
}

/// `Allow`, `Retry-After` and the challenge that go with a refusal.
fn with_headers(mut response: Response<Bytes>, refusal: &IssueRefusal) -> Response<Bytes> {
    let headers = response.headers_mut();
    if let IssueRefusal::MethodNotAllowed(allow) = refusal {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(seconds) = refusal.retry_after_secs() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    let challenge = match refusal {
        IssueRefusal::CallerMissing => Some("Bearer"),
        IssueRefusal::CallerInvalid | IssueRefusal::CallerExpired => Some("Bearer error=\"invalid_token\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
