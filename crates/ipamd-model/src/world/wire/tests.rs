use std::net::Ipv4Addr;

use cni_types::limits::InstanceLimits;
use ipamd_core::id::{EniId, Epoch, SubnetId};

use super::super::ec2::Ec2Spec;
use super::super::faults::{Fault, Target};
use super::super::subnet::SubnetFacts;
use super::*;

/// One instance, and a way to EC2.
struct Way {
    ec2: Ec2,
    wire: Wire,
    faults: Faults,
    who: InstanceId,
    primary: EniId,
}

fn way(spec: WireSpec) -> Way {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 0, 0), 24);
    let mut ec2 = Ec2::new(Ec2Spec::new(vec![subnet], Vec::new(), 5));
    let who = ec2.launch(0, "m5.large", InstanceLimits::custom(3, 10), SubnetId::from_bits(1)).unwrap();
    let primary = ec2.instance(who).unwrap().primary_eni;
    Way { ec2, wire: Wire::new(spec, 1), faults: Faults::none(1), who, primary }
}

impl Way {
    fn fault(&mut self, how: How, until_ms: i64) {
        self.faults.add(Fault::new(Target::EveryEc2, how, 0, until_ms));
    }

    /// Sends a call at a time; the answers, and how many attempts there were.
    fn call(&mut self, now_ms: i64, call: Ec2Call) -> (Vec<Ec2Answer>, u32) {
        let (mut at_ms, mut exchange) = self.wire.send(now_ms, self.who, (OpId(1), Epoch(1)), call);
        let mut attempts = 1;
        loop {
            match self.wire.arrive(at_ms, exchange, &mut self.ec2, &mut self.faults) {
                Arrival::Again(again_ms, again) => {
                    assert!(again_ms > at_ms);
                    (at_ms, exchange) = (again_ms, again);
                    attempts += 1;
                }
                Arrival::Answered(answers) => return (answers, attempts),
            }
        }
    }

    fn assign(&mut self, count: u32) -> (Vec<Ec2Answer>, u32) {
        self.call(0, Ec2Call::Assign { eni: self.primary, want: Want::Ipv4(count) })
    }

    fn addresses(&self) -> usize {
        self.ec2.eni(self.primary).unwrap().ipv4.len()
    }
}

#[test]
fn an_answer_takes_the_latency_of_its_operation() {
    let mut way = way(WireSpec::default());
    let (answers, attempts) = way.assign(2);
    let [(at_ms, answer)] = &*answers else { panic!("{answers:?}") };
    let typical = Ec2Operation::AssignPrivateIpAddresses.typical_ms();
    assert!((typical / 2..=typical * 3 / 2).contains(at_ms) && i64::from(answer.took_ms) == *at_ms, "{at_ms}");
    assert!(answer.result.is_ok() && attempts == 1 && way.addresses() == 2);
}

#[test]
fn throttling_is_tried_again_and_then_told() {
    let mut way = way(WireSpec::default());
    way.fault(How::Code("RequestLimitExceeded".into()), i64::MAX);
    let (answers, attempts) = way.assign(1);
    let failure = answers[0].1.result.as_ref().unwrap_err();
    assert_eq!((attempts, failure.code.as_deref(), failure.fate), (3, Some("RequestLimitExceeded"), Fate::Refused));
    assert!(failure.text.contains("exceeded maximum number of attempts, 3, "), "{failure}");
    let mut healed = self::way(WireSpec::default());
    healed.fault(How::Code("RequestLimitExceeded".into()), 300);
    let (answers, attempts) = healed.assign(1);
    assert!(answers[0].1.result.is_ok() && attempts > 1);
    let mut denied = self::way(WireSpec::default());
    denied.fault(How::Code("UnauthorizedOperation".into()), i64::MAX);
    let (answers, attempts) = denied.assign(1);
    assert!(answers[0].1.result.is_err() && attempts == 1, "a refusal that stays is told at once");
}

