//! Counters by label set: the shares of a counter's value.
//!
//! Two worlds. In the first, pages say anything at all, and the shares must still add up to the value that they are shares
//! of, at each node and of the cluster. In the second, agents count as agents do, and a model that knows every event says
//! which label set each of them is of: through lost scrapes, restarts of agents and of the helper, lines that could not be
//! read, label sets beyond the bounds, and agents that come back in another version with other labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart, MAX_CLUSTER_SETS};
use cni_metrics_core::labels::{LabelShare, MAX_GROWTH_SETS, MAX_NODE_SETS, Rest};
use cni_metrics_core::model::{FailureKind, NodeName, NodeSample, Observation, PodUid, Snapshot, Target, UnixMillis};
use cni_metrics_core::parse::parse;
use cni_types::catalogue::LabelledFamily;
use cni_types::version::AgentVersion;

use crate::random::Random;

const HELPER_START_S: i64 = 1_700_000_000;

fn chance(random: &mut Random, percent: usize) -> bool {
    random.below(100) < percent
}

fn pick<'a>(random: &mut Random, names: &[&'a str]) -> &'a str {
    names[random.below(names.len())]
}

fn observation(uid: &str, created_s: i64, agent: AgentFacts, outcome: Result<NodeSample, FailureKind>) -> Observation {
    let target = Target {
        uid: PodUid::new(uid),
        node: NodeName::new(uid),
        created_at: Some(UnixMillis(created_s * 1000)),
        labels: Arc::default(),
        agent,
    };
    Observation { target, expected: true, outcome }
}

fn aggregator(start_s: i64, mode: CounterMode) -> Aggregator {
    let clock = UnixMillis(start_s * 1000);
    Aggregator::new(HelperStart { clock, api_server: Some(clock) }, mode)
}

/// Of each family, the shares' sum is the value: exactly, at each node and of the cluster.
fn check_sums(snapshot: &Snapshot, what: &str) {
    let sum = |shares: &[LabelShare], family| {
        shares.iter().filter(|share| share.set.family() == family).fold(0.0, |sum, share| sum + share.value)
    };
    for family in LabelledFamily::ALL {
        let metric = family.family().metric();
        for node in &snapshot.nodes {
            let value = node.values.get(metric).unwrap_or(0.0);
            assert!(sum(&node.shares, family).total_cmp(&value).is_eq(), "{what}: {node:?} {metric} {value}");
        }
        let value = snapshot.metrics.get(metric).unwrap_or(0.0);
        let shares = &snapshot.breakdown.shares;
        assert!(sum(shares, family).total_cmp(&value).is_eq(), "{what}: {metric} {value} {shares:?}");
    }
    let nodes = snapshot.nodes.iter();
    for shares in nodes.map(|node| &*node.shares).chain([snapshot.breakdown.shares.as_slice()]) {
        assert!(shares.iter().all(|share| share.value > 0.0 && share.value.is_finite()), "{what}");
        let sets: BTreeSet<_> = shares.iter().map(|share| &share.set).collect();
        assert_eq!(sets.len(), shares.len(), "{what}: a label set twice");
    }
    let overflowed = snapshot.nodes.iter().filter(|node| node.labels_overflowed).count();
    assert_eq!(snapshot.breakdown.overflowed, overflowed as u64);
}

