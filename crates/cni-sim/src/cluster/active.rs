//! The faults that hold now, and whom they hold for.

use super::slot::Slot;
use super::whole::whole;
use crate::fault::{ApiFault, CloudWatchFault, Ec2Fault, ImdsFault};
use crate::scenario::{FaultKind, Reach, Scenario, Target};
use cni_types::random::mix;
use std::collections::HashSet;
use std::sync::Arc;

/// The nodes a fault holds for.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    group: Option<usize>,
    zone: Option<String>,
    /// Chosen when the fault began; without it every node that fits, later ones included.
    chosen: Option<HashSet<usize>>,
}

impl Members {
    /// Resolves a target among the nodes there are; `draw` decides which of them a fraction means, but those that are
    /// `busy` come last.
    pub(super) fn resolve(
        target: &Target,
        scenario: &Scenario,
        slots: &[Arc<Slot>],
        draw: u64,
        busy: impl Fn(usize) -> bool,
    ) -> Self {
        let group = target.group.as_ref();
        let group = group.and_then(|at| scenario.node_groups.iter().position(|group| group.name == at.value));
        let mut members = Self { group, zone: target.zone.as_ref().map(|at| at.value.clone()), chosen: None };
        if target.nodes.is_empty() && target.fraction.is_none() && target.count.is_none() {
            return members;
        }
        let named = |slot: &Slot| target.nodes.is_empty() || target.nodes.iter().any(|name| **name == *slot.node_name);
        let mut fitting: Vec<usize> = slots
            .iter()
            .filter(|slot| slot.alive() && members.contains(slot) && named(slot))
            .map(|slot| slot.index)
            .collect();
        fitting.sort_by_key(|index| (busy(*index), mix(draw ^ mix(*index as u64))));
        if let Some(fraction) = target.fraction {
            let share = (fitting.len() as f64 * fraction.0).ceil();
            fitting.truncate(whole(share));
        }
        if let Some(count) = target.count {
            fitting.truncate(count as usize);
        }
        members.chosen = Some(fitting.into_iter().collect());
        members
    }

    pub(super) fn contains(&self, slot: &Slot) -> bool {
        self.group.is_none_or(|group| group == slot.group)
            && self.zone.as_ref().is_none_or(|zone| **zone == *slot.zone)
            && self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&slot.index))
    }
}

/// One fault that holds now.
#[derive(Debug, Clone)]
pub(super) struct Active {
    /// Its number, in the order of the scenario and then of injection.
    pub(super) fault: usize,
    pub(super) members: Members,
    pub(super) kind: FaultKind,
}

/// All faults that hold now.
#[derive(Debug, Default)]
pub(super) struct ActiveFaults {
    pub(super) list: Vec<Active>,
}

impl ActiveFaults {
    /// The fault of this node's page on this path.
    pub(super) fn page(&self, slot: &Slot, via: crate::answer::Via) -> Option<&FaultKind> {
        let mut fitting =
            self.list.iter().filter(|active| active.kind.is_page_fault() && active.members.contains(slot));
        let holds = |kind: &FaultKind| match kind {
            FaultKind::Unreachable { via: Reach::Proxy } => via == crate::answer::Via::Proxy,
            FaultKind::Unreachable { via: Reach::Direct } => via == crate::answer::Via::Direct,
            _ => true,
        };
        fitting.find(|active| holds(&active.kind)).map(|active| &active.kind)
    }

    /// Whether some page fault was drawn for this node; a second one would not be seen.
    pub(super) fn page_is_spoilt(&self, index: usize) -> bool {
        let mut drawn = self.list.iter().filter(|active| active.kind.is_page_fault());
        drawn.any(|active| active.members.chosen.as_ref().is_some_and(|chosen| chosen.contains(&index)))
    }

    /// Some node leaks pods.
    pub(super) fn leaks(&self) -> bool {
        self.list.iter().any(|active| matches!(active.kind, FaultKind::LeakIps { .. }))
    }

    /// Pods a minute that this node leaks.
    pub(super) fn leaks_per_minute(&self, slot: &Slot) -> f64 {
        let leaks = self.list.iter().filter(|active| active.members.contains(slot)).map(|active| &active.kind);
        leaks.map(|kind| if let FaultKind::LeakIps { per_minute } = kind { *per_minute } else { 0.0 }).sum()
    }

    /// The API server's fault; of several, the latest.
    pub(super) fn api(&self) -> ApiFault {
        let mut latest = self.list.iter().rev();
        let found = latest.find_map(|active| match &active.kind {
            FaultKind::ApiServer(fault) => Some(fault.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// CloudWatch's fault; of several, the latest.
    pub(super) fn cloudwatch(&self) -> CloudWatchFault {
        let mut latest = self.list.iter().rev();
        let found = latest.find_map(|active| match &active.kind {
            FaultKind::Cloudwatch(fault) => Some(fault.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// The EC2 API's fault; of several, the latest.
    pub(super) fn ec2(&self) -> Ec2Fault {
        let mut latest = self.list.iter().rev();
        let found = latest.find_map(|active| match &active.kind {
            FaultKind::Ec2Api(fault) => Some(fault.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// The metadata service's fault; of several, the latest.
    pub(super) fn imds(&self) -> ImdsFault {
        let mut latest = self.list.iter().rev();
        let found = latest.find_map(|active| match &active.kind {
            FaultKind::Imds(fault) => Some(fault.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }
}
