//! Calls that read. What they say of an ENI may be older than its last change.

use ipamd_core::id::{EniId, InstanceId};
use ipamd_core::input::{Ec2Reply, Ec2Subnet};

use super::eni::{Eni, EniState};
use super::refusal::Refusal;
use super::{Ec2, Ec2Instance};

/// The tag by which an agent marks the ENIs that it created.
const INSTANCE_TAG: &str = "node.k8s.amazonaws.com/instance_id";
/// The tag that names the cluster.
pub(super) const CLUSTER_TAG: &str = "cluster.k8s.amazonaws.com/name";

impl Ec2 {
    /// The subnets of the instance's zone, by id.
    pub(super) fn describe_subnets(&self, instance: &Ec2Instance) -> Ec2Reply {
        let near = self.subnets.values().filter(|subnet| *subnet.spec.zone == *instance.zone);
        let near = near.map(|subnet| Ec2Subnet {
            id: subnet.spec.id,
            free: subnet.free(),
            role: subnet.spec.role,
            cluster_fits: subnet.spec.cluster_fits,
        });
        Ec2Reply::Subnets(near.collect())
    }

    /// These ENIs, or an error that names the first that is not there.
    pub(super) fn describe_enis(&self, now_ms: i64, ids: &[EniId]) -> Result<Ec2Reply, Refusal> {
        let found = ids.iter().map(|id| {
            let seen = self.seen(now_ms, *id);
            seen.map(|eni| eni.described(now_ms)).ok_or_else(|| Refusal::no_eni(*id))
        });
        Ok(Ec2Reply::Enis { found: found.collect::<Result<_, _>>()?, next: None })
    }

    /// Available ENIs that carry an agent's tag, and the cluster's where the agent knows it, page by page.
    pub(super) fn describe_leaked(
        &self,
        now_ms: i64,
        instance: &Ec2Instance,
        page: Option<&str>,
    ) -> Result<Ec2Reply, Refusal> {
        let after = page.map(EniId::parse).transpose().map_err(|_| Refusal::bad_parameter("NextToken"))?;
        let fits = |eni: &Eni| {
            let cluster = eni.tag(CLUSTER_TAG);
            eni.state(now_ms) == EniState::Available
                && eni.tag(INSTANCE_TAG).is_some()
                && instance.cluster.as_ref().is_none_or(|wanted| cluster == Some(&**wanted))
        };
        let ids = self.loose.iter().copied().filter(|id| after.is_none_or(|after| *id > after));
        let mut fitting = ids.filter_map(|id| self.seen(now_ms, id)).filter(|eni| fits(eni));
        let found: Vec<_> = fitting.by_ref().take(self.spec.page_size).map(|eni| eni.described(now_ms)).collect();
        let more = fitting.next().is_some();
        let next = found.last().filter(|_| more).map(|eni| eni.id.to_string().into());
        Ok(Ec2Reply::Enis { found, next })
    }

    /// Devices of the instance in use, those being attached or detached included.
    pub(super) fn describe_devices(&self, instance: InstanceId) -> Ec2Reply {
        Ec2Reply::Devices(self.devices(instance))
    }

    /// The ENI as a reader sees it: as it is, or for a while after a change as it was before.
    fn seen(&self, now_ms: i64, id: EniId) -> Option<&Eni> {
        match self.stale.get(&id) {
            Some((until_ms, before)) if *until_ms > now_ms => before.as_deref(),
            _ => self.eni(id),
        }
    }
}
