//! Saved baselines: whole, small, and harmless when damaged.

use std::sync::Arc;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, BaselinesError, CounterMode, HelperStart};
use cni_metrics_core::model::{
    FamilySample, LatencySample, NodeName, NodeSample, Observation, PodUid, Snapshot, Target, UnixMillis,
};
use cni_types::catalogue::{Family, Metric};
use cni_types::ec2::Ec2Operation;

use crate::random::Random;

const START: HelperStart =
    HelperStart { clock: UnixMillis(1_767_225_600_000), api_server: Some(UnixMillis(1_767_225_600_400)) };

/// A page of an agent older than the helper, or of one started `late_seconds` after it.
fn observation(node: u32, adds: f64, late_seconds: Option<f64>) -> Observation {
    let process_start = START.clock.as_seconds() + late_seconds.unwrap_or(-90_000.0);
    let mut sample = NodeSample { process_start_seconds: Some(process_start), ..NodeSample::default() };
    sample.families[Family::AddIpReqCount as usize] = Some(FamilySample { sum: adds, ..FamilySample::default() });
    sample.families[Family::IpamdErrorCount as usize] =
        Some(FamilySample { sum: 1.0, damaged: node.is_multiple_of(3), readable: 0 });
    sample.families[Family::AwsApiLatencyMs as usize] = Some(FamilySample { sum: 812.5, ..FamilySample::default() });
    sample.has_latency_counts = true;
    for operation in
        [Ec2Operation::AssignPrivateIpAddresses, Ec2Operation::CreateNetworkInterface, Ec2Operation::DescribeInstances]
    {
        sample.latency[operation as usize] = Some(LatencySample { sum_ms: adds * 12.25, count: adds });
    }
    let target = Target {
        uid: PodUid::new(format!("5f0c9b8e-0b51-4b0e-9d3e-{node:012}")),
        node: NodeName::new(format!("ip-10-0-0-{node}")),
        created_at: None,
        labels: Arc::default(),
        agent: AgentFacts::default(),
    };
    Observation { target, expected: true, outcome: Ok(sample) }
}

fn cluster(nodes: u32) -> Aggregator {
    let mut aggregator = Aggregator::new(START, CounterMode::Increase);
    for adds in [40.0, 43.0] {
        aggregator.round(START.clock, (0..nodes).map(|node| observation(node, adds, None)).collect());
    }
    aggregator
}

fn adds(snapshot: &Snapshot) -> Option<f64> {
    snapshot.metrics.get(Metric::AddReqCount)
}

#[test]
fn the_next_round_of_another_process_is_that_of_this_one() {
    let before = cluster(3);
    let later = HelperStart { clock: UnixMillis(START.clock.0 + 600_000), api_server: None };
    let mut after = Aggregator::new(later, CounterMode::Increase);
    after.import(&before.export()).unwrap();
    // Node 0 went on, node 1 started again while no one looked, node 9 is new since then.
    let round = || vec![observation(0, 50.0, None), observation(1, 4.0, Some(300.0)), observation(9, 5.0, Some(200.0))];
    let snapshot = after.round(later.clock, round());
    let mut same = before;
    assert_eq!(snapshot, same.round(later.clock, round()));
    assert_eq!((adds(&snapshot), snapshot.totals.get(Metric::AddReqCount)), (Some(7.0 + 4.0 + 5.0), Some(25.0)));
}

#[test]
fn each_thing_that_is_known_of_a_node_is_saved_by_itself() {
    for (ipv6, latency_damaged, has_start, implausible) in (0..16).map(|n| (n & 1 > 0, n & 2 > 0, n & 4 > 0, n & 8 > 0))
    {
        let page = |calls: f64| {
            let mut own = observation(1, 40.0, None);
            let Ok(sample) = &mut own.outcome else { return own };
            let mut set = |family: Family, sum: f64, damaged: bool| {
                sample.families[family as usize] = Some(FamilySample { sum, damaged, readable: 0 });
            };
            set(Family::TotalIpAddresses, if ipv6 { 281_474_976_710_656.0 } else { 27.0 }, false);
            set(Family::AwsApiLatencyMs, 812.5, latency_damaged && calls < 50.0);
            set(Family::EniMax, if implausible { -1.0 } else { 4.0 }, false);
            sample.latency[Ec2Operation::CreateTags as usize] =
                Some(LatencySample { sum_ms: 9.0 * calls, count: calls });
            sample.process_start_seconds = sample.process_start_seconds.filter(|_| has_start);
            own
        };
        let mut before = Aggregator::new(START, CounterMode::Increase);
        before.round(START.clock, vec![page(40.0)]);
        let mut after = Aggregator::new(START, CounterMode::Increase);
        after.import(&before.export()).unwrap();
        assert_eq!(after.export(), before.export());
        for calls in [50.0, 60.0] {
            let [before, after] = [&mut before, &mut after].map(|own| own.round(START.clock, vec![page(calls)]));
            assert_eq!(before, after);
            assert_eq!(before.ipv6.nodes, u64::from(ipv6));
            let known = !(latency_damaged && calls < 60.0);
            assert_eq!(before.metrics.get(Metric::AwsApiLatency), known.then_some(9.0), "{ipv6} {latency_damaged}");
            assert_eq!(before.anomalies.len(), 0, "what cannot be was told before");
        }
    }
}

#[test]
fn a_node_takes_little_room() {
    let bytes = cluster(5_000).export().len();
    assert!(bytes < 5_000 * 160, "{bytes} bytes for 5,000 nodes");
}

