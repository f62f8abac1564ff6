//! Which subnets serve pods.

use crate::id::SubnetId;
use crate::input::{Ec2Subnet, SubnetRole};

/// An ENI that is in this subnet must not serve pods. A subnet that is not listed is not excluded.
pub(crate) fn is_excluded(subnets: &[Ec2Subnet], subnet: SubnetId) -> bool {
    subnets.iter().filter(|known| known.id == subnet).any(|known| match known.role {
        SubnetRole::Off => true,
        SubnetRole::Untagged => false,
        SubnetRole::On => !known.cluster_fits,
    })
}

/// Subnets in which an ENI may be made, the one with most free addresses first.
pub(crate) fn for_new_eni(mut subnets: Vec<Ec2Subnet>, primary: SubnetId) -> Vec<SubnetId> {
    subnets.sort_by_key(|subnet| std::cmp::Reverse(subnet.free));
    let valid = subnets.iter().filter(|subnet| match subnet.role {
        SubnetRole::Off => false,
        SubnetRole::Untagged => subnet.id == primary,
        SubnetRole::On => subnet.cluster_fits,
    });
    valid.map(|subnet| subnet.id).collect()
}
