//! The names of the series that the helper shows to Prometheus and that no row of the catalogue names. Pages, rules and
//! dashboards take all names from here and from the catalogue.

use crate::catalogue::{Kind, Metric};

/// What the names of the sums of a cluster begin with.
pub const CLUSTER_PREFIX: &str = "cni_cluster_";
/// What the names of a node's series begin with.
pub const NODE_PREFIX: &str = "cni_node_";
/// What the names of counters end with.
pub const TOTAL_SUFFIX: &str = "_total";

/// Expected nodes by state (label `state`).
pub const NODES: &str = "cni_cluster_nodes";
/// Nodes that should answer.
pub const NODES_EXPECTED: &str = "cni_cluster_nodes_expected";
/// Of these, those that answered.
pub const NODES_SCRAPED: &str = "cni_cluster_nodes_scraped";
/// Nodes that did not answer, by `reason`.
pub const NODES_FAILED: &str = "cni_cluster_nodes_failed";
/// Nodes with IPv6 prefixes.
pub const IPV6_NODES: &str = "cni_cluster_ipv6_nodes";
/// When the newest finished round began, Unix time.
pub const LAST_ROUND: &str = "cni_cluster_last_round_timestamp_seconds";
/// How long it took.
pub const LAST_ROUND_DURATION: &str = "cni_cluster_last_round_duration_seconds";
/// From when on the counters of this helper count, Unix time.
pub const COUNTERS_START: &str = "cni_cluster_counters_start_timestamp_seconds";
/// The number of shards.
pub const SHARDS: &str = "cni_cluster_shards";
/// A finding that is open, by `id`, `severity`, `scope_kind` and `scope`: 1.
pub const FINDING: &str = "cni_finding";
/// Open findings by `severity`.
pub const FINDINGS: &str = "cni_findings";
/// Refused requests for a pod address by `cause`.
pub const REFUSED_BY_CAUSE: &str = "cni_refused_addresses_total";
/// The largest number of addresses that a node can have for pods.
pub const NODE_USABLE: &str = "cni_node_usable_ip_addresses";
/// Scrapes by `outcome`; on the admin listener's page.
pub const HELPER_SCRAPES: &str = "cni_metrics_helper_scrapes_total";
/// Data points that CloudWatch has not accepted yet; on the admin listener's page.
pub const HELPER_POINTS_BUFFERED: &str = "cni_metrics_helper_points_buffered";
/// Data points given up, by `reason`; on the admin listener's page.
pub const HELPER_POINTS_DROPPED: &str = "cni_metrics_helper_points_dropped_total";

impl Metric {
    /// The name of its sum over the cluster, as Prometheus sees it.
    pub fn cluster_series(self) -> String {
        self.series(CLUSTER_PREFIX)
    }

    /// The name of its value at one node, as Prometheus sees it. The helper's own counts of nodes have none.
    pub fn node_series(self) -> Option<String> {
        self.row().exposed.map(|_| self.series(NODE_PREFIX))
    }

    fn series(self, prefix: &str) -> String {
        match (self, self.row().exposed) {
            (Self::NodesExpected, _) => NODES_EXPECTED.to_owned(),
            (Self::NodesScraped, _) => NODES_SCRAPED.to_owned(),
            (_, exposed) => {
                let suffix = if self.kind() == Kind::Counter { TOTAL_SUFFIX } else { "" };
                [prefix, exposed.map_or("", |exposed| exposed.name), suffix].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_name_that_its_page_gives_it() {
        let names = |metric: Metric| (metric.cluster_series(), metric.node_series());
        let both = |name: &str| (format!("cni_cluster_{name}"), Some(format!("cni_node_{name}")));
        assert_eq!(names(Metric::EniAllocated), both("eni_allocated"));
        assert_eq!(names(Metric::Ec2ApiErrCount), both("ec2_api_errors_total"));
        assert_eq!(names(Metric::NodesScraped), (NODES_SCRAPED.to_owned(), None));
        let all = Metric::ALL.map(Metric::cluster_series);
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|name| name.len() > CLUSTER_PREFIX.len()), "{all:?}");
    }
}
