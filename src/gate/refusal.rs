//! Every way in which a request can end without its file: the client's fault (`Refusal`) or ours or the origin's
//! (`Failure`). The only table of codes, statuses and sentences.

use std::time::Duration;

use http::StatusCode;

use super::route::{DialectStatus, Route};
use crate::origin::{OriginError, Phase, UploadFault};
use crate::token::scheme::signed::Statuses;
use crate::token::{Methods, TokenError};

macro_rules! codes {
    ($($variant:ident $text:literal $status:literal $title:literal $advice:literal;)*) => {
        /// The stable name of an outcome: in the body, the log, the metrics and the `status` map of a route.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The status of the common table.
            pub const fn status(self) -> StatusCode {
                match StatusCode::from_u16(match self { $(Self::$variant => $status,)* }) {
                    Ok(status) => status,
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }

            /// What happened, for a person.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What a person can do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    TokenMissing "token_missing" 401 "This link is incomplete" "Open the whole link, exactly as you received it, or ask for a new one where you got it.";
    TokenMalformed "token_malformed" 401 "This link is damaged" "Part of it may have been lost on the way. Open it exactly as you received it, or ask for a new one.";
    TokenInvalid "token_invalid" 401 "This link is not valid" "Ask for a new link where you got this one.";
    TokenExpired "token_expired" 401 "This link has expired" "Links like this one work for a limited time. Ask for a new one where you got it.";
    TokenNotYetValid "token_not_yet_valid" 401 "This link is not valid yet" "Try again later. If it should work by now, tell whoever sent it.";
    TokenSpent "token_spent" 410 "This link has been used" "It worked once. Ask for a new one where you got it.";
    TokenRevoked "token_revoked" 410 "This link was withdrawn" "Ask for a new one where you got it.";
    ScopeDenied "scope_denied" 403 "This link does not open this file" "Open the file that the link was made for, or ask for a link to this one.";
    MethodDenied "method_denied" 403 "This link does not allow that" "It is good for something else, such as only reading.";
    AddressDenied "address_denied" 403 "This link does not work from here" "It was made for another network. Ask for a new one where you are now.";
    BindingDenied "binding_denied" 403 "This link belongs to another device" "Open it where it was first opened, or ask for a new one.";
    LimitReached "limit_reached" 429 "Too many downloads at once" "Wait a moment and try again.";
    BadPath "bad_path" 400 "This address can't be read" "Check the address. It may have been changed on the way.";
    BadRequest "bad_request" 400 "This request can't be read" "Check the address. It may have been changed on the way.";
    MethodNotAllowed "method_not_allowed" 405 "That can't be done here" "Files here can be read.";
    Timeout "timeout" 408 "The request took too long" "Try again.";
    TooLarge "too_large" 413 "That is too large" "Send a smaller file.";
    UriTooLong "uri_too_long" 414 "This address is too long" "Open the link exactly as you received it.";
    Range "range" 416 "That part does not exist" "Start the download again.";
    Misdirected "misdirected" 421 "This address is not served here" "Check the address.";
    Prefetch "prefetch" 425 "Open the link yourself" "This link is not opened ahead of time. Click it.";
    HeadTooLarge "head_too_large" 431 "This request is too large" "Delete the cookies of this site and try again.";
    NotFound "not_found" 404 "There is nothing here" "Check the address.";
    OriginUnreachable "origin_unreachable" 502 "The file can't be reached" "Try again in a moment. Your link still works.";
    OriginInvalid "origin_invalid" 502 "The file can't be delivered" "Try again in a moment. Your link still works.";
    OriginTimeout "origin_timeout" 504 "The file takes too long" "Try again in a moment. Your link still works.";
    StoreUnavailable "store_unavailable" 503 "The link can't be checked now" "Try again in a moment. Your link still works.";
    KeysUnavailable "keys_unavailable" 503 "The link can't be checked now" "Try again in a moment. Your link still works.";
    CredentialsUnavailable "credentials_unavailable" 503 "The file can't be fetched now" "Try again in a moment. Your link still works.";
    Overloaded "overloaded" 503 "Too busy" "Try again in a moment. Your link still works.";
}

impl Code {
    /// Reads a code's text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether the token itself was refused: what a dialect's own status replaces.
    pub const fn is_about_token(self) -> bool {
        matches!(
            self,
            Self::TokenMissing
                | Self::TokenMalformed
                | Self::TokenInvalid
                | Self::TokenExpired
                | Self::TokenNotYetValid
                | Self::TokenSpent
                | Self::TokenRevoked
        )
    }

    /// Whether the token was refused, or is not for this: what a dialect that tells no reason tells alike.
    pub const fn is_no_way_in(self) -> bool {
        self.is_about_token()
            || matches!(
                self,
                Self::ScopeDenied | Self::MethodDenied | Self::AddressDenied | Self::BindingDenied
            )
    }

    /// The `error` of `WWW-Authenticate: Bearer` (RFC 6750 §3.1); `None` where no challenge is sent or it has no error.
    pub const fn bearer_error(self) -> Option<&'static str> {
        match self {
            Self::TokenMalformed | Self::TokenInvalid | Self::TokenExpired | Self::TokenNotYetValid => {
                Some("invalid_token")
            }
            _ => None,
        }
    }
}

/// The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub code: Code,
    /// The fact, for the log and for `explain`; never holds anything of the request.
    pub detail: &'static str,
    /// The methods for `Allow`, with a 405.
    pub allow: Option<Methods>,
    /// The complete length for `Content-Range: bytes */n`, with a 416.
    pub length: Option<u64>,
    /// When to come again, for `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without more to say.
    pub const fn new(code: Code, detail: &'static str) -> Self {
        Self {
            code,
            detail,
            allow: None,
            length: None,
            retry_after: None,
        }
    }
}

