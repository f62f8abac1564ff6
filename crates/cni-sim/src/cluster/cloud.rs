//! EC2 and the metadata service as one simulated node sees them: the cluster's subnets, and the faults aimed at it.

use super::subnet::SubnetPool;
use crate::scenario::Role;
use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::random::Random;
use ipamd_model::ec2::{Block, Cloud, ImdsRead, SubnetId, SubnetRole, SubnetView};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// What goes wrong with the operations of one node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CloudFault {
    /// `RequestLimitExceeded` for this share.
    Throttle(f64),
    /// `UnauthorizedOperation` for this operation.
    Unauthorized(Ec2Operation),
    /// Metadata reads fail.
    Imds,
}

/// One node's way to EC2.
pub(super) struct NodeCloud<'a> {
    /// Every subnet of the cluster; `SubnetId` is the index.
    pub(super) subnets: &'a mut [SubnetPool],
    /// Zone of the node: it has no access to subnets elsewhere.
    pub(super) zone: &'a str,
    /// Faults that hold for this node.
    pub(super) faults: Vec<(Range<i64>, CloudFault)>,
    /// Decides which operations a share hits.
    pub(super) random: &'a mut Random,
}

/// The model's name of a subnet, by its place in the scenario.
pub(super) fn subnet_id(index: u32) -> SubnetId {
    SubnetId::from_bits(index.into())
}

/// The place in the scenario of a subnet; no subnet has the largest.
pub(super) fn subnet_index(id: SubnetId) -> usize {
    usize::try_from(id.bits()).unwrap_or(usize::MAX)
}

impl NodeCloud<'_> {
    fn subnet(&mut self, id: SubnetId) -> Option<&mut SubnetPool> {
        self.subnets.get_mut(subnet_index(id))
    }
}

impl Cloud for NodeCloud<'_> {
    fn fault(&mut self, op: Ec2Operation, at_ms: i64) -> Option<Ec2Code> {
        for (window, fault) in &self.faults {
            if !window.contains(&at_ms) {
                continue;
            }
            match fault {
                CloudFault::Throttle(share) if self.random.fraction() < *share => {
                    return Some(Ec2Code::RequestLimitExceeded);
                }
                CloudFault::Unauthorized(denied) if *denied == op => return Some(Ec2Code::UnauthorizedOperation),
                _ => {}
            }
        }
        None
    }

    fn imds_fault(&mut self, _read: ImdsRead, at_ms: i64) -> bool {
        self.faults.iter().any(|(window, fault)| *fault == CloudFault::Imds && window.contains(&at_ms))
    }

    fn subnets(&self) -> Vec<SubnetView> {
        let all = self.subnets.iter().zip(0..);
        let near = all.filter(|(subnet, _)| subnet.zone == self.zone);
        near.map(|(subnet, index)| SubnetView {
            id: subnet_id(index),
            free_addresses: subnet.free(),
            role: match subnet.role {
                Role::Untagged => SubnetRole::Untagged,
                Role::Off => SubnetRole::Off,
                Role::On => SubnetRole::On,
            },
            cluster_fits: true,
        })
        .collect()
    }

    fn take_addresses(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        let taken = self.subnet(subnet).and_then(|subnet| subnet.take_addresses(u32::from(count)));
        taken.ok_or(Ec2Code::InsufficientFreeAddressesInSubnet)
    }

    fn take_prefixes(&mut self, subnet: SubnetId, count: u16) -> Result<Vec<Ipv4Addr>, Ec2Code> {
        let taken = self.subnet(subnet).and_then(|subnet| subnet.take_prefixes(u32::from(count)));
        taken.ok_or(Ec2Code::InsufficientCidrBlocks)
    }

    fn take_ipv6_prefix(&mut self, subnet: SubnetId) -> Result<Ipv6Addr, Ec2Code> {
        self.subnet(subnet).and_then(SubnetPool::take_ipv6_prefix).ok_or(Ec2Code::InsufficientCidrBlocks)
    }

    fn give_back(&mut self, subnet: SubnetId, block: Block) {
        let Some(subnet) = self.subnet(subnet) else { return };
        match block {
            Block::Address(address) => subnet.give_back_address(address),
            Block::Prefix(base) => subnet.give_back_prefix(base),
            // A /64 holds more /80 blocks than a cluster has nodes: none is assigned twice.
            Block::Ipv6Prefix(_) => {}
        }
    }
}
