use super::*;

const MS: Duration = Duration::from_millis(1);

/// Of a cluster that can use any window.
fn large(concurrency: Option<usize>) -> ConcurrencyLimiter {
    let mut limiter = ConcurrencyLimiter::new(Limits::of(concurrency));
    limiter.begin(100_000);
    limiter
}

fn fill(limiter: &mut ConcurrencyLimiter, sample_windows: usize, took: Duration) {
    for _ in 0..sample_windows {
        for _ in 0..limiter.window {
            limiter.learn(Sign::Answered(took));
        }
    }
}

#[test]
fn the_window_grows_while_answers_are_fast_and_never_over_the_limit() {
    let mut limiter = large(Some(100));
    assert_eq!(limiter.window, FIRST_WINDOW);
    fill(&mut limiter, 1, 10 * MS);
    assert_eq!(limiter.window, 20);
    fill(&mut limiter, 20, 20 * MS);
    assert_eq!(limiter.window, 100);
    assert_eq!(ConcurrencyLimiter::new(Limits::of(Some(2))).window, 2);
}

#[test]
fn the_window_holds_at_twice_the_usual_time_and_shrinks_beyond_four_times() {
    let mut limiter = large(None);
    fill(&mut limiter, 4, 10 * MS);
    let window = limiter.window;
    fill(&mut limiter, 4, 40 * MS);
    assert_eq!(limiter.window, window);
    fill(&mut limiter, 1, 61 * MS);
    assert_eq!(limiter.window, window - window / 4);
    fill(&mut limiter, 50, 100 * MS);
    assert_eq!(limiter.window, LEAST_WINDOW);
}

#[test]
fn a_small_cluster_keeps_few_connections() {
    let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
    limiter.begin(100);
    fill(&mut limiter, 10, 10 * MS);
    assert_eq!(limiter.window, FIRST_WINDOW, "100 answers of 10 ms need ten at once");
    limiter.begin(1000);
    fill(&mut limiter, 20, 10 * MS);
    assert!((100..=120).contains(&limiter.window), "{}", limiter.window);
}

#[test]
fn an_overloaded_api_server_halves_the_window_once_per_sample_window() {
    let mut limiter = large(None);
    for _ in 0..10 {
        limiter.learn(Sign::Overloaded);
        limiter.learn(Sign::Nothing);
    }
    assert_eq!(limiter.window, FIRST_WINDOW / 2);
    fill(&mut limiter, 1, MS);
    assert_eq!(limiter.window, FIRST_WINDOW / 2, "it does not grow in the sample window that was eased");
    limiter.learn(Sign::Overloaded);
    assert_eq!(limiter.window, FIRST_WINDOW / 4);
}

#[test]
fn a_network_that_became_slower_for_good_is_believed_after_some_rounds() {
    let mut limiter = large(None);
    fill(&mut limiter, 10, 5 * MS);
    fill(&mut limiter, 50, 60 * MS);
    assert_eq!(limiter.window, LEAST_WINDOW);
    for _ in 0..20 {
        limiter.begin(100_000);
    }
    fill(&mut limiter, 10, 60 * MS);
    assert!(limiter.window > FIRST_WINDOW, "{}", limiter.window);
}

/// The bounds that hold whatever happened before.
fn check(limiter: &ConcurrencyLimiter) {
    let most = limiter.targets.max(LEAST_WINDOW).min(limiter.limits.window);
    let least = LEAST_WINDOW.min(limiter.limits.window);
    assert!((least..=most).contains(&limiter.window), "{limiter:?}");
    let longest = limiter.limits.longest_answer;
    assert!(limiter.usual.is_none_or(|usual| usual >= LEAST_USUAL && usual <= longest.max(LEAST_USUAL)), "{limiter:?}");
    assert!(limiter.slow_after() <= SLOW_AFTER.2, "{limiter:?}");
}

fn any_pace(random: &mut fastrand::Rng) -> ConcurrencyLimiter {
    let concurrency = random.bool().then(|| random.usize(1..300));
    ConcurrencyLimiter::new(Limits::of(concurrency).with_timeout(MS * random.u32(10..=5_000)))
}

#[test]
fn a_million_steps_in_any_order_stay_within_the_bounds() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..10 {
        let mut limiter = any_pace(&mut random);
        limiter.begin(40);
        for _ in 0..100_000 {
            match random.u32(..100) {
                0..20 => limiter.begin(random.usize(..400)),
                20 => limiter.begin([0, 1, usize::MAX][random.usize(..3)]),
                21 => limiter.learn(Sign::Answered([Duration::ZERO, Duration::MAX][random.usize(..2)])),
                22..30 => limiter.learn(Sign::Overloaded),
                30..40 => limiter.learn(Sign::Nothing),
                _ => limiter.learn(Sign::Answered(MS * random.u32(..10_000))),
            }
            if limiter.targets < usize::MAX {
                check(&limiter);
            }
        }
    }
}

/// A round in which these many of `targets` answer after about `took`, and the others fail.
fn round(limiter: &mut ConcurrencyLimiter, targets: usize, answers: usize, took: Duration) {
    limiter.begin(targets);
    check(limiter);
    for position in 0..targets {
        limiter.learn(if position < answers { Sign::Answered(took) } else { Sign::Nothing });
        check(limiter);
    }
}