/// A page of anything: series come and go, rise and fall, are doubled, damaged and fractional.
fn any_page(random: &mut Random, started_s: i64, many: usize) -> String {
    let mut page = String::new();
    if !chance(random, 10) {
        page.push_str("awscni_add_ip_req_count 7\n");
    }
    if !chance(random, 20) {
        writeln!(page, "process_start_time_seconds {started_s}").unwrap();
    }
    for family in LabelledFamily::ALL.into_iter().filter(|_| chance(random, 80)).collect::<Vec<_>>() {
        for _ in 0..random.below(many) {
            let (first, second) = (random.below(9), random.below(many));
            let labels = match family {
                LabelledFamily::AwsApiErrorCount => {
                    let api = pick(random, &["CreateNetworkInterface", "CreateTags", "GetMACs"]);
                    format!("api=\"{api}\",error=\"E{second}\"")
                }
                LabelledFamily::AwsUtilsErrorCount => format!("error=\"E{second}xx: {first}\",fn=\"f\""),
                LabelledFamily::DelIpReqCount => format!("reason=\"{second}\""),
                _ => format!("fn=\"{second}\",x=\"{first}\""),
            };
            // Of a page with many lines, most families stay whole.
            let value = match random.below(7 * many) {
                0 => "-1".to_owned(),
                1 => "bad".to_owned(),
                2 => "2e9".to_owned(),
                3 => format!("{}.25", random.below(50)),
                4 => "0".to_owned(),
                _ => random.below(200).to_string(),
            };
            let name = if random.below(20 * many) == 0 { "=" } else { family.family().name() };
            let labels = if random.below(9 * many) == 0 { String::new() } else { format!("{{{labels}}}") };
            writeln!(page, "{name}{labels} {value}").unwrap();
        }
    }
    if !chance(random, 30) {
        return page;
    }
    let mut lines: Vec<&str> = page.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

fn any_world(seed: u64, rounds: u32, many: usize, mode: CounterMode) {
    let mut random = Random(seed);
    let mut helper = aggregator(HELPER_START_S, mode);
    let versions = [None, Some(AgentVersion::new(1, 12, 6)), Some(AgentVersion::new(1, 23, 2))];
    let mut started_s = [0; 6].map(|_| HELPER_START_S - 500 + i64::try_from(random.below(1000)).unwrap());
    let mut was_measured = false;
    for round in 0..rounds {
        let now_s = HELPER_START_S + 30 * i64::from(round);
        let mut observations = Vec::new();
        for (number, started_s) in started_s.iter_mut().enumerate() {
            if chance(&mut random, 10) {
                *started_s = now_s - 5;
            }
            if chance(&mut random, 5) {
                continue;
            }
            let page = any_page(&mut random, *started_s, many);
            let sample = parse(page.as_bytes()).sample.map_err(|error| error.kind());
            let outcome = if chance(&mut random, 10) { Err(FailureKind::Timeout) } else { sample };
            let version = versions[random.below(versions.len())];
            let agent = AgentFacts { version, ..AgentFacts::default() };
            observations.push(observation(&number.to_string(), HELPER_START_S - 900, agent, outcome));
        }
        if chance(&mut random, 10) {
            let saved = helper.export();
            helper = aggregator(now_s, mode);
            helper.import(&saved).unwrap();
        }
        let snapshot = helper.round(UnixMillis(now_s * 1000), observations);
        check_sums(&snapshot, &format!("seed {seed} round {round}"));
        was_measured |= snapshot.breakdown.shares.iter().any(|share| share.set.rest().is_none());
    }
    assert!(was_measured, "the world was too quiet to prove anything");
}

#[test]
fn the_shares_sum_to_the_value_whatever_pages_say() {
    for seed in 1..=12 {
        any_world(seed, 200, 6, CounterMode::Increase);
        any_world(seed, 20, 6, CounterMode::Totals);
    }
    // More label sets than a node, a page or the cluster's list may have.
    for seed in 21..=22 {
        any_world(seed, 30, 200, CounterMode::Increase);
        any_world(seed, 5, 2_000, CounterMode::Increase);
        any_world(seed, 2, 2_000, CounterMode::Totals);
    }
}

/// A label set: family, and the values of the labels that are kept.
type Set = (LabelledFamily, String, String);

/// What one process counted of a label set: in all, and since the last page that published it.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    shown: u64,
    unpublished: u64,
}

struct Agent {
    uid: String,
    created_s: i64,
    started_s: i64,
    /// Its process is older than the helper, and no page of it was seen.
    is_baseline: bool,
    is_new_process: bool,
    newer: bool,
    /// Number of different label sets that it may meet.
    variety: usize,
    counts: BTreeMap<Set, Count>,
    /// Families of which the helper lost the label sets when it was restarted.
    unknown: BTreeSet<LabelledFamily>,
    /// The label sets with series of their own, as the contract has it: by family or API, the first that come.
    own: BTreeSet<Set>,
    full: [bool; 3],
    damaged_pages: u8,
}

