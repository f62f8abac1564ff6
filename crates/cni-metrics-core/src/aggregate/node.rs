//! What is remembered of one node, and what its next page says.

use super::capacity::{self, Recent};
use super::counter::{self, Baseline, Baselines, Continuity, Increase};
use super::gauge;
use super::labels::LabelBaselines;
use super::latency::{self, Interval, LatencyBaselines};
use super::mode::{CounterMode, HelperStart};
use super::tombstones::Tombstone;
use crate::agent::AgentFacts;
use crate::model::{Anomaly, FamilySet, Implausibility, NodeFigures, NodeSample, Target, UnixMillis};
use cni_types::catalogue::LabelledFamily;
use cni_types::catalogue::{Family, Metric};
use cni_types::node_state::NodeState;
use cni_types::version::AgentVersion;

/// What is remembered of one node that was scraped at least once.
#[derive(Debug)]
pub(super) struct NodeMemory {
    pub(super) process_start_seconds: Option<f64>,
    pub(super) counters: Baselines,
    pub(super) latency: LatencyBaselines,
    pub(super) labels: LabelBaselines,
    pub(super) ipv6: bool,
    /// Families with an implausible value on its last page, so that each is reported once.
    pub(super) implausible: FamilySet,
    pub(super) recent: Recent,
    pub(super) last_listed: u64,
    pub(super) last_listed_at: UnixMillis,
    /// The round of its last good scrape, which itself was no earlier.
    pub(super) last_scraped_at: UnixMillis,
}

/// How far apart a process' start and a moment of the helper's may be for their machines' clocks to leave the order in
/// doubt, seconds. Nodes keep time by NTP; a clock further off than this may cost events of a restart, never invent any.
const CLOCK_DOUBT_SECONDS: f64 = 5.0;

/// Whether a process' start can be compared with the helper's clock at all. One that lies ahead of it says that one of the
/// two clocks is wrong, and then it may lie before or after any moment of the helper's.
fn is_comparable(process_start_seconds: f64, at: UnixMillis) -> bool {
    process_start_seconds - at.as_seconds() <= CLOCK_DOUBT_SECONDS
}

/// Whether all that a node counted before its first good scrape happened on the helper's watch.
pub(super) fn first_scrape(start: HelperStart, target: &Target, at: UnixMillis, sample: &NodeSample) -> Continuity {
    // The API server stamps whole seconds. An agent needs longer than one to come up, so the same second is "after".
    let second = |time: UnixMillis| time.0.div_euclid(1000);
    let created_after = |reference: UnixMillis| target.created_at.is_some_and(|at| second(at) >= second(reference));
    if start.api_server.is_some_and(created_after) {
        return Continuity::New;
    }
    let process = sample.process_start_seconds.filter(|process| is_comparable(*process, at));
    let lead = process.map(|process| process - start.clock.as_seconds());
    let counts = match lead {
        Some(lead) if lead > CLOCK_DOUBT_SECONDS => true,
        Some(lead) if lead < -CLOCK_DOUBT_SECONDS => false,
        _ => created_after(start.api_server.unwrap_or(start.clock)),
    };
    if counts { Continuity::New } else { Continuity::Baseline }
}

/// What a pod is that comes back after it was tombstones: only a process that surely began after the last good scrape has
/// nothing on its page that was published before. That it began after the one of then, by the node's own clock, is asked
/// for as well: the helper's clock may have been set.
pub(super) fn next_scrape(entry: Tombstone, at: UnixMillis, sample: &NodeSample) -> Continuity {
    let Some(start) = sample.process_start_seconds else { return Continuity::Baseline };
    let is_another = entry.process_start_seconds.is_none_or(|before| start - before > CLOCK_DOUBT_SECONDS);
    let is_later = start - entry.last_scraped_at.min(at).as_seconds() > CLOCK_DOUBT_SECONDS;
    if is_another && is_later && is_comparable(start, at) { Continuity::New } else { Continuity::Baseline }
}

