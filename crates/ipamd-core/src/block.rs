//! What EC2 lends to an ENI: an address or a prefix.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An address or a prefix of an ENI, its primary address left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Block {
    /// One IPv4 address.
    Address(Ipv4Addr),
    /// A /28, by its base.
    Prefix(Ipv4Addr),
    /// A /80, by its base.
    Ipv6Prefix(Ipv6Addr),
}