/// Our fault or the origin's.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub code: Code,
    /// The fact, for the log; names no host.
    pub detail: &'static str,
    /// The cause, for the log.
    pub source: Option<OriginError>,
    /// When to come again, for `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Why a request ends without its file.
#[derive(Debug)]
pub enum Stop {
    /// Theirs.
    Refused(Refusal),
    /// Ours or the origin's.
    Failed(Failure),
}

impl Stop {
    /// The client's fault.
    pub const fn refused(code: Code, detail: &'static str) -> Self {
        Self::Refused(Refusal::new(code, detail))
    }

    /// The stable name.
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Failed(failure) => failure.code,
        }
    }

    /// When to come again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Failed(failure) => failure.retry_after,
        }
    }

    /// The fact, for the log.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.detail,
            Self::Failed(failure) => failure.detail,
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TokenError> for Stop {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed(detail) => Self::refused(Code::TokenMalformed, detail),
            TokenError::Invalid(detail) => Self::refused(Code::TokenInvalid, detail),
            TokenError::Elsewhere(detail) => Self::refused(Code::ScopeDenied, detail),
            TokenError::UnknownKey => {
                Self::refused(Code::TokenInvalid, "no key of the set goes with the token")
            }
            TokenError::KeysUnavailable => Self::Failed(Failure {
                code: Code::KeysUnavailable,
                detail: "the key set has not been loaded yet",
                source: None,
                retry_after: Some(Duration::from_secs(5)),
            }),
        }
    }
}

