//! A kubelet with its container runtime: the pods of one node, the RPCs of the plugin, and the agent's container.
//!
//! It sends requests. The driver of the world hands back the answer of each, or that the agent could not be reached.

pub mod container;
mod pod;

use std::net::IpAddr;
use std::sync::Arc;

use cni_types::random::Random;
use ipamd_core::id::RpcId;
use ipamd_core::input::{AddRequest, DelReason, DelRequest, PodName};
use ipamd_core::output::Reply;
use ipamd_core::small_map::SmallMap;

use self::pod::{Place, Pod, State};

/// How kubelet and runtime behave.
#[derive(Debug, Clone, Copy)]
pub struct KubeletSpec {
    /// After a sandbox failed, the next one is tried this much later, milliseconds, from and to.
    pub retry_ms: (i64, i64),
    /// An ADD is given up after this, milliseconds.
    pub add_limit_ms: i64,
    /// Share of the ADDs after whose answer the plugin cannot set the namespace up.
    pub broken_namespaces: f64,
    /// Of which pods' interfaces the plugin tells the agent: the others it learns from the host's routes.
    pub links_told: LinksTold,
}

impl Default for KubeletSpec {
    fn default() -> Self {
        Self { retry_ms: (8_000, 14_000), add_limit_ms: 120_000, broken_namespaces: 0.0, links_told: LinksTold::All }
    }
}

/// Which interfaces the plugin tells the agent of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinksTold {
    /// Every one.
    All,
    /// Those of every second sandbox.
    EverySecond,
    /// None.
    None,
}

/// Something for the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// A plugin asks for an address.
    Add(AddRequest<u64>),
    /// A plugin gives one back.
    Del(DelRequest<u64>),
    /// The caller is gone.
    Gone(RpcId),
    /// No RPC: the interface of a pod is made with this address.
    Up {
        /// The pod.
        pod: u64,
        /// Its name.
        name: PodName,
        /// Its address.
        address: IpAddr,
    },
    /// No RPC: the interface of a pod is removed.
    Down {
        /// The pod.
        pod: u64,
    },
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// ADDs that reached the agent.
    pub adds: u64,
    /// Of these, those that were not answered with an address.
    pub refused: u64,
    /// DELs for pods that ended or failed.
    pub deleted: u64,
    /// DELs after a namespace that could not be set up.
    pub undone: u64,
    /// DELs that did not reach the agent; they are never repeated.
    pub lost: u64,
    /// ADDs that did not reach the agent.
    pub unreachable: u64,
}

/// The kubelet.
#[derive(Debug)]
pub struct Kubelet {
    spec: Arc<KubeletSpec>,
    pods: SmallMap<u64, Pod>,
    /// Names of the pods that have one.
    names: SmallMap<u64, PodName>,
    adds: SmallMap<RpcId, u64>,
    dels: SmallMap<RpcId, DelReason>,
    next_rpc: u64,
    next_sandbox: u64,
    tally: Tally,
    random: Random,
}

