//! What CloudWatch holds, compared with what a perfect collector would have published for the same rounds.

use std::collections::BTreeMap;

use cni_sim::truth::numbers::COUNTERS;
use serde::Serialize;
use serde_json::Value;

use crate::round::Round;
use crate::simulator::Simulator;

/// Slack of a round's ends: the two clocks that are compared count milliseconds.
const SLACK_MS: i64 = 5;

/// The error of each published name: counters as published minus true over all rounds, others as the largest relative
/// error of a point.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Errors {
    pub(crate) counters: BTreeMap<String, Counter>,
    pub(crate) gauges: BTreeMap<String, Gauge>,
}

/// A counter over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Counter {
    pub(crate) published: f64,
    pub(crate) truth: f64,
}

/// A gauge's points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Gauge {
    pub(crate) points: u32,
    /// Rounds that should have had a point and had none.
    pub(crate) missing: u32,
    pub(crate) largest_relative_error: f64,
}

impl Errors {
    /// The largest difference of any counter.
    pub(crate) fn largest_difference(&self) -> f64 {
        self.counters.values().map(|counter| (counter.published - counter.truth).abs()).fold(0.0, f64::max)
    }

    /// The largest relative error of any gauge.
    pub(crate) fn largest_relative(&self) -> f64 {
        self.gauges.values().map(|gauge| gauge.largest_relative_error).fold(0.0, f64::max)
    }
}

/// One accepted datum.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    name: String,
    at_ms: i64,
    sum: f64,
    mean: f64,
}

/// Asks the simulator for both.
pub(crate) fn errors(simulator: &Simulator, rounds: &[Round], collector_start_ms: i64) -> anyhow::Result<Errors> {
    let points: Vec<Point> = simulator.published()?.iter().filter_map(point).collect();
    let moved = rounds.iter().map(|round| round.simulator_ms);
    Ok(compare(&points, &truths(simulator, rounds, moved, collector_start_ms)?))
}

/// The same for a program that gives each point the time of its round's tick, however late the simulator's clock is moved:
/// a point is of the first round that began at that time or later.
pub(crate) fn errors_by_tick(
    simulator: &Simulator,
    rounds: &[Round],
    collector_start_ms: i64,
) -> anyhow::Result<Errors> {
    let mut points: Vec<Point> = simulator.published()?.iter().filter_map(point).collect();
    let last = rounds.last().map_or(i64::MIN, |round| round.from_ms);
    // What was measured after the last round that was watched is compared with nothing.
    points.retain(|point| point.at_ms <= last + SLACK_MS);
    let after = rounds.iter().map(|round| round.from_ms + SLACK_MS + 1);
    let since = std::iter::once(i64::MIN).chain(after);
    Ok(compare(&points, &truths(simulator, rounds, since, collector_start_ms)?))
}

/// Each round's truth, and the time from which points belong to it.
fn truths(
    simulator: &Simulator,
    rounds: &[Round],
    since: impl Iterator<Item = i64>,
    collector_start_ms: i64,
) -> anyhow::Result<Vec<(i64, BTreeMap<String, f64>)>> {
    let truth = |(round, since): (&Round, i64)| {
        let truth = simulator.truth(round.from_ms - SLACK_MS, round.to_ms + SLACK_MS, collector_start_ms)?;
        Ok((since, metrics(&truth)))
    };
    rounds.iter().zip(since).map(truth).collect()
}

fn point(datum: &Value) -> Option<Point> {
    let statistics = datum.get("statistics")?;
    let number = |name: &str| statistics.get(name).and_then(Value::as_f64);
    let (sum, count) = (number("sum")?, number("count")?);
    Some(Point {
        name: datum.get("name")?.as_str()?.to_owned(),
        at_ms: datum.get("timestamp_ms")?.as_i64()?,
        sum,
        mean: if count > 0.0 { sum / count } else { sum },
    })
}

