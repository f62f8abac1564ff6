//! Where the value of each flag comes from, as the command line was read.

use std::collections::BTreeMap;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Environment,
    /// A file, such as the kubeconfig.
    File,
    /// The program's own value.
    Default,
}

impl Source {
    /// The word for tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// The flags and variables that were given with a value, by the id of the flag. An empty value counts as not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<String, (Source, String)>);

impl Sources {
    /// Reads them from what was parsed.
    pub fn of(matches: &ArgMatches) -> Self {
        let given = |id: &clap::Id| {
            let source = match matches.value_source(id.as_str())? {
                ValueSource::CommandLine => Source::Flag,
                ValueSource::EnvVariable => Source::Environment,
                _ => return None,
            };
            let values = matches.get_raw_occurrences(id.as_str())?.flatten();
            let texts: Vec<_> = values.map(|value| value.to_string_lossy().trim().to_owned()).collect();
            let text = texts.join(", ");
            (!text.is_empty()).then(|| (id.to_string(), (source, text)))
        };
        Self(matches.ids().filter_map(given).collect())
    }

    /// Where the value of this flag comes from.
    pub fn source(&self, id: &str) -> Source {
        self.0.get(id).map_or(Source::Default, |(source, _)| *source)
    }

    /// The text that was given for this flag.
    pub fn given(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|(_, text)| text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;
    use crate::cli::settings::SettingsArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        _settings: SettingsArgs,
    }

    #[test]
    fn each_value_has_its_source_and_an_empty_one_has_none() {
        let line =
            ["test", "--interval=5", "--cloudwatch", "--context=a", "--context=b", "--spool-dir=", "--all-contexts"];
        let sources = Sources::of(&Line::command().get_matches_from(line));
        let of = |id| (sources.source(id), sources.given(id));
        assert_eq!(of("metric_update_interval"), (Source::Flag, Some("5")));
        assert_eq!(of("cloudwatch"), (Source::Flag, Some("true")));
        assert_eq!(of("context"), (Source::Flag, Some("a, b")));
        for id in ["spool_dir", "scrape_timeout", "aws_region", "unknown"] {
            assert_eq!(of(id), (Source::Default, None), "{id}");
        }
    }
}
