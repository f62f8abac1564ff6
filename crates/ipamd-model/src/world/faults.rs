//! What goes wrong, and when: a table of rows (what is hit, how, from when until when).

use std::collections::BTreeSet;

use cni_types::ec2::Ec2Operation;
use cni_types::random::Random;
use ipamd_core::id::{EniId, InstanceId};
use ipamd_core::input::{ImdsErrorKind, KubeError};
use ipamd_core::output::ImdsRead;

/// A path of the instance metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`path` says what each is")]
pub enum ImdsPath {
    AvailabilityZone,
    InstanceId,
    InstanceType,
    LocalIpv4,
    Mac,
    InterfaceId,
    SubnetId,
    VpcId,
    Macs,
    MacFields,
    DeviceNumber,
    NetworkCard,
    LocalIpv4s,
    Ipv4Prefix,
    SubnetIpv4Cidr,
    Ipv6s,
    Ipv6Prefix,
    SecurityGroups,
    VpcCidrs,
}

impl ImdsPath {
    /// Every path.
    pub const ALL: [Self; 19] = [
        Self::AvailabilityZone,
        Self::InstanceId,
        Self::InstanceType,
        Self::LocalIpv4,
        Self::Mac,
        Self::InterfaceId,
        Self::SubnetId,
        Self::VpcId,
        Self::Macs,
        Self::MacFields,
        Self::DeviceNumber,
        Self::NetworkCard,
        Self::LocalIpv4s,
        Self::Ipv4Prefix,
        Self::SubnetIpv4Cidr,
        Self::Ipv6s,
        Self::Ipv6Prefix,
        Self::SecurityGroups,
        Self::VpcCidrs,
    ];

    /// The path below `/latest/meta-data/`; `MAC` stands for the MAC of an ENI.
    pub const fn path(self) -> &'static str {
        match self {
            Self::AvailabilityZone => "placement/availability-zone",
            Self::InstanceId => "instance-id",
            Self::InstanceType => "instance-type",
            Self::LocalIpv4 => "local-ipv4",
            Self::Mac => "mac",
            Self::InterfaceId => "network/interfaces/macs/MAC/interface-id",
            Self::SubnetId => "network/interfaces/macs/MAC/subnet-id",
            Self::VpcId => "network/interfaces/macs/MAC/vpc-id",
            Self::Macs => "network/interfaces/macs",
            Self::MacFields => "network/interfaces/macs/MAC",
            Self::DeviceNumber => "network/interfaces/macs/MAC/device-number",
            Self::NetworkCard => "network/interfaces/macs/MAC/network-card",
            Self::LocalIpv4s => "network/interfaces/macs/MAC/local-ipv4s",
            Self::Ipv4Prefix => "network/interfaces/macs/MAC/ipv4-prefix",
            Self::SubnetIpv4Cidr => "network/interfaces/macs/MAC/subnet-ipv4-cidr-block",
            Self::Ipv6s => "network/interfaces/macs/MAC/ipv6s",
            Self::Ipv6Prefix => "network/interfaces/macs/MAC/ipv6-prefix",
            Self::SecurityGroups => "network/interfaces/macs/MAC/security-group-ids",
            Self::VpcCidrs => "network/interfaces/macs/MAC/vpc-ipv4-cidr-blocks",
        }
    }

    /// The paths that a read asks for, in the order in which it does.
    pub const fn of(read: ImdsRead) -> &'static [Self] {
        match read {
            ImdsRead::Identity => &[
                Self::AvailabilityZone,
                Self::LocalIpv4,
                Self::InstanceId,
                Self::InstanceType,
                Self::Mac,
                Self::InterfaceId,
                Self::SubnetId,
                Self::VpcId,
            ],
            ImdsRead::Enis => &[
                Self::Macs,
                Self::MacFields,
                Self::InterfaceId,
                Self::DeviceNumber,
                Self::NetworkCard,
                Self::SubnetId,
                Self::SubnetIpv4Cidr,
                Self::LocalIpv4s,
                Self::Ipv4Prefix,
                Self::Ipv6s,
                Self::Ipv6Prefix,
            ],
            ImdsRead::Groups => &[Self::SecurityGroups],
            ImdsRead::VpcCidrs => &[Self::VpcCidrs],
        }
    }
}

/// What a row hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One operation of EC2.
    Ec2(Ec2Operation),
    /// Every operation of EC2.
    EveryEc2,
    /// One path of the instance metadata service.
    Imds(ImdsPath),
    /// All of it.
    EveryImds,
    /// What the instance metadata service shows of one ENI.
    ImdsEni(EniId),
    /// ENIs that are attached while this lasts: the instance metadata service does not list them.
    ImdsNewEnis,
    /// The API server.
    Kube,
    /// Writing the agent's checkpoint.
    DiskWrite,
    /// Setting up the link of an ENI.
    Link,
}

