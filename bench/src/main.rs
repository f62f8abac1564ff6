//! What the helper costs, and at which size of cluster. `bench/README.md` says how to read it.

mod case;
mod error;
mod flush;
mod http;
mod insight;
mod instructions;
mod life;
mod observe;
mod plan;
mod process;
mod progress;
mod report;
mod round;
mod subject;
mod targets;
mod watch;
mod simulator;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};

use case::{Figures, Paths};
use progress::say;
use report::{Results, Row};
use subject::Program;

/// What the bench itself has allocated: in lockstep the helper runs in this process.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// How much the started program's resident memory may grow over the last half of its rounds. Its first minutes also bring
/// pages of its own code into memory, which no slope of a few hundred rounds can tell from growth.
const STARTED_GROWTH_BYTES: f64 = 1024.0 * 1024.0;

/// Measures what the helper costs.
#[derive(Debug, Clone, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Args {
    /// The helper's program; it also runs the simulator (`sim`)
    #[arg(long, value_name = "PATH")]
    helper: PathBuf,
    /// Another program that reads the same environment, to be measured in the same run
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// Numbers of nodes
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "10,100,1000,10000")]
    nodes: Vec<u32>,
    /// Response time of every node, milliseconds
    #[arg(long, value_name = "MS,…", value_delimiter = ',', default_value = "2,10")]
    latency: Vec<u32>,
    /// Scrape paths: proxy, direct
    #[arg(long, value_name = "WAY,…", value_delimiter = ',', default_value = "proxy,direct")]
    via: Vec<String>,
    /// Steady rounds per case [default: by the size]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Seconds from round to round [default: by the size]
    #[arg(long, value_name = "SECONDS")]
    interval: Option<u64>,
    /// Only the ordinary cases: no failing nodes, no flush, no watch
    #[arg(long)]
    plain: bool,
    /// Only count instructions under callgrind and compare them with the reference
    #[arg(long)]
    check_instructions: bool,
    /// Only count instructions and keep the counts as the new reference
    #[arg(long)]
    update_reference: bool,
    /// Only run this many rounds in lockstep with a simulated cluster, compare every data point and check memory
    #[arg(long, value_name = "ROUNDS")]
    lockstep: Option<u64>,
    /// Only watch the started program for this many rounds of one second and compare every data point
    #[arg(long, value_name = "ROUNDS")]
    started: Option<u32>,
    /// Only measure what findings cost, with INSIGHT=off and basic, in a calm cluster and in one where every node refuses
    #[arg(long)]
    insight: bool,
    /// File of the reference counts
    #[arg(long, value_name = "FILE", default_value = "bench/reference.json")]
    reference: PathBuf,
    /// Cargo profile of the programs, recorded with the reference
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// The API server speaks HTTP instead of HTTPS
    #[arg(long)]
    http: bool,
    /// Port of the agents; 0 takes a free one [default: 0, with --peer 61678]
    #[arg(long, value_name = "PORT")]
    agent_port: Option<u16>,
    /// Fail unless every page of a round without faults was scraped and every published value is exact
    #[arg(long)]
    strict: bool,
    /// Directory of results and logs
    #[arg(long, value_name = "DIR", default_value = "bench/out")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let logs = args.out.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let default_port = if args.peer.is_some() { 61_678 } else { 0 };
    let paths = Paths { simulator: args.helper.clone(), logs, agent_port: args.agent_port.unwrap_or(default_port) };
    if args.check_instructions || args.update_reference {
        return instructions(args, &paths);
    }
    if let Some(rounds) = args.lockstep {
        say(&life::lockstep(&args.helper, &args.out, rounds, || ALLOCATOR.current_usage())?);
        return Ok(());
    }
    if args.insight {
        return insight::run(&paths, &args.helper, &args.out, &args.nodes, args.rounds);
    }
    if let Some(rounds) = args.started {
        return started(args, &paths, rounds);
    }
    let mut programs = vec![Program { name: "helper".to_owned(), path: args.helper.clone() }];
    programs.extend(args.peer.clone().map(|path| Program { name: "peer".to_owned(), path }));
    let (cases, left_out) = plan::plan(&wanted(args));
    let mut results = Results { left_out, ..Results::default() };
    for case in cases {
        say(&format!("{} nodes, {} ms, {} …", case.nodes, case.latency_ms, case.via));
        let mut row = Row { case, programs: Vec::new() };
        for program in &programs {
            let figures = case::run(&paths, program, &row.case)
                .with_context(|| format!("{} at {} nodes", program.name, row.case.nodes))?;
            row.programs.push((program.name.clone(), figures));
        }
        say(&report::rounds(std::slice::from_ref(&row)));
        if args.strict {
            row.programs.iter().try_for_each(|(name, figures)| strict(name, figures))?;
        }
        results.rows.push(row);
        write(args, &results)?;
    }
    if let Some(nodes) = args.nodes.iter().copied().max().filter(|_| !args.plain) {
        for program in &programs {
            say(&format!("{nodes} nodes, watch …"));
            results.watches.push((program.name.clone(), watch::run(&paths, program, nodes)?));
        }
        write(args, &results)?;
    }
    if !args.plain {
        say("flush …");
        results.flushes = flush::run(&paths, &sibling(args, "bench-flush")?, &[23, 5_000])?;
        write(args, &results)?;
    }
    say(&targets::text(&targets::judge(&results.rows)));
    Ok(())
}

