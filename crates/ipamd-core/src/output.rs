//! What a core wants done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_types::ec2::Ec2Operation;

use crate::id::{AttachmentId, EniId, Epoch, GroupId, OpId, RpcId, SubnetId};
use crate::input::{BranchEni, Mac, PodName};

/// One thing to do. Only an effect is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Do this, and hand in its answer.
    Effect {
        /// Names it in the answer.
        op: OpId,
        /// The life that asks.
        epoch: Epoch,
        /// After this time the core takes it for unanswered, milliseconds.
        budget_ms: i64,
        /// What to do.
        effect: Effect,
    },
    /// Answer this RPC.
    Reply {
        /// Which.
        rpc: RpcId,
        /// With what.
        reply: Reply,
    },
    /// The node can serve pods: open the socket, the metrics page and the introspection.
    Ready,
    /// Write this to the log; nothing else is done.
    Warn(Warning),
    /// End the process with this reason; nothing comes after it.
    Fatal {
        /// One line.
        reason: Box<str>,
    },
}

/// Something that works worse than it could, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Addresses rest shorter than the host remembers connections that were never answered.
    #[error(
        "IP_COOLDOWN_PERIOD is {cooldown_s} s, net.netfilter.nf_conntrack_tcp_timeout_syn_sent is {timeout_s} s: a pod may get \
         packets that were meant for the pod that had its address before; set IP_COOLDOWN_PERIOD to {timeout_s} or more"
    )]
    ShortCooldown {
        /// `IP_COOLDOWN_PERIOD`, seconds.
        cooldown_s: i64,
        /// The host's timeout, seconds.
        timeout_s: u32,
    },
}

/// Something outside that is asked or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answered by [`crate::Input::Ec2`].
    Ec2(Ec2Call),
    /// Answered by [`crate::Input::Imds`].
    Imds(ImdsRead),
    /// Answered by [`crate::Input::Kube`].
    Kube(KubeCall),
    /// Answered by [`crate::Input::Host`].
    Host(HostCall),
    /// Answered by [`crate::Input::Store`].
    Store(StoreCall),
}

/// A call of EC2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ec2Call {
    /// The subnets of the node's VPC and zone.
    DescribeSubnets,
    /// These ENIs.
    DescribeEnis {
        /// Which.
        ids: Vec<EniId>,
    },
    /// ENIs of the VPC that some agent may have left behind.
    DescribeLeaked {
        /// The page to continue with.
        page: Option<Box<str>>,
    },
    /// This instance.
    DescribeInstance,
    /// This instance's type.
    DescribeInstanceType,
    /// A new ENI.
    CreateEni {
        /// `ClientToken`: the same call again makes no second ENI.
        token: u64,
        /// Its subnet.
        subnet: SubnetId,
        /// Its security groups.
        groups: Vec<GroupId>,
        /// What it holds from the start.
        want: Want,
        /// Its tags.
        tags: Vec<(Box<str>, Box<str>)>,
        /// Its description.
        description: Box<str>,
    },
    /// Attaches an ENI to this instance.
    Attach {
        /// Which.
        eni: EniId,
        /// Device number.
        device: u8,
        /// Network card.
        card: u8,
    },
    /// Lets an ENI go with the instance.
    SetDeleteOnTermination {
        /// Which.
        eni: EniId,
        /// Its attachment.
        attachment: AttachmentId,
    },
    /// Replaces an ENI's security groups.
    SetGroups {
        /// Which.
        eni: EniId,
        /// All of them.
        groups: Vec<GroupId>,
    },
    /// Detaches an ENI.
    Detach {
        /// Which.
        eni: EniId,
        /// Its attachment; without one the SDK refuses the call.
        attachment: Option<AttachmentId>,
    },
    /// Deletes an ENI.
    Delete {
        /// Which.
        eni: EniId,
    },
    /// Adds tags to an ENI.
    Tag {
        /// Which.
        eni: EniId,
        /// Which tags.
        tags: Vec<(Box<str>, Box<str>)>,
    },
    /// Adds addresses or prefixes to an ENI. Not idempotent.
    Assign {
        /// Which.
        eni: EniId,
        /// What.
        want: Want,
    },
    /// Takes addresses or prefixes from an ENI, all or none.
    Unassign {
        /// Which.
        eni: EniId,
        /// Addresses.
        ipv4: Vec<Ipv4Addr>,
        /// Bases of /28 prefixes.
        ipv4_prefixes: Vec<Ipv4Addr>,
    },
    /// Takes /80 prefixes from an ENI.
    UnassignIpv6 {
        /// Which.
        eni: EniId,
        /// Their bases.
        prefixes: Vec<Ipv6Addr>,
    },
}

/// Addresses that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Secondary IPv4 addresses.
    Ipv4(u32),
    /// /28 prefixes.
    Ipv4Prefixes(u32),
    /// /80 prefixes.
    Ipv6Prefixes(u32),
}

