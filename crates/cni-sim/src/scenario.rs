//! The description of a cluster: subnets, node groups, workload and faults, read from YAML.
//!
//! `docs/scenarios.md` documents every key; `scenarios/` holds an example for every feature, built in by name.

pub mod built_in;
pub mod checks;
pub mod faults;
mod load;
pub mod span;
mod spec;

pub use built_in::BUILT_IN;
pub use faults::{EniConfigFault, FaultKind, FaultSpec, Reach, Target};
pub use load::ScenarioError;
pub use span::{At, Share, Span};
pub use spec::{
    Agent, ClusterSpec, CniNode, Diurnal, EnvValue, NodeGroup, OtherKind, OtherNodes, PlacementSpec, Role, Scenario,
    SubnetSpec, Waves, Workload,
};
