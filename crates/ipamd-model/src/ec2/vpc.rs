//! Subnets with real address space, shared by many nodes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Block, Cloud, Ec2Code, Ec2Op, ImdsRead, SubnetId, SubnetRole, SubnetView};

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

/// A set of subnets that never fails on its own; implements [`Cloud`].
#[derive(Debug, Clone)]
pub struct Vpc {}

impl Vpc {
    /// Subnets whose addresses are lent in an order drawn from `seed`.
    pub fn new(_subnets: Vec<SubnetSpec>, _seed: u64) -> Self {
        todo!()
    }

    /// Free addresses of a subnet.
    pub fn free_addresses(&self, _subnet: SubnetId) -> u32 {
        todo!()
    }
}

impl Cloud for Vpc {
    fn fault(&mut self, _op: Ec2Op, _at_ms: i64) -> Option<Ec2Code> {
        None
    }

    fn imds_fault(&mut self, _read: ImdsRead, _at_ms: i64) -> bool {
        false
    }

    fn subnets(&self) -> Vec<SubnetView> {
        todo!()
    }

    fn take_addresses(&mut self, _subnet: SubnetId, _count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        todo!()
    }

    fn take_prefixes(&mut self, _subnet: SubnetId, _count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        todo!()
    }

    fn take_ipv6_prefix(&mut self, _subnet: SubnetId) -> Result<Ipv6Addr, Ec2Code> {
        todo!()
    }

    fn give_back(&mut self, _subnet: SubnetId, _block: Block) {
        todo!()
    }
}
