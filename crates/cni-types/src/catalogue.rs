//! The one table of metrics: which ipamd families are read, how each is folded, and under which names it is published.
//!
//! Names are a promise to dashboards and alarms: a row may be added, never renamed. The rows are in `catalogue/table.rs`;
//! the lists here and everything that enumerates families or published metrics are made from them.

mod row;
#[macro_use]
mod lists;
mod table;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::version::AgentVersion;

pub use row::{Exposed, Kind, MetricFacts, MetricSet, Unit, UpstreamGauge};
pub use table::{CATALOGUE, FAMILIES, Family, LABELLED_FAMILIES, LabelledFamily, METRICS, Metric, Row};

/// What the names of all of ipamd's families begin with.
pub const FAMILY_PREFIX: &str = "awscni_";

/// Families that agents serve, up to v1.23.2, and that nothing here reads. A histogram's series have suffixes behind it.
pub const NOT_READ: &[&str] = &[
    "awscni_assigned_ip_per_eni",
    "awscni_build_info",
    "awscni_connmark_backend",
    "awscni_connmark_reconcile_total",
    "awscni_ipamd_node_initialization_duration_seconds",
    "awscni_ipamd_startup_duration_seconds",
    "awscni_sagemakerapi_error_count",
    "awscni_sagemakerapi_req_count",
];

impl Family {
    /// Number of families that are counters.
    pub const COUNTER_COUNT: usize = lists::count(&CATALOGUE, Kind::Counter);

    /// The families that are counters, in the catalogue's order: the end of the list.
    pub const COUNTERS: [Self; Self::COUNTER_COUNT] = lists::last(&Self::ALL);

    /// The gauges that have labels on the page, in the catalogue's order.
    pub const GAUGES_WITH_LABELS: [Self; lists::gauges_with_labels(&CATALOGUE)] =
        lists::only_gauges_with_labels(&Self::ALL, &CATALOGUE);

    /// The metric it is published as.
    #[inline]
    pub const fn metric(self) -> Metric {
        self.row().metric
    }

    /// How it is folded.
    #[inline]
    pub const fn kind(self) -> Kind {
        self.row().kind
    }

    /// ipamd's name of it.
    #[inline]
    pub const fn name(self) -> &'static str {
        match self.row().family {
            Some(name) => name,
            None => "",
        }
    }

    /// True if its kind is [`Kind::Counter`]: the counters are the end of the list.
    #[inline]
    pub const fn is_counter(self) -> bool {
        self as usize >= FAMILIES - Self::COUNTER_COUNT
    }

    /// True for what only grows while its process lives: counters, and the sums and counts of latencies.
    #[inline]
    pub const fn counts_events(self) -> bool {
        self.is_counter() || matches!(self.kind(), Kind::Latency)
    }

    /// True for the counters without labels. They stand on every page of an agent that has them, with 0 from the start on:
    /// one that is absent is not measured. Labelled ones are absent until they first count.
    #[inline]
    pub const fn is_plain_counter(self) -> bool {
        self.is_counter() && !self.row().has_labels
    }

    /// The first version of the agent that has the family. What is older than 1.4, the oldest of which pages are known,
    /// counts as 1.4.
    #[inline]
    pub const fn first_version(self) -> AgentVersion {
        self.row().first_version
    }

    /// True if agents of this version have the family.
    #[inline]
    pub fn is_in(self, version: AgentVersion) -> bool {
        version >= self.first_version()
    }

    /// A name that earlier agents gave the family.
    #[inline]
    pub const fn former_name(self) -> Option<&'static str> {
        self.row().former_family
    }

    /// True for gauges that count IPv4 pod addresses: nodes whose pool holds IPv6 prefixes are left out of their sums.
    #[inline]
    pub const fn counts_ipv4(self) -> bool {
        self.row().counts_ipv4
    }

    /// Its row.
    #[inline]
    pub const fn row(self) -> &'static Row {
        row_at(self as usize)
    }
}

impl LabelledFamily {
    /// The labels that are kept: one or two. `code` of `aws_utils_error_count` is cut from its label `error`, which is
    /// the whole text of an error.
    #[inline]
    pub const fn label_names(self) -> &'static [&'static str] {
        self.family().row().labels
    }

    /// True if what it counts went wrong, false if it counts work.
    #[inline]
    pub const fn counts_errors(self) -> bool {
        self.family().row().counts_errors
    }
}

impl Metric {
    /// Its row.
    #[inline]
    pub const fn row(self) -> &'static Row {
        row_at(self as usize)
    }

    /// The published name.
    #[inline]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// How it is folded.
    #[inline]
    pub const fn kind(self) -> Kind {
        self.row().kind
    }

    /// The metric with this published name, letter for letter.
    pub fn by_name(name: &str) -> Option<Self> {
        CATALOGUE.iter().find(|row| row.name == name).map(|row| row.metric)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The row of a family or metric; both are numbered as the table is.
#[inline]
const fn row_at(index: usize) -> &'static Row {
    const TABLE: &[Row; METRICS] = &CATALOGUE;
    &TABLE[index]
}

