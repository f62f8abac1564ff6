//! Addresses as the original's simulated EC2 gives them out: both sides of a comparison name the same ones.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A subnet whose addresses are given out in order, never one twice: single ones from its begin, prefixes from its middle.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    base: u32,
    half: u32,
    /// How many addresses are still given out.
    pub(crate) free: i64,
    next: u32,
    next_prefix: u32,
    /// The subnet's /64, if it has one.
    ipv6: Option<u128>,
    next_ipv6: u32,
}

impl Numbered {
    /// A subnet of this base and length.
    pub(crate) fn new(base: Ipv4Addr, length: u8, free: i64, ipv6: Option<Ipv6Addr>) -> Self {
        let (base, half) = (u32::from(base), 1_u32 << (31 - length));
        Self { base, half, free, next: 0, next_prefix: 0, ipv6: ipv6.map(u128::from), next_ipv6: 0 }
    }

    pub(super) fn has(&self, addresses: u32, prefixes: u32, new_eni: bool) -> bool {
        let need = addresses + 16 * prefixes + u32::from(new_eni);
        self.free >= i64::from(need)
            && self.next + need + 4 <= self.half
            && (self.next_prefix + prefixes + 1) * 16 <= self.half
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.ipv6.is_some()
    }

    /// The next address, or one that is to be given out again.
    pub(super) fn address(&mut self, again: Option<Ipv4Addr>) -> Ipv4Addr {
        self.free -= 1;
        again.unwrap_or_else(|| {
            self.next += 1;
            Ipv4Addr::from(self.base + self.next + 3)
        })
    }

    pub(super) fn prefix(&mut self) -> Ipv4Addr {
        self.free -= 16;
        self.next_prefix += 1;
        Ipv4Addr::from(self.base + self.half + self.next_prefix * 16)
    }

    /// An ENI has an IPv6 address of its own.
    pub(super) fn ipv6_address(&mut self) {
        self.next_ipv6 += u32::from(self.ipv6.is_some());
    }

    pub(super) fn ipv6_prefix(&mut self) -> Ipv6Addr {
        self.next_ipv6 += 1;
        let number = u128::from(self.next_ipv6 | 0x8000) << 48;
        Ipv6Addr::from(self.ipv6.unwrap_or_default() | number)
    }
}
