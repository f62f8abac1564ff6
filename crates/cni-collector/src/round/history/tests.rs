//! What is remembered of a node, and what follows from it.

use cni_metrics_core::model::UnixMillis;

use super::*;
use crate::scrape::Limiter;

fn pod(name: &str) -> Pod {
    Pod::running(name, name)
}

fn scraped(outcome: Result<Path, ScrapeError>, fallback: Option<Fallback>) -> Scraped {
    let path = outcome.as_ref().ok().copied();
    Scraped { outcome: outcome.map(|_| ()).map_err(Box::new), path, fallback, line_errors: None, is_waste: false }
}

/// The round of this number, 30 s after the one before.
fn at(number: u64) -> RoundTime {
    let at = UnixMillis(i64::try_from(number).unwrap() * 30_000);
    RoundTime { number, at, interval: std::time::Duration::from_secs(30) }
}

fn timeout() -> ScrapeError {
    ScrapeError::Timeout { after: std::time::Duration::from_secs(5), by_proxy: true }
}

#[test]
fn nodes_that_answer_are_asked_before_those_that_hang_and_those_take_turns() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    history.note(at(1), &pod("good"), true, &scraped(Ok(Path::Proxy), None), &mut report);
    for name in ["slow-1", "slow-2"] {
        history.note(at(1), &pod(name), true, &scraped(Err(timeout()), None), &mut report);
    }
    let order = |name: &str, round| history.order(&PodUid::new(name), round);
    assert!(order("good", 2) < order("new", 2) && order("new", 2) < order("slow-1", 2));
    let first = |round| order("slow-1", round) < order("slow-2", round);
    assert!((2..30).any(first) && !(2..30).all(first));
}

#[test]
fn a_fallback_is_probed_now_and_then_and_given_up_by_all_once_one_probe_gets_through() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    let names: Vec<String> = (0..40).map(|number| format!("node-{number}")).collect();
    for name in &names {
        let page = scraped(Ok(Path::Direct), Some(Fallback::Unreachable));
        history.note(at(1), &pod(name), true, &page, &mut report);
    }
    for round in 2..60 {
        let probes = names.iter().filter(|name| !history.takes_fallback(&PodUid::new(name.as_str()), round)).count();
        assert_eq!(probes, 2, "round {round}");
    }
    assert_eq!(history.blocked(), (40, 0));
    history.note(at(60), &pod("node-7"), true, &scraped(Ok(Path::Proxy), None), &mut report);
    assert!(names.iter().all(|name| !history.takes_fallback(&PodUid::new(name.as_str()), 61)));
    assert_eq!(history.blocked(), (39, 0));
}

#[test]
fn a_page_that_stays_large_and_useless_is_read_in_full_ever_more_rarely_down_to_one_of_640_rounds() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    let names: Vec<String> = (0..20).map(|number| format!("node-{number}")).collect();
    let error = || ScrapeError::TooLarge { limit_bytes: 8 << 20 };
    let mut full = vec![Vec::new(); 20];
    for round in 1..=4_000 {
        for (name, full) in names.iter().zip(&mut full) {
            let page_limit = history.page_limit(&PodUid::new(name.as_str()), round);
            full.extend(page_limit.is_none().then_some(round));
            let error = page_limit.map_or_else(error, |limit_bytes| ScrapeError::StillTooLarge { limit_bytes });
            history.note(at(round), &pod(name), true, &scraped(Err(error), None), &mut report);
        }
    }
    for rounds in &full {
        let gaps: Vec<u64> = rounds.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (10..=640).contains(gap)) && gaps.is_sorted(), "{rounds:?}");
        assert!((9..=18).contains(&rounds.len()), "{rounds:?}");
    }
    let together = (2..=4_000).map(|round| full.iter().filter(|rounds| rounds.contains(&round)).count()).max();
    assert!(together <= Some(4), "{full:?}");
    let uid = PodUid::new("node-7");
    assert_eq!(history.order(&uid, 4_001).0, 2);
    history.note(at(4_001), &pod("node-7"), true, &scraped(Ok(Path::Proxy), None), &mut report);
    assert!((4_002..4_700).all(|round| history.page_limit(&uid, round).is_none()));
}

#[test]
fn a_node_whose_connection_broke_is_known_until_its_next_answer() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    let uid = PodUid::new("a");
    assert!(!history.was_reset(&uid));
    history.note(at(1), &pod("a"), true, &scraped(Err(ScrapeError::Reset(String::new())), None), &mut report);
    assert!(history.was_reset(&uid));
    history.note(at(2), &pod("a"), true, &scraped(Ok(Path::Proxy), None), &mut report);
    assert!(!history.was_reset(&uid));
}

#[test]
fn only_a_nodes_own_failure_sends_it_to_the_back() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    let uid = PodUid::new("a");
    for error in [ScrapeError::Deadline, ScrapeError::Stopped, ScrapeError::Forbidden(String::new())] {
        history.note(at(1), &pod("a"), true, &scraped(Err(error), None), &mut report);
        assert!(history.order(&uid, 2).0 < 2);
    }
    let limited = ScrapeError::RateLimited { by: Limiter::Node, code: 429, message: String::new(), retry_after: None };
    history.note(at(2), &pod("a"), true, &scraped(Err(limited), None), &mut report);
    assert_eq!(history.order(&uid, 3).0, 2);
}

#[test]
fn a_pod_that_is_said_to_be_gone_twice_is_remembered() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    let uid = PodUid::new("a");
    assert!(!history.said_not_found(&uid));
    history.note(at(1), &pod("a"), true, &scraped(Err(ScrapeError::NotFound(String::new())), None), &mut report);
    assert!(history.said_not_found(&uid));
    let status = ScrapeError::BadStatus { code: 404, message: String::new() };
    history.note(at(2), &pod("a"), true, &scraped(Err(status), None), &mut report);
    assert!(history.said_not_found(&uid));
    history.note(at(3), &pod("a"), true, &scraped(Ok(Path::Proxy), None), &mut report);
    assert!(!history.said_not_found(&uid));
}

#[test]
fn a_blocked_node_that_fails_otherwise_is_still_blocked() {
    let (mut history, mut report) = (History::default(), Report::new(String::new()));
    history.note(at(1), &pod("a"), true, &scraped(Ok(Path::Direct), Some(Fallback::Unreachable)), &mut report);
    let refused = ScrapeError::Refused(String::new());
    history.note(at(2), &pod("a"), true, &scraped(Err(refused), None), &mut report);
    assert_eq!(history.blocked(), (1, 0));
    history.note(at(3), &pod("a"), true, &scraped(Ok(Path::Proxy), None), &mut report);
    assert_eq!(history.blocked(), (0, 0));
}
