//! What the project wants of itself, and whether this run shows it.

use serde::Serialize;

use crate::case::{Case, Figures, LOOK};
use crate::report::{Row, mib, short, table};

/// One aim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) aim: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

/// Judges the helper's own figures; what was not run is not judged.
pub(crate) fn judge(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (case, figures) in own(rows).filter(|(case, _)| is_proxy(case) && case.nodes == 100_000) {
        largest(case, figures, base_bytes(rows), &mut verdicts);
    }
    thousand(rows, &mut verdicts);
    for (case, figures) in own(rows).filter(|(case, _)| is_proxy(case) && is_small(case)) {
        let aim = format!("{}: at most 0.1 % of a core, 20 MiB", label(case));
        let measured =
            format!("{} % of a core, {} MiB", short(figures.cpu_cores * 100.0), mib(figures.steady_peak_bytes));
        let met = figures.cpu_cores <= 0.001 && figures.steady_peak_bytes <= 20 << 20;
        verdicts.push(Verdict { aim, measured, met });
    }
    evenness(rows, &mut verdicts);
    first_points(rows, &mut verdicts);
    failing(rows, &mut verdicts);
    verdicts
}

/// The verdicts as a table.
pub(crate) fn text(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let lines: Vec<Vec<String>> = verdicts
        .iter()
        .map(|verdict| {
            let met = if verdict.met { "met" } else { "**missed**" };
            vec![verdict.aim.clone(), verdict.measured.clone(), met.to_owned()]
        })
        .collect();
    table(&["aim", "measured", ""], &lines)
}

fn largest(case: &Case, figures: &Figures, base_bytes: Option<u64>, verdicts: &mut Vec<Verdict>) {
    verdicts.push(Verdict {
        aim: format!("{}: a round in 30 s on at most one core", label(case)),
        measured: format!("{} s, {} cores", short(figures.round_seconds), short(figures.cpu_cores_in_round)),
        met: figures.round_seconds <= 30.0 && figures.cpu_cores_in_round <= 1.0 && figures.delivered_share >= 0.999,
    });
    verdicts.push(Verdict {
        aim: format!("{}: at most 256 MiB", label(case)),
        measured: format!("peak {} MiB, settled {} MiB", mib(figures.peak_bytes), mib(figures.settled_bytes)),
        met: figures.peak_bytes <= 256 << 20,
    });
    if let Some(base_bytes) = base_bytes {
        let per_node = figures.list_resident_bytes.saturating_sub(base_bytes) as f64 / f64::from(case.nodes);
        verdicts.push(Verdict {
            aim: format!("{}: at most 1 KiB per node after the list", label(case)),
            measured: format!("{} B over a cluster of ten", short(per_node)),
            met: per_node <= 1024.0,
        });
    }
}

fn thousand(rows: &[Row], verdicts: &mut Vec<Verdict>) {
    let mut of_size = own(rows)
        .filter(|(case, _)| is_proxy(case) && (case.nodes, case.latency_ms) == (1_000, 10))
        .collect::<Vec<_>>();
    of_size.sort_by_key(|(case, _)| case.concurrency.is_some());
    let Some((case, figures)) = of_size.iter().find(|(case, _)| case.concurrency.is_none()) else { return };
    if let Some((_, one_by_one)) = of_size.iter().find(|(case, _)| case.concurrency == Some(1)) {
        let times = one_by_one.first_round_seconds / figures.round_seconds;
        verdicts.push(Verdict {
            aim: format!("{}: a round takes at most 1/50 of the time of sequential scrapes", label(case)),
            measured: format!(
                "{} s versus {} s: a {}th",
                short(figures.round_seconds),
                short(one_by_one.first_round_seconds),
                short(times)
            ),
            met: times >= 50.0,
        });
    }
    verdicts.push(Verdict {
        aim: format!("{}: at most 100 µs of CPU time per node", label(case)),
        measured: format!("{} µs", short(figures.cpu_us_per_node)),
        met: figures.cpu_us_per_node <= 100.0,
    });
}

/// The cost of a node must not depend on how many there are.
fn evenness(rows: &[Row], verdicts: &mut Vec<Verdict>) {
    let costs: Vec<(u32, f64)> = own(rows)
        .filter(|(case, _)| is_proxy(case) && case.nodes >= 100 && case.latency_ms == 10 && is_plain(case))
        .map(|(case, figures)| (case.nodes, figures.cpu_us_per_node))
        .collect();
    let smallest = costs.iter().map(|(nodes, _)| *nodes).min().unwrap_or_default();
    let biggest = costs.iter().map(|(nodes, _)| *nodes).max().unwrap_or_default();
    if smallest == biggest {
        return;
    }
    let low = costs.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
    let high = costs.iter().map(|(_, cost)| *cost).fold(0.0, f64::max);
    verdicts.push(Verdict {
        aim: format!("CPU time per node within 1.3 × from {smallest} to {biggest} nodes"),
        measured: format!("{} to {} µs: {} ×", short(low), short(high), short(high / low)),
        met: high / low <= 1.3,
    });
}

