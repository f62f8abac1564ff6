//! The aggregate against a naive model of the truth.
//!
//! The model knows every single event, and a list of those that no good scrape has shown yet. It has no baselines and no
//! subtraction, so it cannot share a mistake with the code under test. Each round must agree exactly, through lost scrapes,
//! restarts, bad lines, pages without a start time, nodes' clocks that are off or set, and pods that stay away until they
//! are forgotten.
//!
//! Exactness is not promised, and the model does not ask for it, where nothing tells: a restart that is first seen on a page
//! without a start time counts only if something fell; a node's clock is taken to be within 5 s of the helper's, and a
//! clock that is set forward so far that the process seems to have begun after its last scrape looks like a restart; of a
//! pod that comes back after it was forgotten, only a process that began more than 5 s after its last good scrape counts
//! from 0, any other counts from its return.

#![expect(clippy::unwrap_used, reason = "a test's own world is whole or the test fails")]

#[path = "support/random.rs"]
mod random;

use std::cmp::Ordering;
use std::sync::Arc;

use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::catalogue::{Family, Metric};
use cni_metrics_core::ec2::Ec2Operation;
use cni_metrics_core::model::{
    FailureKind, FamilySample, Ipv6Figures, LatencySample, NodeName, NodeSample, Observation, PodUid, Target,
    UnixMillis,
};
use random::Random;

const ROUNDS: u64 = 10_000;
const ROUND_SECONDS: i64 = 30;
const HELPER_START_S: i64 = 1_700_000_000;
/// What clocks may differ by, seconds: below it the contract lets creation, or caution, decide.
const DOUBT_S: f64 = 5.0;
/// In how many rounds a pod must be missing from the list to be forgotten: ten minutes.
const FORGOTTEN_ROUNDS: u64 = 20;
const APIS: [Ec2Operation; 3] =
    [Ec2Operation::AssignPrivateIpAddresses, Ec2Operation::CreateTags, Ec2Operation::UnassignPrivateIpAddresses];

/// A counter of one process, event by event.
#[derive(Clone, Default)]
struct Events {
    /// All events of the process: what its page shows. `None` until the first, as vector metrics are.
    shown: Option<u64>,
    /// Those that happened while the helper watched, and that no good scrape has published yet.
    unpublished: u64,
    /// Of a process older than the watch: a good line has told since when to count.
    based: bool,
}

/// The calls of one API that a process made.
#[derive(Clone, Copy, Default)]
struct Calls {
    shown: (u64, u64),
    unpublished: (u64, u64),
}

/// One pod, and the process in it now.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a simulated pod")]
struct Pod {
    uid: PodUid,
    node: NodeName,
    created_s: i64,
    /// As its page has it, by its node's clock.
    process_started_s: f64,
    /// How far its node's clock is ahead.
    clock_ahead_s: f64,
    counters: [Events; Family::COUNTER_COUNT],
    calls: [Calls; APIS.len()],
    calls_based: bool,
    enis: u64,
    assigned: u64,
    ipv6: bool,
    last_scraped_s: Option<i64>,
    /// The last good scrape was of another process.
    restarted: bool,
    away_until_s: i64,
    unlisted_rounds: u64,
    /// Events so far are older than the helper's first look, and the helper cannot know when they happened.
    before_the_watch: bool,
    listed: bool,
}

struct World {
    random: Random,
    now_s: i64,
    pods: Vec<Pod>,
    born: u64,
    /// Published so far, by the truth.
    published: [u64; Family::COUNTER_COUNT],
}

/// What a round must publish.
#[derive(Default)]
struct Truth {
    scraped: u64,
    counters: [u64; Family::COUNTER_COUNT],
    latency_ms: Option<f64>,
    enis: u64,
    /// Addresses assigned on IPv4 nodes, if there are such.
    assigned: Option<u64>,
    ipv6: Ipv6Figures,
}

