//! The demo: a simulated world, the unmodified helper against its sockets, and the truth beside what was published.
//!
//! World and helper go in lockstep: a round is run while the world stands still, then the world moves on by one
//! interval. So the same seed shows the same numbers, however fast the machine is.

pub mod breakdown;
mod compare;
mod frame;
mod log_lines;
mod played;
mod screen;
mod settings;
pub mod simulated;
pub mod terminal;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cni_metrics_core::model::UnixMillis;
use cni_sim::fault::CloudWatchFault;
use cni_sim::scenario::FaultKind;
use cni_sim::sim::{Sim, SimOptions};
use cni_sim::truth::{RoundTruth, Window};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::settings::DemoSettings;
use self::settings::INTERVAL;

use self::compare::{Comparison, GivenUp};
use self::log_lines::LogLines;
use self::played::PlayedRound;
use self::screen::Screen;
use crate::app::{App, AwsSource};
use cni_collector::discover::IndexReader;
use cni_runtime::clock::{Clock, ClockDriver};
use cni_runtime::shutdown::Shutdown;

/// The world begins at this moment (2026-01-01T00:00:00Z), so that a seed's numbers, times included, repeat.
const START_MS: i64 = 1_767_225_600_000;

/// No round of the demo takes longer; if one does, something hangs.
const ROUND_TIMEOUT: Duration = Duration::from_mins(2);

/// A watch is up to date within milliseconds, and later on a busy machine.
const WATCH_TIMEOUT: Duration = Duration::from_mins(1);

/// The same in a scenario in which the API server fails: a watch that is not up to date by then is cut off.
const CUT_WATCH_TIMEOUT: Duration = Duration::from_millis(500);

/// A page that was read and is not noted by then never will be.
const NOTE_TIMEOUT: Duration = Duration::from_mins(1);

/// What is logged about a round is there by then, or never will be.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Back-offs and flushes of the helper are cut by this where the demo goes as fast as it can.
const FLAT_OUT_SPEED: f64 = 300.0;

/// What shells report for a program that SIGHUP, SIGINT or SIGTERM has ended.
const ENDED_BY_SIGNAL: u8 = 128;

/// Plays all rounds, then compares. Any difference is a failure. A signal ends it at any time, and leaves the terminal as it
/// was.
pub async fn play(settings: DemoSettings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::receive().context("signals cannot be received")?;
    tokio::select! {
        ended = play_all(settings, out) => ended,
        number = signals.first() => Ok(ExitCode::from(ENDED_BY_SIGNAL.saturating_add(number))),
    }
}

