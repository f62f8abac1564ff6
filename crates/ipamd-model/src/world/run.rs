//! A world: nodes, their account, and the clock that moves them.

use std::sync::Arc;

use cni_types::limits::InstanceLimits;
use cni_types::random::mix;
use ipamd_core::id::{EniId, InstanceId, SubnetId};
use ipamd_core::input::{EniKind, Input, NodeSeen, PodName};

use super::account::{Account, Moment};
use super::agent::Agents;
use super::ec2::refusal::Refusal;
use super::ec2::{Ec2, Ec2Spec};
use super::event::{Event, Plan};
use super::faults::Faults;
use super::history::History;
use super::host::{Host, HostSpec};
use super::imds::{Imds, ImdsSpec};
use super::kube::{Controller, Kube};
use super::kubelet::{Kubelet, KubeletSpec};
use super::node::{Parts, WorldNode};
use super::wire::{Wire, WireSpec};

/// What a node is made of.
#[derive(Debug, Clone)]
pub struct WorldNodeSpec {
    /// Its instance type.
    pub instance_type: Box<str>,
    /// What the type allows.
    pub limits: InstanceLimits,
    /// Subnet of its primary ENI.
    pub subnet: SubnetId,
    /// Its instance metadata service.
    pub imds: ImdsSpec,
    /// Its host.
    pub host: HostSpec,
    /// Its kubelet.
    pub kubelet: KubeletSpec,
    /// What the VPC resource controller does for it.
    pub controller: Controller,
    /// `status.capacity.pods`.
    pub max_pods: Option<u32>,
}

/// Unix time at the start of a world, milliseconds: 2026-03-01.
const UNIX_START_MS: i64 = 1_772_323_200_000;

/// A world. The same seed, the same calls: the same history.
pub struct World<F: Agents> {
    /// EC2, the way to it, and what goes wrong.
    pub account: Account,
    /// What happened, once [`History::record`] was called.
    pub history: History,
    nodes: Vec<WorldNode<F>>,
    plan: Plan,
    now_ms: i64,
    seed: u64,
}

impl<F: Agents> World<F> {
    /// A world without nodes at time 0.
    pub fn new(ec2: Ec2Spec, wire: WireSpec) -> Self {
        let seed = ec2.seed;
        let faults = Faults::none(seed);
        let unix_start_ms = UNIX_START_MS;
        let account = Account { ec2: Ec2::new(ec2), wire: Wire::new(wire, seed), faults, unix_start_ms };
        let (nodes, plan, history) = (Vec::new(), Plan::default(), History::default());
        Self { account, history, nodes, plan, now_ms: 0, seed }
    }

    /// Launches an instance; its agent starts now. The answer is its number.
    pub fn launch(&mut self, spec: WorldNodeSpec, agents: F) -> Result<usize, Refusal> {
        let (index, now_ms) = (self.nodes.len(), self.now_ms);
        let seed = mix(self.seed ^ mix(index as u64));
        let ec2 = &mut self.account.ec2;
        let instance = ec2.launch(now_ms, &spec.instance_type, spec.limits, spec.subnet)?;
        let seen = NodeSeen { max_pods: spec.max_pods, version: 1, ..NodeSeen::default() };
        self.nodes.push(WorldNode::new(Parts {
            instance,
            name: format!("node-{index}").into(),
            imds: Imds::new(Arc::new(spec.imds), instance, now_ms, ec2, seed),
            host: Host::new(spec.host, instance, now_ms, ec2, seed),
            kube: Kube::new(seen, spec.controller, seed),
            kubelet: Kubelet::new(spec.kubelet, seed),
            agents,
        }));
        self.plan.at(now_ms, index, Event::Start);
        Ok(index)
    }

    /// The time, milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// A node.
    pub fn node(&self, index: usize) -> Option<&WorldNode<F>> {
        self.nodes.get(index)
    }

