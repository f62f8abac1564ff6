//! What is due, in the order of time: effects of earlier steps, clean-ups, watches, and the next step.

use std::collections::VecDeque;

use super::effect::Script;
use super::shrink;
use super::state::{Node, Step};
use crate::ec2::Cloud;
use cni_types::ec2::Ec2Code;

impl Node {
    /// Runs everything due up to `to_ms`.
    pub fn advance(&mut self, to_ms: i64, cloud: &mut dyn Cloud) {
        loop {
            let at_ms = self.next_wakeup();
            if at_ms > to_ms {
                return;
            }
            self.happen(at_ms, cloud);
        }
    }

    /// Earliest time at which [`Self::advance`] has something to do.
    pub fn next_wakeup(&self) -> i64 {
        let journal = self.journal.front().map_or(i64::MAX, |(at_ms, _)| *at_ms);
        let cleanup = self.pool.clean_up_at_ms().unwrap_or(i64::MAX);
        journal.min(self.step_at_ms).min(self.watch_at_ms).min(self.leak_scan_at_ms).min(cleanup)
    }

    fn happen(&mut self, at_ms: i64, cloud: &mut dyn Cloud) {
        if self.journal.front().is_some_and(|(due_ms, _)| *due_ms <= at_ms) {
            if let Some((due_ms, effect)) = self.journal.pop_front() {
                self.apply(due_ms, effect);
            }
            if self.journal.is_empty() {
                // Ten thousand idle nodes must not keep ten thousand journals.
                self.journal = VecDeque::new();
            }
        } else if self.pool.clean_up_at_ms().is_some_and(|due_ms| due_ms <= at_ms) {
            self.pool.clean_up(at_ms);
        } else if self.watch_at_ms <= at_ms {
            self.watch(at_ms, cloud);
        } else if self.leak_scan_at_ms <= at_ms {
            self.scan_for_leaks(at_ms, cloud);
        } else {
            self.run_step(at_ms, cloud);
        }
    }

    fn run_step(&mut self, at_ms: i64, cloud: &mut dyn Cloud) {
        let mut script = Script::new(at_ms);
        let step = std::mem::replace(&mut self.step, Step::Rest);
        let (next, pause_ms) = match step {
            Step::Start => self.start(&mut script, cloud),
            Step::InitEni { index, attempt } => self.init_eni(&mut script, index, attempt, cloud),
            Step::InitRecover => self.init_recover(&mut script, cloud),
            Step::InitPrescale => self.init_prescale(&mut script, cloud),
            Step::Serve => self.serve(&mut script),
            Step::PoolCheck => self.pool_check(&mut script, cloud),
            Step::Decrease { over, queue } => self.decrease(&mut script, over, queue, cloud),
            Step::SpareEni => self.release_spare_eni(&mut script, cloud),
            Step::Reconcile => self.reconcile(&mut script, cloud),
            Step::Rest => (Step::Rest, i64::MAX),
        };
        self.step = next;
        self.step_at_ms = script.at_ms.saturating_add(pause_ms);
        self.journal.extend(script.effects);
    }

    /// One pool check: grow or shrink, then see about an ENI too many.
    fn pool_check(&mut self, script: &mut Script, cloud: &mut dyn Cloud) -> (Step, i64) {
        self.ask_for_trunk(script, cloud);
        let now_ms = script.at_ms;
        let stats = self.pool.stats(self.mode, now_ms);
        let targets = self.targets();
        let over = targets.surplus(&stats);
        if targets.too_low(&stats) {
            // The next cycle tries again whatever became of this one.
            let _failed: Result<(), Ec2Code> = self.increase(script, cloud);
        } else if over > 0 && self.last_decrease_ms.is_none_or(|last| now_ms - last > shrink::DECREASE_INTERVAL_MS) {
            return self.begin_decrease(script, over);
        }
        (Step::SpareEni, 0)
    }
}
