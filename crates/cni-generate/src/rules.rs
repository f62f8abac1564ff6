//! Prometheus rules on the helper's own output: recorded ratios, and alerts that say what to do.

use std::collections::BTreeMap;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::artifact::{Artifact, Output};
use super::label::Label;
use super::target::Target;
use super::thresholds::Thresholds;

#[derive(Debug, Clone, Args)]
pub(super) struct RulesArgs {
    /// What to show: an object for the Prometheus operator, or a plain rules file
    #[arg(long, value_enum, default_value = "prometheus-rule")]
    format: RuleFormat,
    /// A label of the `PrometheusRule` object, such as release=kube-prometheus-stack, by which the operator selects it;
    /// may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    #[command(flatten)]
    thresholds: Thresholds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RuleFormat {
    /// A `PrometheusRule` object (monitoring.coreos.com/v1)
    PrometheusRule,
    /// A rules file for `rule_files`
    RulesFile,
}

pub(super) fn make(target: &Target, args: &RulesArgs) -> anyhow::Result<Output> {
    ensure!(
        args.labels.is_empty() || args.format == RuleFormat::PrometheusRule,
        "--label is for the PrometheusRule object: a rules file has no labels"
    );
    let rules = RuleFile { groups: vec![recorded(), alerts(target.cluster_id(), &args.thresholds)] };
    let file = Artifact::new("prometheus-rules.yaml", serde_saphyr::to_string(&rules)?);
    let object = PrometheusRule {
        api_version: "monitoring.coreos.com/v1",
        kind: "PrometheusRule",
        metadata: Metadata {
            name: "cni-metrics-helper",
            namespace: target.namespace.clone(),
            labels: object_labels(&args.labels)?,
        },
        spec: &rules,
    };
    let object = Artifact::new("prometheusrule.yaml", serde_saphyr::to_string(&object)?);
    Ok(match args.format {
        RuleFormat::PrometheusRule => Output::with(object, vec![file]),
        RuleFormat::RulesFile => Output::with(file, vec![object]),
    })
}

/// Our own, and those that were asked for.
fn object_labels(given: &[Label]) -> anyhow::Result<BTreeMap<String, String>> {
    let own = ["app.kubernetes.io/name", "k8s-app"];
    let mut labels: BTreeMap<String, String> =
        own.iter().map(|key| ((*key).to_owned(), "cni-metrics-helper".to_owned())).collect();
    for Label { key, value } in given {
        let before = labels.insert(key.clone(), value.clone());
        ensure!(before.is_none(), "--label {key}={value}: the label {key} is there already");
    }
    Ok(labels)
}

#[derive(Serialize)]
struct PrometheusRule<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: &'a RuleFile,
}

