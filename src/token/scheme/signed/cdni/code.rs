//! The codes of the log field `s-uri-signing` (RFC 9246 §6.4). The texts of our errors begin with theirs.

use std::fmt;

use crate::token::{Standing, TokenError};

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// There was none, or no keys to check it with.
    NotPerformed,
    /// It is good.
    Verified,
    /// Its signature, or the key of it.
    Signature,
    /// Its issuer.
    Issuer,
    /// Its subject.
    Subject,
    /// Its audience.
    Audience,
    /// Its end.
    Expiry,
    /// Its start.
    NotBefore,
    /// What it says of renewal.
    Renewal,
    /// Its id: seen before, or none that can be remembered.
    Id,
    /// The version of its claims.
    Version,
    /// An extension that it wants understood.
    Critical,
    /// The client's address.
    Address,
    /// The URI.
    Container,
    /// It can't be read.
    Malformed,
}

impl Code {
    const ALL: [Self; 15] = [
        Self::NotPerformed,
        Self::Verified,
        Self::Signature,
        Self::Issuer,
        Self::Subject,
        Self::Audience,
        Self::Expiry,
        Self::NotBefore,
        Self::Renewal,
        Self::Id,
        Self::Version,
        Self::Critical,
        Self::Address,
        Self::Container,
        Self::Malformed,
    ];

    /// The number: three digits in the log.
    pub const fn number(self) -> u16 {
        match self {
            Self::NotPerformed => 0,
            Self::Verified => 200,
            Self::Signature => 400,
            Self::Issuer => 401,
            Self::Subject => 402,
            Self::Audience => 403,
            Self::Expiry => 404,
            Self::NotBefore => 405,
            Self::Renewal => 406,
            Self::Id => 407,
            Self::Version => 408,
            Self::Critical => 409,
            Self::Address => 410,
            Self::Container => 411,
            Self::Malformed => 500,
        }
    }

    /// Of an error of `verify`.
    pub fn of(error: &TokenError) -> Self {
        let (text, unnumbered) = match error {
            TokenError::Malformed(text) => (text, Self::Malformed),
            TokenError::Invalid(text) => (text, Self::Signature),
            TokenError::Elsewhere(text) => (text, Self::Container),
            TokenError::UnknownKey => return Self::Signature,
            TokenError::KeysUnavailable => return Self::NotPerformed,
        };
        Self::of_text(text).unwrap_or(unnumbered)
    }

    /// What a text begins with; `None` where that is no code.
    pub fn of_text(text: &str) -> Option<Self> {
        let number: u16 = text.get(..3)?.parse().ok()?;
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Of a token that `verify` found true.
    pub const fn of_standing(standing: Standing) -> Self {
        match standing {
            Standing::InTime => Self::Verified,
            Standing::NotYet => Self::NotBefore,
            Standing::Expired => Self::Expiry,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.number())
    }
}
