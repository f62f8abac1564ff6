//! How many pods a node may have, and which limit says so.

use cni_types::limits::{self, ADDRESSES_PER_PREFIX, InstanceLimits};

/// Pods on the host network, which need no pool address: the agent itself and kube-proxy.
pub const HOST_NETWORK_PODS: u32 = 2;
/// The cap for instances with few vCPUs ...
const SMALL_CAP: u32 = 110;
/// ... and for the others.
const LARGE_CAP: u32 = 250;
/// Up to here vCPUs are few.
const SMALL_VCPUS: u32 = 30;

/// Who sets the kubelet's max pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxPodsBy {
    /// EKS, for a managed node group without an image of its own.
    ManagedNodeGroup,
    /// The script of the EKS images, `max-pods-calculator.sh`.
    MaxPodsCalculator,
    /// Karpenter.
    Karpenter,
    /// nodeadm, which sets up nodes of Amazon Linux 2023, where no number is configured.
    Nodeadm,
}

impl MaxPodsBy {
    /// As it is called in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::ManagedNodeGroup => "managed node groups",
            Self::MaxPodsCalculator => "max-pods-calculator.sh",
            Self::Karpenter => "Karpenter",
            Self::Nodeadm => "nodeadm",
        }
    }

    /// It gives no node more than 110 pods, or 250 with many vCPUs.
    pub fn caps(self) -> bool {
        matches!(self, Self::ManagedNodeGroup | Self::MaxPodsCalculator)
    }
}

/// What to work out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the agent")]
pub struct MaxPodsQuestion {
    /// Limits of the instance.
    pub limits: InstanceLimits,
    /// Prefix delegation is on.
    pub prefix_delegation: bool,
    /// Custom networking is on.
    pub custom_networking: bool,
    /// `ENABLE_POD_ENI`: security groups for pods.
    pub pod_eni: bool,
    /// `MAX_ENI`; the agent takes 0 as not set.
    pub max_eni: Option<u32>,
    /// vCPUs; decides between the two caps.
    pub vcpus: u32,
    /// The cap holds.
    pub capped: bool,
    /// Pods on the host network.
    pub host_network_pods: u32,
}

/// The limit that binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// The instance's ENIs and their slots.
    Slots,
    /// `MAX_ENI`.
    MaxEni,
    /// The cap of the tool that sets max pods.
    Cap,
}

impl Binding {
    /// A word for tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slots => "eni-slots",
            Self::MaxEni => "max-eni",
            Self::Cap => "recommended-cap",
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxPods {
    /// The number.
    pub max_pods: u32,
    /// The number without the cap.
    pub by_slots: u32,
    /// The cap, if one was applied.
    pub cap: Option<u32>,
    /// Which limit binds.
    pub binding: Binding,
    /// The arithmetic with its numbers.
    pub formula: String,
    /// Prefix delegation was asked of an instance that cannot do it.
    pub prefix_fallback: bool,
    /// The number without prefix delegation and without the cap.
    pub without_prefixes: u32,
    /// One ENI is the trunk of security groups for pods.
    pub has_trunk: bool,
}

impl MaxPodsQuestion {
    /// Works it out.
    pub fn answer(&self) -> MaxPods {
        let limit = u32::from(self.limits.max_enis);
        let allowed = self.max_eni.filter(|max| *max >= 1).map_or(limit, |max| max.min(limit));
        let trunk = u32::from(self.pod_eni && self.limits.trunk_compatible && allowed > 1);
        let enis = allowed.saturating_sub(u32::from(self.custom_networking)).saturating_sub(trunk);
        let prefix = self.prefix_delegation && self.limits.prefix_capable();
        let by_slots = self.pods(enis, prefix);
        let cap = self.capped.then_some(if self.vcpus <= SMALL_VCPUS { SMALL_CAP } else { LARGE_CAP });
        let binding = match cap {
            Some(cap) if cap < by_slots => Binding::Cap,
            _ if allowed < limit => Binding::MaxEni,
            _ => Binding::Slots,
        };
        MaxPods {
            max_pods: cap.map_or(by_slots, |cap| cap.min(by_slots)),
            by_slots,
            cap,
            binding,
            formula: self.formula(allowed, trunk, prefix, cap),
            prefix_fallback: self.prefix_delegation && !prefix,
            without_prefixes: self.pods(enis, false),
            has_trunk: trunk > 0,
        }
    }

    /// Pods with an address of this number of ENIs, and those on the host network.
    fn pods(&self, enis: u32, prefix: bool) -> u32 {
        let per_slot = if prefix { ADDRESSES_PER_PREFIX } else { 1 };
        (enis * self.limits.slots() * per_slot).saturating_add(self.host_network_pods)
    }

    fn formula(&self, allowed: u32, trunk: u32, prefix: bool, cap: Option<u32>) -> String {
        let enis = match (self.custom_networking, trunk) {
            (false, 0) => format!("{allowed} ENIs"),
            (true, 0) => format!("({allowed} ENIs - 1)"),
            (false, _) => format!("({allowed} ENIs - 1 trunk)"),
            (true, _) => format!("({allowed} ENIs - 1 - 1 trunk)"),
        };
        let sixteen = if prefix { " x 16" } else { "" };
        let addresses = self.limits.ipv4_per_eni;
        let sum = format!("{enis} x ({addresses} addresses - 1){sixteen} + {}", self.host_network_pods);
        match cap {
            Some(cap) => format!("min({sum}, {cap})"),
            None => sum,
        }
    }
}

/// vCPUs by EC2's naming: two up to `large`, four an `xlarge`; a bare `metal` is as large as the largest other size of
/// its family.
///
/// The instance table has no vCPUs. EC2 keeps to this closely enough to tell thirty from more, which is all that the
/// cap asks. `None` for sizes that say nothing.
pub fn estimated_vcpus(instance_type: &str) -> Option<u32> {
    let (family, size) = instance_type.split_once('.')?;
    if size == "metal" {
        let siblings = limits::all().iter().filter(|known| known.family == family);
        return siblings.filter_map(|known| by_size(known.size)).max();
    }
    by_size(size)
}

fn by_size(size: &str) -> Option<u32> {
    match size {
        "nano" | "micro" | "small" | "medium" | "large" => Some(2),
        "xlarge" => Some(4),
        _ => {
            let size = size.strip_prefix("metal-").unwrap_or(size);
            let multiple: u32 = size.strip_suffix("xlarge").or_else(|| size.strip_suffix("xl"))?.parse().ok()?;
            multiple.checked_mul(4)
        }
    }
}
