//! CIDRs that an answer says an ENI has, on their way into the store.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::memory::{Agent, PodKey};
use crate::block::Block;
use crate::id::EniId;
use crate::input::BadInput;
use crate::metrics::IpamdError;
use crate::store::{Pool, PoolEni, Refused};

/// No ENI is taken to have more CIDRs; the largest number that EC2 publishes for an instance type is 50.
const MOST_BLOCKS: usize = 256;

/// CIDRs of one answer for one ENI, and what each is compared with: finding it takes a time that hardly grows with the store.
#[derive(Debug)]
pub(crate) struct Arrivals {
    eni: EniId,
    /// What the ENI has.
    own: BTreeSet<Block>,
    /// The first addresses of all IPv4 CIDRs of the store, in order; only looked at where something new arrives.
    all: Option<BTreeSet<(u32, Block, EniId)>>,
    /// Something entered the store.
    pub(crate) added: bool,
    /// Entries of `all` that were made or looked at, for tests.
    work: Work,
}

/// A count that only tests keep.
#[derive(Debug, Default)]
struct Work {
    #[cfg(test)]
    entries: usize,
}

impl Work {
    #[cfg(test)]
    fn add(&mut self, entries: usize) {
        self.entries += entries;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only tests count")]
    fn add(&mut self, _: usize) {}
}

/// First and last address of an IPv4 CIDR.
fn range(block: Block) -> Option<(u32, u32)> {
    match block {
        Block::Address(address) => Some((address.into(), address.into())),
        Block::Prefix(base) => Some((u32::from(base), u32::from(base).saturating_add(15))),
        Block::Ipv6Prefix(_) => None,
    }
}

impl Arrivals {
    /// Nothing has arrived yet.
    pub(crate) fn of<K: PodKey>(pool: &Pool<K>, eni: EniId) -> Self {
        let own = pool.eni(eni).into_iter().flat_map(PoolEni::blocks).collect();
        Self { eni, own, all: None, added: false, work: Work::default() }
    }

    /// Another CIDR of the store, or of the ENI alone, that has an address in common with this one: whose it is.
    fn holder<K: PodKey>(&mut self, pool: &Pool<K>, block: Block, alone: bool) -> Option<EniId> {
        let (own, (first, last)) = (self.eni, range(block)?);
        let Self { all, work, .. } = self;
        let all = all.get_or_insert_with(|| {
            let of = |eni: &PoolEni| {
                let id = eni.id;
                let starts = eni.blocks().filter_map(move |block| Some((range(block)?.0, block, id)));
                starts.collect::<Vec<_>>()
            };
            let made: BTreeSet<_> = pool.enis().iter().flat_map(of).collect();
            work.add(made.len());
            made
        });
        // No CIDR has more than 16 addresses: one that reaches this far begins here.
        let lowest = (first.saturating_sub(15), Block::Address(Ipv4Addr::UNSPECIFIED), EniId::from_bits(0));
        let near = all.range(lowest..).take_while(|(start, ..)| *start <= last);
        let reaches = |known: Block| range(known).is_some_and(|(_, end)| end >= first);
        near.inspect(|_| work.add(1))
            .filter(|(.., eni)| !alone || *eni == own)
            .filter(|(_, known, eni)| reaches(*known) && (*known, *eni) != (block, own))
            .map(|(.., eni)| *eni)
            .next()
    }

    fn add(&mut self, block: Block) {
        self.own.insert(block);
        self.added = true;
        if let (Some(all), Some((first, _))) = (&mut self.all, range(block)) {
            all.insert((first, block, self.eni));
        }
    }
}

impl<K: PodKey> Agent<K> {
    /// Adds CIDRs to an ENI of the store, but for those that it has.
    pub(crate) fn take_blocks_in(&mut self, eni: EniId, blocks: impl IntoIterator<Item = Block>) {
        let mut arrivals = Arrivals::of(&self.pool, eni);
        for block in blocks {
            self.take_block_in(&mut arrivals, block);
        }
        // The ENI may be new, with nothing on it.
        self.file_changed();
        self.arrived(&arrivals);
    }

    /// Adds a CIDR to the store, if it is not there; false where it is refused. [`Self::arrived`] follows before a pod may get an
    /// address.
    pub(crate) fn take_block_in(&mut self, arrivals: &mut Arrivals, block: Block) -> bool {
        let eni = arrivals.eni;
        if !arrivals.own.contains(&block) {
            if let Some((bad, refused)) = self.find_fault(arrivals, block) {
                self.bad.add(bad);
                if refused {
                    return false;
                }
            }
            match self.ledger().add_block(eni, block) {
                Ok(()) => arrivals.add(block),
                Err(Refused::DuplicateCidr) => {}
                Err(_) => self.metrics.ipamd_error(match block {
                    Block::Address(_) => IpamdError::AddIpsToStore,
                    Block::Prefix(_) => IpamdError::AddPrefixesToStore,
                    Block::Ipv6Prefix(_) => IpamdError::AddIpv6PrefixesToStore,
                }),
            }
        }
        true
    }

    /// Careful: the second file is to be written, and what is in use must not be given out of the new CIDRs.
    pub(crate) fn arrived(&mut self, arrivals: &Arrivals) {
        if arrivals.added && self.is_careful() {
            self.file_changed();
            self.keep_traces();
        }
    }

