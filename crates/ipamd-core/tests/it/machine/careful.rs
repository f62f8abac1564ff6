//! A careful agent: what a pod uses is kept, whatever a single answer says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::id::EniId;
use ipamd_core::input::{BranchEni, HostPod, KubeReply, PodName};
use ipamd_core::output::{Ec2Call, Reply};

use crate::world::World;

/// Two ENIs, and pods on both.
fn with_pods() -> World {
    let mut world = World::careful(&[], 3, 4);
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
    let mut world = World::careful(&[("WARM_IP_TARGET", "2")], 3, 5);
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
    let mut world = World::careful(&[], 1, 4);
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
    let mut world = World::careful(&[("WARM_IP_TARGET", "2")], 1, 9);
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
    let mut world = World::careful(&[], 3, 4);
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
    let mut world = World::careful(&[], 1, 4);
    assert!(world.add(1).is_some());
    world.disk_full = true;
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    assert_eq!((world.add(2), world.file.as_ref().unwrap().len()), (None, 1));
    world.disk_full = false;
    world.run_ms(2_000);
    assert_eq!(world.file.as_ref().unwrap().len(), 0);
    assert!(world.add(2).is_some());
}

/// Requests that wait are answered in their order.
fn answered_in_order(world: &World, rpcs: &[ipamd_core::id::RpcId]) -> Vec<bool> {
    rpcs.iter().map(|rpc| matches!(world.reply(*rpc), Reply::Added { .. })).collect()
}

#[test]
fn requests_wait_in_line_for_growth_that_begins_at_once() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "1")], 3, 5);
    let rpcs: Vec<_> = (1..=7).map(|key| world.begin_add(key)).collect();
    let begun_ms = world.now_ms;
    world.run_ms(10);
    assert_eq!((world.core.waits().waiting, world.core.metrics().no_available), (6, 0));
    // Nothing but the first has an address; the growth for the others has begun with them.
    assert!(world.run_until(30_000, |world| world.core.waits().waiting == 0));
    assert!(world.now_ms - begun_ms < 10_000, "{} ms", world.now_ms - begun_ms);
    world.run_ms(1_000);
    assert_eq!(answered_in_order(&world, &rpcs), [true; 7]);
    let waits = world.core.waits();
    assert_eq!((waits.begun, waits.served, waits.refused), (6, 6, 0));
}

#[test]
fn a_request_waits_for_a_rest_that_ends_before_growth_would() {
    let mut world =
        World::careful(&[("WARM_IP_TARGET", "0"), ("WARM_ENI_TARGET", "0"), ("IP_COOLDOWN_PERIOD", "5")], 1, 4);
    assert!((1..=3).all(|key| world.add(key).is_some()));
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    world.log.clear();
    let rpc = world.begin_add(9);
    world.run_ms(4_000);
    assert!(!world.replies.contains_key(&rpc));
    world.run_ms(1_200);
    assert!(matches!(world.reply(rpc), Reply::Added { .. }));
    // No address can come on a full node whose addresses do not rest.
    let refused = world.begin_add(10);
    assert!(matches!(world.reply(refused), Reply::AddRefused));
    assert_eq!((world.core.metrics().no_available, world.core.waits().refused), (1, 1));
}

#[test]
fn no_request_waits_longer_than_its_limit_or_its_callers() {
    for (limit_ms, most_ms) in [(None, 10_000), (Some(4_000), 3_000), (Some(i64::MAX), 10_000)] {
        let mut world = World::careful(&[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "1")], 1, 5);
        world.silent = vec![Ec2Operation::AssignPrivateIpAddresses];
        assert!(world.add(1).is_some());
        let rpc = world.begin_add_within(2, limit_ms);
        world.run_ms(most_ms - 100);
        assert!(!world.replies.contains_key(&rpc), "{limit_ms:?}");
        world.run_ms(200);
        assert!(matches!(world.reply(rpc), Reply::AddRefused), "{limit_ms:?}");
    }
}

#[test]
fn a_request_waits_longer_once_ec2_has_answered_growth() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "1")], 3, 2);
    assert!(world.add(1).is_some());
    // The new ENI is made, but the metadata service does not show it.
    world.imds_lag_ms = 600_000;
    let rpc = world.begin_add(2);
    world.run_ms(24_900);
    assert!(!world.replies.contains_key(&rpc));
    world.run_ms(200);
    assert!(matches!(world.reply(rpc), Reply::AddRefused));
}

