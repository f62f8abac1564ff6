//! Prometheus rules on the helper's own output: recorded ratios, and alerts that say what to do.
//!
//! They are right for a Prometheus (or Thanos, Mimir, the managed service) that holds any number of clusters: every rule
//! keeps the label `cluster`, and none depends on which pod of the helper showed a figure.

mod alerts;
mod recorded;

use std::collections::BTreeMap;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::artifact::{Artifact, Output};
use super::label::Label;
use super::links::{Docs, DocsFlag};
use super::promql::Scope;
use super::target::{ClusterIdFlag, Flags, NamespaceFlag, Target};
use super::thresholds::Thresholds;

#[derive(Debug, Clone, Args)]
pub(super) struct RulesArgs {
    /// Output format: an object for the Prometheus operator, or a plain rules file
    #[arg(long, value_enum, default_value = "prometheus-rule")]
    format: RuleFormat,
    /// A label of the `PrometheusRule` object, such as release=kube-prometheus-stack, by which the operator selects it;
    /// may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    #[command(flatten)]
    cluster_id: ClusterIdFlag,
    #[command(flatten)]
    namespace: NamespaceFlag,
    #[command(flatten)]
    docs: DocsFlag,
    #[command(flatten)]
    limits: RuleLimits,
    #[command(flatten)]
    thresholds: Thresholds,
}

/// Limits that only Prometheus' figures make possible.
#[derive(Debug, Clone, Args)]
pub(super) struct RuleLimits {
    /// A minute counts as bad when at least this percentage of the nodes refuses pods an address...
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    refusing_percent: u32,
    /// ... and at least this number of nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    refusing_nodes: u32,
    /// Nodes that are full, percent of all
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    full_nodes_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RuleFormat {
    /// A `PrometheusRule` object (monitoring.coreos.com/v1)
    PrometheusRule,
    /// A rules file for `rule_files`
    RulesFile,
}

pub(super) fn make(args: &RulesArgs) -> anyhow::Result<Output> {
    let (cluster_id, namespace) = (args.cluster_id.cluster_id.clone(), Some(args.namespace.namespace.clone()));
    let target = Target::new(Flags { cluster_id, namespace, ..Flags::default() })?;
    let docs = Docs::new(&args.docs)?;
    ensure!(
        args.labels.is_empty() || args.format == RuleFormat::PrometheusRule,
        "--label is for the PrometheusRule object: a rules file has no labels"
    );
    let scope = target.cluster_id().map_or_else(Scope::every_cluster, Scope::cluster);
    let rules = RuleFile {
        groups: vec![
            Group { name: "cni-metrics-helper.recorded", rules: recorded::all(&scope) },
            Group { name: "cni-metrics-helper.alerts", rules: alerts::all(target.cluster_id(), &scope, args, &docs) },
        ],
    };
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
    annotations: BTreeMap<&'static str, String>,
}
