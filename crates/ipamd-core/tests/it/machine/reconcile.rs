//! Comparing the store with the metadata service and EC2.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_core::block::Block;
use ipamd_core::id::EniId;
use ipamd_core::input::EniKind;
use ipamd_core::output::Ec2Call;

use crate::machine::{count, ipamd_errors, series};
use crate::world::{PRIMARY, SUBNET, World};

const DESCRIBE: Ec2Operation = Ec2Operation::DescribeNetworkInterfaces;
const COUNT: &str = "awscni_reconcile_count";
const NO_SEARCH: (&str, &str) = ("DISABLE_LEAKED_ENI_CLEANUP", "true");
const FOREIGN: EniId = EniId::from_bits(0x33);

#[test]
fn a_calm_node_is_compared_every_minute_without_ec2() {
    let mut world = World::serving(&[NO_SEARCH], 3, 10);
    world.run_ms(30_000);
    world.log.clear();
    world.run_ms(200_000);
    assert_eq!(world.log.len(), 0);
    assert_eq!(count(&world, COUNT, "eniDataStorePoolReconcileAdd"), 9 * 3);
}

#[test]
fn an_eni_that_was_met_is_tagged_and_set_up() {
    let mut world = World::serving(&[], 3, 10);
    let now_ms = world.now_ms;
    world.ec2.attach_foreign(FOREIGN, EniKind::Interface, 4, now_ms);
    world.run_ms(70_000);
    assert_eq!((world.core.metrics().eni_allocated, world.core.metrics().total), (2, 13));
    assert_eq!(count(&world, COUNT, "eniReconcileAdd"), 1);
    assert!(world.log.iter().any(|logged| matches!(&logged.call, Ec2Call::Tag { eni, .. } if *eni == FOREIGN)));
}

#[test]
fn tags_decide_which_enis_are_left_alone() {
    let no_manage = |value: &str| vec![("node.k8s.amazonaws.com/no_manage".into(), value.into())];
    let own = vec![("node.k8s.amazonaws.com/instance_id".into(), "i-0000000000000001a".into())];
    for (untagged, tags, managed) in [
        ("true", vec![], true),
        ("false", vec![], false),
        ("false", own, true),
        ("true", no_manage("true"), false),
        ("false", no_manage("no"), true),
    ] {
        let mut world = World::new(&[("MANAGE_UNTAGGED_ENI", untagged)], InstanceLimits::custom(3, 10));
        world.ec2.attach_foreign(FOREIGN, EniKind::Interface, 4, 0);
        world.ec2.enis.get_mut(&FOREIGN).unwrap().tags = tags;
        world.restart();
        world.run_ms(20_000);
        assert_eq!(world.core.pool().eni(FOREIGN).is_some(), managed, "{untagged}");
        assert_eq!(world.core.metrics().eni_max, 2 + i64::from(managed));
    }
}

#[test]
fn d11_a_mismatch_is_asked_once_and_a_verification_too() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "4"), NO_SEARCH], 3, 10);
    for key in 1..=4 {
        assert!(world.add(key).is_some());
        world.run_ms(6_000);
    }
    world.fail(Ec2Operation::UnassignPrivateIpAddresses, Ec2Code::InternalError, 1);
    for key in 1..=4 {
        world.begin_del(key);
    }
    world.run_ms(34_000);
    assert_eq!(world.core.metrics().total, 4);
    world.log.clear();
    // Four refused releases come back with one call.
    assert!(world.run_until(80_000, |world| world.core.metrics().total == 8));
    assert_eq!(world.calls(DESCRIBE), (1, 0));
}

#[test]
fn d12_a_released_address_that_came_back_is_swept() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "1"), ("ENABLE_POD_ENI", "true")], 3, 10);
    assert!(world.add_plain(1).is_some());
    world.run_ms(6_000);
    world.begin_del(1);
    let swept = |world: &World| count(world, COUNT, "eniIPPoolReconcileDel");
    world.run_ms(34_000);
    assert_eq!((world.core.metrics().total, swept(&world)), (1, 0));
    // Without a trunk a comparison runs every cycle: the address that EC2 lends again is one that was just released.
    world.ec2.subnets.get_mut(&SUBNET).unwrap().last = None;
    assert!(world.add_plain(2).is_some());
    world.run_ms(12_000);
    assert!(swept(&world) >= 1);
}

