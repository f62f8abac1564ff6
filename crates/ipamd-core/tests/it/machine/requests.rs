//! What the plugin asks.

use cni_types::ec2::Ec2Operation;
use ipamd_core::Input;
use ipamd_core::id::{EniId, RpcId};
use ipamd_core::input::{AddRequest, BranchEni, DelReason, DelRequest, EniKind, KubeError, KubeReply, Mac, PodName};
use ipamd_core::output::Reply;

use crate::machine::count;
use crate::world::World;

const PER_ENI: &str = "awscni_assigned_ip_per_eni";

#[test]
fn an_address_is_written_down_before_the_reply() {
    let mut world = World::serving(&[], 3, 10);
    let rpc = world.begin_add(1);
    assert!(world.replies.is_empty());
    world.run_ms(200);
    let written = world.file.as_ref().unwrap()[0].ipv4.map(std::net::IpAddr::from);
    let Reply::Added { address, vpc_cidrs, .. } = world.reply(rpc) else { unreachable!("an address is free") };
    assert_eq!((vpc_cidrs, written), (vec!["10.0.0.0/16".into()], Some(address)));
    let primary = world.core.pool().enis()[0].id.to_string();
    assert_eq!((world.core.metrics().assigned, count(&world, PER_ENI, &primary)), (1, 1));
    // The same pod again gets the same address, and nothing is written.
    assert_eq!(world.add(1).map(std::net::IpAddr::from), Some(address));
    assert_eq!((world.core.metrics().add_requests, world.core.metrics().assigned), (2, 1));
}

#[test]
fn d32_a_full_disk_refuses_both_and_changes_nothing() {
    let mut world = World::serving(&[], 3, 10);
    assert!(world.add(1).is_some());
    world.disk_full = true;
    assert_eq!(world.add(2), None);
    assert!(matches!(world.del(1), Reply::Failed { text } if text.contains("no space left")));
    assert_eq!((world.core.metrics().assigned, world.core.pool().owners().len()), (1, 1));
    assert_eq!(world.core.metrics().no_available, 0);
    world.disk_full = false;
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    assert_eq!((world.core.metrics().assigned, world.file.as_ref().unwrap().len()), (0, 0));
    // The address that was refused was not used, so it does not rest.
    assert!(world.add(2).is_some());
}

#[test]
fn requests_of_one_moment_take_their_turns() {
    let mut world = World::serving(&[], 3, 10);
    let adds: Vec<_> = (1..=12).map(|key| world.begin_add(key)).collect();
    world.run_ms(1_000);
    let given = adds.iter().filter(|rpc| matches!(world.reply(**rpc), Reply::Added { .. })).count();
    assert_eq!((given, world.core.metrics().assigned, world.core.metrics().no_available), (9, 9, 3));
    assert_eq!((world.file.as_ref().unwrap().len(), world.core.open_rpcs()), (9, 0));
}

#[test]
fn a_del_that_comes_while_its_add_waits_is_done_after_it() {
    let mut world = World::serving(&[], 3, 10);
    let add = world.begin_add(1);
    let (pod, uid, reason) = (PodName::default(), "".into(), DelReason::PodDeleted);
    world.input(Input::Del(DelRequest { rpc: RpcId(900), key: 1, pod, uid, reason }));
    world.run_ms(200);
    assert!(matches!(world.reply(add), Reply::Added { .. }));
    assert!(matches!(world.reply(RpcId(900)), Reply::Deleted { .. }));
    assert_eq!(world.core.metrics().assigned, 0);
}

#[test]
fn an_unreachable_metadata_service_fails_the_request_and_keeps_the_address() {
    let mut world = World::serving(&[], 3, 10);
    world.imds_down = true;
    let rpc = world.begin_add(1);
    world.run_ms(200);
    assert!(matches!(world.reply(rpc), Reply::Failed { .. }));
    assert_eq!(world.core.metrics().assigned, 1);
    assert_eq!(count(&world, "awscni_aws_api_error_count", "GetVPCIPv4CIDRBlocks,IMDSRequestError"), 1);
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
}

#[test]
fn a_caller_that_is_gone_gets_no_reply_and_keeps_what_it_was_given() {
    let mut world = World::serving(&[], 3, 10);
    let rpc = world.begin_add(1);
    world.input(Input::RpcGone { rpc });
    world.run_ms(200);
    assert!(world.replies.is_empty());
    assert_eq!((world.core.metrics().assigned, world.core.open_rpcs()), (1, 0));
}

#[test]
fn requests_before_the_start_is_done_are_not_counted() {
    let mut world = World::new(&[], cni_types::limits::InstanceLimits::custom(3, 10));
    let rpc = world.begin_add(1);
    assert_eq!(world.reply(rpc), Reply::NotReady);
    assert_eq!(world.core.metrics().add_requests, 0);
}

