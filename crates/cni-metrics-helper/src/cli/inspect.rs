//! `inspect`: saved pages, one node each.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{FailureKind, NodeName, NodeSample, Observation, PodUid, Target};
use cni_metrics_core::parse::parse;

use super::OutputArgs;
use crate::clock::Clock;

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
}

/// Prints what the pages say together; line errors go to `errors`. The exit code is 1 if any page was unreadable.
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
        };
        observations.push(Observation { target, expected: true, outcome });
    }
    let mut aggregator = Aggregator::new(HelperStart { clock: at, api_server: None }, CounterMode::Totals);
    let mut snapshot = aggregator.round(at, observations);
    snapshot.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    super::print(&snapshot, args.output.output, out)?;
    let unreadable = snapshot.coverage.scraped < snapshot.coverage.expected;
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
    let parsed = parse(&page);
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
            Ok(Err(FailureKind::BadPage))
        }
    }
}

/// At most one byte more than the limit, so that a page over it can be told.
fn read_bytes(file: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let reader: Box<dyn Read> =
        if file == "-" { Box::new(std::io::stdin().lock()) } else { Box::new(File::open(file)?) };
    reader.take(MAX_BYTES + 1).read_to_end(&mut page)?;
    Ok(page)
}
