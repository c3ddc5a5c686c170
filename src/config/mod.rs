//! The only reader of the configuration file: load → raw → built, or every error at once.
pub mod raw;
