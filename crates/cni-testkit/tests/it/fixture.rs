//! Tests that `running` runs once more, with `FIXTURE` set; some fail then.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;

pub(crate) const ASKED: &str = "FIXTURE";

fn is_asked() -> bool {
    std::env::var_os(ASKED).is_some()
}

#[test]
fn fails_when_asked() {
    assert!(!is_asked(), "words of the failing test");
}

#[test]
fn errs_when_asked() -> Result<(), String> {
    if is_asked() { Err("words of the error".to_owned()) } else { Ok(()) }
}

#[test(own_process)]
fn changes_its_process() {
    println!("{} is its own", std::process::id());
    std::panic::set_hook(Box::new(|_| {}));
}

#[test(own_process)]
fn ends_its_process_when_asked() {
    if is_asked() {
        println!("last words");
        std::process::exit(7);
    }
}

#[test]
#[ignore = "a fixture of the harness"]
fn is_ignored() {}

#[test]
#[ignore = "a fixture of the harness"]
fn is_ignored_too() {}

#[test(start_paused = true)]
async fn waits_a_day_of_paused_time() {
    tokio::time::advance(Duration::from_hours(24)).await;
}

#[test(flavor = "multi_thread", worker_threads = 2)]
async fn has_workers() {
    let worker = tokio::spawn(async { std::thread::current().name().map(str::to_owned) }).await.unwrap();
    assert!(worker.unwrap().ends_with("fixture::has_workers"));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_workers(), 2);
}

proptest! {
    #[test]
    fn holds_for_any_number(number in 0..1000_u32) {
        let end = if is_asked() { 10 } else { 1000 };
        prop_assert!(number < end);
    }
}

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Two tests that would see what the other left if they shared a thread.
fn find_nothing_left() {
    assert_eq!(LEFT.replace(1), 0);
}

#[test]
fn leaves_something_in_its_thread() {
    find_nothing_left();
}

#[test]
fn leaves_something_in_its_thread_too() {
    find_nothing_left();
}

mod alone {
    use std::sync::Mutex;
    use std::thread;

    /// Held by the test that runs.
    static RUNNING: Mutex<()> = Mutex::new(());

    fn run_alone() {
        let _running = RUNNING.try_lock().unwrap();
        for _ in 0..10_000 {
            thread::yield_now();
        }
    }

    #[test(serial = "alone")]
    fn first() {
        run_alone();
    }

    #[test(serial = "alone")]
    fn second() {
        run_alone();
    }

    #[test(serial = "alone")]
    fn third() {
        run_alone();
    }
}

#[child_program]
fn program() {
    println!("{} without {}", std::process::id(), std::env::var("PATH").unwrap_or_default());
}
