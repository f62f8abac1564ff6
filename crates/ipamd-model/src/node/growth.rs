//! Growing: addresses or prefixes on an ENI that has room, else one new ENI.

use super::effect::{Effect, Retry, Script};
use super::shrink;
use super::state::Node;
use crate::ec2::{AttachedEni, Block, Cloud, EniId, EniKind, ImdsRead, SubnetId, SubnetRole, drawn_id};
use crate::metrics::{Action, IpamdError, UtilsError};
use crate::pool::{PoolEni, Stats};
use crate::settings::Mode;
use cni_types::ec2::{Ec2Code, Ec2Operation};

/// No growth for this long after EC2 had no address left; the bound itself still counts.
pub(super) const INSUFFICIENT_COOLDOWN_MS: i64 = 120_000;

/// How long the agent looks for an ENI in IMDS that never comes.
const FUTILE_WAIT_MS: i64 = 162_000;

/// What became of the ENIs at hand.
enum Existing {
    Grew,
    Full,
    Failed(Ec2Code),
}

impl Node {
    /// One growth step. The error is one that init does not survive.
    pub(super) fn increase(&mut self, script: &mut Script, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        script.push(Effect::Progress(Action::Increase, 1));
        let resting = self.insufficient_ms.is_some_and(|at_ms| script.at_ms - at_ms <= INSUFFICIENT_COOLDOWN_MS);
        let result = if self.growth_suspended() || resting { Ok(()) } else { self.grow(script, cloud) };
        script.push(Effect::Progress(Action::Increase, -1));
        result
    }

    /// Shutting down, or cordoned without leave to manage ENIs.
    pub(super) fn growth_suspended(&self) -> bool {
        self.terminating || (self.cordoned && !self.spec.settings.manage_unschedulable)
    }

    fn grow(&mut self, script: &mut Script, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        let stats = self.pool.stats(self.mode, script.at_ms);
        match self.extend_enis(script, &stats, cloud) {
            Existing::Grew => script.push(Effect::Acted),
            Existing::Failed(code) if code.is_insufficient() => script.push(Effect::Insufficient),
            Existing::Failed(code) => return Err(code),
            Existing::Full if self.has_room() => self.add_eni(script, &stats, cloud),
            Existing::Full => {}
        }
        Ok(())
    }

    /// Room for one more ENI, one place being kept for a trunk that is to come.
    fn has_room(&self) -> bool {
        let managed = self.spec.settings.max_enis(&self.spec.limits) as usize;
        let trunk = usize::from(self.spec.settings.pod_eni && self.spec.limits.trunk_compatible && !self.has_trunk());
        self.pool.enis().len() + trunk + self.foreign_enis() < managed
    }

    pub(super) fn has_trunk(&self) -> bool {
        self.pool.enis().iter().any(|eni| eni.kind == EniKind::Trunk)
    }

    fn extend_enis(&mut self, script: &mut Script, stats: &Stats, cloud: &mut dyn Cloud) -> Existing {
        let targets = self.targets();
        let allocatable = self.pool.allocatable(targets.slots, self.spec.settings.custom_networking);
        for id in self.visit() {
            let Some(eni) = self.pool.eni(id).filter(|eni| allocatable.contains(&eni.id)) else { continue };
            let have = u32::try_from(eni.slots_used()).unwrap_or(u32::MAX);
            let count = match self.mode {
                Mode::Prefix => targets.prefixes_wanted(stats).min(targets.slots.saturating_sub(have)),
                _ => targets.addresses_wanted(stats, have),
            };
            let Ok(count) = u16::try_from(count) else { continue };
            if count == 0 {
                continue;
            }
            match self.extend(script, id, count, cloud) {
                Ok(blocks) => {
                    script.push(Effect::AddBlocks(id, blocks));
                    return Existing::Grew;
                }
                // With discovery on, another ENI may lie in a subnet that has addresses.
                Err(code) if self.spec.settings.subnet_discovery && code.is_insufficient() => {}
                Err(code) => return Existing::Failed(code),
            }
        }
        Existing::Full
    }

