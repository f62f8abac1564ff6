//! What CloudWatch costs: the helper's own client sends a number of data points to the simulator's service.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde::Serialize;

use crate::case::{Paths, ratio};
use crate::process::CpuClock;
use crate::process::stop;
use crate::simulator::{Simulator, SimulatorSpec};

/// One flush after another, so that what is measured is more than the clock's grain.
const TIMES: u32 = 20;

/// What one flush cost.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct FlushFigures {
    pub(crate) data: u32,
    pub(crate) requests: f64,
    /// Bodies as they went over the wire, compressed, and before that.
    pub(crate) wire_bytes: f64,
    pub(crate) body_bytes: f64,
    pub(crate) cpu_us: f64,
}

/// Measures flushes of these sizes.
pub(crate) fn run(paths: &Paths, program: &Path, sizes: &[u32]) -> anyhow::Result<Vec<FlushFigures>> {
    let spec = SimulatorSpec { nodes: 1, scenario: None, latency_ms: 0, https: false, agent_port: 0 };
    let simulator = Simulator::start(&paths.simulator, &spec)?;
    let mut command = Command::new(program);
    command.env_clear().envs(simulator.env()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
    let mut ask = child.stdin.take().context("no input")?;
    let mut answers = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut cpu = CpuClock::new(child.id());
    let mut send = |data: u32, times: u32| {
        (0..times).try_for_each(|_| {
            writeln!(ask, "{data}")?;
            answers.next().context("the flush ended early")??;
            anyhow::Ok(())
        })
    };
    let mut all = Vec::new();
    for data in sizes.iter().copied() {
        // The first one opens the connection.
        send(data, 2)?;
        let (before, cpu_before) = (simulator.stats()?.cloudwatch, cpu.read()?);
        send(data, TIMES)?;
        let (after, cpu_after) = (simulator.stats()?.cloudwatch, cpu.read()?);
        let each = |now: u64, then: u64| ratio((now - then) as f64, f64::from(TIMES));
        let arrived = after.data - before.data;
        anyhow::ensure!(arrived == u64::from(data * TIMES), "CloudWatch accepted {arrived} data");
        all.push(FlushFigures {
            data,
            requests: each(after.requests, before.requests),
            wire_bytes: each(after.wire_bytes, before.wire_bytes),
            body_bytes: each(after.body_bytes, before.body_bytes),
            cpu_us: ratio(cpu_after.saturating_sub(cpu_before).as_secs_f64() * 1e6, f64::from(TIMES)),
        });
    }
    stop(&mut child);
    Ok(all)
}
