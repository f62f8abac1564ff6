use std::net::Ipv4Addr;

use cni_types::limits::InstanceLimits;
use ipamd_core::id::SubnetId;
use ipamd_core::output::{Ec2Call, Want};

use super::super::ec2::Ec2Spec;
use super::super::faults::{Fault, Target};
use super::super::subnet::SubnetFacts;
use super::*;

struct Lab {
    ec2: Ec2,
    imds: Imds,
    faults: Faults,
    who: InstanceId,
}

fn lab(change: impl FnOnce(&mut ImdsSpec)) -> Lab {
    let subnet = SubnetFacts::new(SubnetId::from_bits(1), Ipv4Addr::new(10, 0, 0, 0), 24);
    let mut ec2 = Ec2::new(Ec2Spec::new(vec![subnet], vec![GroupId::from_bits(7)], 5));
    let who = ec2.launch(0, "m5.large", InstanceLimits::custom(3, 10), SubnetId::from_bits(1)).unwrap();
    let mut spec = ImdsSpec::new(VpcId::from_bits(3), vec!["10.0.0.0/16".into()]);
    change(&mut spec);
    let imds = Imds::new(Arc::new(spec), who, 0, &ec2, 1);
    Lab { ec2, imds, faults: Faults::none(1), who }
}

impl Lab {
    fn read(&mut self, now_ms: i64, read: ImdsRead) -> Result<ImdsReply, ImdsError> {
        self.imds.read(now_ms, read, &self.ec2, &mut self.faults)
    }

    fn enis(&mut self, now_ms: i64) -> Vec<ImdsEni> {
        match self.read(now_ms, ImdsRead::Enis) {
            Ok(ImdsReply::Enis(enis)) => enis,
            other => panic!("{other:?}"),
        }
    }

    fn primary(&self) -> EniId {
        self.ec2.instance(self.who).unwrap().primary_eni
    }

    /// Assigns addresses to the primary ENI at a time, and tells the service.
    fn assign(&mut self, now_ms: i64, count: u32) {
        let call = Ec2Call::Assign { eni: self.primary(), want: Want::Ipv4(count) };
        self.ec2.execute(now_ms, self.who, &call).unwrap();
        self.imds.observe(now_ms, &self.ec2);
    }

    fn fault(&mut self, target: Target, how: How) {
        self.faults.add(Fault::new(target, how, 0, i64::MAX));
    }
}

#[test]
fn a_change_is_shown_after_the_lag() {
    let mut lab = lab(|spec| spec.lag_ms = (3_000, 3_000));
    lab.assign(1_000, 4);
    let shown = [3_999, 4_000].map(|now_ms| lab.enis(now_ms)[0].ipv4.as_ref().unwrap().len());
    assert_eq!(shown, [1, 5]);
    let primary = lab.ec2.eni(lab.primary()).unwrap().primary.unwrap();
    assert_eq!(lab.enis(4_000)[0].ipv4.as_ref().unwrap()[0], primary, "the primary address comes first");
}

#[test]
fn a_new_eni_is_shown_after_its_attach_and_a_lost_one_for_a_while_yet() {
    let mut lab = lab(|spec| spec.lag_ms = (2_000, 2_000));
    let eni = lab.ec2.attach_foreign(0, lab.who, ipamd_core::input::EniKind::Interface, &[]).unwrap();
    let attached_ms = lab.ec2.eni(eni).unwrap().attachment.as_ref().unwrap().attached_ms;
    assert_eq!([attached_ms + 1_999, attached_ms + 2_000].map(|now_ms| lab.enis(now_ms).len()), [1, 2]);
    lab.ec2.lose_eni(20_000, eni);
    assert_eq!([20_000, 21_999, 22_000].map(|now_ms| lab.enis(now_ms).len()), [2, 2, 1]);
    assert_eq!(lab.imds.shown.len(), 1, "what is gone is forgotten");
}

#[test]
fn a_list_may_be_shown_in_part_first() {
    let mut lab = lab(|spec| (spec.lag_ms, spec.partial) = ((1_000, 1_000), 1.0));
    lab.assign(0, 6);
    let shown = [999, 1_000, 1_999, 2_000].map(|now_ms| lab.enis(now_ms)[0].ipv4.as_ref().unwrap().len());
    assert_eq!(shown, [1, 4, 4, 7]);
    lab.assign(5_000, 1);
    assert_eq!(lab.enis(6_000)[0].ipv4.as_ref().unwrap().len(), 8, "one address has no half");
}

#[test]
fn an_eni_is_left_out_cut_or_unreadable_by_fault() {
    let fault = |how: Option<How>| {
        let mut lab = lab(|_| {});
        lab.assign(0, 3);
        let eni = lab.primary();
        if let Some(how) = how {
            lab.fault(Target::ImdsEni(eni), how);
        }
        lab.enis(1).first().map(|eni| eni.ipv4.as_ref().map(Vec::len))
    };
    assert_eq!(fault(None), Some(Some(4)));
    assert_eq!(fault(Some(How::Absent)), None);
    assert_eq!(fault(Some(How::PrimaryOnly)), Some(Some(1)));
    assert_eq!(fault(Some(How::Unreadable)), Some(None), "unreadable is not empty");
    let mut lab = lab(|_| {});
    lab.fault(Target::Imds(ImdsPath::MacFields), How::Imds(ImdsErrorKind::Timeout));
    assert_eq!(lab.enis(1)[0].ipv4, None, "the agent takes no fields for no addresses");
}

#[test]
fn a_path_that_fails_fails_the_reads_that_need_it() {
    let mut lab = lab(|_| {});
    lab.fault(Target::Imds(ImdsPath::Ipv4Prefix), How::Imds(ImdsErrorKind::Status(500)));
    let error = lab.read(1, ImdsRead::Enis).unwrap_err();
    assert_eq!(error.to_string(), "meta-data/network/interfaces/macs/MAC/ipv4-prefix: status 500");
    for read in [ImdsRead::Identity, ImdsRead::Groups, ImdsRead::VpcCidrs] {
        assert!(lab.read(1, read).is_ok(), "{read:?}");
    }
    lab.fault(Target::EveryImds, How::Fails);
    assert_eq!(lab.read(1, ImdsRead::Groups).unwrap_err().kind, ImdsErrorKind::Timeout);
}

#[test]
fn the_instance_says_who_it_is() {
    let mut lab = lab(|_| {});
    let Ok(ImdsReply::Identity(identity)) = lab.read(0, ImdsRead::Identity) else { panic!("no identity") };
    assert_eq!(
        (identity.instance, identity.primary_eni, &*identity.instance_type),
        (lab.who, lab.primary(), "m5.large")
    );
    assert_eq!(identity.limits, None, "a type that no table lists has to be asked for");
    assert_eq!(lab.read(0, ImdsRead::Groups), Ok(ImdsReply::Groups(vec![GroupId::from_bits(7)])));
    lab.ec2.terminate(1, lab.who);
    assert_eq!(lab.read(1, ImdsRead::Identity).unwrap_err().kind, ImdsErrorKind::NotFound);
}
