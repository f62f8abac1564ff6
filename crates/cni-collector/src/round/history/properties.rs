//! Nodes that keep failing are asked less often, and never less often than promised, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::model::{NodeLabels, NodeName, Target, UnixMillis};
use fastrand::Rng;

use super::*;
use crate::round::fan_out::Queue;
use crate::scrape::Limiter;

/// From one request to the next at most.
const LONGEST_ROUNDS: u64 = 4;
const LONGEST_MS: i64 = 120_000;

/// What a node does until it does something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Good,
    Hangs,
    Refuses,
    /// Of no use, read in full or up to a limit.
    Large,
    BadPage,
    Limits,
    NoAddress,
    /// The helper ran out of time, which is not the node's fault.
    Late,
    /// Neither is this.
    NoApiServer,
}

impl Story {
    const ALL: [Self; 9] = [
        Self::Good,
        Self::Hangs,
        Self::Refuses,
        Self::Large,
        Self::BadPage,
        Self::Limits,
        Self::NoAddress,
        Self::Late,
        Self::NoApiServer,
    ];

    fn outcome(self) -> Result<(), ScrapeError> {
        Err(match self {
            Self::Good => return Ok(()),
            Self::Hangs => ScrapeError::Timeout { after: Duration::from_secs(5), by_proxy: true },
            Self::Refuses => ScrapeError::Refused(String::new()),
            Self::Large => ScrapeError::TooLarge { limit_bytes: 1 },
            Self::BadPage => ScrapeError::BadPage(String::new()),
            Self::Limits => {
                ScrapeError::RateLimited { by: Limiter::Node, code: 429, message: String::new(), retry_after: None }
            }
            Self::NoAddress => ScrapeError::NoAddress,
            Self::Late => ScrapeError::Deadline,
            Self::NoApiServer => ScrapeError::ApiServer(String::new()),
        })
    }

    /// What the tests know of which failures are alike; `None` where the node has no part in it.
    fn way(self) -> Option<u8> {
        match self {
            Self::Hangs => Some(0),
            Self::Refuses => Some(1),
            Self::Large | Self::BadPage => Some(2),
            Self::Limits => Some(3),
            Self::Good | Self::NoAddress | Self::Late | Self::NoApiServer => None,
        }
    }
}

/// A node, and what an observer from outside notes of it.
#[derive(Debug, Clone)]
struct ObservedNode {
    story: Story,
    pod: Arc<Pod>,
    /// The last round that asked it: number, time, what it did.
    asked: Option<(u64, i64, Story)>,
    /// How it failed when it was asked, and how many times in a row; rounds that say nothing of it neither count nor end that.
    way: Option<u8>,
    failures: u64,
    /// The failure under which it is counted while it is not asked.
    kind: Option<FailureKind>,
}

/// The cluster, two helpers that see it in different order, and the time.
struct Cluster {
    nodes: BTreeMap<u64, ObservedNode>,
    next: u64,
    histories: [History; 2],
    report: Report,
    now: RoundTime,
    /// How much later than planned this round began.
    late_ms: i64,
    /// The clock was set since the round before.
    clock_jumped: bool,
    asks: u64,
    left_out: u64,
}

fn pod(number: u64, uid: u64) -> Arc<Pod> {
    let uid = PodUid::new(format!("{uid:08x}-0000-4000-8000-{:012x}", uid.wrapping_mul(0x9e37_79b9_7f4a)));
    Arc::new(Pod { uid, ..Pod::running(&format!("aws-node-{number:05}"), &format!("node-{number}")) })
}

fn target(pod: &Arc<Pod>) -> (Arc<Pod>, Target) {
    let target = Target {
        uid: pod.uid.clone(),
        node: NodeName::new(Arc::clone(&pod.name)),
        created_at: None,
        labels: Arc::new(NodeLabels::default()),
        agent: AgentFacts::default(),
    };
    (Arc::clone(pod), target)
}

