//! Any bytes as a page. The invariants are those of the stable tests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| cni_testkit::pages::check_page(page));
