//! Pages of thirteen versions of the agent, built from the families, types and labels that each has: what each measures, and
//! what it cannot know.
//!
//! All show the same node. Those up to 1.7 have quantiles of the latencies; those before 1.10 no label `status`; 1.4 and 1.9
//! have names of their own for one family each.

use std::sync::Arc;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{NodeName, NodeSample, Observation, PodUid, Snapshot, Target, UnixMillis};
use cni_metrics_core::parse::parse;
use cni_types::catalogue::{Family, Metric};
use cni_types::version::AgentVersion;

/// The node, as an agent that has every family shows it.
const NUMBERS: [(Metric, f64); 21] = [
    (Metric::AssignIpAddresses, 11.0),
    (Metric::TotalIpAddresses, 18.0),
    (Metric::TotalIpv4Prefixes, 0.0),
    (Metric::TotalAssignedIpv4sPerCidr, 11.0),
    (Metric::EniAllocated, 2.0),
    (Metric::EniMaxAvailable, 3.0),
    (Metric::MaxIpAddresses, 27.0),
    (Metric::IpamdActionInProgress, 1.0),
    // Two attachments in 1,480 ms. The metadata service answered 412 times, and does not count.
    (Metric::AwsApiLatency, 740.0),
    (Metric::AwsApiErr, 6.0),
    (Metric::AwsUtilErr, 2.0),
    (Metric::IpamdErr, 3.0),
    (Metric::ReconcileCount, 5.0),
    (Metric::AddReqCount, 143.0),
    (Metric::DelReqCount, 132.0),
    (Metric::PodEniErr, 1.0),
    (Metric::ForceRemoveEni, 0.0),
    (Metric::ForceRemoveIps, 0.0),
    (Metric::Ec2ApiReqCount, 16.0),
    (Metric::Ec2ApiErrCount, 6.0),
    (Metric::NoAvailableIpAddresses, 9.0),
];

const BEFORE_1_16: &[Metric] = &[Metric::NoAvailableIpAddresses];
const BEFORE_1_12_1: &[Metric] = &[Metric::NoAvailableIpAddresses, Metric::Ec2ApiReqCount, Metric::Ec2ApiErrCount];
const BEFORE_1_9: &[Metric] = &[
    Metric::NoAvailableIpAddresses,
    Metric::Ec2ApiReqCount,
    Metric::Ec2ApiErrCount,
    Metric::TotalIpv4Prefixes,
    Metric::TotalAssignedIpv4sPerCidr,
];
const BEFORE_1_7: &[Metric] = &[
    Metric::NoAvailableIpAddresses,
    Metric::Ec2ApiReqCount,
    Metric::Ec2ApiErrCount,
    Metric::TotalIpv4Prefixes,
    Metric::TotalAssignedIpv4sPerCidr,
    Metric::PodEniErr,
];
const BEFORE_1_6: &[Metric] = &[
    Metric::NoAvailableIpAddresses,
    Metric::Ec2ApiReqCount,
    Metric::Ec2ApiErrCount,
    Metric::TotalIpv4Prefixes,
    Metric::TotalAssignedIpv4sPerCidr,
    Metric::PodEniErr,
    Metric::ForceRemoveEni,
    Metric::ForceRemoveIps,
];

/// Version, page, and what agents of the version cannot know.
type AgentPage = (&'static str, &'static str, &'static [Metric]);

macro_rules! page {
    ($version:literal, $unknown:expr) => {
        ($version, include_str!(concat!("../data/agent_", $version, ".prom")), $unknown)
    };
}

const PAGES: [AgentPage; 13] = [
    page!("v1.4.0", BEFORE_1_6),
    page!("v1.5.7", BEFORE_1_6),
    page!("v1.6.3", BEFORE_1_7),
    page!("v1.7.10", BEFORE_1_9),
    page!("v1.9.3", BEFORE_1_12_1),
    page!("v1.10.2", BEFORE_1_12_1),
    page!("v1.11.4", BEFORE_1_12_1),
    page!("v1.12.6", BEFORE_1_16),
    page!("v1.14.1", BEFORE_1_16),
    page!("v1.18.6", &[]),
    page!("v1.19.0", &[]),
    page!("v1.21.1", &[]),
    page!("v1.23.1", &[]),
];

fn sample(page: &str) -> NodeSample {
    let parsed = parse(page.as_bytes());
    assert_eq!(parsed.errors, []);
    parsed.sample.unwrap()
}

/// One look at a page, counters since the agent's start.
fn look(sample: NodeSample, version: Option<AgentVersion>) -> Snapshot {
    let start = HelperStart { clock: UnixMillis(0), api_server: None };
    let target = Target {
        uid: PodUid::new("u"),
        node: NodeName::new("n"),
        created_at: None,
        labels: Arc::default(),
        agent: AgentFacts { version, ..AgentFacts::default() },
    };
    let observation = Observation { target, expected: true, outcome: Ok(sample) };
    Aggregator::new(start, CounterMode::Totals).round(UnixMillis(0), vec![observation])
}

#[test]
fn each_versions_page_gives_the_nodes_numbers_and_no_zero_for_what_it_cannot_know() {
    for (version, page, unknown) in PAGES {
        let snapshot = look(sample(page), None);
        for (metric, value) in NUMBERS {
            let expected = (!unknown.contains(&metric)).then_some(value);
            assert_eq!(snapshot.metrics.get(metric), expected, "{version} {metric}");
            assert_eq!(snapshot.coverage.reporting.get(&metric).copied(), expected.is_none().then_some(0), "{version}");
        }
        assert_eq!((snapshot.coverage.damaged, snapshot.coverage.implausible), (0, 0), "{version}");
    }
}

/// The same pages without their labelled counters, as agents show them that have counted nothing yet.
#[test]
fn labelled_counters_that_are_not_there_yet_are_0_as_far_as_the_agent_has_them() {
    for (text, page, unknown) in PAGES {
        let mut quiet = sample(page);
        for family in Family::COUNTERS.into_iter().filter(|family| !family.is_plain_counter()) {
            quiet.families[family as usize] = None;
        }
        let by_image = look(quiet.clone(), AgentVersion::parse(text));
        let alone = look(quiet, None);
        for family in Family::COUNTERS.into_iter().filter(|family| !family.is_plain_counter()) {
            let metric = family.metric();
            let expected = (!unknown.contains(&metric)).then_some(0.0);
            assert_eq!(by_image.metrics.get(metric), expected, "{text} {metric}");
            // The page itself tells its version by what came with 1.16, or by build_info.
            let told = unknown.is_empty().then_some(0.0);
            assert_eq!(alone.metrics.get(metric), told, "{text} {metric}");
        }
    }
}

#[test]
fn the_newest_agents_name_their_version() {
    for (text, page, _) in PAGES {
        let told = text.starts_with("v1.2").then(|| text.to_owned());
        assert_eq!(sample(page).version.map(|version| version.to_string()), told, "{text}");
    }
}