    /// Asks for `count`, and if that fails for one.
    fn extend(&mut self, s: &mut Script, id: EniId, count: u16, cloud: &mut dyn Cloud) -> Result<Vec<Block>, Ec2Code> {
        let limit = Ec2Code::PrivateIpAddressLimitExceeded;
        let mut result = self.assign_blocks(s, id, count, cloud);
        if result.as_ref().is_err_and(|code| *code != limit) {
            result = self.assign_blocks(s, id, 1, cloud);
        }
        match result {
            Err(code) if code == limit => self.look_up_blocks(s, id, cloud),
            Err(code) => {
                s.push(Effect::Ipamd(IpamdError::AllocAddresses));
                Err(code)
            }
            Ok(blocks) => Ok(blocks),
        }
    }

    fn assign_blocks(
        &mut self,
        script: &mut Script,
        id: EniId,
        count: u16,
        cloud: &mut dyn Cloud,
    ) -> Result<Vec<Block>, Ec2Code> {
        self.call(script, Ec2Operation::AssignPrivateIpAddresses, cloud, |node, cloud| {
            let slots = node.spec.limits.slots() as usize;
            let mode = node.mode;
            let eni = node.instance.eni_mut(id).ok_or(Ec2Code::InvalidNetworkInterfaceIdNotFound)?;
            if eni.used_slots() + usize::from(count) > slots {
                return Err(Ec2Code::PrivateIpAddressLimitExceeded);
            }
            let blocks = take_blocks(mode, eni.subnet, count, cloud)?;
            eni.add_all(&blocks);
            Ok(blocks)
        })
    }

    /// EC2 says the ENI is full: take over what it has.
    fn look_up_blocks(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) -> Result<Vec<Block>, Ec2Code> {
        let failed = Effect::Ipamd(IpamdError::GetEniAddresses);
        if let Err(code) = self.plain_call(s, Ec2Operation::DescribeNetworkInterfaces, cloud) {
            s.push(failed);
            return Err(code);
        }
        let prefix = self.mode == Mode::Prefix;
        let of_mode = |block: &Block| matches!(block, Block::Prefix(_)) == prefix;
        let blocks: Vec<_> = self.instance.eni(id).into_iter().flat_map(AttachedEni::blocks).filter(of_mode).collect();
        if blocks.is_empty() {
            s.push(if prefix { Effect::Ipamd(IpamdError::GetEniPrefixes) } else { failed });
        }
        Ok(blocks)
    }

    /// Creates, attaches and sets up one ENI.
    fn add_eni(&mut self, script: &mut Script, stats: &Stats, cloud: &mut dyn Cloud) {
        let targets = self.targets();
        let count = match self.mode {
            Mode::Prefix => targets.prefixes_wanted(stats).min(targets.slots),
            _ => targets.addresses_wanted(stats, 0),
        };
        let Some(count) = u16::try_from(count).ok().filter(|count| *count > 0) else { return };
        // No ENIConfig: the agent gives up without counting anything.
        if self.spec.settings.custom_networking && self.spec.eni_config.is_none() {
            return;
        }
        let created = self.create_eni(script, count, cloud);
        match created.and_then(|eni| self.attach_new(script, eni, cloud)) {
            Ok(id) => self.adopt_new(script, id, cloud),
            Err(code) => {
                script.push(Effect::Ipamd(IpamdError::AllocEni));
                if code.is_some_and(Ec2Code::is_insufficient) {
                    script.push(Effect::Ipamd(IpamdError::AllocAddresses));
                    script.push(Effect::Insufficient);
                }
            }
        }
    }

