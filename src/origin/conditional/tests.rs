//! Tests of `conditional`.
