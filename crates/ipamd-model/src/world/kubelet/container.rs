//! The agent's container: when the kubelet starts it again, and when its liveness probe ends it.

/// The first restart comes at once, the second after this, each later one after twice the pause before, milliseconds ...
const FIRST_PAUSE_MS: i64 = 10_000;
/// ... up to this.
const LONGEST_PAUSE_MS: i64 = 300_000;
/// A container that ran this long begins anew.
const RESET_MS: i64 = 600_000;
/// The first probe comes this long after the start ...
const PROBE_DELAY_MS: i64 = 60_000;
/// ... the next ones come at this interval ...
const PROBE_PERIOD_MS: i64 = 10_000;
/// ... and after this many failures in a row the container is killed.
const PROBE_FAILURES: u32 = 3;

/// The container.
#[derive(Debug, Clone, Default)]
pub struct Container {
    exits: u32,
    started_ms: i64,
    failures: u32,
    restarts: u32,
}

impl Container {
    /// The container starts: when its first probe comes.
    pub fn started(&mut self, now_ms: i64) -> i64 {
        self.started_ms = now_ms;
        self.failures = 0;
        now_ms.saturating_add(PROBE_DELAY_MS)
    }

    /// The container ended: when it starts again.
    pub fn exited(&mut self, now_ms: i64) -> i64 {
        if now_ms.saturating_sub(self.started_ms) >= RESET_MS {
            self.exits = 0;
        }
        let doublings = self.exits.checked_sub(1);
        let pause_ms = doublings.map_or(0, |doublings| (FIRST_PAUSE_MS << doublings.min(10)).min(LONGEST_PAUSE_MS));
        self.exits = self.exits.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        now_ms.saturating_add(pause_ms)
    }

    /// A new pod takes its place: its container never failed.
    pub fn replaced(&mut self) {
        *self = Self::default();
    }

    /// The result of a probe: when the next one comes, or `None` where the container is killed.
    pub fn probed(&mut self, now_ms: i64, healthy: bool) -> Option<i64> {
        self.failures = if healthy { 0 } else { self.failures.saturating_add(1) };
        (self.failures < PROBE_FAILURES).then(|| now_ms.saturating_add(PROBE_PERIOD_MS))
    }

    /// Restarts since the pod was made.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_from_nothing_and_ends_with_ten_minutes_of_running() {
        let (mut container, mut now_ms, mut pauses) = (Container::default(), 0, Vec::new());
        for _ in 0..8 {
            container.started(now_ms);
            now_ms += 2_000;
            let again_ms = container.exited(now_ms);
            pauses.push((again_ms - now_ms) / 1_000);
            now_ms = again_ms;
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
        container.started(now_ms);
        assert_eq!(container.exited(now_ms + 599_999) - now_ms, 599_999 + 300_000);
        container.started(now_ms);
        assert_eq!(container.exited(now_ms + 600_000) - now_ms, 600_000);
        assert_eq!(container.restarts(), 10);
        container.replaced();
        assert_eq!((container.exited(5), container.restarts()), (5, 1));
    }

    #[test]
    fn three_failed_probes_in_a_row_end_it() {
        let mut container = Container::default();
        assert_eq!(container.started(1_000), 61_000);
        assert_eq!(container.probed(61_000, false), Some(71_000));
        assert_eq!(container.probed(71_000, false), Some(81_000));
        assert_eq!(container.probed(81_000, true), Some(91_000));
        assert_eq!(container.probed(91_000, false), Some(101_000));
        assert_eq!(container.probed(101_000, false), Some(111_000));
        assert_eq!(container.probed(111_000, false), None);
    }
}
