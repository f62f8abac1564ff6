//! What can be switched on and off and needs rights, and the rights themselves.

use std::collections::BTreeSet;

use cni_types::rights::{AGENTS_DAEMON_SET, OF_CLUSTER, VERBS};
use serde_json::Value;

/// The namespaces of the tests' installation. They differ, so that a right in the wrong one is seen.
pub(crate) const AGENTS: &str = "kube-system";
pub(crate) const HELPER: &str = "default";

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) via: &'static str,
    pub(crate) node_labels: bool,
    pub(crate) election: bool,
    pub(crate) shards: u32,
    /// The level of `INSIGHT`.
    pub(crate) insight: &'static str,
}

impl Features {
    /// Every combination; more evidence of findings with the usual others, with and without nodes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let more = [true, false].map(|node_labels| Self {
            via: "auto",
            node_labels,
            election: false,
            shards: 1,
            insight: "cluster",
        });
        Self::of_basic().chain(more)
    }

    fn of_basic() -> impl Iterator<Item = Self> {
        let insight = "basic";
        let vias = ["auto", "proxy", "direct"].into_iter();
        vias.flat_map(|via| [true, false].map(|node_labels| (via, node_labels)))
            .flat_map(|(via, node_labels)| [true, false].map(|election| (via, node_labels, election)))
            .flat_map(|(via, node_labels, election)| {
                [1, 3].map(|shards| Self { via, node_labels, election, shards, insight })
            })
    }

    /// The chart's values for it.
    pub(crate) fn values(self) -> String {
        let Self { via, node_labels, election, shards, insight } = self;
        format!(
            "env.SCRAPE_VIA={via},nodeLabels={node_labels},env.LEADER_ELECTION={election},shards={shards},env.INSIGHT={insight}"
        )
    }

    /// The lease of its first replica.
    pub(crate) fn lease(self) -> String {
        if self.shards == 1 {
            "cni-metrics-helper".to_owned()
        } else {
            format!("cni-metrics-helper-0-of-{}", self.shards)
        }
    }
}

/// One verb on one resource in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// A namespace; empty for the whole cluster.
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) verb: String,
    /// On the helper's leases or the agents' `DaemonSet` only, rather than on all objects.
    pub(crate) by_name: bool,
}

/// Every right that the Roles of a rendering grant, and the leases' names in it.
pub(crate) fn granted(objects: &[Value]) -> (BTreeSet<Right>, BTreeSet<String>) {
    let (mut rights, mut leases) = (BTreeSet::new(), BTreeSet::new());
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    for role in objects.iter().filter(|object| object["kind"] == "Role" || object["kind"] == "ClusterRole") {
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
        assert_eq!(namespace.is_empty(), role["kind"] == "ClusterRole", "{role}");
        for rule in role["rules"].as_array().unwrap() {
            let names = strings(&rule["resourceNames"]);
            for resource in strings(&rule["resources"]) {
                let of_findings = OF_CLUSTER.iter().find(|right| right.resource == resource);
                let group = match resource.as_str() {
                    "leases" => "coordination.k8s.io",
                    _ => of_findings.map_or("", |right| right.group),
                };
                if let Some(right) = of_findings {
                    assert_eq!(names.first().map(String::as_str), right.name, "{rule}");
                    assert_eq!(strings(&rule["verbs"]), VERBS, "{rule}");
                }
                assert_eq!(strings(&rule["apiGroups"]), [group], "{rule}");
                for verb in strings(&rule["verbs"]) {
                    let (namespace, resource) = (namespace.to_owned(), resource.clone());
                    rights.insert(Right { namespace, resource, verb, by_name: !names.is_empty() });
                }
            }
            leases.extend(names.into_iter().filter(|name| *name != AGENTS_DAEMON_SET));
        }
    }
    (rights, leases)
}
