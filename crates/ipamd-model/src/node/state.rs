//! What a node consists of, how it is made, and what can be read of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::effect::Effect;
use crate::ec2::{AttachedEni, Block, Cloud, EniId, EniKind, Instance, ManagedBy, SubnetId, drawn_id};
use crate::metrics::{Metrics, PageFlavour, Shown, Truth};
use crate::pool::{Placement, PodKey, Pool, Targets};
use crate::settings::{Mode, Refusal, Settings};
use cni_types::ec2::Ec2Code;
use cni_types::limits::InstanceLimits;
use cni_types::random::Random;
use ipamd_core::chooser::Seeded;

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
    /// Who provides the trunk ENI of security groups per pod.
    pub trunk_controller: TrunkController,
    /// A delete right after a detach often finds the ENI still in use, as on real nodes.
    pub deletes_lag: bool,
    /// Connection marks are written by nftables instead of iptables.
    pub nftables: bool,
}

/// What the VPC resource controller does for this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrunkController {
    /// Attaches a trunk once the node asks for one.
    #[default]
    Attaches,
    /// Takes the request and does nothing.
    Silent,
    /// The node's `CNINode` object is missing: every request fails.
    Absent,
}

impl NodeSpec {
    /// A node with random placement whose other properties are the ordinary ones.
    pub fn new(limits: InstanceLimits, settings: Settings, subnet: SubnetId, seed: u64) -> Self {
        let placement = Placement::default();
        Self {
            limits,
            settings,
            subnet,
            eni_config: None,
            seed,
            placement,
            max_pods: None,
            api_server_reachable: true,
            trunk_controller: TrunkController::default(),
            deletes_lag: true,
            nftables: false,
        }
    }
}

/// Answer to an `AddNetwork`.
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

/// Why a `DelNetwork` was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DelReason {
    /// The pod is gone.
    PodDeleted,
    /// The plugin undoes a failed ADD.
    SetupNsFailed,
}

/// Answer to a `DelNetwork`.
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
    #[error("{0}")]
    Settings(Refusal),
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

/// An ENI that is attached by something other than the agent.
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

/// The loop sleeps this long before each of its two halves.
pub(super) const HALF_LOOP_MS: i64 = 2_500;

/// The decision that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Start,
    InitEni {
        index: usize,
        attempt: u8,
    },
    InitRecover,
    InitPrescale,
    Serve,
    PoolCheck,
    Decrease {
        over: u32,
        queue: Vec<EniId>,
    },
    SpareEni,
    Reconcile,
    /// IPv6 nodes have no loop.
    Rest,
}

/// An ENI that was detached but not deleted.
#[derive(Debug, Clone)]
pub(super) struct Leaked {
    pub(super) eni: AttachedEni,
    pub(super) since_ms: i64,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    pub(super) spec: NodeSpec,
    pub(super) mode: Mode,
    pub(super) chooser: Seeded,
    pub(super) instance: Instance,
    pub(super) pool: Pool,
    pub(super) metrics: Metrics,
    pub(super) phase: Phase,
    pub(super) step: Step,
    pub(super) step_at_ms: i64,
    pub(super) journal: VecDeque<(i64, Effect)>,
    pub(super) watch_at_ms: i64,
    pub(super) leak_scan_at_ms: i64,
    pub(super) last_action_ms: Option<i64>,
    pub(super) last_decrease_ms: Option<i64>,
    pub(super) insufficient_ms: Option<i64>,
    /// CIDRs released lately, which a reconcile must not take back.
    pub(super) released: Vec<(EniId, Block, i64)>,
    pub(super) unmanaged: Vec<EniId>,
    pub(super) cordoned: bool,
    pub(super) terminating: bool,
    pub(super) checkpoint: BTreeMap<PodKey, IpAddr>,
    pub(super) recovered: bool,
    pub(super) gone: Vec<PodKey>,
    pub(super) leaked: Vec<Leaked>,
    /// Exits of the container since it last ran long enough, as the kubelet counts them.
    pub(super) exits: u32,
    pub(super) init_began_ms: i64,
    pub(super) init_took_ms: i64,
}

