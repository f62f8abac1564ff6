//! What may leave the pool: CIDRs without pods, and whole ENIs nobody needs.

use super::{Cidr, Placement, Pool, PoolEni, Targets};
use crate::draw::Draw;
use crate::ec2::{Block, EniId, EniKind};
use crate::limits::ADDRESSES_PER_PREFIX;

/// An ENI younger than this in the store is not given up.
pub(crate) const MINIMUM_ENI_AGE_MS: i64 = 60_000;

impl Pool {
    /// Order in which ENIs are visited.
    pub(crate) fn visit(&self, placement: Placement, draw: &mut Draw) -> Vec<EniId> {
        let mut ids: Vec<_> = self.enis.iter().map(|eni| eni.id).collect();
        if placement == Placement::Random {
            for last in (1..ids.len()).rev() {
                ids.swap(last, draw.below(last + 1));
            }
        }
        ids
    }

    /// CIDRs of one ENI without pods, of the given kind; rest is not considered.
    pub(crate) fn unused_blocks(&self, id: EniId, prefix: bool) -> Vec<Block> {
        let cidrs = self.eni(id).map(|eni| eni.cidrs.as_slice()).unwrap_or_default();
        cidrs.iter().filter(|cidr| cidr.used == 0 && cidr.prefix == prefix).map(|cidr| cidr.block()).collect()
    }

    /// A plain secondary ENI has no pods.
    pub(crate) fn has_idle_eni(&self) -> bool {
        self.enis.iter().any(|eni| !eni.primary && eni.kind == EniKind::Interface && eni.assigned() == 0)
    }

    /// The first ENI that may be given up.
    pub(crate) fn spare_eni(&self, targets: &Targets, order: &[EniId], now_ms: i64) -> Option<EniId> {
        let may_go = |eni: &&PoolEni| self.may_go(eni, now_ms) && !self.is_needed(eni, targets);
        order.iter().filter_map(|id| self.eni(*id)).find(may_go).map(|eni| eni.id)
    }

    fn may_go(&self, eni: &PoolEni, now_ms: i64) -> bool {
        let rests = |address| self.freed.iter().any(|freed| freed.address == address && self.rests(freed, now_ms));
        let resting = |cidr: &Cidr| (cidr.base..cidr.base + cidr.size()).any(rests);
        !eni.primary
            && eni.kind == EniKind::Interface
            && now_ms - eni.created_ms >= MINIMUM_ENI_AGE_MS
            && eni.assigned() == 0
            && !eni.cidrs.iter().any(resting)
    }

    /// Whether the other ENIs alone would miss a target.
    fn is_needed(&self, leaving: &PoolEni, targets: &Targets) -> bool {
        let others = || self.enis.iter().filter(|eni| eni.id != leaving.id && !eni.excluded);
        let total: u32 = others().map(PoolEni::addresses).sum();
        let free = total - others().map(PoolEni::assigned).sum::<u32>();
        let whole = |target: u32| {
            if targets.prefix_mode { target.next_multiple_of(ADDRESSES_PER_PREFIX) } else { target }
        };
        let free_cidrs = others().flat_map(|eni| &eni.cidrs).filter(|cidr| cidr.used == 0).count();
        free < whole(targets.warm_ip)
            || total < whole(targets.minimum_ip)
            || (targets.prefix_mode && free_cidrs < targets.warm_prefix as usize)
    }
}
