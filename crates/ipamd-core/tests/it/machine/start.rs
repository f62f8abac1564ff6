//! From the start to the open page.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_core::Phase;
use ipamd_core::id::EniId;
use ipamd_core::input::EniKind;
use ipamd_core::output::Ec2Call;

use crate::machine::{api_errors, count, requests, series};
use crate::world::{PRIMARY, World};

fn operations(world: &World) -> Vec<&'static str> {
    world.log.iter().map(|logged| logged.call.operation().name()).collect()
}

#[test]
fn a_start_that_fails_is_under_way_no_more() {
    let mut world = World::serving(&[], 3, 10);
    assert!(world.add(1).is_some() && world.add(2).is_some());
    // Two pods have one address.
    let file = world.file.as_mut().unwrap();
    file[1].ipv4 = file[0].ipv4;
    world.restart();
    world.run_ms(20_000);
    assert!(world.fatal.as_deref().is_some_and(|reason| reason.contains("the address is in use")), "{:?}", world.fatal);
    assert_eq!(series(&world, "awscni_ipamd_action_inprogress"), [("nodeInit".to_owned(), 0)]);
}

#[test]
fn a_fresh_node_calls_what_the_original_calls_in_its_order() {
    let world = World::serving(&[], 3, 10);
    let start = [
        "DescribeNetworkInterfaces",
        "CreateTags",
        "DescribeSubnets",
        "ModifyNetworkInterfaceAttribute",
        "AssignPrivateIpAddresses",
    ];
    assert_eq!(operations(&world)[..5], start);
    let metrics = world.core.metrics();
    assert_eq!((metrics.eni_max, metrics.ip_max, metrics.connmark), (3, 27, [0, 1]));
    assert_eq!((metrics.total, metrics.eni_allocated, metrics.assigned), (9, 1, 0));
}

#[test]
fn a_pool_grows_to_its_target_by_one_eni_a_cycle() {
    let mut world = World::serving(&[("WARM_ENI_TARGET", "2")], 3, 10);
    world.run_ms(60_000);
    let metrics = world.core.metrics();
    assert_eq!((metrics.total, metrics.eni_allocated), (18, 2));
    let grown: Vec<_> = operations(&world)[5..].to_vec();
    let growth = [
        "DescribeSubnets",
        "CreateNetworkInterface",
        "DescribeInstances",
        "AttachNetworkInterface",
        "ModifyNetworkInterfaceAttribute",
        "DescribeSubnets",
    ];
    assert_eq!(grown, growth);
}

#[test]
fn prefixes_come_where_prefix_delegation_is_on() {
    let world = World::serving(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")], 3, 10);
    let metrics = world.core.metrics();
    assert_eq!((metrics.total, metrics.prefixes, metrics.ip_max), (16, 1, 9 * 16 * 3));
}

#[test]
fn each_fatal_failure_ends_the_process_with_its_reason() {
    for (op, words) in [
        (Ec2Operation::DescribeNetworkInterfaces, "described"),
        (Ec2Operation::CreateTags, "tagged"),
        (Ec2Operation::AssignPrivateIpAddresses, "grow"),
    ] {
        let mut world = World::new(&[], InstanceLimits::custom(3, 10));
        world.fail(op, Ec2Code::UnauthorizedOperation, u32::MAX);
        world.run_ms(600_000);
        let reason = world.fatal.clone().unwrap();
        assert!(reason.contains(words) && reason.contains("UnauthorizedOperation"), "{reason}");
        assert_eq!(world.core.phase(), &Phase::Ended(reason));
        assert_eq!(world.core.deadline(), None);
    }
}

#[test]
fn an_unreachable_metadata_service_ends_the_process() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.imds_down = true;
    world.restart();
    world.run_ms(30_000);
    assert!(world.fatal.is_some_and(|reason| reason.contains("identity")));
}

#[test]
fn settings_that_contradict_each_other_end_the_process() {
    let mut world = World::new(&[("ENABLE_IPv6", "true")], InstanceLimits::custom(3, 10));
    world.run_ms(30_000);
    assert!(world.fatal.is_some_and(|reason| reason.contains("ENABLE_IPv4")));
}

