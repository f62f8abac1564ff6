//! What a cell measured, lost and published, compared with the simulator's truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni_metrics_core::model::Snapshot;
use cni_publish::delivery::spool::Restored;
use cni_publish::stats::DropReason;
use cni_publish::{Selection, SinkStats};
use cni_sim::cloudwatch::store::{CloudWatchStore, Outcome};
use cni_sim::truth::RoundTruth;
use cni_types::catalogue::{CATALOGUE, Kind, MetricSet};

/// One round of one of the three lives, and what a perfect collector would have measured.
struct Round {
    snapshot: Arc<Snapshot>,
    truth: RoundTruth,
}

/// Everything that happened to one cell.
#[derive(Default)]
pub(crate) struct Books {
    rounds: Vec<Round>,
    /// `points_dropped_total` of all lives.
    pub(crate) counted: BTreeMap<DropReason, u64>,
    /// Points that were only in the memory of a helper that was killed, or in a file that was removed. Less those of a file
    /// that outlives a helper which restored it: the next life has them again, and counts again what it drops of them.
    pub(crate) lost_by_name: i64,
    /// Counters (metric and round) of requests that were under way at a kill: not to be sent again.
    given_up: BTreeSet<(&'static str, i64)>,
}

/// One accepted datum.
struct Arrival {
    value: f64,
    is_answered: bool,
}

type Key = (String, i64);

impl Books {
    pub(crate) fn measured(&mut self, snapshot: Arc<Snapshot>, truth: RoundTruth) {
        self.rounds.push(Round { snapshot, truth });
    }

    pub(crate) fn newest(&self) -> i64 {
        self.rounds.last().unwrap().snapshot.at.0
    }

    pub(crate) fn count(&mut self, stats: &SinkStats) {
        for (reason, points) in &stats.dropped_points {
            *self.counted.entry(*reason).or_default() += points;
        }
        assert_eq!(stats.lost_rounds, 0, "delivery was held up");
    }

    pub(crate) fn found(&mut self, left: &Restored) {
        let values = left.in_doubt.iter().flat_map(|kept| kept.values().map(|(row, _)| (row.name, kept.at.0)));
        self.given_up.extend(values);
    }

    /// How often counting began anew.
    pub(crate) fn beginnings(&self) -> usize {
        self.rounds.iter().filter(|round| is_beginning(&round.snapshot)).count()
    }

    /// Nothing twice, everything with its value, and nothing lost that is not counted or named.
    pub(crate) fn check(&self, store: &CloudWatchStore) {
        let arrived = arrived(store);
        self.check_values(&arrived);
        self.check_points(&arrived);
        self.check_events(&arrived);
    }

    fn values(&self) -> BTreeMap<Key, Vec<f64>> {
        let selection = Selection::new(MetricSet::Standard, &[], &[]).unwrap();
        let mut values: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
        for Round { snapshot, .. } in &self.rounds {
            for (row, value) in selection.values(snapshot) {
                values.entry((row.name.to_owned(), snapshot.at.0)).or_default().push(value);
            }
        }
        values
    }

    /// What arrived was measured, counters once, and gauges again only where CloudWatch gave no answer.
    fn check_values(&self, arrived: &BTreeMap<Key, Vec<Arrival>>) {
        let measured = self.values();
        for (key, arrivals) in arrived {
            let values = measured.get(key).unwrap_or_else(|| panic!("{key:?} was not measured"));
            assert!(arrivals.iter().all(|arrival| values.contains(&arrival.value)), "{key:?}: another value");
            let answered = arrivals.iter().filter(|arrival| arrival.is_answered).count();
            assert!(answered <= 1, "{key:?} was accepted {answered} times");
            if CATALOGUE.iter().any(|row| row.name == key.0 && row.kind == Kind::Counter) {
                assert_eq!(arrivals.len(), 1, "{key:?} arrived more than once");
            }
        }
        for (name, at) in &self.given_up {
            let answered = arrived.get(&((*name).to_owned(), *at)).is_some_and(|arrivals| arrivals[0].is_answered);
            assert!(!answered, "{name} of {at} was in doubt and sent again");
        }
        for Round { snapshot, truth } in &self.rounds {
            for row in CATALOGUE.iter().filter(|row| matches!(row.kind, Kind::SumGauge | Kind::Own)) {
                let value = snapshot.metrics.get(row.metric);
                assert_eq!(value, truth.metrics.get(row.name).copied(), "{} of {}", row.name, snapshot.at.0);
            }
        }
    }

