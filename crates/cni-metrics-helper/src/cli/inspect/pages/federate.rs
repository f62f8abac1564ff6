//! A page of a Prometheus' `/federate`: the series of many nodes, told apart by the labels of their targets.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::saved_page::{Lines, SavedPage, SavedPages};
use super::super::text::{lines, name_of};
use cni_metrics_core::summary::counted;
use cni_metrics_core::text::excerpt;
use cni_types::catalogue::FAMILY_PREFIX;

/// The start of a process belongs to a page too, where the node has one.
const PROCESS_START: &[u8] = b"process_start_time_seconds";

/// Names of nodes are shown up to this length.
const NAME_BYTES: usize = 200;

/// The port and the name of the helper, whose own sums of the cluster have ipamd's names.
const HELPER: (&str, &str) = (":61681", "cni-metrics-helper");

/// The labels of a target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Target {
    cluster: String,
    instance: String,
    node: String,
    pod: String,
    job: String,
}

impl Target {
    /// From a line's labels; none where they name no target, as those of an agent's own page do.
    fn of(line: &[u8]) -> Option<Self> {
        let mut target = Self::default();
        for (name, value) in labels(line) {
            let field = match name {
                b"cluster" => &mut target.cluster,
                b"instance" => &mut target.instance,
                b"node" | b"kubernetes_node" => &mut target.node,
                b"pod" | b"kubernetes_pod_name" => &mut target.pod,
                b"job" => &mut target.job,
                _ => continue,
            };
            *field = excerpt(value, NAME_BYTES);
        }
        let names_one = [&target.instance, &target.node, &target.pod].into_iter().any(|value| !value.is_empty());
        names_one.then_some(target)
    }

    /// What tells nodes apart. An agent that two jobs scrape is one node.
    fn key(&self) -> (String, String) {
        let names = [&self.instance, &self.node, &self.pod];
        let name = names.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        (self.cluster.clone(), name)
    }

    /// The name that says most to a person.
    fn name(&self) -> String {
        let names = [&self.node, &self.pod, &self.instance];
        let name = names.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        if self.cluster.is_empty() { name } else { format!("{}/{name}", self.cluster) }
    }

    fn is_helper(&self) -> bool {
        self.instance.ends_with(HELPER.0) || self.job.contains(HELPER.1) || self.pod.contains(HELPER.1)
    }
}

/// One node's lines so far.
struct Node {
    name: String,
    job: String,
    text: Vec<u8>,
    lines: Vec<u32>,
}

/// The nodes' pages, if a line of ipamd's has the labels of a target.
pub(super) fn pages(text: &[u8]) -> Option<SavedPages<'static>> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut starts = Vec::new();
    let (mut other_jobs, mut helpers, mut nameless) = (BTreeMap::new(), BTreeSet::new(), 0_u64);
    for (number, line) in lines(text) {
        let name = name_of(line);
        if name == PROCESS_START {
            starts.push((number, line));
        }
        if !name.starts_with(FAMILY_PREFIX.as_bytes()) {
            continue;
        }
        let Some(target) = Target::of(line) else {
            nameless = nameless.saturating_add(1);
            continue;
        };
        if target.is_helper() {
            helpers.insert(target.name());
            continue;
        }
        let place = *places.entry(target.key()).or_insert_with(|| {
            nodes.push(Node { name: target.name(), job: target.job.clone(), text: Vec::new(), lines: Vec::new() });
            nodes.len().saturating_sub(1)
        });
        match nodes.get_mut(place) {
            Some(node) if node.job == target.job => node.add(number, line),
            _ => *other_jobs.entry(target.job).or_insert(0_u64) += 1,
        }
    }
    if nodes.is_empty() && helpers.is_empty() {
        return None;
    }
    // The process of a node's agent, and not of what else runs there.
    for (number, line) in starts {
        let Some(target) = Target::of(line) else { continue };
        if let Some(node) = places.get(&target.key()).and_then(|place| nodes.get_mut(*place))
            && node.job == target.job
        {
            node.add(number, line);
        }
    }
    let mut remarks = vec![format!(
        "a page of Prometheus' /federate with the series of {}",
        counted(nodes.len() as u64, "node", "nodes")
    )];
    if nameless > 0 {
        remarks.push(format!(
            "{} of ipamd's metrics without the label instance, node or pod: left out",
            counted(nameless, "line", "lines")
        ));
    }
    for (job, count) in other_jobs {
        remarks.push(format!("{count} series of job {job:?} left out: another job scrapes the same agents"));
    }
    for helper in helpers {
        remarks.push(format!("{helper} left out: it is a metrics helper, whose series are sums of the cluster"));
    }
    Some(SavedPages { pages: nodes.into_iter().map(Node::page).collect(), remarks, failures: Vec::new() })
}

