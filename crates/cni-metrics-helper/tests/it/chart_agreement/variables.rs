//! Variables, defaults, ports and the time to stop: the chart, the guides and the program's own help say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::documents::{cells, guide, quoted};
use super::features::Features;
use super::rights::generated;
use crate::helm::{CHART, Helm, parsed, repository};

/// What the pod tells of itself: not for a person to set, so not among the settings that values.yaml describes.
const OF_THE_POD: [&str; 3] = ["NODE_NAME", "POD_INDEX", "POD_NAME"];

/// The chart may be ahead of the program by these. Where the program has them, they are held to it like all others.
const AHEAD: [&str; 2] = ["CLUSTER_ID_FALLBACK", "TERMINATION_GRACE_PERIOD"];

/// Variable → default, `None` without one, as `--help` has them.
fn settings() -> BTreeMap<String, Option<String>> {
    let help = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).arg("--help").env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut settings = BTreeMap::new();
    // A flag begins its own block of lines.
    for block in help.split("\n      --").skip(1) {
        let bracketed = |label: &str| {
            let (_, rest) = block.split_once(&format!("[{label}: "))?;
            Some(rest.split(['=', ']']).next().unwrap().to_owned())
        };
        // A default may hold a '='.
        let default = block.split_once("[default: ").map(|(_, rest)| rest.split(']').next().unwrap().to_owned());
        if let Some(variable) = bracketed("env") {
            settings.insert(variable, default.map(|text| text.split_whitespace().collect()));
        }
    }
    assert!(settings.len() > 25, "{settings:?}");
    settings
}

/// The chart's values, with the settings that it describes: name → the second column.
fn described() -> BTreeMap<String, String> {
    let values = std::fs::read_to_string(repository().join(CHART).join("values.yaml")).unwrap();
    let (_, block) = values.split_once("\n# Environment of the helper").unwrap();
    let (block, _) = block.split_once("\nenv:\n").unwrap();
    let rows = block.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|line| !line.starts_with(' '));
    rows.map(|row| {
        let mut words = row.split_whitespace();
        (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
    })
    .collect()
}

/// The chart's pods: of each combination of features, and of its own values files.
fn charts_pods() -> Vec<Value> {
    let helm = Helm::required();
    let mut all: Vec<Vec<Value>> =
        Features::all().map(|features| helm.objects(&["--set", &features.values()])).collect();
    for file in std::fs::read_dir(repository().join(CHART).join("ci")).unwrap() {
        all.push(helm.objects(&["--values", file.unwrap().path().to_str().unwrap()]));
    }
    all.push(helm.objects(&["--set", "spool.enabled=true,replicas=2"]));
    all.iter().map(|objects| pod(objects)).collect()
}

fn manifests_pods() -> Vec<Value> {
    manifests().iter().map(|objects| pod(objects)).collect()
}

fn manifests() -> Vec<Vec<Value>> {
    let folder = std::fs::read_dir(repository().join("deploy/manifest")).unwrap();
    let files =
        folder.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let mut all: Vec<Vec<Value>> = files.map(|path| parsed(&std::fs::read_to_string(path).unwrap())).collect();
    assert_eq!(all.len(), 5);
    all.push(parsed(&generated(&["--region", "eu-west-1", "--cluster-id", "orders", "--account", "111122223333"])));
    all
}

fn pod(objects: &[Value]) -> Value {
    let owner = objects.iter().find(|object| object["kind"] == "Deployment" || object["kind"] == "StatefulSet");
    owner.unwrap()["spec"]["template"]["spec"].clone()
}

fn variables(pod: &Value) -> &Vec<Value> {
    pod["containers"][0]["env"].as_array().unwrap()
}

#[test]
fn every_variable_of_the_manifests_is_one_of_the_program() {
    variables_are_the_programs(&manifests_pods());
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn every_variable_of_the_chart_is_one_of_the_program() {
    variables_are_the_programs(&charts_pods());
}

fn variables_are_the_programs(pods: &[Value]) {
    let settings = settings();
    let elsewhere = |name: &str| OF_THE_POD.contains(&name) || AHEAD.contains(&name) || name == "HTTPS_PROXY";
    let known = |name: &str| settings.contains_key(name) || elsewhere(name);
    let guide = guide("install.md");
    for name in OF_THE_POD {
        assert!(guide.contains(&format!("`{name}`")), "{name} is explained");
    }
    for pod in pods {
        for variable in variables(pod) {
            let name = variable["name"].as_str().unwrap();
            assert!(known(name), "{name} is set and means nothing to the program");
        }
        let field = |name: &str| {
            let variable = variables(pod).iter().find(|variable| variable["name"] == name).unwrap();
            variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap().to_owned()
        };
        assert_eq!((field("NODE_NAME").as_str(), field("POD_NAME").as_str()), ("spec.nodeName", "metadata.name"));
    }
}

#[test]
fn the_charts_settings_are_the_programs_with_the_same_defaults() {
    let (settings, described) = (settings(), described());
    // Filled from another value, or from the pod.
    let is_filled = |name: &str| name == "TERMINATION_GRACE_PERIOD" || OF_THE_POD.contains(&name);
    let missing: Vec<&String> =
        settings.keys().filter(|name| !is_filled(name) && !described.contains_key(*name)).collect();
    assert!(missing.is_empty(), "not in values.yaml: {missing:?}");
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(repository().join(CHART).join("values.schema.json")).unwrap())
            .unwrap();
    let ruled: BTreeSet<&String> = schema["properties"]["env"]["properties"].as_object().unwrap().keys().collect();
    for name in described.keys().chain(ruled.iter().copied()) {
        let elsewhere = is_filled(name) || AHEAD.contains(&name.as_str());
        assert!(settings.contains_key(name) || elsewhere, "{name} is no setting of the program");
    }
    for (name, column) in described.iter().filter(|(name, _)| settings.contains_key(*name)) {
        let default = settings[name].as_deref();
        // With several allowed values the default comes first; "-" is none.
        let first = column.split('|').next().filter(|text| *text != "-");
        assert_eq!(first, default, "{name}");
    }
    let values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(repository().join(CHART).join("values.yaml")).unwrap())
            .unwrap();
    for (name, value) in values["env"].as_object().unwrap() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(text, settings[name].clone().unwrap_or_default(), "{name}");
    }
}

