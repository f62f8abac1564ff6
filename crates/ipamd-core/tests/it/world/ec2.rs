//! EC2 as far as one instance sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Bound::{Excluded, Unbounded};

use cni_types::limits::InstanceLimits;
use ipamd_core::id::{AttachmentId, EniId, SubnetId};
use ipamd_core::input::{
    Ec2Attachment, Ec2Eni, Ec2Failure, Ec2Reply, Ec2Subnet, EniKind, Fate, ImdsEni, Mac, SubnetRole,
};
use ipamd_core::output::{Ec2Call, Want};

use super::numbered::Numbered;
use super::{Ec2Result, PRIMARY, SUBNET, failure};

/// A subnet and what is free in it.
#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    pub(crate) role: SubnetRole,
    pub(crate) fits: bool,
    pub(crate) free: BTreeSet<Ipv4Addr>,
    /// The last that was given out: those after it come first, so that one that came back is not given out soon.
    pub(crate) last: Option<Ipv4Addr>,
    /// Its addresses are given out as the original's simulated EC2 does, and not out of `free`.
    pub(crate) numbered: Option<Numbered>,
}

impl Subnet {
    fn available(&self) -> u32 {
        let numbered = self.numbered.as_ref().map(|numbered| numbered.free.max(0));
        numbered.map_or(self.free.len(), |free| usize::try_from(free).unwrap()).try_into().unwrap()
    }

    fn give_back(&mut self, addresses: impl Iterator<Item = Ipv4Addr>) {
        match &mut self.numbered {
            Some(numbered) => numbered.free += i64::try_from(addresses.count()).unwrap(),
            None => self.free.extend(addresses),
        }
    }

    fn take(&mut self) -> Option<Ipv4Addr> {
        let after = self.last.and_then(|last| self.free.range((Excluded(last), Unbounded)).next().copied());
        self.last = after.or(self.free.first().copied());
        self.free.take(&self.last?)
    }
}

/// The account.
#[derive(Debug)]
pub(crate) struct Ec2 {
    pub(crate) limits: InstanceLimits,
    pub(crate) subnets: BTreeMap<SubnetId, Subnet>,
    pub(crate) enis: BTreeMap<EniId, Ec2Eni>,
    /// When an ENI was attached.
    pub(crate) since_ms: BTreeMap<EniId, i64>,
    made: u32,
    /// ENIs in the order in which they were made.
    born: Vec<EniId>,
    /// The original's simulated EC2 gives these addresses out next.
    pub(crate) reuse: VecDeque<Ipv4Addr>,
    /// The ENIs after each change, where the metadata service lags.
    shots: Vec<(i64, Vec<Ec2Eni>)>,
}

/// Tag of ENIs that agents made.
const INSTANCE_TAG: &str = "node.k8s.amazonaws.com/instance_id";
/// How many of the last changes the metadata service may lag.
const SHOTS: usize = 256;

impl Ec2 {
    pub(crate) fn new(limits: InstanceLimits) -> Self {
        let free = (16..4_080).map(|host: u32| Ipv4Addr::from(0x0a00_0000 + host)).collect();
        let subnet = Subnet { role: SubnetRole::Untagged, fits: true, free, last: None, numbered: None };
        Self::with_subnets(limits, BTreeMap::from([(SUBNET, subnet)]), 1)
    }

    /// One that gives out ids and addresses as the original's simulated EC2 does.
    pub(crate) fn numbered(limits: InstanceLimits, subnets: Vec<(SubnetId, SubnetRole, Numbered)>) -> Self {
        let subnet = |(id, role, numbered)| {
            (id, Subnet { role, fits: true, free: BTreeSet::new(), last: None, numbered: Some(numbered) })
        };
        Self::with_subnets(limits, subnets.into_iter().map(subnet).collect(), 0)
    }

