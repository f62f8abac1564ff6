//! How the API server is reached: the pod's own service account, or a kubeconfig.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{AuthError, Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;
use tower::ServiceBuilder;

use crate::client_error::{causes, exec_failure};
use cni_runtime::clock::Clock;

/// The most that an answer's headers may take, and the most that is read of a connection at once. The headers of a page
/// have less than 1 KB; what a pod answers passes the API server with all headers that the pod wrote.
pub(crate) const HEADERS_BYTES: usize = 32 << 10;

/// The same for lists, watches and leases, which only the API server answers: the least that hyper allows. The buffer of a
/// watch is as large as the largest part that it ever read at once, for as long as the watch lasts.
const WATCH_BYTES: usize = 8 << 10;

/// A connection on which nothing was asked for this long, by the helper's clock, is closed; at the latest after twice this time.
/// Without a timer, hyper closes none: those to nodes that are gone would be kept until the helper ends.
pub(crate) const UNUSED_CONNECTION: Duration = Duration::from_secs(90);

/// Where to find the API server; both `None` means the pod's service account, else the default kubeconfig.
#[derive(Debug, Clone, Default)]
pub struct ConnectSettings {
    /// A kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it.
    pub context: Option<String>,
    /// In a pod, without a kubeconfig of its own: the service account is used.
    pub is_in_pod: bool,
    /// `KUBECONFIG` names the kubeconfig that is used where none is given.
    pub is_named_by_variable: bool,
    /// How messages call the kubeconfig that is used where none is given, such as `~/.kube/config`.
    pub usual_kubeconfig: String,
}

impl ConnectSettings {
    /// The kubeconfig as messages call it.
    pub fn shown_kubeconfig(&self) -> String {
        self.kubeconfig.as_ref().map_or_else(|| self.usual_kubeconfig.clone(), |path| path.display().to_string())
    }

    /// The pod's service account is used, and no kubeconfig.
    fn uses_service_account(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none() && self.is_in_pod
    }

    fn read(&self) -> Result<Kubeconfig, KubeconfigError> {
        self.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from)
    }
}

/// An API server, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its URL.
    pub url: String,
    /// The context of the kubeconfig; `None` with the pod's service account.
    pub context: Option<String>,
}

impl Server {
    /// What went wrong with it, with its URL and the context.
    pub fn failed(&self, why: &str) -> String {
        let url = self.url.trim_end_matches('/');
        match &self.context {
            Some(context) => format!("{url}: {why} (context {context})"),
            None => format!("{url}: {why} (the pod's service account)"),
        }
    }
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Neither in a cluster nor a kubeconfig.
    #[error(
        "cannot find a Kubernetes cluster: not running in a pod (KUBERNETES_SERVICE_HOST is not set) and no usable \
         kubeconfig ({0}); pass --kubeconfig FILE, set KUBECONFIG, or run inside the cluster"
    )]
    NowhereToGo(String),
    /// The pod's service account cannot be used.
    #[error("the pod's service account cannot be used: {0}")]
    InCluster(String),
    /// A kubeconfig was named but cannot be used.
    #[error("kubeconfig {path} cannot be used: {reason}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kubeconfig has no context of this name.
    #[error("no context {name:?} in {file}; {}", known(.contexts))]
    NoContext {
        /// What was asked for.
        name: String,
        /// The kubeconfig, as messages call it.
        file: String,
        /// The contexts that it has.
        contexts: Vec<String>,
    },
    /// The contexts cannot be listed.
    #[error("--all-contexts needs a kubeconfig with contexts: {0}; pass --kubeconfig FILE, or set KUBECONFIG")]
    Contexts(String),
    /// The kubeconfig names a program that prints credentials, and it did not.
    #[error("the program {command}, which the kubeconfig names for credentials (users[].user.exec.command), {failure}")]
    Exec {
        /// The program.
        command: String,
        /// What it did.
        failure: String,
    },
    /// The client cannot be built from the configuration.
    #[error("the Kubernetes client cannot be built: {0}")]
    Client(String),
}

