//! Causes over many rounds: they do not alternate.

use super::EXHAUSTED;
use crate::catalogue::FindingId as Id;
use crate::play::{Node, Play, error, named};

/// The names of the causes over the rounds, each change once.
fn course(rounds: usize, node: impl Fn(usize) -> Node) -> Vec<Id> {
    let mut play = Play::every(30);
    play.round(&[Node::new("n").pool(18.0, 18.0, 200).max_pods(200)]);
    let mut names: Vec<Id> = Vec::new();
    for round in 0..rounds {
        let conclusion = play.round(&[node(round)]);
        names.extend(named(&conclusion).into_iter().map(|(id, _)| id).filter(|id| id.facts().is_cause));
        names.dedup();
    }
    names
}

#[test]
fn calls_of_which_some_succeed_name_one_cause_and_do_not_alternate() {
    // Of three rounds, two have throttled calls and one gets an address: the error is always older than the growth, or newer.
    let node = |round: usize| {
        let held = 18.0 + (round / 3) as f64;
        let node = Node::new("n").pool(held, held, 200).max_pods(200).refusing(2.0);
        if round.is_multiple_of(3) {
            node
        } else {
            node.counting(error("AssignPrivateIpAddresses", "RequestLimitExceeded", 2.0))
        }
    };
    let names = course(60, node);
    assert_eq!(names, [Id::CauseUnknown, Id::Ec2Throttled]);
}

#[test]
fn a_page_without_refusals_does_not_name_another_cause() {
    // The subnet gives an address now and then; the pods that wait ask again a little later.
    let node = |round: usize| {
        let held = 18.0 + (round / 4) as f64;
        let node = Node::new("n").pool(held, held, 200).max_pods(200);
        match round % 4 {
            0 => node,
            1 => node.refusing(2.0),
            _ => node.refusing(2.0).counting(error("AssignPrivateIpAddresses", EXHAUSTED, 5.0)),
        }
    };
    let names = course(60, node);
    assert_eq!(names, [Id::CauseUnknown, Id::SubnetExhausted, Id::PoolGrowing, Id::SubnetExhausted]);
}
