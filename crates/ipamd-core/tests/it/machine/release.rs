//! Shrinking, and giving ENIs up.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::output::Ec2Call;

use crate::machine::{ipamd_errors, request_errors, requests, series, utils_errors};
use crate::world::World;

const UNASSIGN: Ec2Operation = Ec2Operation::UnassignPrivateIpAddresses;
const DETACH: Ec2Operation = Ec2Operation::DetachNetworkInterface;
const DELETE: Ec2Operation = Ec2Operation::DeleteNetworkInterface;

/// A node with two ENIs of which one is not needed any more.
fn node_with_a_spare_eni() -> World {
    let mut world = World::serving(&[], 3, 10);
    assert!(world.add(1).is_some());
    world.run_ms(30_000);
    assert_eq!(world.core.metrics().eni_allocated, 2);
    world.log.clear();
    world.begin_del(1);
    world
}

#[test]
fn addresses_over_the_target_are_given_back_every_half_minute() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "1")], 3, 10);
    for key in 1..=6 {
        assert!(world.add(key).is_some());
        world.run_ms(6_000);
    }
    for key in 1..=6 {
        world.begin_del(key);
    }
    world.log.clear();
    world.run_ms(40_000);
    assert_eq!((world.core.metrics().total, world.calls(UNASSIGN)), (1, (1, 0)));
    assert!(series(&world, "awscni_ipamd_action_inprogress").contains(&("decreaseDatastorePool".to_owned(), 0)));
}

#[test]
fn d02_a_release_on_a_vanished_eni_fails_and_what_was_lost_is_not_skipped() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "3")], 3, 10);
    for key in 1..=3 {
        assert!(world.add(key).is_some());
        world.run_ms(6_000);
    }
    let primary = world.ec2.enis.get_mut(&crate::world::PRIMARY).unwrap();
    primary.ipv4.pop();
    let held = primary.ipv4.len();
    for key in 1..=3 {
        world.begin_del(key);
    }
    world.log.clear();
    world.run_ms(40_000);
    assert_eq!(world.calls(UNASSIGN), (1, 1));
    assert_eq!(request_errors(&world, "UnassignPrivateIpAddresses"), 1);
    assert_eq!(world.ec2.enis[&crate::world::PRIMARY].ipv4.len(), held);
}

#[test]
fn an_eni_that_no_target_needs_is_freed_after_a_minute() {
    let mut world = node_with_a_spare_eni();
    world.run_ms(90_000);
    let calls: Vec<_> = world.log.iter().map(|logged| logged.call.operation()).collect();
    assert_eq!(calls[..3], [Ec2Operation::DescribeNetworkInterfaces, DETACH, DELETE]);
    assert!(world.log[2].at_ms - world.log[1].at_ms >= 2_000);
    assert_eq!((world.core.metrics().eni_allocated, world.ec2.enis.len()), (1, 1));
    assert_eq!(ipamd_errors(&world), []);
}

#[test]
fn d10_a_release_counts_from_the_end_of_its_cycle() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "1")], 3, 5);
    for key in 1..=5 {
        assert!(world.add(key).is_some());
        world.run_ms(20_000);
    }
    // Without a pod, an address is one too many.
    let exact = [("WARM_IP_TARGET", "0"), ("MINIMUM_IP_TARGET", "1"), ("IP_COOLDOWN_PERIOD", "0")];
    world.config.settings = ipamd_core::settings::Settings::manifest_with(exact);
    world.restart();
    world.run_ms(120_000);
    assert_eq!((world.core.metrics().eni_allocated, world.core.metrics().total), (2, 5));
    // The cycle releases the address of the only pod on the second ENI and gives the ENI up, which takes minutes. Meanwhile more
    // pods go.
    world.log.clear();
    world.fail(DETACH, Ec2Code::InternalError, 9);
    world.begin_del(5);
    assert!(world.run_until(60_000, |world| world.calls(DETACH).0 > 0));
    world.begin_del(4);
    world.begin_del(3);
    assert!(world.run_until(600_000, |world| world.calls(DELETE).0 > 0));
    world.run_ms(120_000);
    let of = |operation| world.log.iter().filter(move |logged| logged.call.operation() == operation);
    let released: Vec<_> = of(UNASSIGN).map(|logged| logged.at_ms).collect();
    let (detached, deleted) = (of(DETACH).next().unwrap().at_ms, of(DELETE).next_back().unwrap().at_ms);
    let [first, second] = released[..] else { panic!("released at {released:?}") };
    assert!(first <= detached && deleted - first > 2 * 30_000, "one long cycle: {first}, {detached} to {deleted}");
    assert!(second > deleted + 30_000, "the next release is 30 s after the end: {deleted}, {second}");
}

#[test]
fn d22_an_eni_that_is_gone_is_free_and_one_without_attachment_is_tried_twelve_times() {
    let mut world = node_with_a_spare_eni();
    let spare = world.core.pool().enis()[1].id;
    let eni = world.ec2.enis.remove(&spare).unwrap();
    // The metadata service still lists it.
    world.stale = vec![eni];
    world.run_ms(66_000);
    assert_eq!((world.calls(DETACH), ipamd_errors(&world)), ((0, 0), vec![]));

    let mut world = node_with_a_spare_eni();
    let spare = world.core.pool().enis()[1].id;
    let mut eni = world.ec2.enis.get(&spare).cloned().unwrap();
    world.stale = vec![eni.clone()];
    eni.attachment = None;
    world.ec2.enis.insert(spare, eni);
    world.run_ms(340_000);
    assert_eq!(requests(&world, "DetachNetworkInterface"), 12);
    assert_eq!(request_errors(&world, "DetachNetworkInterface"), 12);
    assert!(ipamd_errors(&world).contains(&("decreaseIPPoolFreeENIFailed".to_owned(), 1)));
    let coded = series(&world, "awscni_aws_api_error_count");
    assert!(coded.iter().all(|(labels, _)| !labels.starts_with("DetachNetworkInterface")));
}

#[test]
fn a_refused_detach_brings_the_eni_back_and_a_refused_delete_leaks_it() {
    let mut world = node_with_a_spare_eni();
    world.fail(DETACH, Ec2Code::InternalError, 12);
    world.run_ms(600_000);
    assert!(series(&world, "awscni_reconcile_count").contains(&("eniReconcileAdd".to_owned(), 1)));
    let mut world = node_with_a_spare_eni();
    world.fail(DELETE, Ec2Code::InternalError, 12);
    world.run_ms(500_000);
    assert!(ipamd_errors(&world).contains(&("decreaseIPPoolFreeENIFailed".to_owned(), 1)));
    assert_eq!(utils_errors(&world).len(), 1);
    assert_eq!((world.core.metrics().eni_allocated, world.ec2.enis.len()), (1, 2));
    // The hourly search finds it.
    world.run_ms(4_000_000);
    assert_eq!(world.ec2.enis.len(), 1);
}

#[test]
fn d21_the_clean_up_of_the_other_mode_is_not_remembered() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "4")], 3, 10);
    let pods = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
    world.config.settings = ipamd_core::settings::Settings::manifest_with(pods);
    world.fail(UNASSIGN, Ec2Code::InternalError, 1);
    world.restart();
    world.run_ms(10_000);
    assert_eq!(world.core.metrics().total, 16);
    world.run_ms(70_000);
    // EC2 kept the four addresses, and the first comparison takes them back at once.
    assert_eq!(world.core.metrics().total, 20);
    assert!(world.log.iter().any(|logged| matches!(&logged.call, Ec2Call::Unassign { ipv4, .. } if ipv4.len() == 4)));
}
