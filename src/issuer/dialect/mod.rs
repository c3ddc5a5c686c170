//! The issuer's wire shapes: a closed set, one file each. A dialect parses and renders; it holds no policy.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;

use super::Fynn;
use super::mint::{IssueRequest, Issued};
use super::refusal::IssueRefusal;
use crate::media::Media;
use crate::token::json::Object;
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

    /// The dialect that a path belongs to, mounted or not.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        if native::is_path(path) {
            Some(Self::Native)
        } else {
            fynn::raw_id(path).map(|_| Self::Fynn)
        }
    }

    /// A refusal in this dialect's shape.
    pub(super) fn refuse(self, refusal: &IssueRefusal) -> Response<Bytes> {
        match self {
            Self::Native => native::refuse(refusal),
            Self::Fynn => fynn::refuse(refusal),
        }
    }
}

/// A mounted dialect with what it needs.
#[derive(Clone, Copy)]
pub(super) enum Dialect<'i> {
    Native(&'i Minter),
    Fynn(&'i Fynn),
}

impl<'i> Dialect<'i> {
    /// What its tokens are made with.
    pub(super) fn minter(self) -> &'i Minter {
        match self {
            Self::Native(minter) => minter,
            Self::Fynn(fynn) => &fynn.minter,
        }
    }

    /// The media that it knows, where it has its own.
    pub(super) fn media(self) -> Option<&'i Media> {
        match self {
            Self::Native(_) => None,
            Self::Fynn(fynn) => Some(&fynn.media),
        }
    }

    /// The permission that its interface names, beyond what the rules demand.
    pub(super) fn demands(self) -> Option<&'static str> {
        match self {
            Self::Native(_) => None,
            Self::Fynn(_) => Some(fynn::PERMISSION),
        }
    }

    /// What a request asks for.
    pub(super) fn parse(self, request: &Request<Bytes>) -> Result<IssueRequest, IssueRefusal> {
        match self {
            Self::Native(_) => native::parse(request),
            Self::Fynn(fynn) => fynn::parse(request, fynn.ttl),
        }
    }

    /// The answer that carries a token.
    pub(super) fn render(self, issued: &Issued, public_base: &str, headers: &HeaderMap) -> Response<Bytes> {
        match self {
            Self::Native(_) => native::render(issued, public_base),
            Self::Fynn(_) => fynn::render(issued, public_base, headers),
        }
    }
}

/// A response of a status, a media type and a body.
fn response(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Problem details (RFC 9457) in the dialects' common members; `kind` and `title` differ.
fn problem(refusal: &IssueRefusal, kind: &str, title: &str) -> Response<Bytes> {
    let status = refusal.status();
    let mut body = json!({
        "type": kind,
        "title": title,
        "status": status.as_u16(),
        "detail": refusal.detail(),
        "code": refusal.code(),
    });
    if !refusal.violations().is_empty() {
        let violation = |violation: &super::refusal::Violation| {
            json!({
                "propertyPath": violation.property,
                "message": violation.message,
                "code": refusal.code(),
            })
        };
        body["violations"] = refusal.violations().iter().map(violation).collect();
    }
    response(
        status,
        "application/problem+json; charset=utf-8",
        body.to_string(),
    )
}

/// Reads a body that is one JSON object.
fn object(body: &[u8]) -> Result<Object<'_>, IssueRefusal> {
    Object::parse(body)
        .map_err(|_| IssueRefusal::BadRequest("The body is one JSON object, in which no name stands twice."))
}

/// A header that stands at most once, as text.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(());
    }
    value.to_str().map(Some).map_err(|_| ())
}
