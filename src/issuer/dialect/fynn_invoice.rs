//! Links to invoices as Fynn makes them: `PUT /invoices/{id}/download-link?secondsValid=`. What the original answers was
//! never published; here it is `{"token","url","validUntil"}`. The body is optional and says nothing.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::{fynn, response};
use crate::issuer::FynnInvoice;
use crate::issuer::form::Parameters;
use crate::issuer::mint::{IssueRequest, Issued, Lifetime};
use crate::issuer::refusal::{IssueRefusal, Violation};

/// The permission for the invoices of all customers.
pub(super) const ALL: &str = "invoice:read";
/// The permission of a customer for its own.
pub(super) const OWN: &str = "customer:invoice:read";

/// The shortest life that may be asked for, in seconds.
const LEAST_SECONDS: u64 = 5;
/// The life where none is asked for, in seconds.
const USUAL_SECONDS: u64 = 86_400;

/// The one parameter.
const SECONDS: &str = "secondsValid";

/// The id in a path of this dialect, as it stands there.
pub(super) fn raw_id(path: &str) -> Option<&str> {
    path.strip_prefix("/invoices/")?
        .strip_suffix("/download-link")
        .filter(|id| !id.contains('/'))
}

/// Reads a request.
pub(super) fn parse(request: &Request<Bytes>, max_seconds: u64) -> Result<IssueRequest, IssueRefusal> {
    let raw = raw_id(request.uri().path()).unwrap_or_default();
    let lifetime = lifetime(request.uri().query().unwrap_or_default(), max_seconds)?;
    fynn::wish(raw, request.body(), lifetime)
}

/// How long a link shall live. The usual life is cut to what is allowed, one that was asked for never.
fn lifetime(query: &str, max_seconds: u64) -> Result<Lifetime, IssueRefusal> {
    let parameters = Parameters::parse(query.as_bytes()).map_err(IssueRefusal::BadRequest)?;
    if !parameters.names().all(|name| name == SECONDS) {
        return Err(IssueRefusal::BadRequest(
            "A parameter is unknown; there is secondsValid alone.",
        ));
    }
    if parameters.names().next().is_none() {
        let usual = USUAL_SECONDS.min(max_seconds);
        return Ok(Lifetime::AtMost(Duration::from_secs(usual)));
    }
    let text = parameters.get(SECONDS).unwrap_or_default();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(IssueRefusal::BadRequest("secondsValid is a whole number."));
    }
    // A number that no type holds is a number still, and too large or too small.
    let seconds = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) if text.starts_with('-') => 0,
        Err(_) => u64::MAX,
    };
    if seconds < LEAST_SECONDS {
        return Err(IssueRefusal::violation(SECONDS, "At least 5 seconds."));
    }
    if seconds > max_seconds {
        let message = format!("At most {max_seconds} seconds.");
        return Err(IssueRefusal::Unprocessable(vec![Violation {
            property: SECONDS.into(),
            message: message.into(),
        }]));
    }
    Ok(Lifetime::Asked(Duration::from_secs(seconds)))
}

/// Writes the answer.
pub(super) fn render(issued: &Issued, invoice: &FynnInvoice, public_base: &str) -> Response<Bytes> {
    let body = json!({
        "token": issued.token.text,
        "url": fynn::link(issued, public_base, &invoice.path),
        "validUntil": issued.expires.rfc3339().to_string(),
    });
    response(StatusCode::OK, "application/json", body.to_string())
}

/// Writes a refusal as the other dialect of the service does, faults by the names that they have here.
pub(super) fn refuse(refusal: &IssueRefusal) -> Response<Bytes> {
    let IssueRefusal::Unprocessable(violations) = refusal else {
        return fynn::refuse(refusal);
    };
    let renamed = violations.iter().cloned().map(|violation| Violation {
        property: match &*violation.property {
            "expires_in" => SECONDS.into(),
            "media" => "id".into(),
            _ => violation.property,
        },
        ..violation
    });
    fynn::refuse(&IssueRefusal::Unprocessable(renamed.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_whole_number_from_five_on() {
        let read = |query| lifetime(query, 604_800).map_err(|refusal| refusal.status().as_u16());
        let asked = |seconds| Ok(Lifetime::Asked(Duration::from_secs(seconds)));
        let usual = Ok(Lifetime::AtMost(Duration::from_secs(86_400)));
        for (query, expected) in [
            ("", usual),
            ("secondsValid=5", asked(5)),
            ("secondsValid=%35", asked(5)),
            ("secondsValid=0007", asked(7)),
            ("secondsValid=604800", asked(604_800)),
            ("secondsValid=604801", Err(422)),
            ("secondsValid=4", Err(422)),
            ("secondsValid=0", Err(422)),
            ("secondsValid=-5", Err(422)),
            ("secondsValid=-0", Err(422)),
            ("secondsValid=18446744073709551615", Err(422)),
            ("secondsValid=99999999999999999999999999", Err(422)),
            ("secondsValid=-99999999999999999999999999", Err(422)),
            ("secondsValid=", Err(400)),
            ("secondsValid", Err(400)),
            ("secondsValid=-", Err(400)),
            ("secondsValid=--5", Err(400)),
            ("secondsValid=+5", Err(400)),
            ("secondsValid=5.0", Err(400)),
            ("secondsValid=1e308", Err(400)),
            ("secondsValid=0x10", Err(400)),
            ("secondsValid=%D9%A5", Err(400)),
            ("secondsValid=5&secondsValid=5", Err(400)),
            ("secondsValid=5&%73econdsValid=6", Err(400)),
            ("secondsvalid=5", Err(400)),
            ("secondsValid=5&x=1", Err(400)),
            ("x", Err(400)),
            ("secondsValid=%", Err(400)),
            ("secondsValid=%ff", Err(400)),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
        let cut = lifetime("", 60);
        assert_eq!(cut, Ok(Lifetime::AtMost(Duration::from_secs(60))));
    }

    #[test]
    fn paths_of_the_dialect_have_exactly_one_segment_for_the_id() {
        assert_eq!(raw_id("/invoices/1/download-link"), Some("1"));
        assert_eq!(raw_id("/invoices//download-link"), Some(""));
        for path in [
            "/invoices/download-link",
            "/invoices/a/b/download-link",
            "/invoices/1/download-link/",
            "/invoices/1/download-token",
            "/media/1/download-link",
        ] {
            assert_eq!(raw_id(path), None, "{path}");
        }
    }
}
