//! EC2 of one account in one region, executing the calls of agents against its own state.
//!
//! A call is executed at one moment: what a caller learns of it, when, and whether at all is the business of
//! [`crate::world::wire`].

mod addresses;
mod describe;
pub mod eni;
mod instance;
mod interfaces;
pub mod refusal;
mod texts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cni_types::limits::InstanceLimits;
use cni_types::random::Random;
use ipamd_core::id::{AttachmentId, EniId, GroupId, InstanceId, SubnetId};
use ipamd_core::input::{Ec2Reply, EniKind, Mac};
use ipamd_core::output::Ec2Call;
use ipamd_core::small_map::SmallMap;

use self::eni::{Attachment, Eni, EniState};
pub use self::instance::Ec2Instance;
use self::refusal::Refusal;
use self::texts::Texts;
use super::subnet::{SubnetFacts, SubnetSpace};

/// What an account's EC2 is made of.
#[derive(Debug, Clone)]
pub struct Ec2Spec {
    /// Its subnets.
    pub subnets: Vec<SubnetFacts>,
    /// Its security groups.
    pub groups: Vec<GroupId>,
    /// How long an attach and a detach take to settle, milliseconds, from and to.
    pub attach_ms: (i64, i64),
    /// See `attach_ms`.
    pub detach_ms: (i64, i64),
    /// For how long after it was created or changed an ENI may be described as before, milliseconds at most.
    pub lag_ms: i64,
    /// ENIs that the account may have.
    pub quota: usize,
    /// ENIs on one page of `DescribeNetworkInterfaces`.
    pub page_size: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl Ec2Spec {
    /// Subnets and groups, with the times of a calm region and no consistency lag.
    pub fn new(subnets: Vec<SubnetFacts>, groups: Vec<GroupId>, seed: u64) -> Self {
        let (attach_ms, detach_ms) = ((300, 1_500), (800, 4_000));
        Self { subnets, groups, attach_ms, detach_ms, lag_ms: 0, quota: 5_000, page_size: 1_000, seed }
    }
}

/// What a token has made, and a hash of the parameters.
#[derive(Debug, Clone, Copy)]
struct Created {
    parameters: u64,
    eni: EniId,
}

/// Calls with a token that are remembered; the oldest is forgotten first.
const TOKENS: usize = 4_096;

/// Former states of ENIs that are kept before those that no reader can see any more are dropped.
const STALE: usize = 1_024;

/// EC2.
#[derive(Debug)]
pub struct Ec2 {
    spec: Ec2Spec,
    subnets: BTreeMap<SubnetId, SubnetSpace>,
    /// Instances and ENIs are apart from the tree, whose nodes are not full.
    instances: BTreeMap<InstanceId, Box<Ec2Instance>>,
    /// Shared with those who saw them: a change makes a new one.
    enis: BTreeMap<EniId, Arc<Eni>>,
    /// ENIs that are available, or will be when their detaching ends.
    loose: BTreeSet<EniId>,
    /// What the last change of an ENI replaced, and until when it may be described so. `None`: it did not exist.
    stale: BTreeMap<EniId, (i64, Option<Arc<Eni>>)>,
    tokens: BTreeMap<(InstanceId, u64), Created>,
    token_order: VecDeque<(InstanceId, u64)>,
    next_id: u64,
    random: Random,
    texts: Texts,
    /// All groups of the account, which most ENIs have.
    groups: Arc<[GroupId]>,
}

impl Ec2 {
    /// EC2 without instances.
    pub fn new(spec: Ec2Spec) -> Self {
        let subnets = spec.subnets.iter().map(|subnet| (subnet.id, SubnetSpace::new(subnet.clone(), spec.seed)));
        Self {
            subnets: subnets.collect(),
            instances: BTreeMap::new(),
            enis: BTreeMap::new(),
            loose: BTreeSet::new(),
            stale: BTreeMap::new(),
            tokens: BTreeMap::new(),
            token_order: VecDeque::new(),
            next_id: 0,
            random: Random::stream(spec.seed, 1),
            texts: Texts::default(),
            groups: spec.groups.as_slice().into(),
            spec,
        }
    }

