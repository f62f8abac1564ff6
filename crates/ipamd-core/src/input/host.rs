//! Answers of the host and of the agent's files.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::second::SecondFile;
use crate::id::Mac;

/// The host did what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostReply {
    /// Done.
    Done,
    /// The ENI's link is set up and uses this routing table.
    EniReady {
        /// Table number.
        table: u32,
    },
    /// Evidence of pods on this host.
    Pods(Vec<HostPod>),
    /// Addresses of the host's own interfaces.
    HostAddrs(Vec<Ipv4Addr>),
    /// MACs of the host's links.
    Links(Vec<Mac>),
}

/// A pod's interface on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPod {
    /// Name of the host's end.
    pub name: Box<str>,
    /// Its index.
    pub ifindex: u32,
    /// Addresses that are routed to it, or have a rule.
    pub routes: Vec<std::net::IpAddr>,
}

/// Why the host did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No link has the ENI's MAC.
    #[error("no link with this MAC address")]
    NoLink,
    /// Anything else.
    #[error("{0}")]
    Other(Box<str>),
}

/// What is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreReply<K> {
    /// The checkpoint.
    Checkpoint(Vec<CheckpointEntry<K>>),
    /// The second file.
    Second(Box<SecondFile>),
    /// Written.
    Written,
}

/// One allocation of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointEntry<K> {
    /// Whose.
    pub key: K,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// When it was assigned, nanoseconds since 1970.
    pub allocated_ns: i64,
    /// Its pod.
    pub pod: PodName,
}

/// Why the checkpoint could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error("no checkpoint")]
    Missing,
    /// Its version is unknown.
    #[error("unknown version of the checkpoint")]
    Version,
    /// It cannot be parsed.
    #[error("malformed checkpoint: {0}")]
    Malformed(Box<str>),
    /// The disk refused.
    #[error("{0}")]
    Io(Box<str>),
}

/// A pod's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodName {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}