/// EC2 is asked about an address that came back more than a minute after its release, and decides.
#[test]
fn an_address_that_came_back_later_stays_if_ec2_names_it() {
    for named in [true, false] {
        let mut world = World::serving(&[("WARM_IP_TARGET", "1"), NO_SEARCH], 1, 10);
        assert!(world.add(1).is_some());
        world.run_ms(6_000);
        world.begin_del(1);
        world.run_ms(34_000);
        assert_eq!(world.core.metrics().total, 1);
        let before = world.ec2.enis[&PRIMARY].ipv4.clone();
        world.run_ms(70_000);
        world.log.clear();
        // The lowest free address of the subnet is the one that was released.
        world.ec2.subnets.get_mut(&SUBNET).unwrap().last = None;
        assert!(world.add(2).is_some());
        assert!(world.run_until(10_000, |world| world.core.metrics().total == 2));
        let back = *world.ec2.enis[&PRIMARY].ipv4.iter().find(|address| !before.contains(address)).unwrap();
        if !named {
            world.ec2.enis.get_mut(&PRIMARY).unwrap().ipv4.retain(|address| *address != back);
            world.imds_added = vec![(PRIMARY, back)];
        }
        world.run_ms(70_000);
        let stays = world.core.pool().eni(PRIMARY).unwrap().assigned_in(Block::Address(back)).is_some();
        assert_eq!((world.calls(DESCRIBE), stays), ((1, 0), named), "{named}");
        assert_eq!(count(&world, COUNT, "eniIPPoolReconcileDel"), u64::from(!named));
    }
}

#[test]
fn d13_an_efa_only_eni_that_is_attached_later_is_taken_for_an_ordinary_one() {
    let mut world = World::serving(&[], 3, 10);
    world.no_link = vec![FOREIGN];
    let now_ms = world.now_ms;
    world.ec2.attach_foreign(FOREIGN, EniKind::EfaOnly, 0, now_ms);
    world.run_ms(200_000);
    let errors = ipamd_errors(&world);
    let (label, failed) = errors.first().unwrap();
    assert!(label == "eniReconcileAdd" && *failed >= 2, "{errors:?}");
    assert_eq!((world.core.metrics().eni_max, world.core.metrics().eni_allocated), (3, 1));
    // One that was there at the start is known for what it is.
    world.restart();
    world.run_ms(70_000);
    assert_eq!((world.core.metrics().eni_max, ipamd_errors(&world)), (2, vec![]));
}

#[test]
fn d27_addresses_and_prefixes_are_compared_apart() {
    let pods = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1"), NO_SEARCH];
    let mut world = World::serving(&pods, 3, 10);
    world.run_ms(10_000);
    let primary = world.ec2.enis.get_mut(&PRIMARY).unwrap();
    primary.ipv4.push("10.0.99.99".parse().unwrap());
    primary.ipv4_prefixes.push("10.0.90.0".parse().unwrap());
    world.log.clear();
    // The call for the addresses fails, the one for the prefixes does not.
    world.fail(DESCRIBE, Ec2Code::InternalError, 1);
    assert!(world.run_until(70_000, |world| world.core.metrics().prefixes == 2));
    assert_eq!((world.calls(DESCRIBE), world.core.metrics().total), ((2, 1), 32));
}

#[test]
fn d40_an_eni_that_is_missing_once_loses_its_pods() {
    let mut world = World::serving(&[], 3, 4);
    for key in 1..=4 {
        assert!(world.add(key).is_some());
        world.run_ms(20_000);
    }
    let second = world.core.pool().enis()[1].id;
    world.run_ms(60_000);
    world.imds_hides = vec![second];
    world.run_ms(70_000);
    assert_eq!((world.core.metrics().force_removed_enis, world.core.metrics().force_removed_ips), (1, 1));
    assert_eq!((world.core.pool().owners().len(), count(&world, COUNT, "eniReconcileDel")), (3, 1));
    // It is written down, so that a restart does not restore it.
    assert_eq!(world.file.as_ref().unwrap().len(), 3);
    world.imds_hides.clear();
    world.run_ms(70_000);
    // It comes back with all its addresses free.
    assert_eq!(world.core.pool().eni(second).map(ipamd_core::store::PoolEni::assigned), Some(0));
}

#[test]
fn a_listing_that_fails_is_tried_every_cycle() {
    let mut world = World::serving(&[], 3, 10);
    world.run_ms(60_000);
    world.imds_down = true;
    world.run_ms(70_000);
    let errors = ipamd_errors(&world);
    let (label, failed) = errors.first().unwrap();
    assert!(label == "reconcileFailedGetENIs" && *failed >= 3, "{errors:?}");
    assert_eq!(world.core.pool().enis().len(), 1);
    assert!(series(&world, "awscni_ipamd_action_inprogress").contains(&("nodeIPPoolReconcile".to_owned(), 0)));
}

#[test]
fn d25_without_ec2_no_eni_has_tags_or_a_kind() {
    let pods = [("ENABLE_IMDS_ONLY_MODE", "true"), ("MANAGE_UNTAGGED_ENI", "false")];
    let mut world = World::new(&pods, InstanceLimits::custom(3, 10));
    world.ec2.attach_foreign(FOREIGN, EniKind::Trunk, 4, 0);
    world.restart();
    world.run_ms(20_000);
    assert_eq!(world.core.pool().eni(FOREIGN).map(|eni| eni.kind), Some(EniKind::Interface));
    assert_eq!(world.calls(DESCRIBE), (0, 0));
}
