//! What happens in which round of a long life. Everything repeats each [`PERIOD`] rounds, so that all that can ever be
//! needed at once was needed in the first half of a run, and what grows in the second half grows for no reason.

use serde_json::{Value, json};

/// Rounds after which the same begins again.
pub(crate) const PERIOD: u64 = 1_000;

/// Rounds of one cycle: growth, shrinkage, silence, faults, then quiet.
pub(crate) const CYCLE: u64 = 250;

/// From this round of a cycle on nothing is wrong any more.
const QUIET_FROM: u64 = 205;

/// Nodes that join and are lost again in each cycle.
const GROWTH: u32 = 20;

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
    let place = usize::try_from(draw % all.len() as u64).unwrap_or(0);
    all.into_iter().nth(place).unwrap_or_default()
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
    /// Everything was quiet for a while: what is held now is all that is held.
    Measure,
}

/// What happens before this round. The same round of any period has the same actions.
pub(crate) fn actions(round: u64) -> Vec<Action> {
    let (of_period, of_cycle) = (round % PERIOD, round % CYCLE);
    let mut actions = Vec::new();
    let group = json!({"group": "web"});
    match of_cycle {
        20 => actions.push(Action::Fault(json!({"target": group, "fault": {"join": {"count": GROWTH}}}), 1)),
        60 => actions.push(Action::Fault(json!({"fault": "refused"}), 4)),
        90 => actions.push(Action::Fault(json!({"fault": {"restart": {}}}), 2)),
        130 => {
            let lost = json!({"group": "web", "count": GROWTH});
            actions.push(Action::Fault(json!({"target": lost, "fault": {"node-loss": {"replace": false}}}), 1));
        }
        150 => actions.push(Action::Restart),
        QUIET_FROM => actions.push(Action::Calm),
        of_cycle if of_cycle == CYCLE - 1 => actions.push(Action::Measure),
        _ => {}
    }
    if of_period == 2 * CYCLE + 180 {
        actions.push(Action::Lapse);
    }
    let draw = mixed(of_period);
    if of_cycle < QUIET_FROM - 15 && draw % 100 < 10 {
        actions.push(Action::Fault(passing(draw >> 8), 1 + (draw >> 32) % 12));
    }
    actions
}

/// A number that looks drawn (splitmix64).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_period_is_the_same_and_has_every_kind_of_action() {
        let of = |from: u64| (from..from + PERIOD).flat_map(actions).collect::<Vec<_>>();
        let first = of(0);
        assert_eq!(first, of(7 * PERIOD));
        let count = |wanted: fn(&Action) -> bool| first.iter().filter(|action| wanted(action)).count();
        assert_eq!(count(|action| *action == Action::Restart), 4);
        assert_eq!(count(|action| *action == Action::Measure), 4);
        assert_eq!(count(|action| *action == Action::Lapse), 1);
        let text = format!("{first:?}");
        for kind in ["reset", "node-loss", "\"down\"", "access-denied", "join", "refused", "429", "deny"] {
            assert!(text.contains(kind), "{kind} never happens in a period");
        }
    }

    #[test]
    fn a_cycle_ends_in_quiet() {
        for round in 0..PERIOD {
            for action in actions(round) {
                if let Action::Fault(_, rounds) = action {
                    assert!(round % CYCLE + rounds <= QUIET_FROM, "round {round}");
                }
            }
        }
    }
}
