//! The alerts. Each is about something that lasts, and bridges the minute in which a pod of the helper is replaced.

use std::collections::BTreeMap;

use cni_types::catalogue::Metric;
use cni_types::series::{LAST_ROUND, NODES_FAILED, SHARDS};

use super::recorded::{COVERAGE, EC2_ERRORS, ENI_UTILISATION, FULL_RATIO, IP_UTILISATION, REFUSING, REFUSING_RATIO};
use super::{Alert, Rule, RulesArgs};
use crate::alert::{self, AlertNames};
use crate::links::Docs;
use crate::promql::{NODE, Scope};
use crate::thresholds::{REFUSED_OF_MINUTES, Thresholds};

/// For how long a figure counts after its last sample: longer than a helper's pod takes to be replaced.
const BRIDGED: &str = "3m";
/// For how long a cluster whose series ended is missed.
const MISSED: &str = "1d";

pub(super) fn all(cluster: Option<&str>, scope: &Scope, args: &RulesArgs, docs: &Docs) -> Vec<Rule> {
    let limits = &args.thresholds;
    let mut alerts: Vec<Alert> =
        [refusals(scope, args), capacity(scope, args), health(scope, limits, cluster.is_some())]
            .into_iter()
            .flatten()
            .map(|new| new.finished(docs))
            .collect();
    if let Some(cluster) = cluster {
        for alert in &mut alerts {
            alert.labels.insert("cluster", literal(cluster));
        }
    }
    alerts.into_iter().map(Rule::Alert).collect()
}

/// An alert's label is a template: what would open an action is written as one that prints it.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// An alert before its names and links are in its texts.
struct NewAlert {
    names: AlertNames,
    expr: String,
    minutes: Option<u32>,
    severity: &'static str,
    summary: &'static str,
    description: String,
}

impl NewAlert {
    fn finished(self, docs: &Docs) -> Alert {
        let description = format!("{} {}", self.description, self.names.explained_by());
        let texts = [("summary", self.summary.to_owned()), ("description", description)];
        let link = docs.of(self.names).map(|url| ("runbook_url", url));
        Alert {
            name: self.names.rule,
            expr: self.expr,
            lasting: self.minutes.map(|minutes| format!("{minutes}m")),
            labels: BTreeMap::from([("severity", self.severity.to_owned())]),
            annotations: texts.into_iter().chain(link).collect(),
        }
    }
}

/// A recorded figure of the clusters in scope, also in the minute in which it has no sample.
fn bridged(scope: &Scope, record: &str) -> String {
    format!("last_over_time({}[{BRIDGED}])", scope.series(record))
}

/// Percent as the fraction that the recorded ratios are.
fn ratio(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}

fn refusals(scope: &Scope, args: &RulesArgs) -> Vec<NewAlert> {
    let (limits, minutes) = (&args.limits, args.thresholds.refused_minutes);
    let bad_minute = format!(
        "({} >= bool {}) * ({} >= bool {})",
        scope.series(REFUSING_RATIO),
        ratio(limits.refusing_percent),
        scope.series(REFUSING),
        limits.refusing_nodes
    );
    let refused = Metric::NoAvailableIpAddresses.node_series().unwrap_or_default();
    let of_node = format!("increase({}[{BRIDGED}])", scope.series(&refused));
    vec![
        NewAlert {
            names: alert::PODS_REFUSED,
            expr: format!("sum_over_time(({bad_minute})[{REFUSED_OF_MINUTES}m:1m]) >= {minutes}"),
            minutes: None,
            severity: "critical",
            summary: "Pods cannot start: their nodes have no free address",
            description: format!(
                "In {{{{ $value }}}} of the last {REFUSED_OF_MINUTES} minutes, {} % of the nodes or more refused pods an \
                 address. Look for a full or fragmented subnet, nodes at their limit, and EC2 errors.",
                limits.refusing_percent
            ),
        },
        NewAlert {
            names: alert::NODE_REFUSING,
            expr: format!("max by ({NODE}) ({of_node}) > 0"),
            minutes: Some(10),
            severity: "warning",
            summary: "A node keeps refusing pods an address",
            description:
                "Node {{ $labels.node }} ({{ $labels.instance_type }}, {{ $labels.zone }}) has refused pods an \
                          address again and again for 10 minutes."
                    .to_owned(),
        },
    ]
}

