//! The fuzz target's entry point on stable: its corpus, and any bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cni_testkit::inputs::{Reached, check_inputs};
use cni_types::random::Random;

/// Names of bad inputs; the corpus has each.
const NAMES: [&str; 15] = [
    "before_boot",
    "double_address",
    "duplicate_rpc",
    "earlier_life",
    "outside_vpc",
    "prefix_base",
    "second_boot",
    "second_file_damaged",
    "second_file_foreign",
    "second_file_version",
    "too_many_addresses",
    "too_many_enis",
    "unknown_instance_type",
    "unknown_operation",
    "wrong_kind",
];

/// Runs of any bytes.
fn wanted_runs() -> u64 {
    std::env::var("INPUT_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(600)
}

#[test]
fn the_corpus_is_borne() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/inputs");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the corpus is missing");
    let mut named = BTreeSet::new();
    for path in paths {
        println!("{}", path.display());
        named.extend(check_inputs(&fs::read(&path).unwrap()).bad_names);
    }
    let missing: Vec<_> = NAMES.into_iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "no input of the corpus is counted as {missing:?}");
}

/// Bytes of a seed.
fn bytes(seed: u64) -> Vec<u8> {
    let mut random = Random::stream(0x1ae4, seed);
    let length = usize::try_from(random.between(0, 800)).unwrap();
    (0..length).map(|_| random.bits().to_be_bytes()[0]).collect()
}

/// The run of a seed, or why it failed; its bytes are kept for the corpus in the folder `INPUT_FAILURES`, if it is set.
fn run(seed: u64) -> Result<Reached, String> {
    let bytes = bytes(seed);
    std::panic::catch_unwind(|| check_inputs(&bytes)).map_err(|panic| {
        if let Ok(folder) = std::env::var("INPUT_FAILURES") {
            fs::write(Path::new(&folder).join(format!("seed_{seed}")), &bytes).unwrap();
        }
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("seed {seed}: {}", text.unwrap_or_default())
    })
}

/// Keeps the bytes of a run for the corpus in the folder `INPUT_NAMES`, if it is set: the shortest for each name of a bad input.
fn keep(seed: u64, reached: &Reached) {
    let Ok(folder) = std::env::var("INPUT_NAMES") else { return };
    let bytes = bytes(seed);
    for name in &reached.bad_names {
        let path = Path::new(&folder).join(name);
        if fs::metadata(&path).is_ok_and(|known| known.len() <= bytes.len() as u64) {
            continue;
        }
        fs::write(path, &bytes).unwrap();
    }
}

#[test]
fn any_inputs_are_borne() {
    let (mut served, mut bad, mut given, mut failures) = (0, 0, 0, Vec::new());
    let runs = wanted_runs();
    for seed in 0..runs {
        match run(seed) {
            Ok(reached) => {
                served += u64::from(reached.served);
                bad += u64::from(reached.bad > 0);
                given += u64::from(reached.given > 0);
                keep(seed, &reached);
            }
            Err(failure) => failures.push(failure),
        }
    }
    println!("{served} of {runs} runs served, {given} gave addresses, {bad} met bad inputs");
    assert!(failures.is_empty(), "{} of {runs} runs failed: {}", failures.len(), failures.join("\n"));
    assert!(served * 4 > runs && bad * 2 > runs && given * 10 > runs, "{served} {bad} {given} of {runs}");
}
