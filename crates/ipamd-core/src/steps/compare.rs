//! Comparing one ENI of the store with the metadata service, and with EC2 where the two disagree: secondary addresses and
//! prefixes apart, each with a call and an end of its own.

use std::collections::BTreeSet;

use crate::agent::arrivals::Arrivals;
use crate::agent::cx::Cx;
use crate::agent::ledger::blocks_of;
use crate::agent::memory::PodKey;
use crate::agent::operations::Count;
use crate::agent::released::SinceRelease;
use crate::agent::trouble::Trouble;
use crate::agent::wake::{Flow, Wake};
use crate::block::Block;
use crate::id::EniId;
use crate::input::{Ec2Eni, ImdsEni};
use crate::metrics::Reconcile;
use crate::output::Ec2Call;
use crate::store::PoolEni;

/// Which CIDRs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// Secondary addresses.
    Addresses,
    /// Prefixes.
    Prefixes,
}

impl Half {
    fn has(self, block: Block) -> bool {
        matches!((self, block), (Self::Addresses, Block::Address(_)) | (Self::Prefixes, Block::Prefix(_)))
    }

    fn described(self, eni: Ec2Eni) -> Vec<Block> {
        match self {
            Self::Addresses => eni.ipv4.into_iter().map(Block::Address).collect(),
            Self::Prefixes => eni.ipv4_prefixes.into_iter().map(Block::Prefix).collect(),
        }
    }
}

/// The step: EC2 describes the ENI.
#[derive(Debug)]
pub(crate) struct Comparing {
    eni: EniId,
    half: Half,
    /// What the store had at the begin.
    stored: Vec<Block>,
    /// What the ENI has, as far as is known.
    listed: Vec<Block>,
    /// How many of these are done.
    done: usize,
    seen: Vec<Block>,
    /// What is listed may be old.
    doubtful: bool,
    verified: Option<Vec<Block>>,
    asks: Ask,
    /// When EC2 was asked.
    asked_ms: i64,
}

/// Why EC2 is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The metadata service and the store disagree: EC2 is believed.
    Mismatch,
    /// A CIDR that was released more than a minute ago is listed.
    Verify,
}

type End = Flow<Comparing, ()>;

/// What the store has of one kind on an ENI.
pub(crate) fn stored<K: PodKey>(cx: &Cx<'_, K>, eni: EniId, half: Half) -> Vec<Block> {
    let mut stored = Vec::with_capacity(blocks(cx, eni, half).count());
    stored.extend(blocks(cx, eni, half));
    stored
}

fn blocks<K: PodKey>(cx: &Cx<'_, K>, eni: EniId, half: Half) -> impl Iterator<Item = Block> {
    cx.pool.eni(eni).into_iter().flat_map(PoolEni::blocks).filter(move |block| half.has(*block))
}

/// The store still has exactly what is listed, in the same order, and none of it was released or is the ENI's primary address:
/// every CIDR stays, and only their number is to be counted. Most comparisons on a calm node end here.
fn nothing_changes<K: PodKey>(cx: &Cx<'_, K>, eni: EniId, half: Half, listed: &[Block]) -> bool {
    let now_ms = cx.ms();
    let primary = cx.link(eni).and_then(|link| link.primary).map(Block::Address);
    let is_plain = |block: &Block| Some(*block) != primary && cx.released.state(*block, now_ms) == SinceRelease::Never;
    blocks(cx, eni, half).eq(listed.iter().copied()) && listed.iter().all(is_plain)
}

impl Comparing {
    pub(crate) fn begin<K: PodKey>(cx: &mut Cx<'_, K>, eni: &ImdsEni, half: Half, stored: Vec<Block>) -> End {
        // Prefixes of the primary ENI are not read with custom networking.
        let unread = half == Half::Prefixes && cx.config.settings.custom_networking && cx.is_primary(eni.id);
        let listing = || blocks_of(eni).filter(|block| half.has(*block) && !unread);
        let has_primary = half == Half::Prefixes || eni.ipv4.as_ref().is_some_and(|addresses| !addresses.is_empty());
        if has_primary && stored.iter().copied().eq(listing()) && nothing_changes(cx, eni.id, half, &stored) {
            cx.metrics.reconciled(Reconcile::PoolAdd, stored.len() as u64);
            return Flow::Done(());
        }
        let listed: Vec<_> = listing().collect();
        let similar = has_primary && listed.len() == stored.len() && {
            let stored: BTreeSet<_> = stored.iter().collect();
            listed.iter().all(|block| stored.contains(block))
        };
        let (seen, verified) = (Vec::with_capacity(listed.len()), None);
        let asks = if similar { Ask::Verify } else { Ask::Mismatch };
        let step = Self {
            eni: eni.id,
            half,
            stored,
            listed,
            done: 0,
            seen,
            doubtful: similar,
            verified,
            asks,
            asked_ms: cx.ms(),
        };
        if similar { step.go_on(cx) } else { step.ask(cx, Ask::Mismatch) }
    }

