//! The helper's own figures: what it did, for its admin page. `cni_metrics_helper::admin` has the catalogue of names.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use cni_metrics_core::model::{FailureKind, Snapshot};
use tokio::sync::watch;
use tokio::time::Instant;

/// Upper bounds of the round-duration histogram, seconds.
pub const ROUND_BOUNDS_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// What a round did beside its snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundFigures {
    /// Pages read, bytes after decompression.
    pub page_bytes: u64,
    /// Pages that came through the API server.
    pub by_proxy: u64,
    /// Pages that came straight from nodes.
    pub directly: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// Nodes that were not asked, because they failed in the same way in the rounds before.
    pub left_out: u64,
    /// Maximum concurrent scrapes without those of the slow set, as the limiter decided last; in sums, the newest.
    pub window: u64,
    /// From the first request to the last answer.
    pub scraping: Duration,
    /// Reading pages, summed (part of scraping).
    pub parsing: Duration,
    /// Making the snapshot.
    pub aggregating: Duration,
}

/// Totals since the start.
#[derive(Debug, Clone, Default)]
pub struct SelfFigures {
    /// Rounds that got an answer of every expected node.
    pub complete_rounds: u64,
    /// Rounds that did not.
    pub partial_rounds: u64,
    /// Rounds that began late because the one before overran its interval.
    pub late_rounds: u64,
    /// Scrapes by failure.
    pub failures: BTreeMap<FailureKind, u64>,
    /// The sums of every round's figures.
    pub sums: RoundFigures,
    /// Rounds of at most the bound of the same index.
    pub rounds_at_most: [u64; ROUND_BOUNDS_SECONDS.len()],
    /// The rounds' time together.
    pub round_time: Duration,
    /// When the round loop last turned.
    pub last_turn: Option<Instant>,
    /// The loop waits for its turn to lead.
    pub standing_by: bool,
}

impl SelfFigures {
    /// All rounds.
    pub fn rounds(&self) -> u64 {
        self.complete_rounds + self.partial_rounds
    }
}

/// Written by the round loop, read by the admin page.
#[derive(Debug, Clone, Default)]
pub struct SelfStats(watch::Sender<SelfFigures>);

impl SelfStats {
    /// The loop turned: it is alive, whether or not it had anything to do.
    pub fn turned(&self, standing_by: bool) {
        self.change(|figures| {
            figures.last_turn = Some(Instant::now());
            figures.standing_by = standing_by;
        });
    }

    /// A round began late.
    pub fn late(&self) {
        self.change(|figures| figures.late_rounds += 1);
    }

    /// A round ended.
    pub fn round(&self, snapshot: &Snapshot, round: RoundFigures) {
        self.change(|figures| {
            let coverage = &snapshot.coverage;
            if coverage.failed.is_empty() {
                figures.complete_rounds += 1;
            } else {
                figures.partial_rounds += 1;
            }
            for (kind, nodes) in &coverage.failed {
                let failures = figures.failures.entry(*kind).or_default();
                *failures = failures.saturating_add(*nodes);
            }
            let took = Duration::from_millis(snapshot.duration_ms);
            figures.round_time = figures.round_time.saturating_add(took);
            for (count, bound) in figures.rounds_at_most.iter_mut().zip(ROUND_BOUNDS_SECONDS) {
                *count += u64::from(took.as_secs_f64() <= bound);
            }
            figures.sums += round;
        });
    }

    /// A copy to read.
    pub fn figures(&self) -> SelfFigures {
        self.0.borrow().clone()
    }

    fn change(&self, change: impl FnOnce(&mut SelfFigures)) {
        self.0.send_modify(change);
    }
}

impl AddAssign for RoundFigures {
    fn add_assign(&mut self, other: Self) {
        self.page_bytes = self.page_bytes.saturating_add(other.page_bytes);
        self.by_proxy = self.by_proxy.saturating_add(other.by_proxy);
        self.directly = self.directly.saturating_add(other.directly);
        self.bad_lines = self.bad_lines.saturating_add(other.bad_lines);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.window = if other.window == 0 { self.window } else { other.window };
        self.scraping = self.scraping.saturating_add(other.scraping);
        self.parsing = self.parsing.saturating_add(other.parsing);
        self.aggregating = self.aggregating.saturating_add(other.aggregating);
    }
}
