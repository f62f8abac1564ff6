//! What an agent's pod says about the agent: the container's image and its environment.
//!
//! A cluster has a handful of distinct values however many nodes it has, so they are kept once each (see
//! [`super::intern`]) and a pod holds one pointer.

use cni_metrics_core::agent::{AgentFacts, PoolSettings};
use cni_types::agent_settings::{AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, AgentSetting, ENABLE_MULTI_NIC, ENABLE_POD_ENI};
pub use cni_types::version::AgentVersion;
use serde::Deserialize;

/// The agents' container; in pods without one of this name the first container counts.
const CONTAINER: &str = "aws-node";
/// Variables kept per agent. aws-node has about 40.
const MOST_VARIABLES: usize = 256;
/// A longer image reference, name or value is left out, bytes.
const LONGEST_TEXT: usize = 4096;

/// Image and environment of one agent's container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AgentSpec {
    /// The image as the pod's manifest names it; empty if unknown.
    pub image: Box<str>,
    /// The variables with a literal value, in the manifest's order. Those with `valueFrom` are left out.
    pub env: Box<[(Box<str>, Box<str>)]>,
}

impl AgentSpec {
    /// The release named by the image's tag; `None` for an image without a tag, or with one that is no release.
    pub fn version(&self) -> Option<AgentVersion> {
        let name = self.image.split('@').next().unwrap_or_default();
        // A colon before the last slash belongs to the registry's port.
        let last = name.rsplit('/').next().unwrap_or_default();
        AgentVersion::parse(last.split_once(':')?.1)
    }

    /// What decides how the agent's page is read.
    pub fn facts(&self) -> AgentFacts {
        let is_on = |switch: AgentSetting<bool>| switch.read(self.env(switch.name));
        // An agent without any variable does not exist: its environment is not known.
        let pool = (!self.env.is_empty()).then(|| PoolSettings {
            custom_networking: is_on(AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG),
            pod_eni: is_on(ENABLE_POD_ENI),
        });
        AgentFacts { version: self.version(), multi_nic: is_on(ENABLE_MULTI_NIC), pool }
    }

    /// The literal value of a variable; as in the container, the last of the same name counts.
    pub fn env(&self, name: &str) -> Option<&str> {
        let mut found = self.env.iter().rev().filter(|(known, _)| **known == *name);
        found.next().map(|(_, value)| value.as_ref())
    }

    /// The same without its environment, for clusters whose agents nearly all differ.
    pub(crate) fn without_env(self) -> Self {
        Self { env: Box::default(), ..self }
    }
}

/// A container with everything else left undecoded.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct SlimContainer {
    name: Option<Box<str>>,
    image: Option<Box<str>>,
    env: Option<Vec<SlimVariable>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimVariable {
    name: Option<Box<str>>,
    value: Option<Box<str>>,
}

/// A container's status with everything else left undecoded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimContainerStatus {
    name: Option<Box<str>>,
    restart_count: Option<i64>,
    ready: Option<bool>,
}

/// How often the agents' container among these was restarted; 0 if that is not known, or no count.
pub(super) fn restarts_of(statuses: &[SlimContainerStatus]) -> u32 {
    let agent = statuses.get(agent_among(statuses.iter().map(|status| status.name.as_deref())));
    agent.and_then(|status| u32::try_from(status.restart_count?).ok()).unwrap_or(0)
}

/// Whether the agents' container among these is ready; `None` if that is not known.
pub(super) fn is_ready(statuses: &[SlimContainerStatus]) -> Option<bool> {
    statuses.get(agent_among(statuses.iter().map(|status| status.name.as_deref())))?.ready
}

/// The position of the agents' container.
fn agent_among<'a>(mut names: impl Iterator<Item = Option<&'a str>>) -> usize {
    names.position(|name| name == Some(CONTAINER)).unwrap_or(0)
}

