//! The one table of the helper's own metrics: name, kind, labels, meaning.

use cni_publish::sink_metrics;

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until the process ends.
    Counter,
    /// Cumulative buckets, sum and count.
    Histogram,
}

impl Kind {
    /// As the text format writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// The full name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
}

macro_rules! names {
    ($($constant:ident = $kind:ident $name:expr, $help:expr;)*) => {
        $(pub(super) const $constant: Name = Name { name: $name, kind: Kind::$kind, help: $help };)*

        /// All of them, in the order of the page.
        pub const NAMES: &[Name] = &[$($constant),*];
    };
}

names! {
    BUILD_INFO = Gauge "cni_metrics_helper_build_info", "Always 1; the label says which version runs";
    LEADER = Gauge "cni_metrics_helper_leader", "Whether this replica may publish now; 1 without an election";
    STANDING_BY = Gauge "cni_metrics_helper_standing_by", "Whether this replica waits for its turn to lead";
    ROUNDS = Counter "cni_metrics_helper_rounds_total", "Rounds finished: complete if every expected node answered, else partial";
    LATE_ROUNDS = Counter "cni_metrics_helper_late_rounds_total", "Rounds that began late because the one before overran its interval";
    ROUND_SECONDS = Histogram "cni_metrics_helper_round_duration_seconds", "How long rounds took";
    STAGE_SECONDS = Counter "cni_metrics_helper_stage_seconds_total", "Time spent per stage; parsing is summed over scrapes that run side by side and is part of scraping";
    SCRAPES = Counter "cni_metrics_helper_scrapes_total", "Scrapes by outcome: ok by the path that was taken, or the kind of failure";
    SCRAPES_LEFT_OUT = Counter "cni_metrics_helper_scrapes_left_out_total", "Scrapes that were not made because the node had failed in the same way in the rounds before; cni_metrics_helper_scrapes_total counts them under that failure";
    SCRAPE_WINDOW = Gauge "cni_metrics_helper_scrape_window", "Most scrapes at once that the concurrency limiter allows, not counting those that wait unusually long; 0 before the first round";
    PAGE_BYTES = Counter "cni_metrics_helper_page_bytes_total", "Bytes of the agents' pages read, after decompression";
    BAD_LINES = Counter "cni_metrics_helper_bad_lines_total", "Lines of the agents' pages that could not be read";
    SYNCED = Gauge "cni_metrics_helper_watch_synced", "Whether the pods have been listed completely";
    POD_LISTS = Counter "cni_metrics_helper_watch_lists_total", "Complete lists of pods taken; every one after the first is a restart of the watch";
    WATCH_FAILURES = Counter "cni_metrics_helper_watch_failures_total", "Failures of the watches";
    WATCH_AGE = Gauge "cni_metrics_helper_watch_last_event_age_seconds", "Time since the API server last said anything of each watch, bookmarks included; at most about a minute while it works";
    SINK_ROUNDS = Counter sink_metrics::ROUNDS.name, sink_metrics::ROUNDS.help;
    SINK_LOST = Counter sink_metrics::LOST.name, sink_metrics::LOST.help;
    SINK_QUEUED = Gauge sink_metrics::QUEUED.name, sink_metrics::QUEUED.help;
    SINK_SUCCESS = Gauge sink_metrics::LAST_SUCCESS.name, sink_metrics::LAST_SUCCESS.help;
    SINK_TROUBLE = Gauge sink_metrics::IN_TROUBLE.name, sink_metrics::IN_TROUBLE.help;
    POINTS_SENT = Counter "cni_metrics_helper_points_sent_total", "Points that CloudWatch accepted";
    POINTS_DROPPED = Counter "cni_metrics_helper_points_dropped_total", "Points given up, by reason";
    POINTS_BUFFERED = Gauge "cni_metrics_helper_points_buffered", "Points measured and not yet accepted";
    BUFFER_BYTES = Gauge "cni_metrics_helper_buffer_bytes", "Memory that these points occupy";
    OLDEST_POINT = Gauge "cni_metrics_helper_oldest_point_age_seconds", "Age of the oldest point not yet accepted; absent without one";
    REQUESTS = Counter "cni_metrics_helper_cloudwatch_requests_total", "Requests to CloudWatch, by how they ended";
    REQUEST_SECONDS = Histogram "cni_metrics_helper_cloudwatch_request_duration_seconds", "How long requests to CloudWatch took";
    LOG_LOST = Counter "cni_metrics_helper_log_lines_lost_total", "Log lines that standard error did not take";
    CLOSED = Counter "cni_metrics_helper_connections_closed_total", "Connections to this helper's listeners that it closed: by their number, or because request or answer took too long";
    CPU = Counter "process_cpu_seconds_total", "Processor time used, user and system";
    RESIDENT = Gauge "process_resident_memory_bytes", "Resident memory";
    FDS = Gauge "process_open_fds", "Open file descriptors";
    STARTED = Gauge "process_start_time_seconds", "Start of the process, Unix time";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sinks_metrics_are_in_the_table_with_their_kind() {
        for metric in sink_metrics::SINK_METRICS {
            let row = NAMES.iter().find(|row| row.name == metric.name).unwrap();
            let kind = if metric.is_counter { Kind::Counter } else { Kind::Gauge };
            assert_eq!((row.kind, row.help), (kind, metric.help), "{}", metric.name);
        }
    }
}