fn metrics(truth: &Value) -> BTreeMap<String, f64> {
    let metrics = truth.get("metrics").and_then(Value::as_object);
    metrics.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

/// A point belongs to the round before which the simulator's clock was last moved: up to the next move it stands still,
/// and a point without a time of its own has the time of that clock.
fn compare(points: &[Point], truths: &[(i64, BTreeMap<String, f64>)]) -> Errors {
    let round_of = |at_ms: i64| truths.partition_point(|(moved_ms, _)| *moved_ms <= at_ms).checked_sub(1);
    let mut errors = Errors::default();
    for (name, truth) in truths.iter().flat_map(|(_, metrics)| metrics) {
        // These add up; all others show a state.
        if COUNTERS.contains(&name.as_str()) {
            errors.counters.entry(name.clone()).or_default().truth += truth;
        } else {
            errors.gauges.entry(name.clone()).or_default().missing += 1;
        }
    }
    for point in points {
        let Some((_, truth)) = round_of(point.at_ms).and_then(|round| truths.get(round)) else { continue };
        if let Some(counter) = errors.counters.get_mut(&point.name) {
            counter.published += point.sum;
        }
        if let (Some(gauge), Some(truth)) = (errors.gauges.get_mut(&point.name), truth.get(&point.name)) {
            gauge.points += 1;
            gauge.missing = gauge.missing.saturating_sub(1);
            gauge.largest_relative_error = gauge.largest_relative_error.max(relative(point.mean, *truth));
        }
    }
    errors
}

fn relative(published: f64, truth: f64) -> f64 {
    let difference = (published - truth).abs();
    if truth.abs() > 0.0 { difference / truth.abs() } else { difference }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the figures are whole numbers and halves")]
mod tests {
    use super::*;

    use cni_sim::truth::numbers::GAUGES;
    use cni_types::catalogue::{Family, Kind};
    use cni_types::version::AgentVersion;
    use ipamd_model::metrics::{PageFlavour, Release};

    fn published(name: &str, at_ms: i64, value: f64) -> Point {
        Point { name: name.to_owned(), at_ms, sum: value, mean: value }
    }

    fn truth(moved_ms: i64, gauge: f64, counter: f64) -> (i64, BTreeMap<String, f64>) {
        let metrics = [("eniAllocated".to_owned(), gauge), ("addReqCount".to_owned(), counter)];
        (moved_ms, metrics.into())
    }

    #[test]
    fn points_meet_the_truth_of_their_own_round() {
        let truths = [truth(100, 10.0, 3.0), truth(200, 20.0, 4.0)];
        let points = [
            published("eniAllocated", 150, 10.0),
            published("eniAllocated", 250, 20.0),
            published("addReqCount", 150, 3.0),
            published("addReqCount", 250, 4.0),
            published("unknownMetric", 250, 4.0),
        ];
        let errors = compare(&points, &truths);
        assert_eq!((errors.largest_difference(), errors.largest_relative()), (0.0, 0.0));
        assert_eq!(errors.gauges["eniAllocated"], Gauge { points: 2, missing: 0, largest_relative_error: 0.0 });
    }

    #[test]
    fn what_is_wrong_or_missing_shows() {
        let truths = [truth(100, 10.0, 3.0), truth(200, 20.0, 4.0)];
        let points = [published("eniAllocated", 150, 15.0), published("addReqCount", 150, 30.0)];
        let errors = compare(&points, &truths);
        assert_eq!(errors.gauges["eniAllocated"], Gauge { points: 1, missing: 1, largest_relative_error: 0.5 });
        assert_eq!(errors.counters["addReqCount"], Counter { published: 30.0, truth: 7.0 });
        assert_eq!(errors.largest_difference(), 23.0);
        // A point from before the first round is no round's.
        assert_eq!(compare(&[published("eniAllocated", 50, 1.0)], &truths).gauges["eniAllocated"].points, 0);
    }

    #[test]
    fn a_datum_is_read_as_the_simulator_shows_it() {
        let datum = serde_json::json!({
            "name": "eniMaxAvailable", "timestamp_ms": 5, "statistics": {"sum": 9.0, "count": 2.0, "min": 4.0, "max": 5.0}
        });
        assert_eq!(point(&datum), Some(Point { name: "eniMaxAvailable".to_owned(), at_ms: 5, sum: 9.0, mean: 4.5 }));
        assert_eq!(point(&serde_json::json!({"name": "x"})), None);
    }

    /// The simulator keeps a list of its own, so that it can contradict the program; both lists must name the same.
    #[test]
    fn the_simulators_list_of_metrics_equals_the_catalogue() {
        let simulated: BTreeMap<&str, (Kind, bool)> = COUNTERS
            .into_iter()
            .map(|name| (name, (Kind::Counter, false)))
            .chain(GAUGES.into_iter().map(|(_, name, of_addresses)| (name, (Kind::SumGauge, of_addresses))))
            .collect();
        // The slowest operation is neither a sum nor a count: the truth computes it apart.
        let families = Family::ALL.into_iter().filter(|family| *family != Family::AwsApiLatencyMs);
        let catalogue: BTreeMap<&str, (Kind, bool)> =
            families.map(|family| (family.metric().name(), (family.kind(), family.counts_ipv4()))).collect();
        assert_eq!(simulated, catalogue);
        assert_eq!(simulated.len(), COUNTERS.len() + GAUGES.len(), "a name occurs twice");
    }

    #[test]
    fn the_simulators_agents_have_the_families_of_their_version() {
        for minor in 4..=24 {
            for patch in 0..=6 {
                let (flavour, version) =
                    (PageFlavour::Legacy(Release { minor, patch }), AgentVersion::new(1, minor, patch));
                for family in Family::ALL {
                    assert_eq!(flavour.exposes(family.name()), family.is_in(version), "{version} {}", family.name());
                }
            }
        }
    }
}
