//! What a cluster of two nodes shows for each trouble, by time, and how agents of each version spell it.

use cni_types::catalogue::{Family, LabelledFamily};
use cni_types::version::AgentVersion;

use crate::catalogue::FindingId as Id;
use crate::certainty::{Cell, Knowledge};
use crate::evidence::NodeStatus;
use crate::play::{Count, Node, error};

/// A round's part of the time since the trouble began, seconds: after `from`, up to `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    /// How often something happens that happens each `period` seconds, first after one second.
    pub(super) fn each(self, period: i64) -> f64 {
        let until = |time: i64| (time - 1).div_euclid(period) + 1;
        (until(self.to) - until(self.from)) as f64
    }

    /// Something happens once, at this time.
    fn at(self, time: i64) -> f64 {
        f64::from(u8::from(self.from < time && time <= self.to))
    }
}

/// Agents up to v1.19.3 are built with version 1 of the SDK.
const SECOND_SDK: AgentVersion = AgentVersion::new(1, 19, 4);

/// What an agent of the cell's version shows of this, and what can be read of it.
pub(super) fn shown(mut node: Node, cell: Cell) -> Node {
    let version = cell.version;
    let is_newer = node.version.is_some_and(|version| version.patch == NEWER_PATCH);
    node.version = Some(AgentVersion { patch: version.patch + u16::from(is_newer), ..version });
    let page = &mut node.page;
    let has = |family: Family| family.first_version() <= version;
    page.counts_refusals = Some(has(Family::NoAvailableIpAddresses));
    page.refused = page.refused.filter(|_| has(Family::NoAvailableIpAddresses));
    page.forced_enis = page.forced_enis.filter(|_| has(Family::ForceRemovedEnis));
    page.forced_addresses = page.forced_addresses.filter(|_| has(Family::ForceRemovedIps));
    node.counts.retain(|(family, ..)| has(family.family()));
    for (family, api, code, _) in &mut node.counts {
        if *family == LabelledFamily::AwsApiErrorCount && version < SECOND_SDK {
            (*api, *code) = first_sdk(api, code);
        }
    }
    node.counts.retain(|(family, _, code, _)| *family != LabelledFamily::AwsApiErrorCount || *code != NO_ANSWER);
    match cell.knowledge {
        Knowledge::Cluster => {}
        Knowledge::Basic => node = without_objects(node),
        Knowledge::WithoutNodes => node = without_labels(without_objects(node)),
        Knowledge::PagesOnly => {
            node = without_labels(without_objects(node));
            (node.has_agent, node.page.usable) = (false, None);
        }
    }
    node
}

fn without_objects(node: Node) -> Node {
    Node { eni_config: None, wants_trunk: None, ..node }
}

fn without_labels(node: Node) -> Node {
    Node { zone: None, group: None, instance_type: None, status: None, ..node }
}

/// Stands for a call without an answer, which agents from v1.19.4 count without a code.
const NO_ANSWER: &str = "no answer";

/// How agents with the first SDK name what newer ones do.
fn first_sdk(api: &'static str, code: &'static str) -> (&'static str, &'static str) {
    let code = match code {
        NO_ANSWER => "RequestError",
        "IMDSRequestError" => "EC2MetadataError",
        // The SDK hides the code of STS behind one of its own.
        "InvalidIdentityToken" => "WebIdentityErr",
        other => other,
    };
    (if api == "AssignIpv6Addresses" { "AssignPrivateIpv6Addresses" } else { api }, code)
}

/// The nodes in a round: two that have it, and those beside which they differ where it is about differences.
pub(super) fn world(id: Id, cell: Cell, span: Span) -> Vec<Node> {
    let mut nodes: Vec<Node> = ["a", "b"].map(|name| node(id, name, cell, span)).into();
    if matches!(id, Id::SettingsDiffer | Id::AgentVersionsDiffer) {
        nodes.extend(["c", "d", "e"].map(Node::new));
    }
    nodes
}

