//! A careful agent: what a pod uses is kept, whatever a single answer says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_core::Config;
use ipamd_core::id::EniId;
use ipamd_core::output::{Ec2Call, Reply};
use ipamd_core::settings::Settings;

use crate::world::World;

fn careful(variables: &[(&str, &str)], enis: u16, addresses: u16) -> World {
    let config = Config::careful(Settings::manifest_with(variables.iter().copied()));
    let mut world = World::with(config, InstanceLimits::custom(enis, addresses));
    world.veths = Some(BTreeMap::new());
    world.run_ms(20_000);
    assert!(world.ready_ms.is_some(), "{:?}", world.fatal);
    world
}

/// Two ENIs, and pods on both.
fn with_pods() -> World {
    let mut world = careful(&[], 3, 4);
    for key in 1..=5 {
        assert!(world.add(key).is_some());
        world.run_ms(20_000);
    }
    assert!(world.core.pool().enis().iter().filter(|eni| eni.assigned() > 0).count() >= 2);
    world
}

fn owners(world: &World) -> BTreeMap<u64, IpAddr> {
    world.core.pool().owners().iter().map(|(key, address)| (*key, *address)).collect()
}

/// Every pod keeps its address, no other gets it, and no ENI with pods is detached.
fn check_kept(world: &mut World, before: &BTreeMap<u64, IpAddr>) {
    for key in 100..103 {
        if let Some(address) = world.add(key) {
            assert!(!before.values().any(|known| *known == IpAddr::from(address)), "{address} is given out twice");
        }
    }
    let now = owners(world);
    let kept = before.iter().filter(|(key, address)| now.get(key) == Some(*address)).count();
    let written = world.core.checkpoint().filter(|entry| before.contains_key(&entry.key)).count();
    assert_eq!(written, before.len(), "kept {kept} of {before:?}");
    let detached =
        world.log.iter().filter(|logged| matches!(logged.call, Ec2Call::Detach { .. } | Ec2Call::Delete { .. }));
    assert_eq!(detached.count(), 0);
}

#[test]
fn a_calm_careful_node_grows_and_shrinks_like_any() {
    let mut world = careful(&[("WARM_IP_TARGET", "2")], 3, 5);
    for key in 1..=9 {
        assert!(world.add(key).is_some(), "{key}");
        world.run_ms(10_000);
    }
    for key in 1..=9 {
        assert!(matches!(world.del(key), Reply::Deleted { .. }));
    }
    world.run_ms(300_000);
    assert_eq!((world.core.metrics().total, world.core.metrics().eni_allocated), (2, 1));
}

#[test]
fn unknown_subnets_at_a_restart_cost_no_pod_its_address() {
    for times in [0, 6, 60, u32::MAX] {
        for code in [Ec2Code::UnauthorizedOperation, Ec2Code::RequestLimitExceeded, Ec2Code::NoAnswer] {
            let mut world = with_pods();
            let before = owners(&world);
            world.log.clear();
            world.fail(Ec2Operation::DescribeSubnets, code, times);
            world.restart();
            let begun_ms = world.now_ms;
            assert!(world.run_until(3_000, |world| world.ready_ms.is_some()));
            assert!(world.now_ms - begun_ms < 1_000);
            check_kept(&mut world, &before);
            world.run_ms(700_000);
            check_kept(&mut world, &before);
        }
    }
}

#[test]
fn each_action_may_be_denied_at_a_restart() {
    for op in Ec2Operation::ALL {
        let mut world = with_pods();
        let before = owners(&world);
        world.log.clear();
        world.fail(op, Ec2Code::UnauthorizedOperation, u32::MAX);
        world.restart();
        assert!(world.run_until(3_000, |world| world.ready_ms.is_some()), "{op:?}");
        check_kept(&mut world, &before);
        world.run_ms(300_000);
        assert_eq!(world.fatal, None, "{op:?}");
        check_kept(&mut world, &before);
    }
}

#[test]
fn addresses_that_the_metadata_service_does_not_show_yet_are_kept_for_their_pods() {
    let mut world = with_pods();
    let before = owners(&world);
    world.log.clear();
    // Each ENI is shown with its primary address only, for two minutes.
    world.imds_shows_at_most = Some(0);
    world.restart();
    assert!(world.run_until(3_000, |world| world.ready_ms.is_some()));
    check_kept(&mut world, &before);
    world.run_ms(120_000);
    world.imds_shows_at_most = None;
    world.run_ms(130_000);
    check_kept(&mut world, &before);
    assert!(before.iter().all(|(key, address)| owners(&world).get(key) == Some(address)));
}