/// Which bound a label set falls under, and that bound.
fn room(set: &Set) -> (usize, usize) {
    match (set.0, set.1.as_str()) {
        (LabelledFamily::AwsApiErrorCount, "CreateNetworkInterface" | "AssignPrivateIpAddresses") => {
            (0, MAX_GROWTH_SETS)
        }
        (LabelledFamily::AwsApiErrorCount, _) => (1, MAX_NODE_SETS),
        _ => (2, MAX_NODE_SETS),
    }
}

impl Agent {
    fn new(number: usize, random: &mut Random) -> Self {
        let before = i64::try_from(random.below(2)).unwrap() * 1000;
        let created_s = HELPER_START_S + 20 - before;
        let variety = [3, 8, 120][number % 3];
        Self {
            uid: format!("agent-{number}"),
            created_s,
            started_s: created_s + 2,
            is_baseline: before > 0,
            is_new_process: true,
            newer: false,
            variety,
            counts: BTreeMap::new(),
            unknown: BTreeSet::new(),
            own: BTreeSet::new(),
            full: [false; 3],
            damaged_pages: 0,
        }
    }

    fn live(&mut self, now_s: i64, random: &mut Random) {
        if chance(random, 2) {
            // What it counted since its last page is lost with it.
            self.counts.clear();
            (self.started_s, self.is_new_process, self.newer) = (now_s - 10, true, chance(random, 50));
            self.is_baseline = self.is_baseline && self.started_s < HELPER_START_S;
        }
        for _ in 0..random.below(25) {
            let set = self.event(random);
            let count = self.counts.entry(set).or_default();
            let events = 1 + random.next() % 9;
            *count = Count { shown: count.shown + events, unpublished: count.unpublished + events };
        }
    }

    fn event(&self, random: &mut Random) -> Set {
        let family = LabelledFamily::ALL[random.below(8)];
        let number = random.below(self.variety);
        let (first, second) = match family {
            LabelledFamily::AwsApiErrorCount => {
                let apis = ["CreateNetworkInterface", "AssignPrivateIpAddresses", "CreateTags", "GetMACs"];
                (pick(random, &apis).to_owned(), format!("Code{number}"))
            }
            LabelledFamily::AwsUtilsErrorCount => {
                (pick(random, &["FreeENIDeleteErr", "AllocENIDeleteErr"]).to_owned(), format!("Code{}", number % 4))
            }
            LabelledFamily::DelIpReqCount => (pick(random, &["PodDeleted", "SetupNSFailed"]).to_owned(), String::new()),
            // Another version names them differently.
            _ if self.newer => (format!("new{number}"), String::new()),
            _ => (format!("old{number}"), String::new()),
        };
        (family, first, second)
    }

    /// The page as an agent writes it, but with the lines of a family spoilt.
    fn page(&self, spoilt: Option<LabelledFamily>) -> String {
        let mut lines = vec![
            "awscni_add_ip_req_count 7".to_owned(),
            "awscni_no_available_ip_addresses 0".to_owned(),
            format!("process_start_time_seconds {}", self.started_s),
        ];
        for ((family, first, second), count) in &self.counts {
            let name = family.family().name();
            let mut line = |labels: String, value: u64| lines.push(format!("{name}{{{labels}}} {value}"));
            match family {
                LabelledFamily::AwsApiErrorCount => line(format!("api=\"{first}\",error=\"{second}\""), count.shown),
                LabelledFamily::AwsUtilsErrorCount => {
                    // Each error has its own text.
                    for number in 0..count.shown.min(3) {
                        let value = if number == 0 { count.shown - count.shown.min(3) + 1 } else { 1 };
                        line(format!("error=\"{number}5a, api error {second}: no\",fn=\"{first}\""), value);
                    }
                }
                LabelledFamily::DelIpReqCount => line(format!("reason=\"{first}\""), count.shown),
                _ => line(format!("fn=\"{first}\""), count.shown),
            }
        }
        lines.sort_unstable();
        if let Some(family) = spoilt {
            lines.push(format!("{}{{fn=\"~\"}} ?", family.family().name()));
        }
        lines.join("\n") + "\n"
    }

