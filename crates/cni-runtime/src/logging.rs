//! Log lines to standard error, as text or JSON.
//!
//! Logging never fails and never waits: lines go into a bounded queue, and a thread of its own writes them (see
//! `writer`). A reader that is gone, a full disk or a pipe that is not emptied costs log lines, which are counted,
//! and nothing else. A panic anywhere in the process is one log line.

mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use self::writer::LineQueue;
use crate::supervise::panic_message;

/// The process' log, once it was set up.
static LOG: OnceLock<(LineQueue, LogFormat)> = OnceLock::new();

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
    /// Without colours, also on a terminal: `NO_COLOR`.
    pub no_color: bool,
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// A subscriber was installed before.
    #[error("logging was set up twice")]
    SetTwice,
    /// The thread that writes cannot be started.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Sets up logging for the process.
pub fn init(settings: LogSettings) -> Result<(), LogError> {
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
    // A file of its own for the same place: a holder of the lock of standard error cannot stop the log.
    let file = io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from).map_err(LogError::Thread)?;
    let queue = LineQueue::start(file, move |lost| lost_line(settings.format, lost)).map_err(LogError::Thread)?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(queue.clone());
    let installed = match settings.format {
        LogFormat::Text => {
            builder.with_target(false).with_ansi(!settings.no_color && io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| LogError::SetTwice)?;
    let _set_before = LOG.set((queue, settings.format));
    std::panic::set_hook(Box::new(|panic| write_last(&panic_text(panic))));
    Ok(())
}

/// Log lines that were not written since the process began: the queue was full, or writing failed.
pub fn lost_lines() -> u64 {
    LOG.get().map_or(0, |(queue, _)| queue.lost())
}

/// Waits until all lines so far are written, at most this long.
pub fn flush(within: Duration) {
    if let Some((queue, _)) = LOG.get() {
        queue.flush(within);
    }
}

/// Queues an error line without the logging library: from a panic, or from outside a runtime that hangs. Before the log
/// is set up it goes to standard error as it is.
pub fn write_last(message: &str) {
    match LOG.get() {
        Some((queue, format)) => queue.push(line(*format, "ERROR", message).into_bytes()),
        None => to_stderr(message),
    }
}

/// Writes a line to standard error; a reader that is gone is no reason to fail.
pub fn to_stderr(message: &str) {
    let _gone = io::Write::write_all(&mut io::stderr(), format!("{message}\n").as_bytes());
}

/// Standard error for what a command says beside its result: a reader that is gone changes nothing of the result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _gone = io::Write::write_all(&mut io::stderr(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line as the logging library writes it.
fn line(format: LogFormat, level: &str, message: &str) -> String {
    let time = format!("{:.6}", Timestamp::now());
    match format {
        LogFormat::Text => format!("{time} {level:>5} {message}\n"),
        LogFormat::Json => {
            let object = serde_json::json!({"timestamp": time, "level": level, "message": message, "target": "cni_metrics_helper"});
            format!("{object}\n")
        }
    }
}

fn lost_line(format: LogFormat, lost: u64) -> Vec<u8> {
    let message = format!(
        "{lost} log lines were lost before this one: standard error did not take them (its reader was too slow or gone, \
         or the disk was full)"
    );
    line(format, "WARN", &message).into_bytes()
}

/// One line, whatever the message holds; a backtrace follows where `RUST_BACKTRACE` asks for one.
fn panic_text(panic: &PanicHookInfo<'_>) -> String {
    let message = panic_message(panic.payload());
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let message = escaped(message);
    let mut text = format!("internal error (panic) in thread {thread} at {place}: {message}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        // Writing to a string cannot fail.
        let _written = write!(text, "\n{backtrace}");
    }
    text
}

/// Without control characters, so that one message stays one line.
fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_our_own_looks_like_one_of_the_librarys() {
        let text = line(LogFormat::Text, "WARN", "slow");
        let (time, rest) = text.split_at(27);
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert_eq!(rest, "  WARN slow\n");
        let json: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, "ERROR", "a\nb")).unwrap();
        assert_eq!((json["level"].as_str(), json["message"].as_str()), (Some("ERROR"), Some("a\nb")));
    }

    #[test]
    fn a_message_cannot_write_lines_of_its_own() {
        assert_eq!(escaped("a\nb\x1b[2Jü"), "a\\nb\\u{1b}[2Jü");
    }
}
