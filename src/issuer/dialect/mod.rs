//! The issuer's wire shapes: a closed set, one file each. A dialect parses and renders; it holds no policy.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;

use super::grant::Granted;
use super::mint::{IssueRequest, Issued};
use super::refusal::IssueRefusal;
use super::{
    AdobeBearer, Fynn, NexudusBearer, NexudusExchange, NexudusMedia, NexudusToken, OverLimit, Settings,
};
use crate::media::Media;
use crate::token::Uses;
use crate::token::json::Object;
use crate::token::scheme::jwt::Minter;

pub(super) mod adobe;
mod fynn;
mod grants;
mod native;
mod nexudus;

/// A dialect's name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// `POST /v1/tokens`.
    Native,
    /// `POST /media/{id}/download-token`.
    Fynn,
    /// `GET /api/auth/media/customer`.
    NexudusMedia,
    /// `POST /api/sys/users/token/refresh`.
    NexudusToken,
    /// `POST /api/token`.
    NexudusBearer,
    /// `POST /api/sys/users/exchange`.
    NexudusExchange,
    /// `GET /api/v1/tokens/media`.
    AdobeMedia,
    /// `POST /o/client/token`.
    AdobeBearer,
}

impl DialectName {
    /// All names.
    pub const ALL: &[Self] = &[
        Self::Native,
        Self::Fynn,
        Self::NexudusMedia,
        Self::NexudusToken,
        Self::NexudusBearer,
        Self::NexudusExchange,
        Self::AdobeMedia,
        Self::AdobeBearer,
    ];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Fynn => "fynn",
            Self::NexudusMedia => "nexudus_media",
            Self::NexudusToken => "nexudus_token",
            Self::NexudusBearer => "nexudus_bearer",
            Self::NexudusExchange => "nexudus_exchange",
            Self::AdobeMedia => "adobe_media",
            Self::AdobeBearer => "adobe_bearer",
        }
    }

    /// The dialect that a path belongs to, mounted or not.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        if native::is_path(path) {
            return Some(Self::Native);
        }
        match path {
            nexudus::MEDIA_PATH => Some(Self::NexudusMedia),
            nexudus::TOKEN_PATH => Some(Self::NexudusToken),
            grants::BEARER_PATH => Some(Self::NexudusBearer),
            grants::EXCHANGE_PATH => Some(Self::NexudusExchange),
            adobe::bearer::PATH => Some(Self::AdobeBearer),
            path if adobe::extension(path).is_some() => Some(Self::AdobeMedia),
            _ => fynn::raw_id(path).map(|_| Self::Fynn),
        }
    }

    /// A refusal in this dialect's shape.
    pub(super) fn refuse(self, refusal: &IssueRefusal, over_limit: OverLimit) -> Response<Bytes> {
        let limited = matches!(
            refusal,
            IssueRefusal::LimitReached(_) | IssueRefusal::TooManyTries(_)
        );
        if limited && over_limit == OverLimit::Conflict {
            return nexudus::wait_a_second();
        }
        match self {
            Self::Native => native::refuse(refusal),
            Self::Fynn => fynn::refuse(refusal),
            Self::NexudusMedia => nexudus::refuse_media(refusal),
            Self::NexudusToken => nexudus::refuse_token(refusal),
            Self::NexudusBearer | Self::NexudusExchange => grants::refuse(refusal),
            Self::AdobeMedia => adobe::refuse(&refusal.clone().into(), adobe::Shape::PLAIN),
            Self::AdobeBearer => adobe::bearer::refuse(refusal),
        }
    }
}

/// A mounted dialect that makes bearers, with what it needs.
#[derive(Clone, Copy)]
pub(super) enum GrantDialect<'i> {
    NexudusBearer(&'i NexudusBearer),
    NexudusExchange(&'i NexudusExchange),
    AdobeBearer(&'i AdobeBearer),
}

impl GrantDialect<'_> {
    /// The methods of its path, for `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::NexudusExchange(exchange) if exchange.allow_get => "GET, POST",
            Self::NexudusExchange(_) | Self::NexudusBearer(_) | Self::AdobeBearer(_) => "POST",
        }
    }

    /// How it answers who is over a limit.
    pub(super) fn over_limit(self) -> OverLimit {
        match self {
            Self::NexudusBearer(bearer) => bearer.over_limit,
            Self::NexudusExchange(exchange) => exchange.over_limit,
            Self::AdobeBearer(_) => OverLimit::TooMany,
        }
    }

    /// The answer that carries a bearer.
    pub(super) fn render(self, granted: &Granted) -> Response<Bytes> {
        match self {
            Self::NexudusBearer(_) => grants::signed_in(granted),
            Self::NexudusExchange(_) => grants::exchanged(granted),
            Self::AdobeBearer(_) => adobe::bearer::signed_in(granted),
        }
    }
}

