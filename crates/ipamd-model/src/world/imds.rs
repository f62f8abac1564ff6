//! The instance metadata service: it shows the instance's ENIs as EC2 has them, some time later.

use std::collections::BTreeMap;
use std::sync::Arc;

use cni_types::random::Random;
use ipamd_core::id::{EniId, GroupId, InstanceId, VpcId};
use ipamd_core::input::{Identity, ImdsEni, ImdsError, ImdsErrorKind, ImdsReply};
use ipamd_core::output::ImdsRead;
use ipamd_core::small_map::SmallMap;

use super::ec2::eni::{Eni, EniState};
use super::ec2::{Ec2, Ec2Instance};
use super::faults::{Faults, How, ImdsPath};

/// What the service is like.
#[derive(Debug, Clone)]
pub struct ImdsSpec {
    /// How long after a change of an ENI the service shows it, milliseconds, from and to.
    pub lag_ms: (i64, i64),
    /// Share of the changes that are first shown in part: of new addresses only the first half.
    pub partial: f64,
    /// How long a read takes, milliseconds, from and to.
    pub latency_ms: (i64, i64),
    /// The VPC.
    pub vpc: VpcId,
    /// Region.
    pub region: Box<str>,
    /// CIDRs of the VPC.
    pub vpc_cidrs: Vec<Box<str>>,
}

impl ImdsSpec {
    /// A service that shows every change at once.
    pub fn new(vpc: VpcId, vpc_cidrs: Vec<Box<str>>) -> Self {
        Self { lag_ms: (0, 0), partial: 0.0, latency_ms: (2, 8), vpc, region: "eu-central-1".into(), vpc_cidrs }
    }
}

/// What is shown of one ENI now, and what will be. `None`: the ENI is not listed.
///
/// These are the ENIs of EC2 themselves, as they were at that time: each is attached.
#[derive(Debug, Default)]
struct Shown {
    now: Option<Arc<Eni>>,
    /// What EC2 had last.
    latest: Option<Arc<Eni>>,
    later: Vec<(i64, Option<Arc<Eni>>)>,
}

impl Shown {
    /// What becomes visible by now is shown.
    fn pass(&mut self, now_ms: i64) {
        let visible = self.later.iter().take_while(|(at_ms, _)| *at_ms <= now_ms).count();
        if let Some((_, next)) = self.later.drain(..visible).next_back() {
            self.now = next;
        }
        if self.later.is_empty() {
            self.later = Vec::new();
        }
    }

    /// EC2 changed something of the ENI that the service does not show: what was kept before need not be.
    fn renew(&mut self, same: &Arc<Eni>) {
        let Some(before) = self.latest.replace(Arc::clone(same)) else { return };
        let shown = self.later.iter_mut().map(|(_, shown)| shown).chain([&mut self.now]).flatten();
        for shown in shown.filter(|shown| Arc::ptr_eq(shown, &before)) {
            *shown = Arc::clone(same);
        }
    }
}

/// The service of one instance.
#[derive(Debug)]
pub struct Imds {
    spec: Arc<ImdsSpec>,
    who: InstanceId,
    shown: SmallMap<EniId, Shown>,
    /// The instance's changes that were seen, if nothing was to follow from them any more.
    settled: Option<u64>,
    random: Random,
}

impl Imds {
    /// The service of an instance that is being launched: it shows what is attached now.
    pub fn new(spec: Arc<ImdsSpec>, who: InstanceId, now_ms: i64, ec2: &Ec2, seed: u64) -> Self {
        let mut shown = SmallMap::new();
        for eni in ec2.attached_shared(now_ms, who) {
            let view = Some(Arc::clone(eni));
            shown.insert(eni.id, Shown { now: view.clone(), latest: view, later: Vec::new() });
        }
        Self { spec, who, shown, settled: None, random: Random::stream(seed, 4) }
    }

