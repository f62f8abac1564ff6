//! How many pods a node may have, and which limit says so.

use cni_types::limits::{self, ADDRESSES_PER_PREFIX, InstanceLimits};

/// Pods that need no pool address: the agent itself and kube-proxy.
const HOST_NETWORK_PODS: u32 = 2;
/// Recommended cap of instances with few vCPUs ...
const SMALL_CAP: u32 = 110;
/// ... and of the others.
const LARGE_CAP: u32 = 250;
/// Up to here vCPUs are few.
const SMALL_VCPUS: u32 = 30;

/// What to work out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPodsQuestion {
    /// Limits of the instance.
    pub limits: InstanceLimits,
    /// Prefix delegation is on.
    pub prefix_delegation: bool,
    /// Custom networking is on.
    pub custom_networking: bool,
    /// `MAX_ENI`.
    pub max_eni: Option<u32>,
    /// vCPUs; decides between the two caps.
    pub vcpus: u32,
    /// The recommended cap holds.
    pub capped: bool,
}

/// The limit that binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// The instance's ENIs and their slots.
    Slots,
    /// `MAX_ENI`.
    MaxEni,
    /// The recommended cap.
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
}

impl MaxPodsQuestion {
    /// Works it out.
    pub fn answer(&self) -> MaxPods {
        let limit = u32::from(self.limits.max_enis);
        let allowed = self.max_eni.filter(|max| *max >= 1).map_or(limit, |max| max.min(limit));
        let enis = allowed.saturating_sub(u32::from(self.custom_networking));
        let prefix = self.prefix_delegation && self.limits.prefix_capable();
        let per_slot = if prefix { ADDRESSES_PER_PREFIX } else { 1 };
        let by_slots = enis * self.limits.slots() * per_slot + HOST_NETWORK_PODS;
        let cap = self.capped.then_some(if self.vcpus <= SMALL_VCPUS { SMALL_CAP } else { LARGE_CAP });
        let binding = match cap {
            Some(cap) if cap < by_slots => Binding::Cap,
            _ if allowed < limit => Binding::MaxEni,
            _ => Binding::Slots,
        };
        let max_pods = cap.map_or(by_slots, |cap| cap.min(by_slots));
        let prefix_fallback = self.prefix_delegation && !prefix;
        MaxPods { max_pods, by_slots, cap, binding, formula: self.formula(allowed, prefix, cap), prefix_fallback }
    }

    fn formula(&self, allowed: u32, prefix: bool, cap: Option<u32>) -> String {
        let enis = if self.custom_networking { format!("({allowed} ENIs - 1)") } else { format!("{allowed} ENIs") };
        let sixteen = if prefix { " x 16" } else { "" };
        let addresses = self.limits.ipv4_per_eni;
        let sum = format!("{enis} x ({addresses} addresses - 1){sixteen} + {HOST_NETWORK_PODS}");
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
