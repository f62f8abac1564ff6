//! Scrapes, through the proxy and directly, with every kind of answer; and how many of them a second.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cni_sim::api_server::{ApiServer, ApiServerOptions, Backend};
use cni_sim::cluster::Answer;
use cni_sim::node::NodeServer;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;

use super::client::{get, get_with, open, send};
use super::cluster::{PAGE, TestCluster, node_ip, pod_name, ticket};

fn proxy(index: u32) -> String {
    format!("/api/v1/namespaces/kube-system/pods/{}:61678/proxy/metrics", pod_name(index))
}

fn nodes(cluster: &Arc<TestCluster>) -> NodeServer {
    NodeServer::start(Arc::clone(cluster) as Arc<dyn Backend>, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap()
}

async fn refusal(server: &ApiServer, path: &str) -> (u16, String) {
    let answer = get(server, path).await;
    (answer.status.as_u16(), answer.json()["message"].as_str().unwrap().to_owned())
}

#[test]
async fn a_page_arrives_and_counts_once_it_has() {
    let cluster = TestCluster::new(2);
    let server = cluster.server();
    cluster.answer(&pod_name(1), Answer::Page { body: PAGE.into(), ticket: ticket(41) });
    let page = get(&server, &proxy(1)).await;
    assert_eq!(page.text(), PAGE);
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert_eq!(page.header("date"), "Sat, 21 Nov 2026 03:00:00 GMT");
    assert_eq!(cluster.delivered_at_least(1).await, [41]);
    let packed = get_with(&server, &proxy(1), &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, PAGE);
    assert_eq!(cluster.delivered_at_least(2).await, [41, 41]);
}

#[test]
async fn what_the_proxy_cannot_reach_is_503_in_its_own_words() {
    let cluster = TestCluster::new(4);
    let options = ApiServerOptions { dial_timeout: Duration::from_millis(30), ..ApiServerOptions::default() };
    let server = cluster.server_with(options);
    cluster.answer(&pod_name(0), Answer::Refused);
    cluster.answer(&pod_name(1), Answer::Dropped);
    cluster.answer(&pod_name(2), Answer::Reset);
    let reach = "error trying to reach service:";
    let refused = format!("{reach} dial tcp 127.1.0.1:61678: connect: connection refused");
    assert_eq!(refusal(&server, &proxy(0)).await, (503, refused.clone()));
    assert_eq!(refusal(&server, &proxy(1)).await, (503, format!("{reach} dial tcp 127.1.0.2:61678: i/o timeout")));
    assert_eq!(refusal(&server, &proxy(2)).await, (503, format!("{reach} EOF")));
    let wrong_port = proxy(0).replace("61678", "61679");
    assert_eq!(refusal(&server, &wrong_port).await, (503, refused.replace("61678", "61679")));
    assert_eq!(refusal(&server, &proxy(9)).await, (404, format!("pods \"{}\" not found", pod_name(9))));
    let https = proxy(3).replace("pods/", "pods/https:");
    assert_eq!(refusal(&server, &https).await.0, 503);
    let http = proxy(3).replace("pods/", "pods/http:");
    assert_eq!(get(&server, &http).await.text(), PAGE);
    assert_eq!(get(&server, &proxy(3).replace("/metrics", "/other")).await.status, 404);
    assert_eq!(cluster.delivered_at_least(1).await, [0], "only the one page");
}

#[test]
async fn bad_answers_of_the_agent_pass_through_and_do_not_count() {
    let cluster = TestCluster::new(5);
    let server = cluster.server();
    let body = Bytes::from_static(b"<html>");
    let status = Answer::Status { code: 502, retry_after_s: Some(7), content_type: "text/html", body: body.clone() };
    cluster.answer(&pod_name(0), status);
    let answer = get(&server, &proxy(0)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after"), answer.text()), (502, "7", "<html>"));

    cluster.answer(&pod_name(1), Answer::Truncated { body, announced_bytes: 100 });
    let address = server.http_address().unwrap();
    assert!(send(address, Method::GET, &proxy(1), &[], "").await.is_err(), "the body is cut short");

    cluster.answer(&pod_name(2), Answer::Huge { bytes: 3_000_000 });
    let huge = get(&server, &proxy(2)).await;
    assert_eq!(huge.body.len(), 3_000_000);
    assert!(huge.text().lines().all(|line| line.starts_with('#')));

    cluster.answer(&pod_name(3), Answer::GzipBomb { unpacked_bytes: 20_000_000 });
    let bomb = get(&server, &proxy(3)).await;
    assert!(bomb.body.len() < 400_000, "{}", bomb.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bomb.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked.len(), 20_000_000);
    assert!(cluster.deliveries().is_empty());
}

#[test]
async fn slow_pages_count_at_their_end_and_not_when_the_reader_leaves() {
    let cluster = TestCluster::new(3);
    let server = cluster.server();
    let slow = |number, bytes_per_second| Answer::SlowPage {
        body: PAGE.into(),
        bytes_per_second,
        first_byte_after: Duration::from_millis(20),
        ticket: ticket(number),
    };
    cluster.answer(&pod_name(0), slow(1, 1000));
    cluster.answer(&pod_name(1), slow(2, 10));
    cluster.answer(&pod_name(2), Answer::EndlessSlow);
    let before = Instant::now();
    assert_eq!(get(&server, &proxy(0)).await.text(), PAGE);
    assert!(before.elapsed() >= Duration::from_millis(50), "{:?}", before.elapsed());
    assert_eq!(cluster.delivered_at_least(1).await, [1]);
    for index in [1, 2] {
        let stream = TcpStream::connect(server.http_address().unwrap()).await.unwrap();
        let mut body = open(stream, Method::GET, &proxy(index), &[], "").await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), 1);
    }
    // A page that follows on its own connection is delivered; those that were left are not.
    cluster.answer(&pod_name(0), Answer::Page { body: PAGE.into(), ticket: ticket(3) });
    get(&server, &proxy(0)).await;
    assert_eq!(cluster.delivered_at_least(2).await, [1, 3]);
}

