//! What can be done about each finding, the best first. Commands can be copied; words in capital letters are to be filled in. A
//! setting is recommended only where all agents concerned know it.

use cni_types::agent_settings as settings;
use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::finding::Remedy;
use crate::grouped::Group;

/// The remedies.
pub(super) fn remedies(id: FindingId, group: &Group) -> Vec<Remedy> {
    use FindingId as Id;
    match id {
        Id::InstanceMetadataFailing
        | Id::Ec2Unreachable
        | Id::Ec2RefusesOtherwise
        | Id::PoolLoopStalled
        | Id::EniAttachStuck => reaching(id),
        Id::PoolCappedByMaxPods | Id::MaxEniSetting | Id::CooldownOnFullNode | Id::MaxPodsTooHigh | Id::NodeFull => {
            full(id, group)
        }
        Id::ProvisioningDisabled
        | Id::NodeCordoned
        | Id::MinimumWithoutWarm
        | Id::WarmTargetsZero
        | Id::WarmPoolTooSmall
        | Id::Ec2Throttled => pool_settings(id, group),
        Id::IamRoleUnusable | Id::IamPermissionMissing | Id::IamRightMissingQuiet => rights(id, group),
        Id::SubnetFragmented
        | Id::SubnetExhausted
        | Id::EniSlotsTaken
        | Id::EniQuotaReached
        | Id::EniconfigInvalid
        | Id::EniconfigMissing
        | Id::Ipv6PrefixMissing => subnets(id, group),
        Id::PoolGrowing => vec![says("none needed: it ends by itself within 90 s")],
        Id::CauseUnknown => vec![
            does("read the agent's log, which has the whole error", log_of(group)),
            says("compare with the causes in docs/metrics.md, Why pods get no address"),
        ],
        _ => agents(id, group),
    }
}

pub(super) fn says(text: &str) -> Remedy {
    Remedy { says: text.to_owned(), command: None }
}

pub(super) fn does(text: &str, command: impl Into<String>) -> Remedy {
    Remedy { says: text.to_owned(), command: Some(command.into()) }
}

pub(super) fn set_env(variables: &str) -> String {
    format!("kubectl -n kube-system set env ds/aws-node {variables}")
}

fn node(group: &Group) -> String {
    group.examples().into_iter().next().unwrap_or_else(|| "NODE".to_owned())
}

/// The agent's log, through its pod on the first of the nodes.
fn log_of(group: &Group) -> String {
    let pod = format!(
        "$(kubectl -n kube-system get pod -l k8s-app=aws-node --field-selector spec.nodeName={} -o name)",
        node(group)
    );
    format!("kubectl -n kube-system exec {pod} -c aws-node -- tail -n 100 /host/var/log/aws-routed-eni/ipamd.log")
}

/// What keeps calls and requests from being answered.
fn reaching(id: FindingId) -> Vec<Remedy> {
    match id {
        FindingId::InstanceMetadataFailing => vec![
            does(
                "enable the end point of the instance's metadata",
                "aws ec2 modify-instance-metadata-options --instance-id INSTANCE --http-endpoint enabled",
            ),
            says(
                "look for a firewall rule on the node against 169.254.169.254, and for pods that flood it (the hop limit does not \
                  matter: the agent uses the host network)",
            ),
        ],
        FindingId::Ec2Unreachable => vec![
            does(
                "look for the VPC's end point of EC2, and for the nodes' route to it or to the internet",
                "aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=VPC",
            ),
            says("check the proxy variables of the daemon set aws-node, and the security groups of the end point"),
        ],
        FindingId::EniAttachStuck => vec![does(
            "replace the node: its instance metadata lags behind, or the instance has a fault",
            "kubectl drain NODE --ignore-daemonsets --delete-emptydir-data",
        )],
        FindingId::PoolLoopStalled => vec![
            says("look for failing DetachNetworkInterface and DeleteNetworkInterface in awscni_aws_api_error_count"),
            does("restart the agent of the node", "kubectl -n kube-system delete pod AWS_NODE_POD"),
        ],
        _ => vec![says(
            "the code above is EC2's; aws-node's log on the node (/var/log/aws-routed-eni/ipamd.log) has its text",
        )],
    }
}

