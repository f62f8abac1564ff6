//! The aggregate against a naive model of the truth.
//!
//! The model knows every single event, and a list of those that no good scrape has shown yet. It has no baselines and no
//! subtraction, so it cannot share a mistake with the code under test. Each round must agree exactly, through lost scrapes,
//! restarts, lines that are bad once or for long, pages without a start time, nodes' clocks that are off or set, agents of
//! all versions, populations that grow, shrink and fall silent, and pods that stay away until they are forgotten.
//!
//! Exactness is not promised, and the model does not ask for it, where nothing tells: a restart that is first seen on a page
//! without a start time counts only if something fell, and so does one within 5 s of the old process' start; a node's clock
//! is taken to be within 5 s of the helper's, and a clock that is set forward by more than that, so far that the process
//! seems to have begun after its last scrape, looks like a restart; of a pod that comes back after it was forgotten, only a
//! process that began more than 5 s after its last good scrape counts from 0, any other counts from its return. Where the
//! helper's own clock is set, it is only asked that nothing is invented.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, DAMAGED_PAGES, HelperStart, MOST_KEPT_ROUNDS};
use cni_metrics_core::model::{
    FailureKind, FamilySample, Ipv6Figures, LatencySample, NodeName, NodeSample, Observation, PodUid, Target,
    UnixMillis,
};
use cni_types::catalogue::{Family, Metric};
use cni_types::ec2::Ec2Operation;
use cni_types::version::AgentVersion;

use crate::random::Random;

const ROUNDS: u64 = 10_000;
/// A cluster is never smaller.
const LEAST_PODS: usize = 40;
const ROUND_SECONDS: i64 = 30;
const HELPER_START_S: i64 = 1_700_000_000;
/// What clocks may differ by, seconds: below it the contract lets creation, or caution, decide.
const DOUBT_S: f64 = 5.0;
/// In how many rounds a pod must be missing from the list to be forgotten: ten minutes.
const FORGOTTEN_ROUNDS: u64 = 20;
const APIS: [Ec2Operation; 3] =
    [Ec2Operation::AssignPrivateIpAddresses, Ec2Operation::CreateTags, Ec2Operation::UnassignPrivateIpAddresses];

/// The first versions that have a counter, where that is later than 1.4: the model's own list.
const CAME_LATER: [(Family, [u16; 2]); 6] = [
    (Family::ForceRemovedEnis, [6, 0]),
    (Family::ForceRemovedIps, [6, 0]),
    (Family::PodEniErrorCount, [7, 0]),
    (Family::Ec2ApiReqCount, [12, 1]),
    (Family::Ec2ApiErrorCount, [12, 1]),
    (Family::NoAvailableIpAddresses, [16, 0]),
];
/// The counters without labels, which stand on each page of an agent that has them.
const PLAIN: [Family; 4] =
    [Family::AddIpReqCount, Family::ForceRemovedEnis, Family::ForceRemovedIps, Family::NoAvailableIpAddresses];

/// A counter of one process, event by event. Its events are of two series, of which one is lost where a page is damaged.
#[derive(Clone, Default)]
struct Events {
    /// All events of the process: what its page shows. `None` until the first, as vector metrics are.
    shown: Option<u64>,
    /// Those of the series that stays readable.
    shown_readable: u64,
    /// Those that happened while the helper watched, and that no good scrape has published yet.
    unpublished: u64,
    /// Of a process older than the watch: a good line has told since when to count.
    based: bool,
    /// Pages in a row on which a line was lost, and which series were left.
    damaged_pages: u8,
    left: u64,
    /// Events of the readable series since it was first seen to be what is left.
    readable_since: u64,
    /// Until when a line is lost on each page.
    torn_until_s: i64,
    /// No page of the process was seen, and all of it happened while the helper watched.
    counts_whole: bool,
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
    /// The process' start has moved since a page told it.
    stepped: bool,
    version: AgentVersion,
    told_by: ToldBy,
    counters: [Events; Family::COUNTER_COUNT],
    calls: [Calls; APIS.len()],
    calls_based: bool,
    enis: u64,
    assigned: u64,
    ipv6: bool,
    last_scraped_s: Option<i64>,
    /// The world's time.
    last_seen_s: i64,
    /// The last good scrape was of another process.
    restarted: bool,
    away_until_s: i64,
    unlisted_rounds: u64,
    /// Events so far are older than the helper's first look, and the helper cannot know when they happened.
    before_the_watch: bool,
    listed: bool,
}

/// How the helper can know an agent's version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ToldBy {
    Page,
    Image,
    /// Only by families that came with a version.
    Nothing,
}

