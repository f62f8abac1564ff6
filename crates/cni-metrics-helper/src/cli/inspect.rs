//! `inspect`: saved pages, one node each.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{Anomaly, FailureKind, NodeName, NodeSample, Observation, PodUid, Target};
use cni_metrics_core::parse::parse;
use cni_types::catalogue::FAMILY_PREFIX;

use super::nodes::NodeChoice;
use super::output::{LookStyle, OutputArgs, print};
use cni_runtime::clock::Clock;

/// A saved page larger than this is refused, as a scraped one is by default.
const MAX_BYTES: u64 = 8 << 20;

/// What `inspect` takes.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Saved pages; - is standard input (also the default when something is piped in)
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
        [] if std::io::stdin().is_terminal() => anyhow::bail!("nothing to read: name a FILE, or pipe a page in"),
        [] => stdin.as_slice(),
        files => files,
    };
    let (at, began) = (Clock::wall().now(), Instant::now());
    let mut observations = Vec::with_capacity(files.len());
    for (position, file) in files.iter().enumerate() {
        let outcome = read_page(file, errors)?;
        let target = Target {
            // The same file may be named twice: it is still two nodes.
            uid: PodUid::new(format!("{position}")),
            node: NodeName::new(if file == "-" { "stdin" } else { file.as_str() }),
            created_at: None,
            labels: Arc::default(),
            // A saved page tells of its agent only itself.
            agent: AgentFacts::default(),
        };
        observations.push(Observation { target, expected: true, outcome });
    }
    let mut aggregator = Aggregator::new(HelperStart { clock: at, api_server: None }, CounterMode::Totals);
    let mut snapshot = aggregator.round(at, observations);
    for anomaly in &snapshot.anomalies {
        if let Anomaly::Implausible { node, family, reason } = anomaly {
            writeln!(errors, "{node}: {} {reason}; left out, the node's other values stay", family.name())?;
        }
    }
    snapshot.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let unreadable = snapshot.coverage.scraped < snapshot.coverage.expected;
    args.nodes.check(&[&snapshot].into_iter())?;
    print(Arc::new(snapshot), LookStyle { output: args.output.output, nodes: &args.nodes, window: None }, out)?;
    Ok(if unreadable { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One file's sample. Whatever is wrong with it is written to `errors` with file and line, and is never fatal to the
/// others.
fn read_page(file: &str, errors: &mut dyn Write) -> std::io::Result<Result<NodeSample, FailureKind>> {
    let shown = if file == "-" { "standard input" } else { file };
    let page = match read_bytes(file) {
        Ok(page) if page.len() as u64 > MAX_BYTES => {
            writeln!(errors, "{shown}: larger than {MAX_BYTES} bytes, not read")?;
            return Ok(Err(FailureKind::TooLarge));
        }
        Ok(page) => page,
        Err(error) => {
            writeln!(errors, "{shown}: {error}")?;
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return Ok(Err(if missing { FailureKind::NotFound } else { FailureKind::BadPage }));
        }
    };
    let (page, unfinished) = whole_lines(&page);
    if let Some(line) = unfinished {
        writeln!(errors, "{shown}: line {line} has no newline at its end: it may be cut, and is left out")?;
    }
    let parsed = parse(page);
    for error in &parsed.errors {
        writeln!(errors, "{shown}: {error}")?;
    }
    let untold = parsed.error_count.saturating_sub(parsed.errors.len() as u64);
    if untold > 0 {
        writeln!(errors, "{shown}: {untold} more bad lines")?;
    }
    match parsed.sample {
        Ok(sample) => Ok(Ok(sample)),
        Err(error) => {
            writeln!(errors, "{shown}: {error}")?;
            Ok(Err(error.kind()))
        }
    }
}

/// A page that was saved by hand may lack the newline of its last line. That line is left out, and its number returned. Where
/// it is one of ipamd's own, or may be, the end of the page is missing, and it is for the reader to refuse all of it.
fn whole_lines(page: &[u8]) -> (&[u8], Option<usize>) {
    /// Metrics come in the order of their names.
    const OURS: &[u8] = FAMILY_PREFIX.as_bytes();
    let end = page.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let (lines, last) = page.split_at(end);
    let starts_later = last.first().is_some_and(u8::is_ascii_lowercase) && last > OURS && !last.starts_with(OURS);
    if starts_later { (lines, Some(lines.split(|byte| *byte == b'\n').count())) } else { (page, None) }
}

/// At most one byte more than the limit, so that a page over it can be told.
fn read_bytes(file: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let reader: Box<dyn Read> =
        if file == "-" { Box::new(std::io::stdin().lock()) } else { Box::new(File::open(file)?) };
    reader.take(MAX_BYTES + 1).read_to_end(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_without_newline_is_left_out_where_nothing_of_ipamds_can_be_missing() {
        let page = "awscni_eni_max 3\nprocess_start_time_seconds 17\n";
        assert_eq!(whole_lines(page.as_bytes()), (page.as_bytes(), None));
        for (cut, left) in
            [("awscni_eni_max 3\nprocess_start_time_seconds 1", "awscni_eni_max 3\n"), ("a 1\ngo_threads 1", "a 1\n")]
        {
            assert_eq!(whole_lines(cut.as_bytes()), (left.as_bytes(), Some(2)), "{cut}");
        }
        for whole in [
            "",
            "awscni_eni_max 3",
            "awscni_eni_max 3\nawscni_ip",
            "awscni_eni_max 3\naw",
            "awscni_eni_max 3\n# TY",
            "a 1\n# EOF",
        ] {
            assert_eq!(whole_lines(whole.as_bytes()), (whole.as_bytes(), None), "{whole}");
        }
    }
}
