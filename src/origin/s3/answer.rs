//! What an answer of S3 means. In: its status, and the code in the XML of an error. Out: a verdict. Never: hands on what
//! S3 says of an error, which names the bucket, the key and the credentials.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, timeout};

use super::Forbidden;
use crate::origin::OriginBody;

/// As much of an error is read; S3's are below 1 KiB.
const MAX_ERROR_BYTES: usize = 8 * 1024;

/// An error is waited for no longer; without its code it is judged by its status.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The longest code that is read.
const MAX_CODE_BYTES: usize = 64;

/// One code is told of at most so often.
const BETWEEN_TELLINGS: Duration = Duration::from_secs(60);

/// Codes that a log may name. What else stands there is text of others.
/// Source: AWS, "Error responses" of the S3 API reference.
const KNOWN: [&str; 45] = [
    "AccessDenied",
    "AccessForbidden",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "BadRequest",
    "ConditionalRequestConflict",
    "CredentialsNotSupported",
    "CrossLocationLoggingProhibited",
    "ExpiredToken",
    "ExpiredTokenException",
    "IllegalLocationConstraintException",
    "InternalError",
    "InvalidAccessKeyId",
    "InvalidAccessPoint",
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidBucketState",
    "InvalidClientTokenId",
    "InvalidDigest",
    "InvalidHostHeader",
    "InvalidObjectState",
    "InvalidPayer",
    "InvalidRegion",
    "InvalidRequest",
    "InvalidSecurity",
    "InvalidToken",
    "InvalidTokenId",
    "InvalidURI",
    "MethodNotAllowed",
    "MissingSecurityHeader",
    "NoSuchBucket",
    "NotImplemented",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
    "TokenRefreshRequired",
    "Unauthorized",
    "UnauthorizedAccess",
    "UnrecognizedClientException",
    "XAmzContentSHA256Mismatch",
];

/// What comes of an answer that is none to the client's request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// There is no such object, or it is none of the client's business.
    Absent,
    /// The same, or the credentials are no longer good: it is not said.
    Unsaid,
    /// S3 has no time just now.
    Busy,
    /// The credentials are no longer good.
    Stale(&'static str),
    /// The configuration is wrong, or S3.
    Failed(&'static str),
}

/// Judges an answer, to HEAD or to GET; `chose` says whether the client chose a parameter, say a version.
///
/// # Errors
/// `Verdict`, where it is not for the client.
pub(super) async fn judge(
    answer: Response<OriginBody>,
    is_head: bool,
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
    let code = match is_head {
        true => Code::None,
        false => match timeout(PATIENCE, error_code(answer.into_body())).await {
            Ok(Some(code)) => Code::Is(code),
            _ => Code::Unreadable,
        },
    };
    let verdict = verdict(status, &code, forbidden, chose);
    if let Verdict::Stale(_) | Verdict::Failed(_) = verdict {
        tell(status, code.name(), Instant::now());
    }
    Err(verdict)
}

/// What an error says of itself.
enum Code {
    /// Answers to HEAD have none.
    None,
    /// One that should have one has none, or it could not be read.
    Unreadable,
    Is(String),
}

impl Code {
    fn as_str(&self) -> &str {
        match self {
            Self::None | Self::Unreadable => "",
            Self::Is(code) => code,
        }
    }

    /// As it may stand in a log.
    fn name(&self) -> &'static str {
        match self {
            Self::None => "none, as always to HEAD",
            Self::Unreadable => "none",
            Self::Is(code) => KNOWN.iter().find(|known| *known == code).unwrap_or(&"unknown"),
        }
    }
}

/// Says in the log what was answered, of each code once in a while: `false` where it was said just now.
fn tell(status: StatusCode, code: &'static str, now: Instant) -> bool {
    static TOLD: Mutex<Vec<(&str, Instant)>> = Mutex::new(Vec::new());
    {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(_, at)| now.duration_since(*at) < BETWEEN_TELLINGS);
        if told.iter().any(|(known, _)| *known == code) {
            return false;
        }
        told.push((code, now));
    }
    tracing::warn!(status = status.as_u16(), code, "a bucket answers with an error");
    true
}

