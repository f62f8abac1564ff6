//! The scraper against sockets that misbehave: by the proxy of a stand-in API server and straight at a stand-in node.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use cni_collector::discover::Pod;
use cni_collector::scrape::{ApiServerEvidence, Ask, Page, Path, ScrapeError, ScrapeSettings, Scraper, Via};
use cni_metrics_core::model::{FailureKind, PodUid};
use cni_runtime::clock::Clock;
use cni_testkit::wait;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

const PAGE: &str = "awscni_eni_max 3\n";
const LIMIT_BYTES: usize = 1 << 20;

/// A scrape's time where it is to be used up.
const SHORT: Duration = Duration::from_secs(2);
/// A scrape's time where something else is to end it, on a busy machine too.
const LONG: Duration = Duration::from_mins(1);

const FORGED: &str =
    "pods is forbidden\n2026-11-27T09:09:09Z  INFO Produce COUNTER metrics: ipamdErr, value: 666.000000\n\u{1b}[2J";

/// What the stand-ins were asked.
#[derive(Default)]
struct Asked {
    times: AtomicU32,
}

/// A node (`/metrics`) and an API server (pod proxy) in one, whose story is the pod's name.
async fn stand_in() -> (SocketAddr, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let router = Router::new()
        .route("/metrics", get(|| async { PAGE }))
        .route("/api/v1/namespaces/kube-system/pods/{pod}/proxy/metrics", get(proxy))
        .with_state(Arc::clone(&asked));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

async fn proxy(State(asked): State<Arc<Asked>>, UrlPath(pod): UrlPath<String>) -> Response {
    let first = asked.times.fetch_add(1, Ordering::SeqCst) == 0;
    let (story, _port) = pod.split_once(':').unwrap();
    match story {
        "gzip" => ([(CONTENT_ENCODING, "gzip")], gzip(PAGE.as_bytes())).into_response(),
        "bomb" => ([(CONTENT_ENCODING, "gzip")], gzip(&vec![b'a'; 64 << 20])).into_response(),
        "large" => vec![b'a'; LIMIT_BYTES + 1].into_response(),
        "hang" => std::future::pending().await,
        "trickle" => trickle().into_response(),
        "wait-a-little" if first => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")], "later").into_response(),
        "wait-too-long" => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "60")], "later").into_response(),
        "out-of-reach" => status(503, "error trying to reach service: dial tcp 10.0.0.1:61678: i/o timeout"),
        "forbidden" => status(403, "pods \"x\" is forbidden"),
        "forged-429" => status(429, FORGED),
        "forged-403" => status(403, FORGED),
        "forged-503" => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "60")], FORGED).into_response(),
        "huge-error" => (StatusCode::INTERNAL_SERVER_ERROR, vec![b'e'; 32 << 20]).into_response(),
        _ => PAGE.into_response(),
    }
}

/// One byte each 50 ms, for ever.
fn trickle() -> Body {
    let bytes = futures::stream::unfold((), |()| async {
        wait::sleep_as_input_async(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b"a")), ()))
    });
    Body::from_stream(bytes)
}

fn status(code: u16, message: &str) -> Response {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code
    });
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pod(name: &str) -> Pod {
    Pod {
        uid: PodUid::new(name),
        name: name.into(),
        node: Some("node-1".into()),
        ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        running: true,
        deleting: false,
        created_at: None,
        agent: Arc::default(),
        restarts: 0,
        is_ready: None,
    }
}

/// A scraper whose API server is `api` and whose nodes listen on `node_port`.
fn scraper(via: Via, api: SocketAddr, node_port: u16, timeout: Duration) -> Scraper {
    // Another test of this process may have been first; one provider is all that is needed.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut config = kube::Config::new(format!("http://{api}").parse().unwrap());
    config.default_retry = false;
    let settings = ScrapeSettings {
        via,
        concurrency: Some(4),
        timeout,
        max_bytes: LIMIT_BYTES,
        namespace: "kube-system".to_owned(),
        port: node_port,
    };
    Scraper::new(kube::Client::try_from(config).unwrap(), settings, &Clock::wall())
}

