//! Every protocol puts the same datum, reads it back, and has its own shape for errors.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use ciborium::Value;
use cni_sim::aws::{cbor, doc::Doc, json, time};
use cni_sim::cloudwatch::store::{CloudWatchStore, Outcome};
use cni_sim::cloudwatch::{CloudWatch, router};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::harness::{NOW_MS, Reply, Server, TestClock, signed};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Cbor,
    Json,
    Query,
}

pub(crate) const ALL: [Protocol; 3] = [Protocol::Cbor, Protocol::Json, Protocol::Query];

/// CloudWatch on a socket, with a client for each protocol.
pub(crate) struct Service {
    pub(crate) server: Server,
    pub(crate) store: Arc<CloudWatchStore>,
    pub(crate) cloudwatch: CloudWatch,
    pub(crate) clock: Arc<TestClock>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let clock = TestClock::new();
        let cloudwatch = CloudWatch::new(clock.clone(), 1);
        let server = Server::start(router(cloudwatch.clone())).await;
        Self { server, store: cloudwatch.store(), cloudwatch, clock }
    }

    pub(crate) async fn call(&self, protocol: Protocol, operation: &str, input: &Doc) -> Reply {
        self.call_with(protocol, operation, encode(protocol, operation, input), &[]).await
    }

    /// A raw body, and headers beside the protocol's own.
    pub(crate) async fn call_with(
        &self,
        protocol: Protocol,
        operation: &str,
        body: Vec<u8>,
        more: &[(&str, &str)],
    ) -> Reply {
        let target = format!("GraniteServiceVersion20100801.{operation}");
        let auth = signed("monitoring");
        let mut headers: Vec<(&str, &str)> = auth.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(more);
        headers.push(("x-amzn-query-mode", "true"));
        let path = match protocol {
            Protocol::Cbor => {
                headers.extend([("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]);
                format!("/service/GraniteServiceVersion20100801/operation/{operation}")
            }
            Protocol::Json => {
                headers.extend([("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())]);
                "/".to_owned()
            }
            Protocol::Query => {
                headers.push(("content-type", "application/x-www-form-urlencoded; charset=utf-8"));
                "/".to_owned()
            }
        };
        self.server.post(&path, &headers, Bytes::from(body)).await
    }
}

/// A request body as an SDK of that protocol writes it.
pub(crate) fn encode(protocol: Protocol, operation: &str, input: &Doc) -> Vec<u8> {
    match protocol {
        Protocol::Cbor => cbor::encode(input),
        Protocol::Json => json::encode(input),
        Protocol::Query => {
            let mut pairs = vec![("Action".to_owned(), operation.to_owned())];
            flatten(&mut pairs, String::new(), input);
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
        }
    }
}

fn flatten(pairs: &mut Vec<(String, String)>, name: String, doc: &Doc) {
    let text = match doc {
        Doc::Null => return,
        Doc::Dict(_) => unreachable!("only answers have maps"),
        Doc::Bool(value) => value.to_string(),
        Doc::Int(value) => value.to_string(),
        Doc::Float(value) => value.to_string(),
        Doc::Text(text) => text.clone(),
        Doc::Time(ms) => time::format_iso(*ms),
        Doc::List(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(pairs, format!("{name}.member.{}", index + 1), item);
            }
            return;
        }
        Doc::Map(members) => {
            for (member, value) in members {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(pairs, format!("{name}{dot}{member}"), value);
            }
            return;
        }
    };
    pairs.push((name, text));
}

/// The error of an answer: its code as each protocol's clients find it, and its message.
pub(crate) fn error_of(protocol: Protocol, reply: &Reply) -> (String, String) {
    let modelled = |doc: &Doc| {
        let kind = doc.get("__type").and_then(Doc::as_text).unwrap();
        assert!(kind.starts_with("com.amazonaws.cloudwatch#"), "{kind}");
        let code = reply.header("x-amzn-query-error").split(';').next().unwrap().to_owned();
        (code, doc.get("message").or(doc.get("Message")).and_then(Doc::as_text).unwrap().to_owned())
    };
    match protocol {
        Protocol::Cbor => {
            assert_eq!(reply.header("smithy-protocol"), "rpc-v2-cbor");
            modelled(&cbor::decode(&reply.body).unwrap())
        }
        Protocol::Json => modelled(&json::decode(&reply.body).unwrap()),
        Protocol::Query => {
            let xml = roxmltree::Document::parse(reply.text()).unwrap();
            assert_eq!(xml.root_element().tag_name().name(), "ErrorResponse");
            let text = |name: &str| {
                let node = xml.descendants().find(|node| node.tag_name().name() == name).unwrap();
                node.text().unwrap_or("").to_owned()
            };
            (text("Code"), text("Message"))
        }
    }
}

pub(crate) fn put(data: Vec<Doc>) -> Doc {
    Doc::map([("Namespace", Doc::text("Kubernetes")), ("MetricData", Doc::List(data))])
}

pub(crate) fn dimension(name: &str, value: &str) -> Doc {
    Doc::map([("Name", Doc::text(name)), ("Value", Doc::text(value))])
}

pub(crate) fn datum(name: &str, value: f64) -> Doc {
    Doc::map([
        ("MetricName", Doc::text(name)),
        ("Dimensions", Doc::List(vec![dimension("CLUSTER_ID", "c1")])),
        ("Timestamp", Doc::Time(NOW_MS - 90_000)),
        ("Value", Doc::Float(value)),
        ("Unit", Doc::text("Count")),
        ("StorageResolution", Doc::Int(60)),
    ])
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
async fn each_protocol_stores_the_same_datum() {
    for protocol in ALL {
        let service = Service::start().await;
        let reply = service.call(protocol, "PutMetricData", &put(vec![datum("assignIPAddresses", 42.5)])).await;
        assert_eq!(reply.status, 200, "{protocol:?}: {reply:?}");
        let stored = service.store.series("Kubernetes", "assignIPAddresses", &[("CLUSTER_ID", "c1")]);
        assert_eq!(stored.len(), 1, "{protocol:?}");
        let datum = &stored[0];
        assert_eq!((datum.timestamp_ms, datum.timestamp_given), (NOW_MS - 90_000, true));
        assert_eq!((datum.value, datum.unit.as_str(), datum.resolution_s), (Some(42.5), "Count", 60));
        assert_eq!(datum.arrived_ms, NOW_MS);
        let requests = service.store.requests();
        assert_eq!((requests[0].data_count, requests[0].number), (1, datum.request));
        assert_eq!(requests[0].access_key_id, "AKIDTEST");
        assert_eq!(requests[0].outcome, Outcome::Accepted);
    }
}

#[test]
async fn gzip_is_unpacked_in_each_protocol() {
    for protocol in ALL {
        let service = Service::start().await;
        let data = (0..1000).map(|i| datum(&format!("m{i}"), f64::from(i))).collect();
        let body = encode(protocol, "PutMetricData", &put(data));
        let (packed, size) = (gzip(&body), body.len());
        let wire = packed.len();
        let reply = service.call_with(protocol, "PutMetricData", packed, &[("content-encoding", "gzip")]).await;
        assert_eq!(reply.status, 200, "{protocol:?}: {reply:?}");
        assert_eq!(service.store.len(), 1000);
        let request = &service.store.requests()[0];
        assert_eq!((request.wire_bytes, request.body_bytes), (wire, size));
        assert!(wire * 5 < size, "{wire} of {size}");
    }
}

#[test]
async fn a_body_as_the_rust_sdk_writes_it() {
    // Indefinite maps, definite arrays, float timestamp under tag 1.
    let mut body =
        b"\xbf\x69Namespace\x6aKubernetes\x6aMetricData\x81\xbf\x6aMetricName\x61m\x69Timestamp\xc1\xfb".to_vec();
    body.extend(((NOW_MS / 1000) as f64 + 0.25).to_be_bytes());
    body.extend(b"\x65Value\xfb");
    body.extend(7.0_f64.to_be_bytes());
    body.extend(b"\xff\xff");
    let service = Service::start().await;
    let reply = service.call_with(Protocol::Cbor, "PutMetricData", body, &[]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!((reply.header("smithy-protocol"), reply.body.len()), ("rpc-v2-cbor", 0));
    let datum = &service.store.series("Kubernetes", "m", &[])[0];
    assert_eq!((datum.timestamp_ms, datum.value), (NOW_MS + 250, Some(7.0)));
}

#[test]
async fn each_protocol_reads_back() {
    for protocol in ALL {
        let service = Service::start().await;
        let at = |seconds: i64, value: f64| {
            let Doc::Map(members) = datum("totalIPAddresses", value) else { unreachable!() };
            let time = |(name, old): (String, Doc)| {
                let new = if name == "Timestamp" { Doc::Time(NOW_MS - 600_000 + seconds * 1000) } else { old };
                (name, new)
            };
            Doc::Map(members.into_iter().map(time).collect())
        };
        let data = vec![at(0, 1.0), at(30, 3.0), at(60, 10.0), at(125, 5.0)];
        assert_eq!(service.call(protocol, "PutMetricData", &put(data)).await.status, 200);

        let query = Doc::map([
            ("Namespace", Doc::text("Kubernetes")),
            ("MetricName", Doc::text("totalIPAddresses")),
            ("Dimensions", Doc::List(vec![dimension("CLUSTER_ID", "c1")])),
            ("StartTime", Doc::Time(NOW_MS - 600_000)),
            ("EndTime", Doc::Time(NOW_MS)),
            ("Period", Doc::Int(60)),
            ("Statistics", Doc::List(vec![Doc::text("Average"), Doc::text("Sum"), Doc::text("SampleCount")])),
        ]);
        let reply = service.call(protocol, "GetMetricStatistics", &query).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let averages: Vec<f64> = numbers(protocol, &reply, "Average");
        assert_eq!(averages, [2.0, 10.0, 5.0], "{protocol:?}");
        assert_eq!(numbers(protocol, &reply, "Sum"), [4.0, 10.0, 5.0]);
        assert_eq!(numbers(protocol, &reply, "SampleCount"), [2.0, 1.0, 1.0]);
    }
}

/// All numbers under `name`, in document order.
fn numbers(protocol: Protocol, reply: &Reply, name: &str) -> Vec<f64> {
    fn collect(doc: &Doc, name: &str, found: &mut Vec<f64>) {
        match doc {
            Doc::List(items) => items.iter().for_each(|item| collect(item, name, found)),
            Doc::Map(members) => {
                for (key, value) in members {
                    if key == name { found.extend(value.as_f64()) } else { collect(value, name, found) }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    match protocol {
        Protocol::Cbor => collect(&cbor::decode(&reply.body).unwrap(), name, &mut found),
        Protocol::Json => collect(&json::decode(&reply.body).unwrap(), name, &mut found),
        Protocol::Query => {
            let xml = roxmltree::Document::parse(reply.text()).unwrap();
            let named = xml.descendants().filter(|node| node.tag_name().name() == name);
            found.extend(named.filter_map(|node| node.text()?.parse::<f64>().ok()));
        }
    }
    found
}

#[test]
async fn unknown_operations_and_broken_bodies_have_clean_errors() {
    let service = Service::start().await;
    for protocol in ALL {
        for operation in ["PutMetricAlarm", "PutDashboard", "DescribeAlarms"] {
            let reply = service.call(protocol, operation, &Doc::map([])).await;
            assert_eq!(reply.status, 400);
            assert_eq!(error_of(protocol, &reply).0, "InvalidAction", "{protocol:?}");
        }
    }
    for protocol in [Protocol::Cbor, Protocol::Json] {
        let reply = service.call_with(protocol, "PutMetricData", b"\xbf\x01".to_vec(), &[]).await;
        assert_eq!((reply.status.as_u16(), error_of(protocol, &reply).0.as_str()), (400, "MalformedInput"));
        let wrong_kind = put(vec![Doc::map([("MetricName", Doc::Int(1))])]);
        let reply = service.call(protocol, "PutMetricData", &wrong_kind).await;
        assert_eq!(error_of(protocol, &reply).0, "MalformedInput");
    }
    let broken_gzip =
        service.call_with(Protocol::Query, "", b"nonsense".to_vec(), &[("content-encoding", "gzip")]).await;
    assert_eq!(error_of(Protocol::Query, &broken_gzip).0, "MalformedInput");
    assert!(service.store.is_empty());
}

#[test]
async fn unsigned_requests_are_refused_in_each_protocol() {
    let service = Service::start().await;
    let input = put(vec![datum("m", 1.0)]);
    let body = |protocol| Bytes::from(encode(protocol, "PutMetricData", &input));
    let path = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
    let smithy = [("smithy-protocol", "rpc-v2-cbor"), ("x-amzn-query-mode", "true")];
    let replies = [
        (Protocol::Cbor, service.server.post(path, &smithy, body(Protocol::Cbor)).await),
        (Protocol::Query, service.server.post("/", &[], body(Protocol::Query)).await),
    ];
    for (protocol, reply) in replies {
        assert_eq!(reply.status, 403);
        assert_eq!(error_of(protocol, &reply).0, "MissingAuthenticationToken");
    }
    assert!(service.store.is_empty());
}

#[test]
fn our_cbor_is_what_another_reader_reads() {
    // ciborium reads independently of the writer under test.
    let doc = Doc::map([("t", Doc::Time(1500)), ("n", Doc::Int(-300)), ("v", Doc::List(vec![Doc::Float(0.1)]))]);
    let value: Value = ciborium::from_reader(&cbor::encode(&doc)[..]).unwrap();
    let expected = Value::Map(vec![
        (Value::Text("t".into()), Value::Tag(1, Box::new(Value::Float(1.5)))),
        (Value::Text("n".into()), Value::Integer((-300).into())),
        (Value::Text("v".into()), Value::Array(vec![Value::Float(0.1)])),
    ]);
    assert_eq!(value, expected);
}
