//! Straight to the node's address: plain HTTP, as the agent serves it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::failure::ScrapeError;
use super::settings::ScrapeSettings;
use super::{body, proxy};
use crate::discover::Pod;
use crate::discover::connect::{HEADERS_BYTES, UNUSED_CONNECTION};
use cni_runtime::clock::Clock;

#[derive(Clone)]
pub(super) struct Direct {
    client: Client<HttpConnector, Empty<Bytes>>,
    port: u16,
    budget: body::Budget,
}

impl Direct {
    pub(super) fn new(settings: &ScrapeSettings, clock: &Clock, budget: body::Budget) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.timeout));
        connector.set_nodelay(true);
        // Without a timer, the connection to a node that is not asked again would be kept until the helper ends.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(clock.real(UNUSED_CONNECTION))
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(HEADERS_BYTES)
            .build(connector);
        Self { client, port: settings.port, budget }
    }

    pub(super) async fn fetch(
        &self,
        pod: &Pod,
        limit: body::Limit,
        keep_connection: bool,
    ) -> Result<body::Text, ScrapeError> {
        let address = SocketAddr::new(pod.ip.ok_or(ScrapeError::NoAddress)?, self.port);
        let mut request = proxy::page_request(Request::get(format!("http://{address}/metrics")), Empty::new())?;
        if !keep_connection {
            // The agent closes the connection and so holds its TIME_WAIT state: one per agent, instead of thousands here.
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let response = self.client.request(request).await.map_err(|error| ScrapeError::from_client(&error))?;
        let (head, page) = response.into_parts();
        if head.status == StatusCode::OK {
            return self.budget.read(&head.headers, page, limit).await;
        }
        let text = body::beginning(page, body::Limit { bytes: proxy::ERROR_BYTES, ..limit }).await;
        Err(proxy::classify_direct(head.status, &head.headers, &text))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cni_metrics_core::model::FailureKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::settings::Via;
    use super::*;

    /// Longer than any wait here takes on a busy machine.
    const LIMIT: Duration = Duration::from_mins(1);

    /// Answers one request with a page, and leaves the connection open.
    async fn one_page(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).await.unwrap();
            request.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n").await.unwrap();
        stream
    }

    #[tokio::test]
    async fn the_connection_to_a_node_that_is_not_asked_again_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = ScrapeSettings {
            via: Via::Direct,
            concurrency: None,
            timeout: LIMIT,
            max_bytes: 1 << 20,
            namespace: "kube-system".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let direct = Direct::new(&settings, &Clock::wall(), body::Budget::default());
        let pod = Pod { ip: Some([127, 0, 0, 1].into()), ..Pod::running("gone", "gone") };
        let limit = body::Limit { bytes: 1 << 20, deadline: tokio::time::Instant::now() + LIMIT };
        let (page, mut node) = tokio::join!(direct.fetch(&pod, limit, true), one_page(&listener));
        assert_eq!(page.map_err(|error| -> FailureKind { error.kind() }).unwrap().bytes, b"a 1\n");

        let mut rest = [0];
        let still_open = tokio::time::timeout(Duration::from_millis(50), node.read(&mut rest)).await;
        assert!(still_open.is_err(), "kept for the next round");
        tokio::time::pause();
        tokio::time::advance(UNUSED_CONNECTION * 3).await;
        tokio::time::resume();
        let closed = tokio::time::timeout(LIMIT, node.read(&mut rest)).await.expect("it is still open");
        assert_eq!(closed.unwrap(), 0);
    }
}
