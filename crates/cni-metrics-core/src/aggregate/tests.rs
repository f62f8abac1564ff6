//! The contract's rules, one by one.

mod label_rules;
mod limits;
mod saved;
mod states;

use std::sync::Arc;

use super::counter::Continuity;
use super::node::next_scrape;
use super::tombstones::{Tombstone, Tombstones};
use super::*;
use crate::agent::AgentFacts;
use crate::model::{
    Anomaly, FailureKind, FamilySample, FamilySet, Implausibility, Ipv6Figures, LatencySample, NodeLabels, NodeName,
    NodeSample, Observation, PodUid, Snapshot, Target, UnixMillis,
};
use cni_types::catalogue::{Family, Metric};
use cni_types::ec2::Ec2Operation;
use cni_types::version::AgentVersion;

const HELPER_START_S: i64 = 1_000_000;

/// A page: counters, gauges and latencies as a test needs them.
#[derive(Clone, Default)]
struct Page(NodeSample);

impl Page {
    fn started(seconds: i64) -> Self {
        Self(NodeSample { process_start_seconds: Some(seconds as f64), ..NodeSample::default() })
    }

    fn old() -> Self {
        Self::started(HELPER_START_S - 500)
    }

    fn with(mut self, family: Family, sum: f64) -> Self {
        self.0.families[family as usize] = Some(FamilySample { sum, ..FamilySample::default() });
        self
    }

    fn damaged(mut self, family: Family, sum: f64) -> Self {
        self.0.families[family as usize] = Some(FamilySample { sum, damaged: true, readable: 7 });
        self
    }

    fn adds(self, count: f64) -> Self {
        self.with(Family::AddIpReqCount, count)
    }

    fn latency(mut self, operation: Ec2Operation, sum_ms: f64, count: f64) -> Self {
        self.0.latency[operation as usize] = Some(LatencySample { sum_ms, count });
        self.0.has_latency_counts = true;
        self.with(Family::AwsApiLatencyMs, sum_ms)
    }
}

/// Two operations, as tests need them.
const A: Ec2Operation = Ec2Operation::AttachNetworkInterface;
const B: Ec2Operation = Ec2Operation::CreateTags;

/// A helper that has one node, `n`, with pod `u` unless told otherwise.
struct Helper {
    aggregator: Aggregator,
    created_at: Option<UnixMillis>,
    agent: AgentFacts,
    labels: Arc<NodeLabels>,
    /// When its rounds are, in seconds after its start; stands still unless a test moves it.
    now_s: i64,
}

fn helper() -> Helper {
    helper_started(HelperStart {
        clock: UnixMillis(HELPER_START_S * 1000),
        api_server: Some(UnixMillis(HELPER_START_S * 1000)),
    })
}

fn helper_started(start: HelperStart) -> Helper {
    let created_at = Some(UnixMillis((HELPER_START_S - 1000) * 1000));
    Helper {
        aggregator: Aggregator::new(start, CounterMode::Increase),
        created_at,
        agent: AgentFacts::default(),
        labels: Arc::default(),
        now_s: 0,
    }
}

fn target(uid: &str, created_at: Option<UnixMillis>) -> Target {
    Target {
        uid: PodUid::new(uid),
        node: NodeName::new("n"),
        created_at,
        labels: Arc::default(),
        agent: AgentFacts::default(),
    }
}

impl Helper {
    fn created(mut self, seconds: i64) -> Self {
        self.created_at = Some(UnixMillis(seconds * 1000));
        self
    }

    /// A round, at the earliest when the youngest of its processes had begun.
    fn round(&mut self, pages: Vec<(&str, Result<Page, FailureKind>)>) -> Snapshot {
        let starts = pages.iter().filter_map(|(_, page)| page.as_ref().ok()?.0.process_start_seconds);
        let youngest = starts.fold(f64::NEG_INFINITY, f64::max) - HELPER_START_S as f64;
        while (self.now_s as f64) < youngest && youngest < 1e6 {
            self.now_s += 1;
        }
        let observations = pages
            .into_iter()
            .map(|(uid, page)| Observation {
                target: Target { agent: self.agent, labels: Arc::clone(&self.labels), ..target(uid, self.created_at) },
                expected: true,
                outcome: page.map(|page| page.0),
            })
            .collect();
        self.aggregator.round(UnixMillis((HELPER_START_S + self.now_s) * 1000), observations)
    }

    /// Rounds until a pod that is not listed is tombstones.
    fn forget(&mut self) {
        for _ in 0..=KEPT_ROUNDS {
            self.now_s += 60;
            self.round(vec![]);
        }
        assert_eq!(self.aggregator.known_nodes(), 0);
    }

    fn see(&mut self, page: Page) -> Snapshot {
        self.round(vec![("u", Ok(page))])
    }

    /// The increase of the one counter most tests use.
    fn adds(&mut self, page: Page) -> Option<f64> {
        self.see(page).metrics.get(Metric::AddReqCount)
    }

    fn miss(&mut self) -> Snapshot {
        self.round(vec![("u", Err(FailureKind::Timeout))])
    }
}

#[test]
fn an_old_process_first_gives_a_baseline_then_exact_increases() {
    let mut helper = helper();
    assert_eq!(helper.adds(Page::old().adds(4000.0)), None);
    assert_eq!(helper.adds(Page::old().adds(4003.0)), Some(3.0));
    assert_eq!(helper.adds(Page::old().adds(4003.0)), Some(0.0));
    let snapshot = helper.see(Page::old().adds(4010.0));
    assert_eq!(snapshot.totals.get(Metric::AddReqCount), Some(10.0));
    assert_eq!(snapshot.round, 4);
}

#[test]
fn a_process_younger_than_the_helper_counts_whole() {
    assert_eq!(helper().adds(Page::started(HELPER_START_S + 60).adds(7.0)), Some(7.0));
}

#[test]
fn within_the_clocks_doubt_the_pods_creation_decides() {
    for lead in [-5, 0, 5] {
        let page = Page::started(HELPER_START_S + lead).adds(7.0);
        assert_eq!(helper().created(HELPER_START_S - 1).adds(page.clone()), None, "{lead}");
        assert_eq!(helper().created(HELPER_START_S + 1).adds(page), Some(7.0), "{lead}");
    }
    assert_eq!(helper().adds(Page::started(HELPER_START_S + 6).adds(7.0)), Some(7.0));
    assert_eq!(helper().adds(Page::started(HELPER_START_S - 6).adds(7.0)), None);
}