    /// What a good scrape must publish, in order.
    fn publish(&mut self, spoilt: Option<LabelledFamily>) -> Vec<(Set, Option<Rest>, f64)> {
        if self.is_new_process {
            self.own.clear();
            self.full = [false; 3];
            self.unknown.clear();
        }
        let is_baseline = self.is_new_process && self.is_baseline;
        (self.is_new_process, self.is_baseline) = (false, false);
        let (mut own, mut others, mut unattributed) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut present = BTreeSet::new();
        for (set, count) in self.counts.iter_mut().filter(|(set, _)| spoilt != Some(set.0)) {
            present.insert(set.0);
            let (room, limit) = room(set);
            let size = self.own.iter().filter(|own| self::room(own).0 == room).count();
            let has_own = self.own.contains(set) || (!self.full[room] && size < limit);
            self.full[room] |= !has_own;
            if has_own {
                self.own.insert(set.clone());
            }
            let events = std::mem::take(&mut count.unpublished) as f64;
            if is_baseline || events == 0.0 {
            } else if self.unknown.contains(&set.0) {
                *unattributed.entry(set.0).or_insert(0.0) += events;
            } else if has_own {
                own.push((set.clone(), None, events));
            } else {
                *others.entry(set.0).or_insert(0.0) += events;
            }
        }
        // Known from now on: they were on the page, or their label sets are all at 0.
        self.unknown.retain(|family| spoilt == Some(*family));
        for family in LabelledFamily::ALL {
            let rest = |rest, values: &BTreeMap<_, f64>| {
                let value = values.get(&family).copied();
                value.map(|value| ((family, String::new(), String::new()), Some(rest), value))
            };
            own.extend(rest(Rest::Other, &others));
            own.extend(rest(Rest::Unattributed, &unattributed));
        }
        own
    }
}

fn published(shares: &[LabelShare]) -> Vec<(Set, Option<Rest>, f64)> {
    let one = |share: &LabelShare| {
        let mut values = share.set.labels().map(|(_, value)| value.to_owned());
        let set = (share.set.family(), values.next().unwrap_or_default(), values.next().unwrap_or_default());
        (set, share.set.rest(), share.value)
    };
    shares.iter().map(one).collect()
}

#[test]
fn every_event_is_published_once_and_under_its_label_set() {
    for seed in [3, 99, 4711] {
        agents_world(seed, 250);
    }
}

fn agents_world(seed: u64, rounds: u32) {
    let mut random = Random(seed);
    let mut helper = aggregator(HELPER_START_S, CounterMode::Increase);
    let mut agents: Vec<Agent> = (0..8).map(|number| Agent::new(number, &mut random)).collect();
    let (mut seen_other, mut seen_unattributed) = (false, false);
    for round in 1..=rounds {
        let now_s = HELPER_START_S + 30 * i64::from(round);
        if chance(&mut random, 3) {
            let saved = helper.export();
            helper = aggregator(now_s - 1, CounterMode::Increase);
            helper.import(&saved).unwrap();
            for agent in &mut agents {
                agent.own.clear();
                agent.full = [false; 3];
                agent.unknown.extend(LabelledFamily::ALL);
            }
        }
        let (mut observations, mut expected) = (Vec::new(), Vec::new());
        for agent in &mut agents {
            agent.live(now_s, &mut random);
            let agent_facts = AgentFacts { version: Some(AgentVersion::new(1, 23, 2)), ..AgentFacts::default() };
            let missed = chance(&mut random, 15);
            let family = LabelledFamily::ALL[random.below(8)];
            // A page of which a line is lost makes the family wait for the next; from the third on other rules hold.
            let may_spoil = !agent.is_new_process && agent.damaged_pages < 2;
            let spoilt = Some(family).filter(|_| may_spoil && chance(&mut random, 10));
            if missed {
                observations.push(observation(&agent.uid, agent.created_s, agent_facts, Err(FailureKind::Timeout)));
                expected.push(Vec::new());
                continue;
            }
            agent.damaged_pages = if spoilt.is_some() { agent.damaged_pages + 1 } else { 0 };
            let parsed = parse(agent.page(spoilt).as_bytes());
            assert_eq!(parsed.error_count, u64::from(spoilt.is_some()));
            observations.push(observation(&agent.uid, agent.created_s, agent_facts, Ok(parsed.sample.unwrap())));
            expected.push(agent.publish(spoilt));
        }
        let snapshot = helper.round(UnixMillis(now_s * 1000), observations);
        check_sums(&snapshot, &format!("seed {seed} round {round}"));
        for ((agent, node), expected) in agents.iter().zip(&snapshot.nodes).zip(&mut expected) {
            let mut found = published(&node.shares);
            found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            expected.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            assert_eq!(&found, expected, "seed {seed} round {round} {}", agent.uid);
            if node.failure.is_none() {
                assert_eq!(
                    node.labels_overflowed,
                    agent.full.contains(&true),
                    "seed {seed} round {round} {}",
                    agent.uid
                );
                check_series(&helper, agent, &found, now_s);
            }
            seen_other |= found.iter().any(|(_, rest, _)| *rest == Some(Rest::Other));
            seen_unattributed |= found.iter().any(|(_, rest, _)| *rest == Some(Rest::Unattributed));
        }
    }
    assert!(
        seen_other && seen_unattributed,
        "seed {seed}: too quiet to prove anything: {seen_other} {seen_unattributed}"
    );
}