    fn with_subnets(limits: InstanceLimits, subnets: BTreeMap<SubnetId, Subnet>, made: u32) -> Self {
        let (enis, since_ms) = (BTreeMap::new(), BTreeMap::new());
        let (born, reuse, shots) = (Vec::new(), VecDeque::new(), Vec::new());
        let mut ec2 = Self { limits, subnets, enis, since_ms, made, born, reuse, shots };
        let mut primary = ec2.bare(PRIMARY, SUBNET).unwrap();
        primary.attachment = Some(attachment(PRIMARY, 0));
        ec2.enis.insert(PRIMARY, primary);
        ec2.changed(i64::MIN);
        ec2
    }

    fn is_numbered(&self) -> bool {
        self.subnets.values().any(|subnet| subnet.numbered.is_some())
    }

    /// Notes what a metadata service that lags shows a while later.
    pub(crate) fn changed(&mut self, now_ms: i64) {
        if self.is_numbered() {
            self.shots.push((now_ms, self.attached_in_order()));
            let beyond = self.shots.len().saturating_sub(SHOTS);
            self.shots.drain(..beyond);
        }
    }

    fn attached_in_order(&self) -> Vec<Ec2Eni> {
        let mut attached: Vec<_> = self.attached().cloned().collect();
        attached.sort_by_key(|eni| self.born.iter().position(|id| *id == eni.id));
        attached
    }

    /// The ENIs as the metadata service shows them that lags by so much, in the order in which they were made.
    pub(crate) fn shown(&self, now_ms: i64, lag_ms: i64) -> Vec<ImdsEni> {
        let then = now_ms - lag_ms;
        let shot = self.shots.iter().rfind(|(at_ms, _)| *at_ms <= then).or(self.shots.first());
        match shot.filter(|_| lag_ms > 0) {
            Some((_, enis)) => enis.iter().map(imds_eni).collect(),
            None => self.attached_in_order().iter().map(imds_eni).collect(),
        }
    }

    /// Puts a subnet there with so many addresses.
    pub(crate) fn add_subnet(&mut self, id: SubnetId, role: SubnetRole, addresses: u32) {
        let base = 0x0a00_0000 + ((u32::try_from(id.bits()).unwrap() & 0xff) << 16);
        let free = (16..16 + addresses).map(|host| Ipv4Addr::from(base + host)).collect();
        self.subnets.insert(id, Subnet { role, fits: true, free, last: None, numbered: None });
    }

    /// Attaches an ENI from outside.
    pub(crate) fn attach_foreign(&mut self, id: EniId, kind: EniKind, addresses: u32, now_ms: i64) {
        let mut eni = self.bare(id, SUBNET).unwrap();
        eni.kind = kind;
        eni.ipv4 = self.take(SUBNET, addresses).unwrap();
        eni.attachment = Some(attachment(id, self.free_device()));
        self.since_ms.insert(id, now_ms);
        self.enis.insert(id, eni);
        self.changed(now_ms);
    }

    /// Someone leaves an ENI behind that is not attached.
    pub(crate) fn leave(&mut self, id: EniId, description: &str, tags: Vec<(Box<str>, Box<str>)>) {
        let eni = Ec2Eni { tags, description: description.into(), ..self.bare(id, SUBNET).unwrap() };
        self.enis.insert(id, eni);
    }

    /// The VPC resource controller attaches a trunk, if the instance has room.
    pub(crate) fn attach_trunk(&mut self, now_ms: i64) {
        if self.attached().count() < usize::from(self.limits.max_enis) {
            self.attach_foreign(self.next_id(), EniKind::Trunk, 0, now_ms);
        }
    }

    fn free_device(&self) -> u8 {
        let used = |device: &u8| self.attached().any(|eni| eni.attachment.unwrap().device == *device);
        (0..u8::MAX).find(|device| !used(device)).unwrap()
    }

    pub(crate) fn attached(&self) -> impl Iterator<Item = &Ec2Eni> {
        self.enis.values().filter(|eni| eni.attachment.is_some())
    }

