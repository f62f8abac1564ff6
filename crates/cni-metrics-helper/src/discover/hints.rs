//! What the cluster says of itself, for an identity that neither variables nor the instance gave.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use tracing::debug;

use super::nodes::SlimNode;
use super::watch::DiscoverSettings;

/// The cluster's name as the agents' `CLUSTER_NAME` and as eksctl's node label give it, in this order.
///
/// Two small requests (one object each); a denied or failed one is simply no hint.
pub async fn cluster_hints(client: &Client, settings: &DiscoverSettings) -> (Option<String>, Option<String>) {
    let one = ListParams::default().limit(1);
    let pods = Api::<Pod>::namespaced(client.clone(), &settings.namespace);
    let agent = match pods.list(&one.clone().labels(&settings.selector)).await {
        Ok(list) => list.items.first().and_then(cluster_name_variable),
        Err(error) => {
            debug!(%error, "no cluster name from the agents");
            None
        }
    };
    let label = match Api::<SlimNode>::all(client.clone()).list(&one).await {
        Ok(list) => list.items.first().and_then(|node| node.eksctl_cluster().map(str::to_owned)),
        Err(error) => {
            debug!(%error, "no cluster name from the nodes");
            None
        }
    };
    (agent, label)
}

fn cluster_name_variable(pod: &Pod) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut variables = containers.iter().flat_map(|container| container.env.iter().flatten());
    let name = variables.find(|variable| variable.name == "CLUSTER_NAME")?;
    name.value.clone().filter(|text| !text.trim().is_empty())
}
