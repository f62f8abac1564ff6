use std::convert::Infallible;
use std::sync::Arc;

use axum::routing::get;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;

/// Nothing here takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(1);

/// Waits until the condition holds: that a connection was closed sends no event.
async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let looks = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LIMIT, looks).await.is_ok(), "not within {LIMIT:?}: {what}");
}

#[tokio::test]
async fn every_address_means_both_families_and_is_shown_as_it_was_given() {
    let given = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let listener = bind(given).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    // A machine without IPv6 has no client that could come by it.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    }
    assert_eq!(shown(given, &listener).unwrap().to_string(), format!("0.0.0.0:{port}"));
}

#[tokio::test]
async fn an_address_is_only_that_address_and_a_taken_one_is_an_error() {
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(address.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert!(bind(address).await.is_err());
    assert!(bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).await.is_err());
}

async fn started(name: Listener, router: Router, limits: Limits) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(name, listener, router, limits)))
}

async fn asked(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = async {
        let mut some = [0; 4096];
        while let Ok(bytes @ 1..) = stream.read(&mut some).await {
            text.extend(&some[..bytes]);
        }
    };
    timeout(LIMIT, read).await.expect("the server closes the connection");
    String::from_utf8(text).unwrap()
}

const PING: &str = "GET /ping HTTP/1.1\r\nHost: test\r\n\r\n";

fn ping() -> Router {
    Router::new().route("/ping", get(|| async { "pong" }))
}

#[tokio::test]
async fn half_requests_cost_a_bounded_number_of_connections_and_no_probe() {
    let limits = Limits { connections: 8, answers: 8, request: LIMIT, total: LIMIT };
    let before = Listener::Admin.closed(Closed::Limit);
    let (address, serving) = started(Listener::Admin, ping(), limits).await;
    let mut half = Vec::new();
    for _ in 0..300 {
        half.push(asked(address, "GET /ping HT").await);
    }
    let answer = rest(asked(address, PING).await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("pong"), "{answer}");
    assert!(answer.contains("connection: close"), "one request per connection: {answer}");
    // All but the newest few were closed.
    for closed in half.drain(..290) {
        assert_eq!(rest(closed).await, "");
    }
    assert!(Listener::Admin.closed(Closed::Limit) - before >= 292);
    serving.abort();
}

#[tokio::test]
async fn a_request_that_does_not_come_is_given_up() {
    let limits = Limits { connections: 8, answers: 8, request: Duration::from_millis(50), total: LIMIT };
    let before = Listener::Prometheus.closed(Closed::Timeout);
    let (address, serving) = started(Listener::Prometheus, ping(), limits).await;
    let began = Instant::now();
    rest(asked(address, "GET /ping HT").await).await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    wait_for("it is counted", || Listener::Prometheus.closed(Closed::Timeout) > before).await;
    serving.abort();
}

/// A page that never ends and holds something until it is dropped.
fn endless(held: &Arc<()>) -> Router {
    let held = Arc::clone(held);
    let page = move || {
        let held = Arc::clone(&held);
        async move {
            let pieces = futures::stream::repeat_with(move || {
                let _kept = Arc::clone(&held);
                Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 << 10]))
            });
            Body::from_stream(pieces)
        }
    };
    ping().route("/endless", get(page))
}

#[tokio::test]
async fn slow_readers_hold_no_more_answers_than_allowed_and_stop_no_one() {
    let limits = Limits { connections: 64, answers: 3, request: LIMIT, total: LIMIT };
    let held = Arc::new(());
    let router = endless(&held);
    let of_the_router = Arc::strong_count(&held);
    let (address, serving) = started(Listener::Prometheus, router, limits).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = asked(address, "GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await;
        // It is being answered once something came.
        stream.read_exact(&mut [0; 16]).await.unwrap();
        slow.push(stream);
    }
    let answer = rest(asked(address, PING).await).await;
    assert!(answer.ends_with("pong"), "{answer}");
    wait_for("only the newest answers are held", || Arc::strong_count(&held) <= of_the_router + limits.answers).await;
    serving.abort();
}

#[tokio::test]
async fn an_answer_that_is_not_taken_in_time_is_given_up() {
    let limits = Limits { connections: 8, answers: 8, request: LIMIT, total: Duration::from_millis(200) };
    let held = Arc::new(());
    let router = endless(&held);
    let of_the_router = Arc::strong_count(&held);
    let (address, serving) = started(Listener::Prometheus, router, limits).await;
    // It is being answered once something came; on a busy machine the time may be over before.
    let give_up = Instant::now() + LIMIT;
    let mut slow = asked(address, "GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await;
    while slow.read_exact(&mut [0; 16]).await.is_err() {
        assert!(Instant::now() < give_up, "no answer begins");
        slow = asked(address, "GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await;
    }
    wait_for("the answer is given up", || Arc::strong_count(&held) <= of_the_router).await;
    serving.abort();
}