impl Kubelet {
    /// A kubelet without pods.
    pub fn new(spec: impl Into<Arc<KubeletSpec>>, seed: u64) -> Self {
        let (pods, names, adds, dels) = (SmallMap::new(), SmallMap::new(), SmallMap::new(), SmallMap::new());
        let (next_rpc, next_sandbox, tally) = (0, 0, Tally::default());
        Self {
            spec: spec.into(),
            pods,
            names,
            adds,
            dels,
            next_rpc,
            next_sandbox,
            tally,
            random: Random::stream(seed, 7),
        }
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Pods that run, and their addresses.
    pub fn running(&self) -> impl Iterator<Item = (u64, IpAddr)> {
        self.pods.iter().filter_map(|(pod, at)| match &at.place {
            Place::Running(address) => Some((*pod, address.get())),
            Place::Pending(_) => None,
        })
    }

    /// Pods that have no address yet.
    pub fn waiting(&self) -> usize {
        self.pending().count()
    }

    /// Which pods these are.
    pub fn pending(&self) -> impl Iterator<Item = u64> {
        let pending = self.pods.iter().filter(|(_, pod)| !matches!(pod.place, Place::Running(_)));
        pending.map(|(pod, _)| *pod)
    }

    /// Pods that are to get an address, in the order of their numbers: those that wait and were not deleted.
    pub fn wanting(&self) -> impl Iterator<Item = u64> {
        let wants = |state: State| match state {
            State::Adding { doomed, .. } => !doomed,
            State::Waiting { .. } => true,
            State::Running => false,
        };
        self.pods.iter().filter(move |(_, pod)| wants(pod.state())).map(|(pod, _)| *pod)
    }

    /// The pod's present sandbox.
    pub fn sandbox(&self, pod: u64) -> Option<u64> {
        self.pods.get(&pod).map(|pod| pod.sandbox)
    }

    /// A pod is scheduled. One that is here already stays as it is.
    pub fn start_pod(&mut self, now_ms: i64, pod: u64, name: PodName) -> Vec<Send> {
        if self.pods.contains_key(&pod) {
            return Vec::new();
        }
        let place = Place::Pending(Box::new(State::Waiting { until_ms: now_ms }));
        self.pods.insert(pod, Pod { sandbox: 0, place });
        if name != PodName::default() {
            self.names.insert(pod, name);
        }
        self.due(now_ms)
    }

    /// A pod is deleted.
    pub fn stop_pod(&mut self, pod: u64) -> Vec<Send> {
        let Some(found) = self.pods.get_mut(&pod) else { return Vec::new() };
        match found.state() {
            State::Adding { rpc, since_ms, .. } => {
                found.set(State::Adding { rpc, since_ms, doomed: true });
                Vec::new()
            }
            State::Waiting { .. } => {
                self.forget(pod);
                Vec::new()
            }
            State::Running => {
                let sandbox = found.sandbox;
                let name = self.forget(pod);
                vec![self.del(sandbox, name, DelReason::PodDeleted), Send::Down { pod }]
            }
        }
    }

    /// A pod vanishes with its interface, and no DEL is sent.
    pub fn leak_pod(&mut self, pod: u64) -> Vec<Send> {
        match self.pods.get(&pod).map(Pod::state) {
            Some(State::Running) => {
                self.forget(pod);
                vec![Send::Down { pod }]
            }
            _ => Vec::new(),
        }
    }

    /// A pod is deleted by force: it leaves the API server at once, its sandbox stays until a DEL of it that may come late,
    /// twice or never ([`Self::late_del`]). The answer names the sandbox; `None` where the pod does not run.
    pub fn force_stop(&mut self, pod: u64) -> Option<(u64, PodName)> {
        let sandbox = self.pods.get(&pod).filter(|pod| pod.state() == State::Running)?.sandbox;
        Some((sandbox, self.forget(pod)))
    }

    /// The runtime tears down a sandbox that it kept.
    pub fn late_del(&mut self, (sandbox, name): (u64, PodName)) -> Send {
        self.del(sandbox, name, DelReason::PodDeleted)
    }

    /// When something is due next.
    pub fn next_ms(&self) -> Option<i64> {
        let of = |pod: &Pod| match pod.state() {
            State::Adding { since_ms, .. } => Some(since_ms.saturating_add(self.spec.add_limit_ms)),
            State::Waiting { until_ms } => Some(until_ms),
            State::Running => None,
        };
        self.pods.values().filter_map(of).min()
    }

    /// What is due by now: sandboxes that are tried again, and ADDs that take too long.
    pub fn due(&mut self, now_ms: i64) -> Vec<Send> {
        let limit_ms = self.spec.add_limit_ms;
        let is_due = |pod: &Pod| match pod.state() {
            State::Adding { since_ms, .. } => since_ms.saturating_add(limit_ms) <= now_ms,
            State::Waiting { until_ms } => until_ms <= now_ms,
            State::Running => false,
        };
        let due: Vec<u64> = self.pods.iter().filter(|(_, pod)| is_due(pod)).map(|(pod, _)| *pod).collect();
        let mut sends = Vec::new();
        for pod in due {
            match self.pods.get(&pod).map(Pod::state) {
                Some(State::Adding { rpc, .. }) => {
                    self.adds.remove(&rpc);
                    sends.push(Send::Gone(rpc));
                    self.tally.refused += 1;
                    self.fail(now_ms, pod, &mut sends);
                }
                Some(State::Waiting { .. }) => sends.extend(self.add(now_ms, pod)),
                _ => {}
            }
        }
        sends
    }

    /// The agent answered.
    pub fn answered(&mut self, now_ms: i64, rpc: RpcId, reply: &Reply) -> Vec<Send> {
        let mut sends = Vec::new();
        if self.dels.remove(&rpc).is_some() {
            return sends;
        }
        let Some(pod) = self.adds.remove(&rpc) else { return sends };
        self.tally.adds += 1;
        let address = match reply {
            Reply::Added { address, .. } => Some(*address),
            Reply::AddedBranch { branch, .. } => branch.ipv4.map(IpAddr::from).or(branch.ipv6.map(IpAddr::from)),
            _ => None,
        };
        let Some(address) = address else {
            self.tally.refused += 1;
            self.fail(now_ms, pod, &mut sends);
            return sends;
        };
        if self.random.fraction() < self.spec.broken_namespaces {
            // The plugin undoes its request, and the runtime tears the sandbox down besides.
            if let Some(sandbox) = self.sandbox(pod) {
                let name = self.name(pod);
                sends.push(self.del(sandbox, name, DelReason::SetupNsFailed));
            }
            self.fail(now_ms, pod, &mut sends);
            return sends;
        }
        let doomed = matches!(self.pods.get(&pod).map(Pod::state), Some(State::Adding { doomed: true, .. }));
        if let Some(found) = self.pods.get_mut(&pod) {
            found.place = Place::Running(address.into());
            sends.push(Send::Up { pod, name: self.name(pod), address });
        }
        if doomed {
            sends.extend(self.stop_pod(pod));
        }
        sends
    }

    /// The agent could not be reached with this, or died before it answered.
    pub fn unanswered(&mut self, now_ms: i64, rpc: RpcId) -> Vec<Send> {
        let mut sends = Vec::new();
        if self.dels.remove(&rpc).is_some() {
            // The plugin did what it could without the agent, and reported success.
            self.tally.lost += 1;
        } else if let Some(pod) = self.adds.remove(&rpc) {
            self.tally.unreachable += 1;
            self.fail(now_ms, pod, &mut sends);
        }
        sends
    }

    /// The sandbox that the plugin says it made the pod's interface for.
    pub fn reported(&self, pod: u64) -> Option<u64> {
        self.sandbox(pod).filter(|sandbox| match self.spec.links_told {
            LinksTold::All => true,
            LinksTold::EverySecond => sandbox % 2 == 0,
            LinksTold::None => false,
        })
    }

    /// RPCs that wait for an answer.
    pub fn open(&self) -> Vec<RpcId> {
        self.adds.keys().chain(self.dels.keys()).copied().collect()
    }

    /// The node starts anew: no sandbox is left, and each pod gets another one.
    pub fn reboot(&mut self, now_ms: i64) {
        self.adds.clear();
        self.dels.clear();
        for (_, pod) in self.pods.iter_mut() {
            pod.set(State::Waiting { until_ms: now_ms });
        }
    }

    fn add(&mut self, now_ms: i64, pod: u64) -> Option<Send> {
        self.next_sandbox = self.next_sandbox.saturating_add(1);
        let (rpc, key) = (self.rpc(), self.next_sandbox);
        let found = self.pods.get_mut(&pod)?;
        found.sandbox = key;
        found.set(State::Adding { rpc, since_ms: now_ms, doomed: false });
        let request = AddRequest {
            rpc,
            key,
            pod: self.name(pod),
            uid: super::kube::uid(pod),
            limit_ms: Some(self.spec.add_limit_ms),
        };
        self.adds.insert(rpc, pod);
        Some(Send::Add(request))
    }

    /// A sandbox failed: the runtime tears it down, and the kubelet tries another one later.
    fn fail(&mut self, now_ms: i64, pod: u64, sends: &mut Vec<Send>) {
        let pause_ms = self.random.between(self.spec.retry_ms.0, self.spec.retry_ms.1);
        let Some(found) = self.pods.get_mut(&pod) else { return };
        let sandbox = found.sandbox;
        let name = if matches!(found.state(), State::Adding { doomed: true, .. }) {
            self.forget(pod)
        } else {
            found.set(State::Waiting { until_ms: now_ms.saturating_add(pause_ms) });
            self.name(pod)
        };
        sends.push(self.del(sandbox, name, DelReason::PodDeleted));
    }

    fn del(&mut self, key: u64, pod: PodName, reason: DelReason) -> Send {
        let rpc = self.rpc();
        self.dels.insert(rpc, reason);
        match reason {
            DelReason::PodDeleted => self.tally.deleted += 1,
            DelReason::SetupNsFailed => self.tally.undone += 1,
        }
        Send::Del(DelRequest { rpc, key, pod, uid: "".into(), reason })
    }

    fn name(&self, pod: u64) -> PodName {
        self.names.get(&pod).cloned().unwrap_or_default()
    }

    /// The pod is not here any more; the answer is its name.
    fn forget(&mut self, pod: u64) -> PodName {
        self.pods.remove(&pod);
        self.names.remove(&pod).unwrap_or_default()
    }

    fn rpc(&mut self) -> RpcId {
        self.next_rpc = self.next_rpc.saturating_add(1);
        RpcId(self.next_rpc)
    }
}

#[cfg(test)]
mod tests;
