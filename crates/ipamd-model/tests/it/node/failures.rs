//! What moves when EC2, IMDS or the cloud around the node fail.

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_model::ec2::{EniKind, ImdsRead, ManagedBy, SubnetRole};
use ipamd_model::node::{AddOutcome, DelOutcome, ForeignEni, InitFailure, Phase, TrunkController};

use super::cloud::{Lab, OTHER, SUBNET};

fn ipamd(lab: &Lab, site: &str) -> u64 {
    lab.counter(&format!("awscni_ipamd_error_count{{fn=\"{site}\"}}"))
}

/// API errors of one operation with one code; the three families must tell the same.
fn api(lab: &Lab, op: &str, code: &str) -> u64 {
    let errors = lab.counter(&format!("awscni_aws_api_error_count{{api=\"{op}\",error=\"{code}\"}}"));
    let labels = format!("{{api=\"{op}\",error=\"true\",status=\"{code}\"}}");
    assert_eq!(lab.counter(&format!("awscni_aws_api_latency_ms_count{labels}")), errors);
    errors
}

#[test]
fn an_empty_subnet_fails_both_ways_and_pauses() {
    let mut lab = Lab::serving((3, 10), &[("WARM_IP_TARGET", "2")], |_| {});
    let lack = Ec2Code::InsufficientFreeAddressesInSubnet;
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, lack);
    lab.cloud.fail(Ec2Operation::CreateNetworkInterface, lack);
    lab.add(1);
    lab.pass(60_000);
    assert_eq!(api(&lab, "AssignPrivateIpAddresses", lack.name()), 2);
    assert_eq!(api(&lab, "CreateNetworkInterface", lack.name()), 1);
    assert_eq!(ipamd(&lab, "increaseIPPoolAllocENI"), 1);
    assert_eq!(ipamd(&lab, "increaseIPPoolAllocIPAddressesFailed"), 2);
    lab.add(2);
    assert_eq!(lab.add(3), AddOutcome::NoAddress);
    assert_eq!((lab.truth().no_available, lab.truth().assigned, lab.truth().total), (1, 2, 2.0));
}

#[test]
fn without_discovery_the_first_lack_pauses_and_no_eni_is_tried() {
    let env = [("WARM_IP_TARGET", "2"), ("ENABLE_SUBNET_DISCOVERY", "false")];
    let mut lab = Lab::serving((3, 10), &env, |_| {});
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, Ec2Code::InsufficientFreeAddressesInSubnet);
    lab.add(1);
    lab.pass(100_000);
    assert_eq!(ipamd(&lab, "increaseIPPoolAllocIPAddressesFailed"), 1);
    assert_eq!(lab.counter("awscni_ec2api_req_count{fn=\"CreateNetworkInterface\"}"), 0);
}

#[test]
fn at_the_eni_limit_a_lack_repeats_every_cycle() {
    let mut lab = Lab::serving((1, 10), &[("WARM_IP_TARGET", "2")], |_| {});
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, Ec2Code::InsufficientFreeAddressesInSubnet);
    lab.add(1);
    lab.pass(60_000);
    assert!(ipamd(&lab, "increaseIPPoolAllocIPAddressesFailed") >= 10);
}

#[test]
fn a_fragmented_subnet_has_no_prefix_though_it_has_addresses() {
    let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
    let mut lab = Lab::serving((3, 10), &env, |_| {});
    let lack = Ec2Code::InsufficientCidrBlocks;
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, lack);
    lab.cloud.fail(Ec2Operation::CreateNetworkInterface, lack);
    lab.add(1);
    lab.pass(60_000);
    assert_eq!(api(&lab, "AssignPrivateIpAddresses", "InsufficientCidrBlocks"), 2);
    assert_eq!(api(&lab, "CreateNetworkInterface", "InsufficientCidrBlocks"), 1);
    assert_eq!((lab.truth().prefixes, lab.truth().total), (1, 16.0));
}

#[test]
fn throttling_has_no_pause_and_keeps_the_loop_busy() {
    let mut lab = Lab::serving((3, 10), &[("WARM_IP_TARGET", "2")], |_| {});
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, Ec2Code::RequestLimitExceeded);
    lab.add(1);
    lab.pass(100_000);
    let errors = api(&lab, "AssignPrivateIpAddresses", "RequestLimitExceeded");
    assert!((14..=40).contains(&errors), "{errors}");
    assert_eq!(errors % 2, 0);
    assert_eq!(ipamd(&lab, "increaseIPPoolAllocIPAddressesFailed"), errors / 2);
    assert_eq!(lab.counter("awscni_ec2api_req_count{fn=\"CreateNetworkInterface\"}"), 0);
}