    pub(crate) fn primary_address(&self) -> Option<Ipv4Addr> {
        self.enis.get(&PRIMARY).and_then(|eni| eni.primary)
    }

    /// Attached ENIs as the metadata service shows them that were attached before.
    pub(crate) fn listed(&self, before_ms: i64) -> Vec<ImdsEni> {
        let shown = |eni: &&Ec2Eni| self.since_ms.get(&eni.id).is_none_or(|since_ms| *since_ms <= before_ms);
        let mut listed: Vec<_> = self.attached().filter(shown).map(imds_eni).collect();
        listed.sort_by_key(|eni| eni.device);
        listed
    }

    fn next_id(&self) -> EniId {
        if self.is_numbered() {
            return EniId::parse(&format!("eni-{:08}", self.made + 1)).unwrap();
        }
        EniId::from_bits(0x100 + u128::from(self.made))
    }

    fn bare(&mut self, id: EniId, subnet: SubnetId) -> Result<Ec2Eni, Ec2Failure> {
        if self.is_numbered() {
            self.made += 1;
        }
        self.born.push(id);
        let primary = self.take(subnet, 1)?.first().copied();
        if let Some(numbered) = self.subnets.get_mut(&subnet).and_then(|subnet| subnet.numbered.as_mut()) {
            numbered.ipv6_address();
        }
        Ok(Ec2Eni {
            id,
            mac: Mac([2, 0, 0, 0, 0, u8::try_from(id.bits() & 0xff).unwrap()]),
            kind: EniKind::Interface,
            subnet,
            vpc: None,
            zone: None,
            primary,
            ipv4: Vec::new(),
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: Vec::new(),
            attachment: None,
            tags: Vec::new(),
            description: Box::default(),
            groups: Vec::new(),
        })
    }

    fn take(&mut self, subnet: SubnetId, count: u32) -> Result<Vec<Ipv4Addr>, Ec2Failure> {
        let subnet = self.subnets.get_mut(&subnet).ok_or_else(|| failure(Some("InvalidSubnetID.NotFound")))?;
        if let Some(numbered) = &mut subnet.numbered {
            return Ok((0..count).map(|_| numbered.address(self.reuse.pop_front())).collect());
        }
        if subnet.free.len() < count as usize {
            return Err(failure(Some("InsufficientFreeAddressesInSubnet")));
        }
        Ok((0..count).filter_map(|_| subnet.take()).collect())
    }

    fn take_prefixes(&mut self, subnet: SubnetId, count: u32) -> Result<Vec<Ipv4Addr>, Ec2Failure> {
        let subnet = self.subnets.get_mut(&subnet).unwrap();
        if let Some(numbered) = &mut subnet.numbered {
            return Ok((0..count).map(|_| numbered.prefix()).collect());
        }
        let free = &mut subnet.free;
        let last = subnet.last.map_or(0, u32::from);
        let whole = |base: u32| (base..base + 16).all(|address| free.contains(&Ipv4Addr::from(address)));
        let bases = free.iter().map(|address| u32::from(*address)).filter(|base| base % 16 == 0 && whole(*base));
        let mut bases: Vec<u32> = bases.collect();
        bases.sort_by_key(|base| (*base <= last, *base));
        bases.truncate(count as usize);
        if bases.len() < count as usize {
            return Err(failure(Some("InsufficientCidrBlocks")));
        }
        free.retain(|address| !bases.contains(&(u32::from(*address) & !15)));
        subnet.last = bases.last().map(|base| Ipv4Addr::from(base + 15));
        Ok(bases.into_iter().map(Ipv4Addr::from).collect())
    }

