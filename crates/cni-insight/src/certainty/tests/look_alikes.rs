//! What looks most like each finding: one fact is changed in its pages, and something else is named; or it is likely, and names the
//! evidence that would tell them apart.

use cni_types::catalogue::LabelledFamily;
use cni_types::version::AgentVersion;

use super::worlds::Span;
use super::{LATE, WATCHED_S, found, in_short, names_all, rounds_until, unchanged, watch};
use crate::catalogue::FindingId as Id;
use crate::certainty::{Cell, INTERVALS_S, Knowledge, VERSIONS};
use crate::evidence::{NodeStatus, Source};
use crate::finding::{Certainty, Conclusion};
use crate::play::{Node, error};

/// A finding, and what in its pages makes another one of it.
enum Looks {
    /// With this change of its nodes these are named in its place.
    Told(fn(Node, Span) -> Node, &'static [Id]),
    /// Nothing in the evidence tells them apart; this would.
    Alike(Source),
}

use Looks::{Alike, Told};

fn without_counts(node: Node) -> Node {
    Node { counts: Vec::new(), ..node }
}

fn failing(node: Node, api: &'static str, code: &'static str, span: Span) -> Node {
    without_counts(node).counting(error(api, code, span.each(30)))
}

/// The node holds all that it can have, and may have more pods.
fn filled(node: Node) -> Node {
    node.pool(27.0, 27.0, 27).max_pods(58)
}

const LOOKS: &[(Id, Looks)] = &[
    (
        Id::InstanceMetadataFailing,
        Told(
            |node, span| {
                // The agent's own reads fail, and none of a request.
                failing(node, "GetVPCIPv4CIDRBlocks", "IMDSRequestError", span).refusing(0.0)
            },
            &[],
        ),
    ),
    (
        Id::ProvisioningDisabled,
        Told(
            |node, _| node.env("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false").env("MINIMUM_IP_TARGET", "12"),
            &[Id::MinimumWithoutWarm],
        ),
    ),
    (
        Id::Ipv6PrefixMissing,
        Told(
            |node, _| {
                let mut node = without_counts(node).env("ENABLE_IPv6", "false").room(27.0, 27).max_pods(58);
                node.page.is_ipv6 = false;
                node
            },
            &[Id::MaxPodsTooHigh],
        ),
    ),
    (Id::PoolCappedByMaxPods, Told(|node, _| node.room(27.0, 27), &[Id::CooldownOnFullNode])),
    (Id::MaxEniSetting, Told(|node, _| node.env("MAX_ENI", "3"), &[Id::MaxPodsTooHigh])),
    (Id::SubnetExcludedByTag, Alike(Source::Subnets)),
    (
        Id::SubnetExcludedByTag,
        Told(
            |mut node, _| {
                // There is room for another ENI.
                node.page.enis = Some(2.0);
                node
            },
            &[Id::WarmPoolTooSmall],
        ),
    ),
    (Id::CooldownOnFullNode, Told(|node, _| filled(node), &[Id::MaxPodsTooHigh])),
    (Id::MaxPodsTooHigh, Told(|node, _| node.max_pods(29), &[Id::CooldownOnFullNode])),
    (Id::NodeFull, Alike(Source::Nodes)),
    (Id::NodeFull, Told(|node, _| node.max_pods(58), &[Id::MaxPodsTooHigh])),
    (Id::NodeCordoned, Told(|node, _| node.max_pods(29), &[Id::WarmPoolTooSmall])),
    (Id::MinimumWithoutWarm, Told(|node, _| filled(node), &[Id::MaxPodsTooHigh])),
    (
        Id::IamRoleUnusable,
        Told(
            |node, span| failing(node, "CreateNetworkInterface", "UnauthorizedOperation", span),
            &[Id::IamPermissionMissing],
        ),
    ),
    (
        Id::IamPermissionMissing,
        Told(
            |node, span| failing(node, "DetachNetworkInterface", "UnauthorizedOperation", span),
            &[Id::WarmPoolTooSmall, Id::IamRightMissingQuiet],
        ),
    ),
    (Id::SubnetFragmented, Alike(Source::Subnets)),
    (
        Id::SubnetExhausted,
        Told(
            |node, span| failing(node, "AssignPrivateIpAddresses", "InsufficientCidrBlocks", span),
            &[Id::SubnetFragmented],
        ),
    ),
    (Id::EniSlotsTaken, Told(|node, _| without_counts(filled(node)), &[Id::MaxPodsTooHigh])),
    (
        Id::EniQuotaReached,
        Told(
            |node, span| failing(node, "AttachNetworkInterface", "AttachmentLimitExceeded", span),
            &[Id::EniSlotsTaken],
        ),
    ),
    (Id::EniconfigInvalid, Alike(Source::EniConfigs)),
    (
        Id::EniconfigInvalid,
        Told(
            |node, span| {
                let node =
                    node.env("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false").env("ENABLE_PREFIX_DELEGATION", "true");
                failing(node.room(32.0, 432).max_pods(110), "CreateNetworkInterface", "InvalidParameterValue", span)
            },
            &[Id::SubnetFragmented],
        ),
    ),
    (
        Id::Ec2Throttled,
        Told(
            |node, span| {
                let failed = (LabelledFamily::Ec2ApiErrorCount, "AssignPrivateIpAddresses", "", span.each(10));
                without_counts(node).counting(failed)
            },
            &[Id::Ec2Unreachable],
        ),
    ),
    (Id::Ec2Unreachable, Alike(Source::AgentLog)),
    (
        Id::Ec2Unreachable,
        Told(
            |node, span| node.counting(error("CreateNetworkInterface", "RequestLimitExceeded", span.each(10))),
            &[Id::Ec2Throttled],
        ),
    ),
    (
        Id::Ec2RefusesOtherwise,
        Told(
            |node, span| failing(node, "AttachNetworkInterface", "UnauthorizedOperation", span),
            &[Id::IamPermissionMissing],
        ),
    ),
    (
        Id::PoolLoopStalled,
        Told(
            |node, span| {
                node.counting((
                    LabelledFamily::IpamdErrorCount,
                    "increaseIPPoolwaitENIAttachedFailed",
                    "",
                    span.each(180),
                ))
            },
            &[Id::EniAttachStuck],
        ),
    ),
    (
        Id::EniAttachStuck,
        Told(
            |node, span| {
                node.counting(error("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation", span.each(180)))
            },
            &[Id::IamPermissionMissing],
        ),
    ),
    (Id::WarmTargetsZero, Told(|node, _| node.env("WARM_IP_TARGET", "1"), &[Id::WarmPoolTooSmall])),
    (
        Id::PoolGrowing,
        Told(
            |node, span| {
                // It goes on.
                let held = 18.0 + (span.to / 10).min(60) as f64;
                node.pool(held, held, 900).max_pods(900).refusing(2.0)
            },
            &[Id::WarmPoolTooSmall],
        ),
    ),
    (Id::WarmPoolTooSmall, Told(|node, _| node.pool(24.0, 27.0, 27), &[Id::CooldownOnFullNode])),
    (Id::CauseUnknown, Alike(Source::AgentLog)),
    (Id::BranchEniNotProvided, Alike(Source::Pods)),
    // The node asks for a trunk.
    (Id::TrunkSlotMissing, Told(|node, _| Node { wants_trunk: node.wants_trunk.map(|_| true), ..node }, &[])),
    (
        Id::EniconfigMissing,
        Told(|node, _| Node { eni_config: node.eni_config.map(|(name, _)| (name, Some("subnet-1"))), ..node }, &[]),
    ),
    (Id::AgentSettingsRefused, Told(|node, _| node.env("WARM_PREFIX_TARGET", "1"), &[Id::AgentNotStarted])),
    (Id::AgentNotStarted, Told(|node, _| Node { is_ready: Some(true), ..node }, &[Id::AgentSilent])),
    (Id::AgentNotReady, Told(|node, _| node.silent("connect_refused"), &[Id::AgentNotStarted])),
    (
        Id::AgentSilent,
        Told(
            |node, _| {
                // The instance is lost.
                Node { status: Some(NodeStatus { is_ready: Some(false), ..NodeStatus::default() }), ..node }
            },
            &[],
        ),
    ),
    (Id::AgentRestarting, Told(|node, _| Node { restarts: node.restarts.min(2), ..node }, &[])),
    (
        Id::EnisForceRemoved,
        Told(
            |mut node, _| {
                node.page.forced_enis = Some(0.0);
                node
            },
            &[Id::AddressesForceRemoved],
        ),
    ),
    (
        Id::AddressesForceRemoved,
        Told(
            |mut node, _| {
                node.page.forced_enis = node.page.forced_addresses;
                node
            },
            &[Id::EnisForceRemoved],
        ),
    ),
    (
        Id::PoolOutOfStep,
        Told(
            |node, span| {
                // It also counts what it only looks at.
                without_counts(node).counting((
                    LabelledFamily::ReconcileCount,
                    "eniDataStorePoolReconcileAdd",
                    "",
                    18.0 * span.each(60),
                ))
            },
            &[],
        ),
    ),
    (
        Id::IamRightMissingQuiet,
        Told(
            |node, span| {
                // The ENI is still in use, which is normal.
                failing(node, "DeleteNetworkInterface", "InvalidParameterValue", span)
            },
            &[],
        ),
    ),
    (Id::MetricsDisabled, Told(|node, _| node.env("DISABLE_METRICS", "false"), &[Id::AgentSilent])),
    (
        Id::AgentTooOld,
        Told(
            |mut node, _| {
                (node.version, node.page.counts_refusals) = (Some(AgentVersion::new(1, 16, 0)), Some(true));
                node
            },
            &[],
        ),
    ),
    // What is spelled otherwise and read alike is no difference.
    (Id::SettingsDiffer, Told(|node, _| node.env("WARM_IP_TARGET", "none"), &[])),
    (Id::AgentVersionsDiffer, Told(|node, _| Node { version: Some(AgentVersion::new(1, 23, 2)), ..node }, &[])),
    (Id::WarmPoolOversized, Told(|node, _| node.pool(101.0, 200.0, 232), &[])),
    (Id::MaxPodsTooLow, Told(|node, _| node.max_pods(29), &[])),
    (Id::WarmEniTargetIgnored, Told(|node, _| node.env("WARM_IP_TARGET", "0"), &[])),
    (Id::WarmIpTargetCostsPrefix, Told(|node, _| node.env("WARM_IP_TARGET", "16"), &[])),
    (Id::TargetsIgnoredOnIpv6, Told(|node, _| node.env("WARM_IP_TARGET", "0"), &[])),
    (Id::PrefixesUnsupported, Told(|node, _| Node { instance_type: Some("m5.large"), ..node }, &[])),
];

/// The versions and settings in which a finding and what looks like it are compared.
fn cells_of(id: Id) -> impl Iterator<Item = Cell> {
    let version = if id == Id::AgentTooOld { VERSIONS[0] } else { VERSIONS[VERSIONS.len() - 1] };
    let takes_objects = matches!(id, Id::TrunkSlotMissing | Id::EniconfigMissing);
    let knowledge = if takes_objects { Knowledge::Cluster } else { Knowledge::Basic };
    INTERVALS_S.into_iter().map(move |interval_s| Cell { version, interval_s, knowledge })
}

/// The conclusion once everything has held.
fn at_the_end(id: Id, cell: Cell, change: fn(Node, Span) -> Node, others: &[Id]) -> Conclusion {
    let hold = others.iter().map(|other| rounds_until(*other, cell)).max().unwrap_or(LATE).max(rounds_until(id, cell));
    let mut last = Conclusion::default();
    watch((id, change), cell, hold + WATCHED_S / cell.interval_s, |_, conclusion| last = conclusion.clone());
    last
}

#[test]
fn each_finding_is_told_from_what_looks_most_like_it_or_says_what_would_tell() {
    for (id, looks) in LOOKS {
        for cell in cells_of(*id) {
            match looks {
                Told(change, others) => {
                    let conclusion = at_the_end(*id, cell, *change, others);
                    let mut named: Vec<Id> =
                        found(&conclusion, *id).iter().map(|finding| finding.identity.id).collect();
                    named.sort_unstable();
                    assert_eq!(named, *others, "beside {id} in {cell:?}: {}", in_short(&conclusion));
                }
                Alike(source) => {
                    let conclusion = at_the_end(*id, cell, unchanged, &[]);
                    let [finding] = conclusion.findings.as_slice() else { panic!("{id}: {}", in_short(&conclusion)) };
                    assert_eq!((finding.identity.id, finding.certainty), (*id, Certainty::Likely), "{cell:?}");
                    assert!(names_all(finding, &[*source]), "{id}: {:?}", finding.lacks);
                }
            }
        }
    }
}

#[test]
fn every_finding_has_something_that_looks_like_it() {
    let mut ids: Vec<Id> = LOOKS.iter().map(|(id, _)| *id).collect();
    ids.dedup();
    assert_eq!(ids, Id::ALL);
}
