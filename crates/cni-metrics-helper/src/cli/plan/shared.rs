//! What both plans have: an instance type's limits and vCPUs, who sets max pods, and the pods on the host network.

use clap::{Args, ValueEnum};
use cni_types::limits::InstanceLimits;
use ipamd_model::plan::{HOST_NETWORK_PODS, MaxPodsBy, MaxPodsQuestion, estimated_vcpus};

/// Who sets the kubelet's max pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// EKS, for a managed node group: at most 110 pods, or 250 with more than 30 vCPUs
    ManagedNodeGroup,
    /// max-pods-calculator.sh of the EKS images: the same caps
    MaxPodsCalculator,
    /// Karpenter: no cap
    Karpenter,
    /// nodeadm (Amazon Linux 2023): no cap
    Nodeadm,
}

impl From<By> for MaxPodsBy {
    fn from(by: By) -> Self {
        match by {
            By::ManagedNodeGroup => Self::ManagedNodeGroup,
            By::MaxPodsCalculator => Self::MaxPodsCalculator,
            By::Karpenter => Self::Karpenter,
            By::Nodeadm => Self::Nodeadm,
        }
    }
}

/// What both plans ask of the node.
#[derive(Debug, Clone, Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown by --help, where backticks are noise")]
pub(super) struct NodeOptions {
    /// MAX_ENI
    #[arg(long)]
    pub(super) max_eni: Option<u32>,
    /// ENABLE_PREFIX_DELEGATION
    #[arg(long)]
    pub(super) prefix_delegation: bool,
    /// AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG
    #[arg(long)]
    pub(super) custom_networking: bool,
    /// ENABLE_POD_ENI, security groups for pods: one ENI is the trunk
    #[arg(long)]
    pub(super) pod_eni: bool,
    /// Pods on the host network, which take no address of the pool; every node has aws-node and kube-proxy
    #[arg(long, value_name = "N", default_value_t = HOST_NETWORK_PODS)]
    pub(super) host_network_pods: u32,
    /// Who sets the kubelet's max pods
    #[arg(long, value_enum, value_name = "WHO", default_value_t = By::ManagedNodeGroup)]
    pub(super) max_pods_by: By,
}

impl NodeOptions {
    /// The question of max pods for this type.
    pub(super) fn max_pods(&self, limits: InstanceLimits, vcpus: u32) -> MaxPodsQuestion {
        MaxPodsQuestion {
            limits,
            prefix_delegation: self.prefix_delegation,
            custom_networking: self.custom_networking,
            pod_eni: self.pod_eni,
            max_eni: self.max_eni,
            vcpus,
            capped: self.by().caps(),
            host_network_pods: self.host_network_pods,
        }
    }

    pub(super) fn by(&self) -> MaxPodsBy {
        self.max_pods_by.into()
    }
}

/// The limits of a type and its name as AWS writes it, or an error that names the types most like it.
pub(super) fn limits_of(instance_type: &str) -> anyhow::Result<(String, InstanceLimits)> {
    let name = instance_type.trim().to_ascii_lowercase();
    let limits = cni_types::limits::find(&name).ok_or_else(|| {
        let nearest = cni_types::limits::nearest(&name, 3).join(", ");
        anyhow::anyhow!("unknown instance type {instance_type:?}; the nearest known ones are {nearest}")
    })?;
    Ok((name, limits))
}

/// vCPUs as told, else by the size's name, else few: the lower cap is the safer one.
pub(super) fn vcpus_of(instance_type: &str, told: Option<u32>) -> u32 {
    told.or_else(|| estimated_vcpus(instance_type)).unwrap_or(1)
}
