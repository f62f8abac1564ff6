//! Reads of IMDS, and how their failures are counted.

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
