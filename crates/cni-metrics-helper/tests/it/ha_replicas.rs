//! Two replicas of the built program on one simulated cluster, in real time: the leader is killed, stopped, cut off and
//! ended, and CloudWatch's store shows who published which round.
//!
//! The lease lasts 5 s here, the shortest there is, and a pause 12 s; in life it is 15 s, and everything scales with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_sim::kube_store::{Kind, Object};
use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_testkit::process::Process;
use cni_testkit::relay::Relay;
use cni_testkit::wait;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use rustix::process::Signal;
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_mins(1);
const LEASE_S: i64 = 5;
/// A lease is looked at eight times within its duration, and a busy machine is slow.
const SLACK_S: i64 = 3;

/// The cluster, and both replicas. Each signs with a key of its own, which CloudWatch notes.
struct Pair {
    runtime: Runtime,
    sim: Sim,
    relay: Relay,
    replicas: Vec<(&'static str, Process)>,
    folder: tempfile::TempDir,
}

impl Pair {
    /// Starts `a`, whose way to the API server can be cut, waits until it leads and publishes, then starts `b`.
    fn start(standby_scrape: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sim = runtime.block_on(Sim::start(SimOptions::new(Scenario::calm(3)))).unwrap();
        let server = sim.api_server().http_address().unwrap();
        let relay = runtime.block_on(Relay::to(server));
        let folder = cni_testkit::temporary_folder();
        let kubeconfig = std::fs::read_to_string(sim.kubeconfig_path()).unwrap();
        let relayed = kubeconfig.replace(&server.to_string(), &relay.address.to_string());
        assert_ne!(kubeconfig, relayed);
        std::fs::write(folder.path().join("a"), relayed).unwrap();
        std::fs::write(folder.path().join("b"), kubeconfig).unwrap();
        let mut pair = Self { runtime, sim, relay, replicas: Vec::new(), folder };
        for name in ["a", "b"] {
            let kubeconfig = pair.folder.path().join(name);
            let process = pair.replica(name, &kubeconfig, standby_scrape);
            pair.replicas.push((name, process));
            if name == "a" {
                pair.wait_published("a", 3);
            }
        }
        let standing_by = if standby_scrape { "round 3:" } else { "watching pods in namespace" };
        pair.process("b").wait_from(0, TIMEOUT, "b standing by", |line| line.contains(standing_by).then_some(()));
        pair
    }

