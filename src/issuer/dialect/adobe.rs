//! Adobe's short media tokens, REST API v1: `GET /api/v1/tokens/media` and `/api/v1/mediatoken`, whose answers and errors
//! are XML or JSON; and the bearers of `POST /o/client/token`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::{explicit_weight, response, single};
use crate::issuer::form::Parameters;
use crate::issuer::settings::{AdobeMedia, Mrss};
use crate::token::scheme::short_media::xml::{escape, is_sayable};

pub(super) mod bearer;
mod denied;
mod mrss;

pub(in crate::issuer) use denied::Denied;
use denied::Parameter;

const DEVICE_INFO: HeaderName = HeaderName::from_static("x-device-info");

/// The longest requestor, in bytes.
const MAX_REQUESTOR_BYTES: usize = 128;
/// The longest device id, in bytes.
const MAX_DEVICE_BYTES: usize = 512;
/// The longest id of a resource, in bytes: with the rest of a token, escaped and signed, it fits into a URL.
const MAX_RESOURCE_BYTES: usize = 512;
/// The longest description of a resource or a device, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 8 * 1024;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// In which language an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// XML.
    Xml,
    /// JSON.
    Json,
}

/// How an answer is written.
#[derive(Clone, Copy)]
pub(in crate::issuer) struct Shape<'i> {
    format: Format,
    /// Whether errors say more, and where help is.
    enhanced: Option<Option<&'i str>>,
}

impl Shape<'_> {
    /// Of an answer to nobody who was understood.
    pub(in crate::issuer) const PLAIN: Self = Self {
        format: Format::Xml,
        enhanced: None,
    };
}

/// Whether a path is this dialect's, and the format that it names.
pub(super) fn extension(path: &str) -> Option<Option<Format>> {
    let rest = ["/api/v1/tokens/media", "/api/v1/mediatoken"]
        .into_iter()
        .find_map(|place| path.strip_prefix(place))?;
    match rest {
        "" => Some(None),
        ".xml" => Some(Some(Format::Xml)),
        ".json" => Some(Some(Format::Json)),
        _ => None,
    }
}

/// How the answer to a request is written: as its path says, else its parameter `format`, else `Accept`.
pub(in crate::issuer) fn shape<'i>(media: &'i AdobeMedia, uri: &Uri, headers: &HeaderMap) -> Shape<'i> {
    let by_path = extension(uri.path()).flatten();
    let by_query = || {
        let query = uri.query().unwrap_or_default();
        Parameters::parse(query.as_bytes())
            .ok()
            .and_then(|all| named(all.get("format")?))
    };
    Shape {
        format: by_path
            .or_else(by_query)
            .or_else(|| accepted(headers))
            .unwrap_or(media.default_format),
        enhanced: media.enhanced_errors.then_some(media.help_url.as_deref()),
    }
}

