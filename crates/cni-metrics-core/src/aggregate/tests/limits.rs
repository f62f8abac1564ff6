//! The rules at the edges of their ranges, and where only one of several conditions holds.

use super::*;

/// The values of one metric on its node.
fn on_node(snapshot: &Snapshot, metric: Metric) -> Option<f64> {
    snapshot.nodes[0].values.get(metric)
}

fn implausible(family: Family, reason: Implausibility) -> Anomaly {
    Anomaly::Implausible { node: NodeName::new("n"), family, reason }
}

#[test]
fn exactly_at_the_clocks_doubt_the_pods_creation_still_decides() {
    let start = HelperStart { clock: UnixMillis(HELPER_START_S * 1000), api_server: None };
    let at = |process, created| {
        helper_started(start).created(HELPER_START_S + created).adds(Page::started(HELPER_START_S + process).adds(7.0))
    };
    assert_eq!(at(-5, 10), Some(7.0));
    assert_eq!(at(-6, 10), None);
    assert_eq!(at(5, -10), None);
    assert_eq!(at(6, -10), Some(7.0));
}

#[test]
fn a_first_start_time_is_a_restart_only_beyond_the_clocks_doubt() {
    let second = |start_s: i64| {
        let mut helper = helper();
        helper.see(Page::default().adds(10.0));
        helper.adds(Page::started(HELPER_START_S + start_s).adds(25.0))
    };
    assert_eq!(second(5), Some(15.0));
    assert_eq!(second(6), Some(25.0));
}

#[test]
fn a_node_that_left_is_kept_for_less_than_ten_minutes() {
    let after = |away_s: i64| {
        let mut helper = helper();
        helper.see(Page::old().adds(10.0));
        for round in 1..=20 {
            helper.now_s = away_s * round / 20;
            helper.round(vec![]);
        }
        helper.adds(Page::old().adds(13.0))
    };
    assert_eq!(after(599), Some(3.0));
    assert_eq!(after(600), None, "a baseline again");
}

#[test]
fn only_a_node_that_is_forgotten_has_a_tombstone() {
    let mut helper = helper();
    helper.see(Page::old().adds(10.0));
    for (now_s, tombstones) in [(0, 0), (599, 0), (600, 1), (601, 1)] {
        helper.now_s = now_s;
        for _ in 0..20 {
            helper.round(vec![]);
        }
        assert_eq!(helper.aggregator.tombstones.entries.len(), tombstones, "after {now_s} s");
        assert_eq!(helper.aggregator.known_nodes(), 1 - tombstones);
    }
}

#[test]
fn what_fell_among_latencies_alone_is_a_restart() {
    let mut helper = helper();
    helper.now_s = 300;
    helper.see(Page::old().adds(10.0).latency(A, 9.0, 3.0));
    // By its start the process may as well be the old one, on a node whose clock was set.
    assert_eq!(helper.adds(Page::started(HELPER_START_S + 200).adds(25.0).latency(A, 1.0, 1.0)), Some(25.0));
}

#[test]
fn a_page_without_any_unlabelled_counter_restarts_nothing_that_had_some() {
    let mut helper = helper();
    let whole = |adds: f64, dels: f64| Page::default().adds(adds).with(Family::DelIpReqCount, dels);
    let part = || Page::default().with(Family::EniMax, 4.0);
    helper.see(whole(10.0, 5.0));
    helper.see(part());
    let snapshot = helper.see(whole(12.0, 6.0));
    assert_eq!((snapshot.metrics.get(Metric::AddReqCount), deletes(&snapshot)), (Some(2.0), Some(1.0)));
    // An agent that never showed one is judged by its labelled counters.
    let mut helper = self::helper();
    let labelled = |dels: f64| part().with(Family::DelIpReqCount, dels);
    helper.see(labelled(5.0));
    assert_eq!(helper.see(part()).anomalies, [], "a restart, and no decrease");
    assert_eq!(deletes(&helper.see(labelled(7.0))), Some(7.0));
}