// What the lists rely on.
const _: () = {
    let mut at = 0;
    while at < FAMILIES {
        let (family, row) = (Family::ALL[at], row_at(at));
        assert!(row.family.is_some(), "a row of families names one");
        assert!(row.exposed.is_some(), "a family has a name for Prometheus");
        assert!(row.labels.len() <= 2, "of a family at most two labels are kept");
        // The breakdown is of all nodes, and the sum leaves the IPv6 nodes out.
        assert!(row.labels.is_empty() || !row.counts_ipv4, "no labels are kept of what counts IPv4 addresses");
        assert!(family.is_counter() == matches!(row.kind, Kind::Counter), "the counters are the end of the list");
        at += 1;
    }
};

/// A text that names no metric set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMetricSet {
    text: String,
}

impl Error for UnknownMetricSet {}

impl fmt::Display for UnknownMetricSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no metric set: it must be compat or standard", self.text)
    }
}

impl MetricSet {
    /// True if the metric belongs to the set.
    pub fn contains(self, metric: Metric) -> bool {
        metric.row().set <= self
    }

    /// The set's metrics, in the catalogue's order.
    pub fn metrics(self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(move |metric| self.contains(*metric))
    }

    /// The name under which it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compat => "compat",
            Self::Standard => "standard",
        }
    }
}

impl fmt::Display for MetricSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MetricSet {
    type Err = UnknownMetricSet;

    /// Accepts the names in any case.
    fn from_str(text: &str) -> Result<Self, UnknownMetricSet> {
        [Self::Compat, Self::Standard]
            .into_iter()
            .find(|set| set.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| UnknownMetricSet { text: text.to_owned() })
    }
}

impl fmt::Display for Unit {
    /// CloudWatch's own spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn enums_and_table_are_numbered_alike() {
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, index);
            assert_eq!(metric.row().metric, metric);
            assert_eq!(Metric::by_name(metric.name()), Some(metric));
        }
        for (index, family) in Family::ALL.into_iter().enumerate() {
            assert_eq!(family as usize, index);
            assert_eq!(family.metric() as usize, index);
            assert!(family.name().starts_with("awscni_"), "{family:?}");
            assert_eq!(family.is_counter(), family.kind() == Kind::Counter);
        }
        let counters: Vec<_> = Family::ALL.into_iter().filter(|family| family.kind() == Kind::Counter).collect();
        assert_eq!(counters, Family::COUNTERS);
    }

    #[test]
    fn labelled_families_are_the_counters_with_labels_in_the_order_of_their_names() {
        let names = LabelledFamily::ALL.map(|own| own.family().name());
        assert!(names.is_sorted());
        for (number, own) in LabelledFamily::ALL.into_iter().enumerate() {
            assert_eq!(own as usize, number);
            assert_eq!(LabelledFamily::of(own.family()), Some(own));
        }
        for family in Family::ALL {
            let has_labels = family.is_counter() && !family.is_plain_counter();
            assert_eq!(LabelledFamily::of(family).is_some(), has_labels, "{}", family.name());
        }
    }

    #[test]
    fn names_are_used_once_and_begin_as_all_of_their_kind_do() {
        let families = Family::ALL.into_iter().flat_map(|family| [Some(family.name()), family.former_name()]);
        let families: Vec<&str> = families.flatten().collect();
        assert!(families.iter().all(|name| name.starts_with(FAMILY_PREFIX)), "{families:?}");
        let published = CATALOGUE.iter().map(|row| row.name);
        let exposed = CATALOGUE.iter().filter_map(|row| row.exposed).map(|exposed| exposed.name);
        for names in [families, published.collect(), exposed.collect()] {
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), names.len(), "{names:?}");
        }
        let mut places: Vec<usize> =
            CATALOGUE.iter().filter_map(|row| row.upstream_gauge).map(|gauge| gauge.place).collect();
        places.sort_unstable();
        assert_eq!(places, (1..=places.len()).collect::<Vec<_>>());
    }

    #[test]
    fn families_that_agents_show_from_their_first_event_on_have_labels() {
        let names = |families: &[Family]| families.iter().map(|family| family.name()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&Family::GAUGES_WITH_LABELS), "awscni_assigned_ip_per_cidr awscni_ipamd_action_inprogress");
        let plain: Vec<_> = Family::ALL.into_iter().filter(|family| family.is_plain_counter()).collect();
        assert_eq!(
            names(&plain),
            "awscni_add_ip_req_count awscni_force_removed_enis awscni_force_removed_ips awscni_no_available_ip_addresses"
        );
    }

    #[test]
    fn the_published_names_never_change() {
        let mut table = String::new();
        for row in &CATALOGUE {
            let family = row.family.unwrap_or("(own)");
            writeln!(table, "{family} {} {:?} {} {}", row.name, row.kind, row.unit, row.set).unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn compat_is_what_the_go_helper_published() {
        assert_eq!(MetricSet::Compat.metrics().count(), 20);
        assert_eq!(MetricSet::Standard.metrics().count(), METRICS);
        assert!(!MetricSet::Compat.contains(Metric::NoAvailableIpAddresses));
    }

    #[test]
    fn metric_sets_are_read_in_any_case() {
        assert_eq!("Standard".parse(), Ok(MetricSet::Standard));
        assert_eq!(" compat ".parse(), Ok(MetricSet::Compat));
        let error = "all".parse::<MetricSet>().unwrap_err();
        assert_eq!(error.to_string(), "\"all\" is no metric set: it must be compat or standard");
    }
}
