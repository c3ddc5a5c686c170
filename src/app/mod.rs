//! Which door: the gate, or the issuer where a route mounts its dialects. What a request needs, in two halves: a
//! `Snapshot`, replaced whole, and `Services`, which outlive it.

use std::sync::Arc;

use crate::gate::route::Router;
use crate::issuer::{DialectName, Issuer};

/// All that is decided by the configuration. Immutable; a request lives on the one it started with.
pub struct Snapshot {
    /// The routes.
    pub router: Router,
    /// The issuer, where there is one.
    pub issuer: Option<Arc<Issuer>>,
    /// Dialects of the issuer that are mounted on the gate's listener.
    pub mounts: Vec<Mount>,
}

/// A dialect on the gate's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The route's host, lower case; `None` is any.
    pub host: Option<Box<str>>,
    /// The route's prefix, without a slash at its end.
    pub prefix: Box<str>,
    /// The dialect.
    pub dialect: DialectName,
}
