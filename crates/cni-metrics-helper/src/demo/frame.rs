//! The live view: what fits a terminal of 80 columns and 24 lines, and more on a larger one.

use cni_insight::finding::Severity;
use cni_metrics_core::model::{NodeFigures, Snapshot};
use cni_types::catalogue::{CATALOGUE, Metric};
use tracing::Level;

use super::compare::difference;
use super::log_lines::LogLine;
use super::played::PlayedRound;
use super::terminal::Size;
use crate::view::findings;
use crate::view::table::{self, show};
use crate::view::wrap;

/// A terminal with fewer lines than this gets no blank lines.
const ROOMY_ROWS: usize = 32;

/// Nodes shown at most.
const NODES: usize = 8;

/// Lines of nodes and of the log on the smallest terminal, the head of the nodes' table included.
const LEAST_NODES: usize = 4;

/// From this width on the nodes' zones and types are shown.
const WIDE_COLUMNS: usize = 100;

/// A log line takes this many lines of the screen at most.
const LOG_ROWS: usize = 4;

/// `00:13:30`.
const TIME_COLUMNS: usize = 8;

/// A column of metrics: a name and a value.
const NAME_COLUMNS: usize = 26;
const VALUE_COLUMNS: usize = 12;

/// How a part of a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Head,
    Warning,
    Error,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Head => "\x1b[1m",
            Self::Warning => "\x1b[33m",
            Self::Error => "\x1b[31m",
        }
    }
}

/// One line of the screen: parts of a text with their style.
#[derive(Debug, Default)]
pub(super) struct ScreenLine(Vec<(Style, String)>);

impl ScreenLine {
    fn styled(style: Style, text: String) -> Self {
        Self(vec![(style, text)])
    }

    fn push(&mut self, style: Style, text: String) {
        self.0.push((style, text));
    }

    /// Cut to this number of columns; with colours or without.
    pub(super) fn show(&self, columns: usize, has_colour: bool) -> String {
        let (mut shown, mut left) = (String::new(), columns);
        for (style, text) in &self.0 {
            let part: String = text.chars().take(left).collect();
            left = left.saturating_sub(part.chars().count());
            if has_colour && *style != Style::Plain {
                shown.extend([style.code(), &part, "\x1b[0m"]);
            } else {
                shown += &part;
            }
        }
        shown.truncate(shown.trim_end().len());
        shown
    }
}

/// What a frame shows.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Which cluster, and which round of how many.
    pub(super) title: String,
    pub(super) round: &'a PlayedRound,
    /// What CloudWatch took so far: requests and data points.
    pub(super) taken: (usize, usize),
    pub(super) log: Vec<LogLine>,
}

impl Frame<'_> {
    /// What CloudWatch took, and what is concluded.
    fn taken_and_found(&self) -> ScreenLine {
        let taken = format!("CloudWatch: {} requests, {} points", self.taken.0, self.taken.1);
        let mut line = ScreenLine::styled(Style::Plain, taken);
        if let Some(conclusion) = &self.round.conclusion {
            let style =
                match conclusion.findings.iter().filter(|finding| !finding.is_muted).map(|one| one.severity).min() {
                    Some(Severity::Critical) => Style::Error,
                    Some(Severity::Warning) => Style::Warning,
                    Some(Severity::Info) | None => Style::Plain,
                };
            line.push(Style::Plain, "   findings: ".to_owned());
            line.push(style, findings::headline(conclusion));
        }
        line
    }

    /// The lines, no more than the terminal has.
    pub(super) fn lines(&self, size: Size) -> Vec<ScreenLine> {
        let is_roomy = size.rows >= ROOMY_ROWS;
        let snapshot = self.round.snapshot.as_ref();
        let mut lines = vec![
            ScreenLine::styled(Style::Head, self.title.clone()),
            ScreenLine::styled(headline_style(snapshot), table::headline(snapshot)),
            self.taken_and_found(),
        ];
        let blank = |lines: &mut Vec<ScreenLine>| lines.extend(is_roomy.then(ScreenLine::default));
        blank(&mut lines);
        lines.extend(metrics(self.round, size.columns));
        blank(&mut lines);
        let nodes = noteworthy(snapshot);
        let left = size.rows.saturating_sub(lines.len());
        let room = (left / 2).max(LEAST_NODES).min(left).saturating_sub(1).min(NODES);
        lines.extend(nodes_table(nodes.into_iter().take(room), size.columns));
        blank(&mut lines);
        let left = size.rows.saturating_sub(lines.len());
        lines.extend(newest(&self.log, left, size.columns));
        lines.truncate(size.rows);
        lines
    }
}