/// Stands for a version that is newer than the cell's by a patch.
const NEWER_PATCH: u16 = 99;
/// The first agents that give pods no addresses of their own subnet if a tag excludes it.
const RESPECTS_TAG: AgentVersion = AgentVersion::new(1, 22, 0);

fn node(id: Id, name: &str, cell: Cell, span: Span) -> Node {
    let facts = id.facts();
    let node = Node::new(name);
    match id {
        Id::SubnetExcludedByTag if cell.version < RESPECTS_TAG => node,
        Id::SettingsDiffer
        | Id::AgentVersionsDiffer
        | Id::WarmPoolOversized
        | Id::MaxPodsTooLow
        | Id::WarmEniTargetIgnored
        | Id::WarmIpTargetCostsPrefix
        | Id::TargetsIgnoredOnIpv6
        | Id::PrefixesUnsupported => of_settings(id, node),
        _ if facts.is_cause => cause(id, node, span),
        _ => trouble(id, node, cell, span),
    }
}

/// Two pods wait, and ask again each ten seconds.
fn refusing(node: Node, span: Span) -> Node {
    node.refusing(2.0 * span.each(10))
}

/// Every address is in use, and the node could have more.
fn short(node: Node, span: Span) -> Node {
    refusing(node.pool(18.0, 18.0, 27), span)
}

fn full(node: Node, span: Span) -> Node {
    refusing(node.pool(27.0, 27.0, 27).max_pods(58), span)
}

fn cause(id: Id, node: Node, span: Span) -> Node {
    match id {
        Id::InstanceMetadataFailing => {
            // Each request reads the VPC's blocks, and so does the agent every 30 s.
            let requests = 4.0 * span.each(10);
            let failed = requests + span.each(30);
            let mut node = node.counting(error("GetVPCIPv4CIDRBlocks", "IMDSRequestError", failed));
            (node.page.requests, node.page.refused) = (Some(requests), Some(span.each(10)));
            node
        }
        Id::Ipv6PrefixMissing => {
            let mut node = node.env("ENABLE_IPv6", "true").env("ENABLE_IPv4", "false").pool(0.0, 0.0, 0);
            (node.page.is_ipv6, node.page.usable, node.page.most) = (true, None, None);
            refusing(node, span).counting(error("AssignIpv6Addresses", "InvalidParameterValue", span.each(60)))
        }
        Id::PoolCappedByMaxPods
        | Id::MaxEniSetting
        | Id::SubnetExcludedByTag
        | Id::CooldownOnFullNode
        | Id::MaxPodsTooHigh
        | Id::NodeFull
        | Id::NodeCordoned => of_size(id, node, span),
        Id::ProvisioningDisabled => short(node, span).env("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true"),
        Id::MinimumWithoutWarm => short(node, span).env("MINIMUM_IP_TARGET", "12"),
        Id::WarmTargetsZero => short(node, span).env("WARM_ENI_TARGET", "0"),
        Id::PoolLoopStalled | Id::EniAttachStuck | Id::PoolGrowing | Id::WarmPoolTooSmall | Id::CauseUnknown => {
            of_pace(id, node, span)
        }
        _ => of_calls(id, short(node, span), span),
    }
}

fn of_size(id: Id, node: Node, span: Span) -> Node {
    match id {
        // Two of the addresses cool down.
        Id::PoolCappedByMaxPods => refusing(node.pool(16.0, 18.0, 27).max_pods(18), span),
        Id::MaxEniSetting => full(node, span).room(18.0, 18).env("MAX_ENI", "2"),
        // It has all ENIs; those of the first are given to no pod.
        Id::SubnetExcludedByTag => {
            let mut node = short(node, span);
            node.page.enis = Some(3.0);
            node
        }
        Id::CooldownOnFullNode => {
            let mut node = refusing(node.pool(24.0, 27.0, 27).max_pods(29), span);
            node.page.requests = node.page.refused.map(|refused| refused + span.each(5));
            node
        }
        Id::NodeCordoned => {
            let status = NodeStatus { max_pods: Some(29), is_cordoned: true, is_ready: Some(true) };
            Node { status: Some(status), ..short(node, span) }
        }
        Id::NodeFull => Node { status: None, ..full(node, span) },
        _ => full(node, span),
    }
}

