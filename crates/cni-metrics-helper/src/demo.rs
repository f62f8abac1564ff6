//! The demo: a simulated world, the unmodified helper against its sockets, and the truth beside what was published.
//!
//! World and helper go in lockstep: a round is run while the world stands still, then the world moves on by one
//! interval. So the same seed shows the same numbers, however fast the machine is.

mod compare;
mod screen;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use clap::Parser;
use cni_metrics_core::model::{Snapshot, UnixMillis};
use cni_sim::kube_store::{PodObject, PodPhase};
use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_sim::truth::{RoundTruth, Window};

use self::compare::Comparison;
use self::screen::{Lines, Screen};
use crate::app::{App, AwsSource};
use crate::aws::AwsHttp;
use crate::cli::settings::SettingsArgs;
use crate::clock::{Clock, ClockDriver};
use crate::config::Config;
use crate::discover::IndexReader;
use crate::identity::{CredentialKind, Found, Identity};
use crate::shutdown::Shutdown;

/// From one round to the next, in the world's time.
const INTERVAL: Duration = Duration::from_secs(30);

/// The world begins at this moment (2026-01-01T00:00:00Z), so that a seed's numbers, times included, repeat.
const START_MS: i64 = 1_767_225_600_000;

/// No round of the demo takes longer; if one does, something hangs.
const ROUND_PATIENCE: Duration = Duration::from_mins(2);

/// A watch that is not up to date by then is cut off.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);

const AGENTS_LABEL: (&str, &str) = ("k8s-app", "aws-node");

/// A page that was read and is not noted by then never will be.
const NOTE_PATIENCE: Duration = Duration::from_secs(2);

/// Back-offs and flushes of the helper are cut by this where the demo goes as fast as it can.
const FLAT_OUT_SPEED: f64 = 300.0;

/// What is played.
#[derive(Debug)]
pub struct DemoSettings {
    /// The world.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// Rounds to run.
    pub rounds: u32,
    /// Simulated seconds a second; `None` goes as fast as possible.
    pub speed: Option<f64>,
    /// Redraw a live screen.
    pub live: bool,
    /// End with one JSON object, and print nothing else.
    pub json: bool,
}

/// One round as it was published, and as it should have been.
#[derive(Debug)]
pub(crate) struct PlayedRound {
    snapshot: Arc<Snapshot>,
    truth: RoundTruth,
}

/// Plays all rounds, then compares.
pub async fn play(settings: DemoSettings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let lines = Lines::capture();
    let options = SimOptions {
        seed: settings.seed,
        start_ms: Some(START_MS),
        ..SimOptions::new(settings.scenario.clone()).lockstep()
    };
    let sim = Sim::start(options).await.context("the simulated cluster cannot be started")?;
    let (clock, driver) = Clock::driven(UnixMillis(START_MS), settings.speed.unwrap_or(FLAT_OUT_SPEED));
    let (trigger, shutdown) = Shutdown::manual();
    let app = App::build(config(&sim)?, AwsSource::Given(Box::new(identity(&sim)?)), clock, shutdown).await?;
    let (snapshots, index) = (app.snapshots(), app.index());
    let running = tokio::spawn(app.run());

    let screen = Screen::new(&settings, lines);
    let mut world = Played { sim: &sim, driver, snapshots, index, cut_ms: 0 };
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        let began = tokio::time::Instant::now();
        rounds.push(world.round().await?);
        screen.round(number, &rounds, &sim, out)?;
        if number < settings.rounds {
            if let Some(speed) = settings.speed {
                tokio::time::sleep_until(began + INTERVAL.div_f64(speed)).await;
            }
            world.advance().await?;
        }
    }
    trigger.end();
    running.await.context("the helper did not end")?;
    let comparison = Comparison::new(&rounds, &sim.cloudwatch());
    screen.end(&rounds, &comparison, out)?;
    sim.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The world and the helper's rounds in it.
