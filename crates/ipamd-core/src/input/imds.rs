//! Answers of the instance metadata service.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni_types::limits::InstanceLimits;

use crate::id::{EniId, GroupId, InstanceId, Mac, SubnetId, VpcId};

/// An answer of the instance metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImdsReply {
    /// Who this instance is.
    Identity(Box<Identity>),
    /// Every attached ENI.
    Enis(Vec<ImdsEni>),
    /// Security groups of the primary ENI.
    Groups(Vec<GroupId>),
    /// The VPC's CIDRs, as text.
    VpcCidrs(Vec<Box<str>>),
}

/// Who this instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Region.
    pub region: Box<str>,
    /// Availability zone.
    pub zone: Box<str>,
    /// Instance.
    pub instance: InstanceId,
    /// Instance type.
    pub instance_type: Box<str>,
    /// Limits of the type where they are known without asking EC2.
    pub limits: Option<InstanceLimits>,
    /// VPC.
    pub vpc: VpcId,
    /// Subnet of the primary ENI.
    pub subnet: SubnetId,
    /// The primary ENI.
    pub primary_eni: EniId,
    /// Its MAC.
    pub primary_mac: Mac,
    /// Its first IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its first IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

/// An attached ENI, as the instance metadata service shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImdsEni {
    /// Its id.
    pub id: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Device number.
    pub device: u8,
    /// Network card.
    pub card: u8,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its IPv4 addresses, the primary first. `None`: the list could not be read, which is not an empty list.
    pub ipv4: Option<Vec<Ipv4Addr>>,
    /// Bases of its /28 prefixes.
    pub ipv4_prefixes: Vec<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Bases of its /80 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Addr>,
}

/// Why a read of the instance metadata service failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {kind}")]
pub struct ImdsError {
    /// Path below `/latest/`.
    pub path: Box<str>,
    /// How.
    pub kind: ImdsErrorKind,
}

/// How a read of the instance metadata service fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImdsErrorKind {
    /// 404.
    #[error("not found")]
    NotFound,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// The answer is not what stands there by its documentation.
    #[error("malformed answer")]
    Malformed,
}