impl From<OriginError> for Stop {
    fn from(error: OriginError) -> Self {
        let mut retry_after = None;
        let (code, detail) = match &error {
            OriginError::Busy => {
                retry_after = Some(Duration::from_secs(1));
                (
                    Code::Overloaded,
                    "the origin has no time just now, tried several times",
                )
            }
            OriginError::NoCredentials(_) => {
                retry_after = Some(Duration::from_secs(5));
                (
                    Code::CredentialsUnavailable,
                    "the origin's credentials are not there",
                )
            }
            OriginError::Connect(_) | OriginError::Timeout(Phase::Connect) => {
                (Code::OriginUnreachable, "no connection to the origin")
            }
            OriginError::Timeout(Phase::Head | Phase::Gap) => {
                (Code::OriginTimeout, "the origin took too long")
            }
            OriginError::Http(_) => (Code::OriginInvalid, "the exchange with the origin failed"),
            OriginError::Invalid(what) => (Code::OriginInvalid, *what),
            OriginError::Overloaded => {
                return Self::Failed(Failure {
                    code: Code::Overloaded,
                    detail: "the origin has all the requests that it may have",
                    source: Some(error),
                    retry_after: Some(Duration::from_secs(1)),
                });
            }
            OriginError::Io(_) => (Code::OriginUnreachable, "a file can't be read"),
            OriginError::Upload(fault) => {
                return match fault {
                    UploadFault::TooLarge => {
                        Self::refused(Code::TooLarge, "the upload is larger than the route allows")
                    }
                    UploadFault::TooSlow => Self::refused(Code::Timeout, "the client's body took too long"),
                    UploadFault::Broken => Self::refused(Code::BadRequest, "the client's body broke off"),
                };
            }
        };
        Self::Failed(Failure {
            code,
            detail,
            source: Some(error),
            retry_after,
        })
    }
}

/// The status of an outcome: the route's map, then the dialect, then the scheme, then the common table.
pub fn status(code: Code, route: Option<&Route>, scheme: Statuses) -> StatusCode {
    let Some(route) = route else { return code.status() };
    if let Some(status) = route.status.get(&code) {
        return *status;
    }
    match route.dialect {
        DialectStatus::Fynn | DialectStatus::Sirv | DialectStatus::Adobe if code.is_about_token() => {
            StatusCode::FORBIDDEN
        }
        DialectStatus::Fynn | DialectStatus::Sirv | DialectStatus::Adobe | DialectStatus::Native => {
            match scheme {
                Statuses::ForbiddenOrGone if matches!(code, Code::TokenExpired | Code::TokenNotYetValid) => {
                    StatusCode::GONE
                }
                Statuses::Forbidden | Statuses::ForbiddenOrGone
                    if code.status() == StatusCode::UNAUTHORIZED =>
                {
                    StatusCode::FORBIDDEN
                }
                _ => code.status(),
            }
        }
    }
}

/// What Adobe's verifier says of such a token, on a route that speaks as it does; `None` where the refusal is not about the
/// token.
pub fn verification(code: Code, route: Option<&Route>) -> Option<&'static str> {
    if route?.dialect != DialectStatus::Adobe {
        return None;
    }
    match code {
        Code::TokenMalformed => Some("INVALID_TOKEN_FORMAT"),
        Code::TokenInvalid => Some("INVALID_SIGNATURE"),
        Code::TokenExpired => Some("TOKEN_EXPIRED"),
        Code::ScopeDenied => Some("INVALID_RESOURCE_ID"),
        _ if code.is_about_token() => Some("ERROR_UNKNOWN"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_documents_with_its_status() {
        let page = include_str!("../../docs/OPERATIONS.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} | ", code.as_str(), code.status().as_u16());
            assert!(page.contains(&row), "{row} is not in docs/OPERATIONS.md");
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
        let rows = page.lines().filter(|line| {
            line.starts_with("| `")
                && line
                    .split('|')
                    .nth(2)
                    .is_some_and(|cell| cell.trim().parse::<u16>().is_ok())
        });
        assert_eq!(
            rows.count(),
            Code::ALL.len(),
            "docs/OPERATIONS.md has a code that does not exist"
        );
    }

    #[test]
    fn titles_and_advice_are_sentences_for_people() {
        for code in Code::ALL {
            assert!(
                code.title().len() > 5 && !code.title().contains(['<', '&', '{']),
                "{code:?}"
            );
            assert!(
                code.advice().ends_with('.') && !code.advice().contains(['<', '&', '{']),
                "{code:?}"
            );
        }
    }
}
