//! Answers that come late, twice, of another kind, or never.

use cni_types::random::Random;
use ipamd_core::input::Ec2Reply;

use super::Ec2Result;

/// How unreliable answers are, in percent.
#[derive(Debug)]
pub(crate) struct Chaos {
    random: Random,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) late: u64,
    pub(crate) wrong: u64,
}

impl Chaos {
    /// Each answer comes once and in time.
    pub(crate) fn none() -> Self {
        Self { random: Random::new(0), lost: 0, doubled: 0, late: 0, wrong: 0 }
    }

    /// All of it, drawn from a seed.
    pub(crate) fn all(seed: u64) -> Self {
        Self { random: Random::new(seed), lost: 3, doubled: 10, late: 15, wrong: 4 }
    }

    fn happens(&mut self, percent: u64) -> bool {
        percent > 0 && self.random.below(100) < percent
    }

    /// When the answers of one effect come.
    pub(crate) fn times(&mut self, now_ms: i64, ms: i64) -> Vec<i64> {
        if self.happens(self.lost) {
            return Vec::new();
        }
        let late_ms = if self.happens(self.late) { self.random.between(0, 400_000) } else { 0 };
        let mut times = vec![now_ms + ms + late_ms];
        if self.happens(self.doubled) {
            times.push(now_ms + ms + self.random.between(0, 60_000));
        }
        times
    }

    /// An answer of another kind, now and then: the question stays without its own.
    pub(crate) fn distort(&mut self, result: Ec2Result) -> Ec2Result {
        if self.happens(self.wrong) {
            return Ok(if self.random.below(2) == 0 { Ec2Reply::Done } else { Ec2Reply::Devices(vec![(0, 0)]) });
        }
        result
    }
}
