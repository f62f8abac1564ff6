use std::net::Ipv4Addr;

use ipamd_core::output::Want;

use super::*;

const SUBNET: u128 = 1;
const GROUP: u128 = 7;

/// An account with one /24 and one instance with 3 ENIs of 4 addresses.
fn account(change: impl FnOnce(&mut Ec2Spec)) -> (Ec2, InstanceId) {
    let subnet = SubnetFacts::new(SubnetId::from_bits(SUBNET), Ipv4Addr::new(10, 0, 0, 0), 24);
    let mut spec = Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(GROUP)], 5);
    change(&mut spec);
    let mut ec2 = Ec2::new(spec);
    let mut limits = InstanceLimits::custom(3, 4);
    limits.network_cards = 1;
    let who = ec2.launch(0, "m5.tiny", limits, SubnetId::from_bits(SUBNET)).unwrap();
    (ec2, who)
}

fn create(token: u64, want: Want) -> Ec2Call {
    Ec2Call::CreateEni {
        token,
        subnet: SubnetId::from_bits(SUBNET),
        groups: vec![GroupId::from_bits(GROUP)],
        want,
        tags: vec![("node.k8s.amazonaws.com/instance_id".into(), "i-1".into())],
        description: "aws-K8S-i-1".into(),
    }
}

fn created(ec2: &mut Ec2, who: InstanceId, token: u64, want: Want) -> EniId {
    match ec2.execute(0, who, &create(token, want)) {
        Ok(Ec2Reply::Created(eni)) => eni.id,
        other => panic!("{other:?}"),
    }
}

fn attached(ec2: &mut Ec2, who: InstanceId, now_ms: i64, eni: EniId, device: u8) -> AttachmentId {
    match ec2.execute(now_ms, who, &Ec2Call::Attach { eni, device, card: 0 }) {
        Ok(Ec2Reply::Attached(attachment)) => attachment,
        other => panic!("{other:?}"),
    }
}

/// The code with which a call is refused, and whether its message names the ENI in quotes.
fn refused(ec2: &mut Ec2, who: InstanceId, now_ms: i64, call: &Ec2Call) -> String {
    ec2.execute(now_ms, who, call).expect_err("a refusal").code.into()
}

#[test]
fn an_eni_goes_through_its_life() {
    let (mut ec2, who) = account(|_| {});
    let eni = created(&mut ec2, who, 1, Want::Ipv4(3));
    assert_eq!(ec2.subnets().next().unwrap().lent(), 1 + 4);
    let attachment = attached(&mut ec2, who, 0, eni, 1);
    assert_eq!(ec2.eni(eni).unwrap().state(0), EniState::Attaching);
    let delete = Ec2Call::Delete { eni };
    assert_eq!(refused(&mut ec2, who, 5_000, &delete), "InvalidParameterValue");
    let again = Ec2Call::Attach { eni, device: 2, card: 0 };
    assert_eq!(refused(&mut ec2, who, 5_000, &again), "InvalidNetworkInterface.InUse");
    assert_eq!(ec2.attached(5_000, who).len(), 2);
    let flag = Ec2Call::SetDeleteOnTermination { eni, attachment };
    assert_eq!(ec2.execute(5_000, who, &flag), Ok(Ec2Reply::Done));
    let detach = Ec2Call::Detach { eni, attachment: Some(attachment) };
    assert_eq!(ec2.execute(6_000, who, &detach), Ok(Ec2Reply::Done));
    assert_eq!(ec2.eni(eni).unwrap().state(6_000), EniState::Detaching);
    assert_eq!(refused(&mut ec2, who, 6_001, &detach), "IncorrectState");
    assert_eq!(refused(&mut ec2, who, 6_001, &delete), "InvalidParameterValue", "it is still in use");
    assert_eq!(ec2.execute(11_000, who, &delete), Ok(Ec2Reply::Done));
    let refusal = ec2.execute(11_001, who, &delete).unwrap_err();
    assert_eq!(&*refusal.code, "InvalidNetworkInterfaceID.NotFound");
    assert_eq!(&*refusal.message, format!("The networkInterface ID '{eni}' does not exist"));
    assert_eq!(ec2.subnets().next().unwrap().lent(), 1);
}

#[test]
fn a_token_makes_one_eni() {
    let (mut ec2, who) = account(|_| {});
    let first = created(&mut ec2, who, 1, Want::Ipv4(2));
    assert_eq!(created(&mut ec2, who, 1, Want::Ipv4(2)), first);
    assert_ne!(created(&mut ec2, who, 2, Want::Ipv4(2)), first);
    assert_eq!(refused(&mut ec2, who, 0, &create(1, Want::Ipv4(3))), "IdempotentParameterMismatch");
    assert_eq!(ec2.enis().count(), 3);
}

