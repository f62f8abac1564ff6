//! AWS rights: the policy, who may take the role, and the commands that put both in place.

mod commands;
mod policy;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

pub(super) use policy::IamArgs;
use policy::{Trust, pod_identity_trust, policy, statements};

use super::artifact::{Artifact, Output};
use super::target::{Target, check_cloudwatch_namespace};
use cni_types::iam::{FIND_CLUSTER_NAME, POLICY_VERSION};
use cni_types::names::{is_account, is_dns_label};

pub(super) fn make(args: &IamArgs) -> anyhow::Result<Output> {
    let target = &Target::new((&args.cluster).into())?;
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

fn explanation(args: &IamArgs) -> String {
    let mut paragraphs = vec!["# Why each statement is in iam-policy.json".to_owned()];
    paragraphs.extend(statements(args).map(|statement| {
        let reason = statement.reason.replace("{namespace}", &args.cloudwatch_namespace);
        format!("`{}`: {reason}", statement.sid)
    }));
    if !args.with_tags {
        paragraphs.push(format!(
            "Nothing else is needed: with AWS_CLUSTER_ID set, or the cluster's name found in the cluster itself, the helper \
             makes no EC2 call. `--with-tags` adds {} for clusters that rely on instance tags.",
            FIND_CLUSTER_NAME.action
        ));
    }
    paragraphs.join("\n\n") + "\n"
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
        "Version": POLICY_VERSION,
        "Statement": [{
            "Sid": "HelperThroughClusterIssuer",
            "Effect": "Allow",
            "Principal": { "Federated": format!("arn:{}:iam::{account}:oidc-provider/{issuer}", target.partition.name()) },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": { "StringEquals": conditions },
        }],
    })))
}