#[test]
fn every_cut_is_an_error_that_changes_nothing() {
    let saved = cluster(4).export();
    let mut aggregator = cluster(2);
    let own = aggregator.export();
    for length in 0..saved.len() {
        assert!(aggregator.import(&saved[..length]).is_err(), "cut at {length}");
    }
    let longer = [saved.as_slice(), &[0]].concat();
    assert!(matches!(aggregator.import(&longer), Err(BaselinesError::Damaged(_))));
    assert_eq!(aggregator.import(&[9]), Err(BaselinesError::Version(9)));
    assert_eq!(aggregator.export(), own);
    aggregator.import(&saved).unwrap();
}

#[test]
fn damaged_bytes_never_panic_and_what_they_give_can_be_used() {
    let saved = cluster(4).export();
    let mut random = Random(11);
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut damaged = saved.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            [damaged[at], ..] = random.next().to_le_bytes();
        }
        let mut aggregator = Aggregator::new(START, CounterMode::Increase);
        if aggregator.import(&damaged).is_ok() {
            taken += 1;
            let snapshot = aggregator.round(START.clock, vec![observation(0, 50.0, None)]);
            assert!(adds(&snapshot).is_none_or(|adds| adds.is_finite() && adds >= 0.0));
        }
    }
    assert!(taken > 0, "no damage went unnoticed, so nothing was shown about what it gives");
}

/// Version 2 of the format, as earlier releases wrote it.
struct VersionTwo(Vec<u8>);

impl VersionTwo {
    fn varint(mut self, mut value: u64) -> Self {
        while value > 0x7F {
            self.0.push(0x80 | u8::try_from(value & 0x7F).unwrap());
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
        self
    }

    fn value(self, value: f64) -> Self {
        self.varint(value.to_bits().swap_bytes())
    }

    fn text(self, text: &str) -> Self {
        let mut out = self.varint(text.len() as u64);
        out.0.extend(text.as_bytes());
        out
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

/// FNV-1a of a name, which stands for an API.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// A cluster of one node with this `add_ip_req_count` and latencies, and this total.
fn version_two(total: f64, adds: f64) -> Vec<u8> {
    // An operation, and a call of the metadata service, which is no longer remembered.
    version_two_of(total, adds, &[("AssignPrivateIpAddresses", 40.0), ("GetMetadata", 400.0)])
}

/// The same with latencies of these APIs, by name and count.
fn version_two_of(total: f64, adds: f64, apis: &[(&str, f64)]) -> Vec<u8> {
    let at = START.clock.0.cast_unsigned();
    let mut out = VersionTwo(vec![2])
        .bytes(&[1])
        .bytes(&START.clock.0.to_le_bytes())
        .bytes(&[0])
        .bytes(&0_i64.to_le_bytes())
        .varint(17)
        .varint(1)
        .text("addReqCount")
        .value(total)
        .varint(1)
        .text("awscni_add_ip_req_count")
        .varint(1);
    // Its process start, the newest round, both times, and the counter.
    out = out.text("5f0c9b8e-0b51-4b0e-9d3e-000000000000").bytes(&[0b100]).value(START.clock.as_seconds() - 90_000.0);
    out = out.varint(17).varint(at).varint(at).bytes(&[1]).value(adds);
    out = out.varint(apis.len() as u64);
    for (api, count) in apis {
        out = out.bytes(&fnv(api).to_le_bytes()).value(count * 12.25).value(*count);
    }
    // Nothing was given up; one pod was forgotten.
    out = out.bytes(&[0]).bytes(&0_i64.to_le_bytes()).varint(1);
    out.bytes(&fnv("5f0c9b8e-0b51-4b0e-9d3e-000000000009").to_le_bytes()).varint(at).0
}

#[test]
fn version_two_is_read() {
    let later = HelperStart { clock: UnixMillis(START.clock.0 + 600_000), api_server: None };
    let mut aggregator = Aggregator::new(later, CounterMode::Increase);
    aggregator.import(&version_two(25.0, 40.0)).unwrap();
    // Node 0 went on; node 9 was forgotten, and its process is the old one.
    let snapshot = aggregator.round(later.clock, vec![observation(0, 50.0, None), observation(9, 5.0, None)]);
    assert_eq!((adds(&snapshot), snapshot.totals.get(Metric::AddReqCount)), (Some(10.0), Some(35.0)));
    assert_eq!((snapshot.round, snapshot.anomalies.len()), (18, 0));
    assert_eq!(snapshot.metrics.get(Metric::AwsApiLatency), Some(12.25), "the vanished call is no restart");
}

#[test]
fn what_one_node_spoilt_in_version_two_costs_only_that() {
    let mut aggregator = Aggregator::new(START, CounterMode::Increase);
    aggregator.import(&version_two(1e300, 1e300)).unwrap();
    let snapshot = aggregator.round(START.clock, vec![observation(0, 50.0, None)]);
    assert_eq!((adds(&snapshot), snapshot.totals.get(Metric::AddReqCount)), (Some(0.0), Some(0.0)));
    let snapshot = aggregator.round(START.clock, vec![observation(0, 53.0, None)]);
    assert_eq!((adds(&snapshot), snapshot.totals.get(Metric::AddReqCount)), (Some(3.0), Some(3.0)));
    assert_eq!(aggregator.import(&[1]), Err(BaselinesError::Version(1)));
}

#[test]
fn as_many_apis_as_a_node_was_ever_saved_with_are_read_and_no_more() {
    let names: Vec<String> = (0..513).map(|number| format!("Api{number}")).collect();
    let apis: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    let mut aggregator = Aggregator::new(START, CounterMode::Increase);
    aggregator.import(&version_two_of(25.0, 40.0, &apis[..512])).unwrap();
    assert_eq!(aggregator.known_nodes(), 1);
    let refused = aggregator.import(&version_two_of(25.0, 40.0, &apis));
    assert_eq!(refused, Err(BaselinesError::Damaged("more APIs than were ever saved")));
}
