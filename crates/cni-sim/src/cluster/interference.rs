//! What others do to the nodes' ENIs and to what their agents read in the API server.

use super::active::Active;
use super::engine::Engine;
use super::nodes::ENI_CONFIG;
use super::sdk::Sdk;
use super::slot::Slot;
use super::state::SimulatedCluster;
use crate::scenario::{EniConfigFault, FaultKind};
use ipamd_core::id::{EniId, GroupId, SubnetId};
use ipamd_core::input::EniKind;
use ipamd_model::world::faults::{Fault, How, Target};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// By this tag agents leave an ENI alone.
const NO_MANAGE: (&str, &str) = ("node.k8s.amazonaws.com/no_manage", "true");

/// Ids that nothing has.
const NOTHING: u128 = 0xdead;

impl SimulatedCluster {
    /// The SDK of a node's agent.
    pub(super) fn sdk_of(&self, slot: &Slot) -> Sdk {
        Sdk::of_tag(self.scenario.node_groups.get(slot.group).map_or("", |group| group.image_tag()))
    }

    /// Others unassign addresses that pods use, of the ENI on which most pods run.
    pub(super) fn lose_addresses(&self, engine: &mut Engine, slot: &Slot, count: u32, now_ms: i64) {
        self.change(engine, slot, now_ms, |node, at| {
            let used: Vec<Ipv4Addr> = node
                .kubelet
                .running()
                .filter_map(|(_, address)| if let IpAddr::V4(address) = address { Some(address) } else { None })
                .collect();
            let of_eni = |addresses: &[Ipv4Addr]| -> Vec<Ipv4Addr> {
                addresses.iter().copied().filter(|address| used.contains(address)).collect()
            };
            let enis = at.account.ec2.bound(node.instance).map(|eni| (eni.id, of_eni(&eni.ipv4)));
            if let Some((eni, mut lost)) = enis.max_by_key(|(_, used)| used.len()) {
                lost.truncate(count as usize);
                at.account.ec2.lose_addresses(now_ms, eni, &lost);
                node.notice(at);
            }
        });
    }

    /// Others attach ENIs, as far as there are slots.
    pub(super) fn attach_foreign(
        &self,
        engine: &mut Engine,
        slot: &Slot,
        number: usize,
        (count, listed): (u32, bool),
        window: &Range<i64>,
    ) {
        self.change(engine, slot, window.start, |node, at| {
            for _ in 0..count {
                let made = at.account.ec2.attach_foreign(window.start, node.instance, EniKind::Interface, &[NO_MANAGE]);
                if let Ok(eni) = made
                    && !listed
                {
                    let row = Fault::new(Target::ImdsEni(eni), How::Absent, window.start, window.end);
                    at.account.faults.add(Fault { number, ..row });
                }
            }
            node.notice(at);
        });
    }

    /// The node's `ENIConfig` is not what it was.
    pub(super) fn spoil_eni_config(&self, engine: &mut Engine, slot: &Slot, fault: EniConfigFault, now_ms: i64) {
        self.change(engine, slot, now_ms, |node, _| {
            let Some((subnet, groups)) = node.kube.eni_configs.get_mut(ENI_CONFIG) else { return };
            match fault {
                EniConfigFault::Missing => {
                    node.kube.eni_configs.remove(ENI_CONFIG);
                }
                EniConfigFault::UnknownSubnet => *subnet = SubnetId::from_bits(NOTHING),
                EniConfigFault::UnknownGroup => groups.push(GroupId::from_bits(NOTHING)),
            }
        });
    }

    /// Undoes what such a fault did, where that does not end with its window.
    pub(super) fn undo(&self, engine: &mut Engine, fault: &Active, now_ms: i64) {
        match &fault.kind {
            FaultKind::EniQuota { .. } => engine.account.ec2.set_quota(usize::MAX),
            FaultKind::EniConfig(_) => self.hit(fault, |slot| self.restore_eni_config(engine, slot, now_ms)),
            FaultKind::NotReady => self.hit(fault, |slot| self.fail_probe(slot, false)),
            FaultKind::ForeignEni { .. } => self.hit(fault, |slot| self.detach_foreign(engine, slot, now_ms)),
            _ => {}
        }
    }

    /// The readiness probe of the node's agent fails, or works again.
    pub(super) fn fail_probe(&self, slot: &Slot, fails: bool) {
        let shown = slot.show(|shown| shown.probe_fails = fails);
        self.objects.agent(&self.kube, slot, &shown);
    }

    fn hit(&self, fault: &Active, mut act: impl FnMut(&Slot)) {
        self.slots().iter().filter(|slot| fault.members.contains(slot) && slot.alive()).for_each(|slot| act(slot));
    }

    fn restore_eni_config(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        let subnet = self.plans.get(slot.group).and_then(|plan| plan.pod_subnet);
        self.change(engine, slot, now_ms, |node, _| {
            if let Some(subnet) = subnet {
                node.kube.eni_configs.insert(ENI_CONFIG.into(), (subnet, Vec::new()));
            }
        });
    }

    fn detach_foreign(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        self.change(engine, slot, now_ms, |node, at| {
            let foreign = at.account.ec2.bound(node.instance).filter(|eni| eni.tag(NO_MANAGE.0) == Some(NO_MANAGE.1));
            for eni in foreign.map(|eni| eni.id).collect::<Vec<EniId>>() {
                at.account.ec2.lose_eni(now_ms, eni);
            }
            node.notice(at);
        });
    }
}
