//! EC2 and IMDS as the agent meets them: operations, error codes, the instance's own state, and subnets.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

pub mod vpc;

pub use vpc::{SubnetSpec, Vpc};

/// An ENI's id, shown as `eni-` and seventeen hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EniId([u8; 9]);

impl EniId {
    /// The id made of the low 68 bits of `bits`.
    pub fn from_bits(bits: u128) -> Self {
        let [.., a, b, c, d, e, f, g, h, i] = bits.to_be_bytes();
        Self([a & 0x0f, b, c, d, e, f, g, h, i])
    }
}

impl fmt::Display for EniId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "eni-{first:x}")?;
        rest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EniId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A subnet of the world, by its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubnetId(pub u32);

/// Something a subnet lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    /// One IPv4 address.
    Address(Ipv4Addr),
    /// A /28, by its base.
    Prefix(Ipv4Addr),
    /// A /80, by its base.
    Ipv6Prefix(Ipv6Addr),
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

/// What DescribeSubnets tells about one subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetView {
    /// Which.
    pub id: SubnetId,
    /// Free addresses.
    pub free_addresses: u32,
    /// Its role tag.
    pub role: SubnetRole,
    /// Its cluster tags allow this cluster.
    pub cluster_fits: bool,
}

/// EC2 operations the agent calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ec2Op {
    /// `AssignIpv6Addresses`.
    AssignIpv6Addresses,
    /// `AssignPrivateIpAddresses`.
    AssignPrivateIpAddresses,
    /// `AttachNetworkInterface`.
    AttachNetworkInterface,
    /// `CreateNetworkInterface`.
    CreateNetworkInterface,
    /// `CreateTags`.
    CreateTags,
    /// `DeleteNetworkInterface`.
    DeleteNetworkInterface,
    /// `DescribeInstanceTypes`.
    DescribeInstanceTypes,
    /// `DescribeInstances`.
    DescribeInstances,
    /// `DescribeNetworkInterfaces`.
    DescribeNetworkInterfaces,
    /// `DescribeSubnets`.
    DescribeSubnets,
    /// `DetachNetworkInterface`.
    DetachNetworkInterface,
    /// `ModifyNetworkInterfaceAttribute`.
    ModifyNetworkInterfaceAttribute,
    /// `UnassignIpv6Addresses`.
    UnassignIpv6Addresses,
    /// `UnassignPrivateIpAddresses`.
    UnassignPrivateIpAddresses,
}

/// Why an EC2 operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ec2Code {
    /// No answer: a timeout or a broken connection; not an API error, so no code in any label.
    NoAnswer,
    /// `AttachmentLimitExceeded`.
    AttachmentLimitExceeded,
    /// `InsufficientCidrBlocks`: no free /28.
    InsufficientCidrBlocks,
    /// `InsufficientFreeAddressesInSubnet`.
    InsufficientFreeAddressesInSubnet,
    /// `InternalError`.
    InternalError,
    /// `InvalidNetworkInterfaceID.NotFound`.
    InvalidNetworkInterfaceIdNotFound,
    /// `InvalidParameterValue`: e.g. deleting an ENI that is still in use.
    InvalidParameterValue,
    /// `OperationNotPermitted`.
    OperationNotPermitted,
    /// `PrivateIpAddressLimitExceeded`.
    PrivateIpAddressLimitExceeded,
    /// `RequestLimitExceeded`: throttling.
    RequestLimitExceeded,
    /// `UnauthorizedOperation`: the role lacks the action.
    UnauthorizedOperation,
    /// `Unavailable`.
    Unavailable,
}

/// IMDS reads that can fail; those marked are counted as API errors, the rest only have consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImdsRead {
    /// Identity at start; fatal, not counted.
    Identity,
    /// The list of MACs; counted as `GetMACs`.
    Macs,
    /// Security groups; counted as `GetSecurityGroupIDs`.
    SecurityGroups,
    /// The VPC's CIDRs; counted as `GetVPCIPv4CIDRBlocks` (or the IPv6 one).
    VpcCidrs,
    /// An ENI's secondary addresses; not counted.
    LocalAddresses,
    /// An ENI's prefixes; counted as `GetIPv4Prefixes`.
    Prefixes,
}

/// EC2, IMDS and the subnets, as one node meets them.
pub trait Cloud {
    /// The code with which `op` fails now, if it does.
    fn fault(&mut self, op: Ec2Op, at_ms: i64) -> Option<Ec2Code>;
    /// Whether `read` fails now.
    fn imds_fault(&mut self, read: ImdsRead, at_ms: i64) -> bool;
    /// The subnets of the node's VPC and zone.
    fn subnets(&self) -> Vec<SubnetView>;
    /// Takes `count` addresses, all or none.
    fn take_addresses(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code>;
    /// Takes `count` /28 blocks, all or none; the answer holds their bases.
    fn take_prefixes(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code>;
    /// Takes one /80.
    fn take_ipv6_prefix(&mut self, subnet: SubnetId) -> Result<Ipv6Addr, Ec2Code>;
    /// Gives a block back.
    fn give_back(&mut self, subnet: SubnetId, block: Block);
}

/// What kind of ENI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EniKind {
    /// An ordinary one.
    #[default]
    Interface,
    /// The trunk of security groups per pod.
    Trunk,
    /// EFA without IP.
    EfaOnly,
}

/// The tags that decide who manages an ENI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManagedBy {
    /// Tagged with this instance's id.
    #[default]
    Own,
    /// No tag that says anything.
    Untagged,
    /// Tagged with another instance's id, not with ours.
    Other,
    /// `no_manage=true`.
    NoManage,
    /// `no_manage` with any other value.
    Manage,
}

/// An ENI attached to the instance, as EC2 and IMDS see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedEni {
    /// Its id.
    pub id: EniId,
    /// Device index; 0 is the primary.
    pub device: u8,
    /// Kind.
    pub kind: EniKind,
    /// Tags.
    pub managed_by: ManagedBy,
    /// Subnet.
    pub subnet: SubnetId,
    /// Primary address.
    pub primary: Ipv4Addr,
    /// Secondary addresses, ascending.
    pub addresses: Vec<Ipv4Addr>,
    /// /28 bases, ascending.
    pub prefixes: Vec<Ipv4Addr>,
    /// /80 bases.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
}

/// EC2's view of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instance {
    /// Attached ENIs by device index.
    pub enis: Vec<AttachedEni>,
}
