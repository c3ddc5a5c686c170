//! What operators see: the access log, the metrics, the operational log. Nothing secret comes here.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub mod access;
pub mod metrics;
pub mod redact;
pub mod settings;

use settings::{LogFormat, LogSettings};

/// Sets up the operational log on standard error. Only the first call counts.
pub fn start(settings: &LogSettings) {
    start_with(settings, std::io::stderr);
}

/// As `start`, into `out`.
pub fn start_with<W>(settings: &LogSettings, out: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(format!("warn,mediagate={}", settings.level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(out)
        .with_ansi(false);
    let _ = match settings.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