    /// Subnets to try, best first; an error where the agent cannot find out.
    fn candidate_subnets(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> Result<Vec<SubnetId>, Option<Ec2Code>> {
        if self.spec.settings.custom_networking {
            return Ok(self.spec.eni_config.into_iter().collect());
        }
        let primary = self.spec.subnet;
        let mut listed = self.plain_call(s, Ec2Operation::DescribeSubnets, cloud);
        if !self.spec.settings.subnet_discovery {
            let excluded = listed.is_ok() && is_excluded(primary, cloud);
            return if excluded { Err(None) } else { Ok(vec![primary]) };
        }
        let fallback = listed.is_err();
        if fallback {
            listed = self.plain_call(s, Ec2Operation::DescribeSubnets, cloud);
            listed.map_err(Some)?;
            return if is_excluded(primary, cloud) { Err(None) } else { Ok(vec![primary]) };
        }
        let mut views = cloud.subnets();
        views.sort_by_key(|view| std::cmp::Reverse(view.free_addresses));
        let valid = views.iter().filter(|view| match view.role {
            SubnetRole::Off => false,
            SubnetRole::Untagged => view.id == primary,
            SubnetRole::On => view.cluster_fits,
        });
        Ok(valid.map(|view| view.id).collect())
    }

    fn create_eni(
        &mut self,
        s: &mut Script,
        count: u16,
        cloud: &mut dyn Cloud,
    ) -> Result<AttachedEni, Option<Ec2Code>> {
        let mut last = None;
        for subnet in self.candidate_subnets(s, cloud)? {
            let created = self.call(s, Ec2Operation::CreateNetworkInterface, cloud, |node, cloud| {
                let primary = cloud.take_addresses(subnet, 1)?;
                let primary = primary.first().copied().ok_or(Ec2Code::InsufficientFreeAddressesInSubnet)?;
                let blocks = take_blocks(node.mode, subnet, count, cloud)
                    .inspect_err(|_| cloud.give_back(subnet, Block::Address(primary)))?;
                let mut eni = AttachedEni::new(drawn_id(&mut node.chooser.random), 0, subnet, primary);
                eni.tagged = true;
                eni.add_all(&blocks);
                Ok(eni)
            });
            match created {
                Ok(eni) => return Ok(eni),
                Err(code) => last = Some(code),
            }
        }
        Err(last)
    }

    /// Attaches a created ENI; `Ok(None)` is the ENI that never was: the agent cleaned up after a failed modify and
    /// forgot that it did.
    fn attach_new(
        &mut self,
        s: &mut Script,
        mut eni: AttachedEni,
        cloud: &mut dyn Cloud,
    ) -> Result<Option<EniId>, Option<Ec2Code>> {
        let id = eni.id;
        let device = self.plain_call(s, Ec2Operation::DescribeInstances, cloud);
        let attached = device.and_then(|()| {
            self.call(s, Ec2Operation::AttachNetworkInterface, cloud, |node, _| node.check_attachments())
        });
        if let Err(code) = attached {
            if self.delete_eni(s, eni, false, cloud).is_err() && code.is_api_error() {
                let text = self.error_text(Ec2Operation::AttachNetworkInterface, code);
                s.push(Effect::Utils(UtilsError::AllocEniDelete, text));
            }
            return Err(Some(code));
        }
        eni.device = self.instance.free_device();
        self.instance.attach(eni);
        let Err(code) = self.plain_call(s, Ec2Operation::ModifyNetworkInterfaceAttribute, cloud) else {
            return Ok(Some(id));
        };
        if let Err(cleanup) = self.free_eni(s, id, cloud) {
            if cleanup.is_api_error() {
                let text = self.error_text(Ec2Operation::ModifyNetworkInterfaceAttribute, code);
                s.push(Effect::Utils(UtilsError::CleanUpAfterModify, text));
            }
            return Err(Some(code));
        }
        Ok(None)
    }

    /// Waits for the ENI in IMDS and takes it into the store.
    fn adopt_new(&mut self, script: &mut Script, id: Option<EniId>, cloud: &mut dyn Cloud) {
        let seen = id.filter(|_| !cloud.imds_fault(ImdsRead::Macs, script.at_ms));
        let ms = if seen.is_some() { self.chooser.random.between(900, 2_300) } else { FUTILE_WAIT_MS };
        script.at_ms += ms;
        script.push(Effect::Waited { ms: u32::try_from(ms).unwrap_or(u32::MAX), seen: seen.is_some() });
        let Some(id) = seen else {
            script.push(Effect::Ipamd(IpamdError::WaitAttached));
            return;
        };
        if self.set_up_eni(script, id, cloud).is_err() {
            script.push(Effect::Ipamd(IpamdError::SetUpEni));
            return;
        }
        script.push(Effect::Acted);
    }

    /// Takes an attached ENI into the store with all it has. With discovery on, `DescribeSubnets` must work first: the
    /// ENI is in the store by then, its addresses are not.
    pub(super) fn set_up_eni(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        let Some(eni) = self.instance.eni(id) else { return Err(Ec2Code::InvalidNetworkInterfaceIdNotFound) };
        let (subnet, kind, primary) = (eni.subnet, eni.kind, eni.device == 0);
        s.push(Effect::AddEni(Box::new(PoolEni::new(id, s.at_ms, kind, primary, subnet))));
        if self.spec.settings.subnet_discovery {
            self.plain_call(s, Ec2Operation::DescribeSubnets, cloud)?;
            if is_excluded(subnet, cloud) {
                s.push(Effect::Exclude(id));
            }
        }
        if self.mode == Mode::Ipv6 {
            return self.set_up_ipv6(s, id, cloud);
        }
        let readable = self.imds(s, ImdsRead::LocalAddresses, cloud);
        let blocks: Vec<_> = self.instance.eni(id).into_iter().flat_map(AttachedEni::blocks).collect();
        if readable && kind.serves_pods() {
            s.push(Effect::AddBlocks(id, blocks));
        }
        Ok(())
    }

    /// An IPv6 ENI works with its first /80, asking for one if it has none.
    fn set_up_ipv6(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        self.plain_call(s, Ec2Operation::DescribeNetworkInterfaces, cloud)?;
        let held = self.instance.eni(id).and_then(|eni| eni.ipv6_prefixes.first().copied());
        let base = match held {
            Some(base) => base,
            None => self.call(s, Ec2Operation::AssignIpv6Addresses, cloud, |node, cloud| {
                let eni = node.instance.eni_mut(id).ok_or(Ec2Code::InvalidNetworkInterfaceIdNotFound)?;
                let base = cloud.take_ipv6_prefix(eni.subnet)?;
                eni.add(Block::Ipv6Prefix(base));
                Ok(base)
            })?,
        };
        s.push(Effect::AddBlocks(id, vec![Block::Ipv6Prefix(base)]));
        Ok(())
    }

    /// Deletes an ENI that is not attached (any more); a delete right after a detach may find it still in use.
    pub(super) fn delete_eni(
        &mut self,
        s: &mut Script,
        eni: AttachedEni,
        just_detached: bool,
        cloud: &mut dyn Cloud,
    ) -> Result<(), Ec2Code> {
        let lag = if just_detached && self.spec.deletes_lag { self.chooser.random.index(4) } else { 0 };
        let retry = Retry { tries: 12, first_ms: 500, limit_ms: 60_000, jitter_percent: 15 };
        let deleted = self.retried(s, Ec2Operation::DeleteNetworkInterface, retry, cloud, |attempt| {
            if usize::from(attempt) < lag { Err(Ec2Code::InvalidParameterValue) } else { Ok(()) }
        });
        match deleted {
            Err(code) if code != Ec2Code::InvalidNetworkInterfaceIdNotFound => {
                self.leaked.push(shrink::leaked(eni, s.at_ms));
                Err(code)
            }
            _ => {
                eni.give_back(cloud);
                Ok(())
            }
        }
    }
}

fn take_blocks(mode: Mode, subnet: SubnetId, count: u16, cloud: &mut dyn Cloud) -> Result<Vec<Block>, Ec2Code> {
    if mode == Mode::Prefix {
        Ok(cloud.take_prefixes(subnet, count)?.into_iter().map(Block::Prefix).collect())
    } else {
        Ok(cloud.take_addresses(subnet, count)?.into_iter().map(Block::Address).collect())
    }
}

/// An existing ENI in this subnet must not serve pods. A subnet that is not listed is not excluded.
pub(super) fn is_excluded(subnet: SubnetId, cloud: &dyn Cloud) -> bool {
    cloud.subnets().iter().filter(|view| view.id == subnet).any(|view| match view.role {
        SubnetRole::Off => true,
        SubnetRole::Untagged => false,
        SubnetRole::On => !view.cluster_fits,
    })
}
