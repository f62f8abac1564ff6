//! Counters by label set: what the helper holds beside what the simulator knows.

use std::collections::{BTreeMap, BTreeSet};

use cni_metrics_core::labels::LabelShare;
use cni_metrics_core::model::Snapshot;
use cni_types::catalogue::LabelledFamily;

/// Series, as a page writes them, and what they counted in a round.
type Series = BTreeMap<String, f64>;

/// The label `rest` names what belongs to no label set; the simulator has no such series.
fn name(share: &LabelShare) -> String {
    let rest = share.set.rest().map(|rest| ("rest", rest.name()));
    let labels: Vec<String> =
        share.set.labels().chain(rest).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{}{{{}}}", share.set.family().family().name(), labels.join(","))
}

fn held(snapshot: &Snapshot) -> Series {
    snapshot.breakdown.shares.iter().map(|share| (name(share), share.value)).collect()
}

/// The label sets whose share differs from what the simulator counted: the series, the share, and the expected number.
pub fn differences(snapshot: &Snapshot, expected: &BTreeMap<String, u64>) -> Vec<(String, f64, f64)> {
    let held = held(snapshot);
    let expected: Series = expected.iter().map(|(series, count)| (series.clone(), *count as f64)).collect();
    let of = |series: &Series, name: &str| series.get(name).copied().unwrap_or(0.0);
    let names: BTreeSet<&String> = held.keys().chain(expected.keys()).collect();
    let both = names.into_iter().map(|name| (name.clone(), of(&held, name), of(&expected, name)));
    both.filter(|(_, held, expected)| held.total_cmp(expected).is_ne()).collect()
}

/// The same for a helper that follows another one: until it has read a page of a node, the node's increase belongs to no
/// label set. No label set may have counted more than the simulator, and of each family the shares add up to the value
/// that is published.
pub fn differences_of_successor(snapshot: &Snapshot, expected: &BTreeMap<String, u64>) -> Vec<(String, f64, f64)> {
    let is_rest = |name: &str| name.contains("{rest=\"");
    let mut found = differences(snapshot, expected);
    found.retain(|(name, held, expected)| held > expected && !is_rest(name));
    found.extend(unexplained(snapshot));
    found
}

/// Families whose shares do not add up to the published value: the name, the sum, and the value.
pub fn unexplained(snapshot: &Snapshot) -> Vec<(String, f64, f64)> {
    let sums = LabelledFamily::ALL.into_iter().map(|labelled| {
        let shares = snapshot.breakdown.shares.iter().filter(|share| share.set.family() == labelled);
        let sum = shares.fold(0.0, |sum, share| sum + share.value);
        let family = labelled.family();
        (family.name().to_owned(), sum, snapshot.metrics.get(family.metric()).unwrap_or(0.0))
    });
    sums.filter(|(_, sum, value)| sum.total_cmp(value).is_ne()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cni_metrics_core::agent::AgentFacts;
    use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
    use cni_metrics_core::model::{NodeName, Observation, PodUid, Target, UnixMillis};
    use cni_metrics_core::parse::parse;

    use super::*;

    const START_MS: i64 = 1_700_000_000_000;

    fn look(aggregator: &mut Aggregator, errors: u64) -> Snapshot {
        let page = format!(
            "awscni_add_ip_req_count 1\nawscni_aws_api_error_count{{api=\"CreateTags\",error=\"A\"}} {errors}\n\
             process_start_time_seconds {}\n",
            START_MS / 1000 + 60
        );
        let target = Target {
            uid: PodUid::new("u"),
            node: NodeName::new("n"),
            created_at: None,
            labels: Arc::default(),
            agent: AgentFacts::default(),
        };
        let outcome = parse(page.as_bytes()).sample.map_err(|error| error.kind());
        aggregator.round(UnixMillis(START_MS + 90_000), vec![Observation { target, expected: true, outcome }])
    }

    fn aggregator(start_ms: i64) -> Aggregator {
        let clock = UnixMillis(start_ms);
        Aggregator::new(HelperStart { clock, api_server: Some(clock) }, CounterMode::Increase)
    }

    fn expected(errors: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("awscni_aws_api_error_count{api=\"CreateTags\",error=\"A\"}".to_owned(), errors)])
    }

    #[test]
    fn every_label_set_of_either_side_is_compared() {
        let snapshot = look(&mut aggregator(START_MS), 7);
        assert_eq!(differences(&snapshot, &expected(7)), []);
        let series = expected(0).into_keys().next().unwrap();
        assert_eq!(differences(&snapshot, &expected(8)), [(series.clone(), 7.0, 8.0)]);
        assert_eq!(differences(&snapshot, &BTreeMap::new()), [(series.clone(), 7.0, 0.0)]);
        let quiet = Snapshot::empty(1, UnixMillis(START_MS));
        assert_eq!(differences(&quiet, &expected(8)), [(series, 0.0, 8.0)]);
    }

    #[test]
    fn a_successor_may_not_know_the_label_set_and_never_invents_events() {
        let mut before = aggregator(START_MS);
        look(&mut before, 7);
        let mut after = aggregator(START_MS + 80_000);
        after.import(&before.export()).unwrap();
        let snapshot = look(&mut after, 12);
        let rest = "awscni_aws_api_error_count{rest=\"unattributed\"}".to_owned();
        assert!(differences(&snapshot, &expected(5)).contains(&(rest, 5.0, 0.0)));
        assert_eq!(differences_of_successor(&snapshot, &expected(5)), []);
        let snapshot = look(&mut after, 14);
        assert_eq!(differences(&snapshot, &expected(2)), []);
        assert_eq!(differences_of_successor(&snapshot, &expected(1)).len(), 1, "more than there were");
    }
}