    /// Starts an instance with its primary ENI in this subnet.
    pub fn launch(
        &mut self,
        now_ms: i64,
        instance_type: &str,
        limits: InstanceLimits,
        subnet: SubnetId,
    ) -> Result<InstanceId, Refusal> {
        let known = self.subnets.get(&subnet).ok_or_else(|| Refusal::no_subnet(subnet))?;
        let zone = self.texts.share(&known.spec.zone);
        let id = InstanceId::from_bits(self.draw_id());
        let groups = Arc::clone(&self.groups);
        let primary_eni = self.make_eni(now_ms, subnet, groups, "")?;
        let attachment = Attachment {
            id: AttachmentId::from_bits(self.draw_id()),
            instance: id,
            device: 0,
            card: 0,
            attached_ms: now_ms,
            detached_ms: None,
            delete_on_termination: true,
        };
        let (instance_type, enis) = (self.texts.share(instance_type), SmallMap::new());
        let instance = Ec2Instance { id, instance_type, limits, zone, primary_eni, cluster: None, enis, changes: 0 };
        self.instances.insert(id, Box::new(instance));
        self.bind(primary_eni, attachment);
        self.stale.remove(&primary_eni);
        Ok(id)
    }

    /// Ends an instance: ENIs that go with it are deleted, others become available.
    pub fn terminate(&mut self, now_ms: i64, instance: InstanceId) {
        let Some(ended) = self.instances.remove(&instance) else { return };
        for id in ended.enis.keys().copied() {
            self.change(now_ms, id);
            let Some(eni) = self.eni_mut(id) else { continue };
            let goes = eni.attachment.take().is_none_or(|attachment| attachment.delete_on_termination);
            self.loose.insert(id);
            if goes {
                self.remove_eni(id);
            }
        }
    }

    /// Executes a call of this instance's agent.
    pub fn execute(&mut self, now_ms: i64, who: InstanceId, call: &Ec2Call) -> Result<Ec2Reply, Refusal> {
        self.settle(now_ms, who, call);
        let instance = self.instances.get(&who).cloned().ok_or_else(|| Refusal::no_instance(who))?;
        match call {
            Ec2Call::DescribeSubnets => Ok(self.describe_subnets(&instance)),
            Ec2Call::DescribeEnis { ids } => self.describe_enis(now_ms, ids),
            Ec2Call::DescribeLeaked { page } => self.describe_leaked(now_ms, &instance, page.as_deref()),
            Ec2Call::DescribeInstance => Ok(self.describe_devices(who)),
            Ec2Call::DescribeInstanceType => Ok(Ec2Reply::Limits(instance.limits)),
            Ec2Call::CreateEni { .. } => self.create(now_ms, &instance, call),
            Ec2Call::Attach { eni, device, card } => self.attach(now_ms, &instance, *eni, (*device, *card)),
            Ec2Call::SetDeleteOnTermination { eni, attachment } => {
                self.delete_on_termination(now_ms, *eni, *attachment)
            }
            Ec2Call::SetGroups { eni, groups } => self.set_groups(now_ms, *eni, groups),
            Ec2Call::Detach { eni, attachment } => self.detach(now_ms, *eni, *attachment),
            Ec2Call::Delete { eni } => self.delete(now_ms, *eni),
            Ec2Call::Tag { eni, tags } => self.tag(now_ms, *eni, tags),
            Ec2Call::Assign { eni, want } => self.assign(now_ms, &instance, *eni, *want),
            Ec2Call::Unassign { eni, ipv4, ipv4_prefixes } => self.unassign(now_ms, *eni, ipv4, ipv4_prefixes),
            Ec2Call::UnassignIpv6 { eni, prefixes } => self.unassign_ipv6(now_ms, *eni, prefixes),
        }
    }

    /// The account has as many ENIs as its quota allows.
    pub fn is_at_its_quota(&self) -> bool {
        self.enis.len() >= self.spec.quota
    }

    /// The account may have this number of ENIs from now on. Those that it has stay.
    pub fn set_quota(&mut self, quota: usize) {
        self.spec.quota = quota;
    }

