//! Installing: over the original, and in every form that values can give it.

use serde_json::{Value, json};

use super::{ALL_ON_VALUES, SHARDED_VALUES, Stand, UPSTREAM_VALUES};
use crate::helm::{CHART, parsed, repository};

const ORIGINAL: &str = include_str!("../../data/upstream/manifest.yaml");
const MANIFEST: &str = include_str!("../../../../../deploy/manifest/cni-metrics-helper.yaml");

const DEPLOYMENT: [&str; 3] = ["deployment", "cni-metrics-helper", "--namespace=kube-system"];

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn helm_upgrades_the_originals_release_in_place() {
    let stand = Stand::start(0);
    // Helm makes it itself.
    stand.cluster.kubectl().run(&["delete", "serviceaccount", "cni-metrics-helper", "--namespace=kube-system"]);
    // What matters of the original's chart: the same release, and these objects in it.
    let chart = stand.cluster.plane.folder().join("original");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    let description = "apiVersion: v1\nname: cni-metrics-helper\nversion: 1.23.1\nappVersion: v1.23.1\n";
    std::fs::write(chart.join("Chart.yaml"), description).unwrap();
    std::fs::write(chart.join("templates/all.yaml"), ORIGINAL).unwrap();
    stand.upgrade(chart.to_str().unwrap(), &[]);
    let before = stand.get(&DEPLOYMENT);

    stand.upgrade(CHART, &["--values", UPSTREAM_VALUES]);
    let after = stand.get(&DEPLOYMENT);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["spec"]["selector"], before["spec"]["selector"]);
    let image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/cni-metrics-helper:v0.1.0";
    assert_eq!(self::image(&after), image);
    assert_narrowed(&stand);
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn helm_takes_over_the_originals_manifest_in_place() {
    let stand = Stand::start(0);
    stand.kubectl_file(&["apply"], "original.yaml", ORIGINAL).unwrap();
    let before = stand.get(&DEPLOYMENT);

    stand.install(&[]);
    let after = stand.get(&DEPLOYMENT);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "the same object, not a new one");
    assert_eq!(after["spec"]["selector"], before["spec"]["selector"]);
    assert_ne!(image(&after), image(&before));
    assert_narrowed(&stand);

    // The same values file as with the original's chart, as an upgrade of the release.
    stand.install(&["--values", UPSTREAM_VALUES]);
    let upgraded = stand.get(&DEPLOYMENT);
    assert_eq!(upgraded["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(upgraded["spec"]["strategy"]["type"], "Recreate");
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn the_refusal_in_the_guide_is_what_helm_says() {
    let stand = Stand::start(0);
    let guide = std::fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let (_, sample) = guide.split_once("$ helm install ... ").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    let (arguments, answer) = sample.split_once('\n').unwrap();
    let kubeconfig = stand.kubeconfig();
    let fixed = ["install", "cni-metrics-helper", CHART, "--namespace=kube-system", &kubeconfig];
    let said = stand.helm.run(fixed.into_iter().chain(arguments.split_whitespace())).unwrap_err();
    // What it logs on the way has a time in front.
    let error = &said[said.find("Error: ").unwrap()..];
    assert_eq!(answer.trim_end(), error.trim_end());
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn an_update_goes_from_rolling_to_recreate_and_back_by_every_way() {
    let stand = Stand::start(0);
    let strategy = || stand.get(&DEPLOYMENT)["spec"]["strategy"]["type"].clone();
    stand.install(&["--set=replicas=2"]);
    assert_eq!(strategy(), "RollingUpdate", "with the parameters that the API server fills in");
    stand.install(&[]);
    assert_eq!(strategy(), "Recreate");
    // As kubectl, Argo CD and Flux may apply, on either side: no manager owns what the API server filled in.
    for apply in [&["apply"][..], &["apply", "--server-side", "--force-conflicts"]] {
        stand.cluster.kubectl().run(&["delete", "deployment", "cni-metrics-helper", "--namespace=kube-system"]);
        for (values, expected) in
            [("replicas=2", "RollingUpdate"), ("replicas=1", "Recreate"), ("replicas=2", "RollingUpdate")]
        {
            let rendered = stand.helm.template(&["--set", values]).unwrap();
            stand.kubectl_file(apply, "wanted.yaml", &rendered).unwrap();
            assert_eq!(strategy(), expected, "{values} by {apply:?}");
        }
    }
}

/// Applied server-side over the original, one field stays that no one owns. The guide has the command for it.
#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn a_server_side_apply_over_the_original_needs_the_guides_command() {
    let stand = Stand::start(0);
    stand.kubectl_file(&["apply"], "original.yaml", ORIGINAL).unwrap();
    let apply = ["apply", "--server-side", "--force-conflicts"];
    let refused = stand.kubectl_file(&apply, "ours.yaml", MANIFEST).unwrap_err();
    let message = "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'";
    assert!(refused.contains(message), "{refused}");

    let guide = std::fs::read_to_string(repository().join("docs/migrate.md")).unwrap();
    assert!(guide.contains(message));
    let (_, command) = guide.split_once("$ kubectl patch ").unwrap();
    let (command, _) = command.split_once("\n```").unwrap();
    let (words, patch) = command.split_once(" --patch '").unwrap();
    let patch = format!("--patch={}", patch.trim_end_matches('\''));
    let words = words.split_whitespace().filter(|word| *word != "\\");
    let arguments: Vec<&str> = ["patch"].into_iter().chain(words).chain([patch.as_str()]).collect();
    stand.cluster.kubectl().run(&arguments);
    stand.kubectl_file(&apply, "ours.yaml", MANIFEST).unwrap();
    assert_eq!(stand.get(&DEPLOYMENT)["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn helm_goes_over_to_shards_and_back() {
    let stand = Stand::start(0);
    let set = ["statefulsets", "--namespace=kube-system"];
    let deployments = ["deployments", "--namespace=kube-system"];
    let count = |what: &[&str]| stand.get(what)["items"].as_array().unwrap().len();
    stand.install(&[]);
    assert_eq!((count(&set), count(&deployments)), (0, 1));
    stand.install(&["--values", SHARDED_VALUES, "--set=podMonitor.enabled=false"]);
    assert_eq!((count(&set), count(&deployments)), (1, 0));
    // More shards change the object in place: the API server lets few fields of a StatefulSet change.
    stand.install(&["--values", SHARDED_VALUES, "--set=podMonitor.enabled=false,shards=4"]);
    let grown = &stand.get(&set)["items"][0]["spec"];
    assert_eq!((&grown["replicas"], &grown["podManagementPolicy"]), (&json!(4), &json!("Parallel")));
    assert!(grown["template"]["spec"]["containers"][0]["env"].to_string().contains("$(POD_INDEX)/4"));
    stand.install(&[]);
    assert_eq!((count(&set), count(&deployments)), (0, 1));
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn kubectl_applies_the_manifest_over_the_original() {
    let stand = Stand::start(0);
    stand.kubectl_file(&["apply"], "original.yaml", ORIGINAL).unwrap();
    let before = stand.get(&DEPLOYMENT);

    stand.kubectl_file(&["apply"], "ours.yaml", MANIFEST).unwrap();
    let after = stand.get(&DEPLOYMENT);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let variables = after["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let mut names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let ours = [
        "AWS_CLUSTER_ID",
        "AWS_VPC_K8S_CNI_LOGLEVEL",
        "METRIC_UPDATE_INTERVAL",
        "NODE_NAME",
        "POD_NAME",
        "TERMINATION_GRACE_PERIOD",
        "USE_CLOUDWATCH",
        "USE_PROMETHEUS",
    ];
    assert_eq!(names, ours, "nothing of the original's stays behind");
    assert_eq!(after["spec"]["strategy"], json!({"type": "Recreate"}), "the original's is rolling by default");
    assert_narrowed(&stand);
}

/// The original's cluster role of the same name let its account reach every port of every pod.
fn assert_narrowed(stand: &Stand) {
    let role = stand.get(&["clusterrole", "cni-metrics-helper"]);
    assert_eq!(role["rules"], json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}]));
}

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn the_api_server_takes_every_form_field_by_field() {
    let stand = Stand::start(0);
    stand.cluster.kubectl().apply(&[pod_monitor_definition()]);
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd/podmonitors.monitoring.coreos.com"];
    stand.cluster.kubectl().run(&established);

    for values in [&[][..], &["--values", UPSTREAM_VALUES], &["--values", ALL_ON_VALUES], &["--values", SHARDED_VALUES]]
    {
        let manifest = stand.helm.template(values).unwrap();
        let apply = ["apply", "--server-side", "--force-conflicts", "--validate=strict"];
        let dry = stand.kubectl_file(&[&apply[..], &["--dry-run=server"]].concat(), "dry.yaml", &manifest).unwrap();
        let real = stand.kubectl_file(&apply, "real.yaml", &manifest).unwrap();
        let objects = parsed(&manifest).len();
        assert_eq!((dry.lines().count(), real.lines().count()), (objects, objects), "{dry}\n{real}");
        let gone = stand.kubectl_file(&["delete"], "real.yaml", &manifest).unwrap();
        assert_eq!(gone.lines().count(), objects, "all of it was there: {gone}");
    }
}

/// The operator's own definition, as far as this chart needs it.
fn pod_monitor_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn the_pod_passes_the_restricted_security_level_and_the_originals_does_not() {
    let stand = Stand::start(0);
    let kubectl = stand.cluster.kubectl();
    kubectl.run(&["create", "namespace", "guarded"]);
    kubectl.run(&["label", "namespace", "guarded", "pod-security.kubernetes.io/enforce=restricted"]);
    let try_pod = |manifest: &str| {
        let runs = |object: &Value| object["kind"] == "Deployment" || object["kind"] == "StatefulSet";
        let deployment = parsed(manifest).into_iter().find(runs).unwrap();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": "guarded"},
            "spec": deployment["spec"]["template"]["spec"],
        });
        stand.kubectl_file(&["create", "--dry-run=server"], "pod.yaml", &pod.to_string())
    };
    for values in [&[][..], &["--values", UPSTREAM_VALUES], &["--values", ALL_ON_VALUES], &["--values", SHARDED_VALUES]]
    {
        try_pod(&stand.helm.template(values).unwrap()).unwrap_or_else(|said| panic!("{values:?}: {said}"));
    }
    let refused = try_pod(ORIGINAL).unwrap_err();
    assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
}
