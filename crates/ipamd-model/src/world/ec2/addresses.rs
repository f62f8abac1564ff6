//! Calls that give an ENI addresses and take them from it. Each does all or nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipamd_core::id::EniId;
use ipamd_core::input::Ec2Reply;
use ipamd_core::output::Want;

use super::refusal::Refusal;
use super::{Ec2, Ec2Instance};

impl Ec2 {
    pub(super) fn assign(
        &mut self,
        now_ms: i64,
        instance: &Ec2Instance,
        eni: EniId,
        want: Want,
    ) -> Result<Ec2Reply, Refusal> {
        self.eni_or_refusal(eni)?;
        self.change(now_ms, eni);
        let reply = self.fill(instance, eni, want)?;
        Ok(reply)
    }

    /// Lends the ENI what is wanted, if its type allows it and its subnet has it.
    pub(super) fn fill(&mut self, instance: &Ec2Instance, id: EniId, want: Want) -> Result<Ec2Reply, Refusal> {
        let eni = self.eni_or_refusal(id)?;
        let (subnet, used) = (eni.subnet, eni.slots_used());
        let room = (instance.limits.slots() as usize).saturating_sub(used);
        let count = match want {
            Want::Ipv4(count) | Want::Ipv4Prefixes(count) => count as usize,
            Want::Ipv6Prefixes(_) => 0,
        };
        if count > room {
            return Err(Refusal::of_code("PrivateIpAddressLimitExceeded"));
        }
        let subnet = self.subnet_or_refusal(subnet)?;
        let (mut ipv4, mut ipv4_prefixes, mut ipv6_prefixes) = (Vec::new(), Vec::new(), Vec::new());
        match want {
            Want::Ipv4(count) => {
                let taken = subnet.take_addresses(count);
                ipv4 = taken.ok_or_else(|| Refusal::of_code("InsufficientFreeAddressesInSubnet"))?;
            }
            Want::Ipv4Prefixes(count) => {
                let taken = subnet.take_prefixes(count);
                ipv4_prefixes = taken.ok_or_else(|| Refusal::of_code("InsufficientCidrBlocks"))?;
            }
            Want::Ipv6Prefixes(count) => {
                let taken: Vec<Ipv6Addr> = (0..count).map_while(|_| subnet.take_ipv6_prefix()).collect();
                if taken.len() < count as usize {
                    for base in &taken {
                        subnet.give_back_ipv6_prefix(*base);
                    }
                    return Err(Refusal::of_code("InsufficientCidrBlocks"));
                }
                ipv6_prefixes = taken;
            }
        }
        if let Some(eni) = self.eni_mut(id) {
            extend(&mut eni.ipv4, &ipv4);
            extend(&mut eni.ipv4_prefixes, &ipv4_prefixes);
            extend(&mut eni.ipv6_prefixes, &ipv6_prefixes);
        }
        Ok(Ec2Reply::Assigned { ipv4, ipv4_prefixes, ipv6_prefixes })
    }

    pub(super) fn unassign(
        &mut self,
        now_ms: i64,
        id: EniId,
        ipv4: &[Ipv4Addr],
        prefixes: &[Ipv4Addr],
    ) -> Result<Ec2Reply, Refusal> {
        let eni = self.eni_or_refusal(id)?;
        let held = ipv4.iter().all(|address| eni.ipv4.contains(address))
            && prefixes.iter().all(|base| eni.ipv4_prefixes.contains(base));
        if !held {
            let named: Vec<Ipv4Addr> = ipv4.iter().chain(prefixes).copied().collect();
            return Err(Refusal::not_assigned(id, &named));
        }
        self.take_from(now_ms, id, ipv4, prefixes);
        Ok(Ec2Reply::Done)
    }

    /// Takes these from an ENI, as far as it has them.
    pub(super) fn take_from(&mut self, now_ms: i64, id: EniId, ipv4: &[Ipv4Addr], prefixes: &[Ipv4Addr]) {
        self.change(now_ms, id);
        let Some(eni) = self.enis.get_mut(&id).map(Arc::make_mut) else { return };
        let Some(subnet) = self.subnets.get_mut(&eni.subnet) else { return };
        eni.ipv4.retain(|address| !ipv4.contains(address) || !subnet.give_back_address(*address));
        eni.ipv4_prefixes.retain(|base| !prefixes.contains(base) || !subnet.give_back_prefix(*base));
    }

    pub(super) fn unassign_ipv6(&mut self, now_ms: i64, id: EniId, prefixes: &[Ipv6Addr]) -> Result<Ec2Reply, Refusal> {
        let eni = self.eni_or_refusal(id)?;
        if !prefixes.iter().all(|base| eni.ipv6_prefixes.contains(base)) {
            return Err(Refusal::not_assigned_ipv6(id));
        }
        self.change(now_ms, id);
        if let Some(eni) = self.enis.get_mut(&id).map(Arc::make_mut)
            && let Some(subnet) = self.subnets.get_mut(&eni.subnet)
        {
            eni.ipv6_prefixes.retain(|base| !prefixes.contains(base) || !subnet.give_back_ipv6_prefix(*base));
        }
        Ok(Ec2Reply::Done)
    }
}

/// Adds to a list that then rests, without room for more.
fn extend<T: Copy>(list: &mut Vec<T>, more: &[T]) {
    list.reserve_exact(more.len());
    list.extend_from_slice(more);
}
