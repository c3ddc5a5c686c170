//! What the issuer says of itself: its interface as an OpenAPI document, and a page for people. Both name the dialects that
//! are mounted, and no others.

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::dialect::DialectName;

/// Where the OpenAPI document is.
pub(super) const DOCUMENT_PATH: &str = "/openapi.yaml";
/// Where the page is.
pub(super) const PAGE_PATH: &str = "/";

/// The interface with all dialects.
const WHOLE: &str = include_str!("../../docs/openapi.yaml");

/// The OpenAPI document (3.1) without the paths for which `stands` is false. Made once for each configuration.
pub(super) fn document(stands: impl Fn(&str) -> bool) -> Bytes {
    let mut text = String::with_capacity(WHOLE.len());
    let (mut in_paths, mut kept) = (false, true);
    for line in WHOLE.lines() {
        let is_key = !line.starts_with(' ') && line.ends_with(':');
        if is_key {
            (in_paths, kept) = (line == "paths:", true);
        } else if in_paths && let Some(path) = path_of(line) {
            kept = stands(path);
        }
        if kept {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.into()
}

/// The path whose item starts with this line of `paths`.
fn path_of(line: &str) -> Option<&str> {
    let item = line.strip_prefix("  ").filter(|item| item.starts_with('/'))?;
    // What follows is an anchor, or an alias for another path's item.
    item.split_once(':').map(|(path, _)| path)
}

/// The document as an answer.
pub(super) fn document_answer(document: &Bytes) -> Response<Bytes> {
    answer(document.clone(), "application/yaml", "default-src 'none'")
}

/// One endpoint on the page.
struct Endpoint {
    /// `POST /v1/tokens`.
    request: &'static str,
    /// What it gives.
    gives: &'static str,
    /// Lines for a shell.
    lines: &'static str,
}

#[derive(Template)]
#[template(path = "issuer.html")]
struct Page<'p> {
    address: &'p str,
    endpoints: Vec<Endpoint>,
}

/// The page: every mounted endpoint with what to type. `address` is the issuer's own, as the configuration has it.
pub(super) fn page(address: &str, mounted: impl Iterator<Item = DialectName>) -> Bytes {
    let page = Page {
        address,
        endpoints: mounted.map(endpoint).collect(),
    };
    // Nothing but texts of ours is written, so that this never fails.
    page.render().unwrap_or_default().into()
}

/// The page as an answer.
pub(super) fn page_answer(page: &Bytes) -> Response<Bytes> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    answer(page.clone(), "text/html; charset=utf-8", policy)
}

fn answer(body: Bytes, media_type: &'static str, policy: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    // It changes with the configuration.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn endpoint(name: DialectName) -> Endpoint {
    let (request, gives, lines) = match name {
        DialectName::Native => (
            "POST /v1/tokens",
            "A token for paths, for as long, for whom and from where you say.",
            "curl -sS \"$ISSUER/v1/tokens\" -H \"Authorization: Bearer $BEARER\" \\\n  \
             -H 'Content-Type: application/json' -d '{\"paths\":[\"/clip.mp4\"],\"expires_in\":300}'",
        ),
        DialectName::Fynn => (
            "POST /media/{id}/download-token",
            "A download token for one media id, good for a minute (Fynn).",
            "curl -sS -X POST \"$ISSUER/media/1/download-token\" -H \"Authorization: Bearer $BEARER\"",
        ),
        DialectName::FynnInvoice => (
            "PUT /invoices/{id}/download-link",
            "A link to one invoice, good for a day or as long as secondsValid says (Fynn).",
            "curl -sS -X PUT \"$ISSUER/invoices/1/download-link?secondsValid=600\" \\\n  \
             -H \"Authorization: Bearer $BEARER\"",
        ),
        DialectName::NexudusMedia => (
            "GET /api/auth/media/customer",
            "A media token for ?t=, good for a minute and for the customer's own files (Nexudus).",
            "curl -sS \"$ISSUER/api/auth/media/customer\" -H \"Authorization: Bearer $BEARER\"",
        ),
        DialectName::NexudusToken => (
            "POST /api/sys/users/token/refresh",
            "A token that is good once: to sign in, or for one file (Nexudus).",
            "curl -sS -X POST \"$ISSUER/api/sys/users/token/refresh\" -H \"Authorization: Bearer $BEARER\"",
        ),
        DialectName::NexudusBearer => (
            "POST /api/token",
            "A bearer for a name and its password, or for a refresh token (Nexudus).",
            "curl -sS \"$ISSUER/api/token\" -d grant_type=password -d username=a@example.com \\\n  \
             --data-urlencode \"password=$PASSWORD\"",
        ),
        DialectName::NexudusExchange => (
            "POST /api/sys/users/exchange",
            "A bearer for a token that is good once (Nexudus).",
            "curl -sS -X POST \"$ISSUER/api/sys/users/exchange?token=$ONCE&validForInMinutes=60\"",
        ),
        DialectName::AdobeMedia => (
            "GET /api/v1/tokens/media",
            "A short media token for one resource (Adobe Pass, REST API v1).",
            "curl -sS \"$ISSUER/api/v1/tokens/media?requestor=sampleRequestorId&deviceId=tv&resource=sampleResourceId\" \\\n  \
             -H \"Authorization: Bearer $BEARER\" -H \"X-Device-Info: $(echo '{}' | base64)\"",
        ),
        DialectName::AdobeBearer => (
            "POST /o/client/token",
            "A bearer for a client and its secret (Adobe).",
            "curl -sS \"$ISSUER/o/client/token\" -d grant_type=client_credentials -d client_id=backend \\\n  \
             --data-urlencode \"client_secret=$SECRET\"",
        ),
        DialectName::Sirv => (
            "POST /v2/files/jwt",
            "A URL with a token for a file or a folder (Sirv).",
            "curl -sS \"$ISSUER/v2/files/jwt\" -H \"Authorization: Bearer $BEARER\" \\\n  \
             -H 'Content-Type: application/json' \\\n  -d '{\"filename\":\"/docs/report 1.pdf\",\"expiresIn\":300}'",
        ),
        DialectName::SirvBearer => (
            "POST /v2/token",
            "A bearer for a client and its secret (Sirv).",
            "curl -sS \"$ISSUER/v2/token\" -H 'Content-Type: application/json' \\\n  \
             -d \"{\\\"clientId\\\":\\\"backend\\\",\\\"clientSecret\\\":\\\"$SECRET\\\"}\"",
        ),
    };
    Endpoint {
        request,
        gives,
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_dialect_and_nothing_that_is_not_mounted() {
        let whole = document(|_| true);
        assert_eq!(whole, WHOLE.as_bytes());
        let some = document(|path| path != "/v1/tokens" && !path.starts_with("/media/"));
        let text = std::str::from_utf8(&some).unwrap();
        let paths: Vec<&str> = text.lines().filter_map(path_of).collect();
        let all: Vec<&str> = WHOLE.lines().filter_map(path_of).collect();
        assert!(all.contains(&"/v1/tokens") && !paths.contains(&"/v1/tokens"));
        assert!(paths.contains(&"/api/token") && text.contains("\ncomponents:\n"));
        for name in DialectName::ALL {
            let request = endpoint(*name).request;
            let (method, path) = request.split_once(' ').unwrap();
            let item = WHOLE.split_once(&format!("\n  {path}:")).unwrap().1;
            let item = item.split("\n  /").next().unwrap();
            assert!(
                item.contains(&format!("    {}:\n", method.to_lowercase())),
                "{request}"
            );
            assert_eq!(DialectName::of_path(path), Some(*name), "{request}");
        }
    }
}
