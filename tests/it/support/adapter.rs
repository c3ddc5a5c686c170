//! The one place that touches the product's own interface: load a configuration, start the server, stop it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mediagate::cli::{changes, setup};
use mediagate::clock::{Clock, UnixTime};
use mediagate::config::{Kept, KeyFiles, Loaded, attempt};
use mediagate::secret::Environment;
use mediagate::server::control::wire::{Command, Message};
use mediagate::server::{Running, Server as Product};
use mediagate::store::{Issued, Purposes, Revocation};
use mediagate::token::keys::LogKey;
use mediagate::token::scheme::opaque::Handle;
use mediagate::token::{Claims, Opens, Scope, Uses};

/// A running server.
pub(crate) struct Server {
    running: Running,
    clock: Clock,
    kept: Mutex<Kept>,
    names: Arc<LogKey>,
    refresh: Option<Duration>,
    environment: HashMap<String, String>,
}

/// A token that the store is to know: what an issuer would put there.
pub(crate) struct Known<'k> {
    /// Whom it is for.
    pub(crate) subject: &'k str,
    /// What it opens.
    pub(crate) paths: &'k [&'k str],
    /// How many seconds it lives.
    pub(crate) life: u64,
    /// `file`, `login`, `exchange`.
    pub(crate) purposes: &'k [&'k str],
    /// From where alone it may be used.
    pub(crate) address: Option<&'k str>,
}

impl Server {
    /// Loads and starts; the errors as text. `refresh` replaces the regular interval of fetched key sets and of
    /// certificates, and how often the clock is looked at for credentials, which no configuration may set as short as tests need it.
    pub(crate) fn start(
        config: &Path,
        now: i64,
        refresh: Option<Duration>,
        environment: &HashMap<String, String>,
    ) -> Result<Self, String> {
        let clock = Clock::manual(UnixTime::from_secs(now));
        let loaded = attempt(config, KeyFiles::Make, Kept::default());
        let mut loaded = *loaded.outcome.map_err(|errors| errors.to_string())?;
        let kept = Mutex::new(loaded.kept.clone());
        let names = Arc::clone(&loaded.log_key);
        for source in &mut loaded.key_sources {
            source.refresh = refresh.unwrap_or(source.refresh);
        }
        surround(&mut loaded, refresh, environment);
        loaded.tls.poll = refresh.unwrap_or(loaded.tls.poll);
        let running = Product::start(setup(loaded, clock.clone())).map_err(|error| error.to_string())?;
        running.ready();
        Ok(Self {
            running,
            clock,
            kept,
            names,
            refresh,
            environment: environment.clone(),
        })
    }

    /// Reads the configuration again, as on SIGHUP; the errors as text.
    pub(crate) fn reload(&self, config: &Path) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match attempt(config, KeyFiles::Make, kept.clone()).outcome {
            Ok(mut loaded) => {
                *kept = loaded.kept.clone();
                surround(&mut loaded, self.refresh, &self.environment);
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

    /// Puts a token into the store, and hands out its text.
    pub(crate) fn remember(&self, known: &Known<'_>) -> String {
        let handle = Handle::random().expect("random numbers");
        let now = self.clock.now();
        let patterns = known
            .paths
            .iter()
            .map(|path| Opens::parse(path).expect("a pattern"));
        let claims = Claims {
            subject: Some(known.subject.into()),
            issued: Some(now),
            expires: Some(now.after(Duration::from_secs(known.life))),
            uses: Uses::Once,
            scope: Some(Scope(patterns.collect())),
            addresses: known
                .address
                .map(|address| Box::from([address.parse().expect("a network")])),
            ..Claims::empty(handle.id(&self.names))
        };
        let purposes = known.purposes.iter().fold(Purposes::default(), |all, name| {
            all.and(match *name {
                "file" => Purposes::FILE,
                "login" => Purposes::LOGIN,
                _ => Purposes::EXCHANGE,
            })
        });
        let issued = Issued {
            claims: Arc::new(claims),
            purposes,
            exchange_secs: 0,
        };
        let store = self.running.store().expect("a store");
        wait_for(store.remember(handle.id(&self.names), issued)).expect("remembered");
        handle.reveal().to_owned()
    }

    /// Withdraws a token that the store knows by its text.
    pub(crate) fn revoke_handle(&self, text: &str) {
        let id = Handle::parse(text).expect("a handle").id(&self.names);
        self.revoke(Revocation::Token { id, expires: None });
    }

    /// Withdraws all that a subject was given until now.
    pub(crate) fn revoke_subject(&self, subject: &str) {
        self.revoke(Revocation::Subject {
            subject: subject.into(),
            before: self.clock.now().after(Duration::from_secs(1)),
        });
    }

    fn revoke(&self, revocation: Revocation) {
        let store = self.running.store().expect("a store");
        wait_for(store.revoke(revocation)).expect("revoked");
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

/// Lets credentials be looked for in this environment, and the clock be looked at as often.
fn surround(loaded: &mut Loaded, refresh: Option<Duration>, environment: &HashMap<String, String>) {
    for source in &mut loaded.credential_sources {
        source.environment = Environment::Fixed(environment.clone());
        source.look = refresh.unwrap_or(source.look);
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
