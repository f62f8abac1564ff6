//! The rights on Kubernetes' objects that findings need beyond those of measuring: one row per kind, from which what is said in
//! logs and by `run --check` is made, and with which chart, manifest and guide are compared.

/// A right to list and watch one kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRight {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// The only object that is read; `None` for all.
    pub name: Option<&'static str>,
    /// What the helper needs it for.
    pub needed_for: &'static str,
    /// What is not concluded without it.
    pub without: &'static str,
}

/// The verbs of each.
pub const VERBS: [&str; 2] = ["list", "watch"];

/// The `DaemonSet` of the agents, in the VPC CNI's manifest and chart.
pub const AGENTS_DAEMON_SET: &str = "aws-node";

/// `ENIConfig`.
pub const ENI_CONFIGS: ObjectRight = ObjectRight {
    group: crate::eni_config::GROUP,
    resource: crate::eni_config::PLURAL,
    name: None,
    needed_for: "whether custom networking finds an `ENIConfig` for each node",
    without: "a missing ENIConfig is not found, and eniconfig-invalid is not certain",
};

/// `CNINode`.
pub const CNI_NODES: ObjectRight = ObjectRight {
    group: "vpcresources.k8s.aws",
    resource: "cninodes",
    name: None,
    needed_for: "whether nodes with security groups for pods have asked for a trunk ENI",
    without: "trunk-slot-missing is not found",
};

/// The agents' `DaemonSet`.
pub const DAEMON_SET: ObjectRight = ObjectRight {
    group: "apps",
    resource: "daemonsets",
    name: Some(AGENTS_DAEMON_SET),
    needed_for: "whether a roll-out of the agents is in progress",
    without: "agents that differ are not told from a roll-out in progress",
};

/// What `INSIGHT=cluster` reads.
pub const OF_CLUSTER: [ObjectRight; 3] = [ENI_CONFIGS, CNI_NODES, DAEMON_SET];

impl ObjectRight {
    /// `eniconfigs.crd.k8s.amazonaws.com`.
    pub fn full_name(self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_is_of_another_kind_and_has_its_reason() {
        let names: std::collections::BTreeSet<String> = OF_CLUSTER.into_iter().map(ObjectRight::full_name).collect();
        assert_eq!(names.len(), OF_CLUSTER.len());
        assert!(OF_CLUSTER.iter().all(|right| !right.needed_for.is_empty() && !right.without.is_empty()));
    }
}
