//! The issuer's wire shapes: a closed set, one file each. A dialect parses and renders; it holds no policy.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;

use super::caller::Caller;
use super::grant::Granted;
use super::inventory::Inventory;
use super::mint::{self, IssueRequest, Issued, Offer, Resource, Rule};
use super::refusal::IssueRefusal;
use super::{
    AdobeBearer, Fynn, FynnInvoice, Native, NativeScheme, NexudusBearer, NexudusExchange, NexudusMedia,
    NexudusToken, OverLimit, Settings, Sirv, SirvBearer,
};
use crate::store::Purposes;
use crate::token::claims::Parameters;
use crate::token::json::{Json, Object};
use crate::token::scheme::jwt::Minter;
use crate::token::scheme::sirv as sirv_scheme;
use crate::token::{Parameter, Uses};

pub(super) mod adobe;
mod fynn;
mod fynn_invoice;
mod grants;
mod native;
mod nexudus;
pub(super) mod sirv;

/// A dialect's name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// `POST /v1/tokens`.
    Native,
    /// `POST /media/{id}/download-token`.
    Fynn,
    /// `PUT /invoices/{id}/download-link`.
    FynnInvoice,
    /// `GET /api/auth/media/customer`.
    NexudusMedia,
    /// `POST /api/sys/users/token/refresh`.
    NexudusToken,
    /// `POST /api/token`.
    NexudusBearer,
    /// `POST /api/sys/users/exchange`.
    NexudusExchange,
    /// `POST /v2/files/jwt`.
    Sirv,
    /// `POST /v2/token`.
    SirvBearer,
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
        Self::FynnInvoice,
        Self::NexudusMedia,
        Self::NexudusToken,
        Self::NexudusBearer,
        Self::NexudusExchange,
        Self::Sirv,
        Self::SirvBearer,
        Self::AdobeMedia,
        Self::AdobeBearer,
    ];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Fynn => "fynn",
            Self::FynnInvoice => "fynn_invoice",
            Self::NexudusMedia => "nexudus_media",
            Self::NexudusToken => "nexudus_token",
            Self::NexudusBearer => "nexudus_bearer",
            Self::NexudusExchange => "nexudus_exchange",
            Self::Sirv => "sirv",
            Self::SirvBearer => "sirv_bearer",
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
            sirv::FILES_PATH => Some(Self::Sirv),
            sirv::BEARER_PATH => Some(Self::SirvBearer),
            adobe::bearer::PATH => Some(Self::AdobeBearer),
            path if adobe::extension(path).is_some() => Some(Self::AdobeMedia),
            _ if fynn_invoice::raw_id(path).is_some() => Some(Self::FynnInvoice),
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
            Self::FynnInvoice => fynn_invoice::refuse(refusal),
            Self::NexudusMedia => nexudus::refuse_media(refusal),
            Self::NexudusToken => nexudus::refuse_token(refusal),
            Self::NexudusBearer | Self::NexudusExchange => grants::refuse(refusal),
            Self::Sirv | Self::SirvBearer => sirv::refuse(refusal, None),
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