#[test]
fn a_counter_that_vanishes_at_0_has_not_decreased() {
    let mut helper = helper();
    helper.see(Page::old().adds(1.0).with(Family::DelIpReqCount, 0.0));
    assert_eq!(helper.see(Page::old().adds(1.0)).anomalies, []);
}

#[test]
fn an_absent_unlabelled_counter_is_never_0() {
    let mut helper = helper();
    helper.agent.version = Some(AgentVersion::new(1, 23, 1));
    // Watched from the start of its process, so that every other absent counter is 0.
    let snapshot = helper.see(Page::started(HELPER_START_S + 60).adds(7.0));
    assert_eq!((snapshot.metrics.get(Metric::AddReqCount), deletes(&snapshot)), (Some(7.0), Some(0.0)));
    for family in [Family::ForceRemovedEnis, Family::ForceRemovedIps, Family::NoAvailableIpAddresses] {
        assert_eq!(snapshot.metrics.get(family.metric()), None, "{}", family.name());
        assert_eq!(snapshot.coverage.reporting[&family.metric()], 0);
    }
}

#[test]
fn damage_ends_with_its_process() {
    let mut helper = helper();
    helper.see(Page::old().adds(1.0).with(Family::DelIpReqCount, 100.0));
    for sum in [60.0, 62.0, 65.0] {
        helper.see(torn(sum, 1));
    }
    let young = |sum: f64| {
        let mut page = torn(sum, 1);
        page.0.process_start_seconds = Some((HELPER_START_S + 60) as f64);
        page
    };
    // The third damaged page of the new process is the first that counts, and all that it shows is new.
    for (sum, increase) in [(70.0, None), (71.0, None), (73.0, Some(73.0))] {
        assert_eq!(deletes(&helper.see(young(sum))), increase);
    }
}

#[test]
fn a_whole_page_ends_the_count_of_damaged_pages() {
    let mut helper = helper();
    let whole = |sum: f64| Page::old().adds(1.0).with(Family::DelIpReqCount, sum);
    helper.see(whole(100.0));
    for sum in [60.0, 62.0] {
        assert_eq!(deletes(&helper.see(torn(sum, 1))), None);
    }
    assert_eq!(deletes(&helper.see(whole(110.0))), Some(10.0));
    for (sum, increase) in [(70.0, None), (71.0, None), (75.0, Some(5.0))] {
        assert_eq!(deletes(&helper.see(torn(sum, 1))), increase, "{sum}");
    }
}

#[test]
fn two_damaged_counters_of_a_node_are_told_apart() {
    let mut helper = helper();
    let page = |adds: f64, dels: f64| torn(dels, 1).damaged(Family::AddIpReqCount, adds);
    helper.see(page(10.0, 60.0));
    helper.see(page(11.0, 70.0));
    let snapshot = helper.see(page(13.0, 90.0));
    assert_eq!((snapshot.metrics.get(Metric::AddReqCount), deletes(&snapshot)), (Some(3.0), Some(30.0)));
    // One heals, the other goes on.
    let snapshot = helper.see(torn(95.0, 1));
    assert_eq!(deletes(&snapshot), Some(5.0));
}

