//! EC2, IMDS and the subnets, as one node sees them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::imds::ImdsRead;
use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::block::Block;
use ipamd_core::id::SubnetId;
use ipamd_core::input::SubnetRole;

/// What `DescribeSubnets` tells about one subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetView {
    /// Which.
    pub id: SubnetId,
    /// Free addresses.
    pub free_addresses: u32,
    /// Its role tag.
    pub role: SubnetRole,
    /// Its cluster tags allow this cluster.
    pub cluster_fits: bool,
}

/// EC2, IMDS and the subnets, as one node sees them.
pub trait Cloud {
    /// The code with which `op` fails now, if it does.
    fn fault(&mut self, op: Ec2Operation, at_ms: i64) -> Option<Ec2Code>;
    /// Whether `read` fails now.
    fn imds_fault(&mut self, read: ImdsRead, at_ms: i64) -> bool;
    /// The subnets of the node's VPC and zone.
    fn subnets(&self) -> Vec<SubnetView>;
    /// Takes `count` addresses, all or none.
    fn take_addresses(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code>;
    /// Takes `count` /28 blocks, all or none; the answer holds their bases.
    fn take_prefixes(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code>;
    /// Takes one /80.
    fn take_ipv6_prefix(&mut self, subnet: SubnetId) -> Result<Ipv6Addr, Ec2Code>;
    /// Gives a block back.
    fn give_back(&mut self, subnet: SubnetId, block: Block);
}
