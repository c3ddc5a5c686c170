//! mediagate.
