//! The model as a calculator: what a node settles at, and how many pods it may have.
//!
//! A node settles in a world of its own: the agent's core decides, and EC2 and the rest answer it without faults.

use std::sync::Arc;

use cni_types::ec2::Ec2Operation;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::{Epoch, GroupId, SubnetId, VpcId};
use ipamd_core::input::{EniKind, PodName};
use ipamd_core::store::{Pool, PoolEni};
use ipamd_core::{Config, Core};

use crate::settings::{Mode, Refusal};
use crate::world::agent::Agents;
use crate::world::ec2::Ec2Spec;
use crate::world::host::HostSpec;
use crate::world::imds::ImdsSpec;
use crate::world::kube::Controller;
use crate::world::kubelet::KubeletSpec;
use crate::world::subnet::SubnetFacts;
use crate::world::wire::WireSpec;
use crate::world::{World, WorldNodeSpec};

mod max_pods;
mod question;
mod warning;

pub use max_pods::{Binding, HOST_NETWORK_PODS, MaxPods, MaxPodsBy, MaxPodsQuestion, estimated_vcpus};
pub use question::NodeQuestion;
pub use warning::Warning;

/// Where a node settles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// ENIs, the primary included.
    pub enis: u32,
    /// Pod addresses held.
    pub total_ips: u32,
    /// Prefixes held.
    pub prefixes: u32,
    /// Pods with an address.
    pub assigned: u32,
    /// Addresses without a pod.
    pub unused: u32,
    /// Addresses of each ENI.
    pub ips_per_eni: Vec<u32>,
    /// Prefixes of each ENI; empty with secondary addresses.
    pub prefixes_per_eni: Vec<u32>,
    /// Pods of each ENI.
    pub pods_per_eni: Vec<u32>,
    /// Pods of each prefix; empty with secondary addresses.
    pub pods_per_prefix: Vec<u32>,
    /// Which of the ENIs is the trunk of security groups for pods.
    pub trunk: Option<usize>,
    /// Addresses that the subnet of the pods lends: those for pods, and each ENI's own.
    pub subnet_addresses: u32,
    /// Addresses that the node's own subnet lends where that is another one, with custom networking: the primary ENI's own.
    pub node_subnet_addresses: u32,
    /// The node's pod capacity.
    pub max_pods: u32,
    /// Traps in the settings.
    pub warnings: Vec<Warning>,
}

/// Why nothing can be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The agent would not start.
    #[error("the agent does not start with these settings: {0}")]
    Refused(#[from] Refusal),
    /// IPv6 nodes have one prefix and no pool.
    #[error("an IPv6 node has one /80 prefix and no warm pool: there is nothing to plan")]
    Ipv6,
    /// The agent never came up.
    #[error("the agent does not come up with these settings: no ENI can serve pods")]
    NeverReady,
}

/// The pool is looked at this often while it settles: longer than any pause of an agent that meets no error, of which the
/// longest is the minute for which it keeps a new ENI ...
const LOOK_MS: i64 = 90_000;
/// ... and this many times at most.
const LOOKS: usize = 200;
/// A pool that is too small is enlarged within this: the agent looks at it every five seconds.
const SHORT_LOOK_MS: i64 = 15_000;

/// The subnet of the node and of its pods, a /16: more addresses than any instance can hold.
const SUBNET: SubnetId = SubnetId::from_bits(1);

/// Starts a node's agent: each choice is made by order, so that the answer is that of the documentation's tables.
struct FirstFit(Arc<Config>);

impl Agents for FirstFit {
    type Agent = Core<u64>;

    fn begin(&mut self, _epoch: Epoch) -> Core<u64> {
        Core::new(Arc::clone(&self.0), Box::new(Seeded::first_fit(1)))
    }
}

/// Settles a node: first-fit placement, a subnet that never runs out, every timer given time to pass.
pub fn settle(question: &NodeQuestion) -> Result<NodePlan, PlanError> {
    settle_with(question, OneNode::take_pod)
}

fn settle_with(question: &NodeQuestion, take_pod: impl Fn(&mut OneNode, u64) -> bool) -> Result<NodePlan, PlanError> {
    let mode = question.settings.mode(&question.limits)?;
    if mode == Mode::Ipv6 {
        return Err(PlanError::Ipv6);
    }
    let mut node = OneNode::launch(question)?;
    let mut refused = 0;
    for pod in 0..u64::from(question.pods) {
        if !take_pod(&mut node, pod) {
            refused = question.pods.saturating_sub(u32::try_from(pod).unwrap_or(u32::MAX));
            break;
        }
    }
    let pool = node.pool().ok_or(PlanError::NeverReady)?;
    let warnings = warning::find(question, mode, pool, refused);
    Ok(describe(pool, mode, question, warnings))
}

/// A world of one node, which serves and whose pool has settled.
struct OneNode(World<FirstFit>);

