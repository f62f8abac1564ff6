//! What is wrong beside refusals, alone and beside what looks like it.

use cni_types::catalogue::LabelledFamily;

use crate::catalogue::FindingId as Id;
use crate::evidence::{NodeStatus, Source};
use crate::finding::{Certainty, Severity};
use crate::play::{Node, Play, error, found, named};

/// Ids after this many rounds of such pages.
fn ids(rounds: usize, seconds: i64, node: impl Fn(usize) -> Node) -> Vec<Id> {
    let mut play = Play::every(seconds);
    play.round(&[Node::new("n")]);
    named(&play.rounds(rounds, node)).into_iter().map(|(id, _)| id).collect()
}

fn silent() -> Node {
    Node::new("n").silent("timeout")
}

#[test]
fn a_ready_agent_is_silent_after_six_rounds_and_three_minutes() {
    assert_eq!(ids(6, 30, |_| silent()), []);
    assert_eq!(ids(7, 30, |_| silent()), [Id::AgentSilent]);
    assert_eq!(ids(12, 10, |_| silent()), [], "six rounds, but not three minutes");
    assert_eq!(ids(3, 120, |_| silent()), [], "three minutes, but not six rounds");
    assert_eq!(ids(6, 120, |_| silent()), [Id::AgentSilent]);
    // It is over with the first page.
    assert_eq!(ids(9, 30, |round| if round < 8 { silent() } else { Node::new("n") }), []);
}

#[test]
fn what_keeps_the_helper_from_asking_says_nothing_of_the_agent() {
    for kind in super::NOT_THE_AGENTS {
        assert_eq!(ids(10, 30, |_| Node::new("n").silent(kind)), [], "{kind}");
    }
    let lost = NodeStatus { is_ready: Some(false), ..NodeStatus::default() };
    assert_eq!(ids(10, 30, |_| Node { status: Some(lost), ..silent() }), [], "the instance is lost");
    assert_eq!(ids(10, 30, |_| silent().env("DISABLE_METRICS", "true")), [Id::MetricsDisabled]);
}

#[test]
fn silence_without_the_pods_and_nodes_states_is_likely() {
    let mut play = Play::every(30);
    let unknown = || Node { status: None, is_ready: None, ..silent() };
    let conclusion = play.rounds(8, |_| unknown());
    let finding = found(&conclusion, Id::AgentSilent);
    assert_eq!(finding.certainty, Certainty::Likely);
    assert_eq!(finding.lacks, [Source::AgentPods, Source::Nodes]);
}

#[test]
fn an_agent_that_does_not_start_says_why_if_a_setting_does() {
    let unready = || Node { is_ready: Some(false), ..Node::new("n").silent("connect_refused") };
    assert_eq!(ids(4, 30, |_| unready()), []);
    assert_eq!(ids(5, 30, |_| unready()), [Id::AgentNotStarted]);
    let refused = |_| unready().env("ENABLE_PREFIX_DELEGATION", "true").env("WARM_PREFIX_TARGET", "0");
    assert_eq!(ids(5, 30, refused), [Id::AgentSettingsRefused]);
    let mut play = Play::every(30);
    let conclusion = play.rounds(6, refused);
    let finding = found(&conclusion, Id::AgentSettingsRefused);
    assert!(finding.says.contains("WARM_PREFIX_TARGET"), "{}", finding.says);
    assert_eq!(finding.severity, Severity::Critical);
}

#[test]
fn three_restarts_in_half_an_hour_are_too_many() {
    let restarts =
        |each: usize| move |round: usize| Node { restarts: u32::try_from(round / each).unwrap(), ..Node::new("n") };
    assert_eq!(ids(35, 30, restarts(10)), [Id::AgentRestarting]);
    assert_eq!(ids(29, 30, restarts(10)), [], "two");
    assert_eq!(ids(200, 30, restarts(40)), [], "one in 20 minutes");
    // The count of the first page is no restart.
    assert_eq!(ids(3, 30, |_| Node { restarts: 40, ..Node::new("m") }), []);
}

