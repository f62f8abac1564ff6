//! CIDRs of excluded ENIs whose last pod left.

use crate::block::Block;
use crate::id::EniId;

/// A CIDR of an excluded ENI is taken off that long after its last pod left, if none came back.
pub const EXCLUDED_CLEAN_UP_MS: i64 = 5_000;

/// Clean-ups of one CIDR that wait at a time; a later one than these takes the place of the last.
const PER_BLOCK: usize = 16;

#[derive(Debug, Clone, Copy)]
struct CleanUp {
    due_ms: i64,
    eni: EniId,
    block: Block,
}

/// What is looked at again, the next due first.
#[derive(Debug, Clone, Default)]
pub(super) struct CleanUps(Vec<CleanUp>);

impl CleanUps {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The CIDR has no pods from `now_ms` on. Times do not go back, so that the last is due last.
    pub(super) fn schedule(&mut self, eni: EniId, block: Block, now_ms: i64) {
        if self.0.iter().filter(|due| due.eni == eni && due.block == block).count() >= PER_BLOCK {
            self.cancel(eni, block);
        }
        self.0.push(CleanUp { due_ms: now_ms.saturating_add(EXCLUDED_CLEAN_UP_MS), eni, block });
    }

    /// Forgets the one of this CIDR that was scheduled last.
    pub(super) fn cancel(&mut self, eni: EniId, block: Block) {
        if let Some(last) = self.0.iter().rposition(|due| due.eni == eni && due.block == block) {
            self.0.remove(last);
        }
    }

    pub(super) fn next_ms(&self) -> Option<i64> {
        self.0.first().map(|due| due.due_ms)
    }

    /// The CIDRs that are due.
    pub(super) fn take_due(&mut self, now_ms: i64) -> Vec<(EniId, Block)> {
        let due = self.0.iter().take_while(|due| due.due_ms <= now_ms).count();
        self.0.drain(..due).map(|due| (due.eni, due.block)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let (eni, mut due) = (EniId::from_bits(1), CleanUps::new());
        let block = |last| Block::Address(Ipv4Addr::new(10, 0, 0, last));
        (0..1_000).for_each(|now_ms| due.schedule(eni, block(1), now_ms));
        due.schedule(eni, block(2), 1_000);
        assert_eq!((due.0.len(), due.next_ms()), (PER_BLOCK + 1, Some(5_000)));
        assert_eq!(due.take_due(5_014).len(), PER_BLOCK - 1);
        assert_eq!(due.next_ms(), Some(5_999), "the last that was scheduled is there");
        due.cancel(eni, block(1));
        assert_eq!(due.take_due(i64::MAX), [(eni, block(2))]);
    }
}
