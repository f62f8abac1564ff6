//! Calls that create, attach, change, detach and delete ENIs, and what others do to them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ipamd_core::id::{AttachmentId, EniId, GroupId, InstanceId};
use ipamd_core::input::{Ec2Reply, EniKind};
use ipamd_core::output::Ec2Call;

use super::describe::CLUSTER_TAG;
use super::eni::{Attachment, EniState};
use super::refusal::Refusal;
use super::{Created, Ec2, Ec2Instance, TOKENS};

impl Ec2 {
    /// A new ENI; a call with the same token again answers with the ENI that the first one made.
    pub(super) fn create(&mut self, now_ms: i64, instance: &Ec2Instance, call: &Ec2Call) -> Result<Ec2Reply, Refusal> {
        let Ec2Call::CreateEni { token, subnet, groups, want, tags, description } = call else {
            return Err(Refusal::bad_parameter("Action"));
        };
        let token = (instance.id, *token);
        if let Some(before) = self.tokens.get(&token) {
            return if before.parameters == hash(call) {
                self.created(now_ms, before.eni)
            } else {
                Err(Refusal::token_of_another())
            };
        }
        if let Some(unknown) = groups.iter().find(|group| !self.spec.groups.contains(group)) {
            return Err(Refusal::no_group(*unknown));
        }
        let groups = self.share_groups(groups);
        let id = self.make_eni(now_ms, *subnet, groups, description)?;
        if let Err(refusal) = self.fill(instance, id, *want) {
            self.remove_eni(id);
            self.stale.remove(&id);
            return Err(refusal);
        }
        self.put_tags(id, tags);
        self.remember_token(token, Created { parameters: hash(call), eni: id });
        self.created(now_ms, id)
    }

    fn created(&self, now_ms: i64, id: EniId) -> Result<Ec2Reply, Refusal> {
        Ok(Ec2Reply::Created(Box::new(self.eni_or_refusal(id)?.described(now_ms))))
    }

    fn remember_token(&mut self, token: (InstanceId, u64), created: Created) {
        if self.token_order.len() >= TOKENS
            && let Some(oldest) = self.token_order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
        self.token_order.push_back(token);
        self.tokens.insert(token, created);
    }

    pub(super) fn attach(
        &mut self,
        now_ms: i64,
        instance: &Ec2Instance,
        id: EniId,
        (device, card): (u8, u8),
    ) -> Result<Ec2Reply, Refusal> {
        if self.eni_or_refusal(id)?.attachment.is_some() {
            return Err(Refusal::attached_already(id));
        }
        let used = self.devices(instance.id);
        if used.contains(&(card, device)) {
            return Err(Refusal::device_in_use(instance.id, device));
        }
        let on_card = used.iter().filter(|(of, _)| *of == card).count();
        if card >= instance.limits.network_cards.max(1) {
            return Err(Refusal::bad_parameter("networkCardIndex"));
        }
        if on_card >= usize::from(instance.limits.max_enis) {
            return Err(Refusal::too_many_enis(on_card + 1, &instance.instance_type));
        }
        let attachment = AttachmentId::from_bits(self.draw_id());
        let (from_ms, to_ms) = self.spec.attach_ms;
        let attached_ms = now_ms.saturating_add(self.random.between(from_ms, to_ms));
        self.change(now_ms, id);
        self.bind(
            id,
            Attachment {
                id: attachment,
                instance: instance.id,
                device,
                card,
                attached_ms,
                detached_ms: None,
                delete_on_termination: false,
            },
        );
        Ok(Ec2Reply::Attached(attachment))
    }

    pub(super) fn delete_on_termination(
        &mut self,
        now_ms: i64,
        id: EniId,
        attachment: AttachmentId,
    ) -> Result<Ec2Reply, Refusal> {
        let eni = self.eni_or_refusal(id)?;
        if eni.attachment.as_ref().is_none_or(|at| at.id != attachment) {
            return Err(Refusal::no_attachment(attachment));
        }
        self.change(now_ms, id);
        if let Some(at) = self.eni_mut(id).and_then(|eni| eni.attachment.as_mut()) {
            at.delete_on_termination = true;
        }
        Ok(Ec2Reply::Done)
    }

    pub(super) fn set_groups(&mut self, now_ms: i64, id: EniId, groups: &[GroupId]) -> Result<Ec2Reply, Refusal> {
        self.eni_or_refusal(id)?;
        if let Some(unknown) = groups.iter().find(|group| !self.spec.groups.contains(group)) {
            return Err(Refusal::no_group(*unknown));
        }
        self.change(now_ms, id);
        let groups = self.share_groups(groups);
        if let Some(eni) = self.eni_mut(id) {
            eni.groups = groups;
        }
        Ok(Ec2Reply::Done)
    }