#[test]
fn a_request_that_waits_ends_with_its_caller_or_its_pod() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "1")], 1, 5);
    world.fail(Ec2Operation::AssignPrivateIpAddresses, Ec2Code::InternalError, u32::MAX);
    assert!(world.add(1).is_some());
    let (gone, deleted, again) = (world.begin_add(2), world.begin_add(3), world.begin_add(3));
    assert_eq!(world.core.waits().waiting, 3);
    world.input(ipamd_core::Input::RpcGone { rpc: gone });
    assert!(matches!(world.del(3), Reply::UnknownPod));
    assert!(matches!((world.reply(deleted), world.reply(again)), (Reply::AddRefused, Reply::AddRefused)));
    assert!(!world.replies.contains_key(&gone));
    let waits = world.core.waits();
    assert_eq!((waits.waiting, waits.gone, waits.deleted, world.core.open_rpcs()), (0, 1, 2, 0));
}

#[test]
fn addresses_are_given_in_the_order_of_their_rest_and_their_connections_forgotten() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "6"), ("IP_COOLDOWN_PERIOD", "0")], 1, 9);
    let first: Vec<_> = (1..=3).filter_map(|key| world.add(key)).collect();
    for key in [2, 1, 3] {
        assert!(matches!(world.del(key), Reply::Deleted { .. }));
    }
    world.run_ms(25_000);
    // What was never used comes first, then what rested longest.
    let later: Vec<_> = (4..=9).filter_map(|key| world.add(key)).collect();
    assert_eq!((later.len(), &later[3..]), (6, &[first[1], first[0], first[2]][..]));
    let given: Vec<_> = first.iter().chain(&later).copied().map(IpAddr::from).collect();
    assert_eq!(world.forgotten, given);
}

#[test]
fn a_start_warns_of_addresses_that_rest_shorter_than_the_host_tracks_connections() {
    use ipamd_core::output::Warning;
    let warned = |cooldown| World::careful(&[("IP_COOLDOWN_PERIOD", cooldown)], 1, 4).warnings;
    assert_eq!(warned("30"), [Warning::ShortCooldown { cooldown_s: 30, timeout_s: 120 }]);
    assert_eq!(warned("120"), []);
    assert_eq!(World::serving(&[], 1, 4).warnings, [], "the original says nothing");
}

/// An interface of the host, by index, name and address.
fn link(ifindex: u32, key: u64, address: std::net::Ipv4Addr) -> HostPod {
    let pod = PodName { namespace: "".into(), name: format!("pod-{key}").into() };
    HostPod { name: format!("eni{}", ipamd_core::veth_suffix(&pod)).into(), ifindex, routes: vec![address.into()] }
}

#[test]
fn an_allocation_without_an_interface_of_its_name_is_freed_after_a_minute() {
    let mut world = World::careful(&[], 1, 9);
    // The second sandbox has the first one's name, the third has none of an interface; the fourth's route is not there yet.
    let given: Vec<_> = (1_001..=1_004).filter_map(|key| world.add(key)).collect();
    let late = HostPod { routes: Vec::new(), ..link(14, 1_004, given[3]) };
    world.links = Some(vec![link(11, 1_001, given[0]), late.clone()]);
    world.input(ipamd_core::Input::Bound { key: 1_002, ifindex: 12 });
    world.run_ms(58_000);
    assert_eq!(owners(&world).len(), 4);
    world.run_ms(4_000);
    assert_eq!(owners(&world).into_keys().collect::<Vec<_>>(), [1_001, 1_002, 1_004]);
    assert_eq!(world.core.links(), (2, 1));
    // Its route comes, and then its interface goes: by its index, whatever the name.
    world.links = Some(vec![HostPod { routes: vec![given[3].into()], ..late }]);
    world.run_ms(62_000);
    assert_eq!(world.core.links(), (3, 1));
    world.input(ipamd_core::Input::VethGone { name: "eni0".into(), ifindex: 14 });
    world.input(ipamd_core::Input::VethGone { name: "eni0".into(), ifindex: 12 });
    world.input(ipamd_core::Input::VethGone { name: "eni0".into(), ifindex: 99 });
    world.run_ms(2_000);
    assert_eq!(owners(&world).into_keys().collect::<Vec<_>>(), [1_001]);
    assert_eq!(world.file.as_ref().unwrap().len(), 1);
}

