//! Many samples to one snapshot.
//!
//! The aggregator remembers each node, by pod UID, since its first good scrape: the last value of each counter, and the
//! process it came from. A node keeps its memory while rounds miss it, and for [`KEPT_ROUNDS`] rounds and [`KEPT_MS`] after
//! it leaves the list, so that a flapping watch does not make a known node new. Of a forgotten pod a mark stays, so that
//! nothing of it counts twice should it come back.

mod baselines;
mod counter;
mod forgotten;
mod gauge;
mod latency;

use std::collections::HashMap;

use crate::catalogue::{Family, Kind, Metric};
use crate::model::{
    Anomaly, Coverage, Ipv6Figures, NodeFigures, NodeSample, Observation, PodUid, Snapshot, Target, UnixMillis, Values,
};
pub use baselines::BaselinesError;
use counter::{Baselines, Continuity};
use forgotten::Forgotten;
use gauge::GaugeSums;
use latency::LatencyBaselines;

/// For how many rounds a node that left the list is remembered at least. Long enough for a watch that restarts, short
/// enough that the memory follows the cluster.
pub const KEPT_ROUNDS: u64 = 10;

/// For how long a node that left the list is remembered at least, however short the rounds, milliseconds.
pub const KEPT_MS: u64 = 600_000;

/// When the helper started: what decides whether a node's first page is its whole story or only a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelperStart {
    /// By the helper's own clock.
    pub clock: UnixMillis,
    /// By the API server's clock, which also stamps the pods' creation; `None` where it could not be learned.
    pub api_server: Option<UnixMillis>,
}

/// What counters are published as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterMode {
    /// The increase since the node's previous good scrape.
    Increase,
    /// Each node's own value since its process started, for a single look with no round before it.
    Totals,
}

/// Folds rounds of observations into snapshots.
#[derive(Debug)]
pub struct Aggregator {
    start: HelperStart,
    mode: CounterMode,
    round: u64,
    nodes: HashMap<PodUid, NodeState>,
    forgotten: Forgotten,
    totals: Values,
}

/// What is remembered of one node that was scraped at least once.
#[derive(Debug)]
struct NodeState {
    process_start_seconds: Option<f64>,
    counters: Baselines,
    latency: LatencyBaselines,
    ipv6: bool,
    last_listed: u64,
    last_listed_at: UnixMillis,
    /// The round of its last good scrape, which itself was no earlier.
    last_scraped_at: UnixMillis,
}

impl Aggregator {
    /// An aggregator that knows no node yet.
    pub fn new(start: HelperStart, mode: CounterMode) -> Self {
        Self {
            start,
            mode,
            round: 0,
            nodes: HashMap::new(),
            forgotten: Forgotten::default(),
            totals: Values::default(),
        }
    }

    /// How many nodes are remembered.
    pub fn known_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Folds one round. `at` becomes the timestamp of all its numbers; `duration_ms` is left 0 for the caller, who has
    /// the clock. A UID that is listed twice counts once.
    #[expect(clippy::needless_pass_by_value, reason = "a round's pages end here; no caller shall hold on to them")]
    pub fn round(&mut self, at: UnixMillis, observations: Vec<Observation>) -> Snapshot {
        self.round += 1;
        let mut fold = RoundFold { nodes: Vec::with_capacity(observations.len()), ..RoundFold::default() };
        for observation in in_output_order(&observations) {
            self.observe(at, observation, &mut fold);
        }
        self.forget(at);

        let metrics = fold.metrics();
        self.add_totals(&metrics, fold.coverage.scraped);
        let RoundFold { coverage, ipv6, nodes, anomalies, .. } = fold;
        Snapshot {
            round: self.round,
            at,
            duration_ms: 0,
            coverage,
            metrics,
            totals: self.totals.clone(),
            ipv6,
            nodes,
            anomalies,
        }
    }

    /// Forgets who left the list long ago. A clock that was set, either way, leaves the decision to the rounds.
    fn forget(&mut self, at: UnixMillis) {
        let oldest = self.round.saturating_sub(KEPT_ROUNDS);
        let forgotten = &mut self.forgotten;
        self.nodes.retain(|uid, state| {
            let kept = state.last_listed >= oldest || at.0.abs_diff(state.last_listed_at.0) < KEPT_MS;
            if !kept {
                forgotten.note(uid, state.last_scraped_at);
            }
            kept
        });
        forgotten.shrink();
    }

