//! For each finding of the catalogue a cluster in which it is the true cause, and the only one.

use cni_insight::catalogue::FindingId as Id;
use cni_sim::truth::TrueCause;

use super::play::Rights;

/// A finding and the cluster that shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) id: Id,
    /// The true causes of refused requests that it names; none where it is wrong by itself.
    pub(super) causes: &'static [TrueCause],
    /// The node group `all`: four nodes, by its other keys.
    pub(super) group: &'static str,
    pub(super) workload: &'static str,
    /// One fault per line.
    pub(super) faults: &'static [&'static str],
    /// For what is wrong by itself: when the evidence is complete but for the time that it must last, seconds.
    pub(super) from_s: i64,
    pub(super) rights: Rights,
    /// Further keys of two nodes more that have the label of the same node group; none without such nodes.
    pub(super) second: &'static str,
    /// The agents' version; the simulator's own without it.
    pub(super) version: Option<&'static str>,
}

/// A cause that shows with this group, workload and faults.
const fn cause(
    id: Id,
    causes: &'static [TrueCause],
    (group, workload): (&'static str, &'static str),
    faults: &'static [&'static str],
) -> Row {
    Row { id, causes, group, workload, faults, from_s: 0, rights: Rights::All, second: "", version: None }
}

/// Something that is wrong by itself from this time on.
const fn trouble(
    id: Id,
    from_s: i64,
    (group, workload): (&'static str, &'static str),
    faults: &'static [&'static str],
) -> Row {
    Row { id, causes: &[], group, workload, faults, from_s, rights: Rights::All, second: "", version: None }
}

/// Pods that hold still.
const CALM: &str = "pods_per_node: 8";
/// More pods than an m5.large has addresses for.
const TOO_MANY: &str = "pods_per_node: 40";
/// Two dozen pods that arrive after the first minute, on nodes that have addresses for far fewer.
const MORE: &str = "pods_per_node: 3, waves: { extra: 24, every: 30m, lasts: 29m }";
/// A node that could have 58 addresses and holds few more than its pods need.
const TIGHT: &str = "instance_type: m5.xlarge, env: { WARM_IP_TARGET: 1 }";

/// The type's addresses, which are got an ENI at a time.
const XLARGE: &str = "instance_type: m5.xlarge";
/// More pods than two ENIs have addresses for.
const MANY_MORE: &str = "pods_per_node: 3, waves: { extra: 40, every: 60m, lasts: 59m }";
/// An m5.large admits more pods than it has addresses for.
const LARGE_58: &str = "instance_type: m5.large, max_pods: 58";
/// Pods in a subnet of their own.
const CUSTOM: &str = "instance_type: m5.xlarge, pod_subnet: pods";

