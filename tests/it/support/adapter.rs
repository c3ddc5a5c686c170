//! The one place that touches the product's own interface: load a configuration, start the server, stop it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mediagate::clock::{Clock, UnixTime};

/// A running server.
pub(crate) struct Server {
    pub(crate) clock: Clock,
}

impl Server {
    /// Loads and starts; the errors as text.
    pub(crate) fn start(config: &Path, now: i64) -> Result<Self, String> {
        let _ = config;
        Ok(Self {
            clock: Clock::manual(UnixTime::from_secs(now)),
        })
    }

    pub(crate) fn gate(&self) -> SocketAddr {
        unimplemented!()
    }

    pub(crate) fn issuer(&self) -> Option<SocketAddr> {
        unimplemented!()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        unimplemented!()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(crate) fn stop(self) {}
}