#[test]
fn an_eni_that_is_missing_once_keeps_its_pods() {
    let mut world = with_pods();
    let before = owners(&world);
    world.log.clear();
    let second = world.core.pool().enis()[1].id;
    world.imds_hides = vec![second];
    world.run_ms(150_000);
    assert!(world.core.pool().eni(second).is_some_and(|eni| eni.excluded));
    check_kept(&mut world, &before);
    world.imds_hides.clear();
    world.run_ms(150_000);
    assert!(world.core.pool().eni(second).is_some_and(|eni| !eni.excluded));
    assert_eq!((world.core.metrics().force_removed_enis, world.core.metrics().force_removed_ips), (0, 0));
    check_kept(&mut world, &before);
}

#[test]
fn an_address_that_ec2_does_not_name_is_kept_while_its_pod_lives() {
    let mut world = with_pods();
    let before = owners(&world);
    world.log.clear();
    let IpAddr::V4(address) = before[&1] else { unreachable!("IPv4") };
    for eni in world.ec2.enis.values_mut() {
        eni.ipv4.retain(|held| *held != address);
    }
    world.run_ms(150_000);
    check_kept(&mut world, &before);
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    world.run_ms(150_000);
    assert!(
        !world
            .core
            .pool()
            .enis()
            .iter()
            .any(|eni| eni.assigned_in(ipamd_core::block::Block::Address(address)).is_some())
    );
}

#[test]
fn what_the_host_shows_is_given_to_no_one_until_it_is_gone() {
    let mut world = careful(&[], 1, 4);
    let free: Vec<_> = world.ec2.enis[&crate::world::PRIMARY].ipv4.clone();
    world.veths.as_mut().unwrap().insert(77, free[0].into());
    world.file = None;
    world.restart();
    world.run_ms(20_000);
    let given: Vec<_> = (1..=3).filter_map(|key| world.add(key)).collect();
    assert_eq!(given.len(), 2);
    assert!(!given.contains(&free[0]));
    // It is the first interface of the world's host.
    world.input(ipamd_core::Input::VethGone { name: "eni1".into(), ifindex: 1 });
    assert_eq!(world.add(4), None);
    world.run_ms(31_000);
    assert_eq!(world.add(5), Some(free[0]));
}

#[test]
fn an_assignment_without_an_answer_is_looked_at_before_it_is_repeated() {
    let mut world = careful(&[("WARM_IP_TARGET", "2")], 1, 9);
    world.log.clear();
    world.answers_lost = vec![Ec2Operation::AssignPrivateIpAddresses];
    assert!(world.add(1).is_some() && world.add(2).is_some());
    world.run_ms(400_000);
    world.answers_lost.clear();
    world.run_ms(30_000);
    let assigned = world.log.iter().filter(|logged| matches!(logged.call, Ec2Call::Assign { .. })).count();
    assert_eq!((assigned, world.ec2.enis[&crate::world::PRIMARY].ipv4.len()), (1, 4));
    assert_eq!(world.core.metrics().total, 4);
}

#[test]
fn an_eni_that_is_not_ours_gives_nothing_before_its_tags_are_known() {
    let mut world = careful(&[], 3, 4);
    let foreign = EniId::from_bits(0x44);
    let now_ms = world.now_ms;
    world.ec2.attach_foreign(foreign, ipamd_core::input::EniKind::Interface, 3, now_ms);
    let tags = vec![("node.k8s.amazonaws.com/no_manage".into(), "true".into())];
    world.ec2.enis.get_mut(&foreign).unwrap().tags = tags;
    world.fail(Ec2Operation::DescribeNetworkInterfaces, Ec2Code::InternalError, 30);
    world.restart();
    assert!(world.run_until(3_000, |world| world.ready_ms.is_some()));
    let given: Vec<_> = (1..=6).filter_map(|key| world.add(key)).collect();
    assert!(!given.is_empty() && !given.iter().any(|address| world.ec2.enis[&foreign].ipv4.contains(address)));
    world.run_ms(200_000);
    assert!(world.core.pool().eni(foreign).is_none());
}

#[test]
fn a_del_does_not_wait_for_a_full_disk() {
    let mut world = careful(&[], 1, 4);
    assert!(world.add(1).is_some());
    world.disk_full = true;
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    assert_eq!((world.add(2), world.file.as_ref().unwrap().len()), (None, 1));
    world.disk_full = false;
    world.run_ms(2_000);
    assert_eq!(world.file.as_ref().unwrap().len(), 0);
    assert!(world.add(2).is_some());
}
