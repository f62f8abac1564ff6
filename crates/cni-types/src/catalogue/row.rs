//! What a row says, and how it is written.

use crate::version::AgentVersion;

/// How a metric's values over nodes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sum over nodes of the sum over the family's series.
    SumGauge,
    /// Sum over nodes of the exact increase since the node's previous good scrape.
    Counter,
    /// The highest mean of the interval over nodes and APIs.
    Latency,
    /// The helper's own count of nodes.
    Own,
}

/// CloudWatch's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Count,
    /// Milliseconds.
    Milliseconds,
}

impl Unit {
    /// How many of it make one of Prometheus' base unit, in which the metric is exposed.
    pub const fn per_base_unit(self) -> f64 {
        match self {
            Self::Count => 1.0,
            Self::Milliseconds => 1000.0,
        }
    }
}

/// Which metric set a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricSet {
    /// Exactly the names of the Go helper v1.23.1.
    Compat,
    /// Those and the names it lacked (the default).
    Standard,
}

/// How a metric is exposed to Prometheus, as `cni_cluster_NAME` and `cni_node_NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposed {
    /// The name without prefix, and of a counter without `_total`.
    pub name: &'static str,
    /// The beginning of its HELP.
    pub help: &'static str,
}

/// A gauge that the upstream helper exposes to Prometheus under the family's own name, as the cluster's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamGauge {
    /// Its place on the page, from 1.
    pub place: usize,
    /// The beginning of its HELP.
    pub help: &'static str,
}

/// What is known of a published metric `M` and the family that it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricFacts<M> {
    /// The published metric.
    pub metric: M,
    /// ipamd's family; `None` for the helper's own counts.
    pub family: Option<&'static str>,
    /// A name that earlier agents gave the family.
    pub former_family: Option<&'static str>,
    /// The first version of the agent that has the family. What is older than 1.4, the oldest of which pages are known,
    /// counts as 1.4.
    pub first_version: AgentVersion,
    /// The published name (CloudWatch, JSON, log lines).
    pub name: &'static str,
    /// How it is folded.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// The smallest set that holds it.
    pub set: MetricSet,
    /// One sentence for `--help`-like places and documentation.
    pub help: &'static str,
    /// Its name for Prometheus; `None` for the helper's own counts, which the page names itself.
    pub exposed: Option<Exposed>,
    /// Whether the upstream helper exposes it to Prometheus.
    pub upstream_gauge: Option<UpstreamGauge>,
    /// The labels that are kept: none, one or two.
    pub labels: &'static [&'static str],
    /// The family has labels on the page: a series is absent until it is first used.
    pub has_labels: bool,
    /// What it counts went wrong; false if it counts work.
    pub counts_errors: bool,
    /// It counts IPv4 pod addresses: nodes whose pool holds IPv6 prefixes are left out of the sum.
    pub counts_ipv4: bool,
}

/// A row before it is in the table.
pub(super) type NewRow = MetricFacts<()>;

/// A row of that kind, with what most rows have.
const fn row(kind: Kind, name: &'static str, help: &'static str) -> NewRow {
    NewRow {
        metric: (),
        family: None,
        former_family: None,
        first_version: AgentVersion::new(1, 4, 0),
        name,
        kind,
        unit: if matches!(kind, Kind::Latency) { Unit::Milliseconds } else { Unit::Count },
        set: if matches!(kind, Kind::Own) { MetricSet::Standard } else { MetricSet::Compat },
        help,
        exposed: None,
        upstream_gauge: None,
        labels: &[],
        has_labels: false,
        counts_errors: false,
        counts_ipv4: false,
    }
}

/// A gauge: the family, the published name, help.
pub(super) const fn gauge(family: &'static str, name: &'static str, help: &'static str) -> NewRow {
    NewRow { family: Some(family), ..row(Kind::SumGauge, name, help) }
}

/// A counter: the family, the published name, help.
pub(super) const fn counter(family: &'static str, name: &'static str, help: &'static str) -> NewRow {
    NewRow { family: Some(family), ..row(Kind::Counter, name, help) }
}

/// The summary of latencies: the family, the published name, help.
pub(super) const fn latency(family: &'static str, name: &'static str, help: &'static str) -> NewRow {
    NewRow { family: Some(family), ..row(Kind::Latency, name, help) }
}

/// A count of the helper's own: the published name, help.
pub(super) const fn own(name: &'static str, help: &'static str) -> NewRow {
    row(Kind::Own, name, help)
}

impl NewRow {
    /// Its name and HELP for Prometheus.
    pub(super) const fn exposed(self, name: &'static str, help: &'static str) -> Self {
        Self { exposed: Some(Exposed { name, help }), ..self }
    }

    /// The upstream helper exposes it to Prometheus, at this place.
    pub(super) const fn upstream(self, place: usize, help: &'static str) -> Self {
        Self { upstream_gauge: Some(UpstreamGauge { place, help }), ..self }
    }

    /// The upstream helper does not publish it to CloudWatch.
    pub(super) const fn not_upstream(self) -> Self {
        Self { set: MetricSet::Standard, ..self }
    }

    /// It counts IPv4 addresses.
    pub(super) const fn of_ipv4(self) -> Self {
        Self { counts_ipv4: true, ..self }
    }

    /// It counts errors.
    pub(super) const fn of_errors(self) -> Self {
        Self { counts_errors: true, ..self }
    }

    /// It has labels, none of which is kept.
    pub(super) const fn with_labels(self) -> Self {
        Self { has_labels: true, ..self }
    }

    /// The first version of the agent that has it.
    pub(super) const fn since(self, major: u16, minor: u16, patch: u16) -> Self {
        Self { first_version: AgentVersion::new(major, minor, patch), ..self }
    }

    /// A name that earlier agents gave the family.
    pub(super) const fn formerly(self, family: &'static str) -> Self {
        Self { former_family: Some(family), ..self }
    }

    /// What the table says beside the row itself: the metric, and the labels that are kept.
    pub(super) const fn entered<M: Copy>(self, metric: M, labels: &'static [&'static str]) -> MetricFacts<M> {
        MetricFacts {
            metric,
            family: self.family,
            former_family: self.former_family,
            first_version: self.first_version,
            name: self.name,
            kind: self.kind,
            unit: self.unit,
            set: self.set,
            help: self.help,
            exposed: self.exposed,
            upstream_gauge: self.upstream_gauge,
            labels,
            has_labels: self.has_labels || !labels.is_empty(),
            counts_errors: self.counts_errors,
            counts_ipv4: self.counts_ipv4,
        }
    }
}
