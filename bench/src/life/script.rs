//! What happens in which round of a long life. Everything repeats each [`PERIOD`] rounds, so that all that can ever be
//! needed at once was needed in the first half of a run, and what grows in the second half grows for no reason.

use cni_types::random::Random;
use serde_json::{Value, json};

/// Rounds after which the same begins again: five cycles, a long silence, a long time of few nodes, and one more cycle.
pub(crate) const PERIOD: u64 = 2_500;

/// Rounds of one cycle: growth, shrinkage, silence, faults, then quiet.
const CYCLE: u64 = 250;

/// From this round of a period on all nodes but two say nothing, for 480 rounds.
const SILENCE: u64 = 1_250;

/// From this round of a period on there are [`FEW`] nodes, until the next.
const SMALL: u64 = 1_750;

/// From this round of a period on there are as many nodes as in the beginning.
const LAST_CYCLE: u64 = 2_250;

/// Nodes by group, and how many of them leave while there are few: eight are left.
const FEW: [(&str, u32); 2] = [("jobs", 20), ("web", 12)];

/// In this round of a cycle [`GROWTH`] nodes are lost.
const LOSS: u64 = 130;

/// From this round of a cycle on nothing is wrong any more.
const QUIET_FROM: u64 = 205;

/// Nodes that join and are lost again in each cycle.
const GROWTH: u32 = 20;

/// A lost node is in the list for three rounds, and each of them waits for it until the scrape times out. Only one cycle of a
/// period has all three. In the others this number of intervals passes without a round after the first of them.
const UNWATCHED: u64 = 2;

/// The most rounds in which nodes are out of reach of the API server: half of a scrape's time passes in each of the first.
const UNREACHABLE: u64 = 3;

/// Faults that pass, drawn at random: targets and kinds as the control listener takes them.
fn passing(draw: u64) -> Value {
    let all = [
        json!({"target": {"fraction": 0.5}, "fault": "reset"}),
        json!({"target": {"fraction": 0.5}, "fault": "refused"}),
        json!({"target": {"count": 6}, "fault": {"unreachable": {"via": "proxy"}}}),
        json!({"target": {"count": 4}, "fault": "garbage"}),
        json!({"target": {"count": 4}, "fault": "html"}),
        json!({"target": {"count": 4}, "fault": "empty"}),
        json!({"target": {"count": 4}, "fault": "truncated"}),
        json!({"target": {"fraction": 0.3}, "fault": {"page-status": {"code": 503}}}),
        json!({"target": {"fraction": 0.1}, "fault": {"page-status": {"code": 429, "retry_after_s": 1}}}),
        json!({"target": {"fraction": 0.4}, "fault": {"restart": {}}}),
        json!({"target": {"count": 2}, "fault": "lose-eni"}),
        json!({"target": {"count": 2}, "fault": {"node-loss": {"replace": true}}}),
        json!({"fault": {"api-server": {"kind": "down"}}}),
        json!({"fault": {"api-server": {"kind": "status", "code": 429, "retry_after_s": 1, "share": 0.3}}}),
        json!({"fault": {"api-server": {"kind": "status", "code": 500, "share": 0.3}}}),
        json!({"fault": {"api-server": {"kind": "deny", "verb": "get", "resource": "pods/proxy"}}}),
        json!({"fault": {"cloudwatch": {"kind": "down"}}}),
        json!({"fault": {"cloudwatch": {"kind": "throttle", "share": 0.5}}}),
        json!({"fault": {"cloudwatch": {"kind": "server-error", "share": 0.5}}}),
        json!({"fault": {"cloudwatch": {"kind": "access-denied"}}}),
    ];
    let paths = usize::try_from(draw % all.len() as u64).unwrap_or(0);
    all.into_iter().nth(paths).unwrap_or_default()
}

/// One thing that happens before a round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// A fault begins and holds for this many rounds.
    Fault(Value, u64),
    /// The helper is stopped as Kubernetes stops it, and another one started in its place.
    Restart,
    /// The API server is away for longer than the lease lasts.
    Lapse,
    /// All faults end.
    Calm,
    /// This number of intervals passes without a round, before the one that leads to the next.
    Pass(u64),
    /// Everything was quiet for a while: what is held now is all that is held.
    Measure,
}

/// What happens before this round. The same round of any period has the same actions, but that helpers are restarted only
/// where `restarts` says so: what adds up in one of them over a period must be seen as well.
pub(crate) fn actions(round: u64, restarts: bool) -> Vec<Action> {
    let of_period = round % PERIOD;
    let few =
        |change: fn(&str, u32) -> Value| FEW.iter().map(|(group, n)| Action::Fault(change(group, *n), 1)).collect();
    if of_period == SILENCE {
        vec![Action::Fault(json!({"target": {"fraction": 0.95}, "fault": "refused"}), 480)]
    } else if of_period == SMALL {
        few(lost)
    } else if of_period == LAST_CYCLE {
        few(joined)
    } else if (SILENCE..LAST_CYCLE).contains(&of_period) {
        Vec::new()
    } else {
        cycle(of_period, restarts)
    }
}

