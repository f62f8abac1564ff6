//! The helper's log while the demo runs: kept for the screen, or for the output between the rounds.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use cni_runtime::clock::Clock;
use cni_types::catalogue::CATALOGUE;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::view::json::rfc3339;

/// Everything of the helper's own crates; of others what is wrong, unless the helper says it itself.
const FILTER: &str = "warn,cni_aws=info,cni_collector=info,cni_metrics_helper=info,cni_publish=info,cni_runtime=info,\
    kube_client::client=off,kube_runtime=off";

/// Lines that are kept: more than any screen shows.
const KEPT: usize = 500;

/// A line is kept up to this length.
const LINE_BYTES: usize = 4_000;

/// The newest log lines.
#[derive(Debug, Clone, Default)]
pub(super) struct LogLines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// Of every level that is shown.
    newest: VecDeque<LogLine>,
    /// Warnings and errors that were not taken yet.
    warnings: VecDeque<LogLine>,
    /// Warnings and errors that there was no room for.
    lost: u64,
    /// Nothing comes here: a log was set up before.
    is_closed: bool,
}

/// A line with its level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    pub(super) level: Level,
    pub(super) text: String,
}

impl LogLine {
    /// The round, for the line that each round has.
    pub(super) fn round(&self) -> Option<u32> {
        let (_, rest) = self.text.split_once("INFO round ").filter(|_| self.level == Level::INFO)?;
        rest.split_once(": ")?.0.parse().ok()
    }
}

impl LogLines {
    /// Takes the place of the log, with the times of `clock`. Where a log is set up already, it goes on by itself.
    pub(super) fn capture(clock: Clock) -> Self {
        let lines = Self::default();
        let filter = tracing_subscriber::EnvFilter::new(FILTER);
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
        let installed = builder.with_timer(Time(clock)).with_writer(lines.clone()).try_init();
        lines.0.lock().unwrap_or_else(PoisonError::into_inner).is_closed = installed.is_err();
        lines
    }

    /// True once the line of this round is there, which is the last one about it, or where none will come.
    pub(super) fn has_round(&self, number: u32) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.is_closed || kept.newest.iter().rev().any(|line| line.round() == Some(number))
    }

    /// The newest lines of any level, the oldest of them first.
    pub(super) fn newest(&self, count: usize) -> Vec<LogLine> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.newest.iter().skip(kept.newest.len().saturating_sub(count)).cloned().collect()
    }

    /// Every warning and error since the last call, and how many more there were.
    pub(super) fn take_warnings(&self) -> (Vec<LogLine>, u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut kept.warnings).into(), std::mem::take(&mut kept.lost))
    }

    fn keep(&self, line: LogLine) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.level <= Level::WARN {
            if kept.warnings.len() < KEPT {
                kept.warnings.push_back(line.clone());
            } else {
                kept.lost = kept.lost.saturating_add(1);
            }
        }
        kept.newest.push_back(line);
        while kept.newest.len() > KEPT {
            kept.newest.pop_front();
        }
    }
}

/// A round's line without the values of metrics behind it.
fn without_values(line: &str) -> &str {
    let is_value =
        |word: &str| word.split_once('=').is_some_and(|(name, _)| CATALOGUE.iter().any(|row| row.name == name));
    let mut words = line.match_indices(' ').map(|(at, _)| at);
    let first = words.find(|at| line.get(at + 1..).and_then(|rest| rest.split(' ').next()).is_some_and(is_value));
    first.and_then(|at| line.get(..at)).unwrap_or(line)
}

/// The simulated cluster's time.
struct Time(Clock);

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&rfc3339(self.0.now()))
    }
}

/// Takes one line.
pub(super) struct LineWriter<'a> {
    lines: &'a LogLines,
    level: Level,
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { lines: self, level: Level::INFO }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Self::Writer {
        LineWriter { lines: self, level: *about.level() }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes.get(..LINE_BYTES).unwrap_or(bytes));
        // The metrics themselves are in the table.
        if !text.contains("Produce ") {
            self.lines.keep(LogLine { level: self.level, text: without_values(text.trim()).to_owned() });
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, text: &str) -> LogLine {
        LogLine { level, text: text.to_owned() }
    }

    #[test]
    fn a_rounds_line_has_no_values_and_shows_that_it_is_there() {
        let shown = "INFO round 2: 10/10 nodes in 7 ms, 132 requests refused";
        assert_eq!(without_values(&format!("{shown} assignIPAddresses=450 awsAPIErr=5")), shown);
        assert_eq!(without_values("WARN no page node=a kind=timeout"), "WARN no page node=a kind=timeout");
        let lines = LogLines::default();
        lines.keep(line(Level::INFO, shown));
        assert_eq!([1, 2, 22].map(|number| lines.has_round(number)), [false, true, false]);
    }

    #[test]
    fn warnings_are_given_once_and_what_is_lost_is_counted() {
        let lines = LogLines::default();
        lines.keep(line(Level::INFO, "round 1"));
        lines.keep(line(Level::WARN, "slow"));
        lines.keep(line(Level::ERROR, "broken"));
        let (warnings, lost) = lines.take_warnings();
        assert_eq!((warnings, lost), (vec![line(Level::WARN, "slow"), line(Level::ERROR, "broken")], 0));
        assert_eq!(lines.take_warnings(), (Vec::new(), 0));
        assert_eq!(lines.newest(2), [line(Level::WARN, "slow"), line(Level::ERROR, "broken")]);
        for _ in 0..KEPT + 7 {
            lines.keep(line(Level::WARN, "again"));
        }
        let (warnings, lost) = lines.take_warnings();
        assert_eq!((warnings.len(), lost, lines.newest(usize::MAX).len()), (KEPT, 7, KEPT));
    }
}
