//! The one place that touches the product's own interface: load a configuration, start the server, stop it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mediagate::cli::setup;
use mediagate::clock::{Clock, UnixTime};
use mediagate::config::{KeyFiles, load};
use mediagate::server::{Running, Server as Product};

/// A running server.
pub(crate) struct Server {
    running: Running,
    clock: Clock,
}

impl Server {
    /// Loads and starts; the errors as text. `refresh` replaces the regular interval of fetched key sets and of
    /// certificates, which no configuration may set as short as tests need it.
    pub(crate) fn start(config: &Path, now: i64, refresh: Option<Duration>) -> Result<Self, String> {
        let clock = Clock::manual(UnixTime::from_secs(now));
        let mut loaded = load(config, KeyFiles::Make).map_err(|errors| errors.to_string())?;
        for source in &mut loaded.key_sources {
            source.refresh = refresh.unwrap_or(source.refresh);
        }
        loaded.tls.poll = refresh.unwrap_or(loaded.tls.poll);
        let running = Product::start(setup(loaded, clock.clone())).map_err(|error| error.to_string())?;
        running.ready();
        Ok(Self { running, clock })
    }

    /// Where the gate listens.
    pub(crate) fn gate(&self) -> SocketAddr {
        self.running.gate()[0]
    }

    /// Where the gate listens with TLS.
    pub(crate) fn gate_tls(&self) -> SocketAddr {
        *self.running.gate().last().expect("a listener")
    }

    /// Reads the certificates anew.
    pub(crate) fn reload_certificates(&self) {
        self.running.tls().reload();
    }

    /// Drains and stops.
    pub(crate) fn drain(self) {
        self.running.stop();
    }

    /// Where the gate listens besides.
    pub(crate) fn other_gate(&self) -> SocketAddr {
        self.running.gate()[1]
    }

    /// Where the issuer listens.
    pub(crate) fn issuer(&self) -> Option<SocketAddr> {
        self.running.issuer()
    }

    /// Where health and metrics are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.running.admin()
    }

    /// Tasks that panicked so far.
    pub(crate) fn panics(&self) -> u64 {
        self.running.panics()
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Stops at once; what is still written is there when this returns.
    pub(crate) fn stop(self) {
        drop(self.running);
    }
}
