//! The store: ENIs in the order in which they came, their CIDRs, and the pods that use them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::decide::Stats;
use super::ipv6_prefix::Prefix;
use crate::block::Block;
use crate::id::{EniId, SubnetId};
use crate::input::EniKind;
use crate::settings::Mode;
use cni_types::random::Random;

/// Which free address a pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Fill ENIs and CIDRs in order, as the documentation's tables assume.
    FirstFit,
    /// Seeded random order, as Go's maps give.
    #[default]
    Random,
}

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
    pub(super) ipv6: Option<Box<Prefix>>,
}

/// An address, or a /28 with a bit per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) base: u32,
    pub(super) prefix: bool,
    pub(super) used: u16,
}

/// When a pod left an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freed {
    pub(super) address: u32,
    pub(super) at_ms: i64,
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

/// The pool of one node. `K` names a pod's network attachment.
#[derive(Debug, Clone)]
pub struct Pool<K> {
    pub(super) enis: Vec<PoolEni>,
    pub(super) owners: BTreeMap<K, IpAddr>,
    pub(super) freed: Vec<Freed>,
    pub(super) cooldown_ms: i64,
    /// The raw counter behind the total gauge: it is not always the sum of what is here, see [`Self::drop_eni`].
    pub(super) total: i64,
    pub(super) prefixes: i64,
}

impl PoolEni {
    /// An ENI without pod addresses.
    pub fn new(id: EniId, created_ms: i64, kind: EniKind, primary: bool, subnet: SubnetId) -> Self {
        Self { id, created_ms, primary, kind, subnet, excluded: false, cidrs: Vec::new(), ipv6: None }
    }

    /// CIDRs of both kinds; each takes a slot.
    pub fn slots_used(&self) -> usize {
        self.cidrs.len()
    }

    /// Every CIDR.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        self.cidrs.iter().map(|cidr| cidr.block()).chain(self.ipv6.iter().map(|prefix| Block::Ipv6Prefix(prefix.base)))
    }

    /// Addresses in all CIDRs.
    pub fn addresses(&self) -> u32 {
        self.cidrs.iter().map(|cidr| cidr.size()).sum()
    }

    /// Addresses in use by pods.
    pub fn assigned(&self) -> u32 {
        let ipv6 = self.ipv6.as_ref().map_or(0, |prefix| prefix.assigned());
        self.cidrs.iter().map(|cidr| cidr.assigned()).sum::<u32>() + ipv6
    }

    /// Pods in each CIDR, in the order of the CIDRs.
    pub fn assigned_per_block(&self) -> impl Iterator<Item = u32> {
        self.cidrs.iter().map(|cidr| cidr.assigned())
    }
}

impl Cidr {
    pub(super) fn block(self) -> Block {
        let base = Ipv4Addr::from(self.base);
        if self.prefix { Block::Prefix(base) } else { Block::Address(base) }
    }

    pub(super) fn size(self) -> u32 {
        if self.prefix { 16 } else { 1 }
    }

    fn assigned(self) -> u32 {
        self.used.count_ones()
    }

    fn contains(self, address: u32) -> bool {
        address.checked_sub(self.base).is_some_and(|offset| offset < self.size())
    }

    fn bit(self, address: u32) -> u16 {
        1 << (address.wrapping_sub(self.base) % 16)
    }

    fn matches(self, mode: Mode) -> bool {
        self.prefix == (mode == Mode::Prefix)
    }
}

impl<K: Ord + Clone> Pool<K> {
    /// An empty store whose addresses rest that long after use.
    pub fn new(cooldown_ms: i64) -> Self {
        Self { enis: Vec::new(), owners: BTreeMap::new(), freed: Vec::new(), cooldown_ms, total: 0, prefixes: 0 }
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
        self.enis.iter_mut().find(|eni| eni.id == id)
    }

    /// Pods and their addresses.
    pub fn owners(&self) -> &BTreeMap<K, IpAddr> {
        &self.owners
    }

    /// The raw total: addresses of IPv4 CIDRs of either kind, or in IPv6 the number of /80 prefixes.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// IPv4 prefixes.
    pub fn prefixes(&self) -> i64 {
        self.prefixes
    }

    /// Pods with an address.
    pub fn assigned(&self) -> i64 {
        i64::try_from(self.owners.len()).unwrap_or(i64::MAX)
    }

    /// Addresses still resting at `now_ms`; the bound itself still rests.
    pub fn cooling(&self, now_ms: i64) -> u32 {
        self.freed.iter().map(|freed| u32::from(self.rests(freed, now_ms))).sum()
    }

