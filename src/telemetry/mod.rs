//! What operators see: the access log, the metrics, the operational log. Nothing secret comes here.

use tracing_subscriber::EnvFilter;

pub mod access;
mod addresses;
pub mod metrics;
pub mod redact;
pub mod settings;

use settings::{LogFormat, LogSettings};

/// Sets up the operational log on standard error. Only the first call counts.
pub fn start(settings: &LogSettings) {
    let filter = EnvFilter::new(format!("warn,mediagate={}", settings.level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let _ = match settings.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