/// How it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// EC2 refuses with this code.
    Code(Box<str>),
    /// The call never leaves the node.
    NotSent,
    /// No answer comes; the call may have been executed.
    Lost {
        /// It was.
        executed: bool,
    },
    /// The answer comes later by this, milliseconds.
    Late(i64),
    /// The answer comes twice.
    Doubled,
    /// Half of what is asked for is done or told.
    Partial,
    /// A read of the instance metadata service fails.
    Imds(ImdsErrorKind),
    /// The ENI is not listed.
    Absent,
    /// Of the ENI's addresses only the primary one is listed.
    PrimaryOnly,
    /// The ENI's list of addresses cannot be read.
    Unreadable,
    /// The API server answers so.
    Kube(KubeError),
    /// It fails.
    Fails,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What is hit.
    pub target: Target,
    /// How.
    pub how: How,
    /// From this time on, milliseconds.
    pub from_ms: i64,
    /// Until this time, milliseconds; `i64::MAX` is for ever.
    pub until_ms: i64,
    /// This share of the events, 0 to 1.
    pub share: f64,
    /// EC2 and instance metadata of these instances only; `None`: of every one.
    pub only: Option<BTreeSet<InstanceId>>,
    /// A number of the owner's, by which rows are removed.
    pub number: usize,
}

impl Fault {
    /// Hits every event of a window.
    pub fn new(target: Target, how: How, from_ms: i64, until_ms: i64) -> Self {
        Self { target, how, from_ms, until_ms, share: 1.0, only: None, number: 0 }
    }
}

impl Fault {
    fn is_for(&self, instance: InstanceId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&instance))
    }
}

/// The table.
#[derive(Debug, Clone)]
pub struct Faults {
    rows: Vec<Fault>,
    random: Random,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none(seed: u64) -> Self {
        Self { rows: Vec::new(), random: Random::stream(seed, 2) }
    }

    /// Adds a row. Where several rows hit an event, the first one does.
    pub fn add(&mut self, fault: Fault) {
        self.rows.push(fault);
    }

    /// Removes the rows of this number.
    pub fn remove(&mut self, number: usize) {
        self.rows.retain(|row| row.number != number);
    }

    /// The rows of this number that go wrong so and are for some instances are for this one as well.
    pub fn admit(&mut self, number: usize, how: &How, instance: InstanceId) {
        let rows = self.rows.iter_mut().filter(|row| row.number == number && row.how == *how);
        for only in rows.filter_map(|row| row.only.as_mut()) {
            only.insert(instance);
        }
    }

    /// `DescribeSubnets` is throttled while an agent starts: agents 1.22.0 to 1.23.1 forget the pods of the ENIs whose set-up
    /// fails for it (the simulator's fault `restart-throttled`).
    pub fn restart_throttled(&mut self, from_ms: i64, lasts_ms: i64) {
        let how = How::Code("RequestLimitExceeded".into());
        let target = Target::Ec2(Ec2Operation::DescribeSubnets);
        self.add(Fault::new(target, how, from_ms, from_ms.saturating_add(lasts_ms)));
    }

    /// The instance metadata service does not list an ENI for a while (the simulator's fault `imds-drops-eni`).
    pub fn imds_drops_eni(&mut self, eni: EniId, from_ms: i64, lasts_ms: i64) {
        self.add(Fault::new(Target::ImdsEni(eni), How::Absent, from_ms, from_ms.saturating_add(lasts_ms)));
    }

    /// How a call of EC2 by the agent of this instance goes wrong.
    pub fn ec2(&mut self, who: InstanceId, operation: Ec2Operation, now_ms: i64) -> Option<How> {
        let hits = |target| matches!(target, Target::EveryEc2) || target == Target::Ec2(operation);
        self.first(now_ms, |row| row.is_for(who) && hits(row.target))
    }

    /// How a path of the metadata service of this instance goes wrong.
    pub fn imds(&mut self, who: InstanceId, path: ImdsPath, now_ms: i64) -> Option<ImdsErrorKind> {
        let hits = |target| matches!(target, Target::EveryImds) || target == Target::Imds(path);
        let how = self.first(now_ms, |row| row.is_for(who) && hits(row.target));
        how.map(|how| if let How::Imds(kind) = how { kind } else { ImdsErrorKind::Timeout })
    }

    /// The first row of this kind that holds for the agent of this instance, whatever share of the events it hits.
    pub fn standing(&self, who: InstanceId, now_ms: i64, is_it: impl Fn(&Fault) -> bool) -> Option<&Fault> {
        let mut open = self.rows.iter().filter(|row| (row.from_ms..row.until_ms).contains(&now_ms) && row.is_for(who));
        open.find(|row| is_it(row))
    }

    /// Since when the instance metadata service of this instance does not list ENIs that are new.
    pub fn imds_hides_since(&self, who: InstanceId, now_ms: i64) -> Option<i64> {
        self.standing(who, now_ms, |row| row.target == Target::ImdsNewEnis).map(|row| row.from_ms)
    }