    /// There is such a security group.
    pub fn has_group(&self, group: GroupId) -> bool {
        self.spec.groups.contains(&group)
    }

    /// An instance.
    pub fn instance(&self, id: InstanceId) -> Option<&Ec2Instance> {
        self.instances.get(&id).map(Box::as_ref)
    }

    /// An instance, to be changed from outside.
    pub fn instance_mut(&mut self, id: InstanceId) -> Option<&mut Ec2Instance> {
        self.instances.get_mut(&id).map(Box::as_mut)
    }

    /// Every ENI that exists, by id.
    pub fn enis(&self) -> impl Iterator<Item = &Eni> {
        self.enis.values().map(Arc::as_ref)
    }

    /// An ENI that exists.
    pub fn eni(&self, id: EniId) -> Option<&Eni> {
        self.enis.get(&id).map(Arc::as_ref)
    }

    /// An ENI, to be changed. Who saw it before keeps what it was.
    fn eni_mut(&mut self, id: EniId) -> Option<&mut Eni> {
        self.enis.get_mut(&id).map(Arc::make_mut)
    }

    /// ENIs attached to the instance at this time, by card and device number.
    pub fn attached(&self, now_ms: i64, instance: InstanceId) -> Vec<&Eni> {
        self.attached_shared(now_ms, instance).into_iter().map(Arc::as_ref).collect()
    }

    /// The same, to be kept.
    pub(super) fn attached_shared(&self, now_ms: i64, instance: InstanceId) -> Vec<&Arc<Eni>> {
        let bound = self.bound_shared(instance);
        let mut enis: Vec<&Arc<Eni>> = bound.filter(|eni| eni.state(now_ms) == EniState::Attached).collect();
        enis.sort_by_key(|eni| eni.attachment.as_ref().map(|at| (at.card, at.device)));
        enis
    }

    /// ENIs with an attachment to the instance, whatever its state.
    pub fn bound(&self, instance: InstanceId) -> impl Iterator<Item = &Eni> {
        self.bound_shared(instance).map(Arc::as_ref)
    }

    fn bound_shared(&self, instance: InstanceId) -> impl Iterator<Item = &Arc<Eni>> {
        let ids = self.instances.get(&instance).map(|instance| &instance.enis);
        ids.into_iter().flat_map(SmallMap::keys).filter_map(|id| self.enis.get(id))
    }

    /// Devices of the instance in use, as (card, device).
    fn devices(&self, instance: InstanceId) -> Vec<(u8, u8)> {
        let attachments = self.bound(instance).filter_map(|eni| eni.attached_to(instance));
        let mut devices: Vec<_> = attachments.map(|attachment| (attachment.card, attachment.device)).collect();
        devices.sort_unstable();
        devices
    }

    /// A subnet.
    pub fn subnet(&self, id: SubnetId) -> Option<&SubnetSpace> {
        self.subnets.get(&id)
    }

    /// A subnet, to be changed from outside.
    pub fn subnet_mut(&mut self, id: SubnetId) -> Option<&mut SubnetSpace> {
        self.subnets.get_mut(&id)
    }

    /// Every subnet, by id.
    pub fn subnets(&self) -> impl Iterator<Item = &SubnetSpace> {
        self.subnets.values()
    }

    fn subnet_or_refusal(&mut self, id: SubnetId) -> Result<&mut SubnetSpace, Refusal> {
        self.subnets.get_mut(&id).ok_or_else(|| Refusal::no_subnet(id))
    }

    fn eni_or_refusal(&self, id: EniId) -> Result<&Eni, Refusal> {
        self.eni(id).ok_or_else(|| Refusal::no_eni(id))
    }

