//! One case: a simulated cluster of a size, one program that scrapes it for some rounds, and what that costs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use serde_json::json;

use crate::error::{self, Errors};
use crate::life::Trend;
use crate::observe::{Idle, Observation, Observations, merged, quiet_us};
use crate::process::{CpuClock, Memory, reset_peak};
use crate::round::Round;
use crate::simulator::{Simulator, SimulatorSpec, Stats};
use crate::subject::{Program, Start, Subject};

/// Between two observations at a running program.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// In cases of more rounds than this the program is observed less often: each observation goes through every round so far.
const MANY_ROUNDS: u32 = 60;

/// Number of pages from which on the CPU time that the simulator used for them exceeds the clock's resolution.
const ENOUGH_PAGES: u64 = 5_000;

/// Clusters up to this size are advanced between two rounds. The clock of larger ones stands still: to make all their
/// pages anew takes longer than an interval.
const MOVES_UP_TO_NODES: u32 = 20_000;

/// One case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Case {
    pub(crate) nodes: u32,
    pub(crate) latency_ms: u32,
    /// `proxy` or `direct`.
    pub(crate) via: String,
    pub(crate) https: bool,
    pub(crate) interval_seconds: u64,
    /// Steady rounds, after the first one.
    pub(crate) rounds: u32,
    /// Scrapes at once; without it the program's own choice.
    pub(crate) concurrency: Option<u32>,
    /// Rounds with 5 % of the nodes hung and 5 % refusing, after those.
    pub(crate) faulty_rounds: u32,
    /// The scenario of this file instead of a healthy cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<PathBuf>,
    /// The helper's `INSIGHT`; without it its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insight: Option<&'static str>,
}

/// What it cost.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Figures {
    /// From the program's start to its first request for a page.
    pub(crate) start_to_first_page_seconds: f64,
    /// From the program's start to the first data that CloudWatch accepted; absent where none came.
    pub(crate) start_to_first_point_seconds: Option<f64>,
    /// What the program used until then, and what it held: its first list of the pods.
    pub(crate) list_cpu_seconds: f64,
    pub(crate) list_peak_bytes: u64,
    pub(crate) list_resident_bytes: u64,
    /// From the first request of a round until the last page was handed over and the program was idle again; the
    /// middle one of the steady rounds.
    pub(crate) round_seconds: f64,
    /// Until the last page was handed over.
    pub(crate) scraping_seconds: f64,
    pub(crate) first_round_seconds: f64,
    /// CPU time of the steady rounds, everything else the program does meanwhile included.
    pub(crate) cpu_us_per_node: f64,
    /// While a round runs, as a share of one core.
    pub(crate) cpu_cores_in_round: f64,
    /// Over the whole interval, as a share of one core.
    pub(crate) cpu_cores: f64,
    /// While nothing is asked for, as a share of one core.
    pub(crate) idle_cores: Option<f64>,
    pub(crate) peak_bytes: u64,
    /// Peak of the steady rounds, the first list left out.
    pub(crate) steady_peak_bytes: u64,
    pub(crate) settled_bytes: u64,
    /// Growth of resident memory per round, over the last half of the steady rounds.
    pub(crate) growth_bytes_per_round: f64,
    /// Bytes to and from the simulator per node and round, TLS included.
    pub(crate) wire_bytes_per_node: f64,
    /// Connections opened a steady round.
    pub(crate) connections_per_round: f64,
    /// Connections open at the end.
    pub(crate) connections_open: i64,
    /// Most requests for pages open at once.
    pub(crate) most_open: u64,
    /// Pages delivered a steady round, as a share of the nodes.
    pub(crate) delivered_share: f64,
    /// The simulator's own CPU time per page.
    #[serde(rename = "world_us_per_page")]
    pub(crate) simulator_us_per_page: f64,
    /// Pages per second that one core of the simulator could serve, over what the program asked for in a round; absent where
    /// too few were asked for to tell.
    pub(crate) headroom: Option<f64>,
    /// Requests to CloudWatch per round.
    pub(crate) cloudwatch_requests_per_round: f64,
    /// Rounds with failing nodes.
    pub(crate) faulty_round_seconds: Vec<f64>,
    /// Pages delivered in the first of them, as a share of the nodes.
    pub(crate) faulty_delivered_share: Option<f64>,
    /// Published and true values; absent where the simulator's clock stood still.
    pub(crate) errors: Option<Errors>,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The program that runs the simulator.
    pub(crate) simulator: PathBuf,
    /// Where logs go.
    pub(crate) logs: PathBuf,
    pub(crate) agent_port: u16,
}

/// A case under way.
struct Run<'a> {
    case: &'a Case,
    simulator: Simulator,
    simulator_cpu: CpuClock,
    subject: Subject,
    /// When the simulator's clock was last moved.
    simulator_ms: i64,
    first_page: Option<FirstPage>,
    first_point: Option<f64>,
    idle: Idle,
}

