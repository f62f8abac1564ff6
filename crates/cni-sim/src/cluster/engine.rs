//! What moves the cluster: a queue of its own events, and the plan of what happens at its nodes. Both are in the order of
//! time, so that the same seed gives the same cluster however the clock is advanced.

use super::demand::Demand;
use super::sdk::NodeFault;
use super::slot::Slot;
use crate::scenario::FaultSpec;
use cni_types::random::Random;
use ipamd_core::id::SubnetId;
use ipamd_model::world::event::{Event as NodeEvent, Plan};
use ipamd_model::world::history::History;
use ipamd_model::world::subnet::SubnetSpace;
use ipamd_model::world::{Account, Moment};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

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
}

/// What is due next.
#[derive(Debug)]
pub(super) enum Due {
    /// An event of the cluster.
    Cluster(Event),
    /// Pods come and go on a node, given by its number.
    Look(usize),
    /// An event of a node, by its number.
    Node(usize, NodeEvent),
}

/// What the engine keeps of each node.
#[derive(Debug)]
pub(super) struct Driver {
    /// Index of its node group.
    pub(super) group: usize,
    /// Pods that it takes, those of the host network included.
    pub(super) max_pods: u32,
    /// Pods that run and pods that are to get an address; `None` where the node was changed since they were counted.
    pub(super) pods: Option<(u32, u32)>,
    /// Pods created so far.
    pub(super) created: u64,
    /// Pods that the Kubernetes API shows, where it does, and whether as running.
    pub(super) shown: BTreeMap<u64, bool>,
    pub(super) random: Random,
    /// Spreads fractional pod numbers over the nodes.
    pub(super) jitter: f64,
}

impl Driver {
    /// Of a node that has just joined.
    pub(super) fn new(slot: &Slot, random: Random, jitter: f64) -> Self {
        let (group, max_pods) = (slot.group, slot.max_pods);
        Self { group, max_pods, pods: None, created: 0, shown: BTreeMap::new(), random, jitter }
    }
}

/// All mutable state but the nodes themselves.
#[derive(Debug)]
pub(super) struct Engine {
    /// EC2, the way to it, and what goes wrong there.
    pub(super) account: Account,
    /// What is to happen at the nodes.
    pub(super) plan: Plan,
    history: History,
    /// The ids of the scenario's subnets, in its order.
    pub(super) subnets: Vec<SubnetId>,
    queue: BinaryHeap<Reverse<(i64, Event)>>,
    /// When the pods of which node are looked at next, in this order. Each look plans the next one a period later, so that the
    /// last is always that of the latest look.
    looks: VecDeque<(i64, usize)>,
    /// What the scenario wants on a node, by node group.
    pub(super) demands: Vec<Demand>,
    pub(super) drivers: Vec<Driver>,
    /// Every node there ever was, by number.
    pub(super) slots: Vec<Arc<Slot>>,
    /// Everything that was ever scheduled; an event names a fault by its index.
    pub(super) faults: Vec<FaultSpec>,
    /// Faults of EC2 and instance metadata that hold, and whom they hit.
    pub(super) node_faults: Vec<NodeFault>,
    /// What others took for a fault, by subnet index.
    pub(super) seized: BTreeMap<usize, (usize, Vec<Ipv4Addr>)>,
    /// Agents that serve, for the `DaemonSet`'s status.
    pub(super) serving: u32,
    pub(super) alive: u32,
}

impl Engine {
    /// Nothing is scheduled, no node is there.
    pub(super) fn new(account: Account, subnets: Vec<SubnetId>, demands: Vec<Demand>) -> Self {
        Self {
            account,
            plan: Plan::default(),
            history: History::default(),
            subnets,
            queue: BinaryHeap::new(),
            looks: VecDeque::new(),
            demands,
            drivers: Vec::new(),
            slots: Vec::new(),
            faults: Vec::new(),
            node_faults: Vec::new(),
            seized: BTreeMap::new(),
            serving: 0,
            alive: 0,
        }
    }

    /// A subnet, by its place in the scenario.
    pub(super) fn subnet(&mut self, index: usize) -> Option<&mut SubnetSpace> {
        self.account.ec2.subnet_mut(*self.subnets.get(index)?)
    }

    /// Schedules an event.
    pub(super) fn at(&mut self, at_ms: i64, event: Event) {
        self.queue.push(Reverse((at_ms, event)));
    }

    /// Forgets that a fault is to begin.
    pub(super) fn unschedule(&mut self, fault: usize) {
        self.queue.retain(|event| event.0.1 != Event::FaultStart(fault));
    }

    /// Plans the next look at the pods of a node: at most one for each node is planned.
    pub(super) fn look_at(&mut self, at_ms: i64, index: usize) {
        if self.looks.back().is_none_or(|last| *last < (at_ms, index)) {
            self.looks.push_back((at_ms, index));
        } else {
            let place = self.looks.partition_point(|look| *look < (at_ms, index));
            self.looks.insert(place, (at_ms, index));
        }
    }

    /// The next thing that is due; of one moment the cluster's events come first, then looks at pods.
    pub(super) fn due(&mut self, to_ms: i64) -> Option<(i64, Due)> {
        let cluster_ms = self.queue.peek().map_or(i64::MAX, |Reverse((at_ms, _))| *at_ms);
        let look_ms = self.looks.front().map_or(i64::MAX, |(at_ms, _)| *at_ms);
        let node_ms = self.plan.next_ms().unwrap_or(i64::MAX);
        let first_ms = cluster_ms.min(look_ms).min(node_ms);
        if first_ms > to_ms {
            return None;
        }
        if cluster_ms == first_ms
            && let Some(Reverse((at_ms, event))) = self.queue.pop()
        {
            return Some((at_ms, Due::Cluster(event)));
        }
        if look_ms == first_ms
            && let Some((at_ms, index)) = self.looks.pop_front()
        {
            return Some((at_ms, Due::Look(index)));
        }
        self.plan.pop(to_ms).map(|(at_ms, index, event)| (at_ms, Due::Node(index, event)))
    }

    /// What a node may touch beside itself when something happens to it.
    pub(super) fn moment(&mut self, index: usize, now_ms: i64) -> Moment<'_> {
        let Self { account, plan, history, .. } = self;
        Moment { now_ms, index, account, plan, history }
    }
}

/// The number of the `serial`-th pod of a node; distinct over the cluster.
pub(super) fn pod_number(index: usize, serial: u64) -> u64 {
    ((index as u64) << 32) | (serial & 0xffff_ffff)
}
