//! Log lines to standard error, as text or JSON.

use std::io;

use thiserror::Error;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least level that is shown; FATAL shows errors only, since nothing is ever above an error here.
    pub level: Level,
    /// The lines' format.
    pub format: LogFormat,
}

/// A subscriber was installed before.
#[derive(Debug, Error)]
#[error("logging was set up twice")]
pub struct SetTwice;

/// Sets up logging for the process.
pub fn init(settings: LogSettings) -> Result<(), SetTwice> {
    let level = LevelFilter::from_level(settings.level);
    // The client library logs each 5xx of the pod proxy as an error, and each failure of a watch raw; scrapes and
    // watches report those themselves, once.
    let quiet = [
        "kube_client::client=off",
        "kube_runtime=off",
        "hyper=warn",
        "h2=warn",
        "rustls=warn",
        "aws=warn",
        "tower=warn",
    ];
    let filter = quiet
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(EnvFilter::default().add_directive(level.into()), EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match settings.format {
        LogFormat::Text => {
            let ansi = io::IsTerminal::is_terminal(&io::stderr());
            builder.with_target(false).with_ansi(ansi).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| SetTwice)
}
