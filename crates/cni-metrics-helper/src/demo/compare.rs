//! What CloudWatch holds in the end, beside the truth of every round.

use std::collections::{BTreeMap, BTreeSet};

use cni_sim::cloudwatch::store::{CloudWatchStore, Outcome};
use cni_types::catalogue::{CATALOGUE, Kind, Row};

use tokio::sync::watch;

use super::breakdown::differences;
use super::played::PlayedRound;
use cni_publish::SinkStats;
use cni_publish::stats::DropReason;

/// One metric over the whole demo.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) row: &'static Row,
    /// Counters: the sum over all rounds. Others: the last round's value. `None` is "not published".
    pub(super) published: Option<f64>,
    /// The same, as it should be.
    pub(super) truth: Option<f64>,
    /// The largest difference in any round.
    pub(super) max_difference: f64,
}

/// Points that the helper counted as given up when it ended, as far as they explain what CloudWatch lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// CloudWatch was in trouble to the end: these were waiting for it.
    pub(super) waiting: usize,
    /// A request was written and never answered, so that it is not known whether CloudWatch took them.
    pub(super) in_doubt: usize,
}

/// The reason under which points of a request without an answer are counted.
const IN_DOUBT: &str = "in_doubt";

impl GivenUp {
    /// From the figures of the sinks at their end. Points that were unsent although nothing was in their way explain
    /// nothing.
    pub(super) fn new(sinks: &[watch::Receiver<SinkStats>], outage: bool) -> Self {
        let dropped: Vec<(DropReason, u64)> =
            sinks.iter().flat_map(|sink| sink.borrow().dropped_points.clone()).collect();
        let count = |wanted: &dyn Fn(DropReason) -> bool| {
            let points = dropped.iter().filter(|(reason, _)| wanted(*reason)).map(|(_, points)| *points).sum::<u64>();
            usize::try_from(points).unwrap_or(usize::MAX)
        };
        Self {
            waiting: if outage { count(&|reason| reason == DropReason::Shutdown) } else { 0 },
            in_doubt: count(&|reason| reason.label() == IN_DOUBT),
        }
    }

    fn points(self) -> usize {
        self.waiting.saturating_add(self.in_doubt)
    }
}

/// Published beside true.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) lines: Vec<Line>,
    /// Label sets that counted anything, over all rounds.
    pub(super) label_sets: usize,
    /// The largest difference of a label set's share in any round. CloudWatch has no labels: this is what the helper holds.
    pub(super) max_label_difference: f64,
    /// Points that CloudWatch accepted.
    pub(super) points: usize,
    /// Points that were measured and that CloudWatch does not hold.
    pub(super) undelivered: usize,
    /// Why it does not, where that is known.
    pub(super) given_up: GivenUp,
    /// Requests it took, by whether it accepted them.
    pub(super) accepted: usize,
    pub(super) refused: usize,
}

impl Comparison {
    pub(super) fn new(rounds: &[PlayedRound], store: &CloudWatchStore, given_up: GivenUp) -> Self {
        let data = store.data();
        let mut published: BTreeMap<(&str, i64), f64> = BTreeMap::new();
        for datum in &data {
            // A point that arrived twice counts twice, as it does in CloudWatch.
            *published.entry((datum.key.name.as_str(), datum.timestamp_ms)).or_default() += datum.statistics.sum;
        }
        let requests = store.requests();
        let accepted = requests.iter().filter(|request| request.outcome == Outcome::Accepted).count();
        let measured = rounds.iter().flat_map(|round| {
            let measured = CATALOGUE.iter().filter(|row| round.snapshot.metrics.get(row.metric).is_some());
            measured.map(|row| (row.name, round.snapshot.at.0))
        });
        let undelivered: BTreeSet<(&str, i64)> = measured.filter(|point| !published.contains_key(point)).collect();
        // More than is explained: then all of it differs.
        let explained = if undelivered.len() <= given_up.points() { undelivered.clone() } else { BTreeSet::new() };
        let lines = CATALOGUE.iter().map(|row| line(row, rounds, &published, &explained)).collect();
        let (undelivered, refused) = (undelivered.len(), requests.len() - accepted);
        let label_sets: BTreeSet<&String> = rounds.iter().flat_map(|round| round.truth.breakdown.keys()).collect();
        let of_labels = rounds.iter().flat_map(|round| differences(&round.snapshot, &round.truth.breakdown));
        Self {
            lines,
            label_sets: label_sets.len(),
            max_label_difference: of_labels.map(|(_, held, truth)| (held - truth).abs()).fold(0.0, f64::max),
            points: data.len(),
            undelivered,
            given_up,
            accepted,
            refused,
        }
    }

    /// Points that CloudWatch lacks are all accounted for.
    pub(super) fn is_explained(&self) -> bool {
        self.undelivered <= self.given_up.points()
    }

