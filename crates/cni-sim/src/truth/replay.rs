//! The answer for one round: every page of every pod is gone through again.

use super::numbers::{COUNTERS, Counters, GAUGES, Gauge, LabelSet, NodeNumbers, add};
use super::record::{Delivery, PodRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far two machines' clocks may disagree. A process that seems to have begun so soon after the collector counts as
/// older, unless the API server made its pod later.
const DOUBTFUL_MS: i64 = 5_000;

/// A pod's first minute, in which no page is expected.
const GRACE_MS: i64 = 60_000;

/// What is asked: one round of one collector, in wall-clock Unix milliseconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// Beginning of the round.
    pub from: i64,
    /// End of the round.
    pub to: i64,
    /// When the collector started, by its own clock; without it, before everything.
    #[serde(default)]
    pub collector_start: Option<i64>,
    /// The same by the API server's clock; without it, what the cluster's clock showed then.
    #[serde(default)]
    pub collector_start_api: Option<i64>,
}

/// What a perfect collector would publish for one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundTruth {
    /// The question.
    pub from: i64,
    /// The question.
    pub to: i64,
    /// Pages handed over within the round.
    pub deliveries: u64,
    /// False when part of the history that the answer needs has been dropped to bound memory.
    pub complete: bool,
    /// Published name → value; a name that would not be published is absent.
    pub metrics: BTreeMap<&'static str, f64>,
    /// Published name of each counter → events since the collector's start; absent until a node's increase was known.
    pub cumulative: BTreeMap<&'static str, f64>,
    /// IPv6 nodes scraped in the round.
    pub ipv6_nodes: u64,
    /// Pods with an address on them.
    pub ipv6_assigned: f64,
    /// Node name → published name → value, for the nodes scraped in the round.
    pub nodes: BTreeMap<String, BTreeMap<&'static str, f64>>,
    /// Series of a counter that has labels, as a page writes them → events in the round on all nodes. Without those that
    /// counted nothing.
    pub breakdown: BTreeMap<String, u64>,
}

/// One pod's part.
#[derive(Debug, Default)]
struct PodPart<'a> {
    /// Last page in the round.
    last: Option<&'a NodeNumbers>,
    pages: u64,
    ever_scraped: bool,
    complete: bool,
    /// `None` where no increase is known: the agent has no such counter, or the page was the first.
    increase: Counters,
    cumulative: Counters,
    /// API → (milliseconds, observations) of the round.
    latency: BTreeMap<&'static str, (f64, f64)>,
    /// What each label set gained in the round.
    labels: Vec<(LabelSet, u64)>,
}

/// The answer for one round.
pub(crate) fn round(pods: &[PodRecord], sim_at: impl Fn(i64) -> i64, window: Window) -> RoundTruth {
    let mut answer = RoundTruth {
        from: window.from,
        to: window.to,
        deliveries: 0,
        complete: true,
        metrics: BTreeMap::new(),
        cumulative: BTreeMap::new(),
        ipv6_nodes: 0,
        ipv6_assigned: 0.0,
        nodes: BTreeMap::new(),
        breakdown: BTreeMap::new(),
    };
    let (mut expected, mut scraped) = (0_u64, 0_u64);
    let mut latency: Option<f64> = None;
    let mut increase: Counters = [None; COUNTERS.len()];
    let mut cumulative: Counters = [None; COUNTERS.len()];
    for pod in pods {
        let part = replay(pod, window);
        answer.complete &= part.complete;
        answer.deliveries += part.pages;
        let due = pod.expected_at(window.from, sim_at(window.from), GRACE_MS, part.ever_scraped);
        expected += u64::from(due || part.last.is_some());
        add(&mut cumulative, &part.cumulative);
        let Some(last) = part.last else { continue };
        scraped += 1;
        add(&mut increase, &part.increase);
        let slowest = slowest_ms(&part.latency);
        latency = latency.into_iter().chain(slowest).reduce(f64::max);
        fold_gauges(last, &mut answer);
        for (set, gained) in part.labels.iter().filter(|(_, gained)| *gained > 0) {
            *answer.breakdown.entry(series_name(set)).or_default() += gained;
        }
        answer.nodes.insert(pod.facts.node.clone(), node_row(last, &part.increase, slowest));
    }
    let known =
        |counters: Counters| COUNTERS.into_iter().zip(counters).filter_map(|(name, value)| Some((name, value?)));
    answer.metrics.extend(known(increase));
    if let Some(latency) = latency {
        answer.metrics.insert("awsAPILatency", latency);
    }
    answer.metrics.insert("nodesExpected", expected as f64);
    answer.metrics.insert("nodesScraped", scraped as f64);
    answer.cumulative.extend(known(cumulative));
    answer
}

/// A series as a page writes it.
fn series_name((family, labels): &LabelSet) -> String {
    let labels = labels.iter().filter(|(name, _)| !name.is_empty());
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{family}{{{}}}", labels.join(","))
}

