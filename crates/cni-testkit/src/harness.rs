//! How a program of tests runs: the tests that `#[test]` has registered, by `libtest-mimic`.

mod arguments;
mod panics;
mod registry;
mod runner;
#[cfg(feature = "tokio")]
mod runtime;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

pub use inventory::submit;
use libtest_mimic::{Arguments, Trial};
pub(crate) use registry::CHILD_PROGRAM;
pub use registry::{ChildProgram, Program, Test, Verdict};
use registry::{OWN_PROCESS, report};
#[cfg(feature = "tokio")]
pub use runtime::{Runtime, block_on};

use crate::sources;

/// Runs what the arguments of the process ask for.
pub fn run(program: &Program) -> ExitCode {
    let given: Vec<String> = std::env::args().collect();
    if let [_, flag, name] = &given[..] {
        if flag == CHILD_PROGRAM {
            return child_program(program, name);
        }
        if flag == OWN_PROCESS {
            return runner::in_this_process(program, name);
        }
    }
    panics::catch();
    let (arguments, filters) = arguments::read(&given);
    let mut tests: Vec<&Test> = inventory::iter::<Test>().collect();
    tests.sort_by_key(|test| test.name);
    let names: Vec<&'static str> = tests.iter().map(|test| program.short(test.name)).collect();
    let reasons: BTreeMap<&str, &str> =
        tests.iter().filter_map(|test| Some((program.short(test.name), test.ignored?))).collect();
    let shown = arguments.nocapture || arguments.show_output;
    let mut trials: Vec<Trial> = tests.into_iter().map(|test| runner::trial(program, test, shown)).collect();
    let sources = program.sources;
    trials.push(Trial::test("every_test_of_these_sources_is_registered", move || {
        sources::check(sources.as_ref(), &names).map_err(Into::into)
    }));
    trials.retain(|trial| arguments::wanted(&filters, arguments.exact, trial.name()));
    let left_out = ignored(&arguments, &trials, &reasons);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        summarise(&left_out);
    }
    conclusion.exit_code()
}

fn child_program(program: &Program, name: &str) -> ExitCode {
    let found = inventory::iter::<ChildProgram>().find(|known| program.short(known.name) == name);
    let Some(found) = found else {
        report(&format!("{CHILD_PROGRAM} {name}: there is no function of this path with #[child_program]"));
        return ExitCode::from(2);
    };
    (found.run)();
    ExitCode::SUCCESS
}

/// Reason → number of tests that are wanted and not run for it.
fn ignored<'a>(
    arguments: &Arguments,
    trials: &[Trial],
    reasons: &BTreeMap<&'a str, &'a str>,
) -> BTreeMap<&'a str, usize> {
    let mut numbers = BTreeMap::new();
    for trial in trials.iter().filter(|trial| !arguments.is_filtered_out(trial) && arguments.is_ignored(trial)) {
        if let Some(reason) = reasons.get(trial.name()) {
            *numbers.entry(*reason).or_default() += 1;
        }
    }
    numbers
}

fn summarise(ignored: &BTreeMap<&str, usize>) {
    let line = |(reason, number): (&&str, &usize)| {
        format!("ignored: {number} {}: {reason}\n", if *number == 1 { "test" } else { "tests" })
    };
    let text: String = ignored.iter().map(line).collect();
    if !text.is_empty() {
        // A reader that has gone away is no failure of a test.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