fn of_pace(id: Id, mut node: Node, span: Span) -> Node {
    match id {
        Id::PoolLoopStalled => {
            node = short(node, span);
            node.page.in_progress = Some(1.0);
            node
        }
        Id::EniAttachStuck => {
            // It waits for some 162 s, gives up, and begins again.
            node = short(node, span);
            node.page.in_progress = Some(f64::from(u8::from(span.to.rem_euclid(180) > 10)));
            node.counting((LabelledFamily::IpamdErrorCount, "increaseIPPoolwaitENIAttachedFailed", "", span.each(180)))
        }
        Id::PoolGrowing => {
            let is_over = span.from >= 25;
            let (assigned, held) = if is_over { (20.0, 24.0) } else { (18.0, 18.0 + (span.to.min(30) / 10) as f64) };
            let node = node.pool(assigned, held, 27);
            if is_over { node } else { refusing(node, span) }
        }
        Id::WarmPoolTooSmall => {
            // Pods come and go: the pool grows and shrinks by one address.
            let held = 20.0 + (span.to / 10 % 2) as f64;
            let mut node = refusing(node.pool(held - 1.0, held, 27), span);
            node.page.requests = node.page.refused.map(|refused| refused + span.each(10));
            node
        }
        _ => {
            // How many addresses are held could not be read.
            node = short(node, span);
            (node.page.held, node.page.is_doubtful) = (None, true);
            node
        }
    }
}

/// Codes of failed calls, with the rhythm in which agents try again.
fn of_calls(id: Id, node: Node, span: Span) -> Node {
    match id {
        Id::IamRoleUnusable => ["DescribeNetworkInterfaces", "AssignPrivateIpAddresses", "CreateNetworkInterface"]
            .into_iter()
            .fold(node, |node, api| node.counting(error(api, "InvalidIdentityToken", span.each(30)))),
        Id::IamPermissionMissing => {
            node.counting(error("CreateNetworkInterface", "UnauthorizedOperation", span.each(30)))
        }
        // An agent that a subnet refused asks again after two minutes.
        Id::SubnetFragmented => node
            .room(32.0, 432)
            .max_pods(110)
            .env("ENABLE_PREFIX_DELEGATION", "true")
            .counting(error("AssignPrivateIpAddresses", "InsufficientCidrBlocks", span.each(125))),
        Id::SubnetExhausted => {
            let count = 5.0 * span.each(125);
            node.counting(error("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", count))
        }
        Id::EniSlotsTaken => {
            node.counting(error("AttachNetworkInterface", "AttachmentLimitExceeded", 5.0 * span.each(30)))
        }
        Id::EniQuotaReached => {
            node.counting(error("CreateNetworkInterface", "NetworkInterfaceLimitExceeded", span.each(30)))
        }
        Id::EniconfigInvalid => {
            let wrong = error("CreateNetworkInterface", "InvalidSubnetID.NotFound", span.each(30));
            let node = node.env("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true").counting(wrong);
            Node { eni_config: Some(("zone-a", Some("subnet-1"))), ..node }
        }
        Id::Ec2Throttled => node.counting(error("AssignPrivateIpAddresses", "RequestLimitExceeded", span.each(20))),
        Id::Ec2Unreachable => {
            let failed: Count = (LabelledFamily::Ec2ApiErrorCount, "CreateNetworkInterface", "", span.each(10));
            node.counting(failed).counting(error("CreateNetworkInterface", NO_ANSWER, span.each(10)))
        }
        _ => node.counting(error("AttachNetworkInterface", "OperationNotPermitted", span.each(60))),
    }
}

