//! The one place that touches the product's own interface: load a configuration, start the server, stop it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mediagate::cli::{changes, setup};
use mediagate::clock::{Clock, UnixTime};
use mediagate::config::{Kept, KeyFiles, attempt};
use mediagate::server::control::wire::{Command, Message};
use mediagate::server::{Running, Server as Product};

/// A running server.
pub(crate) struct Server {
    running: Running,
    clock: Clock,
    kept: Mutex<Kept>,
}

impl Server {
    /// Loads and starts; the errors as text. `refresh` replaces the regular interval of fetched key sets and of
    /// certificates, which no configuration may set as short as tests need it.
    pub(crate) fn start(config: &Path, now: i64, refresh: Option<Duration>) -> Result<Self, String> {
        let clock = Clock::manual(UnixTime::from_secs(now));
        let loaded = attempt(config, KeyFiles::Make, Kept::default());
        let mut loaded = *loaded.outcome.map_err(|errors| errors.to_string())?;
        let kept = Mutex::new(loaded.kept.clone());
        for source in &mut loaded.key_sources {
            source.refresh = refresh.unwrap_or(source.refresh);
        }
        loaded.tls.poll = refresh.unwrap_or(loaded.tls.poll);
        let running = Product::start(setup(loaded, clock.clone())).map_err(|error| error.to_string())?;
        running.ready();
        Ok(Self { running, clock, kept })
    }

    /// Reads the configuration again, as on SIGHUP; the errors as text.
    pub(crate) fn reload(&self, config: &Path) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match attempt(config, KeyFiles::Make, kept.clone()).outcome {
            Ok(loaded) => {
                *kept = loaded.kept.clone();
                self.running.reload(changes(*loaded));
                Ok(())
            }
            Err(errors) => {
                self.running.reload_failed();
                Err(errors.to_string())
            }
        }
    }

    /// What the control socket says to a command for the store.
    pub(crate) fn ask(&self, command: &Command) -> Message {
        self.running.book().answer(command)
    }

    /// Lets go of the store, as for a takeover.
    pub(crate) fn close_store(&self) {
        self.running.close_store();
    }

    /// Opens it again.
    pub(crate) fn open_store(&self) {
        self.running.open_store().expect("the store opens");
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
