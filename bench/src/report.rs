//! Results as one Markdown text and one JSON document.

use std::fmt::Write as _;

use serde::Serialize;

use crate::case::{Case, Figures};
use crate::flush::FlushFigures;
use crate::watch::WatchFigures;

/// One case and what each program made of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) case: Case,
    /// Program name and figures, in the order in which they ran.
    pub(crate) programs: Vec<(String, Figures)>,
}

/// All of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
    pub(crate) watches: Vec<(String, WatchFigures)>,
    pub(crate) flushes: Vec<FlushFigures>,
    pub(crate) left_out: Vec<String>,
}

/// A table in Markdown.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|", head.join(" | "));
    for _ in head {
        text.push_str("---|");
    }
    text.push('\n');
    for row in rows {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Three digits that mean something, whatever the size.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn dash() -> String {
    "–".to_owned()
}

fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// The rounds of all cases.
pub(crate) fn rounds(rows: &[Row]) -> String {
    let head = [
        "nodes",
        "way",
        "latency",
        "program",
        "round",
        "of it scraping",
        "CPU per node",
        "cores in a round",
        "cores overall",
        "idle",
        "RSS peak",
        "steady peak",
        "settled",
        "bytes per node",
        "new conn. per round",
        "open at the same time",
        "pages",
        "CloudWatch req. per round",
    ];
    let lines: Vec<Vec<String>> = each(rows)
        .filter(|(case, ..)| case.rounds > 0)
        .map(|(case, name, figures)| {
            vec![
                case.nodes.to_string(),
                way(case),
                format!("{} ms", case.latency_ms),
                name.to_owned(),
                format!("{} s", short(figures.round_seconds)),
                format!("{} s", short(figures.scraping_seconds)),
                format!("{} µs", short(figures.cpu_us_per_node)),
                short(figures.cpu_cores_in_round),
                percent(figures.cpu_cores),
                figures.idle_cores.map_or_else(dash, percent),
                format!("{} MiB", mib(figures.peak_bytes)),
                format!("{} MiB", mib(figures.steady_peak_bytes)),
                format!("{} MiB", mib(figures.settled_bytes)),
                short(figures.wire_bytes_per_node),
                short(figures.connections_per_round),
                figures.most_open.to_string(),
                percent(figures.delivered_share),
                short(figures.cloudwatch_requests_per_round),
            ]
        })
        .collect();
    table(&head, &lines)
}

/// Start-up, and the simulator's own cost.
pub(crate) fn starts(rows: &[Row]) -> String {
    let head = [
        "nodes",
        "way",
        "latency",
        "program",
        "list",
        "CPU of it",
        "RSS at its end",
        "peak",
        "start to first data point",
        "first round",
        "simulator per page",
        "headroom",
    ];
    let lines: Vec<Vec<String>> = each(rows)
        .map(|(case, name, figures)| {
            let seconds = |value: f64| format!("{} s", short(value));
            vec![
                case.nodes.to_string(),
                way(case),
                format!("{} ms", case.latency_ms),
                name.to_owned(),
                seconds(figures.start_to_first_page_seconds),
                seconds(figures.list_cpu_seconds),
                format!("{} MiB", mib(figures.list_resident_bytes)),
                format!("{} MiB", mib(figures.list_peak_bytes)),
                figures.start_to_first_point_seconds.map_or_else(dash, seconds),
                seconds(figures.first_round_seconds),
                figures.headroom.map_or_else(dash, |_| format!("{} µs", short(figures.simulator_us_per_page))),
                figures.headroom.map_or_else(dash, |times| format!("{} ×", short(times))),
            ]
        })
        .collect();
    table(&head, &lines)
}

/// Rounds with failing nodes; empty where none were run.
pub(crate) fn faults(rows: &[Row]) -> String {
    let head = ["nodes", "way", "latency", "program", "clean round", "with faults", "difference", "pages"];
    let lines: Vec<Vec<String>> = each(rows)
        .filter(|(_, _, figures)| !figures.faulty_round_seconds.is_empty())
        .map(|(case, name, figures)| {
            let worst = figures.faulty_round_seconds.iter().copied().fold(0.0, f64::max);
            let all: Vec<String> = figures.faulty_round_seconds.iter().map(|s| format!("{} s", short(*s))).collect();
            vec![
                case.nodes.to_string(),
                way(case),
                format!("{} ms", case.latency_ms),
                name.to_owned(),
                format!("{} s", short(figures.round_seconds)),
                all.join(", "),
                format!("{} s", short(worst - figures.round_seconds)),
                figures.faulty_delivered_share.map_or_else(dash, percent),
            ]
        })
        .collect();
    if lines.is_empty() { String::new() } else { table(&head, &lines) }
}

/// Published and true values.
pub(crate) fn errors(rows: &[Row]) -> String {
    let head = ["nodes", "way", "latency", "program", "name", "published", "truth", "error"];
    let mut lines = Vec::new();
    for (case, name, figures) in each(rows) {
        let Some(errors) = &figures.errors else { continue };
        let begin = |metric: &str| {
            vec![
                case.nodes.to_string(),
                way(case),
                format!("{} ms", case.latency_ms),
                name.to_owned(),
                metric.to_owned(),
            ]
        };
        let mut exact = 0;
        for (metric, counter) in &errors.counters {
            let difference = counter.published - counter.truth;
            if difference.abs() < f64::EPSILON {
                exact += 1;
                continue;
            }
            let cells = [counter.published, counter.truth, difference].map(short);
            lines.push(begin(metric).into_iter().chain(cells).collect());
        }
        for (metric, gauge) in &errors.gauges {
            if gauge.largest_relative_error < f64::EPSILON && gauge.missing == 0 {
                exact += 1;
                continue;
            }
            let cells = [
                format!("{} data points", gauge.points),
                format!("{} missing", gauge.missing),
                percent(gauge.largest_relative_error),
            ];
            lines.push(begin(metric).into_iter().chain(cells).collect());
        }
        let rest = [String::new(), String::new(), "0".to_owned()];
        lines.push(begin(&format!("{exact} names exact")).into_iter().chain(rest).collect());
    }
    if lines.is_empty() { String::new() } else { table(&head, &lines) }
}

/// What the watch cost.
pub(crate) fn watches(watches: &[(String, WatchFigures)]) -> String {
    let head =
        ["nodes", "program", "changes at the same time", "bytes", "CPU per change", "RSS before", "after", "peak"];
    let lines: Vec<Vec<String>> = watches
        .iter()
        .map(|(name, figures)| {
            vec![
                figures.nodes.to_string(),
                name.clone(),
                figures.changes.to_string(),
                format!("{} MiB", mib(figures.bytes)),
                format!("{} µs", short(figures.cpu_us_per_change)),
                format!("{} MiB", mib(figures.resident_before_bytes)),
                format!("{} MiB", mib(figures.resident_after_bytes)),
                format!("{} MiB", mib(figures.peak_bytes)),
            ]
        })
        .collect();
    if lines.is_empty() { String::new() } else { table(&head, &lines) }
}

/// What CloudWatch cost.
pub(crate) fn flushes(flushes: &[FlushFigures]) -> String {
    let head = [
        "data points",
        "requests",
        "bytes sent",
        "before compression",
        "bytes per data point",
        "CPU",
        "CPU per data point",
    ];
    let lines: Vec<Vec<String>> = flushes
        .iter()
        .map(|figures| {
            let each = |value: f64| short(value / f64::from(figures.data.max(1)));
            vec![
                figures.data.to_string(),
                short(figures.requests),
                short(figures.wire_bytes),
                short(figures.body_bytes),
                each(figures.wire_bytes),
                format!("{} µs", short(figures.cpu_us)),
                format!("{} µs", each(figures.cpu_us)),
            ]
        })
        .collect();
    if lines.is_empty() { String::new() } else { table(&head, &lines) }
}

/// Lines with a dash each.
pub(crate) fn list(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["- ", line, "\n"]).collect()
}