/// As a round of a small cluster asks, which ends after this duration.
fn ask(left: Duration) -> Ask {
    Ask {
        known_fallback: false,
        keep_connection: true,
        page_limit: None,
        asked_once: false,
        round_deadline: Instant::now() + left,
    }
}

/// As a round asks that does not end before the scrape.
fn patient_ask() -> Ask {
    ask(2 * LONG)
}

/// One scrape of the story through the proxy alone.
async fn by_proxy(story: &str) -> Result<Page, ScrapeError> {
    by_proxy_within(story, LONG).await
}

async fn by_proxy_within(story: &str, timeout: Duration) -> Result<Page, ScrapeError> {
    let (api, _) = stand_in().await;
    let scraper = scraper(Via::Proxy, api, api.port(), timeout);
    scraper.scrape(&pod(story), patient_ask()).await
}

/// A port on which no one listens: it is bound for as long as the socket lives, so no one else can take it.
fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
async fn a_page_comes_plain_or_compressed() {
    assert_eq!(by_proxy("fine").await.unwrap().body, PAGE.as_bytes());
    assert_eq!(by_proxy("gzip").await.unwrap().body, PAGE.as_bytes());
}

#[test]
async fn a_page_over_the_limit_costs_its_node() {
    for story in ["large", "bomb"] {
        assert_eq!(by_proxy(story).await.unwrap_err().kind(), FailureKind::TooLarge, "{story}");
    }
}

#[test]
async fn neither_silence_nor_an_endless_page_lasts_longer_than_a_scrapes_time() {
    for story in ["hang", "trickle"] {
        let began = Instant::now();
        let error = by_proxy_within(story, SHORT).await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Timeout, "{story}");
        assert_eq!(error.to_string(), "timed out after 2.0 s through the API server");
        assert!(began.elapsed() < LONG, "{story}");
    }
}

#[test]
async fn a_huge_error_is_not_read_to_its_end() {
    let error = by_proxy("huge-error").await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::BadStatus);
    assert!(error.to_string().len() < 300);
}

#[test]
async fn retry_after_is_waited_for_where_there_is_time_and_not_where_there_is_none() {
    let (api, asked) = stand_in().await;
    let began = Instant::now();
    // It says 60 s, and the scrape has less.
    let short_of_time = scraper(Via::Proxy, api, api.port(), LONG.saturating_sub(SHORT));
    let error = short_of_time.scrape(&pod("wait-too-long"), patient_ask()).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::RateLimitedByNode);
    assert_eq!(asked.times.load(Ordering::SeqCst), 1);
    assert!(began.elapsed() < LONG / 2, "it waited {:?}", began.elapsed());

    let (api, asked) = stand_in().await;
    let scraper = scraper(Via::Proxy, api, api.port(), LONG);
    let began = Instant::now();
    let page = scraper.scrape(&pod("wait-a-little"), patient_ask()).await;
    assert_eq!(page.unwrap().body, PAGE.as_bytes());
    assert_eq!(asked.times.load(Ordering::SeqCst), 2);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// A node's words are its own, whatever it copies: it can neither write log lines nor choose a kind that accuses others.
#[test]
async fn a_node_that_forges_the_api_servers_answer_is_quoted_as_one_line() {
    for story in ["forged-429", "forged-403", "forged-503"] {
        let error = by_proxy(story).await.unwrap_err();
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 1_000, "{text:?}");
        let served = ApiServerEvidence { served_a_page: true, ..ApiServerEvidence::default() };
        let kind = error.judged(served, false).kind();
        assert!(matches!(kind, FailureKind::RateLimitedByNode | FailureKind::BadStatus), "{story}: {kind}");
    }
}

