//! AWS' own Python SDK and command line against the services: clients that share no code with this project.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cni_sim::aws::identity::Identity;
use cni_sim::aws::{Clock, WallClock};
use cni_sim::cloudwatch::{self, CloudWatch};
use cni_sim::ec2::{self, Ec2};
use cni_sim::imds::{self, Imds};
use cni_sim::pod_identity::{self, PodIdentity};
use cni_sim::sts::{self, Sts};
use tokio::process::Command;

use super::harness::{Server, TestClock};

/// The Python environment.
fn venv() -> PathBuf {
    let venv = std::env::var_os("CNI_SIM_VENV")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/py"), PathBuf::from);
    cni_testkit::needs::program(venv.join("bin/aws"), "crates/cni-sim/tests/aws/setup_venv.sh makes it");
    venv
}

struct SimulatedCluster {
    cloudwatch: CloudWatch,
    sts: Sts,
    agent: PodIdentity,
    imds: Imds,
    servers: [(&'static str, Server); 5],
}

impl SimulatedCluster {
    async fn start() -> Self {
        // These clients compare expiry times with the machine's clock.
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let cloudwatch = CloudWatch::new(Arc::clone(&clock), 1);
        let ec2 = Ec2::new(TestClock::new(), Arc::new(super::ec2::Fixture), 1);
        let sts = Sts::new(Arc::clone(&clock), 1);
        let agent = PodIdentity::new(Arc::clone(&clock), 1);
        let imds = Imds::new(clock, Identity::default());
        let servers = [
            ("AWS_ENDPOINT_URL_CLOUDWATCH", Server::start(cloudwatch::router(cloudwatch.clone())).await),
            ("AWS_ENDPOINT_URL_EC2", Server::start(ec2::router(ec2)).await),
            ("AWS_ENDPOINT_URL_STS", Server::start(sts::router(sts.clone())).await),
            ("SIM_AGENT", Server::start(pod_identity::router(agent.clone())).await),
            ("SIM_IMDS", Server::start(imds::router(imds.clone())).await),
        ];
        Self { cloudwatch, sts, agent, imds, servers }
    }

    /// Runs a script of this directory; its failure is the test's.
    async fn run(&self, venv: &Path, script: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws").join(script);
        let mut command = Command::new(venv.join("bin/python"));
        command.arg(script).env_clear().kill_on_drop(true);
        for (name, server) in &self.servers {
            command.env(name, server.url("/"));
        }
        let output = command
            .env("PATH", format!("{}:/usr/bin:/bin", venv.join("bin").display()))
            .env("HOME", "/nonexistent")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", "AKIDPYTHON")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .output();
        let output = tokio::time::timeout(Duration::from_mins(3), output).await.expect("the script hangs").unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
    }
}

#[test]
#[ignore = "needs the Python of crates/cni-sim/tests/aws/setup_venv.sh: run .ci/run"]
async fn boto3_in_every_protocol() {
    let venv = venv();
    let cluster = SimulatedCluster::start().await;
    cluster.run(&venv, "boto3_round_trip.py").await;
    let requests = cluster.cloudwatch.store().requests();
    for protocol in ["smithy-rpc-v2-cbor", "json", "query"] {
        let puts = requests.iter().filter(|r| r.protocol == protocol && r.operation == "PutMetricData");
        assert!(puts.clone().count() >= 2, "{protocol} was not spoken");
        assert!(puts.clone().any(|r| r.wire_bytes < r.body_bytes), "{protocol} was never gzipped");
        assert!(puts.clone().all(|r| r.access_key_id == "AKIDPYTHON"));
    }
}

#[test]
#[ignore = "needs the Python of crates/cni-sim/tests/aws/setup_venv.sh: run .ci/run"]
async fn the_aws_command_line() {
    let venv = venv();
    let cluster = SimulatedCluster::start().await;
    cluster.run(&venv, "awscli_round_trip.py").await;
    assert_eq!(cluster.cloudwatch.store().series("Cli", "fromCli", &[("CLUSTER_ID", "c1")]).len(), 2);
}

#[test]
#[ignore = "needs the Python of crates/cni-sim/tests/aws/setup_venv.sh: run .ci/run"]
async fn boto3_finds_its_credentials() {
    let venv = venv();
    let cluster = SimulatedCluster::start().await;
    cluster.run(&venv, "boto3_credentials.py").await;
    assert_eq!(cluster.sts.calls()[0].token, "jwt-from-file");
    assert_eq!(cluster.agent.calls()[0].token, "pod-token-from-file");
    assert!(cluster.imds.requests().iter().any(|r| r.path.ends_with("/security-credentials/eks-node-role")));
    let requests = cluster.cloudwatch.store().requests();
    let keys: Vec<_> = requests.iter().map(|request| request.access_key_id.as_str()).collect();
    assert!(keys.iter().any(|key| key.starts_with("ASIASIMSTS")), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("ASIASIMPODID")), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("ASIASIMIMDS")), "{keys:?}");
    assert!(requests.iter().all(|request| request.session_token.is_some()));
}
