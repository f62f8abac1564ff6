//! A CloudWatch dashboard of one cluster.
//!
//! Two points a minute arrive for every metric. So gauges are shown by their Average, and only counters, whose points
//! are the events of their interval, by their Sum; a Sum of a gauge would be twice the truth.
//!
//! CloudWatch adds nothing up over a dimension by itself: with shards each figure is a search for all of them, folded.

use anyhow::ensure;
use clap::Args;
use cni_types::catalogue::{Kind, Metric};
use serde_json::{Value, json};

use super::artifact::{Artifact, Output};
use super::target::{ClusterIdFlag, Flags, RegionFlag, Target, check_cloudwatch_namespace};

/// CloudWatch lays widgets out on 24 columns.
const HALF_WIDTH: u32 = 12;
const HEIGHT: u32 = 6;
/// Seconds a point of a graph stands for.
const PERIOD_SECONDS: u32 = 60;

#[derive(Debug, Clone, Args)]
pub(super) struct DashboardArgs {
    #[command(flatten)]
    cluster_id: ClusterIdFlag,
    #[command(flatten)]
    region: RegionFlag,
    /// The CloudWatch namespace the helper publishes to
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    cloudwatch_namespace: String,
    /// The number of shards by which the helpers publish (SHARD): at most 500, the most that a search finds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    shards: Option<u32>,
}

pub(super) fn make(args: &DashboardArgs) -> anyhow::Result<Output> {
    let (cluster_id, region) = (args.cluster_id.cluster_id.clone(), args.region.region.clone());
    let target = Target::new(Flags { cluster_id, region, ..Flags::default() })?;
    check_cloudwatch_namespace(&args.cloudwatch_namespace)?;
    let quotes = ['"', '\'', '\\'];
    if args.shards.is_some() {
        for text in [target.needed_cluster_id()?, &args.cloudwatch_namespace] {
            ensure!(!text.contains(quotes), "{text:?}: quotes and backslashes have no place in a search for shards");
        }
    }
    let board = DashboardBody {
        cluster: target.needed_cluster_id()?,
        region: target.needed_region()?,
        namespace: &args.cloudwatch_namespace,
        shards: args.shards,
    };
    Ok(Output::one(Artifact::json("cloudwatch-dashboard.json", &board.body())?))
}

struct DashboardBody<'a> {
    cluster: &'a str,
    region: &'a str,
    namespace: &'a str,
    shards: Option<u32>,
}

