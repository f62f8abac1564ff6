//! The shares of a counter's value, rule by rule, with `reconcile_count` of which the label `fn` is kept.

use std::fmt::Write as _;

use super::*;
use crate::labels::{
    LabelNames, LabelShare, MAX_GROWTH_SETS, MAX_PAGE_SETS, MAX_SHARED_SETS, RESERVED_GROWTH_SETS, Rest,
};
use crate::parse::parse;

/// A page of a process that was watched from its start, with these series.
fn young(series: &[(&str, u64)]) -> Page {
    page(HELPER_START_S + 60, series)
}

fn page(started_s: i64, series: &[(&str, u64)]) -> Page {
    let mut text = format!("awscni_add_ip_req_count 7\nprocess_start_time_seconds {started_s}\n");
    for (name, value) in series {
        writeln!(text, "awscni_reconcile_count{{fn=\"{name}\"}} {value}").unwrap();
    }
    Page(parse(text.as_bytes()).sample.unwrap())
}

/// A page of a process that is older than the helper.
fn old(series: &[(&str, u64)]) -> Page {
    page(HELPER_START_S - 500, series)
}

/// The same, on which another line of the family cannot be read.
fn spoilt(series: &[(&str, u64)]) -> Page {
    let mut page = old(series);
    if let Some(own) = page.0.families[Family::ReconcileCount as usize].as_mut() {
        (own.damaged, own.readable) = (true, 1);
    }
    page
}

/// The shares of the node's `reconcile_count`, by the value of `fn` or the name of the rest.
fn shares(snapshot: &Snapshot) -> Vec<(&str, f64)> {
    named(&snapshot.nodes[0].shares)
}

fn named(shares: &[LabelShare]) -> Vec<(&str, f64)> {
    let name = |share: &LabelShare| share.set.rest().map(Rest::name);
    shares.iter().map(|share| (share.set.label("fn").or(name(share)).unwrap_or_default(), share.value)).collect()
}

#[test]
fn a_label_set_that_vanished_from_a_whole_page_counts_from_0_when_it_comes_back() {
    let mut helper = helper();
    assert_eq!(shares(&helper.see(young(&[("a", 5), ("b", 5)]))), [("a", 5.0), ("b", 5.0)]);
    // The family rose by 2, so no more than that is a share, and nothing counts twice.
    assert_eq!(shares(&helper.see(young(&[("b", 12)]))), [("b", 2.0)]);
    assert_eq!(shares(&helper.see(young(&[("a", 3), ("b", 12)]))), [("a", 3.0)]);
    // The last in order vanishes as any other.
    assert_eq!(shares(&helper.see(young(&[("a", 16)]))), [("a", 1.0)]);
    assert_eq!(shares(&helper.see(young(&[("a", 16), ("b", 4)]))), [("b", 4.0)]);
}

#[test]
fn a_series_knows_when_it_last_increased_since_it_was_first_seen() {
    let mut helper = helper();
    let series = |helper: &Helper| {
        let of = |series: LabelSeries| (series.count, series.last_increase);
        helper.aggregator.label_series(&PodUid::new("u")).map(of).collect::<Vec<_>>()
    };
    helper.see(old(&[("a", 5), ("b", 6)]));
    assert_eq!(series(&helper), [(5, None), (6, None)], "baselines");
    helper.now_s = 60;
    helper.see(old(&[("a", 7), ("b", 6)]));
    let at = UnixMillis((HELPER_START_S + 60) * 1000);
    assert_eq!(series(&helper), [(7, Some(at)), (6, None)]);
    helper.now_s = 90;
    helper.see(old(&[("a", 7), ("b", 6)]));
    assert_eq!(series(&helper), [(7, Some(at)), (6, None)]);
    assert_eq!(helper.aggregator.label_series(&PodUid::new("another")).count(), 0);
}

#[test]
fn shares_of_a_family_that_stays_damaged_are_taken_once() {
    let mut helper = helper();
    helper.see(old(&[("a", 10), ("b", 20)]));
    // The third damaged page is the first with a value: 4 since the first one.
    for (count, expected) in [(11, vec![]), (12, vec![]), (15, vec![("a", 4.0)]), (16, vec![("a", 1.0)])] {
        assert_eq!(shares(&helper.see(spoilt(&[("a", count)]))), expected);
    }
    // Of 41, the family counted 35; a had 15 of its 16.
    assert_eq!(shares(&helper.see(old(&[("a", 16), ("b", 25)]))), [("a", 1.0), ("b", 5.0)]);
}

