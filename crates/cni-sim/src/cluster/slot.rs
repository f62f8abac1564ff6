//! One simulated node: its instance, its agent, and what the Kubernetes API shows of them.

use super::agents::SimNode;
use crate::answer::PodKey;
use crate::kube_store::Uid;
use crate::truth::NodeNumbers;
use bytes::Bytes;
use ipamd_core::id::InstanceId;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Namespace of the agents.
pub(super) const AGENT_NAMESPACE: &str = "kube-system";

/// A node of the cluster. What never changes is plain; the rest is behind the node's own lock, so that pages are
/// rendered side by side.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) index: usize,
    /// Index of the node group.
    pub(super) group: usize,
    pub(super) node_name: Arc<str>,
    pub(super) zone: Arc<str>,
    /// The agent's pod.
    pub(super) pod_name: Arc<str>,
    pub(super) pod_uid: Uid,
    /// The loopback address on which its page is served.
    pub(super) ip: Ipv4Addr,
    /// Primary address in its subnet.
    pub(super) primary_ip: Ipv4Addr,
    pub(super) instance: InstanceId,
    pub(super) created_ms: i64,
    pub(super) max_pods: u32,
    cell: Mutex<Cell>,
}

/// What changes.
pub(super) struct Cell {
    /// `None` once the instance is gone.
    pub(super) node: Option<Box<SimNode>>,
    /// What the Kubernetes API shows.
    pub(super) shown: Shown,
    /// The page as it was when it was last compressed.
    pub(super) kept: Option<Kept>,
}

/// A compressed page and what it says.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// The moment it shows; at any other it is out of date.
    pub(super) at_ms: i64,
    pub(super) packed: Bytes,
    pub(super) numbers: Arc<NodeNumbers>,
}

/// What the Kubernetes API shows of a node and its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shown {
    pub(super) agent: AgentShown,
    pub(super) restarts: u32,
    pub(super) started_ms: i64,
    pub(super) node_ready_since_ms: Option<i64>,
    pub(super) node_ready: bool,
    pub(super) cordoned: bool,
    /// The readiness probe of a serving agent fails.
    pub(super) probe_fails: bool,
}

/// The agent's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum AgentShown {
    #[default]
    Starting,
    Serving,
    BackOff,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Shown {
    /// What the kubelet reports of the agent's container now. A container that starts again at once was never in back-off.
    pub(super) fn of_agent(&self, node: &SimNode, now_ms: i64) -> Self {
        let again_ms = node.starts_again_ms().filter(|again_ms| *again_ms > now_ms);
        let restarts = node.epoch().0.saturating_sub(1);
        let began = restarts != self.restarts;
        let agent = match (node.serving_since_ms(), again_ms) {
            (Some(_), _) => AgentShown::Serving,
            (None, Some(_)) => AgentShown::BackOff,
            (None, None) => AgentShown::Starting,
        };
        // The first time the agent serves, it writes the CNI configuration, and the kubelet turns Ready for good.
        let turns_ready = agent == AgentShown::Serving && self.node_ready_since_ms.is_none();
        Self {
            agent,
            restarts,
            started_ms: if began { now_ms } else { self.started_ms },
            node_ready_since_ms: if turns_ready { Some(now_ms) } else { self.node_ready_since_ms },
            node_ready: self.node_ready || turns_ready,
            cordoned: self.cordoned,
            probe_fails: self.probe_fails,
        }
    }
}

/// What a slot is made of.
pub(super) struct SlotParts {
    pub(super) index: usize,
    pub(super) group: usize,
    pub(super) node_name: Arc<str>,
    pub(super) zone: Arc<str>,
    pub(super) pod_name: Arc<str>,
    pub(super) pod_uid: Uid,
    pub(super) primary_ip: Ipv4Addr,
    pub(super) instance: InstanceId,
    pub(super) created_ms: i64,
    pub(super) max_pods: u32,
}

impl Slot {
    pub(super) fn new(parts: SlotParts, node: SimNode) -> Self {
        let SlotParts { index, group, node_name, zone, pod_name, pod_uid, primary_ip, instance, created_ms, max_pods } =
            parts;
        let shown = Shown { started_ms: created_ms, ..Shown::default() };
        let cell = Mutex::new(Cell { node: Some(Box::new(node)), shown, kept: None });
        let ip = loopback(index);
        Self { index, group, node_name, zone, pod_name, pod_uid, ip, primary_ip, instance, created_ms, max_pods, cell }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the Kubernetes API shows of the node, and says what that is then.
    pub(super) fn show(&self, change: impl FnOnce(&mut Shown)) -> Shown {
        let mut cell = self.lock();
        change(&mut cell.shown);
        cell.shown
    }

    /// The agent's pod.
    pub(super) fn pod(&self) -> PodKey {
        PodKey::new(AGENT_NAMESPACE, &*self.pod_name)
    }

    /// Its UID.
    pub(super) fn pod_uid(&self) -> String {
        self.pod_uid.to_string()
    }

    /// The instance exists.
    pub(super) fn alive(&self) -> bool {
        self.lock().node.is_some()
    }
}

/// A loopback address of its own for each of 16 million nodes; 127.0.0.0/16 stays free for servers.
fn loopback(index: usize) -> Ipv4Addr {
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    let rest = index / 254;
    Ipv4Addr::new(127, byte(1 + (rest / 256) % 254), byte(rest % 256), byte(1 + index % 254))
}

#[cfg(test)]
mod tests {
    use super::loopback;
    use std::collections::HashSet;

    #[test]
    fn addresses_are_distinct_and_loopback() {
        let all: HashSet<_> = (0..200_000).map(loopback).collect();
        assert_eq!(all.len(), 200_000);
        assert!(all.iter().all(|ip| ip.is_loopback() && ip.octets()[1] != 0 && ip.octets()[3] != 255));
    }
}
