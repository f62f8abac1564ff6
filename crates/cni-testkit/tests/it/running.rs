//! What a run prints and how it ends.

use std::process::{Command, Output};

use crate::fixture::ASKED;

/// Runs this very program with arguments, and with failures if they are asked for.
fn run(fails: bool, arguments: &str) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments.split(' ')).env_remove(ASKED).env_remove("RUST_BACKTRACE").env_remove("RUST_TEST_THREADS");
    if fails {
        command.env(ASKED, "1");
    }
    let output = command.output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
fn a_failure_is_reported_with_name_place_and_words() {
    let (output, text) = run(true, "fixture:: --test-threads 2");
    assert_eq!(output.status.code(), Some(101), "{text}");
    for part in [
        "---- fixture::fails_when_asked ----",
        "tests/it/fixture.rs:",
        "words of the failing test",
        "Error: \"words of the error\"",
        "minimal failing input: number = 10",
        "its own process ended with exit status: 7",
        "last words",
        "test fixture::has_workers",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(text.contains("4 failed"), "{text}");
}

#[test]
fn ignored_tests_are_counted_by_reason_among_those_that_were_asked_for() {
    let (output, text) = run(false, "fixture::is_ignored");
    assert!(output.status.success() && text.contains("2 ignored"), "{text}");
    assert!(text.contains("\nignored: 2 tests: a fixture of the harness\n"), "{text}");
    let (_, text) = run(false, "--exact fixture::is_ignored");
    assert!(text.contains("\nignored: 1 test: a fixture of the harness"), "{text}");
    for all in ["fixture::is_ignored --include-ignored", "fixture::is_ignored --ignored"] {
        let (output, text) = run(false, all);
        assert!(output.status.success() && text.contains("2 passed") && !text.contains("ignored:"), "{text}");
    }
    let (_, text) = run(false, "fixture::has_workers");
    assert!(!text.contains("ignored:"), "{text}");
}

#[test]
fn names_and_filters_are_those_of_the_usual_harness() {
    let (_, text) = run(false, "--list fixture::alone fixture::is_ignored --skip second");
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let [first, third] = ["fixture::alone::first", "fixture::alone::third"];
    assert_eq!(names, [first, third, "fixture::is_ignored", "fixture::is_ignored_too"]);
    let (_, text) = run(false, "--exact --list fixture::alone::third fixture::alone::second alone");
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert_eq!(names, ["fixture::alone::second", third]);
}

#[test]
fn a_test_with_a_process_of_its_own_runs_in_another_and_is_shown_when_asked() {
    let (_, text) = run(false, "fixture::changes_its_process");
    assert!(text.contains("1 passed") && !text.contains("is its own"), "{text}");
    let (_, text) = run(false, "fixture::changes_its_process --nocapture");
    let line = text.lines().find_map(|line| line.strip_suffix(" is its own")).unwrap();
    assert_ne!(line, std::process::id().to_string());
}

#[test]
fn a_child_program_is_started_by_its_path_and_is_no_test() {
    let output = cni_testkit::child_program("fixture::program").unwrap().env_clear().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (child, path) = text.trim_end_matches('\n').split_once(" without ").unwrap();
    assert!(child.parse::<u32>().is_ok_and(|child| child != std::process::id()) && path.is_empty(), "{text}");
    let output = cni_testkit::child_program("fixture::nothing").unwrap().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let (_, text) = run(false, "--list --include-ignored fixture::program");
    assert!(text.lines().all(|line| !line.ends_with(": test")), "{text}");
}
