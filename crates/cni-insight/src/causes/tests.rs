//! Each cause alone, and beside the one that looks most like it.

mod course;

use cni_types::catalogue::LabelledFamily;

use crate::catalogue::FindingId as Id;
use crate::evidence::{NodeStatus, Source, SourceState};
use crate::finding::{Certainty, Conclusion, Finding, Severity};
use crate::play::{Node, Play, error, found, named};

const EXHAUSTED: &str = "InsufficientFreeAddressesInSubnet";

/// The only finding after some rounds of such pages.
fn alone(rounds: usize, seconds: i64, node: impl Fn(usize) -> Node) -> Finding {
    let mut play = Play::every(seconds);
    play.round(&[Node::new("n")]);
    let conclusion = play.rounds(rounds, node);
    only(&conclusion)
}

fn only(conclusion: &Conclusion) -> Finding {
    assert_eq!(conclusion.findings.len(), 1, "{:#?}", conclusion.findings);
    conclusion.findings[0].clone()
}

/// After six rounds of 30 s.
fn cause(node: impl Fn(usize) -> Node) -> (Id, Certainty, Severity) {
    let finding = alone(6, 30, node);
    (finding.identity.id, finding.certainty, finding.severity)
}

/// All addresses in use, on a node that may have more pods.
fn full() -> Node {
    Node::new("n").pool(27.0, 27.0, 27).refusing(4.0).max_pods(58)
}

/// Addresses could be got, and are not.
fn short() -> Node {
    Node::new("n").pool(18.0, 18.0, 27).refusing(4.0)
}

#[test]
fn a_full_node_with_more_pods_than_addresses_flickers_in_no_round() {
    // A pod that has just ended cools down in every third round: assigned is below what is held, and nothing else changes.
    let node = |round: usize| full().pool(if round.is_multiple_of(3) { 26.0 } else { 27.0 }, 27.0, 27);
    for rounds in 1..20 {
        assert_eq!(alone(rounds, 30, node).identity.id, Id::MaxPodsTooHigh, "after {rounds} rounds");
    }
    assert_eq!(cause(node), (Id::MaxPodsTooHigh, Certainty::Certain, Severity::Critical));
}

#[test]
fn pods_that_just_fit_wait_for_addresses_that_cool_down() {
    assert_eq!(cause(|_| full().max_pods(29)).0, Id::CooldownOnFullNode);
    assert_eq!(cause(|_| full().max_pods(29)).1, Certainty::Likely, "a leak looks the same");
    // With more pods than fit, only addresses that always cool down show it.
    let churning = |_| {
        let mut node = full().pool(22.0, 27.0, 27);
        (node.page.requests, node.page.refused) = (Some(20.0), Some(4.0));
        node
    };
    assert_eq!(cause(churning), (Id::CooldownOnFullNode, Certainty::Certain, Severity::Warning));
    assert_eq!(alone(2, 30, churning).identity.id, Id::MaxPodsTooHigh, "not from two pages");
}

#[test]
fn without_the_nodes_a_full_node_is_only_full() {
    let unknown = |_| Node { status: None, ..full() };
    let finding = alone(6, 30, unknown);
    assert_eq!((finding.identity.id, finding.certainty), (Id::NodeFull, Certainty::Likely));
    assert!(finding.lacks.contains(&Source::Nodes), "{finding:?}");
}

#[test]
fn a_setting_that_keeps_a_node_small_is_told_from_a_node_that_is_full() {
    assert_eq!(cause(|_| full().pool(18.0, 18.0, 18).env("MAX_ENI", "2")).0, Id::MaxEniSetting);
    assert_eq!(cause(|_| full().env("MAX_ENI", "3")).0, Id::MaxPodsTooHigh, "the type has no more");
    let finding = alone(6, 30, |_| full().pool(18.0, 18.0, 18).env("MAX_ENI", "2"));
    assert!(finding.says.contains("MAX_ENI=2") && finding.says.contains("the type has 3"), "{}", finding.says);
}

#[test]
fn a_pool_that_stops_at_max_pods_is_no_full_node() {
    assert_eq!(cause(|_| short().max_pods(18)).0, Id::PoolCappedByMaxPods);
    assert_eq!(cause(|_| short().max_pods(19)).0, Id::WarmPoolTooSmall);
    let with_errors = |_| short().max_pods(18).counting(error("CreateNetworkInterface", EXHAUSTED, 1.0));
    assert_eq!(cause(with_errors).0, Id::SubnetExhausted);
}