/// Goes through everything one pod ever delivered, as the collector saw it.
fn replay(pod: &PodRecord, window: Window) -> PodPart<'_> {
    let collector_start = window.collector_start.unwrap_or(i64::MIN);
    let mut part = PodPart { complete: true, ..PodPart::default() };
    let mut previous: Option<&NodeNumbers> = None;
    if let Some(dropped) = &pod.dropped {
        if collector_start <= dropped.first_wall_ms {
            if on_watch(&dropped.first, pod, window) {
                add(&mut part.cumulative, &dropped.first.counters);
            }
            add(&mut part.cumulative, &dropped.increase_since_first);
            previous = Some(&dropped.last);
            part.ever_scraped = true;
        } else if collector_start <= dropped.last_wall_ms {
            part.complete = false;
        }
        part.complete &= window.from > dropped.last_wall_ms;
    }
    for delivery in pod.deliveries.iter().filter(|d| d.wall_ms >= collector_start && d.wall_ms <= window.to) {
        let zero = match previous {
            None => on_watch(&delivery.numbers, pod, window),
            Some(before) => before.process_start_ms != delivery.numbers.process_start_ms,
        };
        let base = match previous {
            _ if zero => Base::Zero,
            Some(before) => Base::Page(before),
            None => Base::Unknown,
        };
        take(&mut part, delivery, base, delivery.wall_ms >= window.from);
        previous = Some(&delivery.numbers);
    }
    part
}

/// What an increase counts from.
#[derive(Clone, Copy)]
enum Base<'a> {
    /// All that the page shows was watched.
    Zero,
    /// The page before.
    Page(&'a NodeNumbers),
    /// The first page of a process that is older than the collector: nothing is known of the interval.
    Unknown,
}

fn take<'a>(part: &mut PodPart<'a>, delivery: &'a Delivery, base: Base<'_>, in_round: bool) {
    let numbers = &*delivery.numbers;
    let gained = match base {
        Base::Zero => numbers.counters_since(None),
        Base::Page(before) => numbers.counters_since(Some(before)),
        Base::Unknown => [None; COUNTERS.len()],
    };
    add(&mut part.cumulative, &gained);
    part.ever_scraped = true;
    if !in_round {
        return;
    }
    part.pages += 1;
    part.last = Some(numbers);
    add(&mut part.increase, &gained);
    match base {
        Base::Zero => part.labels.extend(numbers.labels.gained_since(None)),
        Base::Page(before) => part.labels.extend(numbers.labels.gained_since(Some(&before.labels))),
        Base::Unknown => {}
    }
    for api in numbers.latency.iter() {
        let before = match base {
            Base::Zero => None,
            Base::Page(before) => before.latency.iter().find(|old| old.api == api.api),
            Base::Unknown => Some(api),
        };
        let (sum, count) = before.map_or((0, 0), |old| (old.sum_ms, old.count));
        let entry = part.latency.entry(api.api).or_default();
        entry.0 += api.sum_ms.saturating_sub(sum) as f64;
        entry.1 += api.count.saturating_sub(count) as f64;
    }
}

/// Whether all that a page counts happened while the collector was running.
fn on_watch(first: &NodeNumbers, pod: &PodRecord, window: Window) -> bool {
    let Some(start) = window.collector_start else { return true };
    // The API server shows whole seconds, and an agent needs longer than one to come up.
    let second = |ms: i64| ms.div_euclid(1_000);
    if second(pod.facts.created_ms) >= second(window.collector_start_api.unwrap_or(start)) {
        return true;
    }
    first.process_start_ms > start + DOUBTFUL_MS
}

/// The highest latency of one node: of the means of its EC2 operations in the round.
fn slowest_ms(round: &BTreeMap<&'static str, (f64, f64)>) -> Option<f64> {
    round.values().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count).reduce(f64::max)
}

fn fold_gauges(last: &NodeNumbers, answer: &mut RoundTruth) {
    if last.ipv6 {
        answer.ipv6_nodes += 1;
        answer.ipv6_assigned += last.gauge(Gauge::Assigned).unwrap_or(0.0);
    }
    for (gauge, name, of_addresses) in GAUGES {
        // 2^48 addresses a prefix would drown every IPv4 total.
        if last.ipv6 && of_addresses {
            continue;
        }
        if let Some(value) = last.gauge(gauge) {
            *answer.metrics.entry(name).or_default() += value;
        }
    }
}

fn node_row(last: &NodeNumbers, increase: &Counters, slowest: Option<f64>) -> BTreeMap<&'static str, f64> {
    let gauges = GAUGES.into_iter().filter_map(|(gauge, name, _)| Some((name, last.gauge(gauge)?)));
    let counters = COUNTERS.into_iter().zip(increase).filter_map(|(name, value)| Some((name, (*value)?)));
    gauges.chain(counters).chain(slowest.map(|value| ("awsAPILatency", value))).collect()
}