/// The version of a page's agent: as the page says; else by the tag of its image; else at least the first that has what is
/// on the page.
fn version_of(sample: &NodeSample, agent: AgentFacts) -> Option<AgentVersion> {
    let marker = || {
        [Family::NoAvailableIpAddresses, Family::Ec2ApiReqCount]
            .into_iter()
            .find(|family| sample.get(*family).is_some())
            .map(Family::first_version)
    };
    sample.version.or(agent.version).or_else(marker)
}

/// A process' start is one number for its whole life; pages may differ in how they round it, seconds.
const START_ROUNDING_SECONDS: f64 = 0.5;

impl NodeMemory {
    pub(super) fn new(round: u64, at: UnixMillis) -> Self {
        Self {
            process_start_seconds: None,
            counters: Baselines::default(),
            latency: LatencyBaselines::default(),
            labels: LabelBaselines::unknown(),
            ipv6: false,
            implausible: FamilySet::default(),
            recent: Recent::default(),
            last_listed: round,
            last_listed_at: at,
            last_scraped_at: at,
        }
    }

    /// What stays of it when it is tombstones.
    pub(super) fn entry(&self) -> Tombstone {
        Tombstone { last_scraped_at: self.last_scraped_at, process_start_seconds: self.process_start_seconds }
    }

    /// What a page of the round of `at` is to the last good one of the same pod.
    pub(super) fn continuity(&self, at: UnixMillis, sample: &NodeSample) -> Continuity {
        let fell = || self.counters.fell(sample) || self.latency.fell(sample);
        let vanished = || self.counters.vanished(sample) || self.latency.vanished(sample);
        // A scrape that seems to lie ahead was made before the helper's clock was set back.
        let since_last_scrape =
            |start: f64| is_comparable(start, at).then(|| start - self.last_scraped_at.min(at).as_seconds());
        let restarted = match (self.process_start_seconds, sample.process_start_seconds) {
            (Some(before), Some(now)) if (now - before).abs() <= START_ROUNDING_SECONDS => false,
            // The start is reckoned from the node's boot, and moves when the node's clock is set. A process that really
            // began again did so after the old one, and after the old one's last scrape. A small move proves nothing:
            // right after a process' start, a clock that is set forward a little makes its start seem to lie after its
            // first scrape. Then only what fell or vanished tells.
            (Some(before), Some(now)) => {
                let is_later = now - before > CLOCK_DOUBT_SECONDS
                    && since_last_scrape(now).is_some_and(|seconds| seconds >= -CLOCK_DOUBT_SECONDS);
                is_later || fell() || vanished()
            }
            (None, Some(now)) => since_last_scrape(now).is_some_and(|seconds| seconds > CLOCK_DOUBT_SECONDS) || fell(),
            // Only the counters can tell. What pages have always lacked may also vanish by a restart; a page that newly
            // lacks its start has lost lines, so vanished families prove nothing.
            (None, None) => fell() || vanished(),
            (Some(_), None) => fell(),
        };
        if restarted { Continuity::Restarted } else { Continuity::Same }
    }

    /// Families that are not on a whole page and never were count from 0, label by label.
    pub(super) fn note_absent_labels(&mut self, sample: &NodeSample) {
        if self.labels.has_all_baselines() || !counter::is_whole(sample) {
            return;
        }
        for (family, baseline) in Family::COUNTERS.into_iter().zip(self.counters.all) {
            if let Some(labelled) = LabelledFamily::of(family)
                && sample.get(family).is_none()
                && matches!(baseline, Baseline::Absent(from) if from.total_cmp(&0.0).is_eq())
            {
                self.labels.counts_from_0(labelled);
            }
        }
    }

