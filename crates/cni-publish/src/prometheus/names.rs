//! Which metric is exposed under which name, made from the catalogue.
//!
//! Names follow Prometheus' conventions (base units, `_total` on counters only); the six without prefix are the Go
//! helper's own, kept for dashboards that exist.

use cni_types::catalogue::{CATALOGUE, FAMILIES, Family, METRICS, Metric};

/// A metric's name, to be prefixed with `cni_cluster_` or `cni_node_`.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// The metric.
    pub metric: Metric,
    /// The name without prefix.
    pub name: &'static str,
    /// How many of the measured unit make one of the exposed.
    pub per_unit: f64,
    /// HELP, after "Cluster: " or "Node: ".
    pub help: &'static str,
}

/// A place that is filled below.
const EMPTY: Name = Name { metric: Metric::NodesExpected, name: "", per_unit: 1.0, help: "" };

/// Number of gauges that the Go helper exposes.
const LEGACY_GAUGES: usize = {
    let (mut count, mut at) = (0, 0);
    while at < METRICS {
        count += CATALOGUE[at].upstream_gauge.is_some() as usize;
        at += 1;
    }
    count
};

/// The Go helper's names, with the cluster's sum and no labels.
pub const LEGACY: [Name; LEGACY_GAUGES] = {
    let mut names = [EMPTY; LEGACY_GAUGES];
    let mut at = 0;
    while at < METRICS {
        let row = &CATALOGUE[at];
        if let (Some(gauge), Some(name)) = (row.upstream_gauge, row.family) {
            names[gauge.place - 1] = Name { metric: row.metric, name, per_unit: 1.0, help: gauge.help };
        }
        at += 1;
    }
    names
};

/// Gauges, as measured in the round.
pub const GAUGES: [Name; FAMILIES - Family::COUNTER_COUNT] = exposed(0);

/// Counters; exposed as monotonic totals, with the suffix `_total`.
pub const COUNTERS: [Name; Family::COUNTER_COUNT] = exposed(GAUGES.len());

/// The names of as many families, from this one on.
const fn exposed<const N: usize>(first: usize) -> [Name; N] {
    let mut names = [EMPTY; N];
    let mut at = 0;
    while at < N {
        let row = &CATALOGUE[first + at];
        if let Some(exposed) = row.exposed {
            let (name, help) = (exposed.name, exposed.help);
            names[at] = Name { metric: row.metric, name, per_unit: row.unit.per_base_unit(), help };
        }
        at += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use cni_types::catalogue::Kind;

    use super::*;

    #[test]
    fn every_family_of_the_catalogue_has_exactly_one_name_of_its_kind() {
        for row in CATALOGUE {
            let count = |names: &[Name]| names.iter().filter(|name| name.metric == row.metric).count();
            let expected = match row.kind {
                Kind::SumGauge | Kind::Latency => (1, 0),
                Kind::Counter => (0, 1),
                Kind::Own => (0, 0),
            };
            assert_eq!((count(&GAUGES), count(&COUNTERS)), expected, "{}", row.name);
        }
    }
}
