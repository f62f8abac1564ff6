//! What leads a helper in this process to a simulated cluster: settings and an AWS identity made of the variables that
//! [`Sim::env`](cni_sim::sim::Sim::env) gives and `sim` prints.

use anyhow::Context;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use clap::Parser;

use crate::cli::settings::SettingsArgs;
use crate::config::Config;
use cni_aws::AwsHttp;
use cni_aws::identity::{CredentialKind, Found, Identity};

/// Where the values of the identity come from, as messages name it.
const SOURCE: &str = "the simulated world";

/// The settings a user would give, read by the same code. `flags` (name and value in turn) win over the defaults that
/// suit a simulated cluster: one round per 30 s, CloudWatch on, every listener off.
pub fn config(env: &[(String, String)], flags: &[&str]) -> anyhow::Result<Config> {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: SettingsArgs,
    }
    let (kubeconfig, port) = (variable(env, "KUBECONFIG")?, variable(env, "AGENT_PORT")?);
    let defaults = [
        ("--kubeconfig", kubeconfig.as_str()),
        ("--agent-port", port.as_str()),
        ("--interval", "30"),
        ("--use-cloudwatch", "true"),
        ("--use-prometheus", "false"),
        ("--admin-address", "off"),
    ];
    let is_given = |name: &str| flags.chunks(2).any(|pair| pair.first() == Some(&name));
    let defaults = defaults.into_iter().filter(|(name, _)| !is_given(name)).flat_map(|(name, value)| [name, value]);
    let all = std::iter::once("cni-metrics-helper").chain(defaults).chain(flags.iter().copied());
    Ok(Config::read(&Flags::try_parse_from(all)?.settings)?)
}

/// The simulated account: the SDK, pointed at the simulated CloudWatch.
pub fn identity(env: &[(String, String)], cluster_id: &str) -> anyhow::Result<Identity> {
    let region = variable(env, "AWS_REGION")?;
    let keys = (variable(env, "AWS_ACCESS_KEY_ID")?, variable(env, "AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(keys.0, keys.1, None, None, SOURCE);
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.clone()))
        .endpoint_url(variable(env, "AWS_ENDPOINT_URL_CLOUDWATCH")?)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(AwsHttp::new(None)?.sdk_client())
        .build();
    Ok(Identity {
        region: Some(Found { value: region, source: SOURCE.to_owned() }),
        cluster_id: Found { value: cluster_id.parse()?, source: SOURCE.to_owned() },
        credentials: CredentialKind::Environment,
        sdk,
    })
}

fn variable(env: &[(String, String)], wanted: &str) -> anyhow::Result<String> {
    let found = env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    found.with_context(|| format!("the simulated world does not say {wanted}"))
}
