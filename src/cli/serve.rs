//! `mediagate serve`: starts the server, says where it is, and drains it on SIGTERM or SIGINT.

use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::config::Loaded;
use crate::server::{Running, Server, Setup};
use crate::telemetry;

/// What a server is started with, from a configuration.
pub fn setup(loaded: Loaded, clock: Clock) -> Setup {
    Setup {
        listeners: loaded.listeners,
        settings: loaded.settings,
        client_address: loaded.client_address,
        log: loaded.log,
        snapshot: loaded.snapshot,
        route_names: loaded.routes.iter().map(|route| route.name.clone()).collect(),
        key_sources: loaded.key_sources,
        clock,
    }
}

/// Runs until a signal. `banner` is printed when the listeners are bound and before `/readyz` turns 200.
///
/// # Errors
/// When an address can't be bound, a thread can't be started or the signals can't be watched.
pub(super) fn serve(loaded: Loaded, banner: &str) -> io::Result<()> {
    telemetry::start(&loaded.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let watch = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Watched before anything is served, so that no signal finds the default handler.
    let (mut terminate, mut interrupt) = {
        let _guard = watch.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let running = Server::start(setup(loaded, Clock::system()))?;
    announce(&running, banner)?;
    running.ready();
    watch.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    tracing::info!("draining");
    running.stop();
    Ok(())
}

fn announce(running: &Running, banner: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let gate = running.gate().iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(", ");
    write!(out, "mediagate: gate {gate}")?;
    if let Some(issuer) = running.issuer() {
        write!(out, ", issuer http://{issuer}")?;
    }
    writeln!(out, ", admin http://{}", running.admin())?;
    out.write_all(banner.as_bytes())?;
    out.flush()
}