#[test]
fn the_older_half_of_the_tombstones_is_given_up() {
    let mut tombstones = Tombstones::default();
    let at = |number: usize| UnixMillis(i64::try_from(number).unwrap());
    let note = |tombstones: &mut Tombstones, number: usize, last_scraped_at: UnixMillis| {
        tombstones.note(
            &PodUid::new(format!("uid-{number}")),
            Tombstone { last_scraped_at, process_start_seconds: Some(1.0) },
        );
        tombstones.shrink(usize::MAX);
    };
    for number in 0..tombstones::MOST_TOMBSTONES {
        note(&mut tombstones, number, at(number));
    }
    assert_eq!((tombstones.entries.len(), tombstones.given_up), (tombstones::MOST_TOMBSTONES, None));
    note(&mut tombstones, tombstones::MOST_TOMBSTONES, at(tombstones::MOST_TOMBSTONES));
    assert_eq!(
        (tombstones.entries.len(), tombstones.given_up),
        (tombstones::MOST_TOMBSTONES / 2, Some(at(tombstones::MOST_TOMBSTONES / 2)))
    );
    // The younger half keeps what is known of each pod.
    let pod = |number: usize| target(&format!("uid-{number}"), None);
    let mut taken = |number: usize| tombstones.take(&pod(number), UnixMillis(i64::MAX)).unwrap();
    let middle = tombstones::MOST_TOMBSTONES / 2;
    for (number, last_scraped_at, process_start_seconds) in [
        (0, at(middle), None),
        (middle, at(middle), None),
        (middle + 1, at(middle + 1), Some(1.0)),
        (tombstones::MOST_TOMBSTONES, at(tombstones::MOST_TOMBSTONES), Some(1.0)),
    ] {
        assert_eq!(taken(number), Tombstone { last_scraped_at, process_start_seconds }, "{number}");
    }
    // A whole cluster that left in one moment has no older half.
    let mut tombstones = Tombstones::default();
    for number in 0..=tombstones::MOST_TOMBSTONES {
        note(&mut tombstones, number, at(7));
    }
    assert!(tombstones.entries.len() <= tombstones::MOST_TOMBSTONES);
    assert_eq!(tombstones.given_up, Some(at(7)));
}

#[test]
fn a_small_cluster_has_few_tombstones_and_a_large_one_one_for_each_node() {
    let most = |nodes: usize| {
        let mut tombstones = Tombstones::default();
        for number in 0..20_000 {
            let last_scraped_at = UnixMillis(i64::from(number));
            tombstones.note(
                &PodUid::new(format!("uid-{number}")),
                Tombstone { last_scraped_at, process_start_seconds: None },
            );
            tombstones.shrink(nodes);
            if tombstones.given_up.is_some() {
                return usize::try_from(number).unwrap();
            }
        }
        usize::MAX
    };
    assert_eq!([0, 40, 5_000, 100_000].map(most), [2_048, 2_048, 5_000, 16_384]);
}

#[test]
fn each_implausible_value_is_one_finding_with_its_reason() {
    let page = |assigned: f64, held: f64| {
        let page = Page::old().with(Family::AssignedIpAddresses, assigned).with(Family::TotalIpAddresses, held);
        page.with(Family::IpMax, 896.0)
    };
    let (assigned, held) = (Family::AssignedIpAddresses, Family::TotalIpAddresses);
    let found = |page: Page| helper().see(page).anomalies;
    let reason = Implausibility::AssignedAboveHeld { assigned: 49.0, held: 46.0 };
    assert_eq!(found(page(49.0, 46.0)), [implausible(assigned, reason)], "the first of the pair");
    let reason = Implausibility::HeldAfterForcedRemoval { assigned: 49.0, held: 46.0 };
    assert_eq!(found(page(49.0, 46.0).with(Family::ForceRemovedEnis, 1.0)), [implausible(held, reason)]);
    assert_eq!(found(page(0.0, -18.0)), [implausible(held, Implausibility::NegativeHeld { value: -18.0 })]);
    assert_eq!(found(page(-1.0, 0.0)), [implausible(assigned, Implausibility::Negative { value: -1.0 })]);
    assert_eq!(found(page(0.0, 2e9)), [implausible(held, Implausibility::TooLarge { value: 2e9 })]);
    let snapshot = helper().see(page(0.0, 0.0));
    assert_eq!((on_node(&snapshot, Metric::TotalIpAddresses), snapshot.anomalies), (Some(0.0), vec![]));
}

