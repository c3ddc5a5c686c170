//! `state/control.sock`: how other processes of the same user speak with the running server. The holder of the state's
//! lock puts the socket there, in the place of whatever a crash left; who connects has to be the same user or root.
//! A new command is a member of `wire::Command` and an arm in `obey`.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc;

pub mod book;
pub mod orders;
pub mod wire;

use super::takeover::{self, Socket};
use book::Book;
use wire::{Command, Message, Status, Wire};

/// The name in the state folder.
const NAME: &str = "control.sock";
/// Under which it is made, so that it appears with its mode.
const DRAFT: &str = "control.sock.new";
/// How long a frame is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Conversations at a time; more are closed without an answer.
const MAX_CONVERSATIONS: usize = 8;
/// What fits into a socket's address on every system, with the zero at its end.
const MAX_PATH: usize = 100;

/// The socket. Dropped, it takes no more connections; the file stays for the next holder of the lock to replace.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    conversations: Arc<AtomicUsize>,
}

/// What those who ask are answered from.
pub struct Desk {
    sockets: Mutex<Vec<Socket>>,
    handovers: mpsc::Sender<Wire>,
    book: Book,
}

impl Desk {
    /// With the listening sockets, where it is told that a new process is ready to go on in our place, and the memory of
    /// tokens.
    pub fn new(sockets: Vec<Socket>, handovers: mpsc::Sender<Wire>, book: Book) -> Arc<Self> {
        Arc::new(Self {
            sockets: Mutex::new(sockets),
            handovers,
            book,
        })
    }

    /// Lets go of the sockets: nobody is given them any more.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Socket>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A conversation that counts; its drop ends it.
struct Conversation(Arc<AtomicUsize>);

impl Drop for Conversation {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Control {
    /// Puts the socket into the folder. Only for the holder of its lock.
    ///
    /// # Errors
    /// Of the file system and the socket.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let draft = folder.join(DRAFT);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = short(folder, DRAFT, |path| UnixListener::bind(path))?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        fs::rename(&draft, folder.join(NAME))?;
        Ok(Self {
            listener,
            conversations: Arc::default(),
        })
    }

    /// Answers whoever asks. Never returns; it can be dropped at any time, and conversations go on then.
    pub async fn serve(&self, desk: &Arc<Desk>) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let is_one_of_us = stream
                .peer_cred()
                .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw());
            let busy = self.conversations.fetch_add(1, Ordering::Relaxed) >= MAX_CONVERSATIONS;
            let one = Conversation(Arc::clone(&self.conversations));
            if !is_one_of_us || busy {
                tracing::warn!("a connection to the control socket was refused");
                continue;
            }
            let desk = Arc::clone(desk);
            let Ok(stream) = stream.into_std() else { continue };
            // Not on the runtime's threads, for which its end would wait.
            let thread = std::thread::Builder::new().name("conversation".into());
            let started = thread.spawn(move || {
                let _one = one;
                if let Err(error) = converse(stream, &desk) {
                    tracing::warn!(%error, "a conversation at the control socket broke off");
                }
            });
            if let Err(error) = started {
                tracing::warn!(%error, "a conversation at the control socket can't be held");
            }
        }
    }
}

/// Takes the socket's file away, for a tidy end. Only for the holder of the lock.
pub fn remove(folder: &Path) {
    let _ = fs::remove_file(folder.join(NAME));
}

/// Hears what is wanted, and answers.
fn converse(stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let mut wire = Wire::new(stream, PATIENCE)?;
    let refused = |what: &str| Message::Refused(what.to_owned());
    match wire.receive() {
        Ok((Message::Command(command), _)) => obey(wire, &command, desk),
        Ok(_) => wire.send(&refused("a conversation begins with a command"), &[]),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::Unsupported
            ) =>
        {
            wire.send(&refused(&error.to_string()), &[])
        }
        Err(error) => Err(error),
    }
}

fn obey(mut wire: Wire, command: &Command, desk: &Desk) -> io::Result<()> {
    match command {
        Command::Status => {
            let status = Status {
                pid: std::process::id(),
                program: env!("CARGO_PKG_VERSION").to_owned(),
            };
            wire.send(&Message::Status(status), &[])
        }
        Command::Takeover => {
            // A copy that is gone before the wait: a drain has to be able to close them.
            let sockets = desk.lock().clone();
            takeover::offer(&mut wire, sockets)?;
            let handed_on = desk.handovers.blocking_send(wire);
            handed_on.map_err(|_| io::Error::other("this process is ending"))
        }
        Command::Revoke(_) | Command::Issue(_) => wire.send(&desk.book.answer(command), &[]),
    }
}

/// Connects to the server that runs over this state folder.
///
/// # Errors
/// Of the socket: nobody listens, or it is another user's.
pub fn connect(folder: &Path, patience: Duration) -> io::Result<Wire> {
    let stream = short(folder, NAME, |path| UnixStream::connect(path))?;
    Wire::new(stream, patience)
}

/// Whether a server answers over this state folder.
pub fn is_answered(folder: &Path) -> bool {
    let asked = connect(folder, PATIENCE).and_then(|mut wire| {
        wire.send(&Message::Command(Command::Status), &[])?;
        wire.receive()
    });
    matches!(asked, Ok((Message::Status(_), _)))
}

/// Calls `with` a path to a file in the folder that fits into a socket's address, however deep the folder lies.
fn short<T>(folder: &Path, name: &str, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().len() <= MAX_PATH {
        return with(&path);
    }
    let folder = fs::File::open(folder)?;
    let path: PathBuf = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()).into();
    with(&path)
}

#[cfg(test)]
mod tests;
