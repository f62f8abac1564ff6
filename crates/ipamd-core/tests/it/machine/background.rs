//! What runs beside the loop.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::id::{EniId, GroupId};
use ipamd_core::input::{Ec2Eni, EniKind, Mac};
use ipamd_core::output::Ec2Call;

use crate::machine::{api_errors, request_errors, requests, series, utils_errors};
use crate::world::{SUBNET, World};

const DELETE: Ec2Operation = Ec2Operation::DeleteNetworkInterface;

fn leaked(number: u128, description: &str, created_at: Option<&str>) -> Ec2Eni {
    let mut tags = vec![("node.k8s.amazonaws.com/instance_id".into(), "i-0b".into())];
    tags.extend(created_at.map(|time| ("node.k8s.amazonaws.com/createdAt".into(), time.into())));
    Ec2Eni {
        id: EniId::from_bits(number),
        mac: Mac::default(),
        kind: EniKind::Interface,
        subnet: SUBNET,
        vpc: None,
        zone: None,
        primary: None,
        ipv4: Vec::new(),
        ipv4_prefixes: Vec::new(),
        ipv6_prefixes: Vec::new(),
        attachment: None,
        tags,
        description: description.into(),
        groups: Vec::new(),
    }
}

#[test]
fn d06_a_search_deletes_what_any_agent_of_the_vpc_left_behind() {
    let mut world = World::serving(&[], 3, 10);
    let now_s = world.now().unix_s();
    assert_eq!(now_s, 1_700_001_020, "the times below are written for this moment");
    for eni in [
        leaked(0x51, "aws-K8S-i-0b", Some("2023-11-14T21:00:00Z")),
        leaked(0x52, "made by someone else", Some("2023-11-14T21:00:00Z")),
        leaked(0x53, "aws-K8S-i-0b", Some("2023-11-14T22:34:59Z")),
        leaked(0x54, "aws-K8S-i-0b", None),
        leaked(0x55, "aws-K8S-i-0b", Some("yesterday")),
    ] {
        world.ec2.enis.insert(eni.id, eni);
    }
    world.log.clear();
    world.run_ms(300_000);
    let deleted: Vec<_> = world
        .log
        .iter()
        .filter_map(|logged| match logged.call {
            Ec2Call::Delete { eni } => Some(eni.bits()),
            _ => None,
        })
        .collect();
    assert!(deleted.contains(&0x51) && deleted.contains(&0x55) && !deleted.contains(&0x52) && !deleted.contains(&0x54));
    let tagged = world.log.iter().filter(|logged| matches!(logged.call, Ec2Call::Tag { .. })).count();
    assert_eq!(tagged, 2);
    // The one without a time goes with the next search.
    world.run_ms(4_200_000);
    assert_eq!(world.ec2.enis.keys().map(|id| id.bits()).filter(|id| *id > 0x50).collect::<Vec<_>>(), [0x52]);
}

#[test]
fn a_search_counts_a_request_only_when_it_has_all_pages() {
    let mut world = World::serving(&[], 3, 10);
    let before = requests(&world, "DescribeNetworkInterfaces");
    world.fail(Ec2Operation::DescribeNetworkInterfaces, Ec2Code::UnauthorizedOperation, 1);
    world.run_ms(300_000);
    assert_eq!(requests(&world, "DescribeNetworkInterfaces"), before);
    assert_eq!(request_errors(&world, "DescribeNetworkInterfaces"), 1);
    assert_eq!(api_errors(&world, "DescribeNetworkInterfaces,UnauthorizedOperation"), 1);
    world.run_ms(4_200_000);
    assert_eq!(requests(&world, "DescribeNetworkInterfaces"), before + 1);
}

#[test]
fn d18_a_leaked_eni_that_cannot_be_deleted_is_counted_under_its_text() {
    let mut world = World::serving(&[], 3, 10);
    let eni = leaked(0x51, "aws-K8S-i-0b", Some("2023-11-14T21:00:00Z"));
    world.ec2.enis.insert(eni.id, eni);
    world.fail(DELETE, Ec2Code::InternalError, 12);
    world.run_ms(800_000);
    let text = "unable to delete ENI: api error InternalError: made so,cleanUpLeakedENIDeleteErr";
    assert_eq!(utils_errors(&world), [(text.to_owned(), 1)]);
}

#[test]
fn d33_changed_groups_go_to_every_managed_eni() {
    let mut world = World::serving(&[("WARM_ENI_TARGET", "2")], 3, 10);
    world.run_ms(60_000);
    world.log.clear();
    world.groups = vec![GroupId::from_bits(4)];
    world.run_ms(61_000);
    let set: Vec<_> = world.log.iter().filter(|logged| matches!(logged.call, Ec2Call::SetGroups { .. })).collect();
    assert_eq!(set.len(), 2);
    world.imds_down = true;
    world.run_ms(61_000);
    assert_eq!(api_errors(&world, "GetSecurityGroupIDs,IMDSRequestError"), 2);
}

#[test]
fn changed_cidrs_of_the_vpc_go_to_the_host() {
    let mut world = World::serving(&[], 3, 10);
    world.run_ms(40_000);
    assert_eq!(world.core.metrics().connmark, [0, 1]);
    world.cidrs.push("100.64.0.0/16".into());
    world.run_ms(31_000);
    assert_eq!(world.core.metrics().connmark, [0, 2]);
    let marks = series(&world, "awscni_connmark_reconcile_total");
    assert!(marks.contains(&("success".to_owned(), 2)));
}

/// An agent whose pool is as it should be is not woken every five seconds to find that out.
#[test]
fn checks_that_would_do_nothing_are_left_out() {
    let mut world = World::serving(&[], 3, 10);
    world.add(1);
    world.run_ms(120_000);
    let (calm, since) = (world.core.checks_left_out(), world.inputs);
    assert_eq!(calm, (true, true));
    world.run_ms(600_000);
    // Two watchers and a comparison take 100 inputs; with a wake for each check there would be 220.
    let inputs = world.inputs - since;
    assert!((60..150).contains(&inputs), "{inputs} inputs in ten calm minutes");
    // The next check comes when it would have come, a multiple of its pause after the last one.
    world.log.clear();
    for key in 2..11 {
        world.add(key);
    }
    assert_eq!(world.core.checks_left_out(), (false, false));
    assert!(world.run_until(5_000, |world| !world.log.is_empty()), "the pool grows within a pause");
}
