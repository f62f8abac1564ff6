//! Straight to the node's address: plain HTTP, as the agent serves it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::failure::ScrapeError;
use super::settings::ScrapeSettings;
use super::{body, proxy};
use crate::discover::Pod;
use crate::discover::connect::HEADERS_BYTES;

#[derive(Clone)]
pub(super) struct Direct {
    client: Client<HttpConnector, Empty<Bytes>>,
    port: u16,
    budget: body::Budget,
}

impl Direct {
    pub(super) fn new(settings: &ScrapeSettings, budget: body::Budget) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
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
