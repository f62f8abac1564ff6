//! Any bytes as a page. The invariants are those of the stable tests.
#![no_main]

#[path = "../../tests/support/page_invariants.rs"]
mod page_invariants;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| page_invariants::check_page(page));
