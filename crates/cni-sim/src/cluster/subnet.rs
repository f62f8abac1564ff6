//! One subnet's address space, address by address, as EC2 assigns it.

use super::whole::whole;
use crate::cidr::Cidr;
use crate::scenario::Role;
use cni_types::random::Random;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Addresses of a /28.
const PREFIX_SIZE: u32 = 16;

/// A subnet and the addresses assigned in it.
#[derive(Debug, Clone)]
pub(super) struct SubnetPool {
    /// `subnet-…`.
    pub(super) id: String,
    /// The scenario's name for it.
    pub(super) name: String,
    /// Availability zone.
    pub(super) zone: String,
    /// The block.
    pub(super) cidr: Cidr,
    /// Role tag.
    pub(super) role: Role,
    ipv6: Option<Ipv6Addr>,
    ipv6_lent: u64,
    /// One bit per address, set while it is assigned.
    held: Vec<u64>,
    free: u32,
    lent: u32,
    random: Random,
}

impl SubnetPool {
    /// An empty subnet; `seed` decides the order in which addresses are assigned.
    pub(super) fn new(
        id: String,
        name: &str,
        zone: &str,
        cidr: Cidr,
        role: Role,
        ipv6: Option<Ipv6Addr>,
        seed: u64,
    ) -> Self {
        let size = cidr.size();
        let mut subnet = Self {
            id,
            name: name.to_owned(),
            zone: zone.to_owned(),
            cidr,
            role,
            ipv6,
            ipv6_lent: 0,
            held: vec![0; (size as usize).div_ceil(64)],
            free: size,
            lent: 0,
            random: Random::stream(seed, u64::from(u32::from(cidr.base))),
        };
        // AWS keeps the first four addresses and the last one of every subnet.
        for offset in [0, 1, 2, 3, size - 1] {
            subnet.hold(offset);
        }
        subnet
    }

    /// Addresses that EC2 would still give out.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// Addresses assigned to nodes, those of prefixes included.
    pub(super) fn lent(&self) -> u32 {
        self.lent
    }

    /// Whole /28 blocks that EC2 would still give out.
    pub(super) fn free_prefixes(&self) -> u32 {
        let blocks = 0..self.cidr.size() / PREFIX_SIZE;
        u32::try_from(blocks.filter(|block| self.block_is_free(*block)).count()).unwrap_or(u32::MAX)
    }

