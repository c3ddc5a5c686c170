//! The lock on the folder `state`: one server at a time writes there. The kernel holds it for an open file and lets go
//! when the process ends, however it ends; the file itself stays, and means nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// The name of the file in the folder.
const NAME: &str = "lock";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct StateLock(#[allow(dead_code, reason = "the open file is the lock")] File);

/// Why the lock can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another mediagate{} has the state folder", .0.map_or(String::new(), |pid| format!(" (process {pid})")))]
    Held(Option<u32>),
    /// The file can't be opened or written.
    #[error("the lock of the state folder can't be taken: {0}")]
    Io(#[from] io::Error),
}

impl StateLock {
    /// Takes the lock of this folder, which exists, without waiting for it.
    ///
    /// # Errors
    /// `LockError::Held` where another process has it.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(NAME))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held(read_pid(&mut file))),
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // For people who look for the holder; nothing is decided by it.
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_holds_it_until_it_is_dropped_and_the_file_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let lock = StateLock::take(folder.path()).unwrap();
        let pid = std::process::id();
        assert!(matches!(
            StateLock::take(folder.path()),
            Err(LockError::Held(Some(held))) if held == pid
        ));
        let mode = std::fs::metadata(folder.path().join(NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(lock);
        StateLock::take(folder.path()).unwrap();
    }

    #[test]
    fn what_a_crash_leaves_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "4194304000000000000000000\n").unwrap();
        StateLock::take(folder.path()).unwrap();
    }
}