#[test]
fn a_pod_that_was_told_its_address_a_moment_before_a_restart_keeps_it() {
    let mut world = World::careful(&[], 1, 9);
    let given = world.add(1_001).unwrap();
    world.links = Some(vec![link(7, 1_009, "192.0.2.1".parse().unwrap())]);
    world.restart();
    world.run_ms(30_000);
    assert_eq!(owners(&world).get(&1_001), Some(&IpAddr::from(given)));
    world.run_ms(40_000);
    assert_eq!(owners(&world).len(), 0);
}

/// A webhook has put a container before the one that claims a branch ENI, and the pod got the node's security groups.
#[test]
fn any_container_or_the_annotation_makes_a_pod_one_with_a_branch_eni() {
    let branch = BranchEni {
        eni: EniId::from_bits(0xb1),
        mac: ipamd_core::id::Mac::default(),
        ipv4: Some([10, 0, 9, 9].into()),
        ipv6: None,
        vlan: 3,
        gateway: None,
    };
    let claims = [(vec![true], None), (vec![false, true], None), (vec![false], Some(branch)), (vec![], None)];
    for (wants_branch, branch) in claims {
        let mut world = World::careful(&[("ENABLE_POD_ENI", "true")], 3, 4);
        let plain = wants_branch.is_empty();
        world.pods.insert("pod-1001".into(), KubeReply::Pod { uid: "uid".into(), branch, wants_branch });
        let rpc = world.begin_add(1_001);
        world.run_ms(200);
        // There is no trunk, so that a pod with a claim is refused, and has no address of the node's.
        assert_eq!(matches!(world.reply(rpc), Reply::Added { .. }), plain);
        assert_eq!(owners(&world).contains_key(&1_001), plain);
    }
}

fn operations(world: &World) -> Vec<Ec2Operation> {
    world.log.iter().map(|logged| logged.call.operation()).collect()
}

#[test]
fn growth_of_several_enis_goes_on_at_the_same_time() {
    let mut world = World::careful(&[("WARM_ENI_TARGET", "1")], 5, 4);
    world.log.clear();
    let begun_ms = world.now_ms;
    let rpcs: Vec<_> = (1..=14).map(|key| world.begin_add(key)).collect();
    assert!(world.run_until(25_000, |world| rpcs.iter().all(|rpc| world.replies.contains_key(rpc))));
    assert_eq!(answered_in_order(&world, &rpcs), [true; 14]);
    assert!(world.now_ms - begun_ms < 10_000, "{} ms", world.now_ms - begun_ms);
    // Three ENIs are under way before the first is attached, each with a device number of its own.
    let calls = operations(&world);
    let attach = calls.iter().position(|op| *op == Ec2Operation::AttachNetworkInterface).unwrap();
    assert_eq!(calls[..attach].iter().filter(|op| **op == Ec2Operation::CreateNetworkInterface).count(), 3);
    assert!(world.log.iter().all(|logged| logged.code.is_none()), "{:?}", world.log);
}

#[test]
fn a_subnet_that_lacks_addresses_is_asked_by_one_at_a_time() {
    let mut world = World::careful(&[("WARM_ENI_TARGET", "3"), ("ENABLE_SUBNET_DISCOVERY", "false")], 5, 4);
    world.run_ms(60_000);
    world.fail(Ec2Operation::CreateNetworkInterface, Ec2Code::InsufficientFreeAddressesInSubnet, u32::MAX);
    world.log.clear();
    (1..=3).for_each(|key| assert!(world.add(key).is_some()));
    world.run_ms(10 * 60_000);
    let created = |world: &World| -> Vec<i64> {
        let creates = world.log.iter().filter(|logged| matches!(logged.call, Ec2Call::CreateEni { .. }));
        creates.map(|logged| logged.at_ms).collect()
    };
    let asked = created(&world);
    assert!((3..=6).contains(&asked.len()), "{asked:?}");
    // Two minutes lie between, but for what had begun together before the first answer.
    assert!(asked.windows(2).skip(2).all(|pair| pair[1] - pair[0] > 120_000), "{asked:?}");
    world.faults.clear();
    world.run_ms(5 * 60_000);
    assert_eq!(world.core.metrics().eni_allocated, 4);
}

