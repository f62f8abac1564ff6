//! The guides in `docs/`: every metric and every kind of failure has its row, and every `generate` command in them runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Parser;
use cni_generate::{self, GenerateArgs};
use cni_metrics_core::model::FailureKind;
use cni_publish::cloudwatch::advice::minimal_policy;
use cni_publish::prometheus::names::{COUNTERS, GAUGES, LEGACY};
use cni_types::catalogue::{FAMILY_PREFIX, Family, LabelledFamily, Metric};
use cni_types::ec2::Ec2Operation;
use cni_types::iam::{PUBLISH, STATEMENTS, Statement};
use cni_types::partition::{PARTITIONS, registry_accounts};
use cni_types::version::AgentVersion;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    generate: GenerateArgs,
}

fn guide(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn every_metric_has_its_row() {
    let guide = guide("metrics.md");
    let quoted = |name: &str| guide.contains(&format!("`{name}`"));
    for metric in Metric::ALL {
        assert!(quoted(metric.name()), "{}", metric.name());
    }
    for name in LEGACY.iter().map(|name| name.name.to_owned()) {
        assert!(quoted(&name), "{name}");
    }
    for name in &GAUGES {
        assert!(quoted(name.name) || quoted(&format!("cni_cluster_{}", name.name)), "{}", name.name);
    }
    for name in &COUNTERS {
        assert!(quoted(&format!("{}_total", name.name)), "{}_total", name.name);
    }
}

/// The rows of the table with this head, cell by cell.
fn table(guide: &str, head: &str) -> Vec<Vec<String>> {
    let (_, rest) = guide.split_once(&format!("\n{head}\n")).unwrap();
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_tables_of_versions_and_labels_are_the_catalogues() {
    let guide = guide("metrics.md");
    let named = |short: &str| {
        let name = format!("{FAMILY_PREFIX}{short}");
        let is_it = |family: &Family| family.name() == name || family.former_name() == Some(&name);
        Family::ALL.into_iter().find(is_it).unwrap_or_else(|| panic!("{short} is no family"))
    };

    let mut versions = BTreeMap::new();
    for row in table(&guide, "| family (`awscni_`) | from version |") {
        let parts: Vec<u16> =
            row[1].split_whitespace().next().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
        let version = AgentVersion::new(parts[0], parts[1], parts.get(2).copied().unwrap_or(0));
        for family in quoted(&row[0]) {
            versions.insert(named(family), version);
        }
    }
    for family in Family::ALL {
        let documented = versions.get(&family).copied().unwrap_or(AgentVersion::new(1, 4, 0));
        assert_eq!(documented, family.first_version(), "{}", family.name());
        let former = family.former_name().map(|name| name.strip_prefix(FAMILY_PREFIX).unwrap());
        assert!(former.is_none_or(|former| guide.contains(&format!("`{former}`"))), "{former:?}");
    }

    let mut labels = BTreeMap::new();
    for row in table(&guide, "| family (`awscni_`) | labels |") {
        for family in quoted(&row[0]) {
            labels.insert(
                named(family),
                quoted(row[1].split(" (").next().unwrap()).map(str::to_owned).collect::<Vec<_>>(),
            );
        }
    }
    let kept = LabelledFamily::ALL
        .map(|own| (own.family(), own.label_names().iter().map(|name| (*name).to_owned()).collect()));
    assert_eq!(labels, BTreeMap::from(kept));
}

#[test]
fn the_operations_of_growth_are_documented() {
    let guide = guide("metrics.md");
    let (_, rest) = guide.split_once("Errors of the APIs by which a node gets more\naddresses (").unwrap();
    let documented: BTreeSet<&str> = quoted(rest.split_once(')').unwrap().0).collect();
    let growth = Ec2Operation::ALL.into_iter().filter(|operation| operation.is_growth());
    assert_eq!(documented, growth.map(Ec2Operation::name).collect());
}

#[test]
fn every_kind_of_failure_has_its_row() {
    let guide = guide("troubleshooting.md");
    for kind in FailureKind::ALL {
        assert!(guide.contains(&format!("\n| `{}` |", kind.label())), "{}", kind.label());
    }
}

/// The labels, the JSON keys and the guides are the enum, and nothing else is.
#[test]
fn kinds_of_failure_are_the_same_everywhere() {
    let labels: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.label()).collect();
    for kind in FailureKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.label());
        assert_eq!(kind.to_string(), kind.label());
    }
    let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
    assert_eq!(distinct.len(), labels.len());

    let guide = guide("troubleshooting.md");
    let (_, rest) = guide.split_once("## Nodes do not answer").unwrap();
    let (table, _) = rest.split_once("\n## ").unwrap();
    for row in table.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (kind, _) = row.split_once('`').unwrap();
        assert!(labels.contains(&kind), "{kind} is no kind of failure");
    }
    let guide = self::guide("helper-metrics.md");
    let (_, rest) = guide.split_once("Kinds of failure").unwrap();
    let (list, _) = rest.split_once("\n\n").unwrap();
    let (_, list) = list.split_once("there:").unwrap();
    let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, labels);
}