#[test]
fn totals_of_counters_that_are_not_on_the_page_follow_the_agents_version() {
    let start = HelperStart { clock: UnixMillis(HELPER_START_S * 1000), api_server: None };
    let totals = |version: Option<AgentVersion>, page: Page| {
        let mut helper = Helper { aggregator: Aggregator::new(start, CounterMode::Totals), ..helper() };
        helper.agent.version = version;
        let snapshot = helper.see(page);
        [Metric::AddReqCount, Metric::DelReqCount, Metric::ForceRemoveEni].map(|metric| on_node(&snapshot, metric))
    };
    let page = || Page::old().adds(40.0);
    assert_eq!(totals(None, page()), [Some(40.0), None, None]);
    let version = Some(AgentVersion::new(1, 23, 1));
    assert_eq!(totals(version, page()), [Some(40.0), Some(0.0), None], "an unlabelled one is there or not known");
    assert_eq!(totals(version, page().with(Family::ForceRemovedEnis, 3.0)), [Some(40.0), Some(0.0), Some(3.0)]);
    assert_eq!(totals(version, page().damaged(Family::DelIpReqCount, 3.0)), [Some(40.0), None, None]);
}

#[test]
fn an_operation_that_is_missing_from_a_page_keeps_its_baseline_and_that_of_the_others() {
    let latency = |snapshot: Snapshot| snapshot.metrics.get(Metric::AwsApiLatency);
    let mut helper = helper();
    helper.see(Page::old().latency(A, 1000.0, 10.0).latency(B, 500.0, 10.0));
    assert_eq!(latency(helper.see(Page::old().latency(B, 580.0, 12.0))), Some(40.0));
    assert_eq!(latency(helper.see(Page::old().latency(B, 610.0, 13.0))), Some(30.0));
    assert_eq!(latency(helper.see(Page::old().latency(A, 1020.0, 12.0).latency(B, 610.0, 13.0))), Some(10.0));
}

#[test]
fn a_latency_whose_sum_or_count_went_down_has_no_mean() {
    let second = |sum_ms: f64, count: f64| {
        let mut helper = helper();
        helper.see(Page::old().latency(A, 1000.0, 10.0));
        let snapshot = helper.see(Page::old().latency(A, sum_ms, count));
        (snapshot.metrics.get(Metric::AwsApiLatency), snapshot.anomalies)
    };
    let decreased = |to: f64| {
        let node = NodeName::new("n");
        vec![Anomaly::CounterDecreased { node, family: Family::AwsApiLatencyMs, from: 10.0, to }]
    };
    assert_eq!(second(900.0, 12.0), (None, vec![]));
    assert_eq!(second(1100.0, 9.0), (None, decreased(9.0)));
    assert_eq!(second(900.0, 8.0), (None, decreased(8.0)));
    assert_eq!(second(1000.0, 10.0), (None, vec![]));
    assert_eq!(second(1000.0, 11.0), (Some(0.0), vec![]), "it took no time");
}

#[test]
fn a_pod_that_is_listed_twice_counts_once() {
    let outcomes = |first: Result<Page, FailureKind>, second: Result<Page, FailureKind>| {
        let snapshot = helper().round(vec![("u", first), ("u", second), ("v", Err(FailureKind::Timeout))]);
        let node = &snapshot.nodes[0];
        assert_eq!((node.uid.as_str(), snapshot.nodes.len()), ("u", 2));
        assert_eq!(snapshot.coverage.expected, 2);
        (node.failure, snapshot.coverage.scraped)
    };
    let (page, failed) = (|| Ok(Page::old().adds(1.0)), || Err(FailureKind::Timeout));
    assert_eq!(outcomes(failed(), failed()), (Some(FailureKind::Timeout), 0));
    assert_eq!(outcomes(failed(), page()), (None, 1), "its page stays");
    assert_eq!(outcomes(page(), failed()), (None, 1));
}
