//! Instruction counts under callgrind: they repeat where times do not, so a change can be held against a reference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::case::Paths;
use crate::process::stop;
use crate::simulator::{Simulator, SimulatorSpec};

/// More of it is a regression, less of it asks for a new reference, in parts of a whole.
const TOLERANCE: f64 = 0.10;

/// Parses that are counted; the program's own start is the difference of two runs.
const PARSES: [u32; 2] = [100, 300];

/// Sizes of the two simulators whose difference is a thousand nodes.
const NODES: [u32; 2] = [100, 1_100];

/// Rounds of the two runs whose difference is a round with everything open and known.
const ROUNDS: [u32; 2] = [1, 2];

/// Callgrind makes a program fifty times slower; a round must still end long before the next.
const INTERVAL_SECONDS: u64 = 30;

/// No round is longer.
const TIMEOUT: Duration = Duration::from_mins(3);

/// After a round, the program is given this long to become idle.
const REST: Duration = Duration::from_secs(4);

/// Counts and what they hold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// `rustc --version`.
    pub(crate) compiler: String,
    pub(crate) architecture: String,
    /// Cargo's profile.
    pub(crate) profile: String,
    /// What was counted, in instructions.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// Counts everything.
pub(crate) fn count(paths: &Paths, parse: &Path, profile: &str) -> anyhow::Result<Reference> {
    let mut instructions = BTreeMap::new();
    let parses = PARSES.map(|times| callgrind(paths, Command::new(parse).arg(times.to_string())));
    instructions.insert("one page parsed".to_owned(), per(parses, PARSES[1] - PARSES[0])?);
    // Over HTTPS it depends on how scrapes happen to meet how many handshakes there are; HTTP has none to count.
    let lists = NODES.map(|nodes| once(paths, nodes));
    instructions.insert("list and first round of 1,000 nodes, HTTP".to_owned(), per(lists, 1)?);
    let rounds = ROUNDS.map(|rounds| running(paths, rounds));
    instructions.insert("another round of 1,000 nodes, HTTP".to_owned(), per(rounds, ROUNDS[1] - ROUNDS[0])?);
    let compiler = Command::new("rustc").arg("--version").output().context("rustc --version")?;
    Ok(Reference {
        compiler: String::from_utf8_lossy(&compiler.stdout).trim().to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        profile: profile.to_owned(),
        instructions,
    })
}

/// The difference of two counts for each unit by which they differ.
fn per(counts: [anyhow::Result<u64>; 2], units: u32) -> anyhow::Result<u64> {
    let [less, more] = counts;
    let difference = more?.checked_sub(less?).context("more work took fewer instructions")?;
    Ok(difference / u64::from(units))
}

/// One list and one round of the helper itself.
fn once(paths: &Paths, nodes: u32) -> anyhow::Result<u64> {
    let simulator = Simulator::start(
        &paths.simulator,
        &SimulatorSpec { nodes, scenario: None, latency_ms: 0, https: false, agent_port: 0 },
    )?;
    let mut command = Command::new(&paths.simulator);
    command.args(["once", "--output", "json", "--scrape-via", "proxy", "--scrape-timeout", "60s", "--interval", "600"]);
    // One thread after the other anyway: fewer of them wake each other less often.
    command.env_clear().envs(simulator.env()).env("TOKIO_WORKER_THREADS", "1");
    callgrind(paths, &command)
}

/// So many rounds of the long-running helper.
fn running(paths: &Paths, rounds: u32) -> anyhow::Result<u64> {
    let nodes = NODES[1] - NODES[0];
    let simulator = Simulator::start(
        &paths.simulator,
        &SimulatorSpec { nodes, scenario: None, latency_ms: 0, https: false, agent_port: 0 },
    )?;
    let mut command = Command::new(&paths.simulator);
    command.args(["run", "--scrape-via", "proxy", "--scrape-timeout", "60s", "--use-cloudwatch", "false"]);
    command.args(["--admin-address", "off", "--interval", &INTERVAL_SECONDS.to_string()]);
    command.env_clear().envs(simulator.env()).env("TOKIO_WORKER_THREADS", "1");
    let mut child = under_callgrind(paths, &command).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let wanted = u64::from(nodes) * u64::from(rounds);
    let began = Instant::now();
    let delivered = || simulator.stats().map(|stats| stats.bursts.iter().map(|burst| burst.delivered).sum::<u64>());
    while delivered()? < wanted {
        let ended = child.try_wait()?;
        ensure!(ended.is_none() && began.elapsed() < TIMEOUT, "{} of {wanted} pages, {ended:?}", delivered()?);
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(REST);
    stop(&mut child);
    ensure!(delivered()? == wanted, "{} pages instead of {wanted}", delivered()?);
    counted(paths)
}

/// Runs a command under callgrind and reads how many instructions it took.
fn callgrind(paths: &Paths, command: &Command) -> anyhow::Result<u64> {
    let output = under_callgrind(paths, command).stdin(Stdio::null()).output();
    let output = output.context("valgrind cannot be started (Debian: valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "under callgrind: {}: {said}", output.status);
    counted(paths)
}

fn under_callgrind(paths: &Paths, command: &Command) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--error-exitcode=0", "--vgdb=no"]);
    valgrind.arg(format!("--callgrind-out-file={}", out(paths).display()));
    valgrind.arg(command.get_program()).args(command.get_args());
    valgrind.env_clear().env("PATH", "/usr/bin:/bin");
    valgrind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    valgrind
}

fn out(paths: &Paths) -> PathBuf {
    paths.logs.join("callgrind.out")
}

/// What the run that ended last took.
fn counted(paths: &Paths) -> anyhow::Result<u64> {
    let file = out(paths);
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let total = total(&text).with_context(|| format!("{} has no total", file.display()))?;
    // The next run must not be taken for this one.
    std::fs::remove_file(&file)?;
    Ok(total)
}

/// The total of a callgrind file.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What comparing counts with a reference says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Within the tolerance.
    Kept(String),
    /// The reference can be lowered.
    Shrunk(String),
    /// A regression.
    Grown(String),
    /// There is no reference for it, or nothing was counted for one.
    Unmatched(String),
    /// The counts are not for the same code generator or processor.
    Foreign(String),
}