#[test]
fn an_eni_of_another_vpc_or_zone_is_left_alone() {
    use ipamd_core::id::VpcId;
    for (vpc, zone, used) in [
        (Some(VpcId::from_bits(0x77)), Some("eu-west-1a"), true),
        (None, None, true),
        (Some(VpcId::from_bits(0x99)), None, false),
        (None, Some("eu-west-1b"), false),
    ] {
        let mut world = World::careful(&[], 4, 4);
        let (foreign, now_ms) = (EniId::from_bits(0x44), world.now_ms);
        world.ec2.attach_foreign(foreign, ipamd_core::input::EniKind::Interface, 3, now_ms);
        let eni = world.ec2.enis.get_mut(&foreign).unwrap();
        (eni.vpc, eni.zone) = (vpc, zone.map(Box::from));
        world.run_ms(200_000);
        assert_eq!(world.core.pool().eni(foreign).is_some(), used, "{vpc:?} {zone:?}");
        world.restart();
        world.run_ms(60_000);
        assert_eq!(world.core.pool().eni(foreign).is_some(), used, "{vpc:?} {zone:?}");
    }
}

#[test]
fn what_somebody_else_assigned_is_not_given_back() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "1")], 4, 9);
    let (foreign, now_ms) = (EniId::from_bits(0x44), world.now_ms);
    world.ec2.attach_foreign(foreign, ipamd_core::input::EniKind::Interface, 3, now_ms);
    let theirs = world.ec2.enis[&foreign].ipv4.clone();
    world.run_ms(200_000);
    assert!(world.core.pool().eni(foreign).is_some());
    // Pods fill both ENIs and end: what was assigned for them goes, what was there stays.
    let pods: Vec<_> = (1..=14).filter(|key| world.add(*key).is_some()).collect();
    assert_eq!(pods.len(), 14);
    world.run_ms(30_000);
    assert!(world.ec2.enis[&foreign].ipv4.len() > theirs.len());
    for key in pods {
        assert!(matches!(world.del(key), Reply::Deleted { .. }));
    }
    world.run_ms(600_000);
    assert_eq!(world.ec2.enis[&foreign].ipv4, theirs);
    let calls = operations(&world);
    assert!(!calls.contains(&Ec2Operation::DetachNetworkInterface), "{calls:?}");
}

/// A life with pods on two ENIs ends; the metadata service and EC2 are silent from then on.
fn cut_off() -> (World, BTreeMap<u64, IpAddr>) {
    let mut world = with_pods();
    world.run_ms(60_000);
    let before = owners(&world);
    world.imds_down = true;
    world.silent = Ec2Operation::ALL.to_vec();
    world.log.clear();
    (world, before)
}

#[test]
fn a_start_that_trusts_the_second_file_serves_before_anything_has_answered() {
    let (mut world, before) = cut_off();
    let held = world.core.pool().enis().len();
    let begun_ms = world.now_ms;
    world.restart();
    world.run_ms(50);
    // Only disk and host were asked.
    assert!(world.ready_ms.is_some_and(|ready_ms| ready_ms - begun_ms < 50), "{:?}", world.ready_ms);
    assert_eq!((owners(&world), world.core.pool().enis().len()), (before.clone(), held));
    // A pod of each ENI is replaced; its address rests, and the next has another one.
    world.run_ms(40_000);
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    let given = world.add(50).map(IpAddr::from);
    assert!(given.is_some() && !before.values().any(|address| Some(*address) == given));
    // The services are back: the rest of the start follows, and no pod is harmed.
    (world.imds_down, world.silent) = (false, Vec::new());
    world.run_ms(400_000);
    assert!(before.iter().skip(1).all(|(key, address)| owners(&world).get(key) == Some(address)));
    assert!((60..70).all(|key| world.add(key).is_some() || owners(&world).len() >= 9));
    assert!(world.core.bad_inputs().all(|(name, _)| !name.starts_with("second_file")));
}

