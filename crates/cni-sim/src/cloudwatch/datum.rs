//! One accepted datum, its series, and its statistics.

use super::put::GivenDatum;
use std::sync::Arc;

/// What makes a metric one series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// For example `Kubernetes`.
    pub namespace: String,
    /// For example `assignIPAddresses`.
    pub name: String,
    /// Name and value, sorted: their order in a request means nothing.
    pub dimensions: Vec<(String, String)>,
}

impl SeriesKey {
    /// A key; the dimensions may come in any order.
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let mut dimensions: Vec<_> = dimensions.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        dimensions.sort();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

/// One accepted datum.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// Its series.
    pub key: Arc<SeriesKey>,
    /// The time it is for, Unix milliseconds; the arrival time if the client gave none.
    pub timestamp_ms: i64,
    /// Whether the client gave the timestamp.
    pub timestamp_given: bool,
    /// `Value`, if that is the form it came in.
    pub value: Option<f64>,
    /// `Values` with their `Counts`, if that is the form it came in; of a `Value`, that value once.
    pub values: Vec<(f64, f64)>,
    /// Sum, minimum, maximum and number of samples, whatever the form.
    pub statistics: Statistics,
    /// `None` unless given.
    pub unit: String,
    /// 1 or 60.
    pub resolution_s: u32,
    /// When it arrived by the service's clock.
    pub arrived_ms: i64,
    /// `RequestRecord::number` of the request that brought it.
    pub request: u64,
}

impl Datum {
    pub(super) fn from_given(given: GivenDatum, key: Arc<SeriesKey>, arrived_ms: i64, request: u64) -> Self {
        let counts = given.counts.unwrap_or_default();
        let mut values: Vec<(f64, f64)> = given.values.unwrap_or_default().into_iter().map(|v| (v, 1.0)).collect();
        for (value, count) in values.iter_mut().zip(counts) {
            value.1 = count;
        }
        if let Some(value) = given.value {
            values = vec![(value, 1.0)];
        }
        let statistics = given.statistics.map_or_else(
            || Statistics::of_values(&values),
            |set| Statistics {
                count: set.count.unwrap_or(0.0),
                sum: set.sum.unwrap_or(0.0),
                min: set.min.unwrap_or(0.0),
                max: set.max.unwrap_or(0.0),
            },
        );
        Self {
            key,
            timestamp_ms: given.timestamp_ms.unwrap_or(arrived_ms),
            timestamp_given: given.timestamp_ms.is_some(),
            value: given.value,
            values,
            statistics,
            unit: given.unit.unwrap_or_else(|| "None".to_owned()),
            resolution_s: if given.resolution_s == Some(1) { 1 } else { 60 },
            arrived_ms,
            request,
        }
    }
}

/// What CloudWatch keeps of any number of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// Number of samples.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Statistics {
    pub(super) const NONE: Self = Self { count: 0.0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Of values, each with how often it occurred.
    pub(super) fn of_values(values: &[(f64, f64)]) -> Self {
        values.iter().fold(Self::NONE, |all, &(value, count)| {
            all.merged(Self { count, sum: value * count, min: value, max: value })
        })
    }

    pub(super) fn merged(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}