/// What is there at any time.
fn of_settings(id: Id, node: Node) -> Node {
    match id {
        Id::SettingsDiffer => node.env("WARM_IP_TARGET", "5"),
        Id::AgentVersionsDiffer => Node { version: Some(AgentVersion::new(1, 23, NEWER_PATCH)), ..node },
        Id::WarmPoolOversized => {
            Node { instance_type: Some("m5.4xlarge"), ..node.pool(20.0, 200.0, 232).max_pods(234) }
        }
        Id::MaxPodsTooLow => node.max_pods(17),
        Id::WarmEniTargetIgnored => node.env("WARM_ENI_TARGET", "2").env("WARM_IP_TARGET", "5"),
        Id::WarmIpTargetCostsPrefix => {
            node.pool(10.0, 32.0, 432).max_pods(110).env("ENABLE_PREFIX_DELEGATION", "true").env("WARM_IP_TARGET", "5")
        }
        Id::TargetsIgnoredOnIpv6 => {
            let mut node =
                node.env("ENABLE_IPv6", "true").env("ENABLE_PREFIX_DELEGATION", "true").env("WARM_IP_TARGET", "5");
            (node.page.is_ipv6, node.page.usable, node.page.most) = (true, None, None);
            (node.page.held, node.page.assigned) = (None, None);
            node
        }
        _ => {
            let node = node.pool(10.0, 18.0, 18).max_pods(20).env("ENABLE_PREFIX_DELEGATION", "true");
            Node { instance_type: Some("m4.large"), ..node }
        }
    }
}

/// A node without a page.
fn silent(node: Node, is_ready: bool) -> Node {
    Node { is_ready: Some(is_ready), ..node.silent("connect_refused") }
}

fn trouble(id: Id, mut node: Node, cell: Cell, span: Span) -> Node {
    let knows_pods = cell.knowledge != Knowledge::PagesOnly;
    match id {
        Id::BranchEniNotProvided => {
            node = node.env("ENABLE_POD_ENI", "true");
            node.page.requests = Some(2.0 * span.each(10));
            node.counting((LabelledFamily::PodEniErrorCount, "tryEnableSecurityGroupsForPods", "", span.each(60)))
        }
        Id::TrunkSlotMissing => {
            node.page.enis = node.page.most_enis;
            Node { wants_trunk: Some(false), ..node.env("ENABLE_POD_ENI", "true") }
        }
        Id::EniconfigMissing => {
            let node = node.env("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");
            Node { eni_config: Some(("zone-a", None)), ..node }
        }
        Id::AgentSettingsRefused => {
            silent(node, false).env("ENABLE_PREFIX_DELEGATION", "true").env("WARM_PREFIX_TARGET", "0")
        }
        Id::AgentNotStarted => silent(node, false),
        Id::AgentNotReady => Node { is_ready: Some(false), ..node },
        Id::AgentSilent => silent(node, true),
        Id::MetricsDisabled => silent(node, true).env("DISABLE_METRICS", "true"),
        Id::AgentRestarting => {
            let restarts = u32::try_from(span.to / 60).unwrap();
            Node { restarts: if knows_pods { restarts } else { 0 }, ..node }
        }
        Id::EnisForceRemoved => {
            (node.page.forced_enis, node.page.forced_addresses) = (Some(span.each(240)), Some(9.0 * span.each(240)));
            node
        }
        Id::AddressesForceRemoved => {
            node.page.forced_addresses = Some(span.each(240));
            node
        }
        // Each comparison also counts every address that it knows.
        Id::PoolOutOfStep => node
            .counting((LabelledFamily::ReconcileCount, "eniDataStorePoolReconcileAdd", "", 18.0 * span.each(60)))
            .counting((LabelledFamily::ReconcileCount, "eniReconcileAdd", "", span.each(60))),
        Id::IamRightMissingQuiet => {
            node.counting(error("UnassignPrivateIpAddresses", "UnauthorizedOperation", span.each(60)))
        }
        _ => {
            // Nothing but the agent's age.
            assert_eq!((id, span.at(0)), (Id::AgentTooOld, 0.0));
            node
        }
    }
}