    /// What is wrong with a CIDR that is new to an ENI, and whether it is refused for it.
    fn find_fault(&self, arrivals: &mut Arrivals, block: Block) -> Option<(BadInput, bool)> {
        let eni = arrivals.eni;
        if let Block::Prefix(base) = block
            && u32::from(base) % 16 != 0
        {
            return Some((BadInput::PrefixBase(base), true));
        }
        // Careful: no ENI has more than its type can have. The original takes what is shown; ours ends at what no type has.
        let limit = self.facts.limits.map_or(MOST_BLOCKS, |limits| limits.slots() as usize).min(MOST_BLOCKS);
        let most = if self.is_careful() { limit } else { MOST_BLOCKS };
        let found = arrivals.own.len().saturating_add(1);
        if found > most {
            return Some((BadInput::TooMany { eni, found, limit: most }, true));
        }
        let (Block::Address(address) | Block::Prefix(address)) = block else { return None };
        // The original takes a CIDR that another ENI has, too.
        if let Some(first) = arrivals.holder(&self.pool, block, !self.is_careful()) {
            return Some((BadInput::DoubleAddress { address, first, second: eni }, true));
        }
        if found > limit {
            return Some((BadInput::TooMany { eni, found, limit }, false));
        }
        // Careful: it is taken once the VPC is known to have it. The original does not look.
        self.is_outside_vpc(address).then(|| (BadInput::OutsideVpc { address, eni }, self.is_careful()))
    }

    /// No CIDR of the VPC has the address; false where they are not known.
    fn is_outside_vpc(&self, address: Ipv4Addr) -> bool {
        let cidrs = &self.facts.vpc_cidrs;
        !cidrs.is_empty() && !cidrs.iter().any(|cidr| contains(cidr, address).unwrap_or(true))
    }
}

/// The CIDR has the address; `None` where the text is no IPv4 CIDR.
fn contains(cidr: &str, address: Ipv4Addr) -> Option<bool> {
    let (base, bits) = cidr.split_once('/')?;
    let (base, bits): (Ipv4Addr, u32) = (base.parse().ok()?, bits.parse().ok().filter(|bits| *bits <= 32)?);
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Some(u32::from(base) & mask == u32::from(address) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_has_its_addresses() {
        let has = |cidr, address: [u8; 4]| contains(cidr, address.into());
        assert_eq!(has("10.1.0.0/16", [10, 1, 255, 255]), Some(true));
        assert_eq!(has("10.1.0.0/16", [10, 2, 0, 0]), Some(false));
        assert_eq!(has("10.1.0.7/32", [10, 1, 0, 8]), Some(false));
        assert_eq!(has("0.0.0.0/0", [1, 2, 3, 4]), Some(true));
        for bad in ["", "10.0.0.0", "10.0.0/8", "10.0.0.0/33", "fd00::/8"] {
            assert_eq!(has(bad, [10, 0, 0, 1]), None, "{bad}");
        }
    }

    #[test]
    fn overlaps_are_found_wherever_they_lie() {
        let mut pool: Pool<u64> = Pool::new(0);
        let [one, two] = [1, 2].map(EniId::from_bits);
        for eni in [one, two] {
            let subnet = crate::id::SubnetId::from_bits(1);
            pool.add_eni(PoolEni::new(eni, 0, crate::input::EniKind::Interface, eni == one, subnet));
        }
        let [address, prefix] = [Block::Address as fn(Ipv4Addr) -> Block, Block::Prefix];
        let at = |last: u8| Ipv4Addr::new(10, 0, 0, last);
        assert!(pool.add_block(one, prefix(at(32))) && pool.add_block(two, address(at(70))));
        let mut arrivals = Arrivals::of(&pool, two);
        for (block, holder) in [
            (address(at(31)), None),
            (address(at(32)), Some(one)),
            (address(at(47)), Some(one)),
            (address(at(48)), None),
            (prefix(at(16)), None),
            (prefix(at(32)), Some(one)),
            (prefix(at(64)), Some(two)),
            (prefix(at(80)), None),
            (address(at(70)), None),
            (address(Ipv4Addr::BROADCAST), None),
            (prefix(Ipv4Addr::UNSPECIFIED), None),
        ] {
            assert_eq!(arrivals.holder(&pool, block, false), holder, "{block:?}");
            assert_eq!(arrivals.holder(&pool, block, true), holder.filter(|eni| *eni == two), "{block:?}");
        }
        arrivals.add(address(at(48)));
        assert_eq!(arrivals.holder(&pool, prefix(at(48)), true), Some(two));
    }

    /// However many CIDRs the store has, each that arrives is compared with those near it.
    #[test]
    fn an_arrival_is_compared_with_what_is_near_it_alone() {
        for enis in [4_u8, 16, 64] {
            let mut pool: Pool<u64> = Pool::new(0);
            for eni in 0..enis {
                let (id, subnet) = (EniId::from_bits(u128::from(eni)), crate::id::SubnetId::from_bits(1));
                pool.add_eni(PoolEni::new(id, 0, crate::input::EniKind::Interface, eni == 0, subnet));
                for last in 0..200 {
                    pool.add_block(id, Block::Address(Ipv4Addr::new(10, 0, eni, last)));
                }
            }
            let (stored, arriving) = (200 * usize::from(enis), 200_usize);
            let mut arrivals = Arrivals::of(&pool, EniId::from_bits(1));
            for last in 0..200 {
                // Between the addresses of two ENIs, beside many of one.
                let block = Block::Address(Ipv4Addr::new(10, 0, if last % 2 == 0 { 1 } else { 200 }, 50 + last));
                assert_eq!(arrivals.holder(&pool, block, false), None, "{block:?}");
                arrivals.add(block);
            }
            let work = arrivals.work.entries;
            assert!(work >= stored && work <= stored + 16 * arriving, "{work} entries for {stored} and {arriving}");
        }
    }
}
