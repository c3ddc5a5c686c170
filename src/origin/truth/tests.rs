//! Tests of `truth`.
