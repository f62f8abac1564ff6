//! The simulated AWS services over real sockets, protocol by protocol, limit by limit, and with AWS' own clients.

mod harness;

mod clients;
mod ec2;
mod faults;
mod identity;
mod limits;
mod protocols;
mod reading;
mod rust_sdk;
