//! EC2 and IMDS as the agent sees them: operations, error codes, the instance's own state, and subnets.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::random::Random;

pub mod vpc;

pub use vpc::{SubnetSpec, Vpc};

/// An ENI's id, shown as `eni-` and seventeen hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EniId([u8; 9]);

impl EniId {
    /// An id as EC2 gives; its own begin with a zero these days.
    pub(crate) fn drawn(random: &mut Random) -> Self {
        Self::from_bits(u128::from(random.bits()))
    }

    /// The id made of the low 68 bits of `bits`.
    pub fn from_bits(bits: u128) -> Self {
        let mut bytes = [0; 9];
        bits.to_be_bytes().iter().rev().zip(bytes.iter_mut().rev()).for_each(|(from, to)| *to = *from);
        let [first, ..] = &mut bytes;
        *first &= 0x0f;
        Self(bytes)
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

/// A subnet of the VPC, by its number there.
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

/// What `DescribeSubnets` tells about one subnet.
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

impl Ec2Op {
    /// Every operation, sorted by name.
    pub const ALL: [Self; 14] = [
        Self::AssignIpv6Addresses,
        Self::AssignPrivateIpAddresses,
        Self::AttachNetworkInterface,
        Self::CreateNetworkInterface,
        Self::CreateTags,
        Self::DeleteNetworkInterface,
        Self::DescribeInstanceTypes,
        Self::DescribeInstances,
        Self::DescribeNetworkInterfaces,
        Self::DescribeSubnets,
        Self::DetachNetworkInterface,
        Self::ModifyNetworkInterfaceAttribute,
        Self::UnassignIpv6Addresses,
        Self::UnassignPrivateIpAddresses,
    ];

    /// The operation's name, as in the `fn` and `api` labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::AssignIpv6Addresses => "AssignIpv6Addresses",
            Self::AssignPrivateIpAddresses => "AssignPrivateIpAddresses",
            Self::AttachNetworkInterface => "AttachNetworkInterface",
            Self::CreateNetworkInterface => "CreateNetworkInterface",
            Self::CreateTags => "CreateTags",
            Self::DeleteNetworkInterface => "DeleteNetworkInterface",
            Self::DescribeInstanceTypes => "DescribeInstanceTypes",
            Self::DescribeInstances => "DescribeInstances",
            Self::DescribeNetworkInterfaces => "DescribeNetworkInterfaces",
            Self::DescribeSubnets => "DescribeSubnets",
            Self::DetachNetworkInterface => "DetachNetworkInterface",
            Self::ModifyNetworkInterfaceAttribute => "ModifyNetworkInterfaceAttribute",
            Self::UnassignIpv6Addresses => "UnassignIpv6Addresses",
            Self::UnassignPrivateIpAddresses => "UnassignPrivateIpAddresses",
        }
    }

    /// The operation of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// The `api` label of the latency summary, which names one operation differently from all other families.
    pub fn latency_name(self) -> &'static str {
        match self {
            Self::AssignIpv6Addresses => "AssignIpv6AddressesWithContext",
            _ => self.name(),
        }
    }

    /// Typical latency, milliseconds.
    pub(crate) fn typical_ms(self) -> i64 {
        match self {
            Self::AssignPrivateIpAddresses | Self::AssignIpv6Addresses => 294,
            Self::AttachNetworkInterface => 438,
            Self::CreateNetworkInterface | Self::DescribeInstances => 133,
            Self::CreateTags => 112,
            Self::DeleteNetworkInterface => 263,
            Self::DescribeInstanceTypes | Self::DescribeSubnets => 122,
            Self::DescribeNetworkInterfaces => 118,
            Self::DetachNetworkInterface => 203,
            Self::ModifyNetworkInterfaceAttribute => 155,
            Self::UnassignPrivateIpAddresses | Self::UnassignIpv6Addresses => 240,
        }
    }
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

impl Ec2Code {
    /// The code as EC2 spells it; empty where no API error came back.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "",
            Self::AttachmentLimitExceeded => "AttachmentLimitExceeded",
            Self::InsufficientCidrBlocks => "InsufficientCidrBlocks",
            Self::InsufficientFreeAddressesInSubnet => "InsufficientFreeAddressesInSubnet",
            Self::InternalError => "InternalError",
            Self::InvalidNetworkInterfaceIdNotFound => "InvalidNetworkInterfaceID.NotFound",
            Self::InvalidParameterValue => "InvalidParameterValue",
            Self::OperationNotPermitted => "OperationNotPermitted",
            Self::PrivateIpAddressLimitExceeded => "PrivateIpAddressLimitExceeded",
            Self::RequestLimitExceeded => "RequestLimitExceeded",
            Self::UnauthorizedOperation => "UnauthorizedOperation",
            Self::Unavailable => "Unavailable",
        }
    }

    /// An answer of the API, as opposed to none.
    pub fn is_api_error(self) -> bool {
        self != Self::NoAnswer
    }

    /// The two codes that start the 120 s cooldown.
    pub fn is_insufficient(self) -> bool {
        matches!(self, Self::InsufficientCidrBlocks | Self::InsufficientFreeAddressesInSubnet)
    }

    /// HTTP status with which EC2 sends this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::RequestLimitExceeded | Self::Unavailable => 503,
            Self::UnauthorizedOperation => 403,
            Self::InternalError => 500,
            _ => 400,
        }
    }
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

