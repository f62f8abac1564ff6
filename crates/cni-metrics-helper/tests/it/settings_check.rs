//! `run --check`: the effective configuration with the source of each value, the warnings, or all errors in one list.

use std::process::Command;

use serde_json::Value;

/// A kubeconfig with two contexts.
const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: orders
clusters: [{name: one, cluster: {server: 'https://orders.example:6443'}}]
users: [{name: u, user: {}}]
contexts:
- {name: orders, context: {cluster: one, user: u}}
- {name: payments, context: {cluster: one, user: u}}
";

struct Check {
    code: Option<i32>,
    out: String,
    errors: String,
}

fn check(flags: &[&str], variables: &[(&str, &str)]) -> Check {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    command.args(["run", "--check"]).args(flags).env_clear().env("HOME", "/nonexistent");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Check { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
}

/// The words of a setting's row.
fn row<'a>(out: &'a str, setting: &str) -> Vec<&'a str> {
    let rows = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter().find(|words| words.first() == Some(&setting)).unwrap_or_else(|| panic!("{setting} in {out}"))
}

#[test]
fn each_value_is_shown_with_its_source_and_nothing_is_contacted() {
    let folder = cni_testkit::temporary_folder();
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, KUBECONFIG).unwrap();
    let path = kubeconfig.to_str().unwrap();
    let variables = [
        ("METRIC_UPDATE_INTERVAL", "1m"),
        ("USE_PROMETHEUS", "on"),
        ("CLOUDWATCH_BUFFER", "64000000"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("KUBECONFIG", path),
        ("AWS_CLUSTER_ID", ""),
    ];
    let Check { code, out, errors } = check(&["--scrape-timeout=90", "--cloudwatch=true"], &variables);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for (setting, expected) in [
        ("METRIC_UPDATE_INTERVAL", &["1m", "environment"][..]),
        ("USE_PROMETHEUS", &["true", "environment"]),
        ("USE_CLOUDWATCH", &["true", "flag", "--cloudwatch"]),
        ("SCRAPE_TIMEOUT", &["48s", "flag", "--scrape-timeout"]),
        ("CLOUDWATCH_BUFFER", &["64MB", "environment"]),
        ("SCRAPE_MAX_BYTES", &["8MiB", "default"]),
        ("ADMIN_ADDRESS", &["0.0.0.0:61682", "default"]),
        ("AWS_REGION", &["eu-central-1", "environment", "AWS_DEFAULT_REGION"]),
        ("AWS_CLUSTER_ID", &["-", "default"]),
        ("--kubeconfig", &[path, "environment", "KUBECONFIG"]),
        ("--context", &["orders", "file", path]),
    ] {
        assert_eq!(&row(&out, setting)[1..], expected, "{out}");
    }
    assert!(out.contains("\nAPI server: https://orders.example:6443\n"), "{out}");
    assert_eq!(out.matches("\nwarning: ").count(), 1, "{out}");
    assert!(out.contains("\nwarning: SCRAPE_TIMEOUT = 90s: "), "{out}");
    assert!(out.ends_with("\nthe settings are valid; 1 warning\n"), "{out}");
}

#[test]
fn every_setting_of_the_help_has_a_row() {
    let help = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).arg("--help").env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let Check { out, .. } = check(&[], &[]);
    let variables: Vec<&str> = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
    assert!(variables.len() > 25, "{help}");
    for variable in variables {
        assert!(row(&out, variable).len() >= 3, "{variable}");
    }
}

#[test]
fn the_configuration_as_json_begins_with_its_schema() {
    let Check { code, out, .. } = check(&["-o", "json", "--interval=20"], &[("STANDBY_SCRAPE", "1")]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("{\"schema\":\"vpc-cni/check/1\",\"valid\":true,\"settings\":[{\"name\":"), "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    let setting = |name: &str| {
        let settings = json["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    let expected = serde_json::json!({
        "name": "METRIC_UPDATE_INTERVAL", "flag": "--interval", "value": "20s", "source": "flag", "from": null,
    });
    assert_eq!(setting("METRIC_UPDATE_INTERVAL"), expected);
    assert_eq!(
        (&setting("STANDBY_SCRAPE")["value"], &setting("STANDBY_SCRAPE")["source"]),
        (&"false".into(), &"environment".into())
    );
    assert!(setting("AWS_REGION")["value"].is_null() && json["server"].is_null());
    assert!(json["warnings"][0].as_str().unwrap().starts_with("STANDBY_SCRAPE=true has no effect"), "{out}");
    assert_eq!(json["errors"], serde_json::json!([]));
}

#[test]
fn all_errors_are_in_one_list_as_text_and_as_json() {
    let folder = cni_testkit::temporary_folder();
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, KUBECONFIG).unwrap();
    let variables = [
        ("AWS_REGION", "Frankfurt"),
        ("AGENT_SELECTOR", "k8s-app=="),
        ("TERMINATION_GRACE_PERIOD", "1s"),
        ("KUBECONFIG", kubeconfig.to_str().unwrap()),
    ];
    let Check { code, out, errors } = check(&["--context=nope"], &variables);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.starts_with("cni-metrics-helper: invalid configuration (4 errors):\n"), "{errors}");
    for part in [
        "AWS_REGION = \"Frankfurt\": must be the name of an AWS region",
        "AGENT_SELECTOR = \"k8s-app==\": must be a label selector",
        "TERMINATION_GRACE_PERIOD = \"1s\": must be a duration such as 5s, 500ms or 2m, or a number of seconds, from 2s to 1h",
        "--context = \"nope\": no context \"nope\" in ",
        "; it has: orders, payments",
    ] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
    let Check { code, out, errors } = check(&["--context=nope", "--output=json"], &variables);
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    assert!(out.starts_with("{\"schema\":\"vpc-cni/check/1\",\"valid\":false,"), "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    let named: Vec<&str> =
        json["errors"].as_array().unwrap().iter().map(|error| error["setting"].as_str().unwrap()).collect();
    assert_eq!(named, ["AGENT_SELECTOR", "TERMINATION_GRACE_PERIOD", "AWS_REGION", "--context"]);
}

#[test]
fn a_combination_that_works_worse_than_meant_is_one_warning() {
    let Check { code, out, .. } = check(&[], &[("USE_CLOUDWATCH", "false"), ("STANDBY_SCRAPE", "true")]);
    assert_eq!(code, Some(0));
    assert!(out.contains("warning: USE_CLOUDWATCH=false and USE_PROMETHEUS=false"), "{out}");
    assert!(out.contains("warning: STANDBY_SCRAPE=true has no effect without LEADER_ELECTION=true"), "{out}");
    assert!(out.ends_with("the settings are valid; 2 warnings\n"), "{out}");
    assert!(check(&[], &[]).out.ends_with("the settings are valid; 0 warnings\n"));
}

#[test]
fn a_folder_for_the_spool_is_tried_and_left_as_it_was() {
    let folder = cni_testkit::temporary_folder();
    let new = folder.path().join("a/b");
    assert!(check(&["--spool-dir", new.to_str().unwrap()], &[]).out.ends_with("; 0 warnings\n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("spool");
    let Check { code, out, .. } = check(&["--spool-dir", below.to_str().unwrap()], &[]);
    assert_eq!(code, Some(0), "it is no reason not to start");
    assert!(out.contains("\nwarning: SPOOL_DIR = ") && out.contains("cannot be written: Not a directory"), "{out}");
}

#[test]
fn the_output_option_is_for_the_check() {
    let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"))
        .args(["run", "-o", "json"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--check"));
}