#[test]
fn a_second_file_that_is_not_this_hosts_is_named_and_the_start_waits() {
    use ipamd_core::input::StoreError;
    type Spoil = fn(&mut World);
    let spoils: [(&str, Spoil); 6] = [
        ("second_file_foreign", |world| world.boot_id = "boot-2"),
        ("second_file_foreign", |world| world.no_link = vec![world.core.pool().enis()[1].id]),
        ("second_file_version", |world| world.second.as_mut().unwrap().version = 2),
        ("second_file_version", |world| world.second_error = Some(StoreError::Version)),
        ("second_file_damaged", |world| world.second_error = Some(StoreError::Malformed("end of file".into()))),
        ("second_file_damaged", |world| {
            let enis = &mut world.second.as_mut().unwrap().enis;
            enis[1].id = enis[0].id;
        }),
    ];
    for (name, spoil) in spoils {
        let (mut world, before) = cut_off();
        spoil(&mut world);
        world.restart();
        world.run_ms(30_000);
        assert_eq!(world.ready_ms, None, "{name}");
        assert_eq!(world.core.bad_inputs().collect::<Vec<_>>(), [(name, 1)]);
        (world.imds_down, world.silent) = (false, Vec::new());
        world.no_link.clear();
        world.run_ms(30_000);
        assert!(world.ready_ms.is_some() && owners(&world) == before, "{name}");
        assert_eq!(world.second.as_ref().unwrap().boot_id.as_ref(), world.boot_id, "it is written anew");
    }
}

#[test]
fn addresses_rest_across_a_restart() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "0"), ("WARM_ENI_TARGET", "0")], 1, 4);
    assert!((1..=3).all(|key| world.add(key).is_some()));
    assert!(matches!(world.del(2), Reply::Deleted { .. }));
    world.run_ms(10_000);
    world.restart();
    world.run_ms(1_000);
    let rpc = world.begin_add(9);
    world.run_ms(15_000);
    assert!(!world.replies.contains_key(&rpc) || matches!(world.reply(rpc), Reply::AddRefused));
    world.run_ms(5_000);
    // Half a minute after its release, however long the agent has run.
    let rpc = world.begin_add(10);
    world.run_ms(200);
    assert!(matches!(world.reply(rpc), Reply::Added { .. }));
}

#[test]
fn no_change_of_an_eni_begins_that_is_not_written_down() {
    use ipamd_core::input::Intent;
    let mut world = World::careful(&[("WARM_ENI_TARGET", "1")], 3, 4);
    world.run_ms(60_000);
    world.log.clear();
    assert!(world.add(1).is_some());
    world.disk_full = true;
    world.run_ms(60_000);
    assert!(!operations(&world).contains(&Ec2Operation::CreateNetworkInterface));
    world.disk_full = false;
    world.silent = vec![Ec2Operation::CreateNetworkInterface];
    world.run_ms(90_000);
    assert!(operations(&world).contains(&Ec2Operation::CreateNetworkInterface));
    let intents = &world.second.as_ref().unwrap().intents;
    assert!(matches!(intents[..], [Intent::Create { .. }]), "{intents:?}");
}

/// The life ends at a moment of growth or release; the next finds what was begun.
#[test]
fn what_a_life_had_begun_is_ended_by_the_next() {
    for stop_at in [
        Ec2Operation::CreateNetworkInterface,
        Ec2Operation::DescribeInstances,
        Ec2Operation::AttachNetworkInterface,
        Ec2Operation::ModifyNetworkInterfaceAttribute,
        Ec2Operation::DetachNetworkInterface,
        Ec2Operation::DeleteNetworkInterface,
    ] {
        let mut world = World::careful(&[("WARM_IP_TARGET", "1")], 3, 4);
        world.answers_lost = vec![stop_at];
        world.log.clear();
        let keys: Vec<u64> = (1..=6).collect();
        for key in &keys {
            world.begin_add(*key);
        }
        world.run_ms(60_000);
        for key in &keys {
            world.begin_del(*key);
        }
        assert!(world.run_until(300_000, |world| operations(world).contains(&stop_at)), "{stop_at:?}");
        assert!(!world.second.as_ref().unwrap().intents.is_empty(), "{stop_at:?}");
        world.answers_lost.clear();
        world.restart();
        world.run_ms(300_000);
        assert_eq!(world.second.as_ref().unwrap().intents, [], "{stop_at:?}");
        let loose = world.ec2.enis.values().filter(|eni| eni.attachment.is_none()).count();
        assert_eq!(loose, 0, "{stop_at:?}: an ENI is left behind");
        assert_eq!(world.ec2.attached().count(), world.core.pool().enis().len(), "{stop_at:?}");
    }
}