#[test]
async fn a_hanging_agent_never_answers() {
    let cluster = TestCluster::new(1);
    let server = cluster.server();
    cluster.answer(&pod_name(0), Answer::Hang);
    let stream = TcpStream::connect(server.http_address().unwrap()).await.unwrap();
    let path = proxy(0);
    let waiting = open(stream, Method::GET, &path, &[], "");
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
}

#[test]
async fn nodes_are_told_apart_by_the_address_that_was_connected_to() {
    let cluster = TestCluster::new(3);
    let nodes = nodes(&cluster);
    let port = nodes.address().port();
    for index in 0..3 {
        cluster.answer(
            &pod_name(index),
            Answer::Page { body: format!("node {index}\n").into(), ticket: ticket(u64::from(index)) },
        );
    }
    for index in 0..3 {
        let address = SocketAddr::from((node_ip(index), port));
        let page = send(address, Method::GET, "/metrics", &[], "").await.unwrap();
        assert_eq!(page.text(), format!("node {index}\n"));
        assert_eq!(send(address, Method::GET, "/", &[], "").await.unwrap().status, 404);
    }
    assert_eq!(cluster.delivered_at_least(3).await, [0, 1, 2]);
    let nobody = SocketAddr::from((node_ip(77), port));
    assert!(send(nobody, Method::GET, "/metrics", &[], "").await.is_err());
    cluster.answer(&pod_name(0), Answer::Refused);
    assert!(send(SocketAddr::from((node_ip(0), port)), Method::GET, "/metrics", &[], "").await.is_err());
    nodes.stop().await;
    assert!(TcpStream::connect(SocketAddr::from((node_ip(1), port))).await.is_err());
}

/// Scrapes 10,000 pages of real size through the proxy, 64 at a time, and prints the rate; fails only when a round of
/// 30 s could not hold them.
#[test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_scrapes_fit_in_a_round() {
    const SCRAPES: u32 = 10_000;
    const AT_ONCE: u32 = 64;
    let cluster = TestCluster::new(100);
    let server = cluster.server();
    let page = Bytes::from("awscni_assigned_ip_addresses 12\n".repeat(380));
    for index in 0..100 {
        cluster.answer(&pod_name(index), Answer::Page { body: page.clone(), ticket: ticket(1) });
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let origin = format!("http://{}", server.http_address().unwrap());
    let before = Instant::now();
    let workers = (0..AT_ONCE).map(|worker| {
        let (client, origin, length) = (client.clone(), origin.clone(), page.len());
        tokio::spawn(async move {
            for scrape in (worker..SCRAPES).step_by(AT_ONCE as usize) {
                let uri = format!("{origin}{}", proxy(scrape % 100));
                let response = client.request(Request::get(uri).body(Empty::new()).unwrap()).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), length);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let took = before.elapsed();
    println!("{SCRAPES} proxied scrapes of {} bytes in {took:?}", page.len());
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(cluster.delivered_at_least(SCRAPES as usize).await.len(), SCRAPES as usize);
}