    /// A node, to be changed from outside.
    pub fn node_mut(&mut self, index: usize) -> Option<&mut WorldNode<F>> {
        self.nodes.get_mut(index)
    }

    /// Every node, by number.
    pub fn nodes(&self) -> &[WorldNode<F>] {
        &self.nodes
    }

    /// The instances of all nodes.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.nodes.iter().map(|node| node.instance)
    }

    /// Lets everything happen up to this time; the answer is how many events did.
    pub fn run_to(&mut self, until_ms: i64) -> u64 {
        let mut events = 0_u64;
        while let Some((at_ms, index, event)) = self.plan.pop(until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            events = events.saturating_add(1);
            self.at_node(index, |node, at| node.happen(event, at));
        }
        self.now_ms = self.now_ms.max(until_ms);
        events
    }

    /// Lets this much time pass.
    pub fn pass(&mut self, ms: i64) -> u64 {
        self.run_to(self.now_ms.saturating_add(ms))
    }

    /// Events that are planned.
    pub fn planned(&self) -> usize {
        self.plan.len()
    }

    /// A pod is scheduled on a node.
    pub fn start_pod(&mut self, index: usize, pod: u64, name: PodName) {
        self.at_node(index, |node, at| node.start_pod(pod, name, at));
    }

    /// A pod is deleted.
    pub fn stop_pod(&mut self, index: usize, pod: u64) {
        self.at_node(index, |node, at| node.stop_pod(pod, at));
    }

    /// A pod vanishes without a DEL.
    pub fn leak_pod(&mut self, index: usize, pod: u64) {
        self.at_node(index, |node, at| node.leak_pod(pod, at));
    }

    /// A pod is deleted by force; the answer is for [`Self::late_del`].
    pub fn force_stop(&mut self, index: usize, pod: u64) -> Option<(u64, PodName)> {
        let node = self.nodes.get_mut(index)?;
        let sandbox = node.kubelet.force_stop(pod)?;
        node.kube.remove(pod);
        Some(sandbox)
    }

    /// The runtime tears down a sandbox that it kept.
    pub fn late_del(&mut self, index: usize, sandbox: (u64, PodName)) {
        self.at_node(index, |node, at| {
            let del = node.kubelet.late_del(sandbox);
            node.send(vec![del], at);
        });
    }

    /// The agent's process is killed; the kubelet starts it again.
    pub fn kill(&mut self, index: usize) {
        self.at_node(index, WorldNode::kill);
    }

    /// A roll-out replaces the agent's pod: its process is asked to end, another starts, and no back-off is left.
    pub fn roll_out(&mut self, index: usize) {
        self.at_node(index, |node, at| {
            node.container.replaced();
            node.terminate(at);
        });
    }

    /// The agent is told something that nobody asked for.
    pub fn tell(&mut self, index: usize, input: Input<u64>) {
        self.at_node(index, |node, at| node.tell(input, at));
    }

    /// Somebody attaches an ENI to a node.
    pub fn attach_foreign(&mut self, index: usize, kind: EniKind, tags: &[(&str, &str)]) -> Result<EniId, Refusal> {
        let who = self.nodes.get(index).map_or(InstanceId::from_bits(0), |node| node.instance);
        let made = self.account.ec2.attach_foreign(self.now_ms, who, kind, tags);
        self.at_node(index, WorldNode::notice);
        made
    }

    /// Somebody deletes an ENI of a node; false where it is not there.
    pub fn lose_eni(&mut self, index: usize, eni: EniId) -> bool {
        let lost = self.account.ec2.lose_eni(self.now_ms, eni);
        self.at_node(index, WorldNode::notice);
        lost
    }

    fn at_node(&mut self, index: usize, act: impl FnOnce(&mut WorldNode<F>, &mut Moment<'_>)) {
        let Self { account, history, nodes, plan, now_ms, .. } = self;
        if let Some(node) = nodes.get_mut(index) {
            act(node, &mut Moment { now_ms: *now_ms, index, account, plan, history });
        }
    }
}