#[test]
fn a_number_that_is_in_use_and_too_many_requests_are_refused() {
    let mut world = World::serving(&[], 3, 10);
    for number in 0..1_026_u64 {
        let request = AddRequest {
            rpc: RpcId(number.max(1)),
            key: number,
            pod: PodName::default(),
            uid: "".into(),
            limit_ms: None,
        };
        world.input(Input::Add(request));
    }
    let bad: Vec<_> = world.core.bad_inputs().collect();
    assert_eq!(bad, [("duplicate_rpc", 1), ("too_many_rpcs", 1)]);
    assert_eq!(
        world.core.open_rpcs(),
        1_024 - world.replies.values().flatten().filter(|reply| **reply == Reply::AddRefused).count()
    );
}

#[test]
fn an_unknown_pod_is_said_to_be_unknown() {
    let mut world = World::serving(&[], 3, 10);
    assert_eq!(world.del(5), Reply::UnknownPod);
    assert_eq!(world.core.metrics().del_requests, [1, 0]);
}

#[test]
fn an_address_rests_after_use_and_survives_a_restart_in_use() {
    let mut world = World::serving(&[], 2, 3);
    let (first, second) = (world.add(1).unwrap(), world.add(2).unwrap());
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    world.restart();
    world.run_ms(10_000);
    assert_eq!(world.core.pool().owners().get(&2).copied(), Some(second.into()));
    assert_eq!((world.core.pool().owners().len(), world.core.metrics().assigned), (1, 1));
    // Rest is not remembered.
    assert_eq!(world.add(3), Some(first));
}

#[test]
fn a_leftover_prefix_goes_with_its_last_pod() {
    let mut world = World::serving(&[("ENABLE_PREFIX_DELEGATION", "true")], 3, 10);
    assert!(world.add(1).is_some());
    world.config.settings = ipamd_core::settings::Settings::manifest();
    world.restart();
    world.run_ms(20_000);
    assert_eq!(world.core.metrics().prefixes, 1);
    world.log.clear();
    assert!(matches!(world.del(1), Reply::Deleted { .. }));
    world.run_ms(500);
    assert_eq!(world.calls(Ec2Operation::UnassignPrivateIpAddresses), (1, 0));
    assert_eq!(world.core.metrics().prefixes, 0);
}

fn pod(branch: Option<BranchEni>, wants_branch: Vec<bool>) -> KubeReply {
    KubeReply::Pod { uid: "uid".into(), branch, wants_branch }
}

fn branch() -> BranchEni {
    BranchEni {
        eni: EniId::from_bits(0x99),
        mac: Mac::default(),
        ipv4: Some("10.0.9.9".parse().unwrap()),
        ipv6: None,
        vlan: 3,
        gateway: None,
    }
}

fn branch_node() -> World {
    let mut world = World::serving(&[("ENABLE_POD_ENI", "true")], 3, 10);
    let now_ms = world.now_ms;
    world.ec2.attach_foreign(EniId::from_bits(0x33), EniKind::Trunk, 0, now_ms);
    world.run_ms(20_000);
    world
}

#[test]
fn a_branch_pod_takes_nothing_from_the_pool() {
    let mut world = branch_node();
    world.pods.insert("pod-1001".into(), pod(Some(branch()), vec![true]));
    let rpc = world.begin_add(1_001);
    world.run_ms(200);
    assert!(matches!(world.reply(rpc), Reply::AddedBranch { branch: given, .. } if given == branch()));
    assert_eq!(world.core.metrics().assigned, 0);
    assert!(matches!(world.del(1_001), Reply::DeletedBranch { .. }));
    // Without its annotation it is refused.
    world.pods.insert("pod-1001".into(), pod(None, vec![true]));
    assert_eq!(world.add(1_001), None);
}

#[test]
fn d41_only_the_first_container_decides() {
    let mut world = branch_node();
    world.pods.insert("pod-1001".into(), pod(Some(branch()), vec![false, true]));
    assert!(world.add(1_001).is_some());
    assert_eq!(world.core.metrics().assigned, 1);
}

#[test]
fn a_del_of_a_pod_that_the_pool_does_not_know_asks_the_api_server() {
    let mut world = branch_node();
    assert_eq!(world.del(1_001), Reply::Gone);
    world.pods.insert("pod-1001".into(), KubeReply::Pod { uid: "other".into(), branch: None, wants_branch: vec![] });
    assert!(matches!(world.del(1_001), Reply::Failed { text } if text.contains("UID")));
    world.pods.insert("pod-1001".into(), pod(None, vec![]));
    assert_eq!(world.del(1_001), Reply::UnknownPod);
    world.api_server = false;
    assert!(matches!(world.del(1_001), Reply::Failed { .. }));
    assert_eq!(KubeError::Timeout.to_string(), "timeout");
}
