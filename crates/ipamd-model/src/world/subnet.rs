//! A subnet's address space, address by address, as EC2 lends it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::random::Random;
use ipamd_core::id::SubnetId;
use ipamd_core::input::SubnetRole;

/// Addresses of a /28.
pub const PREFIX_SIZE: u32 = 16;

/// AWS keeps the first four addresses and the last one of every subnet.
const RESERVED: u32 = 5;

/// What a subnet is made of.
#[derive(Debug, Clone)]
pub struct SubnetFacts {
    /// Its id.
    pub id: SubnetId,
    /// First address.
    pub base: Ipv4Addr,
    /// Length of its prefix, 16 to 28.
    pub bits: u8,
    /// Base of its /64, if it has one.
    pub ipv6: Option<Ipv6Addr>,
    /// Availability zone.
    pub zone: Box<str>,
    /// Tag `kubernetes.io/role/cni`.
    pub role: SubnetRole,
    /// Its cluster tags allow the cluster.
    pub cluster_fits: bool,
}

impl SubnetFacts {
    /// An untagged subnet of zone `z` without IPv6.
    pub fn new(id: SubnetId, base: Ipv4Addr, bits: u8) -> Self {
        Self { id, base, bits, ipv6: None, zone: "z".into(), role: SubnetRole::default(), cluster_fits: true }
    }
}

/// A subnet and who has its addresses. At all times `free + lent + others` and the addresses that AWS keeps are its size.
#[derive(Debug, Clone)]
pub struct SubnetSpace {
    /// What it was made of; tags may change.
    pub spec: SubnetFacts,
    size: u32,
    /// One bit per address, set while it is not free.
    held: Vec<u64>,
    free: u32,
    lent: u32,
    others: u32,
    ipv6_lent: BTreeSet<u16>,
    random: Random,
}

impl SubnetSpace {
    /// An empty subnet; `seed` decides the order in which addresses are lent. A length outside 16 to 28 is brought into it.
    pub fn new(spec: SubnetFacts, seed: u64) -> Self {
        let size = 1_u32 << (32 - spec.bits.clamp(16, 28));
        let random = Random::stream(seed, u64::from(u32::from(spec.base)));
        let words = (size as usize).div_ceil(64);
        let (free, held, ipv6_lent) = (size, vec![0; words], BTreeSet::new());
        let mut subnet = Self { spec, size, held, free, lent: 0, others: 0, ipv6_lent, random };
        for offset in [0, 1, 2, 3, size - 1] {
            subnet.hold(offset);
        }
        subnet
    }

    /// `AvailableIpAddressCount`.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Addresses of ENIs, those of prefixes included.
    pub fn lent(&self) -> u32 {
        self.lent
    }

    /// Addresses that others have.
    pub fn others(&self) -> u32 {
        self.others
    }

    /// /80 blocks of ENIs.
    pub fn ipv6_lent(&self) -> usize {
        self.ipv6_lent.len()
    }

    /// The counts agree with the map of addresses and with the size.
    pub fn adds_up(&self) -> bool {
        let held: u32 = self.held.iter().map(|word| word.count_ones()).sum();
        self.free + self.lent + self.others + RESERVED == self.size && held == self.size - self.free
    }

