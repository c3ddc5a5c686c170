//! Why the issuer makes no token: one table of codes, statuses and sentences. The sentences are constant, but for what a
//! rule allows; nothing of the request is in them, bar the place of a fault (`paths[2]`).

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::token::TokenError;

/// One member of a request that can't be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which member: `paths[2]`, `filename`, or empty for the whole.
    pub property: Cow<'static, str>,
    /// What is wrong with it.
    pub message: Cow<'static, str>,
}

impl Violation {
    /// A violation of a member by a constant sentence.
    pub const fn new(property: &'static str, message: &'static str) -> Self {
        Self {
            property: Cow::Borrowed(property),
            message: Cow::Borrowed(message),
        }
    }

    /// A violation of the member `list[at]`.
    pub fn of_item(list: &str, at: usize, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            property: format!("{list}[{at}]").into(),
            message: message.into(),
        }
    }
}

/// Why no token was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueRefusal {
    /// Nothing is at this path, or no such medium.
    NotFound(&'static str),
    /// The path has other methods, as in `Allow`.
    MethodNotAllowed(&'static str),
    /// A preflight from an origin that is not in the list.
    OriginNotAllowed,
    /// No bearer.
    CallerMissing,
    /// A bearer that is not believed.
    CallerInvalid,
    /// A bearer that was true once.
    CallerExpired,
    /// The keys that check bearers were never loaded.
    KeysUnavailable,
    /// The caller has no right to this.
    NotAllowed(&'static str),
    /// More tokens a minute than its rule allows; the wait until the next.
    LimitReached(Duration),
    /// Not in the grammar.
    BadRequest(&'static str),
    /// A larger body than is read.
    TooLarge,
    /// Not the media type that the dialect reads.
    UnsupportedMediaType,
    /// In the grammar, but it can't be done.
    Unprocessable(Vec<Violation>),
    /// No key signs, or signing failed. Ours.
    SigningFailed,
}

impl IssueRefusal {
    /// One violation by a constant sentence.
    pub fn violation(property: &'static str, message: &'static str) -> Self {
        Self::Unprocessable(vec![Violation::new(property, message)])
    }

    /// The stable word for the body, the log and the metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::CallerMissing => "caller_missing",
            Self::CallerInvalid => "caller_invalid",
            Self::CallerExpired => "caller_expired",
            Self::KeysUnavailable => "keys_unavailable",
            Self::NotAllowed(_) => "not_allowed",
            Self::LimitReached(_) => "limit_reached",
            Self::BadRequest(_) => "bad_request",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Unprocessable(_) => "unprocessable",
            Self::SigningFailed => "signing_failed",
        }
    }

    /// The status, the same in every dialect.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::OriginNotAllowed | Self::NotAllowed(_) => StatusCode::FORBIDDEN,
            Self::CallerMissing | Self::CallerInvalid | Self::CallerExpired => StatusCode::UNAUTHORIZED,
            Self::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::LimitReached(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SigningFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The sentence that the caller may see.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::NotFound(detail) | Self::NotAllowed(detail) | Self::BadRequest(detail) => detail,
            Self::MethodNotAllowed(_) => "This address has other methods; see Allow.",
            Self::OriginNotAllowed => "This origin may not call from a browser.",
            Self::CallerMissing => "A bearer is needed.",
            Self::CallerInvalid => "The bearer is not valid here.",
            Self::CallerExpired => "The bearer has expired.",
            Self::KeysUnavailable => "Bearers can't be checked now. Try again in a moment.",
            Self::LimitReached(_) => "Too many tokens in a minute. Try again after the time in Retry-After.",
            Self::TooLarge => "The body is larger than 64 KiB.",
            Self::UnsupportedMediaType => "The body is application/json.",
            Self::Unprocessable(_) => "The request can't be fulfilled as it is; see violations.",
            Self::SigningFailed => "The token can't be signed now.",
        }
    }

    /// What is wrong with which member, with a 422.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Unprocessable(violations) => violations,
            _ => &[],
        }
    }

    /// When to come again, in seconds, for `Retry-After`.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            // Rounded up: who comes at that second is let in.
            Self::LimitReached(wait) => Some((wait.as_millis().div_ceil(1000) as u64).max(1)),
            Self::KeysUnavailable => Some(5),
            _ => None,
        }
    }
}

impl From<TokenError> for IssueRefusal {
    /// Of a caller's bearer.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::KeysUnavailable => Self::KeysUnavailable,
            TokenError::Malformed(_) | TokenError::Invalid(_) | TokenError::UnknownKey => Self::CallerInvalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_name_every_code_with_its_status() {
        let (openapi, guide) = (
            include_str!("../../docs/openapi.yaml"),
            include_str!("../../docs/ISSUER.md"),
        );
        for refusal in [
            IssueRefusal::NotFound(""),
            IssueRefusal::MethodNotAllowed(""),
            IssueRefusal::OriginNotAllowed,
            IssueRefusal::CallerMissing,
            IssueRefusal::CallerInvalid,
            IssueRefusal::CallerExpired,
            IssueRefusal::KeysUnavailable,
            IssueRefusal::NotAllowed(""),
            IssueRefusal::LimitReached(Duration::ZERO),
            IssueRefusal::BadRequest(""),
            IssueRefusal::TooLarge,
            IssueRefusal::UnsupportedMediaType,
            IssueRefusal::Unprocessable(Vec::new()),
            IssueRefusal::SigningFailed,
        ] {
            let code = refusal.code();
            assert!(openapi.contains(&format!("            - {code}\n")), "{code}");
            let row = format!("| {} |", refusal.status().as_u16());
            let named = |line: &str| line.starts_with(&row) && line.contains(&format!("`{code}`"));
            assert!(guide.lines().any(named), "{code}");
        }
    }
}