    /// Takes a page in, and returns the families whose sums the node is part of.
    pub(super) fn advance(&mut self, sample: &NodeSample, continuity: Continuity, pass: Pass<'_>) -> FamilySet {
        let Pass { agent, mode, figures, anomalies } = pass;
        let mut decreased = |family: Family, from: f64, to: f64| {
            anomalies.push(Anomaly::CounterDecreased { node: figures.name.clone(), family, from, to });
        };
        let increases = self.counters.advance(continuity, sample, &mut decreased);
        let interval = self.latency.advance(continuity, sample, &mut decreased);
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
        figures.damaged = Family::ALL.into_iter().filter(|family| is_damaged(sample, *family)).collect();

        let known = self.implausible;
        let mut implausible = |family: Family, reason: Implausibility| {
            // A contradictory pair is one finding, reported for the first of the two.
            let is_second =
                family == Family::TotalIpAddresses && matches!(reason, Implausibility::AssignedAboveHeld { .. });
            if !known.contains(family) && !is_second {
                anomalies.push(Anomaly::Implausible { node: figures.name.clone(), family, reason });
            }
            figures.implausible.insert(family);
        };
        let version = version_of(sample, agent);
        figures.agent_version = version;
        let has = |family: Family| counter::is_whole(sample) && version.is_some_and(|version| family.is_in(version));
        gauge::read(sample, agent, self.ipv6, &mut figures.values, &mut implausible);
        let mut reporting = gauge::unused(sample, has);
        for (family, increase) in Family::COUNTERS.into_iter().zip(increases) {
            let increase = if sample.get(family).is_some() || has(family) { increase } else { Increase::Unknown };
            if let Increase::Implausible(by) = increase
                && mode == CounterMode::Increase
            {
                implausible(family, Implausibility::Increase { by });
            }
            figures.values.set(family.metric(), counted(mode, sample, family, increase, has));
        }
        let Interval { highest_ms, implausible: beyond_belief } = match mode {
            CounterMode::Increase => interval,
            CounterMode::Totals => latency::since_start(sample),
        };
        if beyond_belief {
            implausible(Family::AwsApiLatencyMs, Implausibility::Latency);
        }
        figures.values.set(Metric::AwsApiLatency, highest_ms);
        self.implausible = figures.implausible;
        self.judge(mode, agent, figures);
        for family in Family::ALL {
            let measured = match family {
                Family::AwsApiLatencyMs => latency::is_measured(sample, has(family)) && !beyond_belief,
                _ => figures.values.get(family.metric()).is_some() && !figures.damaged.contains(family),
            };
            if measured {
                reporting.insert(family);
            }
        }
        reporting
    }

    /// Finds out the node's states. Totals since the agent's start say nothing of this round.
    fn judge(&mut self, mode: CounterMode, agent: AgentFacts, figures: &mut NodeFigures) {
        let refused = figures.values.get(Metric::NoAvailableIpAddresses);
        self.recent.note(figures, refused.filter(|_| mode == CounterMode::Increase));
        figures.usable_ip_addresses = capacity::usable(figures, agent);
        let applies = [
            (NodeState::Refusing, self.recent.refuses()),
            (NodeState::Full, self.recent.is_full(figures, agent)),
            (NodeState::Implausible, !figures.implausible.is_empty()),
            (NodeState::Damaged, !figures.damaged.is_empty()),
        ];
        figures.states = applies.into_iter().filter(|(_, applies)| *applies).map(|(state, _)| state).collect();
    }
}

/// What a page is taken in for.
pub(super) struct Pass<'a> {
    pub(super) agent: AgentFacts,
    pub(super) mode: CounterMode,
    pub(super) figures: &'a mut NodeFigures,
    pub(super) anomalies: &'a mut Vec<Anomaly>,
}

fn is_damaged(sample: &NodeSample, family: Family) -> bool {
    sample.get(family).is_some_and(|own| own.damaged)
}

/// A counter's value of one node, if it is known. `has` tells whether the agent has a family that is not on the page, and
/// would show it once it counts.
fn counted(
    mode: CounterMode,
    sample: &NodeSample,
    family: Family,
    increase: Increase,
    has: impl Fn(Family) -> bool,
) -> Option<f64> {
    match (mode, increase) {
        (CounterMode::Increase, Increase::By(by) | Increase::AtLeast(by)) => Some(by),
        (CounterMode::Increase, Increase::Unknown | Increase::Implausible(_)) => None,
        (CounterMode::Totals, _) => match sample.get(family) {
            Some(own) => (!own.damaged).then_some(own.sum),
            None => (!family.is_plain_counter() && has(family)).then_some(0.0),
        },
    }
}
