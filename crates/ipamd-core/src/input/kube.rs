//! Answers of the API server.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::id::{EniId, GroupId, Mac, SubnetId};

/// What the node object says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSeen {
    /// `status.capacity.pods`.
    pub max_pods: Option<u32>,
    /// `spec.unschedulable`, or a taint that says the same.
    pub unschedulable: bool,
    /// The name of the node's `ENIConfig`, from its annotation or label.
    pub eni_config: Option<Box<str>>,
    /// `metadata.resourceVersion` as a number, where it is one: an older one is ignored.
    pub version: u64,
}

/// An answer of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeReply {
    /// The node.
    Node(NodeSeen),
    /// The node's `ENIConfig`.
    EniConfig {
        /// `spec.subnet`.
        subnet: SubnetId,
        /// `spec.securityGroups`; none means those of the primary ENI.
        groups: Vec<GroupId>,
    },
    /// A pod.
    Pod {
        /// Its UID.
        uid: Box<str>,
        /// Its branch ENI, if the VPC resource controller has written one.
        branch: Option<BranchEni>,
        /// Each container's claim to a branch ENI, in the order of the containers.
        wants_branch: Vec<bool>,
    },
    /// The `CNINode` object holds the feature.
    CniNodePatched,
    /// The pod's annotation is written.
    Annotated,
}

/// A branch ENI of a pod with security groups of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchEni {
    /// Its id.
    pub eni: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// VLAN on the trunk.
    pub vlan: u16,
    /// First address after the network's in its subnet.
    pub gateway: Option<Ipv4Addr>,
}

/// Why the API server did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KubeError {
    /// 404.
    #[error("not found")]
    NotFound,
    /// 409.
    #[error("conflict")]
    Conflict,
    /// 403.
    #[error("forbidden")]
    Forbidden,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// Anything else.
    #[error("failed")]
    Other,
}
