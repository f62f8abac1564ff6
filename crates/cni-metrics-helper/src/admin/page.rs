//! The page itself. Each metric of the table has one line here that says where its numbers come from.

use super::parts::AdminParts;
use std::sync::atomic::Ordering;

use cni_metrics_core::model::FailureKind;

use super::names::{self, Kind, Name};
use super::process::ProcessFigures;
use cni_collector::self_stats::{ROUND_BOUNDS_SECONDS, SelfFigures};
use cni_publish::SinkStats;
use cni_publish::listen::{Closed, Listener};
use cni_publish::prometheus::text::{head, sample};
use cni_publish::sink_metrics;
use cni_publish::stats::{DropReason, LATENCY_BOUNDS_SECONDS, RequestOutcome};
use cni_types::cluster_id::ClusterId;

/// The whole page.
pub(super) fn render(parts: &AdminParts) -> String {
    let mut page = Page { text: String::with_capacity(8 << 10), cluster: parts.cluster.get() };
    page.labelled(&names::BUILD_INFO, "version", [(env!("CARGO_PKG_VERSION"), 1.0)]);
    page.one(&names::LEADER, switch(parts.leadership.is_leading()));
    let figures = parts.stats.figures();
    page.one(&names::STANDING_BY, switch(figures.standing_by));
    rounds(&mut page, &figures);
    watches(&mut page, parts);
    let sinks: Vec<SinkStats> = parts.sinks.iter().map(|sink| sink.borrow().clone()).collect();
    let cluster = page.cluster.as_ref().map(|id| ("cluster", id.as_str()));
    sink_metrics::write(&mut page.text, &sinks, cluster.as_slice());
    if let Some(cloudwatch) = sinks.iter().find(|sink| sink.name == "cloudwatch") {
        delivery(&mut page, cloudwatch, parts.clock.now().as_seconds());
    }
    limits(&mut page);
    process(&mut page, ProcessFigures::read());
    page.text
}

/// What was given up so that the process goes on. All of it is the process' own.
fn limits(page: &mut Page) {
    page.one(&names::LOG_LOST, count(cni_runtime::logging::lost_lines()));
    page.head(&names::CLOSED);
    for listener in Listener::ALL {
        for why in Closed::ALL {
            let labels = [("listener", listener.label()), ("reason", why.label())];
            page.sample(&[names::CLOSED.name], &labels, count(listener.closed(why)));
        }
    }
}

fn rounds(page: &mut Page, figures: &SelfFigures) {
    let outcomes = [("complete", count(figures.complete_rounds)), ("partial", count(figures.partial_rounds))];
    page.labelled(&names::ROUNDS, "outcome", outcomes);
    page.one(&names::LATE_ROUNDS, count(figures.late_rounds));
    let durations = Distribution {
        bounds: &ROUND_BOUNDS_SECONDS,
        at_most: &figures.rounds_at_most,
        count: figures.rounds(),
        sum_seconds: figures.round_time.as_secs_f64(),
    };
    page.histogram(&names::ROUND_SECONDS, &durations);
    let sums = &figures.sums;
    let stages = [("scraping", sums.scraping), ("parsing", sums.parsing), ("aggregating", sums.aggregating)];
    page.labelled(&names::STAGE_SECONDS, "stage", stages.map(|(stage, took)| (stage, took.as_secs_f64())));
    let answered = [("ok_proxy", sums.by_proxy), ("ok_direct", sums.directly)];
    let failed = FailureKind::ALL.map(|kind| (kind.label(), figures.failures.get(&kind).copied().unwrap_or(0)));
    let outcomes = answered.into_iter().chain(failed).map(|(outcome, scrapes)| (outcome, count(scrapes)));
    page.labelled(&names::SCRAPES, "outcome", outcomes);
    page.one(&names::SCRAPES_LEFT_OUT, count(sums.left_out));
    page.one(&names::SCRAPE_WINDOW, count(sums.window));
    page.one(&names::PAGE_BYTES, count(sums.page_bytes));
    page.one(&names::BAD_LINES, count(sums.bad_lines));
}

