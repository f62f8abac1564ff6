//! What EC2 never breaks, whatever it is called with.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::limits::InstanceLimits;
use cni_types::random::Random;
use ipamd_core::id::{AttachmentId, EniId, GroupId, InstanceId, SubnetId};
use ipamd_core::input::EniKind;
use ipamd_core::output::{Ec2Call, Want};
use ipamd_model::world::ec2::eni::{Eni, EniState};
use ipamd_model::world::ec2::{Ec2, Ec2Spec};
use ipamd_model::world::subnet::SubnetFacts;
use proptest::prelude::*;

const CALLS: usize = 100_000;

fn account(seed: u64, lag_ms: i64) -> Ec2 {
    let subnet = |number: u8, bits| {
        let mut facts =
            SubnetFacts::new(SubnetId::from_bits(u128::from(number)), Ipv4Addr::new(10, 0, number, 0), bits);
        facts.ipv6 = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(number), 0, 0, 0, 0));
        facts
    };
    let mut spec = Ec2Spec::new(vec![subnet(1, 24), subnet(2, 26)], vec![GroupId::from_bits(1)], seed);
    (spec.lag_ms, spec.quota) = (lag_ms, 40);
    Ec2::new(spec)
}

/// Each address is in one place, counts add up, each ENI is in one state and takes its place once.
fn assert_sound(ec2: &Ec2, now_ms: i64, instances: &[InstanceId]) {
    let mut owners: BTreeMap<Ipv4Addr, EniId> = BTreeMap::new();
    let mut owners_ipv6: BTreeMap<Ipv6Addr, EniId> = BTreeMap::new();
    let mut lent: BTreeMap<SubnetId, u32> = BTreeMap::new();
    let mut places: BTreeMap<(InstanceId, u8, u8), EniId> = BTreeMap::new();
    for eni in ec2.enis() {
        for address in eni.every_ipv4() {
            assert_eq!(owners.insert(address, eni.id), None, "{address} is in two places");
            *lent.entry(eni.subnet).or_default() += 1;
            let subnet = ec2.subnets().find(|subnet| subnet.spec.id == eni.subnet).unwrap();
            assert!(subnet.contains(address));
        }
        for base in &eni.ipv6_prefixes {
            assert_eq!(owners_ipv6.insert(*base, eni.id), None, "{base} is in two places");
        }
        let state = eni.state(now_ms);
        if let Some(at) = eni.attachment.as_ref().filter(|_| state != EniState::Available) {
            assert_eq!(places.insert((at.instance, at.card, at.device), eni.id), None, "two ENIs at one device");
            assert!(instances.contains(&at.instance));
        }
    }
    for subnet in ec2.subnets() {
        assert!(subnet.adds_up(), "{subnet:?}");
        assert_eq!(subnet.lent(), lent.get(&subnet.spec.id).copied().unwrap_or(0));
        let ipv6 = ec2.enis().filter(|eni| eni.subnet == subnet.spec.id).map(|eni| eni.ipv6_prefixes.len());
        assert_eq!(subnet.ipv6_lent(), ipv6.sum::<usize>());
    }
    for instance in instances {
        let limits = ec2.instance(*instance).unwrap().limits;
        let bound: Vec<&Eni> = ec2.enis().filter(|eni| eni.attached_to(*instance).is_some()).collect();
        let held = bound.iter().filter(|eni| eni.state(now_ms) != EniState::Available).count();
        assert!(held <= usize::from(limits.max_enis), "{held} ENIs");
        let attached = bound.iter().filter(|eni| eni.state(now_ms) == EniState::Attached).count();
        assert_eq!(ec2.attached(now_ms, *instance).len(), attached);
        assert!(bound.iter().all(|eni| eni.slots_used() <= limits.slots() as usize));
    }
}

/// What a caller could name: things that exist, and at times things that do not.
struct Caller {
    random: Random,
    enis: Vec<EniId>,
    attachments: Vec<AttachmentId>,
}

impl Caller {
    fn eni(&mut self) -> EniId {
        match self.enis.len() {
            some if some > 0 && self.random.below(20) > 0 => self.enis[self.random.index(some)],
            _ => EniId::from_bits(u128::from(self.random.below(9))),
        }
    }

    fn attachment(&mut self, ec2: &Ec2, eni: EniId) -> AttachmentId {
        let own = ec2.eni(eni).and_then(|eni| eni.attachment.as_ref()).map(|at| at.id);
        match own {
            Some(own) if self.random.below(10) > 0 => own,
            _ if !self.attachments.is_empty() => self.attachments[self.random.index(self.attachments.len())],
            _ => AttachmentId::from_bits(1),
        }
    }

    fn want(&mut self) -> Want {
        let count = u32::try_from(self.random.below(5)).unwrap();
        [Want::Ipv4(count), Want::Ipv4Prefixes(count), Want::Ipv6Prefixes(count)][self.random.index(3)]
    }

    /// Some of these, and at times one that is not among them.
    fn some(&mut self, of: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let mut some: Vec<Ipv4Addr> = of.iter().copied().filter(|_| self.random.below(3) == 0).collect();
        if self.random.below(8) == 0 {
            some.push(Ipv4Addr::new(10, 0, 1, 77));
        }
        some
    }