#[test]
fn no_answer_is_no_api_error() {
    let mut lab = Lab::serving((3, 10), &[("WARM_IP_TARGET", "2")], |_| {});
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, Ec2Code::NoAnswer);
    lab.add(1);
    lab.pass(100_000);
    assert_eq!(lab.truth().aws_api_errors, 0);
    assert!(lab.truth().ec2_errors >= 2);
    assert!(
        lab.counter("awscni_aws_api_latency_ms_count{api=\"AssignPrivateIpAddresses\",error=\"true\",status=\"\"}")
            >= 2
    );
}

#[test]
fn a_full_instance_churns_enis() {
    let mut lab = Lab::serving((3, 4), &[("WARM_ENI_TARGET", "2"), ("MANAGE_UNTAGGED_ENI", "true")], |_| {});
    lab.cloud.fail(Ec2Operation::AttachNetworkInterface, Ec2Code::AttachmentLimitExceeded);
    let free = lab.cloud.vpc.free_addresses(SUBNET);
    lab.pass(180_000);
    let errors = api(&lab, "AttachNetworkInterface", "AttachmentLimitExceeded");
    assert!(errors >= 10, "{errors}");
    assert_eq!(ipamd(&lab, "increaseIPPoolAllocENI"), errors);
    assert_eq!(lab.counter("awscni_ec2api_req_count{fn=\"DeleteNetworkInterface\"}"), errors);
    assert_eq!((lab.cloud.vpc.free_addresses(SUBNET), lab.node.leaked_enis().count()), (free, 0));
}

#[test]
fn a_failed_modify_makes_the_agent_wait_for_a_phantom() {
    let mut lab = Lab::serving((3, 4), &[], |_| {});
    lab.cloud.fail(Ec2Operation::ModifyNetworkInterfaceAttribute, Ec2Code::UnauthorizedOperation);
    lab.add(1);
    lab.pass(100_000);
    assert_eq!((ipamd(&lab, "increaseIPPoolwaitENIAttachedFailed"), lab.truth().in_progress), (0, 1));
    lab.pass(90_000);
    assert_eq!(ipamd(&lab, "increaseIPPoolwaitENIAttachedFailed"), 1);
    assert_eq!(ipamd(&lab, "increaseIPPoolAllocENI"), 0);
    let wait = "{api=\"waitForENIAndIPsAttached\",error=\"true\",status=\"\"}";
    assert_eq!(lab.counter(&format!("awscni_aws_api_latency_ms_sum{wait}")), 162_000);
    assert_eq!((lab.node.instance().enis.len(), lab.node.leaked_enis().count()), (1, 0));
}

/// A node that has one ENI more than it needs, about to give it up.
fn shedding(op: Ec2Operation, code: Ec2Code) -> Lab {
    let mut lab = Lab::serving((3, 4), &[("WARM_IP_TARGET", "1"), ("IP_COOLDOWN_PERIOD", "0")], |_| {});
    for pod in 0..3 {
        lab.add(pod);
        lab.pass(20_000);
    }
    assert_eq!(lab.truth().eni_allocated, 2);
    lab.pass(60_000);
    lab.cloud.fail(op, code);
    lab.del(2);
    lab.del(1);
    lab
}

#[test]
fn a_detach_that_fails_brings_the_eni_back() {
    let mut lab = shedding(Ec2Operation::DetachNetworkInterface, Ec2Code::OperationNotPermitted);
    lab.until(100, |lab| lab.truth().eni_allocated == 1);
    lab.pass(330_000);
    assert!(api(&lab, "DetachNetworkInterface", "OperationNotPermitted") >= 12);
    assert!(ipamd(&lab, "decreaseIPPoolFreeENIFailed") >= 1);
    lab.cloud.heal();
    lab.until(100, |lab| lab.counter("awscni_reconcile_count{fn=\"eniReconcileAdd\"}") == 1);
}

