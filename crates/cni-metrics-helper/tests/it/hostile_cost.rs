//! What hostile nodes cost the started program: memory for the worst pages, and processor time per round.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cni_sim::scenario::{FaultSpec, Scenario};
use cni_sim::sim::{Sim, SimOptions};

use crate::hostile_nodes::{FAST_WAYS, SLOW_WAYS};

/// A round is waited for this long; on a busy machine one takes much longer than its interval.
const TIMEOUT: Duration = Duration::from_mins(1);

fn cluster(good: u32, hostile: u32) -> Scenario {
    let text = format!(
        "
name: cost
description: Two groups, one of them to be hostile.
warm_up: 10m
subnets:
  - {{ name: a, cidr: 10.0.0.0/16, zone: eu-central-1a }}
node_groups:
  - {{ name: good, instance_type: m5.large, count: {good}, subnet: a }}
  - {{ name: hostile, instance_type: m5.large, count: {hostile}, subnet: a }}
workload:
  - {{ pods_per_node: 5, churn_per_minute: 0 }}
"
    );
    Scenario::parse(&text, "cost.yaml").unwrap()
}

fn inject(sim: &Sim, count: u32, fault: &str) -> usize {
    let spec = format!("{{ target: {{ group: hostile, count: {count} }}, fault: {{ {fault} }} }}");
    let spec: FaultSpec = serde_saphyr::from_str(&spec).unwrap();
    assert_eq!(sim.cluster().mistakes(std::slice::from_ref(&spec)), Vec::<String>::new());
    sim.cluster().inject(spec)
}

/// The program, running against a simulated cluster.
struct Program {
    child: Child,
    rounds: Receiver<String>,
}

impl Program {
    fn start(sim: &Sim, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
        command.args(["run", "--interval", "1", "--use-cloudwatch", "false", "--admin-address", "off"]).args(flags);
        command.envs(sim.env()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, rounds) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).filter(|line| line.contains(" round ")) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, rounds }
    }

    fn wait_rounds(&self, count: u32) {
        for _ in 0..count {
            self.rounds.recv_timeout(TIMEOUT).unwrap();
        }
    }

    fn wait_round(&self, text: &str) {
        let came = (0..100).any(|_| self.rounds.recv_timeout(TIMEOUT).unwrap().contains(text));
        assert!(came, "no round with {text:?}");
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    fn memory_bytes(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Processor time of all threads so far. Finer than the clock ticks of `stat`, of which twenty rounds have a few.
    fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // A thread that has ended meanwhile has no file any more.
        let nanos = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Processor time that the next rounds take.
    fn cost(&self, rounds: u32) -> Duration {
        let before = self.processor_time();
        self.wait_rounds(rounds);
        self.processor_time().checked_sub(before).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Pages of just below the limit of 8 MiB, plain and compressed.
const WORST_PAGES: [&str; 4] = [
    "short-lines: { bytes: 8380000 }",
    "huge: { bytes: 8380000 }",
    "gzip-bomb: { bytes: 8380000 }",
    "gzip-bomb: { bytes: 1000000000 }",
];

#[test(flavor = "multi_thread")]
async fn worst_pages_take_no_more_memory_than_they_may() {
    let sim = Sim::start(SimOptions::new(cluster(4, 40))).await.unwrap();
    let program = Program::start(&sim, &["--scrape-via", "proxy"]);
    tokio::task::block_in_place(|| {
        program.wait_round("44/44 nodes");
        program.wait_rounds(3);
        let idle = program.memory_bytes("VmHWM:");
        for fault in WORST_PAGES {
            let fault = inject(&sim, 1, fault);
            program.wait_rounds(3);
            sim.cluster().clear(fault);
            program.wait_round("44/44 nodes");
        }
        let one = program.memory_bytes("VmHWM:").saturating_sub(idle);
        assert!(one <= 16 << 20, "one worst page takes {} KiB", one >> 10);
        for fault in WORST_PAGES {
            let fault = inject(&sim, 40, fault);
            program.wait_rounds(3);
            sim.cluster().clear(fault);
            program.wait_round("44/44 nodes");
        }
        let all = program.memory_bytes("VmHWM:").saturating_sub(idle);
        assert!(all <= 80 << 20, "forty worst pages at once take {} KiB", all >> 10);
        // `.ci/release` writes it down.
        println!("worst page, program: {} KiB for one, {} KiB for forty at once", one >> 10, all >> 10);
    });
}

/// Rounds that are measured with a hostile half, unless `HOSTILE_COST_ROUNDS` says another number.
const ROUNDS: u32 = 20;

/// What a round may cost with a hostile half, in percent of a clean one. In the first rounds failing nodes are still asked
/// in every second round, and pages of no use are read in full once or twice, which shows most in optimised code, where a
/// good page takes some 60 µs and such a full page some 10 ms. Over hundreds of rounds both become rare, down to one full page
/// in 640 rounds of each such node.
fn allowed_percent(rounds: u32) -> u32 {
    match rounds {
        300.. => 110,
        _ if cfg!(debug_assertions) => 140,
        _ => 180,
    }
}

#[test(flavor = "multi_thread")]
async fn a_half_that_is_hostile_costs_a_round_no_more_processor_time_than_a_good_one() {
    let sim = Sim::start(SimOptions::new(cluster(20, 20))).await.unwrap();
    let program = Program::start(&sim, &["--scrape-via", "proxy"]);
    tokio::task::block_in_place(|| {
        program.wait_round("40/40 nodes");
        program.wait_rounds(3);
        let rounds = std::env::var("HOSTILE_COST_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
        let clean_rounds = rounds.min(100);
        let clean = program.cost(clean_rounds) / clean_rounds;
        // One hostile node for each.
        for fault in SLOW_WAYS.into_iter().chain(FAST_WAYS) {
            inject(&sim, 1, fault);
        }
        program.wait_rounds(5);
        let hostile = program.cost(rounds) / rounds;
        println!("a round takes {clean:?} of processor time, {hostile:?} with a hostile half over {rounds} rounds");
        let percent = allowed_percent(rounds);
        assert!(hostile * 100 <= clean * percent, "{hostile:?} instead of {clean:?} a round");
    });
}
