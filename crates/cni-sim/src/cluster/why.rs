//! What the truth about refused requests is decided from: the state of a node, of its instance and of what they depend on.

use super::agents::SimNode;
use super::engine::Engine;
use super::group_plan::GroupPlan;
use super::slot::Slot;
use super::state::SimulatedCluster;
use crate::truth::cause::{NodeState, TrueCause, TrueRefusals, Way, of_code};
use cni_types::ec2::Ec2Operation;
use ipamd_core::id::SubnetId;
use ipamd_core::input::{EniKind, SubnetRole};
use ipamd_model::world::ec2::Ec2;
use ipamd_model::world::ec2::eni::{Eni, EniState};
use ipamd_model::world::faults::{Fault, Faults, How, ImdsPath, Target};
use std::collections::HashMap;

/// Addresses of a prefix.
const PREFIX: u32 = 16;

/// Calls without which a node gets no further ENI.
const FOR_AN_ENI: [Ec2Operation; 5] = [
    Ec2Operation::DescribeSubnets,
    Ec2Operation::CreateNetworkInterface,
    Ec2Operation::DescribeInstances,
    Ec2Operation::AttachNetworkInterface,
    Ec2Operation::ModifyNetworkInterfaceAttribute,
];

/// How many requests each agent had refused at the last look: by node, the life of its process and the count.
#[derive(Debug, Default)]
pub struct RefusalCounts(HashMap<usize, (u32, u64)>);

impl SimulatedCluster {
    /// Requests for an address that agents refused since the last look, and why: by the state of the world now, not by what the
    /// agents count of EC2's answers. Nodes that refused nothing are left out.
    pub fn refusals_since(&self, last: &mut RefusalCounts) -> Vec<TrueRefusals> {
        let now_ms = self.now_ms();
        let engine = self.engine();
        let mut found = Vec::new();
        for slot in &engine.slots {
            let cell = slot.lock();
            let Some(node) = cell.node.as_ref().filter(|node| node.serving_since_ms().is_some()) else { continue };
            let (Some(agent), Some(plan)) = (node.agent(), self.plans.get(slot.group)) else { continue };
            let (life, refused) = (node.epoch().0, agent.metrics().no_available);
            let before = last.0.insert(slot.index, (life, refused));
            let count = refused.saturating_sub(before.filter(|(of, _)| *of == life).map_or(0, |(_, count)| count));
            if count > 0 {
                let seen = Seen { plan, slot, node, ec2: &engine.account.ec2, faults: &engine.account.faults, now_ms };
                let cause = seen.state(&engine, cell.shown.cordoned).cause();
                found.push(TrueRefusals { node: slot.node_name.to_string(), cause, count });
            }
        }
        found
    }
}

/// A node and what it depends on.
struct Seen<'a> {
    plan: &'a GroupPlan,
    slot: &'a Slot,
    node: &'a SimNode,
    ec2: &'a Ec2,
    faults: &'a Faults,
    now_ms: i64,
}

