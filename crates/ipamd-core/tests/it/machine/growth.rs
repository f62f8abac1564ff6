//! Growth and what undoes it.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use ipamd_core::id::{EniId, GroupId, SubnetId};
use ipamd_core::input::{EniKind, KubeReply, SubnetRole};
use ipamd_core::output::{Ec2Call, Want};

use crate::machine::{api_errors, ipamd_errors, request_errors, utils_errors};
use crate::world::{SUBNET, World};

const ASSIGN: Ec2Operation = Ec2Operation::AssignPrivateIpAddresses;

/// A node that keeps two addresses free and has none left but those.
fn short_node() -> World {
    let mut world = World::serving(&[("WARM_IP_TARGET", "2")], 2, 4);
    world.run_ms(40_000);
    world.log.clear();
    world
}

#[test]
fn a_second_try_asks_for_one_address() {
    let mut world = short_node();
    world.fail(ASSIGN, Ec2Code::InternalError, 1);
    assert!(world.add(1).is_some() && world.add(2).is_some());
    world.run_ms(5_000);
    let wants: Vec<_> = world
        .log
        .iter()
        .filter_map(|logged| match logged.call {
            Ec2Call::Assign { want, .. } => Some(want),
            _ => None,
        })
        .collect();
    assert_eq!(wants[..2], [Want::Ipv4(1), Want::Ipv4(1)]);
    assert_eq!(ipamd_errors(&world), []);
}

#[test]
fn an_eni_that_is_full_gives_what_it_has() {
    let mut world = short_node();
    // EC2 gave the last address to the ENI, and the agent did not hear of it.
    let want = Want::Ipv4(1);
    world.ec2.perform(&Ec2Call::Assign { eni: crate::world::PRIMARY, want }, 0).unwrap();
    assert!(world.add(1).is_some() && world.add(2).is_some());
    world.run_ms(5_000);
    assert_eq!(world.core.pool().enis()[0].slots_used(), 3);
    assert_eq!(ipamd_errors(&world), []);
}

#[test]
fn d26_a_look_up_that_fails_is_counted_and_one_that_finds_nothing_is_not() {
    let mut world = short_node();
    world.ec2.perform(&Ec2Call::Assign { eni: crate::world::PRIMARY, want: Want::Ipv4(1) }, 0).unwrap();
    world.fail(Ec2Operation::DescribeNetworkInterfaces, Ec2Code::InternalError, 1);
    assert!(world.add(1).is_some() && world.add(2).is_some());
    world.run_ms(3_500);
    assert_eq!(ipamd_errors(&world), [("increaseIPPoolGetENIaddressesFailed".to_owned(), 1)]);
}

#[test]
fn an_empty_subnet_rests_for_two_minutes() {
    let mut world = World::serving(&[], 3, 10);
    world.ec2.subnets.get_mut(&SUBNET).unwrap().free.clear();
    world.log.clear();
    assert!(world.add(1).is_some());
    world.run_ms(119_000);
    assert_eq!(world.calls(Ec2Operation::CreateNetworkInterface), (1, 1));
    let errors = [("increaseIPPoolAllocENI".to_owned(), 1), ("increaseIPPoolAllocIPAddressesFailed".to_owned(), 1)];
    assert_eq!(ipamd_errors(&world), errors);
    world.run_ms(15_000);
    assert_eq!(world.calls(Ec2Operation::CreateNetworkInterface), (2, 2));
}

#[test]
fn d01_a_missing_eni_is_an_error_of_most_operations() {
    let mut world = World::serving(&[("WARM_IP_TARGET", "1")], 2, 4);
    for key in 1..=4 {
        assert!(world.add(key).is_some());
        world.run_ms(20_000);
    }
    let second = world.core.pool().enis()[1].id;
    world.log.clear();
    world.ec2.enis.remove(&second);
    assert!(world.add(5).is_some());
    world.run_ms(6_000);
    let tries = world.calls(ASSIGN).0 as u64;
    assert!(tries >= 2);
    let missing = "InvalidNetworkInterfaceID.NotFound";
    assert_eq!(api_errors(&world, &format!("AssignPrivateIpAddresses,{missing}")), tries);
    assert_eq!(request_errors(&world, "AssignPrivateIpAddresses"), tries);
}

#[test]
fn d05_a_wait_asks_twelve_times_and_may_succeed_late() {
    let mut world = World::serving(&[], 3, 10);
    world.imds_lag_ms = 4_000;
    assert!(world.add(1).is_some());
    world.run_ms(20_000);
    assert_eq!(world.core.metrics().eni_allocated, 2);
    assert_eq!(ipamd_errors(&world), []);
    let mut world = World::serving(&[], 3, 10);
    assert!(world.add(1).is_some());
    world.run_ms(3_000);
    world.imds_down = true;
    world.run_ms(200_000);
    let failed = api_errors(&world, "GetMACs,IMDSRequestError");
    assert!(failed >= 12, "{failed}");
    assert!(ipamd_errors(&world).contains(&("increaseIPPoolwaitENIAttachedFailed".to_owned(), 1)));
}