fn first_points(rows: &[Row], verdicts: &mut Vec<Verdict>) {
    let late = own(rows).filter(|(case, _)| is_plain(case)).filter_map(|(case, figures)| {
        let over = figures.start_to_first_point_seconds? - figures.first_round_seconds;
        Some((over, label(case), figures))
    });
    if let Some((over, label, figures)) = late.max_by(|one, other| one.0.total_cmp(&other.0)) {
        verdicts.push(Verdict {
            aim: "start to first published data point: at most 1 s and one round".to_owned(),
            measured: format!(
                "worst at {label}: {} s, of which the round took {} s",
                short(figures.start_to_first_point_seconds.unwrap_or_default()),
                short(figures.first_round_seconds)
            ),
            met: over <= 1.0,
        });
    }
}

fn failing(rows: &[Row], verdicts: &mut Vec<Verdict>) {
    for (case, figures) in own(rows).filter(|(_, figures)| !figures.faulty_round_seconds.is_empty()) {
        let worst = figures.faulty_round_seconds.iter().copied().fold(0.0, f64::max);
        verdicts.push(Verdict {
            aim: format!("{}: 5 % hung, 5 % refused: at most 5 s more per round, within 25 ms", label(case)),
            measured: format!("{} s more", short(worst - figures.round_seconds)),
            // Both rounds' ends are seen within one interval between observations.
            met: worst - figures.round_seconds <= 5.0 + LOOK.as_secs_f64(),
        });
    }
}

fn own(rows: &[Row]) -> impl Iterator<Item = (&Case, &Figures)> {
    rows.iter().filter_map(|row| Some((&row.case, &row.programs.first()?.1)))
}

/// What the smallest cluster leaves resident after its list.
fn base_bytes(rows: &[Row]) -> Option<u64> {
    own(rows).find(|(case, _)| is_proxy(case) && case.nodes == 10).map(|(_, figures)| figures.list_resident_bytes)
}

fn is_proxy(case: &Case) -> bool {
    case.via == "proxy" && case.https
}

fn is_small(case: &Case) -> bool {
    case.nodes == 100 && case.interval_seconds == 30 && case.faulty_rounds == 0
}

/// A case of the ordinary table.
fn is_plain(case: &Case) -> bool {
    case.concurrency.is_none() && case.faulty_rounds == 0 && !is_small(case)
}

fn label(case: &Case) -> String {
    format!("{} nodes, {} ms, {}", case.nodes, case.latency_ms, case.via)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(nodes: u32, interval_seconds: u64, figures: Figures) -> Row {
        let case = Case {
            nodes,
            latency_ms: 10,
            via: "proxy".to_owned(),
            https: true,
            interval_seconds,
            rounds: 2,
            concurrency: None,
            faulty_rounds: 0,
            scenario: None,
            insight: None,
        };
        Row { case, programs: vec![("helper".to_owned(), figures)] }
    }

    fn verdict<'a>(verdicts: &'a [Verdict], words: &str) -> &'a Verdict {
        verdicts.iter().find(|verdict| verdict.aim.contains(words)).unwrap()
    }

    #[test]
    fn every_aim_can_be_missed() {
        let cheap = Figures {
            round_seconds: 0.2,
            first_round_seconds: 0.2,
            cpu_us_per_node: 90.0,
            start_to_first_point_seconds: Some(1.1),
            ..Figures::default()
        };
        let mut one_by_one = row(1_000, 60, Figures { first_round_seconds: 11.0, ..Figures::default() });
        one_by_one.case.concurrency = Some(1);
        let rows = [row(1_000, 2, cheap.clone()), one_by_one.clone()];
        assert!(judge(&rows).iter().all(|verdict| verdict.met), "{:?}", judge(&rows));
        let dear = Figures {
            round_seconds: 0.4,
            cpu_us_per_node: 120.0,
            start_to_first_point_seconds: Some(4.0),
            faulty_round_seconds: vec![5.0, 6.0],
            ..cheap.clone()
        };
        let rows = [row(1_000, 2, dear), one_by_one, row(100, 2, cheap)];
        let verdicts = judge(&rows);
        assert!(verdicts.iter().all(|verdict| !verdict.met), "{verdicts:?}");
        assert_eq!(verdict(&verdicts, "1.3 ×").measured, "90.0 to 120 µs: 1.33 ×");
        assert_eq!(verdict(&verdicts, "5 % hung").measured, "5.60 s more");
    }

    #[test]
    fn the_largest_cluster_is_judged_by_time_cores_and_memory() {
        let large = |peak_mib: u64, list_mib: u64, delivered_share: f64| Figures {
            round_seconds: 20.0,
            cpu_cores_in_round: 0.5,
            delivered_share,
            peak_bytes: peak_mib << 20,
            list_resident_bytes: list_mib << 20,
            ..Figures::default()
        };
        let small = row(10, 2, Figures { list_resident_bytes: 10 << 20, ..Figures::default() });
        let good = judge(&[small.clone(), row(100_000, 30, large(200, 100, 1.0))]);
        assert!(verdict(&good, "30 s").met && verdict(&good, "256 MiB").met && verdict(&good, "1 KiB").met);
        let bad = judge(&[small, row(100_000, 30, large(300, 200, 0.9))]);
        assert!(!verdict(&bad, "30 s").met && !verdict(&bad, "256 MiB").met && !verdict(&bad, "1 KiB").met);
    }
}
