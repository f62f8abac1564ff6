//! What a scenario wants on the nodes of a group at a time.

use crate::scenario::{Scenario, Workload};
use std::f64::consts::TAU;

/// What a scenario wants on each node of a group: pods, and replacements a minute.
#[derive(Debug)]
pub(super) enum Demand {
    /// The same at any time.
    Steady(f64, f64),
    /// The sum of these entries.
    Varying(Vec<Workload>),
}

impl Demand {
    /// Of the group with this index.
    pub(super) fn new(scenario: &Scenario, group: usize) -> Self {
        let name = scenario.node_groups.get(group).map(|group| group.name.as_str());
        let is_ours = |entry: &&Workload| entry.group.as_ref().is_none_or(|at| Some(&*at.value) == name);
        let entries: Vec<_> = scenario.workload.iter().filter(is_ours).cloned().collect();
        if entries.iter().all(|entry| entry.diurnal.is_none() && entry.waves.is_none()) {
            let (pods, churn) = sum(&entries, 0);
            return Self::Steady(pods, churn);
        }
        Self::Varying(entries)
    }

    /// This long after the clock's start.
    pub(super) fn at(&self, since_start_ms: i64) -> (f64, f64) {
        match self {
            Self::Steady(pods, churn) => (*pods, *churn),
            Self::Varying(entries) => sum(entries, since_start_ms),
        }
    }
}

fn sum(entries: &[Workload], since_start_ms: i64) -> (f64, f64) {
    entries.iter().fold((0.0, 0.0), |(pods, churn), entry| {
        (pods + pods_of(entry, since_start_ms), churn + entry.churn_per_minute)
    })
}

fn pods_of(entry: &Workload, since_start_ms: i64) -> f64 {
    let mut pods = entry.pods_per_node;
    // While the cluster warms up nothing surges.
    let at = since_start_ms;
    if at < 0 {
        return pods;
    }
    if let Some(diurnal) = entry.diurnal {
        let phase = (at % diurnal.period.ms) as f64 / diurnal.period.ms as f64;
        pods += diurnal.extra * (1.0 - (TAU * phase).cos()) / 2.0;
    }
    if let Some(waves) = entry.waves.filter(|waves| at % waves.every.ms < waves.lasts.ms) {
        pods += waves.extra;
    }
    pods
}

#[cfg(test)]
mod tests {
    use super::super::whole::whole;
    use super::*;
    use crate::scenario::{Diurnal, Span, Waves};

    #[test]
    fn patterns_add_up_and_rest_while_warming_up() {
        let mut scenario = Scenario::calm(4);
        scenario.workload = vec![
            Workload {
                group: None,
                pods_per_node: 5.0,
                churn_per_minute: 1.0,
                diurnal: Some(Diurnal { extra: 10.0, period: Span::minutes(60) }),
                waves: None,
            },
            Workload {
                group: None,
                pods_per_node: 0.0,
                churn_per_minute: 0.5,
                diurnal: None,
                waves: Some(Waves { extra: 3.0, every: Span::minutes(20), lasts: Span::minutes(5) }),
            },
        ];
        let (minute, demand) = (60_000, Demand::new(&scenario, 0));
        assert_eq!(demand.at(-minute), (5.0, 1.5));
        assert_eq!(demand.at(0), (8.0, 1.5));
        assert_eq!(demand.at(30 * minute), (15.0, 1.5));
        assert_eq!(whole(demand.at(60 * minute + 1).0), 8);
        let calm = Demand::new(&Scenario::calm(4), 0);
        assert!(
            matches!(calm, Demand::Steady(..)) && calm.at(-minute) == (12.0, 0.2) && calm.at(minute) == (12.0, 0.2)
        );
    }
}
