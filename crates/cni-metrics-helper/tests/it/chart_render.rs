//! The chart through the real helm: what it renders, what it refuses, which rights it asks for.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::helm::{CHART, Helm, IMAGE_VALUES, parsed, repository};

const UPSTREAM: &str = "charts/cni-metrics-helper/ci/upstream-values.yaml";
const ALL_ON: &str = "charts/cni-metrics-helper/ci/all-on-values.yaml";
const SHARDED: &str = "charts/cni-metrics-helper/ci/sharded-values.yaml";

#[test]
#[ignore = "needs helm: run .ci/run"]
fn lint_finds_nothing_with_any_values() {
    let helm = Helm::required();
    for values in [&[][..], &["--values", UPSTREAM], &["--values", ALL_ON], &["--values", SHARDED]] {
        helm.run(["lint", "--strict", CHART].iter().chain(values)).unwrap();
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn every_value_of_the_original_chart_keeps_its_meaning() {
    let helm = Helm::required();
    let objects = helm.objects(&["--values", UPSTREAM]);
    let deployment = only(&objects, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];

    assert_eq!(deployment["metadata"]["name"], "cni-metrics-helper");
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate", "rollingUpdate": null}));
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"], json!({"example.com/team": "network"}));
    assert_eq!(container["image"], "111122223333.dkr.ecr.eu-west-1.amazonaws.com/cni-metrics-helper:v0.1.0");
    for (name, value) in [
        ("USE_CLOUDWATCH", "true"),
        ("USE_PROMETHEUS", "false"),
        ("AWS_CLUSTER_ID", "orders"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
        ("METRIC_UPDATE_INTERVAL", "60"),
    ] {
        assert_eq!(variable(container, name), Some(value), "{name}");
    }
    assert_eq!(container["resources"]["limits"], json!({"cpu": "200m", "memory": "256Mi"}));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    assert_eq!(pod["tolerations"][0]["key"], "dedicated");
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    assert_eq!(terms[0]["matchExpressions"][0]["values"], json!(["amd64", "arm64"]));
    let annotations = &only(&objects, "ServiceAccount")["metadata"]["annotations"];
    assert_eq!(annotations["eks.amazonaws.com/role-arn"], "arn:aws:iam::111122223333:role/cni-metrics-helper");
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_image_is_put_together_as_the_original_chart_does() {
    let helm = Helm::required();
    let image = |arguments: &[&str]| {
        let objects = helm.objects(arguments);
        only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let account = "--set-string=image.override=,image.account=111122223333";
    assert_eq!(
        image(&[account, "--set=image.region=cn-north-1,image.domain=amazonaws.com.cn,image.tag=v7"]),
        "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/cni-metrics-helper:v7"
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        image(&[account]),
        format!("111122223333.dkr.ecr.us-west-2.amazonaws.com/cni-metrics-helper:v{version}"),
        "the default tag is this program's version"
    );
    // A registry of one's own may have the same layout.
    assert_eq!(
        image(&["--set-string=image.override=", "--set=image.domain=registry.example.com"]),
        format!("602401143452.dkr.ecr.us-west-2.registry.example.com/cni-metrics-helper:v{version}")
    );
    // A mirror of one's own may number its images as it likes.
    assert_eq!(
        image(&[account, "--set=image.tag=v1.20.1"]),
        "111122223333.dkr.ecr.us-west-2.amazonaws.com/cni-metrics-helper:v1.20.1"
    );
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn a_service_account_of_ones_own_is_used_and_not_made() {
    let helm = Helm::required();
    let objects = helm.objects(&["--set=serviceAccount.create=false,serviceAccount.name=mine"]);
    assert!(objects.iter().all(|object| object["kind"] != "ServiceAccount"));
    assert_eq!(only(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], "mine");
    assert_eq!(only(&objects, "RoleBinding")["subjects"][0]["name"], "mine");
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn every_object_has_the_name_that_is_asked_for() {
    let helm = Helm::required();
    let longest = "x".repeat(63);
    for (given, name) in [("other", "other"), (longest.as_str(), longest.as_str()), ("", "cni-metrics-helper")] {
        let objects = helm.objects(&[&format!("--set-string=fullnameOverride={given}")]);
        assert!(objects.len() > 5);
        assert!(objects.iter().all(|object| object["metadata"]["name"] == *name), "{given:?}: {objects:#?}");
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn names_and_selector_are_the_originals() {
    let helm = Helm::required();
    let original = include_str!("../data/upstream/manifest.yaml");
    let objects = helm.objects(&[]);
    for theirs in parsed(original) {
        let ours = only(&objects, theirs["kind"].as_str().unwrap());
        assert_eq!(ours["apiVersion"], theirs["apiVersion"]);
        assert_eq!(ours["metadata"]["name"], theirs["metadata"]["name"]);
        assert_eq!(ours["metadata"]["namespace"], theirs["metadata"]["namespace"]);
        assert_eq!(ours["spec"]["selector"], theirs["spec"]["selector"]);
        assert_eq!(ours["roleRef"], theirs["roleRef"]);
    }
    let deployment = only(&objects, "Deployment");
    let (selector, labels) =
        (&deployment["spec"]["selector"]["matchLabels"], &deployment["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(labels["k8s-app"], selector["k8s-app"]);
    for label in ["name", "instance", "version", "component", "managed-by"] {
        assert!(labels[format!("app.kubernetes.io/{label}")].is_string(), "{label}");
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn a_claimed_spool_is_never_shared_by_two_pods() {
    let helm = Helm::required();
    let claimed = ["--set", "spool.enabled=true,spool.existingClaim=points"];
    let with = |more: &'static str| helm.template(&[&claimed[..], &["--set", more]].concat());
    for elects in ["env.LEADER_ELECTION=false", "env.LEADER_ELECTION=true"] {
        let objects = parsed(&with(elects).unwrap());
        assert_eq!(only(&objects, "Deployment")["spec"]["strategy"]["type"], "Recreate", "{elects}");
    }
    let two = with("replicas=2").unwrap_err();
    assert!(two.contains("spool.existingClaim is for one pod"), "{two}");
    for update in ["updateStrategy.type=RollingUpdate", "updateStrategy.rollingUpdate.maxSurge=0"] {
        let rolling = with(update).unwrap_err();
        assert!(rolling.contains("set updateStrategy.type to Recreate"), "{update}: {rolling}");
    }
    with("updateStrategy.type=Recreate").unwrap();
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_original_is_refused_by_every_account_and_name_that_holds_it() {
    let helm = Helm::required();
    let region = |account: &str| match account {
        "961992271922" => "cn-northwest-1.amazonaws.com.cn",
        "013241004608" => "us-gov-west-1.amazonaws.com",
        _ => "eu-west-1.amazonaws.com",
    };
    // A region of each age: the first ones, China, the US government, opt-in ones old and new, an isolated one.
    for account in [
        "602401143452",
        "961992271922",
        "013241004608",
        "800184023465",
        "877085696533",
        "761377655185",
        "730335286997",
        "333609536671",
        "725322719131",
    ] {
        let image = format!("{account}.dkr.ecr.{}/cni-metrics-helper", region(account));
        let override_ = |rest: &str| vec![format!("--set=image.override={image}{rest}")];
        let by_account = |tag: &str| vec![format!("--set-string=image.account={account},image.tag={tag}")];
        for (arguments, message) in [
            (override_(":v1.20.1"), "is the upstream Go helper, not this program"),
            (by_account("v1.23.1"), "is the upstream Go helper, not this program"),
            // Neither the original nor this one: nothing.
            (override_(":v0.1.0"), "in AWS's registry"),
            (override_("@sha256:0000"), "in AWS's registry"),
            (by_account("v0.1.0"), "does not exist: AWS's registry"),
            (by_account(""), "does not exist: AWS's registry"),
        ] {
            let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let said = helm.template_without_image(&given).expect_err(&image);
            assert!(said.contains(message) && said.contains("set image.override"), "{arguments:?}: {said}");
        }
    }
    for original in [
        "amazon/cni-metrics-helper:v1.12.0",
        "public.ecr.aws/eks/cni-metrics-helper:1.20.1",
        "registry.example.com/mirror/amazon/cni-metrics-helper:v1.20.1@sha256:0000",
        "602401143452.dkr.ecr-fips.us-east-1.amazonaws.com/cni-metrics-helper:v1.20.1",
        "602401143452.dkr-ecr.us-east-1.on.aws/cni-metrics-helper:v1.20.1",
    ] {
        let said = helm.template(&[&format!("--set=image.override={original}")]).expect_err(original);
        assert!(said.contains("is the upstream Go helper, not this program"), "{original}: {said}");
    }
    for ours in [
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com/cni-metrics-helper:v1.0.0",
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com/eks/cni-metrics-helper:v0.1.0",
        "registry.example.com/amazonas/cni-metrics-helper:v1.0.0",
        "602401143452.dkr.ecr.eu-west-1.amazonaws.com/mirrors/helper:v0.1.0",
    ] {
        helm.template(&[&format!("--set=image.override={ours}")]).unwrap_or_else(|said| panic!("{ours}: {said}"));
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_notes_say_what_has_no_data_with_the_originals_metrics_only() {
    let helm = Helm::required();
    // `helm template` leaves the notes out: as a value of a template, they are rendered like any other.
    let copy = cni_testkit::temporary_folder();
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).current_dir(repository()).status().unwrap().success());
    };
    run("cp", &["-r", CHART, copy.path().to_str().unwrap()]);
    let chart = copy.path().join("cni-metrics-helper");
    let text = std::fs::read_to_string(chart.join("templates/NOTES.txt")).unwrap();
    let template =
        format!("{{{{- define \"notes\" }}}}{text}{{{{ end }}}}notes: {{{{ include \"notes\" . | quote }}}}\n");
    std::fs::write(chart.join("templates/notes.yaml"), template).unwrap();
    let notes = |values: &[&str]| {
        let chart = chart.to_str().unwrap();
        let fixed = ["template", "helper", chart, "--show-only=templates/notes.yaml", "--values", IMAGE_VALUES];
        let objects = parsed(&helm.run(fixed.iter().chain(values)).unwrap());
        objects[0]["notes"].as_str().unwrap().to_owned()
    };
    let compat = notes(&["--set=env.METRIC_SET=Compat"]);
    let new = ["noAvailableIPAddresses", "nodesExpected", "nodesScraped"];
    let without =
        ["Pods refused an address", "Coverage", "pods-refused-an-address", "coverage-incomplete", "helper-silent"];
    for name in new.iter().chain(&without) {
        assert!(compat.contains(name), "{name}: {compat}");
    }
    // The names are those of the documents.
    let made = |what: &str| {
        let arguments = ["generate", what, "--cluster-id", "orders", "--region", "eu-west-1"];
        let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let documents = made("cloudwatch-dashboard") + &made("cloudwatch-alarms");
    for name in without {
        assert!(documents.contains(name), "{name}");
    }
    for values in
        [&[][..], &["--set=env.METRIC_SET=standard"], &["--set=env.METRIC_SET=compat,env.USE_CLOUDWATCH=false"]]
    {
        assert!(!notes(values).contains("METRIC_SET"), "{values:?}");
    }
}

/// The errors of the program with this value, and with a second one that is wrong, so that it never starts.
fn errors_with(variable: &str, value: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"))
        .env_clear()
        .envs([(variable, value), ("METRIC_SET", "none")])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("METRIC_SET"), "{said}");
    said
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_schema_takes_the_sizes_that_the_program_takes() {
    let helm = Helm::required();
    let takes = |variable: &str, size: &str| !errors_with(variable, size).contains(variable);
    let sizes = "|0|10|+64MiB|007Mi|64MB|64M|64m|1K|2kB|1025KB|1048kB|1049k|1GB|17G|17179M|18GB|64 MiB|64mib|1.5GiB|-1|MiB|1TiB|1023|1024|0Ki|1Ki|\
                 1KiB|1023KiB|1024KiB|1048575|1048576|1048577Ki|1MiB|1Mi|1024Mi|1025Mi|1GiB|2GiB|1073741824|1073741825|\
                 16383MiB|16384MiB|16385MiB|16Gi|17GiB|16777216KiB|16777217KiB|17179869184|17179869185|99999999999GiB|99999999999999999999";
    for variable in ["CLOUDWATCH_BUFFER", "SCRAPE_MAX_BYTES"] {
        for size in sizes.split('|') {
            let rendered = helm.template(&[&format!("--set-string=env.{variable}={size}")]);
            if let Err(said) = &rendered {
                assert!(said.contains(&format!("at '/env/{variable}'")), "{size:?}: {said}");
            }
            assert_eq!(rendered.is_ok(), takes(variable, size), "{variable}={size:?}");
        }
        for (size, good) in [("1023", false), ("1048576", true), ("17179869185", false)] {
            assert_eq!(helm.template(&[&format!("--set=env.{variable}={size}")]).is_ok(), good, "{variable}={size}");
        }
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_schema_takes_the_switches_durations_and_selectors_that_the_program_takes() {
    let helm = Helm::required();
    let takes = |variable: &str, value: &str| !errors_with(variable, value).contains(&format!("{variable} ="));
    let switches = "true|false|yes|NO|On|off|1|0|2|enabled|y";
    let durations = "30|30s|1m|2h|5000ms|500ms|0|0s|4s|5s|5m|6m|24h|25h|1d|86400|86401|-1|abc|30 s";
    let timeouts = "5|5s|500ms|1.5s|2m|1h|abc|5 s|5x";
    let selectors = "k8s-app=aws-node|a==b|k8s-app==|a==b==c|a in (b)|a in ()|a notin (b)|!a|a b|k8s-app=|a!=";
    for (variable, values) in [
        ("USE_PROMETHEUS", switches),
        ("STANDBY_SCRAPE", switches),
        ("METRIC_UPDATE_INTERVAL", durations),
        ("LEASE_DURATION", durations),
        ("SCRAPE_TIMEOUT", timeouts),
        ("AGENT_SELECTOR", selectors),
        ("AWS_REGION", "eu-west-1|us-gov-west-1|Frankfurt|eu-west-1a|eu_west_1"),
    ] {
        for value in values.split('|') {
            let rendered = helm.template(&[&format!("--set-string=env.{variable}={value}")]);
            if let Err(said) = &rendered {
                assert!(said.contains(&format!("at '/env/{variable}'")), "{value:?}: {said}");
            }
            assert_eq!(rendered.is_ok(), takes(variable, value), "{variable}={value:?}");
        }
    }
    // The chart reads a switch as the program does.
    for (value, on) in [("on", true), ("1", true), ("off", false), ("0", false)] {
        let objects = helm.objects(&[&format!("--set=env.USE_PROMETHEUS={value}")]);
        let text: String = objects.iter().map(ToString::to_string).collect();
        assert_eq!(text.contains("61681"), on, "{value}");
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn a_wrong_value_is_refused_with_a_message_that_names_it() {
    let helm = Helm::required();
    let cases = [
        ("env.USE_CLOUDWATCH=maybe", "at '/env/USE_CLOUDWATCH': value must be one of true, false"),
        ("env.METRIC_UPDATE_INTERVAL=0", "at '/env/METRIC_UPDATE_INTERVAL': minimum: got 0, want 1"),
        ("env.METRIC_UPDATE_INTERVAL=500ms", "at '/env/METRIC_UPDATE_INTERVAL'"),
        ("env.AWS_VPC_K8S_CNI_LOGLEVEL=LOUD", "'/env/AWS_VPC_K8S_CNI_LOGLEVEL': value must be one of 'debug'"),
        ("env.SCRAPE_TIMEOUT=abc", "at '/env/SCRAPE_TIMEOUT'"),
        ("env.CLOUDWATCH_BUFFER=10", "at '/env/CLOUDWATCH_BUFFER'"),
        ("env.LEASE_DURATION=2s", "at '/env/LEASE_DURATION'"),
        ("fullnameOverride=Helper", "at '/fullnameOverride'"),
        ("fullnameOverride=-helper", "at '/fullnameOverride'"),
        ("fullnameOverride=a.b", "at '/fullnameOverride'"),
        ("fullnameOverride=x234567890123456789012345678901234567890123456789012345678901234", "at '/fullnameOverride'"),
        ("env.SCRAPE_CONCURRENCY=20000", "at '/env/SCRAPE_CONCURRENCY'"),
        ("env.AGENT_PORT=99999", "at '/env/AGENT_PORT'"),
        ("env.SCRAPE_VIA=tunnel", "at '/env/SCRAPE_VIA': value must be one of 'auto', 'proxy', 'direct'"),
        ("env.METRIC_SET=all", "at '/env/METRIC_SET': value must be one of 'standard', 'compat'"),
        ("env.CLOUDWATCH_RESOLUTION=30", "at '/env/CLOUDWATCH_RESOLUTION': value must be one of 1, 60"),
        ("env.CLOUDWATCH_NAMESPACE=AWS/EC2", "at '/env/CLOUDWATCH_NAMESPACE'"),
        ("env.AWS_REGION=mars", "at '/env/AWS_REGION'"),
        ("env.BAD-NAME=1", "BAD-NAME"),
        ("image.account=602401143452", "at '/image/account': got number, want string"),
        ("image.acount=1", "at '/image': additional properties 'acount' not allowed"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy'"),
        ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
        ("podMonitor.enabled=1", "at '/podMonitor/enabled': got number, want boolean"),
        ("resources.limit.cpu=1", "additional properties 'limit' not allowed"),
        ("replica=2", "additional properties 'replica' not allowed"),
        ("image.override=,image.tag=v1.20.1", "is the upstream Go helper, not this program"),
        (
            "image.override=602401143452.dkr.ecr.eu-west-1.amazonaws.com/cni-metrics-helper:v1.20.1",
            "is the upstream Go helper, not this program",
        ),
        ("env.SPOOL_DIR=/spool", "is in the read-only root file system"),
        ("replicas=2,env.LEADER_ELECTION=false", "every replica would publish the same events"),
        ("env.CLUSTER_ID_FALLBACK=maybe", "at '/env/CLUSTER_ID_FALLBACK': value must be one of 'default', 'refuse'"),
        ("terminationGracePeriodSeconds=1", "at '/terminationGracePeriodSeconds': minimum: got 1, want 2"),
        ("terminationGracePeriodSeconds=3601", "at '/terminationGracePeriodSeconds': maximum: got 3,601, want 3,600"),
        ("env.TERMINATION_GRACE_PERIOD=9s", "TERMINATION_GRACE_PERIOD is set by terminationGracePeriodSeconds"),
        ("spool.sizeLimit=64MiB", "at '/spool/sizeLimit'"),
        ("spool.sizeLimit=9999999999Gi", "at '/spool/sizeLimit'"),
        ("spool.sizeLimit=200000K", "at '/spool/sizeLimit'"),
        ("env.SHARD=3", "at '/env/SHARD'"),
        ("shards=1001", "at '/shards': maximum: got 1,001, want 1,000"),
        ("shards=3,replicas=2", "shards is 3 and replicas is 2: a shard is one pod"),
        ("shards=3,env.SHARD=0/3", "shards is 3, and the chart then sets SHARD itself"),
        (
            "shards=3,extraEnv[0].name=POD_INDEX,extraEnv[0].value=1",
            "shards is 3, and the chart then sets POD_INDEX itself",
        ),
        (
            "shards=3,spool.enabled=true,spool.existingClaim=points",
            "spool.existingClaim is for one pod, and each shard",
        ),
        ("shards=3,updateStrategy.type=Recreate", "updateStrategy.type Recreate is for Deployments"),
    ];
    for (values, message) in cases {
        let said = helm.template(&["--set", values]).expect_err(values);
        assert!(said.contains(message), "{values}: {said}");
    }
}

#[test]
fn every_variable_of_the_program_has_its_rule_in_the_schema() {
    let help = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let schema = std::fs::read_to_string(repository().join(CHART).join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let variables: Vec<&str> = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
    assert!(variables.len() > 20, "{variables:?}");
    for variable in variables {
        assert!(schema["properties"]["env"]["properties"][variable].is_object(), "{variable}");
    }
}

/// Every rule a rendering grants: kind of role, its namespace, resource, verbs.
fn rights(objects: &[Value]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Role"))) {
        for rule in role["rules"].as_array().unwrap() {
            let list = |field: &str| {
                let items = rule[field].as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(",")
            };
            let place = role["metadata"]["namespace"].as_str().unwrap_or("cluster");
            let names =
                if rule["resourceNames"].is_null() { String::new() } else { format!("={}", list("resourceNames")) };
            rights.insert(format!("{place} {}{names} {}", list("resources"), list("verbs")));
        }
    }
    rights
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn rights_are_those_of_the_features_that_are_on() {
    let helm = Helm::required();
    let pods = "kube-system pods list,watch";
    let proxy = "kube-system pods/proxy get";
    let nodes = "cluster nodes list,watch";
    let lease = ["kube-system leases create", "kube-system leases=cni-metrics-helper get,update"];
    let (configs, trunks) = ("cluster eniconfigs list,watch", "cluster cninodes list,watch");
    let set = "cluster daemonsets=aws-node list,watch";
    let cases: [(&[&str], Vec<&str>); 11] = [
        (&[], vec![pods, proxy, nodes]),
        (&["--set=env.INSIGHT=basic"], vec![pods, proxy, nodes]),
        (&["--set=env.INSIGHT=off"], vec![pods, proxy, nodes]),
        (&["--set=env.INSIGHT=Cluster"], vec![pods, proxy, nodes, configs, trunks, set]),
        (&["--set=env.INSIGHT=cluster,nodeLabels=false"], vec![pods, proxy, configs, trunks, set]),
        (&["--set=env.INSIGHT=cluster,insight.rights=false"], vec![pods, proxy, nodes]),
        (&["--set=env.SCRAPE_VIA=direct"], vec![pods, nodes]),
        (&["--set=nodeLabels=false"], vec![pods, proxy]),
        (&["--set=nodeLabels=false,env.SCRAPE_VIA=direct"], vec![pods]),
        (&["--set=replicas=2"], vec![pods, proxy, nodes, lease[0], lease[1]]),
        (&["--set=rbac.create=false"], vec![]),
    ];
    for (arguments, expected) in cases {
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(rights(&helm.objects(arguments)), expected, "{arguments:?}");
    }
    let places = "--set=env.AGENT_NAMESPACE=agents,env.LEADER_ELECTION=true,env.LEASE_NAME=mine";
    let elsewhere = helm.objects(&["--namespace=monitoring", places]);
    let expected = [
        "agents pods list,watch",
        "agents pods/proxy get",
        nodes,
        "monitoring leases create",
        "monitoring leases=mine get,update",
    ];
    assert_eq!(rights(&elsewhere), expected.into_iter().map(str::to_owned).collect());
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn more_than_one_replica_elects_and_is_guarded() {
    let helm = Helm::required();
    let one = helm.objects(&[]);
    assert!(one.iter().all(|object| object["kind"] != "PodDisruptionBudget"));
    let container = &only(&one, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(variable(container, "LEADER_ELECTION"), None);

    let two = helm.objects(&["--set=replicas=2"]);
    assert_eq!(only(&two, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let container = &only(&two, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(variable(container, "LEADER_ELECTION"), Some("true"));
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn shards_are_a_stateful_set_whose_pods_tell_their_number() {
    let helm = Helm::required();
    for none in ["--set=shards=1", "--set=shards=0"] {
        assert_eq!(helm.objects(&[none]), helm.objects(&[]), "{none}");
    }
    let objects = helm.objects(&["--values", SHARDED]);
    assert!(objects.iter().all(|object| object["kind"] != "Deployment"));
    let set = &only(&objects, "StatefulSet")["spec"];
    assert_eq!((&set["replicas"], &set["podManagementPolicy"]), (&json!(3), &json!("Parallel")));
    let service = only(&objects, "Service");
    assert_eq!((&set["serviceName"], &service["spec"]["clusterIP"]), (&service["metadata"]["name"], &json!("None")));
    assert_eq!(service["spec"]["selector"], set["selector"]["matchLabels"]);

    let container = &set["template"]["spec"]["containers"][0];
    let variables: Vec<&Value> = container["env"].as_array().unwrap().iter().collect();
    let place = |name: &str| variables.iter().position(|variable| variable["name"] == name).unwrap();
    assert!(place("POD_INDEX") < place("SHARD"), "Kubernetes fills in what was defined before");
    let field = &variables[place("POD_INDEX")]["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(field, "metadata.labels['apps.kubernetes.io/pod-index']");
    assert_eq!(variable(container, "SHARD"), Some("$(POD_INDEX)/3"));
    assert_eq!(only(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);

    // Everything else is as without shards, the pods' rights included.
    let whole = helm.objects(&["--values", SHARDED, "--set=shards=1"]);
    let mut pod = only(&whole, "Deployment")["spec"]["template"].clone();
    let mut numbered = set["template"].clone();
    for template in [&mut pod, &mut numbered] {
        let environment = template["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        environment.retain(|variable| !["POD_INDEX", "SHARD"].iter().any(|name| variable["name"] == *name));
    }
    assert_eq!(numbered, pod);
    assert_eq!(rights(&helm.objects(&["--set=shards=3"])), rights(&helm.objects(&[])));
    assert_eq!(only(&helm.objects(&["--set=shards=3,replicas=0"]), "StatefulSet")["spec"]["replicas"], 0);
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn each_shards_lease_may_be_held_and_no_other() {
    let helm = Helm::required();
    let lease = |arguments: &str| {
        let rights = rights(&helm.objects(&[arguments]));
        rights.into_iter().find_map(|right| right.strip_prefix("kube-system leases=").map(str::to_owned)).unwrap()
    };
    let three = lease("--set=shards=3,env.LEADER_ELECTION=true,env.LEASE_NAME=mine");
    assert_eq!(three, "mine-0-of-3,mine-1-of-3,mine-2-of-3 get,update");
    // Two replicas of one shard, each shard a release of its own.
    assert_eq!(lease("--set=replicas=2,env.SHARD=1/2"), "cni-metrics-helper-1-of-2 get,update");
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn all_that_can_be_on_is_there() {
    let helm = Helm::required();
    let objects = helm.objects(&["--values", ALL_ON]);
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(variable(container, "SCRAPE_MAX_BYTES"), Some("16777216"), "a large number stays digits");
    assert_eq!(variable(container, "SPOOL_DIR"), Some("/spool"));
    assert_eq!(container["volumeMounts"], json!([{"name": "spool", "mountPath": "/spool"}]));
    assert_eq!(pod["volumes"], json!([{"name": "spool", "emptyDir": {"sizeLimit": "288Mi"}}]));
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["topologySpreadConstraints"][0]["topologyKey"], "topology.kubernetes.io/zone");

    let ports: Vec<&str> =
        container["ports"].as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!(ports, ["admin", "metrics"]);
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "admin"}));
    }
    for endpoint in only(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"].as_array().unwrap() {
        assert!(ports.contains(&endpoint["port"].as_str().unwrap()), "{endpoint}");
    }
    let policy = &only(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let egress: Vec<i64> = policy["egress"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["ports"].as_array().unwrap())
        .map(|port| port["port"].as_i64().unwrap())
        .collect();
    assert_eq!(egress, [53, 53, 443, 6443, 61678, 80, 3128]);
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn a_spools_folder_holds_the_old_file_and_the_new_one() {
    let helm = Helm::required();
    let limit = |more: &str| {
        let rendered = helm.template(&[&format!("--set-string=spool.sizeLimit={more}"), "--set=spool.enabled=true"])?;
        let deployment = only(&parsed(&rendered), "Deployment").clone();
        let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
        Ok::<String, String>(volumes[0]["emptyDir"]["sizeLimit"].as_str().unwrap().to_owned())
    };
    // 2 x (64 MiB + 32 MiB) = 192 MiB = 201,326,592 bytes.
    for enough in ["192Mi", "196608Ki", "1Gi", "202M", "201327k", "201326592", "000192Mi"] {
        assert_eq!(limit(enough).as_deref(), Ok(enough));
    }
    for less in ["64Mi", "191Mi", "196607Ki", "201M", "201326k", "201326591", "0", "0192M"] {
        let said = limit(less).expect_err(less);
        let arithmetic = "2 x (64MiB + 32Mi) = 192Mi are needed";
        let sentence = format!("spool.sizeLimit {less} is too small");
        assert!(said.contains(&sentence) && said.contains(arithmetic) && said.contains("192Mi or more"), "{said}");
    }
    // Empty: room for a file that was set aside, too, whatever the buffer is.
    for (buffer, computed) in [
        ("", "288Mi"),
        (",env.CLOUDWATCH_BUFFER=64MiB", "288Mi"),
        (",env.CLOUDWATCH_BUFFER=+0064Mi", "288Mi"),
        (",env.CLOUDWATCH_BUFFER= 65536KiB ", "288Mi"),
        (",env.CLOUDWATCH_BUFFER=67108864", "288Mi"),
        (",env.CLOUDWATCH_BUFFER=1048577", "100Mi"),
        (",env.CLOUDWATCH_BUFFER=16GiB", "49248Mi"),
    ] {
        assert_eq!(limit(buffer).as_deref(), Ok(computed), "{buffer}");
    }
    let said = limit("288Mi,env.CLOUDWATCH_BUFFER=1GiB").unwrap_err();
    assert!(said.contains("2 x (1GiB + 32Mi) = 2112Mi are needed"), "{said}");
    // A claim's size is not the chart's, and without a spool there is no limit.
    for no_folder in ["--set=spool.existingClaim=points,spool.enabled=true", "--set=spool.enabled=false"] {
        helm.template(&["--set=spool.sizeLimit=1Mi", no_folder]).unwrap();
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn an_update_has_never_two_pods_that_publish_the_same() {
    let helm = Helm::required();
    let strategy = |values: &str| {
        let objects = helm.objects(&["--set", values]);
        only(&objects, "Deployment")["spec"]["strategy"].clone()
    };
    let recreate = json!({"type": "Recreate", "rollingUpdate": null});
    let no_surge = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let usual = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    for (values, expected) in [
        ("replicas=1", &recreate),
        ("replicas=0", &recreate),
        ("env.SHARD=0/2", &recreate),
        ("env.LEADER_ELECTION=no", &recreate),
        ("updateStrategy.type=RollingUpdate", &no_surge),
        // An election keeps them apart.
        ("replicas=2", &usual),
        ("env.LEADER_ELECTION=true", &usual),
        ("replicas=2,updateStrategy.type=RollingUpdate", &usual),
        // What is written out is taken as it is.
        (
            "updateStrategy.type=RollingUpdate,updateStrategy.rollingUpdate.maxSurge=1",
            &json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}),
        ),
        ("updateStrategy.type=Recreate", &recreate),
        ("replicas=2,updateStrategy.type=Recreate", &recreate),
    ] {
        assert_eq!(&strategy(values), expected, "{values}");
    }
    // A StatefulSet ends each old pod before its new one by itself.
    let sharded = helm.objects(&["--set=shards=2"]);
    let set = &only(&sharded, "StatefulSet")["spec"];
    assert!(set["strategy"].is_null() && set["updateStrategy"].is_null(), "{set}");
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn what_the_pod_knows_of_itself_is_told_once() {
    let helm = Helm::required();
    let sources = |arguments: &[&str], name: &str| -> Vec<Value> {
        let objects = helm.objects(arguments);
        let set = objects.iter().find(|object| object["kind"] == "StatefulSet");
        let owner = set.unwrap_or_else(|| only(&objects, "Deployment"));
        let env = owner["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let mut names: Vec<&Value> = env.iter().map(|variable| &variable["name"]).collect();
        names.sort_by_key(|name| name.as_str());
        names.dedup();
        assert_eq!(names.len(), env.len(), "no variable twice: {env:?}");
        let named = env.iter().filter(|variable| variable["name"] == name);
        named.map(|variable| variable.get("valueFrom").unwrap_or(&variable["value"]).clone()).collect()
    };
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    for arguments in [&[][..], &["--values", UPSTREAM], &["--values", ALL_ON], &["--values", SHARDED]] {
        assert_eq!(sources(arguments, "NODE_NAME"), [field("spec.nodeName")], "{arguments:?}");
        assert_eq!(sources(arguments, "POD_NAME"), [field("metadata.name")], "{arguments:?}");
    }
    // As it was written before the chart did it, and by hand.
    let before = "extraEnv[0].name=NODE_NAME,extraEnv[0].valueFrom.fieldRef.fieldPath=spec.nodeName";
    assert_eq!(sources(&["--set", before], "NODE_NAME"), [field("spec.nodeName")]);
    assert_eq!(sources(&["--set=env.POD_NAME=mine"], "POD_NAME"), [json!("mine")]);
    // What is in both is there once: the values' own env has an empty AWS_CLUSTER_ID.
    let id = "extraEnv[0].name=AWS_CLUSTER_ID,extraEnv[0].valueFrom.configMapKeyRef.name=cluster";
    assert_eq!(sources(&["--set", id], "AWS_CLUSTER_ID"), [json!({"configMapKeyRef": {"name": "cluster"}})]);
}

/// The chart cannot see what is behind valueFrom, and reads nothing there: ports, rights and volumes would not follow.
#[test]
#[ignore = "needs helm: run .ci/run"]
fn what_the_chart_depends_on_is_refused_where_it_does_not_look() {
    let helm = Helm::required();
    let templates = std::fs::read_dir(repository().join(CHART).join("templates")).unwrap();
    let texts: Vec<String> = templates
        .map(|file| file.unwrap().path())
        .filter(|path| !path.ends_with("NOTES.txt"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let mut read = BTreeSet::new();
    for text in &texts {
        for start in ["(list . \"", "(list $ \""] {
            let names = text.split(start).skip(1).filter_map(|rest| rest.split('"').next());
            read.extend(names.filter(|name| *name != "NAME").map(str::to_owned));
        }
    }
    assert!(read.len() >= 12, "{read:?}");
    for name in read {
        let said = helm.template(&[&format!("--set=extraEnv[0].name={name},extraEnv[0].value=1")]).expect_err(&name);
        assert!(
            said.contains(&format!("set env.{name} instead")) || said.contains("remove it from env"),
            "{name}: {said}"
        );
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_grace_is_one_setting() {
    let helm = Helm::required();
    for (values, seconds) in [("replicas=1", 30), ("terminationGracePeriodSeconds=600", 600), ("shards=2", 30)] {
        let objects = helm.objects(&["--set", values]);
        let owner = objects.iter().find(|object| object["spec"]["template"].is_object()).unwrap();
        let pod = &owner["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], seconds, "{values}");
        let told = variable(&pod["containers"][0], "TERMINATION_GRACE_PERIOD");
        assert_eq!(told, Some(format!("{seconds}s").as_str()), "{values}");
    }
    let twice = "--set=extraEnv[0].name=TERMINATION_GRACE_PERIOD,extraEnv[0].value=9s";
    assert!(helm.template(&[twice]).unwrap_err().contains("remove it from env and extraEnv"));
}

/// Values files as they stand in public, shortened.
#[test]
#[ignore = "needs helm: run .ci/run"]
fn values_files_as_people_have_them() {
    let helm = Helm::required();
    let file = |name: &str| format!("--values=crates/cni-metrics-helper/tests/data/chart/{name}-values.yaml");
    // Without an image: refused, because the notes that would say so are shown by helm only.
    let blueprints = file("blueprints");
    let said = helm.template_without_image(&[&blueprints]).unwrap_err();
    let image =
        format!("602401143452.dkr.ecr.eu-west-1.amazonaws.com/cni-metrics-helper:v{}", env!("CARGO_PKG_VERSION"));
    for part in [image.as_str(), "does not exist", "set image.override"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // With it, as documented, everything else is as it was given.
    let objects = helm.objects(&[&blueprints]);
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(variable(&pod["containers"][0], "AWS_CLUSTER_ID"), Some("clinic"));
    assert_eq!(pod["containers"][0]["image"], "registry.example.com/cni-metrics-helper:v0.1.0");
    assert_eq!(pod["serviceAccountName"], "cni-metrics-helper");

    // A release of the original.
    let tagged = file("original-tag");
    let said = helm.template_without_image(&[&tagged]).unwrap_err();
    for part in ["image.tag v1.12.1", "is the upstream Go helper, not this program", "set image.override"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    helm.template(&[&tagged]).unwrap();

    // A PodMonitor and a service account of one's own, another release and namespace.
    let own = file("own-podmonitor");
    for namespace in ["kube-system", "monitoring"] {
        let in_namespace = format!("--namespace={namespace}");
        let rendered = helm.run(["template", "cni-metrics-helper-1623114961", CHART, &in_namespace, &own]).unwrap();
        let objects = parsed(&rendered);
        assert!(objects.iter().all(|object| object["kind"] != "ServiceAccount" && object["kind"] != "PodMonitor"));
        let template = &only(&objects, "Deployment")["spec"]["template"];
        assert_eq!(template["metadata"]["labels"]["k8s-app"], "cni-metrics-helper");
        let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
        let metrics = ports.iter().find(|port| port["name"] == "metrics").unwrap();
        assert_eq!(metrics["containerPort"], 61681);
        let bindings = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding"));
        let account = json!([{"kind": "ServiceAccount", "name": "cni-metrics-helper", "namespace": namespace}]);
        assert_eq!(bindings.inspect(|binding| assert_eq!(binding["subjects"], account)).count(), 2);
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn ports_follow_the_addresses() {
    let helm = Helm::required();
    let moved = "--set=env.USE_PROMETHEUS=YES,env.PROMETHEUS_ADDRESS=[::]:9000,env.ADMIN_ADDRESS=0.0.0.0:9001";
    let objects = helm.objects(&[moved]);
    let container = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let ports: Vec<i64> =
        container["ports"].as_array().unwrap().iter().map(|port| port["containerPort"].as_i64().unwrap()).collect();
    assert_eq!(ports, [9001, 9000]);
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn without_the_admin_listener_nothing_refers_to_it() {
    let helm = Helm::required();
    for off in ["off", "OFF", ""] {
        let off = format!("--set-string=env.ADMIN_ADDRESS={off}");
        let objects = helm.objects(&[&off, "--set=networkPolicy.enabled=true"]);
        let container = &only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        for field in ["ports", "livenessProbe", "readinessProbe"] {
            assert!(container[field].is_null(), "{field} with {off}");
        }
        assert_eq!(only(&objects, "NetworkPolicy")["spec"]["ingress"], json!([]));
    }
    let said = helm.template(&["--set=env.ADMIN_ADDRESS=off,podMonitor.enabled=true"]).unwrap_err();
    assert!(said.contains("podMonitor.enabled needs something to scrape"), "{said}");
}

#[test]
fn the_chart_is_of_this_programs_version() {
    let chart = std::fs::read_to_string(repository().join(CHART).join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&chart).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

/// The only object of a kind.
fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind} in {objects:#?}");
    found[0]
}

/// The README is what people read before they have the values.
#[test]
fn the_readme_lists_every_value_with_its_default() {
    fn leaves(at: &str, value: &Value, all: &mut Vec<(String, String)>) {
        match value.as_object().filter(|fields| !fields.is_empty()) {
            Some(fields) => fields.iter().for_each(|(key, value)| {
                leaves(&if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, value, all);
            }),
            None => all.push((at.to_owned(), value.to_string())),
        }
    }
    let read = |name: &str| std::fs::read_to_string(repository().join(CHART).join(name)).unwrap();
    let mut values = Vec::new();
    leaves("", &serde_saphyr::from_str(&read("values.yaml")).unwrap(), &mut values);
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut listed: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let name = cells[0].split('`').next().unwrap();
            (name.to_owned(), cells[1].trim().trim_matches('`').to_owned())
        })
        .collect();
    values.sort();
    listed.sort();
    assert!(values.len() > 50);
    assert_eq!(listed, values);
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn two_replicas_are_spread_over_nodes_and_zones() {
    let helm = Helm::required();
    let spread = |arguments: &[&str]| {
        let objects = helm.objects(arguments);
        only(&objects, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"].clone()
    };
    let two = spread(&["--set=replicas=2"]);
    let constraint = |key: &str| {
        // A cluster of one node can run both.
        json!({
            "topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"k8s-app": "cni-metrics-helper"}},
        })
    };
    assert_eq!(two, json!([constraint("kubernetes.io/hostname"), constraint("topology.kubernetes.io/zone")]));
    assert!(spread(&[]).is_null(), "one pod has nothing to be spread from");
    let own = r#"--set-json=topologySpreadConstraints=[{"maxSkew":2,"topologyKey":"rack","whenUnsatisfiable":"DoNotSchedule"}]"#;
    assert_eq!(spread(&["--set=replicas=2", own]).as_array().unwrap().len(), 1);
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn a_label_cluster_of_the_helpers_pages_is_not_renamed_by_the_operator() {
    let helm = Helm::required();
    let objects = helm.objects(&["--set=podMonitor.enabled=true,env.USE_PROMETHEUS=true"]);
    let endpoints = only(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 2);
    assert!(endpoints.iter().all(|endpoint| endpoint["honorLabels"] == true), "{endpoints:?}");
}