    /// Each point that was measured arrived, was counted, or was lost by name.
    fn check_points(&self, arrived: &BTreeMap<Key, Vec<Arrival>>) {
        let whole = |number: usize| i64::try_from(number).unwrap();
        let measured: usize = self.values().values().map(Vec::len).sum();
        // CloudWatch has these, and the helper cannot know: they are also counted, or lost.
        let unanswered = arrived.values().filter(|all| all.iter().all(|arrival| !arrival.is_answered)).count();
        let counted = i64::try_from(self.counted.values().sum::<u64>()).unwrap();
        assert_eq!(
            whole(measured),
            whole(arrived.len()) - whole(unanswered) + counted + self.lost_by_name,
            "{measured} points measured, {} arrived, {unanswered} of these only without an answer, {:?} counted, {} lost \
             by name",
            arrived.len(),
            self.counted,
            self.lost_by_name
        );
    }

    /// Each round's counters are what happened since the round before, or counting began anew; and what arrived, what is
    /// missing as counted, and what happened before a new beginning make the truth.
    fn check_events(&self, arrived: &BTreeMap<Key, Vec<Arrival>>) {
        let total = &self.rounds.last().unwrap().truth.cumulative;
        assert!(total["addReqCount"] > 0.0, "nothing happened that could have been lost");
        for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
            let (mut before, mut published, mut missing, mut unwatched) = (0.0, 0.0, 0.0, 0.0);
            for Round { snapshot, truth } in &self.rounds {
                let until = truth.cumulative.get(row.name).copied().unwrap_or(0.0);
                let happened = until - std::mem::replace(&mut before, until);
                if is_beginning(snapshot) {
                    unwatched += happened;
                    continue;
                }
                let measured = snapshot.metrics.get(row.metric).unwrap_or(0.0);
                assert_eq!(measured, happened, "{} of {}", row.name, snapshot.at.0);
                match arrived.get(&(row.name.to_owned(), snapshot.at.0)) {
                    Some(arrivals) => published += arrivals.iter().map(|arrival| arrival.value).sum::<f64>(),
                    None => missing += measured,
                }
            }
            let truth = total.get(row.name).copied().unwrap_or(0.0);
            assert_eq!(published + missing + unwatched, truth, "{}", row.name);
        }
    }
}

/// The first round without baselines knows no increase.
fn is_beginning(snapshot: &Snapshot) -> bool {
    let mut counters = CATALOGUE.iter().filter(|row| row.kind == Kind::Counter);
    counters.all(|row| snapshot.metrics.get(row.metric).is_none())
}

fn arrived(store: &CloudWatchStore) -> BTreeMap<Key, Vec<Arrival>> {
    let requests = store.requests();
    let unanswered: BTreeSet<u64> = requests
        .iter()
        .filter(|request| matches!(request.outcome, Outcome::AcceptedThenReset | Outcome::AcceptedThenHung))
        .map(|request| request.number)
        .collect();
    let mut arrived: BTreeMap<Key, Vec<Arrival>> = BTreeMap::new();
    for datum in store.data() {
        let arrival = Arrival { value: datum.statistics.sum, is_answered: !unanswered.contains(&datum.request) };
        arrived.entry((datum.key.name.clone(), datum.timestamp_ms)).or_default().push(arrival);
    }
    arrived
}
