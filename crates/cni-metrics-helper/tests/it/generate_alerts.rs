//! Alerts and alarms: each is explained by the program, is about one cluster, and tells of what lasts.

use std::collections::BTreeSet;
use std::process::Command;

use cni_generate::alert::ALERTS;
use serde_json::{Value, json};

use crate::generate_output::{FOR_ORDERS, generate, json as made, promtool, text, try_generate};

fn rules(flags: &str) -> Value {
    serde_saphyr::from_str(&generate(&format!("prometheus-rules --format rules-file {flags}"))).unwrap()
}

fn alerts(flags: &str) -> Vec<Value> {
    rules(flags)["groups"][1]["rules"].as_array().unwrap().clone()
}

fn alarms(flags: &str) -> Vec<Value> {
    made(&format!("cloudwatch-alarms {FOR_ORDERS} {flags}")).as_array().unwrap().clone()
}

/// Each name and text that a person sees of an alert or alarm, with every flag that adds one.
fn seen() -> Vec<(String, String)> {
    let rules = alerts("--eni-percent 95")
        .into_iter()
        .map(|alert| (text(&alert["alert"]), text(&alert["annotations"]["description"])));
    let shards = ["", "--shards 2"].into_iter().flat_map(|flags| alarms(&format!("{flags} --eni-percent 95")));
    let alarms = shards.map(|alarm| (text(&alarm["AlarmName"]), text(&alarm["AlarmDescription"])));
    rules.chain(alarms).collect()
}

#[test]
fn every_alert_names_the_command_that_explains_it() {
    let mut rules = BTreeSet::new();
    for (name, said) in seen() {
        let (_, command) = said.split_once("cni-metrics-helper ").unwrap_or_else(|| panic!("{name}: {said}"));
        let words: Vec<&str> = command.split(' ').collect();
        let ["explain", id] = words.as_slice() else { panic!("{name}: {said}") };
        let explain = |id: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).args(["explain", id]).output().unwrap();
            assert!(output.status.success(), "{id}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(explain(id), explain(&name));
        rules.insert((*id).to_owned());
    }
    assert_eq!(rules, ALERTS.iter().map(|alert| alert.rule.to_owned()).collect());
}

#[test]
fn what_has_no_page_is_an_error_that_lists_what_has_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).args(["explain", "Nothing"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    for listed in ["\"Nothing\"", "VpcCniHelperSilent", "pods-refused-an-address", "rate_limited_by_api_server"] {
        assert!(said.contains(listed), "{said}");
    }
}

#[test]
fn links_are_where_a_url_is_given_and_nowhere_else() {
    for flags in ["", "--eni-percent 95"] {
        assert!(alerts(flags).iter().all(|alert| alert["annotations"]["runbook_url"].is_null()));
        assert!(alarms(flags).iter().all(|alarm| !text(&alarm["AlarmDescription"]).contains("://")));
    }
    let guide = std::fs::read_to_string(crate::helm::repository().join("docs/alerts.md")).unwrap();
    let url = "--docs-url https://wiki.example.com/cni/docs/ --eni-percent 95";
    for alert in alerts(url) {
        let link = text(&alert["annotations"]["runbook_url"]);
        let anchor = link.strip_prefix("https://wiki.example.com/cni/docs/alerts.md#").unwrap();
        assert!(guide.to_lowercase().contains(&format!("\n## {anchor}\n")), "{link}");
    }
    for alarm in alarms(url) {
        let said = text(&alarm["AlarmDescription"]);
        assert!(said.contains(" https://wiki.example.com/cni/docs/alerts.md#vpccni"), "{said}");
        assert!(said.len() <= 1024, "CloudWatch's limit: {said}");
    }
    // The variable is the flag.
    let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"))
        .args(["generate", "prometheus-rules"])
        .env("DOCS_URL", "http://docs.internal")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("runbook_url: http://docs.internal/alerts.md#vpccnihelpersilent"), "{said}");
}