impl Cluster {
    fn new(nodes: u64, interval: Duration) -> Self {
        let now = RoundTime { number: 0, at: UnixMillis(1_767_225_600_000), interval };
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            next: 0,
            histories: [History::default(), History::default()],
            report: Report::new(String::new()),
            now,
            late_ms: 0,
            clock_jumped: false,
            asks: 0,
            left_out: 0,
        };
        cluster.join(nodes);
        cluster
    }

    fn join(&mut self, nodes: u64) {
        for _ in 0..nodes {
            self.next += 1;
            let node = ObservedNode {
                story: Story::Good,
                pod: pod(self.next, self.next),
                asked: None,
                way: None,
                failures: 0,
                kind: None,
            };
            self.nodes.insert(self.next, node);
        }
    }

    fn change(&mut self, random: &mut Rng) {
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        let any = |random: &mut Rng| numbers[random.usize(..numbers.len())];
        match random.u32(..40) {
            0 => self.join(random.u64(1..20)),
            1 => numbers.iter().filter(|_| numbers.len() > 60 && random.u32(..4) == 0).for_each(|number| {
                self.nodes.remove(number);
            }),
            2 => self.tell(random, 0.9),
            3 => self.nodes.values_mut().for_each(|node| node.story = Story::Good),
            4..8 => self.tell(random, 0.3),
            8..12 => {
                let (uid, number) = (self.next + 1, any(random));
                self.next = uid;
                let node = self.nodes.get_mut(&number).unwrap();
                *node = ObservedNode { pod: pod(number, uid), asked: None, way: None, kind: None, ..node.clone() };
            }
            12..16 => {
                let node = self.nodes.get_mut(&any(random)).unwrap();
                node.pod = Arc::new(Pod { restarts: node.pod.restarts + 1, ..Pod::clone(&node.pod) });
                (node.asked, node.way) = (None, None);
            }
            16 => self.late_ms = random.i64(1..200_000),
            17 => {
                self.now.at.0 = self.now.at.0.saturating_add(random.i64(-10_000_000..10_000_000));
                self.clock_jumped = true;
            }
            _ => {
                let story = Story::ALL[random.usize(..Story::ALL.len())];
                self.nodes.get_mut(&any(random)).unwrap().story = story;
            }
        }
    }

    fn tell(&mut self, random: &mut Rng, share: f64) {
        let story = Story::ALL[random.usize(..Story::ALL.len())];
        self.nodes.values_mut().filter(|_| random.f64() < share).for_each(|node| node.story = story);
    }

    /// One round of both helpers; each number is asked or not by both alike.
    fn round(&mut self) {
        self.now.number += 1;
        let interval_ms = i64::try_from(self.now.interval.as_millis()).unwrap();
        self.now.at.0 = self.now.at.0.saturating_add(interval_ms + self.late_ms);
        let targets: Vec<_> = self.nodes.values().map(|node| target(&node.pod)).collect();
        let left_out = self.plan(&targets);
        self.check(&targets, &left_out);
        for (position, node) in self.nodes.values_mut().enumerate() {
            let error = left_out.get(&position);
            let outcome = error.map_or_else(|| node.story.outcome(), |error| Err(error.clone()));
            let scraped = Scraped {
                outcome: outcome.map_err(Box::new),
                path: None,
                fallback: None,
                line_errors: None,
                is_waste: false,
            };
            for history in &mut self.histories {
                history.note(self.now, &node.pod, true, &scraped, &mut self.report);
            }
            if error.is_none() {
                match node.story.way() {
                    Some(way) if node.way == Some(way) => node.failures += 1,
                    Some(way) => (node.way, node.failures) = (Some(way), 1),
                    None if node.story == Story::Good => node.way = None,
                    None => {}
                }
                node.asked = Some((self.now.number, self.now.at.0, node.story));
                node.kind = scraped.outcome.as_ref().err().map(|error| error.kind());
            }
        }
        for history in &mut self.histories {
            history.forget_others(self.now.number);
            assert_eq!(history.nodes.len(), self.nodes.len(), "a node that is gone is forgotten");
        }
        self.asks += (targets.len() - left_out.len()) as u64;
        self.left_out += left_out.len() as u64;
        (self.late_ms, self.clock_jumped) = (0, false);
    }

    /// Whom the helpers leave out, which is the same for both although one sees the cluster the other way round.
    fn plan(&self, targets: &[(Arc<Pod>, Target)]) -> BTreeMap<usize, ScrapeError> {
        let [first, second] = &self.histories;
        let plan = |history: &History, targets: &[(Arc<Pod>, Target)]| -> BTreeMap<usize, ScrapeError> {
            Queue::new(targets, history, self.now).left_out().cloned().collect()
        };
        let left_out = plan(first, targets);
        let reversed: Vec<_> = targets.iter().rev().cloned().collect();
        let of_second = plan(second, &reversed).into_keys().map(|position| targets.len() - 1 - position);
        assert_eq!(left_out.keys().copied().collect::<BTreeSet<_>>(), of_second.collect::<BTreeSet<_>>());
        left_out
    }

    fn check(&self, targets: &[(Arc<Pod>, Target)], left_out: &BTreeMap<usize, ScrapeError>) {
        let last_round = |node: &ObservedNode| node.asked.filter(|(round, ..)| round + 1 == self.now.number);
        let is_good = |node: &ObservedNode| last_round(node).is_some_and(|(.., story)| story == Story::Good);
        // A restarted agent answered as well, only this observer has forgotten it.
        let answered = self.nodes.values().filter(|node| is_good(node) || node.asked.is_none()).count();
        assert!(answered * 4 >= targets.len() || left_out.is_empty(), "{answered} of {}", targets.len());
        for (position, (number, node)) in self.nodes.iter().enumerate() {
            let Some((round, at, story)) = node.asked else {
                assert!(!left_out.contains_key(&position), "node {number} is new, or its agent is");
                continue;
            };
            let Some(error) = left_out.get(&position) else { continue };
            let waited = self.now.number - round;
            assert!(story.way().is_some(), "node {number} is left out after {story:?}");
            assert!(node.failures >= 4, "node {number} is left out after {} failures", node.failures);
            assert!(waited < LONGEST_ROUNDS, "node {number} waits for {waited} rounds");
            let ScrapeError::NotAsked { retry_in, .. } = error else { panic!("{error}") };
            assert!(waited + retry_in <= LONGEST_ROUNDS, "node {number}: {waited} and {retry_in}");
            assert_eq!(Some(error.kind()), node.kind, "node {number}");
            // The next round is planned an interval later. The delay with which this one began was not part of the plan.
            let next = self.now.at.0 + i64::try_from(self.now.interval.as_millis()).unwrap();
            assert!(next - at <= LONGEST_MS || self.clock_jumped, "node {number} waits for {} ms", next - at);
        }
    }
}