#[test]
fn a_delete_that_fails_leaks_the_eni_until_the_hourly_search() {
    let mut lab = shedding(Ec2Operation::DeleteNetworkInterface, Ec2Code::UnauthorizedOperation);
    lab.until(100, |lab| ipamd(lab, "decreaseIPPoolFreeENIFailed") == 1);
    assert_eq!(api(&lab, "DeleteNetworkInterface", "UnauthorizedOperation"), 12);
    assert_eq!(lab.truth().aws_utils_errors, 1);
    assert!(lab.page().contains("RequestID: ") && lab.page().contains("fn=\"FreeENIDeleteErr\"} 1\n"));
    assert_eq!((lab.node.leaked_enis().count(), lab.truth().eni_allocated), (1, 1));
    lab.pass(4_000_000);
    assert!(lab.page().contains("fn=\"cleanUpLeakedENIDeleteErr\"} 1\n"));
    lab.cloud.heal();
    lab.pass(4_000_000);
    assert_eq!(lab.node.leaked_enis().count(), 0);
}

#[test]
fn an_eni_that_is_gone_already_is_no_error() {
    let not_found = Ec2Code::InvalidNetworkInterfaceIdNotFound;
    let mut lab = shedding(Ec2Operation::DeleteNetworkInterface, not_found);
    lab.until(100, |lab| lab.counter("awscni_ec2api_req_count{fn=\"DeleteNetworkInterface\"}") == 1);
    let truth = lab.truth();
    assert_eq!((truth.ec2_errors, truth.aws_api_errors, truth.ipamd_errors), (0, 0, 0));
    let labels = "{api=\"DeleteNetworkInterface\",error=\"true\",status=\"InvalidNetworkInterfaceID.NotFound\"}";
    assert_eq!(lab.counter(&format!("awscni_aws_api_latency_ms_count{labels}")), 1);
    assert_eq!(lab.node.leaked_enis().count(), 0);
}

#[test]
fn a_refused_unassign_makes_the_total_flap() {
    let mut lab = Lab::serving((3, 10), &[("WARM_IP_TARGET", "1")], |_| {});
    lab.add(1);
    lab.pass(20_000);
    lab.cloud.fail(Ec2Operation::UnassignPrivateIpAddresses, Ec2Code::UnauthorizedOperation);
    lab.del(1);
    lab.until(50, |lab| lab.truth().total < 2.0);
    lab.until(50, |lab| lab.truth().total > 1.0);
    assert_eq!(lab.truth().ipamd_errors, 0);
    assert_eq!(api(&lab, "UnassignPrivateIpAddresses", "UnauthorizedOperation"), 1);
}

#[test]
fn imds_failing_at_run_time() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    lab.pass(30_000);
    lab.cloud.fail_imds(ImdsRead::Macs);
    lab.cloud.fail_imds(ImdsRead::VpcCidrs);
    lab.pass(120_000);
    let failed = ipamd(&lab, "reconcileFailedGetENIs");
    assert!(failed >= 8, "retried every cycle: {failed}");
    let macs = lab.counter("awscni_aws_api_error_count{api=\"GetMACs\",error=\"IMDSRequestError\"}");
    assert_eq!(macs, failed);
    assert!(matches!(lab.add(1), AddOutcome::ImdsFailed(_)));
    assert_eq!(lab.truth().assigned, 1);
    assert_eq!(lab.counter("awscni_aws_api_error_count{api=\"GetVPCIPv4CIDRBlocks\",error=\"IMDSRequestError\"}"), 5);
    assert!(matches!(lab.del(1), DelOutcome::Released(_)));
}

#[test]
fn what_a_start_does_not_survive() {
    for (op, fatal) in [
        (Ec2Operation::DescribeNetworkInterfaces, true),
        (Ec2Operation::CreateTags, true),
        (Ec2Operation::AssignPrivateIpAddresses, true),
        (Ec2Operation::CreateNetworkInterface, false),
        (Ec2Operation::ModifyNetworkInterfaceAttribute, false),
    ] {
        let mut lab = Lab::new((3, 10), &[], |_| {});
        lab.cloud.fail(op, Ec2Code::UnauthorizedOperation);
        lab.until(50, |lab| lab.node.phase() != Phase::Starting);
        assert_eq!(!lab.node.is_serving(), fatal, "{op:?}");
        assert_eq!(lab.add(1) == AddOutcome::NotReady, fatal);
        assert_eq!(lab.truth().add_requests, u64::from(!fatal));
    }
    let mut unlisted = Lab::new((3, 10), &[], |spec| spec.limits.listed = false);
    unlisted.cloud.fail(Ec2Operation::DescribeInstanceTypes, Ec2Code::UnauthorizedOperation);
    unlisted.until(50, |lab| lab.node.phase() != Phase::Starting);
    assert!(matches!(unlisted.node.phase(), Phase::Crashed { reason: InitFailure::Ec2(_), .. }));
}

