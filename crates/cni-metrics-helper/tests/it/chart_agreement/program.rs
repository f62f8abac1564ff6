//! The built program against a simulated cluster, with an account that may do so much and no more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cni_sim::api_server::User;
use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_testkit::process::Process;
use cni_testkit::wait;

use super::features::{Features, HELPER, Right};
use super::rights::rules;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cni-metrics-helper");
const TOKEN: &str = "token-of-the-helpers-account";
const NODES: u32 = 12;
/// Rounds come each second; what is waited for takes a few of them, and much longer on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(90);

/// What is waited for in the log.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// A line with this text.
    Line(String),
    /// A round in which each node that is ours answered.
    CompleteRound,
}

/// A cluster and the helper in it. Dropping it ends both.
pub(crate) struct Session {
    process: std::sync::Arc<Process>,
    sim: Sim,
}

impl Session {
    /// Starts both, the helper with the settings that the chart gives it.
    pub(crate) async fn start(features: Features, rights: BTreeSet<Right>) -> Self {
        Self::start_in(Scenario::calm(NODES), features, rights, &[]).await
    }

    /// The same in another cluster, and with more variables.
    pub(crate) async fn start_in(
        scenario: Scenario,
        features: Features,
        rights: BTreeSet<Right>,
        variables: &[(&str, &str)],
    ) -> Self {
        let options = SimOptions { token: Some(TOKEN.to_owned()), ..SimOptions::new(scenario) };
        let sim = Sim::start(options).await.unwrap();
        let account = User {
            name: format!("system:serviceaccount:{HELPER}:cni-metrics-helper"),
            allowed: Some(rules(&rights, &features.lease())),
        };
        let access = sim.api_server().access();
        access.add_token(TOKEN, account);
        access.enforce_tokens(true);

        let node = sim.cluster().kube().pods().iter().find_map(|pod| pod.node_name.clone()).unwrap();
        let mut command = Process::command(Path::new(PROGRAM));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", sim.kubeconfig_path().parent().unwrap())
            .envs(sim.env())
            .env("METRIC_UPDATE_INTERVAL", "1")
            .env("ADMIN_ADDRESS", "off")
            .env("SCRAPE_VIA", features.via)
            .env("LEADER_ELECTION", features.election.to_string())
            .env("INSIGHT", features.insight)
            // In a pod it is the pod's own.
            .env("LEASE_NAMESPACE", HELPER)
            .env("NODE_NAME", &*node)
            .env("POD_NAME", "cni-metrics-helper-0")
            .envs(variables.iter().copied());
        if features.shards > 1 {
            command.env("SHARD", format!("0/{}", features.shards));
        }
        let process = Process::spawn("cni-metrics-helper", &mut command).into();
        Self { process, sim }
    }

    /// Waits for a complete round, and for what else happens once: nodes were listed or refused.
    pub(crate) async fn wait_for_rounds(&self) {
        self.wait_for(&Told::CompleteRound, "a complete round").await;
        // Watches begin after their list; who watches has listed.
        self.wait_until("the watch of pods", |requests| requests.contains("watch pods")).await;
        let nodes_settled = |requests: &BTreeSet<String>| requests.contains("watch nodes");
        let refused = || self.refusals().contains(&"list nodes".to_owned());
        self.wait_until("the watch of nodes", |requests| nodes_settled(requests) || refused()).await;
    }

    /// Waits for it in the log.
    pub(crate) async fn wait_for(&self, told: &Told, what: &str) {
        let (process, told, what) = (std::sync::Arc::clone(&self.process), told.clone(), what.to_owned());
        // The wait blocks; the simulator runs on this runtime.
        tokio::task::spawn_blocking(move || {
            process.wait_from(0, TIMEOUT, &format!("{what}: {told:?}"), |line| told.is_told_by(line).then_some(()));
        })
        .await
        .unwrap();
    }

    /// Waits until the kinds of request so far are as wanted.
    pub(crate) async fn wait_until(&self, what: &str, wanted: impl Fn(&BTreeSet<String>) -> bool) {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while !wanted(&self.requests()) {
            assert!(tokio::time::Instant::now() < deadline, "{what}: not seen in time: {:?}", self.requests());
            wait::pause_async().await;
        }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u64 {
        let nodes: BTreeSet<_> =
            self.sim.cluster().kube().pods().into_iter().filter_map(|pod| pod.node_name.clone()).collect();
        u64::try_from(nodes.len()).unwrap()
    }

    /// Every kind of request so far: `list pods`.
    pub(crate) fn requests(&self) -> BTreeSet<String> {
        self.sim.api_server().requests().into_keys().collect()
    }

    /// Every kind of request that was answered with 403: `get pods/proxy in kube-system`.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.sim.api_server().refusals().into_keys().collect()
    }
}

impl Told {
    fn is_told_by(&self, line: &str) -> bool {
        match self {
            Self::Line(text) => line.contains(text),
            Self::CompleteRound => {
                let coverage = line.split_once("round ").and_then(|(_, rest)| rest.split_once(" nodes in "));
                let coverage = coverage.and_then(|(head, _)| head.rsplit_once(": "));
                coverage.and_then(|(_, coverage)| coverage.split_once('/')).is_some_and(|(scraped, all)| scraped == all)
            }
        }
    }
}
