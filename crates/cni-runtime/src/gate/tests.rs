use super::*;

const ROUND: UnixMillis = UnixMillis(30_000);

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_lease_says_so() {
    let (channels, leadership) = Leadership::elected(true, Clock::wall(), Duration::from_secs(30));
    let until = Instant::now() + Duration::from_secs(10);
    channels.standing.send_modify(|standing| standing.leads_until = Some(until));
    let waiting = tokio::spawn({
        let leadership = leadership.clone();
        async move { leadership.admits(ROUND).await }
    });
    let mut claims = channels.claims.clone();
    claims.wait_for(|claims| claims.until() == Some(ROUND)).await.unwrap();
    assert!(!waiting.is_finished());
    channels.standing.send_modify(|standing| standing.confirmed = Some(ROUND));
    assert!(waiting.await.unwrap());
    leadership.settled(ROUND, false);
    assert_eq!(channels.claims.borrow().until(), None, "a round that was not accepted is not published");
    leadership.settled(ROUND, true);
    assert_eq!(channels.claims.borrow().until(), Some(ROUND));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_time_ran_out_sends_nothing() {
    let (hand, leadership) = Leadership::manual(false);
    assert!(!leadership.is_leading() && !leadership.admits(ROUND).await);
    hand.appoint(Some(Instant::now() + Duration::from_secs(10)));
    assert!(leadership.is_leading() && leadership.admits(ROUND).await);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(!leadership.is_leading() && !leadership.admits(ROUND).await);
    assert_eq!(hand.claimed(), None);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_not_confirmed_ends_with_the_leadership() {
    let (channels, leadership) = Leadership::elected(true, Clock::wall(), Duration::from_secs(30));
    let until = Instant::now() + Duration::from_secs(10);
    channels.standing.send_modify(|standing| standing.leads_until = Some(until));
    assert!(!leadership.admits(ROUND).await);
    assert_eq!(Instant::now(), until);
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_in_a_lapse_is_ours_or_is_left_out_as_the_lease_is_found() {
    let (channels, leadership) = Leadership::elected(false, Clock::wall(), Duration::from_secs(30));
    let at = |seconds: i64| UnixMillis(seconds * 1000);
    let mut seen = 0;
    leadership.measured_in_lapse(0, 2, at(60));
    leadership.measured_in_lapse(0, 3, at(90));
    assert_eq!(leadership.rounds_not_ours(&mut seen), []);
    // Found as it was left.
    leadership.lapse_is_over();
    channels.standing.send_modify(|standing| standing.tenure += 1);
    assert_eq!(leadership.rounds_not_ours(&mut seen), []);
    // Found in another's hands.
    leadership.measured_in_lapse(1, 4, at(120));
    leadership.measured_in_lapse(1, 5, at(150));
    assert!(!leadership.is_not_ours(4));
    channels.standing.send_modify(|standing| standing.tenure += 1);
    leadership.lapse_is_over();
    assert_eq!(leadership.rounds_not_ours(&mut seen), [Span { from: at(120), to: at(150) }]);
    assert_eq!(leadership.rounds_not_ours(&mut seen), [], "once, or a clock that is set back drops later rounds");
    assert_eq!([3, 4, 5, 6].map(|round| leadership.is_not_ours(round)), [false, true, true, false]);
    // A round that runs when the tenure ended belongs to the tenure of its baselines.
    leadership.measured_in_lapse(1, 6, at(180));
    assert!(leadership.is_not_ours(6));
    for round in 7..1000 {
        leadership.measured_in_lapse(leadership.tenure(), round, at(180));
        channels.standing.send_modify(|standing| standing.tenure += 1);
    }
    assert_eq!(leadership.rounds_not_ours(&mut 0).len(), LAPSES, "bounded");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_never_later_than_our_clock_and_an_interval() {
    let (clock, driver) = Clock::driven(UnixMillis(1_000_000), 1.0);
    let (channels, leadership) = Leadership::elected(true, clock, Duration::from_secs(30));
    leadership.settled(UnixMillis(1_000_000), true);
    driver.set(UnixMillis(400_000));
    leadership.settled(UnixMillis(400_000), true);
    assert_eq!(channels.claims.borrow().until(), Some(UnixMillis(430_000)));
    driver.set(UnixMillis(460_000));
    leadership.settled(UnixMillis(460_000), true);
    assert_eq!(channels.claims.borrow().until(), Some(UnixMillis(460_000)));
}

#[tokio::test(start_paused = true)]
async fn the_role_says_who_leads_or_why_no_replica_does() {
    let (channels, leadership) = Leadership::elected(false, Clock::wall(), Duration::from_secs(30));
    assert_eq!(leadership.role(), Role::NoLeader(None, None));
    channels.standing.send_modify(|standing| standing.other = Some(Arc::from("b")));
    assert_eq!(leadership.role(), Role::StandingBy(Arc::from("b")));
    channels.standing.send_modify(|standing| {
        standing.other = None;
        standing.trouble = Some((Some(ROUND), Arc::from("refused")));
    });
    assert_eq!(leadership.role(), Role::NoLeader(Some(ROUND), Some(Arc::from("refused"))));
    let until = Instant::now() + Duration::from_secs(10);
    channels.standing.send_modify(|standing| standing.leads_until = Some(until));
    assert_eq!(leadership.role(), Role::Leading);
}
