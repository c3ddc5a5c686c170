//! `Range` (RFC 9110 §14) to slices of a file. Pure.
