//! The scenarios that come with the program, and the healthy cluster of any size.

use super::span::{At, Share};
use super::spec::{
    Agent, ClusterSpec, CniNode, NodeGroup, PlacementSpec, Role, Scenario, SubnetSpec, Workload, default_agent_version,
    default_warm_up,
};
use std::collections::BTreeMap;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The built-in scenarios: name and text.
        pub const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../scenarios/", $name, ".yaml")))),*];
    };
}

built_in!(
    "calm",
    "churn",
    "restart-heavy",
    "mixed-version",
    "subnet-exhaustion",
    "fragmentation",
    "throttling",
    "missing-iam",
    "leaked-ips",
    "forgotten-pods",
    "node-loss",
    "slow-nodes",
    "api-server-trouble",
    "cloudwatch-outage",
    "imds-trouble",
    "ipv6",
    "prefix",
    "custom-networking",
);

impl Scenario {
    /// A healthy cluster of `nodes` nodes over three zones: two m5.large for every m5.xlarge and c5.2xlarge, twelve
    /// pods each, a little churn.
    pub fn calm(nodes: u32) -> Self {
        let zones = ["a", "b", "c"];
        // A /16 a zone holds about 2,000 nodes of this mix; larger clusters get more subnets.
        let per_zone = (nodes / 3_000).saturating_add(1);
        let mut subnets = Vec::new();
        let mut node_groups = Vec::new();
        let types = ["m5.large", "m5.xlarge", "m5.large", "c5.2xlarge"];
        let parts = per_zone.saturating_mul(3);
        for part in 0..parts {
            let zone = zones[(part % 3) as usize];
            let name = format!("{zone}{}", part / 3 + 1);
            let block = Octets::of(part);
            subnets.push(SubnetSpec {
                name: name.clone(),
                cidr: At::from(format!("{}.{}.0.0/16", block.0, block.1)),
                zone: format!("eu-central-1{zone}"),
                used: Share::default(),
                fragmented: Share::default(),
                role: Role::Untagged,
                ipv6: None,
            });
            let here = nodes / parts + u32::from(part < nodes % parts);
            for (slot, instance_type) in types.iter().enumerate() {
                let slot = u32::try_from(slot).unwrap_or(0);
                let count = here / 4 + u32::from(slot < here % 4);
                if count > 0 {
                    node_groups.push(NodeGroup::plain(&format!("{name}-{slot}"), instance_type, count, &name));
                }
            }
        }
        Self {
            name: "calm".to_owned(),
            description: format!("{nodes} healthy nodes over three zones."),
            rounds: None,
            warm_up: default_warm_up(),
            cluster: ClusterSpec::default(),
            subnets,
            node_groups,
            other_nodes: Vec::new(),
            workload: vec![Workload {
                group: None,
                pods_per_node: 12.0,
                churn_per_minute: 0.2,
                diurnal: None,
                waves: None,
            }],
            faults: Vec::new(),
        }
    }
}

/// First two octets of the `n`-th /16 of the private and shared ranges a VPC may use.
struct Octets(u8, u8);

impl Octets {
    fn of(n: u32) -> Self {
        let second = u8::try_from(n % 256).unwrap_or(0);
        // 10/8 first; past it 11/8 and so on, which no real VPC would have, but which a simulation of more than
        // 256 /16 blocks needs.
        Self(10_u8.saturating_add(u8::try_from(n / 256).unwrap_or(u8::MAX)), second)
    }
}

impl NodeGroup {
    /// A group with the shipped defaults.
    pub fn plain(name: &str, instance_type: &str, count: u32, subnet: &str) -> Self {
        Self {
            name: name.to_owned(),
            instance_type: At::from(instance_type.to_owned()),
            count,
            subnet: At::from(subnet.to_owned()),
            pod_subnet: None,
            env: BTreeMap::new(),
            agent: Agent::Current,
            agent_version: default_agent_version(),
            labels: BTreeMap::new(),
            max_pods: None,
            placement: PlacementSpec::Random,
            cni_node: CniNode::Present,
        }
    }
}
