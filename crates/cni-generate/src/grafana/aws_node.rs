//! The board of aws-node's own pages, one series per node: `instance` tells nodes apart, `job` leaves the helper's own
//! sums of the same names out.

use cni_types::catalogue::Family::{
    self, AddIpReqCount, AssignedIpAddresses, AwsApiErrorCount, AwsApiLatencyMs, AwsUtilsErrorCount, DelIpReqCount,
    Ec2ApiErrorCount, Ec2ApiReqCount, EniAllocated, EniMax, IpMax, IpamdActionInProgress, IpamdErrorCount,
    NoAvailableIpAddresses, TotalIpAddresses, TotalIpv4Prefixes,
};

use super::board::{Board, Panel, label_values};

pub(super) fn board() -> Board {
    Board {
        uid: "cni-metrics-aws-node",
        title: "VPC CNI addresses (aws-node)",
        variables: vec![label_values(
            "job",
            "Job of aws-node",
            &format!("label_values({}, job)", AddIpReqCount.name()),
        )],
        panels: [overview(), addresses(), nodes(), trouble()].into_iter().flatten().collect(),
    }
}

/// A family's series, of the chosen jobs; of a summary, its part with this suffix.
fn part(family: Family, suffix: &str) -> String {
    format!("{}{suffix}{{job=~\"$job\"}}", family.name())
}

fn series(family: Family) -> String {
    part(family, "")
}

fn sum(family: Family) -> String {
    format!("sum({})", series(family))
}

fn rate(series: &str) -> String {
    format!("rate({series}[$__rate_interval])")
}

fn sum_rate(family: Family) -> String {
    format!("sum({})", rate(&series(family)))
}

fn rate_by(label: &str, series: &str) -> String {
    format!("sum by ({label}) ({})", rate(series))
}

fn overview() -> Vec<Panel> {
    let ratio = |part, whole| format!("{} / ({} > 0)", sum(part), sum(whole));
    vec![
        Panel::number("Addresses in use", "percentunit", ratio(AssignedIpAddresses, IpMax)),
        Panel::number("Interfaces in use", "percentunit", ratio(EniAllocated, EniMax)),
        Panel::number("Nodes that answer", "short", format!("count({})", series(IpMax))),
        Panel::number(
            "Refused attempts, 1 h",
            "short",
            format!("sum(increase({}[1h]))", series(NoAvailableIpAddresses)),
        ),
    ]
}

fn addresses() -> Vec<Panel> {
    let warm = format!("{} - {}", sum(TotalIpAddresses), sum(AssignedIpAddresses));
    vec![
        Panel::lines(
            "Pod addresses",
            "short",
            vec![
                (sum(AssignedIpAddresses), "assigned to pods"),
                (sum(TotalIpAddresses), "attached to nodes"),
                (sum(IpMax), "most the nodes could hold"),
            ],
        ),
        Panel::lines("Warm addresses (attached, no pod uses them)", "short", vec![(warm, "warm")]),
        Panel::lines(
            "Network interfaces and prefixes",
            "short",
            vec![
                (sum(EniAllocated), "interfaces attached"),
                (sum(EniMax), "most the nodes could have"),
                (sum(TotalIpv4Prefixes), "IPv4 prefixes"),
            ],
        ),
        Panel::lines(
            "Addresses asked for, released, refused",
            "ops",
            vec![
                (sum_rate(AddIpReqCount), "asked for"),
                (sum_rate(DelIpReqCount), "released"),
                (sum_rate(NoAvailableIpAddresses), "refused"),
            ],
        ),
    ]
}

fn nodes() -> Vec<Panel> {
    let utilisation = format!("{} / ({} > 0)", series(AssignedIpAddresses), series(IpMax));
    vec![Panel::rows(
        "The 50 fullest nodes",
        "percentunit",
        format!("topk(50, max by (instance) ({utilisation}))"),
        "{{instance}}",
    )]
}

fn trouble() -> Vec<Panel> {
    let latency = |suffix| rate_by("api", &part(AwsApiLatencyMs, suffix));
    vec![
        Panel::lines(
            "EC2 API calls by function",
            "reqps",
            vec![
                (rate_by("fn", &series(Ec2ApiReqCount)), "{{fn}}"),
                (rate_by("fn", &series(Ec2ApiErrorCount)), "{{fn}} failed"),
            ],
        ),
        Panel::lines(
            "EC2 API latency by API (mean)",
            "ms",
            vec![(format!("{} / {}", latency("_sum"), latency("_count")), "{{api}}")],
        ),
        Panel::lines(
            "Errors by kind",
            "ops",
            vec![
                (rate_by("fn", &series(IpamdErrorCount)), "ipamd {{fn}}"),
                (rate_by("api", &series(AwsApiErrorCount)), "AWS API {{api}}"),
                (rate_by("fn", &series(AwsUtilsErrorCount)), "AWS {{fn}}"),
            ],
        ),
        Panel::lines(
            "ipamd at work",
            "short",
            vec![(format!("sum by (fn) ({})", series(IpamdActionInProgress)), "{{fn}}")],
        ),
    ]
}
