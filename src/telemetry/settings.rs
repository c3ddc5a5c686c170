//! What the configuration says of logs. Plain data.

use std::path::PathBuf;

/// How and where logs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The shape of a line.
    pub format: LogFormat,
    /// Where access lines go.
    pub access: AccessSink,
    /// The least important line of the other log that is written.
    pub level: tracing::Level,
}

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessSink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// A file, appended to.
    File(PathBuf),
}
