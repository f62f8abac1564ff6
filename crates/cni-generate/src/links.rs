//! Links to the documentation, where somebody publishes it.

use anyhow::ensure;
use clap::Args;

use crate::alert::AlertNames;

/// Flag `--docs-url`.
#[derive(Debug, Clone, Args)]
pub(super) struct DocsFlag {
    /// Where the project's folder docs can be read, such as `https://wiki.example.com/cni-metrics-helper/docs`: each alert
    /// then has a link to its page there. Without it there are no links
    #[arg(long, env = "DOCS_URL", value_name = "URL", hide_env_values = true)]
    docs_url: Option<String>,
}

/// The checked flag.
#[derive(Debug, Clone)]
pub(super) struct Docs {
    url: Option<String>,
}

impl Docs {
    pub(super) fn new(flag: &DocsFlag) -> anyhow::Result<Self> {
        let given = flag.docs_url.as_deref().filter(|url| !url.is_empty());
        if let Some(url) = given {
            let host = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
            let is_url = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{}|#?".contains(&byte);
            ensure!(
                host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && url.bytes().all(is_url),
                "--docs-url {url:?}: must be the http(s) URL of a folder, such as https://wiki.example.com/cni/docs"
            );
        }
        Ok(Self { url: given.map(|url| url.trim_end_matches('/').to_owned()) })
    }

    /// The page of an alert.
    pub(super) fn of(&self, alert: AlertNames) -> Option<String> {
        let url = self.url.as_deref()?;
        Some(format!("{url}/alerts.md#{}", alert.rule.to_ascii_lowercase()))
    }
}
