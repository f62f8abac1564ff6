//! Any bytes as settings and inputs of a core. The invariants are those of the stable tests.
#![no_main]

use cni_testkit::inputs::check_inputs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check_inputs(bytes);
});