    fn ask<K: PodKey>(mut self, cx: &mut Cx<'_, K>, asks: Ask) -> End {
        (self.asks, self.asked_ms) = (asks, cx.ms());
        cx.ec2(Ec2Call::DescribeEnis { ids: vec![self.eni] }, Count::ExceptMissing);
        Flow::Wait(self)
    }

    pub(crate) fn resume<K: PodKey>(mut self, cx: &mut Cx<'_, K>, wake: Wake) -> End {
        // Careful: the ENI was changed meanwhile, so that the answer may be older than the store.
        if cx.operations.outdates(self.eni, self.asked_ms) {
            return Flow::Done(());
        }
        let none = || Trouble::plain("EC2 described no network interface");
        let described = wake.described().and_then(|found| found.into_iter().next().ok_or_else(none));
        match (self.asks, described) {
            // This half is left as it is.
            (Ask::Mismatch, Err(_)) => Flow::Done(()),
            (Ask::Mismatch, Ok(described)) => {
                self.listed = self.half.described(described);
                self.go_on(cx)
            }
            // It is kept until EC2 has said something about it; the next such CIDR is asked for anew.
            (Ask::Verify, Err(_)) => {
                self.seen.extend(self.listed.get(self.done).copied());
                self.done += 1;
                self.go_on(cx)
            }
            (Ask::Verify, Ok(described)) => {
                self.verified = Some(self.half.described(described));
                self.go_on(cx)
            }
        }
    }

    fn go_on<K: PodKey>(mut self, cx: &mut Cx<'_, K>) -> End {
        let (now_ms, mut arrivals) = (cx.ms(), Arrivals::of(&cx.pool, self.eni));
        let stored: BTreeSet<Block> = self.stored.iter().copied().collect();
        let verified: Option<BTreeSet<Block>> =
            self.verified.as_ref().map(|verified| verified.iter().copied().collect());
        let primary = cx.link(self.eni).and_then(|link| link.primary).map(Block::Address);
        while let Some(block) = self.listed.get(self.done).copied() {
            if Some(block) == primary {
                self.done += 1;
                continue;
            }
            let freed = cx.released.state(block, now_ms);
            if freed == SinceRelease::Earlier && self.doubtful && self.verified.is_none() {
                cx.arrived(&arrivals);
                return self.ask(cx, Ask::Verify);
            }
            self.done += 1;
            let gone = |verified: &BTreeSet<Block>| self.doubtful && !verified.contains(&block);
            let unseen = match freed {
                // Not seen means swept, if the store has it.
                // Careful: what the store has is not swept for having been released a short while ago.
                SinceRelease::Lately => !(cx.is_careful() && stored.contains(&block)),
                SinceRelease::Earlier => verified.as_ref().is_some_and(gone),
                SinceRelease::Never => false,
            };
            if unseen {
                continue;
            }
            if freed == SinceRelease::Earlier {
                cx.released.remove(block);
            }
            if cx.take_block_in(&mut arrivals, block) {
                self.seen.push(block);
                cx.metrics.reconciled(Reconcile::PoolAdd, 1);
            }
        }
        cx.arrived(&arrivals);
        let seen: BTreeSet<Block> = self.seen.into_iter().collect();
        for block in self.stored {
            // Careful: an address in use is kept until its DEL, whatever a listing says.
            let kept = cx.is_careful() && cx.block_is_in_use(self.eni, block);
            if !seen.contains(&block) && !kept {
                cx.sweep_block(self.eni, block);
            }
        }
        Flow::Done(())
    }
}
