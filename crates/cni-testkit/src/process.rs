//! A child process whose lines can be waited for.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test stops where something is missing, and says on the terminal what its processes said"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A running child. Dropping it kills it; if the test is failing then, its last lines are shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    written: Mutex<Written>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    /// Streams (stdout, stderr) that have ended.
    ended: usize,
}

impl Process {
    /// A command for `program` that the kernel kills together with the thread that starts it, so that a test which is
    /// itself killed leaves nothing behind.
    pub fn command(program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Starts it and follows its standard output and standard error.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let log = Arc::new(Log::default());
        follow(child.stdout.take().unwrap(), &log);
        follow(child.stderr.take().unwrap(), &log);
        Self { name: name.to_owned(), child, log }
    }

    /// The place in the log that is its end now; a wait from here sees only what comes later.
    pub fn mark(&self) -> usize {
        self.log.written.lock().unwrap().lines.len()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.written.lock().unwrap().lines.clone()
    }

    /// The first line from `mark` on for which `wanted` gives something.
    ///
    /// # Panics
    /// If the process ends or `limit` runs out first.
    pub fn wait_from<T>(&self, mark: usize, limit: Duration, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        let mut written = self.log.written.lock().unwrap();
        let mut next = mark;
        loop {
            while let Some(line) = written.lines.get(next) {
                if let Some(found) = wanted(line) {
                    return found;
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if written.ended == 2 || left.is_zero() {
                let why = if left.is_zero() { "not seen in time" } else { "the process ended without it" };
                drop(written);
                panic!("{}: {what}: {why}", self.name);
            }
            written = self.log.grown.wait_timeout(written, left).unwrap().0;
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit status, if the process ends within `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            wait::pause();
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.lines();
            eprintln!("--- last lines of {}:", self.name);
            for line in lines.iter().skip(lines.len().saturating_sub(40)) {
                eprintln!("{line}");
            }
        }
    }
}

fn follow(stream: impl Read + Send + 'static, log: &Arc<Log>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            log.written.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
            log.grown.notify_all();
        }
        log.written.lock().unwrap().ended += 1;
        log.grown.notify_all();
    });
}