    /// Whether the subnet and the ENI have room, as the original's simulated EC2 sees it.
    fn room(&self, subnet: SubnetId, want: Want, eni: Option<&Ec2Eni>) -> Result<(), Ec2Failure> {
        let Some(numbered) = self.subnets.get(&subnet).and_then(|subnet| subnet.numbered.as_ref()) else {
            return Ok(());
        };
        let (addresses, prefixes) = match want {
            Want::Ipv4(count) => (count, 0),
            Want::Ipv4Prefixes(count) => (0, count),
            Want::Ipv6Prefixes(_) if eni.is_some() => {
                return numbered.has_ipv6().then_some(()).ok_or(failure(Some("InvalidParameterValue")));
            }
            Want::Ipv6Prefixes(_) => (0, 0),
        };
        let held = eni.map_or(0, |eni| eni.ipv4.len() + eni.ipv4_prefixes.len());
        if 1 + held + (addresses + prefixes) as usize > usize::from(self.limits.ipv4_per_eni) {
            return Err(failure(Some("PrivateIpAddressLimitExceeded")));
        }
        let has = numbered.has(addresses, prefixes, eni.is_none());
        has.then_some(()).ok_or(failure(Some("InsufficientFreeAddressesInSubnet")))
    }

    fn give(&mut self, subnet: SubnetId, want: Want, eni: &mut Ec2Eni) -> Result<Ec2Reply, Ec2Failure> {
        let (mut ipv4, mut ipv4_prefixes, mut ipv6_prefixes) = (Vec::new(), Vec::new(), Vec::new());
        let slots = usize::from(self.limits.ipv4_per_eni) - 1;
        match want {
            Want::Ipv4(count) | Want::Ipv4Prefixes(count)
                if eni.ipv4.len() + eni.ipv4_prefixes.len() + count as usize > slots =>
            {
                return Err(failure(Some("PrivateIpAddressLimitExceeded")));
            }
            Want::Ipv4(count) => ipv4 = self.take(subnet, count)?,
            Want::Ipv4Prefixes(count) => ipv4_prefixes = self.take_prefixes(subnet, count)?,
            Want::Ipv6Prefixes(_) if self.is_numbered() => {
                let numbered = self.subnets.get_mut(&subnet).and_then(|subnet| subnet.numbered.as_mut());
                ipv6_prefixes = vec![numbered.unwrap().ipv6_prefix()];
            }
            Want::Ipv6Prefixes(_) => {
                self.made += 1;
                ipv6_prefixes = vec![Ipv6Addr::from(0x2600_u128 << 112 | u128::from(self.made) << 48)];
            }
        }
        eni.ipv4.extend(&ipv4);
        eni.ipv4_prefixes.extend(&ipv4_prefixes);
        eni.ipv6_prefixes.extend(&ipv6_prefixes);
        Ok(Ec2Reply::Assigned { ipv4, ipv4_prefixes, ipv6_prefixes })
    }

    /// Does what is asked, now.
    pub(crate) fn perform(&mut self, call: &Ec2Call, now_ms: i64) -> Ec2Result {
        let result = self.execute(call, now_ms);
        if result.is_ok() && call.is_mutation() {
            self.changed(now_ms);
        }
        result
    }

