//! The started program when its log has no reader, when its runtime is blocked, and when it is told to end: it ends in time
//! and with a code of its own, whatever hangs.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

/// Nothing here takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(2);

/// The grace that the program is given where it is to use it up.
const GRACE: Duration = Duration::from_secs(3);

struct Cluster {
    runtime: Runtime,
    sim: Sim,
}

impl Cluster {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sim = runtime.block_on(Sim::start(SimOptions::new(Scenario::calm(2)))).unwrap();
        Self { runtime, sim }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command.envs(self.sim.env()).envs([
            ("AWS_CLUSTER_ID", "end"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("METRIC_UPDATE_INTERVAL", "1"),
            ("ADMIN_ADDRESS", "off"),
        ]);
        command
    }

    /// Waits until this number of further requests have come to CloudWatch: the rounds go on.
    fn wait_rounds(&self, more: usize) {
        let store = self.sim.cloudwatch();
        let wanted = store.requests().len() + more;
        let came = self.runtime.block_on(store.wait_until(LIMIT, |store| store.requests().len() >= wanted));
        assert!(came, "the rounds do not go on");
    }
}

/// The program, killed together with the thread that starts it.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_cni-metrics-helper")]).args(arguments);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// The exit status; a child that does not end in time is killed, and the test fails.
fn exit(child: &mut Child) -> ExitStatus {
    let give_up = Instant::now() + LIMIT;
    while Instant::now() < give_up {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        wait::pause();
    }
    child.kill().unwrap();
    panic!("the program did not end: {:?}", child.wait());
}

/// Told to end, it ends in order.
fn ends_in_order(child: &mut Child, what: &str) {
    assert_eq!(child.try_wait().unwrap(), None, "{what}: it ended before it was told to");
    signal(child, Signal::TERM);
    assert_eq!(exit(child).code(), Some(0), "{what}");
}

#[test]
fn rounds_go_on_and_the_end_comes_in_order_when_the_reader_of_the_log_is_gone() {
    let cluster = Cluster::start();
    for (lines, format) in [(1, "text"), (4, "json"), (20, "text"), (30, "json")] {
        let mut command = cluster.command(&["run"]);
        command.env("LOG_FORMAT", format).env("LOG_METRICS", "true");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let reader = BufReader::new(child.stderr.take().unwrap());
        // Reads its lines, and goes.
        assert_eq!(reader.lines().take(lines).map(Result::unwrap).count(), lines);
        cluster.wait_rounds(2);
        ends_in_order(&mut child, &format!("{lines} lines of {format}"));
    }
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = cluster.command(&["run"]).stderr(full()).spawn().unwrap();
    cluster.wait_rounds(2);
    ends_in_order(&mut child, "a full disk");
}

#[test]
fn rounds_go_on_and_the_end_comes_in_order_when_no_one_reads_the_log() {
    let cluster = Cluster::start();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let for_child = writer.try_clone().unwrap();
    // Another writer fills the pipe, so that the program's first line already does not fit.
    let filled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&filled);
    let filler = thread::spawn(move || {
        while writer.write_all(&[b'\n'; 1024]).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut before = 0;
    while filled.load(Ordering::Relaxed) == 0
        || std::mem::replace(&mut before, filled.load(Ordering::Relaxed)) != before
    {
        // A pipe that takes nothing in this time is full.
        wait::sleep_as_input(Duration::from_millis(50));
    }
    let mut child = cluster.command(&["run"]).stderr(for_child).spawn().unwrap();
    cluster.wait_rounds(3);
    ends_in_order(&mut child, "a full pipe");
    // The filler ends with the reader.
    reader.read_exact(&mut [0; 1]).unwrap();
    drop(reader);
    filler.join().unwrap();
}

#[test]
fn a_command_whose_reader_is_gone_ends_in_order() {
    let cluster = Cluster::start();
    let mut once = cluster.command(&["once"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((once.stdout.take(), once.stderr.take()));
    assert_eq!(exit(&mut once).code(), Some(0));
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut once = cluster.command(&["once"]).stderr(full()).spawn().unwrap();
    assert_eq!(exit(&mut once).code(), Some(0), "the log is not the result");
    let mut once = cluster.command(&["once"]).stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    once.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(exit(&mut once).code(), Some(1), "a result that is lost is a failure: {text}");
    assert!(text.contains("No space left on device"), "{text}");
    // A damaged page is a failure also where no one reads why.
    for arguments in
        [vec!["inspect", "/dev/null"], vec!["plan", "node", "--instance-type", "no.such"], vec!["--no-such-flag"]]
    {
        for stderr in [Stdio::from(full()), Stdio::piped()] {
            let mut child = program(&arguments).stderr(stderr).spawn().unwrap();
            drop(child.stderr.take());
            let code = exit(&mut child).code().unwrap();
            assert!((1..=2).contains(&code), "{arguments:?}: {code}");
        }
    }
    let mut demo =
        program(&["demo", "--nodes", "2", "--rounds", "2"]).stdout(Stdio::piped()).stderr(full()).spawn().unwrap();
    drop(demo.stdout.take());
    assert_eq!(exit(&mut demo).code(), Some(0));
}

/// A program whose only runtime thread is blocked: it opens a pipe as its kubeconfig, and no process writes to it.
fn blocked(folder: &Path, grace: Duration) -> (Child, BufReader<impl Read>) {
    let pipe = folder.join("kubeconfig");
    if !pipe.exists() {
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
    }
    let grace = format!("{}s", grace.as_secs());
    let mut command = program(&["run", "--kubeconfig", pipe.to_str().unwrap(), "--termination-grace-period", &grace]);
    let mut child = command.env("USE_CLOUDWATCH", "false").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    // The warning that it publishes nowhere comes right before; the signals are received from then on.
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("USE_CLOUDWATCH=false and USE_PROMETHEUS=false"), "{line}");
    let status = format!("/proc/{}/task", child.id());
    let give_up = Instant::now() + LIMIT;
    let is_ready = || {
        let threads = std::fs::read_dir(&status).unwrap().filter_map(Result::ok);
        let names: Vec<String> =
            threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok()).collect();
        names.iter().any(|name| name.trim() == "signals")
    };
    while !is_ready() {
        assert!(Instant::now() < give_up, "no thread for signals");
        wait::pause();
    }
    (child, log)
}

#[test]
fn a_blocked_runtime_ends_with_its_grace_and_says_what_was_unfinished() {
    let folder = cni_testkit::temporary_folder();
    let (mut child, mut log) = blocked(folder.path(), GRACE);
    let began = Instant::now();
    signal(&child, Signal::TERM);
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(exit(&mut child).code(), Some(1), "{text}");
    assert!(began.elapsed() >= Duration::from_secs(1), "the grace is given");
    let last = text.lines().last().unwrap();
    assert!(last.contains("did not end within 1 s") && last.contains("unfinished: the start"), "{text}");
}

#[test]
fn a_second_signal_ends_a_blocked_runtime_at_once() {
    let folder = cni_testkit::temporary_folder();
    let (mut child, mut log) = blocked(folder.path(), LIMIT);
    signal(&child, Signal::INT);
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("stopping: finishing the current round"), "{line}");
    signal(&child, Signal::TERM);
    assert_eq!(exit(&mut child).code(), Some(130));
    line.clear();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("second signal: stopping at once; unfinished: the start"), "{line}");
}

