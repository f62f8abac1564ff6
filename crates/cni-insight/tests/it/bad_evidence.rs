//! Evidence that lies: certainty falls, and nothing that is not borne out is called certain.

use cni_insight::catalogue::FindingId;
use cni_insight::evidence::{
    AgentEvidence, Counting, LabelCount, NodeEvidence, NodeStatus, PageEvidence, RoundFacts, Source, SourceState,
    Sources,
};
use cni_insight::finding::{Certainty, Conclusion, Turn};
use cni_insight::insight::{Insight, MAX_FINDINGS};
use cni_insight::mute::Mutes;
use cni_types::agent_settings;
use cni_types::catalogue::LabelledFamily;
use cni_types::random::Random;
use cni_types::version::AgentVersion;

const SETTINGS: [(&str, &str); 8] = [
    ("MINIMUM_IP_TARGET", "12"),
    ("WARM_ENI_TARGET", "0"),
    ("ENABLE_PREFIX_DELEGATION", "true"),
    ("ENABLE_POD_ENI", "true"),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true"),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"),
    ("MAX_ENI", "-7"),
    ("DISABLE_METRICS", "true"),
];
const APIS: [&str; 6] = [
    "CreateNetworkInterface",
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "UnassignPrivateIpAddresses",
    "GetVPCIPv4CIDRBlocks",
    "\u{1b}[31m",
];
const CODES: [&str; 9] = [
    "InsufficientFreeAddressesInSubnet",
    "InsufficientCidrBlocks",
    "UnauthorizedOperation",
    "AccessDenied",
    "ExpiredToken",
    "RequestLimitExceeded",
    "AttachmentLimitExceeded",
    "NetworkInterfaceLimitExceeded",
    "InternalError\n",
];
const FAILURES: [&str; 4] = ["timeout", "connect_refused", "bad_page", "stopped"];

fn one_of<T: Copy>(random: &mut Random, all: &[T]) -> T {
    all[usize::try_from(random.below(all.len() as u64)).unwrap()]
}

fn maybe<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    (random.below(8) > 0).then(|| value(random))
}

/// A number as a page may have it, and as no agent writes it.
fn figure(random: &mut Random) -> Option<f64> {
    match random.below(40) {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(f64::INFINITY),
        3 => Some(-f64::from(u32::try_from(random.below(100)).unwrap())),
        4 => Some(f64::MAX),
        5 => Some(0.5),
        _ => Some(f64::from(u32::try_from(random.below(40)).unwrap())),
    }
}

fn state(random: &mut Random) -> SourceState {
    match random.below(6) {
        0 => SourceState::Off,
        1 => SourceState::Failed,
        2 => SourceState::NotGranted,
        3 => SourceState::Lagging { age_ms: random.below(1 << 40) },
        _ => SourceState::Present { age_ms: random.below(1000) },
    }
}

/// An agent's settings, of which some are out of the ordinary.
fn environment(random: &mut Random) -> Vec<(Box<str>, Box<str>)> {
    let mut environment: Vec<(Box<str>, Box<str>)> =
        agent_settings::manifest().map(|(name, value)| (name.into(), value.into())).collect();
    for (name, value) in SETTINGS {
        if random.below(12) == 0 {
            environment.push((name.into(), value.into()));
        }
    }
    environment
}

/// Some label sets.
fn counts(random: &mut Random) -> Vec<LabelCount<'static>> {
    let families = [
        LabelledFamily::AwsApiErrorCount,
        LabelledFamily::Ec2ApiErrorCount,
        LabelledFamily::ReconcileCount,
        LabelledFamily::PodEniErrorCount,
    ];
    let count = |random: &mut Random| LabelCount {
        family: one_of(random, &families),
        first: one_of(random, &APIS),
        second: one_of(random, &CODES),
        value: figure(random).unwrap_or(1.0),
    };
    (0..random.below(4)).map(|_| count(random)).collect()
}

