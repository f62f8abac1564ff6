//! A plain HTTP client that hides nothing: one connection a request, bodies as they come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cni_sim::api_server::ApiServer;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text().chars().take(500).collect::<String>()))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

pub(crate) async fn get(server: &ApiServer, path: &str) -> Answered {
    get_with(server, path, &[]).await
}

pub(crate) async fn get_with(server: &ApiServer, path: &str, headers: &[(&str, &str)]) -> Answered {
    send(server.http_address().unwrap(), Method::GET, path, headers, "").await.unwrap()
}

/// The whole answer, or the error that cut it short.
pub(crate) async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answered, Box<dyn std::error::Error + Send + Sync>> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (parts, body) = open(stream, method, path, headers, body).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answered { status: parts.status, headers: parts.headers, body })
    };
    tokio::time::timeout(TIMEOUT, exchange).await.expect("an answer in time")
}

/// The answer's head and a body to be read at will.
pub(crate) async fn open<S>(
    stream: S,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<http::Response<Incoming>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "sim");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await
}

/// A TLS connection that trusts only the given CA.
pub(crate) async fn tls(
    address: SocketAddr,
    ca_pem: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect("127.0.0.1".try_into().unwrap(), TcpStream::connect(address).await?).await
}

/// A watch being read line by line.
pub(crate) struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
    pub(crate) status: StatusCode,
}

impl Watch {
    pub(crate) async fn start(server: &ApiServer, path: &str, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(server.http_address().unwrap()).await.unwrap();
        let response = open(stream, Method::GET, path, headers, "").await.unwrap();
        Self { status: response.status(), body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event; none when the server ended the watch or cut the connection.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(TIMEOUT, self.body.frame()).await.expect("an event in time")?.ok()?;
            self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }

    /// The next event's type, object name and resourceVersion.
    pub(crate) async fn next_brief(&mut self) -> (String, String, u64) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &event["object"]["metadata"];
        (text(&event["type"]), text(&metadata["name"]), text(&metadata["resourceVersion"]).parse().unwrap_or_default())
    }
}