/// What happens in a round of a cycle.
fn cycle(of_period: u64, restarts: bool) -> Vec<Action> {
    let of_cycle = of_period % CYCLE;
    let mut actions = Vec::new();
    match of_cycle {
        20 => actions.push(Action::Fault(joined("web", GROWTH), 1)),
        60 => actions.push(Action::Fault(json!({"fault": "refused"}), 4)),
        90 => actions.push(Action::Fault(json!({"fault": {"restart": {}}}), 2)),
        of_cycle if of_cycle == LOSS + 1 && of_period > CYCLE => actions.push(Action::Pass(UNWATCHED)),
        110 => {
            let slow = json!({"slow-page": {"bytes_per_second": 10_000_000, "first_byte_after": "20ms"}});
            actions.push(Action::Fault(json!({"target": {"fraction": 0.7}, "fault": slow}), 3));
        }
        LOSS => actions.push(Action::Fault(lost("web", GROWTH), 1)),
        150 if restarts => actions.push(Action::Restart),
        QUIET_FROM => actions.push(Action::Calm),
        of_cycle if of_cycle == CYCLE - 1 => actions.push(Action::Measure),
        _ => {}
    }
    if of_period == 2 * CYCLE + 180 {
        actions.push(Action::Lapse);
    }
    let at_random = |of_period: u64| drawn(of_period).filter(|_| of_period % CYCLE < QUIET_FROM - 15);
    if of_period.checked_sub(1).and_then(at_random).is_some_and(|(fault, _)| kind(&fault) == "node-loss") {
        actions.push(Action::Pass(UNWATCHED));
    }
    if let Some((fault, rounds)) = at_random(of_period) {
        let rounds = if kind(&fault) == "unreachable" { rounds.min(UNREACHABLE) } else { rounds };
        actions.push(Action::Fault(fault, rounds));
    }
    actions
}

/// The fault that begins at random in this round of a period, and for how many rounds it holds.
fn drawn(of_period: u64) -> Option<(Value, u64)> {
    let draw = Random::new(0).skip(of_period).bits();
    (draw % 100 < 10).then(|| (passing(draw >> 8), 1 + (draw >> 32) % 12))
}

/// What a fault is called; with its own kind for one of a service.
pub(super) fn kind(spec: &Value) -> String {
    let name = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Object(fields) => fields.keys().next().cloned(),
        _ => None,
    };
    let fault = spec.get("fault");
    let of_service = ["api-server", "cloudwatch"].into_iter().find_map(|service| {
        let kind = fault?.get(service)?.get("kind")?.as_str()?;
        Some(format!("{service} {kind}"))
    });
    of_service.or_else(|| name(fault?)).unwrap_or_default()
}

fn joined(group: &str, count: u32) -> Value {
    json!({"target": {"group": group}, "fault": {"join": {"count": count}}})
}

fn lost(group: &str, count: u32) -> Value {
    json!({"target": {"group": group, "count": count}, "fault": {"node-loss": {"replace": false}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_period_is_the_same_and_has_every_kind_of_action() {
        let of = |from: u64, restarts: bool| {
            (from..from + PERIOD).flat_map(|round| actions(round, restarts)).collect::<Vec<_>>()
        };
        let first = of(0, true);
        assert_eq!(first, of(7 * PERIOD, true));
        let count = |wanted: fn(&Action) -> bool| first.iter().filter(|action| wanted(action)).count();
        assert_eq!(count(|action| *action == Action::Restart), 6);
        assert_eq!(count(|action| *action == Action::Measure), 6);
        assert_eq!(count(|action| *action == Action::Lapse), 1);
        assert!(!of(0, false).contains(&Action::Restart));
        let nodes_lost =
            first.iter().filter(|action| matches!(action, Action::Fault(spec, _) if kind(spec) == "node-loss"));
        let (losses, passes) = (nodes_lost.count(), count(|action| matches!(action, Action::Pass(_))));
        assert!(
            losses - passes >= 3 && passes >= 10,
            "{losses} losses, of which {passes} are watched in one round only"
        );
        let text = format!("{first:?}");
        for kind in ["reset", "node-loss", "\"down\"", "access-denied", "join", "refused", "429", "deny"] {
            assert!(text.contains(kind), "{kind} never happens in a period");
        }
    }

    #[test]
    fn a_cycle_ends_in_quiet() {
        for round in (0..SILENCE).chain(LAST_CYCLE..PERIOD) {
            for action in actions(round, true) {
                if let Action::Fault(_, rounds) = action {
                    assert!(round % CYCLE + rounds <= QUIET_FROM, "round {round}");
                }
            }
        }
    }
}
