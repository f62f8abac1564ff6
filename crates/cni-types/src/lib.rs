//! Facts with one home each: metric families, published names and series, EC2's operations and error codes, the agent's
//! settings and versions, the limits of instance types, AWS's partitions and end points, the helper's IAM policy and its rights,
//! which `ENIConfig` is a node's, what names may be and which was meant, what identifies a cluster, what states a node can be in,
//! how nodes are shared out, how a text is hashed, and numbers that a seed determines. The standard library only.

pub mod agent_settings;
pub mod catalogue;
pub mod cluster_id;
pub mod ec2;
pub mod eni_config;
pub mod hash;
pub mod iam;
pub mod limits;
pub mod names;
pub mod near;
pub mod node_state;
pub mod partition;
pub mod random;
pub mod rights;
pub mod series;
pub mod shard;
pub mod version;
