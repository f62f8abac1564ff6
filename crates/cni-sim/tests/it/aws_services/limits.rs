//! Every documented limit of `PutMetricData`: at it accepted, beyond it refused, and nothing of a refused request kept.

use std::time::Duration;

use cni_sim::aws::doc::Doc;

use super::harness::NOW_MS;
use super::protocols::{ALL, Protocol, Service, datum, dimension, error_of, put};

/// A datum with one member replaced or added.
fn with(name: &str, value: Doc) -> Doc {
    let Doc::Map(mut members) = datum("m", 1.0) else { unreachable!() };
    members.retain(|(member, _)| member != name);
    members.push((name.to_owned(), value));
    Doc::Map(members)
}

fn without_value(more: &[(&str, Doc)]) -> Doc {
    let mut doc = Doc::map([("MetricName", Doc::text("m"))]);
    for (name, value) in more {
        doc = doc.with(name, value.clone());
    }
    doc
}

fn floats(values: &[f64]) -> Doc {
    Doc::List(values.iter().copied().map(Doc::Float).collect())
}

fn set(count: f64, sum: f64, min: f64, max: f64) -> Doc {
    Doc::map([
        ("SampleCount", Doc::Float(count)),
        ("Sum", Doc::Float(sum)),
        ("Minimum", Doc::Float(min)),
        ("Maximum", Doc::Float(max)),
    ])
}

fn dimensions(count: usize) -> Doc {
    Doc::List((0..count).map(|i| dimension(&format!("d{i}"), "v")).collect())
}

const TWO_WEEKS_MS: i64 = 14 * 86_400_000;
const TWO_HOURS_MS: i64 = 7_200_000;

fn accepted() -> Vec<(&'static str, Doc)> {
    vec![
        ("largest value", with("Value", Doc::Float(2_f64.powi(360)))),
        ("smallest value", with("Value", Doc::Float(-(2_f64.powi(360))))),
        ("30 dimensions", with("Dimensions", dimensions(30))),
        ("no dimension", with("Dimensions", Doc::List(vec![]))),
        ("1024 characters", with("Dimensions", Doc::List(vec![dimension("d", &"v".repeat(1024))]))),
        ("255 characters", with("MetricName", Doc::text("n".repeat(255)))),
        ("two weeks old", with("Timestamp", Doc::Time(NOW_MS - TWO_WEEKS_MS))),
        ("two hours ahead", with("Timestamp", Doc::Time(NOW_MS + TWO_HOURS_MS))),
        ("resolution 1", with("StorageResolution", Doc::Int(1))),
        ("unit", with("Unit", Doc::text("Bytes/Second"))),
        ("statistic set", without_value(&[("StatisticValues", set(2.0, 3.0, 1.0, 2.0))])),
        ("150 values", without_value(&[("Values", floats(&[1.0; 150])), ("Counts", floats(&[2.0; 150]))])),
    ]
}