#[test]
fn a_wait_takes_what_the_last_look_showed_in_part() {
    let prefixes = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "6")];
    let addresses = [("WARM_ENI_TARGET", "2"), ("WARM_PREFIX_TARGET", "0")];
    for (variables, shown, taken) in [(addresses, 1, true), (prefixes, 1, false), (prefixes, 2, true)] {
        let mut world = World::new(&variables, InstanceLimits::custom(2, 4));
        world.imds_shows_at_most = Some(shown);
        world.run_ms(400_000);
        assert!(world.ready_ms.is_some(), "{:?}", world.fatal);
        let gave_up = ipamd_errors(&world).contains(&("increaseIPPoolwaitENIAttachedFailed".to_owned(), 1));
        assert_eq!((world.calls(Ec2Operation::CreateNetworkInterface), !gave_up), ((1, 0), taken), "{shown}");
    }
}

#[test]
fn d18_the_text_after_a_failed_attach_is_the_attachs() {
    let mut world = World::serving(&[], 3, 10);
    world.fail(Ec2Operation::AttachNetworkInterface, Ec2Code::AttachmentLimitExceeded, 1);
    world.fail(Ec2Operation::DeleteNetworkInterface, Ec2Code::InternalError, 12);
    assert!(world.add(1).is_some());
    world.run_ms(400_000);
    let text = "attachENI: failed to attach ENI for network card 0: api error AttachmentLimitExceeded: made so";
    assert_eq!(utils_errors(&world), [(format!("{text},AllocENIDeleteErr"), 1)]);
    // One that could be deleted moves nothing.
    let mut world = World::serving(&[], 3, 10);
    world.fail(Ec2Operation::DescribeInstances, Ec2Code::InternalError, 1);
    assert!(world.add(1).is_some());
    world.run_ms(30_000);
    assert_eq!((utils_errors(&world), world.ec2.enis.len()), (vec![], 2));
    assert_eq!(ipamd_errors(&world), [("increaseIPPoolAllocENI".to_owned(), 1)]);
}

#[test]
fn d18_a_failed_modify_counts_only_a_failed_clean_up() {
    let mut world = World::serving(&[], 3, 10);
    world.fail(Ec2Operation::ModifyNetworkInterfaceAttribute, Ec2Code::InternalError, 1);
    assert!(world.add(1).is_some());
    world.log.clear();
    world.run_ms(160_000);
    // The ENI is gone, and the original waits for one without a name.
    assert_eq!((world.calls(Ec2Operation::CreateNetworkInterface), world.ec2.enis.len()), ((1, 0), 1));
    world.run_ms(60_000);
    assert!(ipamd_errors(&world).contains(&("increaseIPPoolwaitENIAttachedFailed".to_owned(), 1)));
    assert_eq!(utils_errors(&world), []);

    let mut world = World::serving(&[], 3, 10);
    world.fail(Ec2Operation::ModifyNetworkInterfaceAttribute, Ec2Code::InternalError, 1);
    world.fail(Ec2Operation::DeleteNetworkInterface, Ec2Code::InternalError, 12);
    assert!(world.add(1).is_some());
    world.run_ms(400_000);
    let leaked = world.ec2.enis.values().find(|eni| eni.attachment.is_none()).unwrap().id;
    let text = "unable to delete ENI: api error InternalError: made so";
    let expected = [
        (format!("FreeENI: failed to free ENI: {leaked}: {text},ENICleanupUponModifyNetworkErr"), 1),
        (format!("{text},FreeENIDeleteErr"), 1),
    ];
    assert_eq!(utils_errors(&world), expected);
}

#[test]
fn subnets_are_tried_in_the_order_of_their_free_addresses() {
    let mut world = World::serving(&[], 3, 10);
    world.ec2.add_subnet(SubnetId::from_bits(6), SubnetRole::On, 3_000);
    world.ec2.add_subnet(SubnetId::from_bits(7), SubnetRole::On, 4_090);
    world.ec2.add_subnet(SubnetId::from_bits(8), SubnetRole::Untagged, 4_091);
    world.fail(Ec2Operation::CreateNetworkInterface, Ec2Code::InsufficientFreeAddressesInSubnet, 2);
    world.log.clear();
    assert!(world.add(1).is_some());
    world.run_ms(10_000);
    let tried: Vec<_> = world
        .log
        .iter()
        .filter_map(|logged| match logged.call {
            Ec2Call::CreateEni { subnet, .. } => Some(subnet),
            _ => None,
        })
        .collect();
    assert_eq!(tried, [SubnetId::from_bits(7), SUBNET, SubnetId::from_bits(6)]);
}

