//! Region, cluster id and credentials against simulated IMDS, STS, Pod Identity, EC2 and CloudWatch services.
//!
//! The environment belongs to the whole process, so each case runs in a process of its own: this very program, started
//! again with only [`probe`] and exactly the variables of the case.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

#[path = "identity/probe.rs"]
mod probe;
#[path = "identity/services.rs"]
mod services;

use std::time::Duration;

use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::imds::Mode;
use probe::{Probe, Report};
use services::Services;

/// Start-up may wait this long for metadata that does not answer, the process's own start included.
const BOUND: Duration = Duration::from_millis(3500);

fn tagged(tags: &[(&str, &str)]) -> impl FnOnce(&mut cni_sim::aws::identity::Identity) {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    move |identity| identity.tags = tags
}

fn found(report: &Report, key: &str) -> (String, String) {
    (report.text(&format!("{key}.value")), report.text(&format!("{key}.source")))
}

#[tokio::test(flavor = "multi_thread")]
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

#[tokio::test(flavor = "multi_thread")]
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

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_swallows_packets_delays_the_start_by_two_seconds_and_the_cluster_is_asked_instead() {
    for mode in [Mode::Blackhole, Mode::HopLimited, Mode::Refused] {
        let services = Services::start().await;
        services.imds.set_mode(mode);
        let probe = Probe::new().imds(&services).set("AWS_REGION", "eu-west-1").set("HINT_AWS_NODE", "from-agent");
        let report = probe.run().await;
        assert!(report.took < BOUND, "{mode:?}: {:?}", report.took);
        let (id, source) = found(&report, "cluster_id");
        assert_eq!((id.as_str(), source.as_str()), ("from-agent", "aws-node's CLUSTER_NAME"), "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eksctls_label_goes_before_the_agents_variable_and_the_default_comes_with_a_warning() {
    let services = Services::start().await;
    let named = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("HINT_AWS_NODE", "b");
    let report = named.set("HINT_EKSCTL", "a").run().await;
    assert_eq!(found(&report, "cluster_id").0, "a");
    drop(services);
    let report = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").run().await;
    assert_eq!(found(&report, "cluster_id"), ("k8s-cluster".to_owned(), "the default".to_owned()));
    let warnings = report.lines_with("WARN");
    assert!(warnings.iter().any(|line| line.contains("set AWS_CLUSTER_ID")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_wins_and_metadata_is_not_even_asked() {
    let services = Services::start().await;
    services.imds.update(tagged(&[("eks:cluster-name", "prod")]));
    let set = Probe::new().imds(&services).set("AWS_CLUSTER_ID", "mine").set("AWS_REGION", "us-west-2");
    let report = set.set("AWS_DEFAULT_REGION", "us-east-1").run().await;
    assert_eq!(found(&report, "cluster_id"), ("mine".to_owned(), "AWS_CLUSTER_ID".to_owned()));
    assert_eq!(found(&report, "region"), ("us-west-2".to_owned(), "AWS_REGION".to_owned()));
    assert_eq!(services.imds.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
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

#[tokio::test(flavor = "multi_thread")]
async fn no_region_anywhere_is_an_error_that_says_what_to_set() {
    let services = Services::start().await;
    services.imds.set_mode(Mode::Blackhole);
    let report = Probe::new().imds(&services).run().await;
    let error = report.text("error");
    assert!(error.contains("set AWS_REGION") && error.contains("timed out"), "{error}");
    assert!(report.took < BOUND, "{:?}", report.took);
}

#[tokio::test(flavor = "multi_thread")]
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

    services.ec2.faults().set(vec![FaultRule::always(Fault::Hang)]);
    let report = probe().run().await;
    assert_eq!(found(&report, "cluster_id").0, "hinted");
    assert!(report.took < Duration::from_secs(5), "{:?}", report.took);
}

#[tokio::test(flavor = "multi_thread")]
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

#[tokio::test(flavor = "multi_thread")]
async fn static_keys_are_used_as_they_are() {
    let services = Services::start().await;
    let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").set("AWS_ACCESS_KEY_ID", "AKIASTATIC");
    let report = probe.set("AWS_SECRET_ACCESS_KEY", "s").cloudwatch(&services).put(1).run().await;
    assert!(report.text("credentials").starts_with("static keys"));
    assert_eq!(services.cloudwatch.store().requests()[0].access_key_id, "AKIASTATIC");
}

#[tokio::test(flavor = "multi_thread")]
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
    assert!(store.wait_until(Duration::from_secs(20), accepted(1)).await, "nothing put with the first token");
    std::fs::write(&token_file, "token-2").unwrap();
    services.sts.accept_only(Some("token-2"));
    let before = store.len();
    assert!(store.wait_until(Duration::from_secs(20), accepted(before + 3)).await, "nothing put after the rotation");
    assert!(services.sts.calls().iter().any(|call| call.token == "token-2" && call.issued.is_some()));
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_is_told_from_throttled_and_from_down() {
    let services = Services::start().await;
    let faults = [
        (Fault::AccessDenied, "access_denied"),
        (Fault::Throttle, "throttled"),
        (Fault::Unavailable, "unavailable"),
        (Fault::Internal, "unavailable"),
        (Fault::Reset, "network"),
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

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_the_request_fails_as_such() {
    let services = Services::start().await;
    let probe = Probe::new().without_imds().set("AWS_REGION", "eu-west-1").cloudwatch(&services);
    assert_eq!(probe.put(1).run().await.text("put"), "credentials");
}

#[tokio::test(flavor = "multi_thread")]
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

#[tokio::test(flavor = "multi_thread")]
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
    assert_eq!(direct().put(1).run().await.text("put"), "network", "a certificate nobody vouches for");
    assert_eq!(probe().file("AWS_CA_BUNDLE", &ca_pem).put(1).run().await.text("put"), "network", "by the proxy");
    let error = direct().set("AWS_CA_BUNDLE", "/does/not/exist.pem").run().await.text("error");
    assert!(error.starts_with("AWS_CA_BUNDLE /does/not/exist.pem: No such file"), "{error}");
}
