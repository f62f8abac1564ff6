//! The datastore against the original's: the same steps on both sides, and after each the same answer, store, statistics, raw
//! counters and gauges. Where the original chooses by the order of Go's maps, ours follows its choice, which must be one that ours
//! could have made.

pub(crate) mod mirror;
pub(crate) mod steps;
mod known;
pub(crate) mod theirs;

use std::cell::RefCell;
use std::collections::BTreeMap;

use cni_testkit::original::Original;
use ipamd_core::settings::Mode;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::Value;

use mirror::Mirror;
use steps::Step;
use theirs::Theirs;

/// Steps in each history, at most.
const LENGTH: usize = 200;

/// Steps of all histories together.
fn wanted_steps() -> usize {
    std::env::var("DATASTORE_COMPARISON_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// The original's program, and what it said so far.
struct Peer {
    original: Original,
    theirs: Theirs,
    /// How often each operation came to each outcome.
    seen: BTreeMap<(&'static str, String), u64>,
}

/// What random histories must come to, or they compare less than they seem to.
const OUTCOMES: [(&str, &str); 30] = [
    ("add_cidr", "cidr-exists"),
    ("add_cidr", "done"),
    ("add_cidr", "unknown-eni"),
    ("add_eni", "done"),
    ("add_eni", "duplicate-eni"),
    ("allocatable", "done"),
    ("assign", "checkpoint"),
    ("assign", "done"),
    ("assign", "no-address"),
    ("checkpoint", "done"),
    ("del_cidr", "cidr-in-use"),
    ("del_cidr", "done"),
    ("del_cidr", "unknown-cidr"),
    ("del_cidr", "unknown-eni"),
    ("exclude", "done"),
    ("exclude", "unknown-eni"),
    ("freeable", "done"),
    ("freeable_eni", "done"),
    ("pass", "done"),
    ("pass", "a CIDR was cleaned up"),
    ("remove_eni", "done"),
    ("remove_eni", "eni-in-use"),
    ("remove_eni", "unknown-eni"),
    ("remove_unused", "an ENI was removed"),
    ("remove_unused", "done"),
    ("restore", "cidr-exists"),
    ("restore", "done"),
    ("targets", "done"),
    ("unassign", "checkpoint"),
    ("unassign", "unknown-pod"),
];

impl Peer {
    fn new() -> Self {
        Self { original: Original::datastore(), theirs: Theirs::default(), seen: BTreeMap::new() }
    }

    /// Plays a history on both sides; the error tells the step and the difference.
    fn play(&mut self, mode: Mode, steps: &[Step]) -> Result<(), String> {
        self.original.send(&Step::begin(mode));
        let mut commands = steps::Commands::new(mode);
        for step in steps {
            self.original.send(&commands.next(step));
        }
        let mut mirror = Mirror::new(mode);
        let mut result = Ok(());
        // All answers are read, also those after a difference: the next history begins behind them.
        for (number, step) in std::iter::once(None).chain(steps.iter().map(Some)).enumerate() {
            let answer = self.original.receive();
            if let Some(error) = answer["error"].as_str() {
                panic!("godiff refuses {step:?}: {error}");
            }
            self.theirs.merge(&answer);
            if let Some(step) = step {
                *self.seen.entry((step.name(), outcome(step, &answer))).or_default() += 1;
            }
            if result.is_ok() {
                result = step
                    .map_or(Ok(()), |step| mirror.play(step, &answer, &self.theirs))
                    .and_then(|()| mirror.compare(&self.theirs))
                    .map_err(|difference| {
                        format!("step {number}, {step:?}: {difference}\nthe original answers {answer}")
                    });
            }
        }
        result
    }
}

/// What a step came to on the other side.
fn outcome(step: &Step, answer: &Value) -> String {
    let changed = answer["store"]["enis"].as_array().is_some_and(|enis| !enis.is_empty());
    let removed = answer["result"]["eni"].as_str().is_some_and(|id| !id.is_empty());
    let named = match step {
        Step::Pass(_) if changed => Some("a CIDR was cleaned up"),
        Step::RemoveUnused { .. } if removed => Some("an ENI was removed"),
        _ => answer["failed"]["class"].as_str(),
    };
    named.unwrap_or("done").to_owned()
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn random_histories_are_played_alike() {
    let peer = RefCell::new(Peer::new());
    let played = RefCell::new(0_usize);
    let config = Config { cases: u32::MAX, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let history = steps::history(LENGTH);
    // As many histories as it takes: a failure ends the loop.
    while *played.borrow() < wanted_steps() {
        let tree = history.new_tree(&mut runner).unwrap();
        let result = runner.run_one(tree, |(mode, steps)| {
            *played.borrow_mut() += steps.len();
            peer.borrow_mut().play(mode, &steps).map_err(TestCaseError::fail)
        });
        match result {
            Ok(_) => {}
            Err(TestError::Fail(why, (mode, steps))) => panic!("{why}\nthe shortest history, {mode:?}: {steps:#?}"),
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    }
    let seen = &peer.borrow().seen;
    // `.ci/release` writes it down.
    println!("played alike: {} steps", played.borrow());
    let never = OUTCOMES.iter().filter(|(step, outcome)| !seen.contains_key(&(*step, (*outcome).to_owned())));
    assert_eq!(never.collect::<Vec<_>>(), [] as [&(&str, &str); 0], "did not happen in {seen:#?}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn histories_that_once_showed_a_difference_are_played_alike() {
    let mut peer = Peer::new();
    for (name, mode, steps) in known::known() {
        peer.play(mode, &steps).unwrap_or_else(|difference| panic!("{name}: {difference}"));
    }
}
