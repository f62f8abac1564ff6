//! Region, cluster id and credentials against simulated IMDS, STS, Pod Identity, EC2 and CloudWatch services.
//!
//! The environment belongs to the whole process, so each case runs in a process of its own: the function `probe`,
//! with exactly the variables of the case.

mod probe;
mod services;

use std::time::Duration;

use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::imds::Mode;
use cni_testkit::wait;

use probe::{Probe, Report};
use services::Services;

/// Metadata that does not answer has cost its four tries of two seconds by then, on a busy machine too.
const METADATA_SECONDS: f64 = 25.0;

/// Nothing that is waited for takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(1);

fn tagged(tags: &[(&str, &str)]) -> impl FnOnce(&mut cni_sim::aws::identity::Identity) {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    move |identity| identity.tags = tags
}

fn found(report: &Report, key: &str) -> (String, String) {
    (report.text(&format!("{key}.value")), report.text(&format!("{key}.source")))
}

#[test(flavor = "multi_thread")]
async fn without_any_setting_region_and_id_come_from_metadata_and_credentials_from_the_node_role() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("Name", "node-7"), ("eks:cluster-name", "prod")]));
    let report = Probe::new().imds(&services).cloudwatch(&services).put(1).run().await;
    assert_eq!(found(&report, "region"), ("eu-central-1".to_owned(), "instance metadata".to_owned()));
    let (id, source) = found(&report, "cluster_id");
    assert_eq!((id.as_str(), source.as_str()), ("prod", "instance tag eks:cluster-name through metadata"));
    assert!(report.text("credentials").starts_with("node role"));
    assert_eq!(report.text("put"), "ok");
    let requests = services.cloudwatch.store().requests();
    assert!(requests[0].access_key_id.starts_with("ASIASIM"), "{requests:?}");
    let lines = report.lines_with("identity: region");
    assert_eq!(lines.len(), 1, "one line at start says it all");
    assert!(lines[0].contains("CLUSTER_ID prod (from instance tag") && lines[0].contains("credentials node role"));
}

#[test(flavor = "multi_thread")]
async fn with_irsa_the_id_still_comes_from_metadata_and_the_token_is_exchanged() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("CLUSTER_ID", "from-tag")]));
    let report = Probe::new().imds(&services).irsa(&services, "token-1").cloudwatch(&services).put(1).run().await;
    assert_eq!(found(&report, "cluster_id").0, "from-tag");
    assert!(report.text("credentials").starts_with("web identity"));
    assert_eq!(report.text("put"), "ok");
    let calls = services.sts.calls();
    assert_eq!((calls.len(), calls[0].token.as_str()), (1, "token-1"));
    assert_eq!(Some(services.cloudwatch.store().requests()[0].access_key_id.clone()), calls[0].issued);
}

/// Cases side by side: each waits for something that does not come.
async fn side_by_side<T>(cases: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures::future::join_all(cases).await
}

#[test(flavor = "multi_thread")]
async fn silent_metadata_costs_four_tries_and_the_label_is_used_where_ec2_denies_the_tags() {
    let modes = [Mode::Blackhole, Mode::HopLimited, Mode::Refused, Mode::ServerError];
    side_by_side(modes.map(|mode| async move {
        let services = Services::start().await;
        services.imds.set_mode(mode);
        services.ec2.faults().set(vec![FaultRule::always(Fault::AccessDenied)]);
        let probe = Probe::new().imds(&services).irsa(&services, "token").ec2(&services).set("AWS_REGION", "eu-west-1");
        let probe = probe.set("HINT_INSTANCE", "i-0123456789abcdef0").set("HINT_EKSCTL", "prod");
        let report = probe.set("HINT_AWS_NODE", "from-agent").run().await;
        let expected = ("prod".to_owned(), "node label alpha.eksctl.io/cluster-name".to_owned());
        assert_eq!(found(&report, "cluster_id"), expected, "{mode:?}");
        assert!(report.seconds() < METADATA_SECONDS, "{mode:?}: {}", report.seconds());
        let tries = services.imds.requests().len();
        assert!(mode == Mode::Refused || tries >= 4, "{mode:?}: {tries} requests");
        let warnings = report.lines_with("WARN");
        let names_it = |line: &&&str| line.contains("did not answer: the instance metadata service");
        assert_eq!(warnings.iter().filter(names_it).count(), 1, "{mode:?}: {warnings:#?}");
        assert!(!warnings.iter().any(|line| line.contains("ec2:DescribeTags (")), "EC2 has answered: {warnings:#?}");
        assert_eq!(report.lines_with("not allowed to call ec2:DescribeTags").len(), 1, "{mode:?}");
        assert!(!services.ec2.requests().is_empty(), "the watched node's instance was asked for");
    }))
    .await;
}

