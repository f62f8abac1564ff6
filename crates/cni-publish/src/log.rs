//! One line per round, with its values as fields; or one line per metric and round, as the upstream helper writes them.

mod fields;
mod lines;

use std::future;

use cni_metrics_core::model::Snapshot;
use cni_metrics_core::summary::summary;
use futures::future::BoxFuture;

use crate::messages::Published;
use crate::selection::Selection;
use crate::sink::Sink;
use crate::stats::Stats;
use cni_runtime::gate::Leadership;

pub use lines::lines;

/// Where a round's values are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMetrics {
    /// In the round's line, as fields.
    Fields,
    /// In lines of their own, greppable as the upstream helper's documentation shows them.
    Lines,
    /// Both: programs read the fields of JSON lines.
    LinesAndFields,
}

impl LogMetrics {
    fn has_fields(self) -> bool {
        self != Self::Lines
    }

    fn has_lines(self) -> bool {
        self != Self::Fields
    }
}

/// Writes each round to the log at INFO: its line, and on the leader its values.
#[derive(Debug)]
pub struct LogSink {
    stats: Stats,
    selection: Selection,
    leadership: Leadership,
    metrics: LogMetrics,
}

impl LogSink {
    /// Writes the values of these metrics.
    pub fn new(selection: Selection, leadership: Leadership, metrics: LogMetrics) -> Self {
        Self { stats: Stats::new("log"), selection, leadership, metrics }
    }

    /// Returns how many values were written.
    fn write(&self, snapshot: &Snapshot) -> u64 {
        let summary = summary(snapshot);
        if !self.leadership.is_leading() {
            tracing::info!("{summary}");
            return 0;
        }
        if self.metrics.has_fields() {
            fields::write(&summary, snapshot, &self.selection);
        } else {
            tracing::info!("{summary}");
        }
        if self.metrics.has_lines() {
            lines(snapshot, &self.selection).for_each(|line| tracing::info!("{line}"));
        }
        self.selection.values(snapshot).count() as u64
    }
}

impl Sink for LogSink {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
        let written = self.write(&round.snapshot);
        self.stats.delivered(written, round.snapshot.at);
        Box::pin(future::ready(()))
    }
}
