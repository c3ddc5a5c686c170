//! `mediagate serve`: takes the lock of the state folder, or the place of the process that has it; starts the server, says
//! where it is; then signals, reloads and takeovers, until it drains on SIGTERM or SIGINT.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::reload::{self, Reloader};
use super::{Failed, wrong};
use crate::clock::{Clock, Stopwatch};
use crate::config::{Attempt, Fixed, Kept, KeyFiles, Loaded, attempt, in_file};
use crate::server::control::wire::Wire;
use crate::server::control::{self, Control, Desk};
use crate::server::limits::FileLimit;
use crate::server::systemd::{Inherited, Notifier};
use crate::server::takeover::{self, Outcome, Successor};
use crate::server::{Running, Server, Setup};
use crate::state::{LockError, StateLock};
use crate::telemetry;

/// Between two looks at whether the last connection has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long a start waits for a command that has the state folder.
const COMMAND: Duration = Duration::from_secs(5);

#[derive(Args, Default)]
pub(super) struct Flags {
    /// Go on in the place of the process that serves over the same state folder, without losing a connection: it passes
    /// its listening sockets, finishes what it is at, and ends. Where none serves, starts as usual.
    #[arg(long)]
    takeover: bool,
}

/// What a server is started with, from a configuration.
pub fn setup(loaded: Loaded, clock: Clock) -> Setup {
    Setup {
        listeners: loaded.listeners,
        tls: loaded.tls,
        inherited: Inherited::default(),
        settings: loaded.settings,
        client_address: loaded.client_address,
        log: loaded.log,
        store: loaded.store,
        snapshot: loaded.snapshot,
        route_names: loaded.routes.iter().map(|route| route.name.clone()).collect(),
        key_sources: loaded.key_sources,
        credential_sources: loaded.credential_sources,
        origins: loaded.origins,
        clock,
    }
}

/// Runs until a signal, or until another process has taken over.
pub(super) fn serve(path: &Path, flags: &Flags) -> Result<(), Failed> {
    // Before there is another thread.
    let inherited = Inherited::from_env().map_err(Failed::other)?;
    let manager = Notifier::from_env().map_err(Failed::other)?;
    let Attempt { outcome, files } = attempt(path, KeyFiles::Make, Kept::default());
    let loaded = *outcome.map_err(wrong)?;
    telemetry::start(&loaded.log);
    for warning in &loaded.warnings {
        tracing::warn!("{}", in_file(&loaded.file, warning));
    }
    if let Some(warning) = FileLimit::raise().warning(&loaded.settings) {
        tracing::warn!("{warning}");
    }
    let state = loaded.state.clone();
    let (mut lock, mut successor) = match take_lock(&state) {
        Ok(lock) => (Some(lock), None),
        Err(LockError::Held(_)) if flags.takeover => {
            (None, Some(Successor::ask(&state).map_err(Failed::other)?))
        }
        Err(error @ LockError::Held(_)) => {
            let hint = "`serve --takeover` goes on in its place";
            return Err(Failed::Other(format!("{}: {error}; {hint}", state.display())));
        }
        Err(error) => return Err(Failed::Other(format!("{}: {error}", state.display()))),
    };
    let clock = Clock::system();
    let banner = banner(&loaded, &clock)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::other)?;
    // Watched before anything is served, so that no signal finds the default handler.
    let mut signals = Signals::watch(&runtime)?;
    let fixed = Fixed::of(&loaded);
    let kept = loaded.kept.clone();
    let handed = successor
        .as_mut()
        .map_or_else(Vec::new, |successor| std::mem::take(&mut successor.sockets));
    let setup = Setup {
        inherited,
        ..setup(loaded, clock)
    };
    let running = Server::prepare(setup, handed).map_err(Failed::other)?;
    if let Some(successor) = &mut successor {
        lock = Some(successor.claim(&state).map_err(Failed::other)?);
    }
    running
        .open_store()
        .map_err(|error| Failed::Other(format!("{}: {error}", state.display())))?;
    let (handovers, ready) = mpsc::channel(1);
    let desk = Desk::new(running.sockets().to_vec(), handovers, running.book());
    let control = bind_control(&runtime, &state)?;
    let reloader = Reloader::start(path.to_owned(), files, kept)?;
    announce(&running, &banner).map_err(Failed::other)?;
    running.accept();
    running.ready();
    // From here on nothing fails: there is nobody to fall back to.
    match successor {
        Some(successor) => {
            // Before the old process ends: the service manager would take its end for that of the service.
            manager.took_over();
            successor.serving();
        }
        None => manager.ready(),
    }
    let serving = Serving {
        running,
        reloader,
        fixed,
        lock,
        state,
        control,
        desk,
        handovers: ready,
        manager,
    };
    runtime.block_on(serving.run(&mut signals));
    Ok(())
}

/// A server that runs, and all that happens to it.
struct Serving {
    running: Running,
    reloader: Reloader,
    fixed: Fixed,
    lock: Option<StateLock>,
    state: PathBuf,
    control: Control,
    desk: Arc<Desk>,
    handovers: mpsc::Receiver<Wire>,
    manager: Notifier,
}

impl Serving {
    async fn run(mut self, signals: &mut Signals) {
        let mut watchdog = Watchdog::new(&self.running, &self.manager);
        loop {
            let Signals { ending, hangup, .. } = signals;
            tokio::select! {
                () = ending.next() => {
                    self.drain(ending).await;
                    return;
                }
                _ = hangup.recv() => {
                    self.manager.reloading();
                    self.reloader.now();
                }
                Some(tried) = self.reloader.next() => {
                    reload::apply(tried, &self.running, &self.fixed);
                    self.manager.ready();
                }
                () = self.control.serve(&self.desk) => {}
                () = watchdog.tick(&self.running, &self.manager) => {}
                Some(wire) = self.handovers.recv() => if self.hand_over(wire) == Outcome::Gone {
                    self.leave(ending).await;
                    return;
                },
            }
        }
    }

