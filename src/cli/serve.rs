//! `mediagate serve`: starts the server, says where it is, and drains it on SIGTERM or SIGINT.

use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};

use super::Failed;
use crate::clock::Clock;
use crate::config::{Loaded, in_file};
use crate::server::limits::FileLimit;
use crate::server::systemd::{Inherited, Notifier};
use crate::server::{Running, Server, Setup};
use crate::telemetry;

/// What a server is started with, from a configuration.
pub fn setup(loaded: Loaded, clock: Clock) -> Setup {
    Setup {
        listeners: loaded.listeners,
        tls: loaded.tls,
        inherited: Inherited::default(),
        settings: loaded.settings,
        client_address: loaded.client_address,
        log: loaded.log,
        snapshot: loaded.snapshot,
        route_names: loaded.routes.iter().map(|route| route.name.clone()).collect(),
        key_sources: loaded.key_sources,
        clock,
    }
}

/// Runs until a signal. The banner is printed when the listeners are bound and before `/readyz` turns 200.
pub(super) fn serve(loaded: Loaded) -> Result<(), Failed> {
    // Before there is another thread.
    let inherited = Inherited::from_env().map_err(Failed::other)?;
    let manager = Notifier::from_env().map_err(Failed::other)?;
    telemetry::start(&loaded.log);
    for warning in &loaded.warnings {
        tracing::warn!("{}", in_file(&loaded.file, warning));
    }
    if let Some(warning) = FileLimit::raise().warning(&loaded.settings) {
        tracing::warn!("{warning}");
    }
    let clock = Clock::system();
    let banner = match &loaded.demo {
        Some(demo) => {
            let link = demo.link(clock.now()).map_err(Failed::other)?;
            // As it was called, so that the line can be copied: `target/release/mediagate` after `cargo run --release`.
            let program = std::env::args().next().unwrap_or_else(|| "mediagate".to_owned());
            let next = demo.next.replacen("mediagate", &program, 1);
            format!(
                "\n  Open this link, it is good for a day:\n  {link}\n\n  Make the next one:\n  {next}\n\n"
            )
        }
        None => String::new(),
    };
    let watch = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::other)?;
    // Watched before anything is served, so that no signal finds the default handler.
    let (mut terminate, mut interrupt) = {
        let _guard = watch.enter();
        let watched = |kind| signal(kind).map_err(Failed::other);
        (
            watched(SignalKind::terminate())?,
            watched(SignalKind::interrupt())?,
        )
    };
    let setup = Setup {
        inherited,
        ..setup(loaded, clock)
    };
    let running = Server::start(setup).map_err(Failed::other)?;
    announce(&running, &banner).map_err(Failed::other)?;
    running.ready();
    manager.ready();
    watch.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = watchdog(&running, &manager) => {}
        }
    });
    manager.stopping();
    tracing::info!("draining");
    running.stop();
    Ok(())
}

/// Tells the service manager as often as it wants that the process is alive, as long as no thread stands still.
async fn watchdog(running: &Running, manager: &Notifier) {
    let Some(every) = manager.watchdog() else {
        return std::future::pending().await;
    };
    let mut last = running.pulses();
    let mut tick = tokio::time::interval(every);
    tick.tick().await;
    loop {
        tick.tick().await;
        let now = running.pulses();
        if now.iter().zip(&last).all(|(now, last)| now != last) {
            manager.alive();
        }
        last = now;
    }
}

fn announce(running: &Running, banner: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "mediagate: gate {}", running.gate_urls().join(", "))?;
    if let Some(issuer) = running.issuer_url() {
        write!(out, ", issuer {issuer}")?;
    }
    writeln!(out, ", admin {}", running.admin_url())?;
    out.write_all(banner.as_bytes())?;
    out.flush()
}