    /// Takes notice of what EC2 has now; it becomes visible after the lag.
    pub fn observe(&mut self, now_ms: i64, ec2: &Ec2) {
        let changes = ec2.instance(self.who).map(Ec2Instance::changes);
        if self.settled.is_some() && self.settled == changes {
            return;
        }
        let truth: BTreeMap<EniId, &Arc<Eni>> =
            ec2.attached_shared(now_ms, self.who).into_iter().map(|eni| (eni.id, eni)).collect();
        for id in truth.keys() {
            self.shown.or_default(*id);
        }
        for (id, shown) in self.shown.iter_mut() {
            let view = truth.get(id).copied();
            match (&shown.latest, view) {
                (None, None) => continue,
                (Some(latest), Some(view)) if is_listed_alike(latest, view) => {
                    shown.renew(view);
                    continue;
                }
                _ => {}
            }
            let attached_ms = view.and_then(|eni| eni.attachment.as_ref()).map_or(now_ms, |at| at.attached_ms);
            // A new ENI counts from the end of its attach, every other change from now.
            let since_ms = if shown.latest.is_none() { attached_ms } else { now_ms };
            let lag_ms = self.random.between(self.spec.lag_ms.0, self.spec.lag_ms.1);
            let after = shown.later.last().map_or(i64::MIN, |(at_ms, _)| *at_ms);
            let at_ms = since_ms.saturating_add(lag_ms).max(after);
            let in_part = self.random.fraction() < self.spec.partial;
            let part = view.filter(|_| in_part).and_then(|view| part_of(shown.latest.as_deref(), view));
            let view = view.cloned();
            if let Some(part) = part {
                shown.later.push((at_ms, Some(Arc::new(part))));
                shown.later.push((at_ms.saturating_add(lag_ms), view.clone()));
            } else {
                shown.later.push((at_ms, view.clone()));
            }
            shown.latest = view;
        }
        for (_, shown) in self.shown.iter_mut() {
            shown.pass(now_ms);
        }
        self.shown.retain(|_, shown| shown.now.is_some() || !shown.later.is_empty());
        let rests = self.shown.values().all(|shown| shown.later.is_empty())
            && ec2.bound(self.who).all(|eni| eni.state(now_ms) == EniState::Attached);
        self.settled = changes.filter(|_| rests);
    }

    /// How long the next read takes, milliseconds.
    pub fn latency_ms(&mut self) -> i64 {
        self.random.between(self.spec.latency_ms.0, self.spec.latency_ms.1)
    }

    /// Answers a read as of now.
    pub fn read(
        &mut self,
        now_ms: i64,
        read: ImdsRead,
        ec2: &Ec2,
        faults: &mut Faults,
    ) -> Result<ImdsReply, ImdsError> {
        self.observe(now_ms, ec2);
        let mut unreadable = false;
        for path in ImdsPath::of(read) {
            let Some(kind) = faults.imds(self.who, *path, now_ms) else { continue };
            // The agent takes an ENI whose fields cannot be listed for one without addresses.
            if *path == ImdsPath::MacFields {
                unreadable = true;
                continue;
            }
            return Err(failed(*path, kind));
        }
        match read {
            ImdsRead::Identity => self.identity(ec2).map(|identity| ImdsReply::Identity(Box::new(identity))),
            ImdsRead::Enis => Ok(ImdsReply::Enis(self.enis(now_ms, unreadable, ec2, faults))),
            ImdsRead::Groups => Ok(ImdsReply::Groups(self.groups(ec2))),
            ImdsRead::VpcCidrs => Ok(ImdsReply::VpcCidrs(self.spec.vpc_cidrs.clone())),
        }
    }

    fn enis(&self, now_ms: i64, unreadable: bool, ec2: &Ec2, faults: &mut Faults) -> Vec<ImdsEni> {
        let mut enis = Vec::with_capacity(self.shown.len());
        let hides_since = faults.imds_hides_since(self.who, now_ms);
        let is_hidden = |eni: EniId| {
            let attached = ec2.eni(eni).and_then(|eni| eni.attachment.as_ref()).map(|at| at.attached_ms);
            hides_since.zip(attached).is_some_and(|(since, attached)| attached >= since)
        };
        let listed = self.shown.values().filter_map(|shown| listed(shown.now.as_deref()?));
        for mut eni in listed.filter(|eni| !is_hidden(eni.id)) {
            match faults.imds_eni(eni.id, now_ms) {
                Some(How::Absent) => continue,
                Some(How::PrimaryOnly) => {
                    eni.ipv4 = eni.ipv4.map(|all| all.into_iter().take(1).collect());
                    eni.ipv4_prefixes.clear();
                    eni.ipv6_prefixes.clear();
                }
                Some(How::Unreadable) => eni.ipv4 = None,
                _ => {}
            }
            if unreadable {
                eni.ipv4 = None;
            }
            enis.push(eni);
        }
        enis.sort_by_key(|eni| (eni.card, eni.device));
        enis
    }

