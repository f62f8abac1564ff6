//! The built program killed and ended in the middle of a flush, with a spool and without: what is lost is what the documentation
//! says. Real time, a round a second.

#![expect(clippy::float_cmp, reason = "events are whole numbers")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cni_publish::delivery::spool;
use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::cloudwatch::store::Outcome;
use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_sim::truth::Window;
use cni_testkit::process::Process;
use rustix::process::Signal;
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_mins(1);

struct Stand {
    runtime: Runtime,
    sim: Sim,
    start_ms: i64,
}

impl Stand {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sim = runtime.block_on(Sim::start(SimOptions::new(Scenario::named("churn").unwrap()))).unwrap();
        let start_ms = sim.cluster().now_ms();
        Self { runtime, sim, start_ms }
    }

    fn helper(&self, spool: Option<&Path>) -> Process {
        let mut command = Process::command(Path::new(env!("CARGO_BIN_EXE_cni-metrics-helper")));
        command.env_clear().envs(self.sim.env()).envs([
            ("AWS_CLUSTER_ID", "crash"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("METRIC_UPDATE_INTERVAL", "1"),
            ("ADMIN_ADDRESS", "off"),
        ]);
        if let Some(spool) = spool {
            command.env("SPOOL_DIR", spool);
        }
        Process::spawn("cni-metrics-helper", &mut command)
    }

    fn wait_points(&self, points: usize) {
        let came = self.runtime.block_on(self.sim.cloudwatch().wait_until(TIMEOUT, |store| store.len() >= points));
        assert!(came, "{} points after {TIMEOUT:?}", self.sim.cloudwatch().len());
    }

    /// Kills the helper while a request that it sent is not answered.
    fn kill_in_a_flush(&self, mut helper: Process) {
        let faults = self.sim.cloudwatch_service().faults();
        faults.set(vec![FaultRule::always(Fault::Hang)]);
        let hung = |outcome: &Outcome| *outcome == Outcome::Hung;
        let store = self.sim.cloudwatch();
        let hangs = self
            .runtime
            .block_on(store.wait_until(TIMEOUT, |store| store.requests().iter().any(|request| hung(&request.outcome))));
        assert!(hangs, "no request came");
        helper.signal(Signal::KILL);
        assert!(helper.wait_exit(TIMEOUT).is_some());
        faults.clear();
    }

    /// Ends the helper, and gives the sum of a counter, published and true.
    fn sums(&self, mut helper: Process, name: &str) -> (f64, f64) {
        helper.signal(Signal::TERM);
        assert_eq!(helper.wait_exit(TIMEOUT).and_then(|status| status.code()), Some(0));
        let window = Window { from: 0, to: i64::MAX, collector_start: Some(self.start_ms), collector_start_api: None };
        let truth = self.sim.truth().round(window);
        let data = self.sim.cloudwatch().data();
        let published = data.iter().filter(|datum| datum.key.name == name).map(|datum| datum.statistics.sum).sum();
        (published, truth.cumulative[name])
    }

    fn assert_nothing_twice(&self) {
        let mut seen: BTreeMap<(String, i64), usize> = BTreeMap::new();
        for datum in self.sim.cloudwatch().data() {
            *seen.entry((datum.key.name.clone(), datum.timestamp_ms)).or_default() += 1;
        }
        assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    }
}

/// The events of a counter that a killed helper's spool gives up: those of the one request that was under way.
fn in_doubt(spool: &Path, name: &str) -> f64 {
    let left = spool::look(spool).unwrap().unwrap();
    assert!(!left.in_doubt.is_empty(), "the request that was under way is claimed");
    let values = left.in_doubt.iter().flat_map(|kept| kept.values().collect::<Vec<_>>());
    values.filter(|(row, _)| row.name == name).map(|(_, value)| value).sum()
}

#[test]
fn with_a_spool_a_crash_in_a_flush_loses_the_counters_of_that_request_only() {
    let stand = Stand::start();
    let spool = cni_testkit::temporary_folder();
    let helper = stand.helper(Some(spool.path()));
    stand.wait_points(40);
    stand.kill_in_a_flush(helper);
    let before = stand.sim.cloudwatch().len();
    let given_up = in_doubt(spool.path(), "addReqCount");
    let helper = stand.helper(Some(spool.path()));
    helper.wait_from(0, TIMEOUT, "the count", |line| line.contains("a request was under way").then_some(()));
    helper.wait_from(0, TIMEOUT, "the spool", |line| line.contains("unsent points of an earlier run").then_some(()));
    stand.wait_points(before + 150);
    let (published, truth) = stand.sums(helper, "addReqCount");
    assert!(truth > 0.0, "nothing happened that could have been lost");
    assert_eq!(published + given_up, truth);
    stand.assert_nothing_twice();
}

#[test]
fn an_end_in_a_flush_loses_nothing_where_cloudwatch_is_slow() {
    let stand = Stand::start();
    let helper = stand.helper(None);
    stand.wait_points(40);
    // Slower than rounds come: a request is under way whenever the signal arrives.
    stand.sim.cloudwatch_service().faults().set(vec![FaultRule::always(Fault::Delay(1_500))]);
    stand.wait_points(120);
    let (published, truth) = stand.sums(helper, "addReqCount");
    assert!(truth > 0.0, "nothing happened that could have been lost");
    assert_eq!(published, truth);
    stand.assert_nothing_twice();
}

#[test]
fn without_a_spool_a_crash_in_a_flush_loses_what_was_not_sent_and_doubles_nothing() {
    let stand = Stand::start();
    let helper = stand.helper(None);
    stand.wait_points(40);
    stand.kill_in_a_flush(helper);
    let before = stand.sim.cloudwatch().len();
    let helper = stand.helper(None);
    stand.wait_points(before + 150);
    let (published, truth) = stand.sums(helper, "addReqCount");
    assert!(published <= truth, "{published} of {truth}");
    stand.assert_nothing_twice();
}