#[test]
fn a_pod_created_after_the_helper_is_new_whatever_its_clock_says() {
    let mut helper = helper().created(HELPER_START_S + 10);
    assert_eq!(helper.adds(Page::started(HELPER_START_S - 86_400).adds(7.0)), Some(7.0));
}

#[test]
fn without_the_api_servers_clock_the_helpers_own_settles_doubt_only() {
    let start = HelperStart { clock: UnixMillis(HELPER_START_S * 1000), api_server: None };
    let at = |process, created| {
        helper_started(start).created(HELPER_START_S + created).adds(Page::started(HELPER_START_S + process).adds(7.0))
    };
    assert_eq!(at(-60, 10), None);
    assert_eq!(at(2, 10), Some(7.0));
    assert_eq!(at(2, -10), None);
}

#[test]
fn a_restart_counts_from_zero_even_beyond_the_old_value() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    let snapshot = helper.see(Page::started(HELPER_START_S + 30).adds(25.0));
    assert_eq!(snapshot.metrics.get(Metric::AddReqCount), Some(25.0));
    assert_eq!(snapshot.anomalies, []);
}

#[test]
fn a_start_time_printed_with_less_precision_is_the_same_process() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    let mut page = Page::old().adds(12.0);
    page.0.process_start_seconds = page.0.process_start_seconds.map(|start| start + 0.42);
    assert_eq!(helper.adds(page), Some(2.0));
}

#[test]
fn a_missed_scrape_loses_nothing() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    assert_eq!(helper.miss().metrics.get(Metric::AddReqCount), None);
    let missed = helper.miss();
    assert_eq!(missed.totals.get(Metric::AddReqCount), None);
    assert_eq!(missed.coverage.failed, [(FailureKind::Timeout, 1)].into());
    assert_eq!(helper.adds(Page::old().adds(16.0)), Some(6.0));
}

#[test]
fn a_labelled_family_that_appears_later_starts_from_zero() {
    let mut helper = helper();
    helper.see(Page::old().adds(1.0));
    let snapshot = helper.see(Page::old().adds(1.0).with(Family::DelIpReqCount, 5.0));
    assert_eq!(snapshot.metrics.get(Metric::DelReqCount), Some(5.0));
}

#[test]
fn a_decrease_without_a_restart_is_an_anomaly_and_the_new_baseline() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    let snapshot = helper.see(Page::old().adds(4.0));
    assert_eq!(snapshot.metrics.get(Metric::AddReqCount), Some(0.0));
    let node = NodeName::new("n");
    assert_eq!(
        snapshot.anomalies,
        [Anomaly::CounterDecreased { node, family: Family::AddIpReqCount, from: 10.0, to: 4.0 }]
    );
    assert_eq!(helper.adds(Page::old().adds(6.0)), Some(2.0));
}

#[test]
fn a_family_that_vanishes_is_reported_once_and_counts_nothing_twice() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    assert_eq!(helper.see(Page::old()).anomalies.len(), 1);
    assert_eq!(helper.see(Page::old()).anomalies.len(), 0);
    assert_eq!(helper.adds(Page::old().adds(11.0)), Some(1.0));
}

#[test]
fn without_a_start_time_any_decrease_is_a_restart_of_all() {
    let page = |adds: f64, dels: f64| Page::default().adds(adds).with(Family::DelIpReqCount, dels);
    let mut helper = helper();
    assert_eq!(helper.adds(page(10.0, 5.0)), None);
    assert_eq!(helper.adds(page(12.0, 5.0)), Some(2.0));
    let restarted = helper.see(page(13.0, 1.0));
    assert_eq!(restarted.metrics.get(Metric::AddReqCount), Some(13.0));
    assert_eq!(restarted.metrics.get(Metric::DelReqCount), Some(1.0));
    assert_eq!(restarted.anomalies, []);
    assert_eq!(helper.adds(Page::default().adds(14.0)), Some(14.0), "a vanished family is a restart too");
    let damaged = Page::default().adds(15.0).damaged(Family::DelIpReqCount, 0.0);
    assert_eq!(helper.adds(damaged), Some(1.0), "a damaged one is not");
}

#[test]
fn a_page_that_lost_its_start_time_is_no_restart() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0).with(Family::DelIpReqCount, 5.0));
    assert_eq!(helper.adds(Page::default().adds(12.0)), Some(2.0));
    assert_eq!(helper.adds(Page::old().adds(13.0).with(Family::DelIpReqCount, 6.0)), Some(1.0));
}

#[test]
fn a_restart_behind_a_page_without_start_time_is_seen() {
    let mut helper = helper();
    let first = HELPER_START_S + 10;
    assert_eq!(helper.adds(Page::started(first).adds(10.0)), Some(10.0));
    helper.now_s = 60;
    assert_eq!(helper.adds(Page::default().adds(12.0)), Some(2.0));
    let mut same = Page::started(first).adds(13.0);
    assert_eq!(helper.adds(same), Some(1.0));
    assert_eq!(helper.adds(Page::default().adds(14.0)), Some(1.0));
    // Too soon after the last scrape for the clocks alone to tell.
    assert_eq!(helper.adds(Page::started(first + 52).adds(25.0)), Some(25.0));
    // A page that is itself a restart leaves no start behind to compare with.
    assert_eq!(helper.adds(Page::default().adds(2.0)), Some(2.0));
    same = Page::started(HELPER_START_S + 61).adds(5.0);
    assert_eq!(helper.adds(same), Some(3.0));
}

#[test]
fn a_first_start_time_after_the_last_scrape_is_a_restart() {
    let mut helper = helper();
    helper.see(Page::default().adds(10.0));
    assert_eq!(helper.adds(Page::started(HELPER_START_S + 6).adds(25.0)), Some(25.0));
}

#[test]
fn a_clock_that_is_set_is_no_restart() {
    let mut helper = helper();
    helper.now_s = 300;
    helper.see(Page::old().adds(10.0));
    for (moved_s, adds, increase) in [(-3600, 12.0, 2.0), (-1800, 13.0, 1.0), (700, 16.0, 3.0)] {
        assert_eq!(helper.adds(Page::started(HELPER_START_S - 500 + moved_s).adds(adds)), Some(increase));
    }
}

