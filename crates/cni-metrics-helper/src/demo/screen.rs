//! What the demo shows: a live screen on a terminal, a line a round elsewhere, the comparison at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use cni_insight::finding::{Identity, Severity};
use cni_sim::sim::Sim;
use cni_types::catalogue::Kind;
use comfy_table::{Cell, CellAlignment};
use serde::Serialize;

use super::compare::Comparison;
use super::frame::Frame;
use super::log_lines::LogLines;
use super::played::PlayedRound;
use super::settings::{DemoSettings, INTERVAL};
use super::terminal::Alternate;
use crate::view::findings;
use crate::view::json::{CountersJson, FindingEventJson, LookJson, number};
use crate::view::schema::Schema;
use crate::view::table::{self, show, styled};

/// Log lines of a frame: more than any terminal has.
const LOG_LINES: usize = 200;

/// Goes to the top of the screen.
const TOP: &str = "\x1b[H";
/// Clears a line, from its beginning: behind the last column of a full line it would clear that.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears the lines below.
const BELOW: &str = "\r\n\x1b[J";

/// Where and how the demo is shown.
pub(super) struct Screen {
    title: String,
    rounds: u32,
    /// The terminal, while the demo is shown live.
    terminal: Option<Alternate>,
    has_colour: bool,
    json: bool,
    lines: LogLines,
}

impl Screen {
    pub(super) fn new(settings: &DemoSettings, lines: LogLines, has_colour: bool) -> io::Result<Self> {
        let scenario = &settings.scenario;
        let title = format!("{}, {} nodes, seed {}", scenario.name, scenario.nodes(), settings.seed);
        let terminal = settings.live.then(Alternate::enter).transpose()?;
        Ok(Self { title, rounds: settings.rounds, terminal, has_colour, json: settings.json, lines })
    }

    /// After each round.
    pub(super) fn round(&self, number: u32, rounds: &[PlayedRound], sim: &Sim, out: &mut dyn Write) -> io::Result<()> {
        let Some(round) = rounds.last() else { return Ok(()) };
        if self.json {
            return Ok(());
        }
        let Some(terminal) = &self.terminal else {
            if number == 1 {
                writeln!(out, "simulated cluster: {}", self.title)?;
            }
            writeln!(out, "round {number:>3}  {}", table::headline(&round.snapshot))?;
            let before = rounds.len().checked_sub(2).and_then(|place| rounds.get(place));
            write!(out, "{}", news(before, round))?;
            return self.warnings(out);
        };
        let size = terminal.size();
        let lines = self.frame(number, round, sim).lines(size);
        let shown = lines.iter().map(|line| format!("{CLEAR_LINE}{}", line.show(size.columns, self.has_colour)));
        let below = if lines.len() < size.rows { BELOW } else { "" };
        let page = format!("{TOP}{}{below}", shown.collect::<Vec<_>>().join("\r\n"));
        out.write_all(page.as_bytes())?;
        out.flush()
    }

    fn frame<'a>(&self, number: u32, round: &'a PlayedRound, sim: &Sim) -> Frame<'a> {
        let title = format!("simulated cluster: {}   round {number} of {}", self.title, self.rounds);
        let taken = (sim.cloudwatch().requests().len(), sim.cloudwatch().len());
        Frame { title, round, taken, log: self.lines.newest(LOG_LINES) }
    }

    /// Every warning and error since the last time. Findings are between the rounds already.
    fn warnings(&self, out: &mut dyn Write) -> io::Result<()> {
        let (warnings, lost) = self.lines.take_warnings();
        for line in warnings.iter().filter(|line| !line.text.contains(" WARN finding ")) {
            writeln!(out, "{}", line.text)?;
        }
        if lost > 0 {
            writeln!(out, "{lost} more warnings and errors of this round are left out")?;
        }
        Ok(())
    }

    /// Ends the live view; its last frame stays above what follows.
    fn leave(&mut self, number: u32, round: &PlayedRound, sim: &Sim, out: &mut dyn Write) -> io::Result<()> {
        let Some(terminal) = self.terminal.take() else { return self.warnings(out) };
        let size = terminal.size();
        drop(terminal);
        for line in self.frame(number, round, sim).lines(size) {
            writeln!(out, "{}", line.show(size.columns, self.has_colour))?;
        }
        Ok(())
    }

    /// After the last round.
    pub(super) fn end(
        &mut self,
        rounds: &[PlayedRound],
        comparison: &Comparison,
        sim: &Sim,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(last) = rounds.last() else { return Ok(()) };
        if self.json {
            let json = DemoJson {
                look: LookJson::new(
                    last.snapshot.as_ref(),
                    CountersJson::increase(INTERVAL),
                    last.conclusion.as_deref(),
                ),
                truth: last.truth.metrics.iter().map(|(name, value)| (*name, number(*value))).collect(),
                max_abs_difference: number(comparison.max_abs_difference()),
                finding_events: finding_events(rounds),
            };
            return Schema::Look.print(&json, out);
        }
        self.leave(u32::try_from(rounds.len()).unwrap_or(u32::MAX), last, sim, out)?;
        if let Some(conclusion) = &last.conclusion {
            write!(out, "\nafter the last round\n{}", findings::render(conclusion))?;
        }
        writeln!(out)?;
        let mut compared = styled(&["metric", "published", "truth", "difference", ""]);
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
    finding_events: Vec<FindingEventJson<'a>>,
}

/// What began and ended in all rounds.
fn finding_events(rounds: &[PlayedRound]) -> Vec<FindingEventJson<'_>> {
    let events = rounds.iter().filter_map(|round| Some((round.snapshot.round, round.conclusion.as_deref()?)));
    events
        .flat_map(|(number, conclusion)| {
            conclusion.events.iter().map(move |event| FindingEventJson::new(number, event))
        })
        .collect()
}

/// Findings above info that are new in this round, became worse, or ended; a line each.
fn news(before: Option<&PlayedRound>, round: &PlayedRound) -> String {
    let loud = |round: &PlayedRound| -> BTreeMap<Identity, (Severity, String)> {
        let all = round.conclusion.iter().flat_map(|conclusion| &conclusion.findings);
        let loud = all.filter(|finding| finding.severity < Severity::Info && !finding.is_muted);
        loud.map(|finding| (finding.identity.clone(), (finding.severity, finding.says.clone()))).collect()
    };
    let (before, now) = (before.map(loud).unwrap_or_default(), loud(round));
    let mut text = String::new();
    for (Identity { id, scope }, (severity, says)) in &now {
        let known = before.get(&Identity { id: *id, scope: scope.clone() });
        if known.is_none_or(|(known, _)| severity < known) {
            let _written = writeln!(text, "  finding: {severity} {id} ({scope}): {says}");
        }
    }
    for Identity { id, scope } in before.keys().filter(|identity| !now.contains_key(identity)) {
        let _written = writeln!(text, "  finding: {id} ({scope}) is over");
    }
    text
}

fn right(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
