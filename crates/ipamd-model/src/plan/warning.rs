//! Traps: settings that read one way and act another.

use std::fmt;

use super::question::NodeQuestion;
use crate::settings::Mode;
use cni_types::limits::ADDRESSES_PER_PREFIX;
use ipamd_core::input::EniKind;
use ipamd_core::store::Pool;

/// One trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// Prefix delegation was asked of an instance that cannot do it.
    PrefixesImpossible,
    /// The pool stops at the minimum.
    MinimumFreezesPool {
        /// As it acts.
        minimum: u32,
    },
    /// `WARM_ENI_TARGET` is set and has no say.
    WarmEniIgnored {
        /// What has.
        by: &'static str,
    },
    /// `WARM_PREFIX_TARGET` is set and has no say.
    WarmPrefixIgnored {
        /// What has.
        by: &'static str,
    },
    /// The minimum is rounded up to whole prefixes.
    MinimumRoundedUp {
        /// As set.
        minimum: u32,
        /// As it acts.
        effective: u32,
    },
    /// Pods that get no address.
    PodsWithoutAddress {
        /// How many.
        pods: u32,
    },
    /// More pods than the node may have at all.
    PodsBeyondMaxPods {
        /// Asked for.
        pods: u32,
        /// Beside those on the host network.
        host_network_pods: u32,
        /// Capacity, host-network pods included.
        max_pods: u32,
    },
    /// A target is more than the instance can hold.
    TargetAbovePossible {
        /// Which.
        target: &'static str,
        /// As set.
        value: u32,
        /// Pod addresses that the instance can hold.
        possible: u32,
    },
    /// `MAX_ENI` is 0.
    MaxEniZero,
    /// `ENABLE_POD_ENI` on an instance that cannot carry a trunk ENI.
    TrunkImpossible,
    /// One ENI is the trunk of security groups for pods.
    TrunkTakesEni {
        /// Pods that can have a branch ENI; 0 where that is not known.
        branch_enis: u16,
    },
    /// The pool stops growing at the pod capacity.
    GrowthCapped {
        /// Capacity.
        max_pods: u32,
    },
    /// The primary ENI serves no pods.
    PrimaryUnused,
    /// `MAX_ENI` allows more than the instance does.
    MaxEniAboveLimit {
        /// As set.
        max_eni: u32,
        /// What the instance can have.
        limit: u32,
    },
    /// Only the first network card is modelled.
    OtherCardsIgnored {
        /// How many cards there are.
        cards: u8,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefixesImpossible => f.write_str(
                "ENABLE_PREFIX_DELEGATION has no effect: the instance is neither Nitro nor bare metal, so the agent \
                 falls back to secondary addresses",
            ),
            Self::MinimumFreezesPool { minimum } => write!(
                f,
                "MINIMUM_IP_TARGET without WARM_IP_TARGET freezes the pool at {minimum} addresses: pods beyond that \
                 stay in ContainerCreating",
            ),
            Self::WarmEniIgnored { by } => write!(f, "WARM_ENI_TARGET is ignored: {by} takes its place"),
            Self::WarmPrefixIgnored { by } => write!(f, "WARM_PREFIX_TARGET is ignored: {by} takes its place"),
            Self::MinimumRoundedUp { minimum, effective } => {
                write!(f, "MINIMUM_IP_TARGET={minimum} acts as {effective}: prefixes hold sixteen addresses each")
            }
            Self::PodsWithoutAddress { pods } => {
                write!(f, "{pods} of the pods get no address from the pool and stay in ContainerCreating")
            }
            Self::PodsBeyondMaxPods { pods, host_network_pods, max_pods } => write!(
                f,
                "{pods} pods and {host_network_pods} on the host network exceed the node's {max_pods} max pods: {} of \
                 them stay Pending",
                pods.saturating_add(*host_network_pods).saturating_sub(*max_pods),
            ),
            Self::TargetAbovePossible { target, value, possible } => write!(
                f,
                "{target}={value} is never reached: the instance holds at most {possible} pod addresses with these settings",
            ),
            Self::MaxEniZero => f.write_str("MAX_ENI=0 has no effect: the agent takes values below 1 as not set"),
            Self::TrunkImpossible => {
                f.write_str("ENABLE_POD_ENI has no effect: this instance type cannot carry a trunk ENI")
            }
            Self::TrunkTakesEni { branch_enis: 0 } => {
                f.write_str("with ENABLE_POD_ENI one ENI is the trunk, which has no addresses for other pods")
            }
            Self::TrunkTakesEni { branch_enis } => write!(
                f,
                "with ENABLE_POD_ENI one ENI is the trunk, which has no addresses for other pods; up to {branch_enis} \
                 pods with a security group have a branch ENI each, and the subnet lends one address for each of them",
            ),
            Self::GrowthCapped { max_pods } => {
                write!(f, "the pool does not grow any more once it holds {max_pods} addresses, the node's max pods")
            }
            Self::PrimaryUnused => f.write_str("with custom networking the primary ENI serves no pods"),
            Self::MaxEniAboveLimit { max_eni, limit } => {
                write!(f, "MAX_ENI={max_eni} has no effect: the instance has {limit} ENIs at most")
            }
            Self::OtherCardsIgnored { cards } => {
                write!(f, "the instance has {cards} network cards; only the first one is counted")
            }
        }
    }
}