fn named(format: &str) -> Option<Format> {
    match format {
        "xml" => Some(Format::Xml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// The format that `Accept` prefers; of two alike the one that it names. `None` where it leaves the choice.
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let json = explicit_weight(headers, &["application/json"], &["application/*", "*/*"]);
    let xml = explicit_weight(
        headers,
        &["application/xml", "text/xml"],
        &["application/*", "text/*", "*/*"],
    );
    match json.cmp(&xml) {
        std::cmp::Ordering::Greater => Some(Format::Json),
        std::cmp::Ordering::Less => Some(Format::Xml),
        std::cmp::Ordering::Equal => None,
    }
}

/// What is asked for.
pub(in crate::issuer) struct Asked {
    /// The programmer's application.
    pub(in crate::issuer) requestor: String,
    /// Whose device it is. What devices that are listed prove themselves by.
    pub(in crate::issuer) device: String,
    /// What for: an id.
    pub(in crate::issuer) resource: String,
}

/// Reads a request. `deviceType`, `deviceUser`, `appId` and all others are taken and not looked at.
pub(in crate::issuer) fn parse(media: &AdobeMedia, request: &Request<Bytes>) -> Result<Asked, Denied> {
    let query = request.uri().query().unwrap_or_default();
    let all = Parameters::parse(query.as_bytes()).map_err(Denied::Malformed)?;
    let needed = |parameter: Parameter, longest: usize| {
        let text = all.get(parameter.name()).ok_or(Denied::Missing(parameter))?;
        match text.len() <= longest {
            true => Ok(text),
            false => Err(Denied::Malformed("A parameter is too long.")),
        }
    };
    let requestor = needed(Parameter::Requestor, MAX_REQUESTOR_BYTES)?;
    let device = needed(Parameter::Device, MAX_DEVICE_BYTES)?;
    let resource = needed(Parameter::Resource, MAX_DESCRIPTION_BYTES)?;
    if all.get("format").is_some_and(|format| named(format).is_none()) {
        return Err(Denied::Malformed("The parameter format is xml or json."));
    }
    device_info(media, request.headers(), &all)?;
    let resource = match media.mrss {
        Mrss::ChannelTitle if resource.trim_start().starts_with('<') => {
            mrss::channel_title(resource).map_err(Denied::Malformed)?
        }
        Mrss::ChannelTitle | Mrss::Off => resource.to_owned(),
    };
    if resource.len() > MAX_RESOURCE_BYTES
        || [requestor, device, &resource]
            .iter()
            .any(|text| !is_sayable(text))
    {
        return Err(Denied::Malformed(
            "A parameter is too long, or has a control character.",
        ));
    }
    Ok(Asked {
        requestor: requestor.to_owned(),
        device: device.to_owned(),
        resource,
    })
}

/// The device's description: Base64 that may be percent-encoded. What is in it is not looked at; the sample in the documents
/// of the original is not even JSON.
fn device_info(media: &AdobeMedia, headers: &HeaderMap, all: &Parameters) -> Result<(), Denied> {
    let in_header = single(headers, &DEVICE_INFO).map_err(|()| Denied::DeviceInfo)?;
    let in_header = in_header.filter(|text| !text.is_empty()).map(str::to_owned);
    // Whoever read the query has made a space of each `+`.
    let info = in_header.or_else(|| all.get("device_info").map(|text| text.replace(' ', "+")));
    let Some(info) = info else {
        return match media.require_device_info {
            true => Err(Denied::Missing(Parameter::DeviceInfo)),
            false => Ok(()),
        };
    };
    let decoded = percent_decode_str(&info)
        .decode_utf8()
        .map_err(|_| Denied::DeviceInfo)?;
    let good = info.len() <= MAX_DESCRIPTION_BYTES
        && BASE64.decode(decoded.trim()).is_ok_and(|bytes| !bytes.is_empty());
    good.then_some(()).ok_or(Denied::DeviceInfo)
}

/// A token, its members in the order in which the original writes its JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::issuer) struct Play<'p> {
    /// What for.
    pub(in crate::issuer) resource: &'p str,
    /// The programmer's application.
    pub(in crate::issuer) requestor: &'p str,
    /// The end, in milliseconds since 1970, as text.
    pub(in crate::issuer) expires: String,
    /// The token.
    pub(in crate::issuer) serialized_token: &'p str,
    /// Whose it is, as a hash.
    pub(in crate::issuer) user_id: &'p str,
    /// The provider that vouches for the viewer.
    pub(in crate::issuer) mvpd_id: &'p str,
}

/// The answer that carries a token.
pub(in crate::issuer) fn render(play: &Play<'_>, shape: Shape<'_>) -> Response<Bytes> {
    let body = match shape.format {
        Format::Json => serde_json::to_string(play).unwrap_or_default(),
        Format::Xml => document(
            "play",
            [
                ("expires", &*play.expires),
                ("mvpdId", play.mvpd_id),
                ("requestor", play.requestor),
                ("resource", play.resource),
                ("serializedToken", play.serialized_token),
                ("userId", play.user_id),
            ],
        ),
    };
    written(StatusCode::OK, shape.format, body)
}

/// What HEAD is told: the headers of a token that is not made.
pub(in crate::issuer) fn look(shape: Shape<'_>) -> Response<Bytes> {
    written(StatusCode::OK, shape.format, String::new())
}

/// A refusal.
pub(in crate::issuer) fn refuse(denied: &Denied, shape: Shape<'_>) -> Response<Bytes> {
    let words = denied.words();
    if words.status == StatusCode::TOO_MANY_REQUESTS {
        return too_many();
    }
    let trace = shape.enhanced.map(|_| denied::trace());
    let error = words.error(shape.enhanced, trace.as_deref());
    let body = match shape.format {
        Format::Json => serde_json::to_string(&error).unwrap_or_default(),
        Format::Xml => document(
            "error",
            error.members().iter().map(|(name, text)| (*name, &**text)),
        ),
    };
    written(words.status, shape.format, body)
}

/// The page for who asks too often, as the original's proxy has it.
pub(super) fn too_many() -> Response<Bytes> {
    const PAGE: &str = "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n<body>\r\n\
        <center><h1>429 Too Many Requests</h1></center>\r\n</body>\r\n</html>\r\n";
    let mut page = response(StatusCode::TOO_MANY_REQUESTS, "text/html", PAGE);
    page.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    page
}

fn document<'t>(root: &str, members: impl IntoIterator<Item = (&'static str, &'t str)>) -> String {
    let members: String = members
        .into_iter()
        .map(|(name, text)| format!("<{name}>{}</{name}>", escape(text)))
        .collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><{root}>{members}</{root}>")
}

fn written(status: StatusCode, format: Format, body: String) -> Response<Bytes> {
    let media_type = match format {
        Format::Xml => "application/xml; charset=utf-8",
        Format::Json => "application/json; charset=utf-8",
    };
    let mut response = response(status, media_type, body);
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

#[cfg(test)]
mod tests;