/// The moment at which the first page was asked for.
#[derive(Debug, Clone, Copy)]
struct FirstPage {
    after_seconds: f64,
    cpu: Duration,
    memory: Memory,
}

/// Runs one program through one case.
pub(crate) fn run(paths: &Paths, program: &Program, case: &Case) -> anyhow::Result<Figures> {
    let spec = SimulatorSpec {
        nodes: case.nodes,
        scenario: case.scenario.clone(),
        latency_ms: case.latency_ms,
        https: case.https,
        agent_port: paths.agent_port,
    };
    let simulator = Simulator::start(&paths.simulator, &spec)?;
    let simulator_cpu = CpuClock::new(simulator.pid());
    let simulator_ms = simulator.advance()?;
    let log = log_path(&paths.logs, program, case);
    let concurrency = case.concurrency.map(|scrapes| ("SCRAPE_CONCURRENCY", scrapes.to_string()));
    let insight = case.insight.map(|level| ("INSIGHT", level.to_owned()));
    let extra: Vec<_> = concurrency.into_iter().chain(insight).collect();
    let start = Start { via: &case.via, interval_seconds: case.interval_seconds, log: &log, extra: &extra };
    let subject = Subject::start(program, &simulator, &start)?;
    let run = Run {
        case,
        simulator,
        simulator_cpu,
        subject,
        simulator_ms,
        first_page: None,
        first_point: None,
        idle: Idle::default(),
    };
    run.measure(&log)
}

/// Where the program's log of a case goes.
pub(crate) fn log_path(logs: &Path, program: &Program, case: &Case) -> PathBuf {
    logs.join(format!("{}-{}-{}-{}ms.log", program.name, case.via, case.nodes, case.latency_ms))
}