impl OneNode {
    fn launch(question: &NodeQuestion) -> Result<Self, PlanError> {
        let subnet = SubnetFacts::new(SUBNET, [10, 0, 0, 0].into(), 16);
        let ec2 = Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(1)], 1);
        let mut world = World::new(ec2, WireSpec::default());
        let agents = FirstFit(Arc::new(Config::upstream(question.settings.clone())));
        let index = world.launch(spec(question), agents).map_err(|_| PlanError::NeverReady)?;
        if let Some(node) = world.node_mut(index) {
            node.kube.eni_configs.insert("default".into(), (SUBNET, Vec::new()));
        }
        let mut node = Self(world);
        node.settle();
        let serves = node.0.node(0).is_some_and(|node| node.serving_since_ms().is_some());
        if serves { Ok(node) } else { Err(PlanError::NeverReady) }
    }

    fn pool(&self) -> Option<&Pool<u64>> {
        self.0.node(0)?.agent().map(Core::pool)
    }

    /// Lets time pass until nothing changes any more.
    fn settle(&mut self) {
        let held = |node: &Self| node.pool().map(|pool| (pool.enis().len(), pool.total()));
        for _ in 0..LOOKS {
            let before = held(self);
            self.0.pass(LOOK_MS);
            if held(self) == before && before.is_some() {
                break;
            }
        }
    }

    /// Calls that arrived at EC2.
    fn calls(&self) -> u64 {
        Ec2Operation::ALL.into_iter().map(|operation| self.0.account.wire.arrived(operation)).sum()
    }

    fn all_run(&self) -> bool {
        self.0.node(0).is_some_and(|node| node.kubelet.waiting() == 0)
    }

    fn start(&mut self, pod: u64) {
        let name = PodName { namespace: "default".into(), name: format!("pod-{pod}").into() };
        self.0.start_pod(0, pod, name);
    }

    /// A pod is scheduled; false if it gets no address, however often the kubelet tries. It is deleted then.
    fn take_pod(&mut self, pod: u64) -> bool {
        let before = self.calls();
        self.start(pod);
        self.0.pass(SHORT_LOOK_MS);
        // A pod makes no pool too large: one that was settled and is not enlarged now stays as it is.
        (self.all_run() && self.calls() == before) || self.settle_pod(pod)
    }

    fn settle_pod(&mut self, pod: u64) -> bool {
        self.settle();
        let runs = self.all_run();
        if !runs {
            self.0.stop_pod(0, pod);
            self.settle();
        }
        runs
    }
}

fn spec(question: &NodeQuestion) -> WorldNodeSpec {
    // The VPC resource controller knows which types can carry a trunk.
    let trunk = question.limits.trunk_compatible;
    WorldNodeSpec {
        instance_type: "planned".into(),
        limits: question.limits,
        subnet: SUBNET,
        imds: ImdsSpec::new(VpcId::from_bits(1), vec!["10.0.0.0/16".into()]),
        host: HostSpec::default(),
        kubelet: KubeletSpec::default(),
        controller: if trunk { Controller::Attaches(1_000, 1_000) } else { Controller::Silent },
        max_pods: Some(question.max_pods),
    }
}

fn describe(pool: &Pool<u64>, mode: Mode, question: &NodeQuestion, warnings: Vec<Warning>) -> NodePlan {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let enis = pool.enis();
    let ips_per_eni: Vec<_> = enis.iter().map(PoolEni::addresses).collect();
    let pods_per_eni: Vec<_> = enis.iter().map(PoolEni::assigned).collect();
    let (total_ips, assigned) = (ips_per_eni.iter().sum(), pods_per_eni.iter().sum());
    let of_prefixes = mode == Mode::Prefix;
    let prefixes_per_eni = enis.iter().filter(|_| of_prefixes).map(|eni| narrow(eni.slots_used())).collect();
    let pods_per_prefix = enis.iter().filter(|_| of_prefixes).flat_map(PoolEni::assigned_per_block).collect();
    let (prefixes, unused) = (u32::try_from(pool.prefixes()).unwrap_or(0), total_ips - assigned);
    let trunk = enis.iter().position(|eni| eni.kind == EniKind::Trunk);
    let enis = narrow(enis.len());
    let node_subnet_addresses = u32::from(question.settings.custom_networking && enis > 0);
    NodePlan {
        enis,
        total_ips,
        prefixes,
        assigned,
        unused,
        ips_per_eni,
        prefixes_per_eni,
        pods_per_eni,
        pods_per_prefix,
        trunk,
        subnet_addresses: total_ips.saturating_add(enis).saturating_sub(node_subnet_addresses),
        node_subnet_addresses,
        max_pods: question.max_pods,
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_short_look_after_each_pod_gives_what_a_long_one_gives() {
        let patient = |node: &mut OneNode, pod| {
            node.start(pod);
            node.settle_pod(pod)
        };
        for env in [
            vec![],
            vec![("WARM_ENI_TARGET", "0")],
            vec![("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "7")],
            vec![("MINIMUM_IP_TARGET", "6")],
            vec![("ENABLE_PREFIX_DELEGATION", "true")],
            vec![("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", "3"), ("ENABLE_POD_ENI", "true")],
            vec![("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")],
        ] {
            let (limits, settings) =
                (cni_types::limits::find("m5.large").unwrap(), Settings::manifest_with(env.clone()));
            for pods in [3, 20] {
                let (settings, max_pods) = (settings.clone(), 40);
                let question = NodeQuestion { limits, settings, pods, max_pods, host_network_pods: 2 };
                assert_eq!(settle(&question), settle_with(&question, patient), "{env:?}, {pods} pods");
            }
        }
    }
}
