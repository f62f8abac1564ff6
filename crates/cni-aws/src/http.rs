//! The HTTP client of every AWS call: ring TLS, `HTTPS_PROXY`/`NO_PROXY`, `AWS_CA_BUNDLE`.
//!
//! Metadata and credential endpoints are never asked through a proxy, whatever `NO_PROXY` lacks: they are addresses of
//! the machine itself, and a proxy would answer for its own.

use std::path::PathBuf;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Hosts of the machine: instance metadata, ECS and EKS Pod Identity agents, by both protocols.
const LOCAL_HOSTS: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "[fd00:ec2::254]", "[fd00:ec2::23]"];

/// `AWS_CA_BUNDLE` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("AWS_CA_BUNDLE {path}: {what}")]
pub struct CaBundleError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// How to make HTTP clients for AWS.
#[derive(Debug, Clone)]
pub struct AwsHttp {
    tls: TlsContext,
}

impl AwsHttp {
    /// With the file of `AWS_CA_BUNDLE` if given: as with the AWS CLI, its certificates are trusted instead of the system's.
    pub fn new(ca_bundle: Option<PathBuf>) -> Result<Self, CaBundleError> {
        let mut trust = TrustStore::default();
        if let Some(path) = ca_bundle {
            let fail = |what: String| CaBundleError { path: path.clone(), what };
            let pem = std::fs::read(&path).map_err(|error| fail(error.to_string()))?;
            check_certificates(&pem).map_err(fail)?;
            trust = TrustStore::empty().with_pem_certificate(pem);
        }
        // The builder has nothing left to fail on.
        let tls = TlsContext::builder().with_trust_store(trust).build().unwrap_or_default();
        Ok(Self { tls })
    }

    /// For the SDK's clients.
    pub fn sdk_client(&self) -> SharedHttpClient {
        let build = |proxied: bool| {
            let tls = self.tls.clone();
            // The client caches one connector per settings; only the connector's own builder knows of proxies.
            Builder::new().build_with_connector_fn(move |settings, _components| connector(&tls, proxied, settings))
        };
        SharedHttpClient::new(Routed { proxied: build(true), direct: build(false) })
    }

    /// For calls that are signed by hand.
    pub fn connector(&self) -> Connector {
        connector(&self.tls, true, None)
    }
}

fn connector(tls: &TlsContext, proxied: bool, settings: Option<&HttpConnectorSettings>) -> Connector {
    let proxy = if proxied { ProxyConfig::from_env() } else { ProxyConfig::disabled() };
    let mut builder = Connector::builder().proxy_config(proxy);
    builder.set_connector_settings(settings.cloned());
    builder.set_sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep());
    builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
}

/// What the TLS layer would panic on is found here.
fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("not PEM certificates: {error}"))?;
    if certificates.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| format!("certificate {}: {error}", index + 1))?;
    }
    Ok(())
}

/// Goes directly to the machine's own addresses, and by the environment's proxy settings to all others.
#[derive(Debug, Clone)]
struct Routed<T> {
    proxied: T,
    direct: T,
}

impl HttpClient for Routed<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Routed {
            proxied: self.proxied.http_connector(settings, components),
            direct: self.direct.http_connector(settings, components),
        })
    }
}

impl HttpConnector for Routed<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let local = is_local(request.uri());
        if local { self.direct.call(request) } else { self.proxied.call(request) }
    }
}

fn is_local(uri: &str) -> bool {
    let host = uri.parse::<::http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| LOCAL_HOSTS.contains(&host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_addresses_are_known() {
        assert!(is_local("http://169.254.169.254/latest/api/token"));
        assert!(is_local("http://[fd00:ec2::23]/v1/credentials"));
        assert!(!is_local("https://monitoring.eu-west-1.amazonaws.com/"));
        assert!(!is_local("http://169.254.169.254.example.com/"));
    }

    #[test]
    fn a_bundle_that_is_missing_empty_or_garbage_is_a_clear_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let what = |path: &std::path::Path| AwsHttp::new(Some(path.to_owned())).unwrap_err().to_string();
        assert!(what(&path).contains("No such file"), "{}", what(&path));
        std::fs::write(&path, "hello").unwrap();
        assert!(what(&path).contains("no certificate in it"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(what(&path).contains("certificate 1"), "{}", what(&path));
    }
}
