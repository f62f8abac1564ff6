//! Counters: the exact number of events between two good scrapes of a node.

use super::damage::Damages;
use crate::model::{LARGEST_COUNT, NodeSample};
use cni_types::catalogue::Family;

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

impl Continuity {
    /// True where all that the page shows was counted since the last good page of its pod, or on the helper's watch.
    pub(super) fn is_new_process(self) -> bool {
        matches!(self, Self::New | Self::Restarted)
    }
}

/// More than a node can count between two scrapes, of anything: a thousand events a second for eleven days.
const LARGEST_INCREASE: f64 = 1e9;

/// A node's counters at its last good scrape, in the order of [`Family::COUNTERS`].
#[derive(Debug, Default)]
pub(super) struct Baselines {
    pub(super) all: [Baseline; Family::COUNTER_COUNT],
    pub(super) damages: Damages,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Baseline {
    /// The family was not on the page: it counts from this value, usually 0.
    Absent(f64),
    /// The family's value; while it is damaged, what it was before and what was counted since.
    Read(f64),
    /// How much of the counter is older than the helper is unknown: the first page was damaged here, or had none of the
    /// counters that stand on every whole page.
    Unknown,
}

impl Default for Baseline {
    fn default() -> Self {
        Self::Absent(0.0)
    }
}

/// What a page adds to one counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Increase {
    /// The number of events since the page before.
    By(f64),
    /// A lower bound: the events of the series that could be read.
    AtLeast(f64),
    /// Unknown in this interval.
    Unknown,
    /// Implausibly large.
    Implausible(f64),
}

/// True where the page has any of the counters that stand on every page of every agent, and lost no line of which the name
/// is unknown: only then does an absent labelled one say that it counted nothing.
pub(super) fn is_whole(sample: &NodeSample) -> bool {
    !sample.has_lost_lines
        && Family::COUNTERS.into_iter().any(|family| family.is_plain_counter() && sample.get(family).is_some())
}

impl Baselines {
    /// True if a family is lower than before. Damaged families prove nothing.
    pub(super) fn fell(&self, sample: &NodeSample) -> bool {
        Family::COUNTERS.into_iter().zip(self.all).any(|(family, baseline)| match (baseline, sample.get(family)) {
            (Baseline::Read(last) | Baseline::Absent(last), Some(now)) => !now.damaged && now.sum < last,
            _ => false,
        })
    }

    /// True if a labelled family that was read before is not on the page any more, as after a restart. Those without
    /// labels stand on each page of a new process, too: a page that lacks them all is not whole.
    pub(super) fn vanished(&self, sample: &NodeSample) -> bool {
        let gone = |(family, baseline): (Family, Baseline)| {
            !family.is_plain_counter() && matches!(baseline, Baseline::Read(_)) && sample.get(family).is_none()
        };
        self.had_part_of(sample) && Family::COUNTERS.into_iter().zip(self.all).any(gone)
    }

    /// True unless unlabelled counters were there before and all are gone.
    fn had_part_of(&self, sample: &NodeSample) -> bool {
        let was_read =
            |(family, baseline): (Family, Baseline)| family.is_plain_counter() && matches!(baseline, Baseline::Read(_));
        is_whole(sample) || !Family::COUNTERS.into_iter().zip(self.all).any(was_read)
    }

    /// Takes a page in and returns each family's increase. `decreased` hears of every value that went down without a
    /// restart: family, from, to.
    pub(super) fn advance(
        &mut self,
        continuity: Continuity,
        sample: &NodeSample,
        decreased: &mut impl FnMut(Family, f64, f64),
    ) -> [Increase; Family::COUNTER_COUNT] {
        let began_anew = continuity.is_new_process();
        if began_anew {
            self.all = Default::default();
            self.damages.clear();
        }
        let whole = is_whole(sample);
        let mut increases = [Increase::Unknown; Family::COUNTER_COUNT];
        for ((family, baseline), increase) in Family::COUNTERS.into_iter().zip(&mut self.all).zip(&mut increases) {
            let Some(now) = sample.get(family) else {
                *baseline = match *baseline {
                    _ if continuity == Continuity::Baseline && (family.is_plain_counter() || !whole) => {
                        Baseline::Unknown
                    }
                    // Gone from a page of the same process. The baseline stays, so that nothing counts twice should it
                    // come back.
                    Baseline::Read(last) => {
                        if last > 0.0 {
                            decreased(family, last, 0.0);
                        }
                        Baseline::Absent(last)
                    }
                    kept => kept,
                };
                let counted_nothing = !family.is_plain_counter() && whole && *baseline != Baseline::Unknown;
                if counted_nothing && continuity != Continuity::Baseline {
                    *increase = Increase::By(0.0);
                }
                continue;
            };
            if now.damaged {
                if continuity == Continuity::Baseline {
                    *baseline = Baseline::Unknown;
                }
                let counted = self.damages.advance(family, now, began_anew);
                *increase = bounded(counted, Increase::AtLeast);
                // What was counted of a damaged family is not counted again once all of it is read.
                if let (Some(by), Baseline::Read(last) | Baseline::Absent(last)) = (counted, *baseline) {
                    *baseline = Baseline::Read((last + by).min(LARGEST_COUNT));
                }
                continue;
            }
            self.damages.heal(family);
            if continuity != Continuity::Baseline
                && let Baseline::Read(last) | Baseline::Absent(last) = *baseline
            {
                if now.sum < last {
                    decreased(family, last, now.sum);
                }
                *increase = bounded(Some((now.sum - last).max(0.0)), Increase::By);
            }
            *baseline = Baseline::Read(now.sum);
        }
        increases
    }
}

/// A plausible increase.
fn bounded(by: Option<f64>, kind: fn(f64) -> Increase) -> Increase {
    match by {
        None => Increase::Unknown,
        Some(by) if by > LARGEST_INCREASE => Increase::Implausible(by),
        Some(by) => kind(by),
    }
}