#[test]
fn settings_explain_before_errors_do() {
    let switched_off = |_| short().env("ENABLE_IMDS_ONLY_MODE", "true").counting(error("DescribeSubnets", "X", 1.0));
    assert_eq!(cause(switched_off), (Id::ProvisioningDisabled, Certainty::Certain, Severity::Critical));
    let minimum = |_| short().env("MINIMUM_IP_TARGET", "12");
    assert_eq!(cause(minimum).0, Id::MinimumWithoutWarm);
    assert_eq!(cause(|_| minimum(0).env("WARM_IP_TARGET", "2")).0, Id::WarmPoolTooSmall);
    assert_eq!(cause(|_| minimum(0).pool(10.0, 10.0, 27)).0, Id::WarmPoolTooSmall, "the minimum is not yet held");
    assert_eq!(cause(|_| short().env("WARM_ENI_TARGET", "0")).0, Id::WarmTargetsZero);
    assert_eq!(cause(|_| short().env("WARM_ENI_TARGET", "0").env("WARM_IP_TARGET", "1")).0, Id::WarmPoolTooSmall);
}

#[test]
fn a_cordoned_node_does_not_grow_unless_its_agent_is_told_to() {
    let status = NodeStatus { max_pods: Some(58), is_cordoned: true, is_ready: Some(true) };
    let cordoned = |_| Node { status: Some(status), ..short() };
    assert_eq!(cause(cordoned).0, Id::NodeCordoned);
    assert_eq!(cause(|_| cordoned(0).env("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "true")).0, Id::WarmPoolTooSmall);
    assert_eq!(cause(|_| Node { status: Some(status), ..full() }).0, Id::MaxPodsTooHigh);
}

#[test]
fn each_code_of_growth_has_its_cause_after_one_page() {
    let custom = "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG";
    for (api, code, env, id, certainty) in [
        ("AssignPrivateIpAddresses", EXHAUSTED, "", Id::SubnetExhausted, Certainty::Certain),
        ("CreateNetworkInterface", EXHAUSTED, "", Id::SubnetExhausted, Certainty::Likely),
        ("AssignPrivateIpAddresses", "InsufficientCidrBlocks", "", Id::SubnetFragmented, Certainty::Likely),
        (
            "CreateNetworkInterface",
            "InvalidParameterValue",
            "ENABLE_PREFIX_DELEGATION",
            Id::SubnetFragmented,
            Certainty::Likely,
        ),
        ("CreateNetworkInterface", "InvalidParameterValue", custom, Id::EniconfigInvalid, Certainty::Likely),
        ("CreateNetworkInterface", "InvalidParameterValue", "", Id::Ec2RefusesOtherwise, Certainty::Certain),
        ("CreateNetworkInterface", "InvalidSubnetID.NotFound", custom, Id::EniconfigInvalid, Certainty::Likely),
        ("CreateNetworkInterface", "InvalidGroup.NotFound", custom, Id::EniconfigInvalid, Certainty::Likely),
        ("CreateNetworkInterface", "UnauthorizedOperation", "", Id::IamPermissionMissing, Certainty::Certain),
        ("AssignPrivateIpAddresses", "AccessDenied", "", Id::IamPermissionMissing, Certainty::Certain),
        ("CreateNetworkInterface", "ExpiredToken", "", Id::IamRoleUnusable, Certainty::Certain),
        ("AttachNetworkInterface", "AttachmentLimitExceeded", "", Id::EniSlotsTaken, Certainty::Certain),
        ("CreateNetworkInterface", "NetworkInterfaceLimitExceeded", "", Id::EniQuotaReached, Certainty::Certain),
        ("AssignPrivateIpAddresses", "RequestLimitExceeded", "", Id::Ec2Throttled, Certainty::Certain),
        ("CreateNetworkInterface", "RequestError", "", Id::Ec2Unreachable, Certainty::Certain),
        ("CreateNetworkInterface", "SomethingNew", "", Id::Ec2RefusesOtherwise, Certainty::Certain),
    ] {
        let node = |_| short().env(env, "true").counting(error(api, code, 2.0));
        let first = alone(1, 30, node);
        assert_eq!((first.identity.id, first.certainty), (id, certainty), "{api} {code} {env}");
        let must_last = id.facts().must_last;
        assert_eq!(first.severity == Severity::Info, must_last, "{id}");
        // One node alone is a warning where it must last.
        let expected = if must_last { Severity::Warning } else { Severity::Critical };
        assert_eq!(alone(4, 30, node).severity, expected, "{id}");
        assert!(first.says.contains(code), "{}", first.says);
    }
}

#[test]
fn errors_that_do_not_keep_a_node_from_growing_explain_nothing() {
    for (api, code) in [
        ("UnassignPrivateIpAddresses", "UnauthorizedOperation"),
        ("DeleteNetworkInterface", "RequestLimitExceeded"),
        ("DetachNetworkInterface", "OperationNotPermitted"),
        ("CreateTags", "UnauthorizedOperation"),
        // The agent counts it as success.
        ("AssignPrivateIpAddresses", "PrivateIpAddressLimitExceeded"),
    ] {
        let mut play = Play::every(30);
        play.round(&[Node::new("n")]);
        let conclusion = play.rounds(6, |_| short().counting(error(api, code, 3.0)));
        let causes: Vec<Id> =
            named(&conclusion).into_iter().map(|(id, _)| id).filter(|id| id.facts().is_cause).collect();
        assert_eq!(causes, [Id::WarmPoolTooSmall], "{api} {code}");
    }
}

#[test]
fn an_error_before_the_node_grew_is_void_and_state_comes_before_errors() {
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    let throttled = short().counting(error("AssignPrivateIpAddresses", "RequestLimitExceeded", 3.0));
    play.rounds(5, |_| throttled.clone());
    // It got its addresses, and needs more than it can have: the error is younger than 300 s.
    let conclusion = play.round(&[full()]);
    assert_eq!(only(&conclusion).identity.id, Id::MaxPodsTooHigh);
    // The same where it could grow on.
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    play.rounds(5, |_| throttled.clone());
    let growing = play.round(&[short().pool(20.0, 20.0, 27)]);
    // What lets some calls through still is the cause as long as it is seen; then the pool is just too small.
    assert_eq!(only(&growing).identity.id, Id::Ec2Throttled);
    let conclusion = play.rounds(10, |_| short().pool(20.0, 20.0, 27));
    assert_eq!(only(&conclusion).identity.id, Id::WarmPoolTooSmall);
    // A short time after it grew, and without refusals for long, it only grows.
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    play.round(std::slice::from_ref(&throttled));
    let conclusion = play.round(&[short().pool(20.0, 20.0, 27)]);
    assert_eq!(only(&conclusion).identity.id, Id::PoolGrowing);
}

#[test]
fn the_newest_error_counts() {
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    play.rounds(4, |_| short().counting(error("AssignPrivateIpAddresses", "RequestLimitExceeded", 3.0)));
    let conclusion = play.round(&[short().counting(error("AssignPrivateIpAddresses", EXHAUSTED, 1.0))]);
    assert_eq!(only(&conclusion).identity.id, Id::SubnetExhausted);
}

#[test]
fn a_subnets_error_explains_for_300_s_of_time_whatever_the_interval() {
    // An agent that EC2 refused asks again after two minutes: with rounds of 10 s most pages have no error.
    for seconds in [10, 30, 60] {
        let every = usize::try_from(120 / seconds).unwrap();
        let node = |round: usize| {
            let count = if round.is_multiple_of(every) { 5.0 } else { 0.0 };
            short().counting(error("AssignPrivateIpAddresses", EXHAUSTED, count))
        };
        for rounds in 1..40 {
            assert_eq!(alone(rounds, seconds, node).identity.id, Id::SubnetExhausted, "{rounds} rounds of {seconds} s");
        }
    }
}

#[test]
fn denied_on_one_api_is_a_right_and_on_several_the_role() {
    let denied = |api| error(api, "AccessDenied", 1.0);
    let one = |_| short().counting(denied("CreateNetworkInterface"));
    assert_eq!(cause(one).0, Id::IamPermissionMissing);
    assert_eq!(cause(|_| one(0).counting(denied("DescribeInstances"))).0, Id::IamRoleUnusable);
}

#[test]
fn calls_without_an_answer_are_told_from_calls_with_a_code() {
    let failed = |count| (LabelledFamily::Ec2ApiErrorCount, "CreateNetworkInterface", "", count);
    let lost = |_| short().counting(failed(2.0));
    assert_eq!(cause(lost), (Id::Ec2Unreachable, Certainty::Likely, Severity::Warning));
    let throttled = |_| lost(0).counting(error("CreateNetworkInterface", "RequestLimitExceeded", 2.0));
    assert_eq!(cause(throttled).0, Id::Ec2Throttled);
    let once = |round| if round == 3 { short().counting(failed(2.0)) } else { short() };
    assert_eq!(cause(once).0, Id::WarmPoolTooSmall, "one page alone");
    let others = |_| short().counting((LabelledFamily::Ec2ApiErrorCount, "DeleteNetworkInterface", "", 2.0));
    assert_eq!(cause(others).0, Id::WarmPoolTooSmall);
}

#[test]
fn failing_metadata_is_told_from_the_agents_own_checks() {
    let blocks = |count| error("GetVPCIPv4CIDRBlocks", "IMDSRequestError", count);
    // Beside the requests, an agent asks once per 30 s by itself.
    let node = |count| {
        move |_| {
            let mut node = Node::new("n").counting(blocks(count));
            node.page.requests = Some(12.0);
            node
        }
    };
    assert_eq!(cause(node(7.0)), (Id::InstanceMetadataFailing, Certainty::Certain, Severity::Critical));
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    assert_eq!(named(&play.rounds(6, node(2.0))), []);
}

#[test]
fn metadata_that_heals_stays_the_cause_until_its_failures_are_old() {
    let failing = || {
        let mut node = short().counting(error("GetVPCIPv4CIDRBlocks", "IMDSRequestError", 9.0));
        node.page.requests = Some(12.0);
        node
    };
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    play.rounds(8, |_| failing());
    // It healed within the round: this page still has refusals, and no failure beyond the agent's own checks.
    let healing = only(&play.round(&[short()]));
    assert_eq!((healing.identity.id, healing.certainty), (Id::InstanceMetadataFailing, Certainty::Likely));
    // Pages without refusals say nothing new of the cause.
    for _ in 0..9 {
        assert_eq!(only(&play.round(&[short().refusing(0.0)])).identity.id, Id::InstanceMetadataFailing);
    }
    assert_eq!(only(&play.rounds(6, |_| short())).identity.id, Id::WarmPoolTooSmall);
}

#[test]
fn an_action_that_goes_on_is_told_from_one_that_ends() {
    let busy = |_| {
        let mut node = short();
        node.page.in_progress = Some(1.0);
        node
    };
    assert_eq!(alone(3, 30, busy).identity.id, Id::PoolGrowing);
    // An ENI that is waited for may take three minutes.
    assert_eq!(alone(7, 30, busy).identity.id, Id::PoolGrowing);
    assert_eq!(alone(8, 30, busy).identity.id, Id::PoolLoopStalled);
    let stuck = |_| short().counting((LabelledFamily::IpamdErrorCount, "increaseIPPoolwaitENIAttachedFailed", "", 1.0));
    assert_eq!(cause(stuck).0, Id::EniAttachStuck);
    // A missing right looks the same, but has a code.
    let denied = |_| stuck(0).counting(error("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation", 1.0));
    assert_eq!(cause(denied).0, Id::IamPermissionMissing);
}

#[test]
fn a_pool_that_grows_is_only_info_and_one_that_never_suffices_a_warning() {
    let growing = |round: usize| short().pool(10.0 + round as f64, 11.0 + round as f64, 40);
    let finding = alone(3, 30, growing);
    assert_eq!((finding.identity.id, finding.severity), (Id::PoolGrowing, Severity::Info));
    let finding = alone(4, 30, growing);
    assert_eq!((finding.identity.id, finding.severity), (Id::WarmPoolTooSmall, Severity::Warning));
    // Half of the last five minutes is enough, two of ten rounds are not.
    let mut play = Play::every(30);
    play.round(&[Node::new("n")]);
    let conclusion = play.rounds(10, |round| if round % 2 == 1 { short() } else { short().refusing(0.0) });
    assert_eq!(named(&conclusion), [(Id::WarmPoolTooSmall, Severity::Warning)]);
}

#[test]
fn an_ipv6_node_that_refuses_has_no_prefix() {
    let ipv6 = |_| {
        let mut node = short().env("ENABLE_IPv6", "true");
        (node.page.is_ipv6, node.page.usable) = (true, None);
        node
    };
    assert_eq!(cause(ipv6).0, Id::Ipv6PrefixMissing);
    // Agents from v1.22 also leave a prefix alone whose subnet a tag excludes.
    assert_eq!(alone(6, 30, ipv6).lacks, [Source::Subnets]);
    let older = |_| Node { version: Some(cni_types::version::AgentVersion::new(1, 21, 1)), ..ipv6(0) };
    assert_eq!(alone(6, 30, older).lacks, []);
}

#[test]
fn agents_that_report_one_card_after_the_other_get_no_verdict_about_addresses() {
    let cards = |_| full().env("ENABLE_MULTI_NIC", "true");
    let (id, certainty, _) = cause(cards);
    assert_eq!((id, certainty), (Id::CauseUnknown, Certainty::Likely));
    let with_code = |_| cards(0).counting(error("AssignPrivateIpAddresses", EXHAUSTED, 1.0));
    assert_eq!(cause(with_code).0, Id::SubnetExhausted);
}

#[test]
fn refusals_of_agents_before_1_16_are_inferred_and_say_so() {
    let node = |_| {
        let mut node = full().old();
        node.page.requests = Some(9.0);
        node
    };
    let mut play = Play::every(30);
    let conclusion = play.rounds(8, node);
    let finding = found(&conclusion, Id::MaxPodsTooHigh);
    assert_eq!((finding.certainty, finding.severity), (Certainty::Likely, Severity::Critical));
    assert!(finding.says.contains("inferred") && finding.lacks.contains(&Source::Pods), "{finding:?}");
    assert_eq!(found(&conclusion, Id::AgentTooOld).severity, Severity::Info);
    // A setting that those agents do not know is not recommended.
    let conclusion = Play::every(30).rounds(8, |_| node(0).max_pods(29));
    let finding = found(&conclusion, Id::CooldownOnFullNode);
    assert!(finding.remedy.iter().all(|remedy| remedy.command.is_none()), "{:?}", finding.remedy);
    // Addresses that are free now and then, no requests, or pages too far apart: nothing is inferred.
    let only_age = [(Id::AgentTooOld, Severity::Info)];
    let varying = |round: usize| Node { page: node(0).pool(27.0 - (round % 2) as f64, 27.0, 27).page, ..node(0) };
    assert_eq!(named(&Play::every(30).rounds(8, varying)), only_age);
    assert_eq!(named(&Play::every(30).rounds(8, |_| full().old().refusing(0.0).old())), only_age);
    assert_eq!(named(&Play::every(60).rounds(8, node)), only_age);
}

#[test]
fn doubtful_evidence_makes_a_finding_likely_and_says_what_is_missing() {
    let certain = alone(6, 30, |_| full());
    assert_eq!((certain.certainty, certain.lacks.as_slice()), (Certainty::Certain, [].as_slice()));
    let doubtful = |_| {
        let mut node = full();
        node.page.is_doubtful = true;
        node
    };
    assert_eq!(cause(doubtful).1, Certainty::Likely);
    for state in [SourceState::Lagging { age_ms: 1 }, SourceState::Failed, SourceState::NotGranted, SourceState::Off] {
        let mut play = Play::every(30);
        play.round(&[Node::new("n")]);
        play.facts.sources.nodes = state;
        let finding = only(&play.rounds(6, |_| full()));
        assert_eq!(finding.certainty, Certainty::Likely, "{state:?}");
        assert_eq!(finding.lacks, [Source::Nodes], "{state:?}");
        assert_eq!(finding.identity, certain.identity, "it stays the same finding");
    }
}

#[test]
fn one_page_says_what_it_can_and_what_a_second_would_add() {
    let conclusion = Play::single().round(&[full()]);
    let finding = only(&conclusion);
    assert_eq!(finding.identity.id, Id::MaxPodsTooHigh);
    assert_eq!((finding.certainty, finding.severity), (Certainty::Likely, Severity::Warning));
    assert!(finding.lacks.contains(&Source::SecondPage), "{finding:?}");
    assert!(finding.says.contains("since its agent's start"), "{}", finding.says);
    // Refused long ago, perhaps: there is room now.
    assert_eq!(named(&Play::single().round(&[short().pool(10.0, 18.0, 27)])), []);
    assert_eq!(named(&Play::single().round(&[full().pool(12.0, 27.0, 27)])), []);
    let finding = only(&Play::single().round(&[short()]));
    assert_eq!((finding.identity.id, finding.severity), (Id::CauseUnknown, Severity::Warning));
    let exhausted = short().counting(error("AssignPrivateIpAddresses", EXHAUSTED, 7.0));
    let finding =
        only(&Play::single().round(&[exhausted.counting(error("AssignPrivateIpAddresses", "Throttling", 2.0))]));
    assert_eq!((finding.identity.id, finding.certainty), (Id::SubnetExhausted, Certainty::Likely));
    assert_eq!(named(&Play::single().round(&[Node::new("n")])), []);
}