fn refused() -> Vec<(&'static str, Doc, &'static str, &'static str)> {
    const VALUE: &str = "InvalidParameterValue";
    const COMBINATION: &str = "InvalidParameterCombination";
    const MISSING: &str = "MissingParameter";
    let beyond = 2_f64.powi(360) * 1.001;
    let one = |name: &str, value: &str| Doc::List(vec![dimension(name, value)]);
    vec![
        ("too large", with("Value", Doc::Float(beyond)), VALUE, "member.2.Value"),
        ("too small", with("Value", Doc::Float(-beyond)), VALUE, "member.2.Value"),
        ("31 dimensions", with("Dimensions", dimensions(31)), VALUE, "size greater than 30"),
        ("empty dimension", with("Dimensions", one("d", "")), VALUE, "Dimensions.member.1.Value"),
        ("blank dimension", with("Dimensions", one("d", "  ")), VALUE, "Dimensions.member.1.Value"),
        ("colon dimension", with("Dimensions", one(":d", "v")), VALUE, "colon"),
        ("non-ASCII value", with("Dimensions", one("d", "größe")), VALUE, "ASCII"),
        ("control character", with("Dimensions", one("d", "a\u{7}b")), VALUE, "ASCII"),
        ("1025 characters", with("Dimensions", one("d", &"v".repeat(1025))), VALUE, "shorter than 1025"),
        ("twice", with("Dimensions", Doc::List(vec![dimension("d", "1"), dimension("d", "2")])), VALUE, "same name"),
        ("256 characters", with("MetricName", Doc::text("n".repeat(256))), VALUE, "shorter than 256"),
        ("non-ASCII name", with("MetricName", Doc::text("né")), VALUE, "MetricName"),
        ("no name", with("MetricName", Doc::Null), MISSING, "MetricName is required"),
        ("too old", with("Timestamp", Doc::Time(NOW_MS - TWO_WEEKS_MS - 1000)), VALUE, "within the past two weeks"),
        ("too new", with("Timestamp", Doc::Time(NOW_MS + TWO_HOURS_MS + 1000)), VALUE, "two hours in the future"),
        ("resolution 30", with("StorageResolution", Doc::Int(30)), VALUE, "StorageResolution"),
        ("unit", with("Unit", Doc::text("Furlongs")), VALUE, "Unit must be a value in the set"),
        ("no value", without_value(&[]), MISSING, "At least one of the parameters"),
        ("two forms", with("StatisticValues", set(1.0, 1.0, 1.0, 1.0)), COMBINATION, "mutually exclusive"),
        ("min > max", without_value(&[("StatisticValues", set(1.0, 1.0, 2.0, 1.0))]), COMBINATION, "Maximum"),
        ("half a set", without_value(&[("StatisticValues", Doc::map([("Sum", Doc::Int(1))]))]), MISSING, "SampleCount"),
        ("151 values", without_value(&[("Values", floats(&[1.0; 151]))]), VALUE, "size greater than 150"),
        (
            "uneven counts",
            without_value(&[("Values", floats(&[1.0])), ("Counts", floats(&[1.0, 2.0]))]),
            COMBINATION,
            "same size",
        ),
    ]
}

#[test]
async fn values_at_the_limit_are_accepted() {
    for protocol in ALL {
        let service = Service::start().await;
        let cases = accepted();
        for (case, datum) in &cases {
            let reply = service.call(protocol, "PutMetricData", &put(vec![datum.clone()])).await;
            assert_eq!(reply.status, 200, "{protocol:?} {case}: {reply:?}");
        }
        assert_eq!(service.store.len(), cases.len());
    }
}

#[test]
async fn one_bad_datum_refuses_the_request_and_is_named() {
    for protocol in ALL {
        let service = Service::start().await;
        for (case, bad, code, part) in refused() {
            let reply = service.call(protocol, "PutMetricData", &put(vec![datum("good", 1.0), bad])).await;
            assert_eq!(reply.status, 400, "{protocol:?} {case}: {reply:?}");
            let (found, message) = error_of(protocol, &reply);
            assert_eq!(found, code, "{protocol:?} {case}: {message}");
            assert!(message.contains("MetricData.member.2") && message.contains(part), "{case}: {message}");
            assert!(!message.contains("MetricData.member.1."), "{case} blames the good datum: {message}");
        }
        assert!(service.store.is_empty(), "a refused request left data");
    }
}

#[test]
async fn numbers_that_are_none_are_refused() {
    let service = Service::start().await;
    for (protocol, value) in [
        (Protocol::Cbor, Doc::Float(f64::NAN)),
        (Protocol::Cbor, Doc::Float(f64::INFINITY)),
        // JSON and forms can only spell them.
        (Protocol::Json, Doc::text("NaN")),
        (Protocol::Query, Doc::text("-Infinity")),
    ] {
        let reply = service.call(protocol, "PutMetricData", &put(vec![with("Value", value)])).await;
        let (code, message) = error_of(protocol, &reply);
        assert_eq!(code, "InvalidParameterValue", "{message}");
        assert!(message.contains("MetricData.member.1.Value is invalid"), "{message}");
    }
    assert!(service.store.is_empty());
}

#[test]
async fn every_fault_of_a_request_is_named() {
    let service = Service::start().await;
    let old = with("Timestamp", Doc::Time(0));
    let reply = service.call(Protocol::Query, "PutMetricData", &put(vec![old.clone(), datum("good", 1.0), old])).await;
    let (_, message) = error_of(Protocol::Query, &reply);
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 2, "{message}");
    assert!(lines[0].contains("MetricData.member.1.Timestamp") && lines[1].contains("MetricData.member.3.Timestamp"));
}

