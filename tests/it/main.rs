//! The product as a black box: the real server on free ports, raw bytes in and out, real programs as clients.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;
