//! The settings as they take effect, each with the source of its value, for `run --check`.

use clap::{Arg, Args as _, Command};
use serde::{Serialize, Serializer};

use crate::cli::settings::SettingsArgs;
use crate::cli::sources::Source;
use crate::config::{Config, read};
use cni_collector::discover::connect::Server;
use cni_publish::log::LogMetrics;

/// Flags that have no row of their own: `--cloudwatch` is a part of `USE_CLOUDWATCH`, and `run` refuses `--all-contexts`.
const WITHOUT_ROW: [&str; 2] = ["cloudwatch", "all_contexts"];

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct EffectiveSetting {
    /// The variable, or the flag where there is no variable.
    pub(super) name: String,
    /// The flag.
    pub(super) flag: String,
    /// The value in effect; `None` where there is none, or it is found out later.
    pub(super) value: Option<String>,
    /// Where it comes from.
    #[serde(serialize_with = "source_name")]
    pub(super) source: Source,
    /// Which flag, variable or file exactly, where that is not the setting's own.
    pub(super) from: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serialize_with calls")]
fn source_name<S: Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(source.name())
}

/// What files say beside the settings.
#[derive(Debug, Clone, Default)]
pub(super) struct FromFiles {
    /// The API server that the kubeconfig leads to.
    pub(super) server: Option<Server>,
    /// The region of the shared AWS configuration.
    pub(super) region: Option<String>,
}

/// Every setting, in the order of `--help`.
pub(super) fn settings(config: &Config, args: &SettingsArgs, files: &FromFiles) -> Vec<EffectiveSetting> {
    let command = SettingsArgs::augment_args(Command::new("settings"));
    let shown = command.get_arguments().filter(|arg| !WITHOUT_ROW.contains(&arg.get_id().as_str()));
    let effective = Effective { config, args, files };
    shown.map(|arg| effective.row(arg)).collect()
}

struct Effective<'a> {
    config: &'a Config,
    args: &'a SettingsArgs,
    files: &'a FromFiles,
}

impl Effective<'_> {
    fn row(&self, arg: &Arg) -> EffectiveSetting {
        let id = arg.get_id().as_str();
        let flag = format!("--{}", arg.get_long().unwrap_or(id));
        let name = arg.get_env().map_or_else(|| flag.clone(), |name| name.to_string_lossy().into_owned());
        let default = || arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let text = self.args.sources.given(id).map(str::to_owned).or_else(default);
        let value = text.map(|text| normal(arg, &text));
        let mut row = EffectiveSetting { name, flag, value, source: self.args.sources.source(id), from: None };
        self.correct(&mut row, id);
        row
    }

    /// What is in effect although another value is set, or none.
    fn correct(&self, row: &mut EffectiveSetting, id: &str) {
        match id {
            "use_cloudwatch" => {
                row.value = Some(self.config.cloudwatch.is_some().to_string());
                if row.source == Source::Default && self.args.sources.given("cloudwatch").is_some() {
                    (row.source, row.from) = (Source::Flag, Some("--cloudwatch".to_owned()));
                }
            }
            "standby_scrape" => {
                let is_on = self.config.election.as_ref().is_some_and(|election| election.standby_scrape);
                row.value = Some(is_on.to_string());
            }
            "log_metrics" => {
                row.value = Some((self.config.log_metrics != LogMetrics::Fields).to_string());
            }
            "scrape_timeout" => row.value = Some(read::short(self.config.scrape.timeout)),
            "scrape_max_bytes" => row.value = Some(read::size(self.config.scrape.max_bytes as u64)),
            "admin_address" => {
                row.value = Some(self.config.admin.map_or_else(|| "off".to_owned(), |address| address.to_string()));
            }
            "aws_region" if row.value.is_none() => {
                if let Some(region) = read::given(self.config.environment.default_region.as_ref()) {
                    (row.value, row.source) = (Some(region.to_owned()), Source::Environment);
                    row.from = Some("AWS_DEFAULT_REGION".to_owned());
                } else if let Some(region) = &self.files.region {
                    (row.value, row.source) = (Some(region.clone()), Source::File);
                    row.from = Some("shared AWS configuration".to_owned());
                }
            }
            "kubeconfig"
                if row.value.is_none() && self.files.server.as_ref().is_some_and(|found| found.context.is_some()) =>
            {
                row.value = Some(self.config.connect.shown_kubeconfig());
                if self.config.connect.is_named_by_variable {
                    (row.source, row.from) = (Source::Environment, Some("KUBECONFIG".to_owned()));
                }
            }
            "context" => {
                if let Some(context) = self.files.server.as_ref().and_then(|server| server.context.clone())
                    && row.value.is_none()
                {
                    (row.value, row.source) = (Some(context), Source::File);
                    row.from = Some(self.config.connect.shown_kubeconfig());
                }
            }
            _ => {}
        }
    }
}

/// The value as the program reads it: one way to write a switch, a duration or a size.
fn normal(arg: &Arg, text: &str) -> String {
    let kind = arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str);
    let text = text.trim();
    let normal = match kind {
        Some("BOOL") => read::switch(text).ok().map(|on| on.to_string()),
        Some("DURATION") => read::any_duration(text).map(read::short),
        Some("SIZE") => read::bytes(0, u64::MAX)(text).ok().map(read::size),
        _ => None,
    };
    normal.unwrap_or_else(|| text.to_owned())
}

/// The warning about a folder for the spool that cannot be written. It is tried, and what was made for that is removed.
pub(super) fn spool_warning(config: &Config) -> Option<String> {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(4);
    let folder = config.cloudwatch.as_ref()?.spool_dir.clone()?;
    let (answer, answered) = std::sync::mpsc::channel();
    let shown = folder.display().to_string();
    // A volume that hangs costs this thread.
    std::thread::spawn(move || answer.send(prove(&folder).map_err(|error| error.to_string())));
    let why = match answered.recv_timeout(LIMIT) {
        Ok(Ok(())) => return None,
        Ok(Err(why)) => why,
        Err(_late) => format!("the volume did not answer within {} s", LIMIT.as_secs()),
    };
    Some(format!(
        "SPOOL_DIR = {shown:?} cannot be written: {why}; data points that are not sent yet are lost at a restart, and \
         sink_in_trouble is 1"
    ))
}

fn prove(folder: &std::path::Path) -> std::io::Result<()> {
    let made: Vec<_> = folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    let probe = folder.join(format!(".check-{}", std::process::id()));
    let proved = std::fs::create_dir_all(folder).and_then(|()| std::fs::File::create_new(&probe).map(drop));
    let _removed = std::fs::remove_file(&probe);
    for part in made {
        let _removed = std::fs::remove_dir(part);
    }
    proved
}
