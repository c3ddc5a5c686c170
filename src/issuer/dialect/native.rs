//! The native dialect: `POST /v1/tokens` with a JSON object, 201 with token, name, end and, for one file, the link.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};

use super::super::mint::Wanted;
use super::super::refusal::{IssueRefusal, Violation};
use super::super::{Issued, Settings};
use crate::clock::UnixTime;
use crate::target::Target;
use crate::token::Opens;
use crate::token::json::{Json, Object};

/// Where it is asked.
pub(super) const PATH: &str = "/v1/tokens";

/// Reads what is wanted, strictly: unknown and duplicate members are refused, since a typing error could drop a restriction.
pub(super) fn parse(request: &Request<Bytes>) -> Result<Wanted, IssueRefusal> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.as_bytes());
    let is_json = |kind: &[u8]| {
        kind.split(|byte| *byte == b';')
            .next()
            .is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
    };
    if kind.is_some_and(|kind| !is_json(kind)) {
        return Err(IssueRefusal::UnsupportedMediaType);
    }
    let object = Object::parse(request.body())
        .map_err(|_| IssueRefusal::BadRequest("The body is one JSON object without duplicate members."))?;
    let mut wanted = Wanted::default();
    for (name, value) in object.iter() {
        read(name, value, &mut wanted)?;
    }
    Ok(wanted)
}

fn read(name: &str, value: &Json<'_>, wanted: &mut Wanted) -> Result<(), IssueRefusal> {
    let wrong = |message: &'static str| {
        let violation = Violation {
            property: name.chars().take(64).collect::<String>().into(),
            message: message.into(),
        };
        Err(IssueRefusal::Unprocessable(vec![violation]))
    };
    let text = || value.text().map(str::to_owned);
    let texts = || {
        value
            .texts()
            .map(|texts| texts.into_iter().map(str::to_owned).collect())
    };
    let seconds = || match value {
        Json::Number(number) => number.as_i64(),
        _ => None,
    };
    match name {
        "paths" => match texts() {
            Some(paths) => wanted.paths = paths,
            None => return wrong("A list of texts."),
        },
        "expires_in" => match seconds().and_then(|seconds| u64::try_from(seconds).ok()) {
            Some(seconds @ 1..) => wanted.ttl = Some(Duration::from_secs(seconds)),
            _ => return wrong("A whole number of seconds, at least 1."),
        },
        "not_before" => match seconds() {
            Some(seconds) => wanted.not_before = Some(UnixTime::from_secs(seconds)),
            None => return wrong("A whole number of seconds since 1970."),
        },
        "sub" => match text() {
            Some(subject) => wanted.subject = Some(subject),
            None => return wrong("A text."),
        },
        "methods" => match texts() {
            Some(methods) => wanted.methods = Some(methods),
            None => return wrong("A list of texts."),
        },
        "ips" => match texts() {
            Some(addresses) => wanted.addresses = addresses,
            None => return wrong("A list of texts."),
        },
        "filename" => match text() {
            Some(name) => wanted.filename = Some(name),
            None => return wrong("A text."),
        },
        "args" => match parameters(value) {
            Some(parameters) => wanted.parameters = parameters,
            None => return wrong("An object whose values are texts, numbers or booleans."),
        },
        "uses" | "rate" | "streams" => return wrong("This can't be enforced yet, so no such token is made."),
        _ => return wrong("There is no such member."),
    }
    Ok(())
}

fn parameters(value: &Json<'_>) -> Option<Vec<(String, String)>> {
    let Json::Object(members) = value else { return None };
    members
        .iter()
        .map(|(name, value)| {
            let text = match value {
                Json::Text(text) => text.to_string(),
                Json::Number(number) => number.to_string(),
                Json::Bool(flag) => flag.to_string(),
                _ => return None,
            };
            Some((name.to_owned(), text))
        })
        .collect()
}

/// 201, and the link where exactly one file is opened.
pub(super) fn render(settings: &Settings, issued: &Issued) -> Response<Bytes> {
    let mut body = json!({
        "token": issued.minted.text,
        "token_id": issued.minted.id.to_string(),
        "expires_at": issued.claims.expires.map(|expires| expires.rfc3339().to_string()),
    });
    if let Some(url) = url(settings, issued) {
        body["url"] = Value::String(url);
    }
    super::json(StatusCode::CREATED, "application/json; charset=utf-8", &body)
}

fn url(settings: &Settings, issued: &Issued) -> Option<String> {
    let [Opens::Exact(path)] = &*issued.claims.scope.as_ref()?.0 else {
        return None;
    };
    let target = Target::from_decoded(path).ok()?;
    Some(format!(
        "{}{}?t={}",
        settings.public_base,
        target.encoded_path(),
        issued.minted.text
    ))
}
