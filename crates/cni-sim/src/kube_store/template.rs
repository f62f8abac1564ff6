//! What pods of one controller share, and the pods of the VPC CNI.

use std::sync::OnceLock;

use cni_types::agent_settings;

/// One container as a pod's spec describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerTemplate {
    /// Name.
    pub name: String,
    /// Image with tag.
    pub image: String,
    /// Plain environment variables.
    pub env: Vec<(String, String)>,
    /// Variables from the downward API: name, field path.
    pub env_fields: Vec<(String, String)>,
    /// Ports: name, number.
    pub ports: Vec<(String, u16)>,
    /// CPU request, thousandths of a core.
    pub cpu_millis: u32,
    /// Memory request, MiB.
    pub memory_mib: u32,
}

/// What pods of one controller share. Build it once, share the `Arc`.
#[derive(Debug, Default)]
pub struct PodTemplate {
    /// Init containers, all shown as completed.
    pub init_containers: Vec<ContainerTemplate>,
    /// Containers.
    pub containers: Vec<ContainerTemplate>,
    /// Service account.
    pub service_account: String,
    /// Priority class and its value.
    pub priority_class: Option<(String, i32)>,
    /// Whether the pods use the node's network.
    pub host_network: bool,
    /// Tolerates everything, as node agents do.
    pub tolerates_everything: bool,
    /// Extra bytes of `managedFields`, so that a manifest gets the size of a real cluster's (an `aws-node` pod of a
    /// live cluster is about 12 KB).
    pub manifest_padding_bytes: usize,
    /// The part of the JSON that no pod differs in, written once.
    pub(crate) rendered: OnceLock<RenderedTemplate>,
}

/// The part of a pod's JSON that all pods of a template share.
#[derive(Debug)]
pub(crate) struct RenderedTemplate {
    /// Members of `spec`, without the braces.
    pub(super) spec: String,
    /// `fieldsV1` of the padding entry, or empty.
    pub(super) padding: String,
}

impl PodTemplate {
    /// The `aws-node` pods of a VPC CNI release (`v1.23.0`): both containers, the init container and the settings that
    /// matter. `env` adds to or overrides the defaults.
    pub fn aws_node(version: &str, env: &[(&str, &str)]) -> Self {
        let registry = "602401143452.dkr.ecr.eu-central-1.amazonaws.com";
        let shipped = agent_settings::manifest().chain(OTHER_ENV.iter().copied());
        let mut settings: Vec<(String, String)> = shipped.map(|(name, value)| (str_of(name), str_of(value))).collect();
        for (name, value) in env {
            match settings.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => (*old).replace_range(.., value),
                None => settings.push((str_of(name), str_of(value))),
            }
        }
        settings.sort();
        let field = |name: &str, path: &str| (str_of(name), str_of(path));
        Self {
            init_containers: vec![ContainerTemplate {
                name: str_of("aws-vpc-cni-init"),
                image: format!("{registry}/amazon-k8s-cni-init:{version}"),
                env: vec![field("DISABLE_TCP_EARLY_DEMUX", "false"), field("ENABLE_IPv6", "false")],
                cpu_millis: 25,
                ..ContainerTemplate::default()
            }],
            containers: vec![
                ContainerTemplate {
                    name: str_of("aws-node"),
                    image: format!("{registry}/amazon-k8s-cni:{version}"),
                    env: settings,
                    env_fields: vec![field("MY_NODE_NAME", "spec.nodeName"), field("MY_POD_NAME", "metadata.name")],
                    ports: vec![(str_of("metrics"), 61678)],
                    cpu_millis: 25,
                    memory_mib: 0,
                },
                ContainerTemplate {
                    name: str_of("aws-eks-nodeagent"),
                    image: format!("{registry}/amazon/aws-network-policy-agent:v1.2.7"),
                    env: Vec::new(),
                    env_fields: vec![field("MY_NODE_NAME", "spec.nodeName")],
                    ports: vec![(str_of("agentmetrics"), 8162)],
                    cpu_millis: 25,
                    memory_mib: 0,
                },
            ],
            service_account: str_of("aws-node"),
            priority_class: Some((str_of("system-node-critical"), 2_000_001_000)),
            host_network: true,
            tolerates_everything: true,
            manifest_padding_bytes: 0,
            rendered: OnceLock::new(),
        }
    }

    /// The same with a manifest of about this many more bytes.
    #[must_use]
    pub fn padded(mut self, manifest_padding_bytes: usize) -> Self {
        self.manifest_padding_bytes = manifest_padding_bytes;
        self
    }

    /// A workload pod with one container.
    pub fn workload(name: &str, image: &str) -> Self {
        Self {
            containers: vec![ContainerTemplate {
                name: name.to_owned(),
                image: image.to_owned(),
                cpu_millis: 100,
                memory_mib: 128,
                ..ContainerTemplate::default()
            }],
            service_account: str_of("default"),
            ..Self::default()
        }
    }
}

fn str_of(text: &str) -> String {
    text.to_owned()
}

/// What the manifest of the VPC CNI sets beside the agent's settings ([`agent_settings::manifest`]): for logs, the plugin and
/// the node's network.
const OTHER_ENV: &[(&str, &str)] = &[
    ("AWS_VPC_CNI_NODE_PORT_SUPPORT", "true"),
    ("AWS_VPC_ENI_MTU", "9001"),
    ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "false"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
    ("AWS_VPC_K8S_CNI_LOG_FILE", "/host/var/log/aws-routed-eni/ipamd.log"),
    ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "prng"),
    ("AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
    ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/aws-routed-eni/plugin.log"),
    ("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "DEBUG"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the agent's settings there is one table; what is listed here is none of them.
    #[test]
    fn an_agents_pod_has_the_settings_of_the_shipped_manifest_and_what_is_given() {
        let known = |name: &str| agent_settings::AGENT_SETTINGS.iter().any(|setting| setting.name == name);
        assert!(OTHER_ENV.iter().all(|(name, _)| !known(name)));
        let template = PodTemplate::aws_node("v1.23.2", &[("WARM_ENI_TARGET", "3"), ("MAX_ENI", "4")]);
        let env = &template.containers.first().unwrap().env;
        assert!(env.is_sorted_by(|one, next| one.0 < next.0), "{env:?}");
        let value = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        for (name, shipped) in agent_settings::manifest().chain(OTHER_ENV.iter().copied()) {
            let expected = if name == "WARM_ENI_TARGET" { "3" } else { shipped };
            assert_eq!(value(name), Some(expected), "{name}");
        }
        assert_eq!(
            (value("MAX_ENI"), env.len()),
            (Some("4"), agent_settings::manifest().count() + OTHER_ENV.len() + 1)
        );
    }
}