#[test]
fn the_guides_name_the_same_defaults() {
    let settings = settings();
    let mut compared = 0;
    for file in std::fs::read_dir(repository().join("docs")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut in_table = false;
        for line in text.lines() {
            in_table = (in_table && line.starts_with('|')) || line.starts_with("| setting | default |");
            let row = cells(line);
            if !in_table || row.len() < 2 {
                continue;
            }
            let (names, defaults) = (quoted(&row[0]), quoted(&row[1]));
            if let (Some(default), [given]) = (names.first().and_then(|name| settings.get(*name)), &defaults[..]) {
                assert_eq!(Some((*given).to_owned()), *default, "{}: {line}", path.display());
                compared += 1;
            }
        }
    }
    assert!(compared >= 4, "{compared} defaults found in tables");
}

/// The admin listener's, Prometheus', and the agents'.
fn ports() -> [u64; 3] {
    let settings = settings();
    ["ADMIN_ADDRESS", "PROMETHEUS_ADDRESS", "AGENT_PORT"]
        .map(|name| settings[name].as_deref().unwrap().rsplit(':').next().unwrap().parse().unwrap())
}

#[test]
fn ports_are_the_same_in_manifests_image_and_guides() {
    let [admin, metrics, agent] = ports();
    for objects in manifests() {
        assert_eq!(pod(&objects)["containers"][0]["ports"][0]["containerPort"], admin);
    }
    let dockerfile = std::fs::read_to_string(repository().join("deploy/image/Dockerfile")).unwrap();
    assert!(dockerfile.contains(&format!("\nEXPOSE {metrics} {admin}\n")), "{dockerfile}");
    for (name, port) in
        [("security-group.md", agent), ("metrics.md", metrics), ("metrics.md", admin), ("helper-metrics.md", admin)]
    {
        assert!(guide(name).contains(&port.to_string()), "{port} in {name}");
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_charts_ports_are_the_programs() {
    let [admin, metrics, agent] = ports();
    let objects = Helm::required().objects(&["--set", "env.USE_PROMETHEUS=true,networkPolicy.enabled=true"]);
    let ports: BTreeMap<String, u64> = pod(&objects)["containers"][0]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| (port["name"].as_str().unwrap().to_owned(), port["containerPort"].as_u64().unwrap()))
        .collect();
    assert_eq!(ports, BTreeMap::from([("admin".to_owned(), admin), ("metrics".to_owned(), metrics)]));
    let policy = objects.iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
    let of = |direction: &str| -> BTreeSet<u64> {
        let rules = policy["spec"][direction].as_array().unwrap().iter();
        rules.flat_map(|rule| rule["ports"].as_array().unwrap()).map(|port| port["port"].as_u64().unwrap()).collect()
    };
    assert_eq!(of("ingress"), BTreeSet::from([admin, metrics]));
    assert!(of("egress").contains(&agent), "{policy}");
}

#[test]
fn the_time_to_stop_is_the_same_for_the_manifests_pod_and_the_program() {
    time_to_stop_is_the_programs(&manifests_pods());
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_time_to_stop_is_the_same_for_the_charts_pod_and_the_program() {
    time_to_stop_is_the_programs(&charts_pods());
}

fn time_to_stop_is_the_programs(pods: &[Value]) {
    let default = settings().get("TERMINATION_GRACE_PERIOD").cloned();
    for pod in pods {
        let of_the_pod = format!("{}s", pod["terminationGracePeriodSeconds"].as_u64().unwrap());
        let told = variables(pod).iter().find(|variable| variable["name"] == "TERMINATION_GRACE_PERIOD").unwrap();
        assert_eq!(told["value"], of_the_pod);
        if let Some(default) = &default {
            assert_eq!(default.as_ref(), Some(&of_the_pod), "the program's own default");
        }
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_chart_takes_the_times_to_stop_that_the_program_takes() {
    let helm = Helm::required();
    let has_setting = settings().contains_key("TERMINATION_GRACE_PERIOD");
    for (seconds, good) in [(0, false), (1, false), (2, true), (30, true), (3600, true), (3601, false)] {
        // A second mistake, so that it never starts.
        let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"))
            .env_clear()
            .envs([("TERMINATION_GRACE_PERIOD", format!("{seconds}s").as_str()), ("METRIC_SET", "none")])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("METRIC_SET"), "{said}");
        assert_eq!(!said.contains("TERMINATION_GRACE_PERIOD"), good || !has_setting, "{seconds}: {said}");
        let rendered = helm.template(&[&format!("--set=terminationGracePeriodSeconds={seconds}")]);
        assert_eq!(rendered.is_ok(), good, "{seconds}: {rendered:?}");
    }
}
