//! The commands, in the order in which they have to run; readable, and runnable as one script.

use anyhow::ensure;

use super::super::target::Target;
use super::policy::{self, IamArgs, Trust};

/// A script for bash: the policy and the trust policy in here-documents, so that it needs no other file.
pub(super) fn make(target: &Target, args: &IamArgs) -> anyhow::Result<String> {
    let cluster = target.needed_cluster_id()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    ensure!(cluster.bytes().all(is_name), "--cluster-id {cluster:?}: for --commands it must be the EKS cluster's name");
    let region = target.needed_region()?;
    let (namespace, account) = (&target.namespace, &args.service_account);
    let way = args.trust.unwrap_or(Trust::PodIdentity);
    let policy = serde_json::to_string_pretty(&policy::policy(args))?;
    let mut script = format!(
        "#!/usr/bin/env bash\n\
         # Gives the helper of one cluster its AWS rights. Needs the aws CLI with rights on IAM and EKS, and kubectl.\n\
         set -euo pipefail\n\n\
         CLUSTER={cluster}\n\
         REGION={region}\n\
         NAMESPACE={namespace}\n\
         SERVICE_ACCOUNT={account}\n\
         ROLE=\"cni-metrics-helper-$REGION-$CLUSTER\"\n\
         ROLE=${{ROLE:0:64}} # IAM's limit\n\
         ACCOUNT_ID=$(aws sts get-caller-identity --query Account --output text)\n\n\
         # 1. The policy.\n\
         aws iam create-policy --policy-name \"$ROLE\" --policy-document \"$(cat <<'JSON'\n{policy}\nJSON\n)\"\n"
    );
    script += &match way {
        Trust::PodIdentity => pod_identity(target, args)?,
        Trust::Irsa => irsa(target, args),
    };
    Ok(script)
}

fn pod_identity(target: &Target, args: &IamArgs) -> anyhow::Result<String> {
    let trust = serde_json::to_string_pretty(&policy::pod_identity_trust(target, args))?;
    let partition = target.partition.name();
    Ok(format!(
        "\n# 2. The role: only this service account may take it.\n\
         aws iam create-role --role-name \"$ROLE\" --assume-role-policy-document \"$(cat <<'JSON'\n{trust}\nJSON\n)\"\n\
         aws iam attach-role-policy --role-name \"$ROLE\" --policy-arn \"arn:{partition}:iam::$ACCOUNT_ID:policy/$ROLE\"\n\n\
         # 3. The agent on the nodes (once a cluster), and the association.\n\
         aws eks describe-addon --region \"$REGION\" --cluster-name \"$CLUSTER\" --addon-name eks-pod-identity-agent >/dev/null ||\n  \
           aws eks create-addon --region \"$REGION\" --cluster-name \"$CLUSTER\" --addon-name eks-pod-identity-agent\n\
         aws eks create-pod-identity-association --region \"$REGION\" --cluster-name \"$CLUSTER\" \\\n  \
           --namespace \"$NAMESPACE\" --service-account \"$SERVICE_ACCOUNT\" \\\n  \
           --role-arn \"arn:{partition}:iam::$ACCOUNT_ID:role/$ROLE\"\n\n\
         # 4. Pods get the role when they start.\n\
         kubectl -n \"$NAMESPACE\" rollout restart deployment cni-metrics-helper\n\n\
         # With eksctl, 2 and 3 are:\n\
         #   eksctl create podidentityassociation --region \"$REGION\" --cluster \"$CLUSTER\" --namespace \"$NAMESPACE\" \\\n\
         #     --service-account-name \"$SERVICE_ACCOUNT\" --permission-policy-arns \"arn:{partition}:iam::$ACCOUNT_ID:policy/$ROLE\"\n"
    ))
}

fn irsa(target: &Target, args: &IamArgs) -> String {
    let (partition, audience) = (target.partition.name(), &args.oidc_audience);
    format!(
        "\n# 2. The cluster's OIDC issuer, known to IAM (once a cluster).\n\
         ISSUER=$(aws eks describe-cluster --region \"$REGION\" --name \"$CLUSTER\" --query cluster.identity.oidc.issuer --output text)\n\
         ISSUER=${{ISSUER#https://}}\n\
         aws iam get-open-id-connect-provider \\\n  \
           --open-id-connect-provider-arn \"arn:{partition}:iam::$ACCOUNT_ID:oidc-provider/$ISSUER\" >/dev/null ||\n  \
           aws iam create-open-id-connect-provider --url \"https://$ISSUER\" --client-id-list {audience}\n\n\
         # 3. The role: only this service account may take it.\n\
         TRUST=$(cni-metrics-helper generate iam-policy --trust irsa --region \"$REGION\" --namespace \"$NAMESPACE\" \\\n  \
           --service-account \"$SERVICE_ACCOUNT\" --account-id \"$ACCOUNT_ID\" --oidc-provider \"$ISSUER\" --oidc-audience {audience})\n\
         aws iam create-role --role-name \"$ROLE\" --assume-role-policy-document \"$TRUST\"\n\
         aws iam attach-role-policy --role-name \"$ROLE\" --policy-arn \"arn:{partition}:iam::$ACCOUNT_ID:policy/$ROLE\"\n\n\
         # 4. The service account names the role; pods get it when they start. (Helm: serviceAccount.annotations.)\n\
         kubectl -n \"$NAMESPACE\" annotate serviceaccount \"$SERVICE_ACCOUNT\" --overwrite \\\n  \
           \"eks.amazonaws.com/role-arn=arn:{partition}:iam::$ACCOUNT_ID:role/$ROLE\"\n\
         kubectl -n \"$NAMESPACE\" rollout restart deployment cni-metrics-helper\n\n\
         # With eksctl, 2 to 4 are:\n\
         #   eksctl utils associate-iam-oidc-provider --region \"$REGION\" --cluster \"$CLUSTER\" --approve\n\
         #   eksctl create iamserviceaccount --region \"$REGION\" --cluster \"$CLUSTER\" --namespace \"$NAMESPACE\" \\\n\
         #     --name \"$SERVICE_ACCOUNT\" --attach-policy-arn \"arn:{partition}:iam::$ACCOUNT_ID:policy/$ROLE\" \\\n\
         #     --override-existing-serviceaccounts --approve\n"
    )
}
