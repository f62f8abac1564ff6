//! Traps: settings that read one way and act another.

use std::fmt;

use super::question::NodeQuestion;
use crate::pool::Pool;
use crate::settings::Mode;
use cni_types::limits::ADDRESSES_PER_PREFIX;

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
        /// Capacity, host-network pods included.
        max_pods: u32,
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
                 stay pending",
            ),
            Self::WarmEniIgnored { by } => write!(f, "WARM_ENI_TARGET is ignored: {by} takes its place"),
            Self::WarmPrefixIgnored { by } => write!(f, "WARM_PREFIX_TARGET is ignored: {by} takes its place"),
            Self::MinimumRoundedUp { minimum, effective } => {
                write!(f, "MINIMUM_IP_TARGET={minimum} acts as {effective}: prefixes hold sixteen addresses each")
            }
            Self::PodsWithoutAddress { pods } => write!(f, "{pods} of the pods get no address from the pool"),
            Self::PodsBeyondMaxPods { pods, max_pods } => write!(
                f,
                "{pods} pods and the two on the host network exceed the node's {max_pods} max pods: kubelet admits \
                 fewer",
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

pub(super) fn find(question: &NodeQuestion, mode: Mode, pool: &Pool, refused: u32) -> Vec<Warning> {
    let mut found = ignored(question, mode);
    let settings = &question.settings;
    let limit = u32::from(question.limits.max_enis);
    if let Some(max_eni) = settings.max_eni.filter(|max_eni| *max_eni > limit) {
        found.push(Warning::MaxEniAboveLimit { max_eni, limit });
    }
    if settings.custom_networking {
        found.push(Warning::PrimaryUnused);
    }
    if question.limits.network_cards > 1 {
        found.push(Warning::OtherCardsIgnored { cards: question.limits.network_cards });
    }
    if question.pods.saturating_add(2) > question.max_pods {
        found.push(Warning::PodsBeyondMaxPods { pods: question.pods, max_pods: question.max_pods });
    }
    if pool.total() >= i64::from(question.max_pods) {
        found.push(Warning::GrowthCapped { max_pods: question.max_pods });
    }
    if refused > 0 {
        found.push(Warning::PodsWithoutAddress { pods: refused });
    }
    found
}

/// Targets that others overrule, and the one that must not stand alone.
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
    let effective = if prefix { minimum.next_multiple_of(ADDRESSES_PER_PREFIX) } else { minimum };
    if minimum != 0 && settings.warm_ip_target == 0 {
        found.push(Warning::MinimumFreezesPool { minimum: effective });
    }
    if effective != minimum {
        found.push(Warning::MinimumRoundedUp { minimum, effective });
    }
    found
}
