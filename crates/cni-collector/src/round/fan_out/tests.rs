use super::*;
use crate::round::limiter::Limits;

fn asked(positions: std::ops::Range<usize>) -> Vec<Asked> {
    positions.rev().map(|position| Asked { position, directly: false, page_limit: None, once: false }).collect()
}

fn queue(steady: usize, failed_lately: usize) -> Queue {
    let (sizes, left_out) = ((steady, failed_lately), Vec::new());
    Queue { steady: asked(0..steady), failed_lately: asked(steady..steady + failed_lately), sizes, left_out }
}

#[test]
fn nodes_that_failed_lately_are_spread_over_the_first_half_of_the_round() {
    let mut queue = queue(90, 10);
    let (limiter, mut open_scrapes, now) =
        (ConcurrencyLimiter::new(Limits::of(None)), OpenScrapes::default(), Instant::now());
    let mut order = Vec::new();
    while let Some((asked, failed_lately)) = queue.next(&open_scrapes, &limiter) {
        let number = open_scrapes.begin(now, failed_lately);
        open_scrapes.end(number);
        order.push(asked.position);
    }
    assert_eq!(order.len(), 100);
    assert!(queue.is_empty());
    let failed_lately: Vec<_> =
        order.chunks(11).map(|part| part.iter().filter(|asked| **asked >= 90).count()).collect();
    assert_eq!(failed_lately, [2, 2, 2, 2, 2, 0, 0, 0, 0, 0], "{order:?}");
}

#[test]
fn hung_nodes_never_keep_a_good_one_waiting() {
    let mut queue = queue(4, 4);
    let (limiter, mut open_scrapes, now) =
        (ConcurrencyLimiter::new(Limits::of(Some(4))), OpenScrapes::default(), Instant::now());
    let mut good = 0;
    while let Some((_, failed_lately)) = queue.next(&open_scrapes, &limiter) {
        let number = open_scrapes.begin(now, failed_lately);
        if !failed_lately {
            open_scrapes.end(number);
            good += 1;
        }
    }
    assert_eq!((good, queue.failed_lately.len()), (4, 2), "two hang, and two wait for their places");
}

/// Hostile pages of 8 MiB: what makes a reader work, remember or search most.
fn worst_pages() -> Vec<(&'static str, Vec<u8>)> {
    const BYTES: usize = 8 << 20;
    let filled = |mut line: Box<dyn FnMut(usize) -> String>| {
        let mut page = Vec::with_capacity(BYTES);
        for number in 0.. {
            let next = line(number);
            if page.len() + next.len() > BYTES {
                break;
            }
            page.extend_from_slice(next.as_bytes());
        }
        page
    };
    let series = |number: usize| format!("awscni_aws_api_error_count{{api=\"{:07}\"}} 1\n", 9_999_999 - number);
    let api = |number: usize| format!("awscni_aws_api_latency_ms_sum{{api=\"{number}\"}} 1\n");
    let labels = (0..60).fold(String::new(), |all, number| all + &format!("l{number}=\"\\\"\\n\","));
    let long = "x".repeat(60_000);
    vec![
        ("descending series", filled(Box::new(series))),
        ("one series again and again", filled(Box::new(|_| "awscni_eni_max 3\n".to_owned()))),
        ("as many APIs as fit", filled(Box::new(api))),
        ("many labels", filled(Box::new(move |n| format!("awscni_ipamd_error_count{{{labels}fn=\"{n}\"}} 1\n")))),
        ("long lines", filled(Box::new(move |n| format!("awscni_ipamd_error_count{{fn=\"{long}{n}\"}} 1\n")))),
        ("bad lines", filled(Box::new(|_| "awscni_eni_max{\n".to_owned()))),
        ("others' lines", filled(Box::new(|_| "a 1\n".to_owned()))),
        ("empty lines", vec![b'\n'; BYTES]),
        ("one line", [vec![b'a'; BYTES - 1], vec![b'\n']].concat()),
        (
            "noise",
            (1..=BYTES)
                .map(|at| if at == BYTES { b'\n' } else { (at.wrapping_mul(at | 1) >> 7).to_le_bytes()[0] })
                .collect(),
        ),
    ]
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn reading_the_worst_page_gives_the_thread_back_every_five_milliseconds() {
    // An unoptimised build is allowed three times as much.
    let most = Duration::from_millis(if cfg!(debug_assertions) { 15 } else { 5 });
    for (name, page) in worst_pages() {
        // The best of several readings: on a busy machine a turn that is interrupted finds the caches cold.
        let mut readings = Vec::new();
        while readings.iter().all(|(longest, _)| *longest > most) {
            assert!(readings.len() < 5, "{name}: longest turn of each reading, and how many there were: {readings:?}");
            readings.push(longest_turn(&page));
        }
    }
}

/// The longest turn of the reading of a page, and how many there were.
fn longest_turn(page: &[u8]) -> (Duration, u32) {
    let large_pages = Semaphore::new(1);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut reading = std::pin::pin!(parse_in_steps(&large_pages, page));
    let (mut longest, mut turns) = (Duration::ZERO, 0);
    loop {
        let began = thread_time();
        let poll = reading.as_mut().poll(&mut context);
        longest = longest.max(thread_time().saturating_sub(began));
        turns += 1;
        if poll.is_ready() {
            return (longest, turns);
        }
    }
}
