//! What was measured, what should have been, and what CloudWatch took of it: compared point by point, then forgotten.

use std::collections::{BTreeMap, BTreeSet};

use cni_metrics_core::model::Snapshot;
use cni_metrics_helper::demo::breakdown::{differences, differences_of_successor, unexplained};
use cni_types::catalogue::{CATALOGUE, Kind};
use serde_json::Value;

/// Differences that are reported one by one; the rest is counted.
const TOLD: usize = 20;

/// A round's points that CloudWatch does not hold yet.
#[derive(Debug, Default)]
struct Open {
    truth: BTreeMap<String, f64>,
    /// Names that were measured and have not arrived.
    missing: BTreeSet<&'static str>,
}

/// The comparison so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: BTreeMap<i64, Open>,
    /// Points that arrived, each once and with the true value.
    pub(crate) equal: u64,
    pub(crate) differences: u64,
    /// Points that never arrived, less those that the helper says it dropped.
    pub(crate) lost: u64,
    /// Points that the helper counted as dropped.
    pub(crate) dropped: u64,
    /// Label sets of which events were compared, over all rounds.
    pub(crate) label_sets: u64,
    /// Rounds of a helper that follows another one in which a node's counters began anew.
    pub(crate) new_baselines: u64,
    /// Of `dropped`, what helpers that have ended said and what is not settled yet.
    owned_up: u64,
    pub(crate) told: Vec<String>,
}

impl Ledger {
    /// A round ended. `truth` is what it should have shown.
    pub(crate) fn measured(&mut self, snapshot: &Snapshot, truth: BTreeMap<String, f64>) {
        let at = snapshot.at.0;
        let measured = CATALOGUE.iter().filter(|row| snapshot.metrics.get(row.metric).is_some());
        let missing: BTreeSet<&'static str> = measured.map(|row| row.name).collect();
        for name in truth.keys().filter(|name| !missing.contains(name.as_str())) {
            self.differ(format!("{at}: {name} was not measured, the truth is {:?}", truth.get(name)));
        }
        self.open.insert(at, Open { truth, missing });
    }

    /// A helper that follows another one may count from new baselines until it has read a page of every node: then its
    /// own counters are taken for true, as long as they hold no event that never was.
    pub(crate) fn accept_new_baselines(&mut self, snapshot: &Snapshot, truth: &mut BTreeMap<String, f64>) {
        let mut differs = false;
        for row in CATALOGUE.iter().filter(|row| matches!(row.kind, Kind::Counter | Kind::Latency)) {
            let (shown, real) = (snapshot.metrics.get(row.metric), truth.get(row.name).copied());
            if shown == real {
                continue;
            }
            differs = true;
            match shown {
                Some(shown) if row.kind == Kind::Counter && shown > real.unwrap_or_default() => {}
                Some(shown) => {
                    truth.insert(row.name.to_owned(), shown);
                }
                None => {
                    truth.remove(row.name);
                }
            }
        }
        self.new_baselines += u64::from(differs);
    }

    /// The shares of the counters by label set; `expected` is what the simulator counted. A helper that follows another one
    /// may know less of them.
    pub(crate) fn broken_down(&mut self, snapshot: &Snapshot, expected: &BTreeMap<String, u64>, is_catching_up: bool) {
        let found = if is_catching_up {
            differences_of_successor(snapshot, expected)
        } else {
            [differences(snapshot, expected), unexplained(snapshot)].concat()
        };
        self.label_sets += expected.len() as u64;
        for (series, held, truth) in found {
            self.differ(format!("{}: {series} has the share {held}, the truth is {truth}", snapshot.at.0));
        }
    }

    /// CloudWatch took these.
    pub(crate) fn arrived(&mut self, data: &[Value]) {
        for datum in data {
            let Some((name, at, sum, count)) = parts(datum) else {
                self.differ(format!("a datum that cannot be read: {datum}"));
                continue;
            };
            let Some(open) = self.open.get_mut(&at).filter(|open| open.missing.contains(name)) else {
                self.differ(format!("{at}: {name} arrived and was not measured, or arrived before"));
                continue;
            };
            open.missing.remove(name);
            let truth = open.truth.get(name).copied();
            let is_done = open.missing.is_empty();
            // The wire has doubles as the program has them: equal means equal, but for the order of additions.
            let near = |truth: f64| (sum - truth).abs() <= truth.abs() * 1e-12;
            if count.to_bits() == 1.0_f64.to_bits() && truth.is_some_and(near) {
                self.equal += 1;
            } else {
                self.differ(format!("{at}: {name} is {sum} ({count} samples), the truth is {truth:?}"));
            }
            if is_done {
                self.open.remove(&at);
            }
        }
    }

