//! The service manager's side of the process: listening sockets that it holds for us (`sd_listen_fds(3)`), and what it
//! wants to be told (`sd_notify(3)`). The only file besides `secret.rs` that reads environment variables, and only those
//! of this protocol.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as Path, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};
use socket2::{SockRef, Type};

/// Listening sockets that were opened before the process was started. Empty where it opens its own.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes the sockets that the environment announces (`LISTEN_FDS`, `LISTEN_PID`). To be called once, before there are
    /// other threads: the variables are taken out, so that nobody takes the sockets twice.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket, or two have one address.
    pub fn from_env() -> io::Result<Self> {
        let mut announced = ListenFd::from_env();
        let mut sockets: Vec<(SocketAddr, TcpListener)> = Vec::new();
        for place in 0..announced.len() {
            let wrong = |what: String| Err(io::Error::other(format!("inherited socket {place}: {what}")));
            let listener = match announced.take_tcp_listener(place) {
                Ok(Some(listener)) => listener,
                Ok(None) => return wrong("it was taken before".to_owned()),
                Err(error) => return wrong(error.to_string()),
            };
            let socket = SockRef::from(&listener);
            if !socket.is_listener()? || socket.r#type()? != Type::STREAM {
                return wrong("it does not listen for TCP connections (ListenStream=, Accept=no)".to_owned());
            }
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            if sockets.iter().any(|(other, _)| *other == address) {
                return wrong(format!("{address} is there twice"));
            }
            sockets.push((address, listener));
        }
        Ok(Self(sockets))
    }

    /// Whether the service manager holds sockets at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The socket for a configured address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.0.iter().position(|(held, _)| *held == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Nothing may be left when all listeners have theirs: a socket that nobody accepts from would hold clients for ever.
    pub(super) fn all_taken(&self) -> io::Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((address, _)) => Err(io::Error::other(format!(
                "the service manager holds a socket on {address}, and no listener is configured there (write the same \
                 address in ListenStream= and in the configuration)"
            ))),
        }
    }
}

/// Tells the service manager how the process is. Where there is none, nothing is told.
#[derive(Debug)]
pub struct Notifier(Option<(UnixDatagram, Path)>);

impl Notifier {
    /// The service manager's socket, by the environment (`NOTIFY_SOCKET`).
    ///
    /// # Errors
    /// When the variable is set and is no address, or no socket can be made.
    pub fn from_env() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self(None));
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("NOTIFY_SOCKET: {error}"));
        let address = address(&name).map_err(named)?;
        let socket = UnixDatagram::unbound().map_err(named)?;
        // The server does not stand still for a manager that does not read.
        socket.set_nonblocking(true).map_err(named)?;
        Ok(Self(Some((socket, address))))
    }

    /// Requests are served.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// Requests are served, by this process in the place of the one that the service manager watched so far.
    pub fn took_over(&self) {
        self.tell(&format!(
            "MAINPID={}\nREADY=1\nSTATUS=serving",
            std::process::id()
        ));
    }

    /// The configuration is read anew; `ready` says when that is over.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The drain begins.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// The process is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How often the service manager wants to hear that (`WATCHDOG_USEC`, `WATCHDOG_PID`); we say it twice as often.
    pub fn watchdog(&self) -> Option<Duration> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = std::env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let micros = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0)?;
        self.0.as_ref().map(|_| Duration::from_micros(micros) / 2)
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }
}

/// `/run/systemd/notify`, or `@name` for an abstract one.
fn address(name: &OsString) -> io::Result<Path> {
    match name.as_bytes() {
        [b'@', name @ ..] => Path::from_abstract_name(name),
        [b'/', ..] => Path::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither a path nor an abstract name",
        )),
    }
}