    pub(super) fn tag(&mut self, now_ms: i64, id: EniId, tags: &[(Box<str>, Box<str>)]) -> Result<Ec2Reply, Refusal> {
        self.eni_or_refusal(id)?;
        self.change(now_ms, id);
        self.put_tags(id, tags);
        Ok(Ec2Reply::Done)
    }

    /// Writes these tags. Their keys and the name of the cluster are the same on every ENI.
    fn put_tags(&mut self, id: EniId, tags: &[(Box<str>, Box<str>)]) {
        let Some(eni) = self.enis.get_mut(&id).map(Arc::make_mut) else { return };
        for (key, value) in tags {
            let is_common = **key == *CLUSTER_TAG;
            let value = if is_common { self.texts.share(value) } else { Arc::from(&**value) };
            eni.tags.insert(self.texts.share(key), value);
        }
    }

    fn share_groups(&self, groups: &[GroupId]) -> Arc<[GroupId]> {
        if *self.groups == *groups { Arc::clone(&self.groups) } else { groups.into() }
    }

    pub(super) fn detach(
        &mut self,
        now_ms: i64,
        id: EniId,
        attachment: Option<AttachmentId>,
    ) -> Result<Ec2Reply, Refusal> {
        let attachment = attachment.ok_or_else(|| Refusal::bad_parameter("attachmentId"))?;
        // A detach names the attachment only. The ENI in the call is for the agent's own use.
        let holder = self.enis.get(&id).filter(|eni| eni.attachment.as_ref().is_some_and(|at| at.id == attachment));
        let holder = holder.ok_or_else(|| Refusal::no_attachment(attachment))?;
        if holder.attachment.as_ref().is_some_and(|at| at.device == 0 && at.card == 0) {
            return Err(Refusal::primary_stays());
        }
        if holder.state(now_ms) != EniState::Attached {
            return Err(Refusal::wrong_state(attachment));
        }
        let (from_ms, to_ms) = self.spec.detach_ms;
        let detached_ms = now_ms.saturating_add(self.random.between(from_ms, to_ms));
        self.change(now_ms, id);
        if let Some(at) = self.eni_mut(id).and_then(|eni| eni.attachment.as_mut()) {
            at.detached_ms = Some(detached_ms);
        }
        self.loose.insert(id);
        Ok(Ec2Reply::Done)
    }

    pub(super) fn delete(&mut self, now_ms: i64, id: EniId) -> Result<Ec2Reply, Refusal> {
        if self.eni_or_refusal(id)?.attachment.is_some() {
            return Err(Refusal::in_use(id));
        }
        self.change(now_ms, id);
        self.remove_eni(id);
        Ok(Ec2Reply::Done)
    }

    /// Somebody else attaches an ENI at the first free device: by hand, for another program, or the VPC resource controller.
    pub fn attach_foreign(
        &mut self,
        now_ms: i64,
        who: InstanceId,
        kind: EniKind,
        tags: &[(&str, &str)],
    ) -> Result<EniId, Refusal> {
        self.settle(now_ms, who, &Ec2Call::DescribeInstance);
        let instance = self.instances.get(&who).cloned().ok_or_else(|| Refusal::no_instance(who))?;
        let subnet = self.eni_or_refusal(instance.primary_eni)?.subnet;
        let used = self.devices(who);
        let device = (0..=u8::MAX).find(|device| !used.contains(&(0, *device))).unwrap_or(u8::MAX);
        let id = self.make_eni(now_ms, subnet, Arc::clone(&self.groups), "")?;
        if let Err(refusal) = self.attach(now_ms, &instance, id, (device, 0)) {
            self.remove_eni(id);
            return Err(refusal);
        }
        let released = self.eni_mut(id).and_then(|eni| {
            eni.kind = kind;
            for (key, value) in tags {
                eni.tags.insert((*key).into(), (*value).into());
            }
            if kind == EniKind::EfaOnly { eni.primary.take() } else { None }
        });
        if let (Some(address), Some(subnet)) = (released, self.subnets.get_mut(&subnet)) {
            subnet.give_back_address(address);
        }
        Ok(id)
    }

    /// Somebody else takes an ENI away from its instance and deletes it; false where there is none of this id, or it is the
    /// primary one.
    pub fn lose_eni(&mut self, now_ms: i64, id: EniId) -> bool {
        let primary = self.instances.values().any(|instance| instance.primary_eni == id);
        if primary || !self.enis.contains_key(&id) {
            return false;
        }
        self.change(now_ms, id);
        self.remove_eni(id);
        true
    }

    /// Somebody else takes addresses from an ENI, as far as it has them.
    pub fn lose_addresses(&mut self, now_ms: i64, id: EniId, addresses: &[std::net::Ipv4Addr]) {
        self.take_from(now_ms, id, addresses, addresses);
    }
}

/// A hash of the parameters of a call, by which another call with its token is told apart.
fn hash(call: &Ec2Call) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{call:?}").hash(&mut hasher);
    hasher.finish()
}
