//! Asking the VPC resource controller for a trunk: the node's `CNINode` object announces security groups for pods.

use crate::agent::cx::Cx;
use crate::agent::memory::PodKey;
use crate::agent::wake::Wake;
use crate::metrics::PodEniError;
use crate::output::KubeCall;
use crate::settings::Mode;

/// The feature's name in the object.
const FEATURE: &str = "SecurityGroupsForPods";

/// Asks, unless an IPv4 node has no place for a trunk; false if nothing was asked.
pub(crate) fn announce<K: PodKey>(cx: &mut Cx<'_, K>) -> bool {
    let places = (cx.max_enis() as usize).saturating_sub(cx.foreign.on_first_card);
    if cx.facts.mode != Mode::Ipv6 && cx.pool.enis().len() >= places {
        return false;
    }
    cx.kube(KubeCall::PatchCniNode { feature: FEATURE, value: "".into() });
    true
}

/// The answer: a failure is counted, and is tried again while there is no trunk.
pub(crate) fn announced<K: PodKey>(cx: &mut Cx<'_, K>, wake: Wake) {
    if wake.kube().is_err() {
        cx.metrics.pod_eni_error(PodEniError::EnableSecurityGroups);
    }
}
