//! The board of this helper's output: cluster, zones and nodes, EC2, errors, coverage, the helper itself.
//!
//! Replicas that show the same nodes count once (the larger figure), shards add up, and so do the chosen clusters. Without
//! shards, or without the label `cluster`, that label is empty.

use cni_types::catalogue::Metric;
use cni_types::node_state::NodeState;
use cni_types::series;

use super::board::{Board, Panel, label_values};
use crate::promql::{AN_HOUR, NODE, Scope, ratio};

pub(super) fn board() -> Board {
    let node = Metric::MaxIpAddresses.node_series().unwrap_or_default();
    let values = |scope: &Scope, name: &str, label: &str| format!("label_values({}, {label})", scope.series(name));
    let chosen = Scope::chosen();
    Board {
        uid: "cni-metrics-helper",
        title: "VPC CNI addresses",
        variables: vec![
            // Where the helper gives no label `cluster`, there are no values and "All" matches every series.
            label_values("cluster", "Cluster", &values(&Scope::every_cluster(), series::LAST_ROUND, "cluster")),
            label_values("zone", "Zone", &values(&chosen, &node, "zone")),
            label_values(
                "instance_type",
                "Instance type",
                &values(&chosen.and(r#"zone=~"$zone""#), &node, "instance_type"),
            ),
        ],
        panels: [overview(), addresses(), requests(), nodes(), ec2(), health()].into_iter().flatten().collect(),
    }
}

/// A gauge, summed over the chosen clusters.
fn total(name: &str) -> String {
    format!("sum({})", Scope::chosen().share(name))
}

fn total_of(metric: Metric) -> String {
    total(&metric.cluster_series())
}

/// A counter's rate, summed over the chosen clusters.
fn rate(metric: Metric) -> String {
    format!("sum({})", Scope::chosen().rate(metric, "$__rate_interval"))
}

fn in_state(state: NodeState) -> String {
    format!("sum({})", Scope::chosen().nodes_in(state.label()))
}

fn overview() -> Vec<Panel> {
    use Metric::{EniAllocated, EniMaxAvailable, NoAvailableIpAddresses, NodesExpected, NodesScraped};
    let refused = format!("sum({})", Scope::chosen().increase(NoAvailableIpAddresses, AN_HOUR));
    vec![
        Panel::number("Addresses in use", "percentunit", Scope::chosen().ip_utilisation("")),
        Panel::number("Interfaces in use", "percentunit", ratio(&total_of(EniAllocated), &total_of(EniMaxAvailable))),
        Panel::number("Coverage", "percentunit", ratio(&total_of(NodesScraped), &total_of(NodesExpected)))
            .with_red_below(1.0),
        Panel::number("Nodes that refuse pods", "short", in_state(NodeState::Refusing)).with_red_from(1.0),
        Panel::number("Full nodes", "short", in_state(NodeState::Full)),
        Panel::number("Refused attempts, 1 h", "short", refused),
        Panel::number("Nodes", "short", total_of(NodesExpected)),
        Panel::number("IPv6 nodes", "short", total(series::IPV6_NODES)),
    ]
}

fn addresses() -> Vec<Panel> {
    use Metric::{
        AssignIpAddresses, EniAllocated, EniMaxAvailable, MaxIpAddresses, TotalIpAddresses, TotalIpv4Prefixes,
    };
    let usable = format!("sum({})", Scope::chosen().node(series::NODE_USABLE));
    let warm = format!("{} - {}", total_of(TotalIpAddresses), total_of(AssignIpAddresses));
    vec![
        Panel::lines(
            "Pod addresses",
            "short",
            vec![
                (total_of(AssignIpAddresses), "assigned to pods"),
                (total_of(TotalIpAddresses), "attached to nodes"),
                (usable, "most that pods can have"),
                (total_of(MaxIpAddresses), "most the nodes could hold"),
            ],
        ),
        Panel::lines("Warm addresses (attached, no pod uses them)", "short", vec![(warm, "warm")]),
        Panel::lines(
            "Network interfaces and prefixes",
            "short",
            vec![
                (total_of(EniAllocated), "interfaces attached"),
                (total_of(EniMaxAvailable), "most the nodes could have"),
                (total_of(TotalIpv4Prefixes), "IPv4 prefixes"),
            ],
        ),
    ]
}

fn requests() -> Vec<Panel> {
    use Metric::{AddReqCount, DelReqCount, NoAvailableIpAddresses};
    vec![Panel::lines(
        "Addresses asked for, released, refused",
        "ops",
        vec![
            (rate(AddReqCount), "asked for"),
            (rate(DelReqCount), "released"),
            (rate(NoAvailableIpAddresses), "refused"),
        ],
    )]
}

fn nodes() -> Vec<Panel> {
    let chosen = Scope::chosen();
    let some = chosen.and(r#"zone=~"$zone", instance_type=~"$instance_type""#);
    let states = chosen.series(series::NODES);
    vec![
        Panel::lines(
            "Nodes by state",
            "short",
            vec![(format!("sum by (state) (max by (cluster, shard, state) ({states}))"), "{{state}}")],
        ),
        Panel::bars("Addresses in use by cluster", "percentunit", chosen.ip_utilisation("cluster"), "{{cluster}}"),
        Panel::bars("Addresses in use by zone", "percentunit", some.ip_utilisation("zone"), "{{zone}}"),
        Panel::bars(
            "Addresses in use by instance type",
            "percentunit",
            some.ip_utilisation("instance_type"),
            "{{instance_type}}",
        ),
        Panel::rows(
            "The 50 fullest nodes",
            "percentunit",
            format!("topk(50, {})", some.ip_utilisation(NODE)),
            "{{cluster}} · {{node}} · {{instance_type}} · {{zone}}",
        ),
    ]
}

fn ec2() -> Vec<Panel> {
    use Metric::{
        AwsApiErr, AwsApiLatency, AwsUtilErr, Ec2ApiErrCount, Ec2ApiReqCount, ForceRemoveEni, ForceRemoveIps,
        IpamdActionInProgress, IpamdErr, PodEniErr,
    };
    let latency = format!("max({})", Scope::chosen().series(&AwsApiLatency.cluster_series()));
    vec![
        Panel::lines("EC2 API calls", "reqps", vec![(rate(Ec2ApiReqCount), "calls"), (rate(Ec2ApiErrCount), "failed")]),
        Panel::lines("EC2 API latency (highest mean of an API)", "s", vec![(latency, "latency")]),
        Panel::lines(
            "Errors by kind",
            "ops",
            vec![
                (rate(IpamdErr), "ipamd"),
                (rate(AwsApiErr), "AWS API"),
                (rate(AwsUtilErr), "around AWS calls"),
                (rate(PodEniErr), "security groups for pods"),
                (rate(ForceRemoveEni), "interfaces lost in use"),
                (rate(ForceRemoveIps), "addresses lost in use"),
            ],
        ),
        Panel::lines("ipamd at work", "short", vec![(total_of(IpamdActionInProgress), "pool actions running")]),
    ]
}

fn health() -> Vec<Panel> {
    let chosen = Scope::chosen();
    let failed = format!("sum by (reason) (max by (reason, cluster, shard) ({}))", chosen.series(series::NODES_FAILED));
    let scrapes = format!("sum by (outcome) (rate({}[$__rate_interval]))", chosen.series(series::HELPER_SCRAPES));
    let waiting = format!("sum({})", chosen.series(series::HELPER_POINTS_BUFFERED));
    let dropped = format!("sum by (reason) (increase({}[5m]))", chosen.series(series::HELPER_POINTS_DROPPED));
    vec![
        Panel::lines(
            "Coverage",
            "short",
            vec![
                (total_of(Metric::NodesExpected), "nodes that should answer"),
                (total_of(Metric::NodesScraped), "nodes that answered"),
                (failed, "failed: {{reason}}"),
            ],
        ),
        Panel::lines(
            "Helper: age and duration of the last round",
            "s",
            vec![
                (format!("time() - min({})", chosen.share(series::LAST_ROUND)), "age"),
                (format!("max({})", chosen.series(series::LAST_ROUND_DURATION)), "duration"),
            ],
        ),
        Panel::lines("Helper: scrapes by outcome", "reqps", vec![(scrapes, "{{outcome}}")]),
        Panel::lines(
            "Helper: points that CloudWatch has not accepted",
            "short",
            vec![(waiting, "waiting"), (dropped, "given up in 5 min: {{reason}}")],
        ),
    ]
}
