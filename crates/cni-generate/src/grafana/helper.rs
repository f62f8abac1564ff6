//! The board of this helper's output: cluster, zones and nodes, EC2, errors, coverage, the helper itself.
//!
//! Replicas that show the same nodes count once (the larger figure), shards add up, and so do the chosen clusters; without shards or
//! without the label `cluster`, that label is empty.

use super::board::{Board, Panel, label_values};

pub(super) fn board() -> Board {
    Board {
        uid: "cni-metrics-helper",
        title: "VPC CNI addresses",
        variables: vec![
            // Where the helper gives no label `cluster`, there are no values and "All" matches every series.
            label_values("cluster", "Cluster", "label_values(cni_cluster_last_round_timestamp_seconds, cluster)"),
            label_values("zone", "Zone", "label_values(cni_node_ip_max{cluster=~\"$cluster\"}, zone)"),
            label_values(
                "instance_type",
                "Instance type",
                "label_values(cni_node_ip_max{cluster=~\"$cluster\", zone=~\"$zone\"}, instance_type)",
            ),
        ],
        panels: [overview(), addresses(), requests(), nodes(), ec2(), health()].into_iter().flatten().collect(),
    }
}

fn overview() -> Vec<Panel> {
    vec![
        Panel::number(
            "Addresses in use",
            "percentunit",
            "sum(max by (cluster, shard) (cni_cluster_assigned_ip_addresses{cluster=~\"$cluster\"})) / (sum(max by (cluster, shard) (cni_cluster_ip_max{cluster=~\"$cluster\"})) > 0)",
        ),
        Panel::number(
            "Interfaces in use",
            "percentunit",
            "sum(max by (cluster, shard) (cni_cluster_eni_allocated{cluster=~\"$cluster\"})) / (sum(max by (cluster, shard) (cni_cluster_eni_max{cluster=~\"$cluster\"})) > 0)",
        ),
        Panel::number(
            "Coverage",
            "percentunit",
            "sum(max by (cluster, shard) (cni_cluster_nodes_scraped{cluster=~\"$cluster\"})) / (sum(max by (cluster, shard) (cni_cluster_nodes_expected{cluster=~\"$cluster\"})) > 0)",
        )
        .with_red_below(1.0),
        Panel::number(
            "Pods refused an address, 1 h",
            "short",
            "sum(max by (cluster, shard) (increase(cni_cluster_no_available_ip_addresses_total{cluster=~\"$cluster\"}[1h])))",
        ),
        Panel::number("Nodes", "short", "sum(max by (cluster, shard) (cni_cluster_nodes_expected{cluster=~\"$cluster\"}))"),
        Panel::number("IPv6 nodes", "short", "sum(max by (cluster, shard) (cni_cluster_ipv6_nodes{cluster=~\"$cluster\"}))"),
    ]
}

fn addresses() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Pod addresses",
            "short",
            vec![
                (
                    "sum(max by (cluster, shard) (cni_cluster_assigned_ip_addresses{cluster=~\"$cluster\"}))",
                    "assigned to pods",
                ),
                (
                    "sum(max by (cluster, shard) (cni_cluster_total_ip_addresses{cluster=~\"$cluster\"}))",
                    "attached to nodes",
                ),
                (
                    "sum(max by (cluster, shard) (cni_cluster_ip_max{cluster=~\"$cluster\"}))",
                    "most the nodes could hold",
                ),
            ],
        ),
        Panel::lines(
            "Warm addresses (attached, no pod uses them)",
            "short",
            vec![(
                "sum(max by (cluster, shard) (cni_cluster_total_ip_addresses{cluster=~\"$cluster\"})) - sum(max by (cluster, shard) (cni_cluster_assigned_ip_addresses{cluster=~\"$cluster\"}))",
                "warm",
            )],
        ),
        Panel::lines(
            "Network interfaces and prefixes",
            "short",
            vec![
                (
                    "sum(max by (cluster, shard) (cni_cluster_eni_allocated{cluster=~\"$cluster\"}))",
                    "interfaces attached",
                ),
                (
                    "sum(max by (cluster, shard) (cni_cluster_eni_max{cluster=~\"$cluster\"}))",
                    "most the nodes could have",
                ),
                (
                    "sum(max by (cluster, shard) (cni_cluster_total_ipv4_prefixes{cluster=~\"$cluster\"}))",
                    "IPv4 prefixes",
                ),
            ],
        ),
    ]
}

fn requests() -> Vec<Panel> {
    vec![Panel::lines(
        "Addresses asked for, released, refused",
        "ops",
        vec![
            (
                "sum(max by (cluster, shard) (rate(cni_cluster_add_ip_requests_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                "asked for",
            ),
            (
                "sum(max by (cluster, shard) (rate(cni_cluster_del_ip_requests_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                "released",
            ),
            (
                "sum(max by (cluster, shard) (rate(cni_cluster_no_available_ip_addresses_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                "refused",
            ),
        ],
    )]
}

