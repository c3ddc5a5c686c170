//! How a new process goes on in the place of a running one, without losing a connection. The very sockets that listen
//! are passed, so that what waits in their queues waits on; both sides speak `control::wire`.
//!
//! ```text
//! the old process                                   the new process
//! Serving     ← Command(Takeover) ───────────────── has loaded its configuration
//!             ─ Sockets … ────────────────────────→ binds what is missing, starts all but accepting
//! Serving     ← Ready ─────────────────────────────
//! Paused      accepts no more, lets go of the lock
//!             ─ Yours ────────────────────────────→ takes the lock and the control socket, accepts
//! Gone        ← Serving ───────────────────────────
//!             ends its connections and its process
//! ```
//!
//! | the old is | event | becomes |
//! |---|---|---|
//! | Serving | a wait is over, the other side is gone, nonsense | Serving: nothing has happened |
//! | Paused | `Serving` | Gone |
//! | Paused | a wait is over, the other side is gone, nonsense | who has the lock serves: Serving where it can be taken back, else Gone |

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::control::wire::{Command, Door, Listening, MAX_SOCKETS, Message, Wire};
use super::control::{self};
use crate::clock::Stopwatch;
use crate::state::{LockError, StateLock};

/// How long the old process waits for a new one to start up. It serves meanwhile.
const PREPARATION: Duration = Duration::from_secs(60);
/// How long the old process waits for the new one to open the store and accept; nobody accepts meanwhile.
const CHANGE: Duration = Duration::from_secs(15);
/// How long the lock is tried for: the kernel may close a dead process's connection before its files.
const LOCK: Duration = Duration::from_secs(3);
/// More sockets than any server has.
const MAX_ALL: usize = 65_536;
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// A listening socket and what it is for.
#[derive(Clone, Debug)]
pub struct Socket {
    /// Which door it leads to.
    pub door: Door,
    /// Where it listens.
    pub address: SocketAddr,
    /// It.
    pub listener: Arc<TcpListener>,
}