#[test]
fn a_label_set_that_is_new_to_a_damaged_family_has_its_share() {
    for first in [1, 2, 5] {
        let mut helper = helper();
        helper.see(old(&[("a", 10), ("b", 20)]));
        helper.see(spoilt(&[("a", 10), ("c", first)]));
        assert_eq!(shares(&helper.see(spoilt(&[("a", 10), ("c", first)]))), []);
        assert_eq!(shares(&helper.see(spoilt(&[("a", 10), ("c", first + 1)]))), [("c", 1.0)], "{first}");
        let rest = first as f64;
        assert_eq!(shares(&helper.see(old(&[("a", 10), ("b", 20), ("c", first + 1)]))), [("c", rest)], "{first}");
    }
}

#[test]
fn a_family_that_was_damaged_from_the_start_has_no_shares_until_it_is_whole() {
    let mut helper = helper();
    for (count, expected) in [(10, vec![]), (12, vec![]), (15, vec![("unattributed", 5.0)])] {
        assert_eq!(shares(&helper.see(spoilt(&[("a", count)]))), expected);
    }
    assert_eq!(shares(&helper.see(old(&[("a", 20)]))), [], "a baseline");
    assert_eq!(shares(&helper.see(old(&[("a", 23)]))), [("a", 3.0)]);
}

#[test]
fn the_breakdown_lists_errors_before_work_and_then_the_largest_first() {
    let text = format!(
        "awscni_add_ip_req_count 7\nawscni_ipamd_error_count{{fn=\"one\"}} 1\nawscni_ipamd_error_count{{fn=\"two\"}} 2\n\
         awscni_reconcile_count{{fn=\"few\"}} 50\nawscni_reconcile_count{{fn=\"many\"}} 70\n\
         process_start_time_seconds {}\n",
        HELPER_START_S + 60
    );
    let snapshot = helper().see(Page(parse(text.as_bytes()).sample.unwrap()));
    let expected = [("two", 2.0), ("one", 1.0), ("many", 70.0), ("few", 50.0)];
    assert_eq!(named(&snapshot.breakdown.shares), expected);
}

#[test]
fn a_label_set_of_a_family_that_a_whole_page_lacked_counts_from_0() {
    let second = |first: Page| {
        let mut helper = helper();
        helper.see(first);
        shares(&helper.see(old(&[("a", 3)])))
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        second(old(&[])),
        [("a".to_owned(), 3.0)],
        "an agent shows a counter with labels from its first event on"
    );
    // A page that lost lines may have lost these.
    let mut torn = old(&[]);
    torn.0.has_lost_lines = true;
    assert_eq!(second(torn), []);
    // So may one on which not even the counters without labels are.
    assert_eq!(second(Page::old()), []);
}

#[test]
fn a_family_that_is_absent_moves_no_other_familys_baselines() {
    let mut helper = helper();
    let page = |reconciles: &[(&str, u64)], errors: u64| {
        let mut text = format!("awscni_add_ip_req_count 7\nprocess_start_time_seconds {}\n", HELPER_START_S - 500);
        for (name, value) in reconciles {
            writeln!(text, "awscni_reconcile_count{{fn=\"{name}\"}} {value}").unwrap();
        }
        writeln!(text, "awscni_ipamd_error_count{{fn=\"e\"}} {errors}").unwrap();
        Page(parse(text.as_bytes()).sample.unwrap())
    };
    helper.see(page(&[], 5));
    assert_eq!(shares(&helper.see(page(&[("a", 2)], 6))), [("e", 1.0), ("a", 2.0)]);
}

#[test]
fn label_sets_in_use_keep_their_series_when_there_is_no_room_for_more() {
    let mut helper = helper();
    helper.aggregator.names = LabelNames::with_room(2);
    helper.see(young(&[("a", 5), ("b", 6)]));
    assert_eq!(shares(&helper.see(young(&[("a", 7), ("b", 6)]))), [("a", 2.0)]);
    let uid = PodUid::new("u");
    let series = helper.aggregator.label_series(&uid);
    assert_eq!(series.map(|series| series.count).collect::<Vec<_>>(), [7, 6]);
    // Another process does not use them any more, which shows at the beginning of the next round.
    assert_eq!(shares(&helper.see(page(HELPER_START_S + 500, &[("c", 1)]))), [("other", 1.0)]);
    assert_eq!(shares(&helper.see(page(HELPER_START_S + 900, &[("c", 2)]))), [("c", 2.0)]);
}

