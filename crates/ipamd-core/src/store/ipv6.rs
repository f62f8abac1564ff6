//! IPv6: addresses of /80 prefixes.

use std::net::IpAddr;

use super::cidr::Prefix;
use super::pool::{Place, Pool, PoolEni};
use crate::block::Block;
use crate::chooser::{Chooser, Purpose, chosen};
use crate::id::EniId;

impl<K: Ord + Clone> Pool<K> {
    pub(super) fn take_ipv6(&mut self, now_ms: i64, chooser: &mut dyn Chooser) -> Option<Place> {
        let cooldown_ms = self.cooldown_ms;
        let serving = self.enis.iter().filter(|eni| !eni.excluded && !eni.ipv6.is_empty());
        let enis: Vec<EniId> = serving.map(|eni| eni.id).collect();
        let index = if enis.len() > 1 { chooser.eni(Purpose::Assign, &enis) } else { 0 };
        let id = chosen(&enis, index)?;
        let eni = self.eni_mut(id)?;
        let blocks: Vec<Block> = eni.ipv6.iter().map(Prefix::block).collect();
        let index = if blocks.len() > 1 { chooser.block(id, &blocks) } else { 0 };
        let block = chosen(&blocks, index)?;
        let prefix = eni.ipv6.iter_mut().find(|prefix| prefix.block() == block)?;
        let address = IpAddr::V6(prefix.take(now_ms, cooldown_ms, chooser));
        Some(Place { address, eni: id, block })
    }

    /// IPv6 addresses of the ENIs that serve pods, and how many of them pods have.
    pub fn ipv6_addresses(&self) -> (i64, u32) {
        let serving = || self.enis.iter().filter(|eni| !eni.excluded).flat_map(|eni: &PoolEni| &eni.ipv6);
        let prefixes = i64::try_from(serving().count()).unwrap_or(i64::MAX);
        (prefixes.saturating_mul(Prefix::SIZE), serving().map(Prefix::assigned).sum())
    }
}

impl Prefix {
    /// An address used before and rested, else the lowest never used.
    fn take(&mut self, now_ms: i64, cooldown_ms: i64, chooser: &mut dyn Chooser) -> std::net::Ipv6Addr {
        let has_rested = |freed: Option<i64>| freed.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) > cooldown_ms);
        let mut rested: Vec<_> = self.tracked.iter().filter(|(_, freed)| has_rested(**freed)).collect();
        rested.sort_by_key(|(_, freed)| **freed);
        let rested: Vec<u64> = rested.into_iter().map(|(offset, _)| *offset).collect();
        let addresses: Vec<IpAddr> = rested.iter().map(|offset| self.address(*offset).into()).collect();
        let index = if rested.len() > 1 { chooser.address(&addresses) } else { 0 };
        let offset = chosen(&rested, index).unwrap_or_else(|| self.fresh());
        // With the one that is taken, all that have rested count as never used.
        self.tracked.retain(|_, freed| !has_rested(*freed));
        self.tracked.insert(offset, None);
        self.address(offset)
    }
}
