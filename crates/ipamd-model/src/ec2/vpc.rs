//! Subnets with real address space, shared by many nodes.
//!
//! A subnet is a row of 16-bit words, one word a /28 block and one bit an address, so that "is there a whole /28 left?"
//! is the question whether a word is zero. Addresses are assigned from scattered blocks, as EC2 does: that is what
//! fragments a subnet until no /28 is left although many addresses are free.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::cloud::{Cloud, SubnetView};
use super::imds::ImdsRead;
use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::random::Random;
use ipamd_core::block::Block;
use ipamd_core::id::SubnetId;
use ipamd_core::input::SubnetRole;

/// How to make a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetSpec {
    /// Its number.
    pub id: SubnetId,
    /// First address.
    pub base: Ipv4Addr,
    /// Prefix length, 8 to 28.
    pub prefix_len: u8,
    /// Its IPv6 /64, if any.
    pub ipv6_base: Option<Ipv6Addr>,
    /// Role tag.
    pub role: SubnetRole,
    /// Cluster tags allow this cluster.
    pub cluster_fits: bool,
}

impl SubnetSpec {
    /// An untagged IPv4 subnet.
    pub fn new(id: SubnetId, base: Ipv4Addr, prefix_len: u8) -> Self {
        Self { id, base, prefix_len, ipv6_base: None, role: SubnetRole::Untagged, cluster_fits: true }
    }
}

/// A set of subnets that never fails on its own; implements [`Cloud`].
#[derive(Debug, Clone)]
pub struct Vpc {
    subnets: Vec<Subnet>,
}

#[derive(Debug, Clone)]
struct Subnet {
    spec: SubnetSpec,
    base: u32,
    /// A bit that is set is an address that is assigned or reserved.
    blocks: Vec<u16>,
    free: u32,
    next_ipv6: u128,
    random: Random,
}

impl Vpc {
    /// Subnets whose addresses are assigned in an order drawn from `seed`.
    pub fn new(subnets: Vec<SubnetSpec>, seed: u64) -> Self {
        let subnets = subnets.into_iter().map(|spec| Subnet::new(spec, seed)).collect();
        Self { subnets }
    }

    /// Free addresses of a subnet.
    pub fn free_addresses(&self, subnet: SubnetId) -> u32 {
        self.subnets.iter().find(|known| known.spec.id == subnet).map_or(0, |known| known.free)
    }

    fn subnet(&mut self, id: SubnetId) -> Option<&mut Subnet> {
        self.subnets.iter_mut().find(|subnet| subnet.spec.id == id)
    }
}

impl Cloud for Vpc {
    fn fault(&mut self, _op: Ec2Operation, _at_ms: i64) -> Option<Ec2Code> {
        None
    }

    fn imds_fault(&mut self, _read: ImdsRead, _at_ms: i64) -> bool {
        false
    }

    fn subnets(&self) -> Vec<SubnetView> {
        self.subnets.iter().map(Subnet::view).collect()
    }

    fn take_addresses(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        let lack = Ec2Code::InsufficientFreeAddressesInSubnet;
        let subnet = self.subnet(subnet).ok_or(lack)?;
        if subnet.free < u32::from(count) {
            return Err(lack);
        }
        (0..count).map(|_| subnet.take_address().ok_or(lack)).collect()
    }

    fn take_prefixes(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        let lack = Ec2Code::InsufficientCidrBlocks;
        let subnet = self.subnet(subnet).ok_or(lack)?;
        let whole = subnet.blocks.iter().filter(|block| **block == 0).count();
        if whole < usize::from(count) {
            return Err(lack);
        }
        (0..count).map(|_| subnet.take_prefix().ok_or(lack)).collect()
    }

    fn take_ipv6_prefix(&mut self, subnet: SubnetId) -> Result<Ipv6Addr, Ec2Code> {
        let lack = Ec2Code::InsufficientCidrBlocks;
        let subnet = self.subnet(subnet).ok_or(lack)?;
        let base = subnet.spec.ipv6_base.ok_or(lack)?;
        subnet.next_ipv6 += 1;
        Ok(Ipv6Addr::from(u128::from(base) | (subnet.next_ipv6 << 48)))
    }

    fn give_back(&mut self, subnet: SubnetId, block: Block) {
        let Some(subnet) = self.subnet(subnet) else { return };
        match block {
            Block::Address(address) => subnet.clear(address, 1 << (u32::from(address) % 16)),
            Block::Prefix(base) => subnet.clear(base, u16::MAX),
            // A /64 has 65,536 of them: numbers are not used twice.
            Block::Ipv6Prefix(_) => {}
        }
    }
}

impl Subnet {
    fn new(spec: SubnetSpec, seed: u64) -> Self {
        let size = 1_u32 << (32 - u32::from(spec.prefix_len.clamp(8, 28)));
        let base = u32::from(spec.base) & !(size - 1);
        let mut blocks = vec![0_u16; (size / 16) as usize];
        // EC2 keeps the first four addresses and the last one.
        if let Some(first) = blocks.first_mut() {
            *first |= 0x000f;
        }
        if let Some(last) = blocks.last_mut() {
            *last |= 0x8000;
        }
        let random = Random::new(seed ^ (u64::try_from(spec.id.bits()).unwrap_or(u64::MAX) << 32));
        Self { spec, base, blocks, free: size - 5, next_ipv6: 0, random }
    }

    fn view(&self) -> SubnetView {
        let SubnetSpec { id, role, cluster_fits, .. } = self.spec;
        SubnetView { id, free_addresses: self.free, role, cluster_fits }
    }

    /// Finds a block that `fits`, from a random place on.
    fn find(&mut self, fits: impl Fn(u16) -> bool) -> Option<usize> {
        let start = self.random.index(self.blocks.len());
        let (before, after) = self.blocks.split_at(start);
        let later = after.iter().position(|block| fits(*block)).map(|offset| start + offset);
        later.or_else(|| before.iter().position(|block| fits(*block)))
    }

    fn take_address(&mut self) -> Option<Ipv4Addr> {
        let index = self.find(|block| block != u16::MAX)?;
        let turn = u32::try_from(self.random.below(16)).unwrap_or(0);
        let block = self.blocks.get_mut(index)?;
        let bit = (turn + (!*block).rotate_right(turn).trailing_zeros()) % 16;
        *block |= 1 << bit;
        self.free -= 1;
        Some(Ipv4Addr::from(self.base + u32::try_from(index).ok()? * 16 + bit))
    }

    fn take_prefix(&mut self) -> Option<Ipv4Addr> {
        let index = self.find(|block| block == 0)?;
        *self.blocks.get_mut(index)? = u16::MAX;
        self.free -= 16;
        Some(Ipv4Addr::from(self.base + u32::try_from(index).ok()? * 16))
    }

    fn clear(&mut self, address: Ipv4Addr, bits: u16) {
        let Some(offset) = u32::from(address).checked_sub(self.base) else { return };
        if let Some(block) = self.blocks.get_mut((offset / 16) as usize) {
            self.free += (*block & bits).count_ones();
            *block &= !bits;
        }
    }
}