impl Finding {
    /// Whether this must not be merged.
    pub(crate) fn fails(&self) -> bool {
        matches!(self, Self::Grown(_) | Self::Unmatched(_))
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Kept(text) | Self::Shrunk(text) | Self::Grown(text) | Self::Unmatched(text) | Self::Foreign(text) => {
                text
            }
        }
    }
}

/// Holds counts against the reference.
pub(crate) fn compare(reference: &Reference, now: &Reference) -> Vec<Finding> {
    let mut findings = Vec::new();
    let about = [
        ("compiler", &reference.compiler, &now.compiler),
        ("architecture", &reference.architecture, &now.architecture),
        ("profile", &reference.profile, &now.profile),
    ];
    for (what, then, now) in about.into_iter().filter(|(_, then, now)| then != now) {
        findings.push(Finding::Foreign(format!("the reference is for {what} {then:?}, this is {now:?}")));
    }
    let foreign = !findings.is_empty();
    for (name, count) in &now.instructions {
        let Some(then) = reference.instructions.get(name) else {
            findings.push(Finding::Unmatched(format!("{name}: {count} instructions, and no reference")));
            continue;
        };
        let change = *count as f64 / (*then).max(1) as f64 - 1.0;
        let text = format!("{name}: {count} instructions, reference {then}: {:+.1} %", change * 100.0);
        findings.push(match change {
            _ if foreign => Finding::Foreign(text),
            change if change > TOLERANCE => Finding::Grown(text),
            change if change < -TOLERANCE => {
                Finding::Shrunk(format!("{text}; `bench/run --update-reference` keeps what was won"))
            }
            _ => Finding::Kept(text),
        });
    }
    let gone = reference.instructions.keys().filter(|name| !now.instructions.contains_key(*name));
    findings.extend(gone.map(|name| Finding::Unmatched(format!("{name}: in the reference, and was not counted"))));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compiler: &str, counts: &[(&str, u64)]) -> Reference {
        Reference {
            compiler: compiler.to_owned(),
            architecture: "x86_64".to_owned(),
            profile: "release".to_owned(),
            instructions: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn growth_beyond_the_tolerance_fails() {
        let reference = counts("1", &[("parse", 1_000), ("round", 50_000)]);
        let now = counts("1", &[("parse", 1_101), ("round", 54_000)]);
        let findings = compare(&reference, &now);
        assert!(matches!(findings.as_slice(), [Finding::Grown(_), Finding::Kept(_)]), "{findings:?}");
        assert!(findings[0].fails() && !findings[1].fails());
        assert_eq!(findings[0].text(), "parse: 1101 instructions, reference 1000: +10.1 %");
        assert!(!compare(&reference, &reference).iter().any(Finding::fails));
    }

    #[test]
    fn a_gain_asks_for_a_new_reference_and_fails_nothing() {
        let findings = compare(&counts("1", &[("parse", 1_000)]), &counts("1", &[("parse", 800)]));
        assert!(matches!(findings.as_slice(), [Finding::Shrunk(_)]), "{findings:?}");
        assert!(!findings[0].fails());
    }

    #[test]
    fn another_compiler_is_said_and_not_judged() {
        let findings = compare(&counts("1", &[("parse", 1_000)]), &counts("2", &[("parse", 2_000)]));
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|finding| matches!(finding, Finding::Foreign(_)) && !finding.fails()));
        assert_eq!(findings[0].text(), "the reference is for compiler \"1\", this is \"2\"");
    }

    #[test]
    fn what_has_no_counterpart_fails() {
        let findings = compare(&counts("1", &[("parse", 1)]), &counts("1", &[("round", 1)]));
        assert_eq!(findings.iter().filter(|finding| finding.fails()).count(), 2);
    }

    #[test]
    fn the_total_is_found() {
        assert_eq!(total("version: 1\nevents: Ir\nsummary: 123456\n\nfn=(1)\n"), Some(123_456));
        assert_eq!(total("events: Ir\nfn=(1) main\n0 3\ntotals: 42\n"), Some(42));
        assert_eq!(total("events: Ir\n"), None);
    }
}
