//! What an instance type may carry: ENIs, addresses per ENI, hypervisor, branch ENIs.

/// Who virtualises the instance; prefix delegation needs Nitro or bare metal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// AWS Nitro.
    Nitro,
    /// Xen: no prefix delegation.
    Xen,
    /// Not stated by EC2 (most bare-metal types).
    Unknown,
}

/// The limits of one instance type (those of its default network card).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceLimits {
    /// ENIs on the default network card.
    pub max_enis: u16,
    /// IPv4 addresses of one ENI, its primary included.
    pub ipv4_per_eni: u16,
    /// Hypervisor.
    pub hypervisor: Hypervisor,
    /// Bare metal.
    pub bare_metal: bool,
    /// Number of network cards.
    pub network_cards: u8,
    /// May carry a trunk ENI; types absent from the controller's table count as compatible.
    pub trunk_compatible: bool,
    /// Branch ENIs for security groups per pod.
    pub branch_enis: u16,
}

/// The limits of a known instance type.
pub fn find(_instance_type: &str) -> Option<InstanceLimits> {
    todo!()
}
