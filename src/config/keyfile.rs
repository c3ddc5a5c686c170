//! Secret files on disk: made when missing, by exactly one process, for this user alone; refused where others can read
//! them. The one place that writes key material.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes a folder, and those above it, for this user alone. One that is there stays as it is.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a new file of mode 0600 that nobody sees half-written. Tells whether it was this call that made it: of two
/// processes one wins, and the other reads what the winner wrote.
pub(super) fn make(path: &Path, content: &[u8]) -> io::Result<bool> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let draft = draft(folder, path)?;
    let written = write_new(&draft, content).and_then(|()| {
        // A link, unlike a rename, does not replace what is there.
        match fs::hard_link(&draft, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    });
    let _ = fs::remove_file(&draft);
    if written.as_ref().is_ok_and(|made| *made) {
        File::open(folder)?.sync_all()?;
    }
    written
}

/// Puts another content in the place of a file, or makes it, with mode 0600. Whoever reads sees all of the one or all of the
/// other.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let draft = draft(folder, path)?;
    let written = write_new(&draft, content).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written?;
    File::open(folder)?.sync_all()
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn draft(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("names no file"))?
        .to_string_lossy();
    Ok(folder.join(format!(".{name}.{:016x}", u64::from_ne_bytes(random))))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The mode of a file that others than its owner can use; `None` where it is the owner's alone.
pub(super) fn exposed(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_makers_one_wins_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/key");
        let wins: Vec<bool> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8u8)
                .map(|at| {
                    scope.spawn({
                        let path = &path;
                        move || make(path, &[at; 32]).unwrap()
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(wins.iter().filter(|won| **won).count(), 1);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(exposed(&path).unwrap(), None);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read(&path).unwrap().len(), 32);
    }
}
