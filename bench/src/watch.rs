//! What the watch costs: one agent in ten restarts at once, and the program hears of it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use serde_json::json;

use crate::case::{Paths, ratio};
use crate::process::reset_peak;
use crate::simulator::{Simulator, SimulatorSpec, Stats};
use crate::subject::{Program, Start, Subject};

/// No second round comes between.
const INTERVAL_SECONDS: u64 = 1_800;

/// The program is idle when it used less than a hundredth of a core for this long.
const REST: Duration = Duration::from_secs(1);

/// Longer than any program needs to process the changes.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Agents need some seconds to come up again.
const SIMULATOR_STEP_MS: i64 = 60_000;

/// What it cost.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct WatchFigures {
    pub(crate) nodes: u32,
    /// Objects' changes.
    pub(crate) changes: u64,
    pub(crate) bytes: u64,
    pub(crate) cpu_us_per_change: f64,
    /// Before, after, and at most.
    pub(crate) resident_before_bytes: u64,
    pub(crate) resident_after_bytes: u64,
    pub(crate) peak_bytes: u64,
}

/// Runs one program.
pub(crate) fn run(paths: &Paths, program: &Program, nodes: u32) -> anyhow::Result<WatchFigures> {
    let spec = SimulatorSpec { nodes, scenario: None, latency_ms: 2, https: true, agent_port: paths.agent_port };
    let simulator = Simulator::start(&paths.simulator, &spec)?;
    let log = paths.logs.join(format!("{}-watch-{nodes}.log", program.name));
    let start = Start { via: "proxy", interval_seconds: INTERVAL_SECONDS, log: &log, extra: &[] };
    let mut subject = Subject::start(program, &simulator, &start)?;
    let listed = |stats: &Stats| stats.bursts.first().is_some_and(|burst| burst.delivered > 0) && stats.pages_open == 0;
    rest(&mut subject, &simulator, listed)?;
    reset_peak(subject.pid())?;
    let (before, cpu_before, memory_before) = (simulator.stats()?, subject.cpu()?, subject.memory()?);
    simulator.fail(&[(json!({ "restart": {} }), 0.1)])?;
    simulator.advance_by(SIMULATOR_STEP_MS)?;
    let after = rest(&mut subject, &simulator, |stats| stats.resource_version > before.resource_version)?;
    let (cpu, memory) = (subject.cpu()?.saturating_sub(cpu_before), subject.memory()?);
    let changes = after.resource_version - before.resource_version;
    Ok(WatchFigures {
        nodes,
        changes,
        bytes: after.traffic().bytes_out - before.traffic().bytes_out,
        cpu_us_per_change: ratio(cpu.as_secs_f64() * 1e6, changes as f64),
        resident_before_bytes: memory_before.resident_bytes,
        resident_after_bytes: memory.resident_bytes,
        peak_bytes: memory.peak_bytes,
    })
}

/// Waits until this holds and the program has nothing left to do.
fn rest(subject: &mut Subject, simulator: &Simulator, holds: impl Fn(&Stats) -> bool) -> anyhow::Result<Stats> {
    let began = Instant::now();
    loop {
        ensure!(began.elapsed() < TIMEOUT, "the program did not become idle within {} s", TIMEOUT.as_secs());
        let cpu = subject.cpu()?;
        std::thread::sleep(REST);
        let stats = simulator.stats()?;
        if holds(&stats) && subject.cpu()?.saturating_sub(cpu) < REST / 100 {
            return Ok(stats);
        }
    }
}
