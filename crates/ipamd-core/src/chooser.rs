//! What the original leaves to the order of Go's maps and to jitter.

use std::fmt;
use std::net::IpAddr;

use cni_types::random::Random;

use crate::block::Block;
use crate::id::EniId;

/// For what an ENI is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A pod gets one of its addresses.
    Assign,
    /// It gets addresses.
    Extend,
    /// It loses addresses.
    Release,
    /// It is given up.
    Spare,
    /// It is compared or set up next, of those that EC2 has described.
    Next,
    /// It gives back what is of no use next, at a start.
    CleanUp,
    /// A pod of the checkpoint has this address as one of it.
    Restore(IpAddr),
}

/// Makes the choices that no rule makes. A comparison with the original replaces it by one that follows the original's.
pub trait Chooser: fmt::Debug + Send {
    /// The index of one of `candidates`; beyond its end means the first. There may be none: then the index means nothing.
    fn eni(&mut self, purpose: Purpose, candidates: &[EniId]) -> usize;

    /// The index of the CIDR of `eni` that a pod's address is taken from. Rules as for [`Chooser::eni`].
    fn block(&mut self, eni: EniId, candidates: &[Block]) -> usize;

    /// The index of the address a pod gets, where several of a CIDR have been used before and have rested since, the one that
    /// rested longest first. Rules as for [`Chooser::eni`].
    fn address(&mut self, candidates: &[IpAddr]) -> usize;

    /// The `count` of `candidates`, all CIDRs of `eni` without pods, that are released.
    fn blocks(&mut self, eni: EniId, candidates: Vec<Block>, count: usize) -> Vec<Block>;

    /// Milliseconds in `0..below_ms`, 0 for an empty range.
    fn jitter(&mut self, below_ms: i64) -> i64;
}

/// How a [`Seeded`] chooser makes its choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Fill ENIs and CIDRs in order and release the newest first, as the documentation's tables assume.
    FirstFit,
    /// Seeded random order, as Go's maps give.
    #[default]
    Random,
}

/// Choices that a seed determines.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// The stream that the choices are drawn from.
    pub random: Random,
    /// How they are made.
    pub placement: Placement,
}

impl Seeded {
    /// Draws each choice, as the order of Go's maps does.
    pub fn random(seed: u64) -> Self {
        Self { random: Random::new(seed), placement: Placement::Random }
    }

    /// Makes each choice by order; only jitter is drawn.
    pub fn first_fit(seed: u64) -> Self {
        Self { random: Random::new(seed), placement: Placement::FirstFit }
    }

    fn first_or_drawn(&mut self, length: usize) -> usize {
        match self.placement {
            Placement::FirstFit => 0,
            Placement::Random => self.random.index(length),
        }
    }
}

impl Chooser for Seeded {
    fn eni(&mut self, purpose: Purpose, candidates: &[EniId]) -> usize {
        match (self.placement, purpose) {
            (Placement::FirstFit, Purpose::Release) => candidates.len().saturating_sub(1),
            _ => self.first_or_drawn(candidates.len()),
        }
    }

    fn block(&mut self, _eni: EniId, candidates: &[Block]) -> usize {
        self.first_or_drawn(candidates.len())
    }

    fn address(&mut self, candidates: &[IpAddr]) -> usize {
        self.first_or_drawn(candidates.len())
    }

    fn blocks(&mut self, _eni: EniId, mut candidates: Vec<Block>, count: usize) -> Vec<Block> {
        if self.placement == Placement::Random {
            for last in (1..candidates.len()).rev() {
                candidates.swap(last, self.random.index(last + 1));
            }
        }
        candidates.reverse();
        candidates.truncate(count);
        candidates
    }

    fn jitter(&mut self, below_ms: i64) -> i64 {
        i64::try_from(self.random.below(u64::try_from(below_ms).unwrap_or(0))).unwrap_or(0)
    }
}

/// The candidate of this index, or the first.
pub(crate) fn chosen<T: Copy>(candidates: &[T], index: usize) -> Option<T> {
    candidates.get(index).or(candidates.first()).copied()
}
