//! The helper's own metrics about its sinks: one series per sink, with the label `sink`.

use cni_metrics_core::model::UnixMillis;

use crate::prometheus::text::{head, sample};
use crate::stats::SinkStats;

/// One metric that every sink has.
#[derive(Debug, Clone, Copy)]
pub struct SinkMetric {
    /// The full name.
    pub name: &'static str,
    /// A counter, and not a gauge.
    pub is_counter: bool,
    /// What it means.
    pub help: &'static str,
    value: fn(&SinkStats) -> Option<f64>,
}

/// Rounds read.
pub const ROUNDS: SinkMetric = SinkMetric {
    name: "cni_metrics_helper_sink_rounds_total",
    is_counter: true,
    help: "Rounds that each sink took from its queue",
    value: |sink| Some(sink.rounds as f64),
};

/// Rounds dropped by the queue.
pub const LOST: SinkMetric = SinkMetric {
    name: "cni_metrics_helper_sink_lost_rounds_total",
    is_counter: true,
    help: "Rounds that each sink lost because it did not read its queue in time or has ended",
    value: |sink| Some(sink.lost_rounds as f64),
};

/// Rounds in the queue.
pub const QUEUED: SinkMetric = SinkMetric {
    name: "cni_metrics_helper_sink_queued_rounds",
    is_counter: false,
    help: "Rounds waiting in each sink's queue",
    value: |sink| Some(sink.queued_rounds as f64),
};

/// Absent until the first delivery.
pub const LAST_SUCCESS: SinkMetric = SinkMetric {
    name: "cni_metrics_helper_sink_last_success_timestamp_seconds",
    is_counter: false,
    help: "When each sink last delivered something, Unix time",
    value: |sink| sink.last_success.map(UnixMillis::as_seconds),
};

/// 0 or 1.
pub const IN_TROUBLE: SinkMetric = SinkMetric {
    name: "cni_metrics_helper_sink_in_trouble",
    is_counter: false,
    help: "Whether something keeps the sink from delivering now",
    value: |sink| Some(f64::from(u8::from(sink.trouble.is_some()))),
};

/// All of them, in the order of the page.
pub const SINK_METRICS: [SinkMetric; 5] = [ROUNDS, LOST, QUEUED, LAST_SUCCESS, IN_TROUBLE];

/// Writes the series of these sinks in Prometheus' text format, each with the label `sink` and then `more` labels. A metric
/// without a series is left out.
pub fn write(page: &mut String, sinks: &[SinkStats], more: &[(&str, &str)]) {
    for metric in SINK_METRICS {
        let mut series = sinks.iter().filter_map(|sink| Some((sink.name, (metric.value)(sink)?))).peekable();
        if series.peek().is_some() {
            head(page, &[metric.name], if metric.is_counter { "counter" } else { "gauge" }, &[metric.help]);
        }
        for (sink, value) in series {
            sample(page, &[metric.name], &[&[("sink", sink)], more].concat(), value);
        }
    }
}
