//! Counters by label set, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use cni_metrics_core::labels::{LabelSet, Rest};
use cni_metrics_core::model::Breakdown;
use cni_types::catalogue::LabelledFamily;
use serde::{Serialize, Serializer};

use super::number::number;

/// How many label sets are listed. The others are added to the row `other` of their family.
pub const SHOWN_SETS: usize = 64;

/// The object.
#[derive(Debug, Serialize)]
pub(super) struct BreakdownJson {
    overflowed: u64,
    shares: Vec<ShareJson>,
}

#[derive(Debug, Serialize)]
struct ShareJson {
    family: &'static str,
    #[serde(serialize_with = "labels")]
    labels: Option<Arc<LabelSet>>,
    rest: Option<&'static str>,
    value: serde_json::Value,
}

impl From<&Breakdown> for BreakdownJson {
    fn from(breakdown: &Breakdown) -> Self {
        let sets = breakdown.shares.iter().filter(|share| share.set.rest().is_none());
        let row = |family: LabelledFamily, set: Option<Arc<LabelSet>>, rest: Option<Rest>, value: f64| ShareJson {
            family: family.family().name(),
            labels: set,
            rest: rest.map(Rest::name),
            value: number(value),
        };
        let mut rows: Vec<ShareJson> = sets
            .clone()
            .take(SHOWN_SETS)
            .map(|share| row(share.set.family(), Some(share.set.clone()), None, share.value))
            .collect();
        let mut rests: BTreeMap<(LabelledFamily, Rest), f64> = BTreeMap::new();
        for share in sets.skip(SHOWN_SETS) {
            *rests.entry((share.set.family(), Rest::Other)).or_default() += share.value;
        }
        for share in &breakdown.shares {
            if let Some(rest) = share.set.rest() {
                *rests.entry((share.set.family(), rest)).or_default() += share.value;
            }
        }
        rows.extend(rests.into_iter().map(|((family, rest), value)| row(family, None, Some(rest), value)));
        Self { overflowed: breakdown.overflowed, shares: rows }
    }
}

#[expect(clippy::ref_option, reason = "the shape that serialize_with calls")]
fn labels<S: Serializer>(set: &Option<Arc<LabelSet>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().flat_map(|set| set.labels()))
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::agent::AgentFacts;
    use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
    use cni_metrics_core::model::{NodeName, Observation, PodUid, Target, UnixMillis};
    use cni_metrics_core::parse::parse;

    use super::*;

    #[test]
    fn the_list_is_short_errors_first_and_sums() {
        let errors = (1..=50).map(|number| format!("awscni_ipamd_error_count{{fn=\"f{number}\"}} {number}\n"));
        let calls = (1..=50).map(|number| format!("awscni_aws_api_error_count{{api=\"A\",error=\"{number}\"}} 7\n"));
        let requests = "awscni_ec2api_req_count{fn=\"A\"} 9000\nawscni_ec2api_req_count 1\n".to_owned();
        let page: String = errors.chain(calls).chain([requests]).collect();
        let (uid, node) = (PodUid::new("u"), NodeName::new("n"));
        let target = Target { uid, node, created_at: None, labels: Arc::default(), agent: AgentFacts::default() };
        let mut aggregator =
            Aggregator::new(HelperStart { clock: UnixMillis(0), api_server: None }, CounterMode::Totals);
        let outcome = Ok(parse(page.as_bytes()).sample.unwrap());
        let snapshot = aggregator.round(UnixMillis(0), vec![Observation { target, expected: true, outcome }]);
        let shown = serde_json::to_value(BreakdownJson::from(&snapshot.breakdown)).unwrap();
        let shares = shown["shares"].as_array().unwrap();
        let first = serde_json::json!({
            "family": "awscni_ipamd_error_count", "labels": {"fn": "f50"}, "rest": null, "value": 50
        });
        assert_eq!(shares[0], first);
        assert_eq!(shares.iter().filter(|share| share["rest"].is_null()).count(), SHOWN_SETS);
        let sum = |family: &str| {
            let of_family = shares.iter().filter(|share| share["family"] == family);
            of_family.map(|share| share["value"].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!(sum("awscni_ipamd_error_count"), 50 * 51 / 2);
        assert_eq!(sum("awscni_aws_api_error_count"), 350);
        assert_eq!(sum("awscni_ec2api_req_count"), 9001);
        let unattributed = serde_json::json!({
            "family": "awscni_ec2api_req_count", "labels": {}, "rest": "unattributed", "value": 1
        });
        assert!(shares.contains(&unattributed), "{shown}");
    }
}
