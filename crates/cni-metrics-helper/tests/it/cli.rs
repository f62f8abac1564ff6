//! The built program as a user meets it in a terminal: saved pages, wrong settings, no cluster.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cni-metrics-core/tests/data");

fn helper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    command.args(args).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command
}

fn run(args: &[&str]) -> Output {
    helper(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs `inspect -o json -` on a page.
fn inspect(page: &[u8]) -> Output {
    run_with(&["inspect", "-o", "json", "-"], page)
}

fn run_with(args: &[&str], page: &[u8]) -> Output {
    let mut child = helper(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A page over the limit is not read to its end, so the pipe may break.
    let _broken = child.stdin.take().unwrap().write_all(page);
    child.wait_with_output().unwrap()
}

#[test]
fn inspect_adds_pages_up_and_keeps_the_documented_shape() {
    let pages = ["node.prom", "prefix_delegation.prom"].map(|page| format!("{PAGES}/{page}"));
    let output = run(&["inspect", "--output", "json", &pages[0], &pages[1]]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json = json(&output);
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>().len(), 10);
    assert!(json["findings"].is_array());
    assert!(json["cluster"].is_null(), "a saved page does not say of which cluster it is");
    let shares = json["breakdown"]["shares"].as_array().unwrap();
    let of = |family: &str, labels: serde_json::Value| {
        let share = shares.iter().find(|share| share["family"] == family && share["labels"] == labels);
        share.map(|share| (share["rest"].is_null(), share["value"].as_u64().unwrap()))
    };
    let reason = serde_json::json!({"reason": "SetupNSFailed"});
    assert_eq!(of("awscni_del_ip_req_count", reason), Some((true, 2)));
    let code = serde_json::json!({"fn": "FreeENIDeleteErr", "code": "UnauthorizedOperation"});
    assert_eq!(of("awscni_aws_utils_error_count", code), Some((true, 1)));
    assert_eq!(json["breakdown"]["overflowed"], 0);
    let coverage = serde_json::json!({
        "expected": 2, "scraped": 2, "failed": {}, "reporting": {}, "damaged": 0, "implausible": 0,
        "states": {"ok": 2, "refusing": 0, "full": 0, "implausible": 0, "damaged": 0, "silent": 0},
    });
    assert_eq!(json["coverage"], coverage);
    let nodes = json["nodes"].as_array().unwrap();
    for node in nodes {
        assert_eq!(node["states"], serde_json::json!(["ok"]));
        assert_eq!(node["usable_ip_addresses"], serde_json::Value::Null, "a page does not show the agent's settings");
    }
    for metric in ["assignIPAddresses", "totalIPAddresses", "eniAllocated", "addReqCount", "ec2ApiReqCount"] {
        let sum: f64 = nodes.iter().filter_map(|node| node["metrics"][metric].as_f64()).sum();
        assert!(sum > 0.0, "{metric} is on neither page");
        assert_eq!(json["metrics"][metric].as_f64(), Some(sum), "{metric}");
    }
}

/// Holds that a reader of an older output still finds each key with the same type, and the same value where `values` is
/// true. `round` differs from run to run.
fn assert_still_has(old: &serde_json::Value, new: &serde_json::Value, values: bool, at: &str) {
    use serde_json::Value;
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let now = new.get(key).unwrap_or_else(|| panic!("{at}: {key} is missing"));
                assert_still_has(value, now, values && key != "round", &format!("{at}.{key}"));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{at}");
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                assert_still_has(old, new, values, &format!("{at}[{index}]"));
            }
        }
        _ => {
            assert_eq!(std::mem::discriminant(old), std::mem::discriminant(new), "{at}: {old} became {new}");
            assert!(!values || old == new, "{at}: {old} became {new}");
        }
    }
}

#[test]
fn a_reader_of_looks_without_a_schema_finds_every_key_with_its_meaning() {
    let golden = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    // Of the same pages, so that equal values show equal meaning.
    let pages = ["node.prom", "prefix_delegation.prom", "ipv6.prom", "agent_v1.12.6.prom", "no-such-file", "-"];
    let odd = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/json/odd.prom")).unwrap();
    let mut command = helper(&["inspect", "--output", "json"]);
    let output = command.args(pages).current_dir(PAGES).stdin(odd).output().unwrap();
    assert_still_has(&golden(include_str!("../data/json/look-0-inspect.json")), &json(&output), true, "inspect");
    let output = run(&["demo", "--output", "json", "--nodes", "3", "--rounds", "2"]);
    assert_still_has(&golden(include_str!("../data/json/look-0-demo.json")), &json(&output), false, "demo");
}

