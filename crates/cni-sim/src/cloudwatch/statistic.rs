//! From data to datapoints: periods, and the statistics over each.

use super::datum::{Datum, Statistics};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A statistic a reader can ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    Percentile(f64),
}

impl Statistic {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                let rank: f64 = text.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&rank).then_some(Self::Percentile(rank))?
            }
        })
    }
}

/// The samples of one period.
#[derive(Debug, Clone)]
pub(super) struct PeriodSamples {
    statistics: Statistics,
    /// The values themselves; `None` once a statistic set has hidden some.
    values: Option<Vec<(f64, f64)>>,
    pub(super) unit: String,
}

impl PeriodSamples {
    /// `None` where the data cannot tell, as with percentiles of statistic sets.
    pub(super) fn evaluate(&self, statistic: Statistic) -> Option<f64> {
        let of = self.statistics;
        match statistic {
            Statistic::SampleCount => Some(of.count),
            Statistic::Average => (of.count > 0.0).then(|| of.sum / of.count),
            Statistic::Sum => Some(of.sum),
            Statistic::Minimum => Some(of.min),
            Statistic::Maximum => Some(of.max),
            Statistic::Percentile(rank) => percentile(self.values.clone()?, rank),
        }
    }

    fn add(&mut self, datum: &Datum) {
        self.statistics = self.statistics.merged(datum.statistics);
        let of = datum.statistics;
        let single = (of.min - of.max).abs() < f64::EPSILON && of.count > 0.0;
        match &mut self.values {
            Some(values) if !datum.values.is_empty() => values.extend(&datum.values),
            // A set of equal samples hides nothing.
            Some(values) if single => values.push((of.min, of.count)),
            _ => self.values = None,
        }
    }
}

/// Nearest rank over weighted values.
fn percentile(mut values: Vec<(f64, f64)>, rank: f64) -> Option<f64> {
    values.retain(|(_, count)| *count > 0.0);
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = values.iter().map(|(_, count)| count).sum::<f64>() * rank / 100.0;
    let mut seen = 0.0;
    let found = values.iter().find(|(_, count)| {
        seen += count;
        seen >= wanted
    });
    found.or(values.last()).map(|(value, _)| *value)
}

/// Folds `data` into periods. The range's start is rounded down to the minute (to the period where that is shorter) and
/// periods count from there. Standard-resolution data stand at their full minute.
pub(super) fn aggregate(
    data: &[Arc<Datum>],
    range_ms: Range<i64>,
    period_s: i64,
    unit: Option<&str>,
) -> BTreeMap<i64, Vec<PeriodSamples>> {
    let period_ms = period_s * 1000;
    let start = floor_to(range_ms.start, period_ms.min(60_000));
    let mut buckets: BTreeMap<i64, Vec<PeriodSamples>> = BTreeMap::new();
    for datum in data.iter().filter(|datum| unit.is_none_or(|unit| unit == datum.unit)) {
        let at = floor_to(datum.timestamp_ms, i64::from(datum.resolution_s) * 1000);
        if !(start..range_ms.end).contains(&at) {
            continue;
        }
        let of_period = buckets.entry(start + floor_to(at - start, period_ms)).or_default();
        // Data of different units never mix.
        let index = of_period.iter().position(|bucket| bucket.unit == datum.unit).unwrap_or_else(|| {
            let empty =
                PeriodSamples { statistics: Statistics::NONE, values: Some(Vec::new()), unit: datum.unit.clone() };
            of_period.push(empty);
            of_period.len() - 1
        });
        of_period[index].add(datum);
    }
    buckets
}

fn floor_to(value: i64, step: i64) -> i64 {
    value - value.rem_euclid(step.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_weigh_counts() {
        let values = vec![(1.0, 90.0), (5.0, 9.0), (100.0, 1.0)];
        assert_eq!(percentile(values.clone(), 50.0), Some(1.0));
        assert_eq!(percentile(values.clone(), 99.0), Some(5.0));
        assert_eq!(percentile(values, 100.0), Some(100.0));
        assert_eq!(percentile(Vec::new(), 50.0), None);
    }

    #[test]
    fn names_of_statistics() {
        assert_eq!(Statistic::parse("p99.9"), Some(Statistic::Percentile(99.9)));
        assert_eq!(Statistic::parse("Average"), Some(Statistic::Average));
        for wrong in ["average", "p101", "p", "tm99", ""] {
            assert_eq!(Statistic::parse(wrong), None, "{wrong}");
        }
    }
}
