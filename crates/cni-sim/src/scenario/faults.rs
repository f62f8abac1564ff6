//! What a scenario can make go wrong, when, and for whom.

use super::span::{At, Share, Span};
use crate::fault::{ApiFault, CloudWatchFault, Ec2Fault, ImdsFault};
use serde::Deserialize;

/// One fault.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// From the clock's start; what is injected into a running cluster begins at once if this has passed.
    #[serde(default)]
    pub at: Span,
    /// How long it lasts; without it, to the end.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
    /// Which nodes it affects (faults of subnets and services have no target).
    #[serde(default)]
    pub target: Target,
    /// What happens.
    pub fault: At<FaultKind>,
}

/// A choice of nodes. What is given must all hold; nothing given is every node.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Only nodes of this group.
    #[serde(default)]
    pub group: Option<At<String>>,
    /// Only nodes in this zone.
    #[serde(default)]
    pub zone: Option<At<String>>,
    /// Only nodes of these names.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Of those, this share, at least one; drawn from the seed.
    #[serde(default)]
    pub fraction: Option<Share>,
    /// Of those, at most this many; drawn from the seed.
    #[serde(default)]
    pub count: Option<u32>,
}

/// The path on which a page cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Not from the API server: the security group lacks the rule for tcp/61678.
    #[default]
    Proxy,
    /// Not from the helper.
    Direct,
    /// From nowhere.
    Both,
}

/// What is wrong with an `ENIConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EniConfigFault {
    /// There is none of the node's name.
    Missing,
    /// Its subnet does not exist.
    UnknownSubnet,
    /// One of its security groups does not exist.
    UnknownGroup,
}

fn all() -> Share {
    Share(1.0)
}

