//! Everything that one life of the agent holds in memory.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use cni_types::limits::InstanceLimits;

use super::bad::BadInputs;
use super::careful::Careful;
use super::foreign::Foreign;
use super::held::Held;
use super::operations::Operations;
use super::released::Released;
use crate::chooser::Chooser;
use crate::config::{Config, Policy};
use crate::id::{EniId, Epoch, GroupId, InstanceId, Now, SubnetId};
use crate::input::{Boot, CheckpointEntry, EniKind, Identity, NodeSeen, PodName};
use crate::metrics::Metrics;
use crate::rare::Rare;
use crate::settings::Mode;
use crate::small_map::SmallMap;
use crate::store::{Pool, Targets};

/// What names a pod's network attachment.
pub trait PodKey: Ord + Clone + fmt::Debug + 'static {}

impl<K: Ord + Clone + fmt::Debug + 'static> PodKey for K {}

/// What is known of an ENI's link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// The ENI.
    pub(crate) eni: EniId,
    /// Device number.
    pub(crate) device: u8,
    /// Its primary address.
    pub(crate) primary: Option<Ipv4Addr>,
}

/// What the checkpoint says of a pod besides its address; kept for pods that have a name.
#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    /// Its name.
    pub(crate) pod: PodName,
    /// When it got its address, nanoseconds since 1970.
    pub(crate) allocated_ns: i64,
}

/// What is kept of the instance's identity.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) instance: InstanceId,
    pub(crate) instance_type: Box<str>,
    pub(crate) subnet: SubnetId,
    pub(crate) primary_eni: EniId,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
}

impl From<Identity> for Own {
    fn from(identity: Identity) -> Self {
        let Identity { instance, instance_type, subnet, primary_eni, ipv4, ipv6, .. } = identity;
        Self { instance, instance_type, subnet, primary_eni, ipv4, ipv6 }
    }
}

/// What the start found out about the node.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Who the instance is.
    pub(crate) identity: Option<Own>,
    /// Limits of its type.
    pub(crate) limits: Option<InstanceLimits>,
    /// How addresses are had.
    pub(crate) mode: Mode,
    /// Pods that the node takes.
    pub(crate) max_pods: u32,
    /// Security groups of the primary ENI, when they were read last.
    pub(crate) groups: Vec<GroupId>,
    /// CIDRs of the VPC, when they were read last.
    pub(crate) vpc_cidrs: Vec<Box<str>>,
    /// Name of the node's `ENIConfig`.
    pub(crate) eni_config: Option<Box<str>>,
    /// Pods are not scheduled to the node.
    pub(crate) unschedulable: bool,
    /// Version of the node object that was seen last.
    pub(crate) node_version: u64,
    /// The API server can be reached.
    pub(crate) api_server: bool,
}

impl Facts {
    fn new(boot: &Boot) -> Self {
        Self {
            identity: None,
            limits: None,
            mode: Mode::Secondary,
            max_pods: 0,
            groups: Vec::new(),
            vpc_cidrs: Vec::new(),
            eni_config: None,
            unschedulable: false,
            node_version: 0,
            api_server: boot.api_server_reachable,
        }
    }
}

/// When something happened last, milliseconds of the steady clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// The pool was changed or compared.
    pub(crate) action: Option<i64>,
    /// CIDRs were released.
    pub(crate) decrease: Option<i64>,
    /// A subnet had no more addresses.
    pub(crate) insufficient: Option<i64>,
}

/// One life of the agent.
pub(crate) struct Agent<K> {
    pub(crate) now: Now,
    pub(crate) config: Arc<Config>,
    pub(crate) chooser: Box<dyn Chooser>,
    pub(crate) operations: Operations,
    pub(crate) metrics: Metrics,
    pub(crate) pool: Pool<K>,
    pub(crate) facts: Facts,
    pub(crate) links: Vec<Link>,
    pub(crate) foreign: Foreign,
    pub(crate) times: Times,
    pub(crate) released: Released,
    pub(crate) allocations: SmallMap<K, Allocation>,
    pub(crate) bad: Rare<BadInputs>,
    /// What a careful agent keeps.
    pub(crate) held: Rare<Held<K>>,
    /// What only a careful agent has.
    pub(crate) own: Option<Box<Careful<K>>>,
    /// What the checkpoint held, between its reading and its use.
    pub(crate) restored: Vec<CheckpointEntry<K>>,
    /// The pod whose address is being freed: the checkpoint that is written lacks it.
    pub(crate) releasing: Option<K>,
    pub(crate) terminating: bool,
    /// Pods lost their addresses, and the checkpoint does not say so yet.
    pub(crate) lost_pods: bool,
    /// The last token of an ENI's creation.
    pub(crate) tokens: u64,
    /// The last number of a write of the checkpoint.
    pub(crate) generation: u64,
}