    /// A new process is ready to go on in our place.
    fn hand_over(&mut self, wire: Wire) -> Outcome {
        tracing::info!("another process takes over");
        let running = &self.running;
        let outcome = takeover::hand_over(
            wire,
            &self.state,
            &mut self.lock,
            || {
                // In this order, so that who is told to come again meets the new process.
                running.pause();
                running.close_store();
            },
            || {
                if let Err(error) = running.open_store() {
                    tracing::error!(%error, "the store can't be opened again");
                }
                running.accept();
            },
        );
        if outcome == Outcome::Back {
            tracing::warn!("the takeover failed; serving on");
            // The other process may have put its own in the place of ours.
            match Control::bind(&self.state) {
                Ok(control) => self.control = control,
                Err(error) => tracing::error!(%error, "the control socket can't be put back"),
            }
        }
        outcome
    }

    /// After a takeover: bodies run on for as long as they move, or until a signal; then they have the drain timeout.
    async fn leave(self, ending: &mut Ending) {
        let mut running = self.running;
        // Nothing of the state is read or written from here on.
        drop((self.control, self.reloader, self.handovers));
        tracing::info!("another process serves; ending when the last connection has ended");
        self.desk.close();
        running.unready();
        running.drain();
        tokio::select! {
            () = idle(&running) => return,
            () = ending.next() => {}
        }
        bodies(&running, ending).await;
    }

    /// On SIGTERM. A second signal ends it at once.
    async fn drain(self, ending: &mut Ending) {
        let Self {
            mut running,
            control,
            desk,
            state,
            lock,
            ..
        } = self;
        self.manager.stopping();
        tracing::info!("draining");
        drop((self.reloader, self.handovers));
        desk.close();
        running.unready();
        let end = async {
            let (delay, _) = running.drain_times();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = ending.next() => return,
            }
            running.drain();
            bodies(&running, ending).await;
        };
        // As long as bodies run, their tokens can be withdrawn.
        tokio::select! {
            () = control.serve(&desk) => {}
            () = end => {}
        }
        control::remove(&state);
        // Writes what is still to be written.
        drop(running);
        // Only now may another process write there.
        drop(lock);
    }
}

/// Waits until the last connection has ended, for as long as a drain may take.
async fn bodies(running: &Running, ending: &mut Ending) {
    let (_, timeout) = running.drain_times();
    tokio::select! {
        () = idle(running) => {}
        () = tokio::time::sleep(timeout) => {}
        () = ending.next() => {}
    }
}

async fn idle(running: &Running) {
    while !running.is_idle() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells the service manager as often as it wants that the process is alive, as long as no thread stands still.
struct Watchdog {
    ticks: Option<tokio::time::Interval>,
    last: Vec<u64>,
}

impl Watchdog {
    fn new(running: &Running, manager: &Notifier) -> Self {
        let ticks = |every| tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        Self {
            ticks: manager.watchdog().map(ticks),
            last: running.pulses(),
        }
    }

    /// The next look.
    async fn tick(&mut self, running: &Running, manager: &Notifier) {
        let Some(ticks) = &mut self.ticks else {
            return std::future::pending().await;
        };
        ticks.tick().await;
        let now = running.pulses();
        if now.iter().zip(&self.last).all(|(now, last)| now != last) {
            manager.alive();
        }
        self.last = now;
    }
}

/// The signals that mean something.
struct Signals {
    ending: Ending,
    hangup: Signal,
    /// Watched so that it does not end the process: a write beyond the limit on the size of files fails as on a full disk.
    _too_large: Signal,
}

/// Those that mean the end.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch(runtime: &Runtime) -> Result<Self, Failed> {
        let _guard = runtime.enter();
        let watched = |kind| signal(kind).map_err(Failed::other);
        Ok(Self {
            ending: Ending {
                terminate: watched(SignalKind::terminate())?,
                interrupt: watched(SignalKind::interrupt())?,
            },
            hangup: watched(SignalKind::hangup())?,
            _too_large: watched(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }
}

impl Ending {
    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The lock of the state folder. A command that works in the place of a server has it for a moment, and answers nobody.
fn take_lock(state: &Path) -> Result<StateLock, LockError> {
    let watch = Stopwatch::start();
    loop {
        match StateLock::take(state) {
            Err(LockError::Held(_)) if watch.elapsed() < COMMAND && !control::is_answered(state) => {
                std::thread::sleep(LOOK);
            }
            result => return result,
        }
    }
}

fn bind_control(runtime: &Runtime, state: &Path) -> Result<Control, Failed> {
    let _guard = runtime.enter();
    let named = |error| Failed::Other(format!("the control socket in {}: {error}", state.display()));
    Control::bind(state).map_err(named)
}

/// The link of a demo.
fn banner(loaded: &Loaded, clock: &Clock) -> Result<String, Failed> {
    let Some(demo) = &loaded.demo else {
        return Ok(String::new());
    };
    let link = demo.link(clock.now()).map_err(Failed::other)?;
    // As it was called, so that the line can be copied: `target/release/mediagate` after `cargo run --release`.
    let program = std::env::args().next().unwrap_or_else(|| "mediagate".to_owned());
    let next = demo.next.replacen("mediagate", &program, 1);
    Ok(format!(
        "\n  Open this link, it is good for a day:\n  {link}\n\n  Make the next one:\n  {next}\n\n"
    ))
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