    fn execute(&mut self, call: &Ec2Call, now_ms: i64) -> Ec2Result {
        match call {
            Ec2Call::DescribeSubnets => Ok(Ec2Reply::Subnets(self.described_subnets())),
            Ec2Call::DescribeEnis { ids } => {
                let found: Result<Vec<_>, _> =
                    ids.iter().map(|id| self.enis.get(id).cloned().ok_or(missing(*id))).collect();
                found.map(|found| Ec2Reply::Enis { found, next: None })
            }
            Ec2Call::DescribeLeaked { .. } => {
                let leaked =
                    |eni: &&Ec2Eni| eni.attachment.is_none() && eni.tags.iter().any(|(key, _)| **key == *INSTANCE_TAG);
                let mut found: Vec<_> = self.enis.values().filter(leaked).cloned().collect();
                if self.is_numbered() {
                    found.sort_by_key(|eni| self.born.iter().position(|id| *id == eni.id));
                }
                Ok(Ec2Reply::Enis { found, next: None })
            }
            Ec2Call::DescribeInstance => {
                Ok(Ec2Reply::Devices(self.attached().map(|eni| (0, eni.attachment.unwrap().device)).collect()))
            }
            Ec2Call::DescribeInstanceType => Ok(Ec2Reply::Limits(self.limits)),
            Ec2Call::CreateEni { subnet, want, tags, description, .. } => {
                self.create(*subnet, *want, tags, description)
            }
            Ec2Call::Attach { eni, device, .. } => self.attach(*eni, *device, now_ms),
            Ec2Call::SetDeleteOnTermination { eni, .. } | Ec2Call::SetGroups { eni, .. } => {
                let known = self.enis.get(eni).ok_or(missing(*eni))?;
                let detached = matches!(call, Ec2Call::SetDeleteOnTermination { .. }) && known.attachment.is_none();
                if detached && self.is_numbered() {
                    return Err(failure(Some("InvalidAttachmentID.NotFound")));
                }
                Ok(Ec2Reply::Done)
            }
            Ec2Call::Tag { eni, tags } => {
                let known = self.enis.get_mut(eni).ok_or(missing(*eni))?;
                known.tags.retain(|(key, _)| !tags.iter().any(|(new, _)| new == key));
                known.tags.extend(tags.clone());
                Ok(Ec2Reply::Done)
            }
            Ec2Call::Detach { attachment: None, .. } => Err(Ec2Failure { fate: Fate::NotSent, ..failure(None) }),
            Ec2Call::Detach { eni, .. } => self.detach(*eni),
            Ec2Call::Delete { eni } => self.delete(*eni),
            Ec2Call::Assign { eni, want } => {
                let mut known = self.enis.get(eni).cloned().ok_or(missing(*eni))?;
                self.room(known.subnet, *want, Some(&known))?;
                let reply = self.give(known.subnet, *want, &mut known);
                self.enis.insert(*eni, known);
                reply
            }
            Ec2Call::Unassign { eni, ipv4, ipv4_prefixes } => self.unassign(*eni, ipv4, ipv4_prefixes),
            Ec2Call::UnassignIpv6 { eni, prefixes } => {
                self.enis.get_mut(eni).ok_or(missing(*eni))?.ipv6_prefixes.retain(|base| !prefixes.contains(base));
                Ok(Ec2Reply::Done)
            }
        }
    }

    fn described_subnets(&self) -> Vec<Ec2Subnet> {
        let described = self.subnets.iter().map(|(id, subnet)| Ec2Subnet {
            id: *id,
            free: subnet.available(),
            role: subnet.role,
            cluster_fits: subnet.fits,
        });
        described.collect()
    }

    fn detach(&mut self, id: EniId) -> Ec2Result {
        let attached = self.enis.get(&id).is_some_and(|eni| eni.attachment.is_some());
        if self.is_numbered() && !attached {
            return Err(failure(Some("InvalidAttachmentID.NotFound")));
        }
        self.enis.get_mut(&id).ok_or(missing(id))?.attachment = None;
        Ok(Ec2Reply::Done)
    }

    fn create(
        &mut self,
        subnet: SubnetId,
        want: Want,
        tags: &[(Box<str>, Box<str>)],
        description: &str,
    ) -> Result<Ec2Reply, Ec2Failure> {
        self.room(subnet, want, None)?;
        if !self.is_numbered() {
            self.made += 1;
        }
        let mut eni = self.bare(self.next_id(), subnet)?;
        // An IPv6 node asks for an address, and for its prefix later.
        if !self.is_numbered() || !matches!(want, Want::Ipv6Prefixes(_)) {
            self.give(subnet, want, &mut eni)?;
        }
        (eni.tags, eni.description) = (tags.to_vec(), description.into());
        self.enis.insert(eni.id, eni.clone());
        Ok(Ec2Reply::Created(Box::new(eni)))
    }

