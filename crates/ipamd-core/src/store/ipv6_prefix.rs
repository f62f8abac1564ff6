//! The /80 prefix of an IPv6 node.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// A /80 and the addresses in use in it.
#[derive(Debug, Clone)]
pub(super) struct Prefix {
    pub(super) base: Ipv6Addr,
    pub(super) used: BTreeSet<u128>,
    pub(super) freed: Vec<(u128, i64)>,
}

impl Prefix {
    pub(super) fn new(base: Ipv6Addr) -> Self {
        Self { base, used: BTreeSet::new(), freed: Vec::new() }
    }

    pub(super) fn assigned(&self) -> u32 {
        u32::try_from(self.used.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn contains(&self, address: u128) -> bool {
        address >> 48 == u128::from(self.base) >> 48
    }

    pub(super) fn take(&mut self, now_ms: i64, cooldown_ms: i64) -> u128 {
        let rests = |at_ms: i64| now_ms - at_ms <= cooldown_ms;
        let rested = self.freed.iter().find(|(_, at_ms)| !rests(*at_ms)).map(|(address, _)| *address);
        let base = u128::from(self.base);
        let taken = rested.unwrap_or_else(|| {
            let tracked = |address: &u128| self.freed.iter().any(|(freed, _)| freed == address);
            (base..base + (1 << 48)).find(|address| !self.used.contains(address) && !tracked(address)).unwrap_or(base)
        });
        if rested.is_some() {
            self.freed.retain(|(_, at_ms)| rests(*at_ms));
        }
        self.used.insert(taken);
        taken
    }
}