#[test]
fn ten_thousand_rounds_of_anything_keep_no_node_waiting_longer_than_promised() {
    for (seed, interval, rounds) in [(1, 30, 10_000), (2, 10, 2_000), (3, 45, 2_000), (4, 60, 2_000), (5, 300, 2_000)] {
        let mut random = Rng::with_seed(seed);
        let mut cluster = Cluster::new(40, Duration::from_secs(interval));
        for _ in 0..rounds {
            if random.u32(..3) == 0 {
                cluster.change(&mut random);
            }
            while cluster.nodes.len() < 40 {
                cluster.join(1);
            }
            cluster.round();
        }
        let left_out = cluster.left_out * 100 / (cluster.asks + cluster.left_out);
        assert!(if interval <= 60 { left_out >= 2 } else { left_out == 0 }, "interval {interval}: {left_out} %");
    }
}

#[test]
fn nodes_that_fail_for_long_are_asked_in_every_fourth_round_and_not_all_in_the_same() {
    let mut cluster = Cluster::new(800, Duration::from_secs(30));
    cluster.round();
    cluster.nodes.values_mut().step_by(2).for_each(|node| node.story = Story::Hangs);
    let mut asks = Vec::new();
    for _ in 0..40 {
        let before = cluster.asks;
        cluster.round();
        asks.push(cluster.asks - before - 400);
    }
    assert_eq!(asks[..4], [400; 4]);
    assert!(asks[4..16].iter().all(|asks| (160..=240).contains(asks)), "{asks:?}");
    assert!(asks[20..].iter().all(|asks| (60..=140).contains(asks)), "{asks:?}");
    assert_eq!(asks[20..24].iter().sum::<u64>(), 400);
}
