//! What a lockstep run found, its verdict, and both in words.

use std::collections::BTreeMap;
use std::time::Duration;

use cni_metrics_core::model::{FailureKind, Snapshot};

use super::ledger::Ledger;
use super::script::PERIOD;
use super::trend::{ALLOWED_GROWTH_BYTES, ALLOWED_HEAP_SHARE, ALLOWED_SLOPE_BYTES, Trend, share};

/// How much wider the bound on the live heap is in a run of few periods.
const SHORT_RUN_TOLERANCE: f64 = 8.0;

/// A round that takes this long has waited for something.
const LONG_ROUND: Duration = Duration::from_millis(500);

/// Numbers by name.
fn listed<N: std::fmt::Display>(numbers: impl Iterator<Item = (N, impl std::fmt::Display)>) -> String {
    numbers.map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>().join(", ")
}

/// What the run found.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) rounds: u64,
    pub(super) partial: u64,
    /// How often each kind of fault began.
    pub(super) faults: BTreeMap<String, u64>,
    /// In how many rounds nodes failed in each way.
    failed: BTreeMap<FailureKind, u64>,
    /// Rounds that took [`LONG_ROUND`] or more, and their time.
    long: (u64, Duration),
    pub(super) restarts: u64,
    pub(super) lapses: u64,
    /// Moments in which no round came for a long time, with faults that were not meant to prevent it.
    pub(super) stalls: u64,
    pub(super) most_nodes: u64,
    /// Resident memory over the last half, by rounds of a period.
    pub(super) resident: Trend,
    /// The least resident memory of each period of the last half, bytes.
    pub(super) least_resident: BTreeMap<u64, f64>,
    /// Live heap at the end of each period, by rounds.
    pub(super) heap: BTreeMap<u64, usize>,
}

impl Findings {
    pub(super) fn new() -> Self {
        Self {
            rounds: 0,
            partial: 0,
            faults: BTreeMap::new(),
            failed: BTreeMap::new(),
            long: (0, Duration::ZERO),
            restarts: 0,
            lapses: 0,
            stalls: 0,
            most_nodes: 0,
            resident: Trend::new(PERIOD),
            least_resident: BTreeMap::new(),
            heap: BTreeMap::new(),
        }
    }

    /// A round ended with this snapshot.
    pub(super) fn measured(&mut self, snapshot: &Snapshot) {
        self.partial += u64::from(!snapshot.coverage.failed.is_empty());
        self.most_nodes = self.most_nodes.max(snapshot.coverage.scraped);
        for kind in snapshot.coverage.failed.keys() {
            *self.failed.entry(*kind).or_default() += 1;
        }
    }

    /// What happened before a round, the round and its comparison took this long.
    pub(super) fn took(&mut self, time: Duration) {
        if time >= LONG_ROUND {
            self.long = (self.long.0 + 1, self.long.1 + time);
        }
    }

    /// What was needed at the least at the end of one of the periods before the half, and of the last ones: a sixteenth of
    /// the run each, at least one. At the end of a single period a connection may be open that was used a moment ago.
    fn heaps(&self, rounds: u64) -> Option<(f64, f64)> {
        let at = |round: u64| {
            let periods = self.heap.range(round.saturating_sub(PERIOD.max(rounds / 16)) + 1..=round);
            periods.map(|(_, bytes)| *bytes).min().map(|bytes| bytes as f64)
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
             {} rounds of half a second or more took {:.0} s; faults that began: {}; rounds with nodes that failed by: {}\n\
             points: {} equal, {} differences, {} lost, {} counted as dropped; {} label sets compared; {} panics\n\
             memory: {resident}; least live \
             heap of the periods before the half and of the last {heap} (allowed {:.0} %){}",
            found.rounds,
            took.as_secs_f64(),
            took.as_secs_f64() * 1_000.0 / found.rounds.max(1) as f64,
            found.most_nodes,
            found.partial,
            found.restarts,
            ledger.new_baselines,
            found.lapses,
            found.stalls,
            found.long.0,
            found.long.1.as_secs_f64(),
            listed(found.faults.iter()),
            listed(found.failed.iter().map(|(kind, rounds)| (format!("{kind:?}"), rounds))),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with this live heap at the end of each period.
    fn run(rounds: u64, heap: impl Fn(u64) -> usize) -> Findings {
        let ends = (1..=rounds / PERIOD).map(|period| period * PERIOD - 1);
        Findings { rounds, heap: ends.map(|round| (round, heap(round))).collect(), ..Findings::new() }
    }

    #[test]
    fn a_heap_that_grows_fails_and_one_period_with_more_does_not() {
        let passes = |rounds: u64, heap: fn(u64) -> usize| {
            let mut findings = run(rounds, heap);
            findings.least_resident = BTreeMap::from([(0, 1e6), (1, 1e6)]);
            findings.verdict(&Ledger::default(), rounds, 0)
        };
        let some_more = |round: u64| 1_000_000 + if round % (2 * PERIOD) > PERIOD { 200_000 } else { 0 };
        assert!(passes(200_000, some_more));
        assert!(passes(10_000, |_| 1_000_000));
        assert!(!passes(200_000, |round| if round > 150_000 { 1_011_000 } else { 1_000_000 }));
        assert!(!passes(200_000, |round| 1_000_000 + usize::try_from(round / 5).unwrap()));
        assert!(!passes(10_000, |round| if round > 5_000 { 1_090_000 } else { 1_000_000 }));
        assert!(!passes(200_000, |_| 0), "it was not measured");
    }

    #[test]
    fn faults_and_failures_are_counted_by_kind() {
        use cni_metrics_core::model::UnixMillis;
        let mut findings = Findings::new();
        let mut snapshot = Snapshot::empty(1, UnixMillis(30_000));
        findings.measured(&snapshot);
        snapshot.coverage.failed = BTreeMap::from([(FailureKind::Timeout, 7), (FailureKind::BadPage, 1)]);
        findings.measured(&snapshot);
        findings.measured(&snapshot);
        findings.took(LONG_ROUND);
        findings.took(LONG_ROUND / 2);
        assert_eq!((findings.partial, findings.long), (2, (1, LONG_ROUND)));
        let report = findings.report(&Ledger::default(), 3, Duration::from_secs(1), 0);
        assert!(report.contains("nodes that failed by: Timeout 2, BadPage 2\n"), "{report}");
    }
}
