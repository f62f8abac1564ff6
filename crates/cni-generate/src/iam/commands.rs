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
    let partition = target.partition.name();
    let mut script = format!(
        "#!/usr/bin/env bash\n\
         # Gives the helper of one cluster its AWS rights. Needs the aws CLI with rights on IAM and EKS, and kubectl.\n\
         # It can be run again, also after a part of it failed: what is there already is brought up to date.\n\
         set -euo pipefail\n\n\
         CLUSTER={cluster}\n\
         REGION={region}\n\
         NAMESPACE={namespace}\n\
         SERVICE_ACCOUNT={account}\n\
         ROLE=\"cni-metrics-helper-$REGION-$CLUSTER\"\n\
         ROLE=${{ROLE:0:64}} # IAM's limit\n\
         ACCOUNT_ID=$(aws sts get-caller-identity --query Account --output text)\n\
         ROLE_ARN=\"arn:{partition}:iam::$ACCOUNT_ID:role/$ROLE\"\n\
         POLICY_ARN=\"arn:{partition}:iam::$ACCOUNT_ID:policy/$ROLE\"\n\n\
         # 1. The policy. IAM keeps five versions of one: the oldest gives way.\n\
         POLICY=$(cat <<'JSON'\n{policy}\nJSON\n)\n{POLICY}"
    );
    script += &match way {
        Trust::PodIdentity => pod_identity(target, args)?,
        Trust::Irsa => irsa(target, args),
    };
    Ok(script)
}

const POLICY: &str = r#"if aws iam get-policy --policy-arn "$POLICY_ARN" >/dev/null 2>&1; then
  VERSIONS=$(aws iam list-policy-versions --policy-arn "$POLICY_ARN" \
    --query 'Versions[?!IsDefaultVersion].VersionId' --output text)
  if [ "$(wc -w <<<"$VERSIONS")" -ge 4 ]; then
    aws iam delete-policy-version --policy-arn "$POLICY_ARN" --version-id "${VERSIONS##*[[:space:]]}"
  fi
  aws iam create-policy-version --policy-arn "$POLICY_ARN" --set-as-default --policy-document "$POLICY"
else
  aws iam create-policy --policy-name "$ROLE" --policy-document "$POLICY"
fi
"#;

const ROLE: &str = r#"if aws iam get-role --role-name "$ROLE" >/dev/null 2>&1; then
  aws iam update-assume-role-policy --role-name "$ROLE" --policy-document "$TRUST"
else
  aws iam create-role --role-name "$ROLE" --assume-role-policy-document "$TRUST"
fi
aws iam attach-role-policy --role-name "$ROLE" --policy-arn "$POLICY_ARN"
"#;

const ASSOCIATION: &str = r#"aws eks describe-addon --region "$REGION" --cluster-name "$CLUSTER" --addon-name eks-pod-identity-agent >/dev/null ||
  aws eks create-addon --region "$REGION" --cluster-name "$CLUSTER" --addon-name eks-pod-identity-agent
ASSOCIATION=$(aws eks list-pod-identity-associations --region "$REGION" --cluster-name "$CLUSTER" \
  --namespace "$NAMESPACE" --service-account "$SERVICE_ACCOUNT" --query 'associations[].associationId' --output text)
if [ -n "$ASSOCIATION" ]; then
  aws eks update-pod-identity-association --region "$REGION" --cluster-name "$CLUSTER" \
    --association-id "$ASSOCIATION" --role-arn "$ROLE_ARN"
else
  aws eks create-pod-identity-association --region "$REGION" --cluster-name "$CLUSTER" \
    --namespace "$NAMESPACE" --service-account "$SERVICE_ACCOUNT" --role-arn "$ROLE_ARN"
fi
"#;

/// With shards the helper is a `StatefulSet`; before it is installed, it is neither.
const RESTART: &str = r#"kubectl -n "$NAMESPACE" get deployment,statefulset --selector k8s-app=cni-metrics-helper --output name |
  while read -r HELPER; do kubectl -n "$NAMESPACE" rollout restart "$HELPER" </dev/null; done
"#;

fn pod_identity(target: &Target, args: &IamArgs) -> anyhow::Result<String> {
    let trust = serde_json::to_string_pretty(&policy::pod_identity_trust(target, args))?;
    Ok(format!(
        "\n# 2. The role: only this service account may take it.\n\
         TRUST=$(cat <<'JSON'\n{trust}\nJSON\n)\n{ROLE}\n\
         # 3. The agent on the nodes (once a cluster), and the association.\n{ASSOCIATION}\n\
         # 4. Pods get the role when they start.\n{RESTART}\n\
         # With eksctl, 2 and 3 are:\n\
         #   eksctl create podidentityassociation --region \"$REGION\" --cluster \"$CLUSTER\" --namespace \"$NAMESPACE\" \\\n\
         #     --service-account-name \"$SERVICE_ACCOUNT\" --permission-policy-arns \"$POLICY_ARN\"\n"
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
           --service-account \"$SERVICE_ACCOUNT\" --account-id \"$ACCOUNT_ID\" --oidc-provider \"$ISSUER\" --oidc-audience {audience})\n{ROLE}\n\
         # 4. The service account names the role; pods get it when they start. (Helm: serviceAccount.annotations.)\n\
         kubectl -n \"$NAMESPACE\" annotate serviceaccount \"$SERVICE_ACCOUNT\" --overwrite \\\n  \
           \"eks.amazonaws.com/role-arn=$ROLE_ARN\"\n{RESTART}\n\
         # With eksctl, 2 to 4 are:\n\
         #   eksctl utils associate-iam-oidc-provider --region \"$REGION\" --cluster \"$CLUSTER\" --approve\n\
         #   eksctl create iamserviceaccount --region \"$REGION\" --cluster \"$CLUSTER\" --namespace \"$NAMESPACE\" \\\n\
         #     --name \"$SERVICE_ACCOUNT\" --attach-policy-arn \"$POLICY_ARN\" --override-existing-serviceaccounts --approve\n"
    )
}