/// The contexts that there are, for a message: the first of them, and how many more.
fn known(contexts: &[String]) -> String {
    const MOST_NAMED: usize = 20;
    let named = contexts.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match contexts.len().saturating_sub(MOST_NAMED) {
        _ if contexts.is_empty() => "it has no context".to_owned(),
        0 => format!("it has: {named}"),
        more => format!("it has: {named} and {more} more"),
    }
}

/// A client for watches, and one for scrapes.
#[derive(Clone)]
pub struct Clients {
    /// The API server that they ask.
    pub server: Server,
    /// For lists and watches.
    pub watch: Client,
    /// For scrapes: no retries, since those of the library would hide a dead node for minutes.
    pub scrape: Client,
}

/// The names of all contexts of the kubeconfig, in its order. A service account has none.
pub fn contexts(settings: &ConnectSettings) -> Result<Vec<String>, ConnectError> {
    let file = settings.read().map_err(|error| match &settings.kubeconfig {
        Some(path) => unusable(path, error),
        None => ConnectError::Contexts(causes(&error)),
    })?;
    let names = names(file);
    if names.is_empty() { Err(ConnectError::Contexts("it has none".to_owned())) } else { Ok(names) }
}

fn names(file: Kubeconfig) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(file.contexts.len());
    for context in file.contexts {
        if !names.contains(&context.name) {
            names.push(context.name);
        }
    }
    names
}

/// The API server that these settings lead to. Only files are read.
pub async fn server(settings: &ConnectSettings) -> Result<Server, ConnectError> {
    load(settings).await.map(|(_, server)| server)
}

/// Builds both clients. Nothing is sent yet.
pub async fn connect(settings: &ConnectSettings, clock: &Clock) -> Result<Clients, ConnectError> {
    let (mut config, server) = load(settings).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.default_retry = false;
    let command = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
    let failed = |error| match (error, &command) {
        (kube::Error::Auth(AuthError::AuthExecStart(error)), Some(command)) => {
            let failure = format!("cannot be run: {error}; install it, or correct its name or PATH");
            ConnectError::Exec { command: command.clone(), failure }
        }
        (kube::Error::Auth(AuthError::AuthExecRun { out, .. }), Some(command)) => {
            ConnectError::Exec { command: command.clone(), failure: exec_failure(&out) }
        }
        (error, _) => ConnectError::Client(causes(&error)),
    };
    let mut watch = config.clone();
    // The watches have limits of their own; this is for a connection that dies while no request uses it.
    watch.read_timeout = Some(Duration::from_secs(100));
    let unused = clock.real(UNUSED_CONNECTION);
    let watch = client(watch, unused, WATCH_BYTES).map_err(&failed)?;
    let scrape = client(config, unused, HEADERS_BYTES).map_err(&failed)?;
    Ok(Clients { server, watch, scrape })
}

/// A client as kube builds it, with three differences: an answer's headers and the buffer of each connection have this limit,
/// where that of a connection on which a long list was read would keep some 400 KB; unused connections are closed; requests
/// are not traced. kube's own is used where the way leads through a proxy.
fn client(config: Config, unused: Duration, buffer_bytes: usize) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(unused)
        .http1_max_buf_size(buffer_bytes)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}

/// A kubeconfig that was named. Its path stands in the message already.
fn unusable(path: &Path, error: KubeconfigError) -> ConnectError {
    let path = path.display().to_string();
    let reason = match error {
        KubeconfigError::ReadConfig(error, _same_path) => error.to_string(),
        error => causes(&error).replace("<input>", &path),
    };
    ConnectError::Kubeconfig { path, reason }
}