#[test]
fn limits_are_those_of_type_subnet_and_account() {
    let (mut ec2, who) = account(|spec| spec.quota = 5);
    assert_eq!(refused(&mut ec2, who, 0, &create(1, Want::Ipv4(4))), "PrivateIpAddressLimitExceeded");
    assert_eq!(ec2.enis().count(), 1, "nothing is left of a refused call");
    let one = created(&mut ec2, who, 2, Want::Ipv4(1));
    let two = created(&mut ec2, who, 3, Want::Ipv4Prefixes(1));
    let three = created(&mut ec2, who, 4, Want::Ipv4(0));
    attached(&mut ec2, who, 0, one, 1);
    assert_eq!(refused(&mut ec2, who, 0, &Ec2Call::Attach { eni: two, device: 1, card: 0 }), "InvalidParameterValue");
    attached(&mut ec2, who, 0, two, 2);
    let third = Ec2Call::Attach { eni: three, device: 3, card: 0 };
    assert_eq!(refused(&mut ec2, who, 0, &third), "AttachmentLimitExceeded");
    created(&mut ec2, who, 5, Want::Ipv4(0));
    assert_eq!(refused(&mut ec2, who, 0, &create(6, Want::Ipv4(0))), "NetworkInterfaceLimitExceeded");
    let seized = ec2.subnet_mut(SubnetId::from_bits(SUBNET)).unwrap().seize_all_but(1);
    let assign = |want| Ec2Call::Assign { eni: one, want };
    assert_eq!(refused(&mut ec2, who, 0, &assign(Want::Ipv4(2))), "InsufficientFreeAddressesInSubnet");
    assert_eq!(refused(&mut ec2, who, 0, &assign(Want::Ipv4Prefixes(1))), "InsufficientCidrBlocks");
    assert!(ec2.execute(0, who, &assign(Want::Ipv4(1))).is_ok());
    ec2.subnet_mut(SubnetId::from_bits(SUBNET)).unwrap().release(&seized);
    assert!(ec2.subnets().all(|subnet| subnet.adds_up() && subnet.others() == 0));
}

#[test]
fn an_unassign_takes_all_or_nothing() {
    let (mut ec2, who) = account(|_| {});
    let eni = created(&mut ec2, who, 1, Want::Ipv4(3));
    let mine = ec2.eni(eni).unwrap().ipv4.clone();
    let foreign = Ipv4Addr::new(10, 9, 9, 9);
    let call = |ipv4: Vec<Ipv4Addr>| Ec2Call::Unassign { eni, ipv4, ipv4_prefixes: Vec::new() };
    let refusal = ec2.execute(0, who, &call(vec![mine[0], foreign])).unwrap_err();
    assert!(refusal.message.contains("10.9.9.9") && &*refusal.code == "InvalidParameterValue", "{refusal:?}");
    assert_eq!(ec2.eni(eni).unwrap().ipv4, mine);
    assert!(ec2.execute(0, who, &call(mine[..2].to_vec())).is_ok());
    assert_eq!(ec2.eni(eni).unwrap().ipv4, mine[2..]);
    assert_eq!(refused(&mut ec2, who, 0, &call(mine)), "InvalidParameterValue");
}

#[test]
fn the_primary_eni_stays_and_what_is_unknown_is_named() {
    let (mut ec2, who) = account(|_| {});
    let primary = ec2.instance(who).unwrap().primary_eni;
    let attachment = ec2.eni(primary).unwrap().attachment.as_ref().unwrap().id;
    let detach = |eni, attachment| Ec2Call::Detach { eni, attachment: Some(attachment) };
    assert_eq!(refused(&mut ec2, who, 0, &detach(primary, attachment)), "OperationNotPermitted");
    let unknown = AttachmentId::from_bits(1);
    assert_eq!(refused(&mut ec2, who, 0, &detach(primary, unknown)), "InvalidAttachmentID.NotFound");
    let eni = EniId::from_bits(99);
    for call in [
        Ec2Call::Attach { eni, device: 1, card: 0 },
        Ec2Call::Assign { eni, want: Want::Ipv4(1) },
        Ec2Call::Unassign { eni, ipv4: Vec::new(), ipv4_prefixes: Vec::new() },
        Ec2Call::UnassignIpv6 { eni, prefixes: Vec::new() },
        Ec2Call::DescribeEnis { ids: vec![primary, eni] },
        Ec2Call::Tag { eni, tags: Vec::new() },
        Ec2Call::SetGroups { eni, groups: Vec::new() },
        Ec2Call::Delete { eni },
        Ec2Call::SetDeleteOnTermination { eni, attachment },
    ] {
        let refusal = ec2.execute(0, who, &call).unwrap_err();
        assert_eq!(&*refusal.code, "InvalidNetworkInterfaceID.NotFound", "{call:?}");
        assert!(refusal.message.contains(&format!("'{eni}'")), "{refusal:?}");
    }
    let groups = vec![GroupId::from_bits(1)];
    assert_eq!(refused(&mut ec2, who, 0, &Ec2Call::SetGroups { eni: primary, groups }), "InvalidGroup.NotFound");
    let gone = InstanceId::from_bits(5);
    assert_eq!(refused(&mut ec2, gone, 0, &Ec2Call::DescribeSubnets), "InvalidInstanceID.NotFound");
}

