//! The built program, driven by its environment and observed by its log, as an operator does.

use std::path::Path;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use cni_testkit::api_server::namespace::{SERVER, SERVER_PORT};
use cni_testkit::process::Process;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cni-metrics-helper");

/// Rounds come every one or two seconds; what is waited for takes a few of them, and much longer on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The helper, running.
#[derive(Debug)]
pub(crate) struct Program {
    process: Process,
}

/// `round 17: 998/1000 nodes in 412 ms (2 timeout)`, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoundLine {
    pub(crate) number: u64,
    pub(crate) scraped: u64,
    pub(crate) expected: u64,
    pub(crate) milliseconds: u64,
    /// What is in the brackets, or nothing.
    pub(crate) failures: String,
}

impl Program {
    /// Starts the long-running helper: no CloudWatch, Prometheus on, a round a second, unless `variables` say otherwise.
    pub(crate) fn start(kubeconfig: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Process::command(Path::new(PROGRAM));
        environment(&mut command, kubeconfig.parent().unwrap(), variables).env("KUBECONFIG", kubeconfig);
        Self { process: Process::spawn("cni-metrics-helper", &mut command) }
    }

    /// Starts it as a pod's container finds itself: the folder of its service account at the usual place, the API
    /// server's address in the environment, and no kubeconfig. The place is made in a mount namespace of its own.
    pub(crate) fn start_in_pod(account: &Path, variables: &[(&str, &str)]) -> Self {
        const SCRIPT: &str = "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount \
            && mount --bind \"$1\" /run/secrets/kubernetes.io/serviceaccount && exec \"$0\"";
        let mut command = Process::command(Path::new("unshare"));
        command.args(["--mount", "sh", "-c", SCRIPT, PROGRAM]).arg(account);
        environment(&mut command, account, variables)
            .env("KUBERNETES_SERVICE_HOST", SERVER)
            .env("KUBERNETES_SERVICE_PORT", SERVER_PORT.to_string());
        Self { process: Process::spawn("cni-metrics-helper", &mut command) }
    }

    /// Runs one of its commands to the end.
    pub(crate) fn output(kubeconfig: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(PROGRAM);
        environment(&mut command, kubeconfig.parent().unwrap(), variables).env("KUBECONFIG", kubeconfig);
        command.args(arguments).output().unwrap()
    }

    /// The first round from now on that is as wanted.
    pub(crate) fn wait_round(&self, what: &str, wanted: impl Fn(&RoundLine) -> bool) -> RoundLine {
        let mark = self.process.mark();
        self.process.wait_from(mark, TIMEOUT, what, |line| RoundLine::read(line).filter(&wanted))
    }

    /// The first round, one that is over already included.
    pub(crate) fn wait_round_of_any_time(&self, what: &str) -> RoundLine {
        self.process.wait_from(0, TIMEOUT, what, RoundLine::read)
    }

    /// The first round from now on in which exactly these nodes answered.
    pub(crate) fn wait_coverage(&self, scraped: u64, expected: u64) -> RoundLine {
        let what = format!("a round with {scraped}/{expected} nodes");
        self.wait_round(&what, |round| round.scraped == scraped && round.expected == expected)
    }

    /// The value on the next line that logs this metric as wanted.
    pub(crate) fn wait_produced(&self, kind: &str, name: &str, value: f64) {
        let text = format!("Produce {kind} metrics: {name}, value: {value:.6}");
        let mark = self.process.mark();
        self.process.wait_from(mark, TIMEOUT, &text, |line| line.contains(&text).then_some(()));
    }

    /// The first line, past ones included, that has this text.
    pub(crate) fn wait_line(&self, text: &str) -> String {
        self.process.wait_from(0, TIMEOUT, text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// How many lines so far have this text.
    pub(crate) fn count_lines(&self, text: &str) -> usize {
        self.process.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// How many lines so far tell of this node's failure of this kind.
    pub(crate) fn count_failures(&self, node: &str, kind: &str) -> usize {
        let (node, kind) = (format!(" node={node} "), format!(" kind={kind}"));
        self.process.lines().iter().filter(|line| line.contains(&node) && line.contains(&kind)).count()
    }

    /// Waits for a line that tells of this node's failure of this kind.
    pub(crate) fn wait_failure(&self, node: &str, kind: &str) -> String {
        let (node, kind) = (format!(" node={node} "), format!(" kind={kind}"));
        let told = |line: &str| (line.contains(&node) && line.contains(&kind)).then(|| line.to_owned());
        self.process.wait_from(0, TIMEOUT, &format!("{kind} of{node}"), told)
    }

    /// The newest round in the log.
    pub(crate) fn last_round(&self) -> RoundLine {
        self.process.lines().iter().rev().find_map(|line| RoundLine::read(line)).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process.wait_exit(limit)
    }
}

impl RoundLine {
    fn read(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("round ")?;
        let (number, rest) = rest.split_once(": ")?;
        let (coverage, rest) = rest.split_once(" nodes in ")?;
        let (scraped, expected) = coverage.split_once('/')?;
        let (milliseconds, rest) = rest.split_once(" ms")?;
        let failures = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
        Some(Self {
            number: number.parse().ok()?,
            scraped: scraped.parse().ok()?,
            expected: expected.parse().ok()?,
            milliseconds: milliseconds.parse().ok()?,
            failures: failures.to_owned(),
        })
    }
}

/// Nothing of the developer's own environment reaches the program: a stray AWS profile would change what is tested.
fn environment<'a>(command: &'a mut Command, home: &Path, variables: &[(&str, &str)]) -> &'a mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_CLUSTER_ID", "e2e")
        .env("USE_CLOUDWATCH", "false")
        .env("USE_PROMETHEUS", "true")
        .env("PROMETHEUS_ADDRESS", PROMETHEUS)
        .env("METRIC_UPDATE_INTERVAL", "1")
        .envs(variables.iter().copied())
}

/// Where the helper's Prometheus page is, inside the namespace.
pub(crate) const PROMETHEUS: &str = "127.0.0.1:61681";
