//! The token schemes: a closed set, one file each. A new scheme is a file here and an arm in the matches below.

use super::{Claims, Evidence, TokenError, VerifyToken};

pub mod jwt;

/// A way to make and check tokens.
#[derive(Debug)]
pub enum Scheme {
    /// Signed JWT (RFC 7519), the native scheme.
    Jwt(jwt::Jwt),
}

impl Scheme {
    /// Checks the presented token.
    ///
    /// # Errors
    /// `TokenError`.
    pub fn verify(&self, evidence: &Evidence<'_>) -> Result<Claims, TokenError> {
        match self {
            Self::Jwt(jwt) => jwt.verify(evidence),
        }
    }

    /// For a scheme whose verdict depends on nothing but the token: the number of the verifier and of its keys'
    /// generation, which a cached verdict is bound to. `None` when verdicts must not be cached.
    pub fn cache_stamp(&self) -> Option<[u64; 2]> {
        match self {
            Self::Jwt(jwt) => jwt.cache_stamp(),
        }
    }

    /// The name in logs and in `explain`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt",
        }
    }
}
