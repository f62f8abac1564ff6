//! Faults begin and end.

use super::active::{Active, Members};
use super::agents::SimNode;
use super::engine::{Engine, Event};
use super::sdk::{NodeFault, Sdk};
use super::slot::Slot;
use super::state::SimulatedCluster;
use crate::scenario::{At, FaultKind, FaultSpec};
use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::random::mix;
use ipamd_core::input::{ImdsErrorKind, Input};
use ipamd_model::world::faults::{Fault, How, Target};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// A kubelet that stopped reporting is noticed after this (the node controller's grace period).
const NOTICED_AFTER_MS: i64 = 40_000;

/// The objects of a terminated instance are deleted after this (the cloud controller looks every minute or so).
const DELETED_AFTER_MS: i64 = 100_000;

/// How soon others take again what is given back to a dry subnet.
const DRY_AGAIN_MS: i64 = 1_000;

impl SimulatedCluster {
    /// Puts a fault on the schedule; the answer is its number.
    pub(super) fn schedule(&self, engine: &mut Engine, fault: FaultSpec, not_before_ms: i64) -> usize {
        let number = engine.faults.len();
        let at_ms = (self.start_ms + fault.at.ms).max(not_before_ms);
        engine.at(at_ms, Event::FaultStart(number));
        if let Some(lasts) = fault.lasts {
            engine.at(at_ms + lasts.ms, Event::FaultEnd(number));
        }
        engine.faults.push(fault);
        number
    }

    pub(super) fn fault_start(&self, engine: &mut Engine, number: usize, now_ms: i64) {
        let Some(spec) = engine.faults.get(number).cloned() else { return };
        let slots = self.slots();
        let draw = mix(self.seed ^ mix(number as u64));
        let members = {
            let (page, active) = (spec.fault.value.is_page_fault(), self.active());
            let busy = |index| page && active.page_is_spoilt(index);
            Members::resolve(&spec.target, &self.scenario, &slots, draw, busy)
        };
        let window = now_ms..spec.lasts.map_or(i64::MAX, |lasts| now_ms + lasts.ms);
        let kind = spec.fault.value;
        for sdk in Sdk::ALL {
            let Some(row) = node_fault(&kind, &window, sdk) else { continue };
            let hit = slots.iter().filter(|slot| members.contains(slot) && self.sdk_of(slot) == sdk);
            engine.account.faults.add(Fault {
                only: Some(hit.map(|slot| slot.instance).collect()),
                number,
                ..row.clone()
            });
            engine.node_faults.push(NodeFault { number, members: members.clone(), sdk, how: row.how });
        }
        let chosen: Vec<Arc<Slot>> = slots.iter().filter(|slot| members.contains(slot)).cloned().collect();
        if let FaultKind::Join { count } = &kind {
            self.join_later(engine, spec.target.group.as_ref(), *count, now_ms);
        }
        self.strike(engine, (number, draw), &kind, &chosen, &window);
        self.active_mut().list.push(Active { fault: number, members, kind });
    }

    /// What a fault does when it begins, to the nodes that it hits.
    fn strike(
        &self,
        engine: &mut Engine,
        (number, draw): (usize, u64),
        kind: &FaultKind,
        chosen: &[Arc<Slot>],
        window: &Range<i64>,
    ) {
        let now_ms = window.start;
        let hit = || chosen.iter().filter(|slot| slot.alive());
        match kind {
            FaultKind::SubnetDry { subnet, .. } | FaultKind::Fragment { subnet, .. } => {
                let at = self.scenario.subnets.iter().position(|known| known.name == subnet.value);
                Self::seize(engine, number, at, kind, now_ms);
            }
            FaultKind::Restart { every } => {
                for (turn, slot) in hit().enumerate() {
                    // Spread over the interval: a fleet does not restart at one moment.
                    let spread = every.map_or(2_000, |every| every.ms);
                    let offset = i64::try_from(mix(draw ^ (turn as u64)) % spread.unsigned_abs().max(1)).unwrap_or(0);
                    engine.at(now_ms + offset, Event::Restart(slot.index, number));
                }
            }
            FaultKind::RestartThrottled => {
                hit().for_each(|slot| self.kill(engine, slot, now_ms));
            }
            FaultKind::ImdsDropsEni => {
                for slot in hit() {
                    self.drop_eni(engine, slot, number, window);
                }
            }
            FaultKind::LoseEni => hit().for_each(|slot| self.lose_eni(engine, slot, now_ms)),
            FaultKind::LoseAddresses { count } => {
                hit().for_each(|slot| self.lose_addresses(engine, slot, *count, now_ms));
            }
            FaultKind::ForeignEni { count, listed } => {
                hit().for_each(|slot| self.attach_foreign(engine, slot, number, (*count, *listed), window));
            }
            FaultKind::EniConfig(fault) => hit().for_each(|slot| self.spoil_eni_config(engine, slot, *fault, now_ms)),
            FaultKind::NotReady => hit().for_each(|slot| self.fail_probe(slot, true)),
            FaultKind::EniQuota { leave } => {
                let quota = engine.account.ec2.enis().count().saturating_add(*leave);
                engine.account.ec2.set_quota(quota);
            }
            FaultKind::NodeLoss { replace } => hit().for_each(|slot| Self::lose_node(engine, slot, *replace, now_ms)),
            FaultKind::Cordon => hit().for_each(|slot| self.cordon(engine, slot, true, now_ms)),
            _ => {}
        }
    }