/// A page of a process that began this number of seconds after the helper, with errors of APIs by which a node gets more
/// addresses: 100 of each code, which are numbered.
fn growth_errors(started_s: i64, apis: &[&str], codes: usize) -> Page {
    let started_s = HELPER_START_S + started_s;
    let mut text = format!("awscni_add_ip_req_count 7\nprocess_start_time_seconds {started_s}\n");
    for api in apis {
        for code in 0..codes {
            writeln!(text, "awscni_aws_api_error_count{{api=\"{api}\",error=\"E{code:04}\"}} 100").unwrap();
        }
    }
    Page(parse(text.as_bytes()).sample.unwrap())
}

/// The labels of growth APIs in the pages of all agent versions, and how many codes each may have at a node.
fn growth_labels() -> (Vec<String>, usize) {
    let operations = Ec2Operation::ALL.into_iter().filter(|operation| operation.is_growth());
    let names: Vec<_> = operations.flat_map(|one| [Some(one.name()), one.former_name()]).flatten().collect();
    let labels: Vec<_> = names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}WithContext")]).collect();
    let codes = MAX_GROWTH_SETS / labels.len();
    (labels, codes)
}

#[test]
fn label_sets_of_growth_apis_all_keep_their_series() {
    let (labels, codes) = growth_labels();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    assert!(codes >= 100, "{codes} codes for each of {labels:?}");
    let snapshot = helper().see(growth_errors(60, &labels, codes));
    let node = &snapshot.nodes[0];
    assert_eq!((node.shares.len(), node.labels_overflowed), (labels.len() * codes, false));
    assert!(node.shares.iter().all(|share| share.set.is_growth_error() && share.value.total_cmp(&100.0).is_eq()));
    // What a page has beyond is counted, and the node says so.
    let snapshot = helper().see(growth_errors(60, &labels, codes + 1));
    let node = &snapshot.nodes[0];
    assert_eq!((node.shares.len(), node.labels_overflowed), (MAX_GROWTH_SETS + 1, true));
    let sum = node.shares.iter().map(|share| share.value).sum::<f64>();
    assert!(sum.total_cmp(&((100 * labels.len() * (codes + 1)) as f64)).is_eq());
    let other = node.shares.iter().find(|share| share.set.rest() == Some(Rest::Other)).unwrap();
    assert!(other.value.total_cmp(&((100 * (labels.len() * (codes + 1) - MAX_GROWTH_SETS)) as f64)).is_eq());
}

#[test]
fn made_up_codes_of_many_nodes_take_no_room_that_another_node_needs() {
    let (labels, codes) = growth_labels();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let all = growth_errors(60, &labels, codes);
    // As many nodes as have room for all of theirs, one that finds less, and one with what each node has room for.
    let full = MAX_SHARED_SETS / (labels.len() * codes - RESERVED_GROWTH_SETS);
    let uids: Vec<String> = (0..full + 2).map(|number| format!("u{number:03}")).collect();
    let round = |helper: &mut Helper, page: &dyn Fn(usize) -> Page| {
        helper.round(uids.iter().enumerate().map(|(number, uid)| (uid.as_str(), Ok(page(number)))).collect())
    };
    let mut helper = helper();
    let usual = || growth_errors(60, &labels[..2], RESERVED_GROWTH_SETS / 2);
    let snapshot = round(&mut helper, &|number| if number == full + 1 { usual() } else { all.clone() });
    let overflowed: Vec<_> = snapshot.nodes.iter().map(|node| node.labels_overflowed).collect();
    assert_eq!(overflowed, (0..full + 2).map(|number| number == full).collect::<Vec<_>>());
    assert_eq!(snapshot.nodes[full + 1].shares.len(), RESERVED_GROWTH_SETS);
    assert_eq!(helper.aggregator.names.shared(), MAX_SHARED_SETS);
    // Their processes end, and with them what they took.
    round(&mut helper, &|_| growth_errors(300, &labels[..1], 1));
    let again = growth_errors(900, &labels, codes);
    let snapshot = round(&mut helper, &|number| if number == full { again.clone() } else { usual() });
    assert!(!snapshot.nodes[full].labels_overflowed, "{:?}", helper.aggregator.names.shared());
}