impl Node {
    fn add(&mut self, number: u32, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.lines.push(number);
    }

    fn page(self) -> SavedPage<'static> {
        let part = format!("node {}", self.name);
        let (text, lines) = (Cow::Owned(self.text), Lines::Each(self.lines));
        // Families follow each other, each with all nodes: at the end all of them lose the same.
        SavedPage { node: Some(self.name), part, text, lines, ends_with_text: true }
    }
}

/// The labels of a line, up to the first that cannot be read. Values are as written.
fn labels(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = line.iter().position(|byte| *byte == b'{').and_then(|at| line.get(at + 1..)).unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let name = name_of(rest);
        let value = rest.get(name.len()..)?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let value = value.strip_prefix(b"\"")?;
        let mut is_escaped = false;
        let end = value.iter().position(|byte| {
            let ends = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            ends
        })?;
        rest = value.get(end + 1..)?;
        Some((name, value.get(..end)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_are_written() {
        let line = br#"awscni_x{a="1", b = "q\"}\\",instance="10.0.0.1:61678"} 3"#;
        let found: Vec<_> = labels(line).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", br#"q\"}\\"#), (b"instance", b"10.0.0.1:61678")];
        assert_eq!(found, expected);
        for broken in [&b"awscni_x 3"[..], b"awscni_x{", b"awscni_x{a", b"awscni_x{a=1}", b"awscni_x{a=\"1"] {
            assert_eq!(labels(broken).count(), 0, "{broken:?}");
        }
    }

    #[test]
    fn nodes_are_told_apart_and_counted_once() {
        let text = concat!(
            "# TYPE awscni_eni_max untyped\n",
            "awscni_eni_max{instance=\"10.0.0.1:61678\",job=\"a\",node=\"one\"} 3 1\n",
            "awscni_eni_max{instance=\"10.0.0.1:61678\",job=\"b\"} 3 1\n",
            "awscni_eni_max{instance=\"10.0.0.2:61678\",job=\"a\",node=\"two\"} 4 1\n",
            "awscni_eni_max{instance=\"10.0.9.9:61681\",job=\"h\"} 7 1\n",
            "awscni_eni_max{pod=\"cni-metrics-helper-x\",instance=\"10.0.9.9:1\",job=\"k\"} 7 1\n",
            "awscni_eni_max 9\n",
            "process_start_time_seconds{instance=\"10.0.0.2:61678\",job=\"a\"} 5 1\n",
            "process_start_time_seconds{instance=\"10.0.0.2:9100\",job=\"a\"} 6 1\n",
        );
        let found = pages(text.as_bytes()).unwrap();
        let shown: Vec<_> = found.pages.iter().map(|page| (page.node.as_deref(), page.lines.of_text(1))).collect();
        assert_eq!(shown, [(Some("one"), 2), (Some("two"), 4)]);
        assert_eq!(found.pages[1].lines, Lines::Each(vec![4, 8]));
        let said = found.remarks.join("\n");
        for part in ["of 2 nodes", "job \"b\"", "10.0.9.9:61681 left out", "cni-metrics-helper-x left out", "1 line of"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(pages(b"awscni_x{api=\"a\"} 1\nawscni_eni_max 3\n").is_none(), "an agent's own page");
    }
}