/// The label sets with series of their own are those of the model, and each knows when it last increased.
fn check_series(helper: &Aggregator, agent: &Agent, increased: &[(Set, Option<Rest>, f64)], now_s: i64) {
    let series: Vec<_> = helper.label_series(&PodUid::new(agent.uid.as_str())).collect();
    let own: BTreeMap<Set, _> = series
        .iter()
        .filter(|series| series.set.rest().is_none())
        .map(|series| {
            let mut values = series.set.labels().map(|(_, value)| value.to_owned());
            let set = (series.set.family(), values.next().unwrap(), values.next().unwrap_or_default());
            (set, series.last_increase)
        })
        .collect();
    assert_eq!(own.keys().collect::<BTreeSet<_>>(), agent.own.iter().collect(), "{}", agent.uid);
    for (set, last_increase) in own {
        let is_now = last_increase == Some(UnixMillis(now_s * 1000));
        assert_eq!(is_now, increased.iter().any(|(increased, rest, _)| *increased == set && rest.is_none()));
    }
}

/// A cluster with more label sets than its list holds: the rest is added up by family.
#[test]
fn the_clusters_list_is_bounded_and_still_sums() {
    let mut helper = aggregator(HELPER_START_S, CounterMode::Increase);
    let page = |node: usize| {
        let mut page = format!("awscni_add_ip_req_count 1\nprocess_start_time_seconds {}\n", HELPER_START_S + 60);
        for number in 0..60 {
            writeln!(page, "awscni_ipamd_error_count{{fn=\"{node}-{number}\"}} {}", 1 + number).unwrap();
        }
        parse(page.as_bytes()).sample.unwrap()
    };
    let observe = |node| observation(&format!("{node}"), HELPER_START_S + 30, AgentFacts::default(), Ok(page(node)));
    let snapshot = helper.round(UnixMillis((HELPER_START_S + 90) * 1000), (0..20).map(observe).collect());
    check_sums(&snapshot, "20 nodes");
    let shares = &snapshot.breakdown.shares;
    assert_eq!(shares.iter().filter(|share| share.set.rest().is_none()).count(), MAX_CLUSTER_SETS);
    let largest = (1..=60).rev().flat_map(|count| [f64::from(count); 20]).take(MAX_CLUSTER_SETS);
    let sum = 20.0 * 60.0 * 61.0 / 2.0;
    let rest = sum - largest.sum::<f64>();
    let other = shares.iter().find(|share| share.set.rest() == Some(Rest::Other)).unwrap();
    assert!(other.value.total_cmp(&rest).is_eq(), "{other:?}");
}
