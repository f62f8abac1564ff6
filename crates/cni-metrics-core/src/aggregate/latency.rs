//! Latency: per node the highest mean over its EC2 operations in the interval.

use cni_types::hash::fnv1a;

use super::counter::Continuity;
use crate::model::{LatencySample, NodeSample};
use cni_types::catalogue::Family;
use cni_types::ec2::{EC2_OPERATIONS, Ec2Operation};

/// The longest mean that is believed, milliseconds: a day. ipamd gives up on a call after minutes.
const LONGEST_MEAN_MS: f64 = 86_400_000.0;

/// The operations' names as saved baselines have them.
const KEYS: [u64; EC2_OPERATIONS] = {
    let mut keys = [0; EC2_OPERATIONS];
    let (mut names, mut left) = (Ec2Operation::ALL.as_slice(), keys.as_mut_slice());
    while let ([operation, more @ ..], [key, rest @ ..]) = (names, left) {
        *key = fnv1a(operation.name().as_bytes());
        (names, left) = (more, rest);
    }
    keys
};

/// A node's latency summaries at its last good scrape.
#[derive(Debug, Default)]
pub(super) struct LatencyBaselines {
    /// In the order of [`Ec2Operation::ALL`], those that were on a page.
    pub(super) operations: Vec<OperationBaseline>,
    /// The first page was damaged here: the next good one is the baseline.
    pub(super) unknown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OperationBaseline {
    pub(super) operation: Ec2Operation,
    pub(super) sum_ms: f64,
    pub(super) count: f64,
}

/// What an interval's latencies say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Interval {
    /// The highest mean, milliseconds; `None` where no operation was observed.
    pub(super) highest_ms: Option<f64>,
    /// A mean was implausibly long, and left out.
    pub(super) implausible: bool,
}

impl Interval {
    fn take_in(&mut self, sum_ms: f64, count: f64) {
        let Some(mean) = mean(sum_ms, count) else { return };
        if mean <= LONGEST_MEAN_MS {
            self.highest_ms = Some(self.highest_ms.map_or(mean, |highest| highest.max(mean)));
        } else {
            self.implausible = true;
        }
    }
}

impl LatencyBaselines {
    /// True if an operation has fewer observations than before.
    pub(super) fn fell(&self, sample: &NodeSample) -> bool {
        let fell = |last: &OperationBaseline| get(sample, last.operation).is_some_and(|now| now.count < last.count);
        !is_damaged(sample) && self.operations.iter().any(fell)
    }

    /// True if an operation that was there before is not on the page any more.
    pub(super) fn vanished(&self, sample: &NodeSample) -> bool {
        !is_damaged(sample) && self.operations.iter().any(|last| get(sample, last.operation).is_none())
    }

    /// Takes a page in and returns the interval's figure. `decreased` is called with the first operation whose observations went
    /// down without a restart.
    pub(super) fn advance(
        &mut self,
        continuity: Continuity,
        sample: &NodeSample,
        decreased: &mut impl FnMut(Family, f64, f64),
    ) -> Interval {
        if matches!(continuity, Continuity::New | Continuity::Restarted) {
            self.operations.clear();
            self.unknown = false;
        }
        let baseline_only = continuity == Continuity::Baseline || self.unknown;
        let mut interval = Interval::default();
        self.unknown = baseline_only && is_damaged(sample);
        if is_damaged(sample) {
            return interval;
        }
        if self.operations.is_empty() {
            // A node's operations hardly change after its first page; room for more would be paid for 100,000 times.
            self.operations.reserve_exact(sample.latency.iter().flatten().count());
        }
        let mut fell = None;
        let mut at = 0;
        for (operation, now) in Ec2Operation::ALL.into_iter().zip(sample.latency) {
            let known = self.operations.get_mut(at).filter(|last| last.operation == operation);
            let Some(LatencySample { sum_ms, count }) = now else {
                at += usize::from(known.is_some());
                continue;
            };
            let fresh = OperationBaseline { operation, sum_ms, count };
            let last = if let Some(slot) = known {
                std::mem::replace(slot, fresh)
            } else {
                self.operations.insert(at, fresh);
                OperationBaseline { operation, sum_ms: 0.0, count: 0.0 }
            };
            at += 1;
            if baseline_only {
                continue;
            }
            if count < last.count {
                fell = fell.or(Some((last.count, count)));
            }
            interval.take_in(sum_ms - last.sum_ms, count - last.count);
        }
        if let Some((from, to)) = fell {
            decreased(Family::AwsApiLatencyMs, from, to);
        }
        interval
    }

    /// Baselines as they were saved, by key; those of anything but operations are dropped.
    pub(super) fn saved(entries: &[(u64, f64, f64)], unknown: bool) -> Self {
        let of = |(operation, key): (Ec2Operation, u64)| {
            let (_, sum_ms, count) = entries.iter().find(|(saved, ..)| *saved == key).copied()?;
            Some(OperationBaseline { operation, sum_ms, count })
        };
        let operations = Ec2Operation::ALL.into_iter().zip(KEYS).filter_map(of).collect();
        Self { operations, unknown }
    }

    /// What [`LatencyBaselines::saved`] takes.
    pub(super) fn to_save(&self) -> impl ExactSizeIterator<Item = (u64, f64, f64)> + '_ {
        let key = |operation: Ec2Operation| KEYS.get(operation as usize).copied().unwrap_or_default();
        self.operations.iter().map(move |own| (key(own.operation), own.sum_ms, own.count))
    }
}

/// The figure over a process' whole life.
pub(super) fn since_start(sample: &NodeSample) -> Interval {
    let mut interval = Interval::default();
    if !is_damaged(sample) {
        for own in sample.latency.iter().flatten() {
            interval.take_in(own.sum_ms, own.count);
        }
    }
    interval
}

/// True if a page's node measures latencies: it shows sums and counts, or has called nothing yet.
pub(super) fn is_measured(sample: &NodeSample, agent_has_them: bool) -> bool {
    match sample.get(Family::AwsApiLatencyMs) {
        Some(own) => sample.has_latency_counts && !own.damaged,
        None => agent_has_them && !sample.has_quantiles,
    }
}

fn get(sample: &NodeSample, operation: Ec2Operation) -> Option<LatencySample> {
    sample.latency.get(operation as usize).copied().flatten()
}

fn mean(sum_ms: f64, count: f64) -> Option<f64> {
    let mean = if count > 0.0 && sum_ms >= 0.0 { sum_ms / count } else { return None };
    mean.is_finite().then_some(mean)
}

fn is_damaged(sample: &NodeSample) -> bool {
    sample.get(Family::AwsApiLatencyMs).is_some_and(|own| own.damaged)
}
