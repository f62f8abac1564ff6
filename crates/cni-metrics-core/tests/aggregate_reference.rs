//! The aggregate against a naive model of the truth.
//!
//! The model knows every single event, and a list of those that no good scrape has shown yet. It has no baselines and no
//! subtraction, so it cannot share a mistake with the code under test. Each round must agree exactly.

#![expect(clippy::unwrap_used, reason = "a test's own world is whole or the test fails")]

#[path = "support/random.rs"]
mod random;

use std::cmp::Ordering;
use std::sync::Arc;

use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::catalogue::{Family, Metric};
use cni_metrics_core::model::{
    FailureKind, FamilySample, NodeName, NodeSample, Observation, PodUid, Target, UnixMillis,
};
use random::Random;

const ROUNDS: u64 = 10_000;
const ROUND_SECONDS: i64 = 30;
const HELPER_START_S: i64 = 1_700_000_000;

/// A counter of one process, event by event.
#[derive(Clone, Default)]
struct Events {
    /// All events of the process: what its page shows. `None` until the first, as vector metrics are.
    shown: Option<u64>,
    /// Those that happened while the helper watched, and that no good scrape has published yet.
    unpublished: u64,
}

/// One pod, and the process in it now.
struct Pod {
    uid: PodUid,
    node: NodeName,
    created_s: i64,
    process_started_s: i64,
    counters: [Events; Family::COUNTER_COUNT],
    enis: u64,
    scraped_once: bool,
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
            let age_s = 100 + i64::try_from(world.random.below(1_000_000)).unwrap();
            world.add_pod(HELPER_START_S - age_s);
            let pod = world.pods.last_mut().unwrap();
            pod.before_the_watch = true;
            for counter in &mut pod.counters {
                if chance(&mut world.random, 70) {
                    counter.shown = Some(world.random.next() % 1_000_000_000);
                }
            }
        }
        world
    }

    fn add_pod(&mut self, created_s: i64) {
        self.born += 1;
        self.pods.push(Pod {
            uid: PodUid::new(format!("uid-{}", self.born)),
            // Names are used again: a replaced pod is still a new node.
            node: NodeName::new(format!("node-{}", self.random.below(8))),
            created_s,
            process_started_s: created_s + 10,
            counters: Default::default(),
            enis: 1 + self.random.next() % 4,
            scraped_once: false,
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
            pod.listed = !chance(&mut self.random, 3);
            pod.live(self.now_s, &mut self.random);
        }
    }

    /// One round of scrapes: what the helper sees, and how many events it publishes if it is perfect.
    fn scrape(&mut self) -> (Vec<Observation>, Vec<Option<u64>>) {
        let mut scraped = 0;
        let mut truth = [0; Family::COUNTER_COUNT];
        let mut observations = Vec::new();
        for pod in self.pods.iter_mut().filter(|pod| pod.listed) {
            let fails = chance(&mut self.random, 15);
            let target = Target {
                uid: pod.uid.clone(),
                node: pod.node.clone(),
                created_at: Some(UnixMillis(pod.created_s * 1000)),
                labels: Arc::default(),
            };
            let outcome = if fails { Err(FailureKind::Timeout) } else { Ok(pod.page()) };
            observations.push(Observation { target, expected: true, outcome });
            if !fails {
                scraped += 1;
                for (truth, published) in truth.iter_mut().zip(pod.publish()) {
                    *truth += published;
                }
            }
        }
        for at in (1..observations.len()).rev() {
            observations.swap(at, self.random.below(at + 1));
        }
        for (published, truth) in self.published.iter_mut().zip(truth) {
            *published += truth;
        }
        (observations, truth.map(|truth| (scraped > 0).then_some(truth)).to_vec())
    }
}

impl Pod {
    fn live(&mut self, now_s: i64, random: &mut Random) {
        // A process that dies takes its unpublished events with it.
        if chance(random, 3) {
            self.counters = Default::default();
            self.process_started_s = now_s - i64::try_from(random.below(25)).unwrap();
            self.before_the_watch = false;
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
    }

    fn page(&self) -> NodeSample {
        let mut sample =
            NodeSample { process_start_seconds: Some(self.process_started_s as f64), ..NodeSample::default() };
        for (family, counter) in Family::COUNTERS.into_iter().zip(&self.counters) {
            sample.families[family as usize] =
                counter.shown.map(|count| FamilySample { sum: count as f64, damaged: false });
        }
        sample.families[Family::EniAllocated as usize] = Some(FamilySample { sum: self.enis as f64, damaged: false });
        sample
    }

    /// Events that this good scrape brings to light.
    fn publish(&mut self) -> [u64; Family::COUNTER_COUNT] {
        let only_a_baseline = self.before_the_watch && !self.scraped_once;
        self.scraped_once = true;
        let mut published = [0; Family::COUNTER_COUNT];
        for (counter, published) in self.counters.iter_mut().zip(&mut published) {
            *published = if only_a_baseline { 0 } else { counter.unpublished };
            counter.unpublished = 0;
        }
        published
    }
}

/// The interfaces on the nodes that answered; `None` if none did.
fn scraped_enis(observations: &[Observation]) -> Option<f64> {
    let pages = observations.iter().filter_map(|observation| observation.outcome.as_ref().ok());
    pages.map(|page| page.families[Family::EniAllocated as usize].unwrap().sum).reduce(|a, b| a + b)
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
            let enis = scraped_enis(&observations);
            if starts_again_before(round) {
                let saved = aggregator.export();
                let now = UnixMillis(world.now_s * 1000);
                let start = HelperStart { clock: now, api_server: Some(now) };
                aggregator = Aggregator::new(start, CounterMode::Increase);
                aggregator.import(&saved).unwrap();
                assert_eq!(aggregator.export(), saved);
            }
            let snapshot = aggregator.round(UnixMillis(world.now_s * 1000), observations);
            for (family, truth) in Family::COUNTERS.into_iter().zip(&truth) {
                let published = snapshot.metrics.get(family.metric());
                assert_eq!(published, truth.map(|truth| truth as f64), "seed {seed} round {round} {}", family.name());
            }
            for (family, truth) in Family::COUNTERS.into_iter().zip(world.published) {
                assert_eq!(
                    snapshot.totals.get(family.metric()).unwrap_or(0.0).total_cmp(&(truth as f64)),
                    Ordering::Equal
                );
            }
            assert_eq!(snapshot.metrics.get(Metric::EniAllocated), enis);
            assert_eq!(snapshot.coverage.expected, listed);
            let failed: u64 = snapshot.coverage.failed.values().sum();
            assert_eq!(snapshot.coverage.scraped + failed, listed);
            assert_eq!(snapshot.anomalies, []);
        }
        assert!(world.published.iter().all(|events| *events > 10_000), "the world was too quiet to prove anything");
    }
}