/// As many of the newest log lines as fit whole: warnings and their ends first, then the others. Lines about rounds, which the tables
/// show too, have what those leave; lines about the start are left out after it.
fn newest(log: &[LogLine], rows: usize, columns: usize) -> Vec<ScreenLine> {
    let start = log.iter().position(|line| line.round().is_some()).unwrap_or(0);
    let mut left = rows;
    let mut fitting: Vec<(usize, Vec<ScreenLine>)> = Vec::new();
    for rank in 0..=LAST_RANK {
        for (at, line) in log.iter().enumerate().skip(start).rev().filter(|(_, line)| self::rank(line) == rank) {
            let shown = log_lines(line, columns);
            if shown.len() > left && !fitting.is_empty() {
                break;
            }
            left = left.saturating_sub(shown.len());
            fitting.push((at, shown));
        }
    }
    fitting.sort_by_key(|(at, _)| *at);
    fitting.into_iter().flat_map(|(_, shown)| shown).collect()
}

const LAST_RANK: usize = 2;

/// Lines of a smaller rank have room first.
fn rank(line: &LogLine) -> usize {
    let is_end = line.text.contains(" INFO finding closed") && !line.text.contains("severity=\"info\"");
    match line.round() {
        Some(_) => LAST_RANK,
        None => usize::from(line.level > Level::WARN && !is_end),
    }
}

/// A log line with the time of day, over several lines of the screen where it is long.
fn log_lines(line: &LogLine, columns: usize) -> Vec<ScreenLine> {
    let style = match line.level {
        Level::ERROR => Style::Error,
        Level::WARN => Style::Warning,
        _ => Style::Plain,
    };
    let (time, rest) = line.text.split_once(' ').unwrap_or(("", &line.text));
    let time_of_day = time.split_once('T').and_then(|(_, time)| time.get(..TIME_COLUMNS)).unwrap_or(time);
    let width = columns.saturating_sub(TIME_COLUMNS + 1).max(1);
    let parts = wrap::lines(&without_domains(rest), width).into_iter().take(LOG_ROWS).enumerate();
    let shown = parts.map(|(at, part)| {
        let before = if at == 0 { time_of_day } else { "" };
        ScreenLine::styled(style, format!("{before:TIME_COLUMNS$} {part}"))
    });
    shown.collect()
}

/// With the names of EC2 instances as the table of nodes has them.
fn without_domains(text: &str) -> String {
    const DOMAIN: &str = ".compute.internal";
    let word = |word: &str| match (word.split_once('.'), word.split_once(DOMAIN)) {
        (Some((name, _)), Some((_, rest))) => format!("{name}{rest}"),
        _ => word.to_owned(),
    };
    text.split_inclusive(' ').map(word).collect()
}

fn headline_style(snapshot: &Snapshot) -> Style {
    if snapshot.coverage.scraped < snapshot.coverage.expected { Style::Error } else { Style::Plain }
}

/// The round's values, as many columns as there is room for. A value that differs from the truth has it behind it.
fn metrics(round: &PlayedRound, columns: usize) -> Vec<ScreenLine> {
    let parts = (columns / (NAME_COLUMNS + VALUE_COLUMNS)).clamp(1, 3);
    let rows: Vec<_> = CATALOGUE.iter().collect();
    let height = rows.len().div_ceil(parts);
    let cell = |row: usize, part: usize| {
        let row = rows.get(row + part * height)?;
        let published = round.snapshot.metrics.get(row.metric);
        let truth = round.truth.metrics.get(row.name).copied();
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), show);
        let differs = difference(published, truth) != 0.0;
        let value = if differs { format!("{} not {}", text(published), text(truth)) } else { text(published) };
        let is_trouble = row.metric == Metric::NoAvailableIpAddresses && published.is_some_and(|value| value > 0.0);
        let style = if differs || is_trouble { Style::Error } else { Style::Plain };
        Some((style, format!("{:NAME_COLUMNS$}", row.name), format!("{value:>width$}  ", width = VALUE_COLUMNS - 2)))
    };
    let lines = (0..height).map(|row| {
        let mut line = ScreenLine::default();
        for (style, name, value) in (0..parts).filter_map(|part| cell(row, part)) {
            line.push(Style::Plain, name);
            line.push(style, value);
        }
        line
    });
    lines.collect()
}

/// A head, and a line for each node. The columns are as wide as what they hold.
fn nodes_table<'a>(nodes: impl Iterator<Item = &'a NodeFigures>, columns: usize) -> Vec<ScreenLine> {
    let is_wide = columns >= WIDE_COLUMNS;
    let mut rows: Vec<Vec<(Style, String)>> = vec![heads(is_wide)];
    rows.extend(nodes.map(|node| cells(node, is_wide)));
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len))
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|(_, text)| text.chars().count()).max().unwrap_or(0))
        .collect();
    let texts = if is_wide { 3 } else { 1 };
    let line = |row: &Vec<(Style, String)>| {
        let mut line = ScreenLine::default();
        for (at, ((style, text), width)) in row.iter().zip(&widths).enumerate() {
            let is_text = at < texts || at + 1 == row.len();
            let padded = if is_text { format!("{text:width$}") } else { format!("{text:>width$}") };
            line.push(*style, padded);
            line.push(Style::Plain, "  ".to_owned());
        }
        line
    };
    rows.iter().map(line).collect()
}