    /// What the instance metadata service does not show of an ENI.
    pub fn imds_eni(&mut self, eni: EniId, now_ms: i64) -> Option<How> {
        self.first(now_ms, |row| row.target == Target::ImdsEni(eni))
    }

    /// How a call of the API server goes wrong, and how much later the answer comes.
    pub fn kube(&mut self, now_ms: i64) -> Option<How> {
        self.first(now_ms, |row| row.target == Target::Kube)
    }

    /// Whether the agent of this instance cannot write its files.
    pub fn disk(&mut self, who: InstanceId, now_ms: i64) -> bool {
        self.first(now_ms, |row| row.target == Target::DiskWrite && row.is_for(who)).is_some()
    }

    /// Whether this, which has no kinds of failure, fails.
    pub fn fails(&mut self, what: Target, now_ms: i64) -> bool {
        self.first(now_ms, |row| row.target == what).is_some()
    }

    fn first(&mut self, now_ms: i64, hits: impl Fn(&Fault) -> bool) -> Option<How> {
        let open = |row: &&Fault| (row.from_ms..row.until_ms).contains(&now_ms) && hits(row);
        for row in self.rows.iter().filter(open) {
            if row.share >= 1.0 || self.random.fraction() < row.share {
                return Some(row.how.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: InstanceId = InstanceId::from_bits(1);

    #[test]
    fn a_row_may_be_for_some_instances_and_is_removed_by_its_number() {
        let mut faults = Faults::none(1);
        let (one, other) = (InstanceId::from_bits(1), InstanceId::from_bits(2));
        let mut row = Fault::new(Target::EveryEc2, How::NotSent, 0, i64::MAX);
        (row.only, row.number) = (Some(BTreeSet::from([one])), 7);
        faults.add(row);
        let hit = |faults: &mut Faults, who| faults.ec2(who, Ec2Operation::CreateTags, 5).is_some();
        assert_eq!((hit(&mut faults, one), hit(&mut faults, other)), (true, false));
        faults.admit(7, &How::Fails, other);
        assert!(!hit(&mut faults, other), "another row");
        faults.admit(7, &How::NotSent, other);
        assert!(hit(&mut faults, other));
        faults.remove(6);
        assert!(hit(&mut faults, one));
        faults.remove(7);
        assert_eq!((hit(&mut faults, one), hit(&mut faults, other)), (false, false));
    }

    #[test]
    fn a_row_hits_its_operation_in_its_window() {
        let mut faults = Faults::none(1);
        faults.restart_throttled(1_000, 51_000);
        let throttled = Some(How::Code("RequestLimitExceeded".into()));
        let at = |faults: &mut Faults, now_ms| faults.ec2(ANY, Ec2Operation::DescribeSubnets, now_ms);
        assert_eq!([999, 1_000, 51_999, 52_000].map(|now_ms| at(&mut faults, now_ms)), {
            [None, throttled.clone(), throttled, None]
        });
        assert_eq!(faults.ec2(ANY, Ec2Operation::CreateTags, 1_000), None);
        faults.add(Fault::new(Target::EveryEc2, How::NotSent, 0, i64::MAX));
        assert_eq!(faults.ec2(ANY, Ec2Operation::CreateTags, 1_000), Some(How::NotSent));
        assert_ne!(at(&mut faults, 1_000), Some(How::NotSent), "the first row counts");
    }

    #[test]
    fn a_share_hits_about_that_many() {
        let mut faults = Faults::none(3);
        let mut row = Fault::new(Target::EveryEc2, How::Doubled, 0, i64::MAX);
        row.share = 0.25;
        faults.add(row);
        let hits = (0..4_000).filter(|now_ms| faults.ec2(ANY, Ec2Operation::CreateTags, *now_ms).is_some()).count();
        assert!((850..1_150).contains(&hits), "{hits}");
    }

    #[test]
    fn paths_of_metadata_are_named_once_and_each_is_read() {
        let reads = [ImdsRead::Identity, ImdsRead::Enis, ImdsRead::Groups, ImdsRead::VpcCidrs];
        for path in ImdsPath::ALL {
            assert!(reads.iter().any(|read| ImdsPath::of(*read).contains(&path)), "{path:?}");
            assert_eq!(ImdsPath::ALL.iter().filter(|other| other.path() == path.path()).count(), 1, "{path:?}");
        }
        let mut faults = Faults::none(1);
        faults.add(Fault::new(Target::Imds(ImdsPath::Macs), How::Imds(ImdsErrorKind::Status(500)), 0, 10));
        assert_eq!(faults.imds(ANY, ImdsPath::Macs, 5), Some(ImdsErrorKind::Status(500)));
        assert_eq!((faults.imds(ANY, ImdsPath::VpcId, 5), faults.imds(ANY, ImdsPath::Macs, 10)), (None, None));
    }
}
