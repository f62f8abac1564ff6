//! What moves the cluster: a queue of events in the order of their time, so that the same seed gives the same cluster
//! however the clock is advanced.

use super::active::Members;
use super::cloud::{CloudFault, NodeCloud};
use super::slot::Slot;
use super::subnet::SubnetPool;
use crate::scenario::FaultSpec;
use cni_types::random::Random;
use ipamd_model::node::{Node, PodKey as ModelPod};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;

/// Something that happens at a time. Events of one moment happen in this order, then in that of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A fault begins.
    FaultStart(usize),
    /// A fault ends.
    FaultEnd(usize),
    /// Others take again what the nodes gave back to a dry subnet.
    DrySubnet(usize),
    /// A node joins a group.
    Join(usize),
    /// An agent's container restarts, for this fault.
    Restart(usize, usize),
    /// The API server notices that a node is gone.
    NotReady(usize),
    /// A lost node's objects are deleted, and a new one joins if so wished.
    Deleted(usize, bool),
    /// The model has something to do.
    Node(usize),
    /// Pods come and go on a node.
    Workload(usize),
}

/// What the engine keeps of each node.
#[derive(Debug)]
pub(super) struct Driver {
    /// Pods that have an address, by the number the model knows them under.
    pub(super) pods: Vec<u64>,
    /// Pods created so far.
    pub(super) created: u64,
    /// What the Kubernetes API shows of pods that wait for an address, where it shows pods.
    pub(super) waiting: Waiting,
    /// When the model is due; an event of any other time is stale.
    pub(super) wake_ms: i64,
    pub(super) random: Random,
    /// Separate, so that the number of EC2 calls never changes the workload.
    pub(super) cloud_random: Random,
    /// Spreads fractional pod numbers over the nodes.
    pub(super) jitter: f64,
}

impl Driver {
    /// Of a node that has just joined.
    pub(super) fn new(random: Random, cloud_random: Random, jitter: f64) -> Self {
        let waiting = Waiting::default();
        Self { pods: Vec::new(), created: 0, waiting, wake_ms: i64::MIN, random, cloud_random, jitter }
    }
}

/// Pods of a node that wait for an address. The model knows each attempt under a number of its own; the Kubernetes API
/// shows one pod under one name from its first attempt to its end.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The names' numbers of those that wait, the longest first.
    pub(super) pods: VecDeque<u64>,
    /// How many there were.
    pub(super) count: u64,
    /// The name's number of pods that waited, by the number under which the model knows them.
    pub(super) names: BTreeMap<u64, u64>,
}

/// All mutable state but the nodes themselves.
#[derive(Debug, Default)]
pub(super) struct Engine {
    pub(super) subnets: Vec<SubnetPool>,
    pub(super) queue: BinaryHeap<Reverse<(i64, Event)>>,
    pub(super) drivers: Vec<Driver>,
    /// Everything that was ever scheduled; an event names a fault by its index.
    pub(super) faults: Vec<FaultSpec>,
    pub(super) cloud_faults: Vec<(usize, Members, Range<i64>, CloudFault)>,
    /// What others took for a fault, by subnet index and offset.
    pub(super) seized: BTreeMap<usize, (usize, Vec<u32>)>,
    /// Agents that serve, for the `DaemonSet`'s status.
    pub(super) serving: u32,
    pub(super) alive: u32,
}

impl Engine {
    /// Schedules an event.
    pub(super) fn at(&mut self, at_ms: i64, event: Event) {
        self.queue.push(Reverse((at_ms, event)));
    }

    /// The next event that is due.
    pub(super) fn due(&mut self, to_ms: i64) -> Option<(i64, Event)> {
        let Reverse((at_ms, _)) = self.queue.peek()?;
        if *at_ms > to_ms {
            return None;
        }
        self.queue.pop().map(|Reverse(next)| next)
    }

    /// Runs a node against EC2, then schedules its next event. `None` if the instance is gone.
    pub(super) fn with_node<R>(
        &mut self,
        slot: &Slot,
        now_ms: i64,
        act: impl FnOnce(&mut Node, &mut NodeCloud<'_>) -> R,
    ) -> Option<R> {
        let mut cell = slot.lock();
        cell.kept = None;
        let node = cell.node.as_mut()?;
        let driver = self.drivers.get_mut(slot.index)?;
        let faults = self.cloud_faults.iter().filter(|(_, members, ..)| members.contains(slot));
        let mut cloud = NodeCloud {
            subnets: &mut self.subnets,
            zone: &slot.zone,
            faults: faults.map(|(_, _, window, fault)| (window.clone(), fault.clone())).collect(),
            random: &mut driver.cloud_random,
        };
        let result = act(node, &mut cloud);
        // A model that is always due would stop the clock.
        let wake_ms = node.next_wakeup().max(now_ms + 1);
        if wake_ms != driver.wake_ms {
            driver.wake_ms = wake_ms;
            self.queue.push(Reverse((wake_ms, Event::Node(slot.index))));
        }
        Some(result)
    }

    /// Whether an event of the model is still meant.
    pub(super) fn is_due(&self, index: usize, at_ms: i64) -> bool {
        self.drivers.get(index).is_some_and(|driver| driver.wake_ms == at_ms)
    }
}

/// The number under which the model knows the `serial`-th pod of a node; distinct over the cluster.
pub(super) fn pod_number(index: usize, serial: u64) -> ModelPod {
    ModelPod(((index as u64) << 32) | (serial & 0xffff_ffff))
}

/// The number in the name of the `serial`-th pod of a node that waits, apart from those of [`pod_number`].
pub(super) fn waiting_number(index: usize, serial: u64) -> u64 {
    pod_number(index, serial | 0x8000_0000).0
}
