//! etcd and kube-apiserver, as a cluster runs them but for the controllers: nothing here schedules, starts or reaps
//! pods, so that a test decides what the API says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::assets::Assets;
use super::kubectl::Kubectl;
use super::namespace::{SERVER, SERVER_PORT};
use crate::http;
use crate::process::Process;
use crate::wait;

const ADMIN_TOKEN: &str = "admin-of-the-test";
/// Two busy cores need half a minute for a cold start of both, and minutes beside builds and other tests.
const TIMEOUT: Duration = Duration::from_mins(6);

/// A running control plane of the namespace that the calling thread is in.
#[derive(Debug)]
pub struct ControlPlane {
    // Order matters: the API server goes before its store, and both before their folder.
    api_server: Option<Process>,
    _etcd: Process,
    assets: Assets,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts both in the calling thread's namespace, and waits until the API server serves.
    pub fn start(assets: &Assets) -> Self {
        let folder = tempfile::Builder::new().prefix("cmh-e2e-").tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("accounts.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("accounts.pub"), key.public_key_pem()).unwrap();
        let tokens = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
        std::fs::write(folder.path().join("tokens.csv"), tokens).unwrap();

        let etcd = Process::spawn("etcd", &mut etcd(assets, folder.path()));
        let mut plane = Self { api_server: None, _etcd: etcd, assets: assets.clone(), folder };
        plane.start_api_server();
        plane
    }

    /// Starts the API server (again) on the same store and address, and waits until it serves.
    pub fn start_api_server(&mut self) {
        let mut command = api_server(&self.assets, self.folder.path());
        self.api_server = Some(Process::spawn("kube-apiserver", &mut command));
        self.write_kubeconfig("admin", ADMIN_TOKEN);
        let kubectl = self.kubectl();
        let ready = || {
            http::can_connect(SERVER, SERVER_PORT)
                && kubectl.try_run(&["get", "--raw", "/readyz"]).is_ok()
                && kubectl.try_run(&["get", "namespace", "kube-system", "-o", "name"]).is_ok()
        };
        let deadline = Instant::now() + TIMEOUT;
        while !ready() {
            assert!(Instant::now() < deadline, "kube-apiserver is not ready after {TIMEOUT:?}");
            wait::pause();
        }
    }

    /// Kills the API server as a crash would.
    pub fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    /// kubectl of the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.assets.program("kubectl"), self.folder.path().join("admin.kubeconfig"))
    }

    /// Writes `<name>.kubeconfig` for a bearer of `token`, trusting the certificate that the API server made itself.
    pub fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let authority = self.certificate();
        // YAML is a superset of JSON.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{SERVER}:{SERVER_PORT}"), "certificate-authority": authority,
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// The API server's certificate, which it signed itself.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificates/apiserver.crt")
    }

    /// A folder for the test's own files, gone with the control plane.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn etcd(assets: &Assets, folder: &Path) -> Command {
    let mut command = Process::command(&assets.program("etcd"));
    command.arg("--data-dir").arg(folder.join("etcd")).args([
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]);
    command
}

fn api_server(assets: &Assets, folder: &Path) -> Command {
    let mut command = Process::command(&assets.program("kube-apiserver"));
    for (flag, file) in [
        ("--cert-dir", "certificates"),
        ("--token-auth-file", "tokens.csv"),
        ("--service-account-key-file", "accounts.pub"),
        ("--service-account-signing-key-file", "accounts.key"),
    ] {
        command.arg(flag).arg(folder.join(file));
    }
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        &format!("--bind-address={SERVER}"),
        &format!("--advertise-address={SERVER}"),
        &format!("--secure-port={SERVER_PORT}"),
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        // Its controllers do not run here, and without them it refuses every pod.
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
    ]);
    command
}
