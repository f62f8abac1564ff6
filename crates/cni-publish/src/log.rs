//! One line per metric and round, greppable as the Go helper's documentation shows them.

mod lines;

use std::future;

use futures::future::BoxFuture;

use crate::messages::Published;
use crate::selection::Selection;
use crate::sink::Sink;
use crate::stats::Stats;
use cni_runtime::gate::Leadership;

pub use lines::lines;

/// Writes the leader's values of each round to the log at INFO.
#[derive(Debug)]
pub struct LogSink {
    stats: Stats,
    selection: Selection,
    leadership: Leadership,
}

impl LogSink {
    /// Writes the values of these metrics.
    pub fn new(selection: Selection, leadership: Leadership) -> Self {
        Self { stats: Stats::new("log"), selection, leadership }
    }
}

impl Sink for LogSink {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
        let mut written = 0;
        if self.leadership.is_leading() {
            for line in lines(&round.snapshot, &self.selection) {
                tracing::info!("{line}");
                written += 1;
            }
        }
        self.stats.delivered(written, round.snapshot.at);
        Box::pin(future::ready(()))
    }
}