impl<K: fmt::Debug> fmt::Debug for Agent<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("now", &self.now).field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl<K: PodKey> Agent<K> {
    /// The metadata service has said what the instance is.
    pub(crate) fn identified(&mut self, identity: Identity) {
        if let Some(own) = &mut self.own {
            own.identity = Some(identity.clone());
        }
        self.facts.identity = Some(identity.into());
    }

    /// A life that begins.
    pub(crate) fn new(config: Arc<Config>, chooser: Box<dyn Chooser>, now: Now, boot: &Boot) -> Self {
        let cooldown_ms = config.settings.ip_cooldown_s.saturating_mul(1_000);
        let mut metrics = Metrics::new(now.unix_ms().saturating_sub(boot.waited_ms), config.settings.ipv6);
        metrics.with_api_server = boot.api_server_reachable;
        let gate = config.policy == Policy::Careful;
        let mut own: Option<Box<Careful<K>>> = gate.then(Box::default);
        if let Some(own) = &mut own {
            own.file.boot_id.clone_from(&boot.boot_id);
        }
        Self {
            now,
            config,
            chooser,
            operations: Operations::new(boot.epoch, gate),
            metrics,
            pool: Pool::new(cooldown_ms),
            facts: Facts::new(boot),
            links: Vec::new(),
            foreign: Foreign::default(),
            times: Times::default(),
            released: Released::default(),
            allocations: SmallMap::new(),
            bad: Rare::EMPTY,
            held: Rare::EMPTY,
            own,
            restored: Vec::new(),
            releasing: None,
            terminating: false,
            lost_pods: false,
            tokens: 0,
            generation: 0,
        }
    }

    /// Takes over what a node object says; false if a newer one was seen before.
    pub(crate) fn see_node(&mut self, node: NodeSeen) -> bool {
        if node.version < self.facts.node_version {
            return false;
        }
        self.facts.node_version = node.version;
        self.facts.unschedulable = node.unschedulable;
        self.facts.eni_config = node.eni_config;
        true
    }

    /// The life.
    pub(crate) fn epoch(&self) -> Epoch {
        self.operations.epoch
    }

    /// The steady clock, milliseconds.
    pub(crate) fn ms(&self) -> i64 {
        self.now.mono_ms
    }

    /// Secondary addresses, or prefixes, that one ENI can hold.
    pub(crate) fn slots(&self) -> u32 {
        self.facts.limits.map_or(0, |limits| limits.slots())
    }

    /// ENIs that the instance may have, or `MAX_ENI`.
    pub(crate) fn max_enis(&self) -> u32 {
        self.facts.limits.map_or(0, |limits| self.config.settings.max_enis(&limits))
    }

    /// The targets in force.
    pub(crate) fn targets(&self) -> Targets {
        let settings = &self.config.settings;
        Targets {
            prefix_mode: self.facts.mode == Mode::Prefix,
            warm_ip: settings.warm_ip_target,
            minimum_ip: settings.minimum_ip_target,
            warm_eni: settings.warm_eni_target,
            warm_prefix: settings.warm_prefix_target,
            slots: self.slots(),
            max_pods: self.facts.max_pods,
        }
    }

    /// Shutting down, or cordoned without leave to manage ENIs.
    pub(crate) fn growth_suspended(&self) -> bool {
        self.terminating || (self.facts.unschedulable && !self.config.settings.manage_unschedulable)
    }

    /// A trunk is in the store.
    pub(crate) fn has_trunk(&self) -> bool {
        self.pool.enis().iter().any(|eni| eni.kind == EniKind::Trunk)
    }

    /// Room for one more ENI, one place being kept for a trunk that is to come.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    /// The same for this number.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        let compatible = self.facts.limits.is_some_and(|limits| limits.trunk_compatible);
        let trunk = usize::from(self.config.settings.pod_eni && compatible && !self.has_trunk());
        self.pool.enis().len() + trunk + self.foreign.on_first_card + more <= self.max_enis() as usize
    }

    /// This is the instance's first ENI.
    pub(crate) fn is_primary(&self, eni: EniId) -> bool {
        self.facts.identity.as_ref().is_some_and(|identity| identity.primary_eni == eni)
    }

    /// What is known of an ENI's link.
    pub(crate) fn link(&self, eni: EniId) -> Option<&Link> {
        self.links.iter().find(|link| link.eni == eni)
    }

    /// The primary address of the instance.
    pub(crate) fn node_address(&self) -> Option<IpAddr> {
        let identity = self.facts.identity.as_ref()?;
        if self.facts.mode == Mode::Ipv6 {
            identity.ipv6.map(|address: Ipv6Addr| address.into())
        } else {
            identity.ipv4.map(|address: Ipv4Addr| address.into())
        }
    }

    /// The pool was changed.
    pub(crate) fn acted(&mut self) {
        self.times.action = Some(self.ms());
    }
}
