//! What the answers have named so far: a core may hold nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipamd_core::block::Block;
use ipamd_core::id::EniId;
use ipamd_core::input::{Ec2Eni, Ec2Reply, ImdsEni, ImdsReply, Input, StoreReply};
use ipamd_core::store::Pool;

/// ENIs and CIDRs that were named.
#[derive(Debug, Default)]
pub(super) struct Seen {
    enis: BTreeSet<EniId>,
    blocks: BTreeSet<Block>,
    /// Entries of the largest checkpoint.
    restored: usize,
}

impl Seen {
    pub(super) fn note(&mut self, input: &Input<u64>) {
        match input {
            Input::Ec2(answer) => match &answer.result {
                Ok(Ec2Reply::Enis { found, .. }) => found.iter().for_each(|eni| self.described(eni)),
                Ok(Ec2Reply::Created(eni)) => self.described(eni),
                Ok(Ec2Reply::Assigned { ipv4, ipv4_prefixes, ipv6_prefixes }) => {
                    self.blocks.extend(ipv4.iter().copied().map(Block::Address));
                    self.blocks.extend(ipv4_prefixes.iter().copied().map(Block::Prefix));
                    self.blocks.extend(ipv6_prefixes.iter().copied().map(Block::Ipv6Prefix));
                }
                _ => {}
            },
            Input::Imds(answer) => {
                if let Ok(ImdsReply::Enis(enis)) = &answer.result {
                    for eni in enis {
                        self.listed(eni);
                    }
                }
            }
            Input::Store(answer) => {
                if let Ok(StoreReply::Checkpoint(entries)) = &answer.result {
                    self.restored = self.restored.max(entries.len());
                }
            }
            _ => {}
        }
    }

    fn described(&mut self, eni: &Ec2Eni) {
        self.enis.insert(eni.id);
        self.blocks.extend(eni.ipv4.iter().chain(&eni.primary).copied().map(Block::Address));
        self.blocks.extend(eni.ipv4_prefixes.iter().copied().map(Block::Prefix));
        self.blocks.extend(eni.ipv6_prefixes.iter().copied().map(Block::Ipv6Prefix));
    }

    fn listed(&mut self, eni: &ImdsEni) {
        self.enis.insert(eni.id);
        self.blocks.extend(eni.ipv4.iter().flatten().copied().map(Block::Address));
        self.blocks.extend(eni.ipv4_prefixes.iter().copied().map(Block::Prefix));
        self.blocks.extend(eni.ipv6_prefixes.iter().copied().map(Block::Ipv6Prefix));
    }

    /// Panics if the pool holds what was never named, or an address twice.
    pub(super) fn check(&self, pool: &Pool<u64>) {
        let (mut enis, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for eni in pool.enis() {
            assert!(self.enis.contains(&eni.id) && enis.insert(eni.id), "{} was never named, or is held twice", eni.id);
            for block in eni.blocks() {
                assert!(self.blocks.contains(&block), "{block:?} was never named");
            }
            assert!(
                eni.freed().count() <= eni.addresses() as usize || eni.addresses() == 0,
                "more were left than exist"
            );
        }
        for address in pool.owners().values() {
            assert!(taken.insert(*address), "{address} has two owners");
            assert!(
                pool.enis().iter().any(|eni| eni.blocks().any(|block| holds(block, *address))),
                "{address} is lost"
            );
        }
        let assigned: u32 = pool.enis().iter().map(ipamd_core::store::PoolEni::assigned).sum();
        assert_eq!(assigned as usize, pool.owners().len(), "addresses in use and their owners");
    }
}

fn holds(block: Block, address: IpAddr) -> bool {
    match (block, address) {
        (Block::Address(held), IpAddr::V4(address)) => held == address,
        (Block::Prefix(base), IpAddr::V4(address)) => u32::from(base) == u32::from(address) & !15,
        (Block::Ipv6Prefix(base), IpAddr::V6(address)) => u128::from(base) >> 48 == u128::from(address) >> 48,
        _ => false,
    }
}