    /// Over all rounds, metrics and label sets.
    pub(super) fn max_abs_difference(&self) -> f64 {
        self.lines.iter().map(|line| line.max_difference).fold(self.max_label_difference, f64::max)
    }
}

fn line(
    row: &'static Row,
    rounds: &[PlayedRound],
    published: &BTreeMap<(&str, i64), f64>,
    explained: &BTreeSet<(&str, i64)>,
) -> Line {
    let values = |round: &PlayedRound| {
        let sent = published.get(&(row.name, round.snapshot.at.0)).copied();
        (sent, round.truth.metrics.get(row.name).copied())
    };
    let compared = rounds.iter().filter(|round| !explained.contains(&(row.name, round.snapshot.at.0)));
    let max_difference = compared.map(values).map(|(sent, truth)| difference(sent, truth)).fold(0.0, f64::max);
    let (published, truth) = if row.kind == Kind::Counter {
        let sum = |all: Vec<Option<f64>>| all.iter().any(Option::is_some).then(|| all.iter().flatten().sum::<f64>());
        let (sent, truths): (Vec<_>, Vec<_>) = rounds.iter().map(values).unzip();
        (sum(sent), sum(truths))
    } else {
        rounds.last().map_or((None, None), values)
    };
    Line { row, published, truth, max_difference }
}

/// A value on one side only differs by all of itself, and by no less than 1: nothing and 0 are not the same.
pub(super) fn difference(published: Option<f64>, truth: Option<f64>) -> f64 {
    match (published, truth) {
        (None, None) => 0.0,
        (Some(a), Some(b)) => (a - b).abs(),
        (Some(value), None) | (None, Some(value)) => value.abs().max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::{Snapshot, UnixMillis, Values};
    use cni_sim::truth::RoundTruth;
    use cni_types::catalogue::Metric;

    use super::*;

    fn round(at: i64, measured: &[(Metric, f64)], truth: &[(&'static str, f64)]) -> PlayedRound {
        let mut metrics = Values::default();
        for (metric, value) in measured {
            metrics.set(*metric, Some(*value));
        }
        let snapshot = Snapshot { metrics, ..Snapshot::empty(1, UnixMillis(at)) };
        let truth = RoundTruth {
            from: at,
            to: at,
            deliveries: 0,
            complete: true,
            metrics: truth.iter().copied().collect(),
            cumulative: BTreeMap::new(),
            ipv6_nodes: 0,
            ipv6_assigned: 0.0,
            nodes: BTreeMap::new(),
            breakdown: BTreeMap::new(),
        };
        PlayedRound { snapshot: snapshot.into(), truth, conclusion: None }
    }

    fn difference_of(round: PlayedRound, given_up: GivenUp) -> f64 {
        Comparison::new(&[round], &CloudWatchStore::default(), given_up).max_abs_difference()
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn a_point_that_never_arrived_differs_unless_its_absence_is_explained() {
        let one = || round(0, &[(Metric::AddReqCount, 7.0)], &[("addReqCount", 7.0)]);
        assert_eq!(difference_of(one(), GivenUp::default()), 7.0);
        assert_eq!(difference_of(one(), GivenUp { waiting: 1, in_doubt: 0 }), 0.0);
        assert_eq!(difference_of(one(), GivenUp { waiting: 0, in_doubt: 1 }), 0.0);
        let two = round(
            0,
            &[(Metric::AddReqCount, 7.0), (Metric::EniMaxAvailable, 3.0)],
            &[("addReqCount", 7.0), ("eniMaxAvailable", 3.0)],
        );
        assert_eq!(difference_of(two, GivenUp { waiting: 1, in_doubt: 0 }), 7.0, "more is missing than is explained");
    }

    #[test]
    fn a_label_set_that_differs_is_a_difference() {
        let series = "awscni_reconcile_count{fn=\"eniReconcileAdd\"}".to_owned();
        let mut round = round(0, &[], &[]);
        round.truth.breakdown.insert(series, 3);
        let comparison = Comparison::new(&[round], &CloudWatchStore::default(), GivenUp::default());
        assert_eq!((comparison.max_abs_difference(), comparison.label_sets), (3.0, 1));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn nothing_and_zero_are_not_the_same_and_nothing_on_both_sides_is() {
        assert_eq!(difference_of(round(0, &[], &[("addReqCount", 0.0)]), GivenUp::default()), 1.0);
        assert_eq!(difference_of(round(0, &[], &[]), GivenUp::default()), 0.0);
        assert_eq!(difference(Some(0.0), None), 1.0, "published and not measured");
        assert_eq!(difference(None, Some(0.0)), 1.0, "measured and not published");
        assert_eq!(difference(None, None), 0.0);
    }
}
