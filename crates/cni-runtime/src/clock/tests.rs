use super::*;

const INTERVAL: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_scaled_clock_runs_faster_and_its_sleeps_are_shorter() {
    let clock = Clock::scaled(UnixMillis(1_000), 60.0);
    let before = Instant::now();
    clock.sleep(INTERVAL).await;
    assert_eq!(before.elapsed(), Duration::from_millis(500));
    assert_eq!(clock.now(), UnixMillis(31_000));
}

#[test]
fn a_senseless_speed_counts_as_one() {
    let clock = Clock::scaled(UnixMillis(0), f64::NAN);
    assert_eq!(clock.real(Duration::from_secs(3)), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn ticks_keep_their_distance_and_an_overrun_is_told_and_not_made_up_for() {
    let mut ticks = Clock::wall().ticks(INTERVAL);
    let began = Instant::now();
    assert!(!ticks.next().await.late);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!ticks.next().await.late);
    assert_eq!(began.elapsed(), INTERVAL);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(ticks.next().await.late);
    assert_eq!(began.elapsed(), Duration::from_secs(130));
    assert!(!ticks.next().await.late);
    assert_eq!(began.elapsed(), Duration::from_secs(160));
}

#[tokio::test(start_paused = true)]
async fn aligned_ticks_come_at_whole_multiples_whatever_happens_between() {
    let clock = Clock::scaled(UnixMillis(100_007), 1.0);
    let mut ticks = clock.aligned_ticks(INTERVAL);
    assert!(!ticks.next().await.late);
    assert_eq!(clock.now(), UnixMillis(120_000));
    tokio::time::sleep(Duration::from_secs(17)).await;
    assert!(!ticks.next().await.late);
    assert_eq!(clock.now(), UnixMillis(150_000));
    tokio::time::sleep(Duration::from_secs(44)).await;
    assert_eq!(ticks.next().await, Tick { at: UnixMillis(180_000), late: true }, "now it is 194 s");
    assert!(!ticks.next().await.late);
    assert_eq!(clock.now(), UnixMillis(210_000));
}

#[tokio::test(start_paused = true)]
async fn a_driven_clock_ticks_when_it_is_moved() {
    let (clock, driver) = Clock::driven(UnixMillis(0), 30.0);
    let mut ticks = clock.ticks(INTERVAL);
    assert!(!ticks.next().await.late);
    driver.set(UnixMillis(29_999));
    assert!(tokio::time::timeout(Duration::from_secs(1), ticks.next()).await.is_err());
    driver.set(UnixMillis(30_000));
    assert!(!ticks.next().await.late);
    assert_eq!(clock.now(), UnixMillis(30_000));
}

#[tokio::test(start_paused = true)]
async fn a_driven_clock_that_is_set_back_ticks_at_its_new_time() {
    let (clock, driver) = Clock::driven(UnixMillis(3_600_000), 30.0);
    for mut ticks in [clock.ticks(INTERVAL), clock.aligned_ticks(INTERVAL)] {
        driver.set(UnixMillis(3_600_000));
        assert_eq!(ticks.next().await.at, UnixMillis(3_600_000));
        driver.set(UnixMillis(30_000));
        assert_eq!(ticks.next().await.at, UnixMillis(30_000));
        driver.set(UnixMillis(60_000));
        assert_eq!(ticks.next().await.at, UnixMillis(60_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_an_hour_stops_no_tick() {
    let (clock, setter) = Clock::stepped(UnixMillis(7_200_010));
    let mut ticks = clock.aligned_ticks(INTERVAL);
    assert_eq!(ticks.next().await.at, UnixMillis(7_230_000));
    setter.set(UnixMillis(3_600_000));
    let began = Instant::now();
    assert_eq!(ticks.next().await, Tick { at: UnixMillis(3_630_000), late: false });
    assert_eq!(ticks.next().await, Tick { at: UnixMillis(3_660_000), late: false });
    assert_eq!(began.elapsed(), 2 * INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_a_little_uses_no_time_twice() {
    let (clock, setter) = Clock::stepped(UnixMillis(60_000));
    let mut ticks = clock.aligned_ticks(INTERVAL);
    assert_eq!(ticks.next().await.at, UnixMillis(60_000));
    let began = Instant::now();
    setter.set(UnixMillis(59_200));
    assert_eq!(ticks.next().await, Tick { at: UnixMillis(90_000), late: false });
    assert_eq!(began.elapsed(), INTERVAL + Duration::from_millis(800));
    assert_eq!(ticks.next().await.at, UnixMillis(120_000));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_years_ahead_and_back_goes_on() {
    let (clock, setter) = Clock::stepped(UnixMillis(60_000));
    let mut ticks = clock.aligned_ticks(INTERVAL);
    for step in [i64::MAX, i64::MIN, i64::MAX - 1, 0, -1, i64::MIN + 1, 1_767_225_600_000] {
        setter.set(UnixMillis(step));
        let began = Instant::now();
        ticks.next().await;
        assert!(began.elapsed() <= 2 * INTERVAL, "{step}");
    }
    assert_eq!(Clock::scaled(UnixMillis(i64::MAX), 1e300).real(INTERVAL), Duration::ZERO);
    assert_eq!(Clock::scaled(UnixMillis(0), 1e-300).real(INTERVAL), Duration::MAX);
    assert!(after(Instant::now(), Duration::MAX) > Instant::now());
}

/// A jump of the clock: from a millisecond to ten years, either way.
fn jump(random: &mut fastrand::Rng) -> i64 {
    let size = 10_i64.saturating_pow(random.u32(0..12)).saturating_mul(random.i64(1..10));
    if random.bool() { size } else { -size }
}

#[tokio::test(start_paused = true)]
async fn a_million_ticks_over_jumps_and_overruns_are_never_further_apart_than_two_intervals() {
    let mut random = fastrand::Rng::with_seed(2);
    for is_aligned in [true, false] {
        let (clock, setter) = Clock::stepped(UnixMillis(1_767_225_600_000));
        let mut ticks = if is_aligned { clock.aligned_ticks(INTERVAL) } else { clock.ticks(INTERVAL) };
        let mut last_at = ticks.next().await.at;
        for _ in 0..500_000 {
            let shown = clock.now();
            let dice = random.u32(..1_000);
            let overrun = if dice < 5 { INTERVAL * random.u32(1..5) } else { INTERVAL * random.u32(..20) / 20 };
            // Sleeping for most of them would be the test's slowest part.
            if dice < 30 {
                tokio::time::sleep(overrun).await;
            }
            let is_set = dice.is_multiple_of(50);
            if is_set {
                setter.set(UnixMillis(shown.0.saturating_add(jump(&mut random)).clamp(0, i64::MAX / 2)));
            }
            let waited_from = Instant::now();
            let tick = ticks.next().await;
            assert!(waited_from.elapsed() <= 2 * INTERVAL, "{:?}", waited_from.elapsed());
            if is_aligned {
                assert_eq!(tick.at.0 % 30_000, 0);
                // Its time is that of the clock, never ahead and never an interval behind.
                assert!((0..30_000).contains(&(clock.now().0 - tick.at.0)), "{tick:?} at {:?}", clock.now());
            } else {
                assert_eq!(tick.at, clock.now());
            }
            assert!(is_set || tick.at > last_at, "{tick:?} after {last_at:?}");
            last_at = tick.at;
        }
    }
}