/// Nodes without room.
fn full(id: FindingId, group: &Group) -> Vec<Remedy> {
    let plan = || {
        let instance_type = group.types.first().map_or("INSTANCE_TYPE", |name| &**name);
        format!("cni-metrics-helper plan max-pods --instance-type {instance_type}")
    };
    let prefixes = || {
        does(
            "prefix delegation gives sixteen addresses per slot, on Nitro instances that are new",
            set_env("ENABLE_PREFIX_DELEGATION=true WARM_PREFIX_TARGET=1"),
        )
    };
    match id {
        FindingId::PoolCappedByMaxPods => vec![does(
            "raise the kubelet's maximum of pods, and replace the nodes: the agent reads it at its start only",
            plan(),
        )],
        FindingId::MaxEniSetting => vec![does("remove MAX_ENI, or raise it", set_env("MAX_ENI-"))],
        FindingId::CooldownOnFullNode => {
            let mut remedies = Vec::new();
            if group.agents_have(settings::IP_COOLDOWN_PERIOD.first_version) {
                remedies.push(does("let addresses rest for a shorter time", set_env("IP_COOLDOWN_PERIOD=10")));
            }
            remedies.push(says("fewer pods of short life per node, or a larger instance type"));
            remedies
        }
        FindingId::MaxPodsTooHigh => vec![
            does("lower the kubelet's maximum of pods to what the addresses allow, for new nodes", plan()),
            prefixes(),
        ],
        _ => vec![says("spread the pods over more nodes, or use a larger instance type"), prefixes()],
    }
}

fn pool_settings(id: FindingId, group: &Group) -> Vec<Remedy> {
    match id {
        FindingId::ProvisioningDisabled => {
            let word = group.word().unwrap_or(settings::DISABLE_NETWORK_RESOURCE_PROVISIONING.name);
            vec![
                does("let the agent attach addresses", set_env(&format!("{word}=false"))),
                says("or repair what attaches them in its place"),
            ]
        }
        FindingId::NodeCordoned => {
            let mut remedies = vec![does("let pods on it again", format!("kubectl uncordon {}", node(group)))];
            if group.agents_have(settings::AWS_MANAGE_ENIS_NON_SCHEDULABLE.first_version) {
                remedies.push(does(
                    "or have the agents manage cordoned nodes too",
                    set_env("AWS_MANAGE_ENIS_NON_SCHEDULABLE=true"),
                ));
            }
            remedies
        }
        FindingId::MinimumWithoutWarm => {
            vec![does("set a warm target beside the minimum", set_env("WARM_IP_TARGET=2"))]
        }
        FindingId::WarmTargetsZero => vec![
            does("keep an ENI's addresses free", set_env("WARM_ENI_TARGET=1")),
            does("or some addresses", set_env("WARM_IP_TARGET=2 MINIMUM_IP_TARGET=10")),
        ],
        FindingId::WarmPoolTooSmall => vec![
            says("set WARM_IP_TARGET to the largest number of pods that start on a node within 30 s"),
            does(
                "or keep a whole ENI's addresses free",
                set_env("WARM_IP_TARGET- MINIMUM_IP_TARGET- WARM_ENI_TARGET=1"),
            ),
        ],
        _ => vec![
            does(
                "use settings that need fewer calls: without WARM_IP_TARGET the agent assigns an ENI's addresses at once",
                set_env("WARM_IP_TARGET- MINIMUM_IP_TARGET- WARM_ENI_TARGET=1"),
            ),
            says(
                "ask AWS for a higher limit, and look in CloudTrail for who else calls EC2 in this account and region",
            ),
        ],
    }
}