#[test]
fn the_alarm_on_refusals_counts_minutes_and_not_refusals() {
    let refused = |flags: &str| {
        let alarms = alarms(flags);
        alarms.into_iter().find(|alarm| text(&alarm["AlarmName"]).contains("refused")).unwrap()
    };
    let default = refused("");
    assert_eq!(default["Metrics"][0]["MetricStat"]["Period"], 60);
    let figures =
        |alarm: &Value| ["Threshold", "EvaluationPeriods", "DatapointsToAlarm"].map(|field| alarm[field].to_string());
    assert_eq!(figures(&default), ["1.0", "10", "8"]);
    assert_eq!(figures(&refused("--refused 20 --refused-minutes 5")), ["20.0", "10", "5"]);
    let sharded = refused("--shards 2");
    assert_eq!(figures(&sharded), ["1.0", "10", "8"]);
    // What is normal on small instance types is no alarm unless it is asked for.
    let named = |what: &str, flags: &str| alarms(flags).iter().any(|alarm| text(&alarm["AlarmName"]).contains(what));
    assert!(!named("interfaces-at-limit", "") && named("interfaces-at-limit", "--eni-percent 95"));
}

/// No expression may add or compare figures of different clusters, or depend on the pod that shows them.
#[test]
fn every_rule_keeps_the_cluster_and_no_pod() {
    for rule in rules("--eni-percent 95")["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
    {
        let expr = text(&rule["expr"]);
        assert!(!expr.contains("without ("), "{expr}");
        for (before, _) in expr.match_indices(" by (") {
            assert!(expr[before..].starts_with(" by (cluster"), "{expr}");
        }
        for aggregation in ["sum (", "max (", "count (", "min (", "sum(", "max(", "count(", "min("] {
            assert!(!expr.contains(aggregation), "{expr}");
        }
    }
}

/// What `promtool test rules` says of these rules over these series.
fn judged(rules: &str, series: &Value, alerts: &Value) -> (bool, String) {
    let dir = cni_testkit::temporary_folder();
    std::fs::write(dir.path().join("rules.yaml"), rules).unwrap();
    let cases = json!({"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [{
        "interval": "30s", "input_series": series, "alert_rule_test": alerts,
    }]});
    std::fs::write(dir.path().join("cases.yaml"), cases.to_string()).unwrap();
    promtool(&["test", "rules", "cases.yaml"], dir.path())
}

#[test]
#[ignore = "needs promtool: run .ci/run"]
fn rules_for_one_cluster_leave_the_others_of_a_shared_prometheus_alone() {
    let round = "cni_cluster_last_round_timestamp_seconds";
    let series = json!([
        {"series": format!("{round}{{cluster=\"a\"}}"), "values": "0+30x10 300x40"},
        {"series": format!("{round}{{cluster=\"b\"}}"), "values": "0+30x10 300x40"},
        {"series": "cni_cluster_nodes_expected{cluster=\"a\"}", "values": "20x60"},
        {"series": "cni_cluster_nodes_scraped{cluster=\"a\"}", "values": "10x60"},
    ]);
    let texts = |id: &str, summary: &str, description: &str| json!({"summary": summary, "description": format!("{description} More: cni-metrics-helper explain {id}")});
    let silent = texts(
        "VpcCniHelperSilent",
        "The helper has not finished a round",
        "The newest round is 10m 0s old: the helper's log and its page /readyz on port 61682 say what it waits for.",
    );
    let missing = texts(
        "VpcCniHelperMissing",
        "The helper, or one of its shards, shows no rounds",
        "No figures arrive: is its pod running and ready, and does Prometheus scrape port 61681?",
    );
    let of = |cluster: &str, texts: &Value| json!([{"exp_labels": {"severity": "warning", "cluster": cluster}, "exp_annotations": texts}]);
    let case = |alert: &str, alerts: Value| json!({"eval_time": "15m", "alertname": alert, "exp_alerts": alerts});
    let rules = |id: &str| generate(&format!("prometheus-rules --format rules-file --cluster-id {id}"));
    let (passed, said) = judged(
        &rules("b"),
        &series,
        &json!([
            case("VpcCniHelperSilent", of("b", &silent)),
            case("VpcCniHelperMissing", json!([])),
            case("VpcCniCoverageIncomplete", json!([])),
        ]),
    );
    assert!(passed, "{said}");
    // A cluster that never had any series, beside others that have.
    let (passed, said) = judged(
        &rules("c.d"),
        &series,
        &json!([case("VpcCniHelperSilent", json!([])), case("VpcCniHelperMissing", of("c.d", &missing))]),
    );
    assert!(passed, "{said}");
}

