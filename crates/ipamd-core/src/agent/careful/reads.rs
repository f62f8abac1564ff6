//! What an agent keeps of its reads of EC2.

use crate::input::Ec2Subnet;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Subnets of the VPC and zone.
    pub(crate) subnets: Vec<Ec2Subnet>,
    /// When they were read, nanoseconds since 1970.
    pub(crate) subnets_ns: i64,
    /// When reading them failed last.
    pub(crate) failed_ms: Option<i64>,
    /// The reads of the start wait for their time.
    pub(crate) spreads: bool,
}
