//! What happens to the instance and the node without the agent's doing.

use std::net::Ipv4Addr;

use super::effect::{Effect, Script};
use super::state::{ForeignEni, Node, TrunkController};
use crate::ec2::{AttachedEni, Block, Cloud, EniId, EniKind, ManagedBy, drawn_id};
use crate::metrics::PodEniError;
use crate::settings::Mode;
use cni_types::ec2::Ec2Code;

impl Node {
    /// Taints or untaints the node as unschedulable.
    pub fn set_cordoned(&mut self, cordoned: bool) {
        self.cordoned = cordoned;
    }

    /// SIGTERM was received: no growth and no ENI release until the process ends.
    pub fn set_terminating(&mut self, terminating: bool) {
        self.terminating = terminating;
    }

    /// Changes the node's pod capacity.
    pub fn set_max_pods(&mut self, max_pods: u32) {
        self.spec.max_pods = Some(max_pods);
    }

    /// Makes the API server reachable or not for later starts.
    pub fn set_api_server_reachable(&mut self, reachable: bool) {
        self.spec.api_server_reachable = reachable;
    }

    /// Changes the agent's environment; as with a rolled-out daemon set it takes effect with the next restart.
    pub fn set_settings(&mut self, settings: crate::settings::Settings, now_ms: i64, cloud: &mut dyn Cloud) {
        self.advance(now_ms, cloud);
        self.spec.settings = settings;
        self.mode = self.spec.settings.mode(&self.spec.limits).unwrap_or(Mode::Secondary);
        self.restart(now_ms, cloud);
        // The pod is a new one.
        self.exits = 0;
    }

    /// An ENI is attached by something other than the agent.
    pub fn attach_eni(&mut self, eni: ForeignEni, now_ms: i64, cloud: &mut dyn Cloud) -> Result<EniId, Ec2Code> {
        self.advance(now_ms, cloud);
        self.check_attachments()?;
        let primary = cloud.take_addresses(eni.subnet, 1)?;
        let primary = primary.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let addresses = cloud
            .take_addresses(eni.subnet, eni.addresses)
            .inspect_err(|_| cloud.give_back(eni.subnet, Block::Address(primary)))?;
        let id = drawn_id(&mut self.chooser.random);
        let mut attached = AttachedEni::new(id, self.instance.free_device(), eni.subnet, primary);
        attached.kind = eni.kind;
        attached.managed_by = eni.managed_by;
        for address in addresses {
            attached.add(Block::Address(address));
        }
        self.instance.attach(attached);
        Ok(id)
    }

    /// EC2's answer to every attach request: an error where the instance already has as many ENIs as its type allows.
    pub(super) fn check_attachments(&self) -> Result<(), Ec2Code> {
        let full = self.instance.enis.len() >= usize::from(self.spec.limits.max_enis);
        if full { Err(Ec2Code::AttachmentLimitExceeded) } else { Ok(()) }
    }

    /// An ENI vanishes behind the agent's back; false when it is not attached or primary.
    pub fn detach_eni(&mut self, eni: EniId, cloud: &mut dyn Cloud) -> bool {
        let secondary = self.instance.eni(eni).is_some_and(|eni| eni.device != 0);
        let gone = secondary.then(|| self.instance.detach(eni)).flatten();
        if let Some(gone) = &gone {
            gone.give_back(cloud);
        }
        gone.is_some()
    }

    /// Up to `count` secondary addresses or prefixes of an ENI vanish behind the agent's back; answers how many did.
    pub fn lose_addresses(&mut self, eni: EniId, count: u16, cloud: &mut dyn Cloud) -> u16 {
        let Some(eni) = self.instance.eni_mut(eni) else { return 0 };
        let lost: Vec<_> = eni.blocks().take(usize::from(count)).collect();
        for block in &lost {
            eni.remove(*block);
            cloud.give_back(eni.subnet, *block);
        }
        u16::try_from(lost.len()).unwrap_or(count)
    }

    /// The instance is terminated: every address goes back to its subnet.
    pub fn terminate(self, cloud: &mut dyn Cloud) {
        self.instance.enis.iter().for_each(|eni| eni.give_back(cloud));
        self.leaked.iter().for_each(|leaked| leaked.eni.give_back(cloud));
    }

    /// While security groups for pods are on and no trunk is there, the node asks for one each cycle.
    pub(super) fn ask_for_trunk(&mut self, s: &mut Script, cloud: &mut dyn Cloud) {
        if !self.spec.settings.pod_eni || self.has_trunk() {
            return;
        }
        let limit = self.spec.settings.max_enis(&self.spec.limits) as usize;
        if self.pool.enis().len() + self.foreign_enis() >= limit {
            return;
        }
        let attached = self.instance.enis.iter().any(|eni| eni.kind == EniKind::Trunk);
        match self.spec.trunk_controller {
            TrunkController::Absent => s.push(Effect::PodEni(PodEniError::EnableSecurityGroups)),
            TrunkController::Attaches if !attached && self.spec.limits.trunk_compatible => {
                self.attach_trunk(cloud);
            }
            TrunkController::Attaches | TrunkController::Silent => {}
        }
    }

    /// The trunk controller asks EC2 for the attachment as everyone does. The agent's count of ENIs, by which it asked for the
    /// trunk, does not have the ENIs that were attached since it last looked.
    fn attach_trunk(&mut self, cloud: &mut dyn Cloud) {
        if self.check_attachments().is_err() {
            return;
        }
        let Ok(primary) = cloud.take_addresses(self.spec.subnet, 1) else { return };
        let Some(primary) = primary.first().copied() else { return };
        let device = self.instance.free_device();
        let mut trunk = AttachedEni::new(drawn_id(&mut self.chooser.random), device, self.spec.subnet, primary);
        trunk.kind = EniKind::Trunk;
        self.instance.attach(trunk);
    }
}

impl AttachedEni {
    /// Whether the agent looks after this ENI, by its tags; the primary is always managed.
    pub(super) fn is_managed(&self, untagged_too: bool) -> bool {
        match self.managed_by {
            _ if self.device == 0 => true,
            ManagedBy::Own | ManagedBy::Manage => true,
            ManagedBy::NoManage => false,
            ManagedBy::Untagged | ManagedBy::Other => untagged_too,
        }
    }
}