    fn replica(&self, name: &str, kubeconfig: &Path, standby_scrape: bool) -> Process {
        let mut command = Process::command(Path::new(env!("CARGO_BIN_EXE_cni-metrics-helper")));
        command.env_clear().envs(self.sim.env()).envs([
            ("AWS_ACCESS_KEY_ID", format!("AKIAOFREPLICA{}", name.to_uppercase()).as_str()),
            ("AWS_CLUSTER_ID", "ha"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("METRIC_UPDATE_INTERVAL", "1"),
            ("LEADER_ELECTION", "true"),
            ("LEASE_DURATION", "5s"),
            ("LEASE_NAMESPACE", "kube-system"),
            ("STANDBY_SCRAPE", if standby_scrape { "true" } else { "false" }),
            ("ADMIN_ADDRESS", "off"),
            ("POD_NAME", name),
        ]);
        command.env("KUBECONFIG", kubeconfig);
        Process::spawn(name, &mut command)
    }

    fn process(&self, name: &str) -> &Process {
        &self.replicas.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn end(&mut self, name: &str, signal: Signal) {
        let at = self.replicas.iter().position(|(known, _)| *known == name).unwrap();
        let (_, mut process) = self.replicas.remove(at);
        process.signal(signal);
        assert!(process.wait_exit(TIMEOUT).is_some(), "{name} does not end");
    }

    /// The lease as it is now.
    fn lease(&self) -> LeaseSpec {
        let (_, leases) = self.sim.cluster().kube().list(Kind::Lease, None);
        let Object::Lease(lease) = &leases[0].object else { panic!("{:?}", leases[0].object) };
        serde_json::from_value(lease.spec.clone().into()).unwrap()
    }

    /// Round → who published it, as often as it was published.
    fn publishers(&self) -> BTreeMap<i64, Vec<&'static str>> {
        let store = self.sim.cloudwatch();
        let keys: BTreeMap<u64, String> =
            store.requests().into_iter().map(|request| (request.number, request.access_key_id)).collect();
        let mut publishers: BTreeMap<i64, Vec<&'static str>> = BTreeMap::new();
        for datum in store.data().iter().filter(|datum| datum.key.name == "nodesExpected") {
            // A request is in the log only a moment after its data.
            let Some(key) = keys.get(&datum.request) else { continue };
            let who = if key.ends_with('A') { "a" } else { "b" };
            publishers.entry(datum.timestamp_ms).or_default().push(who);
        }
        publishers
    }

    /// Waits until this replica has published this number of rounds more.
    fn wait_published(&self, name: &str, rounds: usize) {
        let count = || self.publishers().values().flatten().filter(|who| **who == name).count();
        let wanted = count() + rounds;
        let waited = self.sim.cloudwatch();
        let came = self.runtime.block_on(waited.wait_until(TIMEOUT, |_| count() >= wanted));
        assert!(came, "{name} did not publish {rounds} rounds; {:?}", self.publishers());
    }

    /// Rounds are whole seconds, no replica published one twice, and the publishers took turns as given. Returns the longest
    /// time between two rounds, in seconds.
    fn check(&self, turns: &[&str]) -> i64 {
        let publishers = self.publishers();
        let mut seen: Vec<&str> = Vec::new();
        for (at, who) in &publishers {
            assert!(at % 1000 == 0, "{at}");
            assert_eq!(who.len(), 1, "round {at} was published by {who:?} in {publishers:?}");
            if seen.last() != Some(&who[0]) {
                seen.push(who[0]);
            }
        }
        assert_eq!(seen, turns, "{publishers:?}");
        let times: Vec<i64> = publishers.into_keys().collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).max().unwrap()
    }
}

fn wall_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The time of a write to the lease, on the clock that all processes of this machine share.
fn written_ms(time: Option<MicroTime>) -> i64 {
    time.unwrap().0.as_millisecond()
}

#[test]
fn a_killed_leader_leaves_a_gap_of_a_lease_and_a_round() {
    let mut pair = Pair::start(false);
    pair.end("a", Signal::KILL);
    let renewed = written_ms(pair.lease().renew_time);
    pair.wait_published("b", 3);
    let waited = written_ms(pair.lease().acquire_time) - renewed;
    // From the beginning of the look that saw the last renewal, which takes a quarter of the lease at most.
    assert!(waited >= LEASE_S * 750, "b did not wait for the lease: {waited} ms");
    let gap = pair.check(&["a", "b"]);
    assert!(gap <= LEASE_S + 1 + SLACK_S, "{gap} s without a round");
    let asked_before = pair.process("b").lines().iter().filter(|line| line.contains("round 1:")).count();
    assert_eq!(asked_before, 1, "b began with fresh counters once it led");
}

#[test]
fn a_warm_standby_leaves_no_gap_behind_a_killed_leader() {
    let mut pair = Pair::start(true);
    pair.end("a", Signal::KILL);
    pair.wait_published("b", 8);
    let gap = pair.check(&["a", "b"]);
    assert!(gap <= SLACK_S, "{gap} s without a round");
}

#[test]
fn a_leader_that_ends_gives_the_lease_back_at_once() {
    let mut pair = Pair::start(false);
    pair.end("a", Signal::TERM);
    let (ended, holder) = (wall_ms(), pair.lease().holder_identity);
    assert!(
        !holder.as_ref().is_some_and(|holder| holder.starts_with("a-")),
        "{holder:?} has ended and holds the lease"
    );
    pair.process("b").wait_from(0, TIMEOUT, "b leading", |line| line.contains("leading: b-").then_some(()));
    let took = written_ms(pair.lease().acquire_time) - ended;
    pair.wait_published("b", 3);
    pair.check(&["a", "b"]);
    assert!(took < LEASE_S * 1000, "b waited {took} ms, as if for the lease");
}

#[test]
fn a_stopped_leader_sends_nothing_when_it_goes_on() {
    let mut pair = Pair::start(true);
    pair.process("a").signal(Signal::STOP);
    wait::sleep_as_input(Duration::from_secs(12));
    let mark = pair.process("a").mark();
    pair.process("a").signal(Signal::CONT);
    pair.process("a")
        .wait_from(mark, TIMEOUT, "a noticing", |line| line.contains("not leading any more").then_some(()));
    pair.wait_published("b", 5);
    let gap = pair.check(&["a", "b"]);
    assert!(gap <= SLACK_S, "{gap} s without a round");
    // The first leader is as good a standby as any.
    pair.end("b", Signal::KILL);
    pair.wait_published("a", 5);
    pair.check(&["a", "b", "a"]);
}

#[test]
fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let mut pair = Pair::start(false);
    pair.relay.cut();
    pair.wait_published("b", 3);
    // It still reaches CloudWatch, and has nothing to say.
    pair.process("a").wait_from(0, TIMEOUT, "a noticing", |line| line.contains("not leading any more").then_some(()));
    pair.check(&["a", "b"]);
    let store = pair.sim.cloudwatch();
    let arrivals = |key: char| {
        let requests = store.requests().into_iter().filter(move |request| request.access_key_id.ends_with(key));
        requests.map(|request| request.at_ms).collect::<Vec<_>>()
    };
    let (last_of_a, first_of_b) = (arrivals('A').into_iter().max().unwrap(), arrivals('B').into_iter().min().unwrap());
    assert!(last_of_a < first_of_b, "a sent at {last_of_a}, when b had begun at {first_of_b}");
    // Mended, it stands by; and takes over again.
    pair.relay.mend();
    pair.wait_published("b", 3);
    pair.end("b", Signal::TERM);
    // First it sends the rounds that it had measured before it was cut off, a few at most.
    pair.wait_published("a", 8);
    pair.check(&["a", "b", "a"]);
}
