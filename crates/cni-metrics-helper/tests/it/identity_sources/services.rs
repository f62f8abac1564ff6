//! The simulated services of one case, each on a loopback port of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use cni_sim::aws::serve::serve;
use cni_sim::aws::{Clock, WallClock};
use cni_sim::cloudwatch::{self, CloudWatch};
use cni_sim::ec2::view::{Ec2View, Instance, NetworkInterface, Subnet};
use cni_sim::ec2::{self, Ec2};
use cni_sim::imds::{self, Imds};
use cni_sim::pod_identity::{self, PodIdentity};
use cni_sim::port::HeldPort;
use cni_sim::sts::{self, Sts};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Services {
    pub(crate) imds: Imds,
    pub(crate) imds_address: SocketAddr,
    pub(crate) sts: Sts,
    pub(crate) sts_address: SocketAddr,
    pub(crate) pod_identity: PodIdentity,
    pub(crate) pod_identity_address: SocketAddr,
    pub(crate) ec2: Ec2,
    pub(crate) ec2_address: SocketAddr,
    pub(crate) cloudwatch: CloudWatch,
    pub(crate) cloudwatch_address: SocketAddr,
    _stop: DropGuard,
}

/// The account has one instance, and it is named.
struct OneInstance;

impl Ec2View for OneInstance {
    fn subnets(&self) -> Vec<Subnet> {
        Vec::new()
    }

    fn instances(&self) -> Vec<Instance> {
        let text = |text: &str| text.to_owned();
        vec![Instance {
            instance_id: cni_sim::aws::identity::Identity::default().instance_id,
            instance_type: text("m5.large"),
            state: text("running"),
            private_ip: text("10.0.0.10"),
            private_dns_name: text("ip-10-0-0-10.eu-central-1.compute.internal"),
            subnet_id: text("subnet-1"),
            vpc_id: text("vpc-1"),
            availability_zone: text("eu-central-1a"),
            launch_time_ms: 1_767_225_600_000,
            tags: [(text("Name"), text("node-7")), (text("eks:cluster-name"), text("from-ec2"))].into(),
        }]
    }

    fn network_interfaces(&self) -> Vec<NetworkInterface> {
        Vec::new()
    }
}

impl Services {
    pub(crate) async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let stop = CancellationToken::new();
        let imds = Imds::new(Arc::clone(&clock), cni_sim::aws::identity::Identity::default());
        let sts = Sts::new(Arc::clone(&clock), 1);
        let pod_identity = PodIdentity::new(Arc::clone(&clock), 1);
        let ec2 = Ec2::new(Arc::clone(&clock), Arc::new(OneInstance), 1);
        let cloudwatch = CloudWatch::new(Arc::clone(&clock), 1);
        let port = HeldPort::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let imds_address = port.address();
        tokio::spawn(imds::serve(port, imds.clone(), stop.clone()));
        Self {
            imds_address,
            sts_address: start(sts::router(sts.clone()), &stop).await,
            pod_identity_address: start(pod_identity::router(pod_identity.clone()), &stop).await,
            ec2_address: start(ec2::router(ec2.clone()), &stop).await,
            cloudwatch_address: start(cloudwatch::router(cloudwatch.clone()), &stop).await,
            imds,
            sts,
            pod_identity,
            ec2,
            cloudwatch,
            _stop: stop.drop_guard(),
        }
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn start(router: Router, stop: &CancellationToken) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(serve(listener, router, stop.clone()));
    address
}

/// Instance metadata in which one path is never answered.
pub(crate) async fn metadata_with_one_path_that_hangs(hangs: &'static str) -> SocketAddr {
    let answer = move |request: Request| async move {
        let path = request.uri().path().to_owned();
        let (status, text) = match path.as_str() {
            "/latest/api/token" => (StatusCode::OK, "token"),
            "/latest/meta-data/placement/region" => (StatusCode::OK, "eu-central-1"),
            "/latest/meta-data/instance-id" => (StatusCode::OK, "i-0123456789abcdef0"),
            "/latest/meta-data/tags/instance/Name" => (StatusCode::OK, "node-7"),
            path if path == hangs => return std::future::pending().await,
            _ => (StatusCode::NOT_FOUND, ""),
        };
        (status, [("x-aws-ec2-metadata-token-ttl-seconds", "21600")], text)
    };
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

/// A proxy that says where it was asked to connect to, and refuses.
pub(crate) async fn proxy() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (listener, address) = listen().await;
    let (targets, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            if let Some(rest) = head.strip_prefix("CONNECT ") {
                let _ = targets.send(rest.split(' ').next().unwrap_or_default().to_owned());
            }
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    (address, receiver)
}

/// CloudWatch behind TLS with a certificate of its own authority; returns that authority's, in PEM.
pub(crate) async fn https() -> (SocketAddr, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    let cloudwatch = CloudWatch::new(Arc::new(WallClock), 1);
    let inner = start(cloudwatch::router(cloudwatch), &CancellationToken::new()).await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let Ok(mut inside) = TcpStream::connect(inner).await else { return };
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (address, certificate.pem())
}
