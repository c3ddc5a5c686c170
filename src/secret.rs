//! Secret bytes: read from the environment or a file, zeroed when dropped, never printed.
//! The only file that reads environment variables.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// The largest secret that is read from a file: 1 MiB holds any key set.
const MAX_SECRET_BYTES: u64 = 1024 * 1024;

/// Bytes that must not be seen: `Debug` prints nothing of them.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Wraps bytes that are already at hand.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the environment variable `name`.
    ///
    /// # Errors
    /// `NotFound` when it is not set or not UTF-8.
    pub fn from_env(name: &str) -> io::Result<Self> {
        std::env::var(name)
            .map(|value| Self::new(value.into_bytes()))
            .map_err(|_| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("environment variable {name} is not set"),
                )
            })
    }

    /// Reads a whole file; one line end at its end is cut off, as editors add it.
    ///
    /// # Errors
    /// The file system's error, or `InvalidData` past 1 MiB.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(Vec::new());
        std::fs::File::open(path)?
            .take(MAX_SECRET_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_SECRET_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 1 MiB"));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes themselves. The name can be searched for.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Environment variables, for libraries that look for credentials there.
#[derive(Clone)]
pub enum Environment {
    /// What the process was started with.
    Process,
    /// These alone.
    Fixed(HashMap<String, String>),
}

impl Environment {
    /// One variable, where it is set and UTF-8.
    pub fn variable(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => std::env::var(name).ok(),
            Self::Fixed(all) => all.get(name).cloned(),
        }
    }

    /// All of them that are UTF-8.
    pub fn variables(&self) -> HashMap<String, String> {
        match self {
            Self::Process => std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            Self::Fixed(all) => all.clone(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }

    #[test]
    fn one_line_end_is_cut_off() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"key\r\n").unwrap();
        assert_eq!(Secret::from_file(file.path()).unwrap().reveal(), b"key");
    }
}
