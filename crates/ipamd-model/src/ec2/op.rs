//! Operations of EC2, reads of IMDS, and how they fail.

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
