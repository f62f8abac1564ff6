//! What the cluster says of itself, for an identity that neither variables nor the instance gave.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::timeout;
use tracing::debug;

use super::nodes::SlimNode;
use super::watch::DiscoverSettings;

/// What was found; each is `None` where nothing says so, or the right to ask is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterNames {
    /// `CLUSTER_NAME` of an agent's container.
    pub agent_variable: Option<String>,
    /// A node's label `alpha.eksctl.io/cluster-name`.
    pub eksctl_label: Option<String>,
    /// The EC2 instance of the node named by `NODE_NAME`, from its `spec.providerID`.
    pub instance_id: Option<String>,
}

/// All of it together may take this long: it only ever adds to what is known.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks for one agent, one node and the helper's own node: three small requests.
pub async fn cluster_names(client: &Client, settings: &DiscoverSettings, own_node: Option<&str>) -> ClusterNames {
    let names = async {
        let (agent_variable, eksctl_label, instance_id) =
            tokio::join!(agent(client, settings), node(client), instance(client, own_node));
        ClusterNames { agent_variable, eksctl_label, instance_id }
    };
    timeout(PATIENCE, names).await.unwrap_or_default()
}

async fn agent(client: &Client, settings: &DiscoverSettings) -> Option<String> {
    let pods = Api::<Pod>::namespaced(client.clone(), &settings.namespace);
    let one = ListParams::default().limit(1).labels(&settings.selector);
    let list = pods.list(&one).await.inspect_err(|error| debug!(%error, "no cluster name from the agents")).ok()?;
    list.items.first().and_then(cluster_name_variable)
}

async fn node(client: &Client) -> Option<String> {
    let one = ListParams::default().limit(1);
    let nodes = Api::<SlimNode>::all(client.clone()).list(&one).await;
    let list = nodes.inspect_err(|error| debug!(%error, "no cluster name from the nodes")).ok()?;
    list.items.first().and_then(|node| node.eksctl_cluster().map(str::to_owned))
}

/// `aws:///eu-west-1a/i-0123456789abcdef0` ends in the instance's id.
async fn instance(client: &Client, own_node: Option<&str>) -> Option<String> {
    // A list of one: the helper may list and watch nodes, and not get them.
    let one = ListParams::default().fields(&format!("metadata.name={}", own_node?));
    let nodes = Api::<Node>::all(client.clone()).list(&one).await;
    let nodes = nodes.inspect_err(|error| debug!(%error, "no instance id from the helper's own node")).ok()?;
    let provider = nodes.items.into_iter().next()?.spec?.provider_id?;
    provider.rsplit('/').next().filter(|id| id.starts_with("i-")).map(str::to_owned)
}

fn cluster_name_variable(pod: &Pod) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut variables = containers.iter().flat_map(|container| container.env.iter().flatten());
    let name = variables.find(|variable| variable.name == "CLUSTER_NAME")?;
    name.value.clone().filter(|text| !text.trim().is_empty())
}
