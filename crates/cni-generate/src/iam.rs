//! AWS rights: the policy, who may take the role, and the commands that put both in place.

mod commands;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::target::{Target, check_cloudwatch_namespace, is_account, is_dns_label};
use super::{Artifact, Output};

#[derive(Debug, Clone, Args)]
pub(super) struct IamArgs {
    /// Also allow ec2:DescribeTags: the cluster's name is then found in the instance's tags
    #[arg(long)]
    with_tags: bool,
    /// Show the trust policy for this way of taking the role, instead of the policy
    #[arg(long, value_enum, value_name = "WAY")]
    trust: Option<Trust>,
    /// Show the aws and eksctl commands in order (for EKS Pod Identity, unless --trust says otherwise)
    #[arg(long, conflicts_with = "explain")]
    commands: bool,
    /// Show why each statement is there
    #[arg(long)]
    explain: bool,
    /// The CloudWatch namespace to which publishing is limited
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    cloudwatch_namespace: String,
    /// The helper's Kubernetes service account
    #[arg(long, value_name = "NAME", default_value = "cni-metrics-helper")]
    service_account: String,
    /// The AWS account (for --trust irsa)
    #[arg(long, value_name = "DIGITS")]
    account_id: Option<String>,
    /// The cluster's OIDC issuer, with or without https:// (for --trust irsa)
    #[arg(long, value_name = "HOST/PATH")]
    oidc_provider: Option<String>,
    /// The audience of the service account's token (for --trust irsa)
    #[arg(long, value_name = "TEXT", default_value = "sts.amazonaws.com")]
    oidc_audience: String,
}

/// How the pod comes to its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trust {
    /// IAM roles for service accounts: the cluster's OIDC provider vouches for the service account
    Irsa,
    /// EKS Pod Identity: the agent on the node hands out the role's credentials
    PodIdentity,
}

pub(super) fn make(target: &Target, args: &IamArgs) -> anyhow::Result<Output> {
    ensure!(is_dns_label(&args.service_account), "--service-account {:?}: a Kubernetes name", args.service_account);
    check_cloudwatch_namespace(&args.cloudwatch_namespace)?;
    ensure!(
        args.oidc_audience.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./:-_".contains(&byte)),
        "--oidc-audience {:?}: a host name or URL",
        args.oidc_audience
    );
    let policy = Artifact::json("iam-policy.json", &policy(args))?;
    let explanation = Artifact::new("iam-policy.md", explanation(args));
    let pod_identity = Artifact::json("trust-pod-identity.json", &pod_identity_trust(target, args))?;
    let irsa = irsa_trust(target, args)?.map(|trust| Artifact::json("trust-irsa.json", &trust)).transpose()?;

    if args.commands {
        let body = commands::make(target, args)?;
        return Ok(Output::one(Artifact::new("iam-commands.sh", body)));
    }
    if args.explain {
        return Ok(Output::one(explanation));
    }
    match args.trust {
        Some(Trust::Irsa) => {
            let trust = irsa.context(
                "--trust irsa needs --account-id and --oidc-provider (or use --commands, which looks them up)",
            )?;
            Ok(Output::one(trust))
        }
        Some(Trust::PodIdentity) => Ok(Output::one(pod_identity)),
        None => {
            let beside = [Some(explanation), Some(pod_identity), irsa].into_iter().flatten().collect();
            Ok(Output::with(policy, beside))
        }
    }
}

fn policy(args: &IamArgs) -> Value {
    let mut statements = vec![json!({
        "Sid": "PublishCniMetrics",
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricData",
        "Resource": "*",
        "Condition": { "StringEquals": { "cloudwatch:namespace": args.cloudwatch_namespace } },
    })];
    if args.with_tags {
        statements.push(json!({
            "Sid": "FindClusterNameInInstanceTags",
            "Effect": "Allow",
            "Action": "ec2:DescribeTags",
            "Resource": "*",
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn explanation(args: &IamArgs) -> String {
    let mut text = format!(
        "# Why each statement is in iam-policy.json\n\n\
         `PublishCniMetrics`: the helper sends its figures with PutMetricData. CloudWatch has no resource to name for \
         that action, so the resource is `*`; the condition on `cloudwatch:namespace` limits it to the namespace \
         `{}` all the same: with these credentials nobody can write into AWS/EC2 or another team's namespace.\n",
        args.cloudwatch_namespace
    );
    text += if args.with_tags {
        "\n`FindClusterNameInInstanceTags`: where AWS_CLUSTER_ID is not set and the instance metadata service does not \
         show tags, the helper reads its instance's tags `eks:cluster-name`, `CLUSTER_ID` and `Name` to name the \
         cluster. EC2's Describe actions cannot be limited to a resource. Set AWS_CLUSTER_ID and leave this out if you can.\n"
    } else {
        "\nNothing else is needed: with AWS_CLUSTER_ID set, or the cluster's name found in the cluster itself, the helper \
         makes no EC2 call. `--with-tags` adds ec2:DescribeTags for clusters that rely on instance tags.\n"
    };
    text
}

fn pod_identity_trust(target: &Target, args: &IamArgs) -> Value {
    let mut tags = json!({
        "aws:RequestTag/kubernetes-namespace": target.namespace,
        "aws:RequestTag/kubernetes-service-account": args.service_account,
    });
    if let (Some(cluster), Some(tags)) = (target.cluster_id(), tags.as_object_mut()) {
        tags.insert("aws:RequestTag/eks-cluster-name".to_owned(), json!(cluster));
    }
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "HelperThroughPodIdentity",
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": { "StringEquals": tags },
        }],
    })
}

/// `None` as long as account or issuer is not known.
fn irsa_trust(target: &Target, args: &IamArgs) -> anyhow::Result<Option<Value>> {
    let (Some(account), Some(issuer)) = (&args.account_id, &args.oidc_provider) else { return Ok(None) };
    ensure!(is_account(account), "--account-id {account:?}: twelve digits");
    let issuer = issuer.strip_prefix("https://").unwrap_or(issuer).trim_end_matches('/');
    ensure!(
        !issuer.is_empty() && issuer.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte)),
        "--oidc-provider {issuer:?}: the issuer's host and path"
    );
    let subject = format!("system:serviceaccount:{}:{}", target.namespace, args.service_account);
    let mut conditions = serde_json::Map::new();
    conditions.insert(format!("{issuer}:aud"), json!(args.oidc_audience));
    conditions.insert(format!("{issuer}:sub"), json!(subject));
    Ok(Some(json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "HelperThroughClusterIssuer",
            "Effect": "Allow",
            "Principal": { "Federated": format!("arn:{}:iam::{account}:oidc-provider/{issuer}", target.partition.name()) },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": { "StringEquals": conditions },
        }],
    })))
}