fn access_denied() -> String {
    "AccessDenied".to_owned()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The page is sent slowly.
    SlowPage {
        /// Speed of the body.
        bytes_per_second: u32,
        /// Silence before the first byte.
        #[serde(default)]
        first_byte_after: Span,
    },
    /// The request is never answered.
    Hang,
    /// One byte per second without end.
    Endless,
    /// The connection is reset.
    Reset,
    /// The port is closed.
    Refused,
    /// Packets vanish on the way to the port.
    Unreachable {
        /// On which way.
        #[serde(default)]
        via: Reach,
    },
    /// Status 200 and bytes that are not text.
    Garbage,
    /// Status 200 and an HTML page, as a captive proxy gives.
    Html,
    /// Status 200 and nothing.
    Empty,
    /// Status 200 and half a page.
    Truncated,
    /// A page of this many bytes.
    Huge {
        /// Size.
        bytes: u64,
    },
    /// A small compressed page that unpacks to this many bytes.
    GzipBomb {
        /// Size after decompression.
        bytes: u64,
    },
    /// An error status instead of a page.
    PageStatus {
        /// HTTP status.
        code: u16,
        /// `Retry-After`, seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
    },
    /// An error in the API server's own words: a Kubernetes Status, with line breaks and what looks like a log line in its
    /// message.
    ForgedStatus {
        /// HTTP status.
        code: u16,
        /// `Retry-After`, seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
    },
    /// A page of short lines, each another series of one family, in descending order.
    ShortLines {
        /// About its size.
        bytes: u64,
    },
    /// The real page with this in the place of each value.
    OddValues {
        /// For example `1e300`, `-5` or `NaN`.
        value: String,
    },
    /// A good page's first line below this many headers of 1,000 bytes.
    LongHeaders {
        /// How many.
        count: u32,
    },
    /// EC2 throttles this share of the nodes' own operations.
    Ec2Throttling {
        /// 0 to 1.
        share: Share,
    },
    /// The nodes' role lacks an action.
    MissingIam {
        /// EC2 action, for example `CreateNetworkInterface`.
        action: At<String>,
    },
    /// EC2 refuses the nodes' operations with a code.
    Ec2Refusal {
        /// EC2 action; without it every one.
        #[serde(default)]
        action: Option<At<String>>,
        /// The code as EC2 spells it, for example `InternalError`.
        code: String,
        /// 0 to 1.
        #[serde(default = "all")]
        share: Share,
    },
    /// EC2 answers the nodes late.
    Ec2Late {
        /// EC2 action; without it every one.
        #[serde(default)]
        action: Option<At<String>>,
        /// By this much.
        by: Span,
    },
    /// EC2 does not answer the nodes.
    Ec2Unreachable,
    /// The nodes' role cannot be assumed: no call is sent with valid credentials.
    RoleUnusable {
        /// The code of STS that agents from v1.19.4 count; older ones count `WebIdentityErr`, whatever STS says.
        #[serde(default = "access_denied")]
        code: String,
    },
    /// The account may have only this number of ENIs more.
    EniQuota {
        /// ENIs that can still be created.
        #[serde(default)]
        leave: usize,
    },
    /// Others attach ENIs to the nodes, with the tag by which agents leave them alone.
    ForeignEni {
        /// ENIs for each node.
        #[serde(default = "one")]
        count: u32,
        /// The metadata service lists them. Otherwise the agent does not know that they take slots.
        #[serde(default = "yes")]
        listed: bool,
    },
    /// Others unassign addresses that pods use.
    LoseAddresses {
        /// Addresses on each node, of one ENI.
        #[serde(default = "one")]
        count: u32,
    },
    /// The nodes' metadata service does not list ENIs that are attached while this lasts.
    ImdsHidesNewEnis,
    /// The nodes' `ENIConfig` is missing or wrong.
    EniConfig(EniConfigFault),
    /// The nodes' metadata service fails.
    NodeImds,
    /// Others take a subnet's free addresses.
    SubnetDry {
        /// Subnet.
        subnet: At<String>,
        /// Addresses left free.
        #[serde(default)]
        leave: u32,
    },
    /// Others take one address in this share of a subnet's free /28 blocks.
    Fragment {
        /// Subnet.
        subnet: At<String>,
        /// 0 to 1.
        share: Share,
    },
    /// The agent's container restarts, once or again and again while the fault lasts.
    Restart {
        /// Time between restarts of one node.
        #[serde(default)]
        every: Option<Span>,
    },
    /// The agents restart while EC2 throttles their `DescribeSubnets`. Agents from 1.22.0 to before 1.23.2 forget the pods of each
    /// ENI whose subnet they could not look up in six tries, which take about 50 s.
    RestartThrottled,
    /// The nodes' metadata service does not list the ENI, other than the primary one, on which most pods run.
    ImdsDropsEni,
    /// The nodes' disks are full: agents cannot write their checkpoints.
    DiskFull,
    /// The readiness probe of the agents' containers fails, although they serve.
    NotReady,
    /// Pods vanish without a DEL: their addresses stay assigned.
    LeakIps {
        /// On each node.
        per_minute: f64,
    },
    /// An ENI with pods vanishes behind the agent's back.
    LoseEni,
    /// The instances terminate; the API server needs a while to notice.
    NodeLoss {
        /// New nodes join when the lost ones are deleted.
        #[serde(default)]
        replace: bool,
    },
    /// Nodes are cordoned.
    Cordon,
    /// New nodes join; the target names the group.
    Join {
        /// How many.
        count: u32,
    },
    /// The API server.
    ApiServer(ApiFault),
    /// CloudWatch.
    Cloudwatch(CloudWatchFault),
    /// EC2, for the helper's own requests.
    Ec2Api(Ec2Fault),
    /// The metadata service, for the helper's own requests.
    Imds(ImdsFault),
}

impl FaultKind {
    /// Changes how a node's page is served.
    pub fn is_page_fault(&self) -> bool {
        matches!(
            self,
            Self::SlowPage { .. }
                | Self::Hang
                | Self::Endless
                | Self::Reset
                | Self::Refused
                | Self::Unreachable { .. }
                | Self::Garbage
                | Self::Html
                | Self::Empty
                | Self::Truncated
                | Self::Huge { .. }
                | Self::GzipBomb { .. }
                | Self::PageStatus { .. }
                | Self::ForgedStatus { .. }
                | Self::ShortLines { .. }
                | Self::OddValues { .. }
                | Self::LongHeaders { .. }
        )
    }
}
