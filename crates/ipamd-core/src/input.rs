//! What a core is told.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::limits::InstanceLimits;

use crate::id::{AttachmentId, BadId, EniId, Epoch, GroupId, InstanceId, OpId, RpcId, SubnetId, VpcId};

/// One thing that happened. `K` names a pod's attachment: network, container and interface for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<K> {
    /// The process started: the first input of each life.
    Boot(Boot),
    /// The time of `deadline()` came; it may be handed in early or late, the core compares times itself.
    Tick,
    /// The process is asked to end within this time, milliseconds.
    Terminate {
        /// Milliseconds.
        grace_ms: i64,
    },
    /// The API server can be reached from now on, or cannot.
    ApiServer {
        /// It can.
        reachable: bool,
    },
    /// The node object was seen, by a watch.
    NodeSeen(NodeSeen),
    /// Answers [`crate::output::Effect::Kube`].
    Kube(Answer<KubeReply, KubeError>),
    /// Answers [`crate::output::Effect::Imds`].
    Imds(Answer<ImdsReply, ImdsError>),
    /// Answers [`crate::output::Effect::Ec2`].
    Ec2(Answer<Ec2Reply, Ec2Failure>),
    /// Answers [`crate::output::Effect::Host`].
    Host(Answer<HostReply, HostError>),
    /// Answers [`crate::output::Effect::Store`].
    Store(Answer<StoreReply<K>, StoreError>),
    /// A link with this MAC appeared: shortens the wait for an ENI.
    LinkSeen {
        /// Lower case, with colons.
        mac: Mac,
    },
    /// The link of an attached ENI changed.
    LinkChanged {
        /// Its ENI.
        eni: EniId,
        /// It is up.
        up: bool,
        /// It has its primary address.
        has_primary: bool,
    },
    /// A pod's host interface is gone.
    VethGone {
        /// Its name.
        name: Box<str>,
        /// Its index: a later interface of the same name has another one.
        ifindex: u32,
    },
    /// A plugin asks for an address.
    Add(AddRequest<K>),
    /// A plugin gives an address back.
    Del(DelRequest<K>),
    /// The caller of this RPC is gone: the reply is dropped, what the RPC did stays.
    RpcGone {
        /// Which.
        rpc: RpcId,
    },
}

/// What a process knows when it starts, besides its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    /// The life that begins.
    pub epoch: Epoch,
    /// Its node's name.
    pub node_name: Box<str>,
    /// The API server answered when the process asked.
    pub api_server_reachable: bool,
    /// How long ago the process started, milliseconds: it may have waited for the API server.
    pub waited_ms: i64,
}

/// The answer to one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<R, E> {
    /// The effect that is answered. An id that is unknown or was answered before is counted and otherwise ignored.
    pub op: OpId,
    /// The life in which the effect was sent.
    pub epoch: Epoch,
    /// How long it took, milliseconds.
    pub took_ms: u32,
    /// What came of it.
    pub result: Result<R, E>,
}

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

/// What the node object says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSeen {
    /// `status.capacity.pods`.
    pub max_pods: Option<u32>,
    /// `spec.unschedulable`, or a taint that says the same.
    pub unschedulable: bool,
    /// The name of the node's `ENIConfig`, from its annotation or label.
    pub eni_config: Option<Box<str>>,
    /// `metadata.resourceVersion` as a number, where it is one: an older one is ignored.
    pub version: u64,
}

/// An answer of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeReply {
    /// The node.
    Node(NodeSeen),
    /// The node's `ENIConfig`.
    EniConfig {
        /// `spec.subnet`.
        subnet: SubnetId,
        /// `spec.securityGroups`; none means those of the primary ENI.
        groups: Vec<GroupId>,
    },
    /// A pod.
    Pod {
        /// Its UID.
        uid: Box<str>,
        /// Its branch ENI, if the VPC resource controller has written one.
        branch: Option<BranchEni>,
        /// Each container's claim to a branch ENI, in the order of the containers.
        wants_branch: Vec<bool>,
    },
    /// The `CNINode` object holds the feature.
    CniNodePatched,
    /// The pod's annotation is written.
    Annotated,
}

/// A branch ENI of a pod with security groups of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchEni {
    /// Its id.
    pub eni: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// VLAN on the trunk.
    pub vlan: u16,
    /// First address after the network's in its subnet.
    pub gateway: Option<Ipv4Addr>,
}

/// Why the API server did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KubeError {
    /// 404.
    #[error("not found")]
    NotFound,
    /// 409.
    #[error("conflict")]
    Conflict,
    /// 403.
    #[error("forbidden")]
    Forbidden,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// Anything else.
    #[error("failed")]
    Other,
}

/// An answer of the instance metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImdsReply {
    /// Who this instance is.
    Identity(Box<Identity>),
    /// Every attached ENI.
    Enis(Vec<ImdsEni>),
    /// Security groups of the primary ENI.
    Groups(Vec<GroupId>),
    /// The VPC's CIDRs, as text.
    VpcCidrs(Vec<Box<str>>),
}