#[test]
fn an_eni_that_vanished_is_one_finding_with_its_addresses() {
    let vanished = |round: usize| {
        let mut node = Node::new("n");
        if round == 1 {
            (node.page.forced_enis, node.page.forced_addresses) = (Some(1.0), Some(9.0));
        }
        node.counting((LabelledFamily::ReconcileCount, "eniReconcileDel", "", f64::from(u8::from(round == 1))))
    };
    assert_eq!(ids(3, 30, vanished), [Id::EnisForceRemoved]);
    assert_eq!(ids(13, 30, vanished), [], "300 s later");
    let addresses = |round: usize| {
        let mut node = Node::new("n");
        node.page.forced_addresses = Some(if round == 1 { 2.0 } else { 0.0 });
        node
    };
    assert_eq!(ids(3, 30, addresses), [Id::AddressesForceRemoved]);
}

#[test]
fn a_datastore_that_is_repaired_again_and_again_is_out_of_step() {
    let passes = |each: usize| {
        move |round: usize| {
            let count = if round.is_multiple_of(each) { 1.0 } else { 0.0 };
            // Reconciliation also counts every address that it knows.
            Node::new("n")
                .counting((LabelledFamily::ReconcileCount, "eniDataStorePoolReconcileAdd", "", 400.0))
                .counting((LabelledFamily::ReconcileCount, "eniReconcileAdd", "", count))
        }
    };
    assert_eq!(ids(11, 30, passes(5)), [Id::PoolOutOfStep]);
    assert_eq!(ids(10, 30, passes(5)), [], "two passes");
    assert_eq!(ids(100, 30, passes(20)), [], "three in 20 minutes");
    let three = |round: usize| if round < 3 { passes(1)(0) } else { passes(2)(1) };
    assert_eq!(ids(60, 30, three), [Id::PoolOutOfStep], "not yet half an hour ago");
    assert_eq!(ids(66, 30, three), []);
}

#[test]
fn a_right_that_only_releasing_needs_refuses_no_pod() {
    let denied = |_| Node::new("n").counting(error("DetachNetworkInterface", "UnauthorizedOperation", 1.0));
    assert_eq!(ids(1, 30, denied), [Id::IamRightMissingQuiet]);
    // Normal: the ENI is still in use.
    let busy = |_| Node::new("n").counting(error("DeleteNetworkInterface", "InvalidParameterValue", 3.0));
    assert_eq!(ids(3, 30, busy), []);
}

#[test]
fn pods_without_a_branch_eni_are_likely_where_the_trunk_fails() {
    let failing = |_| {
        let mut node = Node::new("n").env("ENABLE_POD_ENI", "true");
        node.page.requests = Some(6.0);
        node.counting((LabelledFamily::PodEniErrorCount, "tryEnableSecurityGroupsForPods", "", 1.0))
    };
    assert_eq!(ids(2, 30, failing), [Id::BranchEniNotProvided]);
    assert_eq!(ids(2, 30, |_| failing(0).env("ENABLE_POD_ENI", "false")), []);
}

#[test]
fn an_agent_with_a_page_that_is_not_ready_for_two_minutes_is_found_until_it_is() {
    let unready = || Node { is_ready: Some(false), ..Node::new("n") };
    assert_eq!(ids(4, 30, |_| unready()), []);
    assert_eq!(ids(5, 30, |_| unready()), [Id::AgentNotReady]);
    assert_eq!(ids(6, 30, |round| if round < 5 { unready() } else { Node::new("n") }), []);
    // Every second page: it has not lasted.
    assert_eq!(ids(21, 30, |round| if round.is_multiple_of(2) { unready() } else { Node::new("n") }), []);
}

#[test]
fn answers_that_differ_from_the_datastore_are_info_as_long_as_nothing_is_repaired() {
    let answers = |api, code| move |_: usize| Node::new("n").counting(error(api, code, 1.0));
    for (api, code) in [
        ("IMDSMetaDataOutOfSync", "not found"),
        ("AssignPrivateIpAddresses", "PrivateIpAddressLimitExceeded"),
        ("DetachNetworkInterface", "InvalidNetworkInterfaceID.NotFound"),
    ] {
        assert_eq!(ids(2, 30, answers(api, code)), [], "{api}");
        let mut play = Play::every(30);
        let conclusion = play.rounds(4, answers(api, code));
        assert_eq!(named(&conclusion), [(Id::PoolOutOfStep, Severity::Info)], "{api}");
        assert!(found(&conclusion, Id::PoolOutOfStep).says.contains("nothing had to be repaired"));
    }
}
