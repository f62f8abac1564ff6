//! What `generate` writes: the same bytes for the same flags, equal to the chart, understood by the tools it is for,
//! and about metrics that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use cni_generate::{self, GenerateArgs};
use cni_types::catalogue::{Kind, Metric};
use serde_json::Value;

use crate::helm::{CHART, Helm, parsed, repository};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    generate: GenerateArgs,
}

pub(crate) fn try_generate(arguments: &str) -> Result<String, String> {
    let words = std::iter::once("generate").chain(arguments.split_whitespace());
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    cni_generate::run(cli.generate, &mut out, &mut std::io::sink()).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

pub(crate) fn generate(arguments: &str) -> String {
    try_generate(arguments).unwrap_or_else(|said| panic!("generate {arguments}: {said}"))
}

pub(crate) fn json(arguments: &str) -> Value {
    serde_json::from_str(&generate(arguments)).unwrap()
}

pub(crate) const FOR_ORDERS: &str = "--cluster-id orders --region eu-west-1";

#[test]
fn outputs_are_as_reviewed() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../data/generate/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    let irsa = "--account-id 111122223333 --oidc-provider https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE";
    for (name, arguments) in [
        ("iam-policy.json", "iam-policy".to_owned()),
        ("iam-policy-with-tags.json", "iam-policy --with-tags".to_owned()),
        ("iam-policy.md", "iam-policy --with-tags --explain".to_owned()),
        ("trust-pod-identity.json", format!("iam-policy --trust pod-identity {FOR_ORDERS}")),
        ("trust-irsa.json", format!("iam-policy --trust irsa {irsa} {FOR_ORDERS}")),
        ("trust-irsa-gov.json", format!("iam-policy --trust irsa {irsa} --partition aws-us-gov")),
        ("commands-pod-identity.sh", format!("iam-policy --commands {FOR_ORDERS}")),
        ("commands-irsa.sh", format!("iam-policy --commands --trust irsa {FOR_ORDERS}")),
        ("cloudwatch-dashboard.json", format!("cloudwatch-dashboard {FOR_ORDERS}")),
        (
            "cloudwatch-alarms.json",
            format!("cloudwatch-alarms {FOR_ORDERS} --topic-arn arn:aws:sns:eu-west-1:111122223333:ops"),
        ),
        ("cloudwatch-alarms.cloudformation.json", format!("cloudwatch-alarms {FOR_ORDERS} --format cloudformation")),
        ("cloudwatch-dashboard-shards.json", format!("cloudwatch-dashboard --shards 3 {FOR_ORDERS}")),
        ("cloudwatch-alarms-shards.json", format!("cloudwatch-alarms --shards 3 {FOR_ORDERS}")),
        ("grafana-dashboard.json", "grafana-dashboard".to_owned()),
        ("grafana-dashboard-aws-node.json", "grafana-dashboard --for aws-node".to_owned()),
        ("prometheusrule.yaml", "prometheus-rules".to_owned()),
        ("prometheus-rules.yaml", "prometheus-rules --format rules-file".to_owned()),
    ] {
        insta::assert_snapshot!(name, generate(&arguments));
    }
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn the_manifests_template_is_the_charts_rendering_of_today() {
    let helm = Helm::required();
    let rendered = helm.run([
        "template",
        "cni-metrics-helper",
        CHART,
        "--namespace=xx-namespace-xx",
        "--set=image.override=xx-image-xx",
        "--set=env.AWS_CLUSTER_ID=xx-cluster-id-xx",
        "--set=env.AWS_REGION=xx-region-0",
        "--set=env.INSIGHT=cluster",
        r"--set=serviceAccount.annotations.eks\.amazonaws\.com/role-arn=xx-role-arn-xx",
    ]);
    let template = include_str!("../../../cni-generate/src/manifest.yaml");
    assert_eq!(template, rendered.unwrap(), "deploy/manifest/render.sh renews it");
}

#[test]
#[ignore = "needs helm: run .ci/run"]
fn a_manifest_is_equal_to_the_charts_rendering() {
    let helm = Helm::required();
    let role =
        r"--set=serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws-us-gov:iam::111122223333:role/a/helper";
    let image = "--image registry.example.com/cni-metrics-helper:v0.1.0";
    let cases: [(String, &[&str]); 6] = [
        (format!("manifest {image}"), &[]),
        (format!("manifest --insight cluster {image}"), &["--set=env.INSIGHT=cluster"]),
        (format!("manifest --cluster-id a\"b\\c {image}"), &[r#"--set-string=env.AWS_CLUSTER_ID=a"b\\c"#]),
        (
            "manifest --region cn-north-1 --account 111122223333".to_owned(),
            &[
                "--set=image.region=cn-north-1,image.domain=amazonaws.com.cn,env.AWS_REGION=cn-north-1",
                "--set-string=image.override=,image.account=111122223333",
            ],
        ),
        (
            format!(
                "manifest --region us-gov-west-1 --role-arn arn:aws-us-gov:iam::111122223333:role/a/helper {image}"
            ),
            &["--set=env.AWS_REGION=us-gov-west-1", role],
        ),
        (
            "manifest --namespace monitoring --image registry.example.com/helper@sha256:0000".to_owned(),
            &["--namespace=monitoring", "--set=image.override=registry.example.com/helper@sha256:0000"],
        ),
    ];
    for (arguments, values) in cases {
        assert_eq!(parsed(&generate(&arguments)), helm.objects(values), "{arguments}");
    }
}

/// The image of a manifest's one container.
fn image(manifest: &str) -> &str {
    let (_, rest) = manifest.split_once(" image: \"").unwrap();
    rest.split_once('"').unwrap().0
}

#[test]
fn a_manifest_without_an_image_has_a_placeholder_that_is_none_and_says_so_in_one_line() {
    let made = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"))
            .args(["generate", "manifest"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [&[][..], &["--region", "cn-north-1"]] {
        let (manifest, said) = made(arguments);
        let image = image(&manifest);
        assert!(said.starts_with(image) && said.contains("--image or --account"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(manifest.lines().next().unwrap(), format!("# NOTE: {}", said.trim_end()));
        // The characters of references to images, by the OCI's distribution specification; '<' is none of them.
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
        assert!(!image.chars().all(is_allowed) && !image.contains("amazonaws"), "{image}");
        let refused = try_generate(&format!("manifest --image {image}")).unwrap_err();
        assert!(refused.contains("an image such as registry/name:tag"), "{refused}");
    }
    for arguments in [&["--image", "registry.example.com/helper:v1"][..], &["--account", "111122223333"]] {
        let (manifest, said) = made(arguments);
        assert_eq!((manifest.lines().next(), said.as_str()), (Some("---"), ""));
    }
}

#[test]
fn the_manifests_in_the_repository_are_of_today() {
    let folder = repository().join("deploy/manifest");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("cni-metrics-helper.yaml"), generate("manifest"), "deploy/manifest/render.sh renews it");
    for region in ["cn-north-1", "cn-northwest-1", "us-gov-east-1", "us-gov-west-1"] {
        let name = format!("cni-metrics-helper-{region}.yaml");
        assert_eq!(
            read(&name),
            generate(&format!("manifest --region {region}")),
            "deploy/manifest/render.sh renews it"
        );
    }
}

#[test]
fn a_directory_gets_every_file_and_the_output_their_paths() {
    let dir = cni_testkit::temporary_folder();
    let path = dir.path().join("made/here");
    let arguments = format!("cloudwatch-alarms {FOR_ORDERS} --output-dir {}", path.display());
    let expected: Vec<PathBuf> =
        ["cloudwatch-alarms.json", "cloudwatch-alarms.cloudformation.json"].map(|name| path.join(name)).into();
    let listed: Vec<PathBuf> = generate(&arguments).lines().map(PathBuf::from).collect();
    assert_eq!(listed, expected);
    assert_eq!(std::fs::read_to_string(&expected[0]).unwrap(), generate(&format!("cloudwatch-alarms {FOR_ORDERS}")));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (arguments, message) in [
        ("cloudwatch-dashboard --region eu-west-1", "--cluster-id is needed"),
        ("cloudwatch-dashboard --cluster-id orders", "--region is needed"),
        ("cloudwatch-alarms", "--cluster-id is needed"),
        (
            "cloudwatch-alarms --cluster-id c --topic-arn arn:aws-cn:sns:x",
            "--topic-arn \"arn:aws-cn:sns:x\": must be arn:",
        ),
        (
            "cloudwatch-alarms --cluster-id c --region eu-west-1 --topic-arn arn:aws:sns:eu-west-2:111122223333:ops",
            "an alarm tells topics of its own region only",
        ),
        ("grafana-dashboard --cluster-id orders", "--cluster-id has no meaning for a Grafana dashboard"),
        ("prometheus-rules --label release", "must be KEY=VALUE"),
        ("prometheus-rules --label x_=y", "the key must be"),
        ("prometheus-rules --label release=a_", "the value must be"),
        ("prometheus-rules --label a=b --label a=c", "the label a is there already"),
        ("prometheus-rules --label k8s-app=other", "the label k8s-app is there already"),
        ("prometheus-rules --format rules-file --label a=b", "--label is for the PrometheusRule object"),
        ("cloudwatch-alarms --cluster-id c --full-percent 101", "101"),
        ("cloudwatch-alarms --cluster-id c --shards 6", "an alarm reads at most 10 metrics"),
        ("cloudwatch-alarms --cluster-id c --shards 0", "--shards"),
        ("cloudwatch-dashboard --region eu-west-1 --cluster-id o'x --shards 2", "quotes and backslashes"),
        ("iam-policy --trust irsa", "--trust irsa needs --account-id and --oidc-provider"),
        ("iam-policy --commands --region eu-west-1 --cluster-id $(id)", "--cluster-id"),
        ("iam-policy --service-account $(id)", "--service-account"),
        ("iam-policy --oidc-audience $(id)", "--oidc-audience"),
        ("manifest --region mars", "--region"),
        ("manifest --region eu-west-1 --partition aws-cn", "--partition aws-cn does not hold the region"),
        ("manifest --namespace Kube", "--namespace"),
        ("manifest --account 1", "--account"),
        ("manifest --account 602401143452", "AWS's registry 602401143452 holds the upstream helper"),
        (
            "manifest --image 918309763551.dkr.ecr.cn-north-1.amazonaws.com.cn/cni-metrics-helper:v1.20.1",
            "AWS's registry 918309763551 holds the upstream helper",
        ),
        ("prometheus-rules --docs-url wiki", "--docs-url \"wiki\": must be the http(s) URL of a folder"),
        ("cloudwatch-alarms --cluster-id c --docs-url https://wiki#x", "--docs-url"),
        ("cloudwatch-alarms --cluster-id c --refused-minutes 11", "11"),
        ("manifest --role-arn arn:aws-cn:iam::111122223333:role/x", "--role-arn"),
        ("manifest --image a:b --account 111122223333", "cannot be used with"),
    ] {
        let said = try_generate(arguments).expect_err(arguments);
        assert!(said.contains(message), "{arguments}: {said}");
    }
}

#[test]
fn a_cloudwatch_namespace_is_checked_as_the_program_checks_it() {
    for what in ["iam-policy", "cloudwatch-alarms", "cloudwatch-dashboard"] {
        for wrong in [":x", "AWS/EC2", "a\"b", &"x".repeat(256)] {
            let said = try_generate(&format!("{what} {FOR_ORDERS} --cloudwatch-namespace {wrong}")).expect_err(wrong);
            assert!(said.contains("--cloudwatch-namespace") && said.contains("not beginning with"), "{what}: {said}");
        }
        let made = generate(&format!("{what} {FOR_ORDERS} --cloudwatch-namespace Team/a.b-c_d#1:x"));
        assert!(made.contains("\"Team/a.b-c_d#1:x\""), "{what}: {made}");
    }
}

#[test]
fn the_commands_are_a_script_that_bash_can_read() {
    for arguments in ["iam-policy --commands", "iam-policy --commands --trust irsa --with-tags"] {
        let script = generate(&format!("{arguments} {FOR_ORDERS}"));
        let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut bash.stdin.take().unwrap(), script.as_bytes()).unwrap();
        let output = bash.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_commands_for_china_name_its_partition_and_the_clusters_own_issuer() {
    let script = generate("iam-policy --commands --trust irsa --cluster-id clinic --region cn-north-1");
    assert!(!script.contains("arn:aws:"), "{script}");
    // The role's, the policy's and the issuer's.
    assert_eq!(script.matches("\"arn:aws-cn:iam::$ACCOUNT_ID:").count(), 3);
    assert_eq!(script.matches("arn:").count(), 3);
    for part in [
        "ISSUER=$(aws eks describe-cluster --region \"$REGION\" --name \"$CLUSTER\" --query cluster.identity.oidc.issuer",
        "--client-id-list sts.amazonaws.com\n",
        "--service-account \"$SERVICE_ACCOUNT\" --account-id \"$ACCOUNT_ID\" --oidc-provider \"$ISSUER\"",
    ] {
        assert!(script.contains(part), "{part}: {script}");
    }
    // What the script's own call makes of it.
    let issuer = "oidc.eks.cn-north-1.amazonaws.com.cn/id/EXAMPLE";
    let trust = json(&format!(
        "iam-policy --trust irsa --region cn-north-1 --account-id 111122223333 --oidc-provider {issuer}"
    ));
    let statement = &trust["Statement"][0];
    assert_eq!(statement["Principal"]["Federated"], format!("arn:aws-cn:iam::111122223333:oidc-provider/{issuer}"));
    let conditions = serde_json::json!({"StringEquals": {
        format!("{issuer}:aud"): "sts.amazonaws.com",
        format!("{issuer}:sub"): "system:serviceaccount:kube-system:cni-metrics-helper",
    }});
    assert_eq!(statement["Condition"], conditions);
}

/// Every `[namespace, name, "CLUSTER_ID", id, {stat}]` of a dashboard and `Metric`/`Stat` of an alarm.
fn cloudwatch_uses(value: &Value, uses: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) if items.get(2).is_some_and(|item| item == "CLUSTER_ID") => {
            uses.push((text(&items[1]), text(&items[4]["stat"])));
        }
        Value::Array(items) => items.iter().for_each(|item| cloudwatch_uses(item, uses)),
        Value::Object(fields) if fields.contains_key("Stat") => {
            uses.push((text(&fields["Metric"]["MetricName"]), text(&fields["Stat"])));
        }
        Value::Object(fields) => fields.values().for_each(|field| cloudwatch_uses(field, uses)),
        _ => {}
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn cloudwatch_names_exist_and_no_gauge_is_summed() {
    let mut uses = Vec::new();
    cloudwatch_uses(&json(&format!("cloudwatch-dashboard {FOR_ORDERS}")), &mut uses);
    let on_dashboard = uses.len();
    cloudwatch_uses(&json(&format!("cloudwatch-alarms {FOR_ORDERS} --eni-percent 95")), &mut uses);
    assert!(on_dashboard > 20 && uses.len() > on_dashboard + 8, "{} and {}", on_dashboard, uses.len());
    for (name, statistic) in uses {
        let metric = Metric::by_name(&name).unwrap_or_else(|| panic!("{name} is not published"));
        let allowed: &[&str] = match metric.kind() {
            Kind::Counter => &["Sum"],
            Kind::Latency => &["Maximum"],
            Kind::SumGauge => &["Average"],
            Kind::Own => &["Average", "SampleCount"],
        };
        assert!(allowed.contains(&statistic.as_str()), "{statistic} of {name}");
    }
}

#[test]
fn an_alarm_over_shards_is_within_cloudwatchs_limits_and_adds_every_shard_once() {
    let (whole, parts) =
        (format!("cloudwatch-alarms {FOR_ORDERS}"), format!("cloudwatch-alarms --shards 5 {FOR_ORDERS}"));
    let (whole, parts) = (json(&whole), json(&parts));
    let alarms = parts.as_array().unwrap();
    assert_eq!(alarms.len(), whole.as_array().unwrap().len() + 4, "silence is told of each shard");
    let mut most_read = 0;
    for alarm in alarms {
        let queries = alarm["Metrics"].as_array().unwrap();
        let read: Vec<&Value> = queries.iter().filter(|query| query["MetricStat"].is_object()).collect();
        let expressions: String = queries.iter().filter_map(|query| query["Expression"].as_str()).collect();
        assert!(read.len() <= 10 && queries.len() <= 20, "{alarm}");
        assert_eq!(queries.iter().filter(|query| query["ReturnData"] == true).count(), 1, "{alarm}");
        most_read = most_read.max(read.len());
        let silence = text(&alarm["AlarmName"]).contains("silent");
        for query in read {
            let used = expressions.matches(&text(&query["Id"])).count();
            assert_eq!(used, usize::from(!silence), "{query} in {alarm}");
            let shard = &query["MetricStat"]["Metric"]["Dimensions"][1];
            assert!(shard["Name"] == "SHARD" && text(&shard["Value"]).ends_with("/5"), "{shard}");
        }
    }
    assert_eq!(most_read, 10);
}

#[test]
fn a_dashboard_of_shards_folds_every_figure_by_its_kind() {
    let board = generate(&format!("cloudwatch-dashboard --shards 3 {FOR_ORDERS}"));
    let searches: Vec<&str> = board.split("SEARCH(").skip(1).collect();
    assert!(searches.len() > 20);
    let mut named = BTreeSet::new();
    for search in &searches {
        let (_, rest) = search.split_once(r#"MetricName=\""#).unwrap();
        let (name, rest) = rest.split_once(r#"\""#).unwrap();
        let metric = Metric::by_name(name).unwrap_or_else(|| panic!("{name} is not published"));
        let statistic = match metric.kind() {
            Kind::Counter => "'Sum', 60)",
            Kind::Latency => "'Maximum', 60)",
            Kind::SumGauge | Kind::Own => "'Average', 60)",
        };
        assert!(rest.contains(statistic), "{search}");
        named.insert(name);
    }
    let whole = generate(&format!("cloudwatch-dashboard {FOR_ORDERS}"));
    let missing = named.iter().filter(|name| !whole.contains(&format!("\"{name}\""))).count();
    assert_eq!((missing, named.len() > 18), (0, true), "{named:?}");
    assert_eq!(board.matches("MAX(SEARCH(").count(), 1, "latency is the slowest");
    assert!(!board.contains(r#""stat": "Sum""#), "an expression has no statistic of its own");
}

#[test]
fn widgets_do_not_overlap_and_ids_are_not_reused() {
    let cloudwatch = json(&format!("cloudwatch-dashboard {FOR_ORDERS}"));
    no_overlap(cloudwatch["widgets"].as_array().unwrap().iter().map(|widget| rectangle(widget, "width", "height")));
    for arguments in ["grafana-dashboard", "grafana-dashboard --for aws-node"] {
        let board = json(arguments);
        let panels = board["panels"].as_array().unwrap();
        no_overlap(panels.iter().map(|panel| rectangle(&panel["gridPos"], "w", "h")));
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len());
    }
}

fn rectangle(value: &Value, width: &str, height: &str) -> [u64; 4] {
    ["x", "y", width, height].map(|field| value[field].as_u64().unwrap())
}

fn no_overlap(rectangles: impl Iterator<Item = [u64; 4]>) {
    let mut cells = BTreeSet::new();
    for [x, y, width, height] in rectangles {
        assert!(x + width <= 24);
        for cell in (x..x + width).flat_map(|column| (y..y + height).map(move |row| (column, row))) {
            assert!(cells.insert(cell), "two panels at {cell:?}");
        }
    }
}

/// Whether promtool is content, and what it says.
pub(crate) fn promtool(arguments: &[&str], dir: &Path) -> (bool, String) {
    let promtool = cni_testkit::needs::program("promtool", "Debian has it in the package prometheus");
    let output = Command::new(promtool).args(arguments).current_dir(dir).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn rule_tests(flags: &str) -> (bool, String) {
    let dir = cni_testkit::temporary_folder();
    let rules = generate(&format!("prometheus-rules --format rules-file {flags}"));
    std::fs::write(dir.path().join("prometheus-rules.yaml"), rules).unwrap();
    let cases = include_str!("../data/generate/prometheus-rules.test.yaml");
    std::fs::write(dir.path().join("cases.yaml"), cases).unwrap();
    let (sound, said) = promtool(&["check", "rules", "prometheus-rules.yaml"], dir.path());
    assert!(sound, "{said}");
    promtool(&["test", "rules", "cases.yaml"], dir.path())
}

#[test]
#[ignore = "needs promtool: run .ci/run"]
fn alerts_fire_when_they_must_and_stay_quiet_otherwise() {
    let (passed, said) = rule_tests("");
    assert!(passed, "{said}");
}

#[test]
#[ignore = "needs promtool: run .ci/run"]
fn each_threshold_moves_its_alert() {
    for flags in [
        "--refused-minutes 9",
        "--refusing-percent 21",
        "--refusing-nodes 5",
        "--full-percent 86",
        "--full-nodes-percent 45",
        "--eni-percent 90",
        "--ec2-errors 40",
        "--coverage-percent 97",
        "--silent-minutes 20",
    ] {
        let (passed, _) = rule_tests(flags);
        assert!(!passed, "{flags} changes nothing that the cases look at");
    }
}

/// An alert on the age of something waits as long as the age says: with a `for` it would wait twice.
#[test]
fn no_alert_waits_twice() {
    for minutes in [5, 20] {
        let rules = generate(&format!("prometheus-rules --format rules-file --silent-minutes {minutes}"));
        let rules: Value = serde_saphyr::from_str(&rules).unwrap();
        let alerts = rules["groups"][1]["rules"].as_array().unwrap();
        let (aged, others): (Vec<&Value>, Vec<&Value>) =
            alerts.iter().partition(|alert| text(&alert["expr"]).contains("time()"));
        assert_eq!(aged.len(), 1, "{aged:?}");
        assert!(text(&aged[0]["expr"]).ends_with(&format!(" > {}", minutes * 60)), "{aged:?}");
        assert!(aged[0]["for"].is_null(), "{aged:?}");
        let missing = others.iter().find(|alert| alert["alert"] == "VpcCniHelperMissing").unwrap();
        assert_eq!(missing["for"], format!("{minutes}m"));
        // The alarm in CloudWatch goes off after as long.
        let alarms = json(&format!("cloudwatch-alarms {FOR_ORDERS} --silent-minutes {minutes}"));
        let silent =
            alarms.as_array().unwrap().iter().find(|alarm| text(&alarm["AlarmName"]).contains("silent")).unwrap();
        let period = silent["Metrics"][0]["MetricStat"]["Period"].as_u64().unwrap();
        assert_eq!(silent["DatapointsToAlarm"].as_u64().unwrap() * period, minutes * 60, "{silent}");
    }
}

#[test]
#[ignore = "needs promtool: run .ci/run"]
fn every_query_on_a_grafana_board_is_promql() {
    for arguments in ["grafana-dashboard", "grafana-dashboard --for aws-node"] {
        let board = json(arguments);
        let targets = board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let queries = targets.map(|target| text(&target["expr"]).replace("$__rate_interval", "2m"));
        let rules: Vec<Value> = queries
            .enumerate()
            .map(|(number, query)| serde_json::json!({"record": format!("query:{number}"), "expr": query}))
            .collect();
        assert!(rules.len() > 15);
        let dir = cni_testkit::temporary_folder();
        let groups = serde_json::json!({"groups": [{"name": "queries", "rules": rules}]});
        std::fs::write(dir.path().join("queries.yaml"), groups.to_string()).unwrap();
        let (sound, said) = promtool(&["check", "rules", "queries.yaml"], dir.path());
        assert!(sound, "{arguments}: {said}");
    }
}

#[test]
fn the_operators_object_holds_the_rules_file() {
    let file: Value = serde_saphyr::from_str(&generate("prometheus-rules --format rules-file")).unwrap();
    let object: Value = serde_saphyr::from_str(&generate("prometheus-rules --namespace monitoring")).unwrap();
    assert_eq!(object["spec"], file);
    assert_eq!(object["metadata"]["namespace"], "monitoring");
}

#[test]
fn labels_for_the_operators_selector_are_the_objects() {
    let labels = "--label release=kube-prometheus-stack --label example.com/team=net";
    let object: Value = serde_saphyr::from_str(&generate(&format!("prometheus-rules {labels}"))).unwrap();
    let plain: Value = serde_saphyr::from_str(&generate("prometheus-rules")).unwrap();
    assert_eq!(
        object["metadata"]["labels"],
        serde_json::json!({
            "app.kubernetes.io/name": "cni-metrics-helper", "k8s-app": "cni-metrics-helper",
            "release": "kube-prometheus-stack", "example.com/team": "net",
        })
    );
    assert_eq!(object["spec"], plain["spec"], "the alerts are the same");
}

#[test]
#[ignore = "needs promtool: run .ci/run"]
fn a_clusters_name_is_on_every_alert_as_it_is() {
    let dir = cni_testkit::temporary_folder();
    let mut words = "prometheus-rules --format rules-file".split(' ').collect::<Vec<_>>();
    words.extend(["--cluster-id", "a {{b}} \"c\": #d"]);
    let cli = Cli::try_parse_from(std::iter::once("generate").chain(words)).unwrap();
    let mut rules = Vec::new();
    cni_generate::run(cli.generate, &mut rules, &mut std::io::sink()).unwrap();
    std::fs::write(dir.path().join("rules.yaml"), &rules).unwrap();

    let rules: Value = serde_saphyr::from_str(std::str::from_utf8(&rules).unwrap()).unwrap();
    let alerts: Vec<&Value> = rules["groups"][1]["rules"].as_array().unwrap().iter().collect();
    assert!(alerts.len() >= 8 && alerts.iter().all(|alert| alert["labels"]["cluster"].is_string()), "{alerts:?}");

    let cases = serde_json::json!({"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [{
        "interval": "30s",
        "input_series": [{"series": "up", "values": "1x60"}],
        "alert_rule_test": [{"eval_time": "6m", "alertname": "VpcCniHelperMissing", "exp_alerts": [{
            "exp_labels": {"severity": "warning", "cluster": "a {{b}} \"c\": #d"},
            "exp_annotations": {
                "summary": "The helper, or one of its shards, shows no rounds",
                "description": "No figures arrive: is its pod running and ready, and does Prometheus scrape port 61681? \
                                More: cni-metrics-helper explain VpcCniHelperMissing",
            },
        }]}],
    }]});
    std::fs::write(dir.path().join("cases.yaml"), cases.to_string()).unwrap();
    let (passed, said) = promtool(&["test", "rules", "cases.yaml"], dir.path());
    assert!(passed, "{said}");
}