#[test]
async fn a_thousand_data_and_not_one_more() {
    for protocol in ALL {
        let service = Service::start().await;
        let data = |count: usize| put((0..count).map(|i| datum(&format!("m{i}"), 1.0)).collect());
        let reply = service.call(protocol, "PutMetricData", &data(1001)).await;
        assert_eq!(reply.status, 400);
        assert!(error_of(protocol, &reply).1.contains("must not have a size greater than 1000"));
        assert_eq!(service.call(protocol, "PutMetricData", &data(1000)).await.status, 200);
        assert_eq!(service.store.len(), 1000);
        let reply = service.call(protocol, "PutMetricData", &data(0)).await;
        assert_eq!(error_of(protocol, &reply).0, "MissingParameter");
    }
}

#[test]
async fn one_mebibyte_unpacked_and_not_one_more() {
    let service = Service::start().await;
    let sized = |bytes: usize| {
        let fill = |name: usize| Doc::map([("Namespace", Doc::text("n".repeat(name)))]);
        let empty = cni_sim::aws::cbor::encode(&fill(100_000)).len() - 100_000;
        cni_sim::aws::cbor::encode(&fill(bytes - empty))
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &sized(1_048_577)).unwrap();
    let packed = packed.finish().unwrap();
    for (body, more) in [(sized(1_048_577), &[][..]), (packed, &[("content-encoding", "gzip")][..])] {
        let reply = service.call_with(Protocol::Cbor, "PutMetricData", body, more).await;
        assert_eq!(
            (reply.status.as_u16(), error_of(Protocol::Cbor, &reply).0.as_str()),
            (413, "RequestEntityTooLarge")
        );
    }
    // Read in full; only then is its namespace found too long.
    let reply = service.call_with(Protocol::Cbor, "PutMetricData", sized(1_048_576), &[]).await;
    assert_eq!(reply.status, 400);
    assert!(service.store.wait_until(Duration::from_mins(1), |store| store.requests().len() == 3).await);
}

#[test]
async fn namespaces_have_their_rules() {
    let service = Service::start().await;
    let long = "n".repeat(256);
    for (namespace, status) in [
        ("Kubernetes", 200),
        ("My/Name space:1", 200),
        ("AWS/EC2", 400),
        ("AWSome", 200),
        ("", 400),
        (":x", 400),
        ("ü", 400),
        (long.as_str(), 400),
    ] {
        let input = Doc::map([("Namespace", Doc::text(namespace)), ("MetricData", Doc::List(vec![datum("m", 1.0)]))]);
        let reply = service.call(Protocol::Cbor, "PutMetricData", &input).await;
        assert_eq!(reply.status, status, "{namespace}");
    }
    let input = Doc::map([("MetricData", Doc::List(vec![datum("m", 1.0)]))]);
    let reply = service.call(Protocol::Json, "PutMetricData", &input).await;
    assert_eq!(error_of(Protocol::Json, &reply).0, "MissingParameter");
}

#[test]
async fn a_datum_without_a_time_gets_its_arrival() {
    let service = Service::start().await;
    service.clock.advance_ms(5_000);
    let values = without_value(&[("Values", floats(&[1.0, 4.0])), ("Counts", floats(&[2.0, 1.0]))]);
    assert_eq!(service.call(Protocol::Json, "PutMetricData", &put(vec![values])).await.status, 200);
    let stored = &service.store.data()[0];
    assert_eq!((stored.timestamp_ms, stored.timestamp_given), (NOW_MS + 5_000, false));
    let of = stored.statistics;
    assert_eq!((of.count, of.sum, of.min, of.max), (3.0, 6.0, 1.0, 4.0));
}

#[test]
async fn entities_count_as_data() {
    let service = Service::start().await;
    let entity = |count: usize| {
        let data = (0..count).map(|i| datum(&format!("m{i}"), 1.0)).collect();
        Doc::map([("Entity", Doc::map([])), ("MetricData", Doc::List(data))])
    };
    let input =
        |entities: Vec<Doc>| Doc::map([("Namespace", Doc::text("K")), ("EntityMetricData", Doc::List(entities))]);
    let cases = [(vec![entity(500), entity(500)], 200), (vec![entity(500), entity(501)], 400)];
    for (entities, status) in cases {
        assert_eq!(service.call(Protocol::Cbor, "PutMetricData", &input(entities)).await.status, status);
    }
    let three = input(vec![entity(1), entity(1), entity(1)]);
    assert_eq!(service.call(Protocol::Cbor, "PutMetricData", &three).await.status, 400);
    assert_eq!(service.store.len(), 1000);
}
