//! Settings and sizes: what has no effect, what differs, and what is too large or too small. Sentences and remedies.

use cni_types::agent_settings as settings;

use super::remedies::{does, says, set_env};
use crate::catalogue::FindingId as Id;
use crate::finding::Remedy;
use crate::grouped::Group;

/// The sentence, for a finding of settings; `None` for others.
pub(super) fn sentence(id: Id, group: &Group, who: &str) -> Option<String> {
    let word = group.word().unwrap_or("unknown");
    let count = group.count;
    Some(match id {
        Id::SettingsDiffer => format!(
            "{who}: the agents have other settings than those of {count} nodes of the group ({word}), for 30 minutes or longer."
        ),
        Id::AgentVersionsDiffer => format!(
            "{who}: the agents have another version than those of {count} nodes of the group ({word}), for 30 minutes or longer."
        ),
        Id::WarmPoolOversized => format!(
            "{who}: {count} of {} addresses that are held have no pod, and for a day it was never less than half.",
            group.held.text()
        ),
        Id::MaxPodsTooLow => format!(
            "{who}: the kubelet admits {} pods, and there are addresses for {}.",
            group.max_pods.text(),
            group.usable.text()
        ),
        Id::WarmEniTargetIgnored => {
            format!("{who}: {word}, which the agent reads instead: it keeps no ENI free for it.")
        }
        Id::WarmIpTargetCostsPrefix => format!(
            "{who}: {word} with prefixes: addresses come sixteen at a time, so that up to 15 more than the target are free."
        ),
        Id::TargetsIgnoredOnIpv6 => {
            format!("{who}: {word} on IPv6 nodes, which hold one prefix of 2^48 addresses whatever the targets are.")
        }
        Id::PrefixesUnsupported => format!(
            "{who}: ENABLE_PREFIX_DELEGATION is true, and instances of type {word} cannot have prefixes: the agents assign single \
             addresses."
        ),
        _ => return None,
    })
}

/// What can be done, for a finding of settings; `None` for others.
pub(super) fn remedies(id: Id, group: &Group) -> Option<Vec<Remedy>> {
    Some(match id {
        Id::SettingsDiffer | Id::AgentVersionsDiffer => vec![
            does("see how far the update of the agents is", "kubectl -n kube-system rollout status ds/aws-node"),
            does(
                "if it has stopped: with the strategy OnDelete, delete the pods that are older",
                format!(
                    "kubectl -n kube-system delete pod -l k8s-app=aws-node --field-selector spec.nodeName={}",
                    group.examples().into_iter().next().unwrap_or_else(|| "NODE".to_owned())
                ),
            ),
        ],
        Id::WarmPoolOversized => vec![
            does(
                "keep single addresses free instead of whole ENIs, where the subnet runs short",
                set_env("WARM_IP_TARGET=5 MINIMUM_IP_TARGET=10"),
            ),
            says(
                "MINIMUM_IP_TARGET is best the number of pods that nodes usually have; each address less costs EC2 calls",
            ),
        ],
        Id::MaxPodsTooLow => {
            let instance_type = group.types.first().map_or("INSTANCE_TYPE", |name| &**name);
            vec![does(
                "raise the kubelet's maximum of pods for new nodes, if more are to run on one",
                format!("cni-metrics-helper plan max-pods --instance-type {instance_type}"),
            )]
        }
        Id::WarmEniTargetIgnored => {
            vec![does("set it back to what the manifest has", set_env("WARM_ENI_TARGET=1"))]
        }
        Id::WarmIpTargetCostsPrefix => vec![
            says("nothing is wrong if a prefix more or less per node does not matter"),
            does("else count in prefixes", set_env("WARM_IP_TARGET- MINIMUM_IP_TARGET- WARM_PREFIX_TARGET=1")),
        ],
        Id::TargetsIgnoredOnIpv6 => vec![does(
            "remove them",
            set_env("WARM_IP_TARGET- MINIMUM_IP_TARGET- MAX_ENI- WARM_ENI_TARGET=1 WARM_PREFIX_TARGET=1"),
        )],
        Id::PrefixesUnsupported => vec![
            says("use instance types with the hypervisor Nitro, or plan these nodes without prefixes"),
            does(
                "see how many pods fit without prefixes",
                format!("cni-metrics-helper plan max-pods --instance-type {}", group.word().unwrap_or("INSTANCE_TYPE")),
            ),
        ],
        Id::SubnetExcludedByTag => excluded(group),
        _ => return None,
    })
}

fn excluded(group: &Group) -> Vec<Remedy> {
    let mut remedies = vec![
        does(
            "see the tags of the node's own subnet",
            "aws ec2 describe-subnets --subnet-ids SUBNET --query Subnets[].Tags",
        ),
        does("let pods use it again", "aws ec2 delete-tags --resources SUBNET --tags Key=kubernetes.io/role/cni"),
    ];
    if group.agents_have(settings::ENABLE_SUBNET_DISCOVERY.first_version) {
        remedies.push(says(
            "or keep it excluded and lower the kubelet's maximum of pods by an ENI's addresses, for new nodes",
        ));
    }
    remedies
}