fn capacity(scope: &Scope, args: &RulesArgs) -> Vec<NewAlert> {
    let limits = &args.thresholds;
    let interfaces = limits.eni_percent.map(|percent| NewAlert {
        names: alert::INTERFACES_AT_LIMIT,
        expr: format!("{} >= {}", bridged(scope, ENI_UTILISATION), ratio(percent)),
        minutes: Some(10),
        severity: "warning",
        summary: "Nodes have nearly all the network interfaces they can have",
        description: "{{ $value | humanizePercentage }} of the possible interfaces are attached.".to_owned(),
    });
    let full = [
        NewAlert {
            names: alert::CLUSTER_NEARLY_FULL,
            expr: format!("{} >= {}", bridged(scope, IP_UTILISATION), ratio(limits.full_percent)),
            minutes: Some(5),
            severity: "warning",
            summary: "Pods use most of the addresses that the nodes can give them",
            description: "{{ $value | humanizePercentage }} of the addresses that pods can have on these nodes are in \
                          use: add nodes, larger nodes, or prefixes."
                .to_owned(),
        },
        NewAlert {
            names: alert::NODES_FULL,
            expr: format!("{} >= {}", bridged(scope, FULL_RATIO), ratio(args.limits.full_nodes_percent)),
            minutes: Some(15),
            severity: "warning",
            summary: "Many nodes have given out every address they can have",
            description:
                "{{ $value | humanizePercentage }} of the nodes have no address for a further pod, and cannot \
                          get one: new pods must fit on the others."
                    .to_owned(),
        },
    ];
    full.into_iter().chain(interfaces).collect()
}

fn health(scope: &Scope, limits: &Thresholds, of_one_cluster: bool) -> Vec<NewAlert> {
    vec![
        NewAlert {
            names: alert::EC2_ERRORS,
            expr: format!("{} >= {}", bridged(scope, EC2_ERRORS), limits.ec2_errors),
            minutes: Some(10),
            severity: "warning",
            summary: "EC2 calls of the VPC CNI fail",
            description:
                "About {{ printf \"%.0f\" $value }} EC2 calls failed in 5 minutes: throttling, missing rights, \
                          or a subnet without free addresses."
                    .to_owned(),
        },
        NewAlert {
            names: alert::COVERAGE_INCOMPLETE,
            expr: format!("{} < {}", bridged(scope, COVERAGE), ratio(limits.coverage_percent)),
            minutes: Some(10),
            severity: "warning",
            summary: "Nodes do not answer the helper, so sums are too low",
            description: format!(
                "{{{{ $value | humanizePercentage }}}} of the nodes answered; {NODES_FAILED} has the reasons, the \
                 helper's log the names."
            ),
        },
        NewAlert {
            names: alert::HELPER_SILENT,
            // The age is the delay already: with a `for` of its own it would go off after twice the time.
            expr: format!("time() - {} > {}", scope.share(LAST_ROUND), limits.silent_minutes * 60),
            minutes: None,
            severity: "warning",
            summary: "The helper has not finished a round",
            description:
                "The newest round is {{ $value | humanizeDuration }} old: the helper's log and its page /readyz \
                          on port 61682 say what it waits for."
                    .to_owned(),
        },
        NewAlert {
            names: alert::HELPER_MISSING,
            expr: missing(scope, of_one_cluster),
            minutes: Some(limits.silent_minutes),
            severity: "warning",
            summary: "The helper, or one of its shards, shows no rounds",
            description: "No figures arrive: is its pod running and ready, and does Prometheus scrape port 61681?"
                .to_owned(),
        },
    ]
}

/// What is gone leaves no series behind. Of a cluster that is named, `absent()` tells; of the others, that there were some
/// in the last day; of a shard, only their number. Series without the label `cluster` are of one cluster, and that one is
/// not gone where the label was switched on.
fn missing(scope: &Scope, of_one_cluster: bool) -> String {
    let round = scope.series(LAST_ROUND);
    let gone = if of_one_cluster {
        format!("absent({round})")
    } else {
        let known = format!("last_over_time({}[{MISSED}])", scope.and(r#"cluster!="""#).series(LAST_ROUND));
        format!(
            "(max by (cluster) ({known}) unless max by (cluster) ({round})) or (absent({round}) unless on () {known})"
        )
    };
    format!(
        "{gone} or (count by (cluster) ({}) < max by (cluster) ({}))",
        scope.share(LAST_ROUND),
        scope.series(SHARDS)
    )
}
