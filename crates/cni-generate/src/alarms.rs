//! CloudWatch alarms: the inputs of put-metric-alarm, and the same alarms as a template for `CloudFormation`.

use anyhow::ensure;
use clap::{Args, ValueEnum};
use cni_types::catalogue::Metric;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::artifact::{Artifact, Output};
use super::cloudwatch_dashboard::statistic;
use super::links::{Docs, DocsFlag};
use super::target::{ClusterIdFlag, Flags, PartitionFlag, RegionFlag, Target, check_cloudwatch_namespace};
use super::thresholds::{REFUSED_OF_MINUTES, Thresholds};
use crate::alert::{self, AlertNames};
use cni_types::shard::{MOST_SHARDS, Shard};

/// Both sides of a ratio, each a metric a shard, make the ten metrics that CloudWatch allows an alarm.
const MOST_SHARDS_AN_ALARM: u32 = 5;

#[derive(Debug, Clone, Args)]
pub(super) struct AlarmArgs {
    #[command(flatten)]
    cluster_id: ClusterIdFlag,
    #[command(flatten)]
    region: RegionFlag,
    #[command(flatten)]
    partition: PartitionFlag,
    /// Output format: an array of put-metric-alarm inputs, or a stack template
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// ARN of the SNS topic that is notified of ALARM and OK; in the alarms' own region
    #[arg(long, value_name = "ARN")]
    topic_arn: Option<String>,
    /// The CloudWatch namespace the helper publishes to
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    cloudwatch_namespace: String,
    /// The number of shards by which the helpers publish (SHARD): at most 5, since an alarm reads no more than 10 metrics
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SHARDS)))]
    shards: Option<u32>,
    #[command(flatten)]
    docs: DocsFlag,
    /// Pods refused an address: refused attempts that make a minute bad
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    refused: u32,
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

pub(super) fn make(args: &AlarmArgs) -> anyhow::Result<Output> {
    let target = Target::new(Flags {
        cluster_id: args.cluster_id.cluster_id.clone(),
        region: args.region.region.clone(),
        partition: args.partition.partition,
        namespace: None,
    })?;
    if let Some(arn) = &args.topic_arn {
        target.check_topic(arn)?;
    }
    check_cloudwatch_namespace(&args.cloudwatch_namespace)?;
    let cluster = target.needed_cluster_id()?;
    ensure!(cluster.len() <= 200, "--cluster-id is longer than an alarm's name may be");
    if let Some(shards) = args.shards {
        ensure!(
            shards <= MOST_SHARDS_AN_ALARM,
            "--shards {shards}: an alarm reads at most 10 metrics and may not search, so a ratio over more than \
             {MOST_SHARDS_AN_ALARM} shards is beyond it; use the rules for Prometheus, which have no such limit"
        );
    }
    let alarms = all(cluster, args, &Docs::new(&args.docs)?);
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
    resource: String,
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
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_stat: Option<Value>,
    return_data: bool,
}