#[test]
fn a_vanished_eni_takes_its_pods_addresses() {
    let mut lab = Lab::serving((3, 4), &[("WARM_ENI_TARGET", "1")], |_| {});
    for pod in 0..5 {
        lab.add(pod);
        lab.pass(30_000);
    }
    let second = lab.node.instance().enis[1].id;
    lab.cloud.fail(Ec2Operation::CreateNetworkInterface, Ec2Code::InternalError);
    lab.node.detach_eni(second, &mut lab.cloud);
    lab.until(100, |lab| lab.truth().force_removed_enis == 1);
    let truth = lab.truth();
    assert_eq!((truth.force_removed_ips, truth.assigned, truth.eni_allocated), (2, 3, 2));
    // The total gauge keeps what it said until a CIDR changes, and is wrong by the ENI's size from then on.
    assert_eq!((truth.total, lab.node.pool().total()), (9.0, 3));
    assert_eq!(lab.del(4), DelOutcome::UnknownPod);
}

#[test]
fn vanished_addresses_are_swept() {
    let mut lab = Lab::serving((1, 4), &[], |_| {});
    for pod in 0..3 {
        lab.add(pod);
    }
    let primary = lab.node.instance().enis[0].id;
    lab.cloud.fail(Ec2Operation::AssignPrivateIpAddresses, Ec2Code::InternalError);
    assert_eq!(lab.node.lose_addresses(primary, 2, &mut lab.cloud), 2);
    lab.until(100, |lab| lab.truth().force_removed_ips == 2);
    assert_eq!((lab.truth().assigned, lab.truth().total), (1, 1.0));
    assert_eq!(lab.counter("awscni_reconcile_count{fn=\"eniIPPoolReconcileDel\"}"), 2);
    let per_eni = format!("awscni_assigned_ip_per_eni{{eni=\"{primary}\"}}");
    assert_eq!((lab.counter(&per_eni), lab.truth().assigned_per_cidr), (3, Some(3)));
}

#[test]
fn enis_of_others_lower_the_ceilings() {
    let mut lab = Lab::serving((4, 10), &[("WARM_IP_TARGET", "1")], |_| {});
    let foreign = |kind, managed_by| ForeignEni { kind, managed_by, subnet: OTHER, addresses: 0 };
    lab.node.attach_eni(foreign(EniKind::Interface, ManagedBy::NoManage), lab.now_ms, &mut lab.cloud).unwrap();
    lab.pass(70_000);
    assert_eq!((lab.truth().eni_max, lab.truth().ip_max, lab.truth().eni_allocated), (3, 27, 1));
    lab.node.attach_eni(foreign(EniKind::EfaOnly, ManagedBy::Own), lab.now_ms, &mut lab.cloud).unwrap();
    lab.pass(70_000);
    assert_eq!((lab.truth().eni_max, lab.truth().ip_max, lab.truth().eni_allocated), (2, 18, 1));
    lab.node.attach_eni(foreign(EniKind::Interface, ManagedBy::Other), lab.now_ms, &mut lab.cloud).unwrap();
    lab.pass(70_000);
    assert_eq!(lab.counter("awscni_reconcile_count{fn=\"eniReconcileAdd\"}"), 1);
    let strict = Lab::serving((4, 10), &[("MANAGE_UNTAGGED_ENI", "false")], |_| {});
    assert_eq!(strict.truth().eni_max, 4);
}

#[test]
fn one_place_is_kept_for_the_trunk() {
    let env = [("ENABLE_POD_ENI", "true"), ("WARM_ENI_TARGET", "3")];
    let mut silent = Lab::serving((3, 10), &env, |spec| spec.trunk_controller = TrunkController::Silent);
    silent.pass(300_000);
    assert_eq!(silent.truth().eni_allocated, 2);
    assert!(silent.truth().reconcile > 600, "without a trunk every cycle reconciles");
    let mut lab = Lab::serving((3, 10), &env, |_| {});
    lab.pass(300_000);
    assert_eq!((lab.truth().eni_allocated, lab.truth().total, lab.truth().pod_eni_errors), (3, 18.0, 0));
    assert!(lab.node.add_branch_pod(lab.now_ms, &mut lab.cloud));
    assert_eq!((lab.truth().add_requests, lab.truth().assigned), (1, 0));
    let mut incompatible = Lab::serving((3, 10), &env, |spec| spec.limits.trunk_compatible = false);
    incompatible.pass(300_000);
    assert_eq!((incompatible.truth().eni_allocated, incompatible.truth().total), (3, 27.0));
}

