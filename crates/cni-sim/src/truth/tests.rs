//! Cases small enough to be worked out by hand.

use super::numbers::{ApiLatency, COUNTERS, GAUGES, Gauge, LabelCounts, NodeNumbers};
use ipamd_core::metrics::LabelCount;

use super::{PodFacts, RoundTruth, Truth, Window};

/// A page with `add` `AddNetwork` requests, `assigned` pods and one API with `count` calls of `sum_ms` together.
fn page(process_start_ms: i64, add: f64, assigned: f64, (count, sum_ms): (u64, u64)) -> NodeNumbers {
    let mut counters = [Some(0.0); COUNTERS.len()];
    counters[4] = Some(add);
    let mut gauges = [Some(0.0); GAUGES.len()];
    gauges[..2].fill(Some(assigned));
    let latency = [ApiLatency { api: "CreateTags", sum_ms, count }];
    let set = |reason: &'static str, count| {
        let labels = [("reason", reason.into()), ("", "".into())];
        LabelCount { family: "awscni_del_ip_req_count", labels, count }
    };
    // One that counts as the API does, and one that never counts after its first page.
    let labels = [set("PodDeleted", count), set("SetupNSFailed", 5)];
    let labels = LabelCounts::of(&labels);
    NodeNumbers { process_start_ms, ipv6: false, gauges, counters, latency: latency.into(), labels }
}

fn pod(truth: &Truth, name: &str, created_ms: i64, wall_ms: i64) {
    truth.pod_created(PodFacts {
        uid: name.to_owned(),
        pod: name.to_owned(),
        node: format!("node-{name}"),
        created_ms,
    });
    truth.pod_running(name, wall_ms);
}

fn scrape(truth: &Truth, name: &str, wall_ms: i64, numbers: NodeNumbers) {
    let ticket = truth.rendered(name, numbers, wall_ms);
    assert_eq!(truth.delivered(ticket).as_deref(), Some(name));
}

fn round(truth: &Truth, from: i64, to: i64, collector_start: i64) -> RoundTruth {
    truth.round(Window { from, to, collector_start: Some(collector_start), collector_start_api: None })
}

/// Two nodes that ran before the collector, one that came later. Simulated and wall time are the same.
fn small_cluster() -> Truth {
    let truth = Truth::default();
    for second in 0..140 {
        truth.record_clock(second * 1_000, second * 1_000);
    }
    pod(&truth, "a", 0, 0);
    pod(&truth, "b", 0, 0);
    scrape(&truth, "a", 101_000, page(1_000, 10.0, 4.0, (2, 100)));
    scrape(&truth, "b", 101_500, page(2_000, 20.0, 6.0, (1, 10)));
    pod(&truth, "c", 115_000, 115_000);
    scrape(&truth, "a", 131_000, page(1_000, 13.0, 5.0, (4, 400)));
    // b restarted at 120 s and has had two requests since.
    scrape(&truth, "b", 131_500, page(120_000, 2.0, 6.0, (3, 90)));
    scrape(&truth, "c", 132_000, page(115_500, 7.0, 7.0, (1, 40)));
    truth
}

#[test]
fn the_first_round_is_a_baseline() {
    let first = round(&small_cluster(), 100_000, 110_000, 90_000);
    assert!(
        !first.metrics.contains_key("addReqCount") && first.cumulative.is_empty(),
        "nothing is known of the interval"
    );
    assert_eq!(first.metrics["assignIPAddresses"], 10.0);
    assert_eq!((first.metrics["nodesExpected"], first.metrics["nodesScraped"]), (2.0, 2.0));
    assert!(!first.metrics.contains_key("awsAPILatency"), "no interval yet, so no mean");
    assert!(first.breakdown.is_empty());
}