fn chance(random: &mut Random, percent: usize) -> bool {
    random.below(100) < percent
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(seed),
            now_s: HELPER_START_S,
            pods: Vec::new(),
            born: 0,
            published: [0; Family::COUNTER_COUNT],
        };
        for _ in 0..12 {
            // Some began within the clocks' doubt.
            let most_s = if chance(&mut world.random, 30) { 15 } else { 1_000_000 };
            let age_s = 1 + i64::try_from(world.random.below(most_s)).unwrap();
            world.add_pod(HELPER_START_S - age_s);
            let pod = world.pods.last_mut().unwrap();
            pod.before_the_watch = true;
            pod.process_started_s = (pod.created_s + 10).min(HELPER_START_S) as f64 + pod.clock_ahead_s;
            for counter in &mut pod.counters {
                if chance(&mut world.random, 70) {
                    counter.shown = Some(world.random.next() % 1_000_000_000);
                }
            }
            for calls in &mut pod.calls {
                calls.shown = (world.random.next() % 1_000_000, 1000);
            }
        }
        world
    }

    fn add_pod(&mut self, created_s: i64) {
        self.born += 1;
        let clock_ahead_s = self.random.below(91) as f64 / 10.0 - 4.5;
        self.pods.push(Pod {
            uid: PodUid::new(format!("uid-{}", self.born)),
            // Names are used again: a replaced pod is still a new node.
            node: NodeName::new(format!("node-{}", self.random.below(8))),
            created_s,
            process_started_s: (created_s + 10) as f64 + clock_ahead_s,
            clock_ahead_s,
            counters: Default::default(),
            calls: Default::default(),
            calls_based: false,
            assigned: self.random.next() % 30,
            ipv6: chance(&mut self.random, 20),
            last_scraped_s: None,
            restarted: false,
            away_until_s: 0,
            unlisted_rounds: 0,
            enis: 1 + self.random.next() % 4,
            before_the_watch: false,
            listed: true,
        });
    }

    /// What happens between two rounds.
    fn live(&mut self) {
        self.now_s += ROUND_SECONDS;
        if self.pods.len() > 4 && chance(&mut self.random, 4) {
            let leaves = self.random.below(self.pods.len());
            self.pods.swap_remove(leaves);
        }
        if self.pods.len() < 20 && chance(&mut self.random, 6) {
            self.add_pod(self.now_s - 20);
        }
        for pod in &mut self.pods {
            if chance(&mut self.random, 1) {
                pod.away_until_s = self.now_s + ROUND_SECONDS * i64::try_from(self.random.below(50)).unwrap();
            }
            pod.listed = self.now_s >= pod.away_until_s && !chance(&mut self.random, 3);
            pod.unlisted_rounds = if pod.listed { pod.unlisted_rounds } else { pod.unlisted_rounds + 1 };
            pod.live(self.now_s, &mut self.random);
        }
    }

    /// One round of scrapes: what the helper sees, and what it publishes if it is perfect.
    fn scrape(&mut self) -> (Vec<Observation>, Truth) {
        let mut truth = Truth::default();
        let mut observations = Vec::new();
        for pod in self.pods.iter_mut().filter(|pod| pod.listed) {
            pod.return_from_away();
            let fails = chance(&mut self.random, 15);
            let target = Target {
                uid: pod.uid.clone(),
                node: pod.node.clone(),
                created_at: Some(UnixMillis(pod.created_s * 1000)),
                labels: Arc::default(),
            };
            let outcome = if fails { Err(FailureKind::Timeout) } else { Ok(pod.page(&mut self.random)) };
            if let Ok(page) = &outcome {
                pod.publish(page, self.now_s, &mut truth);
            }
            observations.push(Observation { target, expected: true, outcome });
        }
        for at in (1..observations.len()).rev() {
            observations.swap(at, self.random.below(at + 1));
        }
        for (published, truth) in self.published.iter_mut().zip(truth.counters) {
            *published += truth;
        }
        (observations, truth)
    }
}

