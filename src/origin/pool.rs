//! Idle origin connections of one worker, and what is counted of them.

use std::sync::atomic::AtomicU64;

/// What is counted, for all workers together.
#[derive(Debug, Default)]
pub struct OriginStats {
    /// Connections that were opened.
    pub opened: AtomicU64,
    /// Requests that went over a connection that was already there.
    pub reused: AtomicU64,
    /// Connections closed because the origin sent more than it had announced.
    pub surplus: AtomicU64,
    /// Requests sent again on a fresh connection.
    pub retried: AtomicU64,
}

/// The idle connections of one worker, for all its origins.
#[derive(Debug, Default)]
pub struct Pools {}

impl Pools {
    /// Empty pools that count into `stats`.
    pub fn new(stats: std::sync::Arc<OriginStats>) -> Self {
        let _ = stats;
        Self::default()
    }
}