fn nodes() -> Vec<Panel> {
    vec![
        Panel::bars(
            "Addresses in use by zone",
            "percentunit",
            "sum by (zone) (cni_node_assigned_ip_addresses{cluster=~\"$cluster\", zone=~\"$zone\", instance_type=~\"$instance_type\"}) / (sum by (zone) (cni_node_ip_max{cluster=~\"$cluster\", zone=~\"$zone\", instance_type=~\"$instance_type\"}) > 0)",
            "{{zone}}",
        ),
        Panel::bars(
            "Addresses in use by instance type",
            "percentunit",
            "sum by (instance_type) (cni_node_assigned_ip_addresses{cluster=~\"$cluster\", zone=~\"$zone\", instance_type=~\"$instance_type\"}) / (sum by (instance_type) (cni_node_ip_max{cluster=~\"$cluster\", zone=~\"$zone\", instance_type=~\"$instance_type\"}) > 0)",
            "{{instance_type}}",
        ),
        Panel::rows(
            "The 50 fullest nodes",
            "percentunit",
            "topk(50, max by (node, zone, instance_type, cluster) (cni_node_assigned_ip_addresses{cluster=~\"$cluster\", zone=~\"$zone\", instance_type=~\"$instance_type\"} / (cni_node_ip_max{cluster=~\"$cluster\", zone=~\"$zone\", instance_type=~\"$instance_type\"} > 0)))",
            "{{node}} · {{instance_type}} · {{zone}}",
        ),
    ]
}

fn ec2() -> Vec<Panel> {
    vec![
        Panel::lines(
            "EC2 API calls",
            "reqps",
            vec![
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_ec2_api_requests_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "calls",
                ),
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_ec2_api_errors_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "failed",
                ),
            ],
        ),
        Panel::lines(
            "EC2 API latency (highest mean of an API)",
            "s",
            vec![("max(cni_cluster_aws_api_latency_max_seconds{cluster=~\"$cluster\"})", "latency")],
        ),
        Panel::lines(
            "Errors by kind",
            "ops",
            vec![
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_ipamd_errors_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "ipamd",
                ),
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_aws_api_errors_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "AWS API",
                ),
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_aws_utils_errors_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "around AWS calls",
                ),
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_pod_eni_errors_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "security groups for pods",
                ),
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_force_removed_enis_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "interfaces lost in use",
                ),
                (
                    "sum(max by (cluster, shard) (rate(cni_cluster_force_removed_ips_total{cluster=~\"$cluster\"}[$__rate_interval])))",
                    "addresses lost in use",
                ),
            ],
        ),
        Panel::lines(
            "ipamd at work",
            "short",
            vec![(
                "sum(max by (cluster, shard) (cni_cluster_ipamd_actions_in_progress{cluster=~\"$cluster\"}))",
                "pool actions running",
            )],
        ),
    ]
}

fn health() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Coverage",
            "short",
            vec![
                (
                    "sum(max by (cluster, shard) (cni_cluster_nodes_expected{cluster=~\"$cluster\"}))",
                    "nodes that should answer",
                ),
                (
                    "sum(max by (cluster, shard) (cni_cluster_nodes_scraped{cluster=~\"$cluster\"}))",
                    "nodes that answered",
                ),
                (
                    "sum by (reason) (max by (reason, cluster, shard) (cni_cluster_nodes_failed{cluster=~\"$cluster\"}))",
                    "failed: {{reason}}",
                ),
            ],
        ),
        Panel::lines(
            "Helper: age and duration of the last round",
            "s",
            vec![
                (
                    "time() - min(max by (cluster, shard) (cni_cluster_last_round_timestamp_seconds{cluster=~\"$cluster\"}))",
                    "age",
                ),
                ("max(cni_cluster_last_round_duration_seconds{cluster=~\"$cluster\"})", "duration"),
            ],
        ),
        Panel::lines(
            "Helper: scrapes by outcome",
            "reqps",
            vec![(
                "sum by (outcome) (rate(cni_metrics_helper_scrapes_total{cluster=~\"$cluster\"}[$__rate_interval]))",
                "{{outcome}}",
            )],
        ),
        Panel::lines(
            "Helper: points that CloudWatch has not accepted",
            "short",
            vec![
                ("sum(cni_metrics_helper_points_buffered{cluster=~\"$cluster\"})", "waiting"),
                (
                    "sum by (reason) (increase(cni_metrics_helper_points_dropped_total{cluster=~\"$cluster\"}[5m]))",
                    "given up in 5 min: {{reason}}",
                ),
            ],
        ),
    ]
}
