//! CIDRs of an ENI, and the addresses in them that pods use or used.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::block::Block;
use crate::settings::Mode;

/// An IPv4 address, or a /28 with a bit per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) base: u32,
    pub(super) prefix: bool,
    /// Addresses of pods.
    pub(super) used: u16,
    /// Addresses that pods left and that were not given out since: they are among the ENI's [`Freed`].
    pub(super) left: u16,
}

/// When a pod left an IPv4 address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freed {
    pub(super) address: u32,
    pub(super) prefix: bool,
    pub(super) at_ms: i64,
}

impl Cidr {
    pub(super) fn new(base: Ipv4Addr, prefix: bool) -> Self {
        Self { base: base.into(), prefix, used: 0, left: 0 }
    }

    pub(super) fn block(self) -> Block {
        let base = Ipv4Addr::from(self.base);
        if self.prefix { Block::Prefix(base) } else { Block::Address(base) }
    }

    pub(super) fn size(self) -> u32 {
        if self.prefix { 16 } else { 1 }
    }

    pub(super) fn assigned(self) -> u32 {
        self.used.count_ones()
    }

    pub(super) fn contains(self, address: u32) -> bool {
        address.checked_sub(self.base).is_some_and(|offset| offset < self.size())
    }

    pub(super) fn bit(self, address: u32) -> u16 {
        1 << (address.wrapping_sub(self.base) % 16)
    }

    pub(super) fn matches(self, mode: Mode) -> bool {
        match mode {
            Mode::Secondary => !self.prefix,
            Mode::Prefix => self.prefix,
            Mode::Ipv6 => false,
        }
    }

    /// The lowest address that no pod has or had.
    pub(super) fn fresh(self) -> Option<u32> {
        let offset = (self.used | self.left).trailing_ones();
        (offset < self.size()).then(|| self.base.wrapping_add(offset))
    }
}

/// A /80 of an IPv6 node. Addresses are numbered from its base.
#[derive(Debug, Clone)]
pub(super) struct Prefix {
    pub(super) base: Ipv6Addr,
    /// Addresses that pods have (`None`) or left, and when.
    pub(super) tracked: BTreeMap<u64, Option<i64>>,
}

impl Prefix {
    /// Addresses of a /80.
    pub(super) const SIZE: i64 = 1 << 48;

    pub(super) fn new(base: Ipv6Addr) -> Self {
        Self { base, tracked: BTreeMap::new() }
    }

    pub(super) fn block(&self) -> Block {
        Block::Ipv6Prefix(self.base)
    }

    pub(super) fn assigned(&self) -> u32 {
        u32::try_from(self.tracked.values().filter(|freed| freed.is_none()).count()).unwrap_or(u32::MAX)
    }

    /// The number of an address, if it is in this prefix.
    pub(super) fn offset(&self, address: Ipv6Addr) -> Option<u64> {
        let (base, address) = (u128::from(self.base), u128::from(address));
        (address >> 48 == base >> 48).then(|| u64::try_from(address & 0xffff_ffff_ffff).unwrap_or(0))
    }

    pub(super) fn address(&self, offset: u64) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.base) >> 48 << 48 | u128::from(offset))
    }

    /// The lowest address that no pod has or had.
    pub(super) fn fresh(&self) -> u64 {
        let gap = (0..).zip(self.tracked.keys()).find(|(expected, offset)| expected != *offset);
        gap.map_or(self.tracked.len() as u64, |(expected, _)| expected)
    }
}
