//! Chosen histories.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::id::{EniId, GroupId};
use ipamd_core::input::EniKind;
use ipamd_core::output::Ec2Call;
use serde_json::json;

use super::{EC2_MS, Pair};
use crate::world::SUBNET;

/// An ENI that someone else attaches.
const FOREIGN: EniId = EniId::from_bits(0x33);

/// A node that keeps two addresses free.
pub(super) const WARM_IP: [(&str, &str); 1] = [("WARM_IP_TARGET", "2")];
pub(super) const PREFIXES: [(&str, &str); 2] = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_calm_node_is_the_originals() {
    for variables in
        [&[][..], &WARM_IP, &PREFIXES, &[("WARM_ENI_TARGET", "3")], &[("ENABLE_SUBNET_DISCOVERY", "false")]]
    {
        let mut pair = Pair::boot(variables, 4, 6);
        for _ in 0..20 {
            pair.pass(10_000);
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn pods_come_until_the_node_is_full() {
    for variables in [&[][..], &WARM_IP, &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "7")], &[("MAX_ENI", "2")]] {
        let mut pair = Pair::boot(variables, 3, 5);
        pair.pass(10_000);
        for pod in 0..14 {
            pair.add(pod);
            pair.pass(7_000);
        }
        pair.pass(90_000);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn pods_come_and_go_on_one_eni() {
    for variables in [&WARM_IP[..], &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "4")], &PREFIXES] {
        let mut pair = Pair::boot(variables, 1, 9);
        pair.pass(10_000);
        for pod in 0..6 {
            pair.add(pod);
            pair.pass(3_000);
        }
        for pod in 0..6 {
            pair.del(pod);
            pair.pass(12_000);
        }
        pair.pass(200_000);
        for pod in 10..18 {
            pair.add(pod);
        }
        pair.pass(100_000);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_refused_assignment_is_tried_for_one_and_rests_where_the_subnet_is_empty() {
    for code in [
        Ec2Code::InternalError,
        Ec2Code::InsufficientFreeAddressesInSubnet,
        Ec2Code::InsufficientCidrBlocks,
        Ec2Code::InvalidNetworkInterfaceIdNotFound,
        Ec2Code::UnauthorizedOperation,
    ] {
        for discovery in ["true", "false"] {
            for times in [1, 2, 9] {
                let mut pair = Pair::boot(&[WARM_IP[0], ("ENABLE_SUBNET_DISCOVERY", discovery)], 1, 9);
                pair.pass(10_000);
                pair.fail(Ec2Operation::AssignPrivateIpAddresses, code, times);
                pair.add(1);
                pair.add(2);
                pair.pass(30_000);
                pair.pass(150_000);
            }
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn each_call_of_an_allocation_may_fail() {
    for op in [
        Ec2Operation::DescribeSubnets,
        Ec2Operation::CreateNetworkInterface,
        Ec2Operation::DescribeInstances,
        Ec2Operation::AttachNetworkInterface,
    ] {
        for code in [Ec2Code::InternalError, Ec2Code::InsufficientFreeAddressesInSubnet, Ec2Code::UnauthorizedOperation]
        {
            for times in [1, 2] {
                let mut pair = Pair::boot(&[], 3, 5);
                pair.pass(10_000);
                pair.fail(op, code, times);
                pair.add(1);
                pair.pass(30_000);
                pair.pass(150_000);
            }
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_failed_modify_leads_to_a_wait_for_an_eni_that_is_not() {
    let mut pair = Pair::boot(&[], 3, 5);
    pair.pass(10_000);
    pair.fail(Ec2Operation::ModifyNetworkInterfaceAttribute, Ec2Code::InternalError, 1);
    pair.add(1);
    for _ in 0..40 {
        pair.pass(10_000);
    }
    assert!(pair.compared > 15);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_refused_detach_or_delete_is_tried_twelve_times() {
    for op in [Ec2Operation::DetachNetworkInterface, Ec2Operation::DeleteNetworkInterface] {
        for times in [2, 12] {
            let mut pair = Pair::boot(&[], 3, 5);
            pair.pass(10_000);
            pair.add(1);
            pair.pass(70_000);
            pair.fail(op, Ec2Code::InternalError, times);
            pair.del(1);
            for _ in 0..60 {
                pair.pass(10_000);
            }
            assert!(pair.compared > 12 + times as usize, "{}", pair.compared);
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_silent_metadata_service_is_counted_the_same() {
    let mut pair = Pair::boot(&WARM_IP, 1, 9);
    pair.pass(30_000);
    pair.imds(true);
    for _ in 0..12 {
        pair.pass(10_000);
    }
    pair.imds(false);
    pair.pass(100_000);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn what_someone_else_attaches_is_adopted() {
    for kind in [EniKind::Interface, EniKind::Trunk, EniKind::Efa] {
        let mut pair = Pair::boot(&[], 3, 5);
        pair.pass(20_000);
        pair.attach(FOREIGN, kind, &[]);
        for _ in 0..20 {
            pair.pass(10_000);
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn lost_enis_and_addresses_are_swept() {
    let mut pair = Pair::boot(&[], 3, 5);
    pair.pass(20_000);
    let address = Ipv4Addr::new(10, 0, 7, 7);
    pair.attach(FOREIGN, EniKind::Interface, &[address]);
    pair.pass(80_000);
    pair.lose_address(FOREIGN, address);
    pair.pass(130_000);
    pair.lose_eni(FOREIGN);
    pair.pass(130_000);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_restart_takes_the_pods_over() {
    let mut pair = Pair::boot(&WARM_IP, 2, 5);
    pair.pass(10_000);
    for pod in 0..5 {
        pair.add(pod);
        pair.pass(10_000);
    }
    pair.restart();
    for _ in 0..10 {
        pair.pass(10_000);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn unknown_subnets_do_not_keep_a_start_from_its_pods() {
    let mut pair = Pair::boot(&WARM_IP, 2, 5);
    pair.pass(10_000);
    for pod in 0..3 {
        pair.add(pod);
        pair.pass(10_000);
    }
    pair.fail(Ec2Operation::DescribeSubnets, Ec2Code::RequestLimitExceeded, 20);
    pair.restart();
    for _ in 0..20 {
        pair.pass(10_000);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn security_groups_for_pods_without_their_object_are_counted_each_cycle() {
    let mut pair = Pair::boot_with(&[("ENABLE_POD_ENI", "true")], 3, 5, &json!({"cninode": false}), |world| {
        world.cni_node = Err(ipamd_core::input::KubeError::NotFound);
    });
    for _ in 0..10 {
        pair.pass(10_000);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_full_disk_refuses_requests() {
    let mut pair = Pair::boot(&[], 2, 5);
    pair.pass(10_000);
    pair.add(1);
    pair.ask(&json!({"checkpoint": {"fail": "no space left"}}));
    pair.world.disk_full = true;
    pair.add(2);
    pair.del(1);
    pair.pass(20_000);
    pair.ask(&json!({"checkpoint": {}}));
    pair.world.disk_full = false;
    pair.add(3);
    pair.del(1);
    pair.pass(60_000);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_terminating_node_does_not_grow() {
    let mut pair = Pair::boot(&[], 3, 5);
    pair.pass(10_000);
    pair.ask(&json!({"terminate": {}}));
    pair.world.input(ipamd_core::Input::Terminate { grace_ms: 30_000 });
    pair.add(1);
    pair.pass(100_000);
}

const IPV6: [(&str, &str); 3] =
    [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")];

fn ipv6(more: (&str, &str)) -> Pair {
    let subnet = json!({"id": SUBNET.to_string(), "cidr": "10.0.0.0/16", "cidr6": "2001:db8::/64", "free": 1000});
    let subnets = json!({"subnets": [subnet], "cninode": true});
    Pair::boot_with(&[IPV6[0], IPV6[1], IPV6[2], more], 3, 5, &subnets, |world| {
        world.cidrs = vec!["2001:db8::/64".into()];
        world.primary6 = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 4));
    })
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_ipv6_node_is_the_originals() {
    for discovery in ["true", "false"] {
        let mut pair = ipv6(("ENABLE_SUBNET_DISCOVERY", discovery));
        pair.pass(10_000);
        for pod in 0..4 {
            pair.add(pod);
            pair.pass(3_000);
        }
        pair.del(2);
        pair.pass(100_000);
        pair.restart();
        pair.pass(100_000);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_missing_ipv6_prefix_is_asked_for_until_it_comes() {
    for code in [Ec2Code::InternalError, Ec2Code::UnauthorizedOperation] {
        let mut pair = ipv6(("ENABLE_SUBNET_DISCOVERY", "true"));
        pair.pass(10_000);
        pair.fail(Ec2Operation::AssignIpv6Addresses, code, 14);
        pair.restart();
        for _ in 0..20 {
            pair.pass(50_000);
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn d14_an_ipv6_start_without_describe_subnets_fails() {
    let mut pair = ipv6(("ENABLE_SUBNET_DISCOVERY", "true"));
    pair.pass(10_000);
    pair.fail(Ec2Operation::DescribeSubnets, Ec2Code::UnauthorizedOperation, 50);
    let answer = pair.ask(&json!({"restart": {}}));
    pair.world.restart();
    pair.pass(10_000);
    let answer = if answer["life"]["state"] == "ended" { answer } else { pair.ask(&json!({"report": {}})) };
    assert_eq!(answer["life"]["state"], "ended", "{answer}");
    assert!(pair.world.fatal.is_some());
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn d15_an_ipv6_node_looks_for_a_trunk_every_five_seconds() {
    let mut pair = ipv6(("ENABLE_POD_ENI", "true"));
    pair.pass(23_000);
    pair.attach(FOREIGN, EniKind::Trunk, &[]);
    pair.pass(30_000);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_metadata_service_that_lags_is_waited_for() {
    for lag_ms in [400, 2_000, 5_000] {
        for variables in [&[][..], &WARM_IP, &PREFIXES] {
            let more = json!({"imds_lag_ms": lag_ms});
            let mut pair = Pair::boot_with(variables, 3, 5, &more, |world| world.imds_lag_ms = lag_ms);
            pair.pass(10_000);
            for pod in 0..14 {
                pair.add(pod);
                pair.pass(9_000);
            }
            pair.pass(130_000);
        }
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_eni_that_the_metadata_service_leaves_out_loses_its_pods() {
    let mut pair = Pair::boot(&[("MAX_ENI", "2")], 2, 5);
    pair.pass(10_000);
    for pod in 0..10 {
        pair.add(pod);
        pair.pass(9_000);
    }
    let theirs = pair.original().view.enis.iter().find(|(_, eni)| eni["primary"] == false).unwrap().0.clone();
    let ours = pair.world.core.pool().enis().iter().find(|eni| !eni.primary).unwrap().id;
    pair.ask(&json!({"imds": {"hide_enis": [theirs]}}));
    pair.world.imds_hides.push(ours);
    pair.pass(70_000);
    assert_eq!(pair.world.file.as_ref().unwrap().len(), 4);
    pair.compare_checkpoints();
    pair.ask(&json!({"imds": {"hide_enis": []}}));
    pair.world.imds_hides.clear();
    pair.pass(140_000);
    pair.restart();
    pair.pass(20_000);
    assert_eq!(pair.world.core.pool().assigned(), 4);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn what_a_new_eni_is_made_with_is_decided_before_its_subnet() {
    let mut pair = Pair::boot(&WARM_IP, 3, 5);
    pair.pass(10_000);
    let mut pods = 0..14;
    let mut meanwhile = 0;
    while let Some(pod) = pods.next() {
        pair.add(pod);
        for _ in 0..150 {
            pair.pass(43);
            let last = pair.world.log.last().unwrap();
            let under_way = last.at_ms + EC2_MS > pair.world.now_ms;
            if under_way
                && last.call.operation() == Ec2Operation::DescribeSubnets
                && let Some(pod) = pods.next()
            {
                pair.add(pod);
                meanwhile += 1;
            }
        }
    }
    assert!(meanwhile > 0, "a pod came while subnets were looked up");
    pair.pass(60_000);
}

/// A cycle releases the address of the only pod on the second ENI and gives the ENI up, which takes minutes, while more pods go.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn d10_a_release_counts_from_the_end_of_its_cycle() {
    let mut pair = Pair::boot(&[("WARM_IP_TARGET", "1")], 3, 5);
    pair.pass(10_000);
    for pod in 1..=5 {
        pair.add(pod);
        pair.pass(20_000);
    }
    // Without a pod, an address is one too many.
    pair.restart_with(&[("WARM_IP_TARGET", "0"), ("MINIMUM_IP_TARGET", "1"), ("IP_COOLDOWN_PERIOD", "0")]);
    pair.pass(120_000);
    assert_eq!((pair.world.core.pool().enis().len(), pair.world.core.pool().total()), (2, 5));
    pair.fail(Ec2Operation::DetachNetworkInterface, Ec2Code::InternalError, 9);
    let calls = |pair: &Pair, op| {
        let of_op = pair.world.log.iter().filter(move |logged| logged.call.operation() == op);
        of_op.map(|logged| logged.at_ms).collect::<Vec<_>>()
    };
    let before = calls(&pair, Ec2Operation::UnassignPrivateIpAddresses).len();
    pair.del(5);
    pair.pass(20_000);
    assert!(!calls(&pair, Ec2Operation::DetachNetworkInterface).is_empty());
    pair.del(4);
    pair.del(3);
    for _ in 0..60 {
        pair.pass(10_000);
    }
    let released = calls(&pair, Ec2Operation::UnassignPrivateIpAddresses).split_off(before);
    let deleted = calls(&pair, Ec2Operation::DeleteNetworkInterface);
    let ([first, second], [deleted]) = (&released[..], &deleted[..]) else { panic!("{released:?} {deleted:?}") };
    assert!(deleted - first > 60_000 && second - deleted > 30_000, "{first} {deleted} {second}");
}

/// The groups of the primary ENI change while the subnet of a new ENI is looked up: without discovery, or where the look-up fails,
/// the ENI gets those from before. With subnets found it gets the new ones.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_new_eni_gets_the_groups_from_before_its_subnet_was_looked_up() {
    // Groups are looked at every 30 s.
    const LONG_MS: i64 = 31_000;
    let looks_up = Ec2Operation::DescribeSubnets;
    for (discovery, fails) in [("true", 0), ("true", 1), ("false", 0)] {
        let variables = [("ENABLE_SUBNET_DISCOVERY", discovery), ("WARM_ENI_TARGET", "0")];
        let slow = json!({"latencies_ms": {looks_up.name(): LONG_MS}});
        let mut pair = Pair::boot_with(&variables, 3, 5, &slow, |world| world.slow = Some((looks_up, LONG_MS)));
        pair.pass(40_000);
        for pod in 1..=4 {
            pair.add(pod);
        }
        let before = pair.world.calls(looks_up).0;
        if fails > 0 {
            pair.fail(looks_up, Ec2Code::InternalError, fails);
        }
        for _ in 0..200 {
            if pair.world.calls(looks_up).0 == before {
                pair.pass(100);
            }
        }
        pair.set_groups(&[GroupId::from_bits(8)]);
        pair.pass(100_000);
        let made = pair.world.log.iter().find_map(|logged| match &logged.call {
            Ec2Call::CreateEni { groups, .. } => Some(groups.clone()),
            _ => None,
        });
        let found = discovery == "true" && fails == 0;
        assert_eq!(made, Some(vec![GroupId::from_bits(if found { 8 } else { 9 })]), "{discovery} {fails}");
    }
}

/// Attached later, it is taken for an ordinary one and gets a prefix, which the metadata service does not show of it.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn d13_an_efa_only_eni_gets_prefixes_that_are_not_shown() {
    let mut pair = Pair::boot(&PREFIXES, 2, 3);
    pair.pass(10_000);
    pair.attach(FOREIGN, EniKind::EfaOnly, &[]);
    for _ in 0..50 {
        if pair.world.core.pool().eni(FOREIGN).is_none() {
            pair.pass(2_500);
        }
    }
    for pod in 0..48 {
        pair.add(pod);
        pair.pass(700);
    }
    pair.pass(200_000);
    let grew = |call: &Ec2Call| matches!(call, Ec2Call::Assign { eni: FOREIGN, .. });
    assert!(pair.world.log.iter().any(|logged| grew(&logged.call)));
}

/// Settings of which the other histories have no more than one value.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_node_in_each_setting_is_the_originals() {
    for setting in [
        ("CLUSTER_NAME", "c"),
        ("CLUSTER_NAME", ""),
        ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true"),
        ("ENABLE_IMDS_ONLY_MODE", "true"),
        ("MANAGE_UNTAGGED_ENI", "false"),
        ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "true"),
        ("ANNOTATE_POD_IP", "true"),
        ("MAX_ENI", "1"),
        ("MAX_ENI", "0"),
        ("WARM_ENI_TARGET", "0"),
        ("MINIMUM_IP_TARGET", "6"),
        ("IP_COOLDOWN_PERIOD", "90"),
        ("NETWORK_POLICY_ENFORCING_MODE", "strict"),
    ] {
        let mut pair = Pair::boot(&[setting], 3, 5);
        pair.pass(10_000);
        pair.attach(FOREIGN, EniKind::Interface, &[Ipv4Addr::new(10, 0, 7, 7)]);
        pair.pass(65_000);
        for pod in 0..6 {
            pair.add(pod);
            pair.pass(7_000);
        }
        for pod in 2..6 {
            pair.del(pod);
        }
        pair.pass(150_000);
        pair.restart();
        pair.pass(100_000);
    }
}

/// CIDRs that come to the VPC, go, and come in another order.
#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_vpc_that_changes_is_told_to_the_host() {
    let mut pair = Pair::boot(&[], 3, 5);
    pair.pass(10_000);
    for cidrs in
        [&["10.0.0.0/8", "100.64.0.0/16"][..], &["100.64.0.0/16", "10.0.0.0/8"], &["10.0.0.0/8"], &["10.1.0.0/16"]]
    {
        pair.ask(&json!({"world": {"vpc_cidrs": cidrs}}));
        pair.world.cidrs = cidrs.iter().map(|cidr| (*cidr).into()).collect();
        pair.pass(70_000);
    }
}