async fn load(settings: &ConnectSettings) -> Result<(Config, Server), ConnectError> {
    if settings.uses_service_account() {
        let config = Config::incluster().map_err(|error| ConnectError::InCluster(causes(&error)))?;
        let server = Server { url: config.cluster_url.to_string(), context: None };
        return Ok((config, server));
    }
    let failed = |error: KubeconfigError| match &settings.kubeconfig {
        Some(path) => unusable(path, error),
        None => ConnectError::NowhereToGo(causes(&error)),
    };
    let file = settings.read().map_err(failed)?;
    let context = settings.context.clone().or_else(|| file.current_context.clone()).filter(|name| !name.is_empty());
    if let Some(name) = &context
        && !file.contexts.iter().any(|known| known.name == *name)
    {
        let (name, file, contexts) = (name.clone(), settings.shown_kubeconfig(), names(file));
        return Err(ConnectError::NoContext { name, file, contexts });
    }
    let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(file, &options).await.map_err(failed)?;
    let server = Server { url: config.cluster_url.to_string(), context };
    Ok((config, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(context: Option<&str>, text: &str) -> (tempfile::TempDir, ConnectSettings) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        let context = context.map(str::to_owned);
        (folder, ConnectSettings { kubeconfig: Some(path), context, ..ConnectSettings::default() })
    }

    fn file(contexts: usize) -> String {
        let context = |number| format!("- {{name: c{number}, context: {{cluster: one, user: u}}}}");
        let contexts = (0..contexts).map(context).collect::<Vec<_>>().join("\n");
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c0\nclusters:\n- {{name: one, cluster: {{server: 'https://a:6443'}}}}\n\
             users:\n- {{name: u, user: {{}}}}\ncontexts: \n{contexts}"
        )
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_is_named_with_those_that_are() {
        let (_folder, two) = settings(Some("nope"), &file(2));
        let path = two.shown_kubeconfig();
        let error = server(&two).await.unwrap_err().to_string();
        assert_eq!(error, format!("no context \"nope\" in {path}; it has: c0, c1"));
        let (_folder, many) = settings(Some("nope"), &file(30));
        assert!(server(&many).await.unwrap_err().to_string().ends_with("c18, c19 and 10 more"));
        let (_folder, none) = settings(Some("nope"), "apiVersion: v1\nkind: Config\n");
        assert!(server(&none).await.unwrap_err().to_string().ends_with("; it has no context"));
    }

    #[tokio::test]
    async fn a_failure_names_the_server_and_the_context() {
        for (context, expected) in [(None, "c0"), (Some("c1"), "c1")] {
            let (_folder, settings) = settings(context, &file(2));
            let server = server(&settings).await.unwrap();
            assert_eq!(
                server.failed("connection refused"),
                format!("https://a:6443: connection refused (context {expected})")
            );
        }
    }

    /// Answers each connection's first request with as many bytes of headers.
    async fn answers(listener: tokio::net::TcpListener, headers_bytes: usize) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _request = stream.read(&mut [0; 4096]).await.unwrap();
            let headers = format!("x-long: {}\r\n", "x".repeat(990)).repeat(headers_bytes / 1_000);
            let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\nconnection: close\r\n\r\n{{}}");
            // The client may have closed before it is all written.
            let _refused = stream.write_all(answer.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn the_buffers_of_connections_are_bounded_those_of_watches_more() {
        for (headers_bytes, expected) in [(2_000, [true, true]), (16_000, [false, true]), (64_000, [false, false])] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let text = file(1).replace("https://a:6443", &format!("http://{address}"));
            let (_folder, settings) = settings(None, &text);
            let server = tokio::spawn(answers(listener, headers_bytes));
            let Clients { watch, scrape, .. } = connect(&settings, &Clock::wall()).await.unwrap();
            for (name, client, expected) in [("watch", watch, expected[0]), ("scrape", scrape, expected[1])] {
                let request = http::Request::get("/version").body(Vec::new()).unwrap();
                let answer = client.request_text(request).await;
                assert_eq!(answer.is_ok(), expected, "{name}, {headers_bytes} bytes of headers: {answer:?}");
            }
            server.abort();
        }
    }
}