    /// Nodes of a group join, one after the other.
    fn join_later(&self, engine: &mut Engine, group: Option<&At<String>>, count: u32, now_ms: i64) {
        let group = group.and_then(|at| self.scenario.node_groups.iter().position(|group| group.name == at.value));
        for turn in 0..i64::from(count) {
            if let Some(group) = group {
                engine.at(now_ms + turn * 200, Event::Join(group));
            }
        }
    }

    pub(super) fn fault_end(&self, engine: &mut Engine, number: usize, now_ms: i64) {
        let ended: Vec<Active> = {
            let mut active = self.active_mut();
            let (ended, rest) = active.list.drain(..).partition(|active| active.fault == number);
            active.list = rest;
            ended
        };
        // The window of an EC2 fault ends by itself, unless it is cleared before its time.
        engine.account.faults.remove(number);
        engine.node_faults.retain(|fault| fault.number != number);
        for fault in &ended {
            self.undo(engine, fault, now_ms);
        }
        if let Some((subnet, seized)) = engine.seized.remove(&number)
            && let Some(subnet) = engine.subnet(subnet)
        {
            subnet.release(&seized);
        }
        for fault in ended.iter().filter(|fault| matches!(fault.kind, FaultKind::Cordon)) {
            let slots = self.slots();
            let cordoned = slots.iter().filter(|slot| fault.members.contains(slot));
            cordoned.for_each(|slot| self.cordon(engine, slot, false, now_ms));
        }
    }

    /// Others take addresses of a subnet, and continue to while a `subnet-dry` fault lasts.
    fn seize(engine: &mut Engine, number: usize, at: Option<usize>, kind: &FaultKind, now_ms: i64) {
        let Some((index, subnet)) = at.and_then(|index| Some((index, engine.subnet(index)?))) else { return };
        let taken = match kind {
            FaultKind::SubnetDry { leave, .. } => subnet.seize_all_but(*leave),
            FaultKind::Fragment { share, .. } => subnet.fragment(share.0),
            _ => return,
        };
        engine.seized.entry(number).or_insert_with(|| (index, Vec::new())).1.extend(taken);
        if matches!(kind, FaultKind::SubnetDry { .. }) {
            engine.at(now_ms + DRY_AGAIN_MS, Event::DrySubnet(number));
        }
    }

    pub(super) fn dry_again(engine: &mut Engine, number: usize, now_ms: i64) {
        let Some((subnet, _)) = engine.seized.get(&number) else { return };
        let at = Some(*subnet);
        let kind = engine.faults.get(number).map(|spec| spec.fault.value.clone());
        if let Some(kind) = kind {
            Self::seize(engine, number, at, &kind, now_ms);
        }
    }

    pub(super) fn restart(&self, engine: &mut Engine, slot: &Slot, number: usize, now_ms: i64) {
        let every = {
            let active = self.active();
            let active = active.list.iter().find(|active| active.fault == number);
            match active.map(|active| &active.kind) {
                Some(FaultKind::Restart { every }) => *every,
                _ => return,
            }
        };
        if !slot.alive() {
            return;
        }
        self.kill(engine, slot, now_ms);
        if let Some(every) = every {
            engine.at(now_ms + every.ms, Event::Restart(slot.index, number));
        }
    }

    /// The agent's process is killed; the kubelet starts its container again.
    fn kill(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        self.change(engine, slot, now_ms, SimNode::kill);
    }