impl Node {
    /// A fresh instance whose agent process starts at `start_ms`.
    pub fn new(spec: NodeSpec, start_ms: i64, cloud: &mut dyn Cloud) -> Result<Self, NodeError> {
        let mut random = Random::new(spec.seed);
        let primary = cloud.take_addresses(spec.subnet, 1).map_err(|_| NodeError::NoPrimaryAddress)?;
        let primary = primary.first().copied().ok_or(NodeError::NoPrimaryAddress)?;
        let mut instance = Instance::default();
        let mut eni = AttachedEni::new(drawn_id(&mut random), 0, spec.subnet, primary);
        eni.managed_by = ManagedBy::Untagged;
        instance.attach(eni);
        Ok(Self {
            mode: spec.settings.mode(&spec.limits).unwrap_or(Mode::Secondary),
            chooser: Seeded { random, placement: spec.placement },
            instance,
            pool: Pool::new(0),
            metrics: Metrics::new(start_ms, false),
            phase: Phase::Starting,
            step: Step::Start,
            step_at_ms: start_ms,
            journal: VecDeque::new(),
            watch_at_ms: i64::MAX,
            leak_scan_at_ms: i64::MAX,
            last_action_ms: None,
            last_decrease_ms: None,
            insufficient_ms: None,
            released: Vec::new(),
            unmanaged: Vec::new(),
            cordoned: false,
            terminating: false,
            checkpoint: BTreeMap::new(),
            recovered: false,
            gone: Vec::new(),
            leaked: Vec::new(),
            exits: 0,
            init_began_ms: start_ms,
            init_took_ms: 0,
            spec,
        })
    }

    /// The targets in force.
    pub fn targets(&self) -> Targets {
        let settings = &self.spec.settings;
        Targets {
            prefix_mode: self.mode == Mode::Prefix,
            warm_ip: settings.warm_ip_target,
            minimum_ip: settings.minimum_ip_target,
            warm_eni: settings.warm_eni_target,
            warm_prefix: settings.warm_prefix_target,
            slots: self.spec.limits.slots(),
            max_pods: self.spec.max_pods.unwrap_or_else(|| self.spec.limits.listed_max_pods()),
        }
    }

    /// How addresses are had on this node.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What the node was made from, with later changes.
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// Where the process is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the metrics page answers.
    pub fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving { .. })
    }

    /// Start of the current process life, Unix milliseconds, as the page shows it.
    pub fn process_start_ms(&self) -> i64 {
        self.metrics.process_start_ms
    }

    /// Appends the page as it reads at `now_ms`.
    pub fn render(&self, now_ms: i64, flavour: PageFlavour, out: &mut Vec<u8>) {
        let shown = Shown { now_ms, seed: self.spec.seed, nftables: self.spec.nftables };
        self.metrics.render(shown, flavour, out);
    }

    /// A scrape was answered with this code (200, 500 or 503).
    pub fn scrape_done(&mut self, code: u16) {
        self.metrics.scraped(code);
    }

    /// What the current agent's page says at `now_ms`, as numbers.
    pub fn truth(&self, now_ms: i64) -> Truth {
        self.truth_as(now_ms, PageFlavour::V1_23)
    }

    /// What a page of this flavour says at `now_ms`; families it lacks read 0.
    pub fn truth_as(&self, now_ms: i64, flavour: PageFlavour) -> Truth {
        self.metrics.truth(now_ms, flavour)
    }

    /// EC2's view of the instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// ENIs that were detached and could not be deleted; the hourly search removes them.
    pub fn leaked_enis(&self) -> impl Iterator<Item = &AttachedEni> {
        self.leaked.iter().map(|leaked| &leaked.eni)
    }

    /// The datastore.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Pods and their addresses.
    pub fn pods(&self) -> impl Iterator<Item = (PodKey, IpAddr)> {
        self.pool.owners().iter().map(|(key, address)| (*key, *address))
    }
}
