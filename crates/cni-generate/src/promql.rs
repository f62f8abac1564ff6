//! `PromQL` over the helper's series, for rules and dashboards.
//!
//! One Prometheus may hold many clusters, and a cluster's series may come from several pods at the same time (replicas
//! that both measure, shards) or one after the other (a pod that was replaced). So every expression keeps the label
//! `cluster`, takes the maximum over pods that show the same share of a cluster, and adds the shares.

use cni_types::catalogue::Metric;
use cni_types::series;

/// Labels by which the replicas of one share of a cluster are the same.
const SHARE: &str = "cluster, shard";
/// Labels of a node's series.
pub(crate) const NODE: &str = "cluster, node, zone, instance_type";

/// The series that an expression is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The inside of a selector's braces; may be empty.
    matchers: String,
}

/// A span of time, as `PromQL` writes it and in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    text: &'static str,
    seconds: u32,
}

/// Five minutes.
pub(crate) const FIVE_MINUTES: Window = Window { text: "5m", seconds: 300 };
/// An hour.
pub(crate) const AN_HOUR: Window = Window { text: "1h", seconds: 3600 };

impl Scope {
    /// All clusters that the Prometheus holds.
    pub(crate) fn every_cluster() -> Self {
        Self { matchers: String::new() }
    }

    /// The clusters chosen in Grafana's variable `cluster`.
    pub(crate) fn chosen() -> Self {
        Self { matchers: r#"cluster=~"$cluster""#.to_owned() }
    }

    /// One cluster. Series without the label are this cluster's, too.
    pub(crate) fn cluster(id: &str) -> Self {
        let pattern: String = id.chars().flat_map(quoted).collect();
        Self { matchers: format!(r#"cluster=~"{pattern}|""#) }
    }

    /// The same, and labels that match.
    pub(crate) fn and(&self, matchers: &str) -> Self {
        let both: Vec<&str> = [self.matchers.as_str(), matchers].into_iter().filter(|text| !text.is_empty()).collect();
        Self { matchers: both.join(", ") }
    }

    /// The series of this name.
    pub(crate) fn series(&self, name: &str) -> String {
        if self.matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", self.matchers) }
    }

    /// A gauge of each share of a cluster, once.
    pub(crate) fn share(&self, name: &str) -> String {
        by(SHARE, &self.series(name))
    }

    /// A node's gauge, once.
    pub(crate) fn node(&self, name: &str) -> String {
        by(NODE, &self.series(name))
    }

    /// A metric of nodes.
    pub(crate) fn node_metric(&self, metric: Metric) -> String {
        self.node(&metric.node_series().unwrap_or_default())
    }

    /// A gauge of each cluster.
    pub(crate) fn sum(&self, name: &str) -> String {
        sum("cluster", &self.share(name))
    }

    /// A metric of each cluster that is a gauge.
    pub(crate) fn sum_metric(&self, metric: Metric) -> String {
        self.sum(&metric.cluster_series())
    }

    /// The number of a cluster's nodes in a state.
    pub(crate) fn nodes_in(&self, state: &str) -> String {
        self.and(&format!("state=\"{state}\"")).sum(series::NODES)
    }

    /// A rate of each share of a cluster, once.
    pub(crate) fn rate(&self, metric: Metric, range: &str) -> String {
        by(SHARE, &format!("rate({}[{range}])", self.series(&metric.cluster_series())))
    }

    /// The part of the addresses that pods can have which is in use, by these labels of nodes (none: one figure for all).
    /// Where nodes do not show how many addresses pods can have, the limits of the instance types count.
    pub(crate) fn ip_utilisation(&self, labels: &str) -> String {
        let (assigned, usable) = (self.node_metric(Metric::AssignIpAddresses), self.node(series::NODE_USABLE));
        let of_nodes = ratio(&sum(labels, &format!("{assigned} and {usable}")), &sum(labels, &usable));
        let of_limits = if labels.is_empty() || labels == "cluster" {
            let metric = |metric: Metric| sum(labels, &self.share(&metric.cluster_series()));
            ratio(&metric(Metric::AssignIpAddresses), &metric(Metric::MaxIpAddresses))
        } else {
            ratio(&sum(labels, &assigned), &sum(labels, &self.node_metric(Metric::MaxIpAddresses)))
        };
        format!("({of_nodes}) or ({of_limits})")
    }

    /// How many events a counter of each cluster counted in a window.
    ///
    /// - A pod that was there at the window's beginning, and is now: what its counter increased by.
    /// - A pod whose counter began in the window: all that it counted. `increase()` does not see the first value.
    /// - A pod that has ended: what its counter increased by, added to that of the pod that replaced it; not added if
    ///   another replica was there all the time, because that one measured the same events.
    pub(crate) fn increase(&self, metric: Metric, window: Window) -> String {
        let counter = self.series(&metric.cluster_series());
        let start = self.series(series::COUNTERS_START);
        let Window { text, seconds } = window;
        let begun = format!("({counter} unless {counter} offset {text}) and (time() - {start} < {seconds})");
        let present = by(SHARE, &format!("({begun}) or (increase({counter}[{text}]) and {counter})"));
        let all_the_time = format!("({counter} and {counter} offset {text})");
        let ended = format!("(increase({counter}[{text}]) unless {counter}) unless on ({SHARE}) {all_the_time}");
        let ended = by(SHARE, &ended);
        sum("cluster", &format!("({present} + {ended}) or {present} or {ended}"))
    }
}

/// The larger of what has these labels.
fn by(labels: &str, figure: &str) -> String {
    format!("max by ({labels}) ({figure})")
}

/// What has these labels, added up; without labels all of it. A node's figures are there once already.
fn sum(labels: &str, figure: &str) -> String {
    match labels {
        "" => format!("sum ({figure})"),
        NODE => format!("({figure})"),
        _ => format!("sum by ({labels}) ({figure})"),
    }
}

/// A part of a whole, where the whole is not 0.
pub(crate) fn ratio(part: &str, whole: &str) -> String {
    format!("{part} / ({whole} > 0)")
}

/// A character in a regular expression in a `PromQL` string.
fn quoted(c: char) -> impl Iterator<Item = char> {
    // A backslash before a character that is one in the expression is two in the string.
    let before = match c {
        '\\' => "\\\\\\",
        '"' => "\\",
        '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => "\\\\",
        _ => "",
    };
    before.chars().chain([c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_id_matches_itself_only() {
        assert_eq!(Scope::cluster("a.b").series("x"), r#"x{cluster=~"a\\.b|"}"#);
        assert_eq!(Scope::cluster(r#"a"\{"#).series("x"), r#"x{cluster=~"a\"\\\\\\{|"}"#);
        assert_eq!(Scope::every_cluster().series("x"), "x");
        assert_eq!(Scope::chosen().and(r#"zone="a""#).series("x"), r#"x{cluster=~"$cluster", zone="a"}"#);
    }

    #[test]
    fn figures_are_taken_once_per_share_and_added() {
        let all = Scope::every_cluster();
        assert_eq!(
            all.sum_metric(Metric::EniAllocated),
            "sum by (cluster) (max by (cluster, shard) (cni_cluster_eni_allocated))"
        );
        assert_eq!(
            all.nodes_in("full"),
            "sum by (cluster) (max by (cluster, shard) (cni_cluster_nodes{state=\"full\"}))"
        );
    }
}