/// Another of the bench's programs: cargo puts them side by side.
fn sibling(args: &Args, name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("the path of the bench cannot be determined")?;
    let path = own.with_file_name(name);
    anyhow::ensure!(path.exists(), "{} is missing; {} is there", path.display(), args.helper.display());
    Ok(path)
}

fn instructions(args: &Args, paths: &Paths) -> anyhow::Result<()> {
    let now = instructions::count(paths, &sibling(args, "bench-parse")?, &args.profile)?;
    if args.update_reference {
        let text = serde_json::to_string_pretty(&now)? + "\n";
        std::fs::write(&args.reference, &text).with_context(|| args.reference.display().to_string())?;
        say(&text);
        return Ok(());
    }
    let reference = std::fs::read_to_string(&args.reference).with_context(|| args.reference.display().to_string())?;
    let reference = serde_json::from_str(&reference).with_context(|| args.reference.display().to_string())?;
    let findings = instructions::compare(&reference, &now);
    for finding in &findings {
        say(finding.text());
    }
    anyhow::ensure!(
        !findings.iter().any(instructions::Finding::fails),
        "the program needs more instructions than the reference"
    );
    Ok(())
}

/// The started program in real time, one round per second, in the cluster of the long runs.
fn started(args: &Args, paths: &Paths, rounds: u32) -> anyhow::Result<()> {
    let scenario = Some(life::scenario(&args.out)?);
    let program = Program { name: "started".to_owned(), path: args.helper.clone() };
    let (via, concurrency) = ("auto".to_owned(), None);
    let case = case::Case {
        nodes: 40,
        latency_ms: 2,
        via,
        https: true,
        interval_seconds: 1,
        rounds,
        concurrency,
        faulty_rounds: 0,
        scenario,
        insight: None,
    };
    let figures = case::run(paths, &program, &case)?;
    let log = case::log_path(&paths.logs, &program, &case);
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let lines = |wanted: &str| log.lines().filter(|line| line.contains(wanted)).count();
    let growth = figures.growth_bytes_per_round * f64::from(rounds) / 2.0;
    say(&format!(
        "started: {} rounds, {} panics, {} late rounds; RSS {:.1} MiB, grew by {:.0} KiB over the last half",
        lines("INFO round "),
        lines("panicked at"),
        lines("took longer than the interval"),
        figures.settled_bytes as f64 / 1_048_576.0,
        growth / 1_024.0,
    ));
    strict("started", &figures)?;
    anyhow::ensure!(lines("panicked at") == 0, "the program panicked");
    anyhow::ensure!(growth <= STARTED_GROWTH_BYTES, "resident memory grew by {growth:.0} bytes over the last half");
    Ok(())
}

fn wanted(args: &Args) -> plan::Wanted {
    plan::Wanted {
        nodes: args.nodes.clone(),
        latencies_ms: args.latency.clone(),
        ways: args.via.clone(),
        https: !args.http,
        interval_seconds: args.interval,
        rounds: args.rounds,
        plain: args.plain,
        peer: args.peer.is_some(),
        files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX),
    }
}

/// Without faults every published value must be exact.
fn strict(name: &str, figures: &Figures) -> anyhow::Result<()> {
    let errors = figures.errors.as_ref().with_context(|| format!("{name}: nothing was compared"))?;
    anyhow::ensure!(!errors.counters.is_empty() && !errors.gauges.is_empty(), "{name}: the truth is empty");
    let (difference, relative) = (errors.largest_difference(), errors.largest_relative());
    anyhow::ensure!(difference < 1e-9, "{name}: a counter is off by {difference}");
    anyhow::ensure!(relative < 1e-9, "{name}: a gauge is off by {relative}");
    let missing: u32 = errors.gauges.values().map(|gauge| gauge.missing).sum();
    anyhow::ensure!(missing == 0, "{name}: {missing} points are missing");
    let delivered = figures.delivered_share;
    anyhow::ensure!((delivered - 1.0).abs() < 1e-9, "{name}: {delivered} pages per node and round");
    Ok(())
}

fn write(args: &Args, results: &Results) -> anyhow::Result<()> {
    let verdicts = targets::judge(&results.rows);
    let parts = [
        ("Aims", targets::text(&verdicts)),
        ("Rounds", report::rounds(&results.rows)),
        ("Start and first list", report::starts(&results.rows)),
        ("Watch", report::watches(&results.watches)),
        ("Flush to CloudWatch", report::flushes(&results.flushes)),
        ("Failing nodes", report::faults(&results.rows)),
        ("Published and true", report::errors(&results.rows)),
        ("Left out", report::list(&results.left_out)),
    ];
    let mut text = String::new();
    for (title, table) in parts.iter().filter(|(_, table)| !table.is_empty()) {
        text.extend(["## ", title, "\n\n", table, "\n"]);
    }
    let document = json!({ "machine": machine(), "aims": verdicts, "results": results });
    std::fs::write(args.out.join("result.md"), text)?;
    std::fs::write(args.out.join("result.json"), serde_json::to_string_pretty(&document)?)?;
    Ok(())
}

/// What the figures depend on.
fn machine() -> Value {
    let line = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(name));
        found.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory": line("/proc/meminfo", "MemTotal"),
        "load": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    })
}