#[test(flavor = "multi_thread")]
async fn eksctls_label_goes_before_the_agents_variable_and_the_default_comes_with_a_warning() {
    let named = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("HINT_AWS_NODE", "b");
    let report = named.set("HINT_EKSCTL", "a").run().await;
    assert_eq!(found(&report, "cluster_id").0, "a");
    let report = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").run().await;
    assert_eq!(found(&report, "cluster_id"), ("k8s-cluster".to_owned(), "the default".to_owned()));
    let warnings = report.lines_with("WARN");
    assert!(warnings.iter().any(|line| line.contains("set AWS_CLUSTER_ID")), "{warnings:?}");
    assert!(!warnings.iter().any(|line| line.contains("no answer from")), "every source has answered: {warnings:?}");
}

#[test(flavor = "multi_thread")]
async fn a_source_that_hangs_discards_nothing_of_what_others_say() {
    // EC2 never answers.
    let hung_ec2 = async {
        let services = Services::start().await;
        services.imds.set_mode(Mode::TagsOff);
        services.ec2.faults().set(vec![FaultRule::always(Fault::Hang)]);
        let probe = Probe::new().imds(&services).ec2(&services).impatient(3_000).set("HINT_AWS_NODE", "hinted");
        let report = probe.run().await;
        assert_eq!(found(&report, "cluster_id").0, "hinted");
        assert_eq!(report.lines_with("did not answer: ec2:DescribeTags (no answer within 5.0 s)").len(), 1);
    };
    // The API server lists pods and not nodes.
    let hung_nodes = async {
        let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("HINT_NODES_SILENT", "1");
        let report = probe.impatient(1_000).set("HINT_AWS_NODE", "from-agent").run().await;
        assert_eq!(found(&report, "cluster_id").0, "from-agent");
        let named = "did not answer: ec2:DescribeTags (not asked: neither";
        assert!(report.lines_with(named).len() == 1 && report.lines_with("alpha.eksctl.io/cluster-name (").len() == 1);
    };
    // One tag hangs, in a service that answers for the others.
    let hung_tag = async {
        let address =
            services::metadata_with_one_path_that_hangs("/latest/meta-data/tags/instance/eks:cluster-name").await;
        let endpoint = format!("http://{address}");
        let probe = Probe::new().set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint).set("HINT_EKSCTL", "prod");
        let report = probe.run().await;
        let expected = ("node-7".to_owned(), "instance tag Name through metadata".to_owned());
        assert_eq!(found(&report, "cluster_id"), expected);
        assert_eq!(report.lines_with("did not answer: the instance metadata service (").len(), 1);
    };
    tokio::join!(hung_ec2, hung_nodes, hung_tag);
}

#[test(flavor = "multi_thread")]
async fn a_source_that_is_slow_to_come_up_is_asked_again_before_the_next_is_used() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("eks:cluster-name", "prod")]));
    services.imds.set_mode(Mode::ServerError);
    let imds = services.imds.clone();
    let running = tokio::spawn(Probe::new().imds(&services).set("HINT_EKSCTL", "label").run());
    wait::until_async("metadata is asked", LIMIT, || !imds.requests().is_empty()).await;
    imds.set_mode(Mode::Normal);
    let report = running.await.unwrap();
    assert_eq!(found(&report, "cluster_id").0, "prod");
    assert_eq!(found(&report, "region").1, "instance metadata");
    assert_eq!(report.lines_with("did not answer"), Vec::<&str>::new());
}

