//! Answers of EC2.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::limits::InstanceLimits;

use crate::id::{AttachmentId, EniId, GroupId, Mac, SubnetId, VpcId};

/// An answer of EC2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ec2Reply {
    /// Subnets of the VPC and zone.
    Subnets(Vec<Ec2Subnet>),
    /// ENIs.
    Enis {
        /// Those that were found.
        found: Vec<Ec2Eni>,
        /// Where the next page begins, if there is one.
        next: Option<Box<str>>,
    },
    /// Devices of the instance in use, as (card, device).
    Devices(Vec<(u8, u8)>),
    /// Limits of the instance type.
    Limits(InstanceLimits),
    /// The ENI that was created, not attached.
    Created(Box<Ec2Eni>),
    /// The ENI is attached.
    Attached(AttachmentId),
    /// What was assigned.
    Assigned {
        /// Addresses.
        ipv4: Vec<Ipv4Addr>,
        /// Bases of /28 prefixes.
        ipv4_prefixes: Vec<Ipv4Addr>,
        /// Bases of /80 prefixes.
        ipv6_prefixes: Vec<Ipv6Addr>,
    },
    /// Done, and nothing to say.
    Done,
}

/// What `DescribeSubnets` says about one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Subnet {
    /// Which.
    pub id: SubnetId,
    /// `AvailableIpAddressCount`.
    pub free: u32,
    /// Tag `kubernetes.io/role/cni`.
    pub role: SubnetRole,
    /// Its cluster tags allow this cluster.
    pub cluster_fits: bool,
}

/// The tag `kubernetes.io/role/cni` of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubnetRole {
    /// Absent or empty.
    #[default]
    Untagged,
    /// "0": pods must not use it.
    Off,
    /// Any other value.
    On,
}

/// An ENI, as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Eni {
    /// Its id.
    pub id: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Kind.
    pub kind: EniKind,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its VPC, where EC2 says.
    pub vpc: Option<VpcId>,
    /// Its availability zone, where EC2 says.
    pub zone: Option<Box<str>>,
    /// Its primary address.
    pub primary: Option<Ipv4Addr>,
    /// Its other addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Bases of its /28 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Addr>,
    /// Bases of its /80 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
    /// Its attachment, if it is attached.
    pub attachment: Option<Ec2Attachment>,
    /// Its tags.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Its description.
    pub description: Box<str>,
    /// Its security groups.
    pub groups: Vec<GroupId>,
}

/// `InterfaceType` of an ENI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EniKind {
    /// `interface`, and any that the agent treats like it.
    #[default]
    Interface,
    /// `trunk`, of security groups for pods.
    Trunk,
    /// `efa`: with addresses.
    Efa,
    /// `efa-only`: without addresses.
    EfaOnly,
}

impl EniKind {
    /// Its addresses are for pods.
    pub const fn serves_pods(self) -> bool {
        matches!(self, Self::Interface | Self::Efa)
    }
}

/// An ENI's attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ec2Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Device number.
    pub device: u8,
    /// Network card.
    pub card: u8,
    /// The state `attached` is reached.
    pub attached: bool,
    /// It goes with the instance.
    pub delete_on_termination: bool,
}

/// Why a call of EC2 did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Ec2Failure {
    /// The API error code, if there was one.
    pub code: Option<Box<str>>,
    /// The API error message: the id that was not found stands in it, in single quotes.
    pub message: Box<str>,
    /// The whole error as the SDK writes it: one label of the metrics page shows it.
    pub text: Box<str>,
    /// Whether the call may have happened.
    pub fate: Fate,
}

/// Whether a call that failed may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was not sent.
    NotSent,
    /// EC2 answered with an error.
    Refused,
    /// It was sent, and no usable answer came: it may have happened.
    Unknown,
}
