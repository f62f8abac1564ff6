//! A simulated EKS cluster over real sockets.
//!
//! A scenario describes a cluster: subnets, node groups, workload, faults. The [cluster] simulates it
//! deterministically on a clock of its own; the [API server](api_server), the nodes' pages and the [AWS services](aws)
//! show it over HTTP, and [fault] names the faults that can be injected into those services.

pub mod scenario;

pub mod answer;
pub mod cidr;
pub mod cluster;
pub mod fault;
mod wall_clock;

pub mod truth;

pub mod kube_store;

pub mod port;

pub mod api_server;
pub mod kubeconfig;
pub mod node;
pub mod tls;

pub mod aws;
pub mod cloudwatch;
pub mod ec2;
pub mod imds;
pub mod pod_identity;
pub mod sts;

pub mod control;
pub mod meter;
pub mod sim;

pub use sim::{ClockMode, Sim, SimError, SimOptions};
