//! What a lockstep run found, its verdict, and both in words.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::Ledger;
use super::script::PERIOD;
use super::trend::{ALLOWED_GROWTH_BYTES, ALLOWED_HEAP_SHARE, ALLOWED_SLOPE_BYTES, Trend, share};

/// How much wider the bound on the live heap is in a run of few periods.
const SHORT_RUN_TOLERANCE: f64 = 20.0;

/// What the run found.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) rounds: u64,
    pub(super) partial: u64,
    pub(super) restarts: u64,
    pub(super) lapses: u64,
    /// Moments in which no round came for a long time, with faults that were not meant to prevent it.
    pub(super) stalls: u64,
    pub(super) most_nodes: u64,
    /// Resident memory over the last half, by rounds of a period.
    pub(super) resident: Trend,
    /// The least resident memory of each period of the last half, bytes.
    pub(super) least_resident: BTreeMap<u64, f64>,
    /// Live heap at the end of each cycle, by rounds.
    pub(super) heap: BTreeMap<u64, usize>,
}

impl Findings {
    pub(super) fn new() -> Self {
        Self {
            rounds: 0,
            partial: 0,
            restarts: 0,
            lapses: 0,
            stalls: 0,
            most_nodes: 0,
            resident: Trend::new(PERIOD),
            least_resident: BTreeMap::new(),
            heap: BTreeMap::new(),
        }
    }

    /// What was needed at the least in the period before the half, and in the last one: at a single moment connections that
    /// are about to be closed may be open still.
    fn heaps(&self, rounds: u64) -> Option<(f64, f64)> {
        let at = |round: u64| {
            let period = self.heap.range(round.saturating_sub(PERIOD) + 1..=round);
            period.map(|(_, bytes)| *bytes).min().map(|bytes| bytes as f64)
        };
        (rounds >= 2 * PERIOD).then(|| at(rounds / 2).zip(at(rounds))).flatten()
    }

    /// A short run has no second half in which memory could be judged.
    fn judges_memory(rounds: u64) -> bool {
        rounds >= 4 * PERIOD
    }

    /// In a run with few periods, buffers of single connections, which come and go, are some per cent of the heap, and the
    /// slope of resident memory is that of the rounds in which the allocator held more for a while.
    fn is_short(rounds: u64) -> bool {
        rounds < 40 * PERIOD
    }

    fn allowed_heap_share(rounds: u64) -> f64 {
        ALLOWED_HEAP_SHARE * if Self::is_short(rounds) { SHORT_RUN_TOLERANCE } else { 1.0 }
    }

    /// From the first period of the last half to its last, bytes.
    fn resident_growth(&self) -> f64 {
        let mut least = self.least_resident.values();
        least.next().zip(least.next_back()).map_or(f64::INFINITY, |(first, last)| last - first)
    }

    /// True if nothing differed, nothing was lost, and memory stayed within its bounds.
    pub(super) fn verdict(&self, ledger: &Ledger, rounds: u64, panics: u64) -> bool {
        let resident = if Self::is_short(rounds) {
            self.resident_growth() <= ALLOWED_GROWTH_BYTES
        } else {
            self.resident.slope() * 10_000.0 <= ALLOWED_SLOPE_BYTES
        };
        let heap = self.heaps(rounds).map_or(f64::INFINITY, |(middle, end)| share(middle, end));
        let memory = !Self::judges_memory(rounds) || (resident && heap <= Self::allowed_heap_share(rounds));
        self.rounds == rounds && ledger.is_clean() && panics == 0 && memory
    }

    /// The run in words.
    pub(super) fn report(&self, ledger: &Ledger, rounds: u64, took: Duration, panics: u64) -> String {
        let found = self;
        let heap = self.heaps(rounds).map_or_else(
            || "not measured".to_owned(),
            |(middle, end)| format!("{middle:.0} and {end:.0} bytes, {:.2} % apart", share(middle, end) * 100.0),
        );
        let resident = if Self::is_short(rounds) {
            let (growth, allowed) = (self.resident_growth() / 1_024.0, ALLOWED_GROWTH_BYTES / 1_024.0);
            format!("the least RSS of a period grows by {growth:.1} KiB in the last half (allowed {allowed:.0})")
        } else {
            let (slope, allowed) = (found.resident.slope() * 10_000.0 / 1_024.0, ALLOWED_SLOPE_BYTES / 1_024.0);
            format!("RSS grows by {slope:.1} KiB in 10,000 rounds over the last half (allowed {allowed:.0})")
        };
        let mut text = format!(
            "lockstep: {} of {rounds} rounds in {:.0} s ({:.1} ms each), up to {} nodes; {} rounds with failing nodes, \
             {} restarts ({} rounds with new baselines), {} lapses of the lease, {} stalls\n\
             points: {} equal, {} differences, {} lost, {} counted as dropped; {} label sets compared; {} panics\n\
             memory: {resident}; least live \
             heap of the period before the half and of the last {heap} (allowed {:.0} %){}",
            found.rounds,
            took.as_secs_f64(),
            took.as_secs_f64() * 1_000.0 / found.rounds.max(1) as f64,
            found.most_nodes,
            found.partial,
            found.restarts,
            ledger.new_baselines,
            found.lapses,
            found.stalls,
            ledger.equal,
            ledger.differences,
            ledger.lost,
            ledger.dropped,
            ledger.label_sets,
            panics,
            Self::allowed_heap_share(rounds) * 100.0,
            if Self::judges_memory(rounds) { "" } else { "; too few rounds to judge it" },
        );
        for line in &ledger.told {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text
    }
}