    pub(super) fn rests(&self, freed: &Freed, now_ms: i64) -> bool {
        now_ms - freed.at_ms <= self.cooldown_ms
    }

    /// Takes an ENI in; nothing happens if it is there.
    pub fn add_eni(&mut self, eni: PoolEni) {
        if self.eni(eni.id).is_none() {
            self.enis.push(eni);
        }
    }

    /// Adds a CIDR to an ENI; false if it was there or the ENI is not.
    pub fn add_block(&mut self, id: EniId, block: Block) -> bool {
        let Some(eni) = self.eni_mut(id) else { return false };
        if eni.blocks().any(|known| known == block) {
            return false;
        }
        let (base, prefix) = match block {
            Block::Address(address) => (address, false),
            Block::Prefix(base) => (base, true),
            Block::Ipv6Prefix(base) => {
                eni.ipv6 = Some(Box::new(Prefix::new(base)));
                self.total += 1;
                return true;
            }
        };
        let cidr = Cidr { base: base.into(), prefix, used: 0 };
        eni.cidrs.push(cidr);
        self.total += i64::from(cidr.size());
        self.prefixes += i64::from(prefix);
        true
    }

    /// Removes an IPv4 CIDR. A CIDR in use stays unless `force`d; the answer is the number of pods that lost their
    /// address.
    pub fn remove_block(&mut self, id: EniId, block: Block, force: bool) -> Option<u32> {
        let eni = self.enis.iter_mut().find(|eni| eni.id == id)?;
        let index = eni.cidrs.iter().position(|cidr| cidr.block() == block)?;
        let cidr = *eni.cidrs.get(index)?;
        if cidr.used != 0 && !force {
            return None;
        }
        eni.cidrs.remove(index);
        self.total -= i64::from(cidr.size());
        self.prefixes -= i64::from(cidr.prefix);
        Some(self.evict(cidr))
    }

    /// Takes a CIDR off an ENI's map without touching the counters, as the clean-up of excluded ENIs does.
    pub fn lose_block(&mut self, id: EniId, block: Block) {
        if let Some(eni) = self.eni_mut(id) {
            eni.cidrs.retain(|cidr| cidr.block() != block || cidr.used != 0);
        }
    }

    fn evict(&mut self, cidr: Cidr) -> u32 {
        let inside = |address: &IpAddr| matches!(address, IpAddr::V4(v4) if cidr.contains(u32::from(*v4)));
        let before = self.owners.len();
        self.owners.retain(|_, address| !inside(address));
        self.freed.retain(|freed| !cidr.contains(freed.address));
        u32::try_from(before - self.owners.len()).unwrap_or(u32::MAX)
    }

    /// Removes an ENI with all it has; the answer is its size and the number of pods that lost their address.
    ///
    /// Where pods were on it the raw total is lowered by the ENI's size a second time: that is what the agent does, and
    /// its total gauge is wrong from the next change of a CIDR on.
    pub fn drop_eni(&mut self, id: EniId) -> Option<(u32, u32)> {
        let index = self.enis.iter().position(|eni| eni.id == id)?;
        let eni = self.enis.remove(index);
        let (mut size, mut pods) = (0, 0);
        for cidr in &eni.cidrs {
            size += cidr.size();
            self.prefixes -= i64::from(cidr.prefix);
            pods += self.evict(*cidr);
        }
        self.total -= i64::from(size) * if pods > 0 { 2 } else { 1 };
        Some((size, pods))
    }

    /// The numbers that decisions are made on.
    pub fn stats(&self, mode: Mode, now_ms: i64) -> Stats {
        let usable = self.enis.iter().filter(|eni| !eni.excluded).flat_map(|eni| &eni.cidrs);
        let (mut total, mut assigned) = (0, 0);
        for cidr in usable.filter(|cidr| cidr.matches(mode)) {
            total += cidr.size();
            assigned += cidr.assigned();
        }
        let prefixes = u32::try_from(self.prefixes).unwrap_or(0);
        Stats { total, assigned, cooling: self.cooling(now_ms), prefixes, free_prefixes: self.free_prefixes() }
    }

    /// Prefixes without a pod, on every ENI.
    pub fn free_prefixes(&self) -> u32 {
        let free = |cidr: &&Cidr| cidr.prefix && cidr.used == 0;
        u32::try_from(self.enis.iter().flat_map(|eni| &eni.cidrs).filter(free).count()).unwrap_or(u32::MAX)
    }

