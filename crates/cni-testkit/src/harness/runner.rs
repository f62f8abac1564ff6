//! One test: in a thread of its own or in a process of its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use super::panics;
use super::registry::{OWN_PROCESS, Program, Test, report};

/// A test that takes longer is named while it runs.
const LONG: Duration = Duration::from_mins(1);

/// The test for `libtest-mimic`. With `shown`, what its own process prints is shown though it passed.
pub(super) fn trial(program: &Program, test: &'static Test, shown: bool) -> Trial {
    let name = program.short(test.name);
    let run = move || {
        let lock = test.serial.map(lock_of);
        let _alone = lock.as_ref().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
        let result = if test.own_process { in_own_process(name, shown) } else { in_own_thread(name, test.run) };
        result.map_err(Into::into)
    };
    Trial::test(name, run).with_ignored_flag(test.ignored.is_some())
}

/// The lock that all tests with the same `serial` share.
fn lock_of(serial: &'static str) -> Arc<Mutex<()>> {
    static LOCKS: Mutex<BTreeMap<&str, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    Arc::clone(LOCKS.lock().unwrap_or_else(PoisonError::into_inner).entry(serial).or_default())
}

/// A thread of its own has nothing left in its thread-local variables of a test before, and has the test's name.
fn in_own_thread(name: &str, test: fn() -> Result<(), String>) -> Result<(), String> {
    let (done, wait) = mpsc::channel();
    let run = move || {
        let result = panics::caught(test);
        // The receiver waits for it.
        let _ = done.send(());
        result
    };
    let thread =
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| format!("no thread: {error}"))?;
    if wait.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
        report(&format!("test {name} has been running for over {} seconds", LONG.as_secs()));
    }
    thread.join().unwrap_or_else(|_| Err("it panicked after its end".to_owned()))
}

/// This test program once more, with this test only.
fn in_own_process(name: &str, shown: bool) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("the test program's path: {error}"))?;
    let mut command = Command::new(program);
    let output = command.args([OWN_PROCESS, name]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("the test program cannot be started: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        if shown {
            // A reader that has gone away is no failure of a test.
            let _ = write!(std::io::stdout(), "{}", text(&output.stdout));
        }
        return Ok(());
    }
    Err(format!("its own process ended with {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

/// The child's part of the above.
pub(super) fn in_this_process(program: &Program, name: &str) -> ExitCode {
    let Some(test) = inventory::iter::<Test>().find(|test| program.short(test.name) == name) else {
        report(&format!("{OWN_PROCESS} {name}: there is no such test"));
        return ExitCode::from(2);
    };
    match (test.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            report(&problem);
            ExitCode::FAILURE
        }
    }
}