#[test]
fn what_a_reader_sees_may_be_older_than_the_last_change() {
    let (mut ec2, who) = account(|spec| spec.lag_ms = 1_000);
    let eni = created(&mut ec2, who, 1, Want::Ipv4(1));
    let until_ms = ec2.stale[&eni].0;
    assert!(until_ms > 0, "the seed gives this change a lag");
    let read = Ec2Call::DescribeEnis { ids: vec![eni] };
    assert_eq!(refused(&mut ec2, who, until_ms - 1, &read), "InvalidNetworkInterfaceID.NotFound");
    let Ok(Ec2Reply::Enis { found, .. }) = ec2.execute(until_ms, who, &read) else { panic!("not described") };
    assert_eq!(found[0].ipv4.len(), 1);
    // A deleted ENI may still be described.
    ec2.execute(until_ms, who, &Ec2Call::Delete { eni }).unwrap();
    let gone_ms = ec2.stale[&eni].0;
    assert!(ec2.execute(gone_ms - 1, who, &read).is_ok() && gone_ms > until_ms);
    assert_eq!(refused(&mut ec2, who, gone_ms, &read), "InvalidNetworkInterfaceID.NotFound");
}

#[test]
fn what_was_left_behind_is_listed_page_by_page_for_every_instance() {
    let (mut ec2, who) = account(|spec| spec.page_size = 2);
    let other = ec2.launch(0, "m5.tiny", InstanceLimits::custom(3, 4), SubnetId::from_bits(SUBNET)).unwrap();
    let mut left: Vec<EniId> = (0..5).map(|token| created(&mut ec2, who, token, Want::Ipv4(0))).collect();
    let used = left.pop().unwrap();
    attached(&mut ec2, who, 0, used, 1);
    let (mut listed, mut page) = (Vec::new(), None);
    loop {
        let reply = ec2.execute(10_000, other, &Ec2Call::DescribeLeaked { page });
        let Ok(Ec2Reply::Enis { found, next }) = reply else { panic!("{reply:?}") };
        assert!(found.len() <= 2);
        listed.extend(found.iter().map(|eni| eni.id));
        page = next;
        if page.is_none() {
            break;
        }
    }
    left.sort();
    assert_eq!(listed, left);
    ec2.instance_mut(other).unwrap().cluster = Some("prod".into());
    let reply = ec2.execute(10_000, other, &Ec2Call::DescribeLeaked { page: None });
    assert_eq!(reply, Ok(Ec2Reply::Enis { found: Vec::new(), next: None }), "those of another cluster");
    let bad = Ec2Call::DescribeLeaked { page: Some("x".into()) };
    assert_eq!(refused(&mut ec2, other, 0, &bad), "InvalidParameterValue");
}

#[test]
fn an_instance_takes_only_what_goes_with_it() {
    let (mut ec2, who) = account(|_| {});
    let stays = created(&mut ec2, who, 1, Want::Ipv4(1));
    let goes = created(&mut ec2, who, 2, Want::Ipv4(1));
    attached(&mut ec2, who, 0, stays, 1);
    let attachment = attached(&mut ec2, who, 0, goes, 2);
    ec2.execute(0, who, &Ec2Call::SetDeleteOnTermination { eni: goes, attachment }).unwrap();
    ec2.terminate(5_000, who);
    assert_eq!(ec2.enis().map(|eni| (eni.id, eni.state(5_000))).collect::<Vec<_>>(), [(stays, EniState::Available)]);
    assert_eq!(ec2.subnets().next().unwrap().lent(), 2);
}

#[test]
fn others_may_attach_and_take_away() {
    let (mut ec2, who) = account(|_| {});
    let efa = ec2.attach_foreign(0, who, EniKind::EfaOnly, &[]).unwrap();
    assert_eq!((ec2.eni(efa).unwrap().primary, ec2.subnets().next().unwrap().lent()), (None, 1));
    let trunk = ec2.attach_foreign(0, who, EniKind::Trunk, &[]).unwrap();
    let devices = ec2.execute(0, who, &Ec2Call::DescribeInstance);
    assert_eq!(devices, Ok(Ec2Reply::Devices(vec![(0, 0), (0, 1), (0, 2)])));
    assert_eq!(&*ec2.attach_foreign(0, who, EniKind::Interface, &[]).unwrap_err().code, "AttachmentLimitExceeded");
    assert_eq!(ec2.enis().count(), 3, "nothing is left of it");
    let primary = ec2.instance(who).unwrap().primary_eni;
    assert!(ec2.lose_eni(9, trunk) && !ec2.lose_eni(9, trunk) && !ec2.lose_eni(9, primary));
    assert_eq!(ec2.attached(5_000, who).len(), 2);
}