/// Who this instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Region.
    pub region: Box<str>,
    /// Availability zone.
    pub zone: Box<str>,
    /// Instance.
    pub instance: InstanceId,
    /// Instance type.
    pub instance_type: Box<str>,
    /// Limits of the type where they are known without asking EC2.
    pub limits: Option<InstanceLimits>,
    /// VPC.
    pub vpc: VpcId,
    /// Subnet of the primary ENI.
    pub subnet: SubnetId,
    /// The primary ENI.
    pub primary_eni: EniId,
    /// Its MAC.
    pub primary_mac: Mac,
    /// Its first IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its first IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

/// An attached ENI, as the instance metadata service shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImdsEni {
    /// Its id.
    pub id: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Device number.
    pub device: u8,
    /// Network card.
    pub card: u8,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its IPv4 addresses, the primary first. `None`: the list could not be read, which is not an empty list.
    pub ipv4: Option<Vec<Ipv4Addr>>,
    /// Bases of its /28 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Bases of its /80 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
}

/// Why a read of the instance metadata service failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {kind}")]
pub struct ImdsError {
    /// Path below `/latest/`.
    pub path: Box<str>,
    /// How.
    pub kind: ImdsErrorKind,
}

/// How a read of the instance metadata service fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImdsErrorKind {
    /// 404.
    #[error("not found")]
    NotFound,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// The answer is not what stands there by its documentation.
    #[error("malformed answer")]
    Malformed,
}

/// An answer of EC2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ec2Reply {
    /// Subnets of the VPC and zone.
    Subnets(Vec<Ec2Subnet>),
    /// ENIs.
    Enis {
        /// Those that were found.
        found: Vec<Ec2Eni>,
        /// Where the next page begins, if there is one.
        next: Option<Box<str>>,
    },
    /// Devices of the instance in use, as (card, device).
    Devices(Vec<(u8, u8)>),
    /// Limits of the instance type.
    Limits(InstanceLimits),
    /// The ENI that was created, not attached.
    Created(Box<Ec2Eni>),
    /// The ENI is attached.
    Attached(AttachmentId),
    /// What was assigned.
    Assigned {
        /// Addresses.
        ipv4: Vec<Ipv4Addr>,
        /// Bases of /28 prefixes.
        ipv4_prefixes: Vec<Ipv4Addr>,
        /// Bases of /80 prefixes.
        ipv6_prefixes: Vec<Ipv6Addr>,
    },
    /// Done, and nothing to say.
    Done,
}

/// What `DescribeSubnets` says about one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Subnet {
    /// Which.
    pub id: SubnetId,
    /// `AvailableIpAddressCount`.
    pub free: u32,
    /// Tag `kubernetes.io/role/cni`.
    pub role: SubnetRole,
    /// Its cluster tags allow this cluster.
    pub cluster_fits: bool,
}

/// The tag `kubernetes.io/role/cni` of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubnetRole {
    /// Absent or empty.
    #[default]
    Untagged,
    /// "0": pods must not use it.
    Off,
    /// Any other value.
    On,
}

/// An ENI, as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Eni {
    /// Its id.
    pub id: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Kind.
    pub kind: EniKind,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its primary address.
    pub primary: Option<Ipv4Addr>,
    /// Its other addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Bases of its /28 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Addr>,
    /// Bases of its /80 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
    /// Its attachment, if it is attached.
    pub attachment: Option<Ec2Attachment>,
    /// Its tags.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Its description.
    pub description: Box<str>,
    /// Its security groups.
    pub groups: Vec<GroupId>,
}

/// `InterfaceType` of an ENI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EniKind {
    /// `interface`, and any that the agent treats like it.
    #[default]
    Interface,
    /// `trunk`, of security groups for pods.
    Trunk,
    /// `efa`: with addresses.
    Efa,
    /// `efa-only`: without addresses.
    EfaOnly,
}

impl EniKind {
    /// Its addresses are for pods.
    pub const fn serves_pods(self) -> bool {
        matches!(self, Self::Interface | Self::Efa)
    }
}

/// An ENI's attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ec2Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Device number.
    pub device: u8,
    /// Network card.
    pub card: u8,
    /// The state `attached` is reached.
    pub attached: bool,
    /// It goes with the instance.
    pub delete_on_termination: bool,
}

/// Why a call of EC2 did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Ec2Failure {
    /// The API error code, if there was one.
    pub code: Option<Box<str>>,
    /// The API error message: the id that was not found stands in it, in single quotes.
    pub message: Box<str>,
    /// The whole error as the SDK writes it: one label of the metrics page shows it.
    pub text: Box<str>,
    /// Whether the call may have happened.
    pub fate: Fate,
}

/// Whether a call that failed may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was not sent.
    NotSent,
    /// EC2 answered with an error.
    Refused,
    /// It was sent, and no usable answer came: it may have happened.
    Unknown,
}

/// The host did what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostReply {
    /// Done.
    Done,
    /// The ENI's link is set up and uses this routing table.
    EniReady {
        /// Table number.
        table: u32,
    },
    /// Evidence of pods on this host.
    Pods(Vec<HostPod>),
    /// Addresses of the host's own interfaces.
    HostAddrs(Vec<Ipv4Addr>),
}

