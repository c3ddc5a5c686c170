//! Keys that are taken and keys that are refused.
use super::*;