fn watches(page: &mut Page, parts: &AdminParts) {
    page.one(&names::SYNCED, switch(parts.is_synced()));
    let stats = &parts.discovery.stats;
    page.one(&names::POD_LISTS, count(stats.pod_lists.load(Ordering::Relaxed)));
    let failures = [("pods", &stats.pod_failures), ("nodes", &stats.node_failures)];
    let failures = failures.map(|(watch, failures)| (watch, count(failures.load(Ordering::Relaxed))));
    page.labelled(&names::WATCH_FAILURES, "watch", failures);
    let ages = parts.discovery.staleness();
    let ages = [("pods", Some(ages.pods)), ("nodes", ages.nodes)];
    let ages = ages.into_iter().filter_map(|(watch, age)| Some((watch, age?.as_secs_f64())));
    page.labelled(&names::WATCH_AGE, "watch", ages);
}

fn delivery(page: &mut Page, sink: &SinkStats, now_seconds: f64) {
    page.one(&names::POINTS_SENT, count(sink.sent_points));
    let dropped = |reason: DropReason| count(sink.dropped_points.get(&reason).copied().unwrap_or(0));
    page.labelled(&names::POINTS_DROPPED, "reason", DropReason::ALL.map(|reason| (reason.label(), dropped(reason))));
    page.one(&names::POINTS_BUFFERED, count(sink.buffered_points));
    page.one(&names::BUFFER_BYTES, count(sink.buffered_bytes));
    if let Some(oldest) = sink.oldest_point {
        page.one(&names::OLDEST_POINT, (now_seconds - oldest.as_seconds()).max(0.0));
    }
    let requests = |outcome: RequestOutcome| count(sink.requests.get(&outcome).copied().unwrap_or(0));
    let outcomes = RequestOutcome::ALL.map(|outcome| (outcome.label(), requests(outcome)));
    page.labelled(&names::REQUESTS, "result", outcomes);
    let latency = &sink.latency;
    let durations = Distribution {
        bounds: &LATENCY_BOUNDS_SECONDS,
        at_most: &latency.at_most,
        count: latency.count,
        sum_seconds: latency.sum_seconds,
    };
    page.histogram(&names::REQUEST_SECONDS, &durations);
}

fn process(page: &mut Page, figures: ProcessFigures) {
    let figures = [
        (&names::CPU, figures.cpu_seconds),
        (&names::RESIDENT, figures.resident_bytes),
        (&names::FDS, figures.open_fds),
        (&names::STARTED, figures.start_seconds),
    ];
    for (name, value) in figures {
        if let Some(value) = value {
            page.one(name, value);
        }
    }
}

/// A histogram's numbers.
struct Distribution<'a> {
    bounds: &'a [f64],
    at_most: &'a [u64],
    count: u64,
    sum_seconds: f64,
}

struct Page {
    text: String,
    /// The label of the helper's own metrics; those of the process have none.
    cluster: Option<ClusterId>,
}

impl Page {
    fn head(&mut self, name: &Name) {
        head(&mut self.text, &[name.name], name.kind.text(), &[name.help]);
    }

    fn sample(&mut self, name: &[&str], labels: &[(&str, &str)], value: f64) {
        let is_our_own = name.first().is_some_and(|name| name.starts_with("cni_metrics_helper_"));
        match self.cluster.as_ref().filter(|_| is_our_own) {
            Some(id) => sample(&mut self.text, name, &[labels, &[("cluster", id.as_str())]].concat(), value),
            None => sample(&mut self.text, name, labels, value),
        }
    }

    fn one(&mut self, name: &Name, value: f64) {
        self.head(name);
        self.sample(&[name.name], &[], value);
    }

    /// One series for each value of the label; nothing at all without any.
    fn labelled<'a>(&mut self, name: &Name, label: &str, series: impl IntoIterator<Item = (&'a str, f64)>) {
        let mut series = series.into_iter().peekable();
        if series.peek().is_some() {
            self.head(name);
        }
        for (value, number) in series {
            self.sample(&[name.name], &[(label, value)], number);
        }
    }

    fn histogram(&mut self, name: &Name, numbers: &Distribution<'_>) {
        debug_assert_eq!(name.kind, Kind::Histogram);
        self.head(name);
        for (bound, at_most) in numbers.bounds.iter().zip(numbers.at_most) {
            self.sample(&[name.name, "_bucket"], &[("le", &bound.to_string())], count(*at_most));
        }
        self.sample(&[name.name, "_bucket"], &[("le", "+Inf")], count(numbers.count));
        self.sample(&[name.name, "_sum"], &[], numbers.sum_seconds);
        self.sample(&[name.name, "_count"], &[], count(numbers.count));
    }
}

fn switch(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn count(number: u64) -> f64 {
    number as f64
}