impl ImdsRead {
    /// The `api` label under which a failure is counted, if it is.
    pub fn counted_as(self, ipv6: bool) -> Option<&'static str> {
        match self {
            Self::Identity | Self::LocalAddresses => None,
            Self::Macs => Some("GetMACs"),
            Self::SecurityGroups => Some("GetSecurityGroupIDs"),
            Self::VpcCidrs if ipv6 => Some("GetVPCIPv6CIDRBlocks"),
            Self::VpcCidrs => Some("GetVPCIPv4CIDRBlocks"),
            Self::Prefixes => Some("GetIPv4Prefixes"),
        }
    }
}

/// EC2, IMDS and the subnets, as one node sees them.
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

/// The tags that decide whether the agent manages an ENI.
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
    /// Carries every tag the agent wants; if not, it adds them at init.
    pub tagged: bool,
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

impl AttachedEni {
    /// An ordinary ENI of this instance without secondary addresses, not yet tagged.
    pub fn new(id: EniId, device: u8, subnet: SubnetId, primary: Ipv4Addr) -> Self {
        Self {
            id,
            device,
            kind: EniKind::Interface,
            managed_by: ManagedBy::Own,
            tagged: false,
            subnet,
            primary,
            addresses: Vec::new(),
            prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
        }
    }

    /// Everything but the primary address, ascending by kind.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let addresses = self.addresses.iter().copied().map(Block::Address);
        let prefixes = self.prefixes.iter().copied().map(Block::Prefix);
        addresses.chain(prefixes).chain(self.ipv6_prefixes.iter().copied().map(Block::Ipv6Prefix))
    }

    /// Slots in use.
    pub fn used_slots(&self) -> usize {
        self.addresses.len() + self.prefixes.len()
    }

    pub(crate) fn holds(&self, block: Block) -> bool {
        match block {
            Block::Address(address) => self.addresses.binary_search(&address).is_ok(),
            Block::Prefix(base) => self.prefixes.binary_search(&base).is_ok(),
            Block::Ipv6Prefix(base) => self.ipv6_prefixes.contains(&base),
        }
    }

    pub(crate) fn add(&mut self, block: Block) {
        match block {
            Block::Address(address) => insert(&mut self.addresses, address),
            Block::Prefix(base) => insert(&mut self.prefixes, base),
            Block::Ipv6Prefix(base) => insert(&mut self.ipv6_prefixes, base),
        }
    }

    pub(crate) fn add_all(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.add(*block);
        }
    }

    /// Whether the block was there.
    pub(crate) fn remove(&mut self, block: Block) -> bool {
        let held = self.holds(block);
        match block {
            Block::Address(address) => self.addresses.retain(|kept| *kept != address),
            Block::Prefix(base) => self.prefixes.retain(|kept| *kept != base),
            Block::Ipv6Prefix(base) => self.ipv6_prefixes.retain(|kept| *kept != base),
        }
        held
    }

    /// Gives everything, the primary address included, back to the subnet.
    pub(crate) fn give_back(&self, cloud: &mut dyn Cloud) {
        for block in self.blocks().chain([Block::Address(self.primary)]) {
            cloud.give_back(self.subnet, block);
        }
    }
}

impl Instance {
    /// The attached ENI of this id.
    pub fn eni(&self, id: EniId) -> Option<&AttachedEni> {
        self.enis.iter().find(|eni| eni.id == id)
    }

    pub(crate) fn eni_mut(&mut self, id: EniId) -> Option<&mut AttachedEni> {
        self.enis.iter_mut().find(|eni| eni.id == id)
    }

    /// Lowest device index not in use.
    pub(crate) fn free_device(&self) -> u8 {
        (0..=u8::MAX).find(|index| self.enis.iter().all(|eni| eni.device != *index)).unwrap_or(u8::MAX)
    }

    pub(crate) fn attach(&mut self, eni: AttachedEni) {
        self.enis.push(eni);
        self.enis.sort_by_key(|eni| eni.device);
    }

    pub(crate) fn detach(&mut self, id: EniId) -> Option<AttachedEni> {
        let index = self.enis.iter().position(|eni| eni.id == id)?;
        Some(self.enis.remove(index))
    }
}

fn insert<T: Ord>(sorted: &mut Vec<T>, value: T) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}
