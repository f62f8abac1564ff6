//! IPv6: one /80 prefix, addresses lowest first.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use super::{Place, PodKey, Pool};
use crate::ec2::Block;

/// A /80 and who uses it.
#[derive(Debug, Clone)]
pub(super) struct Prefix {
    pub(super) base: Ipv6Addr,
    used: BTreeSet<u128>,
    freed: Vec<(u128, i64)>,
}

impl Prefix {
    pub(super) fn new(base: Ipv6Addr) -> Self {
        Self { base, used: BTreeSet::new(), freed: Vec::new() }
    }

    pub(super) fn assigned(&self) -> u32 {
        u32::try_from(self.used.len()).unwrap_or(u32::MAX)
    }

    fn contains(&self, address: u128) -> bool {
        address >> 48 == u128::from(self.base) >> 48
    }

    fn take(&mut self, now_ms: i64, cooldown_ms: i64) -> u128 {
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

impl Pool {
    pub(super) fn assign_ipv6(&mut self, key: PodKey, now_ms: i64) -> Option<Place> {
        let cooldown_ms = self.cooldown_ms;
        let eni = self.enis.iter_mut().find(|eni| !eni.excluded && eni.ipv6.is_some())?;
        let prefix = eni.ipv6.as_mut()?;
        let address = IpAddr::V6(prefix.take(now_ms, cooldown_ms).into());
        let place = Place { address, eni: eni.id, block: Block::Ipv6Prefix(prefix.base) };
        self.owners.insert(key, address);
        Some(place)
    }

    pub(super) fn mark_ipv6(&mut self, address: IpAddr, used: bool) -> Option<Place> {
        let IpAddr::V6(v6) = address else { return None };
        let bits = u128::from(v6);
        let (id, prefix) = self.enis.iter_mut().find_map(|eni| {
            let id = eni.id;
            eni.ipv6.as_mut().filter(|prefix| prefix.contains(bits)).map(|prefix| (id, prefix))
        })?;
        if used {
            prefix.used.insert(bits);
        } else {
            prefix.used.remove(&bits);
        }
        Some(Place { address, eni: id, block: Block::Ipv6Prefix(prefix.base) })
    }

    pub(super) fn rest_ipv6(&mut self, address: IpAddr, now_ms: i64) {
        let IpAddr::V6(v6) = address else { return };
        let bits = u128::from(v6);
        let prefixes = self.enis.iter_mut().filter_map(|eni| eni.ipv6.as_mut());
        if let Some(prefix) = prefixes.into_iter().find(|prefix| prefix.contains(bits)) {
            prefix.freed.push((bits, now_ms));
        }
    }
}
