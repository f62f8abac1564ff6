//! One signal ends the helper in order, a second one at once.

use std::time::{Duration, Instant};

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use cni_testkit::api_server::stand_in::Mode;
use rustix::process::Signal;

use crate::program::Program;

/// A round that nothing but a signal ends soon; this much is left of it when the grace is over.
const ROUND: [(&str, &str); 3] = [("SCRAPE_VIA", "proxy"), ("METRIC_UPDATE_INTERVAL", "90"), ("SCRAPE_TIMEOUT", "70s")];

/// Five seconds for the program's own work. The process itself sees to it: one that does not end in order within six has
/// the exit code 1, so that the code tells whether it was in time, however busy the machine is.
const SHORT_GRACE: (&str, &str) = ("TERMINATION_GRACE_PERIOD", "7s");

/// Longer than a second signal can be late.
const LONG_GRACE: (&str, &str) = ("TERMINATION_GRACE_PERIOD", "80s");

const TIMEOUT: Duration = Duration::from_mins(1);

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn one_signal_ends_it_within_five_seconds_and_a_second_one_at_once() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5)]);
    cluster.grant_agents_with_proxy();
    let account = cluster.account_kubeconfig();
    let agent = &cluster.nodes[0].agent;

    for signal in [Signal::TERM, Signal::INT] {
        let mut idle = start(&account, SHORT_GRACE);
        idle.wait_round_of_any_time("the first round");
        assert_eq!(stop(&mut idle, signal).0, Some(0));
    }

    agent.set_mode(Mode::Hang);
    let mut busy = start_and_hang(&cluster, &account, SHORT_GRACE);
    let (code, took) = stop(&mut busy, Signal::TERM);
    assert_eq!(code, Some(0), "a current round is no failure");
    assert!(took > Duration::from_millis(500), "the current round is given some time, not {took:?}");

    let mut hurried = start_and_hang(&cluster, &account, LONG_GRACE);
    hurried.signal(Signal::TERM);
    hurried.wait_line("stopping");
    let (code, took) = stop(&mut hurried, Signal::TERM);
    assert_eq!(code, Some(130));
    assert!(took < Duration::from_secs(30), "a second signal took {took:?}");
}

fn start(account: &std::path::Path, grace: (&str, &str)) -> Program {
    Program::start(account, &[ROUND.as_slice(), &[grace]].concat())
}

/// Starts the helper and waits until its scrape is with the node that hangs.
fn start_and_hang(cluster: &Cluster, account: &std::path::Path, grace: (&str, &str)) -> Program {
    let before = cluster.nodes[0].agent.requests();
    let program = start(account, grace);
    cluster.nodes[0].agent.wait_requests(before + 1);
    program
}

fn stop(program: &mut Program, signal: Signal) -> (Option<i32>, Duration) {
    let began = Instant::now();
    program.signal(signal);
    let status = program.wait_exit(TIMEOUT);
    (status.and_then(|status| status.code()), began.elapsed())
}