/// Every finding that is shown, in the order of the catalogue.
pub(super) const ROWS: &[Row] = &[
    cause(
        Id::InstanceMetadataFailing,
        &[TrueCause::MetadataDown],
        (XLARGE, "pods_per_node: 8, churn_per_minute: 24"),
        &["fault: node-imds"],
    ),
    cause(
        Id::ProvisioningDisabled,
        &[TrueCause::ProvisioningOff],
        ("instance_type: m5.large, env: { DISABLE_NETWORK_RESOURCE_PROVISIONING: true }", CALM),
        &[],
    ),
    cause(
        Id::ProvisioningDisabled,
        &[TrueCause::ProvisioningOff],
        ("instance_type: m5.large, env: { ENABLE_IMDS_ONLY_MODE: true }", CALM),
        &[],
    ),
    cause(
        Id::Ipv6PrefixMissing,
        &[TrueCause::NoIpv6Prefix],
        (
            "instance_type: m5.large, env: { ENABLE_IPv4: false, ENABLE_IPv6: true, ENABLE_PREFIX_DELEGATION: true }, count: 0",
            CALM,
        ),
        &[
            "fault: { missing-iam: { action: AssignIpv6Addresses } }",
            "target: { group: all }, fault: { join: { count: 4 } }",
        ],
    ),
    cause(
        Id::PoolCappedByMaxPods,
        &[TrueCause::PodLimitReached],
        (
            "instance_type: m5.xlarge, max_pods: 14, env: { WARM_IP_TARGET: 2, MINIMUM_IP_TARGET: 14 }",
            "pods_per_node: 12, churn_per_minute: 24",
        ),
        &[],
    ),
    cause(
        Id::MaxEniSetting,
        &[TrueCause::MaxEni],
        ("instance_type: m5.xlarge, max_pods: 58, env: { MAX_ENI: 2 }", TOO_MANY),
        &[],
    ),
    cause(
        Id::SubnetExcludedByTag,
        &[TrueCause::SubnetExcluded],
        ("instance_type: m5.large, subnet: off", "pods_per_node: 3, waves: { extra: 24, every: 60m, lasts: 59m }"),
        &[],
    ),
    cause(
        Id::CooldownOnFullNode,
        &[TrueCause::AddressesRest],
        ("instance_type: m5.large", "pods_per_node: 22, churn_per_minute: 24"),
        &[],
    ),
    cause(Id::MaxPodsTooHigh, &[TrueCause::MorePodsThanAddresses], (LARGE_58, TOO_MANY), &[]),
    cause(
        Id::MaxPodsTooHigh,
        &[TrueCause::MorePodsThanAddresses],
        ("instance_type: t2.medium, pod_subnet: pods, max_pods: 17", "pods_per_node: 15"),
        &[],
    ),
    Row {
        rights: Rights::NoNodes,
        ..cause(Id::NodeFull, &[TrueCause::MorePodsThanAddresses], (LARGE_58, TOO_MANY), &[])
    },
    cause(Id::NodeCordoned, &[TrueCause::Cordoned], (TIGHT, MORE), &["fault: cordon"]),
    cause(
        Id::MinimumWithoutWarm,
        &[TrueCause::MinimumReached],
        ("instance_type: m5.large, env: { MINIMUM_IP_TARGET: 12 }", "pods_per_node: 20"),
        &[],
    ),
    cause(
        Id::IamRoleUnusable,
        &[TrueCause::CredentialsRefused],
        (TIGHT, MORE),
        &["fault: { role-unusable: { code: InvalidIdentityToken } }"],
    ),
    // Denied on one API only it would be a permission: without discovery the agent goes on to create an ENI.
    cause(
        Id::IamRoleUnusable,
        &[TrueCause::CredentialsRefused],
        ("instance_type: m5.xlarge, env: { ENABLE_SUBNET_DISCOVERY: false }", MANY_MORE),
        &["fault: { role-unusable: {} }"],
    ),
    cause(
        Id::IamPermissionMissing,
        &[TrueCause::ActionNotAllowed],
        (XLARGE, MANY_MORE),
        &["fault: { missing-iam: { action: CreateNetworkInterface } }"],
    ),
    cause(
        Id::SubnetFragmented,
        &[TrueCause::NoFreeBlock],
        (
            "instance_type: m5.large, max_pods: 110, env: { ENABLE_PREFIX_DELEGATION: true }",
            "pods_per_node: 3, waves: { extra: 90, every: 60m, lasts: 59m }",
        ),
        &["fault: { fragment: { subnet: a, share: 1 } }"],
    ),
    cause(
        Id::SubnetExhausted,
        &[TrueCause::NoFreeAddress],
        (XLARGE, MANY_MORE),
        &["fault: { subnet-dry: { subnet: a } }"],
    ),
    cause(
        Id::EniSlotsTaken,
        &[TrueCause::SlotsTaken],
        (XLARGE, MANY_MORE),
        &["fault: { foreign-eni: { count: 4, listed: false } }"],
    ),
    cause(Id::EniQuotaReached, &[TrueCause::QuotaUsedUp], (XLARGE, MANY_MORE), &["fault: { eni-quota: {} }"]),
    cause(
        Id::EniconfigInvalid,
        &[TrueCause::EniConfigWrong],
        (CUSTOM, MANY_MORE),
        &["fault: { eni-config: unknown-subnet }"],
    ),
    cause(
        Id::EniconfigInvalid,
        &[TrueCause::EniConfigWrong],
        (CUSTOM, MANY_MORE),
        &["fault: { eni-config: unknown-group }"],
    ),
    cause(Id::Ec2Throttled, &[TrueCause::Throttled], (TIGHT, MORE), &["fault: { ec2-throttling: { share: 1 } }"]),
    cause(Id::Ec2Unreachable, &[TrueCause::NoAnswer], (TIGHT, MORE), &["fault: ec2-unreachable"]),
    cause(
        Id::Ec2RefusesOtherwise,
        &[TrueCause::OtherCode],
        (TIGHT, MORE),
        &["fault: { ec2-refusal: { code: InternalError } }"],
    ),
    cause(
        Id::PoolLoopStalled,
        &[TrueCause::AnswerLate],
        (XLARGE, MANY_MORE),
        &["fault: { ec2-late: { action: CreateNetworkInterface, by: 1h } }"],
    ),
    // Each ENI that does not appear takes a slot: this type has enough of them for the time that is played.
    cause(
        Id::EniAttachStuck,
        &[TrueCause::NewEniHidden],
        ("instance_type: m5.24xlarge", "pods_per_node: 3, waves: { extra: 110, every: 60m, lasts: 59m }"),
        &["fault: imds-hides-new-enis"],
    ),
    cause(
        Id::WarmTargetsZero,
        &[TrueCause::TargetsZero],
        ("instance_type: m5.4xlarge, env: { WARM_ENI_TARGET: 0 }", "pods_per_node: 20, churn_per_minute: 60"),
        &[],
    ),
    cause(
        Id::PoolGrowing,
        &[TrueCause::PoolBehindPods],
        (TIGHT, "pods_per_node: 3, waves: { extra: 8, every: 30m, lasts: 29m }"),
        &[],
    ),
    cause(
        Id::WarmPoolTooSmall,
        &[TrueCause::PoolBehindPods],
        ("instance_type: m5.4xlarge, env: { WARM_IP_TARGET: 2 }", "pods_per_node: 20, churn_per_minute: 24"),
        &[],
    ),
    cause(
        Id::CauseUnknown,
        &[TrueCause::MorePodsThanAddresses],
        // Figures of one network card after the other say nothing.
        ("instance_type: m5.large, max_pods: 58, env: { ENABLE_MULTI_NIC: true }", TOO_MANY),
        &[],
    ),
    trouble(
        Id::BranchEniNotProvided,
        0,
        (
            "instance_type: m5.4xlarge, cni_node: absent, env: { ENABLE_POD_ENI: true }",
            "pods_per_node: 8, churn_per_minute: 36",
        ),
        &[],
    ),
    trouble(
        Id::AgentSettingsRefused,
        0,
        ("instance_type: m5.large, env: { ENABLE_PREFIX_DELEGATION: true, WARM_PREFIX_TARGET: 0 }", CALM),
        &[],
    ),
    trouble(Id::AgentSettingsRefused, 0, ("instance_type: m5.large, env: { IP_COOLDOWN_PERIOD: -1 }", CALM), &[]),
    trouble(
        Id::AgentNotStarted,
        30,
        ("instance_type: m5.large", CALM),
        &["fault: { missing-iam: { action: DescribeNetworkInterfaces } }", "at: 30s, fault: { restart: {} }"],
    ),
    trouble(Id::AgentNotReady, 0, ("instance_type: m5.large", CALM), &["fault: not-ready"]),
    trouble(Id::AgentSilent, 0, ("instance_type: m5.large", CALM), &["fault: hang"]),
    trouble(Id::AgentRestarting, 720, ("instance_type: m5.large", CALM), &["fault: { restart: { every: 4m } }"]),
    trouble(Id::EnisForceRemoved, 60, ("instance_type: m5.large", "pods_per_node: 22"), &["fault: lose-eni"]),
    trouble(
        Id::AddressesForceRemoved,
        60,
        ("instance_type: m5.large", "pods_per_node: 22"),
        &["fault: { lose-addresses: { count: 3 } }"],
    ),
    trouble(
        Id::PoolOutOfStep,
        420,
        ("instance_type: m5.large, env: { WARM_ENI_TARGET: 2 }", "pods_per_node: 0"),
        &[
            "for: 100s, fault: imds-drops-eni",
            "at: 200s, for: 100s, fault: imds-drops-eni",
            "at: 400s, for: 100s, fault: imds-drops-eni",
            "at: 1000s, for: 100s, fault: imds-drops-eni",
        ],
    ),
    trouble(
        Id::IamRightMissingQuiet,
        240,
        (
            "instance_type: m5.xlarge, env: { WARM_IP_TARGET: 6 }",
            "pods_per_node: 4, churn_per_minute: 1, waves: { extra: 5, every: 4m, lasts: 2m }",
        ),
        &["fault: { missing-iam: { action: UnassignPrivateIpAddresses } }"],
    ),
    trouble(Id::MetricsDisabled, 0, ("instance_type: m5.large, env: { DISABLE_METRICS: true }", CALM), &[]),
    trouble(Id::AgentTooOld, 0, ("instance_type: m5.large, agent_version: v1.12.6", CALM), &[]),
    Row { second: "env: { WARM_IP_TARGET: 4 }", ..trouble(Id::SettingsDiffer, 0, (XLARGE, CALM), &[]) },
    Row { second: "agent_version: v1.22.1", ..trouble(Id::AgentVersionsDiffer, 0, (XLARGE, CALM), &[]) },
    trouble(Id::WarmPoolOversized, 0, ("instance_type: m5.4xlarge", CALM), &[]),
    trouble(Id::MaxPodsTooLow, 0, ("instance_type: m5.large, max_pods: 15", CALM), &[]),
    trouble(
        Id::WarmEniTargetIgnored,
        0,
        ("instance_type: m5.large, env: { WARM_ENI_TARGET: 2, WARM_IP_TARGET: 4 }", CALM),
        &[],
    ),
    trouble(
        Id::WarmIpTargetCostsPrefix,
        0,
        ("instance_type: m5.large, env: { ENABLE_PREFIX_DELEGATION: true, WARM_IP_TARGET: 2 }", CALM),
        &[],
    ),
    trouble(
        Id::TargetsIgnoredOnIpv6,
        0,
        (
            "instance_type: m5.large, env: { ENABLE_IPv4: false, ENABLE_IPv6: true, ENABLE_PREFIX_DELEGATION: true, WARM_IP_TARGET: 3 }",
            CALM,
        ),
        &[],
    ),
    trouble(
        Id::PrefixesUnsupported,
        0,
        ("instance_type: t2.medium, env: { ENABLE_PREFIX_DELEGATION: true }", CALM),
        &[],
    ),
];

/// Findings that no cluster shows yet, and what is missing for it.
pub(super) const NOT_SHOWN_YET: &[(Id, &str)] = &[
    (Id::TrunkSlotMissing, "it takes objects of the API server (INSIGHT=cluster), which these plays do not read"),
    (Id::EniconfigMissing, "the same; the helper's own test of findings shows it over sockets"),
];
