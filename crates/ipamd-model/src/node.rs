//! One agent process on one node: init, loop, reconcile, RPCs.

use std::net::IpAddr;

use crate::ec2::{Cloud, Ec2Code, EniId, EniKind, Instance, ManagedBy, SubnetId};
use crate::limits::InstanceLimits;
use crate::metrics::{PageFlavour, Truth};
use crate::pool::{Placement, Pool};
use crate::settings::Settings;

/// A pod's network attachment, by a number its owner chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey(pub u64);

/// What to build a node from.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Instance limits.
    pub limits: InstanceLimits,
    /// The agent's settings.
    pub settings: Settings,
    /// Subnet of the primary ENI.
    pub subnet: SubnetId,
    /// Subnet of the node's `ENIConfig`, for custom networking.
    pub eni_config: Option<SubnetId>,
    /// Seed of everything the node draws.
    pub seed: u64,
    /// Address choice.
    pub placement: Placement,
    /// `status.capacity.pods`; `None` stands for the type's own default.
    pub max_pods: Option<u32>,
    /// The API server answers at start.
    pub api_server_reachable: bool,
}

impl NodeSpec {
    /// A node with random placement whose other properties are the ordinary ones.
    pub fn new(limits: InstanceLimits, settings: Settings, subnet: SubnetId, seed: u64) -> Self {
        let placement = Placement::default();
        Self { limits, settings, subnet, eni_config: None, seed, placement, max_pods: None, api_server_reachable: true }
    }
}

/// Answer to an AddNetwork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// The pod has this address.
    Assigned(IpAddr),
    /// No usable address.
    NoAddress,
    /// The agent's socket is closed; nothing was counted.
    NotReady,
    /// IMDS failed after the address was taken: the RPC failed, the address stays assigned until the DEL.
    ImdsFailed(IpAddr),
}

/// Why a DelNetwork was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DelReason {
    /// The pod is gone.
    PodDeleted,
    /// The plugin undoes a failed ADD.
    SetupNsFailed,
}

/// Answer to a DelNetwork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelOutcome {
    /// The address is cooling now.
    Released(IpAddr),
    /// The agent does not know the pod.
    UnknownPod,
    /// The agent's socket is closed; nothing was counted.
    NotReady,
}

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Initialising: no metrics page yet.
    Starting,
    /// Serving since then.
    Serving {
        /// When the page opened.
        since_ms: i64,
    },
    /// Init failed; kubelet starts it again then.
    Crashed {
        /// Why.
        reason: InitFailure,
        /// When it starts again.
        restart_at_ms: i64,
    },
}

/// Why an init failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InitFailure {
    /// IMDS did not answer.
    #[error("instance metadata could not be read")]
    Imds,
    /// A fatal EC2 operation failed.
    #[error("an EC2 operation that init needs failed: {0:?}")]
    Ec2(Ec2Code),
    /// Settings that contradict each other or the instance.
    #[error("the settings contradict each other or the instance type")]
    Settings,
    /// Custom networking left the pool empty.
    #[error("custom networking yielded no address")]
    EmptyPool,
}

/// Why a node could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The subnet had no address for the primary ENI.
    #[error("the subnet has no address for the primary ENI")]
    NoPrimaryAddress,
}

/// An ENI that somebody other than the agent attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignEni {
    /// Kind.
    pub kind: EniKind,
    /// Tags.
    pub managed_by: ManagedBy,
    /// Subnet.
    pub subnet: SubnetId,
    /// Secondary addresses it brings.
    pub addresses: u16,
}

/// One node.
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// A fresh instance whose agent process starts at `start_ms`.
    pub fn new(_spec: NodeSpec, _start_ms: i64, _cloud: &mut dyn Cloud) -> Result<Self, NodeError> {
        todo!()
    }

    /// Runs everything due up to `to_ms`.
    pub fn advance(&mut self, _to_ms: i64, _cloud: &mut dyn Cloud) {
        todo!()
    }

    /// Earliest time at which [`Self::advance`] has something to do.
    pub fn next_wakeup(&self) -> i64 {
        todo!()
    }

    /// An AddNetwork RPC.
    pub fn add_pod(&mut self, _key: PodKey, _now_ms: i64, _cloud: &mut dyn Cloud) -> AddOutcome {
        todo!()
    }

    /// A DelNetwork RPC.
    pub fn del_pod(&mut self, _key: PodKey, _why: DelReason, _now_ms: i64, _cloud: &mut dyn Cloud) -> DelOutcome {
        todo!()
    }

    /// The process dies and starts again at `now_ms`.
    pub fn restart(&mut self, _now_ms: i64, _cloud: &mut dyn Cloud) {
        todo!()
    }

    /// The pod's interface is gone without a DEL; the next start prunes its allocation.
    pub fn forget_pod(&mut self, _key: PodKey) {
        todo!()
    }

    /// Taints or untaints the node as unschedulable.
    pub fn set_cordoned(&mut self, _cordoned: bool) {
        todo!()
    }

    /// SIGTERM was received.
    pub fn set_terminating(&mut self, _terminating: bool) {
        todo!()
    }

    /// Changes the node's pod capacity.
    pub fn set_max_pods(&mut self, _max_pods: u32) {
        todo!()
    }

    /// Somebody else attaches an ENI.
    pub fn attach_eni(&mut self, _eni: ForeignEni, _now_ms: i64, _cloud: &mut dyn Cloud) -> Result<EniId, Ec2Code> {
        todo!()
    }

    /// An ENI vanishes behind the agent's back; false when it is not attached or primary.
    pub fn detach_eni(&mut self, _eni: EniId, _cloud: &mut dyn Cloud) -> bool {
        todo!()
    }

    /// Up to `count` secondary addresses of an ENI vanish behind the agent's back; answers how many did.
    pub fn lose_addresses(&mut self, _eni: EniId, _count: u16, _cloud: &mut dyn Cloud) -> u16 {
        todo!()
    }

    /// Where the process is.
    pub fn phase(&self) -> Phase {
        todo!()
    }

    /// Whether the metrics page answers.
    pub fn is_serving(&self) -> bool {
        matches!(self.phase(), Phase::Serving { .. })
    }

    /// Appends the page as it reads at `now_ms`.
    pub fn render(&self, _now_ms: i64, _flavour: PageFlavour, _out: &mut Vec<u8>) {
        todo!()
    }

    /// A scrape was answered with this code (200, 500 or 503).
    pub fn scrape_done(&mut self, _code: u16) {
        todo!()
    }

    /// What the page says at `now_ms`, as numbers.
    pub fn truth(&self, _now_ms: i64) -> Truth {
        todo!()
    }

    /// EC2's view of the instance.
    pub fn instance(&self) -> &Instance {
        todo!()
    }

    /// The datastore.
    pub fn pool(&self) -> &Pool {
        todo!()
    }

    /// Pods and their addresses.
    pub fn pods(&self) -> Vec<(PodKey, IpAddr)> {
        todo!()
    }

    /// The instance is terminated: every address goes back to its subnet.
    pub fn terminate(self, _cloud: &mut dyn Cloud) {
        todo!()
    }
}