#[test]
fn an_unlisted_type_is_looked_up_and_counted_without_latency() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.limits.listed = false;
    world.restart();
    world.run_ms(30_000);
    assert_eq!(world.calls(Ec2Operation::DescribeInstanceTypes), (1, 0));
    assert_eq!(requests(&world, "DescribeInstanceTypes"), 1);
    let timed = series(&world, "awscni_aws_api_latency_ms_count");
    assert!(timed.iter().all(|(labels, _)| !labels.contains("DescribeInstanceTypes")));
}

#[test]
fn d07_security_groups_for_pods_are_announced_before_the_page_opens() {
    let mut world = World::new(&[("ENABLE_POD_ENI", "true")], InstanceLimits::custom(3, 10));
    world.cni_node = Err(ipamd_core::input::KubeError::NotFound);
    world.restart();
    world.run_ms(2_000);
    assert!(world.ready_ms.is_some());
    let errors = |world: &World| count(world, "awscni_pod_eni_error_count", "tryEnableSecurityGroupsForPods");
    assert_eq!(errors(&world), 1);
    world.run_ms(10_000);
    assert!(errors(&world) >= 2);
}

#[test]
fn d16_without_the_api_server_the_list_of_the_image_says_how_many_pods() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.api_server = false;
    world.restart();
    world.run_ms(30_000);
    assert_eq!(world.core.targets().max_pods, 29);
    world.api_server = true;
    let node = world.node.clone().unwrap();
    world.input(ipamd_core::Input::NodeSeen(node));
    assert_eq!(world.core.targets().max_pods, 110);
}

#[test]
fn d16_a_type_that_no_list_knows_takes_the_default() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    (world.api_server, world.limits.listed) = (false, false);
    world.restart();
    world.run_ms(30_000);
    assert_eq!(world.core.targets().max_pods, 110);
}

#[test]
fn d23_an_eni_that_ec2_does_not_know_is_left_out() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.ec2.attach_foreign(EniId::from_bits(0x22), EniKind::Interface, 3, 0);
    let gone = world.ec2.enis.remove(&EniId::from_bits(0x22)).unwrap();
    world.stale = vec![gone];
    world.restart();
    world.run_ms(30_000);
    assert!(world.ready_ms.is_some(), "{:?}", world.fatal);
    assert_eq!(world.core.pool().enis().iter().map(|eni| eni.id).collect::<Vec<_>>(), [PRIMARY]);
    assert_eq!(api_errors(&world, "IMDSMetaDataOutOfSync,InvalidNetworkInterfaceID.NotFound"), 1);
}

#[test]
fn d23_a_silent_call_is_given_up_after_two_minutes() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.chaos.lost = 0;
    world.silent = vec![Ec2Operation::DescribeNetworkInterfaces];
    world.restart();
    let begun_ms = world.now_ms;
    while world.fatal.is_none() && world.now_ms < begun_ms + 600_000 {
        world.run_ms(100);
    }
    let took_ms = world.now_ms - begun_ms;
    assert!((120_000..=122_000).contains(&took_ms), "{took_ms}");
}

#[test]
fn d28_an_eni_without_readable_addresses_ends_the_start() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.unreadable = vec![PRIMARY];
    world.restart();
    world.run_ms(30_000);
    assert!(world.fatal.is_some_and(|reason| reason.contains("no address")));
}

#[test]
fn d33_both_watchers_look_at_once() {
    let mut world = World::serving(&[], 3, 10);
    world.log.clear();
    world.groups.push(ipamd_core::id::GroupId::from_bits(10));
    world.run_ms(31_000);
    let set = world
        .log
        .iter()
        .filter(|logged| matches!(&logged.call, Ec2Call::SetGroups { groups, .. } if groups.len() == 2));
    assert_eq!(set.count(), 1);
}

#[test]
fn d39_agents_before_1_23_2_lose_the_pods_of_an_eni_whose_subnet_is_unknown() {
    for (unknown_subnet_serves, kept) in [(true, 2), (false, 0)] {
        let mut world = World::serving(&[], 3, 10);
        assert!(world.add(1).is_some() && world.add(2).is_some());
        world.config.unknown_subnet_serves = unknown_subnet_serves;
        world.fail(Ec2Operation::DescribeSubnets, Ec2Code::RequestLimitExceeded, 6);
        world.restart();
        world.run_ms(70_000);
        assert!(world.ready_ms.is_some());
        assert_eq!(world.core.pool().owners().len(), kept);
    }
}