struct Played<'a> {
    sim: &'a Sim,
    driver: ClockDriver,
    snapshots: crate::app::SnapshotReader,
    index: IndexReader,
    /// Wall time from which pages belong to this round.
    cut_ms: i64,
}

impl Played<'_> {
    /// Waits for the round in this moment of the world, and asks what it should have shown.
    async fn round(&mut self) -> anyhow::Result<PlayedRound> {
        tokio::time::timeout(ROUND_PATIENCE, self.snapshots.changed())
            .await
            .context("the helper did not finish a round in time")?
            .context("the helper stopped")?;
        let snapshot = self.snapshots.borrow_and_update().clone().context("a round without a snapshot")?;
        let truth = self.truth(snapshot.coverage.scraped).await;
        Ok(PlayedRound { snapshot, truth })
    }

    /// What the round should have shown. The world notes a page as handed over only once its socket has taken the last
    /// byte, which may be a moment after the helper has read it: so this waits for as many pages as were read.
    async fn truth(&self, pages_read: u64) -> RoundTruth {
        let give_up = tokio::time::Instant::now() + NOTE_PATIENCE;
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

    /// Waits until the helper's watch shows the world as it is. In life nobody notices the milliseconds that a watch is
    /// behind; here a world that stands still would turn them into a whole round. A watch that is cut off by a fault
    /// stays behind, so this gives up soon.
    async fn watch_settled(&self) {
        let give_up = tokio::time::Instant::now() + WATCH_PATIENCE;
        let agents = running_agents(self.sim);
        let shown = |index: &IndexReader| -> BTreeSet<String> {
            index.targets().0.iter().map(|(pod, _)| pod.name.to_string()).collect()
        };
        while shown(&self.index) != agents && tokio::time::Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Moves the world on by one interval, then the clock, upon which the next round begins.
    async fn advance(&mut self) -> anyhow::Result<()> {
        let world = Arc::clone(self.sim.world());
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

/// The pods that a round would ask now, as the world has them.
fn running_agents(sim: &Sim) -> BTreeSet<String> {
    let pods = sim.world().kube().pods();
    let asked = |pod: &PodObject| {
        let meta = &pod.meta;
        let is_agent = meta.labels.iter().any(|(name, value)| (&**name, &**value) == AGENTS_LABEL);
        is_agent && meta.deletion_ms.is_none() && pod.phase == PodPhase::Running
    };
    pods.iter().filter(|pod| asked(pod)).map(|pod| pod.meta.name.to_string()).collect()
}

/// The settings a user would give, read by the same code.
fn config(sim: &Sim) -> anyhow::Result<Config> {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: SettingsArgs,
    }
    let port = sim.env().into_iter().find(|(name, _)| name == "AGENT_PORT").map(|(_, port)| port).unwrap_or_default();
    let kubeconfig = sim.kubeconfig_path().display().to_string();
    let interval = INTERVAL.as_secs().to_string();
    let flags = ["demo", "--kubeconfig", &kubeconfig, "--agent-port", &port, "--interval", &interval];
    let flags =
        flags.into_iter().chain(["--use-cloudwatch", "true", "--use-prometheus", "false", "--admin-address", "off"]);
    Ok(Config::read(&Flags::try_parse_from(flags)?.settings)?)
}

/// The simulated account: the SDK, pointed at the simulated CloudWatch.
fn identity(sim: &Sim) -> anyhow::Result<Identity> {
    let env = sim.env();
    let variable = |wanted: &str| {
        let found = env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        found.with_context(|| format!("the simulated world does not say {wanted}"))
    };
    let region = variable("AWS_REGION")?;
    let keys = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(keys.0, keys.1, None, None, "simulated world");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.clone()))
        .endpoint_url(variable("AWS_ENDPOINT_URL_CLOUDWATCH")?)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(AwsHttp::new(None)?.sdk_client())
        .build();
    let found = |value: String| Found { value, source: "the simulated world".to_owned() };
    let cluster_id = found(sim.world().scenario().cluster.name.clone());
    Ok(Identity { region: found(region), cluster_id, credentials: CredentialKind::Environment, sdk })
}