    fn call(&mut self, ec2: &Ec2) -> Ec2Call {
        let eni = self.eni();
        let groups = vec![GroupId::from_bits(u128::from(self.random.below(12).min(1)))];
        match self.random.below(16) {
            0..=2 => Ec2Call::CreateEni {
                token: self.random.below(5_000),
                subnet: SubnetId::from_bits(u128::from(1 + self.random.below(2))),
                groups: vec![GroupId::from_bits(1)],
                want: self.want(),
                tags: Vec::new(),
                description: "".into(),
            },
            3 | 4 => Ec2Call::Attach { eni, device: u8::try_from(self.random.below(4)).unwrap(), card: 0 },
            5 | 6 => Ec2Call::Detach { eni, attachment: Some(self.attachment(ec2, eni)) },
            7 | 8 => Ec2Call::Delete { eni },
            9 | 10 => Ec2Call::Assign { eni, want: self.want() },
            11 | 12 => {
                let (ipv4, prefixes) =
                    ec2.eni(eni).map(|eni| (eni.ipv4.clone(), eni.ipv4_prefixes.clone())).unwrap_or_default();
                Ec2Call::Unassign { eni, ipv4: self.some(&ipv4), ipv4_prefixes: self.some(&prefixes) }
            }
            13 => {
                let prefixes = ec2.eni(eni).map(|eni| eni.ipv6_prefixes.clone()).unwrap_or_default();
                Ec2Call::UnassignIpv6 { eni, prefixes: prefixes.into_iter().take(1).collect() }
            }
            14 => Ec2Call::SetDeleteOnTermination { eni, attachment: self.attachment(ec2, eni) },
            _ => [
                Ec2Call::SetGroups { eni, groups },
                Ec2Call::DescribeEnis { ids: vec![eni] },
                Ec2Call::DescribeLeaked { page: None },
                Ec2Call::DescribeInstance,
                Ec2Call::DescribeSubnets,
                Ec2Call::Tag { eni, tags: vec![("k".into(), "v".into())] },
            ][self.random.index(6)]
            .clone(),
        }
    }
}

/// Random calls of three instances, of which one is now and then replaced, and of others; every so often all is checked.
fn play(seed: u64, calls: usize, lag_ms: i64, every: usize) -> (Ec2, Vec<InstanceId>, i64, usize) {
    let mut ec2 = account(seed, lag_ms);
    let limits = InstanceLimits::custom(4, 6);
    let launch = |ec2: &mut Ec2, now_ms| ec2.launch(now_ms, "t", limits, SubnetId::from_bits(1));
    let mut instances: Vec<InstanceId> = (0..3).map(|_| launch(&mut ec2, 0).unwrap()).collect();
    let mut caller = Caller { random: Random::new(seed), enis: Vec::new(), attachments: Vec::new() };
    let (mut now_ms, mut done) = (0, 0);
    for number in 0..calls {
        now_ms += caller.random.between(0, 400);
        let who = instances[caller.random.index(instances.len())];
        match caller.random.below(400) {
            0 => {
                ec2.terminate(now_ms, who);
                instances.retain(|instance| *instance != who);
                instances.extend(launch(&mut ec2, now_ms));
                if instances.is_empty() {
                    // A full account: somebody cleans up.
                    let ids: Vec<EniId> = ec2.enis().map(|eni| eni.id).collect();
                    assert!(ids.into_iter().all(|id| ec2.lose_eni(now_ms, id)));
                    instances.push(launch(&mut ec2, now_ms).unwrap());
                }
            }
            1 => _ = ec2.attach_foreign(now_ms, who, EniKind::Trunk, &[]),
            2 => _ = ec2.lose_eni(now_ms, caller.eni()),
            _ => {
                let call = caller.call(&ec2);
                done += usize::from(ec2.execute(now_ms, who, &call).is_ok());
            }
        }
        caller.enis = ec2.enis().map(|eni| eni.id).collect();
        caller.attachments = ec2.enis().filter_map(|eni| Some(eni.attachment.as_ref()?.id)).collect();
        if number % every == 0 {
            assert_sound(&ec2, now_ms, &instances);
        }
    }
    assert_sound(&ec2, now_ms, &instances);
    (ec2, instances, now_ms, done)
}

#[test]
fn nothing_leaks_over_a_hundred_thousand_calls() {
    let (mut ec2, instances, now_ms, done) = play(7, CALLS, 300, 50);
    assert!(done > CALLS / 4, "only {done} calls did anything");
    // All instances end, and what is left behind is deleted: every address is free.
    for instance in instances {
        ec2.terminate(now_ms, instance);
    }
    let left: Vec<EniId> = ec2.enis().map(|eni| eni.id).collect();
    assert!(left.into_iter().all(|id| ec2.lose_eni(now_ms + 10_000, id)));
    assert_eq!(
        ec2.subnets().map(|subnet| (subnet.lent(), subnet.ipv6_lent(), subnet.free())).collect::<Vec<_>>(),
        [(0, 0, 251), (0, 0, 59)]
    );
}

#[test]
fn random_accounts_stay_sound() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let cases = (any::<u64>(), 1_usize..400, 0_i64..3_000);
    runner
        .run(&cases, |(seed, calls, lag_ms)| {
            play(seed, calls, lag_ms, 1);
            Ok(())
        })
        .unwrap();
}