#[test(flavor = "multi_thread")]
async fn an_unusable_name_is_told_with_its_source_and_the_next_source_is_used() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("CLUSTER_ID", &"x".repeat(1025)), ("Name", "prod-m\u{fc}nchen")]));
    services.ec2.faults().set(vec![FaultRule::always(Fault::AccessDenied)]);
    let probe = Probe::new().imds(&services).ec2(&services).set("HINT_EKSCTL", "tab\there\u{1b}[31m,prod");
    let report = probe.run().await;
    assert_eq!(found(&report, "cluster_id").0, "prod");
    let lines = report.lines_with("is not used");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let told = |line: &str, value: &str, source: &str| line.contains(value) && line.contains(source);
    assert!(told(lines[0], "xxx\u{2026}\"", "instance tag CLUSTER_ID through metadata") && lines[0].len() < 700);
    assert!(told(lines[1], "\"prod-m\u{fc}nchen\"", "instance tag Name through metadata"), "{lines:#?}");
    assert!(told(lines[2], r"tab here\u{1b}[31m", "node label alpha.eksctl.io/cluster-name"), "{lines:#?}");
    for line in lines {
        assert!(line.contains("1 to 1024 printable ASCII characters") && !line.contains("AWS_CLUSTER_ID"), "{line}");
    }
}

#[test(flavor = "multi_thread")]
async fn where_the_default_is_refused_nothing_is_published_until_a_source_names_the_cluster() {
    let refusing = || Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("PROBE_REFUSE", "1");
    let never = async {
        let report = refusing().run().await;
        let error = report.text("error");
        assert!(
            error.contains("nothing is published to CloudWatch") && error.contains("every source has answered no"),
            "{error}"
        );
        assert!(report.lines_with("WARN").iter().any(|line| line.contains("CLUSTER_ID_FALLBACK is refuse")));
        assert_eq!(report.lines_with("k8s-cluster"), Vec::<&str>::new());
    };
    // The watches show a name later, which counts at once.
    let later = async {
        let report =
            refusing().set("HINT_LATE", "1").set("HINT_EKSCTL", "prod").until_logged("identity: region").run().await;
        assert_eq!(found(&report, "cluster_id").0, "prod");
    };
    // No source names it: the log goes on saying so.
    let reminded = async {
        let text = "nothing is published to CloudWatch";
        let report = refusing().impatient(200).until_logged(text).set("PROBE_UNTIL_TIMES", "2").run().await;
        let reminders = report.lines_with(text).len();
        assert!(reminders >= 2, "{reminders}");
    };
    tokio::join!(never, later, reminded);
}

#[test(flavor = "multi_thread")]
async fn a_better_answer_that_comes_later_is_told_and_what_is_published_stays() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("eks:cluster-name", "prod")]));
    services.imds.set_mode(Mode::Refused);
    let imds = services.imds.clone();
    let from_metadata = async {
        let probe = Probe::new().imds(&services).set("AWS_REGION", "eu-west-1").set("HINT_EKSCTL", "label");
        let probe = probe.impatient(500).until_logged("restart to adopt it");
        let known = probe.path("PROBE_KNOWN");
        let running = tokio::spawn(probe.set("PROBE_KNOWN", &known.to_string_lossy()).run());
        // Metadata has been asked four times, in vain, when the identity is known; a fifth time finds it well.
        let is_known = || {
            assert!(!running.is_finished(), "it ended before it was known");
            known.exists()
        };
        wait::until_async("the identity is known", LIMIT, is_known).await;
        imds.set_mode(Mode::Normal);
        let report = running.await.unwrap();
        assert_eq!(found(&report, "cluster_id").0, "label");
        let lines = report.lines_with("restart to adopt it");
        let says = "CLUSTER_ID would now be prod (from instance tag eks:cluster-name through metadata)";
        assert!(lines.len() == 1 && lines[0].contains(says) && lines[0].contains("publishing as label"), "{lines:?}");
    };
    let from_a_label = async {
        let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("HINT_EKSCTL", "label");
        let report = probe.set("HINT_LATE", "1").until_logged("restart to adopt it").run().await;
        assert_eq!(found(&report, "cluster_id").0, "k8s-cluster");
        assert_eq!(report.lines_with("CLUSTER_ID would now be label").len(), 1);
    };
    tokio::join!(from_metadata, from_a_label);
}

