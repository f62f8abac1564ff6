//! Latency: per node the highest mean over its APIs in the interval.

use super::counter::Continuity;
use crate::catalogue::Family;
use crate::model::{FOLLOWED_APIS, LatencySample, NodeSample};

/// A node's latency summaries at its last good scrape.
#[derive(Debug, Default)]
pub(super) struct LatencyBaselines {
    /// By key, at most [`FOLLOWED_APIS`].
    pub(super) apis: Vec<ApiBaseline>,
    /// The first page was damaged here: the next good one is the baseline.
    pub(super) unknown: bool,
}

#[derive(Debug)]
pub(super) struct ApiBaseline {
    /// Stands for the API's name: a node's memory stays small however long names are.
    pub(super) key: u64,
    pub(super) sum_ms: f64,
    pub(super) count: f64,
}

impl LatencyBaselines {
    /// True if an API has fewer observations than before.
    pub(super) fn fell(&self, sample: &NodeSample) -> bool {
        !is_damaged(sample)
            && sample.latency.iter().any(|now| self.last(key(&now.api)).is_some_and(|last| now.count < last.count))
    }

    /// True if an API that was there before is not on the page any more.
    pub(super) fn vanished(&self, sample: &NodeSample) -> bool {
        if is_damaged(sample) {
            return false;
        }
        let mut on_page: Vec<u64> = sample.latency.iter().map(|now| key(&now.api)).collect();
        on_page.sort_unstable();
        self.apis.iter().any(|api| on_page.binary_search(&api.key).is_err())
    }

    /// Takes a page in and returns the interval's figure, milliseconds. `decreased` hears of the first API whose
    /// observations went down without a restart.
    pub(super) fn advance(
        &mut self,
        continuity: Continuity,
        sample: &NodeSample,
        decreased: &mut impl FnMut(Family, f64, f64),
    ) -> Option<f64> {
        if matches!(continuity, Continuity::New | Continuity::Restarted) {
            self.apis.clear();
            self.unknown = false;
        }
        let baseline_only = continuity == Continuity::Baseline || self.unknown;
        if is_damaged(sample) {
            self.unknown = baseline_only;
            return p99(sample);
        }
        self.unknown = false;
        let mut highest: Option<f64> = None;
        let known = self.apis.len();
        let mut fell = None;
        for now in sample.latency.iter().take(FOLLOWED_APIS) {
            let last = self.take_in(known, now);
            if baseline_only {
                continue;
            }
            if now.count < last.count {
                fell = fell.or(Some((last.count, now.count)));
            }
            highest = higher(highest, mean(now.sum_ms - last.sum_ms, now.count - last.count));
        }
        if let Some((from, to)) = fell {
            decreased(Family::AwsApiLatencyMs, from, to);
        }
        if self.apis.len() > FOLLOWED_APIS {
            self.keep_only(sample);
        }
        if self.apis.len() > known {
            self.apis.sort_unstable_by_key(|api| api.key);
            // A node's APIs hardly change after its first page; room for more would be paid for 100,000 times.
            self.apis.shrink_to_fit();
        }
        if sample.has_quantiles { p99(sample) } else { highest }
    }

    /// Forgets what the page does not have any more.
    fn keep_only(&mut self, sample: &NodeSample) {
        let mut on_page: Vec<u64> = sample.latency.iter().take(FOLLOWED_APIS).map(|now| key(&now.api)).collect();
        on_page.sort_unstable();
        self.apis.retain(|api| on_page.binary_search(&api.key).is_ok());
        self.apis.sort_unstable_by_key(|api| api.key);
    }

    fn last(&self, key: u64) -> Option<&ApiBaseline> {
        let at = self.apis.binary_search_by_key(&key, |api| api.key).ok()?;
        self.apis.get(at)
    }

    /// Makes the API's figures the new baseline and returns the old one, 0 for an API that is not among the first
    /// `known`. New ones go behind those.
    fn take_in(&mut self, known: usize, now: &LatencySample) -> ApiBaseline {
        let fresh = ApiBaseline { key: key(&now.api), sum_ms: now.sum_ms, count: now.count };
        let sorted = self.apis.get_mut(..known).unwrap_or_default();
        let at = sorted.binary_search_by_key(&fresh.key, |api| api.key);
        if let Some(slot) = at.ok().and_then(|at| sorted.get_mut(at)) {
            return std::mem::replace(slot, fresh);
        }
        let unseen = ApiBaseline { key: fresh.key, sum_ms: 0.0, count: 0.0 };
        self.apis.push(fresh);
        unseen
    }
}

/// The figure over a process' whole life, milliseconds.
pub(super) fn since_start(sample: &NodeSample) -> Option<f64> {
    if sample.has_quantiles {
        return p99(sample);
    }
    sample.latency.iter().map(|api| mean(api.sum_ms, api.count)).fold(None, higher)
}

/// An old agent's own quantile, where it observed anything.
fn p99(sample: &NodeSample) -> Option<f64> {
    sample.latency.iter().map(|api| api.p99_ms).fold(None, higher)
}

fn mean(sum_ms: f64, count: f64) -> Option<f64> {
    let mean = if count > 0.0 && sum_ms >= 0.0 { sum_ms / count } else { return None };
    mean.is_finite().then_some(mean)
}

fn higher(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, None) | (None, one) => one,
    }
}

fn is_damaged(sample: &NodeSample) -> bool {
    sample.get(Family::AwsApiLatencyMs).is_some_and(|own| own.damaged)
}

fn key(api: &str) -> u64 {
    fnv(api)
}

/// FNV-1a, 64 bits.
pub(super) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