#[test]
fn a_real_restart_is_seen_within_the_clocks_doubt_and_by_what_fell_or_vanished() {
    let restarted = |start_s: i64, page: fn(Page) -> Page| {
        let mut helper = helper();
        helper.now_s = 300;
        helper.see(Page::old().adds(10.0).with(Family::DelIpReqCount, 1.0).latency(A, 9.0, 3.0));
        helper.adds(page(Page::started(HELPER_START_S + start_s).adds(25.0)))
    };
    let grown = |page: Page| page.with(Family::DelIpReqCount, 2.0).latency(A, 10.0, 4.0);
    assert_eq!(restarted(295, grown), Some(25.0));
    assert_eq!(restarted(294, grown), Some(15.0), "clearly before the last scrape, and nothing fell");
    assert_eq!(restarted(200, |page| page.with(Family::DelIpReqCount, 0.0).latency(A, 10.0, 4.0)), Some(25.0));
    assert_eq!(restarted(200, |page| page.latency(A, 10.0, 4.0)), Some(25.0), "a family vanished");
    assert_eq!(restarted(200, |page| page.with(Family::DelIpReqCount, 2.0)), Some(25.0), "an API vanished");
}

#[test]
fn a_young_pod_that_comes_back_counts_nothing_twice() {
    let mut helper = helper().created(HELPER_START_S + 10);
    let page = |start_s: i64, adds| Page::started(HELPER_START_S + start_s).adds(adds);
    helper.now_s = 60;
    assert_eq!(helper.adds(page(12, 7.0)), Some(7.0));
    helper.forget();
    assert_eq!(helper.adds(page(12, 9.0)), None);
    assert_eq!(helper.adds(page(12, 10.0)), Some(1.0));
    // Its process began while it was tombstones: nothing of it was ever published.
    helper.forget();
    assert_eq!(helper.adds(page(helper.now_s - 60, 4.0)), Some(4.0));
}

#[test]
fn short_rounds_forget_no_sooner_than_ten_minutes() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    for _ in 0..100 {
        helper.now_s += 5;
        helper.round(vec![]);
    }
    assert_eq!(helper.adds(Page::old().adds(13.0)), Some(3.0));
}

#[test]
fn tombstones_are_bounded_and_what_was_given_up_counts_nothing_twice() {
    let mut tombstones = Tombstones::default();
    let uid = |number: usize| PodUid::new(format!("uid-{number}"));
    for number in 0..3 * tombstones::MOST_TOMBSTONES {
        let last_scraped_at = UnixMillis(i64::try_from(number).unwrap() * 1000);
        tombstones.note(&uid(number), Tombstone { last_scraped_at, process_start_seconds: None });
        tombstones.shrink(usize::MAX);
        assert!(tombstones.entries.len() <= tombstones::MOST_TOMBSTONES);
    }
    let newest = 3 * tombstones::MOST_TOMBSTONES - 1;
    let newest_s = i64::try_from(newest).unwrap();
    let mut take = |number: usize, created_s| {
        let target = target(uid(number).as_str(), Some(UnixMillis(created_s * 1000)));
        tombstones.take(&target, UnixMillis(i64::MAX)).map(|entry| entry.last_scraped_at)
    };
    assert_eq!(take(newest, 0), Some(UnixMillis(newest_s * 1000)));
    assert_eq!(take(newest, newest_s), None, "its entry has ended");
    assert!(take(0, 0).is_some(), "its entry was given up");
    assert_eq!(take(usize::MAX, newest_s), None, "younger than all that were given up");
}

#[test]
fn a_damaged_family_waits_for_its_next_good_scrape() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    let snapshot = helper.see(Page::old().damaged(Family::AddIpReqCount, 4.0));
    assert_eq!(snapshot.metrics.get(Metric::AddReqCount), None);
    assert_eq!(snapshot.nodes[0].damaged.iter().collect::<Vec<_>>(), [Family::AddIpReqCount]);
    assert_eq!((snapshot.coverage.damaged, snapshot.coverage.reporting[&Metric::AddReqCount]), (1, 0));
    assert_eq!(snapshot.anomalies, []);
    assert_eq!(helper.adds(Page::old().adds(17.0)), Some(7.0));
}

/// A page whose `del_ip_req_count` lost a line: what is left of it, and which series that are.
fn torn(sum: f64, readable: u64) -> Page {
    let mut page = Page::old().adds(1.0);
    page.0.families[Family::DelIpReqCount as usize] = Some(FamilySample { sum, damaged: true, readable });
    page
}

fn deletes(snapshot: &Snapshot) -> Option<f64> {
    snapshot.metrics.get(Metric::DelReqCount)
}

#[test]
fn a_family_that_stays_damaged_counts_by_what_can_be_read() {
    let mut helper = helper();
    let whole = |sum: f64| Page::old().adds(1.0).with(Family::DelIpReqCount, sum);
    helper.see(whole(100.0));
    let mut see = |page: Page| deletes(&helper.see(page));
    assert_eq!(see(torn(60.0, 1)), None);
    assert_eq!(see(torn(62.0, 1)), None);
    assert_eq!(see(torn(65.0, 1)), Some(5.0), "since the first damaged page");
    assert_eq!(see(torn(66.0, 1)), Some(1.0));
    assert_eq!(see(torn(66.0, 1)), Some(0.0));
    assert_eq!(see(torn(90.0, 2)), None, "other series: nothing can be compared");
    assert_eq!(see(torn(93.0, 2)), Some(3.0));
    assert_eq!(see(torn(50.0, 2)), Some(0.0), "never less than nothing");
    // 100 were known before, 9 were counted since: what is above it counts now.
    assert_eq!(see(whole(150.0)), Some(41.0));
    assert_eq!(see(torn(60.0, 1)), None, "the next damage waits as the first did");
    assert_eq!(see(whole(151.0)), Some(1.0));
}

#[test]
fn a_family_that_was_damaged_from_the_start_counts_by_what_can_be_read() {
    let mut helper = helper();
    for (sum, increase) in [(60.0, None), (62.0, None), (65.0, Some(5.0)), (66.0, Some(1.0))] {
        assert_eq!(deletes(&helper.see(torn(sum, 1))), increase);
    }
    let whole = |sum: f64| Page::old().adds(1.0).with(Family::DelIpReqCount, sum);
    assert_eq!(deletes(&helper.see(whole(4000.0))), None, "how much of it is older than the helper is unknown");
    assert_eq!(deletes(&helper.see(whole(4001.0))), Some(1.0));
    // A process that was watched from its start has nothing on its page that does not count.
    let young = |mut page: Page| {
        page.0.process_start_seconds = Some((HELPER_START_S + 60) as f64);
        page
    };
    let mut helper = self::helper();
    for (sum, increase) in [(2.0, None), (3.0, None), (5.0, Some(5.0)), (6.0, Some(1.0))] {
        assert_eq!(deletes(&helper.see(young(torn(sum, 1)))), increase);
    }
    assert_eq!(deletes(&helper.see(young(whole(20.0)))), Some(14.0));
}

