//! A round under way: each page is folded into its node's memory as it comes and then let go, so that a round of 100,000
//! nodes never holds 100,000 pages. The cluster's sums are made in the end, in the order of the node names: the order in
//! which pages came leaves no trace.

use super::aggregator::Aggregator;
use super::gauge::GaugeSums;
use super::labels::LabelSums;
use super::mode::CounterMode;
use super::node::{NodeMemory, Pass, first_scrape, next_scrape};
use super::total::Total;
use crate::labels::LabelShare;
use crate::model::{Anomaly, Coverage, FamilySet, Ipv6Figures, NodeFigures, Observation, Snapshot, UnixMillis, Values};
use cni_types::catalogue::{FAMILIES, Family, Kind, Metric};
use cni_types::node_state::NodeState;

/// One round, from [`Aggregator::begin`] to [`Round::finish`]. A round that is not finished has lost the events of the
/// pages that it was given.
#[derive(Debug)]
#[must_use = "what a round was given is counted when it is finished"]
pub struct Round<'a> {
    aggregator: &'a mut Aggregator,
    at: UnixMillis,
    nodes: Vec<NodeFigures>,
    anomalies: Vec<Anomaly>,
    /// Room for a node's shares while they are made.
    shares: Vec<LabelShare>,
    /// By [`Family`]: the nodes whose value is known.
    reporting: [u64; FAMILIES],
}

impl Aggregator {
    /// Folds one round whose observations are all there. `at` becomes the timestamp of all its numbers; `duration_ms` is
    /// left 0 for the caller, who has the clock.
    pub fn round(&mut self, at: UnixMillis, observations: Vec<Observation>) -> Snapshot {
        let mut round = self.begin(at, observations.len());
        for observation in observations {
            round.observe(observation);
        }
        round.finish()
    }

    /// Begins a round of about this number of targets, whose observations come one by one in any order.
    pub fn begin(&mut self, at: UnixMillis, targets: usize) -> Round<'_> {
        self.round += 1;
        if self.names.is_full() {
            self.names.keep(self.nodes.values().flat_map(|state| state.labels.sets()));
        }
        if self.names.shared() > 0 {
            let shared = self.nodes.values().map(|state| state.labels.beyond_reserved(&self.names)).sum();
            self.names.set_shared(shared);
        }
        Round::new(self, at, targets)
    }
}

impl<'a> Round<'a> {
    pub(super) fn new(aggregator: &'a mut Aggregator, at: UnixMillis, targets: usize) -> Self {
        Self {
            aggregator,
            at,
            nodes: Vec::with_capacity(targets),
            anomalies: Vec::new(),
            shares: Vec::new(),
            reporting: [0; FAMILIES],
        }
    }

    /// Takes in what is known of one target. A UID that is observed twice counts once.
    pub fn observe(&mut self, observation: Observation) {
        let Observation { target, expected, outcome } = observation;
        let Aggregator { start, mode, round, nodes, tombstones, names, .. } = &mut *self.aggregator;
        let mut known = nodes.get_mut(&target.uid);
        if let Some(state) = &mut known {
            if state.last_listed == *round {
                return;
            }
            state.recent.pass(round.saturating_sub(state.last_listed));
            (state.last_listed, state.last_listed_at) = (*round, self.at);
        }
        let mut figures = NodeFigures {
            uid: target.uid.clone(),
            name: target.node.clone(),
            labels: target.labels.clone(),
            agent_version: None,
            ipv6: known.as_ref().is_some_and(|state| state.ipv6),
            expected: expected || known.is_some() || outcome.is_ok(),
            failure: outcome.as_ref().err().copied(),
            values: Values::default(),
            damaged: FamilySet::default(),
            implausible: FamilySet::default(),
            shares: Box::default(),
            labels_overflowed: false,
            states: outcome.is_err().then_some(NodeState::Silent).into_iter().collect(),
            usable_ip_addresses: None,
        };
        if let Ok(sample) = &outcome {
            let continuity = match &known {
                Some(state) => state.continuity(self.at, sample),
                None => match tombstones.take(&target, self.at) {
                    Some(entry) => next_scrape(entry, self.at, sample),
                    None => first_scrape(*start, &target, self.at, sample),
                },
            };
            let state = match known {
                Some(state) => state,
                None => nodes.entry(target.uid).or_insert_with(|| Box::new(NodeMemory::new(*round, self.at))),
            };
            state.last_scraped_at = self.at;
            let pass = Pass { agent: target.agent, mode: *mode, figures: &mut figures, anomalies: &mut self.anomalies };
            let reporting = state.advance(sample, continuity, pass);
            if continuity.is_new_process() || *mode == CounterMode::Totals {
                state.labels.begin_anew();
            }
            state.labels.advance(sample, &mut figures, self.at, (names, &mut self.shares));
            state.note_absent_labels(sample);
            for (nodes, family) in self.reporting.iter_mut().zip(Family::ALL) {
                // An IPv6 node is no part of the IPv4 sums, and not missed in them.
                let counts = reporting.contains(family) || (state.ipv6 && family.counts_ipv4());
                *nodes += u64::from(counts);
            }
        }
        self.nodes.push(figures);
    }