impl Seen<'_> {
    fn state(&self, engine: &Engine, cordoned: bool) -> NodeState {
        let settings = &self.plan.config.settings;
        let (secondary, no_targets) = (!settings.prefix_delegation, settings.warm_ip_target == 0);
        let per_eni = self.plan.limits.slots() * if secondary { 1 } else { PREFIX };
        let of_type = u32::from(self.plan.limits.max_enis);
        let enis = settings.max_eni.map_or(of_type, |most| most.min(of_type));
        let unusable = u32::from(settings.custom_networking)
            + u32::from(settings.pod_eni && self.plan.limits.trunk_compatible)
            + u32::try_from(self.known_left_alone() + self.excluded()).unwrap_or(u32::MAX);
        let running = self.node.kubelet.running().count() + self.node.kubelet.wanting().count();
        NodeState {
            metadata_down: self.fault(|fault| is_metadata(fault.target)).is_some(),
            provisions: settings.provisioning,
            ipv6: settings.ipv6,
            held: self.managed().map(|eni| self.held(eni)).sum(),
            most: enis.saturating_sub(unusable) * per_eni,
            most_of_type: of_type.saturating_sub(unusable) * per_eni,
            pods: u32::try_from(running).unwrap_or(u32::MAX),
            max_pods: self.slot.max_pods,
            excluded: self.excluded() > 0,
            cordoned,
            manages_cordoned: settings.manage_unschedulable,
            only_minimum: Some(settings.minimum_ip_target).filter(|minimum| *minimum > 0 && no_targets),
            targets_zero: secondary && no_targets && settings.warm_eni_target == 0 && settings.minimum_ip_target == 0,
            answers_late: self.answers_late(),
            hides_new_enis: self.fault(|fault| fault.target == Target::ImdsNewEnis).is_some(),
            more_addresses: self.more_addresses(),
            more_enis: self.more_enis(engine, enis),
        }
    }

    /// The first fault of this kind that this node's agent meets now.
    fn fault(&self, is_it: impl Fn(&Fault) -> bool) -> Option<&Fault> {
        self.faults.standing(self.node.instance, self.now_ms, is_it)
    }

    /// Its ENIs that the agent works with and whose addresses pods can have.
    fn managed(&self) -> impl Iterator<Item = &Eni> {
        let attached = self.ec2.bound(self.node.instance).filter(|eni| eni.state(self.now_ms) == EniState::Attached);
        let custom = self.plan.config.settings.custom_networking;
        attached.filter(move |eni| {
            let is_primary = eni.attachment.as_ref().is_some_and(|at| at.device == 0 && at.card == 0);
            let is_ours = eni.kind == EniKind::Interface && !is_left_alone(eni) && !self.is_hidden(eni);
            is_ours && !(custom && is_primary) && !self.is_excluded(eni)
        })
    }

    /// How many ENIs the agent sees and leaves alone.
    fn known_left_alone(&self) -> usize {
        self.ec2.bound(self.node.instance).filter(|eni| is_left_alone(eni) && !self.is_hidden(eni)).count()
    }

    /// How many of its ENIs are in a subnet whose tag keeps pods out.
    fn excluded(&self) -> usize {
        self.ec2.bound(self.node.instance).filter(|eni| self.is_excluded(eni)).count()
    }

    fn is_excluded(&self, eni: &Eni) -> bool {
        let is_off = |id| self.ec2.subnet(id).is_some_and(|subnet| subnet.spec.role == SubnetRole::Off);
        let settings = &self.plan.config.settings;
        settings.subnet_discovery && !settings.custom_networking && is_off(eni.subnet)
    }

    /// The instance metadata service does not list the ENI.
    fn is_hidden(&self, eni: &Eni) -> bool {
        let attached_ms = eni.attachment.as_ref().map_or(i64::MAX, |at| at.attached_ms);
        let hides = |fault: &Fault| match fault.target {
            Target::ImdsNewEnis => attached_ms >= fault.from_ms,
            Target::ImdsEni(hidden) => hidden == eni.id && fault.how == How::Absent,
            _ => false,
        };
        self.fault(hides).is_some()
    }

    fn held(&self, eni: &Eni) -> u32 {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if self.plan.config.settings.ipv6 {
            return number(eni.ipv6_prefixes.len());
        }
        number(eni.ipv4.len()) + number(eni.ipv4_prefixes.len()) * PREFIX
    }

    /// EC2 answers calls by which the node gets more addresses much later.
    fn answers_late(&self) -> bool {
        let calls = || FOR_AN_ENI.into_iter().chain([Ec2Operation::AssignPrivateIpAddresses]);
        let is_late = |fault: &Fault| matches!(fault.how, How::Late(_)) && calls().any(|call| hits(fault.target, call));
        self.fault(is_late).is_some()
    }

    fn more_addresses(&self) -> Way {
        let slots = self.plan.limits.slots() as usize;
        let with_room: Vec<&Eni> = self.managed().filter(|eni| eni.slots_used() < slots).collect();
        if with_room.is_empty() {
            return Way::None;
        }
        if let Some(cause) = self.refusal(Ec2Operation::AssignPrivateIpAddresses) {
            return Way::Blocked(cause);
        }
        let short: Vec<TrueCause> = with_room.iter().filter_map(|eni| self.shortage(eni.subnet, 1)).collect();
        if short.len() < with_room.len() {
            Way::Open
        } else {
            short.first().map_or(Way::Open, |cause| Way::Blocked(*cause))
        }
    }

    fn more_enis(&self, engine: &Engine, most: u32) -> Way {
        let (instance, limits) = (self.node.instance, self.plan.limits);
        let in_slots = self.ec2.bound(instance).count();
        let ours = self.ec2.bound(instance).filter(|eni| !is_left_alone(eni) && !self.is_hidden(eni)).count();
        if ours >= most as usize {
            return Way::None;
        }
        if in_slots >= usize::from(limits.max_enis) {
            return Way::Blocked(TrueCause::SlotsTaken);
        }
        if let Some(cause) = self.wrong_eni_config() {
            return Way::Blocked(cause);
        }
        if let Some(cause) = FOR_AN_ENI.into_iter().find_map(|operation| self.refusal(operation)) {
            return Way::Blocked(cause);
        }
        if self.ec2.is_at_its_quota() {
            return Way::Blocked(TrueCause::QuotaUsedUp);
        }
        let own = self.plan.pod_subnet.unwrap_or(self.plan.subnet);
        let discovers = self.plan.config.settings.subnet_discovery && self.plan.pod_subnet.is_none();
        let others = engine.subnets.iter().copied().filter(|id| discovers && self.is_tagged_for_pods(*id));
        let short: Vec<_> = std::iter::once(own).chain(others).map(|id| self.shortage(id, self.asked_for())).collect();
        match short.iter().min() {
            Some(Some(cause)) => Way::Blocked(*cause),
            _ => Way::Open,
        }
    }

    /// Another subnet of the zone that agents may use.
    fn is_tagged_for_pods(&self, id: SubnetId) -> bool {
        let is_on = |subnet: &ipamd_model::world::subnet::SubnetSpace| {
            subnet.spec.role == SubnetRole::On && *subnet.spec.zone == *self.plan.zone
        };
        self.ec2.subnet(id).is_some_and(is_on)
    }

    /// Addresses or prefixes that a new ENI is asked for with: all that it can hold, unless a target asks for fewer.
    fn asked_for(&self) -> u32 {
        let settings = &self.plan.config.settings;
        let slots = self.plan.limits.slots();
        if settings.prefix_delegation || (settings.warm_ip_target == 0 && settings.minimum_ip_target == 0) {
            return if settings.prefix_delegation { 1 } else { slots };
        }
        settings.warm_ip_target.clamp(1, slots)
    }

    /// What the subnet lacks for an ENI with this number, or for this number on an ENI that is there.
    fn shortage(&self, subnet: SubnetId, count: u32) -> Option<TrueCause> {
        let space = self.ec2.subnet(subnet)?;
        if self.plan.config.settings.prefix_delegation {
            return (space.free_prefixes() < count).then_some(TrueCause::NoFreeBlock);
        }
        // A new ENI has a primary address as well.
        let needed = if count > 1 { count.saturating_add(1) } else { count };
        (space.free() < needed).then_some(TrueCause::NoFreeAddress)
    }

    fn wrong_eni_config(&self) -> Option<TrueCause> {
        let name = self.node.kube.node.as_ref().and_then(|seen| seen.eni_config.as_deref());
        if !self.plan.config.settings.custom_networking {
            return None;
        }
        let Some((subnet, groups)) = self.node.kube.eni_configs.get(name.unwrap_or("default")) else {
            return Some(TrueCause::EniConfigMissing);
        };
        let is_wrong = self.ec2.subnet(*subnet).is_none() || groups.iter().any(|group| !self.ec2.has_group(*group));
        is_wrong.then_some(TrueCause::EniConfigWrong)
    }

    /// Why calls of this operation fail now, whatever share of them.
    fn refusal(&self, operation: Ec2Operation) -> Option<TrueCause> {
        self.fault(|fault| hits(fault.target, operation)).and_then(|fault| match &fault.how {
            How::Code(code) => Some(of_code(code)),
            How::NotSent | How::Lost { .. } => Some(TrueCause::NoAnswer),
            _ => None,
        })
    }
}

fn hits(target: Target, operation: Ec2Operation) -> bool {
    target == Target::EveryEc2 || target == Target::Ec2(operation)
}

fn is_metadata(target: Target) -> bool {
    matches!(target, Target::EveryImds) || target == Target::Imds(ImdsPath::VpcCidrs)
}

/// Tags tell agents to leave an ENI alone.
fn is_left_alone(eni: &Eni) -> bool {
    eni.tag("node.k8s.amazonaws.com/no_manage") == Some("true")
}
