//! CloudWatch alarms: the inputs of put-metric-alarm, and the same alarms as a template for `CloudFormation`.

use anyhow::ensure;
use clap::{Args, ValueEnum};
use cni_metrics_core::catalogue::Metric;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cloudwatch_dashboard::statistic;
use super::target::{Target, check_cloudwatch_namespace};
use super::thresholds::Thresholds;
use super::{Artifact, Output};

#[derive(Debug, Clone, Args)]
pub(super) struct AlarmArgs {
    /// What to show: an array of put-metric-alarm inputs, or a stack template
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// The SNS topic that is told when an alarm goes off and when it is over; of the alarms' own region
    #[arg(long, value_name = "ARN")]
    topic_arn: Option<String>,
    /// The CloudWatch namespace the helper publishes to
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    cloudwatch_namespace: String,
    #[command(flatten)]
    thresholds: Thresholds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Inputs of `aws cloudwatch put-metric-alarm --cli-input-json`
    Json,
    /// A template for `aws cloudformation deploy`
    Cloudformation,
}

pub(super) fn make(target: &Target, args: &AlarmArgs) -> anyhow::Result<Output> {
    if let Some(arn) = &args.topic_arn {
        target.check_topic(arn)?;
    }
    check_cloudwatch_namespace(&args.cloudwatch_namespace)?;
    let cluster = target.needed_cluster_id()?;
    ensure!(cluster.len() <= 200, "--cluster-id is longer than an alarm's name may be");
    let alarms = all(cluster, args);
    let inputs = Artifact::json("cloudwatch-alarms.json", &alarms)?;
    let template = Artifact::json("cloudwatch-alarms.cloudformation.json", &cloudformation(cluster, &alarms))?;
    Ok(match args.format {
        Format::Json => Output::with(inputs, vec![template]),
        Format::Cloudformation => Output::with(template, vec![inputs]),
    })
}

/// One alarm. Field names and their order are put-metric-alarm's, which `AWS::CloudWatch::Alarm` shares.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
struct Alarm {
    #[serde(skip)]
    resource: &'static str,
    alarm_name: String,
    alarm_description: String,
    metrics: Vec<Query>,
    comparison_operator: &'static str,
    threshold: f64,
    evaluation_periods: u32,
    datapoints_to_alarm: u32,
    treat_missing_data: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alarm_actions: Vec<String>,
    #[serde(rename = "OKActions", skip_serializing_if = "Vec::is_empty")]
    ok_actions: Vec<String>,
}

/// One operand, or the expression over them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_stat: Option<Value>,
    return_data: bool,
}

/// What an alarm is about, before names and actions are added.
struct Condition {
    resource: &'static str,
    name: &'static str,
    why: &'static str,
    metrics: Vec<Query>,
    operator: &'static str,
    threshold: u32,
    /// Periods looked at, and how many of them must be bad.
    periods: u32,
    bad: u32,
    missing: &'static str,
}

const AT_LEAST: &str = "GreaterThanOrEqualToThreshold";
const BELOW: &str = "LessThanThreshold";

fn all(cluster: &str, args: &AlarmArgs) -> Vec<Alarm> {
    let source = Source { cluster, namespace: &args.cloudwatch_namespace };
    let conditions = [capacity(&source, &args.thresholds), health(&source, &args.thresholds)].into_iter().flatten();
    conditions
        .map(|condition| Alarm {
            resource: condition.resource,
            alarm_name: format!("{cluster}-vpc-cni-{}", condition.name),
            alarm_description: condition.why.to_owned(),
            metrics: condition.metrics,
            comparison_operator: condition.operator,
            threshold: f64::from(condition.threshold),
            evaluation_periods: condition.periods,
            datapoints_to_alarm: condition.bad,
            treat_missing_data: condition.missing,
            alarm_actions: args.topic_arn.iter().cloned().collect(),
            ok_actions: args.topic_arn.iter().cloned().collect(),
        })
        .collect()
}