impl Pod {
    fn live(&mut self, now_s: i64, random: &mut Random) {
        // A process that dies takes its unpublished events with it.
        if chance(random, 3) {
            self.counters = Default::default();
            self.calls = Default::default();
            let ago_s = i64::try_from(random.below(30)).unwrap();
            self.process_started_s = (now_s - ago_s) as f64 + self.clock_ahead_s;
            self.restarted = true;
            // Where the clocks leave in doubt which began first, the pod's creation decides.
            let in_doubt = self.process_started_s - HELPER_START_S as f64 <= DOUBT_S;
            self.before_the_watch = self.last_scraped_s.is_none() && self.created_s < HELPER_START_S && in_doubt;
            self.calls_based = false;
        }
        if let Some(scraped_s) = self.last_scraped_s.filter(|_| !self.restarted)
            && chance(random, 2)
        {
            // The node's clock is set, and the start that is reckoned from it moves.
            self.process_started_s = scraped_s as f64 - DOUBT_S - 1.0 - random.below(100_000) as f64;
        }
        for counter in &mut self.counters {
            if !chance(random, 40) {
                continue;
            }
            for _ in 0..random.below(30) {
                counter.shown = Some(counter.shown.unwrap_or(0) + 1);
                counter.unpublished += 1;
            }
        }
        for calls in &mut self.calls {
            for _ in 0..random.below(3) {
                let took_ms = random.next() % 1000;
                calls.shown = (calls.shown.0 + took_ms, calls.shown.1 + 1);
                calls.unpublished = (calls.unpublished.0 + took_ms, calls.unpublished.1 + 1);
            }
        }
    }

    /// Comes back to the list, perhaps as a stranger whose past is in doubt.
    fn return_from_away(&mut self) {
        let forgotten = self.unlisted_rounds >= FORGOTTEN_ROUNDS;
        self.unlisted_rounds = 0;
        let Some(scraped_s) = self.last_scraped_s.filter(|_| forgotten) else { return };
        self.before_the_watch = self.process_started_s - scraped_s as f64 <= DOUBT_S;
        self.calls_based = false;
        for counter in &mut self.counters {
            counter.based = false;
        }
        // Nothing on the next page can be compared with the last.
        self.restarted = true;
    }

    fn page(&self, random: &mut Random) -> NodeSample {
        let tells_start = self.restarted || self.last_scraped_s.is_none() || !chance(random, 10);
        let process_start_seconds = tells_start.then_some(self.process_started_s);
        let mut sample = NodeSample { process_start_seconds, ..NodeSample::default() };
        let mut set = |family: Family, sum: u64, damaged| {
            sample.families[family as usize] = Some(FamilySample { sum: sum as f64, damaged, readable: 0 });
        };
        for (family, counter) in Family::COUNTERS.into_iter().zip(&self.counters) {
            if let Some(count) = counter.shown {
                // A bad line: what is left is anything up to the whole.
                let damaged = chance(random, 5);
                set(family, if damaged { random.next() % (count + 1) } else { count }, damaged);
            }
        }
        set(Family::EniAllocated, self.enis, false);
        set(Family::AssignedIpAddresses, self.assigned, false);
        set(Family::TotalIpAddresses, if self.ipv6 { 1 << 48 } else { 40 }, false);
        set(Family::IpMax, if self.ipv6 { 0 } else { 50 }, false);
        if self.calls.iter().any(|calls| calls.shown.1 > 0) {
            set(Family::AwsApiLatencyMs, self.calls.iter().map(|calls| calls.shown.0).sum(), chance(random, 5));
        }
        for (api, calls) in APIS.into_iter().zip(self.calls).filter(|(_, calls)| calls.shown.1 > 0) {
            let (sum_ms, count) = (calls.shown.0 as f64, calls.shown.1 as f64);
            sample.latency[api as usize] = Some(LatencySample { sum_ms, count });
            sample.has_latency_counts = true;
        }
        sample
    }