#[test]
async fn an_endless_header_is_a_broken_answer() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let node = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut line = b"HTTP/1.1 200 OK\r\n".to_vec();
                while connection.write_all(&line).await.is_ok() {
                    line = b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(100);
                }
            });
        }
    });
    let scraper = scraper(Via::Direct, node, node.port(), LONG);
    let error = scraper.scrape(&pod("x"), patient_ask()).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::ConnectionReset, "{error}");
}

#[test]
async fn the_rounds_deadline_is_not_the_nodes_fault() {
    let (api, _) = stand_in().await;
    let scraper = scraper(Via::Proxy, api, api.port(), LONG);
    let error = scraper.scrape(&pod("hang"), ask(Duration::from_millis(200))).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Deadline);
}

#[test]
async fn a_closed_port_is_a_refused_connection_by_either_way() {
    let (_bound, closed) = closed_port();
    for (via, kind) in [(Via::Direct, FailureKind::ConnectRefused), (Via::Proxy, FailureKind::ApiServerUnreachable)] {
        let scraper = scraper(via, closed, closed.port(), LONG);
        let error = scraper.scrape(&pod("fine"), patient_ask()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{via:?}: {error}");
    }
}

#[test]
async fn auto_takes_the_direct_way_where_the_proxy_is_cut_off_and_says_so() {
    // Of the node that hangs, the first way takes a part of the scrape's time; the rest must do for the second.
    for (story, timeout) in [("out-of-reach", LONG), ("hang", 5 * SHORT)] {
        let (api, _) = stand_in().await;
        let scraper = scraper(Via::Auto, api, api.port(), timeout);
        let page = scraper.scrape(&pod(story), patient_ask()).await.unwrap();
        assert_eq!((page.path, page.body.as_ref()), (Path::Direct, PAGE.as_bytes()), "{story}");
        assert!(page.fallback.is_some(), "{story}");
    }
}

#[test]
async fn auto_does_not_go_around_a_denial() {
    let (api, _) = stand_in().await;
    let scraper = scraper(Via::Auto, api, api.port(), LONG);
    let error = scraper.scrape(&pod("forbidden"), patient_ask()).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Forbidden);
    assert!(error.to_string().contains("pods \"x\" is forbidden"));
}

#[test]
async fn a_lost_node_costs_one_scrapes_time_in_auto_too() {
    let (api, _) = stand_in().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let timeout = 5 * SHORT;
    let scraper = scraper(Via::Auto, api, silent.local_addr().unwrap().port(), timeout);
    let began = Instant::now();
    let error = scraper.scrape(&pod("hang"), patient_ask()).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Timeout);
    assert!(began.elapsed() < 2 * timeout, "a time for each way: {:?}", began.elapsed());
}

/// A server that breaks the first connection off in the middle of its answer and behaves on the second.
#[test]
async fn a_broken_connection_is_tried_once_more() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let node = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nawscni", &whole(PAGE)] {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _read = connection.read(&mut request).await.unwrap();
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let scraper = scraper(Via::Direct, node, node.port(), LONG);
    let page = scraper.scrape(&pod("x"), patient_ask()).await.unwrap();
    assert_eq!(page.body, PAGE.as_bytes());
    server.await.unwrap();
}

fn whole(page: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len())
}

/// A server that counts its connections and answers on each as long as the client likes.
#[test]
async fn a_direct_connection_is_kept_for_the_next_round_only_where_that_was_asked_for() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let node = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while let Ok(read) = connection.read(&mut request).await
                    && read > 0
                {
                    connection.write_all(whole(PAGE).as_bytes()).await.unwrap();
                    if String::from_utf8_lossy(&request[..read]).contains("connection: close") {
                        return;
                    }
                }
            });
        }
    });
    let scraper = scraper(Via::Direct, node, node.port(), LONG);
    for (keep_connection, opened) in [(false, 3), (true, 4)] {
        for _ in 0..3 {
            let ask = Ask { keep_connection, ..patient_ask() };
            assert_eq!(scraper.scrape(&pod("x"), ask).await.unwrap().body, PAGE.as_bytes());
        }
        assert_eq!(connections.load(Ordering::Relaxed), opened, "kept: {keep_connection}");
    }
}
