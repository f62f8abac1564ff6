//! What CloudWatch holds in the end, beside the truth of every round.

use std::collections::BTreeMap;

use cni_metrics_core::catalogue::{CATALOGUE, Kind, Row};
use cni_sim::cloudwatch::store::{CloudWatchStore, Outcome};

use super::PlayedRound;

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

/// Published beside true.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) lines: Vec<Line>,
    /// Points that CloudWatch accepted.
    pub(super) points: usize,
    /// Points that were measured and that CloudWatch does not hold.
    pub(super) undelivered: usize,
    /// Requests it took, by whether it accepted them.
    pub(super) accepted: usize,
    pub(super) refused: usize,
}

impl Comparison {
    pub(super) fn new(rounds: &[PlayedRound], store: &CloudWatchStore) -> Self {
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
        let undelivered = measured.filter(|point| !published.contains_key(point)).count();
        let lines = CATALOGUE.iter().map(|row| line(row, rounds, &published)).collect();
        Self { lines, points: data.len(), undelivered, accepted, refused: requests.len() - accepted }
    }

    /// Over all rounds and metrics.
    pub(super) fn max_abs_difference(&self) -> f64 {
        self.lines.iter().map(|line| line.max_difference).fold(0.0, f64::max)
    }
}

fn line(row: &'static Row, rounds: &[PlayedRound], published: &BTreeMap<(&str, i64), f64>) -> Line {
    let values = |round: &PlayedRound| {
        let sent = published.get(&(row.name, round.snapshot.at.0)).copied();
        (sent, round.truth.metrics.get(row.name).copied())
    };
    let max_difference = rounds.iter().map(values).map(|(sent, truth)| difference(sent, truth)).fold(0.0, f64::max);
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