/// What the agents' container among these says.
pub(super) fn spec_of(mut containers: Vec<SlimContainer>) -> AgentSpec {
    if containers.is_empty() {
        return AgentSpec::default();
    }
    let container = containers.swap_remove(agent_among(containers.iter().map(|container| container.name.as_deref())));
    let fits = |text: &str| text.len() <= LONGEST_TEXT;
    let variable = |variable: SlimVariable| {
        let (name, value) = (variable.name?, variable.value?);
        (fits(&name) && fits(&value)).then_some((name, value))
    };
    AgentSpec {
        image: container.image.filter(|image| fits(image)).unwrap_or_default(),
        env: container.env.into_iter().flatten().filter_map(variable).take(MOST_VARIABLES).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(image: &str) -> Option<String> {
        let spec = AgentSpec { image: image.into(), ..AgentSpec::default() };
        spec.version().map(|version| version.to_string())
    }

    #[test]
    fn the_release_is_read_from_the_tag_and_from_nothing_else() {
        let registry = "602401143452.dkr.ecr.eu-west-1.amazonaws.com/amazon-k8s-cni";
        for tag in ["v1.18.6", "v1.18.6-eksbuild.1", "1.18.6", "v1.18.6-rc1", "v1.18.6_mirror"] {
            assert_eq!(version(&format!("{registry}:{tag}")).as_deref(), Some("v1.18.6"), "{tag}");
        }
        let digest = "@sha256:0000000000000000000000000000000000000000000000000000000000001186";
        assert_eq!(version(&format!("{registry}:v1.18.6{digest}")).as_deref(), Some("v1.18.6"));
        assert_eq!(version("registry:5000/team/cni:v1.7.10").as_deref(), Some("v1.7.10"));
        let unknown =
            ["", ":", "latest", "v1.18", "v1.18.6.1", "v1..6", "v1.18.x", "v+1.18.6", "v1.18.99999999", "va.b.c"];
        for tag in unknown {
            assert_eq!(version(&format!("{registry}:{tag}")), None, "{tag}");
        }
        for image in ["", &format!("{registry}{digest}"), registry, "registry:5000/cni", "1.18.6/cni"] {
            assert_eq!(version(image), None, "{image}");
        }
        assert!(AgentVersion::parse("v1.9.3") < AgentVersion::parse("v1.12.1"));
    }

    #[test]
    fn the_agents_container_is_found_among_others_and_only_literal_values_are_kept() {
        let json = serde_json::json!([
            {"name": "aws-eks-nodeagent", "image": "agent:v1.2.3"},
            {"name": "aws-node", "image": "cni:v1.18.6", "env": [
                {"name": "WARM_ENI_TARGET", "value": "1"},
                {"name": "MY_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "EMPTY", "value": ""},
                {"name": "WARM_ENI_TARGET", "value": "2"},
            ]},
        ]);
        let spec = spec_of(serde_json::from_value(json).unwrap());
        assert_eq!((&*spec.image, spec.env.len()), ("cni:v1.18.6", 3));
        assert_eq!(
            (spec.env("WARM_ENI_TARGET"), spec.env("EMPTY"), spec.env("MY_NODE_NAME")),
            (Some("2"), Some(""), None)
        );
        assert_eq!(spec_of(Vec::new()), AgentSpec::default());
    }

    #[test]
    fn version_and_settings_decide_how_a_page_is_read() {
        let facts = |name: &str, value: &str| {
            let env = [(name.into(), value.into())].into();
            AgentSpec { image: "cni:v1.20.4".into(), env }.facts()
        };
        let plain = PoolSettings::default();
        let facts_of =
            |multi_nic, pool| AgentFacts { version: AgentVersion::parse("v1.20.4"), multi_nic, pool: Some(pool) };
        assert_eq!(facts("ENABLE_MULTI_NIC", "true"), facts_of(true, plain));
        assert_eq!(facts("ENABLE_MULTI_NIC", "false"), facts_of(false, plain));
        let custom_networking = PoolSettings { custom_networking: true, ..plain };
        assert_eq!(facts("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), facts_of(false, custom_networking));
        assert_eq!(facts("ENABLE_POD_ENI", "1"), facts_of(false, PoolSettings { pod_eni: true, ..plain }));
        assert_eq!(AgentSpec::default().facts(), AgentFacts::default(), "what is not known is not off");
    }

    #[test]
    fn an_environment_without_bounds_is_cut() {
        let huge = "x".repeat(1 << 20);
        let mut variables: Vec<_> =
            (0..10_000).map(|n| serde_json::json!({"name": format!("V{n}"), "value": "1"})).collect();
        variables.insert(0, serde_json::json!({"name": "HUGE", "value": huge}));
        let json = serde_json::json!([{"name": "other", "image": huge, "env": variables}]);
        let spec = spec_of(serde_json::from_value(json).unwrap());
        assert_eq!((spec.env.len(), spec.env("HUGE"), &*spec.image), (MOST_VARIABLES, None, ""));
    }
}