#[test]
fn a_cordoned_node_does_not_grow_but_still_lets_addresses_go() {
    for (leave, total) in [("false", 2), ("true", 3)] {
        let env = [("WARM_IP_TARGET", "2"), ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", leave), ("IP_COOLDOWN_PERIOD", "0")];
        let mut lab = Lab::serving((3, 10), &env, |_| {});
        lab.node.set_cordoned(true);
        lab.add(1);
        lab.pass(60_000);
        assert_eq!(lab.node.pool().total(), total);
        lab.node.set_cordoned(false);
        lab.pass(60_000);
        lab.node.set_cordoned(true);
        lab.del(1);
        lab.pass(60_000);
        assert_eq!(lab.node.pool().total(), 2);
    }
}

#[test]
fn discovery_goes_where_addresses_are() {
    let mut lab = Lab::new((3, 10), &[("WARM_ENI_TARGET", "2")], |_| {});
    lab.cloud.role(OTHER, SubnetRole::On);
    lab.pass(60_000);
    assert_eq!(lab.node.instance().enis[1].subnet, OTHER);
    let mut fixed = Lab::new((3, 10), &[("WARM_ENI_TARGET", "2"), ("ENABLE_SUBNET_DISCOVERY", "false")], |_| {});
    fixed.cloud.role(OTHER, SubnetRole::On);
    fixed.pass(60_000);
    assert!(fixed.node.instance().enis.iter().all(|eni| eni.subnet == SUBNET));
    assert_eq!(fixed.node.instance().enis.len(), 2);
}

#[test]
fn an_ipv6_node_counts_as_the_agent_does() {
    let env = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")];
    let mut lab = Lab::serving((3, 10), &env, |_| {});
    assert!(matches!(lab.add(1), AddOutcome::Assigned(address) if address.is_ipv6()));
    lab.add(2);
    let truth = lab.truth();
    assert_eq!((truth.total, truth.prefixes, truth.ip_max, truth.eni_max), (281_474_976_710_656.0, 0, 0, 3));
    assert_eq!((truth.assigned, truth.assigned_per_cidr, truth.ipv6), (2, None, true));
    assert!(lab.page().contains("awscni_total_ip_addresses 2.81474976710656e+14\n"));
    lab.del(1);
    assert_eq!(lab.truth().assigned_per_cidr, Some(-1));
    assert_eq!(lab.counter("awscni_ec2api_req_count{fn=\"AssignIpv6Addresses\"}"), 1);
    assert!(lab.page().contains("api=\"AssignIpv6AddressesWithContext\""));
    lab.restart();
    assert_eq!((lab.truth().assigned, lab.truth().assigned_per_cidr), (1, Some(1)));
}

#[test]
fn a_restart_forgets_counters_and_keeps_pods() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    lab.add(1);
    lab.add(2);
    lab.pass(100_000);
    let before = lab.truth();
    lab.node.forget_pod(ipamd_model::node::PodKey(2));
    lab.restart();
    let after = lab.truth();
    assert_eq!((before.add_requests, after.add_requests, after.assigned), (2, 0, 1));
    assert!(after.process_start_ms > before.process_start_ms);
    assert_eq!((after.total, after.eni_allocated), (before.total, before.eni_allocated));
    assert_eq!(lab.counter("awscni_ec2api_req_count{fn=\"CreateTags\"}"), 0);
}

#[test]
fn switching_prefixes_on_gives_the_unused_addresses_up() {
    let mut lab = Lab::serving((3, 10), &[], |_| {});
    lab.add(1);
    let settings = ipamd_model::settings::Settings::manifest_with([("ENABLE_PREFIX_DELEGATION", "true")]);
    lab.node.set_settings(settings, lab.now_ms, &mut lab.cloud);
    lab.pass(20_000);
    assert_eq!((lab.truth().prefixes, lab.truth().total), (1, 17.0));
    lab.add(2);
    let settings = ipamd_model::settings::Settings::manifest_with([("WARM_IP_TARGET", "1")]);
    lab.node.set_settings(settings, lab.now_ms, &mut lab.cloud);
    lab.pass(20_000);
    assert_eq!((lab.truth().prefixes, lab.truth().assigned), (1, 2));
    lab.del(2);
    assert_eq!(lab.truth().prefixes, 0);
}