    fn observe(&mut self, at: UnixMillis, observation: &Observation, fold: &mut RoundFold) {
        let target = &observation.target;
        let mut known = self.nodes.get_mut(&target.uid);
        if let Some(state) = &mut known {
            (state.last_listed, state.last_listed_at) = (self.round, at);
        }
        fold.cover(observation, known.is_some());
        let mut figures = NodeFigures {
            uid: target.uid.clone(),
            name: target.node.clone(),
            labels: target.labels.clone(),
            ipv6: known.as_ref().is_some_and(|state| state.ipv6),
            failure: observation.outcome.as_ref().err().copied(),
            values: Values::default(),
        };
        if let Ok(sample) = &observation.outcome {
            let continuity = match &known {
                Some(state) => state.continuity(sample),
                None => match self.forgotten.take(target) {
                    Some(last_scraped_at) => second_sight(last_scraped_at, sample),
                    None => first_sight(self.start, target, sample),
                },
            };
            let state = match known {
                Some(state) => state,
                None => self.nodes.entry(target.uid.clone()).or_insert_with(|| NodeState::new(self.round, at)),
            };
            state.last_scraped_at = at;
            state.advance(sample, continuity, self.mode, &mut figures, &mut fold.anomalies);
            fold.add(&figures);
        }
        fold.nodes.push(figures);
    }

    fn add_totals(&mut self, metrics: &Values, scraped: u64) {
        for metric in Family::COUNTERS.map(Family::metric) {
            let total = match (self.mode, metrics.get(metric)) {
                (CounterMode::Totals, value) => value,
                (CounterMode::Increase, Some(increase)) => {
                    let before = self.totals.get(metric).unwrap_or(0.0);
                    Some(if (before + increase).is_finite() { before + increase } else { before })
                }
                (CounterMode::Increase, None) => self.totals.get(metric).or((scraped > 0).then_some(0.0)),
            };
            self.totals.set(metric, total);
        }
    }
}

/// By node name, then UID: what every view shows, and the order in which floats are added.
fn in_output_order(observations: &[Observation]) -> Vec<&Observation> {
    fn key(observation: &Observation) -> (&str, &str) {
        (observation.target.node.as_str(), observation.target.uid.as_str())
    }
    let mut ordered: Vec<&Observation> = observations.iter().collect();
    ordered.sort_by(|a, b| key(a).cmp(&key(b)));
    ordered.dedup_by(|a, b| key(a) == key(b));
    ordered
}

/// How far apart a process' start and a moment of the helper's may be for their machines' clocks to leave the order in
/// doubt, seconds. Nodes keep time by NTP; a clock further off than this may cost events of a restart, never invent any.
const CLOCK_DOUBT_SECONDS: f64 = 5.0;

/// Whether all that a node counted before its first good scrape happened on the helper's watch.
fn first_sight(start: HelperStart, target: &Target, sample: &NodeSample) -> Continuity {
    // The API server stamps whole seconds. An agent needs longer than one to come up, so the same second is "after".
    let second = |time: UnixMillis| time.0.div_euclid(1000);
    let created_after = |reference: UnixMillis| target.created_at.is_some_and(|at| second(at) >= second(reference));
    if start.api_server.is_some_and(created_after) {
        return Continuity::New;
    }
    let lead = sample.process_start_seconds.map(|process| process - start.clock.as_seconds());
    let counts = match lead {
        Some(lead) if lead > CLOCK_DOUBT_SECONDS => true,
        Some(lead) if lead < -CLOCK_DOUBT_SECONDS => false,
        _ => created_after(start.api_server.unwrap_or(start.clock)),
    };
    if counts { Continuity::New } else { Continuity::Baseline }
}

/// What a pod is that comes back after it was forgotten: only a process that surely began after the last good scrape has
/// nothing on its page that was published before.
fn second_sight(last_scraped_at: UnixMillis, sample: &NodeSample) -> Continuity {
    let lead = sample.process_start_seconds.map(|process| process - last_scraped_at.as_seconds());
    if lead.is_some_and(|lead| lead > CLOCK_DOUBT_SECONDS) { Continuity::New } else { Continuity::Baseline }
}

/// A process' start is one number for its whole life; pages may differ in how they round it, seconds.
const START_ROUNDING_SECONDS: f64 = 0.5;

impl NodeState {
    fn new(round: u64, at: UnixMillis) -> Self {
        Self {
            process_start_seconds: None,
            counters: Baselines::default(),
            latency: LatencyBaselines::default(),
            ipv6: false,
            last_listed: round,
            last_listed_at: at,
            last_scraped_at: at,
        }
    }

