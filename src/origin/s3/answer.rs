//! What an answer of S3 means. In: its status, and the code in the XML of an error. Out: a verdict. Never: hands on what
//! S3 says of an error, which names the bucket, the key and the credentials.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;

use super::Forbidden;
use crate::origin::OriginBody;

/// As much of an error is read; S3's are below 1 KiB.
const MAX_ERROR_BYTES: usize = 8 * 1024;

/// An error is waited for no longer; without its code it is judged by its status.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The longest code that is read.
const MAX_CODE_BYTES: usize = 64;

/// What comes of an answer that is none to the client's request.
pub(super) enum Verdict {
    /// There is no such object, or it is none of the client's business.
    Absent,
    /// S3 has no time just now.
    Busy,
    /// The credentials are no longer good.
    Stale(&'static str),
    /// The configuration is wrong, or S3.
    Failed(&'static str),
}

/// Judges an answer; `chose` says whether the client chose a parameter, say a version.
///
/// # Errors
/// `Verdict`, where it is not for the client.
pub(super) async fn judge(
    answer: Response<OriginBody>,
    forbidden: Forbidden,
    chose: bool,
) -> Result<Response<OriginBody>, Verdict> {
    let status = answer.status();
    if status.is_success()
        || matches!(
            status,
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE
        )
    {
        return Ok(answer);
    }
    let code = timeout(PATIENCE, error_code(answer.into_body()))
        .await
        .ok()
        .flatten();
    Err(verdict(
        status,
        code.as_deref().unwrap_or_default(),
        forbidden,
        chose,
    ))
}

/// Source: AWS, "Error responses" of the S3 API reference.
fn verdict(status: StatusCode, code: &str, forbidden: Forbidden, chose: bool) -> Verdict {
    match (status.as_u16(), code) {
        (301 | 302 | 307 | 308, _) => Verdict::Failed(
            "the origin says that the bucket is at another place: `region` or `endpoint` is wrong",
        ),
        (_, "AuthorizationHeaderMalformed") => {
            Verdict::Failed("the origin does not take the signature: `region` is wrong")
        }
        (_, "RequestTimeTooSkewed") => {
            Verdict::Failed("the origin says that our clock is wrong, or its own is")
        }
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            Verdict::Stale("the origin says that the credentials have expired")
        }
        (_, "InvalidAccessKeyId" | "NotSignedUp") => {
            Verdict::Stale("the origin does not know the access key")
        }
        (_, "SignatureDoesNotMatch") => {
            Verdict::Failed("the origin does not take the signature: the secret key is wrong")
        }
        (_, "NoSuchBucket") => Verdict::Failed("the origin has no such bucket"),
        (_, "InvalidObjectState") => Verdict::Failed("the object is archived and has to be restored first"),
        // A version that is a deletion answers 405, one that is no version 400.
        (404 | 405, _) => Verdict::Absent,
        (400, "InvalidArgument" | "NoSuchVersion") if chose => Verdict::Absent,
        (403, _) => match forbidden {
            Forbidden::Absent => Verdict::Absent,
            Forbidden::Failure => Verdict::Failed("the origin forbids the object"),
        },
        (429 | 500 | 502 | 503 | 504, _) | (_, "SlowDown" | "InternalError") => Verdict::Busy,
        _ => Verdict::Failed("the origin answered with an error"),
    }
}

/// What stands in the first `<Code>` of an error. Read to its end where it is short, so that the connection can be used
/// again.
async fn error_code(mut body: OriginBody) -> Option<String> {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.into_data().unwrap_or_default();
        let room = MAX_ERROR_BYTES - text.len();
        text.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    code_in(&text).map(str::to_owned)
}

fn code_in(text: &[u8]) -> Option<&str> {
    const BEGIN: &[u8] = b"<Code>";
    let start = memchr::memmem::find(text, BEGIN)? + BEGIN.len();
    let length = memchr::memchr(b'<', &text[start..])?;
    let code = &text[start..start + length];
    let is_code =
        !code.is_empty() && code.len() <= MAX_CODE_BYTES && code.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(code).ok().filter(|_| is_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_error_is_found_and_nothing_else_is_taken_for_one() {
        let error = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>m</Message></Error>";
        assert_eq!(code_in(error.as_bytes()), Some("NoSuchKey"));
        for text in [
            "",
            "<Code>",
            "<Code></Code>",
            "<Code>a b</Code>",
            "<Code>A",
            "NoSuchKey",
        ] {
            assert_eq!(code_in(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            code_in(format!("<Code>{}</Code>", "A".repeat(65)).as_bytes()),
            None
        );
    }

    #[test]
    fn each_error_has_its_meaning() {
        let say = |status, code, chose| match verdict(
            StatusCode::from_u16(status).unwrap(),
            code,
            Forbidden::Absent,
            chose,
        ) {
            Verdict::Absent => "absent",
            Verdict::Busy => "busy",
            Verdict::Stale(_) => "stale",
            Verdict::Failed(_) => "failed",
        };
        for (status, code, chose, meaning) in [
            (404, "NoSuchKey", false, "absent"),
            (404, "", false, "absent"),
            (404, "NoSuchBucket", false, "failed"),
            (405, "MethodNotAllowed", true, "absent"),
            (400, "InvalidArgument", true, "absent"),
            (400, "InvalidArgument", false, "failed"),
            (400, "ExpiredToken", false, "stale"),
            (400, "AuthorizationHeaderMalformed", false, "failed"),
            (403, "AccessDenied", false, "absent"),
            (403, "", false, "absent"),
            (403, "SignatureDoesNotMatch", false, "failed"),
            (403, "InvalidAccessKeyId", false, "stale"),
            (403, "NotSignedUp", false, "stale"),
            (403, "RequestTimeTooSkewed", false, "failed"),
            (403, "InvalidObjectState", false, "failed"),
            (301, "PermanentRedirect", false, "failed"),
            (307, "TemporaryRedirect", false, "failed"),
            (500, "InternalError", false, "busy"),
            (503, "SlowDown", false, "busy"),
            (503, "", false, "busy"),
            (429, "", false, "busy"),
            (401, "", false, "failed"),
            (501, "NotImplemented", false, "failed"),
        ] {
            assert_eq!(say(status, code, chose), meaning, "{status} {code}");
        }
        let strict = verdict(StatusCode::FORBIDDEN, "AccessDenied", Forbidden::Failure, false);
        assert!(matches!(strict, Verdict::Failed(_)));
    }
}
