//! `inspect`: saved pages, one node each.

mod ending;
mod names;
mod pages;
mod saved_page;
mod source;
mod tar;
mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use cni_collector::round::conclude_from_pages;
use cni_insight::mute::Mutes;
use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{Anomaly, FailureKind, NodeName, NodeSample, Observation, PodUid, Target};
use cni_metrics_core::parse::{LineError, PageError, parse};
use cni_metrics_core::summary::counted;

use self::saved_page::SavedPage;
use self::source::{Found, STDIN};
use super::nodes::NodeChoice;
use super::output::{Look, LookStyle, OutputArgs, print};
use cni_runtime::clock::Clock;

/// A saved page larger than this is refused, as a scraped one is by default.
const MAX_BYTES: usize = 8 << 20;

/// As many nodes as the largest cluster has.
const MAX_PAGES: usize = 100_000;

/// What `inspect` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 if every page could be read, also if lines of it were left out; 1 if a page, a file or \
    an entry of an archive could not be read, or nothing was found. Messages go to standard error and name file, entry and \
    line."
)]
pub struct InspectArgs {
    /// Saved pages: files, folders, support bundles (.tar.gz, .tgz), .gz files; - is standard input (also the default when
    /// something is piped in). A file may be UTF-16, hold several pages, a page of Prometheus' /federate, or the DEBUG log
    /// of the upstream helper
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    nodes: NodeChoice,
}

/// Prints what the pages say together; bad lines and implausible values go to `errors`. The exit code is 1 if any page
/// was unreadable.
pub fn run(args: &InspectArgs, out: &mut dyn Write, errors: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let stdin = ["-".to_owned()];
    let files = match args.files.as_slice() {
        [] if io::stdin().is_terminal() => anyhow::bail!("nothing to read: name a FILE, or pipe a page in"),
        [] => stdin.as_slice(),
        files => files,
    };
    let (at, began) = (Clock::wall().now(), Instant::now());
    let mut reading = Reading { errors, observations: Vec::new(), left_out: 0 };
    for file in files {
        source::read(file, source::LIMITS, &mut reading)?;
    }
    let Reading { observations, left_out, .. } = reading;
    if left_out > 0 {
        writeln!(errors, "{left_out} pages beyond {MAX_PAGES} are not read")?;
    }
    let mut aggregator = Aggregator::new(HelperStart { clock: at, api_server: None }, CounterMode::Totals);
    let mut snapshot = aggregator.round(at, observations);
    for anomaly in &snapshot.anomalies {
        if let Anomaly::Implausible { node, family, reason } = anomaly {
            writeln!(errors, "{node}: {} {reason}; left out, the node's other values stay", family.name())?;
        }
    }
    snapshot.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let unreadable = snapshot.coverage.scraped < snapshot.coverage.expected || left_out > 0;
    args.nodes.check(&[&snapshot].into_iter())?;
    let conclusion = conclude_from_pages(&snapshot, Mutes::default());
    let look = Look { snapshot: Arc::new(snapshot), window: None, conclusion: Some(Arc::new(conclusion)) };
    print(&look, LookStyle { output: args.output.output, nodes: &args.nodes }, out)?;
    Ok(if unreadable { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What was read so far. Whatever is wrong with a page is written to `errors` with file, entry and line, and is never
/// fatal to the others.
struct Reading<'e> {
    errors: &'e mut dyn Write,
    observations: Vec<Observation>,
    /// Pages beyond the limit.
    left_out: u64,
}

impl Found for Reading<'_> {
    fn text(&mut self, place: &str, text: &[u8]) -> io::Result<()> {
        let (text, cut) = if pages::is_log(text) { (text, None) } else { ending::whole_lines(text) };
        if let Some(cut) = &cut {
            writeln!(self.errors, "{place}: {cut}")?;
        }
        let found = pages::pages(text);
        for remark in &found.remarks {
            writeln!(self.errors, "{place}: {remark}")?;
        }
        for why in &found.failures {
            self.failed(place, FailureKind::BadPage, why)?;
        }
        for page in found.pages {
            if self.is_full() {
                continue;
            }
            let is_alone = page.part.is_empty();
            let inside = if is_alone { place.to_owned() } else { format!("{place}: {}", page.part) };
            let mut outcome = self.page(&inside, &page)?;
            if let (Ok(sample), Some(cut)) = (&mut outcome, cut.as_ref().filter(|_| page.ends_with_text)) {
                cut.mark(sample);
            }
            let name = page.node.unwrap_or_else(|| if is_alone { node_name(place) } else { inside });
            self.observe(&name, outcome);
        }
        Ok(())
    }

    fn failed(&mut self, place: &str, kind: FailureKind, why: &str) -> io::Result<()> {
        writeln!(self.errors, "{place}: {why}")?;
        if !self.is_full() {
            self.observe(&node_name(place), Err(kind));
        }
        Ok(())
    }

    fn gathered(&mut self, place: &str, pages: u64, others: u64) -> io::Result<()> {
        if pages == 0 {
            let why = format!("no metrics page among {}", counted(others, "file", "files"));
            return self.failed(place, FailureKind::BadPage, &why);
        }
        let others = if others == 0 {
            String::new()
        } else {
            format!(", {} passed over", counted(others, "other file", "other files"))
        };
        writeln!(self.errors, "{place}: {} with metrics pages{others}", counted(pages, "file", "files"))
    }
}

impl Reading<'_> {
    /// Counts a page as left out where there are too many.
    fn is_full(&mut self) -> bool {
        let is_full = self.observations.len() >= MAX_PAGES;
        self.left_out = self.left_out.saturating_add(u64::from(is_full));
        is_full
    }

    fn observe(&mut self, name: &str, outcome: Result<NodeSample, FailureKind>) {
        let target = Target {
            // The same file may be named twice: it is still two nodes.
            uid: PodUid::new(format!("{}", self.observations.len())),
            node: NodeName::new(name),
            created_at: None,
            labels: Arc::default(),
            // A saved page tells of its agent only itself.
            agent: AgentFacts::default(),
        };
        self.observations.push(Observation { target, expected: true, outcome });
    }

    /// One page's sample.
    fn page(&mut self, place: &str, page: &SavedPage<'_>) -> io::Result<Result<NodeSample, FailureKind>> {
        if page.text.len() > MAX_BYTES {
            writeln!(self.errors, "{place}: larger than {MAX_BYTES} bytes, not read")?;
            return Ok(Err(FailureKind::TooLarge));
        }
        let mut parsed = parse(&page.text);
        for error in &mut parsed.errors {
            error.line = page.lines.of_text(error.line);
            writeln!(self.errors, "{place}: {error}")?;
        }
        let untold = parsed.error_count.saturating_sub(parsed.errors.len() as u64);
        if untold > 0 {
            writeln!(self.errors, "{place}: {untold} more bad lines")?;
        }
        if let Some(unknown) = names::unknown(&page.text, &|line| page.lines.of_text(line)) {
            writeln!(self.errors, "{place}: {unknown}")?;
        }
        parsed.sample.map(Ok).or_else(|mut error| {
            if let PageError::Truncated { line } | PageError::Unreadable { first: Some(LineError { line, .. }) } =
                &mut error
            {
                *line = page.lines.of_text(*line);
            }
            writeln!(self.errors, "{place}: {error}")?;
            Ok(Err(error.kind()))
        })
    }
}

/// What the node of a file or an entry is called.
fn node_name(place: &str) -> String {
    if place == STDIN { "stdin".to_owned() } else { place.to_owned() }
}