#[test]
fn damage_with_nothing_readable_is_never_0() {
    let mut helper = helper();
    for _ in 0..6 {
        assert_eq!(deletes(&helper.see(torn(0.0, 0))), None);
    }
}

#[test]
fn a_damaged_gauge_is_left_out() {
    let mut helper = helper();
    let whole = || Ok(Page::old().with(Family::EniMax, 4.0));
    let snapshot = helper.round(vec![("a", whole()), ("b", Ok(Page::old().damaged(Family::EniMax, 3.0)))]);
    assert_eq!(snapshot.metrics.get(Metric::EniMaxAvailable), Some(4.0));
    assert_eq!(snapshot.nodes[1].values.get(Metric::EniMaxAvailable), None);
    assert_eq!(snapshot.coverage.reporting[&Metric::EniMaxAvailable], 1);
}

#[test]
fn a_clock_that_is_set_right_after_the_start_counts_nothing_twice() {
    // A node whose clock is set forward by less than the clocks' doubt, seconds after its agent's start and first page.
    let page = |start_s: i64, adds: f64| Page::started(start_s).adds(adds);
    for moved_s in [1, 2, 5] {
        let mut helper = helper().created(HELPER_START_S + 50);
        helper.now_s = 60;
        let start_s = HELPER_START_S + 57;
        assert_eq!(helper.adds(page(start_s, 7.0)), Some(7.0));
        helper.now_s = 90;
        assert_eq!(helper.adds(page(start_s + moved_s, 9.0)), Some(2.0), "moved by {moved_s} s");
    }
    // The same, and the helper's clock is behind the node's.
    let mut helper = helper().created(HELPER_START_S + 50);
    helper.now_s = 60;
    assert_eq!(helper.adds(page(HELPER_START_S + 70, 7.0)), Some(7.0));
    helper.now_s = 90;
    assert_eq!(helper.adds(page(HELPER_START_S + 71, 9.0)), Some(2.0));
    // A counter that fell, or a larger move, tells a restart.
    assert_eq!(helper.adds(page(HELPER_START_S + 73, 4.0)), Some(4.0));
    assert_eq!(helper.adds(page(HELPER_START_S + 89, 6.0)), Some(6.0));
}

#[test]
fn a_helper_whose_clock_is_set_back_counts_nothing_twice() {
    let mut helper = helper().created(HELPER_START_S + 10);
    let page = |adds| Page::started(HELPER_START_S + 12).adds(adds);
    helper.now_s = 60;
    assert_eq!(helper.adds(page(7.0)), Some(7.0));
    // An hour back while the pod is away, until it is forgotten; its process began after what the clock shows now.
    helper.now_s = -3600;
    helper.forget();
    assert_eq!(helper.adds(page(9.0)), None);
    assert_eq!(helper.adds(page(10.0)), Some(1.0));
}

#[test]
fn a_start_that_lies_ahead_of_the_helpers_clock_is_no_restart() {
    // The helper's clock is an hour behind, as it was at the last scrape; then the node's clock is set.
    let seen = |start_s: i64, adds: f64| {
        let mut helper = helper();
        helper.aggregator.round(UnixMillis((HELPER_START_S - 3600) * 1000), vec![]);
        let mut see = |page: Page| {
            let target = target("u", helper.created_at);
            let observation = Observation { target, expected: true, outcome: Ok(page.0) };
            let snapshot = helper.aggregator.round(UnixMillis((HELPER_START_S - 3600) * 1000), vec![observation]);
            snapshot.metrics.get(Metric::AddReqCount)
        };
        see(Page::started(HELPER_START_S - 9000).adds(1_000_000.0));
        see(Page::started(HELPER_START_S + start_s).adds(adds))
    };
    assert_eq!(seen(-500, 1_000_007.0), Some(7.0), "the same process");
    assert_eq!(seen(-500, 9.0), Some(9.0), "its counters tell a restart all the same");
}

#[test]
fn a_pod_that_comes_back_is_new_only_beyond_the_clocks_doubt_by_both_clocks() {
    let second = |scraped_s: i64, before: Option<i64>, start: Option<i64>| {
        let seconds = |at: i64| (HELPER_START_S + at) as f64;
        let last_scraped_at = UnixMillis((HELPER_START_S + scraped_s) * 1000);
        let entry = Tombstone { last_scraped_at, process_start_seconds: before.map(seconds) };
        let sample = NodeSample { process_start_seconds: start.map(seconds), ..NodeSample::default() };
        next_scrape(entry, UnixMillis((HELPER_START_S + 1000) * 1000), &sample)
    };
    assert_eq!(second(0, Some(0), Some(6)), Continuity::New);
    assert_eq!(second(-100, Some(0), Some(5)), Continuity::Baseline, "hardly another process");
    assert_eq!(second(0, Some(-100), Some(5)), Continuity::Baseline, "hardly after the last scrape");
    assert_eq!(second(0, None, Some(6)), Continuity::New);
    assert_eq!(second(0, Some(0), None), Continuity::Baseline);
    // A scrape that seems to lie ahead of now was made before the clock was set back; and a start that lies ahead of now
    // says that the clocks disagree, which is no proof of anything.
    assert_eq!(second(5000, Some(0), Some(1005)), Continuity::Baseline);
    assert_eq!(second(5000, Some(0), Some(1006)), Continuity::Baseline);
    assert_eq!(second(0, Some(0), Some(1005)), Continuity::New);
    assert_eq!(second(0, Some(0), Some(1006)), Continuity::Baseline);
}

#[test]
fn a_node_is_ipv6_as_its_last_sound_page_says() {
    let page = |total: f64, ip_max: f64| Page::old().with(Family::TotalIpAddresses, total).with(Family::IpMax, ip_max);
    let prefix = 281_474_976_710_656.0;
    let mut helper = helper();
    // What is left of a damaged total may still show it.
    let damaged = page(0.0, 0.0).damaged(Family::TotalIpAddresses, prefix);
    assert!(helper.see(damaged).nodes[0].ipv6);
    assert!(!helper.see(page(27.0, 27.0)).nodes[0].ipv6);
    assert!(helper.see(page(prefix, 0.0)).nodes[0].ipv6);
    assert!(helper.see(page(0.0, 27.0).damaged(Family::TotalIpAddresses, 0.0)).nodes[0].ipv6, "unknown: as before");
    assert!(!helper.see(page(27.0, 27.0)).nodes[0].ipv6);
}