    /// A helper that ended had dropped these, counted; they are missing when the books are closed.
    pub(crate) fn dropped_later(&mut self, dropped: u64) {
        self.owned_up += dropped;
    }

    /// All that will ever arrive has arrived; `dropped` of what is missing was counted by the helper.
    pub(crate) fn settle(&mut self, dropped: u64) {
        let dropped = dropped + std::mem::take(&mut self.owned_up);
        let missing: u64 = self.open.values().map(|open| open.missing.len() as u64).sum();
        self.dropped += dropped;
        if missing > dropped {
            self.lost += missing - dropped;
            let first = self.open.iter().next().map(|(at, open)| (*at, open.missing.len()));
            self.differ(format!("{missing} points never arrived, {dropped} were counted as dropped; first {first:?}"));
        }
        self.open.clear();
    }

    /// Nothing was different, and nothing was lost without being counted.
    pub(crate) fn is_clean(&self) -> bool {
        self.differences == 0 && self.lost == 0
    }

    fn differ(&mut self, text: String) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(text);
        }
    }
}

fn parts(datum: &Value) -> Option<(&str, i64, f64, f64)> {
    let statistics = datum.get("statistics")?;
    let number = |name: &str| statistics.get(name).and_then(Value::as_f64);
    Some((datum.get("name")?.as_str()?, datum.get("timestamp_ms")?.as_i64()?, number("sum")?, number("count")?))
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::{UnixMillis, Values};
    use cni_types::catalogue::Metric;
    use serde_json::json;

    use super::*;

    fn snapshot(values: &[(Metric, f64)]) -> Snapshot {
        let mut metrics = Values::default();
        for (metric, value) in values {
            metrics.set(*metric, Some(*value));
        }
        Snapshot { duration_ms: 1, metrics, ..Snapshot::empty(1, UnixMillis(30_000)) }
    }

    fn datum(value: f64) -> Value {
        let statistics = json!({"sum": value, "count": 1.0});
        json!({"name": "addReqCount", "timestamp_ms": 30_000, "statistics": statistics})
    }

    fn truth(value: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("addReqCount".to_owned(), value)])
    }

    #[test]
    fn a_point_is_equal_different_doubled_lost_or_owned_up_to() {
        let added = snapshot(&[(Metric::AddReqCount, 3.0)]);
        let with = |data: &[Value], dropped: u64| {
            let mut ledger = Ledger::default();
            ledger.measured(&added, truth(3.0));
            ledger.arrived(data);
            ledger.settle(dropped);
            (ledger.equal, ledger.differences, ledger.lost)
        };
        assert_eq!(with(&[datum(3.0)], 0), (1, 0, 0));
        assert_eq!(with(&[datum(4.0)], 0), (0, 1, 0));
        assert_eq!(with(&[datum(3.0), datum(3.0)], 0), (1, 1, 0));
        assert_eq!(with(&[], 0), (0, 1, 1));
        assert_eq!(with(&[], 1), (0, 0, 0));
    }

    #[test]
    fn what_should_have_been_measured_is_missed() {
        let mut ledger = Ledger::default();
        ledger.measured(&snapshot(&[]), truth(0.0));
        assert!(!ledger.is_clean());
    }

    #[test]
    fn new_baselines_may_lose_events_and_never_invent_them() {
        let mut ledger = Ledger::default();
        let mut fewer = truth(5.0);
        ledger.accept_new_baselines(&snapshot(&[(Metric::AddReqCount, 0.0)]), &mut fewer);
        assert_eq!(fewer, truth(0.0));
        let mut more = truth(5.0);
        ledger.accept_new_baselines(&snapshot(&[(Metric::AddReqCount, 9.0)]), &mut more);
        assert_eq!(more, truth(5.0));
    }
}