    /// What a page is to the last good one of the same pod.
    fn continuity(&self, sample: &NodeSample) -> Continuity {
        let fell = || self.counters.fell(sample) || self.latency.fell(sample);
        let vanished = || self.counters.vanished(sample) || self.latency.vanished(sample);
        let since_last_scrape = |start: f64| start - self.last_scraped_at.as_seconds();
        let restarted = match (self.process_start_seconds, sample.process_start_seconds) {
            (Some(before), Some(now)) if (now - before).abs() <= START_ROUNDING_SECONDS => false,
            // The start is reckoned from the node's boot, and moves when the node's clock is set. A process that really
            // began again did so after the old one, and after the old one's last scrape.
            (Some(before), Some(now)) => {
                let is_later = now > before && since_last_scrape(now) >= -CLOCK_DOUBT_SECONDS;
                is_later || fell() || vanished()
            }
            (None, Some(now)) => since_last_scrape(now) > CLOCK_DOUBT_SECONDS || fell(),
            // Only the counters can tell. What pages have always lacked may also vanish by a restart; a page that newly
            // lacks its start has lost lines, so vanished families prove nothing.
            (None, None) => fell() || vanished(),
            (Some(_), None) => fell(),
        };
        if restarted { Continuity::Restarted } else { Continuity::Same }
    }

    fn advance(
        &mut self,
        sample: &NodeSample,
        continuity: Continuity,
        mode: CounterMode,
        figures: &mut NodeFigures,
        anomalies: &mut Vec<Anomaly>,
    ) {
        let mut decreased = |family: Family, from: f64, to: f64| {
            anomalies.push(Anomaly::CounterDecreased { node: figures.name.clone(), family, from, to });
        };
        let increases = self.counters.advance(continuity, sample, &mut decreased);
        let interval_ms = self.latency.advance(continuity, sample, &mut decreased);
        // A page that lost its start says nothing about it, but a new process' start is not the old one's.
        if sample.process_start_seconds.is_some() || continuity == Continuity::Restarted {
            self.process_start_seconds = sample.process_start_seconds;
        }
        // A damaged or missing line must not turn an IPv6 node into an IPv4 one.
        let total = sample.get(Family::TotalIpAddresses);
        if sample.is_ipv6() || total.is_some_and(|total| !total.damaged) {
            self.ipv6 = sample.is_ipv6();
        }
        figures.ipv6 = self.ipv6;

        gauge::read(sample, &mut figures.values);
        for (family, increase) in Family::COUNTERS.into_iter().zip(increases) {
            let value = sample.get(family).map(|own| match mode {
                CounterMode::Increase => increase,
                CounterMode::Totals => own.sum,
            });
            figures.values.set(family.metric(), value);
        }
        let latency_ms = match mode {
            CounterMode::Increase => interval_ms,
            CounterMode::Totals => latency::since_start(sample),
        };
        figures.values.set(Metric::AwsApiLatency, latency_ms);
    }
}

/// A round while it is folded.
#[derive(Debug, Default)]
struct RoundFold {
    coverage: Coverage,
    ipv6: Ipv6Figures,
    gauges: GaugeSums,
    counters: [f64; Family::COUNTER_COUNT],
    latency_ms: Option<f64>,
    nodes: Vec<NodeFigures>,
    anomalies: Vec<Anomaly>,
}

impl RoundFold {
    fn cover(&mut self, observation: &Observation, scraped_before: bool) {
        match observation.outcome {
            Ok(_) => {
                self.coverage.expected += 1;
                self.coverage.scraped += 1;
            }
            Err(kind) if observation.expected || scraped_before => {
                self.coverage.expected += 1;
                *self.coverage.failed.entry(kind).or_default() += 1;
            }
            Err(_) => {}
        }
    }

    /// Adds one scraped node.
    fn add(&mut self, node: &NodeFigures) {
        if node.ipv6 {
            self.ipv6.nodes += 1;
            self.ipv6.assigned_ip_addresses += node.values.get(Metric::AssignIpAddresses).unwrap_or(0.0);
        }
        self.gauges.add(node);
        for (sum, family) in self.counters.iter_mut().zip(Family::COUNTERS) {
            *sum += node.values.get(family.metric()).unwrap_or(0.0);
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
            self.set_finite(&mut values, family.metric(), Some(sum));
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

#[cfg(test)]
mod tests;
