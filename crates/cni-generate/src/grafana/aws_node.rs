//! The board of aws-node's own pages, one series a node: `instance` tells nodes apart, `job` leaves the helper's own
//! sums of the same names out.

use super::board::{Board, Panel, label_values};

pub(super) fn board() -> Board {
    Board {
        uid: "cni-metrics-aws-node",
        title: "VPC CNI addresses (aws-node)",
        variables: vec![label_values("job", "Job of aws-node", "label_values(awscni_add_ip_req_count, job)")],
        panels: [overview(), addresses(), nodes(), trouble()].into_iter().flatten().collect(),
    }
}

fn overview() -> Vec<Panel> {
    vec![
        Panel::number(
            "Addresses in use",
            "percentunit",
            "sum(awscni_assigned_ip_addresses{job=~\"$job\"}) / (sum(awscni_ip_max{job=~\"$job\"}) > 0)",
        ),
        Panel::number(
            "Interfaces in use",
            "percentunit",
            "sum(awscni_eni_allocated{job=~\"$job\"}) / (sum(awscni_eni_max{job=~\"$job\"}) > 0)",
        ),
        Panel::number("Nodes that answer", "short", "count(awscni_ip_max{job=~\"$job\"})"),
        Panel::number(
            "Pods refused an address, 1 h",
            "short",
            "sum(increase(awscni_no_available_ip_addresses{job=~\"$job\"}[1h]))",
        ),
    ]
}

fn addresses() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Pod addresses",
            "short",
            vec![
                ("sum(awscni_assigned_ip_addresses{job=~\"$job\"})", "assigned to pods"),
                ("sum(awscni_total_ip_addresses{job=~\"$job\"})", "attached to nodes"),
                ("sum(awscni_ip_max{job=~\"$job\"})", "most the nodes could hold"),
            ],
        ),
        Panel::lines(
            "Warm addresses (attached, no pod uses them)",
            "short",
            vec![(
                "sum(awscni_total_ip_addresses{job=~\"$job\"}) - sum(awscni_assigned_ip_addresses{job=~\"$job\"})",
                "warm",
            )],
        ),
        Panel::lines(
            "Network interfaces and prefixes",
            "short",
            vec![
                ("sum(awscni_eni_allocated{job=~\"$job\"})", "interfaces attached"),
                ("sum(awscni_eni_max{job=~\"$job\"})", "most the nodes could have"),
                ("sum(awscni_total_ipv4_prefixes{job=~\"$job\"})", "IPv4 prefixes"),
            ],
        ),
        Panel::lines(
            "Addresses asked for, released, refused",
            "ops",
            vec![
                ("sum(rate(awscni_add_ip_req_count{job=~\"$job\"}[$__rate_interval]))", "asked for"),
                ("sum(rate(awscni_del_ip_req_count{job=~\"$job\"}[$__rate_interval]))", "released"),
                ("sum(rate(awscni_no_available_ip_addresses{job=~\"$job\"}[$__rate_interval]))", "refused"),
            ],
        ),
    ]
}

fn nodes() -> Vec<Panel> {
    vec![Panel::rows(
        "The 50 fullest nodes",
        "percentunit",
        "topk(50, max by (instance) (awscni_assigned_ip_addresses{job=~\"$job\"} / (awscni_ip_max{job=~\"$job\"} > 0)))",
        "{{instance}}",
    )]
}

fn trouble() -> Vec<Panel> {
    vec![
        Panel::lines(
            "EC2 API calls by function",
            "reqps",
            vec![
                ("sum by (fn) (rate(awscni_ec2api_req_count{job=~\"$job\"}[$__rate_interval]))", "{{fn}}"),
                ("sum by (fn) (rate(awscni_ec2api_error_count{job=~\"$job\"}[$__rate_interval]))", "{{fn}} failed"),
            ],
        ),
        Panel::lines(
            "EC2 API latency by API (mean)",
            "ms",
            vec![(
                "sum by (api) (rate(awscni_aws_api_latency_ms_sum{job=~\"$job\"}[$__rate_interval])) / sum by (api) (rate(awscni_aws_api_latency_ms_count{job=~\"$job\"}[$__rate_interval]))",
                "{{api}}",
            )],
        ),
        Panel::lines(
            "Errors by kind",
            "ops",
            vec![
                ("sum by (fn) (rate(awscni_ipamd_error_count{job=~\"$job\"}[$__rate_interval]))", "ipamd {{fn}}"),
                ("sum by (api) (rate(awscni_aws_api_error_count{job=~\"$job\"}[$__rate_interval]))", "AWS API {{api}}"),
                ("sum by (fn) (rate(awscni_aws_utils_error_count{job=~\"$job\"}[$__rate_interval]))", "AWS {{fn}}"),
            ],
        ),
        Panel::lines(
            "ipamd at work",
            "short",
            vec![("sum by (fn) (awscni_ipamd_action_inprogress{job=~\"$job\"})", "{{fn}}")],
        ),
    ]
}