/// A mounted endpoint of Sirv's, with what it needs.
#[derive(Clone, Copy)]
pub(super) enum SirvDoor<'i> {
    Files(&'i Sirv),
    Bearer(&'i SirvBearer),
}

/// A mounted dialect that makes tokens for callers, with what it needs.
#[derive(Clone, Copy)]
pub(super) enum Dialect<'i> {
    Native(&'i Native),
    Fynn(&'i Fynn),
    FynnInvoice(&'i FynnInvoice),
    NexudusMedia(&'i NexudusMedia),
    NexudusToken(&'i NexudusToken),
}

/// How a token is made.
pub(super) enum Maker<'i> {
    /// Signed.
    Signed(&'i Arc<Minter>),
    /// Random, and remembered for these purposes.
    Remembered(Purposes),
    /// Signed as Sirv does.
    Sirv(&'i Arc<sirv_scheme::Minter>),
    /// A short media token for a resource.
    ShortMedia(Resource),
}

impl<'i> Dialect<'i> {
    /// How what is asked for is made.
    ///
    /// # Errors
    /// `NotAllowed` where it would be good for nothing.
    pub(super) fn maker(
        self,
        rule: &Rule,
        caller: &Caller,
        wish: &IssueRequest,
    ) -> Result<Maker<'i>, IssueRefusal> {
        match self {
            Self::Native(native) => match native.scheme(wish.scheme) {
                Some(NativeScheme::Jwt { minter, .. }) => Ok(Maker::Signed(minter)),
                Some(NativeScheme::Opaque { .. }) => mint::file_purpose(rule).map(Maker::Remembered),
                Some(NativeScheme::Sirv { minter, .. }) => {
                    mint::many_uses(rule)?;
                    Ok(Maker::Sirv(minter))
                }
                Some(NativeScheme::ShortMedia) => wish
                    .resource
                    .clone()
                    .map(Maker::ShortMedia)
                    .ok_or_else(native::no_such_scheme),
                None => Err(native::no_such_scheme()),
            },
            Self::Fynn(fynn) => Ok(Maker::Signed(&fynn.minter)),
            Self::FynnInvoice(invoice) => Ok(Maker::Signed(&invoice.minter)),
            Self::NexudusMedia(media) => Ok(Maker::Signed(&media.minter)),
            Self::NexudusToken(_) => mint::one_time_purposes(rule, caller).map(Maker::Remembered),
        }
    }

    /// The methods of its path, for `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Native(_) | Self::Fynn(_) => "POST",
            Self::FynnInvoice(_) => "PUT",
            Self::NexudusMedia(_) => "GET, HEAD",
            Self::NexudusToken(token) if token.allow_get => "GET, POST",
            Self::NexudusToken(_) => "POST",
        }
    }

    /// How it answers who is over a limit.
    pub(super) fn over_limit(self) -> OverLimit {
        match self {
            Self::Native(_) | Self::Fynn(_) | Self::FynnInvoice(_) => OverLimit::TooMany,
            Self::NexudusMedia(media) => media.over_limit,
            Self::NexudusToken(token) => token.over_limit,
        }
    }

    /// The media that its ids mean.
    pub(super) fn inventory(self, settings: &'i Settings) -> Option<&'i Inventory> {
        match self {
            Self::Fynn(fynn) => Some(&fynn.media),
            Self::FynnInvoice(invoice) => Some(&invoice.media),
            Self::Native(_) => settings.fynn.as_ref().map(|fynn| &fynn.media),
            Self::NexudusMedia(_) | Self::NexudusToken(_) => None,
        }
    }

    /// Which of them it may hand out to a caller, as its interface says.
    pub(super) fn offer(self, inventory: Option<&'i Inventory>, caller: &Caller) -> Offer<'i> {
        let (folder, own_only) = match self {
            Self::FynnInvoice(invoice) => (invoice.folder.as_deref(), !caller.may(fynn_invoice::ALL)),
            Self::Native(_) | Self::Fynn(_) | Self::NexudusMedia(_) | Self::NexudusToken(_) => (None, false),
        };
        Offer {
            media: inventory.map(|inventory| &*inventory.media),
            folder,
            own_only,
        }
    }

    /// The permissions of which its interface demands one, beyond what the rules demand.
    pub(super) fn demands(self) -> &'static [&'static str] {
        match self {
            Self::Fynn(_) => &[fynn::PERMISSION],
            Self::FynnInvoice(_) => &[fynn_invoice::ALL, fynn_invoice::OWN],
            Self::Native(_) | Self::NexudusMedia(_) | Self::NexudusToken(_) => &[],
        }
    }

    /// Whether its tokens are for whoever asks, and not for others to whom a backend hands them.
    pub(super) fn is_callers_own(self) -> bool {
        matches!(self, Self::NexudusMedia(_) | Self::NexudusToken(_))
    }

    /// What a request asks for.
    pub(super) fn parse(self, request: &Request<Bytes>) -> Result<IssueRequest, IssueRefusal> {
        match self {
            Self::Native(native) => native::parse(request, native),
            Self::Fynn(fynn) => fynn::parse(request, fynn.ttl),
            Self::FynnInvoice(invoice) => fynn_invoice::parse(request, invoice.max_seconds),
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
        let base = &settings.public_base;
        match self {
            Self::Native(native) => native::render(issued, native, base),
            Self::Fynn(_) => fynn::render(issued, base, headers),
            Self::FynnInvoice(invoice) => fynn_invoice::render(issued, invoice, base),
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

/// Refuses a body that says it is not JSON.
fn is_json(headers: &HeaderMap) -> Result<(), IssueRefusal> {
    let media_type = single(headers, &header::CONTENT_TYPE);
    let media_type = media_type.map_err(|()| IssueRefusal::UnsupportedMediaType)?;
    let essence = media_type.map(|media_type| media_type.split(';').next().unwrap_or_default().trim());
    match essence.is_none_or(|essence| essence.eq_ignore_ascii_case("application/json")) {
        true => Ok(()),
        false => Err(IssueRefusal::UnsupportedMediaType),
    }
}

/// Parameters for a query from an object: at most 32 texts, numbers and truth values, with names, nowhere a control
/// character.
fn parameters(member: &Json<'_>) -> Option<Parameters> {
    const MOST: usize = 32;
    let Json::Object(members) = member else {
        return None;
    };
    if members.iter().count() > MOST {
        return None;
    }
    let parameter = |(name, value): (&str, &Json<'_>)| {
        let value = Parameter::read(value)?;
        let bad =
            name.is_empty() || name.contains(char::is_control) || value.text()?.contains(char::is_control);
        (!bad).then(|| (name.into(), value))
    };
    members.iter().map(parameter).collect()
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
