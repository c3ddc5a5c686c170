//! The issuer's wire shapes: a closed set, one file each. A dialect parses and renders; it holds no policy.

/// A dialect's name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// `POST /v1/tokens`.
    Native,
    /// `POST /media/{id}/download-token`.
    Fynn,
}

impl DialectName {
    /// All names.
    pub const ALL: &[Self] = &[Self::Native, Self::Fynn];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Fynn => "fynn",
        }
    }
}