/// What an alarm is about, before names and actions are added.
struct Condition {
    resource: String,
    name: String,
    explained: AlertNames,
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

fn all(cluster: &str, args: &AlarmArgs, docs: &Docs) -> Vec<Alarm> {
    let source = Source { cluster, namespace: &args.cloudwatch_namespace, shards: args.shards };
    let conditions = [
        vec![refusals(&source, args)],
        capacity(&source, &args.thresholds),
        health(&source, &args.thresholds),
        silence(&source, &args.thresholds),
    ];
    conditions
        .into_iter()
        .flatten()
        .map(|condition| Alarm {
            resource: condition.resource,
            alarm_name: format!("{cluster}-vpc-cni-{}", condition.name),
            alarm_description: described(condition.explained, condition.why, docs),
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

/// Why, where to read more, and the link to it if there is one.
fn described(alert: AlertNames, why: &str, docs: &Docs) -> String {
    let link = docs.of(alert).map(|url| format!(" {url}")).unwrap_or_default();
    format!("{why} {}{link}", alert.explained_by())
}

/// An alarm that is named as its alert is.
fn names(explained: AlertNames) -> (String, String) {
    (explained.rule.trim_start_matches("VpcCni").to_owned(), explained.alarm.unwrap_or_default().to_owned())
}

/// Minutes with refusals are counted, not refusals: one waiting pod is refused every few seconds, and a wave of pods that a
/// node's pool meets within a minute or two is no incident.
fn refusals(source: &Source<'_>, args: &AlarmArgs) -> Condition {
    let (resource, name) = names(alert::PODS_REFUSED);
    Condition {
        resource,
        name,
        explained: alert::PODS_REFUSED,
        why: "Pods could not start for minutes because their nodes had no free address. Look for a full or fragmented \
              subnet, nodes at their limit, and EC2 errors. Agents before v1.16.0 do not count this.",
        metrics: source.alone("refused", Metric::NoAvailableIpAddresses, 60),
        operator: AT_LEAST,
        threshold: args.refused,
        periods: REFUSED_OF_MINUTES,
        bad: args.thresholds.refused_minutes,
        missing: "notBreaching",
    }
}

fn capacity(source: &Source<'_>, limits: &Thresholds) -> Vec<Condition> {
    use Metric::{AssignIpAddresses, EniAllocated, EniMaxAvailable, MaxIpAddresses};
    let condition = |explained, why, metrics, threshold, minutes| {
        let (resource, name) = names(explained);
        let (operator, missing) = (AT_LEAST, "ignore");
        Condition {
            resource,
            name,
            explained,
            why,
            metrics,
            operator,
            threshold,
            periods: minutes,
            bad: minutes,
            missing,
        }
    };
    let nearly_full = condition(
        alert::CLUSTER_NEARLY_FULL,
        "Pods use most of the addresses that the nodes could hold: add nodes, larger nodes, or prefixes. With custom \
         networking or security groups for pods, nodes can hold fewer addresses than this alarm assumes. IPv6 clusters \
         have no such limit and never raise this.",
        source.ratio(
            expression("percent", "IF(capacity > 0, 100 * assigned / capacity, 0)", "percent of addresses in use"),
            [("assigned", AssignIpAddresses), ("capacity", MaxIpAddresses)],
        ),
        limits.full_percent,
        5,
    );
    let interfaces = limits.eni_percent.map(|percent| {
        let metrics = source.ratio(
            expression("percent", "IF(slots > 0, 100 * attached / slots, 0)", "percent of interfaces attached"),
            [("attached", EniAllocated), ("slots", EniMaxAvailable)],
        );
        let why =
            "Nodes have nearly all the network interfaces they can have: a node that is full cannot grow its pool.";
        condition(alert::INTERFACES_AT_LIMIT, why, metrics, percent, 10)
    });
    [nearly_full].into_iter().chain(interfaces).collect()
}

fn health(source: &Source<'_>, limits: &Thresholds) -> Vec<Condition> {
    use Metric::{Ec2ApiErrCount, NodesExpected, NodesScraped};
    let (ec2_errors, coverage) = (names(alert::EC2_ERRORS), names(alert::COVERAGE_INCOMPLETE));
    vec![
        Condition {
            resource: ec2_errors.0,
            name: ec2_errors.1,
            explained: alert::EC2_ERRORS,
            why: "EC2 calls of the VPC CNI fail: throttling, missing rights, or a subnet without free addresses.",
            metrics: source.alone("errors", Ec2ApiErrCount, 300),
            operator: AT_LEAST,
            threshold: limits.ec2_errors,
            periods: 2,
            bad: 2,
            missing: "notBreaching",
        },
        Condition {
            resource: coverage.0,
            name: coverage.1,
            explained: alert::COVERAGE_INCOMPLETE,
            why: "Nodes do not answer the helper, so sums are too low. The helper's log names them and the reason.",
            metrics: source.ratio(
                expression(
                    "percent",
                    "IF(expected > 0, 100 * scraped / expected, 100)",
                    "percent of nodes that answered",
                ),
                [("scraped", NodesScraped), ("expected", NodesExpected)],
            ),
            operator: BELOW,
            threshold: limits.coverage_percent,
            periods: 10,
            bad: 10,
            missing: "ignore",
        },
    ]
}

/// One for each shard: what does not arrive cannot be missed in a sum.
fn silence(source: &Source<'_>, limits: &Thresholds) -> Vec<Condition> {
    let silence = |shard: Option<Shard>| {
        let number = shard.map(Shard::index);
        let (resource, name) = names(alert::HELPER_SILENT);
        let points = source.statistic(Metric::NodesExpected, 60, "SampleCount", shard);
        Condition {
            resource: number.map(|number| format!("{resource}Shard{number}")).unwrap_or(resource),
            name: number.map(|number| format!("{name}-shard-{number}")).unwrap_or(name),
            explained: alert::HELPER_SILENT,
            why: "Nothing arrives from the helper: is its pod running, may it publish, can it reach CloudWatch?",
            metrics: vec![Query { return_data: true, ..metric("points", points) }],
            operator: BELOW,
            threshold: 1,
            periods: limits.silent_minutes,
            bad: limits.silent_minutes,
            missing: "breaching",
        }
    };
    if source.shards.is_none() { vec![silence(None)] } else { source.each_shard().map(Some).map(silence).collect() }
}

/// Where the metrics are.
struct Source<'a> {
    cluster: &'a str,
    namespace: &'a str,
    shards: Option<u32>,
}

impl Source<'_> {
    /// A metric that is compared itself.
    fn alone(&self, id: &str, metric: Metric, period_seconds: u32) -> Vec<Query> {
        let mut operands = self.operand(id, metric, period_seconds);
        if let Some(first) = operands.first_mut() {
            first.return_data = true;
        }
        operands
    }

    /// An expression over two metrics.
    fn ratio(&self, expression: Query, operands: [(&str, Metric); 2]) -> Vec<Query> {
        let operands = operands.into_iter().flat_map(|(id, metric)| self.operand(id, metric, 60));
        std::iter::once(expression).chain(operands).collect()
    }

    /// The cluster's figure under this id; with shards their sum, and then each shard's. A sum of a list leaves out who is
    /// silent, where `+` would give nothing.
    fn operand(&self, id: &str, of: Metric, period_seconds: u32) -> Vec<Query> {
        let figure = |shard| self.statistic(of, period_seconds, statistic(of), shard);
        if self.shards.is_none() {
            return vec![metric(id, figure(None))];
        }
        let each: Vec<Query> =
            self.each_shard().map(|shard| metric(&format!("{id}{}", shard.index()), figure(Some(shard)))).collect();
        let ids: Vec<&str> = each.iter().map(|query| query.id.as_str()).collect();
        let sum = Query { return_data: false, ..expression(id, &format!("SUM([{}])", ids.join(", ")), id) };
        std::iter::once(sum).chain(each).collect()
    }

    fn each_shard(&self) -> impl Iterator<Item = Shard> {
        Shard::all(self.shards.unwrap_or(0))
    }

    fn statistic(&self, metric: Metric, period_seconds: u32, statistic: &str, shard: Option<Shard>) -> Value {
        let mut dimensions = vec![json!({ "Name": "CLUSTER_ID", "Value": self.cluster })];
        dimensions.extend(shard.map(|shard| json!({ "Name": "SHARD", "Value": shard.to_string() })));
        json!({
            "Metric": { "Namespace": self.namespace, "MetricName": metric.name(), "Dimensions": dimensions },
            "Period": period_seconds,
            "Stat": statistic,
        })
    }
}

fn metric(id: &str, statistic: Value) -> Query {
    Query { id: id.to_owned(), expression: None, label: None, metric_stat: Some(statistic), return_data: false }
}

fn expression(id: &str, formula: &str, label: &str) -> Query {
    let (id, formula, label) = (id.to_owned(), formula.to_owned(), label.to_owned());
    Query { id, expression: Some(formula), label: Some(label), metric_stat: None, return_data: true }
}

fn cloudformation(cluster: &str, alarms: &[Alarm]) -> Value {
    let resources: Map<String, Value> = alarms
        .iter()
        .map(|alarm| (alarm.resource.clone(), json!({ "Type": "AWS::CloudWatch::Alarm", "Properties": alarm })))
        .collect();
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!("Alarms on the VPC CNI metrics of the cluster {cluster}"),
        "Resources": resources,
    })
}
