//! The issuer.
