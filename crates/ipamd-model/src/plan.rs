//! The model as a calculator: what a node settles at, and how many pods it may have.

use std::net::Ipv4Addr;

use crate::ec2::{EniKind, SubnetId, SubnetSpec, Vpc};
use crate::node::{AddOutcome, Node, NodeError, NodeSpec, PodKey};
use crate::pool::{Placement, Pool, PoolEni};
use crate::settings::{Mode, Refusal};

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
    /// The imagined subnet is too small; cannot happen with real limits.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The agent never came up.
    #[error("the agent does not come up with these settings: no ENI can serve pods")]
    NeverReady,
}

/// The pool is looked at this often while it settles ...
const LOOK_MS: i64 = 180_000;
/// ... and this many times at most.
const LOOKS: usize = 100;

const SUBNET: SubnetId = SubnetId::from_bits(0);
const SUBNETS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 14);

/// Settles a node: first-fit placement, a subnet that never runs out, every timer given time to pass.
pub fn settle(question: &NodeQuestion) -> Result<NodePlan, PlanError> {
    let mode = question.settings.mode(&question.limits)?;
    if mode == Mode::Ipv6 {
        return Err(PlanError::Ipv6);
    }
    let mut vpc = Vpc::new(vec![SubnetSpec::new(SUBNET, SUBNETS.0, SUBNETS.1)], 0);
    let mut spec = NodeSpec::new(question.limits, question.settings.clone(), SUBNET, 1);
    spec.placement = Placement::FirstFit;
    spec.eni_config = question.settings.custom_networking.then_some(SUBNET);
    spec.max_pods = Some(question.max_pods);
    spec.deletes_lag = false;
    let mut node = Node::new(spec, 0, &mut vpc)?;
    let mut now_ms = LOOK_MS;
    node.advance(now_ms, &mut vpc);
    if !node.is_serving() {
        return Err(PlanError::NeverReady);
    }
    now_ms = quiet(&mut node, &mut vpc, now_ms);
    let mut refused = 0;
    for pod in 0..question.pods {
        if !matches!(node.add_pod(PodKey(u64::from(pod)), now_ms, &mut vpc), AddOutcome::Assigned(_)) {
            refused = question.pods - pod;
            break;
        }
        now_ms = quiet(&mut node, &mut vpc, now_ms);
    }
    let warnings = warning::find(question, mode, node.pool(), refused);
    Ok(describe(node.pool(), mode, question, warnings))
}

/// Lets time pass until nothing changes any more.
fn quiet(node: &mut Node, vpc: &mut Vpc, mut now_ms: i64) -> i64 {
    let held = |node: &Node| (node.pool().enis().len(), node.pool().total());
    for _ in 0..LOOKS {
        let before = held(node);
        now_ms += LOOK_MS;
        node.advance(now_ms, vpc);
        if held(node) == before {
            break;
        }
    }
    now_ms
}

fn describe(pool: &Pool, mode: Mode, question: &NodeQuestion, warnings: Vec<Warning>) -> NodePlan {
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
