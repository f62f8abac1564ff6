//! What is remembered of many nodes, bytes.

use cni_insight::catalogue::FindingId;
use cni_insight::evidence::{
    AgentEvidence, Counting, Environment, LabelCount, NodeEvidence, NodeStatus, PageEvidence, RoundFacts, SourceState,
    Sources,
};
use cni_insight::finding::Conclusion;
use cni_insight::insight::Insight;
use cni_insight::mute::Mutes;
use cni_types::catalogue::LabelledFamily;
use cni_types::version::AgentVersion;
use peak_alloc::PeakAlloc;

/// It counts for the whole process, so this test has a process of its own.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Of a power of two and less than seven eighths of it: a table of nodes is neither just grown nor as full as it gets.
const NODES: usize = 25_000;
const MIB: usize = 1 << 20;

/// What a node's page is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Calm,
    Dry,
    Full,
    Old,
    Silent,
}

fn uid(number: usize) -> String {
    format!("{number:08x}-89ab-4cde-8123-456789abcdef")
}

fn round(insight: &mut Insight, number: i64, state: State) -> Conclusion {
    let present = SourceState::Present { age_ms: 0 };
    let facts = RoundFacts {
        at_ms: 1_767_225_600_000 + number * 30_000,
        interval_ms: 30_000,
        counting: Counting::Increases,
        sources: Sources { agent_pods: present, nodes: present, ..Sources::default() },
        daemon_set: None,
    };
    let environment: Environment<'_> = &[("WARM_ENI_TARGET".into(), "1".into())];
    let counts = [
        (LabelledFamily::AwsApiErrorCount, "CreateNetworkInterface", "InsufficientFreeAddressesInSubnet"),
        (LabelledFamily::AwsApiErrorCount, "AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet"),
        (LabelledFamily::IpamdErrorCount, "increaseIPPoolAllocENIFailed", ""),
    ];
    let counts = counts.map(|(family, first, second)| LabelCount { family, first, second, value: 2.0 });
    let is_refusing = matches!(state, State::Dry | State::Full);
    let (assigned, held) = match state {
        State::Full => (27.0, 27.0),
        State::Dry => (18.0, 18.0),
        _ => (10.0, 18.0),
    };
    let mut round = insight.begin(facts);
    for node in 0..NODES {
        let page = PageEvidence {
            counts_refusals: Some(state != State::Old),
            assigned: Some(assigned),
            held: Some(held),
            most: Some(27.0),
            usable: Some(27),
            enis: Some(2.0),
            in_progress: Some(0.0),
            refused: (state != State::Old).then_some(if is_refusing { 3.0 } else { 0.0 }),
            requests: Some(5.0),
            forced_enis: Some(0.0),
            forced_addresses: Some(0.0),
            counts: if state == State::Dry { &counts } else { &[] },
            ..PageEvidence::default()
        };
        let (uid, name) = (uid(node), format!("ip-10-{}-{}-1.ec2.internal", node / 256, node % 256));
        let group = ["general-a", "general-b", "batch"][node % 3];
        let version = if state == State::Old { AgentVersion::new(1, 12, 6) } else { AgentVersion::new(1, 23, 2) };
        round.observe(&NodeEvidence {
            uid: &uid,
            name: &name,
            zone: Some(["zone-a", "zone-b"][node % 2]),
            instance_type: Some("m5.large"),
            node_group: Some(group),
            status: Some(NodeStatus { max_pods: Some(58), is_cordoned: false, is_ready: Some(true) }),
            eni_config: None,
            cni_node: None,
            agent: Some(AgentEvidence { env: Some(environment), restarts: 0, is_ready: Some(true) }),
            version: Some(version),
            page: if state == State::Silent { Err("timeout") } else { Ok(page) },
        });
    }
    round.finish()
}

/// Bytes per node after some rounds, and at the most.
fn taken(state: State) -> (usize, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut insight = Insight::new(Mutes::default());
    let mut last = Conclusion::default();
    for number in 0..12 {
        last = round(&mut insight, number, state);
    }
    let expected = match state {
        State::Calm => Vec::new(),
        State::Dry => vec![FindingId::SubnetExhausted],
        State::Full => vec![FindingId::MaxPodsTooHigh],
        State::Old => vec![FindingId::AgentTooOld],
        State::Silent => vec![FindingId::AgentSilent],
    };
    let mut found: Vec<FindingId> = last.findings.iter().map(|finding| finding.identity.id).collect();
    found.dedup();
    assert_eq!(found, expected);
    let peak = ALLOCATOR.peak_usage() - before;
    let taken = ALLOCATOR.current_usage() - before;
    println!("{state:?}: {} bytes per node, {} at the most", taken / NODES, peak / NODES);
    (taken / NODES, peak / NODES)
}

/// 40 MiB for 100,000 nodes are 419 bytes a node, the moments in which a table grows included.
#[test(own_process)]
fn a_hundred_thousand_nodes_that_refuse_fit_into_forty_mebibytes() {
    let allowed = 40 * MIB / 100_000;
    for (state, most) in
        [(State::Calm, 200), (State::Silent, 250), (State::Old, 250), (State::Full, allowed), (State::Dry, allowed)]
    {
        let (taken, peak) = taken(state);
        assert!(
            taken <= most && peak <= allowed,
            "{state:?}: {taken} bytes of {most}, {peak} at the most of {allowed}"
        );
    }
}
