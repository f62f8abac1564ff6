//! Histories of addresses that two ENIs have, and of what a restart restores.

use std::net::Ipv4Addr;

use ipamd_core::block::Block;
use ipamd_core::id::EniId;
use serde_json::json;

use super::Pair;
use super::histories::{PREFIXES, WARM_IP};
use crate::world::PRIMARY;

/// The pod of an address that was swept is not restored, though the address is there again.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_swept_address_leaves_the_checkpoint() {
    for variables in [&WARM_IP[..], &PREFIXES] {
        let mut pair = Pair::boot(variables, 1, 9);
        pair.pass(5_000);
        for pod in 0..2 {
            pair.add(pod);
            pair.pass(20_000);
        }
        let place = pair.world.core.pool().place_of(&0).unwrap();
        let (Block::Address(base) | Block::Prefix(base)) = place.block else { panic!("{place:?}") };
        let text = if matches!(place.block, Block::Prefix(_)) { format!("{base}/28") } else { base.to_string() };
        // EC2 does not say so either.
        pair.ask(&json!({"imds": {"hide": {PRIMARY.to_string(): [text]}}}));
        pair.world.imds_hidden = vec![(PRIMARY, base)];
        let held = json!({"eni": PRIMARY.to_string(), "cidr": if text.contains('/') { text.clone() } else { format!("{text}/32") }});
        pair.ask(&json!({"world": {"lose_cidr": held}}));
        let eni = pair.world.ec2.enis.get_mut(&PRIMARY).unwrap();
        let lost = (eni.ipv4.clone(), eni.ipv4_prefixes.clone());
        eni.ipv4.retain(|held| *held != base);
        eni.ipv4_prefixes.retain(|held| *held != base);
        pair.pass(130_000);
        assert_eq!(pair.world.core.pool().place_of(&0), None);
        pair.compare_checkpoints();
        pair.ask(&json!({"world": {"give_cidr": held}}));
        let eni = pair.world.ec2.enis.get_mut(&PRIMARY).unwrap();
        if lost.0.contains(&base) {
            eni.ipv4.push(base);
        } else {
            eni.ipv4_prefixes.push(base);
        }
        pair.ask(&json!({"imds": {"hide": {}}}));
        pair.world.imds_hidden.clear();
        pair.restart();
        pair.pass(20_000);
        assert_eq!(pair.world.core.pool().place_of(&0), None);
    }
}

/// Seven pods on two ENIs that have an address in common, which two of them have; answers the address and the second ENI.
fn give_twice(pair: &mut Pair) -> (Ipv4Addr, EniId) {
    for pod in 0..3 {
        pair.pass(5_000);
        pair.add(pod);
    }
    pair.pass(70_000);
    let twice = pair.world.ec2.enis[&PRIMARY].ipv4[0];
    let second = *pair.world.ec2.enis.keys().find(|id| **id != PRIMARY).unwrap();
    pair.give_address(second, twice);
    pair.pass(70_000);
    assert_eq!(pair.world.core.pool().total(), 7);
    for pod in 3..7 {
        pair.add(pod);
    }
    pair.pass(10_000);
    (twice, second)
}

/// Two pods have the same address of two ENIs; one goes, the address leaves one ENI, and later the other ENI goes.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_address_that_two_enis_have_is_given_twice() {
    let mut pair = Pair::boot(&[("MAX_ENI", "2")], 2, 4);
    let (twice, second) = give_twice(&mut pair);
    let has = |pair: &Pair, pod: &u64| pair.world.core.pool().place_of(pod).is_some_and(|place| place.address == twice);
    let owners: Vec<_> = (0..7).filter(|pod| has(&pair, pod)).collect();
    assert_eq!(owners.len(), 2);
    pair.del(owners[0]);
    pair.pass(40_000);
    pair.add(7);
    pair.pass(10_000);
    pair.lose_address(PRIMARY, twice);
    pair.pass(130_000);
    pair.lose_eni(second);
    pair.pass(130_000);
}

/// A pod whose address two ENIs have is restored on any of the two. Where two pods have it, the second may come upon the first's,
/// which ends the start.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_restart_restores_a_pod_on_any_eni_that_has_its_address() {
    let (mut ended, mut moved) = (0, 0);
    for _ in 0..8 {
        let mut pair = Pair::boot(&[("MAX_ENI", "2")], 2, 4);
        let (twice, _) = give_twice(&mut pair);
        let places = |pair: &Pair| {
            let pool = pair.world.core.pool();
            let has =
                |pod: &u64| pool.place_of(pod).filter(|place| place.address == twice).map(|place| (*pod, place.eni));
            (0..7).filter_map(|pod| has(&pod)).collect::<Vec<_>>()
        };
        let before = places(&pair);
        for _ in 0..6 {
            pair.restart();
            pair.pass(3_000);
            ended += u32::from(pair.ended);
        }
        // Only one pod has it from now on.
        while pair.ended {
            pair.restart();
            pair.pass(3_000);
        }
        moved += u32::from(places(&pair) != before);
        pair.del(before[0].0);
        for _ in 0..3 {
            let before = places(&pair);
            pair.restart();
            pair.pass(20_000);
            assert!(!pair.ended);
            moved += u32::from(places(&pair) != before);
        }
        pair.pass(130_000);
    }
    assert!(ended > 0 && moved > 0, "{ended} starts failed, {moved} restored pods elsewhere");
}