#[test]
fn nodes_that_left_are_forgotten_though_the_clock_stands_still() {
    let mut helper = helper();
    for number in 0..3 * MOST_KEPT_ROUNDS {
        helper.round(vec![(&format!("u{number}"), Ok(Page::old().adds(1.0)))]);
        assert!(helper.aggregator.known_nodes() as u64 <= MOST_KEPT_ROUNDS + 1);
    }
    let kept = helper.aggregator.known_nodes() as u64;
    assert_eq!(kept, MOST_KEPT_ROUNDS + 1);
}

#[test]
fn damage_on_the_first_page_never_publishes_a_lifetime() {
    let mut helper = helper();
    helper.see(Page::old().damaged(Family::AddIpReqCount, 0.0));
    assert_eq!(helper.adds(Page::old().adds(4000.0)), None);
    assert_eq!(helper.adds(Page::old().adds(4001.0)), Some(1.0));
}

#[test]
fn damage_after_a_restart_is_caught_up() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    helper.see(Page::started(HELPER_START_S + 9).damaged(Family::AddIpReqCount, 0.0));
    assert_eq!(helper.adds(Page::started(HELPER_START_S + 9).adds(3.0)), Some(3.0));
}

#[test]
fn a_replaced_pod_is_a_new_node_and_a_flapping_list_is_not() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    helper.round(vec![("other", Ok(Page::old().adds(500.0)))]);
    for _ in 0..8 {
        helper.round(vec![]);
    }
    assert_eq!(helper.adds(Page::old().adds(13.0)), Some(3.0));
    helper.forget();
    assert_eq!(helper.adds(Page::old().adds(20.0)), None, "tombstones: a baseline again");
}

#[test]
fn coverage_counts_who_should_have_answered() {
    let mut helper = helper();
    let observe = |uid: &str, expected, outcome| Observation { target: target(uid, None), expected, outcome };
    let ok = || Ok(Page::old().0);
    let first = helper.aggregator.round(
        UnixMillis(0),
        vec![
            observe("young, answers", false, ok()),
            observe("young, silent", false, Err(FailureKind::ConnectRefused)),
            observe("silent", true, Err(FailureKind::Timeout)),
            observe("answers", true, ok()),
            observe("answers", true, ok()),
        ],
    );
    assert_eq!((first.coverage.expected, first.coverage.scraped), (3, 2));
    assert_eq!(first.coverage.failed, [(FailureKind::Timeout, 1)].into());
    assert_eq!(first.nodes.len(), 4);
    let second =
        helper.aggregator.round(UnixMillis(0), vec![observe("young, answers", false, Err(FailureKind::NotFound))]);
    assert_eq!((second.coverage.expected, second.coverage.scraped), (1, 0));
    assert_eq!(second.metrics.get(Metric::NodesExpected), Some(1.0));
    assert_eq!(second.metrics.iter().count(), 2, "nothing else was measured");
}

#[test]
fn gauges_add_up_over_the_nodes_that_have_them() {
    let mut helper = helper();
    let snapshot = helper.round(vec![
        ("a", Ok(Page::old().with(Family::EniAllocated, 2.0).with(Family::EniMax, 0.0))),
        ("b", Ok(Page::old().with(Family::EniAllocated, 3.0))),
        ("c", Ok(Page::old().damaged(Family::TotalIpAddresses, 0.0))),
    ]);
    assert_eq!(snapshot.metrics.get(Metric::EniAllocated), Some(5.0));
    assert_eq!(snapshot.metrics.get(Metric::EniMaxAvailable), Some(0.0));
    assert_eq!(snapshot.metrics.get(Metric::MaxIpAddresses), None);
    assert_eq!(snapshot.metrics.get(Metric::TotalIpAddresses), None, "a damaged 0 measures nothing");
    assert_eq!(snapshot.metrics.get(Metric::IpamdErr), None, "a counter that no node has is not measured");
    assert_eq!(snapshot.nodes[0].values.get(Metric::IpamdErr), None);
    assert_eq!(snapshot.coverage.reporting[&Metric::EniAllocated], 2);
    assert_eq!(snapshot.coverage.reporting[&Metric::EniMaxAvailable], 1);
    assert_eq!((snapshot.coverage.damaged, snapshot.coverage.implausible), (1, 0));
}

#[test]
fn ipv6_nodes_stay_out_of_the_ipv4_totals() {
    let ipv6 = |assigned: f64| {
        Page::old()
            .with(Family::TotalIpAddresses, 281_474_976_710_656.0)
            .with(Family::IpMax, 0.0)
            .with(Family::AssignedIpAddresses, assigned)
            .with(Family::EniAllocated, 1.0)
    };
    let ipv4 = Page::old()
        .with(Family::TotalIpAddresses, 27.0)
        .with(Family::IpMax, 27.0)
        .with(Family::AssignedIpAddresses, 12.0)
        .with(Family::EniAllocated, 3.0);
    let mut helper = helper();
    let snapshot = helper.round(vec![("4", Ok(ipv4)), ("6", Ok(ipv6(5.0)))]);
    assert_eq!(snapshot.metrics.get(Metric::TotalIpAddresses), Some(27.0));
    assert_eq!(snapshot.metrics.get(Metric::AssignIpAddresses), Some(12.0));
    assert_eq!(snapshot.metrics.get(Metric::EniAllocated), Some(4.0));
    assert_eq!(snapshot.ipv6, Ipv6Figures { nodes: 1, assigned_ip_addresses: 5.0 });
    assert_eq!(snapshot.nodes[1].values.get(Metric::AssignIpAddresses), Some(5.0));
    // Only IPv6 nodes, and one whose telling line is damaged.
    let damaged = ipv6(6.0).damaged(Family::TotalIpAddresses, 0.0);
    let snapshot = helper.round(vec![("6", Ok(damaged))]);
    assert_eq!(snapshot.metrics.get(Metric::AssignIpAddresses), None);
    assert_eq!(snapshot.ipv6.nodes, 1);
}

