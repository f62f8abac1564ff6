//! Which cases are run.

use crate::case::Case;

/// A hung node costs a whole scrape's time limit, which must fit into a round's.
const FAULTY_INTERVAL_SECONDS: u64 = 15;

/// Files a program needs besides its connections.
const OTHER_FILES: u64 = 300;

/// Connections that the helper has at most, however many nodes there are; another program may keep one to each node.
const HELPERS_CONNECTIONS: u64 = 1_500;

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) nodes: Vec<u32>,
    pub(crate) latencies_ms: Vec<u32>,
    pub(crate) ways: Vec<String>,
    pub(crate) https: bool,
    pub(crate) interval_seconds: Option<u64>,
    pub(crate) rounds: Option<u32>,
    /// The ordinary cases and nothing else.
    pub(crate) plain: bool,
    /// How many files a process may have open.
    pub(crate) files: u64,
    /// Another program is measured, too.
    pub(crate) peer: bool,
}

/// The cases in the order in which they run, and what had to be left out.
pub(crate) fn plan(wanted: &Wanted) -> (Vec<Case>, Vec<String>) {
    let mut cases = Vec::new();
    let mut left_out = Vec::new();
    for way in &wanted.ways {
        for nodes in &wanted.nodes {
            let connections = if wanted.peer { u64::from(*nodes) } else { u64::from(*nodes).min(HELPERS_CONNECTIONS) };
            let files = connections + OTHER_FILES;
            if way == "direct" && files > wanted.files {
                left_out.push(format!(
                    "{nodes} nodes directly: that takes {files} open files a process, and {} are allowed here",
                    wanted.files
                ));
                continue;
            }
            cases.extend(wanted.latencies_ms.iter().map(|latency_ms| ordinary(wanted, *nodes, *latency_ms, way)));
        }
    }
    if !wanted.plain && wanted.ways.iter().any(|way| way == "proxy") {
        special(wanted, &mut cases);
    }
    (cases, left_out)
}

/// Small rounds are many, so that what is measured is more than the clock's grain; large ones few, for they take long.
fn ordinary(wanted: &Wanted, nodes: u32, latency_ms: u32, via: &str) -> Case {
    let (interval_seconds, rounds) = match nodes {
        0..=1_000 => (3, 6),
        1_001..=20_000 => (15, 3),
        _ => (30, 2),
    };
    Case {
        nodes,
        latency_ms,
        via: via.to_owned(),
        https: wanted.https,
        interval_seconds: wanted.interval_seconds.unwrap_or(interval_seconds),
        rounds: wanted.rounds.unwrap_or(rounds),
        concurrency: None,
        faulty_rounds: 0,
        scenario: None,
        insight: None,
    }
}

/// One node after the other, the cost of waiting, and failing nodes.
fn special(wanted: &Wanted, cases: &mut Vec<Case>) {
    let slowest_ms = wanted.latencies_ms.iter().copied().max().unwrap_or(10);
    let base = |nodes: u32| ordinary(wanted, nodes, slowest_ms, "proxy");
    if wanted.nodes.contains(&1_000) {
        cases.push(Case { interval_seconds: 60, rounds: 0, concurrency: Some(1), ..base(1_000) });
    }
    if wanted.nodes.contains(&100) {
        cases.push(Case { interval_seconds: 30, rounds: 3, ..base(100) });
    }
    for nodes in wanted.nodes.iter().filter(|nodes| (100..=20_000).contains(*nodes)) {
        let interval_seconds = FAULTY_INTERVAL_SECONDS;
        cases.push(Case { interval_seconds, rounds: 1, faulty_rounds: 2, ..base(*nodes) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(nodes: &[u32]) -> Wanted {
        Wanted {
            nodes: nodes.to_vec(),
            latencies_ms: vec![2, 10],
            ways: vec!["proxy".to_owned(), "direct".to_owned()],
            https: true,
            interval_seconds: None,
            rounds: None,
            plain: false,
            files: 20_000,
            peer: true,
        }
    }

    #[test]
    fn what_has_no_room_is_left_out_and_said() {
        let (cases, left_out) = plan(&wanted(&[10, 100_000]));
        let direct: Vec<u32> = cases.iter().filter(|case| case.via == "direct").map(|case| case.nodes).collect();
        assert_eq!(direct, [10, 10]);
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].contains("100300 open files"), "{left_out:?}");
        let (alone, _) = plan(&Wanted { peer: false, ..wanted(&[100_000]) });
        assert_eq!(alone.iter().filter(|case| case.via == "direct").count(), 2);
        // Neither is a size at which hung nodes, the waiting or one after the other are judged.
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn special_cases_come_with_their_sizes() {
        let (cases, _) = plan(&wanted(&[100, 1_000]));
        assert!(cases.iter().any(|case| case.concurrency == Some(1) && case.nodes == 1_000));
        assert!(cases.iter().any(|case| case.nodes == 100 && case.interval_seconds == 30 && case.faulty_rounds == 0));
        let faulty: Vec<_> = cases.iter().filter(|case| case.faulty_rounds > 0).collect();
        assert_eq!(faulty.len(), 2);
        // A scrape's five seconds fit into a round's share of the interval.
        assert!(faulty.iter().all(|case| case.interval_seconds * 8 / 10 > 5));
        let (plain, _) = plan(&Wanted { plain: true, ..wanted(&[100, 1_000]) });
        assert_eq!(plain.len(), 8);
    }
}