#[test]
fn ten_thousand_rounds_of_a_population_that_grows_shrinks_and_falls_silent() {
    let mut random = fastrand::Rng::with_seed(12);
    let mut limiter = any_pace(&mut random);
    let (mut targets, mut silent, mut took) = (40, 0, 200 * MS);
    for number in 0..10_000 {
        match random.u32(..20) {
            0 => targets = random.usize(..120),
            1 => silent = random.usize(..=targets),
            2 => silent = 0,
            3 => took = MS * random.u32(..3_000),
            _ => {}
        }
        if number % 1_000 == 999 {
            limiter = ConcurrencyLimiter {
                window: limiter.window,
                usual: limiter.usual,
                answers: limiter.answers,
                ..any_pace(&mut random)
            };
            limiter.begin(targets);
        }
        round(&mut limiter, targets, targets.saturating_sub(silent), took);
    }
}

/// The sequences that once ended in an overflow: slow answers of a small cluster, and nodes that fall silent for good.
#[test]
fn rounds_with_fewer_answers_than_the_window_still_end_sample_windows() {
    for (targets, answers, took) in [(20, 20, 200 * MS), (20, 14, 60 * MS), (40, 3, 500 * MS)] {
        let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
        for number in 0..10_000 {
            round(&mut limiter, targets, answers, took);
            assert!(number < 20 || limiter.usual < Some(took * 10), "{number}: {limiter:?}");
        }
        assert!(limiter.window <= targets, "{limiter:?}");
    }
}

#[test]
fn a_population_that_answers_again_recovers_its_window_within_ten_rounds_and_a_slower_one_within_a_hundred() {
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..200 {
        let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
        let (targets, took) = (random.usize(40..200), MS * random.u32(1..2_000));
        for _ in 0..20 {
            round(&mut limiter, targets, targets, took);
        }
        let before = limiter.window;
        for _ in 0..random.usize(..500) {
            let answers = random.usize(..4);
            round(&mut limiter, random.usize(..targets), answers, took);
            limiter.learn(Sign::Overloaded);
        }
        for _ in 0..10 {
            round(&mut limiter, targets, targets, took);
        }
        assert!(limiter.window * 8 >= before.min(limiter.useful_window(took)) * 7, "{before}: {limiter:?}");

        let slower = took + MS * random.u32(1..3_000);
        for _ in 0..100 {
            round(&mut limiter, targets, targets, slower);
        }
        assert!(limiter.window * 5 >= limiter.useful_window(slower) * 4, "{slower:?}: {limiter:?}");
    }
}

#[test]
fn a_scrape_that_waits_long_joins_the_slow_set_and_makes_room() {
    let limiter = ConcurrencyLimiter::new(Limits::of(Some(3)));
    let (mut scrapes, start) = (OpenScrapes::default(), Instant::now());
    let numbers = [false, false, true].map(|failed_lately| scrapes.begin(start, failed_lately));
    assert!(!scrapes.has_room(&limiter));
    scrapes.note_slow(start + 100 * MS, 250 * MS);
    assert_eq!((scrapes.active, scrapes.slow), (3, 0));
    scrapes.end(numbers[1]);
    scrapes.note_slow(start + 250 * MS, 250 * MS);
    assert_eq!((scrapes.active, scrapes.slow, scrapes.failed_lately), (0, 2, 1));
    assert!(scrapes.has_room(&limiter));
    scrapes.begin(start + 250 * MS, false);
    assert!(!scrapes.has_room(&limiter), "three in all, slow or not");
    assert_eq!(scrapes.end(numbers[0]), Some(start));
    assert_eq!(scrapes.end(numbers[0]), None, "no scrape ends twice");
    assert_eq!(scrapes.end(numbers[2]), Some(start));
    assert_eq!((scrapes.active, scrapes.slow, scrapes.failed_lately), (1, 0, 0));
}

#[test]
fn the_slow_set_follows_what_is_usual() {
    let mut limiter = large(None);
    assert_eq!(limiter.slow_after(), SLOW_AT_FIRST);
    fill(&mut limiter, 1, 100 * MS);
    assert_eq!(limiter.slow_after(), 800 * MS);
    fill(&mut limiter, 1, 10 * MS);
    assert_eq!(limiter.slow_after(), 250 * MS);
}

#[test]
fn nodes_that_failed_lately_take_half_of_a_set_limit_at_most() {
    let limiter = ConcurrencyLimiter::new(Limits::of(Some(4)));
    let mut scrapes = OpenScrapes::default();
    let start = Instant::now();
    scrapes.begin(start, true);
    assert!(scrapes.has_room_for_failed(&limiter));
    scrapes.begin(start, true);
    assert!(!scrapes.has_room_for_failed(&limiter) && scrapes.has_room(&limiter));
}

#[test]
fn any_order_of_ends_leaves_no_scrape_open() {
    let start = Instant::now();
    for seed in 1..200_usize {
        let (mut scrapes, mut open) = (OpenScrapes::default(), Vec::new());
        for step in 0..100_usize {
            let now = start + MS * u32::try_from(step).unwrap();
            let dice = (seed * 31 + step * 17) % 7;
            if dice < 4 {
                open.push(scrapes.begin(now, dice == 0));
            } else if !open.is_empty() {
                let number = open.swap_remove((seed * 13 + step) % open.len());
                assert!(scrapes.end(number).is_some());
            }
            scrapes.note_slow(now, 20 * MS);
            assert_eq!(scrapes.active + scrapes.slow, open.len());
        }
        open.drain(..).for_each(|number| assert!(scrapes.end(number).is_some()));
        assert_eq!((scrapes.active, scrapes.slow, scrapes.failed_lately, scrapes.open.len()), (0, 0, 0, 0));
    }
}
