//! Which published names a sink takes: a metric set, narrowed by allow and deny lists.
//!
//! Every name costs money each month in CloudWatch, so a pattern that matches nothing is an error.

use cni_metrics_core::model::Snapshot;
use cni_types::catalogue::{CATALOGUE, METRICS, Metric, MetricSet, Row};

/// The catalogue at one address, so that a point can refer to its row.
pub static ROWS: [Row; METRICS] = CATALOGUE;

/// A mistake in an allow or deny list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A pattern that matches no published name.
    #[error("{list}: {pattern:?} matches no metric. Valid names: {}", names())]
    Unknown {
        /// The setting, as the operator wrote it.
        list: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// Lists that leave nothing to publish.
    #[error("METRIC_SET, METRIC_ALLOW and METRIC_DENY together leave no metric to publish")]
    Nothing,
}

/// The chosen metrics, in the catalogue's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    chosen: [bool; METRICS],
}

impl Selection {
    /// The metrics of `set` that match a pattern of `allow` (an empty list allows all) and none of `deny`. A pattern is a
    /// published name in which `*` stands for any text. All mistakes are reported together.
    pub fn new(set: MetricSet, allow: &[String], deny: &[String]) -> Result<Self, Vec<SelectionError>> {
        let unknown = |list: &'static str, patterns: &[String]| -> Vec<SelectionError> {
            let fits_none = |pattern: &&String| !ROWS.iter().any(|row| fits(pattern, row.name));
            let unknown = |pattern: &String| SelectionError::Unknown { list, pattern: pattern.clone() };
            patterns.iter().filter(fits_none).map(unknown).collect()
        };
        let mut errors = unknown("METRIC_ALLOW", allow);
        errors.extend(unknown("METRIC_DENY", deny));

        let mut chosen = [false; METRICS];
        for row in &ROWS {
            let fits_any = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, row.name));
            let wanted = row.set <= set && (allow.is_empty() || fits_any(allow)) && !fits_any(deny);
            if let Some(slot) = chosen.get_mut(row.metric as usize) {
                *slot = wanted;
            }
        }
        if errors.is_empty() && !chosen.contains(&true) {
            errors.push(SelectionError::Nothing);
        }
        if errors.is_empty() { Ok(Self { chosen }) } else { Err(errors) }
    }

    /// Every metric of the catalogue.
    pub fn all() -> Self {
        Self { chosen: [true; METRICS] }
    }

    /// True where the metric is chosen.
    pub fn contains(&self, metric: Metric) -> bool {
        self.chosen.get(metric as usize).copied().unwrap_or(false)
    }

    /// How many are chosen.
    pub fn len(&self) -> usize {
        self.chosen.iter().filter(|chosen| **chosen).count()
    }

    /// Never true of a selection made by [`Selection::new`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chosen metrics that this round measured, in the catalogue's order.
    pub fn values<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = (&'static Row, f64)> + 'a {
        ROWS.iter()
            .filter(|row| self.contains(row.metric))
            .filter_map(|row| snapshot.metrics.get(row.metric).map(|value| (row, value)))
    }
}

/// All published names, for messages.
fn names() -> String {
    ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

/// `*` stands for any text, the empty one included; everything else for itself, case and all.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    (0..=name.len()).any(|skipped| name.is_char_boundary(skipped) && fits(rest, &name[skipped..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn globs_match_like_a_shell() {
        assert!(fits("*", ""));
        assert!(fits("eni*", "eniAllocated"));
        assert!(fits("*IP*es", "assignIPAddresses"));
        assert!(fits("**Err", "awsAPIErr"));
        assert!(!fits("eni", "eniAllocated"));
        assert!(!fits("*eni", "eniAllocated"));
        assert!(!fits("ENI*", "eniAllocated"));
    }

    #[test]
    fn a_set_is_narrowed_by_allow_then_deny() {
        let selection =
            Selection::new(MetricSet::Standard, &strings(&["*Err*", "nodes*"]), &strings(&["ec2*"])).unwrap();
        assert!(selection.contains(Metric::AwsApiErr));
        assert!(selection.contains(Metric::NodesScraped));
        assert!(!selection.contains(Metric::Ec2ApiErrCount));
        assert!(!selection.contains(Metric::TotalIpAddresses));
        let compat = Selection::new(MetricSet::Compat, &[], &[]).unwrap();
        assert_eq!(compat.len(), METRICS - 3);
        assert!(!compat.contains(Metric::NodesExpected));
    }

    #[test]
    fn every_unknown_pattern_is_named_with_what_is_allowed() {
        let errors =
            Selection::new(MetricSet::Standard, &strings(&["assignIP"]), &strings(&["nope*", "eni*"])).unwrap_err();
        assert_eq!(errors.len(), 2);
        let text = errors[0].to_string();
        assert!(text.starts_with("METRIC_ALLOW: \"assignIP\" matches no metric") && text.contains("assignIPAddresses"));
        assert!(errors[1].to_string().contains("METRIC_DENY: \"nope*\""));
    }

    #[test]
    fn lists_that_leave_nothing_are_a_mistake() {
        assert_eq!(
            Selection::new(MetricSet::Standard, &[], &strings(&["*"])).unwrap_err(),
            vec![SelectionError::Nothing]
        );
        // Allowed by name, but not a member of the set.
        assert_eq!(
            Selection::new(MetricSet::Compat, &strings(&["nodesScraped"]), &[]).unwrap_err(),
            vec![SelectionError::Nothing]
        );
    }
}
