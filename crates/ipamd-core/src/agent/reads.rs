//! Careful: what was read of EC2 a short while ago is not read again, over restarts too; and the reads of many nodes that start
//! together are spread.

use super::memory::{Agent, PodKey};
use crate::input::Ec2Subnet;

/// What was read is used for this long, milliseconds.
const FRESH_MS: i64 = 600_000;
/// Subnets that could not be read are not asked for again before this, milliseconds.
const AGAIN_MS: i64 = 30_000;
/// The reads that follow the open page begin within this time, milliseconds.
const SPREAD_MS: u64 = 10_000;

impl<K: PodKey> Agent<K> {
    /// The subnets, where they were read a short while ago.
    pub(crate) fn known_subnets(&self) -> Option<Vec<Ec2Subnet>> {
        let reads = &self.own.as_deref()?.reads;
        let age_ns = self.now.unix_ns.saturating_sub(reads.subnets_ns);
        let fresh = !reads.subnets.is_empty() && (0..FRESH_MS * 1_000_000).contains(&age_ns);
        fresh.then(|| reads.subnets.clone())
    }

    /// They could not be read a short while ago.
    pub(crate) fn subnets_are_silent(&self) -> bool {
        let failed_ms = self.own.as_deref().and_then(|own| own.reads.failed_ms);
        failed_ms.is_some_and(|failed_ms| self.ms().saturating_sub(failed_ms) < AGAIN_MS)
    }

    /// They were read, or could not be.
    pub(crate) fn note_subnets(&mut self, subnets: Option<&[Ec2Subnet]>) {
        let (now_ms, now_ns) = (self.ms(), self.now.unix_ns);
        let Some(own) = &mut self.own else { return };
        match subnets {
            Some(subnets) => {
                own.reads.subnets = subnets.to_vec();
                (own.reads.subnets_ns, own.reads.failed_ms) = (now_ns, None);
            }
            None => own.reads.failed_ms = Some(now_ms),
        }
        self.file_changed();
    }

    /// How long after the open page the reads of this node begin, milliseconds: by its instance's id.
    pub(crate) fn spread_ms(&mut self) -> i64 {
        let bits = self.facts.identity.as_ref().map_or(0, |identity| identity.instance.bits());
        let Some(own) = &mut self.own else { return 0 };
        own.reads.spreads = true;
        // FNV-1a, 64 bits.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = bits.to_be_bytes().into_iter().fold(0xcbf2_9ce4_8422_2325, step);
        i64::try_from((hash >> 32) % SPREAD_MS).unwrap_or(0)
    }

    /// The reads of the start wait no longer.
    pub(crate) fn end_spread(&mut self) {
        if let Some(own) = &mut self.own {
            own.reads.spreads = false;
        }
    }

    /// A request waits while the reads of the start do.
    pub(crate) fn hurries(&self) -> bool {
        self.own.as_deref().is_some_and(|own| own.reads.spreads && !own.line.is_empty())
    }
}
