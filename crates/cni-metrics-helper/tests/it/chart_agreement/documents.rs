//! The tables of the guides, as data.

use std::collections::BTreeSet;

use super::features::{AGENTS, Features, HELPER, Right};
use crate::helm::repository;

/// A file of `docs/`.
pub(crate) fn guide(name: &str) -> String {
    std::fs::read_to_string(repository().join("docs").join(name)).unwrap()
}

/// The rows of the first table under a heading, cell by cell, without its head.
pub(crate) fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(cells).collect()
}

/// The cells of one row.
pub(crate) fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The words between backticks.
pub(crate) fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// A row of the table of Kubernetes rights.
#[derive(Debug)]
pub(crate) struct Documented {
    condition: String,
    pub(crate) rights: BTreeSet<Right>,
    /// What the log says without one of them.
    pub(crate) said_without: String,
}

impl Documented {
    /// The whole table of `docs/install.md`.
    pub(crate) fn table() -> Vec<Self> {
        let rows = table(&guide("install.md"), "Kubernetes rights");
        assert!(rows.len() >= 6, "{rows:?}");
        rows.iter().map(|row| Self::read(row)).collect()
    }

    fn read(row: &[String]) -> Self {
        let [_, condition, right, place, without] = row else { panic!("five cells: {row:?}") };
        let namespace = match place.as_str() {
            "Role in the agents' namespace" => AGENTS,
            "Role in the helper's namespace" => HELPER,
            "ClusterRole" => "",
            other => panic!("no such place: {other}"),
        };
        let (resource, verbs) = right.split_once(':').unwrap();
        let rights = quoted(verbs).into_iter().map(|verb| Right {
            namespace: namespace.to_owned(),
            resource: quoted(resource)[0].to_owned(),
            verb: verb.to_owned(),
            by_name: resource.ends_with("by name"),
        });
        Self {
            condition: condition.clone(),
            rights: rights.collect(),
            said_without: (*quoted(without).last().unwrap()).to_owned(),
        }
    }

    /// This row is of a feature that is on.
    pub(crate) fn holds_with(&self, features: Features) -> bool {
        match self.condition.as_str() {
            "always" => true,
            "`SCRAPE_VIA` auto or proxy" => features.via != "direct",
            "`nodeLabels`" => features.node_labels,
            "`INSIGHT=cluster`" => features.insight == "cluster",
            "`replicas` > 1 or `LEADER_ELECTION`" => features.election,
            other => panic!("no such condition: {other}"),
        }
    }
}

/// Every right that the guide names for these features.
pub(crate) fn documented(features: Features) -> BTreeSet<Right> {
    let rows = Documented::table();
    rows.into_iter().filter(|row| row.holds_with(features)).flat_map(|row| row.rights).collect()
}
