//! The lines of a round.

use cni_metrics_core::model::Snapshot;
use cni_types::catalogue::Kind;

use crate::selection::Selection;

/// The lines of one round. Latency and the helper's own counts are states of the round, hence gauges.
pub fn lines<'a>(snapshot: &'a Snapshot, selection: &'a Selection) -> impl Iterator<Item = String> + 'a {
    selection.values(snapshot).map(|(row, value)| {
        let kind = match row.kind {
            Kind::Counter => "COUNTER",
            Kind::SumGauge | Kind::Latency | Kind::Own => "GAUGE",
        };
        format!("Produce {kind} metrics: {}, value: {value:.6}", row.name)
    })
}
