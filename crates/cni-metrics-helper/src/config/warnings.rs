//! Combinations of settings that are allowed and work worse than they look.

use super::parts::{CloudWatchConfig, ElectionConfig, PrometheusConfig};
use super::read;
use crate::cli::settings::SettingsArgs;

/// One sentence for each: what is set, and what is in effect. A setting with a mistake (`None`) is reported as that.
pub(super) fn of(
    args: &SettingsArgs,
    cloudwatch: Option<&Option<CloudWatchConfig>>,
    prometheus: Option<&Option<PrometheusConfig>>,
    election: Option<&Option<ElectionConfig>>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if matches!((cloudwatch, prometheus), (Some(None), Some(None))) {
        warnings.push(
            "USE_CLOUDWATCH=false and USE_PROMETHEUS=false: the figures are written to the log and published nowhere; set \
             one of them to true"
                .to_owned(),
        );
    }
    if matches!(election, Some(None)) && read::switch(args.standby_scrape.trim()) == Ok(true) {
        warnings.push(
            "STANDBY_SCRAPE=true has no effect without LEADER_ELECTION=true: this replica publishes, and so does every \
             other one"
                .to_owned(),
        );
    }
    warnings
}