#[test]
fn a_look_begins_with_its_schema_and_says_what_its_counters_count() {
    let (inspect, demo) =
        (inspect(b"awscni_eni_max 3\n"), run(&["demo", "-o", "json", "--nodes", "3", "--rounds", "2"]));
    let counted = [
        (inspect, serde_json::json!({"kind": "total", "seconds": null})),
        (demo, serde_json::json!({"kind": "increase", "seconds": 30})),
    ];
    for (output, counters) in counted {
        let shown = text(&output.stdout);
        assert!(shown.starts_with("{\"schema\":\"vpc-cni/look/1\",\"round\":{"), "{shown}");
        assert_eq!(shown.matches("\"schema\"").count(), 1, "{shown}");
        assert_eq!(json(&output)["counters"], counters);
    }
}

#[test]
fn inspect_counts_ipv6_nodes_apart() {
    let output = run(&["inspect", "-o", "json", &format!("{PAGES}/ipv6.prom"), &format!("{PAGES}/node.prom")]);
    let json = json(&output);
    assert_eq!(json["ipv6"]["nodes"], 1);
    assert!(json["metrics"]["totalIPAddresses"].as_f64().unwrap() < 1e9);
}

#[test]
fn inspect_names_file_and_line_of_what_it_cannot_read_and_goes_on() {
    let output = inspect(b"awscni_eni_max 3\nawscni_ip_max three\nawscni_total_ip_addresses 5\n");
    assert!(output.status.success());
    assert_eq!(json(&output)["metrics"]["totalIPAddresses"], 5);
    let errors = text(&output.stderr);
    assert!(errors.starts_with("standard input: line 2: ") && errors.contains("awscni_ip_max three"), "{errors}");
}

#[test]
fn inspect_fails_on_an_unreadable_page_and_says_why() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "the page is empty"),
        (b"<!DOCTYPE html>\n<html><body>Bad Gateway</body></html>\n", "HTML"),
        (b"awscni_eni_max 3", "ends in the middle of line 1"),
        (b"go_threads 3\n", "none of ipamd's metrics"),
        (b"awscni_eni_max three\n", "no line of the page could be read"),
        (b"\x80\x81\n", "no line of the page could be read"),
    ];
    for (page, reason) in cases {
        let output = inspect(page);
        assert_eq!(output.status.code(), Some(1), "{reason}");
        let errors = text(&output.stderr);
        assert!(errors.contains(reason), "expected {reason:?} in {errors:?}");
        assert_eq!(json(&output)["coverage"]["failed"]["bad_page"], 1, "{reason}");
    }
}

#[test]
fn inspect_says_what_no_page_told_and_never_0() {
    let output =
        run(&["inspect", "-o", "json", &format!("{PAGES}/agent_v1.12.6.prom"), &format!("{PAGES}/agent_v1.18.6.prom")]);
    let json = json(&output);
    assert_eq!(json["metrics"]["noAvailableIPAddresses"], 9, "of the one agent that counts it");
    assert_eq!(json["coverage"]["reporting"], serde_json::json!({"noAvailableIPAddresses": 1}));
    assert!(json["nodes"][0]["metrics"].get("noAvailableIPAddresses").is_none());
    // An excerpt has no counters; the line that is none is named.
    let output = inspect(b"awscni_assigned_ip_addresses 46\nawscni_eni_allocated 4\nawscni_eni_max 4\n...\n");
    let excerpt: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let measured: Vec<_> = excerpt["metrics"].as_object().unwrap().keys().collect();
    assert_eq!(measured, ["assignIPAddresses", "eniAllocated", "eniMaxAvailable", "nodesExpected", "nodesScraped"]);
    assert!(text(&output.stderr).contains("line 4: "));
}

#[test]
fn inspect_reads_counters_with_the_suffix_of_other_exporters() {
    let page = include_str!("../../../cni-metrics-core/tests/data/agent_v1.18.6.prom");
    let mut suffixed = String::new();
    for line in page.lines() {
        let counts =
            |name: &str| name.ends_with("_count") || name.contains("force_removed") || name.contains("no_available");
        let name = line.split(['{', ' ']).next().unwrap();
        let is_counter = !name.contains("latency") && counts(name);
        suffixed += &if is_counter { line.replacen(name, &format!("{name}_total"), 1) } else { line.to_owned() };
        suffixed.push('\n');
    }
    assert!(suffixed.contains("awscni_add_ip_req_count_total 143\n"));
    let (plain, total) = (inspect(page.as_bytes()), inspect(suffixed.as_bytes()));
    assert_eq!(
        (text(&total.stderr), json(&total)["metrics"].clone()),
        (String::new(), json(&plain)["metrics"].clone())
    );
}

