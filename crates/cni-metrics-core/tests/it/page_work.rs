//! The worst pages of the size that the helper accepts: how much memory reading them takes beside the page itself, into how
//! many steps the work is cut, and how long a step holds the processor.

use std::fmt::Write as _;
use std::time::Duration;

use cni_metrics_core::parse::{MAX_SERIES, Parsed, Parser, Progress, STEP_BYTES};
use peak_alloc::PeakAlloc;

/// It counts for the whole process, so these tests have a process each: others would be counted too.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What the helper accepts at most by default.
const PAGE_BYTES: usize = 8 << 20;

/// What reading may hold at its peak: with the page itself it stays far below 16 MiB.
const MOST_BYTES: usize = 2 << 20;

/// As many lines as fit, by number.
fn filled(line: impl Fn(&mut String, usize)) -> Vec<u8> {
    let mut page = "awscni_eni_max 3\n".to_owned();
    let mut number = 0;
    while page.len() < PAGE_BYTES {
        line(&mut page, number);
        number += 1;
    }
    page.into_bytes()
}

/// Fills up with lines of another family, so that the bound on series is not what ends the reading.
fn padded(mut page: String) -> Vec<u8> {
    page.push_str(&"x 1\n".repeat(PAGE_BYTES.saturating_sub(page.len()) / 4 + 1));
    page.into_bytes()
}

fn hostile_pages() -> Vec<(&'static str, Vec<u8>)> {
    let most = MAX_SERIES - 1;
    let labels = (0..60).rev().map(|label| format!("l{label}=\"\",")).collect::<Vec<_>>().concat();
    let errors = |line: &dyn Fn(u32) -> String| padded((0..most).map(line).collect());
    vec![
        (
            "short lines, descending",
            filled(|page, at| writeln!(page, "awscni_ip_max{{x=\"{:08}\"}} 1", 99_999_999 - at).unwrap()),
        ),
        (
            "latencies of many APIs",
            filled(|page, at| writeln!(page, "awscni_aws_api_latency_ms_sum{{api=\"{at:08}\"}} 1").unwrap()),
        ),
        ("bad lines", filled(|page, _| page.push_str("=\n"))),
        ("blank lines", filled(|page, _| page.push('\n'))),
        ("blanks", padded(format!("awscni_eni_max 3\n{}\n", " ".repeat(PAGE_BYTES - 100)))),
        (
            "as many series as may be, descending",
            errors(&|at| format!("awscni_ipamd_error_count{{fn=\"{:08}\"}} 1\n", most - at)),
        ),
        ("series with many labels", errors(&|at| format!("awscni_ipamd_error_count{{{labels}fn=\"{at}\"}} 1\n"))),
        (
            "long label values, not ASCII",
            padded(format!(
                "awscni_ipamd_error_count{{fn=\"b\"}} 1\nawscni_ipamd_error_count{{fn=\"a{}\"}} 1\n",
                "ä".repeat(4_000_000)
            )),
        ),
        (
            "one line with a million labels",
            padded(format!("awscni_ipamd_error_count{{{}}} 1\n", "a=\"\",".repeat(1_000_000))),
        ),
        (
            "label sets, descending",
            errors(&|at| {
                let (api, code) = (most - at, "x".repeat(60));
                format!("awscni_aws_api_error_count{{api=\"{api:08}\",error=\"{code}\"}} 1\n")
            }),
        ),
        (
            "label sets of a growth API, descending",
            errors(&|at| {
                let (code, rest) = (most - at, "x".repeat(50));
                format!("awscni_aws_api_error_count{{api=\"CreateNetworkInterface\",error=\"{code:08}{rest}\"}} 1\n")
            }),
        ),
        (
            "error texts without a code, descending",
            errors(&|at| {
                let text = "ab: ".repeat(190);
                format!("awscni_aws_utils_error_count{{error=\"{text}\",fn=\"{:08}\"}} 1\n", most - at)
            }),
        ),
        ("many digits", errors(&|at| format!("awscni_ipamd_error_count{{fn=\"{at:08}\"}} 0.{}\n", "1".repeat(700)))),
        ("counters that are bad", errors(&|at| format!("awscni_ipamd_error_count{{fn=\"{at:08}\"}} x\n"))),
    ]
}

/// No line of the pages that are read whole is longer, the ones of a single line apart, bytes.
const LONG_LINE: usize = 1024;

/// Reads a page in steps of the usual size; also how many steps there were.
fn read(page: &[u8]) -> (Parsed, usize) {
    let (mut parser, mut steps) = (Parser::new(page), 1);
    loop {
        match parser.step(STEP_BYTES) {
            Progress::More(next) => (parser, steps) = (next, steps + 1),
            Progress::Done(parsed) => return (parsed, steps),
        }
    }
}

#[test(own_process, serial = "page_work")]
fn the_worst_pages_take_little_memory_and_are_read_in_many_steps() {
    let mut worst = 0;
    for (name, mut page) in hostile_pages() {
        page.truncate(PAGE_BYTES - 1);
        page.push(b'\n');
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let (parsed, steps) = read(&page);
        let peak = ALLOCATOR.peak_usage() - before;
        assert!(peak < MOST_BYTES, "{name}: {peak} bytes");
        worst = worst.max(peak);
        // A step reads what it is asked to and the rest of a line, and a page is read twice at most.
        assert!(steps <= 3 + 2 * PAGE_BYTES / STEP_BYTES, "{name}: {steps} steps");
        let read_whole = parsed.sample.is_ok();
        let one_line = ["long label values, not ASCII", "one line with a million labels", "blanks"].contains(&name);
        assert!(!read_whole || one_line || steps >= PAGE_BYTES / (STEP_BYTES + LONG_LINE), "{name}: {steps} steps");
    }
    // `.ci/release` writes it down.
    println!("worst page, read: {} KiB beside the page of {} MiB", worst >> 10, PAGE_BYTES >> 20);
}

/// What a step may take of the processor: 5 ms as it is shipped, and the 4 ms to which the system counts. Without optimisation
/// the bound only finds steps whose work grows with the page.
const STEP_LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 9 });

/// Processor time of this thread so far. Other processes, however many, do not count.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test(own_process, serial = "page_work")]
fn no_step_holds_the_processor_for_long() {
    for (name, mut page) in hostile_pages() {
        page.truncate(PAGE_BYTES - 1);
        page.push(b'\n');
        // Of several readings the best: on a busy machine a step that is interrupted finds the caches cold.
        let mut longest = longest_step(&page);
        for _ in 1..5 {
            if longest > STEP_LIMIT {
                longest = longest.min(longest_step(&page));
            }
        }
        println!("{longest:>12?}  {name}");
        assert!(longest <= STEP_LIMIT, "{name}: {longest:?}");
    }
}

fn longest_step(page: &[u8]) -> Duration {
    let (mut parser, mut longest) = (Parser::new(page), Duration::ZERO);
    loop {
        let began = cpu_time();
        let progress = parser.step(STEP_BYTES);
        longest = longest.max(cpu_time().saturating_sub(began));
        match progress {
            Progress::More(next) => parser = next,
            Progress::Done(_) => return longest,
        }
    }
}
