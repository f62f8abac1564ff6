//! `run --check`: the effective configuration with the source of each value, and what is wrong with it.

mod effective;

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use self::effective::{EffectiveSetting, FromFiles, spool_warning};
use super::output::Output;
use super::runtime::runtime;
use super::settings::SettingsArgs;
use super::sources::Source;
use crate::config::{Config, ConfigError, Mistake};
use crate::view::schema::Schema;
use crate::view::table::styled;
use cni_aws::identity::region_of_files;
use cni_collector::discover::connect::{ConnectError, ConnectSettings, Server, server};
use cni_insight::evidence::InsightLevel;
use cni_types::rights::{self, ObjectRight};

/// The JSON object: `{"schema","valid","settings":[{"name","flag","value","source","from"}],"server":{"url","context"},
/// "warnings":[text],"errors":[{"setting","value","allowed"}],"rights":[{"resource","name","verbs","needed_for"}]}`. `settings` is
/// empty where there are errors; `rights` are those that `INSIGHT` needs beyond the usual ones.
#[derive(Debug, Serialize)]
struct CheckJson<'a> {
    valid: bool,
    settings: &'a [EffectiveSetting],
    server: Option<ServerJson<'a>>,
    warnings: &'a [String],
    errors: Vec<ErrorJson<'a>>,
    rights: Vec<RightJson>,
}

#[derive(Debug, Serialize)]
struct RightJson {
    resource: String,
    name: Option<&'static str>,
    verbs: [&'static str; 2],
    needed_for: &'static str,
}

impl From<ObjectRight> for RightJson {
    fn from(right: ObjectRight) -> Self {
        let ObjectRight { name, needed_for, .. } = right;
        Self { resource: right.full_name(), name, verbs: rights::VERBS, needed_for }
    }
}

/// The rights that the level of `INSIGHT` needs beyond those that the helper has anyway.
fn rights_of(config: &Config) -> &'static [ObjectRight] {
    match config.insight.as_ref().map(|insight| insight.level) {
        Some(InsightLevel::Cluster) => &rights::OF_CLUSTER,
        Some(InsightLevel::Basic | InsightLevel::Off) | None => &[],
    }
}

#[derive(Debug, Serialize)]
struct ServerJson<'a> {
    url: &'a str,
    context: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ErrorJson<'a> {
    setting: &'a str,
    value: &'a str,
    allowed: &'a str,
}

impl<'a> From<&'a Mistake> for ErrorJson<'a> {
    fn from(mistake: &'a Mistake) -> Self {
        Self { setting: &mistake.setting, value: &mistake.value, allowed: &mistake.allowed }
    }
}

/// Prints what the settings come to and returns 0, or reports all errors and returns 1. Only files are read.
pub(super) fn run(args: &SettingsArgs, output: Output, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let connect = Config::connect_settings(args);
    let runtime = runtime()?;
    let (found, region) = runtime.block_on(async { (server(&connect).await, region_of_files().await) });
    let config = match checked(args, &connect, found.as_ref().err()) {
        Ok(config) => config,
        Err(error) if output == Output::Json => {
            let errors = error.0.iter().map(ErrorJson::from).collect();
            let check =
                CheckJson { valid: false, settings: &[], server: None, warnings: &[], errors, rights: Vec::new() };
            Schema::Check.print(&check, out)?;
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    let mut warnings: Vec<String> = [&config.warnings[..], &config.publishing_warnings].concat();
    warnings.extend(spool_warning(&config));
    let settings = effective::settings(&config, args, &FromFiles { server: found.as_ref().ok().cloned(), region });
    match output {
        Output::Json => {
            let server = found.as_ref().ok();
            let server = server.map(|found| ServerJson { url: &found.url, context: found.context.as_deref() });
            let rights = rights_of(&config).iter().copied().map(RightJson::from).collect();
            let (settings, warnings) = (&settings[..], &warnings[..]);
            let check = CheckJson { valid: true, settings, server, warnings, errors: Vec::new(), rights };
            Schema::Check.print(&check, out)?;
        }
        Output::Table => text((&settings, rights_of(&config)), &found, &warnings, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings, or all errors. A kubeconfig or context that was named and leads nowhere is one; that there is none is not,
/// because the helper may be meant for a pod elsewhere.
fn checked(
    args: &SettingsArgs,
    connect: &ConnectSettings,
    unreachable: Option<&ConnectError>,
) -> Result<Config, ConfigError> {
    let read = Config::read(args);
    let Some(error) = unreachable else { return read };
    let (setting, value) = match (&connect.context, &connect.kubeconfig) {
        (Some(context), _) => ("--context", context.clone()),
        (None, Some(path)) => ("--kubeconfig", path.display().to_string()),
        (None, None) => return read,
    };
    let mut errors = read.err().map_or_else(Vec::new, |error| error.0);
    // A file that is not there is in the list already.
    if !errors.iter().any(|known| known.setting == "--kubeconfig") {
        errors.push(Mistake { setting: setting.to_owned(), value, allowed: error.to_string() });
    }
    Err(ConfigError(errors))
}

fn text(
    (settings, rights): (&[EffectiveSetting], &[ObjectRight]),
    found: &Result<Server, ConnectError>,
    warnings: &[String],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    table(settings, out)?;
    match found {
        Ok(server) => writeln!(out, "API server: {}", server.url.trim_end_matches('/'))?,
        Err(error) => writeln!(out, "API server: none from this machine: {error}")?,
    }
    for right in rights {
        let only = right.name.map(|name| format!(" of the name {name}")).unwrap_or_default();
        let verbs = rights::VERBS.join(" and ");
        writeln!(out, "INSIGHT needs the right to {verbs} {}{only}: {}", right.full_name(), right.needed_for)?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let count = warnings.len();
    writeln!(out, "the settings are valid; {count} {}", if count == 1 { "warning" } else { "warnings" })
}

fn table(settings: &[EffectiveSetting], out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = styled(&["setting", "value", "source"]);
    for row in settings {
        let value = row.value.as_deref().unwrap_or("-");
        let source = match (row.source, &row.from) {
            (source, Some(from)) => format!("{} {from}", source.name()),
            (Source::Flag, None) => format!("flag {}", row.flag),
            (source, None) => source.name().to_owned(),
        };
        table.add_row([row.name.as_str(), value, &source]);
    }
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
