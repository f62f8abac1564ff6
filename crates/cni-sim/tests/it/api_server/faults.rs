//! The API server as a whole in trouble.

use std::time::Duration;

use cni_sim::api_server::ApiServer;
use cni_sim::fault::ApiFault;
use cni_testkit::wait;
use http::Method;
use tokio::net::TcpStream;

use super::client::{get, send};
use super::cluster::TestCluster;

/// Nothing here takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(1);

/// Waits until the server accepts connections again.
pub(crate) async fn until_up(server: &ApiServer) {
    let address = server.http_address().unwrap();
    let answered = async || send(address, Method::GET, "/livez", &[], "").await.ok();
    wait::some_async("the server comes back", LIMIT, answered).await;
}

#[test]
async fn overload_answers_with_retry_after_for_its_share() {
    let cluster = TestCluster::new(1);
    let server = cluster.server();
    cluster.fault(ApiFault::Status { code: 429, retry_after_s: Some(3), share: 1.0 });
    let refused = get(&server, "/api/v1/pods").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "3"));
    assert_eq!(refused.json()["reason"], "TooManyRequests");
    assert_eq!(refused.json()["details"]["retryAfterSeconds"], 3);
    cluster.fault(ApiFault::Status { code: 503, retry_after_s: None, share: 0.5 });
    let mut refusals = 0;
    for _ in 0..40 {
        refusals += u32::from(get(&server, "/api/v1/namespaces").await.status == 503);
    }
    assert!((8..=32).contains(&refusals), "{refusals}");
}

#[test]
async fn a_server_that_is_down_refuses_and_comes_back_at_its_address() {
    let cluster = TestCluster::new(1);
    let server = cluster.server();
    let address = server.http_address().unwrap();
    cluster.fault(ApiFault::Down);
    // A connection that was being made when the listener closed is reset; the next one is refused.
    let refused = async || {
        let error = TcpStream::connect(address).await.err()?;
        (error.kind() != std::io::ErrorKind::ConnectionReset).then(|| error.kind())
    };
    let kind = wait::some_async("the server refuses", LIMIT, refused).await;
    assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
    cluster.fault(ApiFault::None);
    until_up(&server).await;
    assert_eq!(get(&server, "/api/v1/pods").await.status, 200);
}

#[test]
async fn latency_delays_and_stop_frees_the_port() {
    let cluster = TestCluster::new(1);
    let server = cluster.server();
    cluster.fault(ApiFault::Latency { delay_ms: 80 });
    let before = std::time::Instant::now();
    assert_eq!(get(&server, "/livez").await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(80));
    let address = server.http_address().unwrap();
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}
