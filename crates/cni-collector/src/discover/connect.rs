//! How the API server is reached: the pod's own service account, or a kubeconfig.

use std::path::PathBuf;
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{AuthError, Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;
use tower::ServiceBuilder;

use crate::client_error::{causes, exec_failure};

/// The most that an answer's headers may take, and the most that is read of a connection at once. The headers of a page
/// have less than 1 KB; what a pod answers passes the API server with all headers that the pod wrote.
pub(crate) const HEADERS_BYTES: usize = 32 << 10;

/// Where to find the API server; both `None` means the pod's service account, else the default kubeconfig.
#[derive(Debug, Clone, Default)]
pub struct ConnectSettings {
    /// A kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it.
    pub context: Option<String>,
    /// In a pod, without a kubeconfig of its own: the service account is used.
    pub is_in_pod: bool,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Neither in a cluster nor a kubeconfig.
    #[error(
        "no Kubernetes API server to talk to: not running in a pod (KUBERNETES_SERVICE_HOST is not set) and no usable \
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

/// A client for watches, and one for scrapes.
#[derive(Clone)]
pub struct Clients {
    /// For lists and watches: the library's own retries on.
    pub watch: Client,
    /// For scrapes: no retries, since those of the library would hide a dead node for minutes.
    pub scrape: Client,
}

/// The names of all contexts of the kubeconfig, in its order. A service account has none.
pub fn contexts(settings: &ConnectSettings) -> Result<Vec<String>, ConnectError> {
    let file = match &settings.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .map_err(|error| ConnectError::Kubeconfig { path: path.display().to_string(), reason: causes(&error) })?,
        None => Kubeconfig::read().map_err(|error| ConnectError::Contexts(causes(&error)))?,
    };
    let mut names: Vec<String> = Vec::with_capacity(file.contexts.len());
    for context in file.contexts {
        if !names.contains(&context.name) {
            names.push(context.name);
        }
    }
    if names.is_empty() { Err(ConnectError::Contexts("it has none".to_owned())) } else { Ok(names) }
}

/// Builds both clients. Nothing is sent yet.
pub async fn connect(settings: &ConnectSettings) -> Result<Clients, ConnectError> {
    let mut config = load(settings).await?;
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
    let scrape = if config.proxy_url.is_none() { scrape_client(&config) } else { Client::try_from(config) };
    Ok(Clients { watch: Client::try_from(watch).map_err(&failed)?, scrape: scrape.map_err(&failed)? })
}

/// A client as kube builds it, with two differences: an answer's headers have a limit of [`HEADERS_BYTES`], where hyper
/// reads some 400 KB, and requests are not traced.
fn scrape_client(config: &Config) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client: legacy::Client<_, Body> =
        legacy::Client::builder(TokioExecutor::new()).http1_max_buf_size(HEADERS_BYTES).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}

async fn load(settings: &ConnectSettings) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &settings.kubeconfig {
        let failed = |reason: String| ConnectError::Kubeconfig { path: path.display().to_string(), reason };
        let file = Kubeconfig::read_from(path).map_err(|error| match error {
            KubeconfigError::ReadConfig(error, _same_path) => failed(error.to_string()),
            error => failed(causes(&error)),
        })?;
        return Config::from_custom_kubeconfig(file, &options).await.map_err(|error| failed(causes(&error)));
    }
    if settings.context.is_none() && settings.is_in_pod {
        return Config::incluster().map_err(|error| ConnectError::InCluster(causes(&error)));
    }
    Config::from_kubeconfig(&options).await.map_err(|error| ConnectError::NowhereToGo(causes(&error)))
}
