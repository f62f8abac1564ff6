//! What is asked for, the policy, and who may take the role with EKS Pod Identity.

use clap::{Args, ValueEnum};
use cni_types::iam::{FIND_CLUSTER_NAME, POLICY_VERSION, STATEMENTS, Statement};
use serde_json::{Value, json};

use crate::target::{ClusterFlags, Target};

#[derive(Debug, Clone, Args)]
pub(crate) struct IamArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterFlags,
    /// Also allow ec2:DescribeTags: the cluster's name is then found in the instance's tags
    #[arg(long)]
    pub(super) with_tags: bool,
    /// Show the trust policy for this way of taking the role, instead of the policy
    #[arg(long, value_enum, value_name = "WAY")]
    pub(super) trust: Option<Trust>,
    /// Show the aws and eksctl commands in order (for EKS Pod Identity, unless --trust says otherwise)
    #[arg(long, conflicts_with = "explain")]
    pub(super) commands: bool,
    /// Show why each statement is there
    #[arg(long)]
    pub(super) explain: bool,
    /// The CloudWatch namespace to which publishing is limited
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    pub(super) cloudwatch_namespace: String,
    /// The helper's Kubernetes service account
    #[arg(long, value_name = "NAME", default_value = "cni-metrics-helper")]
    pub(super) service_account: String,
    /// The AWS account (for --trust irsa)
    #[arg(long, value_name = "DIGITS")]
    pub(super) account_id: Option<String>,
    /// The cluster's OIDC issuer, with or without https:// (for --trust irsa)
    #[arg(long, value_name = "HOST/PATH")]
    pub(super) oidc_provider: Option<String>,
    /// The audience of the service account's token (for --trust irsa)
    #[arg(long, value_name = "TEXT", default_value = "sts.amazonaws.com")]
    pub(super) oidc_audience: String,
}

/// By which method the pod assumes its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Trust {
    /// IAM roles for service accounts: the cluster's OIDC provider vouches for the service account
    Irsa,
    /// EKS Pod Identity: the agent on the node hands out the role's credentials
    PodIdentity,
}

/// The statements that are asked for, in the policy's order.
pub(super) fn statements(args: &IamArgs) -> impl Iterator<Item = Statement> {
    let with_tags = args.with_tags;
    STATEMENTS.into_iter().filter(move |statement| with_tags || *statement != FIND_CLUSTER_NAME)
}

pub(super) fn policy(args: &IamArgs) -> Value {
    let statements = statements(args).map(|Statement { sid, action, namespace_key, .. }| {
        let mut statement = json!({ "Sid": sid, "Effect": "Allow", "Action": action, "Resource": "*" });
        if let Some(key) = namespace_key {
            statement["Condition"] = json!({ "StringEquals": { key: args.cloudwatch_namespace } });
        }
        statement
    });
    json!({ "Version": POLICY_VERSION, "Statement": statements.collect::<Vec<_>>() })
}

pub(super) fn pod_identity_trust(target: &Target, args: &IamArgs) -> Value {
    let mut tags = json!({
        "aws:RequestTag/kubernetes-namespace": target.namespace,
        "aws:RequestTag/kubernetes-service-account": args.service_account,
    });
    if let (Some(cluster), Some(tags)) = (target.cluster_id(), tags.as_object_mut()) {
        tags.insert("aws:RequestTag/eks-cluster-name".to_owned(), json!(cluster));
    }
    json!({
        "Version": POLICY_VERSION,
        "Statement": [{
            "Sid": "HelperThroughPodIdentity",
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": { "StringEquals": tags },
        }],
    })
}
