//! The gate.
pub mod refusal;
pub mod route;