    /// Lends `count` single addresses, or none.
    pub(super) fn take_addresses(&mut self, count: u32) -> Option<Vec<Ipv4Addr>> {
        if count > self.free {
            return None;
        }
        let mut taken = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let offset = self.any_free()?;
            self.hold(offset);
            taken.push(self.address(offset));
        }
        self.lent += count;
        Some(taken)
    }

    /// Lends `count` /28 blocks, or none; the answer holds their bases.
    pub(super) fn take_prefixes(&mut self, count: u32) -> Option<Vec<Ipv4Addr>> {
        let mut blocks: Vec<u32> = Vec::with_capacity(count as usize);
        let all = self.cidr.size() / PREFIX_SIZE;
        let start = u32::try_from(self.random.below(u64::from(all))).unwrap_or(0);
        for step in 0..all {
            if blocks.len() == count as usize {
                break;
            }
            let block = (start + step) % all;
            if self.block_is_free(block) {
                blocks.push(block);
            }
        }
        if blocks.len() < count as usize {
            return None;
        }
        for block in &blocks {
            (0..PREFIX_SIZE).for_each(|offset| self.hold(block * PREFIX_SIZE + offset));
        }
        self.lent += count * PREFIX_SIZE;
        Some(blocks.into_iter().map(|block| self.address(block * PREFIX_SIZE)).collect())
    }

    /// Lends a /80 of the subnet's /64.
    pub(super) fn take_ipv6_prefix(&mut self) -> Option<Ipv6Addr> {
        let base = u128::from(self.ipv6?);
        // 65,536 blocks in a /64; none is assigned twice, because nodes seldom release one.
        (self.ipv6_lent < 1 << 16).then(|| {
            self.ipv6_lent += 1;
            Ipv6Addr::from(base | (u128::from(self.ipv6_lent) << 48))
        })
    }

    /// Takes one address back.
    pub(super) fn give_back_address(&mut self, address: Ipv4Addr) {
        self.give_back(address, 1);
    }

    /// Takes a /28 back.
    pub(super) fn give_back_prefix(&mut self, base: Ipv4Addr) {
        self.give_back(base, PREFIX_SIZE);
    }

    /// Others take every free address but `leave`; the answer is for [`Self::release`].
    pub(super) fn seize_all_but(&mut self, leave: u32) -> Vec<u32> {
        let mut seized = Vec::new();
        while self.free > leave {
            let Some(offset) = self.any_free() else { break };
            self.hold(offset);
            seized.push(offset);
        }
        seized
    }

    /// Others take `share` of the free addresses, from the end of the block, in one piece as far as it goes.
    pub(super) fn seize_piece(&mut self, share: f64) {
        let mut wanted = whole(f64::from(self.free) * share);
        for offset in (0..self.cidr.size()).rev() {
            if wanted == 0 {
                break;
            }
            if !self.is_held(offset) {
                self.hold(offset);
                wanted -= 1;
            }
        }
    }

    /// Others take one address in `share` of the wholly free /28 blocks; the answer is for [`Self::release`].
    pub(super) fn fragment(&mut self, share: f64) -> Vec<u32> {
        let mut seized = Vec::new();
        for block in 0..self.cidr.size() / PREFIX_SIZE {
            let within = u32::try_from(self.random.below(u64::from(PREFIX_SIZE))).unwrap_or(0);
            if self.random.fraction() < share && self.block_is_free(block) {
                self.hold(block * PREFIX_SIZE + within);
                seized.push(block * PREFIX_SIZE + within);
            }
        }
        seized
    }

    /// Others give back what they seized.
    pub(super) fn release(&mut self, seized: &[u32]) {
        for offset in seized {
            self.let_go(*offset);
        }
    }

    fn give_back(&mut self, base: Ipv4Addr, count: u32) {
        let Some(first) = u32::from(base).checked_sub(u32::from(self.cidr.base)) else { return };
        for offset in first..first.saturating_add(count).min(self.cidr.size()) {
            if self.is_held(offset) {
                self.let_go(offset);
                self.lent -= 1;
            }
        }
    }

    /// A free address near a random place.
    fn any_free(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let words = self.held.len();
        let bits_a_word = self.cidr.size().min(64);
        let start = self.random.index(words);
        let turn = u32::try_from(self.random.below(u64::from(bits_a_word))).unwrap_or(0);
        for step in 0..words {
            let word = (start + step) % words;
            let mut open = !self.held.get(word).copied()?;
            if bits_a_word < 64 {
                open &= (1 << bits_a_word) - 1;
            }
            if open != 0 {
                let rotated = open.rotate_right(turn);
                let bit = (rotated.trailing_zeros() + turn) % 64;
                return Some(u32::try_from(word).ok()? * 64 + bit);
            }
        }
        None
    }

    fn block_is_free(&self, block: u32) -> bool {
        let first = block * PREFIX_SIZE;
        let word = self.held.get((first / 64) as usize).copied().unwrap_or(u64::MAX);
        (word >> (first % 64)).trailing_zeros() >= PREFIX_SIZE
    }

    fn is_held(&self, offset: u32) -> bool {
        self.held.get((offset / 64) as usize).is_none_or(|word| word & (1 << (offset % 64)) != 0)
    }

    fn hold(&mut self, offset: u32) {
        if let Some(word) = self.held.get_mut((offset / 64) as usize) {
            *word |= 1 << (offset % 64);
            self.free -= 1;
        }
    }

    fn let_go(&mut self, offset: u32) {
        if let Some(word) = self.held.get_mut((offset / 64) as usize) {
            *word &= !(1 << (offset % 64));
            self.free += 1;
        }
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.base) + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(cidr: &str) -> SubnetPool {
        let cidr = Cidr::read(cidr).unwrap();
        SubnetPool::new("subnet-1".to_owned(), "a", "z", cidr, Role::Untagged, None, 7)
    }

    #[test]
    fn aws_keeps_five_addresses() {
        assert_eq!(subnet("10.0.0.0/24").free(), 251);
        assert_eq!(subnet("10.0.0.0/28").free(), 11);
        let mut small = subnet("10.0.0.0/28");
        let mut all = small.take_addresses(11).unwrap();
        all.sort();
        let expected: Vec<Ipv4Addr> = (4..15).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        assert_eq!(all, expected);
        assert!(small.take_addresses(1).is_none());
        small.give_back_address(Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(small.take_addresses(1), Some(vec![Ipv4Addr::new(10, 0, 0, 9)]));
    }

    #[test]
    fn prefixes_are_aligned_and_avoid_reserved_addresses() {
        let mut subnet = subnet("10.0.0.0/24");
        // 16 blocks, of which the first and the last hold reserved addresses.
        assert_eq!(subnet.free_prefixes(), 14);
        let bases = subnet.take_prefixes(14).unwrap();
        assert!(bases.iter().all(|base| base.octets()[3] % 16 == 0 && !matches!(base.octets()[3], 0 | 240)));
        assert!(subnet.take_prefixes(1).is_none());
        assert_eq!((subnet.free(), subnet.lent()), (251 - 224, 224));
        for base in &bases {
            subnet.give_back_prefix(*base);
        }
        assert_eq!((subnet.free(), subnet.lent(), subnet.free_prefixes()), (251, 0, 14));
    }

    #[test]
    fn fragmentation_leaves_addresses_but_no_blocks() {
        let mut subnet = subnet("10.0.0.0/22");
        let seized = subnet.fragment(1.0);
        assert_eq!(seized.len(), 62);
        assert_eq!(subnet.free_prefixes(), 0);
        assert_eq!(subnet.free(), 1019 - 62);
        subnet.release(&seized);
        assert_eq!((subnet.free_prefixes(), subnet.free()), (62, 1019));
    }

    #[test]
    fn a_dry_subnet_comes_back() {
        let mut subnet = subnet("10.0.0.0/24");
        let mine = subnet.take_addresses(10).unwrap();
        let seized = subnet.seize_all_but(2);
        assert_eq!((subnet.free(), seized.len()), (2, 239));
        for address in &mine {
            subnet.give_back_address(*address);
        }
        assert_eq!((subnet.free(), subnet.lent()), (12, 0));
        subnet.release(&seized);
        assert_eq!(subnet.free(), 251);
    }
}