impl Ec2Call {
    /// The operation of EC2 that the call is.
    pub fn operation(&self) -> Ec2Operation {
        match self {
            Self::DescribeSubnets => Ec2Operation::DescribeSubnets,
            Self::DescribeEnis { .. } | Self::DescribeLeaked { .. } => Ec2Operation::DescribeNetworkInterfaces,
            Self::DescribeInstance => Ec2Operation::DescribeInstances,
            Self::DescribeInstanceType => Ec2Operation::DescribeInstanceTypes,
            Self::CreateEni { .. } => Ec2Operation::CreateNetworkInterface,
            Self::Attach { .. } => Ec2Operation::AttachNetworkInterface,
            Self::SetDeleteOnTermination { .. } | Self::SetGroups { .. } => {
                Ec2Operation::ModifyNetworkInterfaceAttribute
            }
            Self::Detach { .. } => Ec2Operation::DetachNetworkInterface,
            Self::Delete { .. } => Ec2Operation::DeleteNetworkInterface,
            Self::Tag { .. } => Ec2Operation::CreateTags,
            Self::Assign { want: Want::Ipv6Prefixes(_), .. } => Ec2Operation::AssignIpv6Addresses,
            Self::Assign { .. } => Ec2Operation::AssignPrivateIpAddresses,
            Self::Unassign { .. } => Ec2Operation::UnassignPrivateIpAddresses,
            Self::UnassignIpv6 { .. } => Ec2Operation::UnassignIpv6Addresses,
        }
    }

    /// It changes something in EC2.
    pub fn is_mutation(&self) -> bool {
        !matches!(
            self,
            Self::DescribeSubnets
                | Self::DescribeEnis { .. }
                | Self::DescribeLeaked { .. }
                | Self::DescribeInstance
                | Self::DescribeInstanceType
        )
    }
}

/// A read of the instance metadata service; each is several requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImdsRead {
    /// Who this instance is.
    Identity,
    /// Every attached ENI with its addresses.
    Enis,
    /// Security groups of the primary ENI.
    Groups,
    /// CIDRs of the VPC.
    VpcCidrs,
}

/// A call of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeCall {
    /// The node.
    GetNode,
    /// An `ENIConfig`.
    GetEniConfig {
        /// Its name.
        name: Box<str>,
    },
    /// A pod.
    GetPod(PodName),
    /// Announces a feature in the node's `CNINode`.
    PatchCniNode {
        /// Its name.
        feature: &'static str,
        /// Its value.
        value: Box<str>,
    },
    /// Writes or clears a pod's address annotation.
    AnnotatePod {
        /// Whose.
        pod: PodName,
        /// Its UID: a pod of the name with another one is not found. Empty: any.
        uid: Box<str>,
        /// The address to write, `None` to clear it.
        set: Option<IpAddr>,
        /// The address that is cleared; another one stays.
        release: Option<IpAddr>,
    },
    /// A warning event about a permission that is missing. Not answered.
    WarnMissingPermission {
        /// The EC2 operation.
        operation: Ec2Operation,
    },
}

/// Something to do in the host's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostCall {
    /// Rules of the whole host.
    SetUpHost {
        /// CIDRs of the VPC.
        vpc_cidrs: Vec<Box<str>>,
        /// Address of the primary ENI.
        primary: Option<IpAddr>,
    },
    /// Rules of source address translation.
    UpdateSnat {
        /// CIDRs of the VPC.
        vpc_cidrs: Vec<Box<str>>,
    },
    /// Link, addresses and routing table of an ENI.
    SetUpEni {
        /// Which.
        eni: EniId,
        /// Its MAC.
        mac: Mac,
        /// Device number.
        device: u8,
        /// Network card.
        card: u8,
        /// Its primary address.
        primary: Option<Ipv4Addr>,
        /// It is the trunk.
        trunk: bool,
    },
    /// Removes the rules of an ENI that is given up.
    DropEniRules {
        /// Its primary address.
        primary: Option<Ipv4Addr>,
    },
    /// Writes the rules of these pods anew.
    RefreshPodRules {
        /// Their addresses.
        ips: Vec<IpAddr>,
    },
    /// Evidence of pods on this host.
    ListPods,
    /// Addresses of the host's own interfaces.
    ListHostAddrs,
    /// MACs of the host's links.
    ListLinks,
    /// Deletes the host's connection tracking entries whose original or reply tuple holds this address. Not answered.
    ForgetConnections {
        /// The address that a pod is about to get.
        address: IpAddr,
    },
}

/// Something to do with the files of the agent. Writes are serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreCall {
    /// Read the checkpoint.
    ReadCheckpoint,
    /// Read the second file.
    ReadSecond,
    /// Replace the second file by what `Core::second_file` says when the write begins.
    WriteSecond {
        /// Grows with each write.
        generation: u64,
    },
    /// Replace the checkpoint by what `Core::checkpoint` says when the write begins.
    WriteCheckpoint {
        /// Grows with each write.
        generation: u64,
    },
}

/// The answer to an RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The pod has this address.
    Added {
        /// Its address.
        address: IpAddr,
        /// Device number of its ENI.
        device: u8,
        /// CIDRs of the VPC.
        vpc_cidrs: Vec<Box<str>>,
    },
    /// The pod has this branch ENI; the pool has no part in it.
    AddedBranch {
        /// Which.
        branch: BranchEni,
        /// CIDRs of the VPC.
        vpc_cidrs: Vec<Box<str>>,
    },
    /// The pod gets no address: none is free, or what the pod needs besides is missing. What was assigned stays assigned
    /// until its DEL.
    AddRefused,
    /// The pod's address is free.
    Deleted {
        /// Which.
        address: IpAddr,
        /// Device number of its ENI.
        device: u8,
    },
    /// The pod had this branch ENI.
    DeletedBranch {
        /// Which.
        branch: BranchEni,
    },
    /// The pod has no address here, and the API server does not know it either.
    Gone,
    /// The pod has no address here.
    UnknownPod,
    /// The agent does not serve yet.
    NotReady,
    /// The RPC failed.
    Failed {
        /// Why.
        text: Box<str>,
    },
}
