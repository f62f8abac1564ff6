//! The AWS SDK for Rust against the services, as the helper uses it.

use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
use aws_sdk_cloudwatch::types::{Dimension, DimensionFilter, Metric, MetricDataQuery, MetricDatum, MetricStat};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_types::DateTime;
use aws_smithy_types::retry::RetryConfig;
use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::aws::identity::Identity;
use cni_sim::imds::{self, Imds};
use cni_testkit::wait::sleep_as_input_async;

use super::harness::{NOW_MS, Server, TestClock};
use super::protocols::Service;

fn http() -> SharedHttpClient {
    Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
}

fn client(server: &Server, attempts: u32) -> Client {
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKIDRUST", "secret", None, None, "test"))
        .endpoint_url(server.url(""))
        .http_client(http())
        .sleep_impl(tokio_sleep())
        .retry_config(RetryConfig::standard().with_max_attempts(attempts));
    Client::from_conf(config.build())
}

/// Retries wait by tokio's clock.
fn tokio_sleep() -> impl aws_sdk_cloudwatch::config::AsyncSleep + 'static {
    #[derive(Debug)]
    struct Tokio;
    impl aws_sdk_cloudwatch::config::AsyncSleep for Tokio {
        fn sleep(&self, duration: std::time::Duration) -> aws_sdk_cloudwatch::config::Sleep {
            aws_sdk_cloudwatch::config::Sleep::new(sleep_as_input_async(duration))
        }
    }
    Tokio
}

fn dimension() -> Dimension {
    Dimension::builder().name("CLUSTER_ID").value("prod").build()
}

fn datum(name: &str, value: f64) -> MetricDatum {
    let at = DateTime::from_millis(NOW_MS - 60_000);
    MetricDatum::builder().metric_name(name).dimensions(dimension()).timestamp(at).value(value).build()
}

#[test]
async fn a_thousand_data_go_there_packed_and_come_back() {
    let service = Service::start().await;
    let client = client(&service.server, 1);
    let data: Vec<_> = (0..1000).map(|i| datum(&format!("m{i:03}"), f64::from(i) + 0.5)).collect();
    client.put_metric_data().namespace("Rust").set_metric_data(Some(data)).send().await.unwrap();
    assert_eq!(service.store.len(), 1000);
    let request = &service.store.requests()[0];
    assert_eq!((request.protocol, request.data_count), ("smithy-rpc-v2-cbor", 1000));
    assert!(request.wire_bytes * 5 < request.body_bytes, "{request:?}");
    assert_eq!(service.store.series("Rust", "m007", &[("CLUSTER_ID", "prod")])[0].timestamp_ms, NOW_MS - 60_000);

    let filter = DimensionFilter::builder().name("CLUSTER_ID").build();
    let mut pages = client.list_metrics().namespace("Rust").dimensions(filter).into_paginator().send();
    let mut names = std::collections::BTreeSet::new();
    while let Some(page) = pages.next().await {
        names.extend(page.unwrap().metrics().iter().filter_map(|metric| metric.metric_name.clone()));
    }
    assert_eq!(names.len(), 1000);

    let metric = Metric::builder().namespace("Rust").metric_name("m999").dimensions(dimension()).build();
    let stat = MetricStat::builder().metric(metric).period(60).stat("Average").build();
    let answer = client
        .get_metric_data()
        .metric_data_queries(MetricDataQuery::builder().id("q").metric_stat(stat).build())
        .start_time(DateTime::from_millis(NOW_MS - 300_000))
        .end_time(DateTime::from_millis(NOW_MS))
        .send()
        .await
        .unwrap();
    let result = &answer.metric_data_results()[0];
    assert_eq!(result.values(), [999.5]);
    assert_eq!(result.timestamps(), [DateTime::from_millis(NOW_MS - 60_000)]);
}

#[test]
async fn errors_reach_the_caller_with_their_codes() {
    let service = Service::start().await;
    let client = client(&service.server, 1);
    for (fault, code) in [
        (Fault::Throttle, "Throttling"),
        (Fault::AccessDenied, "AccessDenied"),
        (Fault::Internal, "InternalServiceError"),
        (Fault::Unavailable, "ServiceUnavailable"),
    ] {
        service.cloudwatch.faults().set(vec![FaultRule::always(fault)]);
        let error = client.put_metric_data().namespace("Rust").metric_data(datum("m", 1.0)).send().await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error:?}");
    }
    service.cloudwatch.faults().clear();
    let bad = [datum("good", 1.0), datum("bad", f64::NAN)];
    let error = client.put_metric_data().namespace("Rust").set_metric_data(Some(bad.to_vec())).send().await;
    let error = error.unwrap_err();
    assert!(error.as_service_error().unwrap().is_invalid_parameter_value_exception(), "{error:?}");
    assert!(error.message().unwrap().contains("MetricData.member.2.Value"), "{error:?}");
    assert!(service.store.is_empty());
}

#[test]
async fn the_sdk_retries_what_it_may() {
    let service = Service::start().await;
    let client = client(&service.server, 3);
    let put = || client.put_metric_data().namespace("Rust").metric_data(datum("m", 1.0)).send();
    // One request a second is permitted and the clock stands: the second put is throttled at each of its attempts.
    service.cloudwatch.faults().set_rate_limit(Some(1.0));
    put().await.unwrap();
    put().await.unwrap_err();
    assert_eq!(service.store.requests().len(), 4);
}

#[test]
async fn metadata_by_the_sdks_own_client() {
    let identity = Imds::new(TestClock::new(), Identity::default());
    identity.update(|of| drop(of.tags.insert("eks:cluster-name".to_owned(), "prod".to_owned())));
    let server = Server::start(imds::router(identity.clone())).await;
    let provider = ProviderConfig::without_region().with_http_client(http());
    let client = aws_config::imds::Client::builder().configure(&provider).endpoint(server.url("")).unwrap().build();
    let get = async |path: &str| client.get(path).await.map(|answer| answer.as_ref().to_owned());
    assert_eq!(get("/latest/meta-data/placement/region").await.unwrap(), "eu-central-1");
    assert_eq!(get("/latest/meta-data/tags/instance/eks:cluster-name").await.unwrap(), "prod");
    assert!(get("/latest/meta-data/tags/instance/CLUSTER_ID").await.is_err());
    let tokens = identity.requests().iter().filter(|request| request.method == "PUT").count();
    assert_eq!(tokens, 1, "the token is kept");
}
