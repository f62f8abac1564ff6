//! What the EC2 server needs to know of the cluster: plain snapshots, filled by the owner of the cluster.

use std::collections::BTreeMap;

/// Where the server's answers come from. Each call is a snapshot of now.
pub trait Ec2View: Send + Sync {
    /// The account's subnets.
    fn subnets(&self) -> Vec<Subnet>;
    /// The account's instances.
    fn instances(&self) -> Vec<Instance>;
    /// The account's network interfaces.
    fn network_interfaces(&self) -> Vec<NetworkInterface>;
}

/// Tags of one resource.
pub type Tags = BTreeMap<String, String>;

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`
    pub subnet_id: String,
    /// `vpc-…`
    pub vpc_id: String,
    /// For example `eu-central-1a`.
    pub availability_zone: String,
    /// For example `10.0.0.0/19`.
    pub cidr_block: String,
    /// Free IPv4 addresses as EC2 counts them.
    pub available_ip_address_count: u64,
    /// Its tags.
    pub tags: Tags,
    /// Its CIDR reservations.
    pub cidr_reservations: Vec<CidrReservation>,
}

/// A part of a subnet set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CidrReservation {
    /// `scr-…`
    pub reservation_id: String,
    /// The reserved block.
    pub cidr: String,
    /// `prefix` or `explicit`.
    pub kind: String,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`
    pub instance_id: String,
    /// For example `m5.large`.
    pub instance_type: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub state: String,
    /// Primary IPv4 address.
    pub private_ip: String,
    /// Private DNS name, the node's name in EKS.
    pub private_dns_name: String,
    /// `subnet-…` of the primary interface.
    pub subnet_id: String,
    /// `vpc-…`
    pub vpc_id: String,
    /// For example `eu-central-1a`.
    pub availability_zone: String,
    /// Launch time, Unix milliseconds.
    pub launch_time_ms: i64,
    /// Its tags.
    pub tags: Tags,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInterface {
    /// `eni-…`
    pub network_interface_id: String,
    /// `subnet-…`
    pub subnet_id: String,
    /// `vpc-…`
    pub vpc_id: String,
    /// For example `eu-central-1a`.
    pub availability_zone: String,
    /// `available` or `in-use`.
    pub status: String,
    /// `interface`, `trunk`, `branch`…
    pub interface_type: String,
    /// The free text that the CNI sets to `aws-K8S-…`.
    pub description: String,
    /// What it is attached to, if anything.
    pub attachment: Option<Attachment>,
    /// All IPv4 addresses, the primary one first.
    pub private_ips: Vec<String>,
    /// Delegated /28 prefixes.
    pub ipv4_prefixes: Vec<String>,
    /// Delegated /80 prefixes.
    pub ipv6_prefixes: Vec<String>,
    /// Its tags.
    pub tags: Tags,
}

/// An interface's place on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `eni-attach-…`
    pub attachment_id: String,
    /// `i-…`
    pub instance_id: String,
    /// 0 is the primary interface.
    pub device_index: u32,
}
