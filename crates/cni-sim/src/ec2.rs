//! The EC2 API as far as a network tool reads it: subnets, instances, network interfaces, tags.

pub mod view;