#[test]
fn latency_is_the_highest_mean_of_the_interval() {
    let latency = |snapshot: Snapshot| snapshot.metrics.get(Metric::AwsApiLatency);
    let mut helper = helper();
    assert_eq!(latency(helper.see(Page::old().latency(A, 1000.0, 10.0))), None, "a baseline");
    let page = Page::old().latency(A, 1300.0, 12.0).latency(B, 400.0, 1.0);
    assert_eq!(latency(helper.see(page.clone())), Some(400.0), "B is new: 400 / 1");
    assert_eq!(latency(helper.see(page.clone())), None, "no observation");
    let page = Page::old().latency(A, 1300.0, 12.0).latency(B, 1000.0, 4.0);
    assert_eq!(latency(helper.see(page)), Some(200.0));
    let restarted = Page::started(HELPER_START_S + 60).latency(A, 90.0, 3.0);
    assert_eq!(latency(helper.see(restarted)), Some(30.0));
}

#[test]
fn damaged_latency_keeps_its_baseline() {
    let latency = |snapshot: Snapshot| snapshot.metrics.get(Metric::AwsApiLatency);
    let mut helper = helper();
    helper.see(Page::old().latency(A, 1000.0, 10.0));
    let damaged = Page::old().latency(A, 5.0, 11.0).damaged(Family::AwsApiLatencyMs, 5.0);
    assert_eq!(latency(helper.see(damaged)), None);
    assert_eq!(latency(helper.see(Page::old().latency(A, 1100.0, 12.0))), Some(50.0));
}

#[test]
fn damaged_latency_on_the_first_page_leaves_the_next_one_as_baseline() {
    let latency = |snapshot: Snapshot| snapshot.metrics.get(Metric::AwsApiLatency);
    let mut helper = helper();
    helper.see(Page::old().damaged(Family::AwsApiLatencyMs, 0.0));
    assert_eq!(latency(helper.see(Page::old().latency(A, 9000.0, 10.0))), None);
    assert_eq!(latency(helper.see(Page::old().latency(A, 9050.0, 11.0))), Some(50.0));
}

#[test]
fn one_nodes_impossible_values_cost_itself() {
    let healthy = || Ok(Page::started(HELPER_START_S + 60).with(Family::EniMax, 4.0).adds(3.0));
    let hostile = |eni_max, adds| Ok(Page::started(HELPER_START_S + 60).with(Family::EniMax, eni_max).adds(adds));
    for (eni_max, adds) in [(1e300, 1e15), (-1e300, 2e9), (1.1e9, 1.1e9)] {
        let mut helper = helper();
        let snapshot = helper.round(vec![("a", healthy()), ("b", hostile(eni_max, adds))]);
        let value = |metric| snapshot.metrics.get(metric);
        assert_eq!((value(Metric::EniMaxAvailable), value(Metric::AddReqCount)), (Some(4.0), Some(3.0)));
        assert_eq!(snapshot.totals.get(Metric::AddReqCount), Some(3.0));
        assert_eq!(snapshot.coverage.implausible, 1);
        let families = [Family::EniMax, Family::AddIpReqCount].into_iter().collect();
        assert_eq!(snapshot.nodes[1].implausible, families);
        assert_eq!((snapshot.nodes[0].implausible, snapshot.anomalies.len()), (FamilySet::default(), 2));
        // What was not believed is the new baseline, and is reported once.
        let snapshot = helper.round(vec![("a", healthy()), ("b", hostile(eni_max, adds + 5.0))]);
        assert_eq!(snapshot.metrics.get(Metric::AddReqCount), Some(5.0));
        assert_eq!((snapshot.coverage.implausible, snapshot.anomalies.len()), (1, 0));
        let snapshot = helper.round(vec![("b", hostile(4.0, adds + 5.0))]);
        assert_eq!((snapshot.coverage.implausible, snapshot.metrics.get(Metric::EniMaxAvailable)), (0, Some(4.0)));
        let snapshot = helper.round(vec![("b", hostile(-1.0, adds + 5.0))]);
        assert_eq!(snapshot.anomalies.len(), 1, "reported again after it was well");
        let negative = matches!(
            snapshot.anomalies[0],
            Anomaly::Implausible { family: Family::EniMax, reason: Implausibility::Negative { .. }, .. }
        );
        assert!(negative, "prefix delegation explains held addresses only: {:?}", snapshot.anomalies);
    }
}

#[test]
fn the_largest_values_that_can_be_are_believed() {
    let mut helper = helper();
    let page = Page::started(HELPER_START_S + 60).with(Family::EniMax, 1e9).with(Family::IpMax, 0.0).adds(1e9);
    let snapshot = helper.see(page);
    assert_eq!(snapshot.metrics.get(Metric::EniMaxAvailable), Some(1e9));
    assert_eq!(snapshot.metrics.get(Metric::AddReqCount), Some(1e9));
    assert_eq!((snapshot.coverage.implausible, snapshot.anomalies), (0, vec![]));
}

#[test]
fn more_assigned_than_held_is_a_contradiction() {
    let page = |assigned: f64, held: f64| {
        let page = Page::old().with(Family::AssignedIpAddresses, assigned).with(Family::TotalIpAddresses, held);
        page.with(Family::IpMax, 896.0).with(Family::EniMax, 4.0)
    };
    let seen = |page: Page, multi_nic: bool| {
        let mut helper = helper();
        helper.agent.multi_nic = multi_nic;
        let snapshot = helper.see(page);
        let node = &snapshot.nodes[0];
        let values = [Metric::AssignIpAddresses, Metric::TotalIpAddresses].map(|metric| node.values.get(metric));
        assert!(snapshot.anomalies.len() <= 1, "a contradictory pair is one finding: {:?}", snapshot.anomalies);
        (values, node.implausible.iter().collect::<Vec<_>>(), snapshot.metrics.get(Metric::EniMaxAvailable))
    };
    let (assigned, held) = (Family::AssignedIpAddresses, Family::TotalIpAddresses);
    assert_eq!(seen(page(49.0, 49.0), false), ([Some(49.0), Some(49.0)], vec![], Some(4.0)));
    assert_eq!(seen(page(49.0, 46.0), false), ([None, None], vec![assigned, held], Some(4.0)));
    assert_eq!(seen(page(49.0, 46.0), true), ([Some(49.0), Some(46.0)], vec![], Some(4.0)), "several network cards");
    for removed in [Family::ForceRemovedEnis, Family::ForceRemovedIps] {
        let page = page(49.0, 46.0);
        assert_eq!(seen(page.clone().with(removed, 1.0), false), ([Some(49.0), None], vec![held], Some(4.0)));
        assert_eq!(seen(page.with(removed, 0.0), false), ([None, None], vec![assigned, held], Some(4.0)));
    }
    // Only one of them is wrong by itself, or missing.
    assert_eq!(seen(page(49.0, -18.0), false), ([Some(49.0), None], vec![held], Some(4.0)));
    assert_eq!(seen(page(49.0, 0.0).damaged(held, 0.0), false), ([Some(49.0), None], vec![], Some(4.0)));
}