#[test]
fn the_second_round_counts_increases_restarts_and_new_nodes() {
    let second = round(&small_cluster(), 130_000, 140_000, 90_000);
    // a: 13 - 10. b: 2 since its restart. c: 7, all of them while the collector was running.
    assert_eq!(second.metrics["addReqCount"], 12.0);
    assert_eq!(second.cumulative["addReqCount"], 12.0);
    assert_eq!(second.metrics["assignIPAddresses"], 18.0);
    // a: 300 ms over 2 calls. b: 90 over 3. c: 40 over 1.
    assert_eq!(second.metrics["awsAPILatency"], 150.0);
    // c is 15 s old, but was scraped.
    assert_eq!((second.metrics["nodesExpected"], second.metrics["nodesScraped"]), (3.0, 3.0));
    assert_eq!(second.nodes["node-b"]["addReqCount"], 2.0);
    assert!(second.complete);
    // a: 4 - 2. b: 3 since its restart. c: 1. Of the other label set only b's and c's new processes count.
    let set = |reason: &str| format!("awscni_del_ip_req_count{{reason=\"{reason}\"}}");
    assert_eq!(second.breakdown, [(set("PodDeleted"), 6), (set("SetupNSFailed"), 10)].into());
}

#[test]
fn a_collector_that_starts_later_knows_less() {
    let late = round(&small_cluster(), 130_000, 140_000, 125_000);
    assert!(!late.metrics.contains_key("addReqCount"), "every process was there before it");
    // Started at 118 s: b's restart at 120 s is within the doubtful seconds, and b's pod is old; c's process began
    // 2.5 s before, and its pod too.
    let doubtful = round(&small_cluster(), 130_000, 140_000, 118_000);
    assert!(!doubtful.metrics.contains_key("addReqCount"));
    // Started at 112 s: b is clearly later, c (created at 115 s) is decided by the API server's clock.
    let early = round(&small_cluster(), 130_000, 140_000, 112_000);
    assert_eq!(early.metrics["addReqCount"], 9.0);
}

#[test]
fn a_missed_scrape_loses_nothing_and_is_seen() {
    let truth = Truth::default();
    truth.record_clock(0, 100_000);
    pod(&truth, "a", 0, 0);
    scrape(&truth, "a", 1_000, page(0, 1.0, 1.0, (0, 0)));
    let missed = round(&truth, 30_000, 40_000, -50_000);
    assert_eq!(missed.metrics.keys().collect::<Vec<_>>(), [&"nodesExpected", &"nodesScraped"]);
    assert_eq!((missed.metrics["nodesExpected"], missed.metrics["nodesScraped"]), (1.0, 0.0));
    scrape(&truth, "a", 61_000, page(0, 6.0, 1.0, (0, 0)));
    assert_eq!(round(&truth, 60_000, 70_000, -50_000).metrics["addReqCount"], 5.0);
}

#[test]
fn pods_that_are_young_or_going_are_not_expected() {
    let truth = Truth::default();
    truth.record_clock(0, 0);
    truth.record_clock(50_000, 50_000);
    truth.record_clock(70_000, 70_000);
    pod(&truth, "a", 1_000, 1_000);
    let expected = |at| round(&truth, at, at + 10, 0).metrics["nodesExpected"];
    assert_eq!((expected(50_000), expected(70_000)), (0.0, 1.0));
    truth.pod_deleted("a", 80_000);
    assert_eq!((expected(79_999), expected(80_000)), (1.0, 0.0));
}

#[test]
fn a_page_that_was_not_handed_over_is_no_truth() {
    let truth = Truth::default();
    pod(&truth, "a", 0, 0);
    let ticket = truth.rendered("a", page(0, 5.0, 5.0, (0, 0)), 50);
    let before = round(&truth, 0, 100, -100_000);
    assert_eq!((before.deliveries, before.metrics["nodesScraped"]), (0, 0.0));
    assert!(truth.delivered(ticket).is_some());
    assert!(truth.delivered(ticket).is_none(), "a ticket counts once");
    assert_eq!(round(&truth, 0, 100, -100_000).deliveries, 1);
}

