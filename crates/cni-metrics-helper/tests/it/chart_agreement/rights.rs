//! Rights: the guide, the chart, the manifests and the program name the same ones.

use std::collections::BTreeSet;
use std::process::Command;

use futures::future::join_all;
use serde_json::Value;

use super::documents::{Documented, documented, guide, quoted, table};
use super::features::{AGENTS, Features, HELPER, Right, granted};
use super::program::{Session, Told};
use crate::helm::{Helm, parsed, repository};

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_chart_grants_what_the_guide_says_for_every_combination() {
    let helm = Helm::required();
    for features in Features::all() {
        let namespace = format!("--namespace={HELPER}");
        let objects = helm.objects(&[&namespace, "--set", &features.values()]);
        let (rights, leases) = granted(&objects);
        assert_eq!(rights, documented(features), "{features:?}");
        let expected = match (features.election, features.shards) {
            (false, _) => BTreeSet::new(),
            (true, 1) => BTreeSet::from([features.lease()]),
            (true, of) => (0..of).map(|shard| format!("cni-metrics-helper-{shard}-of-{of}")).collect(),
        };
        assert_eq!(leases, expected, "{features:?}");
    }
}

#[test]
fn the_manifests_grant_what_the_guide_says() {
    let defaults = Features { via: "auto", node_labels: true, election: false, shards: 1, insight: "basic" };
    let expected = documented(defaults);
    let mut texts = vec![generated(&["--namespace", HELPER, "--image", "registry.example.com/helper:v1"])];
    for file in std::fs::read_dir(repository().join("deploy/manifest")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(texts.len() >= 6);
    for text in texts {
        assert_eq!(granted(&parsed(&text)).0, expected);
    }
}

/// What `generate manifest` writes.
pub(crate) fn generated(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_cni-metrics-helper");
    let output = Command::new(program).args(["generate", "manifest"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// So many helpers run at a time, each with a cluster of its own.
const AT_A_TIME: usize = 4;

#[test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_and_all_are_used_in_every_combination() {
    let all: Vec<Features> = Features::all().collect();
    assert_eq!(all.len(), 26);
    for some in all.chunks(AT_A_TIME) {
        join_all(some.iter().copied().map(rights_are_enough)).await;
    }
}

async fn rights_are_enough(features: Features) {
    let session = Session::start(features, documented(features)).await;
    session.wait_for_rounds().await;
    // The lease is renewed some seconds later.
    let granted: BTreeSet<String> =
        documented(features).iter().map(|right| format!("{} {}", right.verb, right.resource)).collect();
    session
        .wait_until(&format!("the use of every right of {granted:?} with {features:?}"), |used| granted.is_subset(used))
        .await;
    // Without labels nothing tells the helper not to look for them: one question each minute is refused.
    let expected: &[&str] = if features.node_labels { &[] } else { &["list nodes"] };
    let refused = session.refusals();
    assert!(refused.iter().all(|refusal| expected.contains(&refusal.as_str())), "{features:?}: {refused:?}");
}

#[test(flavor = "multi_thread")]
async fn each_right_that_is_taken_away_is_missed_by_name() {
    let everything = Features { via: "proxy", node_labels: true, election: true, shards: 1, insight: "cluster" };
    let mut cases = Vec::new();
    for row in Documented::table() {
        for right in row.rights {
            cases.push((everything, right.clone(), row.said_without.clone()));
            if right.resource == "pods/proxy" {
                cases.push((Features { via: "auto", ..everything }, right, row.said_without.clone()));
            }
        }
    }
    assert_eq!(cases.len(), 15, "{cases:?}");
    for some in cases.chunks(AT_A_TIME) {
        join_all(some.iter().cloned().map(|(features, right, said)| is_missed(features, right, said))).await;
    }
}

async fn is_missed(features: Features, right: Right, said: String) {
    let mut rest = documented(features);
    assert!(rest.remove(&right), "{right:?} is one of them");
    let session = Session::start(features, rest).await;
    session.wait_for(&Told::Line(said), &format!("without {right:?}")).await;
    // The agents' DaemonSet is asked for in their namespace, wherever the right is given.
    let namespace = if right.resource == "daemonsets" { AGENTS } else { right.namespace.as_str() };
    let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    let refused = format!("{} {}{place}", right.verb, right.resource);
    assert_eq!(session.refusals(), [refused], "nothing else is refused without {right:?}");
}

#[test]
fn each_aws_right_has_its_reason() {
    let rows = table(&guide("install.md"), "AWS rights");
    let documented: BTreeSet<String> = rows.iter().map(|row| quoted(&row[1])[0].to_owned()).collect();
    let made = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_cni-metrics-helper");
        let output = Command::new(program).args(["generate", "iam-policy"]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let statements = |arguments: &[&str]| -> Vec<Value> {
        let policy: Value = serde_json::from_str(&made(arguments)).unwrap();
        policy["Statement"].as_array().unwrap().clone()
    };
    assert_eq!(statements(&[]).len(), 1, "one action is enough");
    let all = statements(&["--with-tags"]);
    let actions: BTreeSet<String> = all.iter().map(|one| one["Action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, documented);
    let reasons = made(&["--with-tags", "--explain"]);
    for statement in &all {
        let sid = statement["Sid"].as_str().unwrap();
        assert!(reasons.contains(&format!("`{sid}`: ")), "{sid}: {reasons}");
    }
    for row in &rows {
        assert!(row.len() == 4 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

/// What a set of rights is to the simulated API server.
pub(crate) fn rules(rights: &BTreeSet<Right>, lease: &str) -> Vec<cni_sim::api_server::Rule> {
    rights
        .iter()
        .map(|right| cni_sim::api_server::Rule {
            namespace: right.namespace.clone(),
            // The agents' DaemonSet is asked for by a field selector, which these rules do not know.
            name: if right.by_name && right.resource == "leases" { lease.to_owned() } else { String::new() },
            ..cni_sim::api_server::Rule::new(&right.verb, &right.resource)
        })
        .collect()
}