/// The signals that end the demo.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn receive() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the first that comes.
    async fn first(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => 1,
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

async fn play_all(settings: DemoSettings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (clock, driver) = Clock::driven(UnixMillis(START_MS), settings.speed.unwrap_or(FLAT_OUT_SPEED));
    let lines = LogLines::capture(clock.clone());
    let options = SimOptions {
        seed: settings.seed,
        start_ms: Some(START_MS),
        ..SimOptions::new(settings.scenario.clone()).lockstep()
    };
    let sim = Sim::start(options).await.context("the simulated cluster cannot be started")?;
    // The cluster is there, and nothing was read of it.
    let cut_ms = Clock::wall().now().0;
    let (trigger, shutdown) = Shutdown::manual();
    let env = sim.env();
    let config = simulated::config(&env, &[])?;
    let has_colour = settings.live && !config.log.no_color;
    let identity = simulated::identity(&env, &sim.cluster().scenario().cluster.name)?;
    let app = App::build(config, AwsSource::Given(Box::new(identity)), clock, shutdown).await?;
    let (snapshots, index, sinks) = (app.snapshots(), app.index(), app.sinks());
    let conclusions = app.conclusions();
    let running = tokio::spawn(app.run());

    let mut screen = Screen::new(&settings, lines.clone(), has_colour)?;
    let mut world = Session { sim: &sim, driver, snapshots, conclusions, index, cut_ms };
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        let began = tokio::time::Instant::now();
        rounds.push(world.round().await?);
        logged(&lines, number).await;
        screen.round(number, &rounds, &sim, out)?;
        if number < settings.rounds {
            if let Some(speed) = settings.speed {
                tokio::time::sleep_until(began + INTERVAL.div_f64(speed)).await;
            }
            world.advance().await?;
        }
    }
    trigger.end();
    running.await.context("the helper did not end")?.context("the helper failed")?;
    let given_up = GivenUp::new(&sinks, sim.cluster().cloudwatch_fault() != CloudWatchFault::None);
    let comparison = Comparison::new(&rounds, &sim.cloudwatch(), given_up);
    screen.end(&rounds, &comparison, &sim, out)?;
    sim.stop().await;
    Ok(if comparison.max_abs_difference() == 0.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for what is logged about a round, which comes a moment after the round: so it is shown with it.
async fn logged(lines: &LogLines, number: u32) {
    let give_up = tokio::time::Instant::now() + LOG_TIMEOUT;
    while !lines.has_round(number) && tokio::time::Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The world and the helper's rounds in it.
struct Session<'a> {
    sim: &'a Sim,
    driver: ClockDriver,
    snapshots: crate::app::SnapshotReader,
    conclusions: crate::app::ConclusionReader,
    index: IndexReader,
    /// Wall time from which pages belong to this round.
    cut_ms: i64,
}

impl Session<'_> {
    /// Waits for the round in this moment of the world, and asks what it should have shown.
    async fn round(&mut self) -> anyhow::Result<PlayedRound> {
        tokio::time::timeout(ROUND_TIMEOUT, self.snapshots.changed())
            .await
            .context("the helper did not finish a round in time")?
            .context("the helper stopped")?;
        let snapshot = self.snapshots.borrow_and_update().clone().context("a round without a snapshot")?;
        let truth = self.truth(snapshot.coverage.scraped).await;
        // It is there before its snapshot.
        let conclusion = self.conclusions.borrow_and_update().clone();
        Ok(PlayedRound { snapshot, truth, conclusion })
    }

    /// What the round should have shown. The world notes a page as handed over only once its socket has taken the last
    /// byte, which may be a moment after the helper has read it: so this waits for as many pages as were read.
    async fn truth(&self, pages_read: u64) -> RoundTruth {
        let give_up = tokio::time::Instant::now() + NOTE_TIMEOUT;
        loop {
            let to = Clock::wall().now().0;
            let collector_start = Some(START_MS);
            let window = Window { from: self.cut_ms, to, collector_start, collector_start_api: None };
            let truth = self.sim.truth().round(window);
            if truth.deliveries >= pages_read || tokio::time::Instant::now() >= give_up {
                return truth;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the helper's watch shows the simulated cluster as it is. In life no one notices the milliseconds by
    /// which a watch is behind; here the simulated cluster stands still, and they would turn into a
    /// whole round. A watch that is cut off by a fault stays behind, so this gives up soon where there is one.
    async fn watch_settled(&self) {
        let mut faults = self.sim.cluster().scenario().faults.iter();
        let may_be_cut = faults.any(|fault| matches!(fault.fault.value, FaultKind::ApiServer(_)));
        let limit = if may_be_cut { CUT_WATCH_TIMEOUT } else { WATCH_TIMEOUT };
        let give_up = tokio::time::Instant::now() + limit;
        let agents = self.sim.cluster().running_agents();
        let shown = |index: &IndexReader| -> BTreeSet<String> {
            index.targets().0.iter().map(|(pod, _)| pod.name.to_string()).collect()
        };
        while shown(&self.index) != agents && tokio::time::Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Moves the world on by one interval, then the clock, upon which the next round begins.
    async fn advance(&mut self) -> anyhow::Result<()> {
        let world = Arc::clone(self.sim.cluster());
        let next_ms = world.now_ms() + i64::try_from(INTERVAL.as_millis())?;
        tokio::task::spawn_blocking(move || world.advance_to(next_ms)).await?;
        self.watch_settled().await;
        // What the world did on its way here happened before the round. The next millisecond begins the round, so that
        // nothing of either falls into the other.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.cut_ms = Clock::wall().now().0;
        self.driver.set(UnixMillis(next_ms));
        Ok(())
    }
}
