//! The gauge of pods by CIDR.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::block::Block;
use crate::small_map::SmallMap;

/// `awscni_assigned_ip_per_cidr`. A series stays after its CIDR is gone, as the original's do: there are as many as CIDRs that
/// pods ever used in this life of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PerCidr {
    addresses: SmallMap<u32, i32>,
    prefixes: SmallMap<u32, i32>,
    ipv6: SmallMap<Ipv6Addr, i32>,
}

impl PerCidr {
    /// Series.
    pub const fn len(&self) -> usize {
        self.addresses.len() + self.prefixes.len() + self.ipv6.len()
    }

    /// There is no series, so the family is not shown.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every series.
    pub fn iter(&self) -> impl Iterator<Item = (Block, i32)> {
        let addresses = self.addresses.iter().map(|(base, pods)| (Block::Address(Ipv4Addr::from(*base)), *pods));
        let prefixes = self.prefixes.iter().map(|(base, pods)| (Block::Prefix(Ipv4Addr::from(*base)), *pods));
        let ipv6 = self.ipv6.iter().map(|(base, pods)| (Block::Ipv6Prefix(*base), *pods));
        addresses.chain(prefixes).chain(ipv6)
    }

    /// What the series of a CIDR says.
    pub fn get(&self, block: Block) -> Option<i32> {
        let pods = match block {
            Block::Address(base) => self.addresses.get(&base.into()),
            Block::Prefix(base) => self.prefixes.get(&base.into()),
            Block::Ipv6Prefix(base) => self.ipv6.get(&base),
        };
        pods.copied()
    }

    /// Changes the series of a CIDR, which begins at 0.
    pub fn add(&mut self, block: Block, change: i32) {
        match block {
            Block::Address(base) => add(&mut self.addresses, base.into(), change),
            Block::Prefix(base) => add(&mut self.prefixes, base.into(), change),
            Block::Ipv6Prefix(base) => add(&mut self.ipv6, base, change),
        }
    }
}

fn add<K: Ord>(series: &mut SmallMap<K, i32>, base: K, change: i32) {
    let pods = series.or_default(base);
    *pods = pods.saturating_add(change);
}