fn ask(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn get(address: &str, path: &str) -> String {
    let mut answer = String::new();
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).read_to_string(&mut answer).unwrap();
    answer
}

fn metric(page: &str, name: &str) -> f64 {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap()
}

#[test]
fn clients_that_hold_connections_open_cost_little_and_stop_no_probe() {
    let cluster = Cluster::start();
    let variables =
        [("USE_PROMETHEUS", "true"), ("PROMETHEUS_ADDRESS", "127.0.0.1:0"), ("ADMIN_ADDRESS", "127.0.0.1:0")];
    let mut child = cluster.command(&["run"]).envs(variables).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut address = |before: &str| {
        let line = log.find(|line| line.contains(before)).unwrap();
        line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    let (prometheus, admin) = (address("serving Prometheus metrics"), address("serving health"));
    thread::spawn(move || log.count());
    cluster.wait_rounds(2);
    let before = get(&admin, "/metrics");
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(ask(&admin, "GET /livez HTTP/1.1\r\nHost: "));
        held.push(ask(&prometheus, "GET /metrics HTTP/1.1\r\nHost: "));
    }
    // Readers that take nothing of what they asked for.
    held.extend((0..20).map(|_| ask(&prometheus, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")));
    assert!(get(&admin, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(&prometheus, "/metrics").contains("cni_cluster_nodes_expected"));
    let after = get(&admin, "/metrics");
    let grown = |name: &str| metric(&after, name) - metric(&before, name);
    assert!(grown("process_open_fds") <= 120.0, "{} files more", grown("process_open_fds"));
    assert!(grown("process_resident_memory_bytes") <= 8.0 * 1024.0 * 1024.0, "{after}");
    for (listener, most) in [("admin", 32.0), ("prometheus", 64.0)] {
        // On a busy machine some have been waited for too long before newer ones came.
        let closed = ["limit", "timeout"].map(|reason| {
            let labels = format!("{{listener=\"{listener}\",reason=\"{reason}\",cluster=\"end\"}}");
            metric(&after, &format!("cni_metrics_helper_connections_closed_total{labels}"))
        });
        assert!(closed.iter().sum::<f64>() >= 300.0 - most, "{listener}: {closed:?}");
    }
    drop(held);
    ends_in_order(&mut child, "connections");
}

#[test]
fn a_log_file_keeps_every_line_up_to_the_last() {
    let cluster = Cluster::start();
    let folder = cni_testkit::temporary_folder();
    let path = folder.path().join("log");
    let mut child = cluster.command(&["run"]).stderr(File::create(&path).unwrap()).spawn().unwrap();
    cluster.wait_rounds(2);
    ends_in_order(&mut child, "a file");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().last().unwrap().ends_with("INFO stopped"), "{text}");
    assert!(!text.contains("lost"), "{text}");
}
