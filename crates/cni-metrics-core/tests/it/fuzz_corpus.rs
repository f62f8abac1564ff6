//! The fuzz target's entry point on stable: its corpus, and bounded damage to it.

use std::fs;
use std::path::Path;

use cni_testkit::pages::check_page;

use crate::mutate::mutate;
use crate::random::Random;

/// The corpus and the real pages, in name order.
fn pages() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = ["fuzz/corpus/parse", "tests/data"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "the corpus is missing");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn the_corpus_is_treated_soundly() {
    for page in pages() {
        check_page(&page);
    }
}

#[test]
fn damaged_pages_are_treated_soundly() {
    let pages = pages();
    let mut random = Random(0x5EED);
    for round in 0..3000 {
        let page = mutate(&pages[round % pages.len()], &mut random);
        check_page(&page);
    }
}