    fn identity(&self, ec2: &Ec2) -> Result<Identity, ImdsError> {
        let gone = || failed(ImdsPath::InstanceId, ImdsErrorKind::NotFound);
        let instance = ec2.instance(self.who).ok_or_else(gone)?;
        let primary = ec2.eni(instance.primary_eni).ok_or_else(gone)?;
        Ok(Identity {
            region: self.spec.region.clone(),
            zone: (&*instance.zone).into(),
            instance: self.who,
            instance_type: (&*instance.instance_type).into(),
            limits: instance.limits.listed.then_some(instance.limits),
            vpc: self.spec.vpc,
            subnet: primary.subnet,
            primary_eni: primary.id,
            primary_mac: primary.mac,
            ipv4: primary.primary,
            ipv6: None,
        })
    }

    fn groups(&self, ec2: &Ec2) -> Vec<GroupId> {
        let primary = ec2.instance(self.who).and_then(|instance| ec2.eni(instance.primary_eni));
        primary.map(|eni| eni.groups.to_vec()).unwrap_or_default()
    }
}

fn failed(path: ImdsPath, kind: ImdsErrorKind) -> ImdsError {
    ImdsError { path: format!("meta-data/{}", path.path()).into(), kind }
}

/// An attached ENI as the service lists it.
fn listed(eni: &Eni) -> Option<ImdsEni> {
    let attachment = eni.attachment.as_ref()?;
    Some(ImdsEni {
        id: eni.id,
        mac: eni.mac,
        device: attachment.device,
        card: attachment.card,
        subnet: eni.subnet,
        ipv4: Some(eni.primary.iter().chain(&eni.ipv4).copied().collect()),
        ipv4_prefixes: eni.ipv4_prefixes.clone(),
        ipv6: Vec::new(),
        ipv6_prefixes: eni.ipv6_prefixes.clone(),
    })
}

/// The service lists both alike.
fn is_listed_alike(one: &Arc<Eni>, other: &Arc<Eni>) -> bool {
    let place = |eni: &Eni| (eni.id, eni.mac, eni.subnet, eni.attachment.as_ref().map(|at| (at.device, at.card)));
    let addresses = |eni: &Eni| eni.primary.iter().chain(&eni.ipv4).copied().collect::<Vec<_>>();
    Arc::ptr_eq(one, other)
        || (place(one) == place(other)
            && addresses(one) == addresses(other)
            && one.ipv4_prefixes == other.ipv4_prefixes
            && one.ipv6_prefixes == other.ipv6_prefixes)
}

/// The ENI with only the first half of what is new; `None` where fewer than two addresses or prefixes are.
fn part_of(before: Option<&Eni>, after: &Eni) -> Option<Eni> {
    let has = |eni: &Eni| (usize::from(eni.primary.is_some()) + eni.ipv4.len(), eni.ipv4_prefixes.len());
    let ((ipv4, prefixes), (all_ipv4, all_prefixes)) = (before.map_or((1, 0), has), has(after));
    let (new_ipv4, new_prefixes) = (all_ipv4.saturating_sub(ipv4), all_prefixes.saturating_sub(prefixes));
    if new_ipv4.max(new_prefixes) < 2 {
        return None;
    }
    let mut part = after.clone();
    let shown = ipv4 + new_ipv4 / 2;
    part.ipv4.truncate(shown.saturating_sub(usize::from(part.primary.is_some())));
    part.ipv4_prefixes.truncate(prefixes + new_prefixes / 2);
    Some(part)
}

#[cfg(test)]
mod tests;
