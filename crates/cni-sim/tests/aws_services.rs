//! The simulated AWS services over real sockets, protocol by protocol, limit by limit, and with AWS' own clients.

#[cfg(test)]
#[expect(dead_code, reason = "nothing here needs root or what is built")]
#[path = "../../cni-metrics-helper/tests/needs/needs.rs"]
mod needs;

#[cfg(test)]
#[path = "aws/harness.rs"]
mod harness;

#[cfg(test)]
#[path = "aws/clients.rs"]
mod clients;
#[cfg(test)]
#[path = "aws/ec2.rs"]
mod ec2;
#[cfg(test)]
#[path = "aws/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "aws/identity.rs"]
mod identity;
#[cfg(test)]
#[path = "aws/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "aws/protocols.rs"]
mod protocols;
#[cfg(test)]
#[path = "aws/reading.rs"]
mod reading;
#[cfg(test)]
#[path = "aws/rust_sdk.rs"]
mod rust_sdk;
