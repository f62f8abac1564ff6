//! One line per metric and round, greppable as the Go helper's documentation shows them.

use cni_metrics_core::model::Snapshot;
use cni_types::catalogue::Kind;

use super::{Intake, Publisher, Selection};

/// Adds the sink that writes the leader's values of each round to the log at INFO.
pub fn spawn(publisher: &mut Publisher, selection: Selection) {
    publisher.spawn("log", |intake| run(intake, selection));
}

async fn run(mut intake: Intake, selection: Selection) {
    while let Some(round) = intake.rounds.next().await {
        let mut written = 0;
        if intake.leadership.is_leading() {
            for line in lines(&round.snapshot, &selection) {
                tracing::info!("{line}");
                written += 1;
            }
        }
        let now = round.snapshot.at;
        intake.stats.change(|stats| {
            stats.rounds += 1;
            stats.sent_points += written;
            stats.last_success = Some(now);
        });
    }
}

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
