//! Parses one page a given number of times: the program of which the instructions of one parse are counted.

use std::hint::black_box;
use std::process::ExitCode;

use cni_metrics_core::parse::parse;

const PAGE: &[u8] = include_bytes!("../../../crates/cni-metrics-core/tests/data/node.prom");

fn main() -> ExitCode {
    let Some(times) = std::env::args().nth(1).and_then(|times| times.parse::<u32>().ok()) else {
        return ExitCode::FAILURE;
    };
    let read = (0..times).all(|_| {
        let parsed = parse(black_box(PAGE));
        black_box(&parsed).sample.is_ok() && parsed.error_count == 0
    });
    if read { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
