//! The store: ENIs in the order in which they came, their CIDRs, and the pods that use them.

use std::fmt;
use std::net::IpAddr;

use super::cidr::{Cidr, Freed, Prefix};
use super::clean_up::CleanUps;
use super::decide::Stats;
use crate::block::Block;
use crate::id::{EniId, SubnetId};
use crate::input::EniKind;
use crate::settings::Mode;
use crate::small_map::{SmallMap, make_room};

/// An ENI in the store.
#[derive(Debug, Clone)]
pub struct PoolEni {
    /// Its id.
    pub id: EniId,
    /// When it entered the store.
    pub created_ms: i64,
    /// The instance's first ENI.
    pub primary: bool,
    /// Kind.
    pub kind: EniKind,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its subnet must not serve pods.
    pub excluded: bool,
    pub(super) cidrs: Vec<Cidr>,
    /// IPv4 addresses that pods left, the one that was left first before the others.
    pub(super) freed: Vec<Freed>,
    pub(super) ipv6: Vec<Prefix>,
}

/// Where an address that changed hands lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// Its ENI.
    pub eni: EniId,
    /// Its CIDR.
    pub block: Block,
}

/// A mark that is no part of what a store is.
#[derive(Clone, Default)]
pub(super) struct Changed(bool);

impl Changed {
    pub(super) fn mark(&mut self) {
        self.0 = true;
    }
}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// The pool of one node. `K` names a pod's network attachment.
///
/// The store holds one owner per address of an ENI as long as no two CIDRs of it have an address in common; who adds CIDRs sees to
/// that. CIDRs of several ENIs may.
#[derive(Debug, Clone)]
pub struct Pool<K> {
    pub(super) enis: Vec<PoolEni>,
    pub(super) owners: SmallMap<K, IpAddr>,
    /// Where pods are whose addresses pods of other ENIs use, too.
    pub(super) twice: SmallMap<K, Place>,
    pub(super) cooldown_ms: i64,
    /// CIDRs of excluded ENIs whose last pod left.
    pub(super) clean_ups: CleanUps,
    /// The raw counter behind the gauge of addresses. It is not always the sum of what is here: see [`Self::drop_eni`] and
    /// [`Self::clean_up`].
    pub(super) total: i64,
    /// The raw counter behind the gauge of prefixes, likewise.
    pub(super) prefixes: i64,
    /// The raw counter behind the gauge of assigned addresses: see [`Self::drop_eni`].
    pub(super) assigned: i64,
    /// For [`Self::take_changed`].
    pub(super) changed: Changed,
}

impl PoolEni {
    /// An ENI without pod addresses.
    pub fn new(id: EniId, created_ms: i64, kind: EniKind, primary: bool, subnet: SubnetId) -> Self {
        let (cidrs, freed, ipv6) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, created_ms, primary, kind, subnet, excluded: false, cidrs, freed, ipv6 }
    }

    /// IPv4 CIDRs of both kinds; each takes a slot.
    pub fn slots_used(&self) -> usize {
        self.cidrs.len()
    }

    /// Every CIDR.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        self.cidrs.iter().map(|cidr| cidr.block()).chain(self.ipv6.iter().map(Prefix::block))
    }

    /// Addresses in all IPv4 CIDRs.
    pub fn addresses(&self) -> u32 {
        self.cidrs.iter().map(|cidr| cidr.size()).sum()
    }

    /// Addresses in use by pods.
    pub fn assigned(&self) -> u32 {
        self.assigned_ipv4() + self.ipv6.iter().map(Prefix::assigned).sum::<u32>()
    }

    pub(super) fn assigned_ipv4(&self) -> u32 {
        self.cidrs.iter().map(|cidr| cidr.assigned()).sum()
    }

    fn free_prefixes(&self) -> u32 {
        self.cidrs.iter().map(|cidr| u32::from(cidr.prefix && cidr.used == 0)).sum()
    }

    /// No pod has an IPv4 address of it.
    pub(super) fn is_idle(&self) -> bool {
        self.cidrs.iter().all(|cidr| cidr.used == 0)
    }

    /// Pods in each IPv4 CIDR, in the order of the CIDRs.
    pub fn assigned_per_block(&self) -> impl Iterator<Item = u32> {
        self.cidrs.iter().map(|cidr| cidr.assigned())
    }

    /// Addresses that pods left and that were not given out since, and when, in milliseconds. They rest or have rested.
    pub fn freed(&self) -> impl Iterator<Item = (IpAddr, i64)> {
        let ipv6 = self.ipv6.iter().flat_map(|prefix| {
            let freed = prefix.tracked.iter().filter_map(|(offset, freed)| Some((*offset, (*freed)?)));
            freed.map(|(offset, at_ms)| (prefix.address(offset).into(), at_ms))
        });
        self.freed.iter().map(|freed| (std::net::Ipv4Addr::from(freed.address).into(), freed.at_ms)).chain(ipv6)
    }

    /// Pods in a CIDR; `None` where it is not here.
    pub fn assigned_in(&self, block: Block) -> Option<u32> {
        let ipv4 = self.cidrs.iter().find(|cidr| cidr.block() == block).map(|cidr| cidr.assigned());
        ipv4.or_else(|| self.ipv6.iter().find(|prefix| prefix.block() == block).map(Prefix::assigned))
    }
}

