//! Choices whose pauses are exactly those of the tables.

use std::net::IpAddr;

use ipamd_core::block::Block;
use ipamd_core::chooser::{Chooser, Purpose, Seeded};
use ipamd_core::id::EniId;

/// The choices of another, without jitter.
#[derive(Debug)]
pub(crate) struct WithoutJitter(pub(crate) Seeded);

impl Chooser for WithoutJitter {
    fn eni(&mut self, purpose: Purpose, candidates: &[EniId]) -> usize {
        self.0.eni(purpose, candidates)
    }

    fn block(&mut self, eni: EniId, candidates: &[Block]) -> usize {
        self.0.block(eni, candidates)
    }

    fn address(&mut self, candidates: &[IpAddr]) -> usize {
        self.0.address(candidates)
    }

    fn blocks(&mut self, eni: EniId, candidates: Vec<Block>, count: usize) -> Vec<Block> {
        self.0.blocks(eni, candidates, count)
    }

    fn jitter(&mut self, _below_ms: i64) -> i64 {
        0
    }
}
