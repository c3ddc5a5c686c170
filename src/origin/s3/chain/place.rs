//! Where credentials may be, and whether a place is there: by its variables and files, before it is asked anything.
//! In: the environment. Out: yes or no, and the files that the library reads. Never: takes what is there by half, or can't
//! be read, for absent.

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use reqsign_core::{Env, Error, FileRead};
use tokio::io::AsyncReadExt;

use super::MAX_BYTES;
use crate::secret::Environment;

/// A file that is none: many set a variable to it where they want no file.
pub(super) const NO_FILE: &str = "/dev/null";

/// What in a profile says that it is meant to give credentials. Most of these are not read, and no reason to go on.
const OF_CREDENTIALS: [&str; 13] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "source_profile",
    "sso_account_id",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
];

/// A place, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::origin::s3) enum Place {
    /// Keys in variables.
    Environment,
    /// A profile in the file that holds nothing but credentials.
    CredentialsFile,
    /// A profile, in the file of settings.
    Profile,
    /// A role for a token.
    WebIdentity,
    /// A container's metadata.
    Container,
    /// A machine's metadata.
    Instance,
}

impl Place {
    pub(super) const ALL: [Self; 6] = [
        Self::Environment,
        Self::CredentialsFile,
        Self::Profile,
        Self::WebIdentity,
        Self::Container,
        Self::Instance,
    ];
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "the environment",
            Self::CredentialsFile => "the shared credentials file",
            Self::Profile => "the shared profile",
            Self::WebIdentity => "the web identity",
            Self::Container => "the container",
            Self::Instance => "the instance",
        })
    }
}

/// The environment as the library reads it; what is empty is not set.
#[derive(Clone)]
pub(super) struct Surroundings(pub(super) Environment);

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings(…)")
    }
}

impl Env for Surroundings {
    fn var(&self, key: &str) -> Option<String> {
        self.0.variable(key).filter(|value| !value.is_empty())
    }

    fn vars(&self) -> HashMap<String, String> {
        let mut all = self.0.variables();
        all.retain(|_, value| !value.is_empty());
        all
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }
}

impl Surroundings {
    /// Whether a place is there, whole or by half.
    pub(super) async fn have(&self, place: Place) -> bool {
        match place {
            Place::Environment => {
                self.any(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
            }
            Place::CredentialsFile => match self.credentials_file().await {
                File::Absent => false,
                File::Unreadable => true,
                File::Text(text) => has_section(&text, |name| name == self.profile()),
            },
            Place::Profile => {
                if self.any(&["AWS_PROFILE"]) || !matches!(self.credentials_file().await, File::Absent) {
                    return true;
                }
                match self.file("AWS_CONFIG_FILE", ".aws/config").await {
                    File::Absent => false,
                    File::Unreadable => true,
                    File::Text(text) => gives_credentials(&text, |name| {
                        name.strip_prefix("profile ").unwrap_or(name).trim() == self.profile()
                    }),
                }
            }
            Place::WebIdentity => self.any(&["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]),
            Place::Container => self.any(&[
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            ]),
            Place::Instance => !self
                .var("AWS_EC2_METADATA_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        }
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.var(name).is_some())
    }

    fn profile(&self) -> String {
        self.var("AWS_PROFILE").unwrap_or_else(|| "default".into())
    }

    async fn credentials_file(&self) -> File {
        self.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials").await
    }

    /// The file that a variable names, or else this one at home.
    async fn file(&self, variable: &str, at_home: &str) -> File {
        let home = self.home_dir();
        let Some(named) = self.var(variable) else {
            let Some(path) = home.map(|home| home.join(at_home)) else {
                return File::Absent;
            };
            // A home that is closed to the process, as systemd's `ProtectHome` does it, holds nothing for it.
            let entered = tokio::fs::metadata(&path).await.map_err(|error| error.kind());
            return match entered {
                Err(ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied) => {
                    File::Absent
                }
                _ => File::read(&path.to_string_lossy()).await,
            };
        };
        match (named.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => File::read(&home.join(rest).to_string_lossy()).await,
            (Some(_), None) => File::Unreadable,
            (None, _) if named == NO_FILE => File::Absent,
            (None, _) => File::read(&named).await,
        }
    }
}

/// What became of reading a file.
enum File {
    /// Nobody said that there is one, and there is none.
    Absent,
    /// It was named and is not there, can't be read, or is too large.
    Unreadable,
    Text(String),
}

impl File {
    async fn read(path: &str) -> Self {
        match read(path).await {
            Ok(bytes) => Self::Text(String::from_utf8_lossy(&bytes).into_owned()),
            Err(_) => Self::Unreadable,
        }
    }
}

/// The lines of a file with the name of the section that they stand in, those that begin a section among them.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.lines().map(str::trim).map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim();
        }
        (section, line)
    })
}

fn has_section(text: &str, is: impl Fn(&str) -> bool) -> bool {
    lines(text).any(|(section, line)| line.starts_with('[') && is(section))
}

/// Whether a section says anything of credentials.
fn gives_credentials(text: &str, is: impl Fn(&str) -> bool) -> bool {
    lines(text).any(|(section, line)| {
        let key = line.split(['=', ':']).next().unwrap_or_default().trim();
        is(section) && OF_CREDENTIALS.iter().any(|known| key.eq_ignore_ascii_case(known))
    })
}

/// Reads the files that the library names.
#[derive(Debug)]
pub(super) struct Reader;

impl FileRead for Reader {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        read(path)
            .await
            .map_err(|_| Error::config_invalid("a file can't be read, or is too large"))
    }
}

/// A whole file. One that is larger than any of its kind is refused: cut off it would be another.
async fn read(path: &str) -> std::io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    match bytes.len() <= MAX_BYTES {
        true => Ok(bytes),
        false => Err(ErrorKind::FileTooLarge.into()),
    }
}