fn capacity(source: &Source<'_>, limits: &Thresholds) -> Vec<Condition> {
    use Metric::{AssignIpAddresses, EniAllocated, EniMaxAvailable, MaxIpAddresses, NoAvailableIpAddresses};
    vec![
        Condition {
            resource: "PodsRefusedAnAddress",
            name: "pods-refused-an-address",
            why: "Pods could not start because their node had no free address. Look for a full or fragmented subnet, \
                  nodes at their limit, and EC2 errors.",
            metrics: vec![source.alone("refused", NoAvailableIpAddresses, 300)],
            operator: AT_LEAST,
            threshold: limits.refused,
            periods: 1,
            bad: 1,
            missing: "notBreaching",
        },
        Condition {
            resource: "ClusterNearlyFull",
            name: "cluster-nearly-full",
            why: "Pods use most of the addresses that the nodes could hold: add nodes, larger nodes, or prefixes. IPv6 \
                  clusters have no such limit and never raise this.",
            metrics: vec![
                expression("percent", "IF(capacity > 0, 100 * assigned / capacity, 0)", "percent of addresses in use"),
                source.operand("assigned", AssignIpAddresses, 60),
                source.operand("capacity", MaxIpAddresses, 60),
            ],
            operator: AT_LEAST,
            threshold: limits.full_percent,
            periods: 5,
            bad: 5,
            missing: "ignore",
        },
        Condition {
            resource: "InterfacesAtLimit",
            name: "interfaces-at-limit",
            why: "Nodes have nearly all the network interfaces they can have: a node that is full cannot grow its pool.",
            metrics: vec![
                expression("percent", "IF(slots > 0, 100 * attached / slots, 0)", "percent of interfaces attached"),
                source.operand("attached", EniAllocated, 60),
                source.operand("slots", EniMaxAvailable, 60),
            ],
            operator: AT_LEAST,
            threshold: limits.eni_percent,
            periods: 10,
            bad: 10,
            missing: "ignore",
        },
    ]
}

fn health(source: &Source<'_>, limits: &Thresholds) -> Vec<Condition> {
    use Metric::{Ec2ApiErrCount, NodesExpected, NodesScraped};
    vec![
        Condition {
            resource: "Ec2Errors",
            name: "ec2-errors",
            why: "EC2 calls of the VPC CNI fail: throttling, missing rights, or a subnet without free addresses.",
            metrics: vec![source.alone("errors", Ec2ApiErrCount, 300)],
            operator: AT_LEAST,
            threshold: limits.ec2_errors,
            periods: 1,
            bad: 1,
            missing: "notBreaching",
        },
        Condition {
            resource: "CoverageIncomplete",
            name: "coverage-incomplete",
            why: "Nodes do not answer the helper, so sums are too low. The helper's log names them and the reason.",
            metrics: vec![
                expression(
                    "percent",
                    "IF(expected > 0, 100 * scraped / expected, 100)",
                    "percent of nodes that answered",
                ),
                source.operand("scraped", NodesScraped, 60),
                source.operand("expected", NodesExpected, 60),
            ],
            operator: BELOW,
            threshold: limits.coverage_percent,
            periods: 10,
            bad: 10,
            missing: "ignore",
        },
        Condition {
            resource: "HelperSilent",
            name: "helper-silent",
            why: "Nothing arrives from the helper: is its pod running, may it publish, can it reach CloudWatch?",
            metrics: vec![Query {
                metric_stat: Some(source.statistic(NodesExpected, 60, "SampleCount")),
                ..source.alone("points", NodesExpected, 60)
            }],
            operator: BELOW,
            threshold: 1,
            periods: limits.silent_minutes,
            bad: limits.silent_minutes,
            missing: "breaching",
        },
    ]
}

/// Where the metrics are.
struct Source<'a> {
    cluster: &'a str,
    namespace: &'a str,
}

impl Source<'_> {
    /// A metric that is compared itself.
    fn alone(&self, id: &'static str, metric: Metric, period_seconds: u32) -> Query {
        Query { return_data: true, ..self.operand(id, metric, period_seconds) }
    }

    fn operand(&self, id: &'static str, metric: Metric, period_seconds: u32) -> Query {
        let metric_stat = Some(self.statistic(metric, period_seconds, statistic(metric)));
        Query { id, expression: None, label: None, metric_stat, return_data: false }
    }

    fn statistic(&self, metric: Metric, period_seconds: u32, statistic: &str) -> Value {
        json!({
            "Metric": {
                "Namespace": self.namespace,
                "MetricName": metric.name(),
                "Dimensions": [{ "Name": "CLUSTER_ID", "Value": self.cluster }],
            },
            "Period": period_seconds,
            "Stat": statistic,
        })
    }
}

fn expression(id: &'static str, formula: &'static str, label: &'static str) -> Query {
    Query { id, expression: Some(formula), label: Some(label), metric_stat: None, return_data: true }
}

fn cloudformation(cluster: &str, alarms: &[Alarm]) -> Value {
    let resources: Map<String, Value> = alarms
        .iter()
        .map(|alarm| (alarm.resource.to_owned(), json!({ "Type": "AWS::CloudWatch::Alarm", "Properties": alarm })))
        .collect();
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!("Alarms on the VPC CNI metrics of the cluster {cluster}"),
        "Resources": resources,
    })
}