#[test(flavor = "multi_thread")]
async fn what_is_set_wins_and_metadata_is_not_even_asked() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("eks:cluster-name", "prod")]));
    let set = Probe::new().imds(&services).set("AWS_CLUSTER_ID", "mine").set("AWS_REGION", "us-west-2");
    let report = set.set("AWS_DEFAULT_REGION", "us-east-1").run().await;
    assert_eq!(found(&report, "cluster_id"), ("mine".to_owned(), "AWS_CLUSTER_ID".to_owned()));
    assert_eq!(found(&report, "region"), ("us-west-2".to_owned(), "AWS_REGION".to_owned()));
    assert_eq!(services.imds.requests(), []);
}

#[test(flavor = "multi_thread")]
async fn region_falls_back_to_the_default_variable_then_the_profile() {
    let report = Probe::new().without_imds().set("AWS_DEFAULT_REGION", "us-east-1").run().await;
    assert_eq!(found(&report, "region"), ("us-east-1".to_owned(), "AWS_DEFAULT_REGION".to_owned()));
    let config = "[default]\nregion = eu-north-1\n[profile other]\nregion = sa-east-1\n";
    let report = Probe::new().without_imds().file("AWS_CONFIG_FILE", config).set("AWS_PROFILE", "other").run().await;
    assert_eq!(found(&report, "region"), ("sa-east-1".to_owned(), "shared config profile".to_owned()));
    let keys = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s\n";
    let with_keys = Probe::new().without_imds().file("AWS_CONFIG_FILE", config);
    let report = with_keys.file("AWS_SHARED_CREDENTIALS_FILE", keys).run().await;
    assert!(report.text("credentials").starts_with("profile"));
}

#[test(flavor = "multi_thread")]
async fn no_region_anywhere_is_an_error_that_says_what_to_set() {
    let services = Services::start().await;
    services.imds.set_mode(Mode::Blackhole);
    let silent = Probe::new().imds(&services).impatient(9_000).run();
    let switched_off = Probe::new().without_imds().run();
    let (silent, switched_off) = tokio::join!(silent, switched_off);
    let error = silent.text("error");
    assert!(error.contains("set AWS_REGION") && error.contains("timed out"), "{error}");
    let warnings = silent.lines_with("no AWS region yet");
    assert!(warnings.len() <= 1, "{warnings:?}");
    let error = switched_off.text("error");
    assert!(error.contains("set AWS_REGION") && error.contains("switched off by AWS_EC2_METADATA_DISABLED"), "{error}");
    // What does not answer is waited for two minutes.
    assert!(switched_off.seconds() < 60.0, "an answer is not waited for: {}", switched_off.seconds());
}

#[test(flavor = "multi_thread")]
async fn without_cloudwatch_the_id_needs_no_region_and_ec2_is_asked_where_there_is_one() {
    let services = Services::start().await;
    services.imds.set_mode(Mode::TagsOff);
    let named = || Probe::new().ec2(&services).set("PROBE_NEEDS_NO_REGION", "1").set("HINT_EKSCTL", "hinted");
    let without = named().without_imds().run().await;
    assert_eq!(found(&without, "cluster_id").0, "hinted");
    assert_eq!(without.lines_with("identity: region none, CLUSTER_ID hinted").len(), 1);
    assert_eq!(services.ec2.requests().len(), 0, "EC2 has no end point without a region");
    let silent = named().set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1").run().await;
    assert_eq!(found(&silent, "cluster_id").0, "hinted");
    // The instance's own region is used where it answers, and what is set counts at once.
    let region = named().imds(&services).run().await;
    assert_eq!(found(&region, "region"), ("eu-central-1".to_owned(), "instance metadata".to_owned()));
    assert!(!services.ec2.requests().is_empty());
    let set = named().without_imds().set("AWS_CLUSTER_ID", "mine").run().await;
    assert_eq!(found(&set, "cluster_id"), ("mine".to_owned(), "AWS_CLUSTER_ID".to_owned()));
}