/// A pod's interface on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPod {
    /// Name of the host's end.
    pub name: Box<str>,
    /// Its index.
    pub ifindex: u32,
    /// Addresses that are routed to it, or have a rule.
    pub routes: Vec<std::net::IpAddr>,
}

/// Why the host did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No link has the ENI's MAC.
    #[error("no link with this MAC address")]
    NoLink,
    /// Anything else.
    #[error("{0}")]
    Other(Box<str>),
}

/// What is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreReply<K> {
    /// The checkpoint.
    Checkpoint(Vec<CheckpointEntry<K>>),
    /// Written.
    Written,
}

/// One allocation of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointEntry<K> {
    /// Whose.
    pub key: K,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// When it was assigned, nanoseconds since 1970.
    pub allocated_ns: i64,
    /// Its pod.
    pub pod: PodName,
}

/// Why the checkpoint could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error("no checkpoint")]
    Missing,
    /// Its version is unknown.
    #[error("unknown version of the checkpoint")]
    Version,
    /// It cannot be parsed.
    #[error("malformed checkpoint: {0}")]
    Malformed(Box<str>),
    /// The disk refused.
    #[error("{0}")]
    Io(Box<str>),
}

/// A pod's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodName {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

/// A plugin asks for an address. The same key may come again, also while the first request waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest<K> {
    /// The RPC that asks.
    pub rpc: RpcId,
    /// Whose.
    pub key: K,
    /// Its pod.
    pub pod: PodName,
}

/// A plugin gives an address back. It may overtake the request for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelRequest<K> {
    /// The RPC that asks.
    pub rpc: RpcId,
    /// Whose.
    pub key: K,
    /// Its pod.
    pub pod: PodName,
    /// The pod's UID, where the plugin knows it.
    pub uid: Box<str>,
    /// Why, in the plugin's word.
    pub reason: DelReason,
}

/// Why an address is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DelReason {
    /// The pod is gone.
    PodDeleted,
    /// The plugin undoes a failed request.
    SetupNsFailed,
}

/// An input that contradicts itself or what is known: it is counted under this name, and otherwise ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadInput {
    /// No effect of this number waits for an answer.
    #[error("answer to operation {0}, which is unknown or was answered before")]
    UnknownOperation(u64),
    /// The effect was sent by an earlier life of the process: its answer completes nothing.
    #[error("answer to operation {0} of an earlier life of the process")]
    EarlierLife(u64),
    /// The answer is of another kind than the question.
    #[error("answer to operation {0} is of another kind than the operation")]
    WrongKind(u64),
    /// A second start in one life.
    #[error("the core was started twice")]
    SecondBoot,
    /// Something came before the start.
    #[error("input before the start of the core")]
    BeforeBoot,
    /// Two RPCs of one number at a time: the second is answered, but not done.
    #[error("RPC {0} was begun twice")]
    DuplicateRpc(u64),
    /// More RPCs wait than a node can have pods: the last is answered, but not done.
    #[error("RPC {0} came while too many others wait")]
    TooManyRpcs(u64),
    /// The instance type is in no table, and EC2 was not asked.
    #[error("no limits are known for the instance type {0}")]
    UnknownInstanceType(Box<str>),
    /// A text is no id.
    #[error(transparent)]
    Id(#[from] BadId),
    /// Two ENIs hold the same address.
    #[error("{address} is an address of {first} and of {second}")]
    DoubleAddress {
        /// Which.
        address: Ipv4Addr,
        /// The ENI that had it.
        first: EniId,
        /// The ENI that is said to have it.
        second: EniId,
    },
    /// More ENIs than an instance can have: those from this one on are ignored.
    #[error("{found} attached ENIs are listed, {limit} are possible; {eni} and those after it are ignored")]
    TooManyEnis {
        /// The first beyond the limit.
        eni: EniId,
        /// How many.
        found: usize,
        /// How many are possible.
        limit: usize,
    },
    /// More addresses than the instance type can have on an ENI.
    #[error("{eni} is said to have {found} addresses and prefixes, {limit} are possible")]
    TooMany {
        /// Which.
        eni: EniId,
        /// How many.
        found: usize,
        /// How many are possible.
        limit: usize,
    },
    /// A prefix whose base is not a multiple of its size.
    #[error("{0} is not the base of a /28 prefix")]
    PrefixBase(Ipv4Addr),
}

impl BadInput {
    /// The name under which it is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownOperation(_) => "unknown_operation",
            Self::EarlierLife(_) => "earlier_life",
            Self::WrongKind(_) => "wrong_kind",
            Self::SecondBoot => "second_boot",
            Self::BeforeBoot => "before_boot",
            Self::DuplicateRpc(_) => "duplicate_rpc",
            Self::TooManyRpcs(_) => "too_many_rpcs",
            Self::UnknownInstanceType(_) => "unknown_instance_type",
            Self::Id(_) => "bad_id",
            Self::DoubleAddress { .. } => "double_address",
            Self::TooManyEnis { .. } => "too_many_enis",
            Self::TooMany { .. } => "too_many_addresses",
            Self::PrefixBase(_) => "prefix_base",
        }
    }
}