#[test]
fn a_lost_answer_leaves_open_what_happened() {
    for executed in [false, true] {
        let mut way = way(WireSpec { attempts: 1, ..WireSpec::default() });
        way.fault(How::Lost { executed }, i64::MAX);
        let (answers, _) = way.assign(2);
        let failure = answers[0].1.result.as_ref().unwrap_err();
        assert_eq!((failure.fate, &failure.code), (Fate::Unknown, &None));
        assert!(answers[0].0 >= 10_000);
        assert_eq!(way.addresses(), if executed { 2 } else { 0 });
    }
    // The SDK's next attempt assigns once more.
    let mut way = way(WireSpec::default());
    way.fault(How::Lost { executed: true }, 5_000);
    let (answers, attempts) = way.assign(2);
    assert!(answers[0].1.result.is_ok());
    assert_eq!((attempts, way.addresses()), (2, 4));
}

#[test]
fn answers_come_late_twice_or_in_part() {
    let mut late = way(WireSpec::default());
    late.fault(How::Late(60_000), i64::MAX);
    assert!(late.assign(1).0[0].0 >= 60_000 && late.addresses() == 1);
    let mut doubled = way(WireSpec::default());
    doubled.fault(How::Doubled, i64::MAX);
    let (answers, _) = doubled.assign(1);
    assert!(answers.len() == 2 && answers[0] == answers[1] && doubled.addresses() == 1);
    let mut partial = way(WireSpec::default());
    partial.fault(How::Partial, i64::MAX);
    partial.assign(5);
    assert_eq!(partial.addresses(), 3);
    let ids = vec![partial.primary, partial.primary];
    let (answers, _) = partial.call(1_000, Ec2Call::DescribeEnis { ids });
    assert!(matches!(&answers[0].1.result, Ok(Ec2Reply::Enis { found, .. }) if found.len() == 1));
}

#[test]
fn what_is_not_sent_does_not_happen() {
    let mut way = way(WireSpec::default());
    let detach = Ec2Call::Detach { eni: way.primary, attachment: None };
    let (answers, _) = way.call(0, detach);
    let failure = answers[0].1.result.as_ref().unwrap_err();
    assert!(failure.fate == Fate::NotSent && failure.text.contains("AttachmentId"), "{failure}");
    way.fault(How::NotSent, i64::MAX);
    let (answers, _) = way.assign(1);
    assert_eq!(answers[0].1.result.as_ref().unwrap_err().fate, Fate::NotSent);
    assert_eq!(way.addresses(), 0);
}

#[test]
fn an_account_that_asks_too_often_is_throttled() {
    let mut way = way(WireSpec { attempts: 1, mutations: Some((2, 1)), ..WireSpec::default() });
    let codes: Vec<_> =
        (0..4).map(|_| way.assign(1).0[0].1.result.as_ref().err().and_then(|f| f.code.clone())).collect();
    assert_eq!(codes, [None, None, Some("RequestLimitExceeded".into()), Some("RequestLimitExceeded".into())]);
    assert!(way.call(0, Ec2Call::DescribeSubnets).0[0].1.result.is_ok(), "reads have a bucket of their own");
}

#[test]
fn a_creation_whose_answer_is_lost_makes_one_eni() {
    let mut way = way(WireSpec::default());
    way.fault(How::Lost { executed: true }, 5_000);
    let call = Ec2Call::CreateEni {
        token: 9,
        subnet: SubnetId::from_bits(1),
        groups: Vec::new(),
        want: Want::Ipv4(1),
        tags: Vec::new(),
        description: "".into(),
    };
    let (answers, attempts) = way.call(0, call);
    let Ok(Ec2Reply::Created(eni)) = &answers[0].1.result else { panic!("{answers:?}") };
    assert_eq!((attempts, way.ec2.enis().count(), way.wire.arrived(Ec2Operation::CreateNetworkInterface)), (2, 2, 2));
    assert!(way.ec2.eni(eni.id).is_some());
}
