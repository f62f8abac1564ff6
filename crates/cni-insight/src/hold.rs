//! For how long something must be there before it is found, and when it is over.

use crate::catalogue::FindingId;

/// For how long something must be there before its finding has its severity: both, the rounds and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldTime {
    /// Rounds that show it, the first included.
    pub rounds: u16,
    /// Time, milliseconds.
    pub ms: i64,
}

impl HoldTime {
    /// Rounds of this length, milliseconds, until both have passed.
    pub const fn rounds_of(self, interval_ms: i64) -> i64 {
        let interval = if interval_ms < 1 { 1 } else { interval_ms };
        let of_time = self.ms.saturating_add(interval - 1) / interval;
        if of_time > self.rounds as i64 { of_time } else { self.rounds as i64 }
    }
}

/// Three events, one a minute.
const THREE_EVENTS_MS: i64 = 180_000;

impl FindingId {
    /// For how long it must be there. What is found by several events, such as restarts, is counted here as one event a minute.
    pub const fn hold(self) -> HoldTime {
        let (rounds, ms) = match self {
            Self::AgentSilent => (6, 180_000),
            Self::AgentSettingsRefused | Self::AgentNotStarted | Self::AgentNotReady | Self::WarmPoolTooSmall => {
                (1, 120_000)
            }
            Self::SettingsDiffer | Self::AgentVersionsDiffer => (1, 1_800_000),
            Self::WarmPoolOversized => (1, 86_400_000),
            Self::AgentRestarting | Self::PoolOutOfStep => (1, THREE_EVENTS_MS),
            // An ENI is waited for up to 187 s, after calls that take some seconds.
            Self::PoolLoopStalled => (4, 240_000),
            Self::CooldownOnFullNode | Self::SubnetExcludedByTag => (4, 120_000),
            _ if self.facts().must_last => (1, 120_000),
            _ => (1, 0),
        };
        HoldTime { rounds, ms }
    }

    /// When it is over, in words.
    pub const fn ends(self) -> &'static str {
        match self {
            Self::AgentSilent | Self::AgentNotStarted | Self::AgentSettingsRefused => "with the first page",
            Self::AgentRestarting => "fewer than three restarts within 30 min",
            Self::PoolOutOfStep => "30 min without such a comparison",
            Self::EnisForceRemoved
            | Self::AddressesForceRemoved
            | Self::IamRightMissingQuiet
            | Self::BranchEniNotProvided => "300 s without another",
            _ if self.facts().is_cause => "300 s without a refused request",
            _ => "at once",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_and_time_must_both_have_passed() {
        let hold = HoldTime { rounds: 6, ms: 180_000 };
        assert_eq!([10_000, 30_000, 60_000, 0].map(|interval| hold.rounds_of(interval)), [18, 6, 6, 180_000]);
        assert_eq!(HoldTime { rounds: 1, ms: 0 }.rounds_of(30_000), 1);
    }
}
