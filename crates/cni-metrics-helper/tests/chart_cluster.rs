//! The chart on a real kube-apiserver: over the original's objects, in every form, within the restricted Pod Security
//! level, and with rights that are enough and no more.
//!
//! Needs what `e2e_cluster.rs` needs, and helm; without them each test says that it is skipped and why, except where
//! `CI=true`: there it fails.

#[expect(dead_code, reason = "the stand serves several test programs; each uses a part of it")]
#[path = "e2e/harness.rs"]
mod harness;
#[path = "chart_tools/helm.rs"]
mod helm;

#[path = "chart_cluster/install.rs"]
mod install;
#[path = "chart_cluster/rights.rs"]
mod rights;

use std::path::PathBuf;

use harness::assets::Assets;
use harness::cluster::Cluster;
use harness::page::Page;
use helm::{CHART, Helm};

const UPSTREAM_VALUES: &str = "charts/cni-metrics-helper/ci/upstream-values.yaml";
const ALL_ON_VALUES: &str = "charts/cni-metrics-helper/ci/all-on-values.yaml";

/// A cluster with so many nodes, and helm beside it.
struct Stand {
    cluster: Cluster,
    helm: Helm,
}

impl Stand {
    fn or_skip(nodes: usize) -> Option<Self> {
        let (assets, helm) = (Assets::or_skip()?, Helm::or_skip()?);
        let pages = (0..nodes).map(|_| Page::settled(5));
        Some(Self { cluster: Cluster::start(&assets, pages), helm })
    }

    /// `helm upgrade --install` with the one release's name, taking over objects that were not helm's.
    fn install(&self, arguments: &[&str]) {
        let kubeconfig = format!("--kubeconfig={}", self.cluster.plane.folder().join("admin.kubeconfig").display());
        let fixed =
            ["upgrade", "--install", "cni-metrics-helper", CHART, "--namespace=kube-system", "--take-ownership"];
        let all = fixed.iter().chain(arguments).copied().chain([kubeconfig.as_str()]);
        self.helm.run(all).unwrap_or_else(|said| panic!("helm upgrade --install {arguments:?}: {said}"));
    }

    fn get(&self, what: &[&str]) -> serde_json::Value {
        let words = [&["get", "--output=json"], what].concat();
        serde_json::from_str(&self.cluster.kubectl().run(&words)).unwrap()
    }

    /// A manifest as a file, as a person has it.
    fn file(&self, name: &str, manifest: &str) -> PathBuf {
        let path = self.cluster.plane.folder().join(name);
        std::fs::write(&path, manifest).unwrap();
        path
    }

    fn kubectl_file(&self, arguments: &[&str], name: &str, manifest: &str) -> Result<String, String> {
        let path = self.file(name, manifest);
        self.cluster.kubectl().try_run(&[arguments, &["--filename", path.to_str().unwrap()]].concat())
    }
}