#[test]
fn ipv6_nodes_are_not_judged_by_what_their_agents_miscount() {
    let per_cidr = |total: f64| {
        let page = Page::old().with(Family::TotalIpAddresses, total).with(Family::AssignedIpPerCidr, -3.0);
        helper().see(page).nodes[0].implausible.iter().collect::<Vec<_>>()
    };
    assert_eq!(per_cidr(281_474_976_710_656.0), []);
    assert_eq!(per_cidr(3.0 * 281_474_976_710_656.0), []);
    assert_eq!(per_cidr(40.0), [Family::AssignedIpPerCidr]);
    assert_eq!(per_cidr(281_474_976_710_657.0), [Family::TotalIpAddresses, Family::AssignedIpPerCidr]);
    assert_eq!(per_cidr(1e7 * 281_474_976_710_656.0), [Family::TotalIpAddresses, Family::AssignedIpPerCidr]);
}

#[test]
fn a_mean_of_more_than_a_day_is_not_believed() {
    let mut helper = helper();
    helper.see(Page::old().latency(A, 0.0, 0.0));
    let snapshot = helper.see(Page::old().latency(A, 86_400_001.0, 1.0).latency(B, 50.0, 1.0));
    assert_eq!(snapshot.metrics.get(Metric::AwsApiLatency), Some(50.0), "the others stay");
    assert_eq!(snapshot.nodes[0].implausible.iter().collect::<Vec<_>>(), [Family::AwsApiLatencyMs]);
    assert_eq!(snapshot.coverage.reporting[&Metric::AwsApiLatency], 0);
    let snapshot = helper.see(Page::old().latency(A, 172_800_001.0, 2.0).latency(B, 50.0, 1.0));
    assert_eq!(snapshot.metrics.get(Metric::AwsApiLatency), Some(86_400_000.0));
}

/// A helper whose node has had a first page, all of whose counters are then known.
fn watching(agent: AgentFacts) -> Helper {
    let mut helper = helper();
    helper.agent = agent;
    helper.see(Page::old().adds(10.0));
    helper
}

#[test]
fn an_absent_labelled_counter_is_0_only_if_the_agent_has_it() {
    let of_image =
        |minor, patch| AgentFacts { version: Some(AgentVersion::new(1, minor, patch)), ..AgentFacts::default() };
    for (agent, measured) in [
        (AgentFacts::default(), vec![]),
        (of_image(3, 0), vec![]),
        (of_image(4, 0), vec!["awsAPIErr", "awsUtilErr", "ipamdErr", "reconcileCount", "delReqCount"]),
        (of_image(6, 9), vec!["awsAPIErr", "awsUtilErr", "ipamdErr", "reconcileCount", "delReqCount"]),
        (of_image(7, 0), vec!["awsAPIErr", "awsUtilErr", "ipamdErr", "reconcileCount", "delReqCount", "podENIErr"]),
        (of_image(12, 0), vec!["awsAPIErr", "awsUtilErr", "ipamdErr", "reconcileCount", "delReqCount", "podENIErr"]),
        (
            of_image(12, 1),
            vec![
                "awsAPIErr",
                "awsUtilErr",
                "ipamdErr",
                "reconcileCount",
                "delReqCount",
                "podENIErr",
                "ec2ApiReqCount",
                "ec2ApiErrCount",
            ],
        ),
    ] {
        let snapshot = watching(agent).see(Page::old().adds(11.0));
        let zeros = snapshot.metrics.iter().filter(|(_, value)| *value == 0.0).map(|(metric, _)| metric.name());
        assert_eq!(zeros.collect::<Vec<_>>(), measured, "{agent:?}");
        for metric in Family::COUNTERS.map(Family::metric) {
            let reports = measured.contains(&metric.name()) || metric == Metric::AddReqCount;
            assert_eq!(!snapshot.coverage.reporting.contains_key(&metric), reports, "{metric}");
            assert_eq!(snapshot.totals.get(metric).is_some(), reports, "{metric}");
        }
    }
}

#[test]
fn the_page_itself_tells_its_agents_version_first() {
    let ipamd_errors = |page: Page| {
        let mut helper = helper();
        helper.agent.version = Some(AgentVersion::new(1, 11, 0));
        helper.see(page.clone());
        helper.see(page).metrics.get(Metric::Ec2ApiErrCount)
    };
    let mut told = Page::old().adds(1.0);
    assert_eq!(ipamd_errors(told.clone()), None, "the image's tag says 1.11");
    told.0.version = Some(AgentVersion::new(1, 21, 1));
    assert_eq!(ipamd_errors(told), Some(0.0));
    // Without either, families that came with a version prove it.
    for marker in [Family::NoAvailableIpAddresses, Family::Ec2ApiReqCount] {
        let mut helper = helper();
        let page = Page::old().adds(1.0).with(marker, 5.0);
        helper.see(page.clone());
        let snapshot = helper.see(page);
        assert_eq!(snapshot.metrics.get(Metric::Ec2ApiErrCount), Some(0.0));
        let refused = snapshot.metrics.get(Metric::NoAvailableIpAddresses);
        assert_eq!(
            refused,
            (marker == Family::NoAvailableIpAddresses).then_some(0.0),
            "a plain counter is there or not"
        );
    }
}