    /// The address is one of this subnet.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.offset(address).is_some()
    }

    /// Lends `count` single addresses, or none.
    pub fn take_addresses(&mut self, count: u32) -> Option<Vec<Ipv4Addr>> {
        if count > self.free {
            return None;
        }
        let taken: Vec<Ipv4Addr> = (0..count).map_while(|_| self.take_any()).collect();
        self.lent += u32::try_from(taken.len()).unwrap_or(0);
        Some(taken)
    }

    /// Lends `count` whole /28 blocks, or none; the answer holds their bases.
    pub fn take_prefixes(&mut self, count: u32) -> Option<Vec<Ipv4Addr>> {
        let all = self.size / PREFIX_SIZE;
        let start = u32::try_from(self.random.below(u64::from(all))).unwrap_or(0);
        let blocks = (0..all).map(|step| (start + step) % all).filter(|block| self.is_free_block(*block));
        let blocks: Vec<u32> = blocks.take(count as usize).collect();
        if blocks.len() < count as usize {
            return None;
        }
        for block in &blocks {
            (0..PREFIX_SIZE).for_each(|within| self.hold(block * PREFIX_SIZE + within));
        }
        self.lent += count * PREFIX_SIZE;
        Some(blocks.into_iter().map(|block| self.address(block * PREFIX_SIZE)).collect())
    }

    /// Lends one /80 of the subnet's /64, if it has one.
    pub fn take_ipv6_prefix(&mut self) -> Option<Ipv6Addr> {
        let base = u128::from(self.spec.ipv6?);
        let block = (1..=u16::MAX).find(|block| !self.ipv6_lent.contains(block))?;
        self.ipv6_lent.insert(block);
        Some(Ipv6Addr::from(base | (u128::from(block) << 48)))
    }

    /// Takes a lent address back; false if it was not lent.
    pub fn give_back_address(&mut self, address: Ipv4Addr) -> bool {
        self.give_back(address, 1)
    }

    /// Takes a lent /28 back; false if it was not lent.
    pub fn give_back_prefix(&mut self, base: Ipv4Addr) -> bool {
        self.give_back(base, PREFIX_SIZE)
    }

    /// Takes a lent /80 back; false if it was not lent.
    pub fn give_back_ipv6_prefix(&mut self, base: Ipv6Addr) -> bool {
        let Some(ipv6) = self.spec.ipv6 else { return false };
        let block = u16::try_from((u128::from(base) ^ u128::from(ipv6)) >> 48);
        block.is_ok_and(|block| self.ipv6_lent.remove(&block))
    }

    /// All addresses, those that AWS keeps included.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Whole /28 blocks that EC2 would still lend.
    pub fn free_prefixes(&self) -> u32 {
        let free = (0..self.size / PREFIX_SIZE).filter(|block| self.is_free_block(*block));
        u32::try_from(free.count()).unwrap_or(u32::MAX)
    }

    /// Others take free addresses until only `leave` are left; the answer is for [`Self::release`].
    pub fn seize_all_but(&mut self, leave: u32) -> Vec<Ipv4Addr> {
        let mut seized = Vec::new();
        while self.free > leave {
            let Some(address) = self.take_any() else { break };
            self.others += 1;
            seized.push(address);
        }
        seized
    }

    /// Others take this share of the free addresses, from the end of the block, in one piece as far as it goes.
    pub fn seize_piece(&mut self, share: f64) {
        let mut wanted = whole(f64::from(self.free) * share);
        for offset in (0..self.size).rev() {
            if wanted == 0 {
                break;
            }
            if !self.is_held(offset) {
                self.hold(offset);
                self.others += 1;
                wanted -= 1;
            }
        }
    }

    /// Others take one address in this share of the wholly free /28 blocks; the answer is for [`Self::release`].
    pub fn fragment(&mut self, share: f64) -> Vec<Ipv4Addr> {
        let mut seized = Vec::new();
        for block in 0..self.size / PREFIX_SIZE {
            let within = u32::try_from(self.random.below(u64::from(PREFIX_SIZE))).unwrap_or(0);
            if self.random.fraction() < share && self.is_free_block(block) {
                let offset = block * PREFIX_SIZE + within;
                self.hold(offset);
                self.others += 1;
                seized.push(self.address(offset));
            }
        }
        seized
    }

    /// Others give back what they seized.
    pub fn release(&mut self, seized: &[Ipv4Addr]) {
        for address in seized {
            if let Some(offset) = self.offset(*address).filter(|offset| self.is_held(*offset)) {
                self.let_go(offset);
                self.others = self.others.saturating_sub(1);
            }
        }
    }

    fn give_back(&mut self, base: Ipv4Addr, count: u32) -> bool {
        let Some(first) = self.offset(base) else { return false };
        let offsets = first..first.saturating_add(count);
        if offsets.end > self.size || !offsets.clone().all(|offset| self.is_held(offset)) {
            return false;
        }
        offsets.for_each(|offset| self.let_go(offset));
        self.lent = self.lent.saturating_sub(count);
        true
    }

    /// Holds a free address near a random place.
    fn take_any(&mut self) -> Option<Ipv4Addr> {
        let words = self.held.len();
        let bits_a_word = self.size.min(64);
        let start = self.random.index(words);
        let turn = u32::try_from(self.random.below(u64::from(bits_a_word))).unwrap_or(0);
        for step in 0..words {
            let word = (start + step) % words;
            let mut open = !self.held.get(word).copied()?;
            if bits_a_word < 64 {
                open &= (1 << bits_a_word) - 1;
            }
            if open != 0 {
                let bit = (open.rotate_right(turn).trailing_zeros() + turn) % 64;
                let offset = u32::try_from(word).ok()? * 64 + bit;
                self.hold(offset);
                return Some(self.address(offset));
            }
        }
        None
    }

    fn is_free_block(&self, block: u32) -> bool {
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

    fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        u32::from(address).checked_sub(u32::from(self.spec.base)).filter(|offset| *offset < self.size)
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.spec.base).saturating_add(offset))
    }
}