impl DashboardBody<'_> {
    fn body(&self) -> Value {
        let mut graphs = [self.graphs_of_addresses(), self.graphs_of_trouble()].concat();
        graphs.extend(self.shards.map(|shards| self.graph_of_shards(shards)));
        let mut widgets = vec![json!({
            "type": "text", "x": 0, "y": 0, "width": 2 * HALF_WIDTH, "height": 2,
            "properties": { "markdown": format!(
                "## VPC CNI addresses of {}\nSums over the nodes that answered: look at *Coverage* before you trust a dip.",
                markdown_escaped(self.cluster)
            ) },
        })];
        for (position, graph) in (0_u32..).zip(graphs) {
            widgets.push(json!({
                "type": "metric",
                "x": position % 2 * HALF_WIDTH, "y": 2 + position / 2 * HEIGHT, "width": HALF_WIDTH, "height": HEIGHT,
                "properties": graph,
            }));
        }
        json!({ "start": "-PT6H", "widgets": widgets })
    }

    fn graphs_of_addresses(&self) -> Vec<Value> {
        use Metric::{AssignIpAddresses, EniAllocated, EniMaxAvailable, MaxIpAddresses, TotalIpAddresses};
        vec![
            self.graph(
                "Utilisation (percent of what the nodes could hold)",
                &[
                    expression("IF(capacity > 0, 100 * assigned / capacity)", "addresses"),
                    expression("IF(slots > 0, 100 * attached / slots)", "interfaces"),
                    self.hidden(AssignIpAddresses, "assigned"),
                    self.hidden(MaxIpAddresses, "capacity"),
                    self.hidden(EniAllocated, "attached"),
                    self.hidden(EniMaxAvailable, "slots"),
                ],
                &json!({ "min": 0, "max": 100, "showUnits": false }),
            ),
            self.graph(
                "Pod addresses",
                &[
                    self.line(AssignIpAddresses, "assigned to pods"),
                    self.line(TotalIpAddresses, "attached to nodes"),
                    self.line(MaxIpAddresses, "most the nodes could hold"),
                ],
                &from_zero(),
            ),
            self.graph(
                "Warm addresses (attached, no pod uses them)",
                &[
                    expression("held - assigned", "warm"),
                    self.hidden(TotalIpAddresses, "held"),
                    self.hidden(AssignIpAddresses, "assigned"),
                ],
                &from_zero(),
            ),
            self.graph(
                "Network interfaces",
                &[self.line(EniAllocated, "attached"), self.line(EniMaxAvailable, "most the nodes could have")],
                &from_zero(),
            ),
        ]
    }

    fn graphs_of_trouble(&self) -> Vec<Value> {
        use Metric::{
            AddReqCount, AwsApiErr, AwsApiLatency, AwsUtilErr, DelReqCount, Ec2ApiErrCount, Ec2ApiReqCount,
            ForceRemoveEni, ForceRemoveIps, IpamdErr, NoAvailableIpAddresses, NodesExpected, NodesScraped, PodEniErr,
        };
        vec![
            self.graph(
                "Pods refused an address (events a minute)",
                &[self.line(NoAvailableIpAddresses, "no address was free")],
                &from_zero(),
            ),
            self.graph(
                "Addresses asked for and released (events a minute)",
                &[self.line(AddReqCount, "asked for"), self.line(DelReqCount, "released")],
                &from_zero(),
            ),
            self.graph(
                "Errors by kind (events a minute)",
                &[
                    self.line(IpamdErr, "ipamd"),
                    self.line(AwsApiErr, "AWS API"),
                    self.line(AwsUtilErr, "around AWS calls"),
                    self.line(PodEniErr, "security groups for pods"),
                    self.line(ForceRemoveEni, "interfaces lost in use"),
                    self.line(ForceRemoveIps, "addresses lost in use"),
                ],
                &from_zero(),
            ),
            self.graph(
                "EC2 API calls (events a minute)",
                &[self.line(Ec2ApiReqCount, "calls"), self.line(Ec2ApiErrCount, "failed")],
                &from_zero(),
            ),
            self.graph(
                "EC2 API latency (highest mean of an API, ms)",
                &[self.line(AwsApiLatency, "latency")],
                &from_zero(),
            ),
            self.graph(
                "Coverage",
                &[self.line(NodesExpected, "nodes that should answer"), self.line(NodesScraped, "nodes that answered")],
                &from_zero(),
            ),
        ]
    }

    /// A shard that is gone is missing in every sum, and its nodes in what was expected: only here it shows.
    fn graph_of_shards(&self, shards: u32) -> Value {
        let each = self.search(Metric::NodesScraped);
        self.graph(
            &format!("Nodes that answered, by shard (there must be {shards} lines)"),
            &[json!([{ "expression": each, "label": "${PROP('Dim.SHARD')}", "period": PERIOD_SECONDS }])],
            &from_zero(),
        )
    }

    fn graph(&self, title: &str, metrics: &[Value], left_axis: &Value) -> Value {
        json!({
            "title": title, "view": "timeSeries", "stacked": false, "region": self.region,
            "period": PERIOD_SECONDS, "stat": "Average", "metrics": metrics, "yAxis": { "left": left_axis },
        })
    }

    fn line(&self, metric: Metric, label: &str) -> Value {
        self.metric(metric, &json!({ "label": label, "stat": statistic(metric) }))
    }

    /// A metric that is only an operand of an expression.
    fn hidden(&self, metric: Metric, id: &str) -> Value {
        self.metric(metric, &json!({ "id": id, "visible": false, "stat": statistic(metric) }))
    }

    fn metric(&self, metric: Metric, options: &Value) -> Value {
        if self.shards.is_some() {
            return self.folded(metric, options.clone());
        }
        json!([self.namespace, metric.name(), "CLUSTER_ID", self.cluster, options])
    }
}

/// What shards publish.
impl DashboardBody<'_> {
    /// All shards' figures as one: the slowest of latencies, the sum of everything else.
    fn folded(&self, metric: Metric, mut options: Value) -> Value {
        let fold = if metric.kind() == Kind::Latency { "MAX" } else { "SUM" };
        let fields = options.as_object_mut();
        if let Some(fields) = fields {
            // It is part of the search, and an expression may not have one.
            fields.remove("stat");
            fields.insert("expression".to_owned(), format!("{fold}({})", self.search(metric)).into());
            fields.insert("period".to_owned(), PERIOD_SECONDS.into());
        }
        json!([options])
    }

    /// One series a shard. A name with other characters than letters and digits is quoted in the schema.
    fn search(&self, metric: Metric) -> String {
        let plain = self.namespace.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let quote = if plain { "" } else { "\"" };
        format!(
            "SEARCH('{{{quote}{}{quote},\"CLUSTER_ID\",SHARD}} MetricName=\"{}\" CLUSTER_ID=\"{}\"', '{}', {PERIOD_SECONDS})",
            self.namespace,
            metric.name(),
            self.cluster,
            statistic(metric)
        )
    }
}

/// The statistic that tells the truth about a metric that arrives twice a minute.
pub(super) fn statistic(metric: Metric) -> &'static str {
    match metric.kind() {
        Kind::Counter => "Sum",
        Kind::Latency => "Maximum",
        Kind::SumGauge | Kind::Own => "Average",
    }
}

fn expression(formula: &str, label: &str) -> Value {
    json!([{ "expression": formula, "label": label }])
}

fn from_zero() -> Value {
    json!({ "min": 0, "showUnits": false })
}

/// The name as it is, not as Markdown.
fn markdown_escaped(text: &str) -> String {
    text.chars().flat_map(|c| c.is_ascii_punctuation().then_some('\\').into_iter().chain([c])).collect()
}