/// Why there is no takeover. The running process serves on.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Nobody answers at the control socket.
    #[error("the running process can't be asked at its control socket: {0}")]
    Unreachable(#[source] io::Error),
    /// It said no.
    #[error("the running process refuses: {0}")]
    Refused(String),
    /// The conversation ended too early.
    #[error("the running process broke off: {0}")]
    BrokenOff(#[from] io::Error),
    /// It said something else than expected.
    #[error("the running process does not keep to the protocol")]
    Protocol,
    /// The lock was not there to be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What became of the old process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another process serves.
    Gone,
    /// It serves again.
    Back,
}

/// The old side, first half: passes the sockets and waits until the new process is ready.
///
/// # Errors
/// When the new process does not get that far. Nothing has changed then.
pub(super) fn offer(wire: &mut Wire, sockets: Vec<Socket>) -> io::Result<()> {
    let mut frames = sockets.chunks(MAX_SOCKETS).peekable();
    if frames.peek().is_none() {
        return Err(io::Error::other("there are no sockets to pass"));
    }
    while let Some(frame) = frames.next() {
        let named = frame.iter().map(|socket| Listening {
            door: socket.door,
            address: socket.address,
        });
        let descriptors: Vec<BorrowedFd<'_>> = frame.iter().map(|socket| socket.listener.as_fd()).collect();
        let message = Message::Sockets {
            sockets: named.collect(),
            last: frames.peek().is_none(),
        };
        wire.send(&message, &descriptors)?;
    }
    drop(sockets);
    wire.set_patience(PREPARATION)?;
    match wire.receive()? {
        (Message::Ready, _) => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The old side, second half: lets go, and takes everything back where the new process does not come up. `pause` and
/// `resume` end and begin accepting.
pub fn hand_over(
    mut wire: Wire,
    folder: &Path,
    lock: &mut Option<StateLock>,
    pause: impl FnOnce(),
    resume: impl FnOnce(),
) -> Outcome {
    pause();
    // Whoever comes to hold more of the state than the lock lets go of it here, before the lock.
    *lock = None;
    let answer = wire
        .set_patience(CHANGE)
        .and_then(|()| wire.send(&Message::Yours, &[]))
        .and_then(|()| wire.receive());
    match answer {
        Ok((Message::Serving, _)) => return Outcome::Gone,
        Ok(_) => tracing::error!("the new process does not keep to the protocol of a takeover"),
        Err(error) => tracing::error!(%error, "the new process did not come up"),
    }
    // Whatever the other side may still say, nobody hears it.
    drop(wire);
    match take(folder) {
        Ok(taken) => {
            *lock = Some(taken);
            resume();
            Outcome::Back
        }
        Err(error) => {
            tracing::error!(%error, "another process serves now");
            Outcome::Gone
        }
    }
}

/// The new side, once it has what it needs of the old.
#[derive(Debug)]
pub struct Successor {
    wire: Wire,
    /// The sockets that were passed.
    pub sockets: Vec<Socket>,
}

impl Successor {
    /// Asks the process that serves over this state folder for its sockets.
    ///
    /// # Errors
    /// `TakeoverError`; nothing has changed then.
    pub fn ask(folder: &Path) -> Result<Self, TakeoverError> {
        let mut wire = control::connect(folder, PREPARATION).map_err(TakeoverError::Unreachable)?;
        wire.send(&Message::Command(Command::Takeover), &[])?;
        let sockets = receive_all(&mut wire)?;
        Ok(Self { wire, sockets })
    }

    /// Everything but accepting has begun: waits for the old process to let go, and takes the lock.
    ///
    /// # Errors
    /// `TakeoverError`; the old process serves on when this one ends.
    pub fn claim(&mut self, folder: &Path) -> Result<StateLock, TakeoverError> {
        self.wire.send(&Message::Ready, &[])?;
        match self.wire.receive()? {
            (Message::Yours, _) => Ok(take(folder)?),
            _ => Err(TakeoverError::Protocol),
        }
    }

    /// Accepts by now: the old process may end.
    pub fn serving(mut self) {
        // Where it does not hear it, it finds the lock taken.
        let _ = self.wire.send(&Message::Serving, &[]);
    }
}

fn receive_all(wire: &mut Wire) -> Result<Vec<Socket>, TakeoverError> {
    let mut sockets = Vec::new();
    loop {
        let (passed, is_last, descriptors) = match wire.receive()? {
            (Message::Sockets { sockets, last }, descriptors) => (sockets, last, descriptors),
            (Message::Refused(why), _) => return Err(TakeoverError::Refused(why)),
            _ => return Err(TakeoverError::Protocol),
        };
        if passed.is_empty() || passed.len() != descriptors.len() || sockets.len() >= MAX_ALL {
            return Err(TakeoverError::Protocol);
        }
        for (named, descriptor) in passed.into_iter().zip(descriptors) {
            sockets.push(checked(named.door, TcpListener::from(descriptor))?);
        }
        if is_last {
            return Ok(sockets);
        }
    }
}

/// A socket as the kernel knows it, not as it was announced.
fn checked(door: Door, listener: TcpListener) -> Result<Socket, TakeoverError> {
    let listens = rustix::net::sockopt::socket_acceptconn(&listener).map_err(io::Error::from)?;
    if !listens {
        return Err(TakeoverError::Protocol);
    }
    listener.set_nonblocking(true)?;
    Ok(Socket {
        door,
        address: listener.local_addr()?,
        listener: Arc::new(listener),
    })
}

/// Takes the lock, trying for a moment.
fn take(folder: &Path) -> Result<StateLock, LockError> {
    let watch = Stopwatch::start();
    loop {
        match StateLock::take(folder) {
            Err(LockError::Held(_)) if watch.elapsed() < LOCK => std::thread::sleep(TRY_AGAIN),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        let patience = Duration::from_secs(20);
        (
            Wire::new(one, patience).unwrap(),
            Wire::new(other, patience).unwrap(),
        )
    }

    fn socket() -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Socket {
            door: Door::Gate,
            address: listener.local_addr().unwrap(),
            listener: Arc::new(listener),
        }
    }

    #[test]
    fn more_sockets_than_a_frame_holds_all_arrive_in_order() {
        let (mut old, mut new) = pair();
        let kinds = [socket(), socket(), socket()];
        let many: Vec<Socket> = kinds.iter().cycle().take(2 * MAX_SOCKETS + 1).cloned().collect();
        let wanted: Vec<SocketAddr> = many.iter().map(|socket| socket.address).collect();
        let offering = std::thread::spawn(move || offer(&mut old, many));
        let sockets = receive_all(&mut new).unwrap();
        new.send(&Message::Ready, &[]).unwrap();
        offering.join().unwrap().unwrap();
        let got: Vec<SocketAddr> = sockets.iter().map(|socket| socket.address).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn what_does_not_listen_or_was_not_sent_is_refused() {
        let named = |count: u16| Message::Sockets {
            sockets: (0..count)
                .map(|at| Listening {
                    door: Door::Gate,
                    address: SocketAddr::from(([127, 0, 0, 1], at)),
                })
                .collect(),
            last: true,
        };
        let socket = socket();
        let stream = std::net::TcpStream::connect(socket.address).unwrap();
        let other = socket.listener.as_fd();
        for (message, descriptors) in [
            (named(2), vec![other]),
            (named(0), vec![other]),
            (named(1), vec![stream.as_fd()]),
            (Message::Yours, vec![]),
        ] {
            let (mut old, mut new) = pair();
            old.send(&message, &descriptors).unwrap();
            assert!(
                matches!(receive_all(&mut new), Err(TakeoverError::Protocol)),
                "{message:?}"
            );
        }
    }

    #[test]
    fn a_new_process_that_leaves_before_it_is_ready_changes_nothing() {
        let (mut old, new) = pair();
        drop(new);
        assert!(offer(&mut old, vec![socket()]).is_err());
    }
}