struct World {
    random: Random,
    round: u64,
    now_s: i64,
    pods: Vec<Pod>,
    born: u64,
    /// Published so far, by the truth.
    published: [u64; Family::COUNTER_COUNT],
    /// All that happened since the helper's start.
    happened: [u64; Family::COUNTER_COUNT],
    /// In which round pods left.
    left: VecDeque<u64>,
    /// Until then most nodes do not answer.
    silent_until_round: u64,
}

/// What a round must publish.
#[derive(Default)]
struct Truth {
    scraped: u64,
    counters: [Option<u64>; Family::COUNTER_COUNT],
    /// Nodes whose increase is known in full.
    reporting: [u64; Family::COUNTER_COUNT],
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
            round: 0,
            now_s: HELPER_START_S,
            pods: Vec::new(),
            born: 0,
            published: [0; Family::COUNTER_COUNT],
            happened: [0; Family::COUNTER_COUNT],
            left: VecDeque::new(),
            silent_until_round: 0,
        };
        for _ in 0..LEAST_PODS {
            // Some began within the clocks' doubt.
            let most_s = if chance(&mut world.random, 30) { 15 } else { 1_000_000 };
            let age_s = 1 + i64::try_from(world.random.below(most_s)).unwrap();
            world.add_pod(HELPER_START_S - age_s);
            let pod = world.pods.last_mut().unwrap();
            pod.before_the_watch = true;
            pod.process_started_s = (pod.created_s + 10).min(HELPER_START_S) as f64 + pod.clock_ahead_s;
            for (family, counter) in Family::COUNTERS.into_iter().zip(&mut pod.counters) {
                if family.is_in(pod.version) && chance(&mut world.random, 70) {
                    counter.shown = Some(world.random.next() % 1_000_000_000);
                    counter.shown_readable = counter.shown.unwrap_or(0) / 2;
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
        let (minor, patch) =
            [(4, 0), (5, 7), (6, 3), (7, 10), (11, 4), (12, 6), (18, 6), (23, 1)][self.random.below(8)];
        let version = AgentVersion::new(1, minor, patch);
        let told_by = [ToldBy::Page, ToldBy::Image, ToldBy::Nothing][self.random.below(3)];
        let has_plain = |family: &Family| PLAIN.contains(family) && has(version, *family);
        let first = |family: Family| Events { shown: has_plain(&family).then_some(0), ..Events::default() };
        self.pods.push(Pod {
            uid: PodUid::new(format!("uid-{}", self.born)),
            // Names are used again: a replaced pod is still a new node.
            node: NodeName::new(format!("node-{}", self.random.below(90))),
            created_s,
            process_started_s: (created_s + 10) as f64 + clock_ahead_s,
            clock_ahead_s,
            stepped: false,
            version,
            told_by,
            counters: Family::COUNTERS.map(first),
            calls: Default::default(),
            calls_based: false,
            assigned: self.random.next() % 30,
            ipv6: chance(&mut self.random, 20),
            last_scraped_s: None,
            last_seen_s: 0,
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
        self.round += 1;
        // The cluster grows to twice its size and shrinks again, and sometimes loses a third of its nodes at once.
        let most = if (self.round / 400).is_multiple_of(2) { LEAST_PODS + 10 } else { 2 * LEAST_PODS };
        let at_once = if chance(&mut self.random, 1) && chance(&mut self.random, 30) { self.pods.len() / 3 } else { 1 };
        for _ in 0..at_once {
            if self.pods.len() > LEAST_PODS && (at_once > 1 || self.pods.len() > most || chance(&mut self.random, 4)) {
                let leaves = self.random.below(self.pods.len());
                self.pods.swap_remove(leaves);
                self.left.push_back(self.round);
            }
        }
        for _ in 0..2 {
            if self.pods.len() < most && chance(&mut self.random, 20) {
                self.add_pod(self.now_s - 20);
            }
        }
        if chance(&mut self.random, 1) && chance(&mut self.random, 20) {
            self.silent_until_round = self.round + self.random.next() % 40;
        }
        for pod in &mut self.pods {
            if chance(&mut self.random, 1) {
                pod.away_until_s = self.now_s + ROUND_SECONDS * i64::try_from(self.random.below(50)).unwrap();
            }
            pod.listed = self.now_s >= pod.away_until_s && !chance(&mut self.random, 3);
            pod.unlisted_rounds = if pod.listed { pod.unlisted_rounds } else { pod.unlisted_rounds + 1 };
            pod.live(self.now_s, &mut self.random, &mut self.happened);
        }
    }

    /// Where a node's clock was set beside the helper's wrong one, so that by it a process seems to have begun between the
    /// last scrape and now, no one can tell that from a restart. `ahead_s` is what the helper's clock was ahead by in each
    /// round.
    fn avoid_coincidence(&mut self, ahead_s: &[i64]) {
        let now_s = self.now_s + ahead_s.last().unwrap_or(&0);
        for pod in self.pods.iter_mut().filter(|pod| pod.stepped) {
            let Some(scraped_s) = pod.last_scraped_s else { continue };
            let round = usize::try_from((scraped_s - HELPER_START_S) / ROUND_SECONDS - 1).unwrap();
            let margin_s = DOUBT_S + 1.0;
            let seems = ((scraped_s + ahead_s[round]).min(now_s) as f64 - margin_s)..(now_s as f64 + margin_s);
            if seems.contains(&pod.process_started_s) {
                pod.process_started_s = seems.start - 1.0;
            }
        }
    }

    /// Pods that exist, and those that left in the last rounds.
    fn remembered(&mut self, rounds: u64) -> usize {
        let (oldest, mut left) = (self.round.saturating_sub(rounds), 0);
        self.left.retain(|round| *round + MOST_KEPT_ROUNDS >= self.round);
        left += self.left.iter().filter(|round| **round >= oldest).count();
        self.pods.len() + left
    }

    /// One round of scrapes: what the helper sees, and what it publishes if it is perfect.
    fn scrape(&mut self) -> (Vec<Observation>, Truth) {
        let mut truth = Truth::default();
        let mut observations = Vec::new();
        for pod in self.pods.iter_mut().filter(|pod| pod.listed) {
            pod.return_from_away();
            let silent = self.round < self.silent_until_round;
            let fails = chance(&mut self.random, if silent { 85 } else { 15 });
            let target = Target {
                uid: pod.uid.clone(),
                node: pod.node.clone(),
                created_at: Some(UnixMillis(pod.created_s * 1000)),
                labels: Arc::default(),
                agent: AgentFacts {
                    version: (pod.told_by == ToldBy::Image).then_some(pod.version),
                    ..AgentFacts::default()
                },
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
            *published += truth.unwrap_or(0);
        }
        (observations, truth)
    }
}

fn has(version: AgentVersion, family: Family) -> bool {
    let came = CAME_LATER.into_iter().find(|(later, _)| *later == family).map_or([4, 0], |(_, came)| came);
    [version.minor, version.patch] >= came
}

impl Events {
    /// A page on which a line was lost, and what was left.
    fn publish_readable(&mut self, left: u64) -> Option<u64> {
        let is_first = self.damaged_pages == 0;
        self.damaged_pages = (self.damaged_pages + 1).min(DAMAGED_PAGES);
        if self.left != left || is_first {
            // What a process that is watched from its start shows on its first page is all new.
            if !(is_first && self.counts_whole) {
                self.readable_since = 0;
            }
            self.left = left;
            return None;
        }
        if self.damaged_pages < DAMAGED_PAGES {
            return None;
        }
        let events = std::mem::take(&mut self.readable_since);
        self.unpublished = self.unpublished.saturating_sub(events);
        Some(events)
    }
}

impl Pod {
    fn live(&mut self, now_s: i64, random: &mut Random, happened: &mut [u64]) {
        self.last_seen_s = now_s;
        let ago_s = i64::try_from(random.below(30)).unwrap();
        let would_start_s = (now_s - ago_s) as f64 + self.clock_ahead_s;
        // A process that dies takes its unpublished events with it. An agent needs longer than the doubt to come up.
        if chance(random, 3) && would_start_s > self.process_started_s + DOUBT_S + 0.5 {
            let torn_until_s = self.counters.each_ref().map(|counter| counter.torn_until_s);
            let has_plain = |family: &Family| PLAIN.contains(family) && has(self.version, *family);
            let first = |family: Family| Events { shown: has_plain(&family).then_some(0), ..Events::default() };
            self.counters = Family::COUNTERS.map(first);
            for (counter, until_s) in self.counters.iter_mut().zip(torn_until_s) {
                counter.torn_until_s = until_s;
            }
            self.calls = Default::default();
            self.process_started_s = would_start_s;
            (self.restarted, self.stepped) = (true, false);
            // Where the clocks leave in doubt which began first, the pod's creation decides.
            let in_doubt = self.process_started_s - HELPER_START_S as f64 <= DOUBT_S;
            self.before_the_watch = self.last_scraped_s.is_none() && self.created_s < HELPER_START_S && in_doubt;
            self.calls_based = false;
        }
        if let Some(scraped_s) = self.last_scraped_s.filter(|_| !self.restarted && !self.stepped) {
            // The node's clock is set, and the start that is reckoned from it moves: back by any time, or forward a little.
            let step = random.below(100);
            if step < 2 {
                self.process_started_s = scraped_s as f64 - DOUBT_S - 1.0 - random.below(100_000) as f64;
                self.stepped = true;
            } else if step < 4 {
                self.process_started_s += random.below(50) as f64 / 10.0;
                self.stepped = true;
            }
        }
        let version = self.version;
        let counters = Family::COUNTERS.into_iter().zip(&mut self.counters).zip(happened);
        for ((family, counter), happened) in counters.filter(|((family, _), _)| has(version, *family)) {
            if chance(random, 1) && chance(random, 20) {
                counter.torn_until_s = now_s + ROUND_SECONDS * i64::try_from(random.below(20)).unwrap();
            }
            let often = if PLAIN.contains(&family) { 40 } else { 30 };
            if !chance(random, often) {
                continue;
            }
            for _ in 0..random.below(30) {
                counter.shown = Some(counter.shown.unwrap_or(0) + 1);
                counter.unpublished += 1;
                *happened += 1;
                if chance(random, 50) {
                    counter.shown_readable += 1;
                    counter.readable_since += 1;
                }
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

    /// The version as far as the helper can tell: at least that of the newest family that is on the page.
    fn known_version(&self) -> Option<AgentVersion> {
        if self.told_by != ToldBy::Nothing {
            return Some(self.version);
        }
        let shows = |family: Family| {
            let place = Family::COUNTERS.into_iter().position(|own| own == family);
            place.is_some_and(|place| self.counters[place].shown.is_some())
        };
        if shows(Family::NoAvailableIpAddresses) {
            return Some(AgentVersion::new(1, 16, 0));
        }
        shows(Family::Ec2ApiReqCount).then_some(AgentVersion::new(1, 12, 1))
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
            counter.damaged_pages = 0;
        }
        // Nothing on the next page can be compared with the last.
        self.restarted = true;
    }

    fn page(&self, random: &mut Random) -> NodeSample {
        let tells_start = self.restarted || self.last_scraped_s.is_none() || !chance(random, 10);
        let process_start_seconds = tells_start.then_some(self.process_started_s);
        let version = (self.told_by == ToldBy::Page).then_some(self.version);
        let mut sample = NodeSample { process_start_seconds, version, ..NodeSample::default() };
        for (family, counter) in Family::COUNTERS.into_iter().zip(&self.counters) {
            let Some(count) = counter.shown else { continue };
            let own = if self.last_seen_s < counter.torn_until_s {
                // The same line is lost on each page.
                FamilySample { sum: counter.shown_readable as f64, damaged: true, readable: 1 }
            } else if chance(random, 5) {
                // A line is lost once: what is left is anything up to the whole.
                let sum = (random.next() % (count + 1)) as f64;
                FamilySample { sum, damaged: true, readable: random.next() | 2 }
            } else {
                FamilySample { sum: count as f64, ..FamilySample::default() }
            };
            sample.families[family as usize] = Some(own);
        }
        let mut set = |family: Family, sum: u64, damaged| {
            sample.families[family as usize] = Some(FamilySample { sum: sum as f64, damaged, readable: 0 });
        };
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
        let first_of_process = self.restarted || self.last_scraped_s.is_none();
        (self.last_scraped_s, self.restarted) = (Some(now_s), false);
        self.stepped &= page.process_start_seconds.is_none();
        let known = self.known_version();
        let counts_whole = first_of_process && !self.before_the_watch;
        let all = truth.counters.iter_mut().zip(&mut truth.reporting);
        for ((counter, (truth, reporting)), family) in self.counters.iter_mut().zip(all).zip(Family::COUNTERS) {
            let own = page.get(family);
            counter.counts_whole = counts_whole;
            if let Some(own) = own.filter(|own| own.damaged) {
                if let Some(events) = counter.publish_readable(own.readable) {
                    *truth = Some(truth.unwrap_or(0) + events);
                }
                continue;
            }
            counter.damaged_pages = 0;
            counter.left = 0;
            let is_known = own.is_some() || (!PLAIN.contains(&family) && known.is_some_and(|known| has(known, family)));
            if is_known && (counter.based || !self.before_the_watch) {
                *truth = Some(truth.unwrap_or(0) + counter.unpublished);
                *reporting += 1;
            }
            counter.based = true;
            counter.unpublished = 0;
            counter.readable_since = 0;
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
    run(1, ROUNDS, |_| false);
}

/// With its memory saved, a helper that starts again goes on as if it had never stopped.
#[test]
fn nor_do_they_where_the_helper_starts_again_and_again() {
    run(2, ROUNDS / 2, |round| round % 7 == 3);
    run(78, ROUNDS / 2, |round| round.is_multiple_of(2));
}

#[test]
fn nor_do_those_of_other_worlds() {
    for seed in [77, 4242, 990_001, 990_002] {
        run(seed, ROUNDS / 10, |round| round % 100 == 50);
    }
}

fn run(seed: u64, rounds: u64, starts_again_before: impl Fn(u64) -> bool) {
    let mut world = World::new(seed);
    let clock = UnixMillis(HELPER_START_S * 1000);
    let mut aggregator = Aggregator::new(HelperStart { clock, api_server: Some(clock) }, CounterMode::Increase);
    let mut measured_once = [false; Family::COUNTER_COUNT];
    for round in 0..rounds {
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
        for (number, family) in Family::COUNTERS.into_iter().enumerate() {
            let metric = family.metric();
            let increase = truth.counters[number].map(|events| events as f64);
            assert_eq!(snapshot.metrics.get(metric), increase, "seed {seed} round {round} {}", family.name());
            let partial = (truth.reporting[number] < truth.scraped).then_some(truth.reporting[number]);
            assert_eq!(
                snapshot.coverage.reporting.get(&metric).copied(),
                partial,
                "seed {seed} round {round} {metric}"
            );
            measured_once[number] |= increase.is_some();
            let total = measured_once[number].then_some(world.published[number] as f64);
            assert_eq!(snapshot.totals.get(metric), total, "seed {seed} round {round} {metric}");
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
        assert!(aggregator.known_nodes() <= world.remembered(FORGOTTEN_ROUNDS + 1), "seed {seed} round {round}");
    }
    let least = rounds;
    assert!(world.published.iter().all(|events| *events > least), "the world was too quiet to prove anything");
}

/// A helper whose own clock is set, both ways and by hours, may take a restart for none; it invents nothing, and forgets.
#[test]
fn a_helper_whose_clock_jumps_invents_nothing() {
    clock_jumps(5, ROUNDS);
    // Only processes that are older than the helper have counted much that may be invented, and they die soon.
    for seed in 100..160 {
        clock_jumps(seed, 200);
    }
}

fn clock_jumps(seed: u64, rounds: u64) {
    let mut world = World::new(seed);
    let clock = UnixMillis(HELPER_START_S * 1000);
    let mut aggregator = Aggregator::new(HelperStart { clock, api_server: Some(clock) }, CounterMode::Increase);
    let (mut ahead_s, mut ahead, mut published) = (0_i64, Vec::new(), [0.0; Family::COUNTER_COUNT]);
    for round in 0..rounds {
        world.live();
        if round % 50 == 49 {
            let jump_s = i64::try_from(world.random.below(20_000)).unwrap() - 10_000;
            // Back to the right time, every other time.
            ahead_s = if ahead_s == 0 { jump_s } else { 0 };
        }
        ahead.push(ahead_s);
        world.avoid_coincidence(&ahead);
        let (observations, truth) = world.scrape();
        let at = UnixMillis((world.now_s + ahead_s) * 1000);
        if round % 70 == 69 {
            let saved = aggregator.export();
            aggregator = Aggregator::new(HelperStart { clock: at, api_server: Some(at) }, CounterMode::Increase);
            aggregator.import(&saved).unwrap();
        }
        let snapshot = aggregator.round(at, observations);
        assert_eq!(snapshot.coverage.scraped, truth.scraped);
        for ((published, family), happened) in published.iter_mut().zip(Family::COUNTERS).zip(world.happened) {
            *published += snapshot.metrics.get(family.metric()).unwrap_or(0.0);
            assert!(
                *published <= happened as f64,
                "seed {seed} round {round} {}: {published} of {happened}",
                family.name()
            );
        }
        assert!(aggregator.known_nodes() <= world.remembered(MOST_KEPT_ROUNDS), "round {round}");
        assert!(aggregator.export().len() < 500_000, "round {round}");
    }
    if rounds < ROUNDS {
        return;
    }
    for (published, happened) in published.into_iter().zip(world.happened) {
        assert_ne!(published.total_cmp(&(happened as f64 / 2.0)), Ordering::Less, "most of it is still counted");
    }
}
