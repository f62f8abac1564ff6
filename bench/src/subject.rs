//! The program that is measured, as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::process::{CpuClock, Memory, memory, stop};
use crate::simulator::{Simulator, wall_ms};

/// A program under measurement.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The column's name.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// How it is started.
#[derive(Debug, Clone)]
pub(crate) struct Start<'a> {
    pub(crate) via: &'a str,
    pub(crate) interval_seconds: u64,
    pub(crate) log: &'a Path,
    /// Further variables.
    pub(crate) extra: &'a [(&'a str, String)],
}

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Subject {
    child: Child,
    cpu: CpuClock,
    pub(crate) started: Instant,
    pub(crate) started_ms: i64,
}

impl Subject {
    /// Starts the program in the simulator's environment and nothing else of ours.
    pub(crate) fn start(program: &Program, simulator: &Simulator, start: &Start<'_>) -> anyhow::Result<Self> {
        let log = File::create(start.log).with_context(|| start.log.display().to_string())?;
        let mut command = Command::new(&program.path);
        command.env_clear().envs(simulator.env()).envs([
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/nonexistent"),
            ("USE_CLOUDWATCH", "true"),
            ("USE_PROMETHEUS", "false"),
            ("AWS_CLUSTER_ID", "bench"),
            ("SCRAPE_VIA", start.via),
            ("ADMIN_ADDRESS", "127.0.0.1:0"),
        ]);
        command.env("METRIC_UPDATE_INTERVAL", start.interval_seconds.to_string());
        command.envs(start.extra.iter().map(|(name, value)| (*name, value)));
        let (started, started_ms) = (Instant::now(), wall_ms());
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.path.display()))?;
        let cpu = CpuClock::new(child.id());
        Ok(Self { child, cpu, started, started_ms })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cpu(&mut self) -> anyhow::Result<Duration> {
        self.cpu.read()
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        memory(self.pid())
    }

    /// Ends it as Kubernetes does, and waits until it has.
    pub(crate) fn end(mut self) {
        stop(&mut self.child);
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}