/// The whole part of a number; 0 for a negative one and for NaN.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is intended")]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(bits: u8) -> SubnetSpace {
        let mut spec = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 0, 0), bits);
        spec.ipv6 = Some("2001:db8::".parse().unwrap());
        SubnetSpace::new(spec, 7)
    }

    #[test]
    fn aws_keeps_five_addresses() {
        let mut small = subnet(28);
        assert_eq!(small.free(), 11);
        assert!(small.take_addresses(12).is_none(), "all or none");
        let mut all = small.take_addresses(11).unwrap();
        all.sort();
        assert_eq!(all, (4..15).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect::<Vec<_>>());
        assert!(small.take_addresses(1).is_none() && small.adds_up());
        assert!(small.give_back_address(Ipv4Addr::new(10, 0, 0, 9)));
        assert!(!small.give_back_address(Ipv4Addr::new(10, 0, 0, 9)), "it is free already");
        assert_eq!(small.take_addresses(1), Some(vec![Ipv4Addr::new(10, 0, 0, 9)]));
    }

    #[test]
    fn prefixes_are_whole_aligned_blocks() {
        let mut subnet = subnet(24);
        // The first and the last of 16 blocks hold addresses that AWS keeps.
        let bases = subnet.take_prefixes(14).unwrap();
        assert!(bases.iter().all(|base| base.octets()[3] % 16 == 0 && !matches!(base.octets()[3], 0 | 240)));
        assert!(subnet.take_prefixes(1).is_none());
        assert_eq!((subnet.free(), subnet.lent(), subnet.adds_up()), (251 - 224, 224, true));
        assert!(bases.iter().all(|base| subnet.give_back_prefix(*base)));
        assert_eq!((subnet.free(), subnet.lent(), subnet.adds_up()), (251, 0, true));
    }

    #[test]
    fn others_take_and_give_back() {
        let mut subnet = subnet(24);
        let mine = subnet.take_addresses(3).unwrap();
        let mut seized = subnet.fragment(1.0);
        assert!(subnet.take_prefixes(1).is_none() && subnet.free() > 200 && subnet.free_prefixes() == 0);
        seized.extend(subnet.seize_all_but(2));
        assert_eq!((subnet.free(), subnet.lent(), subnet.others()), (2, 3, 246));
        assert!(subnet.adds_up() && seized.len() == 246);
        // What a node gives back in the meantime is free.
        assert!(subnet.give_back_address(mine[0]));
        assert_eq!((subnet.free(), subnet.lent(), subnet.others()), (3, 2, 246));
        subnet.release(&seized);
        assert_eq!((subnet.free(), subnet.lent(), subnet.others()), (249, 2, 0));
        subnet.release(&seized);
        assert!(subnet.adds_up(), "what is free already stays as it is");
    }

    #[test]
    fn others_have_a_piece_at_the_end() {
        let mut subnet = subnet(24);
        assert_eq!((subnet.size(), subnet.free_prefixes()), (256, 14));
        subnet.seize_piece(0.5);
        assert_eq!((subnet.free(), subnet.others(), subnet.free_prefixes()), (126, 125, 7));
        assert!(subnet.adds_up());
        let all = subnet.take_addresses(126).unwrap();
        assert!(all.iter().all(|address| address.octets()[3] < 130), "{all:?}");
    }

    #[test]
    fn fragments_leave_addresses_and_no_blocks() {
        let mut subnet = subnet(22);
        let seized = subnet.fragment(1.0);
        assert_eq!((seized.len(), subnet.free_prefixes(), subnet.free()), (62, 0, 1_019 - 62));
        subnet.release(&seized);
        assert_eq!((subnet.free_prefixes(), subnet.free()), (62, 1_019));
    }

    #[test]
    fn a_block_of_ipv6_is_lent_once_at_a_time() {
        let mut subnet = subnet(24);
        let (one, other) = (subnet.take_ipv6_prefix().unwrap(), subnet.take_ipv6_prefix().unwrap());
        assert_eq!([one, other].map(|base| base.to_string()), ["2001:db8:0:0:1::", "2001:db8:0:0:2::"]);
        assert!(subnet.give_back_ipv6_prefix(one) && !subnet.give_back_ipv6_prefix(one));
        assert_eq!((subnet.take_ipv6_prefix(), subnet.ipv6_lent()), (Some(one), 2));
    }
}