    /// What ended before a call is executed has ended for it: detaching of the caller's ENIs and of the one that it names.
    fn settle(&mut self, now_ms: i64, who: InstanceId, call: &Ec2Call) {
        let mut ids: Vec<EniId> =
            self.instances.get(&who).map(|at| at.enis.keys().copied().collect()).unwrap_or_default();
        if let Ec2Call::Attach { eni, .. } | Ec2Call::Delete { eni } = call {
            ids.push(*eni);
        }
        for id in ids {
            let Some(eni) = self.enis.get_mut(&id).filter(|eni| eni.has_left(now_ms)) else { continue };
            let held_by = Arc::make_mut(eni).attachment.take().map(|attachment| attachment.instance);
            if let Some(instance) = held_by.and_then(|instance| self.instances.get_mut(&instance)) {
                instance.enis.remove(&id);
                instance.changed();
            }
        }
        if self.stale.len() > STALE {
            self.stale.retain(|_, (until_ms, _)| *until_ms > now_ms);
        }
    }

    /// Remembers an ENI as it is before a change, so that a reader may still see it so.
    fn change(&mut self, now_ms: i64, id: EniId) {
        let holder = self.enis.get(&id).and_then(|eni| eni.attachment.as_ref()).map(|at| at.instance);
        if let Some(instance) = holder.and_then(|instance| self.instances.get_mut(&instance)) {
            instance.changed();
        }
        if self.spec.lag_ms <= 0 || self.stale.get(&id).is_some_and(|(until_ms, _)| *until_ms > now_ms) {
            return;
        }
        let until_ms = now_ms.saturating_add(self.random.between(0, self.spec.lag_ms));
        self.stale.insert(id, (until_ms, self.enis.get(&id).cloned()));
    }

    /// Makes this the ENI's attachment.
    fn bind(&mut self, id: EniId, attachment: Attachment) {
        let instance = self.instances.get_mut(&attachment.instance);
        if let (Some(eni), Some(instance)) = (self.enis.get_mut(&id).map(Arc::make_mut), instance) {
            instance.enis.insert(id, ());
            instance.changed();
            eni.attachment = Some(attachment);
            self.loose.remove(&id);
        }
    }

    /// Sixty-four bits that no other id has: the first of the 17 digits is 0, as in all ids that AWS has given out so far.
    fn draw_id(&mut self) -> u128 {
        self.next_id = self.next_id.saturating_add(1);
        // The number makes it distinct, the drawn bits make it look like an id.
        (u128::from(self.random.bits() >> 32) << 32) | u128::from(self.next_id & 0xffff_ffff)
    }

    fn make_eni(
        &mut self,
        now_ms: i64,
        subnet: SubnetId,
        groups: Arc<[GroupId]>,
        text: &str,
    ) -> Result<EniId, Refusal> {
        if self.enis.len() >= self.spec.quota {
            return Err(Refusal::account_is_full());
        }
        let primary = self.subnet_or_refusal(subnet)?.take_addresses(1).and_then(|taken| taken.first().copied());
        let primary = primary.ok_or_else(|| Refusal::of_code("InsufficientFreeAddressesInSubnet"))?;
        let id = EniId::from_bits(self.draw_id());
        let [.., a, b, c, d] = self.next_id.to_be_bytes();
        self.change(now_ms, id);
        let eni = Eni {
            id,
            mac: Mac([0x02, 0, a, b, c, d]),
            kind: EniKind::Interface,
            subnet,
            primary: Some(primary),
            ipv4: Vec::new(),
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            attachment: None,
            tags: SmallMap::new(),
            description: text.into(),
            groups,
            created_ms: now_ms,
        };
        self.enis.insert(id, Arc::new(eni));
        self.loose.insert(id);
        Ok(id)
    }

    /// Deletes an ENI: its addresses are free.
    fn remove_eni(&mut self, id: EniId) {
        let Some(eni) = self.enis.remove(&id) else { return };
        self.loose.remove(&id);
        if let Some(instance) = eni.attachment.as_ref().and_then(|at| self.instances.get_mut(&at.instance)) {
            instance.enis.remove(&id);
            instance.changed();
        }
        let Some(subnet) = self.subnets.get_mut(&eni.subnet) else { return };
        for address in eni.primary.iter().chain(&eni.ipv4) {
            subnet.give_back_address(*address);
        }
        for base in &eni.ipv4_prefixes {
            subnet.give_back_prefix(*base);
        }
        for base in &eni.ipv6_prefixes {
            subnet.give_back_ipv6_prefix(*base);
        }
    }
}

#[cfg(test)]
mod tests;
