//! `demo` and `sim` as a newcomer runs them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn helper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    command.args(args).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn demo(args: &[&str]) -> serde_json::Value {
    let output = helper(&[&["demo", "--output", "json"], args].concat()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The findings above info that began or ended in any round, or were there in the last.
pub(crate) fn loud(json: &serde_json::Value) -> std::collections::BTreeSet<String> {
    let all = json["finding_events"].as_array().unwrap().iter().chain(json["findings"].as_array().unwrap());
    let loud = all.filter(|finding| finding["severity"] != "info");
    loud.map(|finding| format!("{} {}", finding["id"].as_str().unwrap(), finding["scope"]["name"].as_str().unwrap()))
        .collect()
}

/// Plays a scenario for as many rounds as it asks for and holds CloudWatch's copy of every round against the truth, and the
/// findings against those that are expected.
fn nothing_differs(scenario: &str, findings: &[&str]) {
    let json = demo(&["--scenario", scenario]);
    let expected: std::collections::BTreeSet<String> = findings.iter().map(|finding| (*finding).to_owned()).collect();
    assert_eq!(loud(&json), expected, "{scenario}");
    assert_eq!(json["max_abs_difference"], 0, "{scenario}");
    let (published, truth) = (json["metrics"].as_object().unwrap(), json["truth"].as_object().unwrap());
    assert!(published["nodesScraped"].as_u64().unwrap() > 0, "{scenario}: no node answered");
    for (name, value) in published {
        assert_eq!(truth.get(name).and_then(serde_json::Value::as_f64), value.as_f64(), "{scenario}: {name}");
    }
    assert_eq!(published.len(), truth.len(), "{scenario}");
}

/// One test for each built-in scenario.
macro_rules! nothing_differs {
    ($($test:ident: $name:literal $findings:expr),* $(,)?) => {
        $(#[test]
        fn $test() {
            nothing_differs($name, &$findings);
        })*

        #[test]
        fn every_built_in_scenario_is_compared_with_the_truth() {
            let known: std::collections::BTreeSet<&str> = cni_sim::scenario::BUILT_IN.iter().map(|(name, _)| *name).collect();
            assert_eq!(std::collections::BTreeSet::from([$($name),*]), known);
        }
    };
}

nothing_differs!(
    calm: "calm" [],
    churn: "churn" [],
    restart_heavy: "restart-heavy" ["agent-restarting general"],
    mixed_version: "mixed-version" [],
    subnet_exhaustion: "subnet-exhaustion" ["subnet-exhausted eu-central-1a/general-a"],
    fragmentation: "fragmentation" ["subnet-fragmented eu-central-1a/prefix"],
    throttling: "throttling" ["ec2-throttled ", "warm-pool-too-small general"],
    missing_iam: "missing-iam" ["iam-permission-missing locked"],
    leaked_ips: "leaked-ips" [],
    forgotten_pods: "forgotten-pods" ["enis-force-removed after"],
    node_loss: "node-loss" ["enis-force-removed stable"],
    slow_nodes: "slow-nodes" ["agent-silent trouble"],
    api_server_trouble: "api-server-trouble" [],
    cloudwatch_outage: "cloudwatch-outage" [],
    imds_trouble: "imds-trouble" ["instance-metadata-failing deaf"],
    ipv6: "ipv6" [],
    prefix: "prefix" [],
    custom_networking: "custom-networking" [],
);

#[test]
fn an_outage_that_is_not_over_is_told_and_is_no_difference() {
    let output = helper(&["demo", "--scenario", "cloudwatch-outage", "--rounds", "40"]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    assert!(shown.contains("the outage is not over: ") && shown.contains(" points are waiting"), "{shown}");
    assert!(shown.trim_end().ends_with("largest difference between published and true: 0"), "{shown}");
}

#[test]
fn a_seed_repeats_its_numbers_and_another_gives_others() {
    let play = |seed: &str| {
        let mut json = demo(&["--scenario", "churn", "--rounds", "5", "--seed", seed]);
        json["round"]["duration_ms"] = serde_json::Value::Null;
        json
    };
    let first = play("7");
    assert_eq!(first, play("7"));
    assert_ne!(first["nodes"], play("8")["nodes"]);
}

#[test]
fn the_table_ends_with_the_difference() {
    let output = helper(&["demo", "--nodes", "3", "--rounds", "2"]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(shown.contains("round   2  2026-01-01T00:00:30.000Z  3 of 3 nodes in "), "{shown}");
    assert!(shown.trim_end().ends_with("largest difference between published and true: 0"), "{shown}");
}

#[test]
fn an_unknown_scenario_is_refused_with_the_known_ones() {
    let output = helper(&["demo", "--scenario", "nope"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("nope") && message.contains("calm") && message.contains("subnet-exhaustion"), "{message}");
}

/// Agents whose settings let them never come up: some of a cluster's, all of it, and all of one that is younger than the
/// time that agents are given.
#[test]
fn nothing_differs_where_agents_never_come_up() {
    let folder = cni_testkit::temporary_folder();
    for (name, warm_up, good) in [("some", "3m", 2), ("all", "3m", 0), ("young", "30s", 0)] {
        let path = folder.path().join(format!("{name}.yaml"));
        let text = format!(
            "name: {name}\nwarm_up: {warm_up}\nsubnets:\n  - {{ name: a, cidr: 10.0.0.0/20, zone: z }}\nnode_groups:\n  \
             - {{ name: good, instance_type: m5.large, count: {good}, subnet: a }}\n  \
             - {{ name: bad, instance_type: m5.large, count: 4, subnet: a, env: {{ ENABLE_IPv4: false }} }}\n"
        );
        std::fs::write(&path, text).unwrap();
        let json = demo(&["--scenario", path.to_str().unwrap(), "--rounds", "5"]);
        assert_eq!(json["max_abs_difference"], 0, "{name}");
        let expected = serde_json::json!({"expected": 4 + good, "scraped": good, "connect_refused": 4});
        let coverage = &json["coverage"];
        let failed = &coverage["failed"]["connect_refused"];
        let shown = serde_json::json!({
            "expected": coverage["expected"], "scraped": coverage["scraped"], "connect_refused": failed,
        });
        assert_eq!(shown, expected, "{name}");
        // Pods younger than a minute are not expected to answer yet.
        let findings: &[&str] = if name == "young" { &[] } else { &["agent-settings-refused "] };
        assert_eq!(loud(&json).iter().collect::<Vec<_>>(), findings, "{name}");
    }
}

#[test]
fn the_scenarios_are_listed_in_lines_that_fit() {
    let shown = text(&helper(&["demo", "--list"]).output().unwrap().stdout);
    for (name, _) in cni_sim::scenario::BUILT_IN {
        assert!(shown.lines().any(|line| line.split(' ').next() == Some(name)), "{name}: {shown}");
    }
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
}

#[test]
fn without_a_terminal_every_warning_is_printed_after_its_round_with_its_time() {
    let output = helper(&["demo", "--scenario", "slow-nodes", "--rounds", "6"]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    let (mut round, mut warnings) = (None, 0);
    for line in shown.lines() {
        if let Some(rest) = line.strip_prefix("round ") {
            round = rest.split_whitespace().nth(1).map(str::to_owned);
        } else if line.contains(" WARN ") || line.contains("ERROR ") {
            // Times of this form compare as texts. One that is logged between two rounds has the first one's time.
            let time = line.split(' ').next().filter(|time| time.starts_with("2026-01-01T00:0") && time.ends_with('Z'));
            assert!(time.is_some() && time.map(str::to_owned) <= round, "{line}\n{shown}");
            warnings += 1;
        }
    }
    assert!(warnings > 5, "{warnings} warnings: {shown}");
    for kind in ["kind=timeout", "kind=bad_page"] {
        assert!(shown.contains(kind), "{kind}: {shown}");
    }
}

/// A `sim` that ends with its holder, and the variables it printed.
struct Sim {
    child: Child,
    variables: Vec<(String, String)>,
}

impl Sim {
    fn start(args: &[&str]) -> Self {
        let mut child = helper(&[&["sim"], args].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut variables = Vec::new();
        // The control listener's address is the last one printed.
        while !variables.iter().any(|(name, _)| name == "CNI_SIM_CONTROL") {
            let Some(line) = lines.next() else { panic!("sim ended before it had printed its variables") };
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|pair| pair.split_once('=')) {
                variables.push((name.to_owned(), value.to_owned()));
            }
        }
        Self { child, variables }
    }

    fn run(&self, command: &mut Command) -> Output {
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).output().unwrap()
    }

    /// Ends it as an operator does.
    fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn once_reads_a_simulated_cluster_by_its_variables_and_by_either_way() {
    for args in [vec!["--nodes", "6"], vec!["--nodes", "6", "--https"]] {
        let sim = Sim::start(&args);
        for via in ["proxy", "direct", "auto"] {
            let output = sim.run(&mut helper(&["once", "--output", "json", "--scrape-via", via]));
            assert!(output.status.success(), "{args:?} {via}: {}", text(&output.stderr));
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(output.stdout.starts_with(b"{\"schema\":\"vpc-cni/look/1\","), "{}", text(&output.stdout));
            assert_eq!(json["counters"], serde_json::json!({"kind": "total", "seconds": null}));
            let coverage = &json["coverage"];
            assert_eq!((&coverage["expected"], &coverage["scraped"]), (&6.into(), &6.into()), "{via}: {coverage}");
            assert_eq!(coverage["failed"], serde_json::json!({}), "{via}");
            let nodes = json["nodes"].as_array().unwrap();
            assert!(nodes.iter().all(|node| node["zone"].is_string() && node["instance_type"].is_string()), "{via}");
        }
        assert!(sim.terminate().success());
    }
}

#[test]
fn sim_listens_on_loopback_only() {
    let output = helper(&["sim", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("must be a loopback address"), "{}", text(&output.stderr));
}

/// A scenario of hanging nodes: 40 of 100 never answer.
const HALF_HANGS: &str = "
name: half-hangs
description: Two fifths of the nodes hang.
warm_up: 10m
subnets:
  - { name: a, cidr: 10.0.0.0/16, zone: eu-central-1a }
node_groups:
  - { name: fine, instance_type: m5.large, count: 60, subnet: a }
  - { name: hung, instance_type: m5.large, count: 40, subnet: a }
workload:
  - { pods_per_node: 5, churn_per_minute: 0 }
faults:
  - { at: 0s, for: 24h, target: { group: hung }, fault: hang }
";

#[test]
fn nodes_that_hang_do_not_keep_others_from_being_asked() {
    let folder = cni_testkit::temporary_folder();
    let scenario = folder.path().join("half-hangs.yaml");
    std::fs::write(&scenario, HALF_HANGS).unwrap();
    let sim = Sim::start(&["--scenario", scenario.to_str().unwrap()]);
    // To wait for all that hang takes 40 s of scrapes, eight at once: longer than the 3.2 s of a round. Those that answer take
    // a tenth of that, and on a busy machine most of it.
    let mut command = helper(&["run", "--interval", "4", "--scrape-concurrency", "8", "--scrape-timeout", "1s"]);
    command.args(["--scrape-via", "proxy", "--use-cloudwatch", "false", "--admin-address", "off"]);
    command.envs(sim.variables.iter().map(|(name, value)| (name, value)));
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    // The first rounds cannot know who hangs; once all were asked, every node that answers is asked in time. On a busy
    // machine that takes more rounds, and never so many.
    let lines = BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap);
    let (mut summaries, mut complete) = (Vec::new(), 0);
    for summary in lines.filter(|line| line.contains("INFO round ")).take(60) {
        complete = if summary.contains(": 60/100 nodes in ") { complete + 1 } else { 0 };
        summaries.push(summary);
        if complete == 3 {
            break;
        }
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(complete, 3, "{summaries:#?}");
}

#[test]
fn stopping_takes_the_grace_at_most_though_a_node_and_cloudwatch_hang() {
    let sim = Sim::start(&["--nodes", "2"]);
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut command = helper(&["run", "--interval", "10", "--scrape-timeout", "8s", "--admin-address", "off"]);
    command.envs(sim.variables.iter().map(|(name, value)| (name, value)));
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    command.env("AWS_ENDPOINT_URL_CLOUDWATCH", endpoint).env("AWS_CLUSTER_ID", "demo");
    // Two of the seven seconds are the reserve.
    command.env("TERMINATION_GRACE_PERIOD", "7s");
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("INFO round 1: 2/2")).expect("no first round");
    let began = std::time::Instant::now();
    let pid = running.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(running.wait().unwrap().success(), "{rest:?}");
    // It ended by itself: when the grace is over without that, the exit code is 1. The rest is a busy machine's.
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(30), "{took:?}: {rest:?}");
}

/// The API server's packets to the nodes' port are dropped, as a security group without the rule does it.
const BLOCKED: &str = "
name: blocked
description: No way from the API server to the agents' port.
warm_up: 10m
subnets:
  - { name: a, cidr: 10.0.0.0/16, zone: eu-central-1a }
node_groups:
  - { name: all, instance_type: m5.large, count: 3, subnet: a }
workload:
  - { pods_per_node: 5, churn_per_minute: 0 }
faults:
  - { at: 0s, for: 24h, target: { group: all }, fault: { unreachable: { via: proxy } } }
";

/// The number and the coverage (`3/3`) of a round, from its line.
fn round_of(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.split_once("INFO round ")?.1.split_once(": ")?;
    Some((number.parse().ok()?, rest.split_once(" nodes in ")?.0))
}

/// The log of three rounds, and of more until one has this coverage: on a busy machine a node may be late.
fn log_until(sim: &Sim, args: &[&str], coverage: &str) -> Vec<String> {
    let mut command = helper(&[&["run", "--interval", "3", "--scrape-timeout", "1s"], args].concat());
    command.args(["--use-cloudwatch", "false", "--admin-address", "off"]);
    command.envs(sim.variables.iter().map(|(name, value)| (name, value)));
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = Vec::new();
    for line in BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap) {
        let round = round_of(&line).map(|(number, seen)| (number, seen == coverage));
        log.push(line);
        if matches!(round, Some((3.., true) | (30.., _))) {
            break;
        }
    }
    running.kill().unwrap();
    running.wait().unwrap();
    log
}

#[test]
fn a_missing_security_group_rule_is_named_once_by_either_way() {
    let folder = cni_testkit::temporary_folder();
    let scenario = folder.path().join("blocked.yaml");
    std::fs::write(&scenario, BLOCKED).unwrap();
    let sim = Sim::start(&["--scenario", scenario.to_str().unwrap()]);
    for (via, coverage) in [("auto", "3/3"), ("proxy", "0/3")] {
        let log = log_until(&sim, &["--scrape-via", via], coverage);
        let named: Vec<_> = log.iter().filter(|line| line.contains("tcp/61678")).collect();
        assert_eq!(named.len(), 1, "{via}: {log:#?}");
        assert!(
            named[0].contains("SCRAPE_VIA=direct") && named[0].contains("authorize-security-group-ingress"),
            "{via}"
        );
        let last = log.iter().rev().find_map(|line| round_of(line));
        assert!(last.is_some_and(|(_, seen)| seen == coverage), "{via}: {log:#?}");
    }
}
