//! The original ipamd in virtual time: the program of `tools/godiff`, whose README describes the commands and answers.
//!
//! A test that uses it has `#[ignore = "needs Go: run .ci/run"]`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test stops where something is missing, and says on the terminal what its processes said"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::needs;
use crate::process::Process;

/// An answer comes within this time, or the test fails: virtual minutes take milliseconds.
const LIMIT: Duration = Duration::from_mins(1);
/// How many of the last lines of standard error, and of the last commands, a failing test shows.
const SHOWN: usize = 20;

/// A running godiff. Dropping it kills it; if the test is failing then, its last commands and words are shown.
#[derive(Debug)]
pub struct Original {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    said: Arc<Mutex<VecDeque<String>>>,
    sent: VecDeque<String>,
    /// The whole state after the last answer that was received.
    pub view: View,
}

/// Store and metrics, merged from the changes that answers carry.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Virtual time of the last answer, microseconds since the history began.
    pub at_us: i64,
    /// ENIs of the store by id, as the protocol describes them.
    pub enis: BTreeMap<String, Value>,
    /// The last answer's `store` without its ENIs: `counters`, `stats`, `free_prefixes`, `trunk`.
    pub store: Value,
    /// The agent's metrics by the name of the series, as on its page.
    pub metrics: BTreeMap<String, f64>,
}

impl View {
    fn merge(&mut self, answer: &Value) {
        self.at_us = answer["at_us"].as_i64().unwrap_or(self.at_us);
        if let Some(store) = answer["store"].as_object() {
            for id in texts(&answer["store"]["gone"]) {
                self.enis.remove(id);
            }
            for eni in answer["store"]["enis"].as_array().into_iter().flatten() {
                self.enis.insert(eni["id"].as_str().unwrap_or_default().to_owned(), eni.clone());
            }
            let rest = store.iter().filter(|(name, _)| *name != "enis" && *name != "gone");
            self.store = Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        for series in texts(&answer["metrics"]["gone"]) {
            self.metrics.remove(series);
        }
        for (series, value) in answer["metrics"]["changed"].as_object().into_iter().flatten() {
            self.metrics.insert(series.clone(), value.as_f64().unwrap_or(f64::NAN));
        }
    }

    /// The value of a series.
    ///
    /// # Panics
    /// If it was never gathered.
    pub fn metric(&self, series: &str) -> f64 {
        let value = self.metrics.get(series).copied();
        value.unwrap_or_else(|| panic!("no series {series}; there are {:?}", self.metrics.keys()))
    }

    /// The raw counter `total`, `assigned` or `prefixes` of the store.
    pub fn counter(&self, name: &str) -> i64 {
        self.store["counters"][name].as_i64().unwrap_or_else(|| panic!("no counter {name}: {}", self.store))
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl Original {
    /// The store alone, one operation per command.
    pub fn datastore() -> Self {
        Self::start("datastore")
    }

    /// A whole node.
    pub fn node() -> Self {
        Self::start("node")
    }

    fn start(level: &str) -> Self {
        let mut command = Process::command(&needs::original());
        command.arg(level).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start godiff: {error}"));
        let (lines, answers) = channel();
        let said = Arc::new(Mutex::new(VecDeque::new()));
        follow(child.stdout.take().unwrap(), lines);
        keep(child.stderr.take().unwrap(), Arc::clone(&said));
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, answers, said, sent: VecDeque::new(), view: View::default() }
    }

    /// Sends a command and does not wait for its answer.
    pub fn send(&mut self, command: &Value) {
        let line = format!("{command}\n");
        assert!(self.stdin.write_all(line.as_bytes()).is_ok(), "godiff has ended before {command}");
        self.sent.push_back(line);
        if self.sent.len() > SHOWN {
            self.sent.pop_front();
        }
    }

    /// The next answer, which is merged into the view.
    ///
    /// # Panics
    /// If none comes in time.
    pub fn receive(&mut self) -> Value {
        let line = match self.answers.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("godiff has not answered within {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().unwrap();
                panic!("godiff has ended instead of answering: {status}");
            }
        };
        let answer = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON from godiff: {error}: {line}"));
        self.view.merge(&answer);
        answer
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Panics
    /// If godiff does not understand the command.
    pub fn ask(&mut self, command: &Value) -> Value {
        self.send(command);
        let answer = self.receive();
        if let Some(error) = answer["error"].as_str() {
            panic!("godiff refuses {command}: {error}");
        }
        answer
    }

    /// Sends a command that cannot be understood; why is the answer.
    ///
    /// # Panics
    /// If godiff understands it.
    pub fn refused(&mut self, command: &Value) -> String {
        self.send(command);
        let answer = self.receive();
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("godiff takes {command}: {answer}"));
        error.to_owned()
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- last commands to godiff:");
            for line in &self.sent {
                eprint!("{line}");
            }
            eprintln!("--- last lines of its standard error:");
            for line in self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
                eprintln!("{line}");
            }
        }
    }
}

fn follow(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

fn keep(stream: impl Read + Send + 'static, said: Arc<Mutex<VecDeque<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_back(String::from_utf8_lossy(&line).into_owned());
            if said.len() > SHOWN {
                said.pop_front();
            }
        }
    });
}