    fn attach(&mut self, id: EniId, device: u8, now_ms: i64) -> Ec2Result {
        if self.is_numbered() {
            if self.enis.get(&id).ok_or(missing(id))?.attachment.is_some() {
                return Err(failure(Some("InvalidNetworkInterface.InUse")));
            }
            if self.attached().any(|eni| eni.attachment.is_some_and(|attachment| attachment.device == device)) {
                return Err(failure(Some("InvalidParameterValue")));
            }
        }
        if self.attached().count() >= usize::from(self.limits.max_enis) {
            return Err(failure(Some("AttachmentLimitExceeded")));
        }
        let attachment = attachment(id, device);
        self.enis.get_mut(&id).ok_or(missing(id))?.attachment = Some(attachment);
        self.since_ms.insert(id, now_ms);
        Ok(Ec2Reply::Attached(attachment.id))
    }

    fn delete(&mut self, id: EniId) -> Ec2Result {
        let eni = self.enis.get(&id).ok_or(missing(id))?;
        if eni.attachment.is_some() {
            return Err(failure(Some("InvalidParameterValue")));
        }
        self.lose(id);
        Ok(Ec2Reply::Done)
    }

    /// An ENI is no more, and its addresses are free.
    pub(crate) fn lose(&mut self, id: EniId) {
        let eni = self.enis.remove(&id).unwrap();
        let prefixes =
            eni.ipv4_prefixes.iter().flat_map(|base| (0..16).map(|at| Ipv4Addr::from(u32::from(*base) + at)));
        let all = eni.primary.iter().chain(&eni.ipv4).copied().chain(prefixes);
        self.subnets.get_mut(&eni.subnet).unwrap().give_back(all);
    }

    /// All or nothing.
    fn unassign(&mut self, id: EniId, ipv4: &[Ipv4Addr], prefixes: &[Ipv4Addr]) -> Ec2Result {
        let eni = self.enis.get_mut(&id).ok_or(missing(id))?;
        let held = ipv4.iter().all(|address| eni.ipv4.contains(address))
            && prefixes.iter().all(|base| eni.ipv4_prefixes.contains(base));
        if !held {
            return Err(failure(Some("InvalidParameterValue")));
        }
        eni.ipv4.retain(|address| !ipv4.contains(address));
        eni.ipv4_prefixes.retain(|base| !prefixes.contains(base));
        let of_prefixes = prefixes.iter().flat_map(|base| (0..16).map(|at| Ipv4Addr::from(u32::from(*base) + at)));
        self.subnets.get_mut(&eni.subnet).unwrap().give_back(ipv4.iter().copied().chain(of_prefixes));
        Ok(Ec2Reply::Done)
    }
}

fn missing(id: EniId) -> Ec2Failure {
    let message = format!("The networkInterface ID '{id}' does not exist");
    Ec2Failure { message: message.into(), ..failure(Some("InvalidNetworkInterfaceID.NotFound")) }
}

fn attachment(eni: EniId, device: u8) -> Ec2Attachment {
    let id = AttachmentId::from_bits(eni.bits());
    Ec2Attachment { id, device, card: 0, attached: true, delete_on_termination: false }
}

pub(crate) fn imds_eni(eni: &Ec2Eni) -> ImdsEni {
    let attachment = eni.attachment.unwrap();
    let addresses = eni.primary.iter().chain(&eni.ipv4).copied().collect();
    ImdsEni {
        id: eni.id,
        mac: eni.mac,
        device: attachment.device,
        card: attachment.card,
        subnet: eni.subnet,
        ipv4: Some(if eni.kind == EniKind::EfaOnly { Vec::new() } else { addresses }),
        ipv4_prefixes: eni.ipv4_prefixes.clone(),
        ipv6: Vec::new(),
        ipv6_prefixes: eni.ipv6_prefixes.clone(),
    }
}