/// A room that was full stays closed until the agent's restart, also when there is room again.
#[test]
fn label_sets_count_under_other_until_the_restart_once_there_was_no_room() {
    let api = |started_s: i64, codes: &[&str]| {
        let started_s = HELPER_START_S + started_s;
        let mut text = format!("awscni_add_ip_req_count 7\nprocess_start_time_seconds {started_s}\n");
        for code in codes {
            writeln!(text, "awscni_aws_api_error_count{{api=\"CreateTags\",error=\"{code}\"}} 3").unwrap();
        }
        Page(parse(text.as_bytes()).sample.unwrap())
    };
    let functions = |started_s: i64, names: &[&str]| {
        page(HELPER_START_S + started_s, &names.iter().map(|name| (*name, 3)).collect::<Vec<_>>())
    };
    for page in [&api as &dyn Fn(i64, &[&str]) -> Page, &functions] {
        let mut helper = helper();
        helper.aggregator.names = LabelNames::with_room(2);
        let rests = |snapshot: &Snapshot| {
            snapshot.nodes.iter().flat_map(|node| &node.shares).map(|share| share.set.rest()).collect::<Vec<_>>()
        };
        let both = |helper: &mut Helper, first: Page, second: Page| {
            rests(&helper.round(vec![("u", Ok(first)), ("v", Ok(second))]))
        };
        assert_eq!(both(&mut helper, page(60, &["a", "b"]), page(60, &["c"])), [None, None, Some(Rest::Other)]);
        // The other node's new process has none of them.
        assert_eq!(both(&mut helper, page(300, &[]), page(60, &["c"])), []);
        assert_eq!(both(&mut helper, page(300, &[]), page(60, &["c", "d"])), [Some(Rest::Other)]);
        assert_eq!(both(&mut helper, page(300, &[]), page(600, &["c", "d"])), [None, None]);
    }
}

#[test]
fn a_label_set_that_is_new_to_a_damaged_family_has_a_series_only_if_the_family_counted() {
    let mut helper = helper();
    helper.see(old(&[("a", 10), ("b", 20)]));
    helper.see(spoilt(&[("a", 10)]));
    helper.see(spoilt(&[("a", 10)]));
    let names = |helper: &Helper| {
        let name = |series: LabelSeries| series.set.label("fn").unwrap_or_default().to_owned();
        helper.aggregator.label_series(&PodUid::new("u")).map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&helper), ["a", "b"]);
    // The family counted 2 since the page before.
    assert_eq!(shares(&helper.see(spoilt(&[("a", 10), ("c", 2)]))), [("c", 2.0)]);
    assert_eq!(names(&helper), ["a", "b", "c"]);
    // It counted nothing, so what d shows is no event of this round.
    assert_eq!(shares(&helper.see(spoilt(&[("a", 10), ("d", 2)]))), []);
    assert_eq!(names(&helper), ["a", "b", "c"]);
}

/// A label set of which the page's sample has no room is on the page all the same: its baseline stays.
#[test]
fn a_label_set_beyond_the_samples_limit_keeps_its_baseline() {
    let crowd: Vec<String> = (0..2 * MAX_PAGE_SETS).map(|number| format!("a{number:04}")).collect();
    let crowded = |count: u64, last: (&'static str, u64), is_last_first: bool| {
        let mut series: Vec<_> = crowd.iter().map(|name| (name.as_str(), count)).collect();
        series.insert(if is_last_first { 0 } else { series.len() }, last);
        old(&series)
    };
    let mut helper = helper();
    helper.see(old(&[("z", 100)]));
    helper.see(crowded(1, ("z", 100), false));
    // In the sample again, before those that rise.
    let snapshot = helper.see(crowded(2, ("z", 100), true));
    let of_z = shares(&snapshot).into_iter().filter(|(name, _)| *name == "z").collect::<Vec<_>>();
    assert_eq!(of_z, [], "it did not rise");
    // Of the 961 events without a series, the page before had counted 100 of z among the others.
    let rests = shares(&snapshot).into_iter().filter(|(name, _)| !name.starts_with('a')).collect::<Vec<_>>();
    assert_eq!(rests, [("other", 861.0), ("unattributed", 100.0)]);
}
