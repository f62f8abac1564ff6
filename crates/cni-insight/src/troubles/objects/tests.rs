//! Evidence of the level `cluster`: what it finds, and that a finding stays the same while its source comes and goes.

use cni_types::catalogue::LabelledFamily;

use crate::catalogue::FindingId as Id;
use crate::evidence::{Source, SourceState};
use crate::finding::{Certainty, Conclusion, Severity};
use crate::play::{Node, Play, error, found, named};

const PRESENT: SourceState = SourceState::Present { age_ms: 0 };

/// Every state that a source can be in, and whether what it shows is as things are.
const STATES: [(SourceState, bool); 6] = [
    (PRESENT, true),
    (SourceState::NoKind, true),
    (SourceState::Lagging { age_ms: 600_000 }, false),
    (SourceState::Failed, false),
    (SourceState::NotGranted, false),
    (SourceState::Off, false),
];

fn custom(name: &str) -> Node {
    Node::new(name).env("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true").pool(9.0, 9.0, 18)
}

fn without_config(name: &str) -> Node {
    Node { eni_config: Some(("zone-a", None)), ..custom(name) }
}

fn pod_eni(name: &str, enis: f64, wants_trunk: Option<bool>) -> Node {
    let mut node = Node::new(name).env("ENABLE_POD_ENI", "true");
    node.page.enis = Some(enis);
    Node { wants_trunk, ..node }
}

fn play(state: SourceState) -> Play {
    let mut play = Play::every(30);
    (play.facts.sources.eni_configs, play.facts.sources.cni_nodes) = (state, state);
    play
}

fn lacks(conclusion: &Conclusion, id: Id, source: Source) -> bool {
    found(conclusion, id).lacks.contains(&source)
}

#[test]
fn a_missing_eniconfig_is_the_cause_of_refusals_and_a_warning_before_there_are_any() {
    let mut play = play(PRESENT);
    let calm = play.round(&[without_config("n")]);
    assert_eq!(named(&calm), [(Id::EniconfigMissing, Severity::Warning)]);
    assert!(found(&calm, Id::EniconfigMissing).says.contains("no ENIConfig zone-a"), "{calm:#?}");
    let refusing = play.round(&[without_config("n").refusing(3.0)]);
    assert_eq!(named(&refusing), [(Id::EniconfigInvalid, Severity::Critical)]);
    let finding = found(&refusing, Id::EniconfigInvalid);
    assert_eq!((finding.certainty, &finding.lacks[..]), (Certainty::Certain, &[][..]));
    assert!(finding.says.contains("made by the ENIConfig zone-a, and there is none of this name"), "{}", finding.says);
    let command = finding.remedy[0].command.as_deref().unwrap();
    assert!(command.starts_with("kubectl apply -f - ") && command.contains("metadata: {name: zone-a}"), "{command}");
    // While the cause stands there is no second finding about the same.
    let pausing = play.round(&[without_config("n")]);
    assert_eq!(named(&pausing), [(Id::EniconfigInvalid, Severity::Critical)]);
    let mended = Node { eni_config: Some(("zone-a", Some("subnet-1"))), ..custom("n") };
    assert_eq!(named(&play.rounds(11, |_| mended.clone())), []);
}

#[test]
fn an_eniconfig_that_is_there_or_not_looked_for_is_none_that_is_missing() {
    let there = Node { eni_config: Some(("zone-a", Some("subnet-1"))), ..custom("n") };
    let unused = Node { eni_config: Some(("zone-a", None)), ..Node::new("n") };
    for node in [there, unused, custom("n")] {
        assert_eq!(named(&play(PRESENT).round(&[node])), []);
    }
}

#[test]
fn the_error_of_a_wrong_eniconfig_is_certain_where_the_objects_are_read() {
    let refused = || error("CreateNetworkInterface", "InvalidSubnetID.NotFound", 2.0);
    let mut identities = Vec::new();
    for (state, is_sure) in STATES {
        let node =
            Node { eni_config: Some(("zone-a", Some("subnet-1"))), ..custom("n").refusing(2.0).counting(refused()) };
        let said = play(state).round(&[node]);
        let finding = found(&said, Id::EniconfigInvalid);
        assert_eq!(finding.certainty == Certainty::Certain, is_sure, "{state:?}");
        assert_eq!(lacks(&said, Id::EniconfigInvalid, Source::EniConfigs), !is_sure, "{state:?}");
        assert!(finding.says.contains("the ENIConfig zone-a names a subnet or a security group"), "{}", finding.says);
        identities.push(finding.identity.clone());
    }
    // Where the source was never read the finding is the same, and names no object.
    let never = play(SourceState::Off).round(&[custom("n").refusing(2.0).counting(refused())]);
    identities.push(found(&never, Id::EniconfigInvalid).identity.clone());
    identities.dedup();
    assert_eq!(identities.len(), 1, "{identities:?}");
}