impl Run<'_> {
    fn measure(mut self, log: &Path) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let first = self.round(0)?;
        figures.peak_bytes = self.subject.memory()?.peak_bytes;
        reset_peak(self.subject.pid())?;
        let before = self.simulator.stats()?;
        let mut rounds = vec![first];
        let mut resident = Trend::new(1);
        for number in 1..=self.case.rounds {
            self.advance()?;
            rounds.push(self.round(number as usize)?);
            if number > self.case.rounds / 2 {
                resident.add(u64::from(number), self.subject.memory()?.resident_bytes as f64);
            }
        }
        figures.growth_bytes_per_round = resident.slope();
        let after = self.simulator.stats()?;
        let memory = self.subject.memory()?;
        figures.steady_peak_bytes = memory.peak_bytes;
        figures.settled_bytes = memory.resident_bytes;
        figures.peak_bytes = figures.peak_bytes.max(memory.peak_bytes);
        self.faulty(&mut figures, rounds.len())?;
        ensure!(rounds.iter().any(|round| round.burst.delivered > 0), "no page was delivered; see {}", log.display());
        self.sum_up(&mut figures, &rounds, &before, &after);
        // The rounds with failing nodes publish too, and are not among those that are compared.
        let compares = self.moves() && self.case.faulty_rounds == 0;
        let collector_start_ms = self.subject.started_ms;
        // What is queued is sent at the end.
        self.subject.end();
        if compares {
            let errors = if self.case.scenario.is_some() { error::errors_by_tick } else { error::errors };
            figures.errors = Some(errors(&self.simulator, &rounds, collector_start_ms)?);
        }
        Ok(figures)
    }

    /// Five nodes in a hundred hang and as many refuse: what the rounds then take.
    fn faulty(&mut self, figures: &mut Figures, done: usize) -> anyhow::Result<()> {
        if self.case.faulty_rounds == 0 {
            return Ok(());
        }
        self.simulator.fail(&[(json!("hang"), 0.05), (json!("refused"), 0.05)])?;
        for number in 0..self.case.faulty_rounds as usize {
            let round = self.round(done + number)?;
            figures.faulty_round_seconds.push(round.seconds);
            let share = round.burst.delivered as f64 / f64::from(self.case.nodes);
            figures.faulty_delivered_share.get_or_insert(share);
        }
        Ok(())
    }

    fn moves(&self) -> bool {
        self.case.nodes <= MOVES_UP_TO_NODES
    }

    fn advance(&mut self) -> anyhow::Result<()> {
        if self.moves() {
            self.simulator_ms = self.simulator.advance()?;
        }
        Ok(())
    }

    /// Waits until the round of this number is over and the program is idle.
    fn round(&mut self, number: usize) -> anyhow::Result<Round> {
        let limit = Duration::from_secs(60 + 4 * self.case.interval_seconds + u64::from(self.case.nodes) / 500);
        let began = Instant::now();
        let simulator_before = self.simulator_cpu.read()?;
        let quiet_us = quiet_us(self.case.interval_seconds);
        let mut observations = Observations::new(quiet_us);
        loop {
            ensure!(began.elapsed() < limit, "round {number} did not end within {} s", limit.as_secs());
            let mut stats = self.simulator.stats()?;
            stats.bursts = merged(&stats.bursts, quiet_us);
            let observation =
                Observation { at: Instant::now(), cpu: self.subject.cpu()?, simulator_cpu: self.simulator_cpu.read()? };
            self.note_firsts(&stats, observation.cpu)?;
            self.idle += observations.note(observation, &stats);
            if let Some((burst, rest_us)) = observations.ended(number, &stats) {
                return Ok(Round {
                    burst,
                    seconds: rest_us.saturating_sub(burst.began_us) as f64 / 1e6,
                    simulator_ms: self.simulator_ms,
                    from_ms: stats.wall_ms_of(burst.began_us),
                    to_ms: stats.wall_ms_of(burst.ended_us),
                    cpu: observation.cpu,
                    at: observation.at,
                    simulator_used: observation.simulator_cpu.saturating_sub(simulator_before),
                    simulator_waited: observations.idle.lasted,
                });
            }
            std::thread::sleep(if self.case.rounds > MANY_ROUNDS { LOOK * 4 } else { LOOK });
        }
    }

    fn note_firsts(&mut self, stats: &Stats, cpu: Duration) -> anyhow::Result<()> {
        let elapsed = self.subject.started.elapsed().as_secs_f64();
        if let (None, Some(first)) = (self.first_page, stats.bursts.first()) {
            let ago = stats.now_us.saturating_sub(first.began_us) as f64 / 1e6;
            self.first_page = Some(FirstPage { after_seconds: elapsed - ago, cpu, memory: self.subject.memory()? });
        }
        if stats.cloudwatch.accepted > 0 {
            self.first_point.get_or_insert(elapsed);
        }
        Ok(())
    }

    fn sum_up(&self, figures: &mut Figures, rounds: &[Round], before: &Stats, after: &Stats) {
        let (Some(first), Some(last)) = (rounds.first(), rounds.last()) else { return };
        let steady = rounds.get(1..).unwrap_or_default();
        let count = steady.len().max(1) as f64;
        let nodes = f64::from(self.case.nodes);
        let delivered: u64 = steady.iter().map(|round| round.burst.delivered).sum();
        let asked: u64 = steady.iter().map(|round| round.burst.asked).sum();
        let busy: f64 = steady.iter().map(|round| round.seconds).sum();
        let cpu = last.cpu.saturating_sub(first.cpu).as_secs_f64();
        let span = last.at.duration_since(first.at).as_secs_f64();
        if let Some(first) = self.first_page {
            figures.start_to_first_page_seconds = first.after_seconds;
            figures.list_cpu_seconds = first.cpu.as_secs_f64();
            figures.list_peak_bytes = first.memory.peak_bytes;
            figures.list_resident_bytes = first.memory.resident_bytes;
        }
        figures.start_to_first_point_seconds = self.first_point;
        figures.first_round_seconds = first.seconds;
        figures.round_seconds = middle(steady.iter().map(|round| round.seconds).collect());
        figures.scraping_seconds = middle(steady.iter().map(|round| round.burst.seconds()).collect());
        figures.cpu_us_per_node = ratio(cpu * 1e6, nodes * count);
        figures.cpu_cores_in_round = ratio(cpu, busy);
        figures.cpu_cores = ratio(cpu, span);
        let idle_seconds = self.idle.lasted.as_secs_f64();
        figures.idle_cores = (idle_seconds > 0.5).then(|| self.idle.program.as_secs_f64() / idle_seconds);
        let (traffic, earlier) = (after.traffic(), before.traffic());
        let bytes = (traffic.bytes_in + traffic.bytes_out) - (earlier.bytes_in + earlier.bytes_out);
        figures.wire_bytes_per_node = ratio(bytes as f64, nodes * count);
        figures.connections_per_round = ratio((traffic.accepted - earlier.accepted) as f64, count);
        figures.connections_open = traffic.open;
        figures.most_open = rounds.iter().map(|round| round.burst.most_open).max().unwrap_or_default();
        figures.delivered_share = ratio(delivered as f64, nodes * count);
        let requests = after.cloudwatch.requests - before.cloudwatch.requests;
        figures.cloudwatch_requests_per_round = ratio(requests as f64, count);
        // The simulator also answers the bench's own questions all the time: what that costs is known from the idle time.
        let simulator_idle = ratio(self.idle.simulator.as_secs_f64(), idle_seconds);
        let simulator_used: f64 = steady.iter().map(|round| round.simulator_used.as_secs_f64()).sum();
        let waited: f64 = steady.iter().map(|round| round.simulator_waited.as_secs_f64()).sum();
        let simulator_used = (simulator_used - waited * simulator_idle).max(0.0);
        figures.simulator_us_per_page = ratio(simulator_used * 1e6, asked as f64);
        let could_serve_per_second = ratio(asked as f64, simulator_used);
        let enough = asked >= ENOUGH_PAGES && simulator_used > 0.0;
        figures.headroom = enough.then(|| ratio(could_serve_per_second, ratio(asked as f64, busy)));
    }
}

pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