#[test]
#[ignore = "needs promtool: run .ci/run"]
fn interfaces_at_their_limit_are_told_of_where_that_is_asked_for() {
    let series = json!([
        {"series": "cni_cluster_eni_allocated{cluster=\"a\"}", "values": "98x60"},
        {"series": "cni_cluster_eni_max{cluster=\"a\"}", "values": "100x60"},
        {"series": "cni_cluster_eni_allocated{cluster=\"b\"}", "values": "90x60"},
        {"series": "cni_cluster_eni_max{cluster=\"b\"}", "values": "100x60"},
    ]);
    let at = |time: &str, alerts: Value| json!({"eval_time": time, "alertname": "VpcCniInterfacesAtLimit", "exp_alerts": alerts});
    let fires = json!([{"exp_labels": {"severity": "warning", "cluster": "a"}, "exp_annotations": {
        "summary": "Nodes have nearly all the network interfaces they can have",
        "description": "98% of the possible interfaces are attached. More: cni-metrics-helper explain VpcCniInterfacesAtLimit",
    }}]);
    let rules = generate("prometheus-rules --format rules-file --eni-percent 95");
    let (passed, said) = judged(&rules, &series, &json!([at("9m", json!([])), at("11m", fires)]));
    assert!(passed, "{said}");
}

/// The help of a document lists exactly the flags that it takes.
#[test]
fn flags_that_a_document_refuses_are_not_in_its_help() {
    let base = [
        ("manifest", "--image a/b:c"),
        ("iam-policy", ""),
        ("cloudwatch-dashboard", ""),
        ("cloudwatch-alarms", ""),
        ("grafana-dashboard", ""),
        ("prometheus-rules", ""),
    ];
    let flags = [
        ("--cluster-id", "orders"),
        ("--region", "eu-west-1"),
        ("--namespace", "monitoring"),
        ("--partition", "aws"),
        ("--docs-url", "https://wiki.example.com"),
        ("--image", "a/b:c"),
        ("--shards", "2"),
    ];
    let mut listed_somewhere = BTreeSet::new();
    for (what, needed) in base {
        let help = try_generate(&format!("{what} --help")).unwrap_err();
        let words: BTreeSet<&str> = help.split([' ', '\n', ',', '[']).collect();
        for (flag, value) in flags {
            let listed = words.contains(flag);
            // What is needed besides is there, so that only this flag can be refused.
            let more = flags.iter().filter(|(other, _)| {
                *other != flag && ["--cluster-id", "--region"].contains(other) && words.contains(other)
            });
            let more: Vec<String> = more.map(|(name, value)| format!("{name} {value}")).collect();
            let needed = if flag == "--image" { "" } else { needed };
            let made = try_generate(&format!("{what} {needed} {} {flag} {value}", more.join(" ")));
            assert_eq!(made.is_ok(), listed, "{what} {flag}: {made:?}");
            if listed {
                listed_somewhere.insert(flag);
            }
        }
    }
    assert_eq!(listed_somewhere.len(), flags.len());
    let board = try_generate("grafana-dashboard --help").unwrap_err();
    assert!(
        !board.contains("--cluster-id") && !board.contains("--region") && !board.contains("--namespace"),
        "{board}"
    );
}
