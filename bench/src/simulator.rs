//! The simulator: `cni-metrics-helper sim` as a process of its own, and its control listener.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http;
use crate::process::stop;

/// What makes an aws-node pod's manifest 12 KB, as those of live clusters are, managed fields included.
pub(crate) const MANIFEST_PADDING_BYTES: u32 = 6_400;

/// How to start the simulator.
#[derive(Debug, Clone)]
pub(crate) struct SimulatorSpec {
    pub(crate) nodes: u32,
    /// This scenario instead of a healthy cluster of that many nodes.
    pub(crate) scenario: Option<PathBuf>,
    pub(crate) latency_ms: u32,
    pub(crate) https: bool,
    /// 0 takes a free one; programs that ask nowhere else need 61678.
    pub(crate) agent_port: u16,
}

/// A running simulator. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    env: BTreeMap<String, String>,
    control: SocketAddr,
    /// How long it took to come up, and to make its first pages.
    pub(crate) start_seconds: f64,
}

/// A burst of page requests: one round of one collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Burst {
    pub(crate) began_us: u64,
    pub(crate) ended_us: u64,
    pub(crate) asked: u64,
    pub(crate) delivered: u64,
    pub(crate) most_open: u64,
}

impl Burst {
    pub(crate) fn seconds(&self) -> f64 {
        self.ended_us.saturating_sub(self.began_us) as f64 / 1e6
    }
}

/// One listener's figures.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) accepted: u64,
    pub(crate) open: i64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// CloudWatch's requests.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct CloudWatch {
    pub(crate) requests: u64,
    pub(crate) accepted: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) body_bytes: u64,
    pub(crate) data: u64,
}

/// What the simulator's sockets saw.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Stats {
    pub(crate) now_us: u64,
    pub(crate) wall_ms: i64,
    pub(crate) listeners: BTreeMap<String, Traffic>,
    /// Grows by one with every change of any object.
    pub(crate) resource_version: u64,
    pub(crate) pages_open: u64,
    pub(crate) bursts: Vec<Burst>,
    pub(crate) cloudwatch: CloudWatch,
}

impl Stats {
    /// All listeners together.
    pub(crate) fn traffic(&self) -> Traffic {
        self.listeners.values().fold(Traffic::default(), |sum, one| Traffic {
            accepted: sum.accepted + one.accepted,
            open: sum.open + one.open,
            bytes_in: sum.bytes_in + one.bytes_in,
            bytes_out: sum.bytes_out + one.bytes_out,
        })
    }

    /// A moment of the simulator's meter by the machine's clock, Unix milliseconds.
    pub(crate) fn wall_ms_of(&self, at_us: u64) -> i64 {
        let ago_ms = self.now_us.saturating_sub(at_us) / 1_000;
        self.wall_ms - i64::try_from(ago_ms).unwrap_or(0)
    }
}

impl Simulator {
    /// Starts it, waits until it serves, and lets it make its pages.
    pub(crate) fn start(program: &Path, spec: &SimulatorSpec) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut command = Command::new(program);
        command.args(["sim", "--lockstep", "--keep-pages"]);
        match &spec.scenario {
            Some(file) => command.arg("--scenario").arg(file),
            None => command.args(["--nodes", &spec.nodes.to_string()]),
        };
        command.args(["--node-latency", &format!("{}ms", spec.latency_ms)]);
        command.args(["--manifest-padding", &MANIFEST_PADDING_BYTES.to_string()]);
        command.args(["--agent-port", &spec.agent_port.to_string()]);
        if spec.https {
            command.arg("--https");
        }
        let mut simulator = Self::spawn(command)?;
        simulator.advance()?;
        simulator.start_seconds = began.elapsed().as_secs_f64();
        Ok(simulator)
    }

    /// Starts the cluster of a scenario. Its clock stands where it stood at the start until it is moved.
    pub(crate) fn of_scenario(program: &Path, scenario: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["sim", "--lockstep", "--scenario"]).arg(scenario);
        Self::spawn(command)
    }

    /// Runs `sim` and waits until it serves.
    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?} cannot be started"))?;
        let out = child.stdout.take().context("no output")?;
        let mut env = BTreeMap::new();
        for line in BufReader::new(out).lines() {
            if let Some((name, value)) = line?.strip_prefix("export ").and_then(|line| line.split_once('=')) {
                env.insert(name.to_owned(), value.to_owned());
                if name == "CNI_SIM_CONTROL" {
                    break;
                }
            }
        }
        let Some(control) = env.remove("CNI_SIM_CONTROL") else {
            let status = child.wait()?;
            bail!("the simulator did not start: {status}; {command:?}");
        };
        let control = control.trim_start_matches("http://").parse()?;
        Ok(Self { child, env, control, start_seconds: 0.0 })
    }

    /// Asks the control listener.
    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        http::json(self.control, method, path, body)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The variables that lead a program to it.
    pub(crate) fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    pub(crate) fn stats(&self) -> anyhow::Result<Stats> {
        Ok(serde_json::from_value(http::json(self.control, "GET", "/stats", "")?)?)
    }

    /// Moves the simulator's clock to the machine's and makes the pages of that moment, so that serving them costs the simulator
    /// as little as possible. Returns that moment, Unix milliseconds.
    pub(crate) fn advance(&self) -> anyhow::Result<i64> {
        let to_ms = wall_ms();
        http::json(self.control, "POST", "/advance", &json!({ "to_ms": to_ms }).to_string())?;
        http::json(self.control, "POST", "/prepare", "")?;
        Ok(to_ms)
    }

    /// Moves the simulator's clock by this much, whatever the machine's shows.
    pub(crate) fn advance_by(&self, by_ms: i64) -> anyhow::Result<()> {
        http::json(self.control, "POST", "/advance", &json!({ "by_ms": by_ms }).to_string())?;
        Ok(())
    }

    /// Injects faults, each into a share of the nodes.
    pub(crate) fn fail(&self, faults: &[(Value, f64)]) -> anyhow::Result<()> {
        let set: Vec<Value> = faults
            .iter()
            .map(|(fault, fraction)| json!({ "target": { "fraction": fraction }, "fault": fault }))
            .collect();
        http::json(self.control, "POST", "/faults", &json!({ "set": set }).to_string())?;
        Ok(())
    }

    /// What a perfect collector would have published for a round between these moments.
    pub(crate) fn truth(&self, from_ms: i64, to_ms: i64, collector_start_ms: i64) -> anyhow::Result<Value> {
        let path = format!("/truth?from={from_ms}&to={to_ms}&collector_start={collector_start_ms}&nodes=false");
        http::json(self.control, "GET", &path, "")
    }

    /// Everything CloudWatch accepted.
    pub(crate) fn published(&self) -> anyhow::Result<Vec<Value>> {
        match http::json(self.control, "GET", "/cloudwatch/data", "")? {
            Value::Array(data) => Ok(data),
            other => bail!("/cloudwatch/data is not a list: {other}"),
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// The machine's clock, Unix milliseconds.
pub(crate) fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
