//! What a sample line contributes to.

use cni_types::catalogue::{FAMILIES, Family, LabelledFamily};

/// What a sample line contributes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Series {
    /// A plain sample of a family other than the latencies.
    Family(Family),
    /// `_sum` of the latency summary.
    LatencySum,
    /// `_count` of the latency summary.
    LatencyCount,
    /// A quantile of the latency summary (old agents), which is not used.
    LatencyQuantile,
    /// `process_start_time_seconds`.
    ProcessStart,
    /// `awscni_build_info`, of which the label `version` is read.
    BuildInfo,
}

/// How many different [`Series`] there are.
pub(super) const SERIES: usize = FAMILIES + 5;

impl Series {
    /// Its number, below [`SERIES`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Family(family) => family as usize,
            Self::LatencySum => FAMILIES,
            Self::LatencyCount => FAMILIES + 1,
            Self::ProcessStart => FAMILIES + 2,
            Self::LatencyQuantile => FAMILIES + 3,
            Self::BuildInfo => FAMILIES + 4,
        }
    }

    /// The summary of latencies, before its suffix is read.
    #[inline]
    pub(super) const fn is_latency(self) -> bool {
        matches!(self, Self::LatencyQuantile)
    }

    /// The family it belongs to, if that keeps labels.
    #[inline]
    pub(super) fn labelled(self) -> Option<LabelledFamily> {
        if let Self::Family(family) = self { LabelledFamily::of(family) } else { None }
    }

    /// The family it belongs to.
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Self::Family(family) => Some(family),
            Self::LatencySum | Self::LatencyCount => Some(Family::AwsApiLatencyMs),
            Self::LatencyQuantile | Self::ProcessStart | Self::BuildInfo => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_numbers_of_their_own() {
        let others = [
            Series::LatencySum,
            Series::LatencyCount,
            Series::LatencyQuantile,
            Series::ProcessStart,
            Series::BuildInfo,
        ];
        let all = Family::ALL.map(Series::Family).into_iter().chain(others);
        assert_eq!(all.map(Series::index).collect::<std::collections::BTreeSet<_>>(), (0..SERIES).collect());
    }
}
