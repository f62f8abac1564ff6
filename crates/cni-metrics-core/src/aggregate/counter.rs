//! Counters: the exact number of events between two good scrapes of a node.

use crate::catalogue::Family;
use crate::model::NodeSample;

/// What a page is to the last good page of its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuity {
    /// Of the same process.
    Same,
    /// Of a new process in the same pod: its counters began at 0.
    Restarted,
    /// The first page, and everything on it happened on the helper's watch.
    New,
    /// The first page, with events from before the helper's start: counting begins after it.
    Baseline,
}

/// A node's counters at its last good scrape, in the order of [`Family::COUNTERS`].
#[derive(Debug, Default)]
pub(super) struct Baselines(pub(super) [Baseline; Family::COUNTER_COUNT]);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Baseline {
    /// The family was not on the page: it counts from this value, usually 0.
    Absent(f64),
    /// The family's value.
    Read(f64),
    /// The first page was damaged here, and how much of the counter is older than the helper is unknown.
    Unknown,
}

impl Default for Baseline {
    fn default() -> Self {
        Self::Absent(0.0)
    }
}

impl Baselines {
    /// True if a family is lower than before. Damaged families prove nothing.
    pub(super) fn fell(&self, sample: &NodeSample) -> bool {
        Family::COUNTERS.into_iter().zip(self.0).any(|(family, baseline)| match (baseline, sample.get(family)) {
            (Baseline::Read(last) | Baseline::Absent(last), Some(now)) => !now.damaged && now.sum < last,
            _ => false,
        })
    }

    /// True if a family that was read before is not on the page any more.
    pub(super) fn vanished(&self, sample: &NodeSample) -> bool {
        Family::COUNTERS
            .into_iter()
            .zip(self.0)
            .any(|(family, baseline)| matches!(baseline, Baseline::Read(_)) && sample.get(family).is_none())
    }

    /// Takes a page in and returns each family's increase. `decreased` hears of every value that went down without a
    /// restart: family, from, to.
    pub(super) fn advance(
        &mut self,
        continuity: Continuity,
        sample: &NodeSample,
        decreased: &mut impl FnMut(Family, f64, f64),
    ) -> [f64; Family::COUNTER_COUNT] {
        if matches!(continuity, Continuity::New | Continuity::Restarted) {
            self.0 = Default::default();
        }
        let mut increases = [0.0; Family::COUNTER_COUNT];
        for ((family, baseline), increase) in Family::COUNTERS.into_iter().zip(&mut self.0).zip(&mut increases) {
            let now = sample.get(family);
            let readable = now.filter(|own| !own.damaged).map(|own| own.sum);
            *baseline = match (*baseline, readable) {
                (_, Some(now)) if continuity == Continuity::Baseline => Baseline::Read(now),
                (_, None) if continuity == Continuity::Baseline && now.is_some() => Baseline::Unknown,
                (Baseline::Unknown, Some(now)) => Baseline::Read(now),
                (Baseline::Read(last) | Baseline::Absent(last), Some(now)) => {
                    if now < last {
                        decreased(family, last, now);
                    }
                    *increase = (now - last).max(0.0);
                    Baseline::Read(now)
                }
                // Gone from a page of the same process. The baseline stays, so that nothing counts twice should it
                // come back.
                (Baseline::Read(last), None) if now.is_none() => {
                    if last > 0.0 {
                        decreased(family, last, 0.0);
                    }
                    Baseline::Absent(last)
                }
                (kept, None) => kept,
            };
        }
        increases
    }
}
