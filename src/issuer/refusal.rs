//! Why the issuer makes no token: one table of codes, statuses and sentences. The sentences are constant, but for what a
//! rule allows; nothing of the request is in them, bar the place of a fault (`paths[2]`).

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::pool::PoolError;
use crate::store::StoreError;
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
    /// More tries with passwords, or with tokens that nobody issued, than one account or address may have in a minute.
    TooManyTries(Duration),
    /// A kind of grant that is not spoken here.
    GrantUnsupported,
    /// Not a name and its password, or not a refresh token that is good for this client.
    GrantInvalid,
    /// A token that was used, has expired, or was never issued; nobody is told which.
    TokenGone,
    /// Not in the grammar.
    BadRequest(&'static str),
    /// A larger body than is read.
    TooLarge,
    /// A body that took longer than the server waits.
    BodyTimeout,
    /// Not the media type that the dialect reads.
    UnsupportedMediaType,
    /// In the grammar, but it can't be done.
    Unprocessable(Vec<Violation>),
    /// No key signs, or signing failed. Ours.
    SigningFailed,
    /// The store is full, closed or broken. Ours.
    StoreUnavailable,
    /// The origin does not say whether a medium is there. Ours.
    OriginUnavailable,
    /// More that has to be hashed or signed than is waited for. Ours.
    Overloaded,
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
            Self::TooManyTries(_) => "too_many_tries",
            Self::GrantUnsupported => "unsupported_grant_type",
            Self::GrantInvalid => "invalid_grant",
            Self::TokenGone => "token_gone",
            Self::BadRequest(_) => "bad_request",
            Self::TooLarge => "too_large",
            Self::BodyTimeout => "timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Unprocessable(_) => "unprocessable",
            Self::SigningFailed => "signing_failed",
            Self::StoreUnavailable => "store_unavailable",
            Self::OriginUnavailable => "origin_unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    /// The status; dialects that have another one say so where they write it.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::OriginNotAllowed | Self::NotAllowed(_) => StatusCode::FORBIDDEN,
            Self::CallerMissing | Self::CallerInvalid | Self::CallerExpired => StatusCode::UNAUTHORIZED,
            Self::KeysUnavailable | Self::StoreUnavailable | Self::OriginUnavailable | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::LimitReached(_) | Self::TooManyTries(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest(_) | Self::GrantUnsupported | Self::GrantInvalid => StatusCode::BAD_REQUEST,
            Self::TokenGone => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
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
            Self::TooManyTries(_) => "Too many tries in a minute. Try again after the time in Retry-After.",
            Self::GrantUnsupported => {
                "A form (application/x-www-form-urlencoded) whose grant_type is password or refresh_token is needed."
            }
            Self::GrantInvalid => "The name, the password or the refresh token is not valid here.",
            Self::TokenGone => "The token was used, has expired, is not for this, or was never issued.",
            Self::TooLarge => "The body is larger than 64 KiB.",
            Self::BodyTimeout => "The body took too long.",
            Self::UnsupportedMediaType => "The body is application/json.",
            Self::Unprocessable(_) => "The request can't be fulfilled as it is; see violations.",
            Self::SigningFailed => "The token can't be signed now.",
            Self::StoreUnavailable => "The token can't be remembered now. Try again in a moment.",
            Self::OriginUnavailable => {
                "Nobody can tell now whether the medium is there. Try again in a moment."
            }
            Self::Overloaded => "Too much to do. Try again in a moment.",
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
            Self::LimitReached(wait) | Self::TooManyTries(wait) => {
                Some((wait.as_millis().div_ceil(1000) as u64).max(1))
            }
            Self::KeysUnavailable => Some(5),
            Self::StoreUnavailable | Self::OriginUnavailable | Self::Overloaded => Some(1),
            _ => None,
        }
    }
}

impl From<TokenError> for IssueRefusal {
    /// Of a caller's bearer.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::KeysUnavailable => Self::KeysUnavailable,
            TokenError::Malformed(_)
            | TokenError::Invalid(_)
            | TokenError::Elsewhere(_)
            | TokenError::UnknownKey => Self::CallerInvalid,
        }
    }
}

impl From<PoolError> for IssueRefusal {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Full => Self::Overloaded,
            PoolError::CutOff => Self::SigningFailed,
        }
    }
}

impl From<StoreError> for IssueRefusal {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the issuer can't use the store");
        Self::StoreUnavailable
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
            IssueRefusal::TooManyTries(Duration::ZERO),
            IssueRefusal::GrantUnsupported,
            IssueRefusal::GrantInvalid,
            IssueRefusal::TokenGone,
            IssueRefusal::BadRequest(""),
            IssueRefusal::TooLarge,
            IssueRefusal::BodyTimeout,
            IssueRefusal::UnsupportedMediaType,
            IssueRefusal::Unprocessable(Vec::new()),
            IssueRefusal::SigningFailed,
            IssueRefusal::StoreUnavailable,
            IssueRefusal::OriginUnavailable,
            IssueRefusal::Overloaded,
        ] {
            let code = refusal.code();
            assert!(openapi.contains(&format!("            - {code}\n")), "{code}");
            let row = format!("| {} |", refusal.status().as_u16());
            let named = |line: &str| line.starts_with(&row) && line.contains(&format!("`{code}`"));
            assert!(guide.lines().any(named), "{code}");
        }
    }
}
