//! What the demo shows: a live screen on a terminal, a line a round elsewhere, the comparison at the end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use cni_metrics_core::model::{NodeFigures, Snapshot};
use cni_sim::sim::Sim;
use cni_types::catalogue::{Kind, Metric};
use comfy_table::{Cell, CellAlignment};
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

use super::compare::{Comparison, difference};
use super::played::PlayedRound;
use super::settings::{DemoSettings, INTERVAL};
use crate::view::json::{CountersJson, LookJson, number};
use crate::view::schema::Schema;
use crate::view::table::{self, show, styled};

/// Nodes shown on the live screen.
const NODES: usize = 8;
/// Log lines shown on the live screen.
const LINES: usize = 5;
/// Clears the screen and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// The newest log lines of the helper, kept for the screen.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<VecDeque<String>>>);

impl Lines {
    /// Takes the place of the log. Where a log is set up already, it goes on by itself.
    pub(super) fn capture() -> Self {
        let lines = Self::default();
        let filter = tracing_subscriber::EnvFilter::new("warn,cni_metrics_helper=info,kube_client::client=off");
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
        let _set_up_before = builder.without_time().with_writer(lines.clone()).try_init();
        lines
    }

    fn newest(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        // The metrics themselves are in the table.
        if !text.contains("Produce ") {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(text.trim().to_owned());
            while lines.len() > LINES {
                lines.pop_front();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where and how the demo is shown.
pub(super) struct Screen {
    title: String,
    rounds: u32,
    live: bool,
    json: bool,
    lines: Lines,
}

impl Screen {
    pub(super) fn new(settings: &DemoSettings, lines: Lines) -> Self {
        let scenario = &settings.scenario;
        let title = format!("{}, {} nodes, seed {}", scenario.name, scenario.nodes(), settings.seed);
        Self { title, rounds: settings.rounds, live: settings.live, json: settings.json, lines }
    }

    /// After each round.
    pub(super) fn round(&self, number: u32, rounds: &[PlayedRound], sim: &Sim, out: &mut dyn Write) -> io::Result<()> {
        let Some(round) = rounds.last() else { return Ok(()) };
        if self.json {
            return Ok(());
        }
        if !self.live {
            if number == 1 {
                writeln!(out, "simulated cluster: {}", self.title)?;
            }
            return writeln!(out, "round {number:>3}  {}", table::headline(&round.snapshot));
        }
        let mut page = format!("{CLEAR}simulated cluster: {}   round {number} of {}\n", self.title, self.rounds);
        let requests = sim.cloudwatch().requests().len();
        // Writing to a string cannot fail.
        let _written = write!(
            page,
            "{}\nCloudWatch: {requests} requests, {} points\n\n{}\n\n{}\n\n",
            table::headline(&round.snapshot),
            sim.cloudwatch().len(),
            this_round(round),
            table::nodes(noteworthy(&round.snapshot).into_iter()),
        );
        for line in self.lines.newest() {
            let shown: String = line.chars().take(160).collect();
            let _written = writeln!(page, "{shown}");
        }
        out.write_all(page.as_bytes())?;
        out.flush()
    }

    /// After the last round.
    pub(super) fn end(&self, rounds: &[PlayedRound], comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
        let Some(last) = rounds.last() else { return Ok(()) };
        if self.json {
            let json = DemoJson {
                look: LookJson::new(last.snapshot.as_ref(), CountersJson::increase(INTERVAL)),
                truth: last.truth.metrics.iter().map(|(name, value)| (*name, number(*value))).collect(),
                max_abs_difference: number(comparison.max_abs_difference()),
            };
            return Schema::Look.print(&json, out);
        }
        if !self.live {
            for line in self.lines.newest() {
                writeln!(out, "{line}")?;
            }
            writeln!(out)?;
        }
        let mut compared = styled(&["metric", "in CloudWatch", "truth", "largest difference", ""]);
        for line in &comparison.lines {
            let meaning = if line.row.kind == Kind::Counter { "sum of all rounds" } else { "last round" };
            compared.add_row([
                Cell::new(line.row.name),
                right(&line.published.map_or_else(|| "-".to_owned(), show)),
                right(&line.truth.map_or_else(|| "-".to_owned(), show)),
                right(&show(line.max_difference)),
                Cell::new(meaning),
            ]);
        }
        writeln!(
            out,
            "{compared}\n\n{} rounds; CloudWatch accepted {} points in {} requests and refused {} requests",
            rounds.len(),
            comparison.points,
            comparison.accepted,
            comparison.refused
        )?;
        if comparison.undelivered > 0 && !comparison.is_explained() {
            let points = comparison.undelivered;
            writeln!(out, "{points} points were measured and not delivered by the end: they count as a difference")?;
        } else if comparison.undelivered > 0 {
            let (waiting, in_doubt) = (comparison.given_up.waiting, comparison.given_up.in_doubt);
            if waiting > 0 {
                writeln!(
                    out,
                    "the outage is not over: {waiting} points are waiting, which is no difference; more --rounds show its end"
                )?;
            }
            if in_doubt > 0 {
                writeln!(
                    out,
                    "{in_doubt} points were in requests that CloudWatch never answered: counted as given up (in_doubt), which is no difference"
                )?;
            }
        }
        let (sets, largest) = (comparison.label_sets, show(comparison.max_label_difference));
        writeln!(out, "counters by label: {sets} label sets, largest difference {largest}")?;
        writeln!(out, "largest difference between published and true: {}", show(comparison.max_abs_difference()))
    }
}

#[derive(Serialize)]
struct DemoJson<'a> {
    #[serde(flatten)]
    look: LookJson<'a>,
    truth: BTreeMap<&'static str, serde_json::Value>,
    max_abs_difference: serde_json::Value,
}

/// The round's values beside the truth, two metrics a row to fit a screen.
fn this_round(round: &PlayedRound) -> comfy_table::Table {
    let header = ["metric", "published", "truth", "diff"];
    let mut shown = styled(&[header, header].concat());
    let rows: Vec<_> = cni_types::catalogue::CATALOGUE.iter().collect();
    let half = rows.len().div_ceil(2);
    for left in 0..half {
        let pair = [rows.get(left), rows.get(left + half)];
        let cells = pair.into_iter().flatten().flat_map(|row| {
            let published = round.snapshot.metrics.get(row.metric);
            let truth = round.truth.metrics.get(row.name).copied();
            let text = |value: Option<f64>| right(&value.map_or_else(|| "-".to_owned(), show));
            [Cell::new(row.name), text(published), text(truth), right(&show(difference(published, truth)))]
        });
        shown.add_row(cells);
    }
    shown
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

fn right(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