#[test]
fn a_finding_outlives_its_source_and_names_what_it_lacks() {
    let mut play = play(PRESENT);
    let first = play.round(&[without_config("n").refusing(1.0)]);
    let first = found(&first, Id::EniconfigInvalid).clone();
    for (state, is_sure) in STATES.into_iter().chain([(PRESENT, true)]) {
        play.facts.sources.eni_configs = state;
        let said = play.round(&[without_config("n").refusing(1.0)]);
        assert_eq!(said.events, [], "{state:?}: nothing opens or closes");
        let finding = found(&said, Id::EniconfigInvalid);
        assert_eq!((&finding.identity, finding.since_ms), (&first.identity, first.since_ms), "{state:?}");
        assert_eq!(finding.certainty == Certainty::Certain, is_sure, "{state:?}");
        assert_eq!(lacks(&said, Id::EniconfigInvalid, Source::EniConfigs), !is_sure, "{state:?}");
    }
}

#[test]
fn without_its_source_a_missing_eniconfig_is_another_cause_that_is_not_sure_and_says_why() {
    for state in [SourceState::Off, SourceState::NotGranted, SourceState::Failed] {
        let said = play(state).rounds(6, |_| custom("n").refusing(1.0));
        assert!(lacks(&said, Id::WarmPoolTooSmall, Source::EniConfigs), "{state:?}: {said:#?}");
        assert_eq!(found(&said, Id::WarmPoolTooSmall).certainty, Certainty::Likely, "{state:?}");
    }
}

#[test]
fn a_trunk_without_a_slot_is_found_by_the_cninode_alone() {
    let id = Id::TrunkSlotMissing;
    let said = play(PRESENT).round(&[pod_eni("n", 3.0, Some(false))]);
    assert_eq!(named(&said), [(id, Severity::Warning)]);
    assert!(found(&said, id).says.contains("none is left for the trunk"), "{said:#?}");
    let failed = (LabelledFamily::PodEniErrorCount, "tryEnableSecurityGroupsForPods", "", 1.0);
    for (why, node) in [
        ("it asks for one", pod_eni("n", 3.0, Some(true))),
        ("it is not known", pod_eni("n", 3.0, None)),
        ("a slot is free", pod_eni("n", 2.0, Some(false))),
        ("the type has none", Node { instance_type: Some("t3.small"), ..pod_eni("n", 3.0, Some(false)) }),
        ("security groups for pods are off", Node { wants_trunk: Some(false), ..Node::new("n") }),
        ("the agent counts that it could not ask", pod_eni("n", 3.0, Some(false)).counting(failed)),
    ] {
        let said = play(PRESENT).round(&[node]);
        assert!(said.findings.iter().all(|finding| finding.identity.id != id), "{why}: {said:#?}");
    }
    // From one page of each node, too: neither counters nor a second page are needed.
    let mut single = Play::single();
    single.facts.sources.cni_nodes = PRESENT;
    assert_eq!(found(&single.round(&[pod_eni("n", 3.0, Some(false))]), id).certainty, Certainty::Certain);
}

#[test]
fn a_trunk_without_a_slot_stays_the_same_finding_whatever_its_source_is_worth() {
    let mut play = play(PRESENT);
    let first = play.round(&[pod_eni("n", 3.0, Some(false))]);
    let first = found(&first, Id::TrunkSlotMissing).clone();
    for (state, is_sure) in STATES {
        play.facts.sources.cni_nodes = state;
        let said = play.round(&[pod_eni("n", 3.0, Some(false))]);
        let finding = found(&said, Id::TrunkSlotMissing);
        assert_eq!((&finding.identity, finding.since_ms), (&first.identity, first.since_ms), "{state:?}");
        assert_eq!(lacks(&said, Id::TrunkSlotMissing, Source::CniNodes), !is_sure, "{state:?}");
    }
}

/// Pods ask on each page, and the number of addresses in use stays.
fn asking(wants_trunk: Option<bool>) -> Node {
    let mut node = pod_eni("n", 2.0, wants_trunk);
    node.page.requests = Some(4.0);
    node
}

#[test]
fn pods_that_wait_on_a_node_that_asks_for_no_trunk_get_no_branch_eni_likely() {
    let id = Id::BranchEniNotProvided;
    let mut waits = play(PRESENT);
    assert_eq!(named(&waits.rounds(4, |_| asking(Some(false)))), []);
    let said = waits.round(&[asking(Some(false))]);
    let finding = found(&said, id);
    assert_eq!((finding.certainty, &finding.lacks[..]), (Certainty::Likely, &[Source::Pods][..]));
    assert!(finding.says.contains("the CNINode asks for no trunk"), "{}", finding.says);
    for wants_trunk in [Some(true), None] {
        assert_eq!(named(&play(PRESENT).rounds(9, |_| asking(wants_trunk))), [], "{wants_trunk:?}");
    }
    // Between pages with requests that are served there is one on which no pod gives an address back.
    let served = |number: usize| asking(Some(false)).pool(if number.is_multiple_of(3) { 14.0 } else { 10.0 }, 18.0, 27);
    assert_eq!(named(&play(PRESENT).rounds(9, served)), []);
}