    /// The last ENI of an instance vanishes.
    fn lose_eni(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        self.change(engine, slot, now_ms, |node, at| {
            let enis = at.account.ec2.bound(node.instance);
            let placed = enis.filter_map(|eni| Some((eni.attachment.as_ref()?.device, eni.id)));
            if let Some((_, eni)) = placed.filter(|(device, _)| *device > 0).max() {
                at.account.ec2.lose_eni(now_ms, eni);
                node.notice(at);
            }
        });
    }

    /// The metadata service does not list the ENI, other than the primary one, on which most pods run.
    fn drop_eni(&self, engine: &mut Engine, slot: &Slot, number: usize, window: &Range<i64>) {
        let now_ms = window.start;
        self.change(engine, slot, now_ms, |node, at| {
            let addresses: BTreeSet<IpAddr> = node.kubelet.running().map(|(_, address)| address).collect();
            let attached = at.account.ec2.attached(now_ms, node.instance).into_iter().skip(1);
            let busiest = attached.max_by_key(|eni| {
                eni.every_ipv4().filter(|address| addresses.contains(&IpAddr::from(*address))).count()
            });
            if let Some(eni) = busiest.map(|eni| eni.id) {
                let row = Fault::new(Target::ImdsEni(eni), How::Absent, window.start, window.end);
                at.account.faults.add(Fault { number, ..row });
            }
        });
    }

    fn lose_node(engine: &mut Engine, slot: &Arc<Slot>, replace: bool, now_ms: i64) {
        Self::terminate(engine, slot, now_ms);
        engine.at(now_ms + NOTICED_AFTER_MS, Event::NotReady(slot.index));
        engine.at(now_ms + DELETED_AFTER_MS, Event::Deleted(slot.index, replace));
    }

    fn cordon(&self, engine: &mut Engine, slot: &Slot, cordoned: bool, now_ms: i64) {
        self.change(engine, slot, now_ms, |node, at| {
            let Some(seen) = node.kube.node.as_mut() else { return };
            (seen.unschedulable, seen.version) = (cordoned, seen.version.saturating_add(1));
            let seen = seen.clone();
            node.tell(Input::NodeSeen(seen), at);
        });
        let shown = slot.show(|shown| shown.cordoned = cordoned);
        self.objects.node(&self.kube, slot, &shown);
    }
}

/// What a fault does to EC2 and instance metadata of the nodes that it hits, whose agents are built with this SDK.
fn node_fault(kind: &FaultKind, window: &Range<i64>, sdk: Sdk) -> Option<Fault> {
    let code = |code: Ec2Code| How::Code(code.name().into());
    let (target, how, share) = match kind {
        FaultKind::Ec2Throttling { share } => (Target::EveryEc2, code(Ec2Code::RequestLimitExceeded), share.0),
        FaultKind::RestartThrottled => {
            (Target::Ec2(Ec2Operation::DescribeSubnets), code(Ec2Code::RequestLimitExceeded), 1.0)
        }
        FaultKind::MissingIam { action } => {
            (Target::Ec2(Ec2Operation::by_name(&action.value)?), code(Ec2Code::UnauthorizedOperation), 1.0)
        }
        FaultKind::Ec2Refusal { action, code, share } => {
            (calls(action.as_ref())?, How::Code(code.as_str().into()), share.0)
        }
        FaultKind::Ec2Late { action, by } => (calls(action.as_ref())?, How::Late(by.ms), 1.0),
        FaultKind::Ec2Unreachable => (Target::EveryEc2, sdk.silence(), 1.0),
        FaultKind::RoleUnusable { code } => (Target::EveryEc2, sdk.no_credentials(code), 1.0),
        FaultKind::DiskFull => (Target::DiskWrite, How::Fails, 1.0),
        FaultKind::ImdsHidesNewEnis => (Target::ImdsNewEnis, How::Absent, 1.0),
        FaultKind::NodeImds => (Target::EveryImds, How::Imds(ImdsErrorKind::Status(500)), 1.0),
        _ => return None,
    };
    Some(Fault { share, ..Fault::new(target, how, window.start, window.end) })
}

/// The calls of this action, or all.
fn calls(action: Option<&At<String>>) -> Option<Target> {
    match action {
        Some(action) => Ec2Operation::by_name(&action.value).map(Target::Ec2),
        None => Some(Target::EveryEc2),
    }
}
