//! A cluster that keeps its pages shows what one that renders them does, tells what its sockets saw, and answers late.

use std::io::Read;
use std::time::{Duration, Instant};

use cni_sim::api_server::Backend;
use cni_sim::cluster::{Answer, PodKey, SimulatedCluster, Via};
use cni_sim::scenario::{Scenario, Span};
use cni_sim::{Sim, SimOptions};
use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const START_MS: i64 = 1_772_352_000_000;

fn agents(cluster: &SimulatedCluster) -> Vec<PodKey> {
    cluster.kube().pods().iter().map(|pod| PodKey::new(&*pod.meta.namespace, &*pod.meta.name)).collect()
}

/// The page as its reader unpacks it.
fn kept(cluster: &SimulatedCluster, pod: &PodKey) -> String {
    let packed = if let Answer::KeptPage { packed, .. } = cluster.serve(pod, Via::Proxy) { Some(packed) } else { None };
    let mut text = String::new();
    GzDecoder::new(&*packed.unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn fresh(cluster: &SimulatedCluster, pod: &PodKey) -> String {
    String::from_utf8(cluster.peek(pod).unwrap().to_vec()).unwrap()
}

#[test]
fn kept_pages_say_what_fresh_ones_do() {
    let cluster = SimulatedCluster::new(&Scenario::calm(12), 7, START_MS).unwrap();
    cluster.keep_pages(true);
    let pods = agents(&cluster);
    cluster.prepare_pages();
    for minute in 0..5 {
        cluster.advance_to(START_MS + minute * 60_000);
        for pod in &pods {
            assert!(kept(&cluster, pod) == fresh(&cluster, pod), "{pod} after {minute} minutes");
        }
    }
    let before = kept(&cluster, &pods[0]);
    // The same moment, and something happens to the node.
    let restart = "{ fault: { restart: {} } }";
    cluster.inject(serde_saphyr::from_str(restart).unwrap());
    cluster.advance_to(cluster.now_ms());
    match cluster.serve(&pods[0], Via::Proxy) {
        Answer::KeptPage { .. } => assert!(kept(&cluster, &pods[0]) == fresh(&cluster, &pods[0])),
        other => assert!(matches!(other, Answer::Refused), "an agent that starts serves no page, not {other:?}"),
    }
    cluster.advance_to(cluster.now_ms() + 60_000);
    let after = kept(&cluster, &pods[0]);
    assert!(after == fresh(&cluster, &pods[0]) && after != before);
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
async fn the_sockets_tell_what_they_saw_and_nodes_answer_late() {
    let mut scenario = Scenario::calm(3);
    scenario.cluster.node_latency = Span { ms: 80 };
    let options = SimOptions { keep_pages: true, ..SimOptions::new(scenario).lockstep() };
    let sim = Sim::start(options).await.unwrap();
    let pods = agents(sim.cluster());
    let (api, port) = (sim.api_server().http_address().unwrap(), sim.cluster().metrics_port());
    // Made before it was served: a page kept for a moment does not count the scrapes within it.
    let pages: Vec<String> = pods.iter().map(|pod| fresh(sim.cluster(), pod)).collect();
    let began = Instant::now();
    for (pod, page) in pods.iter().zip(&pages) {
        let path = format!("/api/v1/namespaces/{}/pods/{}:{port}/proxy/metrics", pod.namespace, pod.name);
        // No client asked for gzip, and none gets it.
        assert!(get(api, &path).await == *page, "{pod} shows another page");
    }
    assert!(began.elapsed() >= Duration::from_millis(3 * 80), "{:?}", began.elapsed());
    // On a busy machine the pause between two of them may be that between two rounds.
    let sum = |stats: &serde_json::Value, figure: &str| -> u64 {
        stats["bursts"].as_array().unwrap().iter().map(|burst| burst[figure].as_u64().unwrap()).sum()
    };
    // A page is noted once its socket has taken the last byte, which may be after its reader has it.
    let give_up = Instant::now() + Duration::from_mins(1);
    let stats = loop {
        let stats: serde_json::Value = serde_json::from_str(&get(sim.control_address(), "/stats").await).unwrap();
        if sum(&stats, "delivered") >= 3 && stats["pages_open"] == 0 {
            break stats;
        }
        assert!(Instant::now() < give_up, "{stats}");
    };
    assert_eq!(stats["requests"]["get pods/proxy"], 3);
    assert_eq!((sum(&stats, "asked"), sum(&stats, "delivered")), (3, 3), "{stats}");
    assert_eq!(stats["listeners"]["http"]["accepted"], 3);
    assert!(stats["listeners"]["http"]["bytes_out"].as_u64().unwrap() > 30_000, "{stats}");
    assert_eq!(stats["listeners"]["https"]["accepted"], 0);
    sim.stop().await;
}