pub(super) fn find(question: &NodeQuestion, mode: Mode, pool: &Pool<u64>, refused: u32) -> Vec<Warning> {
    let mut found = ignored(question, mode);
    let settings = &question.settings;
    let limit = u32::from(question.limits.max_enis);
    if let Some(max_eni) = settings.max_eni.filter(|max_eni| *max_eni > limit) {
        found.push(Warning::MaxEniAboveLimit { max_eni, limit });
    }
    if settings.custom_networking {
        found.push(Warning::PrimaryUnused);
    }
    if pool.enis().iter().any(|eni| eni.kind == EniKind::Trunk) {
        found.push(Warning::TrunkTakesEni { branch_enis: question.limits.branch_enis });
    } else if settings.pod_eni && !question.limits.trunk_compatible {
        found.push(Warning::TrunkImpossible);
    }
    if question.limits.network_cards > 1 {
        found.push(Warning::OtherCardsIgnored { cards: question.limits.network_cards });
    }
    let NodeQuestion { pods, host_network_pods, max_pods, .. } = *question;
    let beyond = pods.saturating_add(host_network_pods).saturating_sub(max_pods);
    if beyond > 0 {
        found.push(Warning::PodsBeyondMaxPods { pods, host_network_pods, max_pods });
    }
    if pool.total() >= i64::from(max_pods) {
        found.push(Warning::GrowthCapped { max_pods });
    }
    // Those that the node does not admit are named above.
    let without = refused.saturating_sub(beyond);
    if without > 0 {
        found.push(Warning::PodsWithoutAddress { pods: without });
    }
    found
}

/// Pod addresses that the instance can hold with these settings.
fn possible(question: &NodeQuestion, mode: Mode) -> u32 {
    let NodeQuestion { limits, settings, .. } = question;
    let trunk = u32::from(settings.pod_eni && limits.trunk_compatible);
    let unused = u32::from(settings.custom_networking) + trunk;
    let per_slot = if mode == Mode::Prefix { ADDRESSES_PER_PREFIX } else { 1 };
    settings.max_enis(limits).saturating_sub(unused) * limits.slots() * per_slot
}

/// Targets that others overrule or that are never reached, and the one that must not stand alone.
fn ignored(question: &NodeQuestion, mode: Mode) -> Vec<Warning> {
    let mut found = Vec::new();
    let settings = &question.settings;
    let prefix = mode == Mode::Prefix;
    if settings.prefix_delegation && !prefix {
        found.push(Warning::PrefixesImpossible);
    }
    let minimum = settings.minimum_ip_target;
    let by = if settings.warm_ip_target != 0 { "WARM_IP_TARGET" } else { "MINIMUM_IP_TARGET" };
    // A value other than the default of 1 was chosen on purpose.
    if settings.warm_eni_target != 1 && prefix {
        found.push(Warning::WarmEniIgnored { by: "prefix delegation" });
    } else if settings.warm_eni_target != 1 && settings.ip_targets_defined() {
        found.push(Warning::WarmEniIgnored { by });
    }
    if prefix && settings.ip_targets_defined() && settings.warm_prefix_target > 1 {
        found.push(Warning::WarmPrefixIgnored { by });
    }
    let possible = possible(question, mode);
    for (target, value) in [("WARM_IP_TARGET", settings.warm_ip_target), ("MINIMUM_IP_TARGET", minimum)] {
        if value > possible {
            found.push(Warning::TargetAbovePossible { target, value, possible });
        }
    }
    let effective = if prefix { minimum.next_multiple_of(ADDRESSES_PER_PREFIX) } else { minimum };
    // At the instance's own limit nothing is frozen that could grow.
    if minimum != 0 && settings.warm_ip_target == 0 && effective < possible {
        found.push(Warning::MinimumFreezesPool { minimum: effective });
    }
    if effective != minimum && minimum <= possible {
        found.push(Warning::MinimumRoundedUp { minimum, effective });
    }
    found
}
