//! Why Adobe's dialect makes no token, in its own words: one table of statuses, codes and sentences.

use std::borrow::Cow;

use aws_lc_rs::rand;
use http::StatusCode;
use serde::Serialize;

use crate::issuer::refusal::IssueRefusal;

/// A parameter that has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::issuer) enum Parameter {
    Requestor,
    Device,
    Resource,
    DeviceInfo,
}

impl Parameter {
    /// As it stands in the query.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requestor => "requestor",
            Self::Device => "deviceId",
            Self::Resource => "resource",
            Self::DeviceInfo => "device_info",
        }
    }
}

/// Why no token was made.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::issuer) enum Denied {
    /// As in any dialect.
    Common(IssueRefusal),
    /// A parameter is missing or empty.
    Missing(Parameter),
    /// The request can't be read.
    Malformed(&'static str),
    /// The description of the device is no Base64, or too long.
    DeviceInfo,
    /// Nobody: no bearer, and a device that is not listed.
    NotAuthenticated,
    /// Somebody who may not have this, maybe with the provider's reason.
    NotAuthorized(Option<Box<str>>),
    /// An entitlement that has ended.
    Ended,
    /// No entitlement.
    NotFound,
}

impl From<IssueRefusal> for Denied {
    fn from(refusal: IssueRefusal) -> Self {
        match refusal {
            IssueRefusal::NotAllowed(_) => Self::NotAuthorized(None),
            IssueRefusal::CallerMissing => Self::NotAuthenticated,
            other => Self::Common(other),
        }
    }
}

/// What is said of a refusal.
pub(super) struct Words<'d> {
    pub(super) status: StatusCode,
    /// What an enhanced error says in its body.
    told: u16,
    code: &'static str,
    action: &'static str,
    message: Cow<'static, str>,
    /// `Some(None)` where there could be details and are none.
    details: Option<Option<&'d str>>,
}

impl Denied {
    /// The refusal that the log and the metrics know.
    pub(in crate::issuer) fn common(&self) -> IssueRefusal {
        match self {
            Self::Common(refusal) => refusal.clone(),
            Self::Missing(_) | Self::Malformed(_) | Self::DeviceInfo => IssueRefusal::BadRequest(""),
            Self::NotAuthenticated => IssueRefusal::CallerMissing,
            Self::NotAuthorized(_) | Self::Ended | Self::NotFound => IssueRefusal::NotAllowed(""),
        }
    }

    pub(super) fn words(&self) -> Words<'_> {
        let bad = |code, message: Cow<'static, str>| Words {
            status: StatusCode::BAD_REQUEST,
            told: 400,
            code,
            action: "none",
            message,
            details: None,
        };
        let denied = |told, code, action, message: &'static str, details| Words {
            status: StatusCode::FORBIDDEN,
            told,
            code,
            action,
            message: message.into(),
            details: Some(details),
        };
        const UNAUTHORIZED: &str = "User not authorized";
        match self {
            Self::Common(refusal) => common(refusal),
            Self::Missing(parameter) => {
                let code = match parameter {
                    Parameter::Requestor => "invalid_requestor",
                    Parameter::Device => "invalid_device_id",
                    Parameter::Resource => "missing_resource",
                    Parameter::DeviceInfo => "invalid_device_info",
                };
                bad(
                    code,
                    format!("Required '{}' is not present", parameter.name()).into(),
                )
            }
            Self::Malformed(what) => bad("malformed_authz_request", (*what).into()),
            Self::DeviceInfo => bad(
                "invalid_device_info",
                "The device information is not Base64.".into(),
            ),
            Self::NotAuthenticated => denied(
                403,
                "authentication_session_missing",
                "authentication",
                "User not authenticated",
                None,
            ),
            Self::NotAuthorized(details) => denied(
                403,
                "authorization_denied_by_mvpd",
                "none",
                UNAUTHORIZED,
                details.as_deref(),
            ),
            Self::Ended => denied(410, "authorization_expired", "authorization", UNAUTHORIZED, None),
            Self::NotFound => denied(
                404,
                "authorization_not_found",
                "authorization",
                UNAUTHORIZED,
                None,
            ),
        }
    }
}

fn common(refusal: &IssueRefusal) -> Words<'static> {
    let status = refusal.status();
    let (code, action) = match refusal {
        IssueRefusal::CallerExpired => ("authentication_session_expired", "authentication"),
        _ if status == StatusCode::UNAUTHORIZED => ("authentication_session_missing", "authentication"),
        _ if status.is_server_error() => ("internal_error", "retry"),
        IssueRefusal::MethodNotAllowed(_) => ("internal_error", "none"),
        _ => ("malformed_authz_request", "none"),
    };
    Words {
        status,
        told: status.as_u16(),
        code,
        action,
        message: refusal.detail().into(),
        details: None,
    }
}

/// An error, its members in the order in which the original writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Error<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'e str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'e str>,
    message: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Option<&'e str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_url: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'e str>,
}

impl Words<'_> {
    /// The error; an enhanced one has a trace and, where `enhanced` knows it, a place for help.
    pub(super) fn error<'e>(
        &'e self,
        enhanced: Option<Option<&'e str>>,
        trace: Option<&'e str>,
    ) -> Error<'e> {
        match enhanced {
            None => Error {
                action: None,
                status: self.status.as_u16(),
                code: None,
                message: &self.message,
                details: self.details,
                help_url: None,
                trace: None,
            },
            Some(help_url) => Error {
                action: Some(self.action),
                status: self.told,
                code: Some(self.code),
                message: &self.message,
                details: self.details.flatten().map(Some),
                help_url,
                trace,
            },
        }
    }
}

impl Error<'_> {
    /// The members for XML, which leaves out details that are none.
    pub(super) fn members(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let text = |name, text: Option<&str>| Some((name, Cow::Owned(text?.to_owned())));
        [
            text("action", self.action),
            Some(("status", self.status.to_string().into())),
            text("code", self.code),
            Some(("message", Cow::Borrowed(self.message))),
            text("details", self.details.flatten()),
            text("helpUrl", self.help_url),
            text("trace", self.trace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A name for one answer: a random UUID (RFC 9562 §5.4). Where there are no random numbers, of zeros.
pub(super) fn trace() -> String {
    let mut bytes = [0; 16];
    let _ = rand::fill(&mut bytes);
    let number = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{number:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