fn way(case: &Case) -> String {
    format!("{}{}", case.via, if case.https && case.via == "proxy" { ", HTTPS" } else { "" })
}

fn each(rows: &[Row]) -> impl Iterator<Item = (&Case, &str, &Figures)> {
    rows.iter().flat_map(|row| row.programs.iter().map(|(name, figures)| (&row.case, name.as_str(), figures)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [0.0, 0.0123, 1.234, 12.34, 1234.5].map(short);
        assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "1234"].map(str::to_owned));
        assert_eq!(percent(0.0315), "3.15 %");
    }

    #[test]
    fn every_row_has_a_cell_for_each_head() {
        let case = Case {
            nodes: 10,
            latency_ms: 2,
            via: "proxy".to_owned(),
            https: true,
            interval_seconds: 3,
            rounds: 1,
            concurrency: None,
            faulty_rounds: 1,
            scenario: None,
            insight: None,
        };
        let counter = crate::error::Counter { published: 1.0, truth: 2.0 };
        let gauge = crate::error::Gauge { points: 1, missing: 1, largest_relative_error: 0.5 };
        let errors = crate::error::Errors {
            counters: [("addReqCount".to_owned(), counter)].into(),
            gauges: [("eniAllocated".to_owned(), gauge)].into(),
        };
        let figures = Figures {
            faulty_round_seconds: vec![5.0],
            errors: Some(errors),
            headroom: Some(3.0),
            ..Figures::default()
        };
        let rows = [Row { case, programs: vec![("helper".to_owned(), figures)] }];
        let watch = [("helper".to_owned(), WatchFigures::default())];
        let flush = [FlushFigures::default()];
        let tables =
            [rounds(&rows), starts(&rows), faults(&rows), super::errors(&rows), watches(&watch), flushes(&flush)];
        for table in tables {
            let cells: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(cells.len() > 2 && cells.iter().all(|count| *count == cells[0]), "{table}");
        }
    }

    #[test]
    fn a_table_is_markdown() {
        let text = table(&["a", "b"], &[vec!["1".to_owned(), "2".to_owned()]]);
        assert_eq!(text, "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