fn rights(id: FindingId, group: &Group) -> Vec<Remedy> {
    if id == FindingId::IamRoleUnusable {
        return vec![
            does(
                "check which role the agents' service account has",
                "kubectl -n kube-system get sa aws-node -o yaml; aws eks list-pod-identity-associations --cluster-name CLUSTER",
            ),
            says(
                "the role's trust policy must allow the cluster's OIDC provider, or pods.eks.amazonaws.com, for kube-system/aws-node",
            ),
        ];
    }
    let actions: Vec<String> = match group.word() {
        Some(word) => vec![format!("ec2:{word}")],
        None => group.errors.keys().map(|(api, _)| format!("ec2:{}", api.trim_end_matches("WithContext"))).collect(),
    };
    vec![does(
        &format!("the role of the agents needs {}; the managed policy has it", actions.join(", ")),
        "aws iam attach-role-policy --role-name ROLE --policy-arn arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    )]
}

fn subnets(id: FindingId, group: &Group) -> Vec<Remedy> {
    let more = |remedies: &mut Vec<Remedy>| {
        if group.agents_have(settings::ENABLE_SUBNET_DISCOVERY.first_version) {
            remedies.push(does(
                "let new ENIs use another subnet of the zone",
                "aws ec2 create-tags --resources SUBNET --tags Key=kubernetes.io/role/cni,Value=1",
            ));
        } else {
            let since = settings::ENABLE_SUBNET_DISCOVERY.first_version.unwrap_or(AgentVersion::new(1, 18, 0));
            remedies.push(says(&format!(
                "use a larger subnet, or custom networking (agents from {since} can use a second subnet by its tag)"
            )));
        }
    };
    let mut remedies = Vec::new();
    match id {
        FindingId::SubnetExhausted => {
            let minimum = group.assigned.most().unwrap_or(10.0).max(1.0);
            remedies.push(does(
                "at once: hold fewer spare addresses, so that nodes give back what they do not need",
                set_env(&format!("WARM_ENI_TARGET=0 WARM_IP_TARGET=2 MINIMUM_IP_TARGET={minimum}")),
            ));
            more(&mut remedies);
        }
        FindingId::SubnetFragmented => {
            remedies.push(does(
                "reserve a part of the subnet for prefixes, and drain the nodes whose addresses lie in it",
                "aws ec2 create-subnet-cidr-reservation --subnet-id SUBNET --reservation-type prefix --cidr CIDR",
            ));
            more(&mut remedies);
        }
        FindingId::EniSlotsTaken => remedies.push(does(
            "find the ENIs that the agent does not manage, and detach them; or set MAX_ENI to what is left",
            "aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE",
        )),
        FindingId::EniQuotaReached => remedies.push(does(
            "raise the quota Network interfaces per Region",
            "aws service-quotas request-service-quota-increase --service-code vpc --quota-code L-DF5E4CA3 --desired-value NUMBER",
        )),
        FindingId::EniconfigMissing => remedies.push(new_eni_config(group)),
        FindingId::EniconfigInvalid if group.errors.is_empty() => remedies.push(new_eni_config(group)),
        FindingId::EniconfigInvalid => remedies.push(does(
            "give each zone an ENIConfig with a subnet of this zone and security groups of its VPC",
            format!("kubectl get eniconfigs {}-o yaml", group.word().map(|name| format!("{name} ")).unwrap_or_default()),
        )),
        _ => remedies.push(says(
            "the node's subnet needs an IPv6 CIDR, and the agents' role ec2:AssignIpv6Addresses; then replace the node",
        )),
    }
    remedies
}

/// An `ENIConfig` of the name that the nodes look for.
fn new_eni_config(group: &Group) -> Remedy {
    let name = group.word().unwrap_or("ZONE");
    does(
        "create the ENIConfig, with a subnet of the nodes' zone and security groups of its VPC",
        format!(
            "kubectl apply -f - <<< '{{apiVersion: crd.k8s.amazonaws.com/v1alpha1, kind: ENIConfig, metadata: {{name: {name}}}, \
             spec: {{subnet: SUBNET, securityGroups: [GROUP]}}}}'"
        ),
    )
}

/// Findings about agents.
fn agents(id: FindingId, group: &Group) -> Vec<Remedy> {
    let of_node = |what: &str| {
        format!("kubectl -n kube-system {what} -l k8s-app=aws-node --field-selector spec.nodeName={}", node(group))
    };
    match id {
        FindingId::AgentSettingsRefused => vec![does("correct the setting", "kubectl -n kube-system edit ds/aws-node")],
        FindingId::AgentNotStarted | FindingId::AgentNotReady | FindingId::AgentRestarting => vec![
            does("see why the container ended", of_node("describe pod")),
            does(
                "read the log of the container before",
                "kubectl -n kube-system logs AWS_NODE_POD -c aws-node --previous",
            ),
        ],
        FindingId::TrunkSlotMissing => vec![
            says(
                "leave a slot for the trunk: use a larger instance type, or lower WARM_ENI_TARGET and the number of pods, and \
                 replace the nodes",
            ),
            does("see which nodes ask for a trunk", "kubectl get cninodes -o yaml"),
        ],
        FindingId::AgentSilent => vec![
            does(
                "the kind of failure has a page",
                format!("cni-metrics-helper explain {}", group.word().unwrap_or("timeout")),
            ),
            does("check the agent", of_node("get pod -o wide")),
        ],
        FindingId::EnisForceRemoved | FindingId::AddressesForceRemoved => vec![
            says(
                "find out in CloudTrail who detached or deleted them (DetachNetworkInterface, DeleteNetworkInterface, \
                  UnassignPrivateIpAddresses)",
            ),
            says("delete the node's pods whose addresses no longer work"),
        ],
        FindingId::PoolOutOfStep => {
            vec![says(
                "find out in CloudTrail what else changes the nodes' ENIs and addresses, and keep it from those of the agent",
            )]
        }
        FindingId::MetricsDisabled => vec![does("let the agents be measured", set_env("DISABLE_METRICS=false"))],
        FindingId::AgentTooOld => {
            vec![does("update the VPC CNI to v1.16.0 or newer", "aws eks describe-addon-versions --addon-name vpc-cni")]
        }
        _ => vec![
            does("see which branch ENIs the nodes offer", "kubectl get cninodes -o yaml"),
            says("the cluster's role needs the policy AmazonEKSVPCResourceController"),
        ],
    }
}