#[test(flavor = "multi_thread")]
async fn a_region_that_only_metadata_knows_is_waited_for() {
    let services = Services::start().await;
    services.imds.set_mode(Mode::Blackhole);
    let imds = services.imds.clone();
    let running = tokio::spawn(Probe::new().imds(&services).set("AWS_CLUSTER_ID", "mine").run());
    // Four tries were in vain.
    wait::until_async("metadata is asked five times", LIMIT, || imds.requests().len() >= 5).await;
    imds.set_mode(Mode::Normal);
    let report = running.await.unwrap();
    assert_eq!(found(&report, "region"), ("eu-central-1".to_owned(), "instance metadata".to_owned()));
    assert_eq!(report.lines_with("no AWS region yet: AWS_REGION is not set").len(), 1);
}

#[test(flavor = "multi_thread")]
async fn tags_come_from_ec2_where_metadata_does_not_offer_them_and_only_if_allowed() {
    let services = Services::start().await;
    services.imds.set_mode(Mode::TagsOff);
    let probe = || Probe::new().imds(&services).ec2(&services).set("HINT_AWS_NODE", "hinted");
    let report = probe().run().await;
    let (id, source) = found(&report, "cluster_id");
    assert_eq!((id.as_str(), source.as_str()), ("from-ec2", "instance tag eks:cluster-name through ec2:DescribeTags"));
    let requests = services.ec2.requests();
    assert!(requests[0].operation == "DescribeTags" && requests[0].access_key_id.starts_with("ASIASIM"));

    services.ec2.faults().set(vec![FaultRule::always(Fault::AccessDenied)]);
    let report = probe().run().await;
    assert_eq!(found(&report, "cluster_id").0, "hinted");
    assert!(report.lines_with("not allowed to call ec2:DescribeTags").len() == 1);
    assert_eq!(report.lines_with("did not answer"), Vec::<&str>::new());

    // It has trouble of its own at first: that is no answer.
    services.ec2.faults().set(vec![FaultRule::always(Fault::Unavailable)]);
    let asked = services.ec2.requests().len();
    let running = tokio::spawn(probe().run());
    wait::until_async("EC2 is asked twice", LIMIT, || services.ec2.requests().len() >= asked + 2).await;
    services.ec2.faults().clear();
    assert_eq!(found(&running.await.unwrap(), "cluster_id").0, "from-ec2");
}

#[test(flavor = "multi_thread")]
async fn pod_identity_gives_credentials_for_the_token_verbatim() {
    let services = Services::start().await;
    let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").pod_identity(&services, "pod-token");
    let report = probe.cloudwatch(&services).put(1).run().await;
    assert!(report.text("credentials").starts_with("EKS Pod Identity"));
    assert_eq!(report.text("put"), "ok");
    let calls = services.pod_identity.calls();
    assert_eq!(calls[0].token, "pod-token");
    assert_eq!(Some(services.cloudwatch.store().requests()[0].access_key_id.clone()), calls[0].issued);
}

#[test(flavor = "multi_thread")]
async fn static_keys_are_used_as_they_are() {
    let services = Services::start().await;
    let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("AWS_ACCESS_KEY_ID", "AKIASTATIC");
    let report = probe.set("AWS_SECRET_ACCESS_KEY", "s").cloudwatch(&services).put(1).run().await;
    assert!(report.text("credentials").starts_with("static keys"));
    assert_eq!(services.cloudwatch.store().requests()[0].access_key_id, "AKIASTATIC");
}

#[test(flavor = "multi_thread")]
async fn a_rotated_web_identity_token_is_picked_up_without_restart() {
    let services = Services::start().await;
    // Shorter than the SDK's refresh margin: credentials are renewed before each request.
    services.sts.set_credentials_lifetime_ms(Some(2_000));
    services.sts.accept_only(Some("token-1"));
    let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").irsa(&services, "token-1");
    let token_file = probe.path("AWS_WEB_IDENTITY_TOKEN_FILE");
    let running = tokio::spawn(probe.cloudwatch(&services).put(1000).run());
    let accepted = |count: usize| move |store: &cni_sim::cloudwatch::store::CloudWatchStore| store.len() >= count;
    let store = services.cloudwatch.store();
    assert!(store.wait_until(LIMIT, accepted(1)).await, "nothing put with the first token");
    std::fs::write(&token_file, "token-2").unwrap();
    services.sts.accept_only(Some("token-2"));
    let before = store.len();
    assert!(store.wait_until(LIMIT, accepted(before + 3)).await, "nothing put after the rotation");
    assert!(services.sts.calls().iter().any(|call| call.token == "token-2" && call.issued.is_some()));
    running.abort();
}