/// A mounted dialect that makes tokens for callers, with what it needs.
#[derive(Clone, Copy)]
pub(super) enum Dialect<'i> {
    Native(&'i Arc<Minter>),
    Fynn(&'i Fynn),
    NexudusMedia(&'i NexudusMedia),
    NexudusToken(&'i NexudusToken),
}

/// How tokens of a dialect are made.
pub(super) enum Maker<'i> {
    /// Signed.
    Signed(&'i Arc<Minter>),
    /// Remembered by the store.
    Remembered,
}

impl<'i> Dialect<'i> {
    /// What its tokens are made with.
    pub(super) fn maker(self) -> Maker<'i> {
        match self {
            Self::Native(minter) => Maker::Signed(minter),
            Self::Fynn(fynn) => Maker::Signed(&fynn.minter),
            Self::NexudusMedia(media) => Maker::Signed(&media.minter),
            Self::NexudusToken(_) => Maker::Remembered,
        }
    }

    /// The methods of its path, for `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Native(_) | Self::Fynn(_) => "POST",
            Self::NexudusMedia(_) => "GET, HEAD",
            Self::NexudusToken(token) if token.allow_get => "GET, POST",
            Self::NexudusToken(_) => "POST",
        }
    }

    /// How it answers who is over a limit.
    pub(super) fn over_limit(self) -> OverLimit {
        match self {
            Self::Native(_) | Self::Fynn(_) => OverLimit::TooMany,
            Self::NexudusMedia(media) => media.over_limit,
            Self::NexudusToken(token) => token.over_limit,
        }
    }

    /// The media that it knows, where it has its own.
    pub(super) fn media(self) -> Option<&'i Media> {
        match self {
            Self::Fynn(fynn) => Some(&fynn.media),
            Self::Native(_) | Self::NexudusMedia(_) | Self::NexudusToken(_) => None,
        }
    }

    /// The permission that its interface names, beyond what the rules demand.
    pub(super) fn demands(self) -> Option<&'static str> {
        match self {
            Self::Fynn(_) => Some(fynn::PERMISSION),
            Self::Native(_) | Self::NexudusMedia(_) | Self::NexudusToken(_) => None,
        }
    }

    /// Whether its tokens are for whoever asks, and not for others to whom a backend hands them.
    pub(super) fn is_callers_own(self) -> bool {
        matches!(self, Self::NexudusMedia(_) | Self::NexudusToken(_))
    }

    /// What a request asks for.
    pub(super) fn parse(self, request: &Request<Bytes>) -> Result<IssueRequest, IssueRefusal> {
        match self {
            Self::Native(_) => native::parse(request),
            Self::Fynn(fynn) => fynn::parse(request, fynn.ttl),
            Self::NexudusMedia(media) => Ok(nexudus::wish(media.ttl, Uses::UntilExpiry)),
            Self::NexudusToken(token) => Ok(nexudus::wish(token.ttl, Uses::Once)),
        }
    }

    /// What HEAD is told by the one dialect that has it: a token that nobody gets is not made.
    pub(super) fn look(self) -> Response<Bytes> {
        response(StatusCode::OK, "application/json", Bytes::new())
    }

    /// The answer that carries a token.
    pub(super) fn render(self, issued: &Issued, settings: &Settings, headers: &HeaderMap) -> Response<Bytes> {
        match self {
            Self::Native(_) => native::render(issued, settings),
            Self::Fynn(_) => fynn::render(issued, &settings.public_base, headers),
            Self::NexudusMedia(_) => nexudus::media(issued),
            Self::NexudusToken(_) => nexudus::token(issued),
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

/// How gladly a kind is accepted (RFC 9110 §12.5.1): the weight of the first of `kinds` that `Accept` names, in thousandths.
fn weight(headers: &HeaderMap, kinds: &[&str]) -> Option<u32> {
    let of = |kind: &&str| {
        let values = headers.get_all(header::ACCEPT).iter();
        let ranges = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        ranges.filter_map(|range| quality(range, kind)).next()
    };
    kinds.iter().find_map(of)
}

/// The same, and of two kinds alike the one that is named goes before the one that only a range covers.
fn explicit_weight(headers: &HeaderMap, named: &[&str], ranges: &[&str]) -> (u32, bool) {
    match weight(headers, named) {
        Some(weight) => (weight, weight > 0),
        None => (weight(headers, ranges).unwrap_or(0), false),
    }
}

/// The weight of a media range in thousandths, where it is the range `kind`.
fn quality(range: &str, kind: &str) -> Option<u32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(kind) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let weight = weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u32)
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
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(());
    }
    value.to_str().map(Some).map_err(|_| ())
}