#[test]
fn pages_that_overtake_each_other_count_in_the_order_of_their_making() {
    let truth = Truth::default();
    pod(&truth, "a", 0, 0);
    let first = truth.rendered("a", page(0, 5.0, 1.0, (0, 0)), 10);
    let second = truth.rendered("a", page(0, 8.0, 2.0, (0, 0)), 20);
    truth.delivered(second);
    truth.delivered(first);
    let answer = round(&truth, 0, 100, -100_000);
    assert_eq!((answer.cumulative["addReqCount"], answer.metrics["assignIPAddresses"]), (8.0, 2.0));
}

#[test]
fn ipv6_addresses_stay_out_of_the_totals() {
    let truth = Truth::default();
    pod(&truth, "four", 0, 0);
    pod(&truth, "six", 0, 0);
    scrape(&truth, "four", 10, page(0, 0.0, 3.0, (0, 0)));
    let mut six = page(0, 0.0, 9.0, (0, 0));
    six.ipv6 = true;
    six.gauges[4] = Some(1.0);
    scrape(&truth, "six", 11, six);
    let answer = round(&truth, 0, 100, -100_000);
    assert_eq!(answer.metrics["assignIPAddresses"], 3.0);
    assert_eq!(answer.metrics["eniAllocated"], 1.0);
    assert_eq!((answer.ipv6_nodes, answer.ipv6_assigned), (1, 9.0));
}

#[test]
fn a_counter_that_no_agent_has_is_not_measured() {
    let truth = Truth::default();
    pod(&truth, "old", 0, 0);
    pod(&truth, "new", 0, 0);
    let mut old = page(0, 5.0, 0.0, (0, 0));
    old.counters[11] = None;
    scrape(&truth, "old", 10, old.clone());
    let answer = round(&truth, 0, 20, -100_000);
    assert_eq!((answer.metrics["addReqCount"], answer.metrics.get("noAvailableIPAddresses")), (5.0, None));
    assert!(!answer.cumulative.contains_key("noAvailableIPAddresses"));
    scrape(&truth, "old", 30, old);
    scrape(&truth, "new", 30, page(0, 1.0, 0.0, (0, 0)));
    let answer = round(&truth, 25, 40, -100_000);
    assert_eq!(answer.metrics["noAvailableIPAddresses"], 0.0, "one of them has it");
    assert!(!answer.nodes["node-old"].contains_key("noAvailableIPAddresses"));
}

#[test]
fn what_a_page_contradicts_is_no_truth() {
    let gauges = |assigned: f64, held: f64, taken: f64| {
        let mut page = page(0, 0.0, assigned, (0, 0));
        page.gauges[1] = Some(held);
        page.counters[7] = Some(taken);
        [page.gauge(Gauge::Assigned), page.gauge(Gauge::Total)]
    };
    assert_eq!(gauges(5.0, 5.0, 0.0), [Some(5.0), Some(5.0)]);
    assert_eq!(gauges(6.0, 5.0, 0.0), [None, None]);
    assert_eq!(gauges(6.0, 5.0, 1.0), [Some(6.0), None]);
    assert_eq!(gauges(6.0, -5.0, 0.0), [Some(6.0), None]);
}

#[test]
fn dropped_history_still_adds_up_for_a_collector_that_saw_it_all() {
    let truth = Truth::default();
    pod(&truth, "a", 0, 0);
    let scrapes = 25_000_u32;
    for n in 0..scrapes {
        // A restart every thousand scrapes.
        let (life, within) = (n / 1_000, n % 1_000);
        scrape(&truth, "a", i64::from(n), page(i64::from(life) * 1_000, f64::from(within), 0.0, (0, 0)));
    }
    let all = round(&truth, i64::from(scrapes) - 10, i64::from(scrapes), -100_000);
    assert_eq!(all.cumulative["addReqCount"], 25.0 * 999.0);
    assert!(all.complete);
    // For a collector that started between the dropped pages the answer is incomplete.
    let late = truth.round(Window { from: 24_990, to: 25_000, collector_start: Some(100), collector_start_api: None });
    assert!(!late.complete);
}