/// Source: AWS, "Error responses" of the S3 API reference.
fn verdict(status: StatusCode, code: &Code, forbidden: Forbidden, chose: bool) -> Verdict {
    match (status.as_u16(), code.as_str()) {
        (301 | 302 | 307 | 308, _) => Verdict::Failed(
            "the origin says that the bucket is at another place: `region` or `endpoint` is wrong",
        ),
        (_, "AuthorizationHeaderMalformed") => {
            Verdict::Failed("the origin does not take the signature: `region` is wrong")
        }
        (_, "RequestTimeTooSkewed") => {
            Verdict::Failed("the origin says that our clock is wrong, or its own is")
        }
        (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
            Verdict::Stale("the origin says that the credentials have expired")
        }
        (
            _,
            "InvalidToken"
            | "InvalidTokenId"
            | "InvalidClientTokenId"
            | "InvalidSecurity"
            | "UnrecognizedClientException",
        ) => Verdict::Stale("the origin does not take the session token"),
        (_, "InvalidAccessKeyId" | "NotSignedUp") => {
            Verdict::Stale("the origin does not know the access key")
        }
        // A key that was read while somebody wrote it would be one, too.
        (_, "SignatureDoesNotMatch") => {
            Verdict::Stale("the origin does not take the signature: the secret key is wrong")
        }
        (_, "NoSuchBucket") => Verdict::Failed("the origin has no such bucket"),
        (_, "InvalidObjectState") => Verdict::Failed("the object is archived and has to be restored first"),
        // A version that is a deletion answers 405, one that is no version 400, as a name does that none can have.
        (404 | 405, _) | (_, "KeyTooLongError") => Verdict::Absent,
        (400, "InvalidArgument" | "NoSuchVersion") if chose => Verdict::Absent,
        // What it would say to GET may be that the credentials have ended.
        (400, _) if matches!(code, Code::None) => {
            Verdict::Stale("the origin refuses a HEAD and does not say why")
        }
        (403, _) => match (forbidden, code) {
            (Forbidden::Absent, Code::None) => Verdict::Unsaid,
            (Forbidden::Absent, Code::Is(code)) if code == "AccessDenied" => Verdict::Absent,
            (Forbidden::Failure, Code::None) => Verdict::Stale("the origin forbids the object"),
            (_, Code::Is(code)) if code == "AccessDenied" => Verdict::Failed("the origin forbids the object"),
            _ => Verdict::Failed("the origin refuses, and not because of the object"),
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

    fn code(text: &str) -> Code {
        match text {
            "HEAD" => Code::None,
            "" => Code::Unreadable,
            code => Code::Is(code.to_owned()),
        }
    }

    #[test]
    fn each_error_has_its_meaning() {
        let say = |status, text, forbidden, chose| match verdict(
            StatusCode::from_u16(status).unwrap(),
            &code(text),
            forbidden,
            chose,
        ) {
            Verdict::Absent => "absent",
            Verdict::Unsaid => "unsaid",
            Verdict::Busy => "busy",
            Verdict::Stale(_) => "stale",
            Verdict::Failed(_) => "failed",
        };
        for (status, code, chose, meaning) in [
            (404, "NoSuchKey", false, "absent"),
            (404, "", false, "absent"),
            (404, "HEAD", false, "absent"),
            (404, "NoSuchBucket", false, "failed"),
            (405, "MethodNotAllowed", true, "absent"),
            (400, "InvalidArgument", true, "absent"),
            (400, "InvalidArgument", false, "failed"),
            (400, "KeyTooLongError", false, "absent"),
            (400, "ExpiredToken", false, "stale"),
            (400, "InvalidToken", false, "stale"),
            (400, "TokenRefreshRequired", false, "stale"),
            (400, "HEAD", false, "stale"),
            (400, "HEAD", true, "stale"),
            (400, "", false, "failed"),
            (400, "AuthorizationHeaderMalformed", false, "failed"),
            (403, "AccessDenied", false, "absent"),
            (403, "HEAD", false, "unsaid"),
            (403, "", false, "failed"),
            (403, "AllAccessDisabled", false, "failed"),
            (403, "Invented", false, "failed"),
            (403, "accessdenied", false, "failed"),
            (403, "SignatureDoesNotMatch", false, "stale"),
            (403, "InvalidAccessKeyId", false, "stale"),
            (403, "InvalidTokenId", false, "stale"),
            (403, "ExpiredToken", false, "stale"),
            (403, "InvalidClientTokenId", false, "stale"),
            (403, "InvalidSecurity", false, "stale"),
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
            assert_eq!(
                say(status, code, Forbidden::Absent, chose),
                meaning,
                "{status} {code}"
            );
        }
        for (code, meaning) in [("AccessDenied", "failed"), ("HEAD", "stale"), ("", "failed")] {
            assert_eq!(say(403, code, Forbidden::Failure, false), meaning, "{code}");
        }
    }

    #[tokio::test]
    async fn an_empty_body_is_no_code_but_in_an_answer_to_head() {
        for is_head in [true, false] {
            let mut answer = Response::new(OriginBody::Empty);
            *answer.status_mut() = StatusCode::FORBIDDEN;
            let verdict = judge(answer, is_head, Forbidden::Absent, false)
                .await
                .err()
                .unwrap();
            assert_eq!(matches!(verdict, Verdict::Unsaid), is_head);
        }
    }

    #[test]
    fn a_code_is_told_once_in_a_while_and_named_where_it_is_known() {
        assert!(KNOWN.is_sorted());
        assert_eq!(code("AllAccessDisabled").name(), "AllAccessDisabled");
        assert_eq!(code("AKIAIOSFODNN7EXAMPLE").name(), "unknown");
        let now = Instant::now();
        let say = |code, after| tell(StatusCode::FORBIDDEN, code, now + after);
        let minute = BETWEEN_TELLINGS;
        assert!(say("ACodeOfThisTest", Duration::ZERO));
        assert!(!say("ACodeOfThisTest", minute - Duration::from_millis(1)));
        assert!(say("AnotherOfThisTest", Duration::ZERO));
        assert!(say("ACodeOfThisTest", minute));
    }
}