    /// Gives a pod an address, the one it has if it has one.
    pub fn assign(&mut self, key: K, how: (Mode, Placement), now_ms: i64, random: &mut Random) -> Option<Place> {
        let (mode, placement) = how;
        if mode == Mode::Ipv6 {
            return self.assign_ipv6(key, now_ms);
        }
        let (eni, cidr) = self.choose(mode, placement, now_ms, random)?;
        let address = self.take_address(cidr, now_ms)?;
        let eni = self.enis.get_mut(eni)?;
        let cidr = eni.cidrs.iter_mut().find(|known| known.base == cidr.base && known.prefix == cidr.prefix)?;
        cidr.used |= cidr.bit(address);
        let place = Place { address: Ipv4Addr::from(address).into(), eni: eni.id, block: cidr.block() };
        self.owners.insert(key, place.address);
        Some(place)
    }

    fn choose(&self, mode: Mode, placement: Placement, now_ms: i64, random: &mut Random) -> Option<(usize, Cidr)> {
        let usable = |eni: &PoolEni| -> Vec<Cidr> {
            let cidrs = eni.cidrs.iter().filter(|cidr| cidr.matches(mode) && self.has_usable(**cidr, now_ms));
            cidrs.copied().collect()
        };
        let mut candidates =
            self.enis.iter().enumerate().filter(|(_, eni)| !eni.excluded).filter_map(|(index, eni)| {
                let cidrs = usable(eni);
                (!cidrs.is_empty()).then_some((index, cidrs))
            });
        match placement {
            Placement::FirstFit => candidates.next().and_then(|(index, cidrs)| Some((index, *cidrs.first()?))),
            Placement::Random => {
                let candidates: Vec<_> = candidates.collect();
                let (index, cidrs) = candidates.get(random.index(candidates.len()))?;
                Some((*index, *cidrs.get(random.index(cidrs.len()))?))
            }
        }
    }

    fn has_usable(&self, cidr: Cidr, now_ms: i64) -> bool {
        let resting = self.freed.iter().filter(|freed| cidr.contains(freed.address) && self.rests(freed, now_ms));
        cidr.assigned() + u32::try_from(resting.count()).unwrap_or(u32::MAX) < cidr.size()
    }

    /// An address used before and rested, else the lowest never used.
    fn take_address(&mut self, cidr: Cidr, now_ms: i64) -> Option<u32> {
        let rested = |pool: &Self, freed: &Freed| cidr.contains(freed.address) && !pool.rests(freed, now_ms);
        if let Some(address) = self.freed.iter().find(|freed| rested(self, freed)).map(|freed| freed.address) {
            let cooldown_ms = self.cooldown_ms;
            self.freed.retain(|freed| !cidr.contains(freed.address) || now_ms - freed.at_ms <= cooldown_ms);
            return Some(address);
        }
        let tracked = |address: u32| self.freed.iter().any(|freed| freed.address == address);
        (cidr.base..cidr.base + cidr.size()).find(|address| cidr.used & cidr.bit(*address) == 0 && !tracked(*address))
    }

    /// Takes a pod's address away; it rests from `now_ms` on.
    pub fn unassign(&mut self, key: &K, now_ms: i64) -> Option<Place> {
        let address = self.owners.remove(key)?;
        let place = self.mark(address, false)?;
        if let IpAddr::V4(v4) = address {
            self.freed.push(Freed { address: v4.into(), at_ms: now_ms });
        } else {
            self.rest_ipv6(address, now_ms);
        }
        Some(place)
    }

    /// Takes a checkpointed allocation over; `None` if no CIDR here holds the address.
    pub fn recover(&mut self, key: K, address: IpAddr) -> Option<Place> {
        let place = self.mark(address, true)?;
        self.owners.insert(key, address);
        Some(place)
    }

    fn mark(&mut self, address: IpAddr, used: bool) -> Option<Place> {
        let IpAddr::V4(v4) = address else { return self.mark_ipv6(address, used) };
        let wanted = u32::from(v4);
        for eni in &mut self.enis {
            if let Some(cidr) = eni.cidrs.iter_mut().find(|cidr| cidr.contains(wanted)) {
                let bit = cidr.bit(wanted);
                cidr.used = if used { cidr.used | bit } else { cidr.used & !bit };
                return Some(Place { address, eni: eni.id, block: cidr.block() });
            }
        }
        None
    }
}