fn page<'a>(random: &mut Random, is_doubtful: bool, counts: &'a [LabelCount<'a>]) -> PageEvidence<'a> {
    PageEvidence {
        is_ipv6: random.below(30) == 0,
        is_doubtful: is_doubtful || random.below(10) == 0,
        counts_refusals: maybe(random, |random| random.below(4) > 0),
        assigned: figure(random),
        held: figure(random),
        most: figure(random),
        usable: maybe(random, |random| u32::try_from(random.below(40)).unwrap()),
        enis: figure(random),
        most_enis: figure(random),
        in_progress: figure(random),
        refused: figure(random),
        requests: figure(random),
        forced_enis: figure(random).filter(|_| random.below(20) == 0),
        forced_addresses: figure(random).filter(|_| random.below(20) == 0),
        counts,
    }
}

/// A round of some nodes. Returns what the sources were worth.
fn round(
    insight: &mut Insight,
    random: &mut Random,
    at_ms: i64,
    (node_count, is_doubtful): (u64, bool),
) -> (Sources, Conclusion) {
    let sources = Sources { agent_pods: state(random), nodes: state(random), ..Sources::default() };
    let interval_ms = one_of(random, &[30_000, 30_000, 30_000, 1_000, 600_000, 0, -5, i64::MAX]);
    let facts = RoundFacts { at_ms, interval_ms, counting: Counting::Increases, sources, daemon_set: None };
    let mut round = insight.begin(facts);
    for number in 0..node_count {
        let (uid, name) = (format!("uid-{number}"), format!("node-{number}"));
        let (environment, counts) = (environment(random), counts(random));
        let page = page(random, is_doubtful, &counts);
        let status = NodeStatus {
            max_pods: maybe(random, |random| u32::try_from(random.below(120)).unwrap()),
            is_cordoned: random.below(10) == 0,
            is_ready: maybe(random, |random| random.below(5) > 0),
        };
        let agent = AgentEvidence {
            env: Some(&*environment).filter(|_| random.below(8) > 0),
            restarts: u32::try_from(random.below(3)).unwrap(),
            is_ready: maybe(random, |random| random.below(3) > 0),
        };
        let version = maybe(random, |random| one_of(random, &[(1, 12, 6), (1, 16, 0), (1, 23, 2)]));
        round.observe(&NodeEvidence {
            uid: &uid,
            name: &name,
            zone: Some(one_of(random, &["zone-a", "zone-b"])),
            instance_type: Some("m5.large"),
            node_group: Some("all"),
            status: Some(status).filter(|_| random.below(8) > 0),
            eni_config: None,
            cni_node: None,
            agent: Some(agent).filter(|_| random.below(8) > 0),
            version: version.map(|(major, minor, patch)| AgentVersion::new(major, minor, patch)),
            page: if random.below(6) == 0 { Err(one_of(random, &FAILURES)) } else { Ok(page) },
        });
    }
    (sources, round.finish())
}

/// The sources that a finding rests on beside the pages: without them it would be another one, or none.
fn rests_on(id: FindingId) -> &'static [Source] {
    use FindingId as Id;
    match id {
        Id::ProvisioningDisabled
        | Id::MaxEniSetting
        | Id::MinimumWithoutWarm
        | Id::WarmTargetsZero
        | Id::AgentRestarting
        | Id::AgentNotStarted
        | Id::AgentSettingsRefused
        | Id::MetricsDisabled => &[Source::AgentPods],
        Id::MaxPodsTooHigh | Id::PoolCappedByMaxPods => &[Source::Nodes],
        Id::NodeCordoned | Id::AgentSilent => &[Source::AgentPods, Source::Nodes],
        _ => &[],
    }
}

#[test]
fn no_evidence_makes_it_panic_grow_or_call_certain_what_is_not_sure() {
    let mut random = Random::new(15);
    let mut insight = Insight::new(Mutes::default());
    let mut at_ms = 1_767_225_600_000_i64;
    let (mut certain, mut likely) = (0, 0);
    for number in 0..10_000 {
        at_ms = match random.below(60) {
            0 => at_ms.saturating_sub(86_400_000),
            1 => at_ms.saturating_add(86_400_000),
            2 => i64::MAX,
            3 => i64::MIN,
            4 => 1_767_225_600_000,
            _ => at_ms.saturating_add(30_000),
        };
        let nodes = if number % 200 < 150 { 4 } else { random.below(3) };
        let is_doubtful = random.below(4) == 0;
        let (sources, conclusion) = round(&mut insight, &mut random, at_ms, (nodes, is_doubtful));
        let opened = conclusion.events.iter().filter(|event| event.turn == Turn::Opened);
        let opened: Vec<_> = opened.map(|event| &event.identity).collect();
        assert_eq!(insight.known_nodes() as u64, nodes);
        assert!(conclusion.findings.len() <= MAX_FINDINGS && conclusion.findings.len() as u64 <= 9 * nodes);
        for finding in &conclusion.findings {
            assert!(finding.says.len() < 2_000 && finding.examples.len() <= 3 && finding.nodes as u64 <= nodes);
            assert!(finding.since_ms <= finding.last_seen_ms.max(finding.since_ms));
            match finding.certainty {
                Certainty::Certain => certain += 1,
                Certainty::Likely => {
                    likely += 1;
                    assert!(!finding.lacks.is_empty(), "likely, and nothing would tell: {finding:#?}");
                }
            }
            // What began earlier may have been sure then.
            let is_certain = opened.contains(&&finding.identity) && finding.certainty == Certainty::Certain;
            let id = finding.identity.id;
            assert!(!(is_certain && is_doubtful && id.facts().is_cause), "every page is doubtful: {finding:#?}");
            for source in rests_on(id) {
                let state = if *source == Source::Nodes { sources.nodes } else { sources.agent_pods };
                assert!(!is_certain || state.is_sure(), "{source:?} is {state:?}: {finding:#?}");
            }
        }
    }
    assert!(certain > 1_000 && likely > 1_000, "{certain} certain, {likely} likely");
}