#[test(flavor = "multi_thread")]
async fn denied_is_told_from_throttled_and_from_down() {
    let services = Services::start().await;
    let faults = [
        (Fault::AccessDenied, "access_denied"),
        (Fault::Throttle, "throttled"),
        (Fault::Unavailable, "unavailable"),
        (Fault::Internal, "unavailable"),
        (Fault::Reset, "no_answer"),
        (Fault::ExpiredToken, "credentials"),
    ];
    for (fault, expected) in faults {
        services.cloudwatch.faults().set(vec![FaultRule::always(fault.clone())]);
        let before = services.cloudwatch.store().requests().len();
        let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("AWS_ACCESS_KEY_ID", "AKIA");
        let report = probe.set("AWS_SECRET_ACCESS_KEY", "s").cloudwatch(&services).put(1).run().await;
        assert_eq!(report.text("put"), expected, "{fault:?}");
        let requests = services.cloudwatch.store().requests().len() - before;
        assert_eq!(requests, 1, "{fault:?}: the SDK does not retry on its own");
    }
}

#[test(flavor = "multi_thread")]
async fn without_credentials_the_request_fails_as_such() {
    let services = Services::start().await;
    let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").cloudwatch(&services);
    assert_eq!(probe.put(1).run().await.text("put"), "credentials");
}

#[test(flavor = "multi_thread")]
async fn calls_go_through_the_proxy_to_the_partitions_own_hosts() {
    let cases = [
        ("eu-west-1", "", "monitoring.eu-west-1.amazonaws.com:443"),
        ("cn-north-1", "", "monitoring.cn-north-1.amazonaws.com.cn:443"),
        ("us-gov-west-1", "", "monitoring.us-gov-west-1.amazonaws.com:443"),
        ("us-east-1", "AWS_USE_FIPS_ENDPOINT", "monitoring-fips.us-east-1.amazonaws.com:443"),
        ("us-east-1", "AWS_USE_DUALSTACK_ENDPOINT", "monitoring.us-east-1.api.aws:443"),
    ];
    for (region, switch, expected) in cases {
        let (proxy, mut targets) = services::proxy().await;
        let mut probe = Probe::new().without_imds().set("AWS_REGION", region).set("AWS_ACCESS_KEY_ID", "AKIA");
        probe = probe.set("AWS_SECRET_ACCESS_KEY", "s").set("HTTPS_PROXY", &format!("http://{proxy}"));
        if !switch.is_empty() {
            probe = probe.set(switch, "true");
        }
        let report = probe.put(1).run().await;
        assert_eq!(report.text("put"), "network", "the proxy lets nothing through");
        assert_eq!(targets.recv().await.as_deref(), Some(expected), "{region} {switch}");
    }
}

#[test(flavor = "multi_thread")]
async fn no_proxy_and_the_ca_bundle_are_honoured() {
    let (address, ca_pem) = services::https().await;
    let (proxy, _targets) = services::proxy().await;
    let probe = || {
        let keys = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("AWS_ACCESS_KEY_ID", "AKIA");
        let proxied = keys.set("AWS_SECRET_ACCESS_KEY", "s").set("HTTPS_PROXY", &format!("http://{proxy}"));
        proxied.set("AWS_ENDPOINT_URL_CLOUDWATCH", &format!("https://localhost:{}", address.port()))
    };
    let direct = || probe().set("NO_PROXY", "localhost");
    assert_eq!(direct().file("AWS_CA_BUNDLE", &ca_pem).put(1).run().await.text("put"), "ok");
    assert_eq!(direct().put(1).run().await.text("put"), "network", "a certificate that no authority signed");
    assert_eq!(probe().file("AWS_CA_BUNDLE", &ca_pem).put(1).run().await.text("put"), "network", "by the proxy");
    let error = direct().set("AWS_CA_BUNDLE", "/does/not/exist.pem").run().await.text("error");
    assert!(error.starts_with("AWS_CA_BUNDLE /does/not/exist.pem: No such file"), "{error}");
}
