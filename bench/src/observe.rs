//! Observes a running program: when it is idle, and when a round of it is over.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::simulator::{Burst, Stats};

/// After this idle time nothing of the round is left, and what is used is the cost of waiting.
const IDLE_AFTER_US: u64 = 500_000;

/// A program that uses more of a core than this is at work.
const AT_WORK_CORES: f64 = 0.2;

/// CPU times at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    pub(crate) at: Instant,
    /// The program's CPU time so far, and the simulator's.
    pub(crate) cpu: Duration,
    pub(crate) simulator_cpu: Duration,
}

/// What program and simulator use while nothing is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Idle {
    pub(crate) lasted: Duration,
    pub(crate) program: Duration,
    pub(crate) simulator: Duration,
}

impl AddAssign for Idle {
    fn add_assign(&mut self, more: Self) {
        self.lasted += more.lasted;
        self.program += more.program;
        self.simulator += more.simulator;
    }
}

/// A round is over when no page was asked for, and none was open, for this part of the interval. A program that gets no
/// processor for a while must not be seen to begin a new round; a round leaves at least a fifth of its interval free.
pub(crate) fn quiet_us(interval_seconds: u64) -> u64 {
    interval_seconds * 1_000_000 / 6
}

/// Bursts that are closer together than rounds are, as one.
pub(crate) fn merged(bursts: &[Burst], quiet_us: u64) -> Vec<Burst> {
    let mut rounds: Vec<Burst> = Vec::new();
    for burst in bursts {
        match rounds.last_mut().filter(|last| burst.began_us.saturating_sub(last.ended_us) < quiet_us) {
            Some(last) => {
                last.ended_us = burst.ended_us;
                last.asked += burst.asked;
                last.delivered += burst.delivered;
                last.most_open = last.most_open.max(burst.most_open);
            }
            None => rounds.push(*burst),
        }
    }
    rounds
}

/// The observations during one round.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    quiet_us: u64,
    last: Option<(Observation, usize)>,
    /// When the program was last seen at work, by the simulator's meter.
    worked_us: u64,
    /// The idle time among them.
    pub(crate) idle: Idle,
}

impl Observations {
    pub(crate) fn new(quiet_us: u64) -> Self {
        Self { quiet_us, ..Self::default() }
    }

    /// Adds an observation; returns how much of the time since the last one was idle.
    pub(crate) fn note(&mut self, observation: Observation, stats: &Stats) -> Idle {
        let bursts = stats.bursts.len();
        let quiet_us = stats.bursts.last().map_or(0, |burst| stats.now_us.saturating_sub(burst.ended_us));
        let mut idle = Idle::default();
        if let Some((before, bursts_before)) = self.last {
            let lasted = observation.at - before.at;
            let program = observation.cpu.saturating_sub(before.cpu);
            if program.as_secs_f64() > AT_WORK_CORES * lasted.as_secs_f64() {
                self.worked_us = stats.now_us;
            }
            let idle_us = stats.now_us.saturating_sub(self.worked_us);
            let quiet = stats.pages_open == 0 && bursts > 0 && bursts == bursts_before;
            if quiet && quiet_us.min(idle_us) > IDLE_AFTER_US {
                idle =
                    Idle { lasted, program, simulator: observation.simulator_cpu.saturating_sub(before.simulator_cpu) };
            }
        }
        self.last = Some((observation, bursts));
        self.idle += idle;
        idle
    }

    /// The burst of this number and the moment at which the program became idle, once both are over.
    pub(crate) fn ended(&self, number: usize, stats: &Stats) -> Option<(Burst, u64)> {
        let burst = stats.bursts.get(number).copied()?;
        if stats.bursts.len() > number + 1 {
            // It continued without a pause.
            return Some((burst, burst.ended_us));
        }
        let rest_us = burst.ended_us.max(self.worked_us);
        let over = stats.pages_open == 0 && stats.now_us.saturating_sub(rest_us) > self.quiet_us;
        over.then_some((burst, rest_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(now_us: u64, ended_us: u64, pages_open: u64) -> Stats {
        let burst = Burst { began_us: 1_000, ended_us, asked: 10, delivered: 10, most_open: 4 };
        Stats { now_us, pages_open, bursts: vec![burst], ..Stats::default() }
    }

    #[test]
    fn a_stall_within_a_round_does_not_make_two_of_it() {
        let burst = |began_us: u64, ended_us: u64, asked: u64| Burst {
            began_us,
            ended_us,
            asked,
            delivered: asked,
            most_open: asked.min(64),
        };
        let bursts = [burst(0, 200_000, 700), burst(600_000, 700_000, 300), burst(3_000_000, 3_200_000, 1_000)];
        let rounds = merged(&bursts, quiet_us(3));
        assert_eq!(rounds.len(), 2);
        assert_eq!((rounds[0].asked, rounds[0].delivered, rounds[0].ended_us), (1_000, 1_000, 700_000));
        assert_eq!(merged(&bursts, 100_000).len(), 3);
        // The longest round that is allowed leaves more than that until the next one.
        assert!(quiet_us(30) < 30_000_000 / 5);
    }

    #[test]
    fn a_round_ends_when_pages_and_program_are_at_rest() {
        let mut observations = Observations::new(250_000);
        let began = Instant::now();
        let observation = |ms: u64, cpu_ms: u64| Observation {
            at: began + Duration::from_millis(ms),
            cpu: Duration::from_millis(cpu_ms),
            simulator_cpu: Duration::ZERO,
        };
        observations.note(observation(0, 0), &stats(100_000, 100_000, 3));
        assert_eq!(observations.ended(0, &stats(900_000, 100_000, 3)), None, "pages are open");
        // At work until 400 ms although the last page came at 100 ms.
        observations.note(observation(300, 290), &stats(400_000, 100_000, 0));
        assert_eq!(observations.ended(0, &stats(500_000, 100_000, 0)), None);
        let idle = observations.note(observation(325, 290), &stats(425_000, 100_000, 0));
        assert_eq!(idle.lasted, Duration::ZERO, "too soon after the work");
        let (burst, rest_us) = observations.ended(0, &stats(700_000, 100_000, 0)).unwrap();
        assert_eq!((burst.delivered, rest_us), (10, 400_000));
        let idle = observations.note(observation(1_000, 291), &stats(1_100_000, 100_000, 0));
        assert_eq!((idle.lasted, idle.program), (Duration::from_millis(675), Duration::from_millis(1)));
        assert_eq!(observations.ended(1, &stats(1_100_000, 100_000, 0)), None, "there is no second round yet");
    }
}
