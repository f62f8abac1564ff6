//! What must hold of any bytes given to the reader. The fuzz target and the stable tests share it.

use std::sync::Arc;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::labels::{MAX_GROWTH_SETS, MAX_PAGE_SETS};
use cni_metrics_core::model::{
    LARGEST_COUNT, LATEST_START_SECONDS, NodeName, NodeSample, Observation, PodUid, Target, UnixMillis,
};
use cni_metrics_core::parse::{MAX_LINE_ERRORS, Parsed, parse};
use cni_types::catalogue::{Family, Kind, LabelledFamily};

/// Panics unless the reader treats the page soundly.
pub fn check_page(page: &[u8]) {
    let parsed = parse(page);
    check_errors(page, &parsed);
    if let Ok(sample) = &parsed.sample {
        check_sample(sample);
        check_aggregate(sample);
        check_slow_path(page, &parsed);
    }
}

fn check_errors(page: &[u8], parsed: &Parsed) {
    assert!(parsed.errors.len() <= MAX_LINE_ERRORS);
    assert_eq!(parsed.errors.len() as u64, parsed.error_count.min(MAX_LINE_ERRORS as u64));
    let lines = page.split(|byte| *byte == b'\n').count();
    assert!(parsed.errors.windows(2).all(|pair| pair[0].line < pair[1].line), "one error a line, in page order");
    for error in &parsed.errors {
        assert!(error.line >= 1 && error.line as usize <= lines);
        assert!(error.excerpt.len() <= 1000 && !error.excerpt.contains(char::is_control), "{}", error.excerpt);
    }
}

fn check_sample(sample: &NodeSample) {
    for family in Family::ALL {
        let Some(own) = sample.get(family) else { continue };
        assert!(own.sum.is_finite());
        assert!((0.0..=LARGEST_COUNT).contains(&own.sum) || family.kind() == Kind::SumGauge, "{}", family.name());
        assert!(own.readable == 0 || (own.damaged && family.is_counter()), "{}", family.name());
    }
    for own in sample.latency.iter().flatten() {
        assert!((0.0..=LARGEST_COUNT).contains(&own.sum_ms) && (0.0..=LARGEST_COUNT).contains(&own.count));
    }
    for labelled in LabelledFamily::ALL {
        let of_family = sample.labels.iter().filter(|set| set.family() == labelled);
        let by_label = of_family.map(|set| set.value).sum::<u64>() + sample.labels.beyond(labelled);
        let sum = sample.get(labelled.family()).map_or(0.0, |own| own.sum);
        assert!(by_label as f64 <= sum, "{labelled:?}: {by_label} of {sum}");
    }
    assert!(sample.labels.len() <= 2 * MAX_PAGE_SETS + MAX_GROWTH_SETS);
    assert!(sample.labels.iter().all(|set| set.labels().all(|(_, value)| !value.contains(char::is_control))));
    assert!(sample.process_start_seconds.is_none_or(|start| (0.0..=LATEST_START_SECONDS).contains(&start)));
}

/// The same page twice: everything published is a number, and nothing happened in between. Only what the page has is
/// measured, and an absent labelled counter where the page tells that the agent has it.
fn check_aggregate(sample: &NodeSample) {
    let start = HelperStart { clock: UnixMillis(0), api_server: None };
    let mut aggregator = Aggregator::new(start, CounterMode::Increase);
    let mut round = || {
        let (uid, node) = (PodUid::new("u"), NodeName::new("n"));
        let target = Target { uid, node, created_at: None, labels: Arc::default(), agent: AgentFacts::default() };
        let observation = Observation { target, expected: true, outcome: Ok(sample.clone()) };
        aggregator.round(UnixMillis(0), vec![observation])
    };
    let first = round();
    assert!(first.metrics.iter().all(|(_, value)| value.is_finite()));
    let second = round();
    for family in Family::COUNTERS {
        let expected = match sample.get(family) {
            Some(own) => (!own.damaged).then_some(0.0),
            None => second.metrics.get(family.metric()).filter(|_| !family.is_plain_counter()),
        };
        assert_eq!(second.metrics.get(family.metric()), expected, "{}", family.name());
        assert!(expected.is_none_or(|value| value.total_cmp(&0.0).is_eq()), "{}", family.name());
    }
    assert!(second.anomalies.is_empty(), "{:?}", second.anomalies);
    assert_eq!(second.breakdown.shares, []);
    let mut look = Aggregator::new(start, CounterMode::Totals);
    let (uid, node) = (PodUid::new("u"), NodeName::new("n"));
    let target = Target { uid, node, created_at: None, labels: Arc::default(), agent: AgentFacts::default() };
    let totals = look.round(UnixMillis(0), vec![Observation { target, expected: true, outcome: Ok(sample.clone()) }]);
    for labelled in LabelledFamily::ALL {
        let shares = totals.nodes.iter().flat_map(|node| &node.shares);
        let sum = shares.filter(|share| share.set.family() == labelled).fold(0.0, |sum, share| sum + share.value);
        let value = totals.metrics.get(labelled.family().metric()).unwrap_or(0.0);
        assert!(sum.total_cmp(&value).is_eq(), "{labelled:?}: {sum} of {value}");
    }
}

/// Two series out of order make the reader remember every series; what it reads must not change.
fn check_slow_path(page: &[u8], fast: &Parsed) {
    let out_of_order = b"awscni_pod_eni_error_count{fn=\"~~b\"} 0\nawscni_pod_eni_error_count{fn=\"~~a\"} 0\n";
    let has_them = page.windows(8).any(|window| window == b"fn=\"~~a\"" || window == b"fn=\"~~b\"");
    if has_them || page.starts_with(b"\xEF\xBB\xBF") {
        return;
    }
    let slow = parse(&[out_of_order, page].concat());
    let (Ok(mut expected), Ok(mut found)) = (fast.sample.clone(), slow.sample.clone()) else {
        panic!("readable only in one way: {:?}", slow.sample);
    };
    for sample in [&mut expected, &mut found] {
        // The series that were put in front are readable ones.
        sample.families[Family::PodEniErrorCount as usize].get_or_insert_default().readable = 0;
    }
    assert_eq!(found, expected);
    assert_eq!(slow.error_count, fast.error_count);
    for (slow, fast) in slow.errors.iter().zip(&fast.errors) {
        assert_eq!((slow.line - 2, slow.kind, &slow.excerpt), (fast.line, fast.kind, &fast.excerpt));
    }
}