    /// What this good scrape brings to light.
    fn publish(&mut self, page: &NodeSample, now_s: i64, truth: &mut Truth) {
        let damaged = |family| page.get(family).is_some_and(|own| own.damaged);
        (self.last_scraped_s, self.restarted) = (Some(now_s), false);
        for ((counter, truth), family) in self.counters.iter_mut().zip(&mut truth.counters).zip(Family::COUNTERS) {
            if damaged(family) {
                continue;
            }
            if counter.based || !self.before_the_watch {
                *truth += counter.unpublished;
            }
            counter.based = true;
            counter.unpublished = 0;
        }
        if !damaged(Family::AwsApiLatencyMs) {
            for calls in &mut self.calls {
                let (sum_ms, count) = std::mem::take(&mut calls.unpublished);
                if count > 0 && (self.calls_based || !self.before_the_watch) {
                    let mean_ms = sum_ms as f64 / count as f64;
                    truth.latency_ms = Some(truth.latency_ms.map_or(mean_ms, |highest| highest.max(mean_ms)));
                }
            }
            self.calls_based = true;
        }
        truth.scraped += 1;
        truth.enis += self.enis;
        if self.ipv6 {
            truth.ipv6.nodes += 1;
            truth.ipv6.assigned_ip_addresses += self.assigned as f64;
        } else {
            truth.assigned = Some(truth.assigned.unwrap_or(0) + self.assigned);
        }
    }
}

#[test]
fn ten_thousand_rounds_differ_in_nothing() {
    run([1, 77, 4242, 990_001], |_| false);
}

/// With its memory saved, a helper that starts again goes on as if it had never stopped.
#[test]
fn nor_do_they_where_the_helper_starts_again_and_again() {
    run([2, 78, 4243, 990_002], |round| round % 7 == 3);
}

fn run(seeds: [u64; 4], starts_again_before: impl Fn(u64) -> bool) {
    for seed in seeds {
        let mut world = World::new(seed);
        let clock = UnixMillis(HELPER_START_S * 1000);
        let mut aggregator = Aggregator::new(HelperStart { clock, api_server: Some(clock) }, CounterMode::Increase);
        for round in 0..ROUNDS / 4 {
            world.live();
            let (observations, truth) = world.scrape();
            let listed = observations.len() as u64;
            if starts_again_before(round) {
                let saved = aggregator.export();
                let now = UnixMillis(world.now_s * 1000);
                let start = HelperStart { clock: now, api_server: Some(now) };
                aggregator = Aggregator::new(start, CounterMode::Increase);
                aggregator.import(&saved).unwrap();
                assert_eq!(aggregator.export(), saved);
            }
            let snapshot = aggregator.round(UnixMillis(world.now_s * 1000), observations);
            let measured = |value: u64| (truth.scraped > 0).then_some(value as f64);
            for (family, increase) in Family::COUNTERS.into_iter().zip(truth.counters) {
                let published = snapshot.metrics.get(family.metric());
                assert_eq!(published, measured(increase), "seed {seed} round {round} {}", family.name());
            }
            for (family, truth) in Family::COUNTERS.into_iter().zip(world.published) {
                assert_eq!(
                    snapshot.totals.get(family.metric()).unwrap_or(0.0).total_cmp(&(truth as f64)),
                    Ordering::Equal
                );
            }
            assert_eq!(snapshot.metrics.get(Metric::EniAllocated), measured(truth.enis));
            let assigned = truth.assigned.map(|assigned| assigned as f64);
            assert_eq!(snapshot.metrics.get(Metric::AssignIpAddresses), assigned);
            assert_eq!(snapshot.ipv6, truth.ipv6);
            assert_eq!(snapshot.metrics.get(Metric::AwsApiLatency), truth.latency_ms, "seed {seed} round {round}");
            assert_eq!(snapshot.coverage.scraped, truth.scraped);
            assert_eq!(snapshot.coverage.expected, listed);
            let failed: u64 = snapshot.coverage.failed.values().sum();
            assert_eq!(snapshot.coverage.scraped + failed, listed);
            assert_eq!(snapshot.anomalies, []);
        }
        assert!(world.published.iter().all(|events| *events > 10_000), "the world was too quiet to prove anything");
    }
}