/// The texts of all sources, continued lines joined.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut parts = text.split("\\\n");
            all.push_str(parts.next().unwrap_or_default());
            parts.for_each(|part| all.push_str(part.trim_start()));
        }
    }
}

#[test]
fn every_quoted_log_line_is_one_that_the_program_writes() {
    let mut code = String::new();
    for folder in [
        "src",
        "../cni-metrics-core/src",
        "../cni-collector/src",
        "../cni-publish/src",
        "../cni-aws/src",
        "../cni-runtime/src",
    ] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut code);
    }
    let code = code.replace("\\\"", "\"");
    let guide = guide("troubleshooting.md");
    let (_, rest) = guide.split_once("## Nodes do not answer").unwrap();
    let (nodes, rest) = rest.split_once("## Other lines").unwrap();
    let (others, _) = rest.split_once("\n## ").unwrap();
    let column = |table: &str, number: usize| -> Vec<String> {
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.split('|').nth(number).unwrap_or_default().to_owned()).collect()
    };
    let (mut quotes, mut seen) = (column(nodes, 2), 0);
    quotes.append(&mut column(others, 1));
    for quote in quotes.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        // What differs from line to line is written as `...`, or as an example in quotation marks.
        for part in quote.split("...").flat_map(|part| part.split(['"'])) {
            let part = part.trim_matches([' ', ':', ';', ',', '(', ')']);
            if part.len() >= 6 {
                assert!(code.contains(part), "{part:?} of {quote:?} is nowhere in the program");
                seen += 1;
            }
        }
    }
    assert!(seen >= 60, "{seen} texts found");
}

#[test]
fn every_generate_command_runs() {
    let mut seen = 0;
    for name in ["install.md", "migrate.md", "metrics.md", "security-group.md", "sharding.md", "troubleshooting.md"] {
        let guide = guide(name);
        for line in guide.lines().filter_map(|line| line.strip_prefix("$ cni-metrics-helper generate ")) {
            let words = line.split_whitespace().take_while(|word| !["|", ">", "#"].contains(word));
            let words = words.map(|word| if word == "TOPIC" { "arn:aws:sns:eu-west-1:111122223333:ops" } else { word });
            let cli = Cli::try_parse_from(std::iter::once("generate").chain(words));
            let cli = cli.unwrap_or_else(|said| panic!("{name}: {line}: {said}"));
            let mut out = Vec::new();
            cni_generate::run(cli.generate, &mut out, &mut std::io::sink())
                .unwrap_or_else(|said| panic!("{name}: {line}: {said:#}"));
            assert!(!out.is_empty());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} commands found");
}

#[test]
fn the_rights_in_the_guide_are_the_policys_statements() {
    let rows: Vec<String> = STATEMENTS
        .iter()
        .map(|Statement { needed_for, action, limited_by, without, .. }| {
            format!("| {needed_for} | `{action}` | {limited_by} | {without} |")
        })
        .collect();
    let guide = guide("install.md");
    let (_, rest) = guide.split_once("\n| for | right | limited by | without it |\n|---|---|---|---|\n").unwrap();
    let documented: Vec<&str> = rest.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(documented, rows);

    let security = self::guide("../SECURITY.md");
    let notes = self::guide("../charts/cni-metrics-helper/templates/NOTES.txt");
    assert!(STATEMENTS.iter().all(|statement| security.contains(&format!("| AWS | `{}`", statement.action))));
    assert!(notes.contains(PUBLISH.action));
}

#[test]
fn the_chart_knows_the_registries_of_every_partition() {
    let helpers = guide("../charts/cni-metrics-helper/templates/_helpers.tpl");
    let list = |name: &str| {
        let (_, rest) = helpers.split_once(&format!("{{{{- define \"cni-metrics-helper.{name}\" -}}}}")).unwrap();
        rest.split_once("{{- end }}").unwrap().0.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (accounts, domains) = (list("originalAccounts"), list("awsDomains"));
    assert!(registry_accounts().all(|account| accounts.contains(account)), "{accounts:?}");
    assert!(PARTITIONS.iter().all(|partition| domains.contains(partition.dns_suffix)), "{domains:?}");
}

#[test]
fn the_policy_in_the_log_is_the_one_that_is_generated() {
    let cli = Cli::parse_from(["generate", "iam-policy", "--cloudwatch-namespace", "Networks"]);
    let mut generated = Vec::new();
    cni_generate::run(cli.generate, &mut generated, &mut std::io::sink()).unwrap();
    let generated: serde_json::Value = serde_json::from_slice(&generated).unwrap();
    let logged: serde_json::Value = serde_json::from_str(&minimal_policy("Networks")).unwrap();
    assert_eq!(generated, logged);
}