#[test]
fn a_part_of_a_page_measures_no_counter_that_it_lacks() {
    let mut helper = helper();
    helper.agent.version = Some(AgentVersion::new(1, 23, 1));
    let part = || Page::old().with(Family::EniMax, 4.0).with(Family::DelIpReqCount, 7.0);
    helper.see(part());
    let snapshot = helper.see(part());
    let measured: Vec<_> = snapshot.metrics.iter().map(|(metric, _)| metric.name()).collect();
    assert_eq!(measured, ["eniMaxAvailable", "delReqCount", "nodesExpected", "nodesScraped"]);
    // Once the whole page comes, its counters are baselines and no increases.
    let whole = |adds: f64, errors: f64| part().adds(adds).with(Family::IpamdErrorCount, errors);
    let snapshot = helper.see(whole(4000.0, 50.0));
    let value = |snapshot: &Snapshot, metric| snapshot.metrics.get(metric);
    assert_eq!((value(&snapshot, Metric::AddReqCount), value(&snapshot, Metric::IpamdErr)), (None, None));
    let snapshot = helper.see(whole(4002.0, 51.0));
    assert_eq!((value(&snapshot, Metric::AddReqCount), value(&snapshot, Metric::IpamdErr)), (Some(2.0), Some(1.0)));
    // And a part in between is no restart, though its families are gone.
    let lacks_all = Page::default().with(Family::EniMax, 4.0);
    helper.see(lacks_all);
    let snapshot = helper.see(whole(4003.0, 51.0));
    assert_eq!((value(&snapshot, Metric::AddReqCount), value(&snapshot, Metric::IpamdErr)), (Some(1.0), Some(0.0)));
}

#[test]
fn where_a_line_lost_its_name_an_absent_counter_is_not_0() {
    let mut helper = helper();
    helper.agent.version = Some(AgentVersion::new(1, 23, 1));
    let page = |adds: f64, lost: bool| {
        let mut page = Page::old().adds(adds);
        page.0.has_lost_lines = lost;
        page
    };
    helper.see(page(1.0, false));
    let value = |snapshot: &Snapshot, metric| snapshot.metrics.get(metric);
    let snapshot = helper.see(page(2.0, true));
    assert_eq!((value(&snapshot, Metric::AddReqCount), value(&snapshot, Metric::IpamdErr)), (Some(1.0), None));
    let snapshot = helper.see(page(2.0, false));
    assert_eq!((value(&snapshot, Metric::AddReqCount), value(&snapshot, Metric::IpamdErr)), (Some(0.0), Some(0.0)));
}

#[test]
fn latency_is_missing_where_it_cannot_be_measured_and_not_where_nothing_was_called() {
    let reports = |page: Page, version: Option<AgentVersion>| {
        let mut helper = helper();
        helper.agent.version = version;
        let snapshot = helper.see(page);
        !snapshot.coverage.reporting.contains_key(&Metric::AwsApiLatency)
    };
    let version = Some(AgentVersion::new(1, 7, 0));
    assert!(reports(Page::old().adds(1.0).latency(A, 9.0, 1.0), None));
    assert!(reports(Page::old().adds(1.0), version), "it has called nothing yet");
    assert!(!reports(Page::old().adds(1.0), None));
    assert!(!reports(Page::old(), version), "a part of a page");
    assert!(!reports(Page::old().latency(A, 9.0, 1.0).damaged(Family::AwsApiLatencyMs, 9.0), version));
    let mut without_counts = Page::old().adds(1.0).latency(A, 9.0, 0.0);
    without_counts.0.has_latency_counts = false;
    assert!(!reports(without_counts, version));
    let mut quantiles_only = Page::old().adds(1.0);
    quantiles_only.0.has_quantiles = true;
    assert!(!reports(quantiles_only, version));
}

#[test]
fn labelled_gauges_that_were_not_used_yet_are_not_missing() {
    let reporting = |minor: u16| {
        let mut helper = helper();
        helper.agent.version = Some(AgentVersion::new(1, minor, 0));
        let snapshot = helper.see(Page::old().adds(1.0));
        [Metric::TotalAssignedIpv4sPerCidr, Metric::IpamdActionInProgress, Metric::EniMaxAvailable]
            .map(|metric| !snapshot.coverage.reporting.contains_key(&metric))
    };
    assert_eq!(reporting(8), [false, true, false]);
    assert_eq!(reporting(9), [true, true, false]);
}

#[test]
fn a_counter_is_published_from_the_first_increase_that_is_known() {
    let mut helper = helper();
    let first = helper.round(vec![("a", Ok(Page::old().adds(4000.0))), ("b", Ok(Page::old().adds(10.0)))]);
    assert_eq!((first.metrics.get(Metric::AddReqCount), first.totals.get(Metric::AddReqCount)), (None, None));
    assert_eq!(first.coverage.reporting[&Metric::AddReqCount], 0);
    let second = helper.round(vec![("a", Ok(Page::old().adds(4002.0))), ("c", Ok(Page::old().adds(9.0)))]);
    assert_eq!(second.metrics.get(Metric::AddReqCount), Some(2.0));
    assert_eq!(second.coverage.reporting[&Metric::AddReqCount], 1, "the new one has only a baseline");
    let missed = helper.round(vec![("a", Err(FailureKind::Timeout))]);
    assert_eq!((missed.metrics.get(Metric::AddReqCount), missed.totals.get(Metric::AddReqCount)), (None, Some(2.0)));
    // A process that began on the helper's watch has an increase at once.
    let young = Page::started(HELPER_START_S + 60).adds(7.0);
    assert_eq!(self::helper().see(young).metrics.get(Metric::AddReqCount), Some(7.0));
}

#[test]
fn totals_mode_shows_counters_since_process_start() {
    let start = HelperStart { clock: UnixMillis(HELPER_START_S * 1000), api_server: None };
    let mut helper = Helper { aggregator: Aggregator::new(start, CounterMode::Totals), ..helper() };
    let page = |adds| Ok(Page::old().adds(adds).latency(A, 100.0, 4.0));
    let snapshot = helper.round(vec![("a", page(40.0)), ("b", page(2.0))]);
    assert_eq!(snapshot.metrics.get(Metric::AddReqCount), Some(42.0));
    assert_eq!(snapshot.totals.get(Metric::AddReqCount), Some(42.0));
    assert_eq!(snapshot.metrics.get(Metric::AwsApiLatency), Some(25.0));
    assert_eq!(snapshot.nodes[1].values.get(Metric::AddReqCount), Some(2.0));
}

#[test]
fn the_output_is_in_name_order_whatever_the_input() {
    let mut helper = helper();
    let snapshot = helper.round(vec![("c", Ok(Page::old())), ("a", Ok(Page::old())), ("b", Err(FailureKind::Timeout))]);
    let order: Vec<&str> = snapshot.nodes.iter().map(|node| node.uid.as_str()).collect();
    assert_eq!(order, ["a", "b", "c"]);
    assert_eq!(snapshot.nodes[1].failure, Some(FailureKind::Timeout));
}