#[test]
fn inspect_names_implausible_values_and_leaves_them_out() {
    let page = |held: i32| {
        format!(
            "awscni_assigned_ip_addresses 49\nawscni_total_ip_addresses {held}\nawscni_eni_max 4\nawscni_ip_max 896\n"
        )
    };
    let output = inspect(page(-18).as_bytes());
    let shown = json(&output);
    assert_eq!((&shown["metrics"]["assignIPAddresses"], &shown["metrics"]["eniMaxAvailable"]), (&49.into(), &4.into()));
    assert!(shown["metrics"].get("totalIPAddresses").is_none());
    assert_eq!(shown["nodes"][0]["implausible"], serde_json::json!(["awscni_total_ip_addresses"]));
    let errors = text(&output.stderr);
    assert!(errors.contains("awscni_total_ip_addresses is -18") && errors.contains("before v1.12.0"), "{errors}");
    let output = inspect(page(46).as_bytes());
    let shown = json(&output);
    assert_eq!(shown["coverage"]["implausible"], 1);
    assert!(shown["metrics"].get("assignIPAddresses").is_none() && shown["metrics"].get("totalIPAddresses").is_none());
    let errors = text(&output.stderr);
    assert!(errors.contains("49 addresses assigned, but only 46 held"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "both values are one finding: {errors}");
    let table = text(&run_with(&["inspect"], page(46).as_bytes()).stdout);
    assert!(table.contains("1 of 1 nodes in ") && table.contains("; 1 with implausible values, left out\n"), "{table}");
}

#[test]
fn inspect_leaves_out_a_last_line_that_may_be_cut_and_reads_the_rest() {
    let output = inspect(b"awscni_eni_max 3\nprocess_start_time_seconds 1.7642");
    assert!(output.status.success());
    assert_eq!(json(&output)["metrics"]["eniMaxAvailable"], 3);
    assert!(text(&output.stderr).starts_with("standard input: line 2 has no newline"), "{}", text(&output.stderr));
}

#[test]
fn inspect_refuses_a_page_over_the_limit() {
    let line = b"awscni_eni_max 3\n";
    let page = line.repeat((8 << 20) / line.len() + 1);
    let output = inspect(&page);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("larger than 8388608 bytes"));
}

#[test]
fn a_missing_file_is_named_and_the_others_are_read() {
    let output = run(&["inspect", "-o", "json", "no-such-file", &format!("{PAGES}/node.prom")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("no-such-file: "));
    assert_eq!(json(&output)["coverage"]["scraped"], 1);
}

#[test]
fn inspect_prints_tables_for_people() {
    let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"))
        .args(["inspect", "node.prom", "old_agent.prom"])
        .current_dir(PAGES)
        .output()
        .unwrap();
    let (headline, tables) = text(&output.stdout).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(headline.contains("2 of 2 nodes in "), "{headline}");
    insta::assert_snapshot!(tables);
}

#[test]
fn wrong_settings_stop_the_start_with_one_message_that_lists_them_all() {
    let output = helper(&["--scrape-via=ssh"])
        .env("METRIC_UPDATE_INTERVAL", "30 s")
        .env("USE_CLOUDWATCH", "maybe")
        .env("LOG_FORMAT", "xml")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.starts_with("cni-metrics-helper: invalid configuration (4 errors):"), "{message}");
    for setting in ["METRIC_UPDATE_INTERVAL", "USE_CLOUDWATCH", "LOG_FORMAT", "SCRAPE_VIA"] {
        assert!(message.contains(setting), "{setting} is missing in {message}");
    }
}

#[test]
fn without_a_cluster_the_message_says_how_to_name_one() {
    let output = helper(&["once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    for word in ["--kubeconfig", "KUBECONFIG", "inside the cluster"] {
        assert!(message.contains(word), "{word} is missing in {message}");
    }
}

#[test]
fn a_kubeconfig_that_does_not_exist_is_named() {
    let output = run(&["once", "--kubeconfig", "/nonexistent/config"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/config"), "{}", text(&output.stderr));
}

#[test]
fn help_shows_every_setting_with_variable_and_default() {
    let help = text(&run(&["--help"]).stdout);
    let settings = [
        ("USE_CLOUDWATCH", "true"),
        ("USE_PROMETHEUS", "false"),
        ("PROMETHEUS_ADDRESS", "0.0.0.0:61681"),
        ("METRIC_UPDATE_INTERVAL", "30"),
        ("SCRAPE_VIA", "auto"),
        ("SCRAPE_CONCURRENCY", "auto"),
        ("SCRAPE_TIMEOUT", "5s"),
        ("SCRAPE_MAX_BYTES", "8MiB"),
        ("AGENT_NAMESPACE", "kube-system"),
        ("AGENT_SELECTOR", "k8s-app=aws-node"),
        ("AGENT_PORT", "61678"),
        ("CLOUDWATCH_NAMESPACE", "Kubernetes"),
        ("METRIC_SET", "standard"),
        ("CLOUDWATCH_RESOLUTION", "60"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "INFO"),
        ("LOG_FORMAT", "text"),
    ];
    for (variable, default) in settings {
        let (_, rest) =
            help.split_once(&format!("[env: {variable}")).unwrap_or_else(|| panic!("{variable} is missing"));
        let next = rest.split("--").next().unwrap_or_default();
        let shown = next.contains(&format!("[default: {default}]")) || variable == "USE_CLOUDWATCH";
        assert!(shown, "{variable} does not show its default {default}: {next}");
    }
    assert!(help.contains("in any case [default: true]"));
    assert!(help.contains("METRIC_ALLOW") && help.contains("METRIC_DENY"));
}