#[test]
fn reads_share_one_pause_after_throttling_and_growth_for_a_request_goes_first() {
    let mut world = World::careful(&[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "1")], 2, 9);
    world.run_ms(60_000);
    world.log.clear();
    // A foreign ENI makes each comparison describe all ENIs; each description is throttled.
    let now_ms = world.now_ms;
    world.ec2.attach_foreign(EniId::from_bits(0x44), ipamd_core::input::EniKind::Interface, 3, now_ms);
    world.fail(Ec2Operation::DescribeNetworkInterfaces, Ec2Code::RequestLimitExceeded, u32::MAX);
    world.run_ms(600_000);
    let reads = world.calls(Ec2Operation::DescribeNetworkInterfaces).0;
    assert!((10..=40).contains(&reads), "{reads} reads in ten minutes");
    assert!(world.add(1).is_some());
    let begun_ms = world.now_ms;
    let rpc = world.begin_add(2);
    assert!(world.run_until(2_000, |world| world.replies.contains_key(&rpc)));
    assert!(matches!(world.reply(rpc), Reply::Added { .. }), "{} ms", world.now_ms - begun_ms);
    world.faults.clear();
    world.run_ms(200_000);
    assert_eq!(world.core.pool().enis().len(), 2);
}

#[test]
fn subnets_are_read_once_in_ten_minutes_over_restarts_too() {
    let mut world = World::careful(&[("WARM_ENI_TARGET", "2")], 4, 4);
    world.run_ms(60_000);
    assert_eq!(world.core.pool().enis().len(), 2);
    assert_eq!(world.calls(Ec2Operation::DescribeSubnets).0, 1);
    for _ in 0..3 {
        world.restart();
        world.run_ms(60_000);
    }
    assert_eq!(world.calls(Ec2Operation::DescribeSubnets).0, 1);
    world.run_ms(600_000);
    world.restart();
    world.run_ms(60_000);
    assert_eq!(world.calls(Ec2Operation::DescribeSubnets).0, 2);
}

#[test]
fn a_checkpoint_that_is_newer_than_the_second_file_wins() {
    let mut world =
        World::careful(&[("WARM_IP_TARGET", "0"), ("WARM_ENI_TARGET", "0"), ("IP_COOLDOWN_PERIOD", "1")], 1, 2);
    assert!(world.add(1).is_some());
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    world.run_ms(5_000);
    assert_eq!(world.second.as_ref().unwrap().left.len(), 1);
    // The address is given out again, and the file still says that it rests.
    let before = world.second.clone();
    let given = world.add(2).unwrap();
    world.second = before;
    world.restart();
    world.run_ms(1_000);
    assert_eq!((world.fatal.as_deref(), owners(&world).get(&2)), (None, Some(&IpAddr::from(given))));
}

#[test]
fn reads_of_a_start_wait_for_their_time_unless_a_request_does() {
    let first_read_ms = |asks: bool| {
        let mut world = World::careful(&[("WARM_IP_TARGET", "0"), ("WARM_ENI_TARGET", "0")], 2, 2);
        assert!(world.add(1).is_some());
        world.log.clear();
        let begun_ms = world.now_ms;
        world.restart();
        world.run_ms(100);
        if asks {
            world.begin_add(2);
        }
        world.run_ms(15_000);
        let describes = |logged: &&crate::world::Logged| matches!(logged.call, Ec2Call::DescribeEnis { .. });
        world.log.iter().find(describes).map(|logged| logged.at_ms - begun_ms)
    };
    let (alone, asked) = (first_read_ms(false).unwrap(), first_read_ms(true).unwrap());
    assert!((1_000..11_000).contains(&alone), "{alone}");
    assert!(asked < 500, "{asked}");
}