#[test]
fn an_excluded_eni_keeps_its_pods_and_gives_nothing() {
    let mut world = World::serving(&[], 3, 10);
    assert!(world.add(1).is_some());
    world.run_ms(20_000);
    world.ec2.add_subnet(SubnetId::from_bits(6), SubnetRole::On, 3_000);
    world.ec2.subnets.get_mut(&SUBNET).unwrap().role = SubnetRole::Off;
    world.restart();
    world.run_ms(60_000);
    let excluded = world.core.pool().enis().iter().filter(|eni| eni.excluded).count();
    let fresh = world.core.pool().enis().iter().find(|eni| !eni.excluded).unwrap();
    assert_eq!((excluded, fresh.subnet), (2, SubnetId::from_bits(6)));
    assert!(world.core.pool().owners().contains_key(&1));
    let address = world.add(2).unwrap();
    assert_eq!(address.octets()[1], 6);
}

#[test]
fn custom_networking_uses_the_nodes_config_and_not_the_primary_eni() {
    let mut world = World::new(&[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")], InstanceLimits::custom(3, 10));
    let (subnet, groups) = (SubnetId::from_bits(6), vec![GroupId::from_bits(3)]);
    world.ec2.add_subnet(subnet, SubnetRole::Untagged, 300);
    world.pods.insert("zone-a".into(), KubeReply::EniConfig { subnet, groups: groups.clone() });
    world.node.as_mut().unwrap().eni_config = Some("zone-a".into());
    world.restart();
    world.run_ms(60_000);
    assert!(world.ready_ms.is_some(), "{:?}", world.fatal);
    assert_eq!(world.core.pool().enis()[0].slots_used(), 0);
    assert_eq!(world.core.pool().enis()[1].subnet, subnet);
    let create = world.log.iter().find_map(|logged| match &logged.call {
        Ec2Call::CreateEni { groups, .. } => Some(groups.clone()),
        _ => None,
    });
    assert_eq!(create, Some(groups));
}

#[test]
fn custom_networking_without_a_config_ends_the_start() {
    let mut world = World::new(&[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")], InstanceLimits::custom(3, 10));
    world.run_ms(60_000);
    assert!(world.fatal.is_some_and(|reason| reason.contains("custom networking")));
}

#[test]
fn growth_stops_at_the_nodes_number_of_pods_and_at_max_eni() {
    let mut world = World::new(&[("WARM_ENI_TARGET", "3")], InstanceLimits::custom(4, 10));
    world.node.as_mut().unwrap().max_pods = Some(18);
    world.restart();
    world.run_ms(120_000);
    assert_eq!(world.core.metrics().total, 18);
    let mut world = World::serving(&[("WARM_ENI_TARGET", "3"), ("MAX_ENI", "3")], 4, 10);
    world.run_ms(120_000);
    assert_eq!((world.core.metrics().eni_allocated, world.core.metrics().eni_max), (3, 3));
}

#[test]
fn a_place_is_kept_for_the_trunk() {
    let mut world = World::serving(&[("ENABLE_POD_ENI", "true"), ("WARM_ENI_TARGET", "3")], 3, 10);
    world.run_ms(60_000);
    assert_eq!(world.core.metrics().eni_allocated, 2);
    let now_ms = world.now_ms;
    world.ec2.attach_foreign(EniId::from_bits(0x33), EniKind::Trunk, 0, now_ms);
    world.run_ms(60_000);
    let kinds: Vec<_> = world.core.pool().enis().iter().map(|eni| eni.kind).collect();
    assert_eq!(kinds, [EniKind::Interface, EniKind::Interface, EniKind::Trunk]);
    // The trunk is not tagged, and gets no addresses.
    let trunk = EniId::from_bits(0x33);
    assert!(!world.log.iter().any(|logged| matches!(&logged.call, Ec2Call::Tag { eni, .. } if *eni == trunk)));
}

#[test]
fn a_cordoned_or_terminating_node_does_not_grow() {
    for terminate in [false, true] {
        let mut world = World::serving(&[], 3, 10);
        world.log.clear();
        if terminate {
            world.input(ipamd_core::Input::Terminate { grace_ms: 30_000 });
        } else {
            let node = ipamd_core::input::NodeSeen { unschedulable: true, version: 5, ..Default::default() };
            world.input(ipamd_core::Input::NodeSeen(node));
        }
        assert!(world.add(1).is_some());
        world.run_ms(30_000);
        assert_eq!(world.calls(Ec2Operation::CreateNetworkInterface), (0, 0));
    }
}

#[test]
fn an_eni_without_a_link_leaves_the_store() {
    let mut world = World::serving(&[], 3, 10);
    world.no_link = (0..20).map(|number| EniId::from_bits(0x100 + number)).collect();
    assert!(world.add(1).is_some());
    world.run_ms(5_000);
    assert_eq!(world.core.metrics().eni_allocated, 1);
    assert!(ipamd_errors(&world).contains(&("increaseIPPoolsetupENIFailed".to_owned(), 1)));
}
