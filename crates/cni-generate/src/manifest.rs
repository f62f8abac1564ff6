//! The manifest: the chart's own rendering, kept as a template, with the cluster's values put in.

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use super::artifact::{Artifact, Output};
use super::target::{ClusterFlags, Partition, Target};
use cni_types::names::is_account;
use cni_types::partition::registry_accounts;

/// The chart rendered with the marker values below (`deploy/manifest/render.sh` renews it; a test compares).
const TEMPLATE: &str = include_str!("manifest.yaml");

/// Stands for the image in a manifest for which none is given. No image can have this name ('<' and '>' are in none), so no
/// cluster pulls something else by mistake: the pod says `InvalidImageName`.
const PLACEHOLDER: &str = "<your-registry>/cni-metrics-helper:<your-tag>";

const NAMESPACE: &str = "xx-namespace-xx";
const IMAGE: &str = "\"xx-image-xx\"";
const CLUSTER_ID: &str = "\"xx-cluster-id-xx\"";
const REGION_LINES: &str = "            - name: AWS_REGION\n              value: \"xx-region-0\"\n";
/// What `INSIGHT=cluster` adds.
const INSIGHT_LINES: &str = "            - name: INSIGHT\n              value: \"cluster\"\n";
/// Its rights: from the first of its rules to the end of the `ClusterRole`.
const RIGHTS_BEGIN: &str = "  # INSIGHT=cluster: whether custom networking";
const RIGHTS_END: &str = "---\n";
const ROLE_LINES: &str = "  annotations:\n    eks.amazonaws.com/role-arn: xx-role-arn-xx\n";

#[derive(Debug, Clone, Args)]
pub(super) struct ManifestArgs {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// The image, whole; instead of --account
    #[arg(long, value_name = "REFERENCE", conflicts_with = "account")]
    image: Option<String>,
    /// The AWS account whose ECR registry holds the image
    #[arg(long, value_name = "DIGITS")]
    account: Option<String>,
    /// The IAM role of the service account (IRSA)
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// How much is read for findings; cluster needs further rights (docs/install.md)
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Basic)]
    insight: Level,
}

/// The levels of `INSIGHT`, from which the rights follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// No further right
    Basic,
    /// Also the networking objects of the VPC CNI and the agents' daemon set
    Cluster,
}

pub(super) fn make(args: &ManifestArgs) -> anyhow::Result<Output> {
    let target = &Target::new((&args.cluster).into())?;
    let region = target.region.as_deref();
    let region_lines = region.map(|region| REGION_LINES.replace("xx-region-0", region)).unwrap_or_default();
    let role_lines = match &args.role_arn {
        Some(arn) => {
            ensure!(
                is_role_arn(arn, target.partition),
                "--role-arn {arn:?}: an IAM role of the partition {}",
                target.partition.name()
            );
            ROLE_LINES.replace("xx-role-arn-xx", arn)
        }
        None => String::new(),
    };
    let image = image(target, args)?;
    let notice = (image == PLACEHOLDER).then(|| {
        format!(
            "{PLACEHOLDER} stands where the image belongs, and no cluster accepts it: name your image by --image or \
             --account, or edit the manifest"
        )
    });
    // Said in the file, too: it may be applied long after it was made.
    let mut body = notice.as_ref().map(|text| format!("# NOTE: {text}\n")).unwrap_or_default() + TEMPLATE;
    if args.insight == Level::Basic {
        body = without_insight(&body)?;
    }
    for (marker, text) in [
        (REGION_LINES, region_lines),
        (ROLE_LINES, role_lines),
        (IMAGE, quoted(&image)?),
        (CLUSTER_ID, quoted(target.cluster_id().unwrap_or_default())?),
        (NAMESPACE, target.namespace.clone()),
    ] {
        ensure!(body.contains(marker), "the manifest's template lacks {marker:?}");
        body = body.replace(marker, &text);
    }
    Ok(Output { notice, ..Output::one(Artifact::new("cni-metrics-helper.yaml", body)) })
}

/// The same without what only `INSIGHT=cluster` has.
fn without_insight(body: &str) -> anyhow::Result<String> {
    let lacks = "the manifest's template lacks the rights of INSIGHT=cluster";
    let (before, rest) = body.split_once(RIGHTS_BEGIN).context(lacks)?;
    let (_, after) = rest.split_once(RIGHTS_END).context(lacks)?;
    let body = format!("{before}{RIGHTS_END}{after}");
    ensure!(body.contains(INSIGHT_LINES), "the manifest's template lacks {INSIGHT_LINES:?}");
    Ok(body.replace(INSIGHT_LINES, ""))
}

/// The image as given, or in the registry of the given account; else the placeholder. There is no default: this program's
/// image is in no public registry, and AWS's registries hold the upstream helper under the same name.
fn image(target: &Target, args: &ManifestArgs) -> anyhow::Result<String> {
    if let Some(image) = &args.image {
        let is_reference = |byte: u8| byte.is_ascii_alphanumeric() || b"./:_@-".contains(&byte);
        ensure!(
            !image.is_empty() && image.bytes().all(is_reference),
            "--image {image:?}: an image such as registry/name:tag"
        );
        let account = image.split('.').next().unwrap_or_default();
        let is_upstream = image.contains(".dkr.ecr") && image.contains("/cni-metrics-helper");
        ensure!(!is_upstream || !is_aws(account), "--image {image}: {}", of_aws(account));
        return Ok(image.clone());
    }
    let Some(account) = &args.account else { return Ok(PLACEHOLDER.to_owned()) };
    ensure!(is_account(account), "--account {account:?}: twelve digits");
    let region = target.region.as_deref().unwrap_or(target.partition.usual_region());
    ensure!(!is_aws(account), "--account {account}: {}", of_aws(account));
    let (domain, version) = (target.partition.domain(), env!("CARGO_PKG_VERSION"));
    Ok(format!("{account}.dkr.ecr.{region}.{domain}/cni-metrics-helper:v{version}"))
}

fn is_aws(account: &str) -> bool {
    registry_accounts().any(|own| own == account)
}

fn of_aws(account: &str) -> String {
    format!(
        "AWS's registry {account} holds the upstream helper and never this program: push this program's image to your own \
         registry"
    )
}

/// A YAML double-quoted scalar: JSON's quoting is a part of YAML's.
fn quoted(text: &str) -> anyhow::Result<String> {
    serde_json::to_string(text).context("text cannot be quoted")
}

fn is_role_arn(arn: &str, partition: Partition) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [head, in_partition, service, region, account, role] = parts.as_slice() else { return false };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=,.@-".contains(&byte);
    *head == "arn"
        && *in_partition == partition.name()
        && *service == "iam"
        && region.is_empty()
        && is_account(account)
        && role.strip_prefix("role/").is_some_and(|name| !name.is_empty() && name.bytes().all(is_name))
}