#[derive(Serialize)]
struct Metadata {
    name: &'static str,
    namespace: String,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rule {
    Record { record: &'static str, expr: String },
    Alert(Alert),
}

#[derive(Serialize)]
struct Alert {
    #[serde(rename = "alert")]
    name: &'static str,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    lasting: Option<String>,
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, &'static str>,
}

const ROUND: &str = "cni_cluster_last_round_timestamp_seconds";

/// Of replicas that both show a figure (a warm standby, one that has led), the larger: they measure the same nodes.
fn once(figure: &str) -> String {
    format!("max without (pod, instance) ({figure})")
}

/// The cluster's: shards, if there are any, add up.
fn whole(figure: &str) -> String {
    format!("sum without (shard) ({})", once(figure))
}

fn ratio_of(part: &str, all: &str) -> String {
    format!("{} / ({} > 0)", whole(part), whole(all))
}

fn recorded() -> Group {
    let rules = [
        ("cni_cluster:ip_utilisation:ratio", ratio_of("cni_cluster_assigned_ip_addresses", "cni_cluster_ip_max")),
        ("cni_cluster:eni_utilisation:ratio", ratio_of("cni_cluster_eni_allocated", "cni_cluster_eni_max")),
        (
            "cni_cluster:warm_ip_addresses:sum",
            format!("{} - {}", whole("cni_cluster_total_ip_addresses"), whole("cni_cluster_assigned_ip_addresses")),
        ),
        ("cni_cluster:coverage:ratio", ratio_of("cni_cluster_nodes_scraped", "cni_cluster_nodes_expected")),
        (
            "cni_cluster:refused_ip_addresses:increase5m",
            whole("increase(cni_cluster_no_available_ip_addresses_total[5m])"),
        ),
        ("cni_cluster:ec2_api_errors:increase5m", whole("increase(cni_cluster_ec2_api_errors_total[5m])")),
        (
            "cni_node:ip_utilisation:ratio",
            format!("{} / ({} > 0)", once("cni_node_assigned_ip_addresses"), once("cni_node_ip_max")),
        ),
    ];
    Group {
        name: "cni-metrics-helper.recorded",
        rules: rules.into_iter().map(|(record, expr)| Rule::Record { record, expr }).collect(),
    }
}

fn alerts(cluster: Option<&str>, limits: &Thresholds) -> Group {
    let mut alerts: Vec<Alert> = [capacity(limits), health(limits)].into_iter().flatten().collect();
    if let Some(cluster) = cluster {
        for alert in &mut alerts {
            alert.labels.insert("cluster", literal(cluster));
        }
    }
    Group { name: "cni-metrics-helper.alerts", rules: alerts.into_iter().map(Rule::Alert).collect() }
}

/// An alert's label is a template: what would open an action is written as one that prints it.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

fn capacity(limits: &Thresholds) -> Vec<Alert> {
    vec![
        alert(
            "VpcCniPodsRefusedAnAddress",
            format!("cni_cluster:refused_ip_addresses:increase5m >= {}", limits.refused),
            None,
            "critical",
            "Pods cannot start: their node has no free address",
            "About {{ printf \"%.0f\" $value }} requests in 5 minutes found no free address. Look for a full or fragmented \
             subnet, nodes at their limit, and EC2 errors.",
        ),
        alert(
            "VpcCniClusterNearlyFull",
            format!("cni_cluster:ip_utilisation:ratio >= {}", ratio(limits.full_percent)),
            Some("5m".to_owned()),
            "warning",
            "Pods use most of the addresses the nodes could hold",
            "{{ $value | humanizePercentage }} of what the nodes could hold is in use: add nodes, larger nodes, or prefixes.",
        ),
        alert(
            "VpcCniInterfacesAtLimit",
            format!("cni_cluster:eni_utilisation:ratio >= {}", ratio(limits.eni_percent)),
            Some("10m".to_owned()),
            "warning",
            "Nodes have nearly all the network interfaces they can have",
            "{{ $value | humanizePercentage }} of the possible interfaces are attached: a node that is full cannot grow its pool.",
        ),
        alert(
            "VpcCniNodeFull",
            "cni_node:ip_utilisation:ratio >= 1".to_owned(),
            Some("15m".to_owned()),
            "info",
            "A node has given out every address it could hold",
            "Node {{ $labels.node }} ({{ $labels.instance_type }}, {{ $labels.zone }}) has no address left for a further pod.",
        ),
    ]
}

fn health(limits: &Thresholds) -> Vec<Alert> {
    let silent_seconds = limits.silent_minutes * 60;
    vec![
        alert(
            "VpcCniEc2Errors",
            format!("cni_cluster:ec2_api_errors:increase5m >= {}", limits.ec2_errors),
            None,
            "warning",
            "EC2 calls of the VPC CNI fail",
            "About {{ printf \"%.0f\" $value }} EC2 calls failed in 5 minutes: throttling, missing rights, or a subnet \
             without free addresses.",
        ),
        alert(
            "VpcCniCoverageIncomplete",
            format!("cni_cluster:coverage:ratio < {}", ratio(limits.coverage_percent)),
            Some("10m".to_owned()),
            "warning",
            "Nodes do not answer the helper, so sums are too low",
            "{{ $value | humanizePercentage }} of the nodes answered; cni_cluster_nodes_failed has the reasons, the \
             helper's log the names.",
        ),
        alert(
            "VpcCniHelperSilent",
            // The age is the delay already: with a `for` of its own it would go off after twice the time.
            format!("time() - {} > {silent_seconds}", once(ROUND)),
            None,
            "warning",
            "The helper has not finished a round",
            "The newest round is {{ $value | humanizeDuration }} old: the helper's log and its page /readyz on port 61682 \
             say what it waits for.",
        ),
        alert(
            "VpcCniHelperMissing",
            // A shard that is gone leaves no series behind: only their number tells.
            format!(
                "absent({ROUND}) or \
                 count without (shard) ({last}) < max without (pod, instance, shard) (cni_cluster_shards)",
                last = once(ROUND)
            ),
            Some(format!("{}m", limits.silent_minutes)),
            "warning",
            "The helper, or one of its shards, shows no rounds",
            "No figures arrive: is its pod running and ready, and does Prometheus scrape port 61681?",
        ),
    ]
}

fn alert(
    name: &'static str,
    expr: String,
    lasting: Option<String>,
    severity: &'static str,
    summary: &'static str,
    description: &'static str,
) -> Alert {
    let labels = BTreeMap::from([("severity", severity.to_owned())]);
    let annotations = BTreeMap::from([("summary", summary), ("description", description)]);
    Alert { name, expr, lasting, labels, annotations }
}

/// Percent as the fraction that the recorded ratios are.
fn ratio(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}
