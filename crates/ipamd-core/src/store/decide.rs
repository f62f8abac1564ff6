//! When the pool is too low, too high, or has an ENI to spare: the arithmetic of the warm targets.

use cni_types::limits::ADDRESSES_PER_PREFIX;

/// What decisions are made on. Excluded ENIs are left out of all but the two prefix numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Addresses of the current mode.
    pub total: u32,
    /// Of those, with pods.
    pub assigned: u32,
    /// Addresses at rest; they count as available although no pod can have them.
    pub cooling: u32,
    /// Prefixes, everywhere.
    pub prefixes: u32,
    /// Prefixes without pods, everywhere.
    pub free_prefixes: u32,
}

impl Stats {
    /// Not assigned.
    pub fn available(&self) -> u32 {
        self.total.saturating_sub(self.assigned)
    }
}

/// The targets in force, and what they are measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Prefix mode.
    pub prefix_mode: bool,
    /// `WARM_IP_TARGET`; 0 is undefined.
    pub warm_ip: u32,
    /// `MINIMUM_IP_TARGET`; 0 is undefined.
    pub minimum_ip: u32,
    /// `WARM_ENI_TARGET`.
    pub warm_eni: u32,
    /// `WARM_PREFIX_TARGET`.
    pub warm_prefix: u32,
    /// Slots of one ENI.
    pub slots: u32,
    /// Pod capacity: no growth from there on.
    pub max_pods: u32,
}

/// How far the pool is from its IP targets: addresses, or prefixes in prefix mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Missing.
    pub short: u32,
    /// Too many.
    pub over: u32,
}

impl Targets {
    /// Addresses one full ENI has.
    pub fn addresses_per_eni(&self) -> u32 {
        if self.prefix_mode { self.slots.saturating_mul(ADDRESSES_PER_PREFIX) } else { self.slots }
    }

    /// The distance from the IP targets; `None` while none is defined.
    pub fn need(&self, stats: &Stats) -> Option<Need> {
        if self.warm_ip == 0 && self.minimum_ip == 0 {
            return None;
        }
        let available = stats.available();
        let short = self.warm_ip.saturating_sub(available).max(self.minimum_ip.saturating_sub(stats.total));
        if self.prefix_mode {
            let kept = stats.assigned.saturating_add(self.warm_ip).div_ceil(ADDRESSES_PER_PREFIX);
            let over = stats.free_prefixes.min(stats.prefixes.saturating_sub(kept));
            let least = self.minimum_ip.div_ceil(ADDRESSES_PER_PREFIX);
            let over = over.min(stats.prefixes.saturating_sub(least));
            return Some(Need { short: short.div_ceil(ADDRESSES_PER_PREFIX), over });
        }
        let over = available.saturating_sub(self.warm_ip).min(stats.total.saturating_sub(self.minimum_ip));
        Some(Need { short, over })
    }

    /// The pool must grow.
    pub fn too_low(&self, stats: &Stats) -> bool {
        if stats.total >= self.max_pods {
            return false;
        }
        let available = stats.available();
        match self.need(stats) {
            Some(need) => need.short > 0,
            None if self.prefix_mode => {
                available < self.warm_prefix.saturating_mul(ADDRESSES_PER_PREFIX)
                    || (self.warm_prefix == 0 && available == 0)
            }
            None => available < self.slots.saturating_mul(self.warm_eni) || (self.warm_eni == 0 && available == 0),
        }
    }

    /// How many addresses, or prefixes, to release; never any in plain `WARM_ENI_TARGET` mode.
    pub fn surplus(&self, stats: &Stats) -> u32 {
        match self.need(stats) {
            Some(need) => need.over,
            None if self.prefix_mode => stats.free_prefixes.saturating_sub(self.warm_prefix),
            None => 0,
        }
    }

    /// Prefixes to ask for when growing in prefix mode.
    pub fn prefixes_wanted(&self, stats: &Stats) -> u32 {
        let missing = match self.need(stats) {
            Some(need) => need.short,
            None => self.warm_prefix.saturating_sub(stats.free_prefixes),
        };
        missing.max(1)
    }

    /// Addresses to ask for on an ENI that has `have` CIDRs when growing with secondary addresses.
    pub fn addresses_wanted(&self, stats: &Stats, have: u32) -> u32 {
        let wanted = self.need(stats).map_or(self.slots, |need| need.short);
        self.slots.saturating_sub(have).min(wanted)
    }

    /// Whether an ENI could be given up at all; `idle_eni` tells that a plain secondary ENI has no pods.
    pub fn enis_to_spare(&self, stats: &Stats, idle_eni: bool) -> bool {
        if self.warm_ip != 0 || self.minimum_ip != 0 {
            return true;
        }
        let target = if self.prefix_mode { self.warm_prefix } else { self.warm_eni };
        stats.available() >= target.saturating_add(1).saturating_mul(self.addresses_per_eni())
            || (self.prefix_mode && idle_eni)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest targets that a setting can have are as good as any that no node meets.
    #[test]
    fn targets_beyond_all_nodes_are_no_error() {
        let most = u32::MAX;
        let stats = Stats { total: 48, assigned: 17, cooling: 0, prefixes: 3, free_prefixes: 1 };
        for prefix_mode in [false, true] {
            let none = Targets {
                prefix_mode,
                warm_ip: 0,
                minimum_ip: 0,
                warm_eni: 0,
                warm_prefix: 0,
                slots: 9,
                max_pods: most,
            };
            let all = [
                Targets { warm_ip: most, ..none },
                Targets { minimum_ip: most, ..none },
                Targets { warm_eni: most, warm_prefix: most, ..none },
                Targets { warm_eni: most, warm_prefix: most, slots: most, ..none },
            ];
            for targets in all {
                assert!(targets.too_low(&stats), "{targets:?}");
                assert_eq!(targets.surplus(&stats), 0, "{targets:?}");
                assert!(targets.prefixes_wanted(&stats) > 0 && targets.addresses_wanted(&stats, 0) > 0, "{targets:?}");
                let defined = targets.need(&stats).is_some();
                assert_eq!(targets.enis_to_spare(&stats, false), defined, "{targets:?}");
                assert!(targets.addresses_per_eni() > 0);
            }
        }
    }
}