    /// Adds everything up.
    pub fn finish(self) -> Snapshot {
        let Self { aggregator, at, mut nodes, mut anomalies, reporting, .. } = self;
        // What every view shows, and the order in which floats are added. Of a node that is there twice, its page stays.
        nodes.sort_unstable_by(|a, b| (&a.name, &a.uid, a.failure).cmp(&(&b.name, &b.uid, b.failure)));
        nodes.dedup_by(|a, b| a.name == b.name && a.uid == b.uid);
        anomalies.sort_by(|a, b| a.node().cmp(&b.node()));

        let mut sums = Sums { anomalies, ..Sums::default() };
        let mut labels = LabelSums::new(&aggregator.names);
        for node in &nodes {
            sums.add(node);
            labels.add(node);
        }
        let breakdown = labels.breakdown();
        aggregator.forget(at);
        sums.coverage.report(&reporting);
        let metrics = sums.metrics();
        let totals = aggregator.add_totals(&metrics);
        Snapshot {
            cluster: None,
            round: aggregator.round,
            at,
            duration_ms: 0,
            coverage: sums.coverage,
            metrics,
            totals,
            ipv6: sums.ipv6,
            nodes,
            anomalies: sums.anomalies,
            breakdown,
        }
    }
}

impl Coverage {
    /// Notes the metrics that not all scraped nodes measure.
    fn report(&mut self, reporting: &[u64; FAMILIES]) {
        let partial = Family::ALL.into_iter().zip(reporting).filter(|(_, nodes)| **nodes < self.scraped);
        self.reporting = partial.map(|(family, nodes)| (family.metric(), *nodes)).collect();
    }
}

/// The cluster's sums.
#[derive(Debug, Default)]
struct Sums {
    coverage: Coverage,
    ipv6: Ipv6Figures,
    gauges: GaugeSums,
    /// In the order of [`Family::COUNTERS`]; `None` where no node's value is known.
    counters: [Option<Total>; Family::COUNTER_COUNT],
    latency_ms: Option<f64>,
    anomalies: Vec<Anomaly>,
}

impl Sums {
    fn add(&mut self, node: &NodeFigures) {
        if node.expected {
            self.coverage.expected += 1;
            self.coverage.states.add(node.states);
            match node.failure {
                None => self.coverage.scraped += 1,
                Some(kind) => *self.coverage.failed.entry(kind).or_default() += 1,
            }
        }
        if node.failure.is_none() {
            self.add_page(node);
        }
    }

    fn add_page(&mut self, node: &NodeFigures) {
        self.coverage.damaged += u64::from(!node.damaged.is_empty());
        self.coverage.implausible += u64::from(!node.implausible.is_empty());
        if node.ipv6 {
            self.ipv6.nodes += 1;
            self.ipv6.assigned_ip_addresses += node.values.get(Metric::AssignIpAddresses).unwrap_or(0.0);
        }
        self.gauges.add(node);
        for (sum, family) in self.counters.iter_mut().zip(Family::COUNTERS) {
            if let Some(value) = node.values.get(family.metric()) {
                *sum.get_or_insert_default() += value;
            }
        }
        self.latency_ms = match (self.latency_ms, node.values.get(Metric::AwsApiLatency)) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (one, None) | (None, one) => one,
        };
    }

    /// The cluster's values. Without a single scraped node nothing was measured but that.
    fn metrics(&mut self) -> Values {
        let mut values = Values::default();
        values.set(Metric::NodesExpected, Some(self.coverage.expected as f64));
        values.set(Metric::NodesScraped, Some(self.coverage.scraped as f64));
        if self.coverage.scraped == 0 {
            return values;
        }
        for family in Family::ALL.into_iter().filter(|family| family.kind() == Kind::SumGauge) {
            let sum = self.gauges.get(family);
            self.set_finite(&mut values, family.metric(), sum);
        }
        for (family, sum) in Family::COUNTERS.into_iter().zip(self.counters) {
            values.set(family.metric(), sum.map(Total::get));
        }
        values.set(Metric::AwsApiLatency, self.latency_ms);
        values
    }

    fn set_finite(&mut self, values: &mut Values, metric: Metric, value: Option<f64>) {
        if value.is_some_and(|value| !value.is_finite()) {
            self.anomalies.push(Anomaly::NotFinite { metric });
        }
        values.set(metric, value.filter(|value| value.is_finite()));
    }
}
