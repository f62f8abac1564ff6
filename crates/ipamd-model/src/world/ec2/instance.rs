//! An instance as EC2 keeps it.

use std::sync::Arc;

use cni_types::limits::InstanceLimits;
use ipamd_core::id::{EniId, InstanceId};
use ipamd_core::small_map::SmallMap;

/// An instance.
#[derive(Debug, Clone)]
pub struct Ec2Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: Arc<str>,
    /// What its type allows.
    pub limits: InstanceLimits,
    /// Its availability zone.
    pub zone: Arc<str>,
    /// Its primary ENI.
    pub primary_eni: EniId,
    /// `CLUSTER_NAME` of its agent, by which ENIs that were left behind are looked for.
    pub cluster: Option<Arc<str>>,
    /// ENIs with an attachment to it, those being attached or detached included.
    pub(super) enis: SmallMap<EniId, ()>,
    /// Changes of these ENIs so far, those that only time brings apart.
    pub(super) changes: u64,
}

impl Ec2Instance {
    /// A number that grows with each change of its ENIs that a call or somebody else made.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn changed(&mut self) {
        self.changes = self.changes.saturating_add(1);
    }
}
