//! Lets a calm simulated cluster run for some virtual minutes: the program of which processor time and instructions of the
//! simulator itself are counted.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use cni_sim::cluster::SimulatedCluster;
use cni_sim::scenario::Scenario;

const START_MS: i64 = 1_772_352_000_000;
const MINUTE_MS: i64 = 60_000;
const SEED: u64 = 1;

fn main() -> ExitCode {
    match arguments().and_then(|(nodes, minutes)| measured(nodes, minutes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            // There is nowhere else to say so.
            let _ = writeln!(std::io::stderr(), "bench-cluster: {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// How many nodes, and for how many minutes.
fn arguments() -> Result<(u32, u32), String> {
    let mut given = std::env::args().skip(1);
    let mut number = |what: &str| {
        let text =
            given.next().ok_or_else(|| format!("the number of {what} is missing: bench-cluster NODES MINUTES"))?;
        text.parse().map_err(|_| format!("the number of {what} is {text:?}, which is no whole number"))
    };
    Ok((number("nodes")?, number("minutes")?))
}

/// Writes what the cluster's start and these minutes cost, and a fingerprint of its pages at the end: two programs with the
/// same fingerprint simulated the same.
fn measured(nodes: u32, minutes: u32) -> Result<(), String> {
    let before = cpu_time()?;
    let cluster = SimulatedCluster::new(&Scenario::calm(nodes), SEED, START_MS)
        .map_err(|error| format!("no cluster: {error}"))?;
    let started = cpu_time()?;
    for minute in 1..=i64::from(minutes) {
        cluster.advance_to(START_MS + minute * MINUTE_MS);
    }
    let ended = cpu_time()?;
    let mut fingerprint = DefaultHasher::new();
    for (pod, _) in cluster.numbers() {
        fingerprint.write(&cluster.peek(&pod).unwrap_or_default());
    }
    let [start, run] = [started.saturating_sub(before), ended.saturating_sub(started)].map(|took| took.as_secs_f64());
    let said = writeln!(
        std::io::stdout(),
        "{nodes} nodes: start {start:.3} s, {minutes} min {run:.3} s of processor time; pages {:016x}",
        fingerprint.finish()
    );
    said.map_err(|error| format!("the result cannot be written: {error}"))
}

/// Processor time of this thread.
fn cpu_time() -> Result<Duration, String> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").map_err(|error| format!("schedstat: {error}"))?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| format!("schedstat says {text:?}"))
}