impl<K: Ord + Clone> Pool<K> {
    /// An empty store whose addresses rest that long after use.
    pub fn new(cooldown_ms: i64) -> Self {
        let (enis, owners, clean_ups) = (Vec::new(), SmallMap::new(), CleanUps::new());
        let (total, prefixes, assigned, changed) = (0, 0, 0, Changed::default());
        Self { enis, owners, twice: SmallMap::new(), cooldown_ms, clean_ups, total, prefixes, assigned, changed }
    }

    /// The ENIs, in the order in which they came.
    pub fn enis(&self) -> &[PoolEni] {
        &self.enis
    }

    /// One ENI.
    pub fn eni(&self, id: EniId) -> Option<&PoolEni> {
        self.enis.iter().find(|eni| eni.id == id)
    }

    /// One ENI, to change it.
    pub fn eni_mut(&mut self, id: EniId) -> Option<&mut PoolEni> {
        self.changed.mark();
        self.enis.iter_mut().find(|eni| eni.id == id)
    }

    /// Something may have changed on which the numbers of [`Self::stats`] depend, the time aside, since this was asked last.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed).0
    }

    /// Pods and their addresses.
    pub fn owners(&self) -> &SmallMap<K, IpAddr> {
        &self.owners
    }

    /// The raw counter of addresses: those of IPv4 CIDRs of either kind, and 2^48 for each IPv6 prefix.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// The raw counter of prefixes, of both families.
    pub fn prefixes(&self) -> i64 {
        self.prefixes
    }

    /// The raw counter of addresses that pods have.
    pub fn assigned(&self) -> i64 {
        self.assigned
    }

    /// Addresses still resting at `now_ms`, wherever they are; the bound itself still rests.
    pub fn cooling(&self, now_ms: i64) -> u32 {
        let resting = self.enis.iter().flat_map(PoolEni::freed).filter(|(_, at_ms)| self.rests(*at_ms, now_ms));
        u32::try_from(resting.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn rests(&self, freed_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(freed_ms) <= self.cooldown_ms
    }

    /// Takes an ENI in; nothing happens if it is there.
    pub fn add_eni(&mut self, eni: PoolEni) {
        if self.eni(eni.id).is_none() {
            self.changed.mark();
            self.enis.reserve_exact(1);
            self.enis.push(eni);
        }
    }

    /// Adds a CIDR to an ENI; false if it was there or the ENI is not.
    pub fn add_block(&mut self, id: EniId, block: Block) -> bool {
        let Some(eni) = self.eni_mut(id) else { return false };
        if eni.blocks().any(|known| known == block) {
            return false;
        }
        let (size, prefix) = match block {
            Block::Address(address) => {
                make_room(&mut eni.cidrs);
                eni.cidrs.push(Cidr::new(address, false));
                (1, false)
            }
            Block::Prefix(base) => {
                make_room(&mut eni.cidrs);
                eni.cidrs.push(Cidr::new(base, true));
                (16, true)
            }
            Block::Ipv6Prefix(base) => {
                eni.ipv6.push(Prefix::new(base));
                (Prefix::SIZE, true)
            }
        };
        self.total += size;
        self.prefixes += i64::from(prefix);
        true
    }

    /// Removes a CIDR. A CIDR in use stays unless `force`d; the answer is the number of pods that lost their address.
    pub fn remove_block(&mut self, id: EniId, block: Block, force: bool) -> Option<u32> {
        let used = self.eni(id)?.assigned_in(block)?;
        if used != 0 && !force {
            return None;
        }
        let (size, prefix) = match block {
            Block::Address(_) => (1, false),
            Block::Prefix(_) => (16, true),
            Block::Ipv6Prefix(_) => (Prefix::SIZE, true),
        };
        self.total -= size;
        self.prefixes -= i64::from(prefix);
        let pods = self.cut_off(id, block);
        self.assigned -= i64::from(pods);
        Some(pods)
    }

    /// Takes a CIDR without pods off an ENI without touching the counters, as the clean-up of excluded ENIs does.
    pub fn lose_block(&mut self, id: EniId, block: Block) {
        if self.eni(id).and_then(|eni| eni.assigned_in(block)) == Some(0) {
            self.cut_off(id, block);
        }
    }

    /// Takes a CIDR off an ENI with all that is known of its addresses; the answer is the number of pods that had one.
    fn cut_off(&mut self, id: EniId, block: Block) -> u32 {
        self.changed.mark();
        let Some(eni) = self.enis.iter_mut().find(|eni| eni.id == id) else { return 0 };
        let before = self.owners.len();
        if let Some(index) = eni.cidrs.iter().position(|cidr| cidr.block() == block) {
            let cidr = eni.cidrs.remove(index);
            if cidr.left != 0 {
                eni.freed.retain(|freed| !cidr.contains(freed.address));
            }
            if cidr.used != 0 {
                let twice = &self.twice;
                let here = |key: &K| twice.get(key).is_none_or(|place| place.eni == id);
                self.owners.retain(|key, address| !(is_used_in(cidr, *address) && here(key)));
            }
        } else if let Some(index) = eni.ipv6.iter().position(|prefix| prefix.block() == block) {
            let prefix = eni.ipv6.remove(index);
            self.owners.retain(|_, address| !is_in_prefix(&prefix, *address));
        }
        self.forget_places();
        u32::try_from(before - self.owners.len()).unwrap_or(u32::MAX)
    }

    /// Removes an ENI with all it has; the answer is the number of its IPv4 addresses and of the pods that lost theirs.
    ///
    /// Where pods were on it, the raw counters of addresses and of prefixes are lowered by what it has a second time. IPv6
    /// prefixes and their pods stay in the raw counters. Both is what the original does.
    pub fn drop_eni(&mut self, id: EniId) -> Option<(u32, u32)> {
        let index = self.enis.iter().position(|eni| eni.id == id)?;
        self.changed.mark();
        let eni = self.enis.remove(index);
        let (size, pods) = (eni.addresses(), eni.assigned_ipv4());
        let prefixes = i64::try_from(eni.cidrs.iter().filter(|cidr| cidr.prefix).count()).unwrap_or(i64::MAX);
        let times = if pods > 0 { 2 } else { 1 };
        self.total -= i64::from(size) * times;
        self.prefixes -= prefixes * times;
        self.assigned -= i64::from(pods);
        if eni.assigned() > 0 {
            let twice = &self.twice;
            self.owners.retain(|key, address| {
                let here = twice.get(key).is_none_or(|place| place.eni == id);
                let held = here && eni.cidrs.iter().any(|cidr| is_used_in(*cidr, *address));
                !held && !eni.ipv6.iter().any(|prefix| is_in_prefix(prefix, *address))
            });
            self.forget_places();
        }
        Some((size, pods))
    }

    /// The numbers that decisions are made on.
    pub fn stats(&self, mode: Mode, now_ms: i64) -> Stats {
        let (mut total, mut assigned, mut cooling) = (0, 0, 0);
        for eni in self.enis.iter().filter(|eni| !eni.excluded) {
            for cidr in eni.cidrs.iter().filter(|cidr| cidr.matches(mode)) {
                total += cidr.size();
                // Most have no pod: the agent looks at all of them every few seconds.
                if cidr.used != 0 {
                    assigned += cidr.assigned();
                }
            }
            let of_mode = |freed: &&Freed| freed.prefix == (mode == Mode::Prefix) && mode != Mode::Ipv6;
            let resting = |freed: &&Freed| of_mode(freed) && self.rests(freed.at_ms, now_ms);
            cooling += u32::try_from(eni.freed.iter().filter(resting).count()).unwrap_or(u32::MAX);
        }
        let prefixes = u32::try_from(self.prefixes).unwrap_or(0);
        Stats { total, assigned, cooling, prefixes, free_prefixes: self.free_prefixes() }
    }

    /// IPv4 prefixes without a pod, on every ENI.
    pub fn free_prefixes(&self) -> u32 {
        self.enis.iter().map(PoolEni::free_prefixes).sum()
    }
}

fn is_used_in(cidr: Cidr, address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if cidr.contains(v4.into()) && cidr.used & cidr.bit(v4.into()) != 0)
}

fn is_in_prefix(prefix: &Prefix, address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if prefix.offset(v6).is_some())
}
