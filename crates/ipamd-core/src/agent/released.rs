//! CIDRs that were released: a reconcile that still sees one does not take it back for a minute.

use crate::block::Block;
use crate::small_map::SmallMap;

/// A released CIDR is left alone for less than this.
const REST_MS: i64 = 60_000;
/// The original never forgets one; beyond this many the oldest is forgotten here.
const MOST: usize = 4_096;

/// How a CIDR stands that a reconcile sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SinceRelease {
    /// It was not released, or was verified since.
    Never,
    /// Less than a minute ago.
    Lately,
    /// Earlier: EC2 is asked whether it is really there.
    Earlier,
}

/// When CIDRs were released, by the CIDR alone: the ENI plays no part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Released {
    until_ms: SmallMap<Block, i64>,
    forgotten: u64,
}

impl Released {
    /// One is released now.
    pub(crate) fn add(&mut self, block: Block, now_ms: i64) {
        self.until_ms.insert(block, now_ms.saturating_add(REST_MS));
        if self.until_ms.len() > MOST {
            let oldest = self.until_ms.iter().min_by_key(|(_, until_ms)| **until_ms).map(|(block, _)| *block);
            self.forgotten = self.forgotten.saturating_add(1);
            oldest.map(|block| self.until_ms.remove(&block));
        }
    }

    /// One is verified to be there.
    pub(crate) fn remove(&mut self, block: Block) {
        self.until_ms.remove(&block);
    }

    /// How one stands.
    pub(crate) fn state(&self, block: Block, now_ms: i64) -> SinceRelease {
        match self.until_ms.get(&block) {
            None => SinceRelease::Never,
            Some(until_ms) if now_ms < *until_ms => SinceRelease::Lately,
            Some(_) => SinceRelease::Earlier,
        }
    }

    /// How many are remembered, and how many were forgotten for want of room.
    pub(crate) fn sizes(&self) -> (usize, u64) {
        (self.until_ms.len(), self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_minute_after_the_release_it_is_earlier_and_the_oldest_is_forgotten() {
        let block = |number: u32| Block::Address(Ipv4Addr::from(number));
        let mut released = Released::default();
        released.add(block(1), 0);
        assert_eq!(released.state(block(1), 59_999), SinceRelease::Lately);
        assert_eq!(released.state(block(1), 60_000), SinceRelease::Earlier);
        for number in 0..5_000 {
            released.add(block(number + 10), i64::from(number) + 1);
        }
        assert_eq!(released.sizes(), (MOST, 5_001 - MOST as u64));
        assert_eq!(released.state(block(1), 1), SinceRelease::Never);
        released.remove(block(5_009));
        assert_eq!(released.state(block(5_009), 6_000), SinceRelease::Never);
    }
}