fn heads(is_wide: bool) -> Vec<(Style, String)> {
    let place: &[&str] = if is_wide { &["node", "zone", "type"] } else { &["node"] };
    let (assigned, errors) = if is_wide { ("IPs assigned", "EC2 errors") } else { ("IPs", "EC2 err") };
    let numbers: [&str; 7] = ["ENIs", assigned, "held", "max", "refused", errors, "state"];
    place.iter().chain(&numbers).map(|head| (Style::Head, (*head).to_owned())).collect()
}

fn cells(node: &NodeFigures, is_wide: bool) -> Vec<(Style, String)> {
    let value = |metric| node.values.get(metric);
    let text = |metric| value(metric).map_or_else(|| "-".to_owned(), show);
    let trouble = |metric| {
        let style = if value(metric).is_some_and(|value| value > 0.0) { Style::Error } else { Style::Plain };
        (style, text(metric))
    };
    let plain = |text: String| (Style::Plain, text);
    let mut cells = vec![plain(short(node.name.as_str()).to_owned())];
    if is_wide {
        let label = |label: &Option<std::sync::Arc<str>>| plain(label.as_deref().unwrap_or("-").to_owned());
        cells.extend([label(&node.labels.zone), label(&node.labels.instance_type)]);
    }
    cells.extend([
        plain(table::of(node, Metric::EniAllocated, Metric::EniMaxAvailable)),
        plain(text(Metric::AssignIpAddresses)),
        plain(text(Metric::TotalIpAddresses)),
        plain(text(Metric::MaxIpAddresses)),
        trouble(Metric::NoAvailableIpAddresses),
        trouble(Metric::AwsApiErr),
        (if node.failure.is_some() { Style::Error } else { Style::Plain }, table::state(node)),
    ]);
    cells
}

/// A node's name without its domain, but for one that is an address.
fn short(name: &str) -> &str {
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if is_address { name } else { name.split('.').next().unwrap_or(name) }
}

/// The nodes to look at: those that failed, that refused pods, that are fullest.
fn noteworthy(snapshot: &Snapshot) -> Vec<&NodeFigures> {
    let mut nodes: Vec<&NodeFigures> = snapshot.nodes.iter().collect();
    let value = |node: &NodeFigures, metric| node.values.get(metric).unwrap_or(0.0);
    let fullness =
        |node: &NodeFigures| value(node, Metric::AssignIpAddresses) / value(node, Metric::MaxIpAddresses).max(1.0);
    nodes.sort_by(|a, b| {
        b.failure
            .is_some()
            .cmp(&a.failure.is_some())
            .then(value(b, Metric::NoAvailableIpAddresses).total_cmp(&value(a, Metric::NoAvailableIpAddresses)))
            .then(fullness(b).total_cmp(&fullness(a)))
    });
    nodes.truncate(NODES);
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_log_lines_are_shown_whole_and_without_domains() {
        let line = |text: &str| LogLine { level: Level::WARN, text: format!("2026-01-01T00:00:30.000Z  {text}") };
        let log = [line("WARN one two"), line("WARN node=ip-10-0-0-1.eu-central-1.compute.internal pod=a")];
        let shown = |rows| newest(&log, rows, 31).iter().map(|line| line.show(31, false)).collect::<Vec<_>>();
        let second = ["00:00:30  WARN node=ip-10-0-0-1", "         pod=a"];
        assert_eq!(shown(2), second);
        assert_eq!(shown(3), ["00:00:30  WARN one two", second[0], second[1]]);
        let round = LogLine { level: Level::INFO, text: "2026-01-01T00:01:00.000Z  INFO round 3: ok".to_owned() };
        let log = [log[1].clone(), round.clone(), log[0].clone(), round];
        let shown = |rows| newest(&log, rows, 31).iter().map(|line| line.show(31, false)).collect::<Vec<_>>();
        assert_eq!(shown(1), ["00:00:30  WARN one two"], "the tables show the round");
        assert_eq!(shown(2), ["00:00:30  WARN one two", "00:01:00  INFO round 3: ok"]);
        assert_eq!(shown(9).len(), 3, "what came before the first round is left out");
        let info = |text: &str| LogLine { level: Level::INFO, text: format!("2026-01-01T00:01:30.000Z  INFO {text}") };
        let log = [info("round 1: ok"), log[2].clone(), info("new"), info("finding closed severity=\"info\"")];
        let shown = |log: &[LogLine]| newest(log, 1, 80)[0].show(80, false);
        assert_eq!(shown(&log), "00:00:30  WARN one two");
        let end = info("finding closed severity=\"critical\"");
        assert!(shown(&[&log[..], &[end]].concat()).contains("finding closed"));
        assert_eq!(without_domains("a.b (ip-1.us-east-1.compute.internal, 3)"), "a.b (ip-1, 3)");
    }

    #[test]
    fn a_name_loses_its_domain_and_an_address_does_not() {
        assert_eq!(short("ip-10-0-0-1.eu-central-1.compute.internal"), "ip-10-0-0-1");
        assert_eq!((short("10.0.0.1"), short("node")), ("10.0.0.1", "node"));
    }
}
